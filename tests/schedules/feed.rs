//! The feed of a memory store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use shuttle::future::block_on;
use shuttle::thread;

use super::{delete, explore, put_all, store};
use crate::memory::Memory;
use crate::store::{Batch, Changes, Error, Scan, Start, Store, Version};

/// The batches that are there now.
fn drain(changes: &mut Changes<u64>) -> Vec<Batch<u64>> {
    let mut batches = Vec::new();
    while let Poll::Ready(batch) = changes.poll_next(&mut Context::from_waker(Waker::noop())) {
        batches.push(batch.unwrap());
    }
    batches
}

fn versions(batches: &[Batch<u64>]) -> Vec<u64> {
    batches.iter().map(|batch| batch.changes[0].version.to_bits().get()).collect()
}

/// What is stored: the version of each id.
fn stored(store: &Memory<u64>) -> BTreeMap<String, Version> {
    let page = store.scan(Scan::new("", 99)).wait().unwrap();
    page.items.into_iter().map(|(id, found)| (id.to_string(), found.version)).collect()
}

/// What somebody holds who had a list and then heard of these changes.
fn follow(list: &mut BTreeMap<String, Version>, batches: &[Batch<u64>]) {
    for change in batches.iter().flat_map(|batch| &batch.changes) {
        let known = list.get(&*change.id);
        if known.is_some_and(|known| known.to_bits() >= change.version.to_bits()) {
            continue;
        }
        match change.is_delete() {
            true => list.remove(&*change.id),
            false => list.insert(change.id.to_string(), change.version),
        };
    }
}

#[test]
fn a_watcher_gets_every_commit_once_in_order_and_whole() {
    explore(|| {
        let store = store();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let writers = [["a", "b"], ["b", "c"], ["c", "a"]].map(|ids| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                [put_all(&store, &ids, 1), put_all(&store, &ids[..1], 2)].map(|version| version.to_bits())
            })
        });

        // A waker that got lost would leave this waiting for ever, which shuttle calls a deadlock.
        let batches: Vec<Batch<u64>> = (0..6).map(|_| block_on(changes.next()).unwrap()).collect();

        let mut committed = writers.map(|writer| writer.join().unwrap()).concat();
        committed.sort_unstable();
        assert_eq!(versions(&batches), committed.iter().map(|bits| bits.get()).collect::<Vec<_>>());
        assert_eq!(batches.iter().map(|batch| batch.changes.len()).sum::<usize>(), 9);
        assert!(drain(&mut changes).is_empty());
    });
}

#[test]
fn cursor_then_list_then_watch_misses_nothing_also_for_the_first_watcher() {
    explore(|| {
        let store = store();
        put_all(&store, &["a", "b"], 0);
        let writers = [["a", "b"], ["b", "c"]].map(|[one, other]| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                put_all(&store, &[one], 1);
                delete(&store, other);
                put_all(&store, &[other, one], 2);
                delete(&store, one);
            })
        });

        let mut changes = store.watch(Start::Now).wait().unwrap();
        let mut list = stored(&store);

        for writer in writers {
            writer.join().unwrap();
        }
        follow(&mut list, &drain(&mut changes));
        assert_eq!(list, stored(&store));
    });
}

#[test]
fn what_comes_or_goes_for_good_is_in_the_list_or_in_the_feed() {
    explore(|| {
        let store = store();
        put_all(&store, &["a", "b"], 0);
        // Nothing is written twice here, so that one change that is missed is not made up for by the next.
        let writers: [fn(&Memory<u64>); 3] = [
            |store| {
                put_all(store, &["c"], 1);
            },
            |store| {
                delete(store, "a");
            },
            |store| {
                put_all(store, &["d", "e"], 1);
            },
        ];
        let writers = writers.map(|write| {
            let store = Arc::clone(&store);
            thread::spawn(move || write(&store))
        });

        let mut changes = store.watch(Start::Now).wait().unwrap();
        let mut list = stored(&store);

        for writer in writers {
            writer.join().unwrap();
        }
        follow(&mut list, &drain(&mut changes));
        assert_eq!(list, stored(&store));
    });
}

#[test]
fn two_first_watchers_and_one_who_resumes_all_hear_the_same() {
    explore(|| {
        let store = store();
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for value in 0..3 {
                    put_all(&store, &["a", "b"], value);
                }
            })
        };
        let other = {
            let store = Arc::clone(&store);
            thread::spawn(move || store.watch(Start::Now).wait().unwrap())
        };

        let mut first = store.watch(Start::Now).wait().unwrap();
        let cursor = first.cursor().clone();
        let mut resumed = store.watch(cursor.into()).wait().unwrap();

        writer.join().unwrap();
        let heard = versions(&drain(&mut first));
        assert_eq!(versions(&drain(&mut resumed)), heard);
        let other = versions(&drain(&mut other.join().unwrap()));
        assert!(heard.ends_with(&other) || other.ends_with(&heard), "{heard:?} and {other:?}");
    });
}

#[test]
fn a_watcher_who_hears_of_a_version_finds_it_or_a_later_one() {
    explore(|| {
        let store = store();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let writers = ["a", "b"].map(|id| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                put_all(&store, &[id], 1);
                put_all(&store, &["a", "b"], 2);
            })
        });

        for _ in 0..4 {
            let batch = block_on(changes.next()).unwrap();
            for change in &batch.changes {
                let found = store.get(&change.id).wait().unwrap().unwrap();
                assert!(found.version.to_bits() >= change.version.to_bits());
                assert!(change.value().is_none_or(|value| **value > 0));
            }
        }

        for writer in writers {
            writer.join().unwrap();
        }
    });
}

#[test]
fn a_watcher_who_waits_ends_with_the_store() {
    explore(|| {
        let store = store();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let last = thread::spawn(move || {
            put_all(&store, &["a"], 1);
            drop(store);
        });

        assert_eq!(block_on(changes.next()).unwrap().changes.len(), 1);
        assert!(matches!(block_on(changes.next()), Err(Error::Failed(_))));
        last.join().unwrap();
    });
}

#[test]
fn a_watcher_who_leaves_while_others_commit_disturbs_nobody() {
    explore(|| {
        let store = store();
        let mut stays = store.watch(Start::Now).wait().unwrap();
        let mut leaves = store.watch(Start::Now).wait().unwrap();
        let writer = {
            let store = Arc::clone(&store);
            thread::spawn(move || put_all(&store, &["a"], 1))
        };
        let leaver = thread::spawn(move || {
            let _ = leaves.poll_next(&mut Context::from_waker(Waker::noop()));
        });

        let batch = block_on(stays.next()).unwrap();

        assert_eq!(batch.changes[0].version, writer.join().unwrap());
        leaver.join().unwrap();
    });
}
