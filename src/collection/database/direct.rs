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
