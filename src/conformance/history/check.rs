//! [`History::check`]: whether one order explains all answers.

use super::chain::Chain;
use super::event::{Answer, Event, History, Operation};
use super::explain::explain;
use super::gather::Facts;
use super::order::Order;
use super::violation::Violation;

/// What was checked, for a test to tell and to hold against what it meant to do.
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
    /// Takes O(n log n) time, and memory of about 200 bytes an event.
    ///
    /// # Errors
    ///
    /// The first [`Violation`] found.
    pub fn check(&self) -> Result<Checked, Violation> {
        let mut facts = Facts::gather(self)?;
        let mut chains = Chain::of_receipts(&mut facts)?;
        explain(&mut facts, &mut chains)?;
        for (id, chain) in chains.iter_mut().enumerate() {
            chain.link_up(&facts, id)?;
        }
        facts.parts.sort_by_key(|part| part.moment);
        Order::of(&facts, &chains)?.walk()?;
        let conflict =
            |event: &&Event| matches!(event.operation, Operation::Commit { answer: Answer::Conflict(_), .. });
        Ok(Checked {
            operations: self.events.len(),
            conflicts: self.events.iter().filter(conflict).count(),
            versions: chains.iter().map(|chain| chain.links.len()).sum(),
            sights: facts.parts.len(),
            unknown: facts.unknown(),
        })
    }
}
