//! What holds whatever the network and the server do: one order explains all answers, unknown outcomes are resolved
//! truthfully, the feed has no gap, and a dropped call leaves the old state or the new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ifmatch::conformance::history::{Answer, Deed, Event, History, Numbering, Operation, Recorded, Workload};
use ifmatch::store::{
    Abilities, Changes, Committed, Listed, Outcome, Page, Refusal, Resolution, Scan, WriteId,
};
use ifmatch::{Commit, Entry, Error, Expected, Reply, Start, Store, Version, Versioned};

/// How long a store may take to serve again once the network and the server are well.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a feed may tell nothing while there are clients.
const SILENCE: Duration = Duration::from_secs(300);

/// What runs found.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) operations: usize,
    pub(crate) conflicts: usize,
    pub(crate) versions: usize,
    /// Commits whose answer was lost.
    pub(crate) unknown: usize,
    pub(crate) resolved_applied: usize,
    pub(crate) resolved_not_applied: usize,
    /// What the feed told, and how often it had to be asked for again.
    pub(crate) batches: usize,
    pub(crate) resumed: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.conflicts += other.conflicts;
        self.versions += other.versions;
        self.unknown += other.unknown;
        self.resolved_applied += other.resolved_applied;
        self.resolved_not_applied += other.resolved_not_applied;
        self.batches += other.batches;
        self.resumed += other.resumed;
    }
}

/// How many runs of one kind to make: the variable `IFMATCH_FAULT_RUNS` multiplies them for a long run.
pub(crate) fn runs(usual: u64) -> u64 {
    let times = std::env::var("IFMATCH_FAULT_RUNS")
        .map_or(1, |times| times.parse().expect("IFMATCH_FAULT_RUNS is a number"));
    usual * times
}

/// Makes the calls of a workload, each commit under a write id, while `disturb` does what it likes in a thread of its own
/// until the flag is set. Once it has returned the network and the server must be well again.
///
/// Then every unknown outcome is resolved, and the whole history and the feed are checked.
pub(crate) fn run(
    store: Arc<dyn Store<[u8]>>,
    workload: &Workload,
    numbering: Numbering,
    disturb: impl FnOnce(&AtomicBool) + Send,
) -> Totals {
    let newest = patiently(|| newest(&store));
    let recorded = Arc::new(Recorded::<_, [u8]>::new(store));
    let stamped = Stamped(Arc::clone(&recorded), newest);
    let end = format!("end-{}", workload.seed);
    let changes = patiently(|| recorded.watch(Start::Now).wait());
    let done = AtomicBool::new(false);
    let (watched, events, mut totals) = thread::scope(|scope| {
        let (store, last) = (&*recorded, &*end);
        let _ending = Ending { store, last, done: &done };
        let watcher = scope.spawn(move || watch(store, changes, last));
        let disturber = scope.spawn(|| disturb(&done));
        workload.run(&stamped, |number| number.to_be_bytes().into());
        done.store(true, Ordering::SeqCst);
        disturber.join().unwrap();

        let mut totals = Totals::default();
        let mut events = recorded.history(numbering).events;
        resolve_all(&*recorded, &events, &mut totals);
        for id in &workload.ids {
            patiently(|| recorded.get(id).wait());
        }
        events.extend(recorded.history(numbering).events);
        put_the_end(&*recorded, last);
        (watcher.join().unwrap(), events, totals)
    });

    totals.batches = watched.batches.len();
    totals.resumed = watched.resumed;
    the_feed_has_no_gap(workload, &events, &watched);
    let history = History::new(numbering, events).with_seed(workload.seed);
    let checked = history.check().unwrap_or_else(|violation| {
        let name = format!("engine-{}.history", workload.ids[0].replace('/', "-"));
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        history.save(&file).unwrap();
        panic!("{violation}; the history is in {}", file.display());
    });
    totals.operations = checked.operations;
    totals.conflicts = checked.conflicts;
    totals.versions = checked.versions;
    totals
}

/// Asks again until the store answers: it may need a while to find that all is well again.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> Result<T, Error>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(error @ Error::Failed(_)) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                assert!(Instant::now() < end, "the store does not serve again: {error}, {cause:?}");
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

fn resolve_all(store: &dyn Store<[u8]>, events: &[Event], totals: &mut Totals) {
    for event in events {
        let Operation::Commit { write: Some(write), answer: Answer::Unknown, .. } = &event.operation else {
            continue;
        };
        totals.unknown += 1;
        match patiently(|| store.resolve(*write).wait()) {
            Resolution::Applied(_) => totals.resolved_applied += 1,
            Resolution::NotApplied => totals.resolved_not_applied += 1,
            Resolution::Unknown => panic!("{write} is not that old"),
        }
    }
}

