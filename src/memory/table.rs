//! The rows of a memory store, and the only place that locks their shards.
//!
//! Locks are taken in one order: write-id window, shards by index, ordered index, log. No guard leaves this module,
//! and nothing of the program's runs while one is held: it clones and moves [`Arc`]s and compares ids. What a commit
//! displaces, and the tasks it wakes, go into [`Leftovers`] for the caller.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use dashmap::SharedValue;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::index::Index;
use super::log::{Log, Record};
use crate::commit::{Action, Committed, Entry, Found, Receipt};
use crate::conflict::Conflict;
use crate::error::{Error, Refusal, check_id};
use crate::random::random;
use crate::resource::Resource;
use crate::sync::{DashMap, Mutex, RwLock};
use crate::version::{Version, Versioned};
use crate::wake::wake;

/// Shards of the table. A shard that grows moves all its rows while it is locked: the more shards, the shorter.
const SHARDS: usize = 64;

/// How many deletions a shard remembers.
const BURIED_PER_SHARD: usize = 1024;

type Id = Arc<str>;

/// The deletions one shard remembers, oldest first. One is out of date once its id has another version.
type Buried = VecDeque<(Version, Id)>;

pub(super) struct Table<T: ?Sized> {
    rows: DashMap<Id, Row<T>, SeedableRandomState>,
    /// One a shard, each used under the lock of that shard only.
    buried: Box<[Mutex<Buried>]>,
    index: RwLock<Index>,
}

/// What is known of an id: a value, or its deletion.
struct Row<T: ?Sized> {
    version: Version,
    value: Option<Arc<T>>,
}

/// What a commit displaced and whom it wakes. Dropping it runs the program's code, so its owner holds no lock.
pub(super) struct Leftovers<T: ?Sized> {
    /// The common case has one value, and allocates nothing for it.
    value: Option<Arc<T>>,
    values: Vec<Arc<T>>,
    wake: Vec<Waker>,
}

impl<T: ?Sized> Default for Leftovers<T> {
    #[inline]
    fn default() -> Self {
        Self { value: None, values: Vec::new(), wake: Vec::new() }
    }
}

impl<T: ?Sized> Drop for Leftovers<T> {
    #[inline]
    fn drop(&mut self) {
        if !self.wake.is_empty() {
            self.wake.drain(..).for_each(wake);
        }
    }
}

impl<T: ?Sized> Row<T> {
    /// The version, if this is a value.
    #[inline]
    fn live(&self) -> Option<Version> {
        self.value.is_some().then_some(self.version)
    }

    /// Whether this is the deletion of that version.
    fn buried_in(&self, version: Version) -> bool {
        self.value.is_none() && self.version == version
    }

    fn found(&self) -> Found<T> {
        match &self.value {
            Some(value) => Found::Value(Versioned { version: self.version, value: Arc::clone(value) }),
            None => Found::Deleted(self.version),
        }
    }
}

impl<T: Resource + ?Sized> Table<T> {
    pub(super) fn new() -> Self {
        // Ids come from requests. An attacker who knew the keys could choose ids that all fall into one bucket. They
        // are drawn from the operating system's randomness and never shown: no answer depends on the table's order.
        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
        let hasher = SeedableRandomState::with_seed(random(), shared);
        Self {
            rows: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher, SHARDS),
            buried: (0..SHARDS).map(|_| Mutex::default()).collect(),
            index: RwLock::default(),
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.index.read().len()
    }

    /// How many rows there are, remembered deletions included.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    #[inline]
    fn place(&self, id: &str) -> (u64, usize) {
        let hash = self.rows.hasher().hash_one(id);
        (hash, self.rows.determine_shard(hash as usize))
    }

    #[inline]
    pub(super) fn get(&self, id: &str) -> Option<Versioned<T>> {
        let (hash, shard) = self.place(id);
        let rows = self.rows.shards()[shard].read();
        let row = rows.get(hash, |(key, _)| **key == *id)?.1.get();
        let value = Arc::clone(row.value.as_ref()?);
        Some(Versioned { version: row.version, value })
    }

