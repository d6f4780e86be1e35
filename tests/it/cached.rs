//! The layer that keeps resources in memory, under real threads.

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use ifmatch::conformance::history::{Checked, Numbering, Recorded, Workload};
use ifmatch::store::Scan;
use ifmatch::{Cached, Commit, Entry, Error, Expected, Memory, Start, Store};

use crate::dice::Dice;
#[cfg(feature = "file")]
use crate::file::Kept;

const IDS: [&str; 3] = ["a", "b", "c"];

fn put(id: &str, value: u64) -> Commit<'_, u64> {
    Commit::one(Entry::put(id, Expected::Any, value.into()))
}

fn value(store: &dyn Store<u64>, id: &str) -> u64 {
    store.get(id).wait().unwrap().map_or(0, |found| *found.value)
}

/// Caches over `memory`, one that follows it and one that doesn't, with room for everything and for hardly anything.
fn caches(memory: &Arc<Memory<u64>>) -> Vec<Cached<Arc<Memory<u64>>, u64>> {
    let caches = [2, 100].map(|limit| {
        let both = [Cached::alone(Arc::clone(memory)), Cached::new(Arc::clone(memory))];
        both.map(|cached| cached.with_limit(limit))
    });
    caches.into_iter().flatten().collect()
}

#[test]
fn a_reader_never_sees_a_value_older_than_the_last_answer() {
    let memory = Arc::new(Memory::<u64>::new());
    let mut written = 0;
    for cached in caches(&memory) {
        let answered = IDS.map(|_| AtomicU64::new(0));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        for (id, answered) in IDS.iter().zip(&answered) {
                            let before = answered.load(Ordering::Acquire);
                            let seen = value(&cached, id);
                            assert!(seen >= before, "`{id}` was {seen} after {before} had been written");
                        }
                    }
                });
            }
            for _ in 1..10_000 {
                written += 1;
                for (id, answered) in IDS.iter().zip(&answered) {
                    cached.commit(put(id, written)).wait().unwrap();
                    answered.store(written, Ordering::Release);
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

/// One way to hear of a value through the cache.
fn hear(cached: &dyn Store<u64>, id: &str, dice: &mut Dice) -> Option<u64> {
    match dice.below(8) {
        0 => {
            let page = cached.scan(Scan::new(id, 1)).wait().unwrap();
            page.with_values().unwrap().items.first().map(|(_, found)| *found.value)
        }
        1 => {
            let error =
                cached.commit(Commit::one(Entry::put(id, Expected::Absent, 0.into()))).wait().err()?;
            error.conflict()?.current::<u64>().map(|current| *current.value)
        }
        _ => Some(value(cached, id)),
    }
}

/// Somebody writes, now through the cache and now past it. What one reader was told, no reader is told less than
/// afterwards; a cache that follows also keeps up with what was written past it.
#[test]
fn nobody_is_told_an_older_value_than_anybody_was_told_before() {
    let memory = Arc::new(Memory::<u64>::new());
    IDS.iter().for_each(|id| drop(memory.commit(put(id, 0)).wait().unwrap()));
    let mut written = 0;
    for (round, cached) in caches(&memory).into_iter().enumerate() {
        let follows = round % 2 == 1;
        let told = IDS.map(|_| AtomicU64::new(0));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for reader in 0..3 {
                let (cached, told, done) = (&cached, &told, &done);
                scope.spawn(move || {
                    let mut dice = Dice::new(reader);
                    while !done.load(Ordering::Relaxed) {
                        let at = dice.below(3) as usize;
                        let before = told[at].load(Ordering::Acquire);
                        let Some(heard) = hear(cached, IDS[at], &mut dice) else { continue };
                        assert!(heard >= before, "{heard} was told of `{}` after {before}", IDS[at]);
                        told[at].fetch_max(heard, Ordering::AcqRel);
                    }
                });
            }
            scope.spawn(|| {
                let mut changes = cached.watch(Start::Now).wait().unwrap();
                while !done.load(Ordering::Relaxed) {
                    let Ok(batch) = changes.next().wait() else { break };
                    for change in &batch.changes {
                        let at = IDS.iter().position(|id| **id == *change.id).unwrap();
                        if let Some(heard) = change.value() {
                            told[at].fetch_max(**heard, Ordering::AcqRel);
                        }
                    }
                }
            });
            let mut dice = Dice::new(7);
            for _ in 0..15_000 {
                written += 1;
                let at = dice.below(3) as usize;
                let past = dice.below(2) == 0;
                match past {
                    true => memory.commit(put(IDS[at], written)).wait().unwrap(),
                    false => cached.commit(put(IDS[at], written)).wait().unwrap(),
                };
                if follows || !past {
                    told[at].fetch_max(written, Ordering::AcqRel);
                }
            }
            done.store(true, Ordering::Relaxed);
            // The watcher may be waiting.
            memory.commit(put(IDS[0], written)).wait().unwrap();
        });
    }
}

