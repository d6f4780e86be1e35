//! [`Batch`], the calls that share one transaction, each with its own verdict.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::Error as EngineError;

use super::queue::{OwnedCommit, OwnedEntry};
use super::recent::{Added, Done, Logged, LoggedEntry, Stored, View};
use crate::backend::record::Record;
use crate::store::{
    Action, Committed, Conflict, Corrupt, Entry, Error, Found, Known, ON_ITS_WAY, Receipt, Refusal,
    Resolution, Version, Versioned, Window, WriteId, check_id,
};

/// The last version.
pub(super) const LAST: u64 = i64::MAX as u64;

/// The calls that share one transaction.
///
/// Each is judged in turn, with the writes of those before it in place. One that is refused changes nothing and
/// disturbs nobody.
pub(super) struct Batch<'t> {
    /// What is committed.
    view: &'t View,
    window: &'t Mutex<Window<u64>>,
    /// The last version issued.
    last: u64,
    judged: Batched,
}

/// What a batch came to: what is to be committed, and what is to be noted then.
#[derive(Debug, Default)]
pub(super) struct Batched {
    pub(super) added: Added,
    /// The write ids that are known from then on, in order.
    pub(super) fresh: Fresh,
    /// Whether a watcher has something to read.
    pub(super) changed: bool,
}

/// The write ids of a batch.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Of commits that were applied: each with its position and fingerprint, in order.
    pub(super) applied: Vec<(WriteId, u64, u64)>,
    /// Of what is applied: the place in the list.
    at: HashMap<WriteId, usize>,
    pub(super) closed: HashSet<WriteId>,
}

/// What one call gets, should the batch be committed.
pub(super) type Judged<T> = Result<T, Error>;

impl Fresh {
    fn add(&mut self, write: WriteId, position: u64, fingerprint: u64) {
        self.at.insert(write, self.applied.len());
        self.applied.push((write, position, fingerprint));
    }

    /// The position and the fingerprint of a commit that was applied.
    fn find(&self, write: WriteId) -> Option<(u64, u64)> {
        let (_, position, fingerprint) = self.applied[*self.at.get(&write)?];
        Some((position, fingerprint))
    }
}

impl<'t> Batch<'t> {
    /// A batch whose versions come after `last`.
    pub(super) fn new(view: &'t View, last: u64, window: &'t Mutex<Window<u64>>) -> Self {
        Self { view, window, last, judged: Batched::default() }
    }

    /// What it came to.
    pub(super) fn finish(self) -> Batched {
        self.judged
    }

    /// Applies a commit, or refuses it, or answers as before where its write id has already come.
    pub(super) fn commit(&mut self, commit: &OwnedCommit) -> Result<Judged<Committed>, EngineError> {
        let Some(write) = commit.write else { return self.apply(commit) };
        match self.recall(write, commit.fingerprint) {
            Ok(Some(position)) => return Ok(Ok(self.logged(position)?.committed())),
            Ok(None) => {}
            Err(refusal) => return Ok(Err(refusal.into())),
        }
        let verdict = self.apply(commit)?;
        if verdict.is_ok() {
            self.judged.fresh.add(write, self.last, commit.fingerprint);
        }
        Ok(verdict)
    }

    /// The conflict of a commit with what stands now, if there is one.
    pub(super) fn conflict(&self, commit: &OwnedCommit) -> Result<Option<Conflict>, EngineError> {
        match judge(&self.entries(commit), |id| self.find(id), self.view)? {
            Err(Error::Conflict(conflict)) => Ok(Some(conflict)),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Tells what became of a commit, and closes its write id where it never came.
    pub(super) fn resolve(&mut self, write: WriteId) -> Result<Judged<Resolution>, EngineError> {
        if let Some((position, _)) = self.judged.fresh.find(write) {
            return Ok(Ok(Resolution::Applied(self.logged(position)?.committed())));
        }
        if self.judged.fresh.closed.contains(&write) {
            return Ok(Ok(Resolution::NotApplied));
        }
        let window = self.window.lock();
        let position = match window.look(write, self.newest()) {
            Known::Applied(applied) => applied.answer,
            Known::Closed => return Ok(Ok(Resolution::NotApplied)),
            Known::Unseen if window.room_to_close() > self.judged.fresh.closed.len() => {
                self.judged.added.close(write);
                self.judged.fresh.closed.insert(write);
                return Ok(Ok(Resolution::NotApplied));
            }
            Known::Unseen | Known::Outside => return Ok(Ok(Resolution::Unknown)),
        };
        drop(window);
        Ok(Ok(Resolution::Applied(self.logged(position)?.committed())))
    }

    /// The entries, with the version of the commit that they come behind, if that was applied.
    fn entries<'c>(&self, commit: &'c OwnedCommit) -> Cow<'c, [OwnedEntry]> {
        let position = commit.behind.and_then(|write| match self.judged.fresh.find(write) {
            Some((position, _)) => Some(position),
            None => match self.window.lock().look(write, self.newest()) {
                Known::Applied(applied) => Some(applied.answer),
                Known::Closed | Known::Outside | Known::Unseen => None,
            },
        });
        let Some(version) = position.and_then(NonZeroU64::new).map(Version::from_bits) else {
            return Cow::Borrowed(&commit.entries);
        };
        let mut entries = commit.entries.clone();
        for entry in entries.iter_mut().filter(|entry| entry.condition.expected == ON_ITS_WAY.into()) {
            entry.condition.expected = version.into();
        }
        Cow::Owned(entries)
    }

