//! [`Extent`], how far the log reaches.

use super::settle::Settled;
use super::view::View;
use crate::store::WriteId;

/// How far the log reaches, for who writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The last version issued.
    pub(crate) last: u64,
    /// The position of the last commit that has left the log.
    pub(crate) floor: u64,
    /// How much the log holds, the recent commits included: an entry weighs one, and a commit at least that.
    pub(crate) weight: usize,
    /// The highest write id that has left the log.
    pub(crate) forgotten: Option<WriteId>,
}

impl Extent {
    /// Reads it from the file, but for its weight: that is of who reads the commits.
    pub(crate) fn load(view: &View) -> Result<Self, redb::Error> {
        let facts = view.facts()?;
        Ok(Self { last: view.last, floor: facts.floor, weight: 0, forgotten: facts.forgotten })
    }

    /// Takes note of the oldest commits having left, as others were settled.
    pub(crate) fn note(&mut self, settled: &Settled) {
        self.floor = settled.floor;
        self.forgotten = settled.forgotten;
        self.weight -= settled.trimmed;
    }
}
