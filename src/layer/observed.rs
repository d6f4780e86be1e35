//! [`Observed`], a layer that shows every operation to one hook.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::commit::{Commit, Committed};
use crate::error::Error;
use crate::feed::{Batch, Changes, Feed, Start};
use crate::reply::Reply;
use crate::resource::Resource;
use crate::store::{Abilities, Page, Resolution, Store};
use crate::version::Versioned;
use crate::write_id::WriteId;

/// A layer that shows every operation to one hook: what it was, how long it took, how it ended. For logs, metrics
/// and traces.
///
/// The hook runs once an operation, when its answer is here, on the thread that takes the answer; for a reply that is
/// dropped before that, when it is dropped. It runs outside every lock, and may call the store. What it costs, every
/// call costs, beside two readings of the clock; a reply that was ready stays ready. A panic in it reaches the caller,
/// after the operation has taken place.
///
/// An [`Event`] holds no value, and its `Debug` shows none. (A conflict keeps the value that stood there, for those
/// who ask it by type.)
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// use ifmatch::layer::Ending;
/// use ifmatch::{Commit, Entry, Error, Expected, Memory, Observed, Store};
///
/// let conflicts = Arc::new(AtomicUsize::new(0));
/// let counted = Arc::clone(&conflicts);
/// let store = Observed::new(Memory::<str>::new(), move |event| {
///     if let Ending::Failed(Error::Conflict(_)) = event.ending {
///         counted.fetch_add(1, Ordering::Relaxed);
///     }
/// });
///
/// store.commit(Commit::one(Entry::put("a", Expected::Present, "text".into()))).wait().unwrap_err();
/// assert_eq!(conflicts.load(Ordering::Relaxed), 1);
/// ```
#[derive(Clone)]
pub struct Observed<S, H> {
    store: S,
    // Shared with feeds, which outlive the borrow of the store.
    hook: Arc<H>,
}

/// One operation that has ended.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Event<'e> {
    /// What was done.
    pub operation: Operation<'e>,
    /// How long it took, from the call to the answer, the time in which nobody polled the reply included.
    pub duration: Duration,
    /// How it ended.
    pub ending: Ending<'e>,
}

/// What an [`Event`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'e> {
    /// [`Store::get`].
    Get {
        /// Of which resource.
        id: &'e str,
    },
    /// [`Store::commit`].
    Commit {
        /// The id of its first entry; `None` for an empty commit.
        id: Option<&'e str>,
        /// How many entries it has.
        entries: usize,
        /// Its write id, if it has one.
        write: Option<WriteId>,
    },
    /// [`Store::resolve`].
    Resolve {
        /// Of which commit.
        write: WriteId,
    },
    /// [`Store::scan`].
    Scan {
        /// What the ids begin with.
        prefix: &'e str,
        /// After which id.
        after: Option<&'e str>,
        /// At most how many.
        limit: usize,
    },
    /// [`Store::watch`]: the beginning of a feed.
    Watch,
    /// A batch of a feed, or its end. The duration is the time waited for it.
    Batch {
        /// How many changes it has; 0 where the feed ended.
        changes: usize,
    },
}

/// How an operation ended.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'e> {
    /// With its answer.
    Done,
    /// With this error.
    Failed(&'e Error),
    /// Its reply was dropped while it was pending (or the store panicked). Whether a commit was applied is unknown.
    Dropped,
}

impl<S, H: Fn(&Event<'_>) + Send + Sync + 'static> Observed<S, H> {
    /// Shows every operation on `store` to `hook`.
    pub fn new(store: S, hook: H) -> Self {
        Self { store, hook: Arc::new(hook) }
    }

    fn observe<'a, A: Send + 'a>(
        &'a self,
        operation: Operation<'a>,
        call: impl FnOnce(&'a S) -> Reply<'a, A>,
    ) -> Reply<'a, A> {
        let started = Instant::now();
        match call(&self.store).into_ready() {
            Ok(answer) => {
                report(&*self.hook, operation, started, Ending::of(&answer));
                Reply::ready(answer)
            }
            Err(pending) => {
                let underway = Underway { hook: &*self.hook, operation, started, ended: false };
                Reply::pending(async move {
                    let answer = pending.await;
                    underway.end(Ending::of(&answer));
                    answer
                })
            }
        }
    }
}

impl<T, S, H> Store<T> for Observed<S, H>
where
    T: Resource + ?Sized,
    S: Store<T>,
    H: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        self.observe(Operation::Get { id }, |store| store.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let operation = Operation::Commit {
            id: commit.entries().first().map(|entry| entry.id),
            entries: commit.entries().len(),
            write: commit.write(),
        };
        self.observe(operation, |store| store.commit(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.observe(Operation::Resolve { write }, |store| store.resolve(write))
    }

    fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<T>> {
        self.observe(Operation::Scan { prefix, after, limit }, |store| store.scan(prefix, after, limit))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.observe(Operation::Watch, |store| store.watch(from)).map(|changes| {
            let cursor = changes.cursor().clone();
            Changes::new(cursor, Watched { changes, hook: Arc::clone(&self.hook), asked: None })
        })
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

impl<S: fmt::Debug, H> fmt::Debug for Observed<S, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("store", &self.store).finish_non_exhaustive()
    }
}

impl<'e> Ending<'e> {
    fn of<A>(answer: &'e Result<A, Error>) -> Self {
        match answer {
            Ok(_) => Self::Done,
            Err(error) => Self::Failed(error),
        }
    }
}

fn report(hook: &impl Fn(&Event<'_>), operation: Operation<'_>, started: Instant, ending: Ending<'_>) {
    hook(&Event { operation, duration: started.elapsed(), ending });
}

/// An operation whose reply is pending. Dropped before its end, it says so.
struct Underway<'a, H: Fn(&Event<'_>)> {
    hook: &'a H,
    operation: Operation<'a>,
    started: Instant,
    ended: bool,
}

impl<H: Fn(&Event<'_>)> Underway<'_, H> {
    fn end(mut self, ending: Ending<'_>) {
        // Before the hook: one that panics is not called again.
        self.ended = true;
        report(self.hook, self.operation, self.started, ending);
    }
}

impl<H: Fn(&Event<'_>)> Drop for Underway<'_, H> {
    fn drop(&mut self) {
        if !self.ended {
            report(self.hook, self.operation, self.started, Ending::Dropped);
        }
    }
}

/// The feed of the store below, each batch shown to the hook.
struct Watched<T: ?Sized, H> {
    changes: Changes<T>,
    hook: Arc<H>,
    /// When the next batch was first asked for.
    asked: Option<Instant>,
}

impl<T, H> Feed<T> for Watched<T, H>
where
    T: Resource + ?Sized,
    H: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let asked = *self.asked.get_or_insert_with(Instant::now);
        let answer = ready!(self.changes.poll_next(context));
        self.asked = None;
        let changes = answer.as_ref().map_or(0, |batch| batch.changes.len());
        report(&*self.hook, Operation::Batch { changes }, asked, Ending::of(&answer));
        Poll::Ready(answer)
    }
}
