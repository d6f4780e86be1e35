//! [`Added`], the commits of one turn before they are written.

use std::sync::Arc;

use super::commits::{Commits, encode, encode_frame};
use super::log::Logged;
use crate::store::WriteId;

/// How many bytes of commits a turn has at most in the journal. With more it is settled at once: values so large are
/// better written once.
const LARGE: usize = 1 << 20;

/// The commits of one turn before they are written, in order, and their bytes in a row.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(super) commits: Commits,
    row: Vec<u8>,
    is_large: bool,
}

impl Added {
    /// Adds a commit after all others, with a [`Record`](crate::backend::record::Record) for each of its puts, in their
    /// order.
    pub(crate) fn add(&mut self, logged: Logged, records: Vec<Arc<[u8]>>) {
        let before = self.row.len();
        let values: usize = records.iter().map(|record| record.len()).sum();
        self.is_large |= before + values > LARGE;
        if !self.is_large {
            encode(&mut self.row, &logged, &records);
        }
        self.commits.add(logged, records, self.row.len() - before);
    }

    pub(crate) fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Closes a write id.
    pub(crate) fn close(&mut self, write: WriteId) {
        self.commits.close(write);
    }

    /// What the journal keeps of it; `None` where that is too much.
    pub(crate) fn frame(&self) -> Option<Vec<u8>> {
        (!self.is_large).then(|| encode_frame(self.commits.closed(), &self.row))
    }
}
