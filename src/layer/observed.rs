//! [`Observed`], a layer that shows every operation to one hook.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread::panicking;
use std::time::{Duration, Instant};

use crate::collection::{Along, Exit, Part, Step};
use crate::store::{
    Abilities, Action, Batch, Changes, Commit, Committed, Cursor, Entry, Error, Expected, Feed, Listed, Page,
    Reply, Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};

/// A layer that shows every operation to one hook: what it was, how long it took, how it ended. For logs, metrics
/// and traces.
///
/// The hook runs once an operation, when its answer is here, on the thread that takes the answer; for a reply that is
/// dropped before that, when it is dropped, unless its thread panics. It runs outside every lock, and may call the store. What it costs, every
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
///
/// ```
/// use ifmatch::layer::{Event, Operation};
///
/// /// A line for a log.
/// fn line(event: &Event<'_>) -> String {
///     let what = match event.operation {
///         Operation::Get { id } => format!("get {id:?}"),
///         Operation::Commit { id, entries, .. } => format!("commit of {entries} from {id:?} on"),
///         other => format!("{other:?}"),
///     };
///     format!("{what}: {:?} in {:?}", event.ending, event.duration)
/// }
/// ```
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
///
/// ```
/// # use ifmatch::layer::Operation;
/// let is_write = |operation: &Operation<'_>| matches!(operation, Operation::Commit { .. });
/// assert!(!is_write(&Operation::Get { id: "a" }));
/// ```
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
        /// How many of them write and expect nothing: [`Expected::Any`] or [`Expected::Present`].
        blind: usize,
        /// Its write id, if it has one.
        write: Option<WriteId>,
    },
    /// [`Store::resolve`].
    Resolve {
        /// Of which commit.
        write: WriteId,
    },
    /// [`Store::scan`].
    Scan(Scan<'e>),
    /// [`Store::watch`]: the beginning of a feed.
    Watch,
    /// A batch of a feed, or its end. The duration is the time waited for it.
    Batch {
        /// How many changes it has; 0 where the feed ended.
        changes: usize,
    },
}

