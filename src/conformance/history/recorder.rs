//! [`Recorded`], a layer that writes down every call and its answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::event::{Answer, Deed, Event, History, Numbering, Operation, Seen, Sight, Step};
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Conflict, Error, Kind, Listed, Mismatch, Outcome, Page,
    Reply, Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};

/// How many lists the events go to, so that threads seldom wait for one another and still meet in the store.
const LISTS: usize = 64;

/// A layer that writes down every read, commit and resolution, for [`History::check`]. Watching passes through.
///
/// Values are kept as fingerprints only. A reply that is dropped before its answer counts as a commit of unknown
/// fate. Costs an allocation or two a call, and the memory of the events until they are taken.
///
/// ```
/// use ifmatch::conformance::history::{Numbering, Recorded};
/// use ifmatch::{Commit, Entry, Expected, Memory, Store};
///
/// let store = Recorded::new(Memory::<str>::new());
/// store.commit(Commit::one(Entry::put("a", Expected::Absent, "one".into()))).wait()?;
/// store.get("a").wait()?;
///
/// let history = store.history(Numbering::StoreWide).with_seed(7);
/// assert_eq!(history.events.len(), 2);
/// assert_eq!(history.check()?.versions, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Recorded<S, T: ?Sized> {
    store: S,
    journal: Arc<Journal>,
    fingerprint: fn(&T) -> u64,
}

/// The clock that all processes share, and what they wrote down.
struct Journal {
    clock: AtomicU64,
    lists: [Mutex<Vec<Event>>; LISTS],
}

impl<S, T: Hash + ?Sized> Recorded<S, T> {
    /// Records the calls to a store of values that can be hashed.
    pub fn new(store: S) -> Self {
        Self::with_fingerprint(store, |value| {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        })
    }
}

impl<S, T: ?Sized> Recorded<S, T> {
    /// Records the calls to a store; `fingerprint` tells one value from another.
    ///
    /// ```
    /// use ifmatch::conformance::history::Recorded;
    /// use ifmatch::Memory;
    ///
    /// let store = Recorded::with_fingerprint(Memory::<f64>::new(), |value: &f64| value.to_bits());
    /// ```
    pub fn with_fingerprint(store: S, fingerprint: fn(&T) -> u64) -> Self {
        let lists = std::array::from_fn(|_| Mutex::default());
        Self { store, journal: Arc::new(Journal { clock: AtomicU64::new(0), lists }), fingerprint }
    }

    /// Takes what was written down so far. Calls without an answer yet appear in the next history.
    pub fn history(&self, numbering: Numbering) -> History {
        let lists = self.journal.lists.iter();
        History::new(numbering, lists.flat_map(|list| mem::take(&mut *list.lock())).collect())
    }

    fn seen(&self, found: &Versioned<T>) -> Seen {
        Seen::Value { version: found.version, fingerprint: Some((self.fingerprint)(&found.value)) }
    }

    fn steps(&self, commit: &Commit<'_, T>) -> Vec<Step> {
        let entries = commit.entries().iter();
        let steps = entries.map(|entry| Step {
            id: entry.id.into(),
            expected: entry.condition.expected,
            deed: match &entry.action {
                Action::Check => Deed::Check,
                Action::Put(value) => Deed::Put((self.fingerprint)(value)),
                Action::Delete => Deed::Delete,
            },
        });
        steps.collect()
    }
}

impl Journal {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn write(&self, event: Event) {
        self.lists[event.process as usize % LISTS].lock().push(event);
    }

    fn read(&self, call: u64, returned: u64, id: Arc<str>, seen: Seen) {
        let operation = Operation::Read { id, seen };
        self.write(Event { process: process(), call, returned: Some(returned), operation });
    }
}

/// A commit that was sent. Dropped without an answer, it is written down as of unknown fate.
struct Sent {
    journal: Arc<Journal>,
    call: u64,
    write: Option<WriteId>,
    steps: Vec<Step>,
}

impl Sent {
    fn answered(mut self, answer: Answer) {
        self.write_down(answer);
    }

    fn write_down(&mut self, answer: Answer) {
        let returned = (answer != Answer::Unknown).then(|| self.journal.now());
        let operation = Operation::Commit { write: self.write, steps: mem::take(&mut self.steps), answer };
        self.journal.write(Event { process: process(), call: self.call, returned, operation });
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.steps.is_empty() {
            self.write_down(Answer::Unknown);
        }
    }
}

impl<T: Resource + ?Sized, S: Store<T>> Store<T> for Recorded<S, T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        let call = self.journal.now();
        self.store.get(id).map(move |found| {
            let returned = self.journal.now();
            let seen = found.as_ref().map_or(Seen::Nothing, |found| self.seen(found));
            self.journal.read(call, returned, id.into(), seen);
            found
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let (write, steps) = (commit.remembered_write(), self.steps(&commit));
        let sent = Sent { journal: Arc::clone(&self.journal), call: self.journal.now(), write, steps };
        self.store.commit(commit).then(move |answer| {
            sent.answered(match &answer {
                Ok(committed) => Answer::Applied(committed.receipts().to_vec()),
                Err(Error::Conflict(conflict)) => Answer::Conflict(sights(conflict, self.fingerprint)),
                Err(error) if error.outcome() == Outcome::Unknown => Answer::Unknown,
                Err(_) => Answer::NotApplied,
            });
            answer
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        let call = self.journal.now();
        self.store.resolve(write).map(move |resolution| {
            let answer = match &resolution {
                Resolution::Applied(committed) => Answer::Applied(committed.receipts().to_vec()),
                Resolution::NotApplied => Answer::NotApplied,
                Resolution::Unknown => Answer::Unknown,
            };
            let (returned, operation) = (Some(self.journal.now()), Operation::Resolve { write, answer });
            self.journal.write(Event { process: process(), call, returned, operation });
            resolution
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        let call = self.journal.now();
        self.store.scan(scan).map(move |page| {
            let returned = self.journal.now();
            for (id, Listed { version, value }) in &page.items {
                let fingerprint = value.as_ref().map(|value| (self.fingerprint)(value));
                let seen = Seen::Value { version: *version, fingerprint };
                self.journal.read(call, returned, Arc::clone(id), seen);
            }
            page
        })
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

/// What a conflict shows of the ids whose state it tells.
fn sights<T: Resource + ?Sized>(conflict: &Conflict, fingerprint: fn(&T) -> u64) -> Vec<Sight> {
    let sight = |mismatch: &Mismatch| {
        let current = mismatch.current::<T>();
        let seen = match (mismatch.kind(), mismatch.found()) {
            (Kind::Stale | Kind::Exists, Some(version)) => Seen::Value {
                // A conflict whose body is of another version than it names must not pass for a true one.
                version: current.as_ref().map_or(version, |current| current.version),
                fingerprint: current.map(|current| fingerprint(&current.value)),
            },
            (Kind::Deleted, Some(version)) => Seen::Deleted { version },
            (Kind::Missing | Kind::Deleted, _) => Seen::Nothing,
            // A lock or a rule of the program refused: that tells nothing of the state.
            _ => return None,
        };
        Some(Sight { id: mismatch.id().into(), seen })
    };
    conflict.mismatches().iter().filter_map(sight).collect()
}

/// The number of this thread.
fn process() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static PROCESS: u64 = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    PROCESS.with(|process| *process)
}
