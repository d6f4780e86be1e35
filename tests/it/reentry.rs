//! Values whose `Drop` calls the store, and that may not do so while the store holds a lock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use ifmatch::store::Scan;
use ifmatch::{Commit, Entry, Expected, Memory, Start, Store};

/// A value that uses the store it was in, in every way, when it is dropped.
struct Restless {
    store: Arc<OnceLock<Arc<Memory<Restless>>>>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        let Some(store) = self.store.get() else { return };
        for id in ["a", "b", "c"] {
            let _ = store.get(id).wait();
            let _ = store.commit(Commit::one(Entry::check(id, Expected::Absent))).wait();
        }
        let _ = store.commit(Commit::one(Entry::delete("from drop", Expected::Any))).wait();
        let _ = store.scan(Scan::new("", 10)).wait();
        let _ = store.watch(Start::Now).wait();
    }
}

/// Runs `work` on a store of values that use it when dropped, and gives how many were.
fn dropped_by(work: impl FnOnce(&Memory<Restless>, &dyn Fn() -> Arc<Restless>) + Send + 'static) -> usize {
    let (finished, result) = mpsc::channel();
    thread::spawn(move || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let store = Arc::new(OnceLock::new());
        let value = || Arc::new(Restless { store: Arc::clone(&store), dropped: Arc::clone(&dropped) });
        let memory = Arc::clone(store.get_or_init(|| Arc::new(Memory::new())));

        work(&memory, &value);

        let _ = finished.send(dropped.load(Ordering::SeqCst));
    });
    result
        .recv_timeout(Duration::from_secs(10))
        .expect("a value was dropped under a lock, or its work panicked")
}

#[test]
fn a_value_that_is_replaced_may_use_the_store_when_dropped() {
    let dropped = dropped_by(|store, value| {
        for _ in 0..3 {
            store.commit(Commit::one(Entry::put("a", Expected::Any, value()))).wait().unwrap();
        }
    });

    assert_eq!(dropped, 2);
}

#[test]
fn a_value_that_is_deleted_may_use_the_store_when_dropped() {
    let dropped = dropped_by(|store, value| {
        store.commit(Commit::one(Entry::put("a", Expected::Any, value()))).wait().unwrap();
        store.commit(Commit::one(Entry::delete("a", Expected::Present))).wait().unwrap();
    });

    assert_eq!(dropped, 1);
}

#[test]
fn a_value_that_is_refused_may_use_the_store_when_dropped() {
    let dropped = dropped_by(|store, value| {
        let refused = [
            Commit::one(Entry::put("a", Expected::Present, value())),
            Commit::one(Entry::put("", Expected::Any, value())),
            Commit::one(Entry::put("a", Expected::Any, value())).and(Entry::put("a", Expected::Any, value())),
            Commit::one(Entry::put("a", Expected::Any, value())).and(Entry::check("b", Expected::Present)),
        ];
        for commit in refused {
            store.commit(commit).wait().unwrap_err();
        }
    });

    assert_eq!(dropped, 5);
}

#[test]
fn values_that_a_commit_over_several_ids_displaces_may_use_the_store_when_dropped() {
    let dropped = dropped_by(|store, value| {
        let ids = ["a", "b", "c"];
        let put =
            || ids.map(|id| Entry::put(id, Expected::Any, value())).into_iter().collect::<Commit<'_, _>>();
        store.commit(put()).wait().unwrap();
        store.commit(put()).wait().unwrap();
        store
            .commit(ids.map(|id| Entry::delete(id, Expected::Present)).into_iter().collect())
            .wait()
            .unwrap();
    });

    assert_eq!(dropped, 6);
}

#[test]
fn a_value_in_the_feed_or_a_conflict_may_use_the_store_when_dropped() {
    let dropped = dropped_by(|store, value| {
        let mut changes = store.watch(Start::Now).wait().unwrap();
        store.commit(Commit::one(Entry::put("a", Expected::Any, value()))).wait().unwrap();
        let batch = changes.next().wait().unwrap();
        let conflict =
            store.commit(Commit::one(Entry::put("a", Expected::Absent, value()))).wait().unwrap_err();
        store.commit(Commit::one(Entry::delete("a", Expected::Present))).wait().unwrap();

        drop(batch);
        drop(conflict);
    });

    assert_eq!(dropped, 2);
}
