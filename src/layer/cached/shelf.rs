//! [`Shelf`], what a cache holds, and who is reading and writing what it holds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::commit::Committed;
use crate::error::{Error, Outcome};
use crate::feed::Change;
use crate::resource::Resource;
use crate::version::{Version, Versioned};
use crate::write_id::WriteId;

/// What a cache holds.
///
/// A layer can't tell which of two versions is the newer. So nothing is ever put over something else: a value is kept
/// only if nothing else happened to its id between the question and the answer.
pub(super) struct Shelf<T: Resource + ?Sized> {
    slots: DashMap<Arc<str>, Slot<T>, RandomState>,
    /// The ids of all slots, in the order in which their turn to go comes. Never locked under a slot.
    turns: Mutex<VecDeque<Arc<str>>>,
    limit: usize,
    /// How many ids have an unknown last write.
    doubtful: AtomicUsize,
    /// There were too many of those to remember: nothing is kept any more.
    given_up: AtomicBool,
}

/// One id.
struct Slot<T: ?Sized> {
    held: Option<Versioned<T>>,
    /// Reads from the store under way that may be kept.
    readers: u32,
    /// Whether something happened since the first of them began.
    overtaken: bool,
    /// Commits under way.
    writers: u32,
    /// Whether two of them overlapped, or others wrote meanwhile.
    mingled: bool,
    /// A commit was dropped or came back as unknown: it may be applied at any time.
    doubtful: bool,
    /// Read since its last turn to go.
    used: AtomicBool,
}

impl<T: Resource + ?Sized> Shelf<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            slots: DashMap::with_hasher(RandomState::default()),
            turns: Mutex::default(),
            limit,
            doubtful: AtomicUsize::new(0),
            given_up: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: &str) -> Option<Versioned<T>> {
        // Nobody takes away any more what one that was under way may have left behind.
        if self.has_given_up() {
            return None;
        }
        let slot = self.slots.get(id)?;
        let held = slot.held.clone();
        if held.is_some() && !slot.used.load(Ordering::Relaxed) {
            slot.used.store(true, Ordering::Relaxed);
        }
        held
    }

    /// How many resources are held.
    pub(super) fn len(&self) -> usize {
        self.slots.iter().filter(|slot| slot.held.is_some()).count()
    }

    /// Forgets what somebody else changed.
    pub(super) fn forget(&self, change: &Change<T>) {
        self.change(&change.id, |slot| match &slot.held {
            // One's own write, announced.
            Some(held) if held.version == change.version => None,
            _ => slot.disturb(),
        });
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let ids: Vec<Arc<str>> = self.turns.lock().iter().cloned().collect();
        for id in ids {
            self.change(&id, Slot::disturb);
        }
    }

    fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// Keeps nothing any more. Those under way find their slots gone, and do without.
    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
        let ids = std::mem::take(&mut *self.turns.lock());
        for id in ids {
            drop(self.slots.remove(&id));
        }
    }

    /// Changes a slot if there is one. What `change` takes out of it is dropped outside of the lock.
    fn change(&self, id: &str, change: impl FnOnce(&mut Slot<T>) -> Option<Versioned<T>>) {
        let displaced = self.slots.get_mut(id).and_then(|mut slot| change(&mut slot));
        drop(displaced);
    }

    /// Changes a slot, made if there was none, and makes room for it.
    fn change_or_add<R>(&self, id: &str, change: impl FnOnce(&mut Slot<T>) -> R) -> R {
        if let Some(mut slot) = self.slots.get_mut(id) {
            return change(&mut slot);
        }
        let id: Arc<str> = id.into();
        let mut added = false;
        let changed = {
            let mut slot = self.slots.entry(Arc::clone(&id)).or_insert_with(|| {
                added = true;
                Slot::default()
            });
            change(&mut slot)
        };
        if added {
            self.make_room(id);
        }
        changed
    }

    fn make_room(&self, id: Arc<str>) {
        let mut gone = Vec::new();
        let mut turns = self.turns.lock();
        turns.push_back(id);
        // Twice around: the first time may only find out who was not read since.
        for _ in 0..turns.len() * 2 {
            if turns.len() <= self.limit {
                break;
            }
            let Some(id) = turns.pop_front() else { break };
            match self.slots.remove_if(&id, |_, slot| slot.may_go()) {
                Some(slot) => gone.push(slot),
                None => turns.push_back(id),
            }
        }
        drop(turns);
        drop(gone);
    }
}

impl<T: ?Sized> Default for Slot<T> {
    fn default() -> Self {
        Self {
            held: None,
            readers: 0,
            overtaken: false,
            writers: 0,
            mingled: false,
            doubtful: false,
            used: AtomicBool::new(false),
        }
    }
}

impl<T: ?Sized> Slot<T> {
    /// Lets go of what is held, and of what those under way would put there.
    fn disturb(&mut self) -> Option<Versioned<T>> {
        self.overtaken = self.readers > 0;
        self.mingled = self.writers > 0;
        self.held.take()
    }