    fn apply(&mut self, commit: &OwnedCommit) -> Result<Judged<Committed>, EngineError> {
        let found = match judge(&self.entries(commit), |id| self.find(id), self.view)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let pairs = || commit.entries.iter().zip(&found);
        let creates = |(entry, found): &(&OwnedEntry, &Option<Version>)| {
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
        // A deletion that found nothing is remembered too, where it has a write id: it would delete what came since when it
        // is sent again.
        if !changes && commit.write.is_none() {
            return Ok(Ok(pairs().map(|(entry, found)| unchanged(entry, *found)).collect()));
        }

        let position = match self.next() {
            Ok(position) => position,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let version = Version::from_bits(position);
        let mut entries = Vec::with_capacity(commit.entries.len());
        let mut records = Vec::with_capacity(commit.entries.len());
        for (entry, replaced) in pairs() {
            let done = match &entry.action {
                Action::Check => Done::Checked,
                Action::Delete if replaced.is_none() => Done::Nothing,
                Action::Delete => Done::Deleted(Arc::from(&*entry.id)),
                Action::Put(value) => {
                    let record = Record { version, write: commit.write, value }.encode(&entry.id);
                    records.push(record.into());
                    Done::Put(Arc::from(&*entry.id))
                }
            };
            entries.push(LoggedEntry { done, replaced: *replaced });
        }
        let fingerprint = commit.fingerprint;
        let logged = Logged { position, write: commit.write, fingerprint, entries };
        let committed = logged.committed();
        self.append(logged, records);
        self.judged.changed |= changes;
        Ok(Ok(committed))
    }

    /// What stands under an id, with the writes of this transaction in place.
    fn find(&self, id: &str) -> Result<Stored, EngineError> {
        match self.judged.added.commits().find(id, u64::MAX) {
            Some(state) => Ok(state.into()),
            None => self.view.find(id),
        }
    }

    fn next(&self) -> Result<NonZeroU64, Refusal> {
        match self.last {
            LAST.. => Err(Refusal::VersionsExhausted),
            last => Ok(NonZeroU64::MIN.saturating_add(last)),
        }
    }

    fn append(&mut self, logged: Logged, records: Vec<Arc<[u8]>>) {
        self.last = logged.position.get();
        self.judged.added.add(logged, records);
    }

    /// The position of the commit under this id, where it was applied before.
    fn recall(&self, write: WriteId, fingerprint: u64) -> Result<Option<u64>, Refusal> {
        match self.judged.fresh.find(write) {
            Some((position, same)) if same == fingerprint => Ok(Some(position)),
            Some(_) => Err(Refusal::Reused { write }),
            None if self.judged.fresh.closed.contains(&write) => Err(Refusal::Closed { write }),
            None => Ok(self.window.lock().recall(write, fingerprint, self.newest())?.copied()),
        }
    }

    fn newest(&self) -> Option<Version> {
        NonZeroU64::new(self.last).map(Version::from_bits)
    }

    fn logged(&self, position: u64) -> Result<Arc<Logged>, EngineError> {
        let logged = match self.judged.added.commits().at(position) {
            Some(logged) => Some(Arc::clone(logged)),
            None => self.view.at(position)?,
        };
        logged.ok_or_else(|| EngineError::Corrupted(format!("the log has no commit at {position}")))
    }
}

/// Judges every expectation against what stands: the version found for each entry, or the refusal.
pub(super) fn judge(
    entries: &[OwnedEntry],
    find: impl Fn(&str) -> Result<Stored, EngineError>,
    view: &View,
) -> Result<Judged<Vec<Option<Version>>>, EngineError> {
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
pub(super) fn unchanged(entry: &OwnedEntry, found: Option<Version>) -> Receipt {
    match entry.action {
        Action::Check => Receipt { version: found, replaced: found },
        Action::Put(_) | Action::Delete => Receipt { version: None, replaced: None },
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::file::File;
    use crate::store::{Action, Commit, Entry, Error, Expected, ON_ITS_WAY, Store, WriteId};

    #[test]
    fn what_comes_behind_another_commit_applies_right_after_it_alone() {
        let path = std::env::temp_dir().join(format!("ifmatch-behind-{}", std::process::id()));
        let file = File::open(&path).unwrap();
        let [first, never] = [(); 2].map(|()| WriteId::after(None));
        let put = |expected: Expected| Entry::put("a", expected, b"1"[..].into());
        let behind = |write, entry| file.commit(Commit::one(entry).with_behind(Some(write))).wait();
        let ahead = Expected::from(ON_ITS_WAY);
        let before = file.commit(Commit::one(put(Expected::Any)).with_write(first)).wait().unwrap();

        let none = behind(never, put(ahead));
        let check = behind(first, Entry::check("a", ahead)).unwrap();
        let next = behind(first, put(ahead)).unwrap();
        let late = [behind(first, put(ahead)), behind(first, Entry { action: Action::Check, ..put(ahead) })];

        assert_eq!(check.version(), before.version());
        assert_eq!(next.receipts()[0].replaced, before.version());
        for refused in [none].into_iter().chain(late) {
            assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        }
        drop(file);
        std::fs::remove_file(path).unwrap();
    }
}
