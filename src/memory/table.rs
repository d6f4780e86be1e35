//! The rows of a memory store, and the only place that locks their shards.
//!
//! Locks are taken in one order: write-id window, shards by index, ordered index, log. No guard leaves this module,
//! and nothing of the program's runs while one is held: it clones and moves [`Arc`]s and compares ids. What a commit
//! displaces, and the tasks it wakes, go into [`Leftovers`] for the caller.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use dashmap::SharedValue;
use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::index::Index;
use super::log::{Log, Record};
use super::sleeper::Sleeper;
use crate::base::{Apart, DashMap, RwLock, random};
use crate::store::{
    Action, Committed, Conflict, Entry, Error, Expected, Found, Listed, Receipt, Refusal, Resource, Version,
    Versioned, check_id,
};

/// Shards of the table. A shard that grows moves all its rows while it is locked: the more shards, the shorter.
const SHARDS: usize = 64;

/// How many ids of a page are read under one set of locks.
const READ_AT_ONCE: usize = 32;

/// Commits of up to so many entries allocate no lists on the way.
const FEW: usize = 4;

/// How many deletions a shard remembers, at least.
const BURIED_PER_SHARD: usize = 1024;

/// Deletions are forgotten in groups of this size: a shard may hold so many more until the next group is full.
const BURIED_BEYOND: usize = 32;

type Id = Arc<str>;

/// The deletions one shard remembers, oldest first, each with the hash of its id: one an id, however often that came
/// and went since.
type Buried = VecDeque<(Version, u64)>;

pub(super) struct Table<T: ?Sized> {
    rows: DashMap<Id, Row<T>, SeedableRandomState>,
    /// What ends the first piece of an id, where ids are asked for in two pieces.
    separator: Option<u8>,
    roster: Apart<RwLock<Roster>>,
}

/// What changes with each creation and deletion, under a lock of its own.
struct Roster {
    index: Index,
    /// One a shard.
    buried: Box<[Buried]>,
}

/// What is known of an id: a value, or its deletion.
struct Row<T: ?Sized> {
    version: Version,
    value: Option<Arc<T>>,
    /// Whether a deletion of this id is in the list of its shard: this one or an earlier one.
    buried: bool,
}

/// What a commit displaced and whom it wakes. Dropping it runs the program's code, so its owner holds no lock.
///
/// Fields are dropped in their order: the watchers are woken first, as the `Drop` of a value may take any time or panic.
/// A value that another one replaces is not among it: the two change places, and the old one is dropped with the entry,
/// which has to outlive this.
pub(super) struct Leftovers<T: ?Sized> {
    /// In a box, because most commits have nothing here, and then there is one null pointer to look at.
    more: Option<Box<More<T>>>,
    deleted: Option<Arc<T>>,
}

struct More<T: ?Sized> {
    asleep: Vec<Arc<Sleeper>>,
    deleted: Vec<Arc<T>>,
}

impl<T: ?Sized> Leftovers<T> {
    fn more(&mut self) -> &mut More<T> {
        self.more.get_or_insert_with(|| Box::new(More { asleep: Vec::new(), deleted: Vec::new() }))
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
        Self { more: None, deleted: None }
    }
}

impl<T: ?Sized> Extend<Arc<Sleeper>> for Leftovers<T> {
    fn extend<I: IntoIterator<Item = Arc<Sleeper>>>(&mut self, asleep: I) {
        self.more().asleep.extend(asleep);
    }
}

impl<T: ?Sized> Drop for More<T> {
    fn drop(&mut self) {
        self.asleep.iter().for_each(|sleeper| sleeper.wake());
        self.asleep.drain(..).for_each(Sleeper::release);
    }
}

impl<T: ?Sized> Row<T> {
    /// The version, if this is a value.
    #[inline]
    fn live(&self) -> Option<Version> {
        self.value.is_some().then_some(self.version)
    }

    /// Makes this the deletion of its value, which it gives back, since dropping it may run the program's code.
    fn bury(&mut self, version: Version, hash: u64, buried: &mut Buried) -> Option<Arc<T>> {
        self.version = version;
        if !std::mem::replace(&mut self.buried, true) {
            buried.push_back((version, hash));
        }
        self.value.take()
    }