fn put_the_end(store: &dyn Store<[u8]>, end: &str) {
    patiently(|| store.commit(Commit::one(Entry::put(end, Expected::Any, (*b"end").into()))).wait());
}

/// Ends what the other threads wait for where this one panics, so that the test fails instead of waiting for ever.
struct Ending<'a> {
    store: &'a dyn Store<[u8]>,
    last: &'a str,
    done: &'a AtomicBool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.done.store(true, Ordering::SeqCst);
            let end = Entry::put(self.last, Expected::Any, (*b"end").into());
            // Where the server is gone the watcher gives up by itself.
            let _ = self.store.commit(Commit::one(end)).wait();
        }
    }
}

/// What a watcher was told of: the ids and versions of each batch.
struct Watched {
    batches: Vec<Vec<(Arc<str>, Version)>>,
    resumed: usize,
}

/// Watches from where it is until the last id is put, beginning anew from the last cursor where the feed breaks.
fn watch(store: &dyn Store<[u8]>, mut changes: Changes<[u8]>, last: &str) -> Watched {
    let mut watched = Watched { batches: Vec::new(), resumed: 0 };
    loop {
        // The server may be gone for good, and whoever found that out waits for this thread.
        match within(changes.next(), SILENCE).expect("the feed tells nothing any more") {
            Ok(batch) => {
                let ended = batch.changes.iter().any(|change| &*change.id == last);
                watched
                    .batches
                    .push(batch.changes.into_iter().map(|change| (change.id, change.version)).collect());
                if ended {
                    return watched;
                }
            }
            Err(Error::Failed(_)) => {
                let cursor = changes.cursor().clone();
                changes = patiently(|| store.watch(Start::After(cursor.clone())).wait());
                watched.resumed += 1;
            }
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

/// Every commit that is known to have been applied is one batch, no batch is half a commit, and none comes twice.
fn the_feed_has_no_gap(workload: &Workload, events: &[Event], watched: &Watched) {
    let mut told: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for (number, batch) in watched.batches.iter().enumerate() {
        for (id, version) in batch.iter().filter(|(id, _)| workload.ids.iter().any(|known| **known == **id)) {
            let bits = version.to_bits().get();
            assert!(
                newest.insert(id, bits).is_none_or(|before| before < bits),
                "`{id}` {version} is out of order"
            );
            assert!(told.insert((id, bits), number).is_none(), "`{id}` {version} came twice");
        }
    }
    let steps_of: HashMap<WriteId, _> = events
        .iter()
        .filter_map(|event| match &event.operation {
            Operation::Commit { write: Some(write), steps, .. } => Some((*write, steps)),
            _ => None,
        })
        .collect();
    for event in events {
        let (write, receipts) = match &event.operation {
            Operation::Commit { write: Some(write), answer: Answer::Applied(receipts), .. }
            | Operation::Resolve { write, answer: Answer::Applied(receipts) } => (write, receipts),
            _ => continue,
        };
        let written = steps_of[write].iter().zip(receipts).filter(|(step, receipt)| match step.deed {
            Deed::Put(_) => true,
            Deed::Delete => receipt.replaced.is_some(),
            Deed::Check => false,
        });
        let batches: BTreeSet<usize> = written
            .map(|(step, receipt)| {
                let version = receipt.version.expect("a write has a version");
                let batch = told.get(&(&*step.id, version.to_bits().get()));
                *batch.unwrap_or_else(|| panic!("the feed never told of `{}` {version}", step.id))
            })
            .collect();
        assert!(batches.len() <= 1, "the feed tore a commit apart: batches {batches:?}");
    }
}

/// Gives a write id to each commit that has none, as `Collection` does.
struct Stamped<S>(S, Drawn);

/// Where the write ids of a test are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn(Option<Version>);

impl Drawn {
    pub(crate) fn write(self) -> WriteId {
        WriteId::after(self.0)
    }
}

/// Where a store takes write ids.
pub(crate) fn newest(store: &(impl Store<[u8]> + ?Sized)) -> Result<Drawn, Error> {
    let nothing = Commit::one(Entry::delete("nothing", Expected::Absent));
    match store.commit(nothing.with_write(WriteId::from_bits(0))).wait() {
        Err(Error::Refused(Refusal::Outside { newest, .. })) => Ok(Drawn(newest)),
        answer => answer.map(|_| Drawn(None)),
    }
}

impl<S: Store<[u8]>> Store<[u8]> for Stamped<S> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.0.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        let write = commit.write().unwrap_or_else(|| self.1.write());
        self.0.commit(commit.with_write(write))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.0.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.0.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.0.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

/// Commits over two ids whose values are always equal, and drops `calls` of these calls at some moment before their
/// answer. What is there afterwards, and in between, is never half of a commit.
pub(crate) fn dropped_calls_leave_the_old_state_or_the_new_one(
    store: &Arc<dyn Store<[u8]>>,
    prefix: &str,
    calls: u64,
) {
    const THREADS: u64 = 4;
    let [left, right] = ["left", "right"].map(|side| format!("{prefix}/{side}"));
    let pair = |number: u64| {
        let value: Arc<[u8]> = number.to_be_bytes().into();
        let put = |id| Entry::put(id, Expected::Any, Arc::clone(&value));
        Commit::one(put(&*left)).and(put(&*right))
    };
    patiently(|| store.commit(pair(0)).wait());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (pair, left, right) = (&pair, &*left, &*right);
            scope.spawn(move || {
                for call in 0..calls.div_ceil(THREADS) {
                    let number = thread << 32 | call;
                    // Up to a millisecond: before it is sent, on its way, and after its answer has come.
                    within(
                        store.commit(pair(number)),
                        Duration::from_micros(number.wrapping_mul(7919) % 1_000),
                    );
                    if call % 50 == 0 {
                        the_pair_is_whole(&**store, left, right);
                    }
                }
            });
        }
    });
    the_pair_is_whole(&**store, &left, &right);
}

