//! [`Direct`], what a put in memory passes without a list of what rides along.

use std::sync::Arc;

use crate::collection::database::definition::Given;
use crate::collection::database::guard::Guard;
use crate::collection::database::joint::{Deciding, Joint};
use crate::collection::database::member::Escort;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::rule::Rule;
use crate::memory::{Memory, Prefix};
use crate::store::{Entry, Expected, Receipt, Resource};

/// Nothing but rules and guards: what they ask is known before a commit comes.
///
/// It only lets pass. Where there is anything to refuse, or to wait for, the steps themselves are entered, which tell why.
pub(super) struct Direct<T> {
    rules: Vec<Arc<Rule<T>>>,
    /// Each with what the full ids begin with that it checks. In the order in which a commit passes them.
    guards: Vec<(Prefix, Arc<Guard>)>,
}

impl<T: Resource> Direct<T> {
    /// `None` where a commit has to pass anything else.
    pub(super) fn of(joint: &Joint, steps: &[Given<T>], memory: &Memory<Opaque>) -> Option<Self> {
        let mut direct = Self { rules: Vec::new(), guards: Vec::new() };
        let mut guards = Vec::new();
        for (_, escort) in &joint.escorts {
            let Escort::Guard(guard) = escort else { return None };
            guards.push(guard);
        }
        for step in steps {
            match step {
                Given::Rule(rule) => direct.rules.push(Arc::clone(rule)),
                Given::Guard(guard) => guards.push(guard),
                Given::Step(_) => return None,
            }
        }
        for guard in guards {
            let name = guard.member().name();
            // Such a check joins the entry that is written.
            if joint.members.iter().any(|member| member.name() == name) {
                return None;
            }
            direct.guards.push((memory.prefix(Arc::clone(name.prefix())), Arc::clone(guard)));
        }
        Some(direct)
    }

    /// Puts a value over another one, where all rules allow that and no guard refuses it.
    #[inline(never)]
    pub(super) fn put(
        &self,
        memory: &Memory<Opaque>,
        prefix: &Prefix,
        deciding: &Deciding,
        entry: &Entry<'_, T>,
        new: &Arc<T>,
    ) -> Option<Receipt> {
        let place = memory.place_below(prefix, entry.id);
        let mut expected = entry.condition.expected;
        let found;
        if !self.rules.is_empty() {
            found = memory.find_below(prefix, entry.id, place)?;
            let old = found.value.downcast_ref::<T>()?;
            // Whoever stands in line is first.
            let may = deciding.is_quiet()
                && expected.admits(Some(found.version))
                && self.rules.iter().all(|rule| rule.allows(Some(old), Some(new)));
            if !may {
                return None;
            }
            // It applies only to what they were asked about.
            expected = found.version.into();
        }
        let mut packed: Arc<Opaque> = Arc::clone(new) as Arc<Opaque>;
        match self.check(entry.id) {
            Checks::None => memory.replace_below(prefix, entry.id, place, expected, &mut packed).ok()?,
            Checks::One(check) => {
                memory.replace_checked(prefix, entry.id, place, expected, &mut packed, check)
            }
            Checks::Many => None,
        }
    }

    /// What is to be checked where `written` is written.
    #[inline]
    fn check<'i>(&'i self, written: &'i str) -> Checks<'i> {
        let mut checks = Checks::None;
        for (prefix, guard) in &self.guards {
            let (id, expected) = guard.check(written);
            checks = match checks {
                Checks::None => Checks::One((prefix, id, expected)),
                Checks::One((there, same, Expected::Version(_)))
                    if guard.gives_way() && there == prefix && same == id =>
                {
                    checks
                }
                _ => return Checks::Many,
            };
        }
        checks
    }
}

