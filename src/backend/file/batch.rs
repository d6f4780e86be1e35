//! [`Batch`], the calls that share one transaction, each with its own verdict.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::{Error as EngineError, ReadableTable, Table, WriteTransaction};

use super::log::{Done, Logged, LoggedEntry};
use super::queue::{Order, OrderEntry};
use super::schema::{self, DELETED, FACTS, LOG, RESOURCES};
use super::window::{Forgotten, Known, Unknown, Window};
use crate::backend::record::Record;
use crate::commit::{Action, Committed, Entry, Found, Receipt};
use crate::conflict::Conflict;
use crate::error::{Corrupt, Error, Refusal, check_id};
use crate::store::Resolution;
use crate::version::{Version, Versioned};
use crate::write_id::WriteId;

/// The last version.
pub(super) const LAST: u64 = i64::MAX as u64;

/// How many commits leave the log in one transaction at most.
const TRIMMED: usize = 8192;

/// Where the log stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The last version issued.
    pub(super) last: u64,
    /// The position of the last commit that has left the log.
    pub(super) floor: u64,
    /// How much the log holds: an entry weighs one, and a commit at least that.
    pub(super) weight: usize,
    pub(super) forgotten: Forgotten,
}

/// The calls that share one transaction.
///
/// Each is judged in turn, with the writes of those before it in place. One that is refused changes nothing and
/// disturbs nobody.
pub(super) struct Batch<'t> {
    transaction: &'t WriteTransaction,
    resources: Table<'t, &'static [u8], &'static [u8]>,
    log: Table<'t, u64, &'static [u8]>,
    deleted: Table<'t, &'static [u8], u64>,
    window: &'t Mutex<Window>,
    standing: Standing,
    written: Written,
}

/// What a batch wrote, to be noted once it is committed.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) fresh: HashMap<WriteId, Known>,
    pub(super) left: Vec<WriteId>,
    /// Whether there is anything to commit.
    pub(super) logged: bool,
    /// Whether a watcher has something to read.
    pub(super) changed: bool,
}

/// What one call gets, should the batch be committed.
pub(super) type Verdict<T> = Result<T, Error>;

impl<'t> Batch<'t> {
    pub(super) fn open(
        transaction: &'t WriteTransaction,
        standing: Standing,
        window: &'t Mutex<Window>,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            resources: transaction.open_table(RESOURCES)?,
            log: transaction.open_table(LOG)?,
            deleted: transaction.open_table(DELETED)?,
            transaction,
            window,
            standing,
            written: Written::default(),
        })
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
        match judge(&order.entries, &self.resources, |id| self.buried(id))? {
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
                self.append(&Logged { position, write: Some(write), entries: None })?;
                self.written.fresh.insert(write, Known::Closed);
                Resolution::NotApplied
            }
        }))
    }

    /// Lets go of the oldest commits where the log is longer than `limit`.
    pub(super) fn trim(&mut self, limit: usize) -> Result<(), EngineError> {
        if !self.written.logged || self.standing.weight <= limit {
            return Ok(());
        }
        // Some room at once, so that not every commit has to make its own.
        let wanted = limit - limit / 64;
        for _ in 0..TRIMMED {
            let oldest = self.log.first()?.map(|(position, stored)| {
                let position = position.value();
                (position, Logged::decode(position, stored.value()))
            });
            let Some((position, logged)) = oldest else { break };
            if self.standing.weight <= wanted || position == self.standing.last {
                break;
            }
            self.log.remove(position)?;
            self.standing.floor = position;
            // What doesn't decode is of no use to anybody.
            let Ok(logged) = logged else { continue };
            self.standing.weight -= logged.weight().min(self.standing.weight);
            if let Some(write) = logged.write {
                let known = if logged.entries.is_some() { Known::Logged(position) } else { Known::Closed };
                self.standing.forgotten.add(write, &known);
                self.written.left.push(write);
            }
            for (id, _) in logged.changes().filter(|(_, deleted)| *deleted) {
                let stone = self.deleted.get(id.as_bytes())?.map(|version| version.value());
                if stone == Some(position) {
                    self.deleted.remove(id.as_bytes())?;
                }
            }
        }
        let mut facts = self.transaction.open_table(FACTS)?;
        schema::note_floor(&mut facts, self.standing.floor, self.standing.forgotten)?;
        Ok(())
    }

    /// Gives the tables back to their transaction.
    pub(super) fn finish(self) -> (Standing, Written) {
        (self.standing, self.written)
    }

    fn apply(&mut self, order: &Order) -> Result<Verdict<Committed>, EngineError> {
        let found = match judge(&order.entries, &self.resources, |id| self.buried(id))? {
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
        for (entry, replaced) in pairs() {
            let done = match &entry.action {
                Action::Check => Done::Checked,
                Action::Delete if replaced.is_none() => Done::Nothing,
                Action::Delete => {
                    self.resources.remove(entry.id.as_bytes())?;
                    self.deleted.insert(entry.id.as_bytes(), position.get())?;
                    Done::Deleted(Arc::from(&*entry.id))
                }
                Action::Put(value) => {
                    let record = Record { version, write: order.write, value }.encode(&entry.id);
                    self.resources.insert(entry.id.as_bytes(), record.as_slice())?;
                    Done::Put(Arc::from(&*entry.id))
                }
            };
            entries.push(LoggedEntry { done, replaced: *replaced });
        }
        let logged = Logged { position, write: order.write, entries: Some(entries) };
        self.append(&logged)?;
        self.written.changed = true;
        Ok(Ok(logged.committed()))
    }

    /// The version of an id's deletion.
    fn buried(&self, id: &str) -> Result<Option<u64>, EngineError> {
        Ok(self.deleted.get(id.as_bytes())?.map(|version| version.value()))
    }

    fn next(&self) -> Result<NonZeroU64, Refusal> {
        match self.standing.last {
            LAST.. => Err(Refusal::VersionsExhausted),
            last => Ok(NonZeroU64::MIN.saturating_add(last)),
        }
    }

    fn append(&mut self, logged: &Logged) -> Result<(), EngineError> {
        self.log.insert(logged.position.get(), logged.encode().as_slice())?;
        self.standing.last = logged.position.get();
        self.standing.weight += logged.weight();
        self.written.logged = true;
        Ok(())
    }

    fn look(&self, write: WriteId) -> Result<Known, Unknown> {
        match self.written.fresh.get(&write) {
            Some(known) => Ok(known.clone()),
            None => self.window.lock().look(write).cloned(),
        }
    }

    fn logged(&self, position: u64) -> Result<Logged, EngineError> {
        let stored = self.log.get(position)?;
        logged_at(position, stored.as_ref().map(|stored| stored.value()))
    }
}

