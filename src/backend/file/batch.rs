//! [`Batch`], the calls that share one transaction, each with its own verdict.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Error as EngineError, ReadTransaction};

use super::log::{Done, Logged, LoggedEntry};
use super::queue::{Order, OrderEntry};
use super::recent::{self, Commits};
use super::settle::RECENT_BYTES;
use super::view::{Stored, View};
use super::window::{Forgotten, Known, Unknown, Window};
use crate::backend::record::Record;
use crate::store::{
    Action, Committed, Conflict, Corrupt, Entry, Error, Found, Receipt, Refusal, Resolution, Version,
    Versioned, WriteId, check_id,
};

/// The last version.
pub(super) const LAST: u64 = i64::MAX as u64;

/// Where the log stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The last version issued.
    pub(super) last: u64,
    /// The position of the last commit that has left the log.
    pub(super) floor: u64,
    /// How much the log holds, the recent commits included: an entry weighs one, and a commit at least that.
    pub(super) weight: usize,
    pub(super) forgotten: Forgotten,
    /// The row of the newest commits.
    pub(super) newest: Vec<u8>,
}

/// The calls that share one transaction.
///
/// Each is judged in turn, with the writes of those before it in place. One that is refused changes nothing and
/// disturbs nobody.
pub(super) struct Batch<'t> {
    /// What is committed.
    pub(super) view: &'t View,
    window: &'t Mutex<Window>,
    /// What this transaction adds, and its bytes in a row.
    pub(super) commits: Commits,
    pub(super) row: Vec<u8>,
    pub(super) standing: Standing,
    pub(super) written: Written,
}

/// What a batch wrote, to be noted once it is committed.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) fresh: HashMap<WriteId, Known>,
    pub(super) left: Vec<WriteId>,
    /// Whether a watcher has something to read.
    pub(super) changed: bool,
    /// Whether all that was recent is settled.
    pub(super) settled: bool,
}

/// What one call gets, should the batch be committed.
pub(super) type Verdict<T> = Result<T, Error>;

impl<'t> Batch<'t> {
    pub(super) fn new(view: &'t View, standing: Standing, window: &'t Mutex<Window>) -> Self {
        Self {
            view,
            window,
            commits: Commits::default(),
            row: Vec::new(),
            standing,
            written: Written::default(),
        }
    }

    /// Whether there is anything to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Applies a commit, or refuses it, or answers as before where its write id has already come.
    pub(super) fn commit(&mut self, order: &Order) -> Result<Verdict<Committed>, EngineError> {
        let Some(write) = order.write else { return self.apply(order) };
        match self.look(write) {
            Ok(Known::Idle(committed)) => return Ok(Ok(committed)),
            Ok(Known::Closed) | Err(Unknown::ForgottenClosed) => {
                return Ok(Err(Refusal::Closed { write }.into()));
            }
            Ok(Known::Logged(position)) => return Ok(Ok(self.logged(position)?.committed())),
            Err(Unknown::Unseen | Unknown::Forgotten) => {}
        }
        let last = self.standing.last;
        let verdict = self.apply(order)?;
        if let Ok(committed) = &verdict {
            let known = match self.standing.last {
                same if same == last => Known::Idle(committed.clone()),
                position => Known::Logged(position),
            };
            self.written.fresh.insert(write, known);
        }
        Ok(verdict)
    }