/// What is to be checked beside a put: full ids, and what is expected there.
enum Checks<'i> {
    None,
    One((&'i Prefix, &'i str, Expected)),
    Many,
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::pin::pin;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Waker};

    use crate::lease::Leases;
    use crate::store::{Error, Expected, Kind};
    use crate::{Collection, Database};

    fn kind<A>(answer: Result<A, Error>) -> Kind {
        match answer {
            Err(Error::Conflict(conflict)) => conflict.kind().clone(),
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("it was let pass"),
        }
    }

    /// Counters that never go down. `meanwhile` runs once, while the rule is asked whether the counter may become 6.
    fn counters(database: &Database, leases: Option<&Leases>, meanwhile: fn()) -> Collection<u64> {
        let asked = AtomicUsize::new(0);
        let grows = move |old: Option<&u64>, new: Option<&u64>| {
            if new == Some(&6) && asked.fetch_add(1, Ordering::Relaxed) == 0 {
                meanwhile();
            }
            old.is_none_or(|old| new.is_some_and(|new| new >= old))
        };
        let counters = database.define::<u64>("counters").unwrap().rule("grows", "it never goes down", grows);
        match leases {
            Some(leases) => counters.leased(leases),
            None => counters,
        }
        .open()
        .unwrap()
    }

    #[test]
    fn a_put_applies_only_to_what_its_rule_was_asked_about() {
        static OTHER: OnceLock<Collection<u64>> = OnceLock::new();
        let counters = counters(&Database::in_memory(), None, || {
            drop(OTHER.get().map(|other| other.put("a", 9).wait().unwrap()));
        });
        counters.put("a", 5).wait().unwrap();
        let _ = OTHER.set(counters.clone());

        let refused = kind(counters.put("a", 6).wait());

        assert!(matches!(refused, Kind::State { rule, .. } if rule == "grows"));
        assert_eq!(*counters.fetch("a").wait().unwrap().value, 9);
    }

    #[test]
    fn a_put_waits_behind_whoever_stands_in_line() {
        let database = Database::in_memory();
        let counters = counters(&database, None, || ());
        counters.put("a", 5).wait().unwrap();
        // Over a value, and where there is none.
        for id in ["a", "b"] {
            let before = counters.get(id).wait().unwrap();
            let full_id = counters.membership().unwrap().member.name().full(id);
            let ahead = database.deciding().stand(&full_id);
            let mut put = pin!(counters.put(id, 7));

            assert!(put.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "{id}");
            let version = |found: &Option<crate::Versioned<u64>>| found.as_ref().map(|found| found.version);
            assert_eq!(version(&counters.get(id).wait().unwrap()), version(&before), "{id}");

            drop(ahead);
            assert!(put.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(), "{id}");
            assert_eq!(*counters.fetch(id).wait().unwrap().value, 7, "{id}");
        }
    }

    #[test]
    fn a_put_applies_only_while_the_lease_is_held() {
        static LEASES: OnceLock<Leases> = OnceLock::new();
        let database = Database::in_memory();
        let leases = LEASES.get_or_init(|| Leases::new(&database, "leases").unwrap());
        let counters = counters(&database, None, || {
            let leases = LEASES.get().unwrap();
            leases.force_release("a", Expected::Present, "bob", "it hangs").wait().unwrap();
            // One of the same name is another holder.
            drop(leases.acquire("a", "ann").wait().unwrap());
        });
        counters.put("a", 5).wait().unwrap();
        let held = counters.under(&leases.acquire("a", "ann").wait().unwrap()).unwrap();

        assert!(matches!(kind(held.put("a", 6).wait()), Kind::State { rule, .. } if rule == "lease-lost"));
        assert_eq!(*counters.fetch("a").wait().unwrap().value, 5);
    }

    #[test]
    fn a_put_is_refused_where_somebody_takes_the_lease_before_it() {
        static LEASES: OnceLock<Leases> = OnceLock::new();
        let database = Database::in_memory();
        let leases = LEASES.get_or_init(|| Leases::new(&database, "leases").unwrap());
        let counters = counters(&database, Some(leases), || {
            drop(LEASES.get().unwrap().acquire("a", "bob").wait().unwrap());
        });
        counters.put("a", 5).wait().unwrap();

        assert!(matches!(kind(counters.put("a", 6).wait()), Kind::Locked { .. }));
        assert_eq!(*counters.fetch("a").wait().unwrap().value, 5);
    }

    #[test]
    fn a_lease_lets_pass_no_write_of_what_another_one_holds() {
        let database = Database::in_memory();
        let leases = Leases::new(&database, "leases").unwrap();
        let counters = counters(&database, Some(&leases), || ());
        for id in ["a", "b"] {
            counters.put(id, 5).wait().unwrap();
        }
        let anns = counters.under(&leases.acquire("a", "ann").wait().unwrap()).unwrap();
        let bobs = leases.acquire("b", "bob").wait().unwrap();

        anns.put("a", 6).wait().unwrap();
        assert!(matches!(kind(anns.put("b", 6).wait()), Kind::Locked { .. }));
        assert!(matches!(kind(counters.put("a", 7).wait()), Kind::Locked { .. }));

        bobs.release().wait().unwrap();
        anns.put("b", 6).wait().unwrap();
    }
}
