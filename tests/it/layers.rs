//! Layers as authors outside the crate write them, with nothing but what is public.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ifmatch::http::{self, Problem};
use ifmatch::store::{
    Abilities, Action, Advice, Changes, Committed, Condition, Listed, Mismatch, Outcome, Page, Refusal,
    Resolution, Scan, WriteId,
};
use ifmatch::{
    Collection, Commit, Conflict, Database, Entry, Error, Expected, Kind, Memory, Reply, Start, Store,
    Version, Versioned,
};

/// What a layer that only concerns itself with commits passes through.
macro_rules! pass_through {
    () => {
        fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<String>>> {
            self.store.get(id)
        }

        fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
            self.store.resolve(write)
        }

        fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<String>>> {
            self.store.scan(scan)
        }

        fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<String>> {
            self.store.watch(from)
        }

        fn abilities(&self) -> Abilities {
            self.store.abilities()
        }
    };
}

/// Locks one id for a minute from the start of its clock.
struct Locked {
    store: Arc<dyn Store<String>>,
    id: &'static str,
    /// The seconds that have passed.
    clock: Arc<AtomicU64>,
}

/// No store issues the largest version of all.
const NEVER: Expected = Expected::Version(Version::from_bits(NonZeroU64::MAX));

impl Locked {
    /// The caller is told of the lock, with its own expectation and what stands there.
    fn explain(&self, refused: Mismatch, given: Condition, left: u64) -> Mismatch {
        if refused.id() != self.id {
            return refused;
        }
        let locked = Mismatch::locked(self.id, "ann", Duration::from_secs(left))
            .with_condition(given)
            .with_intent(refused.intent());
        match refused.current::<String>() {
            Some(current) => locked.with_current(&current),
            None => locked,
        }
    }
}

impl Store<String> for Locked {
    fn commit<'a>(&'a self, commit: Commit<'a, String>) -> Reply<'a, Committed> {
        let left = 60_u64.saturating_sub(self.clock.load(Ordering::Relaxed));
        let held = |entry: &Entry<'_, String>| entry.id == self.id && !matches!(entry.action, Action::Check);
        let given = commit.entries().iter().find(|entry| held(entry)).map(|entry| entry.condition);
        let Some(given) = given.filter(|_| left > 0) else { return self.store.commit(commit) };

        let Ok(refused) = commit.try_map(|entry| {
            let condition = if held(&entry) { NEVER.into() } else { entry.condition };
            Ok::<_, Infallible>(Entry { condition, ..entry })
        });
        self.store.commit(refused).then(move |answer| match answer {
            Err(Error::Conflict(conflict)) => {
                Err(conflict.map(|mismatch| self.explain(mismatch, given, left)).into())
            }
            other => other,
        })
    }

    pass_through!();
}

/// Keeps the ids of a tenant under a prefix and narrows every blind write of what is there to the version it finds.
struct Narrowing {
    store: Arc<dyn Store<String>>,
}

impl Store<String> for Narrowing {
    fn commit<'a>(&'a self, commit: Commit<'a, String>) -> Reply<'a, Committed> {
        let given: Vec<(String, Condition)> =
            commit.entries().iter().map(|entry| (format!("tenant/{}", entry.id), entry.condition)).collect();
        let entries = commit.into_entries().into_iter().zip(&given).map(|(entry, (id, condition))| {
            let seen = self.store.get(id).wait().ok().flatten();
            let expected = match (condition.expected, seen) {
                // As if somebody had been faster: what was seen is not what is there.
                (Expected::Present, None) => Expected::Version("1".parse().unwrap()),
                (other, _) => other,
            };
            Entry { id, condition: Condition { expected, ..*condition }, action: entry.action }
        });
        let answer = self.store.commit(entries.collect()).wait();
        Reply::ready(answer.map_err(|error| {
            match error {
                Error::Conflict(conflict) => conflict
                    .map(|mismatch| {
                        let (id, condition) =
                            given.iter().find(|(id, _)| id == mismatch.id()).expect("one of ours failed");
                        mismatch.with_id(&id["tenant/".len()..]).with_condition(*condition)
                    })
                    .into(),
                other => other,
            }
        }))
    }

    pass_through!();
}

/// Answers every commit, which it applied, with too few receipts.
struct Terse {
    store: Arc<dyn Store<String>>,
}

