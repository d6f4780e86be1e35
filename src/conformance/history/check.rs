//! [`History::check`]: whether one order explains all answers.

use super::chain::Chain;
use super::event::{Answer, Event, History, Operation};
use super::explain::{Preference, explain};
use super::gather::Facts;
use super::order::Order;
use super::violation::Violation;

/// What was checked, for a test to tell and to hold against what it meant to do.
///
/// ```
/// use ifmatch::conformance::history::{Checked, History, Numbering};
///
/// assert_eq!(History::new(Numbering::PerId, Vec::new()).check()?, Checked::default());
/// # Ok::<_, ifmatch::conformance::history::Violation>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// All events.
    pub operations: usize,
    /// Commits that were refused with a conflict.
    pub conflicts: usize,
    /// The states that were linked into chains.
    pub versions: usize,
    /// What answers showed of an id: values, deletions and absences, those in conflicts included.
    pub sights: usize,
    /// Commits whose fate nobody was told.
    pub unknown: usize,
}

impl History {
    /// Looks for an order of the events in which each happens at one instant between its call and its return and
    /// every answer is true: strict serializability, and for commits of one id linearizability.
    ///
    /// It also holds each receipt against what was expected, each value against what was written in its version, and
    /// each commit that was sent again against its first answer. The ids must not have been written before the
    /// first event, and each write should put a value of its own: else one write can pass for another.
    ///
    /// Commits whose fate nobody was told are matched to versions that were seen and nobody was told to have written.
    /// The check of what such a commit did unseen is weaker: that a deletion nobody saw, or a value that was
    /// replaced before anybody saw it, fits the other ids of its commit is not checked, and a commit that expected a
    /// version which no answer of the history shows is taken not to have been applied.
    ///
    /// Takes O(n log n) time, and memory of about 200 bytes an event.
    ///
    /// # Errors
    ///
    /// The first [`Violation`] found.
    pub fn check(&self) -> Result<Checked, Violation> {
        let first = self.explained(Preference::Fit);
        if first.is_ok() || !self.events.iter().any(|event| event.returned.is_none()) {
            return first;
        }
        // Where fates are unknown, another choice of writers may explain what the first does not.
        Preference::ALL.into_iter().find_map(|preference| self.explained(preference).ok()).map_or(first, Ok)
    }

    /// Looks for an order with the writers that are preferred among those that nobody was told the fate of.
    fn explained(&self, preference: Preference) -> Result<Checked, Violation> {
        let mut facts = Facts::gather(self)?;
        let mut chains = Chain::of_receipts(&mut facts)?;
        explain(&mut facts, &mut chains, preference)?;
        for (id, chain) in chains.iter_mut().enumerate() {
            chain.link_up(&facts, id)?;
        }
        facts.parts.sort_by_key(|part| part.moment);
        Order::of(&facts, &chains)?.walk()?;
        Ok(self.checked(&facts, &chains))
    }