/// What the log has at a position that the window names.
pub(super) fn logged_at(position: u64, stored: Option<&[u8]>) -> Result<Logged, EngineError> {
    let stored =
        stored.ok_or_else(|| EngineError::Corrupted(format!("the log has no commit at {position}")))?;
    Logged::decode(position, stored).map_err(|damage| EngineError::Corrupted(damage.to_string()))
}

/// Judges every expectation against what stands in the table: the version found for each entry, or the refusal.
pub(super) fn judge(
    entries: &[OrderEntry],
    resources: &impl ReadableTable<&'static [u8], &'static [u8]>,
    deleted: impl Fn(&str) -> Result<Option<u64>, EngineError>,
) -> Result<Verdict<Vec<Option<Version>>>, EngineError> {
    let mut found = Vec::with_capacity(entries.len());
    let mut mismatches = Vec::new();
    for entry in entries {
        let expected = entry.expectation.expected;
        let stored = resources.get(entry.id.as_bytes())?;
        let current = match stored.as_ref().map(|stored| stored.value()) {
            None => None,
            Some(stored) => match Record::decode(&entry.id, stored) {
                Ok(record) => Some((record.version, record.value)),
                Err(damage) => {
                    let version = Record::claimed_version(stored);
                    // Only who names the damaged version may write over it.
                    if expected != crate::expected::Expected::Version(version) {
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
            None => match deleted(&entry.id)?.and_then(NonZeroU64::new) {
                Some(version) => Found::Deleted(Version::from_bits(version)),
                None => Found::Nothing,
            },
        };
        let entry = Entry { id: &entry.id, expectation: entry.expectation, action: entry.action.clone() };
        mismatches.extend(entry.judge(standing).err());
    }
    Ok(if mismatches.is_empty() { Ok(found) } else { Err(Conflict::new(mismatches).into()) })
}

/// The receipt of an entry in a commit that changes nothing.
pub(super) fn unchanged(entry: &OrderEntry, found: Option<Version>) -> Receipt {
    match entry.action {
        Action::Check => Receipt { version: found, replaced: found },
        Action::Put(_) | Action::Delete => Receipt { version: None, replaced: None },
    }
}