/// Runs workloads through a cache, and looks for an order that explains every answer.
fn explained(name: &str, seeds: u64, store: impl Fn() -> Arc<dyn Store<u64>>) {
    let mut total = Checked::default();
    for seed in 1..=seeds {
        let recorded = Recorded::new(store());
        let workload = Workload { calls: 5_000, ..Workload::new(seed) };
        workload.run(&recorded, |number| number.into());

        let history = recorded.history(Numbering::StoreWide).with_seed(seed);
        let checked = history.check().unwrap_or_else(|violation| panic!("{name}, seed {seed}: {violation}"));
        total.operations += checked.operations;
        total.conflicts += checked.conflicts;
    }
    println!("{name}: {total:?}");
    assert!(total.operations >= seeds as usize * 15_000 && total.conflicts > 0, "{total:?}");
}

#[test]
fn histories_through_a_cache_over_memory_have_an_order() {
    let memory = || Memory::<u64>::new();
    explained("alone", 8, || Arc::new(Cached::alone(memory())));
    explained("alone, small", 8, || Arc::new(Cached::alone(memory()).with_limit(1)));
    explained("new", 8, || Arc::new(Cached::new(memory())));
    explained("new, small", 8, || Arc::new(Cached::new(memory()).with_limit(1)));
}

#[cfg(feature = "file")]
#[test]
fn histories_through_a_cache_over_a_file_have_an_order() {
    use ifmatch::file::{File, Persistence};
    use ifmatch::{Encoded, Json};

    let file = || {
        let eventual = File::options().persistence(Persistence::Eventual);
        Encoded::new(Kept::open(&eventual), Json)
    };
    explained("file, alone", 3, || Arc::new(Cached::alone(file())));
    explained("file", 3, || Arc::new(Cached::new(file()).with_limit(2)));
}

/// Values are dropped by the cache outside of its locks: their `Drop` may read through it.
#[test]
fn the_drop_of_a_value_may_read_through_the_cache() {
    struct Nosy(Arc<std::sync::OnceLock<Arc<dyn Store<Nosy>>>>);

    impl Drop for Nosy {
        fn drop(&mut self) {
            if let Some(store) = self.0.get() {
                let _ = store.get("a").wait();
            }
        }
    }

    let door = Arc::new(std::sync::OnceLock::new());
    let cached: Arc<dyn Store<Nosy>> = Arc::new(Cached::new(Memory::new()).with_limit(1));
    assert!(door.set(Arc::clone(&cached)).is_ok());
    for id in ["a", "a", "b", "a", "c", "b"] {
        let nosy = Arc::new(Nosy(Arc::clone(&door)));
        let commit = Commit::one(Entry::put(id, Expected::Any, nosy));
        cached.commit(commit).wait().unwrap();
        let refused: Result<_, Error> = cached.commit(Commit::one(Entry::check(id, Expected::Absent))).wait();
        assert!(refused.is_err() && cached.get(id).wait().unwrap().is_some());
    }
    // The store holds values that hold the store.
    for id in ["a", "b", "c"] {
        cached.commit(Commit::one(Entry::delete(id, Expected::Any))).wait().unwrap();
    }
}

