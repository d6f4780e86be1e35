//! [`Shared`], what the callers, the watchers and the committing thread share, and how it is read.

use std::ops::Bound;

use parking_lot::Mutex;

use super::batch;
use super::handle::Handle;
use super::options::Persistence;
use super::queue::{OwnedCommit, Queue};
use crate::backend::limits::Limits;
use crate::backend::record::{Damage, Record};
use crate::store::{
    Commit, Committed, Corrupt, Error, Known, Listed, Page, Refusal, Resolution, Scan, Version, Versioned,
    Window, WriteId,
};

/// The most entries one commit may have.
pub(super) const ENTRIES: usize = 10_000;

/// The most bytes the values of one commit may have.
const COMMIT_BYTES: usize = 64 << 20;

/// What the callers, the watchers and the committing thread share.
pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) queue: Queue,
    pub(super) window: Mutex<Window<u64>>,
    pub(super) history: usize,
    pub(super) value_limit: usize,
    pub(super) persistence: Persistence,
}

impl Shared {
    pub(super) fn is_eventual(&self) -> bool {
        self.persistence == Persistence::Eventual
    }

    pub(super) fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        self.handle.read(|view| Ok(view.find(id)?.record().map(|stored| value(id, stored)).transpose()))?
    }

    pub(super) fn scan(&self, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
        let Scan { prefix, after, limit, values } = scan;
        if limit == 0 {
            return Err(Refusal::EmptyPage.into());
        }
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.handle.read(|view| {
            let mut page = Page { items: Vec::with_capacity(limit.min(256)), more: false };
            for next in view.range(from, prefix, limit.saturating_add(1))? {
                let (id, stored) = next?;
                if !id.starts_with(prefix) {
                    break;
                }
                if page.items.len() == limit {
                    page.more = true;
                    break;
                }
                let stored = stored.record().unwrap_or_default();
                let listed = match values {
                    true => value(&id, stored).map(Listed::from),
                    false => version(&id, stored).map(Listed::from),
                };
                match page.add(id, listed) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(corrupt) => return Ok(Err(corrupt)),
                }
            }
            Ok(Ok(page))
        })?
    }

    /// A commit that only checks, judged against the last committed state.
    pub(super) fn check(&self, commit: &OwnedCommit) -> Result<Committed, Error> {
        self.handle.read(|view| {
            let judged = batch::judge(&commit.entries, |id| view.find(id), view)?;
            let pairs = |found: Vec<_>| {
                commit
                    .entries
                    .iter()
                    .zip(found)
                    .map(|(entry, found)| batch::unchanged(entry, found))
                    .collect()
            };
            Ok(judged.map(pairs))
        })?
    }

    /// What is known of a write id already; `None` where the committing thread has to be asked.
    pub(super) fn resolved(&self, write: WriteId) -> Result<Option<Resolution>, Error> {
        self.handle.check_process()?;
        // Whether it is ahead of the file is for the committing thread to say, who knows the last version.
        let position = match self.window.lock().look(write, write.place()) {
            Known::Applied(applied) => applied.answer,
            Known::Closed => return Ok(Some(Resolution::NotApplied)),
            Known::Outside => return Ok(Some(Resolution::Unknown)),
            Known::Unseen => return Ok(None),
        };
        // It may have left the log since.
        self.handle.read(|view| {
            let logged = view.at(position)?;
            Ok(logged.map(|logged| Resolution::Applied(logged.committed())))
        })
    }

    /// Refuses what the file can't hold, before it waits for anything.
    pub(super) fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        Limits { entries: ENTRIES, value: self.value_limit, commit: COMMIT_BYTES }.admit(commit)
    }
}

/// The value stored under an id.
fn value(id: &str, stored: &[u8]) -> Result<Versioned<[u8]>, Error> {
    match Record::decode(id, stored) {
        Ok(record) => Ok(Versioned::new(record.version, record.value)),
        Err(damage) => Err(corrupt(id, stored, damage)),
    }
}

/// The version of what is stored under an id.
fn version(id: &str, stored: &[u8]) -> Result<Version, Error> {
    Record::version_of(stored).map_err(|damage| corrupt(id, stored, damage))
}

fn corrupt(id: &str, stored: &[u8], damage: Damage) -> Error {
    Corrupt::new(id, Record::claimed_version(stored), damage).into()
}