    #[inline(always)]
    fn versioned(&self) -> Option<Versioned<T>> {
        Some(Versioned { version: self.version, value: Arc::clone(self.value.as_ref()?) })
    }

    /// Begins to fetch the value's count from memory.
    #[inline]
    fn touch(&self) {
        std::hint::black_box(self.value.as_ref().map(Arc::strong_count));
    }

    fn found(&self) -> Found<T> {
        self.versioned().map_or(Found::Deleted(self.version), Found::Value)
    }
}

/// What the ids of one part of a table begin with.
#[derive(PartialEq)]
pub(crate) struct Prefix {
    text: Arc<str>,
    /// The hash of an id of this part is this one and that of the rest, in one: both depend on the keys of the table.
    hash: u64,
}

impl Prefix {
    /// Whether `key` is this prefix and `id`.
    #[inline]
    pub(crate) fn and(&self, id: &str, key: &str) -> bool {
        key.len() == self.text.len() + id.len() && key.ends_with(id) && key.starts_with(&*self.text)
    }
}

/// Where an id is in a table, whether it is there or not.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    hash: u64,
    shard: usize,
}

/// The entries of a commit, of which the first ones may name their ids without the prefix of their part.
#[derive(Clone, Copy)]
pub(super) struct Below<'p>(Option<(&'p Prefix, usize)>);

impl<'p> Below<'p> {
    /// All ids are whole.
    pub(super) const NONE: Self = Self(None);

    /// The first `count` ids are below `prefix`.
    pub(super) fn of(prefix: &'p Prefix, count: usize) -> Self {
        Self(Some((prefix, count)))
    }

    #[inline]
    fn prefix(self, at: usize) -> Option<&'p Prefix> {
        self.0.and_then(|(prefix, count)| (at < count).then_some(prefix))
    }

    /// Whether `key` is what the entry at this place names by `id`.
    #[inline]
    fn is(self, at: usize, id: &str, key: &str) -> bool {
        match self.prefix(at) {
            Some(prefix) => prefix.and(id, key),
            None => key == id,
        }
    }

    /// The whole id of the entry at this place.
    fn whole(self, at: usize, id: &str) -> Cow<'_, str> {
        match self.prefix(at) {
            Some(prefix) => [&*prefix.text, id].concat().into(),
            None => id.into(),
        }
    }
}

