//! [`Extent`], how far the log reaches.

use super::schema::{self, NEWEST};
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
    /// The row of the newest commits.
    pub(super) newest: Vec<u8>,
}

impl Extent {
    /// Reads it from the file, but for its weight: that is of who reads the commits.
    pub(crate) fn load(view: &View) -> Result<Self, redb::Error> {
        let facts = schema::facts(view.snapshot())?;
        let newest = view.snapshot().open_table(NEWEST)?.get(())?;
        let newest = newest.map_or_else(Vec::new, |newest| newest.value().to_vec());
        Ok(Self { last: view.last, floor: facts.floor, weight: 0, forgotten: facts.forgotten, newest })
    }

    #[cfg(test)]
    pub(crate) fn newest(&self) -> &[u8] {
        &self.newest
    }
}