/// Reads both until a check says that they stood there at one instant.
fn the_pair_is_whole(store: &dyn Store<[u8]>, left: &str, right: &str) {
    loop {
        let [one, other] =
            [left, right].map(|id| patiently(|| store.get(id).wait()).expect("both are there"));
        let together = Commit::one(Entry::check(left, one.version)).and(Entry::check(right, other.version));
        match store.commit(together).wait() {
            Ok(_) => {
                assert_eq!(one.value, other.value, "half a commit");
                return;
            }
            Err(Error::Conflict(_)) => {}
            Err(error) if error.outcome() == Outcome::NotApplied || matches!(error, Error::Failed(_)) => {}
            Err(error) => panic!("{error}: {error:?}"),
        }
    }
}

/// Polls a reply for a while as an executor would, then drops it. Its answer, if that came.
fn within<T>(reply: Reply<'_, T>, patience: Duration) -> Option<Result<T, Error>> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut reply = pin!(reply);
    let end = Instant::now() + patience;
    loop {
        if let Poll::Ready(answer) = reply.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(answer);
        }
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        thread::park_timeout(left);
    }
}

/// A store with a tight deadline recovers from a cut, whatever time it takes to connect beside that: where a call that waited
/// for the connection took it along as it gave up, some would never.
#[cfg(any(feature = "etcd", feature = "redis"))]
pub(crate) fn every_deadline_recovers<S: Store<[u8]>>(
    proxy: &crate::proxy::Proxy,
    open: impl Fn(Duration) -> S,
) {
    for limit in (50..110).step_by(6).map(Duration::from_millis) {
        let store = open(limit);
        for number in 0..3_u64 {
            let put = || Commit::one(Entry::put("a", Expected::Any, number.to_be_bytes().into()));
            let cut = Instant::now();
            patiently(|| store.commit(put()).wait());
            assert!(
                cut.elapsed() < Duration::from_secs(5),
                "{limit:?}: recovered within {:?}",
                cut.elapsed()
            );
            proxy.cut_all();
        }
    }
}

/// Calls go well through a server that is far away, before and after each of some cuts. Of a cut the first calls only find it
/// out: what they leave behind is what helps the next, as nothing else waits.
#[cfg(any(feature = "etcd", feature = "redis"))]
pub(crate) fn calls_go_well_at_a_distance(proxy: &crate::proxy::Proxy, store: &dyn Store<[u8]>) {
    let (mut well, mut calls) = (0, 0);
    for number in 0..8_u64 {
        let put = || Commit::one(Entry::put("a", Expected::Any, number.to_be_bytes().into()));
        let cut = Instant::now();
        patiently(|| store.commit(put()).wait());
        assert!(cut.elapsed() < Duration::from_secs(10), "recovered within {:?}", cut.elapsed());
        for _ in 0..10 {
            well += usize::from(store.commit(put()).wait().is_ok());
            well += usize::from(store.get("a").wait().is_ok());
            calls += 2;
        }
        proxy.cut_all();
    }
    println!("{well} of {calls} calls went well");
    // A busy machine may be late now and then; who never recovers is late each time.
    assert!(2 * well >= calls, "{well} of {calls} calls went well");
}

#[test]
fn a_store_in_memory_passes_every_check_of_these() {
    let store: Arc<dyn Store<[u8]>> = Arc::new(ifmatch::Memory::<[u8]>::new());

    let totals = run(Arc::clone(&store), &Workload::new(1), Numbering::StoreWide, |_| {});
    dropped_calls_leave_the_old_state_or_the_new_one(&store, "pair", 1_000);

    assert!(totals.conflicts > 0 && totals.batches > 100 && totals.unknown == 0, "{totals:?}");
}