    /// The ids of values in order; see [`Index::page`].
    pub(super) fn ids(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Id> {
        self.index.read().page(prefix, after, limit)
    }

    /// Applies a commit of one entry. A value it replaces is left in the entry.
    #[inline]
    pub(super) fn commit_one(
        &self,
        entry: &mut Entry<'_, T>,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Receipt, Error> {
        let (hash, shard) = self.place(entry.id);
        let mut rows = self.rows.shards()[shard].write();
        let row = rows.get_mut(hash, |(id, _)| **id == *entry.id).map(|(id, row)| (id, row.get_mut()));
        let replaced = row.as_ref().and_then(|(_, row)| row.live());
        if !entry.expectation.expected.admits(replaced) {
            let found = row.map_or(Found::Nothing, |(_, row)| row.found());
            drop(rows);
            return Err(refusal([(&*entry, found)]));
        }
        let version = match (&mut entry.action, row) {
            (Action::Check, _) => replaced,
            // An existing value is the common case: the index stays as it is, and there is no id to allocate.
            (Action::Put(value), Some((id, Row { version, value: Some(current) }))) => {
                *version = log.publish(|| changed(id, false), &mut leftovers.wake)?;
                std::mem::swap(current, value);
                Some(*version)
            }
            (Action::Put(value), Some((id, row))) => {
                row.version = self.publish_ordered(id, false, log, leftovers)?;
                row.value = Some(Arc::clone(value));
                Some(row.version)
            }
            (Action::Put(value), None) => {
                check_id(entry.id)?;
                let id: Id = entry.id.into();
                let version = self.publish_ordered(&id, false, log, leftovers)?;
                let row = Row { version, value: Some(Arc::clone(value)) };
                rows.insert_entry(hash, (id, SharedValue::new(row)), |(id, _)| self.place(id).0);
                Some(version)
            }
            (Action::Delete, Some((id, row))) if replaced.is_some() => {
                let id = Arc::clone(id);
                row.version = self.publish_ordered(&id, true, log, leftovers)?;
                leftovers.value = row.value.take();
                let version = row.version;
                if let Some((version, id)) = self.bury(shard, version, id) {
                    rows.remove_entry(self.place(&id).0, |(other, row)| {
                        *other == id && row.get().buried_in(version)
                    });
                }
                Some(version)
            }
            (Action::Delete, _) => None,
        };
        Ok(Receipt { version, replaced })
    }

    /// Applies a commit of any number of entries, whose ids differ.
    pub(super) fn commit_many(
        &self,
        entries: &[Entry<'_, T>],
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Committed, Error> {
        let places: Vec<(u64, usize)> = entries.iter().map(|entry| self.place(entry.id)).collect();
        let mut shards: Vec<usize> = places.iter().map(|(_, shard)| *shard).collect();
        shards.sort_unstable();
        shards.dedup();
        // In order of their indexes: two commits can't wait for each other.
        let mut locked: Vec<_> = shards.iter().map(|shard| self.rows.shards()[*shard].write()).collect();
        let lock_of =
            |shard: usize| shards.binary_search(&shard).expect("every shard of the commit is locked");

        let mut failed = Vec::new();
        let mut replaced = Vec::with_capacity(entries.len());
        let mut changing: Vec<Option<Id>> = Vec::with_capacity(entries.len());
        let mut reordering = false;
        for (entry, (hash, shard)) in entries.iter().zip(&places) {
            let row = locked[lock_of(*shard)].get(*hash, |(id, _)| **id == *entry.id);
            let live = row.and_then(|(_, row)| row.get().live());
            if !entry.expectation.expected.admits(live) {
                failed.push((entry, row.map_or(Found::Nothing, |(_, row)| row.get().found())));
                continue;
            }
            replaced.push(live);
            changing.push(match (&entry.action, row) {
                (Action::Check, _) => None,
                (Action::Delete, _) if live.is_none() => None,
                (_, Some((id, _))) => Some(Arc::clone(id)),
                (_, None) => Some(check_id(entry.id).map(|()| entry.id.into())?),
            });
            reordering |= matches!(entry.action, Action::Delete) || live.is_none();
        }
        if !failed.is_empty() {
            drop(locked);
            return Err(refusal(failed));
        }

        let version = if changing.iter().any(Option::is_some) {
            let mut index = reordering.then(|| self.index.write());
            let changes = || {
                let changing = entries.iter().zip(&changing);
                changing.filter_map(|(entry, id)| {
                    Some(Record { id: id.clone()?, deleted: matches!(entry.action, Action::Delete) })
                })
            };
            let version = log.publish(changes, &mut leftovers.wake)?;
            for ((entry, (hash, shard)), id) in entries.iter().zip(&places).zip(&changing) {
                let Some(id) = id else { continue };
                let rows = &mut locked[lock_of(*shard)];
                let row = rows.get_mut(*hash, |(other, _)| other == id).map(|(_, row)| row.get_mut());
                let value = match &entry.action {
                    Action::Put(value) => Some(Arc::clone(value)),
                    Action::Check | Action::Delete => None,
                };
                let deleted = value.is_none();
                let old = match row {
                    Some(row) => {
                        row.version = version;
                        std::mem::replace(&mut row.value, value)
                    }
                    None => {
                        let row = (Arc::clone(id), SharedValue::new(Row { version, value }));
                        rows.insert_entry(*hash, row, |(id, _)| self.place(id).0);
                        None
                    }
                };
                match &mut index {
                    Some(index) if deleted => index.remove(id),
                    Some(index) if old.is_none() => index.insert(Arc::clone(id)),
                    _ => {}
                }
                leftovers.values.extend(old);
                if !deleted {
                    continue;
                }
                if let Some((version, id)) = self.bury(*shard, version, Arc::clone(id)) {
                    rows.remove_entry(self.place(&id).0, |(other, row)| {
                        *other == id && row.get().buried_in(version)
                    });
                }
            }
            Some(version)
        } else {
            None
        };
        let receipts = replaced.into_iter().zip(&changing).zip(entries).map(|((replaced, id), entry)| {
            let version = match (id, &entry.action) {
                (Some(_), _) => version,
                (None, Action::Check) => replaced,
                (None, _) => None,
            };
            Receipt { version, replaced }
        });
        Ok(receipts.collect())
    }

    /// Takes a version for an id that appears in the index or leaves it, and changes the index with it: whoever takes
    /// a cursor and then lists finds in the list what the feed after the cursor does not have.
    fn publish_ordered(
        &self,
        id: &Id,
        deleted: bool,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Version, Refusal> {
        let mut index = self.index.write();
        let version = log.publish(|| changed(id, deleted), &mut leftovers.wake)?;
        match deleted {
            true => index.remove(id),
            false => index.insert(Arc::clone(id)),
        }
        Ok(version)
    }

    /// Remembers a deletion; the one to forget in its place, if its shard remembers enough.
    fn bury(&self, shard: usize, version: Version, id: Id) -> Option<(Version, Id)> {
        let mut buried = self.buried[shard].lock();
        buried.push_back((version, id));
        if buried.len() > BURIED_PER_SHARD { buried.pop_front() } else { None }
    }
}

fn changed(id: &Id, deleted: bool) -> std::array::IntoIter<Record, 1> {
    [Record { id: Arc::clone(id), deleted }].into_iter()
}

/// The conflict of the entries whose expectation does not admit what was found.
#[cold]
fn refusal<'e, T: Resource + ?Sized>(
    failed: impl IntoIterator<Item = (&'e Entry<'e, T>, Found<T>)>,
) -> Error {
    let mismatches = failed.into_iter().filter_map(|(entry, found)| entry.judge(found).err());
    Conflict::new(mismatches.collect()).into()
}
