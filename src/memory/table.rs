//! The rows of a memory store, and the only place that locks their shards.
//!
//! Locks are taken in one order: write-id window, shards by index, ordered index, log. No guard leaves this module,
//! and nothing of the program's runs while one is held: it clones and moves [`Arc`]s and compares ids. What a commit
//! displaces, and the tasks it wakes, go into [`Leftovers`] for the caller.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::ops::DerefMut;
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
use crate::expected::Expected;
use crate::random::random;
use crate::resource::Resource;
use crate::sync::{DashMap, RwLock};
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
    order: RwLock<Order>,
}

/// What changes with each creation and deletion, under a lock of its own.
struct Order {
    index: Index,
    /// One a shard.
    buried: Box<[Buried]>,
}

/// What is known of an id: a value, or its deletion.
struct Row<T: ?Sized> {
    version: Version,
    value: Option<Arc<T>>,
}

/// What a commit displaced and whom it wakes. Dropping it runs the program's code, so its owner holds no lock.
///
/// A value that another one replaces is not among it: the two change places, and the old one is dropped with the entry.
pub(super) struct Leftovers<T: ?Sized> {
    deleted: Option<Arc<T>>,
    /// In a box, because most commits have nothing here, and then there is one null pointer to look at.
    more: Option<Box<More<T>>>,
}

struct More<T: ?Sized> {
    deleted: Vec<Arc<T>>,
    wake: Vec<Waker>,
}

impl<T: ?Sized> Leftovers<T> {
    fn more(&mut self) -> &mut More<T> {
        self.more.get_or_insert_with(|| Box::new(More { deleted: Vec::new(), wake: Vec::new() }))
    }

    fn keep(&mut self, value: Arc<T>) {
        match self.deleted {
            None => self.deleted = Some(value),
            Some(_) => self.more().deleted.push(value),
        }
    }
}

impl<T: ?Sized> Default for Leftovers<T> {
    #[inline]
    fn default() -> Self {
        Self { deleted: None, more: None }
    }
}

impl<T: ?Sized> Extend<Waker> for Leftovers<T> {
    fn extend<I: IntoIterator<Item = Waker>>(&mut self, wakers: I) {
        self.more().wake.extend(wakers);
    }
}

impl<T: ?Sized> Drop for More<T> {
    fn drop(&mut self) {
        self.wake.drain(..).for_each(wake);
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
            order: RwLock::default(),
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.order.read().index.len()
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
        self.order.read().index.page(prefix, after, limit)
    }

    /// Applies a commit of one entry. A value it replaces is left in the entry.
    #[inline]
    pub(super) fn commit_one(
        &self,
        entry: &mut Entry<'_, T>,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Receipt, Error> {
        match self.replace(entry, log, leftovers)? {
            Some(receipt) => Ok(receipt),
            None => self.commit_uncommon(entry, log, leftovers),
        }
    }

    /// A new value for an existing id, the common case: the index stays as it is, and there is no id to allocate.
    /// Nothing is done where the entry is another one or its expectation fails.
    #[inline]
    fn replace(
        &self,
        entry: &mut Entry<'_, T>,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Option<Receipt>, Refusal> {
        let Action::Put(value) = &mut entry.action else { return Ok(None) };
        if entry.expectation.expected == Expected::Absent {
            return Ok(None);
        }
        let (hash, shard) = self.place(entry.id);
        let mut rows = self.rows.shards()[shard].write();
        let row = rows.get_mut(hash, |(id, _)| **id == *entry.id).map(|(id, row)| (id, row.get_mut()));
        let Some((id, Row { version, value: Some(current) })) = row else { return Ok(None) };
        if !entry.expectation.expected.admits(Some(*version)) {
            return Ok(None);
        }
        let replaced = *version;
        *version = log.publish(|| changed(id, false), leftovers)?;
        std::mem::swap(current, value);
        Ok(Some(Receipt { version: Some(*version), replaced: Some(replaced) }))
    }

