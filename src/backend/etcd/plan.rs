//! [`Plan`], a commit as one transaction of etcd's, and what its answer says.

use std::sync::Arc;

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};

use super::keys::Keys;
use super::manifest::Manifest;
use super::written::{Before, Deed, Written, WrittenEntry};
use crate::backend::record::Record;
use crate::store::{
    Action, Commit, Committed, Conflict, Corrupt, Entry, Error, Expected, Failure, Found, Outcome, Receipt,
    Refusal, Version, Versioned, WriteId, check_id,
};

/// The most operations and comparisons that etcd takes in one transaction, unless it is told otherwise.
const OPERATIONS: usize = 128;

/// How many of them a commit needs for itself: the manifest, and its write id among the applied and the closed ones.
const OWN: usize = 3;

/// The most entries a commit may have.
pub(super) const ENTRIES: usize = OPERATIONS - OWN;

/// What a comparison or an operation weighs in a request beside its keys and its value.
const OVERHEAD: usize = 32;

/// A commit as one transaction.
///
/// It compares the manifest, that the write id is neither applied nor closed, and what each entry expects. Where all of that
/// holds it writes, and else it reads all of it, in the same step.
pub(super) struct Plan<'c> {
    commit: &'c Commit<'c, [u8]>,
    keys: &'c Keys,
    manifest: Arc<Manifest>,
    steps: Vec<Step>,
    /// Whether the write id is outside of what the store remembers, as far as is known.
    outside: bool,
}

/// What becomes of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// No operation: what is expected says all.
    Nothing,
    /// Asks for the version that stands there.
    Read,
    /// Puts the value; asks for what stood there where the expectation does not say it.
    Put {
        ask: bool,
    },
    Delete {
        ask: bool,
    },
}

/// What the answer to a transaction says.
pub(super) enum Answered {
    /// It was applied.
    Applied(Committed),
    /// It was applied earlier under this write id, in this revision.
    Repeated(WriteId, Written, i64),
    /// The manifest is another one, if there is one: nothing was judged.
    Moved(Option<Manifest>),
    /// The write id was taken to be from ahead of the store, which has come there by now: nothing was judged.
    Behind,
    /// It was not applied.
    Not(Error),
}