    fn may_go(&self) -> bool {
        let idle = self.readers == 0 && self.writers == 0 && !self.doubtful;
        idle && !self.used.swap(false, Ordering::Relaxed)
    }
}

/// A read from the store whose answer may be kept.
pub(super) struct Reading<'a, T: Resource + ?Sized> {
    shelf: &'a Shelf<T>,
    id: &'a str,
}

impl<'a, T: Resource + ?Sized> Reading<'a, T> {
    /// `None` where the answer may not be kept: a write is under way, or may still come.
    pub(super) fn begin(shelf: &'a Shelf<T>, id: &'a str) -> Option<Self> {
        if shelf.has_given_up() {
            return None;
        }
        let begins = shelf.change_or_add(id, |slot| {
            let begins = slot.writers == 0 && !slot.doubtful;
            slot.readers += u32::from(begins);
            begins
        });
        begins.then_some(Self { shelf, id })
    }

    pub(super) fn end(self, found: Versioned<T>) {
        let mut found = Some(found);
        self.shelf.change(self.id, |slot| {
            let keep = !slot.overtaken && slot.writers == 0 && !slot.doubtful;
            if keep { std::mem::replace(&mut slot.held, found.take()) } else { None }
        });
    }
}

impl<T: Resource + ?Sized> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        self.shelf.change(self.id, |slot| {
            slot.readers = slot.readers.saturating_sub(1);
            slot.overtaken &= slot.readers > 0;
            None
        });
    }
}

/// A commit under way.
pub(super) struct Writing<T: Resource + ?Sized> {
    shelf: Arc<Shelf<T>>,
    writes: Vec<Write<T>>,
    /// Whether the commit can be one that was applied before and is sent again.
    stamped: bool,
    answered: bool,
}

/// One id that a commit writes.
struct Write<T: ?Sized> {
    /// Its place in the commit.
    place: usize,
    id: Box<str>,
    /// The value of a put.
    value: Option<Arc<T>>,
    /// The version that was held.
    held: Option<Version>,
}

impl<T: Resource + ?Sized> Writing<T> {
    pub(super) fn begin<'i>(
        shelf: &Arc<Shelf<T>>,
        write: Option<WriteId>,
        writes: impl Iterator<Item = (usize, &'i str, Option<Arc<T>>)>,
    ) -> Self {
        if shelf.has_given_up() {
            return Self { shelf: Arc::clone(shelf), writes: Vec::new(), stamped: false, answered: true };
        }
        let begin = |(place, id, value): (usize, &str, _)| {
            let displaced = shelf.change_or_add(id, |slot| {
                let displaced = slot.disturb();
                slot.writers += 1;
                displaced
            });
            Write { place, id: id.into(), value, held: displaced.map(|held| held.version) }
        };
        let writes = writes.map(begin).collect();
        Self { shelf: Arc::clone(shelf), writes, stamped: write.is_some(), answered: false }
    }

    /// Keeps what was written, where nothing else happened to it meanwhile.
    pub(super) fn end(mut self, answer: &Result<Committed, Error>) {
        let receipts = match answer {
            Ok(committed) => committed.receipts(),
            Err(error) if error.outcome() == Outcome::NotApplied => &[],
            // Dropped as it is: it may still be applied.
            Err(_) => return,
        };
        self.answered = true;
        for Write { place, id, value, held } in std::mem::take(&mut self.writes) {
            let receipt = receipts.get(place);
            // A commit that is sent again is answered as it was then, and others may have written since. It is a new one
            // for sure if it replaced what was held until now.
            let known =
                !self.stamped || held.is_some() && receipt.is_some_and(|receipt| receipt.replaced == held);
            let version = receipt.and_then(|receipt| receipt.version).filter(|_| known);
            let mut written = value.zip(version).map(|(value, version)| Versioned { version, value });
            self.shelf.change(&id, |slot| {
                slot.writers = slot.writers.saturating_sub(1);
                let alone = slot.writers == 0 && !slot.mingled && !slot.doubtful;
                slot.mingled &= slot.writers > 0;
                if alone { std::mem::replace(&mut slot.held, written.take()) } else { None }
            });
        }
    }
}

impl<T: Resource + ?Sized> Drop for Writing<T> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        for Write { id, .. } in &self.writes {
            self.shelf.change(id, |slot| {
                slot.writers = slot.writers.saturating_sub(1);
                slot.mingled &= slot.writers > 0;
                if !std::mem::replace(&mut slot.doubtful, true) {
                    self.shelf.doubtful.fetch_add(1, Ordering::AcqRel);
                }
                slot.held.take()
            });
        }
        if self.shelf.doubtful.load(Ordering::Acquire) > self.shelf.limit {
            self.shelf.give_up();
        }
    }
}