impl<T: Resource + ?Sized> Table<T> {
    pub(super) fn new(separator: Option<u8>) -> Self {
        // Ids come from requests. An attacker who knew the keys could choose ids that all fall into one bucket. They
        // are drawn from the operating system's randomness and never shown: no answer depends on the table's order.
        static SHARED: OnceLock<SharedSeed> = OnceLock::new();
        let shared = SHARED.get_or_init(|| SharedSeed::from_u64(random()));
        let hasher = SeedableRandomState::with_seed(random(), shared);
        Self {
            rows: DashMap::with_capacity_and_hasher_and_shard_amount(0, hasher, SHARDS),
            separator,
            roster: Apart(RwLock::default()),
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.roster.0.read().index.len()
    }

    /// How many rows there are, remembered deletions included.
    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The hash of an id and the shard it is in.
    #[inline(always)]
    fn place(&self, id: &[u8]) -> (u64, usize) {
        match self.separator {
            None => self.of_hash(self.hash(id)),
            Some(separator) => self.place_in_pieces(id, separator),
        }
    }

    /// The place of an id that the entry at this place names.
    #[inline]
    fn place_below(&self, below: Below<'_>, at: usize, id: &str) -> (u64, usize) {
        match below.prefix(at) {
            Some(prefix) => self.of_hash(prefix.hash ^ self.hash(id.as_bytes())),
            None => self.place(id.as_bytes()),
        }
    }

    #[cold]
    fn place_in_pieces(&self, id: &[u8], separator: u8) -> (u64, usize) {
        match id.iter().position(|byte| *byte == separator) {
            Some(end) => self.of_hash(self.hash(&id[..=end]) ^ self.hash(&id[end + 1..])),
            None => self.of_hash(self.hash(id)),
        }
    }

    #[inline(always)]
    fn hash(&self, text: &[u8]) -> u64 {
        let mut hasher = self.rows.hasher().build_hasher();
        hasher.write(text);
        hasher.finish()
    }

    /// A prefix that ends with the first separator of ids.
    pub(super) fn prefix(&self, text: Arc<str>) -> Prefix {
        Prefix { hash: self.hash(text.as_bytes()), text }
    }

    #[inline(always)]
    fn of_hash(&self, hash: u64) -> (u64, usize) {
        (hash, self.rows.determine_shard(hash as usize))
    }

    /// The place of an id in two pieces.
    #[inline(always)]
    pub(super) fn place_of(&self, prefix: &Prefix, id: &str) -> Place {
        let (hash, shard) = self.of_hash(prefix.hash ^ self.hash(id.as_bytes()));
        Place { hash, shard }
    }

    /// [`get`](Self::get) of an id in two pieces, which are nowhere put together.
    #[inline(always)]
    pub(super) fn get_below(
        &self,
        prefix: &Prefix,
        id: &str,
        Place { hash, shard }: Place,
    ) -> Option<Versioned<T>> {
        let rows = self.rows.shards()[shard].read();
        rows.get(hash, |(key, _)| prefix.and(id, key))?.1.get().versioned()
    }

    /// A new value for an id in two pieces that exists and is as expected; else nothing is done.
    #[inline(always)]
    pub(super) fn replace_below(
        &self,
        (prefix, id): (&Prefix, &str),
        Place { hash, shard }: Place,
        expected: Expected,
        value: &mut Arc<T>,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Option<Receipt>, Refusal> {
        self.replace_at((hash, shard), |key| prefix.and(id, key), expected, value, log, leftovers)
    }

    /// The same where another id, in two pieces as well, is as expected too, at the same instant. Else nothing is done.
    #[inline]
    pub(super) fn replace_checked(
        &self,
        (prefix, id): (&Prefix, &str),
        Place { hash, shard }: Place,
        (expected, value): (Expected, &mut Arc<T>),
        (other, checked, wanted): (&Prefix, &str, Expected),
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Option<Receipt> {
        let Place { hash: of_check, shard: beside } = self.place_of(other, checked);
        // In the order of their indexes, as everybody locks them.
        let before = (beside < shard).then(|| self.rows.shards()[beside].read());
        let mut rows = self.rows.shards()[shard].write();
        let after = (beside > shard).then(|| self.rows.shards()[beside].read());
        let others = before.as_deref().or(after.as_deref()).unwrap_or(&rows);
        let there = others.get(of_check, |(key, _)| other.and(checked, key));
        if !wanted.admits(there.and_then(|(_, row)| row.get().live())) {
            return None;
        }
        let row = rows.get_mut(hash, |(key, _)| prefix.and(id, key)).map(|(id, row)| (id, row.get_mut()));
        let Some((id, Row { version, value: Some(current), .. })) = row else { return None };
        if !expected.admits(Some(*version)) {
            return None;
        }
        let replaced = *version;
        *version = log.publish(|| changed(id, false), leftovers).ok()?;
        std::mem::swap(current, value);
        Some(Receipt { version: Some(*version), replaced: Some(replaced) })
    }

    #[inline(always)]
    pub(super) fn get(&self, id: &str) -> Option<Versioned<T>> {
        let (hash, shard) = self.place(id.as_bytes());
        let rows = self.rows.shards()[shard].read();
        rows.get(hash, |(key, _)| **key == *id)?.1.get().versioned()
    }

    /// The ids of values in order; see [`Index::page`].
    pub(super) fn ids(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Id> {
        let roster = self.roster.0.read();
        if roster.index.is_in_order() {
            return roster.index.page(prefix, after, limit);
        }
        drop(roster);
        let mut roster = self.roster.0.write();
        roster.index.put_in_order();
        roster.index.page(prefix, after, limit)
    }

    /// The values of several ids, with their versions.
    pub(super) fn read(&self, ids: &[Id]) -> Vec<Option<Listed<T>>> {
        self.each(ids, Row::touch, |row| row.versioned().map(Listed::from))
    }

    /// The versions of the values of several ids: the values themselves are not looked at.
    pub(super) fn versions(&self, ids: &[Id]) -> Vec<Option<Listed<T>>> {
        self.each(ids, |_| (), |row| row.live().map(Listed::from))
    }

    /// What `tell` makes of the rows of several ids, after `touch` has seen each of a group.
    fn each(
        &self,
        ids: &[Id],
        touch: impl Fn(&Row<T>),
        tell: impl Fn(&Row<T>) -> Option<Listed<T>>,
    ) -> Vec<Option<Listed<T>>> {
        let mut told = Vec::with_capacity(ids.len());
        for ids in ids.chunks(READ_AT_ONCE) {
            let places: Vec<_> = ids.iter().map(|id| self.place(id.as_bytes())).collect();
            let shards = places.iter().map(|(_, shard)| *shard);
            let locked = Locked::new(shards, |shard| self.rows.shards()[shard].read());
            // Out of cache each row and each value is a miss. The processor waits for many at once as long as it
            // meets no lock and no count to change.
            let find = |(id, (hash, shard)): (&Id, &(u64, usize))| {
                locked.shard(*shard).get(*hash, |(key, _)| key == id).map(|(_, row)| row.get())
            };
            let rows: Vec<Option<&Row<T>>> = ids.iter().zip(&places).map(find).collect();
            rows.iter().flatten().for_each(|row| touch(row));
            told.extend(rows.into_iter().map(|row| tell(row?)));
        }
        told
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
        let expected = entry.condition.expected;
        if expected == Expected::Absent {
            return Ok(None);
        }
        let place = self.place(entry.id.as_bytes());
        self.replace_at(place, |id| id == entry.id, expected, value, log, leftovers)
    }

    #[inline(always)]
    fn replace_at(
        &self,
        (hash, shard): (u64, usize),
        is_it: impl Fn(&str) -> bool,
        expected: Expected,
        value: &mut Arc<T>,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Option<Receipt>, Refusal> {
        let mut rows = self.rows.shards()[shard].write();
        let row = rows.get_mut(hash, |(id, _)| is_it(id)).map(|(id, row)| (id, row.get_mut()));
        let Some((id, Row { version, value: Some(current), .. })) = row else { return Ok(None) };
        if !expected.admits(Some(*version)) {
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
        let (hash, shard) = self.place(entry.id.as_bytes());
        let mut rows = self.rows.shards()[shard].write();
        let row = rows.get_mut(hash, |(id, _)| **id == *entry.id).map(|(id, row)| (id, row.get_mut()));
        let replaced = row.as_ref().and_then(|(_, row)| row.live());
        let mut full = false;
        if !entry.condition.expected.admits(replaced) {
            let found = row.map_or(Found::Nothing, |(_, row)| row.found());
            drop(rows);
            return Err(refusal([(&*entry, found)]));
        }
        let version = match (&mut entry.action, row) {
            (Action::Check, _) => replaced,
            // It was created since the short way found nothing to replace.
            (Action::Put(value), Some((id, Row { version, value: Some(current), .. }))) => {
                *version = log.publish(|| changed(id, false), leftovers)?;
                std::mem::swap(current, value);
                Some(*version)
            }
            (Action::Delete, Some((id, row))) if replaced.is_some() => {
                let mut roster = self.roster.0.write();
                let version = log.publish(|| changed(id, true), leftovers)?;
                roster.index.remove(id);
                leftovers.deleted = row.bury(version, hash, &mut roster.buried[shard]);
                full = roster.is_full(shard);
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
                let row = Row { version, value: entry.action.take_value(), buried: false };
                rows.insert_entry(hash, (id, SharedValue::new(row)), |(id, _)| self.place(id.as_bytes()).0);
                Some(version)
            }
        };
        drop(rows);
        if full {
            self.forget(shard);
        }
        Ok(Receipt { version, replaced })
    }

    /// Applies a commit of any number of entries, whose ids differ, and tells of the first `told` of them. Values it replaces
    /// are left in the entries.
    pub(super) fn commit_many(
        &self,
        entries: &mut [Entry<'_, T>],
        below: Below<'_>,
        told: usize,
        log: &Log,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Committed, Error> {
        let (mut few, mut many) = ([Step::default(); FEW], Vec::new());
        let steps = match few.get_mut(..entries.len()) {
            Some(few) => few,
            None => {
                many.resize(entries.len(), Step::default());
                &mut many
            }
        };
        // 1. Lock every shard that is touched. What is found from here on stands until the shards are unlocked.
        for (at, (entry, step)) in entries.iter().zip(&mut *steps).enumerate() {
            (step.hash, step.shard) = self.place_below(below, at, entry.id);
        }
        let mut locked =
            Locked::new(steps.iter().map(|step| step.shard), |shard| self.rows.shards()[shard].write());
        // 2. Judge all entries before any is applied, also after one failed: the conflict names every id.
        let mut failed = Vec::new();
        let (mut changing, mut reordering) = (false, false);
        for (at, (entry, step)) in entries.iter().zip(&mut *steps).enumerate() {
            let row = locked.shard(step.shard).get(step.hash, |(id, _)| below.is(at, entry.id, id));
            step.replaced = row.and_then(|(_, row)| row.get().live());
            if !entry.condition.expected.admits(step.replaced) {
                failed.push((entry, row.map_or(Found::Nothing, |(_, row)| row.get().found())));
                continue;
            }
            step.changes = match entry.action {
                Action::Check => false,
                Action::Delete => step.replaced.is_some(),
                Action::Put(_) => true,
            };
            // Only what comes to be has its id checked: one that is there has passed already.
            if step.changes && row.is_none() {
                check_id(&below.whole(at, entry.id))?;
            }
            changing |= step.changes;
            reordering |=
                step.changes && !(step.replaced.is_some() && matches!(entry.action, Action::Put(_)));
        }
        if !failed.is_empty() {
            // The values are in hand. The text of the conflict needs no lock.
            drop(locked);
            return Err(refusal(failed));
        }

        // 3. Take the one version of all changes, in the step that also tells the feed of them. The index is locked before,
        //    so that whoever takes a cursor and then lists misses nothing.
        let mut version = None;
        if changing {
            let mut roster = reordering.then(|| self.roster.0.write());
            let changes = || {
                let changed = entries.iter().zip(&*steps).enumerate().filter(|(_, (_, step))| step.changes);
                changed.map(|(at, (entry, step))| {
                    let row = locked.shard(step.shard).get(step.hash, |(id, _)| below.is(at, entry.id, id));
                    let id = row.map_or_else(|| below.whole(at, entry.id).into(), |(id, _)| Arc::clone(id));
                    Record { id, deleted: matches!(entry.action, Action::Delete) }
                })
            };
            let new = log.publish(changes, leftovers)?;
            version = Some(new);
            // 4. Apply. Nothing fails from here on. What is displaced goes into the entry or the leftovers, and is dropped by
            //    the caller, outside of the locks: its `Drop` is the user's code.
            for (at, (entry, step)) in entries.iter_mut().zip(&mut *steps).enumerate() {
                if !step.changes {
                    continue;
                }
                let rows = locked.shard_mut(step.shard);
                let row = rows.get_mut(step.hash, |(id, _)| below.is(at, entry.id, id));
                match (&mut entry.action, row.map(|(id, row)| (id, row.get_mut())), &mut roster) {
                    (Action::Put(value), Some((_, Row { version, value: Some(current), .. })), _) => {
                        *version = new;
                        std::mem::swap(current, value);
                    }
                    (Action::Put(value), Some((id, row)), Some(roster)) => {
                        (row.version, row.value) = (new, Some(Arc::clone(value)));
                        roster.index.insert(Arc::clone(id));
                    }
                    (Action::Put(value), None, Some(roster)) => {
                        let id: Id = below.whole(at, entry.id).into();
                        roster.index.insert(Arc::clone(&id));
                        let row = Row { version: new, value: Some(Arc::clone(value)), buried: false };
                        rows.insert_entry(step.hash, (id, SharedValue::new(row)), |(id, _)| {
                            self.place(id.as_bytes()).0
                        });
                    }
                    (Action::Delete, Some((id, row)), Some(roster)) => {
                        roster.index.remove(id);
                        let deleted = row.bury(new, step.hash, &mut roster.buried[step.shard]);
                        leftovers.keep(deleted.expect("a deletion that changes something has a value"));
                        step.fills = roster.is_full(step.shard);
                    }
                    _ => unreachable!("whatever appears in the index or leaves it has locked the index"),
                }
            }
        }
        drop(locked);
        // 5. Too many deletions are remembered: this takes the same locks anew, one shard at a time.
        steps.iter().filter(|step| step.fills).for_each(|step| self.forget(step.shard));
        let receipts = entries.iter().zip(&*steps).take(told).map(|(entry, step)| {
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
        let mut roster = self.roster.0.write();
        let version = log.publish(|| changed(id, false), leftovers)?;
        roster.index.insert(Arc::clone(id));
        Ok(version)
    }

    /// Forgets the oldest deletions of a shard, many at once since it takes its locks anew.
    #[cold]
    fn forget(&self, shard: usize) {
        let mut rows = self.rows.shards()[shard].write();
        let mut roster = self.roster.0.write();
        let buried = &mut roster.buried[shard];
        while buried.len() > BURIED_PER_SHARD {
            let Some((version, hash)) = buried.pop_front() else { return };
            let is = |(id, row): &(Id, SharedValue<Row<T>>)| {
                row.get().buried && self.place(id.as_bytes()).0 == hash
            };
            let Some((_, row)) = rows.get_mut(hash, is) else { continue };
            let row = row.get_mut();
            match row.value {
                Some(_) => row.buried = false,
                None if row.version == version => drop(rows.remove_entry(hash, is)),
                // It came back and was deleted again: it is not among the oldest any more.
                None => buried.push_back((row.version, hash)),
            }
        }
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self { index: Index::default(), buried: vec![Buried::new(); SHARDS].into() }
    }
}

impl Roster {
    /// Whether a shard remembers more deletions than it should.
    fn is_full(&self, shard: usize) -> bool {
        self.buried[shard].len() >= BURIED_PER_SHARD + BURIED_BEYOND
    }
}

/// One entry of a commit over several ids.
#[derive(Clone, Copy, Default)]
struct Step {
    hash: u64,
    shard: usize,
    replaced: Option<Version>,
    changes: bool,
    /// Whether its shard then remembers too many deletions.
    fills: bool,
}

/// Some shards, locked in the order of their indexes: two commits can't wait for each other.
struct Locked<G> {
    /// The first guards, without an allocation.
    few: [Option<G>; FEW],
    more: Vec<G>,
    /// Which of the guards is that of a shard.
    places: [u8; SHARDS],
}

const _: () = assert!(SHARDS <= u64::BITS as usize);

impl<G: Deref> Locked<G> {
    fn new(shards: impl Iterator<Item = usize>, lock: impl Fn(usize) -> G) -> Self {
        // A bit a shard.
        let mut left = shards.fold(0, |bits: u64, shard| bits | 1 << shard);
        let mut locked = Self { few: [const { None }; FEW], more: Vec::new(), places: [0; SHARDS] };
        let mut place = 0;
        while left != 0 {
            let shard = left.trailing_zeros() as usize;
            left &= left - 1;
            locked.places[shard] = place;
            match locked.few.get_mut(usize::from(place)) {
                Some(free) => *free = Some(lock(shard)),
                None => locked.more.push(lock(shard)),
            }
            place += 1;
        }
        locked
    }

    #[inline]
    fn shard(&self, shard: usize) -> &G::Target {
        let place = usize::from(self.places[shard]);
        self.few.get(place).map_or_else(|| &self.more[place - FEW], |guard| guard.as_ref().expect(LOCKED))
    }

    #[inline]
    fn shard_mut(&mut self, shard: usize) -> &mut G::Target
    where
        G: DerefMut,
    {
        let place = usize::from(self.places[shard]);
        match self.few.get_mut(place) {
            Some(guard) => guard.as_mut().expect(LOCKED),
            None => &mut self.more[place - FEW],
        }
    }
}

const LOCKED: &str = "the shard of each entry was locked";

fn changed(id: &Id, deleted: bool) -> std::array::IntoIter<Record, 1> {
    [Record { id: Arc::clone(id), deleted }].into_iter()
}

/// The conflict of the entries whose expectation does not admit what was found.
#[cold]
fn refusal<'e, T: Resource + ?Sized>(
    failed: impl IntoIterator<Item = (&'e Entry<'e, T>, Found<T>)>,
) -> Error {
    let mismatches = failed.into_iter().filter_map(|(entry, found)| entry.judge(found).err());
    Conflict::new(mismatches).expect("an entry that failed has a mismatch").into()
}
