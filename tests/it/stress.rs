//! Many threads at once on a memory store and on a collection over it. Each test ends in an invariant that no
//! interleaving may break; none looks at a clock. `.ci/tsan` runs them under ThreadSanitizer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use ifmatch::store::{Batch, Changes, Resolution, Scan, WriteId};
use ifmatch::{Collection, Commit, Entry, Error, Expected, Memory, Start, Store, Version};

const THREADS: u64 = 4;
const ROUNDS: u64 = 2_000;

/// A different number for each step of each thread, the same in each run.
fn scatter(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 31
}

fn put<'a>(id: &'a str, value: u64) -> Entry<'a, u64> {
    Entry::put(id, Expected::Any, Arc::new(value))
}

fn drain(changes: &mut Changes<u64>) -> Vec<Batch<u64>> {
    let mut batches = Vec::new();
    while let Poll::Ready(batch) = changes.poll_next(&mut Context::from_waker(Waker::noop())) {
        batches.push(batch.unwrap());
    }
    batches
}

#[test]
fn every_increment_of_a_hot_id_counts() {
    let counters = Collection::<u64>::in_memory();
    for id in ["a", "b"] {
        counters.create(id, 0).wait().unwrap();
    }

    thread::scope(|scope| {
        for thread in 0..THREADS {
            let counters = counters.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let id = if scatter(thread << 32 | round).is_multiple_of(4) { "b" } else { "a" };
                    counters.modify(id, |count| *count += 1).wait().unwrap();
                }
            });
        }
    });

    let sum: u64 = ["a", "b"].iter().map(|id| *counters.fetch(id).wait().unwrap().value).sum();
    assert_eq!(sum, THREADS * ROUNDS);
}

#[test]
fn transfers_between_accounts_keep_the_sum_for_everybody_who_looks_at_one_instant() {
    const ACCOUNTS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let accounts = Collection::<u64>::in_memory();
    for id in ACCOUNTS {
        accounts.create(id, 100).wait().unwrap();
    }
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let accounts = accounts.clone();
                scope.spawn(move || {
                    for round in 0..ROUNDS / 4 {
                        let drawn = scatter(thread << 32 | round) as usize;
                        let (from, to) = (ACCOUNTS[drawn % 8], ACCOUNTS[(drawn / 8) % 8]);
                        if from != to {
                            transfer(&accounts, from, to);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) || seen == 0 {
                let found = ACCOUNTS.map(|id| accounts.fetch(id).wait().unwrap());
                let checks = ACCOUNTS.iter().zip(&found).map(|(id, found)| Entry::check(id, found));
                if accounts.commit(checks.collect()).wait().is_ok() {
                    assert_eq!(found.iter().map(|found| *found.value).sum::<u64>(), 800);
                    seen += 1;
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });

    let sum: u64 = ACCOUNTS.iter().map(|id| *accounts.fetch(id).wait().unwrap().value).sum();
    assert_eq!(sum, 800);
}

fn transfer(accounts: &Collection<u64>, from: &'static str, to: &'static str) {
    let moved = accounts.transact(|mut transfer| async move {
        let (rich, poor) = (transfer.get(from).await?.unwrap(), transfer.get(to).await?.unwrap());
        let amount = (*rich).min(7);
        transfer.put(from, *rich - amount);
        transfer.put(to, *poor + amount);
        Ok::<_, Error>((transfer, ()))
    });
    moved.wait().unwrap();
}

#[test]
fn every_watcher_hears_of_every_commit_once_in_order_and_in_one_piece() {
    let store = Memory::<u64>::new();
    let committed = THREADS * ROUNDS;

    thread::scope(|scope| {
        let watchers = [(); 2].map(|()| store.watch(Start::Now).wait().unwrap());
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let drawn = scatter(thread << 32 | round);
                    let ids = [["a", "b"], ["b", "c"], ["c", "a"]][drawn as usize % 3];
                    store.commit(ids.iter().map(|id| put(id, round)).collect()).wait().unwrap();
                }
            });
        }
        for (index, mut changes) in watchers.into_iter().enumerate() {
            let store = &store;
            scope.spawn(move || {
                let mut last = 0;
                for number in 0..committed {
                    if index == 1 && number % 97 == 0 {
                        // Resumes where it was.
                        let cursor = changes.cursor().clone();
                        changes = store.watch(cursor.into()).wait().unwrap();
                    }
                    let batch = changes.next().wait().unwrap();
                    let version = batch.changes[0].version.to_bits().get();
                    assert!(version > last && batch.changes.len() == 2);
                    assert!(batch.changes.iter().all(|change| change.version == batch.changes[0].version));
                    last = version;
                }
                assert!(drain(&mut changes).is_empty());
            });
        }
    });
}