impl<'c> Plan<'c> {
    /// The plan for a commit, where `newest` is the newest revision that is known. Under a write id that is outside of what
    /// is remembered it can't be applied, only found to have been.
    pub(super) fn new(
        commit: &'c Commit<'c, [u8]>,
        keys: &'c Keys,
        manifest: Arc<Manifest>,
        newest: i64,
    ) -> Self {
        let step = |entry: &Entry<'_, [u8]>| {
            let ask = matches!(entry.condition.expected, Expected::Any | Expected::Present);
            match entry.action {
                _ if check_id(entry.id).is_err() => Step::Nothing,
                Action::Check if ask => Step::Read,
                Action::Check => Step::Nothing,
                Action::Put(_) => Step::Put { ask },
                Action::Delete if entry.condition.expected == Expected::Absent => Step::Nothing,
                Action::Delete => Step::Delete { ask },
            }
        };
        let steps = commit.entries().iter().map(step).collect();
        let outside = commit.write().is_some_and(|write| manifest.is_outside(write, newest));
        Self { commit, keys, manifest, steps, outside }
    }

    /// Whether it changes anything in the engine.
    pub(super) fn writes(&self) -> bool {
        let writes = |step: &Step| matches!(step, Step::Put { .. } | Step::Delete { .. });
        self.commit.write().is_some() || self.steps.iter().any(writes)
    }

    /// Refuses what can't be sent: more entries, or more bytes than a request may have.
    pub(super) fn admit(
        commit: &Commit<'_, [u8]>,
        value_limit: usize,
        request_limit: usize,
    ) -> Result<(), Refusal> {
        commit.check_ids()?;
        let entries = commit.entries();
        if entries.len() > ENTRIES {
            return Err(Refusal::TooMany { entries: entries.len(), limit: ENTRIES });
        }
        // The manifest and the write id, several times each.
        let mut total = 4 * 1024;
        for entry in entries {
            let id = || entry.id.into();
            let value = match &entry.action {
                Action::Put(value) => {
                    check_id(entry.id)?;
                    value.len()
                }
                Action::Check | Action::Delete => 0,
            };
            if value > value_limit {
                return Err(Refusal::TooLarge { id: id(), bytes: value, limit: value_limit });
            }
            // Compared, written, read, and noted under the write id; an impossible id is only read.
            total += value + 4 * (entry.id.len() + 256 + OVERHEAD);
            if total > request_limit {
                return Err(Refusal::TooLarge { id: id(), bytes: total, limit: request_limit });
            }
        }
        Ok(())
    }

    /// The transaction, to be sent once.
    pub(super) fn transaction(&self) -> Txn {
        Txn::new().when(self.compares()).and_then(self.writing()).or_else(self.reading())
    }

    /// What the answer says.
    pub(super) fn read(&self, answer: &TxnResponse) -> Answered {
        let revision = answer.header().map_or(0, |header| header.revision());
        let operations = answer.op_responses();
        if answer.succeeded() {
            return match self.receipts(revision, &operations) {
                Some(committed) => Answered::Applied(committed),
                None => Answered::Not(Refusal::VersionsExhausted.into()),
            };
        }
        self.found(revision, &operations).unwrap_or_else(Answered::Not)
    }

    fn compares(&self) -> Vec<Compare> {
        let manifest = Compare::value(self.keys.manifest(), CompareOp::Equal, self.manifest.bytes.clone());
        let mut compares = vec![manifest];
        if let Some(write) = self.commit.write() {
            compares.push(absent(self.keys.write(write)));
            let closed = self.keys.closed(write);
            compares.push(if self.outside { never(closed) } else { absent(closed) });
        }
        for entry in self.commit.entries() {
            let key = self.keys.resource(entry.id);
            if check_id(entry.id).is_err() {
                // Nothing can be there, so there is nothing to compare.
                if !entry.condition.expected.admits(None) {
                    compares.push(never(key));
                }
                continue;
            }
            compares.push(match entry.condition.expected {
                Expected::Any => continue,
                Expected::Absent => absent(key),
                Expected::Present => Compare::create_revision(key, CompareOp::Greater, 0),
                Expected::Version(version) => match self.manifest.revision(version) {
                    Some(revision) => Compare::mod_revision(key, CompareOp::Equal, revision),
                    None => never(key),
                },
            });
        }
        compares
    }

    fn writing(&self) -> Vec<TxnOp> {
        let mut operations = Vec::with_capacity(self.steps.len() + 1);
        for (entry, step) in self.commit.entries().iter().zip(&self.steps) {
            let key = self.keys.resource(entry.id);
            operations.push(match (step, &entry.action) {
                (Step::Read, _) => TxnOp::get(key, Some(GetOptions::new().with_keys_only())),
                (Step::Put { ask }, Action::Put(value)) => {
                    let options = ask.then(|| PutOptions::new().with_prev_key());
                    TxnOp::put(key, Record::encode_unnumbered(entry.id, value), options)
                }
                (Step::Delete { ask }, _) => {
                    TxnOp::delete(key, ask.then(|| DeleteOptions::new().with_prev_key()))
                }
                _ => continue,
            });
        }
        if let Some(write) = self.commit.write() {
            operations.push(TxnOp::put(self.keys.write(write), self.written().encode(write), None));
        }
        operations
    }

    /// What is remembered of the commit.
    fn written(&self) -> Written {
        let entry = |(entry, step): (&Entry<'_, [u8]>, &Step)| {
            let deed = match entry.action {
                Action::Check => Deed::Check,
                Action::Put(_) => Deed::Put,
                Action::Delete => Deed::Delete,
            };
            let before = match step {
                Step::Read | Step::Put { ask: true } | Step::Delete { ask: true } => {
                    Before::Ask(entry.id.into())
                }
                _ => Before::Known(named(entry.condition.expected)),
            };
            WrittenEntry { deed, before }
        };
        let entries = self.commit.entries().iter().zip(&self.steps).map(entry).collect();
        Written { tag: self.manifest.tag(), fingerprint: self.commit.fingerprint(), entries }
    }

    fn reading(&self) -> Vec<TxnOp> {
        let get = |key| TxnOp::get(key, None);
        let mut operations = vec![get(self.keys.manifest())];
        if let Some(write) = self.commit.write() {
            operations.extend([get(self.keys.write(write)), get(self.keys.closed(write))]);
        }
        operations.extend(self.commit.entries().iter().map(|entry| get(self.keys.resource(entry.id))));
        operations
    }

    /// The answer to a commit that was applied; `None` where its revision is past the last that makes a version.
    fn receipts(&self, revision: i64, operations: &[TxnOpResponse]) -> Option<Committed> {
        let version =
            |value: Option<&KeyValue>| value.and_then(|value| self.manifest.version(value.mod_revision()));
        let mut operations = operations.iter();
        let receipt = |(entry, step): (&Entry<'_, [u8]>, &Step)| {
            let named = named(entry.condition.expected);
            let replaced = match step {
                Step::Nothing => named,
                Step::Read | Step::Put { .. } | Step::Delete { .. } => match operations.next()? {
                    TxnOpResponse::Get(found) => version(found.kvs().first()),
                    TxnOpResponse::Put(put) => named.or_else(|| version(put.prev_key())),
                    TxnOpResponse::Delete(deleted) => named.or_else(|| version(deleted.prev_kvs().first())),
                    TxnOpResponse::Txn(_) => None,
                },
            };
            let now = match entry.action {
                Action::Check => replaced,
                Action::Put(_) => Some(self.manifest.version(revision)?),
                Action::Delete if replaced.is_none() => None,
                Action::Delete => Some(self.manifest.version(revision)?),
            };
            Some(Receipt { version: now, replaced })
        };
        self.commit.entries().iter().zip(&self.steps).map(receipt).collect()
    }

    /// What a transaction that was not applied has found instead, in this revision.
    fn found(&self, revision: i64, operations: &[TxnOpResponse]) -> Result<Answered, Error> {
        let mut operations = operations.iter().map(found);
        let mut next = || operations.next().flatten();
        match next() {
            Some(manifest) if manifest.value() == self.manifest.bytes => {}
            Some(manifest) => return Ok(Answered::Moved(Some(Manifest::decode(manifest.value())?))),
            None => return Ok(Answered::Moved(None)),
        }
        if let Some(write) = self.commit.write() {
            let (applied, closed) = (next(), next());
            if let Some(applied) = applied {
                let revision = applied.mod_revision();
                let written = Written::decode(write, applied.value())
                    .map_err(|damage| damaged_write(write, &self.manifest, revision, damage))?;
                if written.fingerprint != self.commit.fingerprint() {
                    return Err(Refusal::Reused { write }.into());
                }
                return Ok(Answered::Repeated(write, written, revision));
            }
            if closed.is_some() {
                return Err(Refusal::Closed { write }.into());
            }
            if self.manifest.is_outside(write, revision) {
                return Err(Refusal::Outside { write, newest: self.manifest.version(revision) }.into());
            }
            if self.outside {
                return Ok(Answered::Behind);
            }
        }
        let mut mismatches = Vec::new();
        for entry in self.commit.entries() {
            let Some(stored) = next() else {
                mismatches.extend(entry.judge(Found::Nothing).err());
                continue;
            };
            match decode(&self.manifest, entry.id, stored) {
                Ok(current) => mismatches.extend(entry.judge(Found::Value(current)).err()),
                Err(Error::Corrupt(corrupt)) if entry.condition.expected.admits(Some(corrupt.version())) => {}
                Err(error) => return Err(error),
            }
        }
        Err(match Conflict::new(mismatches) {
            Some(conflict) => conflict.into(),
            None => Failure::new(Outcome::NotApplied, "etcd refused a commit and gave no reason").into(),
        })
    }
}