impl Store<String> for Terse {
    fn commit<'a>(&'a self, commit: Commit<'a, String>) -> Reply<'a, Committed> {
        self.store.commit(commit).map(|_| Committed::from_iter([]))
    }

    pass_through!();
}

fn locked() -> (Collection<String>, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(0));
    let notes = Collection::new(Memory::new());
    notes.create("a", "one".to_string()).wait().unwrap();
    notes.create("b", "two".to_string()).wait().unwrap();
    let notes = notes.layer(|store| Locked { store, id: "a", clock: Arc::clone(&clock) });
    (notes, clock)
}

fn conflict<A>(answer: Result<A, Error>) -> Conflict {
    match answer {
        Err(Error::Conflict(conflict)) => conflict,
        Err(other) => panic!("no conflict: {other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn a_layer_locks_one_id_for_a_minute() {
    let (notes, clock) = locked();
    clock.store(18, Ordering::Relaxed);

    let refused = conflict(notes.put("a", "mine".to_string()).wait());

    let holder = Kind::Locked { holder: "ann".into(), remaining: Duration::from_secs(42) };
    assert_eq!((refused.id(), refused.kind(), refused.retry()), ("a", &holder, Advice::Wait));
    assert_eq!(refused.to_string(), "`a` is locked by `ann` for another 42 s");
    let problem = Problem::from(refused);
    assert_eq!((problem.status(), problem.reason()), (423, "locked"));
    assert!(problem.headers().contains(&("retry-after", "42".to_owned())));
    assert_eq!(*notes.fetch("a").wait().unwrap().value, "one");
    notes.put("b", "free".to_string()).wait().unwrap();

    clock.store(60, Ordering::Relaxed);

    notes.put("a", "mine".to_string()).wait().unwrap();
}

#[test]
fn a_lock_hides_nothing_that_the_store_knows() {
    let (notes, clock) = locked();
    clock.store(60, Ordering::Relaxed);
    let write = notes.write_id();
    let put = || Entry::put("a", Expected::Any, Arc::new("mine".to_string()));
    let applied = notes.commit(Commit::one(put()).with_write(write)).wait().unwrap();
    clock.store(18, Ordering::Relaxed);

    // Sent again, it is answered as it was then.
    assert_eq!(notes.commit(Commit::one(put()).with_write(write)).wait().unwrap(), applied);
    let twice = notes.commit(Commit::one(put()).and(put())).wait().unwrap_err();
    assert!(matches!(twice, Error::Refused(Refusal::Duplicate { .. })), "{twice}");
    let both = Commit::one(put()).and(Entry::check("b", Expected::Absent));
    let both = conflict(notes.commit(both).wait());
    let kinds: Vec<_> = both.mismatches().iter().map(|one| (one.id(), one.kind().clone())).collect();
    let holder = Kind::Locked { holder: "ann".into(), remaining: Duration::from_secs(42) };
    assert_eq!(kinds, [("a", holder), ("b", Kind::Exists)]);
    assert_eq!(*both.mismatches()[0].current::<String>().unwrap().value, "mine");
    assert_eq!(both.mismatches()[0].expected(), Expected::Any);
    notes.commit(Commit::one(Entry::check("a", Expected::Present))).wait().unwrap();
}

#[test]
fn modify_and_drafts_meet_the_lock_too_and_are_not_tried_again() {
    let (notes, _clock) = locked();
    let mut draft = notes.edit("a").wait().unwrap();
    draft.push('!');

    let modified = conflict(notes.modify("a", |text| text.push('!')).wait());
    let saved = conflict(draft.commit().wait());

    for refused in [modified, saved] {
        assert_eq!((refused.retry(), refused.attempts()), (Advice::Wait, 1));
        assert_eq!(http::status(&refused.into()), 423);
    }
}

#[test]
fn a_lock_a_rule_and_a_stale_version_are_one_conflict_with_one_spokesman() {
    let (notes, _clock) = locked();
    let stale = conflict(notes.replace("b", Expected::Absent, "mine".to_string()).wait());
    let rule = Conflict::state("c", "quota", "ann has 10 notes already");
    let lock = Conflict::locked("a", "ann", Duration::from_secs(42));

    let all = [stale, lock, rule].map(Conflict::into_mismatches).into_iter().flatten();
    let all = Conflict::new(all).unwrap();

    let ids: Vec<_> = all.mismatches().iter().map(Mismatch::id).collect();
    assert_eq!(ids, ["b", "a", "c"]);
    assert_eq!((all.id(), all.retry()), ("c", Advice::Never));
    assert!(matches!(all.kind(), Kind::State { rule, .. } if rule == "quota"));
    let error = Error::from(all);
    assert_eq!((http::status(&error), http::retry_after(&error)), (409, None));
}

#[test]
fn a_rule_that_was_decided_on_what_the_writer_has_not_seen_speaks_last() -> Result<(), Error> {
    let office = Database::in_memory();
    let short = |old: Option<&String>, new: Option<&String>| {
        old.zip(new).is_none_or(|(old, new)| old.len() >= new.len())
    };
    let notes = office.define::<String>("notes")?.rule("short", "it grows no longer", short).open()?;
    let seen = notes.create("a", "one, two".to_string()).wait()?.version;
    let other = notes.create("b", "one".to_string()).wait()?;
    let known = notes.put("a", "1, 2".to_string()).wait()?.version;

    let stale = conflict(notes.replace("a", seen, "one, two".to_string()).wait());
    let broken = conflict(notes.replace("a", known, "one, two".to_string()).wait());
    let both =
        notes.commit(Commit::one(Entry::put("a", seen, Arc::new("one, two".to_string()))).and(Entry::put(
            "b",
            &other,
            Arc::new("one, two".to_string()),
        )));

    assert_eq!((stale.retry(), stale.mismatches().len()), (Advice::Refetch, 2));
    assert_eq!((broken.retry(), broken.mismatches().len()), (Advice::Never, 1));
    assert_eq!((conflict(both.wait()).id(), stale.id()), ("b", "a"));
    Ok(())
}

#[test]
fn a_layer_that_renames_and_narrows_gives_the_caller_its_own_words_back() {
    let notes = Collection::<String>::in_memory();
    notes.create("tenant/a", "one".to_string()).wait().unwrap();
    let notes = notes.layer(|store| Narrowing { store });

    let taken = conflict(notes.create("a", "mine".to_string()).wait());
    let missing = conflict(notes.replace("b", Expected::Present, "mine".to_string()).wait());

    assert_eq!((taken.id(), taken.kind(), taken.expected()), ("a", &Kind::Exists, Expected::Absent));
    assert_eq!(*taken.current::<String>().unwrap().value, "one");
    assert_eq!(missing.to_string(), "`b` does not exist: expected a value");
}

#[test]
fn a_layer_that_merges_can_say_that_somebody_has_to_decide() {
    let notes = Collection::<String>::in_memory();
    notes.create("a", "one".to_string()).wait().unwrap();
    let stale = conflict(notes.create("a", "mine".to_string()).wait());

    let overlap = stale.map(|mismatch| mismatch.with_retry(Advice::Merge));

    assert_eq!((overlap.retry(), http::status(&overlap.into())), (Advice::Merge, 409));
}

#[test]
fn a_store_that_tells_too_little_is_a_failure_of_unknown_outcome() {
    let notes = Collection::<String>::in_memory();
    for id in ["a", "b", "c", "d"] {
        notes.create(id, "one".to_string()).wait().unwrap();
    }
    let mut draft = notes.edit("d").wait().unwrap();
    let terse = notes.layer(|store| Terse { store });
    let mut own = terse.edit("c").wait().unwrap();
    own.push('!');
    draft.push('!');
    let transacted = terse.transact(|mut transaction| {
        transaction.put("e", "new".to_string());
        async move { Ok::<_, Error>((transaction, ())) }
    });
    let mut saving = terse.transaction();
    saving.save(&mut draft).unwrap();

    let two = ["a", "b"].map(|id| Entry::put(id, Expected::Any, Arc::new("two".to_string())));
    let two = two.into_iter().collect();

    let answers = [
        terse.put("a", "two".to_string()).wait().map(drop),
        terse.create("new", "two".to_string()).wait().map(drop),
        terse.modify("a", |text| text.push('!')).wait().map(drop),
        terse.delete("b", Expected::Any).wait().map(drop),
        own.commit().wait().map(drop),
        terse.commit(two).wait().map(drop),
        transacted.wait(),
        saving.commit().wait().map(drop),
    ];

    for (at, answer) in answers.into_iter().enumerate() {
        let Err(Error::Failed(failure)) = answer else { panic!("{at}: {answer:?}") };
        assert_eq!(failure.outcome(), Outcome::Unknown, "{at}");
    }
}