/// Values are dropped only once the caches know better: what others write meanwhile is seen.
#[test]
fn a_cache_that_follows_hears_of_a_commit_while_the_drop_of_another_value_takes_its_time() {
    /// A value whose `Drop` says that it has begun, and then waits until it may end.
    struct Slow(Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>);

    impl Drop for Slow {
        fn drop(&mut self) {
            if let Some((begun, end)) = self.0.take() {
                begun.send(()).unwrap();
                let _ = end.recv();
            }
        }
    }

    fn put<'a>(id: &'a str, value: Mutex<Slow>) -> Commit<'a, Mutex<Slow>> {
        Commit::one(Entry::put(id, Expected::Any, value.into()))
    }

    let others: [fn() -> Commit<'static, Mutex<Slow>>; 4] = [
        || Commit::one(Entry::delete("b", Expected::Any)),
        || put("b", Mutex::new(Slow(None))),
        || Commit::one(Entry::delete("b", Expected::Any)).and(Entry::check("c", Expected::Any)),
        || put("b", Mutex::new(Slow(None))).and(Entry::check("c", Expected::Any)),
    ];
    for other in others {
        let memory = Arc::new(Memory::<Mutex<Slow>>::new());
        let cached = Cached::new(Arc::clone(&memory));
        let (begins, begun) = mpsc::channel();
        let (ends, end) = mpsc::channel();
        memory.commit(put("a", Mutex::new(Slow(None)))).wait().unwrap();
        memory.commit(put("b", Mutex::new(Slow(Some((begins, end)))))).wait().unwrap();
        let version = |store: &dyn Store<Mutex<Slow>>| store.get("a").wait().unwrap().unwrap().version;
        assert_eq!(version(&cached), version(&cached));
        thread::scope(|scope| {
            scope.spawn(|| memory.commit(other()).wait().unwrap());
            begun.recv().unwrap();

            memory.commit(put("a", Mutex::new(Slow(None)))).wait().unwrap();
            let (seen, stored) = (version(&cached), version(&memory));

            ends.send(()).unwrap();
            assert_eq!(seen, stored);
        });
    }
}

/// A value that panics as it is dropped, once.
struct Frail(Arc<AtomicBool>);

impl Drop for Frail {
    fn drop(&mut self) {
        if self.0.swap(false, Ordering::SeqCst) {
            panic::resume_unwind(Box::new("no message for the console"));
        }
    }
}

type Frails = Arc<Memory<Frail>>;

/// A cache over memory that holds the last handle of the value of `a`, which panics as it is dropped.
fn cache_of_a_frail_value() -> (Frails, Cached<Frails, Frail>) {
    let frail = |panics| Arc::new(Frail(Arc::new(AtomicBool::new(panics))));
    let put = |id, panics| Entry::put(id, Expected::Any, frail(panics));
    let memory = Arc::new(Memory::<Frail>::new());
    let cached = Cached::new(Arc::clone(&memory));
    memory.commit(Commit::one(put("a", true)).and(put("b", false))).wait().unwrap();
    for id in ["a", "b", "a", "b"] {
        cached.get(id).wait().unwrap();
    }
    (memory, cached)
}

#[test]
fn a_value_that_panics_as_it_is_dropped_makes_no_gap_in_a_feed_through_the_cache() {
    let (memory, cached) = cache_of_a_frail_value();
    let mut changes = cached.watch(Start::Now).wait().unwrap();
    let both = ["a", "b"].map(|id| Entry::delete(id, Expected::Any));
    memory.commit(both.into_iter().collect()).wait().unwrap();

    let next = panic::catch_unwind(AssertUnwindSafe(|| drop(changes.next().wait())));

    assert!(next.is_err());
    assert_eq!(changes.next().wait().unwrap().changes.len(), 2);
    assert!(["a", "b"].iter().all(|id| cached.get(id).wait().unwrap().is_none()));
}

#[test]
fn a_value_that_panics_as_it_is_dropped_does_not_stop_a_cache_from_following() {
    let (memory, cached) = cache_of_a_frail_value();
    let both = ["a", "b"].map(|id| Entry::delete(id, Expected::Any));
    memory.commit(both.into_iter().collect()).wait().unwrap();

    assert!(panic::catch_unwind(AssertUnwindSafe(|| drop(cached.get("b").wait()))).is_err());

    assert!(["a", "b"].iter().all(|id| cached.get(id).wait().unwrap().is_none()));
    let calm = || Arc::new(Frail(Arc::default()));
    memory.commit(Commit::one(Entry::put("b", Expected::Any, calm()))).wait().unwrap();
    let held = cached.get("b").wait().unwrap().unwrap();
    drop(memory.commit(Commit::one(Entry::put("a", Expected::Any, calm()))).wait().unwrap());
    let _ = cached.get("b").wait().unwrap();
    // Three handles: this one, the store's, and the one that the cache holds again.
    assert_eq!(Arc::strong_count(&held.value), 3);
}
