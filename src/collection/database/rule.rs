//! [`Rule`], what every change of a resource has to keep to.

use std::borrow::Cow;
use std::fmt;

use crate::collection::database::along::Along;
use crate::collection::database::part::Part;
use crate::collection::database::step::{Exit, Step};
use crate::store::{Action, Conflict, Error, Mismatch, Resource};

/// What every change of a resource has to keep to, by its old and its new value: a step that any definition can be given.
///
/// [`Definition::rule`](crate::collection::Definition::rule) and
/// [`transitions`](crate::collection::Definition::transitions) make one.
pub(super) struct Rule<T> {
    name: Cow<'static, str>,
    judge: Box<Judge<T>>,
}

/// The sentence to refuse a change with, if it is to be refused.
type Judge<T> = dyn Fn(Option<&T>, Option<&T>) -> Option<Cow<'static, str>> + Send + Sync;

impl<T> Rule<T> {
    pub(super) fn new(
        name: Cow<'static, str>,
        judge: impl Fn(Option<&T>, Option<&T>) -> Option<Cow<'static, str>> + Send + Sync + 'static,
    ) -> Self {
        Self { name, judge: Box::new(judge) }
    }

    /// Whether the change may be.
    #[inline]
    pub(super) fn allows(&self, old: Option<&T>, new: Option<&T>) -> bool {
        (self.judge)(old, new).is_none()
    }

    /// That a state changes in these ways alone.
    pub(super) fn of_transitions<S: PartialEq + fmt::Debug + Send + Sync + 'static>(
        name: Cow<'static, str>,
        state: impl Fn(&T) -> S + Send + Sync + 'static,
        allowed: Vec<(S, S)>,
    ) -> Self {
        Self::new(name, move |old, new| {
            let (old, new) = (state(old?), state(new?));
            let may = old == new || allowed.iter().any(|(from, to)| *from == old && *to == new);
            (!may).then(|| format!("it can't go from {old:?} to {new:?}").into())
        })
    }
}

impl<T: Resource> Step<T> for Rule<T> {
    fn wants_base(&self) -> bool {
        true
    }

