//! [`Shelf`], what a cache holds, and the memory of what happened while nobody looked.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;

use crate::base::RwLock;
use crate::store::{Resource, Version, Versioned};

/// How many stripes a shelf has at most, each with a lock of its own.
const STRIPES: usize = 64;

/// How many resources a stripe has room for at least, so that a small shelf has few stripes.
const LEAST: usize = 16;

/// How many marks a stripe has.
const MARKS: usize = 64;

/// What a cache holds, by id.
///
/// A layer can't tell which of two versions of an id is the newer. So it never compares them, and follows two rules:
///
/// 1. An answer of the store is kept only if nothing happened to its id between the question and the answer: no other
///    answer told anything of it, no write of it was under way, no feed named it.
/// 2. What is held is let go as soon as a write of it begins, or anything tells another version of it.
///
/// By the first, what is put on the shelf is no older than anything that was told before: the store was asked after all
/// that was told, and nothing was told since. By the second, that stays so for as long as it is held.
///
/// "Something happened" is a [`Mark`], which ids share: one that something happens to for nothing costs a miss.
pub(super) struct Shelf<T: ?Sized> {
    stripes: Box<[RwLock<Stripe<T>>]>,
    hasher: RandomState,
    limits: Limits<T>,
}

/// How much a shelf may hold.
pub(super) struct Limits<T: ?Sized> {
    pub(super) resources: usize,
    pub(super) bytes: usize,
    /// How many bytes a value has.
    pub(super) measure: fn(&T) -> usize,
}

/// The ids of one lock.
struct Stripe<T: ?Sized> {
    marks: [Mark; MARKS],
    /// By the hash of the id: of two ids with the same, one is held.
    slots: HashMap<u64, Slot<T>, RandomState>,
    /// The hashes of all slots, in the order in which their turn to go comes.
    turns: VecDeque<u64>,
    /// Of all that is held.
    bytes: usize,
}

/// What happened to the ids that share it.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// Counts everything that happened.
    moment: u64,
    /// Writes under way, those included that may be for ever.
    writers: u64,
}

/// One id. Emptied, it keeps its place until its turn to go comes.
struct Slot<T: ?Sized> {
    id: Box<str>,
    held: Option<Versioned<T>>,
    bytes: usize,
    /// Read since its last turn.
    used: AtomicBool,
}

/// A question to the store, under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    hash: u64,
    /// The moment it was asked in; `None` where the answer can't be kept, because a write is under way.
    moment: Option<u64>,
}

/// A write of one id, under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    hash: u64,
    moment: u64,
    /// The version that was held when it began.
    pub(super) held: Option<Version>,
}

impl<T: Resource + ?Sized> Shelf<T> {
    pub(super) fn new(limits: Limits<T>) -> Self {
        let resources = limits.resources.max(1);
        let stripes = (resources / LEAST).clamp(1, STRIPES);
        // Rounded down, so that all stripes together hold no more than the limit.
        let stripes = (0..stripes).map(|_| RwLock::default()).collect();
        Self { stripes, hasher: RandomState::default(), limits: Limits { resources, ..limits } }
    }

    pub(super) fn limits(&self) -> Limits<T> {
        self.limits
    }

    /// What is held of an id, or the question that is about to be put to the store.
    #[inline]
    pub(super) fn look(&self, id: &str) -> Result<Versioned<T>, Question> {
        let hash = self.hasher.hash_one(id);
        let stripe = self.stripe(hash).read();
        if let Some(slot) = stripe.slots.get(&hash)
            && let Some(held) = &slot.held
            && *slot.id == *id
        {
            // A store to memory that others read is dear, and seldom needed.
            if !slot.used.load(Ordering::Relaxed) {
                slot.used.store(true, Ordering::Relaxed);
            }
            return Ok(held.clone());
        }
        let mark = stripe.marks[place(hash)];
        Err(Question { hash, moment: (mark.writers == 0).then_some(mark.moment) })
    }

    /// Takes note of the store's answer to a question, and keeps it if nothing happened since.
    pub(super) fn answered(&self, id: &str, question: Question, found: Option<&Versioned<T>>) {
        let Question { hash, moment } = question;
        let item = found.cloned().and_then(|found| self.weigh(id, found));
        let mut stripe = self.stripe(hash).write();
        let gone = match item {
            Some(item) if moment == Some(stripe.marks[place(hash)].moment) => {
                self.put(&mut stripe, hash, item)
            }
            _ => stripe.told(hash, id, found.map(|found| found.version)).into_iter().collect(),
        };
        stripe.happened(hash);
        drop(stripe);
        // The program's code may run where a value is dropped: outside of the lock.
        drop(gone);
    }

    /// Takes note that an id was said to have this version, or no value.
    pub(super) fn told(&self, id: &str, version: Option<Version>) {
        let hash = self.hasher.hash_one(id);
        let mut stripe = self.stripe(hash).write();
        stripe.happened(hash);
        let gone = stripe.told(hash, id, version);
        drop(stripe);
        drop(gone);
    }

