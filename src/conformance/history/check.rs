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
