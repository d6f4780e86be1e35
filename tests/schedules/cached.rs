//! The cache over a memory store.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use shuttle::thread;

use super::{explore, put_all, store};
use crate::Cached;
use crate::base::AtomicU64;
use crate::memory::Memory;
use crate::store::{Commit, Entry, Expected, Store};

type Cache = Cached<Arc<Memory<u64>>, u64>;

fn put(cached: &Cache, value: u64) {
    cached.commit(Commit::one(Entry::put("a", Expected::Any, value.into()))).wait().unwrap();
}

/// Reads, and holds what was read against what anybody was told before.
fn read(cached: &Cache, told: &AtomicU64) {
    let before = told.load(SeqCst);
    let seen = *cached.get("a").wait().unwrap().unwrap().value;
    assert!(seen >= before, "{seen} after {before}");
    told.fetch_max(seen, SeqCst);
}

/// One writes through the cache and past it, two read.
fn told_in_order(cached: fn(Arc<Memory<u64>>) -> Cache, hears_of_others: bool) {
    explore(move || {
        let memory = store();
        put_all(&memory, &["a"], 0);
        let cached = Arc::new(cached(Arc::clone(&memory)));
        let told = Arc::new(AtomicU64::new(0));
        let readers = [1, 2].map(|_| {
            let (cached, told) = (Arc::clone(&cached), Arc::clone(&told));
            thread::spawn(move || (0..3).for_each(|_| read(&cached, &told)))
        });

        for value in 1..4 {
            let past = value == 2;
            if past {
                put_all(&memory, &["a"], value);
            } else {
                put(&cached, value);
            }
            if !past || hears_of_others {
                told.fetch_max(value, SeqCst);
            }
        }

        readers.into_iter().for_each(|reader| reader.join().unwrap());
        read(&cached, &told);
    });
}

#[test]
fn a_read_through_a_cache_is_never_older_than_what_anybody_was_told() {
    told_in_order(Cached::alone, false);
}

#[test]
fn a_read_through_a_cache_that_follows_is_not_older_than_what_others_wrote_either() {
    told_in_order(Cached::new, true);
}

#[test]
fn two_writers_and_a_reader_agree_on_what_is_held_in_the_end() {
    explore(|| {
        let memory = store();
        put_all(&memory, &["a"], 0);
        let cached = Arc::new(Cached::alone(Arc::clone(&memory)));
        let threads: [fn(&Cache); 3] = [
            |cached| put(cached, 1),
            |cached| put(cached, 2),
            |cached| drop(cached.get("a").wait().unwrap()),
        ];
        let threads = threads.map(|act| {
            let cached = Arc::clone(&cached);
            thread::spawn(move || act(&cached))
        });

        threads.into_iter().for_each(|thread| thread.join().unwrap());

        assert_eq!(cached.get("a").wait().unwrap(), memory.get("a").wait().unwrap());
    });
}

/// The `Drop` of the values that `b` has is slow: others get to run during it.
struct Slow(Option<u64>);

impl Drop for Slow {
    fn drop(&mut self) {
        if self.0.is_none() {
            (0..8).for_each(|_| thread::yield_now());
        }
    }
}

#[test]
fn a_cache_that_follows_has_heard_of_a_commit_when_it_is_answered_whoever_else_is_held_up() {
    explore(|| {
        let memory = Arc::new(Memory::<Slow>::starting_at("1000".parse().unwrap()));
        let put = |id, value| Commit::one(Entry::put(id, Expected::Any, Slow(value).into()));
        memory
            .commit(put("a", Some(1)).and(Entry::put("b", Expected::Any, Slow(None).into())))
            .wait()
            .unwrap();
        let cached = Cached::new(Arc::clone(&memory));
        let read = |id| cached.get(id).wait().unwrap().and_then(|found| found.value.0);
        assert_eq!([read("a"), read("a")], [Some(1); 2]);
        let others = [Entry::delete("b", Expected::Any), Entry::put("b", Expected::Any, Slow(None).into())];
        let others = others.map(|entry| {
            let memory = Arc::clone(&memory);
            thread::spawn(move || drop(memory.commit(Commit::one(entry)).wait().unwrap()))
        });

        memory.commit(put("a", Some(2))).wait().unwrap();

        assert_eq!(read("a"), Some(2));
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