    /// The conflict of a commit with what stands now, if there is one.
    pub(super) fn conflict(&self, order: &Order) -> Result<Option<Conflict>, EngineError> {
        match judge(&order.entries, |id| self.find(id), self.view)? {
            Err(Error::Conflict(conflict)) => Ok(Some(conflict)),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Tells what became of a commit, and closes its write id where it never came.
    pub(super) fn resolve(&mut self, write: WriteId) -> Result<Verdict<Resolution>, EngineError> {
        Ok(Ok(match self.look(write) {
            Ok(Known::Idle(committed)) => Resolution::Applied(committed),
            Ok(Known::Closed) => Resolution::NotApplied,
            Ok(Known::Logged(position)) => Resolution::Applied(self.logged(position)?.committed()),
            Err(Unknown::Forgotten | Unknown::ForgottenClosed) => Resolution::Unknown,
            Err(Unknown::Unseen) => {
                let position = match self.next() {
                    Ok(position) => position,
                    Err(refusal) => return Ok(Err(refusal.into())),
                };
                self.append(Logged { position, write: Some(write), entries: None }, vec![]);
                self.written.fresh.insert(write, Known::Closed);
                Resolution::NotApplied
            }
        }))
    }

    /// What is to be known once it is committed, and what readers see then: with a snapshot taken afterwards, where there
    /// was anything to commit.
    pub(super) fn finish(self, snapshot: Option<ReadTransaction>) -> (Standing, Written, Option<View>) {
        let Self { view, commits, standing, written, .. } = self;
        let last = commits.list().last().map_or(view.last, |last| last.position.get());
        let next = snapshot.map(|snapshot| match written.settled {
            true => View::settled(snapshot, last, standing.floor),
            false => view.followed(snapshot, commits, last),
        });
        (standing, written, next)
    }

    fn apply(&mut self, order: &Order) -> Result<Verdict<Committed>, EngineError> {
        let found = match judge(&order.entries, |id| self.find(id), self.view)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let pairs = || order.entries.iter().zip(&found);
        let creates = |(entry, found): &(&OrderEntry, &Option<Version>)| {
            matches!(entry.action, Action::Put(_)) && found.is_none()
        };
        if let Some(refusal) = pairs().filter(creates).find_map(|(entry, _)| check_id(&entry.id).err()) {
            return Ok(Err(refusal.into()));
        }
        let changes = pairs().any(|(entry, found)| match entry.action {
            Action::Check => false,
            Action::Put(_) => true,
            Action::Delete => found.is_some(),
        });
        if !changes {
            return Ok(Ok(pairs().map(|(entry, found)| unchanged(entry, *found)).collect()));
        }

        let position = match self.next() {
            Ok(position) => position,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let version = Version::from_bits(position);
        let mut entries = Vec::with_capacity(order.entries.len());
        let mut records = Vec::with_capacity(order.entries.len());
        for (entry, replaced) in pairs() {
            let done = match &entry.action {
                Action::Check => Done::Checked,
                Action::Delete if replaced.is_none() => Done::Nothing,
                Action::Delete => Done::Deleted(Arc::from(&*entry.id)),
                Action::Put(value) => {
                    let record = Record { version, write: order.write, value }.encode(&entry.id);
                    records.push(record.into());
                    Done::Put(Arc::from(&*entry.id))
                }
            };
            entries.push(LoggedEntry { done, replaced: *replaced });
        }
        let logged = Logged { position, write: order.write, entries: Some(entries) };
        let committed = logged.committed();
        self.append(logged, records);
        self.written.changed = true;
        Ok(Ok(committed))
    }

    /// What stands under an id, with the writes of this transaction in place.
    fn find(&self, id: &str) -> Result<Stored, EngineError> {
        match self.commits.find(id, LAST) {
            Some(state) => Ok(state.into()),
            None => self.view.find(id),
        }
    }

    fn next(&self) -> Result<NonZeroU64, Refusal> {
        match self.standing.last {
            LAST.. => Err(Refusal::VersionsExhausted),
            last => Ok(NonZeroU64::MIN.saturating_add(last)),
        }
    }

    fn append(&mut self, logged: Logged, records: Vec<Arc<[u8]>>) {
        let before = self.row.len();
        let values: usize = records.iter().map(|record| record.len()).sum();
        // What is settled at once needs no row.
        let bytes = if before + values > RECENT_BYTES {
            values
        } else {
            recent::encode(&mut self.row, &logged, &records);
            self.row.len() - before
        };
        self.standing.last = logged.position.get();
        self.standing.weight += logged.weight();
        self.commits.add(logged, records, bytes);
    }

    fn look(&self, write: WriteId) -> Result<Known, Unknown> {
        match self.written.fresh.get(&write) {
            Some(known) => Ok(known.clone()),
            None => self.window.lock().look(write).cloned(),
        }
    }

    fn logged(&self, position: u64) -> Result<Arc<Logged>, EngineError> {
        let logged = match self.commits.at(position) {
            Some(logged) => Some(Arc::clone(logged)),
            None => self.view.at(position)?,
        };
        logged.ok_or_else(|| EngineError::Corrupted(format!("the log has no commit at {position}")))
    }
}

/// Judges every expectation against what stands: the version found for each entry, or the refusal.
pub(super) fn judge(
    entries: &[OrderEntry],
    find: impl Fn(&str) -> Result<Stored, EngineError>,
    view: &View,
) -> Result<Verdict<Vec<Option<Version>>>, EngineError> {
    let mut found = Vec::with_capacity(entries.len());
    let mut mismatches = Vec::new();
    for entry in entries {
        let expected = entry.condition.expected;
        let stored = find(&entry.id)?;
        let current = match stored.record() {
            None => None,
            Some(stored) => match Record::decode(&entry.id, stored) {
                Ok(record) => Some((record.version, record.value)),
                Err(damage) => {
                    let version = Record::claimed_version(stored);
                    // Only who names the damaged version may write over it.
                    if expected != crate::store::Expected::Version(version) {
                        return Ok(Err(Corrupt::new(&entry.id, version, damage).into()));
                    }
                    Some((version, &[][..]))
                }
            },
        };
        let version = current.map(|(version, _)| version);
        if expected.admits(version) {
            found.push(version);
            continue;
        }
        let standing = match current {
            Some((version, value)) => Found::Value(Versioned::new(version, value)),
            None => {
                let deleted = match stored {
                    Stored::Deleted(position) => Some(position),
                    _ => view.buried(&entry.id)?,
                };
                match deleted.and_then(NonZeroU64::new) {
                    Some(version) => Found::Deleted(Version::from_bits(version)),
                    None => Found::Nothing,
                }
            }
        };
        let entry = Entry { id: &entry.id, condition: entry.condition, action: entry.action.clone() };
        mismatches.extend(entry.judge(standing).err());
    }
    Ok(match Conflict::new(mismatches) {
        Some(conflict) => Err(conflict.into()),
        None => Ok(found),
    })
}

/// The receipt of an entry in a commit that changes nothing.
pub(super) fn unchanged(entry: &OrderEntry, found: Option<Version>) -> Receipt {
    match entry.action {
        Action::Check => Receipt { version: found, replaced: found },
        Action::Put(_) | Action::Delete => Receipt { version: None, replaced: None },
    }
}
