//! [`Scripted`], a store for tests that fails as it is told, and [`Jumping`], a clock that never waits.

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, ready};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::collection::timer::{Sleep, ThreadTimer, Timer};
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Conflict, Error, Failure, Found, Listed, Outcome, Page,
    Receipt, Refusal, Reply, Resolution, Resource, Scan, Start, Store, Version, Versioned, Window, WriteId,
};

/// What goes wrong with the next commit, or the next resolve, or the next read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing is applied, and the store says so.
    Fail,
    /// The same, and waiting does not mend it.
    FailForLong,
    /// Nothing is applied, and the store can't tell.
    LoseRequest,
    /// It is applied, and the store can't tell.
    LoseAnswer,
    /// Nothing is applied, and no answer ever comes.
    Hang,
    /// It is applied, and no answer ever comes.
    HangApplied,
    /// Nothing is applied, as somebody holds a lock.
    Lock,
    /// Nothing goes wrong.
    None,
}

/// How a commit takes its time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    Ready,
    /// Every reply is pending twice: before the store does anything, and after it has done all.
    Yields,
    /// The reply is pending for as long; the commit is applied at its end.
    Pending(Duration),
    /// The thread is parked for as long; the commit is applied at its end.
    Parked(Duration),
}

/// A map behind a lock, whose failures follow a script.
pub(crate) struct Scripted<T: ?Sized> {
    state: Mutex<Kept<T>>,
    pub(crate) commit_faults: Mutex<VecDeque<Fault>>,
    pub(crate) read_faults: Mutex<VecDeque<Fault>>,
    pub(crate) resolve_faults: Mutex<VecDeque<Fault>>,
    pub(crate) commits: AtomicU32,
    pub(crate) reads: AtomicU32,
    pub(crate) resolves: AtomicU32,
    /// The write ids seen, in order.
    pub(crate) writes: Mutex<Vec<Option<WriteId>>>,
    pace: Pace,
    unknown: bool,
    /// Answers `Unknown` to every resolve.
    pub(crate) forgets: bool,
    /// Whether it lists no values, asked for or not. Otherwise it lists them all, asked for or not.
    pub(crate) lists_no_values: bool,
    /// Says that it remembers deletions.
    pub(crate) tombstones: bool,
}

struct Kept<T: ?Sized> {
    values: BTreeMap<Arc<str>, Result<Versioned<T>, Version>>,
    last: u64,
    window: Window<Committed>,
}

impl<T: ?Sized> Kept<T> {
    fn newest(&self) -> Option<Version> {
        NonZeroU64::new(self.last).map(Version::from_bits)
    }
}

impl<T: Resource + ?Sized> Scripted<T> {
    pub(crate) fn new(pace: Pace, unknown: bool) -> Self {
        let state = Kept { values: BTreeMap::new(), last: 100, window: Window::new(1000) };
        Self {
            state: Mutex::new(state),
            commit_faults: Mutex::default(),
            read_faults: Mutex::default(),
            resolve_faults: Mutex::default(),
            commits: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            resolves: AtomicU32::new(0),
            writes: Mutex::default(),
            pace,
            unknown,
            forgets: false,
            lists_no_values: false,
            tombstones: true,
        }
    }

    /// A store whose answers can be lost, and these faults for its next commits.
    pub(crate) fn losing(faults: &[Fault]) -> Self {
        let store = Self::new(Pace::Ready, true);
        store.commit_faults.lock().extend(faults);
        store
    }

    /// Remembers so many commits under a write id.
    pub(crate) fn remembering(self, commits: usize) -> Self {
        self.state.lock().window = Window::new(commits);
        self
    }

    pub(crate) fn sent(&self) -> u32 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) -> u32 {
        self.reads.load(Ordering::Relaxed)
    }

    fn apply(&self, commit: Commit<'_, T>) -> Result<Committed, Error> {
        commit.check_ids()?;
        let state = &mut *self.state.lock();
        let remembered = commit.remembered_write().map(|write| (write, commit.fingerprint()));
        if let Some((write, fingerprint)) = remembered
            && let Some(committed) = state.window.recall(write, fingerprint, state.newest())?
        {
            return Ok(committed.clone());
        }
        let judged = commit.entries().iter().filter_map(|entry| {
            let found = match state.values.get(entry.id) {
                Some(Ok(value)) => Found::Value(value.clone()),
                Some(Err(version)) => Found::Deleted(*version),
                None => Found::Nothing,
            };
            entry.judge(found).err()
        });
        if let Some(conflict) = Conflict::new(judged) {
            return Err(conflict.into());
        }
        state.last += 1;
        let version = Version::from_bits(NonZeroU64::new(state.last).unwrap());
        let receipts = commit.into_entries().into_iter().map(|entry| {
            let before = state.values.get(entry.id);
            let replaced = before.and_then(|before| before.as_ref().ok()).map(|value| value.version);
            let now = match entry.action {
                Action::Check => replaced,
                Action::Put(value) => {
                    state.values.insert(entry.id.into(), Ok(Versioned { version, value }));
                    Some(version)
                }
                Action::Delete => replaced.map(|_| {
                    state.values.insert(entry.id.into(), Err(version));
                    version
                }),
            };
            Receipt { version: now, replaced }
        });
        let committed: Committed = receipts.collect();
        if let Some((write, fingerprint)) = remembered {
            state.window.remember(write, fingerprint, committed.clone());
        }
        Ok(committed)
    }
}