    fn checked(&self, facts: &Facts<'_>, chains: &[Chain]) -> Checked {
        let conflict =
            |event: &&Event| matches!(event.operation, Operation::Commit { answer: Answer::Conflict(_), .. });
        Checked {
            operations: self.events.len(),
            conflicts: self.events.iter().filter(conflict).count(),
            versions: chains.iter().map(|chain| chain.links.len()).sum(),
            sights: facts.parts.len(),
            unknown: facts.unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::{Deed, Numbering, Seen, Sight, Step};
    use super::*;
    use crate::store::{Expected, Receipt, Version, WriteId};

    const WRITE: WriteId = WriteId::from_bits(7);

    fn version(number: u64) -> Version {
        number.to_string().parse().unwrap()
    }

    fn id(id: &str) -> Arc<str> {
        id.into()
    }

    fn read(id: &str, seen: Option<u64>) -> Operation {
        Operation::Read { id: id.into(), seen: seen.map_or(Seen::Nothing, value) }
    }

    /// Each version has a value of its own number.
    fn value(number: u64) -> Seen {
        Seen::Value { version: version(number), fingerprint: Some(number) }
    }

    fn step(id: &str, expected: impl Into<Expected>, deed: Deed) -> Step {
        Step { id: id.into(), expected: expected.into(), deed }
    }

    fn receipt(now: Option<u64>, replaced: Option<u64>) -> Receipt {
        Receipt { version: now.map(version), replaced: replaced.map(version) }
    }

    fn commit(steps: impl Into<Vec<Step>>, answer: Answer) -> Operation {
        Operation::Commit { write: None, steps: steps.into(), answer }
    }

    fn named(operation: Operation) -> Operation {
        match operation {
            Operation::Commit { steps, answer, .. } => {
                Operation::Commit { write: Some(WRITE), steps, answer }
            }
            other => other,
        }
    }

    /// A blind put that was applied: the version it made, and the one its receipt says it replaced.
    fn put(id: &str, now: u64, replaced: Option<u64>) -> Operation {
        let receipts = vec![receipt(Some(now), replaced)];
        commit([step(id, Expected::Any, Deed::Put(now))], Answer::Applied(receipts))
    }

    /// Each operation begins after the one before it has returned; those of unknown fate never return.
    fn one_after_another(operations: impl IntoIterator<Item = Operation>) -> History {
        let event = |(process, operation)| {
            let unknown = matches!(operation, Operation::Commit { answer: Answer::Unknown, .. });
            let call = process * 10;
            Event { process, call, returned: (!unknown).then_some(call + 5), operation }
        };
        History::new(Numbering::StoreWide, (0..).zip(operations).map(event).collect())
    }

    fn judged(operations: impl IntoIterator<Item = Operation>) -> Violation {
        one_after_another(operations).check().unwrap_err()
    }

    #[test]
    fn what_has_an_order_is_counted() {
        let sight = Sight { id: id("a"), seen: value(1) };
        let history = one_after_another([
            put("a", 1, None),
            commit([step("a", Expected::Absent, Deed::Put(5))], Answer::Conflict(vec![sight])),
            commit([step("a", version(1), Deed::Put(2))], Answer::Unknown),
            commit([step("b", Expected::Absent, Deed::Check)], Answer::Applied(vec![receipt(None, None)])),
            read("a", Some(2)),
            commit([step("a", Expected::Any, Deed::Put(9))], Answer::NotApplied),
        ]);

        let checked = history.with_seed(3).check();

        let counted = Checked { operations: 6, conflicts: 1, versions: 2, sights: 3, unknown: 1 };
        assert_eq!(checked, Ok(counted));
    }

    #[test]
    fn a_commit_of_unknown_fate_that_was_seen_in_part_is_explained_as_a_whole() {
        let both = || [step("a", Expected::Any, Deed::Put(2)), step("b", Expected::Any, Deed::Delete)];
        let seen = || [commit(both(), Answer::Unknown), read("a", Some(2)), read("b", None)];
        let versions = |operations| one_after_another(operations).check().map(|checked| checked.versions);

        // The two at `b` are its value and its deletion; where nothing stood, none was deleted.
        assert_eq!(versions([put("b", 1, None)].into_iter().chain(seen()).collect::<Vec<_>>()), Ok(3));
        assert_eq!(versions(seen().into_iter().chain([put("b", 3, None)]).collect()), Ok(2));
    }

    #[test]
    fn what_is_wrong_with_the_versions_of_an_id_is_named() {
        assert_eq!(
            judged([put("a", 1, None), put("a", 2, Some(1)), put("a", 3, Some(1))]).to_string(),
            "lost update: events 1 and 2 both replaced version 1 of `a`, with versions 2 and 3"
        );
        assert_eq!(
            judged([put("a", 1, None), put("a", 2, Some(1)), put("a", 3, None)]).to_string(),
            "event 2 made version 3 of `a` out of no value, but before it stood version 2"
        );
        assert_eq!(
            judged([put("a", 1, None), put("a", 1, None)]),
            Violation::VersionReused { id: id("a"), version: version(1), events: [0, 1] }
        );
        assert_eq!(
            judged([put("a", 5, None), put("a", 3, Some(5))]),
            Violation::VersionOrder { id: id("a"), version: version(3), replaced: version(5), event: 1 }
        );
        assert_eq!(
            judged([put("a", 1, None), put("b", 1, None)]),
            Violation::Numbering { id: id("b"), version: version(1), event: 1 }
        );
        let both = ["a", "b"].map(|id| step(id, Expected::Any, Deed::Put(1)));
        assert_eq!(
            judged([commit(both, Answer::Applied(vec![receipt(Some(1), None), receipt(Some(2), None)]))]),
            Violation::Numbering { id: id("b"), version: version(2), event: 0 }
        );
    }

    #[test]
    fn what_is_wrong_with_one_answer_is_named() {
        let check = |expected| step("a", expected, Deed::Check);
        let applied = |step, receipt| commit([step], Answer::Applied(vec![receipt]));

        assert_eq!(
            judged([applied(step("a", version(1), Deed::Put(3)), receipt(Some(3), Some(2)))]).to_string(),
            "event 0 expected version 1 of `a` and was applied to version 2"
        );
        for (step, receipt) in [
            (step("a", Expected::Any, Deed::Put(1)), receipt(None, None)),
            (step("a", Expected::Any, Deed::Delete), receipt(None, Some(1))),
            (step("a", Expected::Any, Deed::Delete), receipt(Some(2), None)),
            (check(Expected::Any), receipt(Some(2), Some(1))),
        ] {
            assert_eq!(judged([applied(step, receipt)]), Violation::Receipts { event: 0 });
        }
        assert_eq!(
            judged([commit([check(Expected::Any)], Answer::Applied(vec![]))]),
            Violation::Receipts { event: 0 }
        );
        let met = Answer::Conflict(vec![Sight { id: id("a"), seen: value(1) }]);
        assert_eq!(
            judged([put("a", 1, None), commit([check(version(1).into())], met)]),
            Violation::FalseConflict { id: id("a"), event: 1 }
        );
    }

    #[test]
    fn what_was_seen_and_not_written_is_named() {
        let other = Seen::Value { version: version(1), fingerprint: Some(9) };
        let same = Seen::Value { version: version(2), fingerprint: Some(1) };
        let saw = |seen| Operation::Read { id: id("a"), seen };

        assert_eq!(
            judged([put("a", 1, None), saw(other)]),
            Violation::ValueMismatch { id: id("a"), version: version(1), wrote: 0, seen: 1 }
        );
        assert_eq!(
            judged([put("a", 1, None), saw(Seen::Deleted { version: version(1) })]),
            Violation::ValueMismatch { id: id("a"), version: version(1), wrote: 0, seen: 1 }
        );
        assert_eq!(
            judged([put("b", 1, None), saw(value(7)), saw(value(7))]),
            Violation::Unexplained { id: id("a"), version: version(7), event: 1 }
        );
        assert_eq!(
            judged([put("a", 1, None), saw(same)]),
            Violation::AppliedTwice { id: id("a"), versions: [version(1), version(2)], event: 0 }
        );
    }

    #[test]
    fn two_ends_of_one_write_are_named() {
        let resolved = |answer| Operation::Resolve { write: WRITE, answer };
        let failed = || commit([step("a", Expected::Any, Deed::Put(1))], Answer::NotApplied);

        assert_eq!(
            judged([named(put("a", 1, None)), named(put("a", 2, Some(1)))]),
            Violation::AppliedTwice { id: id("a"), versions: [version(1), version(2)], event: 0 }
        );
        assert_eq!(
            judged([named(failed()), resolved(Answer::Applied(vec![receipt(Some(1), None)]))]),
            Violation::FalseResolution { write: WRITE, events: [0, 1] }
        );
        assert_eq!(
            judged([named(put("a", 1, None)), resolved(Answer::Unknown), resolved(Answer::NotApplied)]),
            Violation::FalseResolution { write: WRITE, events: [0, 2] }
        );
        // A store that recognises its own earlier write never answers it with a conflict.
        let itself = Answer::Conflict(vec![Sight { id: id("a"), seen: value(1) }]);
        let again = commit([step("a", Expected::Absent, Deed::Put(1))], itself);
        assert_eq!(
            judged([named(put("a", 1, None)), named(again)]),
            Violation::FalseConflict { id: id("a"), event: 1 }
        );
    }

    #[test]
    fn what_comes_too_late_is_named() {
        assert_eq!(
            judged([put("a", 1, None), put("a", 2, Some(1)), read("a", Some(1))]).to_string(),
            "stale read: event 2 saw version 1 of `a`, but was called after event 1, which comes later, \
             had returned"
        );
        assert_eq!(
            judged([put("a", 1, None), read("a", None)]),
            Violation::StaleRead { id: id("a"), version: None, event: 1, after: 0 }
        );
        assert_eq!(
            judged([put("a", 2, None), put("b", 1, None)]),
            Violation::Reordered { event: 0, before: 1 }
        );
        let steps = [step("b", Expected::Any, Deed::Put(2)), step("a", Expected::Absent, Deed::Check)];
        let receipts = vec![receipt(Some(2), None), receipt(None, None)];
        assert_eq!(
            judged([put("a", 1, None), commit(steps, Answer::Applied(receipts))]),
            Violation::NeverAbsent { id: id("a"), event: 1 }
        );
    }

    #[test]
    fn two_halves_that_cannot_be_of_one_instant_are_named() {
        let halves = |a: Receipt, b: Receipt| {
            let put = |id, receipt: Receipt| {
                step(id, Expected::Any, Deed::Put(receipt.version.unwrap().to_bits().get()))
            };
            commit([put("a", a), put("b", b)], Answer::Applied(vec![a, b]))
        };
        // The first is before the second at `a`, and after it at `b`.
        let first = halves(receipt(Some(1), None), receipt(Some(2), Some(1)));
        let second = halves(receipt(Some(2), Some(1)), receipt(Some(1), None));
        let at_once = |(process, operation)| Event { process, call: process, returned: Some(9), operation };
        let events = (0..).zip([first, put("c", 1, None), second]).map(at_once).collect();

        let Err(Violation::Torn { mut events }) = History::new(Numbering::PerId, events).check() else {
            panic!("no order lets both happen at one instant")
        };

        events.sort_unstable();
        assert_eq!(events, [0, 2]);
    }
}
