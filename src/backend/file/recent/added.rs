//! [`Added`], the commits of one turn before they are written.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::commits::{AfterImage, Commits, encode, encode_frame};
use super::log::Logged;
use super::view::Stored;
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

    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Closes a write id.
    pub(crate) fn close(&mut self, write: WriteId) {
        self.commits.close(write);
    }

    /// What the journal keeps of it; `None` where that is too much.
    pub(crate) fn frame(&self) -> Option<Vec<u8>> {
        (!self.is_large).then(|| encode_frame(self.commits.closed(), &self.row))
    }

    /// The position of the newest, where there is one.
    pub(crate) fn last(&self) -> Option<NonZeroU64> {
        self.commits.list().last().map(|logged| logged.position)
    }

    /// How much of the log's limit they take up.
    pub(crate) fn weight(&self) -> usize {
        self.commits.weight()
    }

    /// What an id came to, where one of them touched it.
    pub(crate) fn find(&self, id: &str) -> Option<Stored> {
        self.image(id).map(Stored::from)
    }

    fn image(&self, id: &str) -> Option<&AfterImage> {
        self.commits.find(id, u64::MAX)
    }

    /// The commit at a position.
    pub(crate) fn at(&self, position: u64) -> Option<&Arc<Logged>> {
        self.commits.at(position)
    }
}