    fn enter(&self, part: &Part<'_, T>, _: &mut Along<'_>) -> Result<Exit, Error> {
        let mut broken = Vec::new();
        for (at, entry) in part.entries().iter().enumerate() {
            let new = match &entry.action {
                Action::Check => continue,
                Action::Put(value) => Some(&**value),
                Action::Delete => None,
            };
            let old = part.base(at)?;
            // A deletion of nothing changes nothing.
            if old.is_none() && new.is_none() {
                continue;
            }
            if let Some(sentence) = (self.judge)(old.map(|old| &*old.value), new) {
                let refused = Mismatch::state(entry.id, self.name.clone(), sentence)
                    .with_intent(entry.intent())
                    .with_condition(entry.condition);
                broken.push(match old {
                    Some(old) => refused.with_current(old),
                    None => refused,
                });
            }
        }
        if broken.is_empty() {
            return Ok(Exit::silent());
        }
        Err(Conflict::new(broken).expect("there is a mismatch").into())
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use crate::store::{Commit, Conflict, Entry, Error, Expected, Kind};
    use crate::{Collection, Database};

    fn counters(database: &Database) -> Collection<u64> {
        let counters = database.define::<u64>("counters").unwrap();
        let grows = counters.rule("grows", "it never goes down", |old, new| {
            old.is_none_or(|old| new.is_some_and(|new| new >= old))
        });
        grows.open().unwrap()
    }

    fn rule(conflict: &Conflict) -> &str {
        match conflict.kind() {
            Kind::State { rule, .. } => rule,
            other => panic!("{other:?}"),
        }
    }

    fn refused<A>(answer: Result<A, Error>) -> Conflict {
        match answer {
            Err(Error::Conflict(conflict)) => conflict,
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it was let pass"),
        }
    }

    #[test]
    fn every_way_to_write_meets_a_rule() {
        let database = Database::in_memory();
        let counters = counters(&database);
        counters.put("a", 5).wait().unwrap();

        let now = counters.fetch("a").wait().unwrap();
        let mut transaction = database.transaction();
        transaction.put(&counters, "a", 4);
        let refusals = [
            refused(counters.put("a", 4).wait()),
            refused(counters.replace("a", now.version, 4).wait()),
            refused(counters.delete("a", Expected::Any).wait()),
            refused(counters.modify("a", |count| *count = 1).wait()),
            refused(transaction.commit().wait()),
            refused(counters.commit(Commit::one(Entry::put("a", Expected::Present, 1.into()))).wait()),
        ];

        for conflict in refusals {
            assert_eq!(
                (rule(&conflict), conflict.id(), conflict.collection()),
                ("grows", "a", Some("counters"))
            );
            assert_eq!(*conflict.current::<u64>().unwrap().value, 5);
            assert_eq!(
                conflict.to_string(),
                format!("`a` of `counters` refuses the change: it never goes down (version {})", now.version)
            );
        }
        assert_eq!(counters.fetch("a").wait().unwrap(), now);
        counters.put("a", 6).wait().unwrap();
        counters.delete("b", Expected::Any).wait().unwrap();
    }

    #[test]
    fn what_a_caller_expects_is_what_a_conflict_shows() {
        let counters = counters(&Database::in_memory());
        let first = counters.put("a", 5).wait().unwrap();
        let second = counters.put("a", 6).wait().unwrap();

        let stale = refused(counters.replace("a", first.version, 7).wait());
        let gone = refused(counters.replace("b", Expected::Present, 7).wait());

        assert_eq!(
            (stale.kind(), stale.expected(), stale.found()),
            (&Kind::Stale, first.version.into(), Some(second.version))
        );
        assert_eq!((gone.kind(), gone.expected()), (&Kind::Missing, Expected::Present));
    }

    #[test]
    fn a_broken_rule_and_a_stale_version_are_told_together() {
        let counters = counters(&Database::in_memory());
        let first = counters.put("a", 5).wait().unwrap();
        counters.put("a", 6).wait().unwrap();

        let both = refused(counters.replace("a", first.version, 1).wait());

        let kinds: Vec<_> = both.mismatches().iter().map(|one| one.kind().clone()).collect();
        assert!(matches!(&kinds[..], [Kind::State { .. }, Kind::Stale]), "{kinds:?}");
        assert_eq!(*both.kind(), Kind::Stale, "it was decided on what the writer has not seen");
    }

    #[test]
    fn a_rule_of_creations_says_nothing_to_who_replaces_what_was_deleted() {
        let database = Database::in_memory();
        let counters = database.define::<u64>("counters").unwrap();
        let starts = |old: Option<&u64>, new: Option<&u64>| old.is_some() || new.is_none_or(|new| *new == 0);
        let counters = counters.rule("starts", "it starts at 0", starts).open().unwrap();
        let base = counters.create("a", 0).wait().unwrap();
        counters.delete("a", Expected::Present).wait().unwrap();

        let gone = refused(counters.replace("a", base.version, 7).wait());

        assert_eq!(*gone.kind(), Kind::Deleted);
        assert_eq!(rule(&refused(counters.create("a", 7).wait())), "starts");
    }

    #[test]
    fn a_state_machine_takes_the_ways_it_was_given() {
        #[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
        enum Stage {
            Draft,
            Published,
            Archived,
        }
        let database = Database::in_memory();
        let articles = database.define::<Stage>("articles").unwrap().transitions(
            "stage",
            |stage| *stage,
            [(Stage::Draft, Stage::Published), (Stage::Published, Stage::Archived)],
        );
        let articles = articles.open().unwrap();

        articles.create("a", Stage::Draft).wait().unwrap();
        articles.put("a", Stage::Draft).wait().unwrap();
        let skipped = refused(articles.put("a", Stage::Archived).wait());
        articles.put("a", Stage::Published).wait().unwrap();
        let back = refused(articles.put("a", Stage::Draft).wait());

        assert!(skipped.to_string().contains("it can't go from Draft to Archived"), "{skipped}");
        assert_eq!(rule(&back), "stage");
        articles.delete("a", Expected::Present).wait().unwrap();
    }
}