fn failed<A>(outcome: Outcome) -> Result<A, Error> {
    Err(Failure::new(outcome, "scripted").into())
}

fn for_long<A>() -> Result<A, Error> {
    Err(Failure::new(Outcome::NotApplied, "scripted").lasting().into())
}

/// Pending once before `act` and once after it.
fn yields<'a, A: Send + 'a>(act: impl FnOnce() -> Result<A, Error> + Send + 'a) -> Reply<'a, A> {
    Reply::pending(async {
        tokio::task::yield_now().await;
        let answer = act();
        tokio::task::yield_now().await;
        answer
    })
}

fn next(faults: &Mutex<VecDeque<Fault>>) -> Fault {
    faults.lock().pop_front().unwrap_or(Fault::None)
}

impl<T: Resource + ?Sized> Store<T> for Scripted<T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match next(&self.read_faults) {
            Fault::None => {}
            Fault::Hang => return Reply::pending(pending()),
            Fault::FailForLong => return Reply::ready(for_long()),
            _ => return Reply::ready(failed(Outcome::NotApplied)),
        }
        let find = move || Ok(self.state.lock().values.get(id).and_then(|value| value.clone().ok()));
        match self.pace {
            Pace::Pending(_) => Reply::pending(ready(find())),
            Pace::Yields => yields(find),
            _ => Reply::ready(find()),
        }
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.lock().push(commit.write());
        match next(&self.commit_faults) {
            Fault::None => {}
            Fault::Fail => return Reply::ready(failed(Outcome::NotApplied)),
            Fault::FailForLong => return Reply::ready(for_long()),
            Fault::LoseRequest => return Reply::ready(failed(Outcome::Unknown)),
            Fault::Hang => return Reply::pending(pending()),
            Fault::LoseAnswer => {
                return Reply::ready(self.apply(commit).and_then(|_| failed(Outcome::Unknown)));
            }
            Fault::Lock => {
                let id = commit.entries()[0].id;
                let locked = Conflict::locked(id, "somebody", Duration::from_secs(1));
                return Reply::ready(Err(locked.into()));
            }
            Fault::HangApplied => {
                let _ = self.apply(commit);
                return Reply::pending(pending());
            }
        }
        match self.pace {
            Pace::Ready => Reply::ready(self.apply(commit)),
            Pace::Yields => yields(move || self.apply(commit)),
            Pace::Pending(pace) => Reply::pending(async move {
                ThreadTimer.sleep(pace).await;
                self.apply(commit)
            }),
            Pace::Parked(pace) => {
                std::thread::sleep(pace);
                Reply::ready(self.apply(commit))
            }
        }
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.resolves.fetch_add(1, Ordering::Relaxed);
        if next(&self.resolve_faults) != Fault::None {
            return Reply::ready(failed(Outcome::NotApplied));
        }
        if self.forgets {
            return Reply::ready(Ok(Resolution::Unknown));
        }
        let state = &mut *self.state.lock();
        Reply::ready(Ok(state.window.ask(write, state.newest()).into()))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        if next(&self.read_faults) != Fault::None {
            return Reply::ready(failed(Outcome::NotApplied));
        }
        let Scan { prefix, after, limit, .. } = scan;
        let state = self.state.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut items: Vec<_> = state
            .values
            .range::<str, _>((from, Bound::Unbounded))
            .filter(|(id, value)| id.starts_with(prefix) && value.is_ok())
            .map(|(id, value)| (Arc::clone(id), Listed::from(value.clone().unwrap())))
            .take(limit + 1)
            .collect();
        let more = items.len() > limit;
        items.truncate(limit);
        if self.lists_no_values {
            items.iter_mut().for_each(|(_, listed)| listed.value = None);
        }
        Reply::ready(Ok(Page { items, more }))
    }

    fn watch<'a>(&'a self, _: Start) -> Reply<'a, Changes<T>> {
        Reply::ready(Err(Refusal::Unsupported { what: "watching" }.into()))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            tombstones: self.tombstones,
            window: 1000,
            may_lose_answers: self.unknown,
            ..Abilities::default()
        }
    }
}

/// A clock whose sleeps end at once, and move it on by as long as they would have taken.
#[derive(Clone)]
pub(crate) struct Jumping {
    start: Instant,
    slept: Arc<Mutex<Vec<Duration>>>,
}

impl Jumping {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), slept: Arc::default() }
    }

    pub(crate) fn slept(&self) -> Vec<Duration> {
        self.slept.lock().clone()
    }
}

impl Timer for Jumping {
    fn now(&self) -> Instant {
        self.start + self.slept.lock().iter().sum::<Duration>()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let slept = Arc::clone(&self.slept);
        Box::pin(async move { slept.lock().push(duration) })
    }
}