/// The version that an expectation names.
fn named(expected: Expected) -> Option<Version> {
    match expected {
        Expected::Version(version) => Some(version),
        Expected::Any | Expected::Absent | Expected::Present => None,
    }
}

pub(super) fn absent(key: Vec<u8>) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, 0)
}

/// A comparison that never holds: no revision is below zero.
pub(super) fn never(key: Vec<u8>) -> Compare {
    Compare::mod_revision(key, CompareOp::Less, 0)
}

/// What a question for one key has found.
pub(super) fn found(answer: &TxnOpResponse) -> Option<&KeyValue> {
    match answer {
        TxnOpResponse::Get(found) => found.kvs().first(),
        _ => None,
    }
}

/// The value stored under an id.
pub(super) fn decode(manifest: &Manifest, id: &str, stored: &KeyValue) -> Result<Versioned<[u8]>, Error> {
    let version = version(manifest, stored)?;
    match Record::decode_unnumbered(id, stored.value()) {
        Ok(value) => Ok(Versioned::new(version, value)),
        Err(damage) => Err(Corrupt::new(id, version, damage).into()),
    }
}

/// The version of what is stored under a key. Needs no more of it than etcd tells of the key.
pub(super) fn version(manifest: &Manifest, stored: &KeyValue) -> Result<Version, Refusal> {
    manifest.version(stored.mod_revision()).ok_or(Refusal::VersionsExhausted)
}

/// What is remembered of a write does not decode: it is not known what it did.
pub(super) fn damaged_write(
    write: WriteId,
    manifest: &Manifest,
    revision: i64,
    damage: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    match manifest.version(revision) {
        Some(version) => Corrupt::new(&format!("write {write}"), version, damage).into(),
        None => Refusal::VersionsExhausted.into(),
    }
}