#[test]
fn cursor_then_list_then_watch_misses_nothing_while_ids_come_and_go() {
    for _ in 0..50 {
        let store = Memory::<u64>::new();
        let listed = |store: &Memory<u64>| -> BTreeMap<String, Version> {
            let page = store.scan(Scan::new("", usize::MAX)).wait().unwrap();
            page.items.into_iter().map(|(id, found)| (id.to_string(), found.version)).collect()
        };

        let (mut changes, mut list) = thread::scope(|scope| {
            for thread in 0..THREADS {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..ROUNDS / 20 {
                        let drawn = scatter(thread << 32 | round);
                        let id = ["a", "b", "c", "d", "e"][drawn as usize % 5];
                        let entry = match drawn % 3 {
                            0 => Entry::delete(id, Expected::Any),
                            _ => put(id, round),
                        };
                        store.commit(Commit::one(entry)).wait().unwrap();
                    }
                });
            }
            // The first to watch, in the middle of it.
            thread::yield_now();
            (store.watch(Start::Now).wait().unwrap(), listed(&store))
        });

        for change in drain(&mut changes).iter().flat_map(|batch| &batch.changes) {
            let known = list.get(&*change.id);
            if known.is_some_and(|known| known.to_bits() >= change.version.to_bits()) {
                continue;
            }
            match change.is_delete() {
                true => list.remove(&*change.id),
                false => list.insert(change.id.to_string(), change.version),
            };
        }
        assert_eq!(list, listed(&store));
    }
}

#[test]
fn a_list_sees_what_stays_exactly_once_while_others_come_and_go() {
    let notes = Collection::<u64>::in_memory();
    let stay: BTreeSet<String> = (0..100).map(|number| format!("{number:03}/stays")).collect();
    for id in &stay {
        notes.create(id, 0).wait().unwrap();
    }
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (notes, done) = (notes.clone(), &done);
            scope.spawn(move || {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    let drawn = scatter(thread << 32 | round);
                    let id = format!("{:03}/goes-{}", drawn % 100, drawn / 100 % 3);
                    match drawn % 2 {
                        0 => drop(notes.put(&id, round).wait().unwrap()),
                        _ => drop(notes.delete(&id, Expected::Any).wait().unwrap()),
                    }
                    round += 1;
                }
            });
        }
        for size in (1..40).chain(90..110) {
            let (mut pages, mut seen) = (notes.list("").page_size(size), Vec::new());
            while let Some(page) = pages.next().wait().unwrap() {
                seen.extend(page.items.into_iter().map(|(id, _)| id.to_string()));
            }
            assert!(seen.is_sorted_by(|one, next| one < next), "an id came twice, or out of order");
            seen.retain(|id| id.ends_with("stays"));
            assert!(seen.iter().eq(&stay));
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_commit_sent_by_several_is_applied_once_and_one_that_was_resolved_away_never() {
    let store = Memory::<u64>::new();
    let send = |number: u64| {
        let commit = Commit::one(Entry::put("log", Expected::Any, Arc::new(number)));
        store.commit(commit.with_write(WriteId::from_bits(number.into()))).wait()
    };

    let answers: Vec<Vec<_>> = thread::scope(|scope| {
        let senders = [(); 3].map(|()| scope.spawn(|| (0..ROUNDS).map(send).collect::<Vec<_>>()));
        let resolver = scope.spawn(|| {
            let resolve = |number: u64| store.resolve(WriteId::from_bits(number.into())).wait().unwrap();
            (0..ROUNDS).rev().map(resolve).collect::<Vec<_>>()
        });
        let resolved = resolver.join().unwrap();
        let answers = senders.map(|sender| sender.join().unwrap());
        for (number, resolution) in resolved.into_iter().rev().enumerate() {
            for sent in &answers {
                match (&resolution, &sent[number]) {
                    (Resolution::Applied(one), Ok(other)) => assert_eq!(one, other),
                    (Resolution::NotApplied, Err(Error::Refused(_))) => {}
                    (resolution, sent) => panic!("{number}: {resolution:?} and {sent:?}"),
                }
            }
        }
        answers.into()
    });

    let versions = answers[0].iter().flatten().map(|committed| committed.version().unwrap().to_bits());
    assert_eq!(versions.clone().collect::<BTreeSet<_>>().len(), versions.count());
}

#[test]
fn watchers_who_wait_all_end_with_the_store() {
    for round in 0..200 {
        let store = Memory::<u64>::new();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                let mut changes = store.watch(Start::Now).wait().unwrap();
                scope.spawn(move || {
                    assert_eq!(changes.next().wait().unwrap().changes.len(), 1);
                    assert!(matches!(changes.next().wait(), Err(Error::Failed(_))));
                });
            }
            store.commit(Commit::one(put("a", round))).wait().unwrap();
            drop(store);
        });
    }
}
