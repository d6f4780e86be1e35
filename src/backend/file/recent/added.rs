//! [`Added`], the commits of one turn before they are written.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::commits::{AfterImage, Commits, encode};
use super::log::Logged;
use super::view::Stored;
use crate::store::WriteId;

/// How many bytes of commits may be recent. With more, a page of values would be written for more of them at once, and the
/// commit that settles them would take longer.
pub(super) const RECENT_BYTES: usize = 256 << 10;

/// The commits of one turn before they are written, in order, and their bytes in a row.
#[derive(Debug, Default)]
pub(crate) struct Added {
    pub(super) commits: Commits,
    pub(super) row: Vec<u8>,
    /// The write ids that are closed.
    pub(super) closed: Vec<WriteId>,
}

impl Added {
    /// Adds a commit after all others, with a [`Record`](crate::backend::record::Record) for each of its puts, in their
    /// order.
    pub(crate) fn add(&mut self, logged: Logged, records: Vec<Arc<[u8]>>) {
        let before = self.row.len();
        let values: usize = records.iter().map(|record| record.len()).sum();
        // What is settled at once needs no row.
        let bytes = if before + values > RECENT_BYTES {
            values
        } else {
            encode(&mut self.row, &logged, &records);
            self.row.len() - before
        };
        self.commits.add(logged, records, bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty() && self.closed.is_empty()
    }

    /// Closes a write id.
    pub(crate) fn close(&mut self, write: WriteId) {
        self.closed.push(write);
    }

    /// The position of the newest, where there is one.
    pub(crate) fn last(&self) -> Option<NonZeroU64> {
        self.commits.list().last().map(|logged| logged.position)
    }

    /// What an id came to, where one of them touched it.
    pub(crate) fn find(&self, id: &str) -> Option<Stored> {
        self.image(id).map(Stored::from)
    }

    pub(super) fn image(&self, id: &str) -> Option<&AfterImage> {
        self.commits.find(id, u64::MAX)
    }

    /// The commit at a position.
    pub(crate) fn at(&self, position: u64) -> Option<&Arc<Logged>> {
        self.commits.at(position)
    }
}