    /// Applies any commit of one entry. A value that it stores is taken out of the entry, and one it replaces left there.
    #[inline(never)]
    fn commit_uncommon(
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
            // It was created since the short way found nothing to replace.
            (Action::Put(value), Some((id, Row { version, value: Some(current) }))) => {
                *version = log.publish(|| changed(id, false), leftovers)?;
                std::mem::swap(current, value);
                Some(*version)
            }
            (Action::Delete, Some((id, row))) if replaced.is_some() => {
                let mut order = self.order.write();
                row.version = log.publish(|| changed(id, true), leftovers)?;
                leftovers.deleted = row.value.take();
                order.index.remove(id);
                let version = row.version;
                let forgotten = order.bury(shard, version, Arc::clone(id));
                drop(order);
                if let Some((version, id)) = forgotten {
                    rows.remove_entry(self.place(&id).0, |(other, row)| {
                        *other == id && row.get().buried_in(version)
                    });
                }
                Some(version)
            }
            (Action::Delete, _) => None,
            (Action::Put(_), Some((id, row))) => {
                row.version = self.publish_new(id, log, leftovers)?;
                row.value = entry.action.take_value();
                Some(row.version)
            }
            (Action::Put(_), None) => {
                check_id(entry.id)?;
                let id: Id = entry.id.into();
                let version = self.publish_new(&id, log, leftovers)?;
                let row = Row { version, value: entry.action.take_value() };
                rows.insert_entry(hash, (id, SharedValue::new(row)), |(id, _)| self.place(id).0);
                Some(version)
            }
        };
        Ok(Receipt { version, replaced })
    }

    /// Applies a commit of any number of entries, whose ids differ. Values it replaces are left in the entries.
    pub(super) fn commit_many(
        &self,
        entries: &mut [Entry<'_, T>],
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Committed, Error> {
        let mut steps: Vec<Step> = entries.iter().map(|entry| Step::new(self.place(entry.id))).collect();
        let mut locked =
            Locked::new(steps.iter().map(|step| step.shard), |shard| self.rows.shards()[shard].write());
        let mut failed = Vec::new();
        let (mut changing, mut reordering) = (false, false);
        for (entry, step) in entries.iter().zip(&mut steps) {
            let row = locked.shard(step.shard).get(step.hash, |(id, _)| **id == *entry.id);
            step.replaced = row.and_then(|(_, row)| row.get().live());
            if !entry.expectation.expected.admits(step.replaced) {
                failed.push((entry, row.map_or(Found::Nothing, |(_, row)| row.get().found())));
                continue;
            }
            step.changes = match entry.action {
                Action::Check => false,
                Action::Delete => step.replaced.is_some(),
                Action::Put(_) => true,
            };
            if step.changes && row.is_none() {
                check_id(entry.id)?;
            }
            changing |= step.changes;
            reordering |=
                step.changes && !(step.replaced.is_some() && matches!(entry.action, Action::Put(_)));
        }
        if !failed.is_empty() {
            drop(locked);
            return Err(refusal(failed));
        }

        let mut version = None;
        if changing {
            let mut order = reordering.then(|| self.order.write());
            let changes = || {
                let changed = entries.iter().zip(&steps).filter(|(_, step)| step.changes);
                changed.map(|(entry, step)| {
                    let row = locked.shard(step.shard).get(step.hash, |(id, _)| **id == *entry.id);
                    let id = row.map_or_else(|| entry.id.into(), |(id, _)| Arc::clone(id));
                    Record { id, deleted: matches!(entry.action, Action::Delete) }
                })
            };
            let new = log.publish(changes, leftovers)?;
            version = Some(new);
            for (entry, step) in entries.iter_mut().zip(&steps).filter(|(_, step)| step.changes) {
                let rows = locked.shard_mut(step.shard);
                let row = rows.get_mut(step.hash, |(id, _)| **id == *entry.id);
                match (&mut entry.action, row.map(|(id, row)| (id, row.get_mut())), &mut order) {
                    (Action::Put(value), Some((_, Row { version, value: Some(current) })), _) => {
                        *version = new;
                        std::mem::swap(current, value);
                    }
                    (Action::Put(value), Some((id, row)), Some(order)) => {
                        *row = Row { version: new, value: Some(Arc::clone(value)) };
                        order.index.insert(Arc::clone(id));
                    }
                    (Action::Put(value), None, Some(order)) => {
                        let id: Id = entry.id.into();
                        order.index.insert(Arc::clone(&id));
                        let row = Row { version: new, value: Some(Arc::clone(value)) };
                        rows.insert_entry(step.hash, (id, SharedValue::new(row)), |(id, _)| self.place(id).0);
                    }
                    (Action::Delete, Some((id, row)), Some(order)) => {
                        let id = Arc::clone(id);
                        order.index.remove(&id);
                        row.version = new;
                        leftovers
                            .keep(row.value.take().expect("a deletion that changes something has a value"));
                        if let Some((version, id)) = order.bury(step.shard, new, id) {
                            rows.remove_entry(self.place(&id).0, |(other, row)| {
                                *other == id && row.get().buried_in(version)
                            });
                        }
                    }
                    _ => unreachable!("whatever appears in the index or leaves it has locked the index"),
                }
            }
        }
        let receipts = entries.iter().zip(&steps).map(|(entry, step)| {
            let version = match entry.action {
                _ if step.changes => version,
                Action::Check => step.replaced,
                Action::Put(_) | Action::Delete => None,
            };
            Receipt { version, replaced: step.replaced }
        });
        Ok(receipts.collect())
    }

    /// Takes a version for an id that is not in the index, and puts it there: whoever takes a cursor and then lists
    /// finds in the list what the feed after the cursor does not have.
    fn publish_new(&self, id: &Id, log: &Log, leftovers: &mut Leftovers<T>) -> Result<Version, Refusal> {
        let mut order = self.order.write();
        let version = log.publish(|| changed(id, false), leftovers)?;
        order.index.insert(Arc::clone(id));
        Ok(version)
    }
}

impl Default for Order {
    fn default() -> Self {
        Self { index: Index::default(), buried: vec![Buried::new(); SHARDS].into() }
    }
}

impl Order {
    /// Remembers a deletion; the one to forget in its place, if its shard remembers enough.
    fn bury(&mut self, shard: usize, version: Version, id: Id) -> Option<(Version, Id)> {
        let buried = &mut self.buried[shard];
        buried.push_back((version, id));
        if buried.len() > BURIED_PER_SHARD { buried.pop_front() } else { None }
    }
}

/// One entry of a commit over several ids.
struct Step {
    hash: u64,
    shard: usize,
    replaced: Option<Version>,
    changes: bool,
}

impl Step {
    fn new((hash, shard): (u64, usize)) -> Self {
        Self { hash, shard, replaced: None, changes: false }
    }
}

/// The shards of a commit, locked in the order of their indexes: two commits can't wait for each other.
struct Locked<G> {
    /// A bit a shard.
    bits: u64,
    guards: Vec<G>,
}

const _: () = assert!(SHARDS <= u64::BITS as usize);

impl<G: DerefMut> Locked<G> {
    fn new(shards: impl Iterator<Item = usize>, lock: impl Fn(usize) -> G) -> Self {
        let bits = shards.fold(0, |bits: u64, shard| bits | 1 << shard);
        let mut guards = Vec::with_capacity(bits.count_ones() as usize);
        let mut left = bits;
        while left != 0 {
            guards.push(lock(left.trailing_zeros() as usize));
            left &= left - 1;
        }
        Self { bits, guards }
    }

    /// Which of the guards is that of a shard: as many come before it as there are lower bits.
    #[inline]
    fn at(&self, shard: usize) -> usize {
        (self.bits & ((1 << shard) - 1)).count_ones() as usize
    }

    #[inline]
    fn shard(&self, shard: usize) -> &G::Target {
        &self.guards[self.at(shard)]
    }

    #[inline]
    fn shard_mut(&mut self, shard: usize) -> &mut G::Target {
        let at = self.at(shard);
        &mut self.guards[at]
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