/// How an operation ended.
///
/// ```
/// use ifmatch::layer::Ending;
///
/// /// What a counter of operations is labelled with.
/// fn label(ending: Ending<'_>) -> &'static str {
///     match ending {
///         Ending::Done => "done",
///         Ending::Failed(error) if error.conflict().is_some() => "conflict",
///         Ending::Failed(_) => "failed",
///         Ending::Dropped => "dropped",
///     }
/// }
/// assert_eq!(label(Ending::Dropped), "dropped");
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Ending<'e> {
    /// With its answer.
    Done,
    /// With this error.
    Failed(&'e Error),
    /// Its reply was dropped while it was pending. Whether a commit was applied is unknown. A thread that panics tells of none.
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

/// In a [`Database`](crate::Database) the hook is shown every part that a commit has of the collection, and how the whole
/// commit ended.
impl<T, S, H> Step<T> for Observed<S, H>
where
    T: Resource + ?Sized,
    S: Store<T>,
    H: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn enter(&self, part: &Part<'_, T>, _: &mut Along<'_>) -> Result<Exit, Error> {
        let mut underway = PartUnderway {
            hook: Arc::clone(&self.hook),
            id: part.entries().first().map(|entry| entry.id.into()),
            entries: part.entries().len(),
            blind: blind(part.entries()),
            write: part.commit().write(),
            started: Instant::now(),
            ended: false,
        };
        Ok(Exit::then(move |outcome| underway.end(outcome.map_or_else(Ending::Failed, |_| Ending::Done))))
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
            blind: blind(commit.entries()),
            write: commit.write(),
        };
        self.observe(operation, |store| store.commit(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.observe(Operation::Resolve { write }, |store| store.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        self.observe(Operation::Scan(scan), |store| store.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.observe(Operation::Watch, |store| store.watch(from)).map(|changes| {
            let cursor = changes.cursor().clone();
            Changes::new(cursor, Watched { changes, hook: Arc::clone(&self.hook), asked: None, answer: None })
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

/// How many entries write whatever is there.
fn blind<T: ?Sized>(entries: &[Entry<'_, T>]) -> usize {
    let blind = |entry: &&Entry<'_, T>| {
        !matches!(entry.action, Action::Check)
            && matches!(entry.condition.expected, Expected::Any | Expected::Present)
    };
    entries.iter().filter(blind).count()
}

fn report(hook: &impl Fn(&Event<'_>), operation: Operation<'_>, started: Instant, ending: Ending<'_>) {
    hook(&Event { operation, duration: started.elapsed(), ending });
}

/// An operation whose reply is pending. Dropped before its end, it says so; not while the thread panics, when a hook that
/// panics too would end the program.
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
        if !self.ended && !panicking() {
            report(self.hook, self.operation, self.started, Ending::Dropped);
        }
    }
}

/// A part of a commit under way. Dropped before its end, it says so.
struct PartUnderway<H: Fn(&Event<'_>)> {
    hook: Arc<H>,
    id: Option<Box<str>>,
    entries: usize,
    blind: usize,
    write: Option<WriteId>,
    started: Instant,
    ended: bool,
}

impl<H: Fn(&Event<'_>)> PartUnderway<H> {
    fn end(&mut self, ending: Ending<'_>) {
        // Before the hook: one that panics is not called again.
        self.ended = true;
        let (entries, blind) = (self.entries, self.blind);
        let operation = Operation::Commit { id: self.id.as_deref(), entries, blind, write: self.write };
        report(&*self.hook, operation, self.started, ending);
    }
}

impl<H: Fn(&Event<'_>)> Drop for PartUnderway<H> {
    fn drop(&mut self) {
        if !self.ended && !panicking() {
            self.end(Ending::Dropped);
        }
    }
}

/// The feed of the store below, each batch shown to the hook.
struct Watched<T: ?Sized, H> {
    changes: Changes<T>,
    hook: Arc<H>,
    /// When the next batch was first asked for.
    asked: Option<Instant>,
    /// Shown to the hook and not delivered yet: a hook that panics must not make a gap.
    answer: Option<Result<Batch<T>, Error>>,
}

impl<T, H> Feed<T> for Watched<T, H>
where
    T: Resource + ?Sized,
    H: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        if let Some(answer) = self.answer.take() {
            return Poll::Ready(answer);
        }
        let asked = *self.asked.get_or_insert_with(Instant::now);
        let answer = ready!(self.changes.poll_next(context));
        self.asked = None;
        let answer = self.answer.insert(answer);
        let changes = answer.as_ref().map_or(0, |batch| batch.changes.len());
        report(&*self.hook, Operation::Batch { changes }, asked, Ending::of(answer));
        Poll::Ready(self.answer.take().expect("it was put there just now"))
    }

    fn is_idle(&self) -> bool {
        self.answer.is_none() && self.changes.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        self.answer.is_none().then(|| self.changes.cursor())
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::task::Waker;

    use parking_lot::Mutex;

    use super::*;
    use crate::layer::probe::{Probe, at_once, next_of};
    use crate::store::{Cursor, Entry, Expected, Expired};

    type Seen = Arc<Mutex<Vec<String>>>;

    /// A hook that notes what it sees and how it ended.
    fn noting() -> (Seen, impl Fn(&Event<'_>) + Send + Sync + 'static) {
        let seen = Seen::default();
        let notes = Arc::clone(&seen);
        let hook = move |event: &Event<'_>| {
            let ending = match event.ending {
                Ending::Done => "done".to_owned(),
                Ending::Failed(error) => error.to_string(),
                Ending::Dropped => "dropped".to_owned(),
            };
            assert!(!format!("{event:?}").contains("s3cr3t"));
            notes.lock().push(format!("{:?}: {ending}", event.operation));
        };
        (seen, hook)
    }

    fn put(id: &str) -> Commit<'_, str> {
        Commit::one(Entry::put(id, Expected::Absent, "s3cr3t".into()))
    }

    fn poll_once<A>(reply: &mut Reply<'_, A>) -> bool {
        std::pin::pin!(reply).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_thread_that_panics_calls_no_hook() {
        let store =
            Observed::new(Probe::<str>::late(), |_: &Event<'_>| panic!("a hook that panics ends no program"));

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut reply = store.get("a");
            assert!(poll_once(&mut reply), "it is pending");
        }));

        assert!(panicked.is_err());
    }

    #[test]
    fn every_operation_is_seen_once_with_what_it_was_and_how_it_ended() {
        for probe in [Probe::prompt(), Probe::late()] {
            let (seen, hook) = noting();
            let store = Observed::new(probe, hook);
            let write = WriteId::from_bits(7);

            store.get("a").wait().unwrap();
            store.commit(put("a").with_write(write)).wait().unwrap();
            store.commit(put("a").and(Entry::check("b", Expected::Any))).wait().unwrap_err();
            store.commit(Commit::from_iter([])).wait().unwrap();
            store.resolve(write).wait().unwrap();
            store.scan(Scan::new("a", 3).after(Some("b"))).wait().unwrap();
            store.scan(Scan::new("", 0).without_values()).wait().unwrap_err();
            let _ = store.watch(Start::Now).wait().unwrap();

            let write = "Some(WriteId(00000000000000000000000000000007))";
            let seen = seen.lock();
            assert_eq!(seen[0], r#"Get { id: "a" }: done"#);
            assert_eq!(
                seen[1],
                format!(r#"Commit {{ id: Some("a"), entries: 1, blind: 0, write: {write} }}: done"#)
            );
            let refused = r#"Commit { id: Some("a"), entries: 2, blind: 0, write: None }: conflict on `a`: expected no value"#;
            assert!(seen[2].starts_with(refused), "{}", seen[2]);
            assert_eq!(seen[3], "Commit { id: None, entries: 0, blind: 0, write: None }: done");
            assert!(
                seen[4].starts_with("Resolve { write: WriteId(") && seen[4].ends_with(": done"),
                "{}",
                seen[4]
            );
            assert_eq!(
                seen[5],
                r#"Scan(Scan { prefix: "a", after: Some("b"), limit: 3, values: true }): done"#
            );
            assert!(
                seen[6].ends_with(
                    "limit: 0, values: false }): a page limit of 0: ask for at least one resource"
                ),
                "{}",
                seen[6]
            );
            assert_eq!(seen[7], "Watch: done");
            assert_eq!(seen.len(), 8);
        }
    }

    #[test]
    fn the_answer_is_that_of_the_store_below_and_ready_stays_ready() {
        let (_, hook) = noting();
        let probe = Probe::prompt();
        let store = Observed::new(probe.clone(), hook);

        let committed = at_once(store.commit(put("a"))).unwrap();

        assert_eq!(at_once(store.get("a")).unwrap(), probe.peek("a"));
        assert_eq!(committed.version(), probe.peek("a").map(|stored| stored.version));
        assert!(at_once(store.commit(put("a"))).unwrap_err().conflict().is_some());
        assert_eq!(at_once(store.scan(Scan::new("", 9))).unwrap().items.len(), 1);
        assert_eq!(
            at_once(store.resolve(WriteId::after(None))).unwrap(),
            probe.resolve(WriteId::after(None)).wait().unwrap()
        );
        let _ = at_once(store.watch(Start::Now)).unwrap();
        assert_eq!(store.abilities(), probe.abilities());
    }

    #[test]
    fn a_reply_dropped_while_pending_is_seen_as_dropped_polled_or_not() {
        let (seen, hook) = noting();
        let store = Observed::new(Probe::<str>::late(), hook);

        drop(store.get("never"));
        let mut polled = store.get("once");
        assert!(!poll_once(&mut polled));
        assert_eq!(seen.lock().len(), 1);
        drop(polled);
        let mut finished = store.get("twice");
        assert!(!poll_once(&mut finished) && poll_once(&mut finished));
        drop(finished);

        let expected = [
            r#"Get { id: "never" }: dropped"#,
            r#"Get { id: "once" }: dropped"#,
            r#"Get { id: "twice" }: done"#,
        ];
        assert_eq!(*seen.lock(), expected);
    }

    #[test]
    fn every_batch_of_a_feed_is_seen_and_its_end_too() {
        struct Ended;

        impl Feed<str> for Ended {
            fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Batch<str>, Error>> {
                Poll::Ready(Err(Expired { oldest: None }.into()))
            }

            fn is_idle(&self) -> bool {
                true
            }
        }

        let (seen, hook) = noting();
        let hook = Arc::new(hook);
        let probe = Probe::prompt();
        let store = Observed { store: probe.clone(), hook: Arc::clone(&hook) };
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let began = changes.cursor().clone();
        assert!(changes.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
        probe.commit(put("a").and(Entry::put("b", Expected::Any, "s3cr3t".into()))).wait().unwrap();

        let batch = next_of(&mut changes).unwrap();
        let cursor: Cursor = "1".parse().unwrap();
        let ended = Watched { changes: Changes::new(cursor.clone(), Ended), hook, asked: None, answer: None };
        next_of(&mut Changes::new(cursor, ended)).unwrap_err();

        assert_eq!(batch.changes.len(), 2);
        assert_ne!(*changes.cursor(), began);
        let expired = "Batch { changes: 0 }: the feed no longer has what came after the cursor";
        assert_eq!(*seen.lock(), ["Watch: done", "Batch { changes: 2 }: done", expired]);
    }

    #[test]
    fn the_duration_lies_between_call_and_answer() {
        let durations = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&durations);
        let probe = Probe::<str>::late();
        let store = Observed::new(probe.clone(), move |event| noted.lock().push(event.duration));
        let began = Instant::now();
        let pause = Duration::from_millis(2);
        let paused = move || {
            let until = Instant::now() + pause;
            while Instant::now() < until {
                std::thread::yield_now();
            }
        };

        let reply = store.get("a");
        paused();
        reply.wait().unwrap();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        assert!(changes.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
        paused();
        probe.set("a", "text");
        next_of(&mut changes).unwrap();

        let second = Instant::now();
        probe.set("a", "text");
        next_of(&mut changes).unwrap();
        let second = second.elapsed();
        probe.before_commits(move |_| paused());
        store.commit(put("b")).wait().unwrap();

        let [got, _, first_batch, second_batch, committed] = durations.lock()[..] else {
            panic!("five events")
        };
        assert!(got >= pause && first_batch >= pause && committed >= pause);
        assert!(second_batch <= second);
        assert!(got + first_batch + second_batch + committed <= began.elapsed());
    }

    #[test]
    fn the_hook_may_call_the_store() {
        let probe = Probe::<str>::prompt();
        let inner = probe.clone();
        let mut changes = probe.watch(Start::Now).wait().unwrap();
        let store = Observed::new(probe.clone(), move |_| _ = inner.set("seen", "text"));

        store.commit(put("a")).wait().unwrap();

        assert!(probe.peek("seen").is_some());
        assert_eq!(&*next_of(&mut changes).unwrap().changes[0].id, "a");
    }

    #[test]
    fn a_panic_in_the_hook_reaches_the_caller_once_and_the_store_stays_whole() {
        for probe in [Probe::<str>::prompt(), Probe::late()] {
            let calls = Arc::new(Mutex::new(0));
            let counted = Arc::clone(&calls);
            let store = Observed::new(probe.clone(), move |_| {
                *counted.lock() += 1;
                panic!("the hook's own");
            });

            let panicked = catch_unwind(AssertUnwindSafe(|| store.commit(put("a")).wait()));

            assert!(panicked.is_err());
            assert_eq!(*calls.lock(), 1);
            assert!(probe.peek("a").is_some());
        }
    }

    #[test]
    fn a_panic_in_the_hook_makes_no_gap_in_a_feed() {
        let probe = Probe::<str>::prompt();
        let store = Observed::new(probe.clone(), |event| assert!(event.operation == Operation::Watch));
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let [first, second] = ["a", "b"].map(|id| probe.set(id, "text"));

        for version in [first, second] {
            assert!(catch_unwind(AssertUnwindSafe(|| next_of(&mut changes))).is_err());
            assert_eq!(next_of(&mut changes).unwrap().changes[0].version, version);
        }
    }

    #[test]
    fn the_type_of_values_is_inferred_also_behind_a_pointer() {
        fn layered<T: Resource + ?Sized, S: Store<T>>(
            store: Arc<dyn Store<T>>,
            layer: impl FnOnce(Arc<dyn Store<T>>) -> S,
        ) -> Arc<dyn Store<T>> {
            Arc::new(layer(store))
        }

        let store: Arc<dyn Store<str>> = Arc::new(Probe::prompt());
        let store = layered(store, |store| Observed::new(store, |event| _ = event.duration));

        store.commit(put("a")).wait().unwrap();
    }
}