    /// A write of an id begins.
    pub(super) fn write_begins(&self, id: &str) -> Write {
        let hash = self.hasher.hash_one(id);
        let mut stripe = self.stripe(hash).write();
        let moment = stripe.happened(hash);
        stripe.marks[place(hash)].writers += 1;
        let gone = stripe.take(hash, id);
        drop(stripe);
        Write { hash, moment, held: gone.map(|held| held.version) }
    }

    /// A write has ended. The value that stands since is kept if nothing else happened meanwhile.
    pub(super) fn write_ends(&self, id: &str, write: Write, stands: Option<Versioned<T>>) {
        let hash = write.hash;
        let item = stands.and_then(|stands| self.weigh(id, stands));
        let mut stripe = self.stripe(hash).write();
        let mark = &mut stripe.marks[place(hash)];
        mark.writers -= 1;
        let alone = mark.writers == 0 && mark.moment == write.moment;
        stripe.happened(hash);
        let gone = match item {
            Some(item) if alone => self.put(&mut stripe, hash, item),
            _ => Vec::new(),
        };
        drop(stripe);
        drop(gone);
    }

    /// Lets go of everything, as if something had happened to every id.
    pub(super) fn clear(&self) {
        let empty = |stripe: &RwLock<Stripe<T>>| {
            let mut stripe = stripe.write();
            stripe.marks.iter_mut().for_each(|mark| mark.moment += 1);
            stripe.turns.clear();
            stripe.bytes = 0;
            std::mem::take(&mut stripe.slots)
        };
        // All of it, before the first value is dropped: that may take its time, or panic.
        let gone: Vec<_> = self.stripes.iter().map(empty).collect();
        drop(gone);
    }

    /// How many resources are held.
    pub(super) fn len(&self) -> usize {
        let held = |stripe: &RwLock<Stripe<T>>| {
            stripe.read().slots.values().filter(|slot| slot.held.is_some()).count()
        };
        self.stripes.iter().map(held).sum()
    }

    #[inline]
    fn stripe(&self, hash: u64) -> &RwLock<Stripe<T>> {
        &self.stripes[(hash >> 32) as usize % self.stripes.len()]
    }

    /// A value with its weight, unless it is too heavy to be held. Runs the program's code: call it under no lock.
    fn weigh(&self, id: &str, held: Versioned<T>) -> Option<Slot<T>> {
        let bytes = (self.limits.measure)(&held.value).saturating_add(id.len());
        let fits = bytes <= self.limits.bytes / self.stripes.len();
        fits.then(|| Slot { id: id.into(), held: Some(held), bytes, used: AtomicBool::new(false) })
    }

    /// Puts a value on the shelf, and tells what had to go for it.
    fn put(&self, stripe: &mut Stripe<T>, hash: u64, item: Slot<T>) -> Vec<Versioned<T>> {
        let mut gone = Vec::new();
        stripe.bytes += item.bytes;
        match stripe.slots.insert(hash, item) {
            None => stripe.turns.push_back(hash),
            Some(before) => {
                stripe.bytes -= before.bytes;
                gone.extend(before.held);
            }
        }
        let room = self.limits.resources / self.stripes.len();
        let bytes = self.limits.bytes / self.stripes.len();
        while stripe.slots.len() > room || stripe.bytes > bytes {
            let Some(hash) = stripe.turns.pop_front() else { break };
            let spared = stripe.slots.get(&hash).is_some_and(|slot| slot.used.swap(false, Ordering::Relaxed));
            if spared {
                stripe.turns.push_back(hash);
                continue;
            }
            if let Some(slot) = stripe.slots.remove(&hash) {
                stripe.bytes -= slot.bytes;
                gone.extend(slot.held);
            }
        }
        gone
    }
}

impl<T: ?Sized> Stripe<T> {
    /// Counts that something happened; the moment since.
    fn happened(&mut self, hash: u64) -> u64 {
        let mark = &mut self.marks[place(hash)];
        mark.moment += 1;
        mark.moment
    }

    /// Lets go of what is held of an id.
    fn take(&mut self, hash: u64, id: &str) -> Option<Versioned<T>> {
        let slot = self.slots.get_mut(&hash).filter(|slot| *slot.id == *id)?;
        self.bytes -= std::mem::take(&mut slot.bytes);
        slot.held.take()
    }

    /// Lets go of what is held of an id, unless it is of this version.
    fn told(&mut self, hash: u64, id: &str, version: Option<Version>) -> Option<Versioned<T>> {
        let slot = self.slots.get(&hash)?;
        let same = slot.held.as_ref().map(|held| held.version) == version;
        if same { None } else { self.take(hash, id) }
    }
}

/// Which of a stripe's marks a hash has. Other bits than those that choose the stripe.
#[inline]
fn place(hash: u64) -> usize {
    (hash >> 20) as usize % MARKS
}

impl<T: ?Sized> Default for Stripe<T> {
    fn default() -> Self {
        let slots = HashMap::with_hasher(RandomState::default());
        Self { marks: [Mark::default(); MARKS], slots, turns: VecDeque::new(), bytes: 0 }
    }
}

impl<T: ?Sized> Clone for Limits<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Limits<T> {}
