//! Commits and reads over the shards of a memory store.

use std::sync::Arc;

use shuttle::thread;

use super::{delete, explore, put_all, read, store};
use crate::base::DashMap;
use crate::memory::Memory;
use crate::store::{Commit, Entry, Expected, Resource, Scan, Store, WriteId};

/// Of these some share a shard and some don't.
const IDS: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn the_ids_fall_into_several_shards_and_two_into_one() {
    use std::hash::BuildHasher;
    fn shards<T: Resource>() -> Vec<usize> {
        let rows = DashMap::<&str, T, ()>::with_capacity_and_hasher_and_shard_amount(0, (), 0);
        let shard = |id| rows.determine_shard(rows.hasher().hash_one(id) as usize);
        IDS.map(shard).into()
    }

    shuttle::check_random(
        || {
            let mut shards = shards::<u64>();
            shards.sort_unstable();
            shards.dedup();
            assert!((2..IDS.len()).contains(&shards.len()), "{shards:?}");
        },
        1,
    );
}

#[test]
fn commits_over_two_to_four_ids_in_any_order_neither_lock_each_other_out_nor_tear() {
    const ORDERS: [&[&str]; 3] = [&["a", "b", "c"], &["c", "b", "d", "a"], &["d", "c"]];

    explore(|| {
        let store = store();
        put_all(&store, &IDS, 0);
        let writers = [0, 1, 2].map(|writer| {
            let store = Arc::clone(&store);
            thread::spawn(move || put_all(&store, ORDERS[writer], writer as u64 + 1))
        });

        let mut versions = writers.map(|writer| writer.join().unwrap());

        versions.sort_unstable_by_key(|version| version.to_bits());
        assert!(versions.is_sorted_by(|one, next| one != next), "a version was issued twice");
        // What the last of them wrote stands at all of its ids.
        let newest = versions[2];
        let by_newest =
            IDS.map(|id| store.get(id).wait().unwrap().unwrap()).map(|now| (now.version == newest, now));
        let written = by_newest.iter().filter(|(by_newest, _)| *by_newest).map(|(_, now)| *now.value);
        let written: Vec<u64> = written.collect();
        assert_eq!(written.len(), ORDERS[written[0] as usize - 1].len());
    });
}

#[test]
fn a_reader_who_saw_one_half_of_a_commit_finds_the_other() {
    explore(|| {
        let store = store();
        put_all(&store, &IDS, 0);
        let writers = [["a", "b"], ["b", "a"]].map(|ids| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for _ in 0..2 {
                    let now = ids.map(|id| store.get(id).wait().unwrap().unwrap());
                    let next = *now[0].value + 1;
                    let entries = ids.iter().zip(&now).map(|(id, now)| Entry::put(id, now, next.into()));
                    // Only the race matters here, not who wins it.
                    let _ = store.commit(entries.collect::<Commit<'_, u64>>()).wait();
                }
            })
        });

        for (first, second) in [("a", "b"), ("b", "a")] {
            let (first, second) = (read(&store, first), read(&store, second));
            assert!(first <= second, "one half of {first:?} was there, and then the other of {second:?}");
        }

        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(read(&store, "a"), read(&store, "b"));
    });
}

#[test]
fn of_three_writers_with_one_version_one_wins_and_the_others_see_its_value() {
    explore(|| {
        let store = store();
        let base = put_all(&store, &["a"], 0);
        let writers = [1, 2, 3].map(|writer| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let entry = Entry::put("a", base, Arc::new(writer));
                store.commit(Commit::one(entry)).wait().map(|_| writer)
            })
        });

        let answers = writers.map(|writer| writer.join().unwrap());

        let winner = read(&store, "a");
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
        for answer in answers {
            match answer {
                Ok(writer) => assert_eq!(Some(writer), winner),
                Err(error) => {
                    let current = error.conflict().unwrap().current::<u64>().unwrap();
                    assert_eq!(Some(*current.value), winner);
                }
            }
        }
    });
}

#[test]
fn of_two_puts_that_each_check_the_id_of_the_other_one_wins() {
    for pair in [["x/a", "x/b"], ["x/a", "x/c"], ["x/b", "x/c"], ["x/c", "x/d"]] {
        explore(move || {
            let store = Arc::new(Memory::of_pieces(b'/'));
            let seen = put_all(&store, &pair, 0).into();
            let writers = [(pair[0], pair[1]), (pair[1], pair[0])].map(|(id, checked)| {
                let store = Arc::clone(&store);
                thread::spawn(move || {
                    let (prefix, id, other) = (store.prefix("x/".into()), &id[2..], &checked[2..]);
                    let place = store.place_below(&prefix, id);
                    let check = (&prefix, other, seen);
                    let put = store.replace_checked(&prefix, id, place, seen, &mut Arc::new(1), check);
                    put.is_some()
                })
            });

            let won = writers.map(|writer| writer.join().unwrap());

            assert_ne!(won[0], won[1], "{pair:?}");
            assert_eq!(pair.map(|id| read(&store, id) == Some(1)), won);
        });
    }
}

#[test]
fn puts_that_check_another_id_and_commits_over_both_do_not_lock_each_other_out() {
    for [id, checked] in [["x/a", "x/b"], ["x/b", "x/a"], ["x/a", "x/c"], ["x/c", "x/a"], ["x/b", "x/c"]] {
        explore(move || {
            let store = Arc::new(Memory::of_pieces(b'/'));
            put_all(&store, &[id, checked], 0);
            let both = {
                let store = Arc::clone(&store);
                thread::spawn(move || put_all(&store, &[id, checked], 1))
            };

            let (prefix, below) = (store.prefix("x/".into()), &id[2..]);
            let (place, any) = (store.place_below(&prefix, below), Expected::Present);
            let check = (&prefix, &checked[2..], any);
            let put = store.replace_checked(&prefix, below, place, any, &mut Arc::new(2), check);

            both.join().unwrap();
            assert!(put.is_some());
            assert_eq!(read(&store, checked), Some(1));
        });
    }
}

#[test]
fn increments_of_two_ids_at_once_are_all_counted() {
    explore(|| {
        let store = store();
        put_all(&store, &["a", "b"], 0);
        let writers = [["a", "b"], ["b", "a"], ["a", "b"]].map(|ids| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                loop {
                    let now = ids.map(|id| store.get(id).wait().unwrap().unwrap());
                    let entries = ids.iter().zip(&now);
                    let entries = entries.map(|(id, now)| Entry::put(id, now, Arc::new(*now.value + 1)));
                    if store.commit(entries.collect::<Commit<'_, u64>>()).wait().is_ok() {
                        return;
                    }
                }
            })
        });

        for writer in writers {
            writer.join().unwrap();
        }

        assert_eq!((read(&store, "a"), read(&store, "b")), (Some(3), Some(3)));
    });
}

#[test]
fn a_commit_that_is_sent_twice_at_once_is_applied_once() {
    explore(|| {
        let store = store();
        let send = {
            let store = Arc::clone(&store);
            move || {
                let commit = Commit::one(Entry::put("a", Expected::Absent, Arc::new(1)));
                store.commit(commit.with_write(WriteId::from_bits(7))).wait().unwrap()
            }
        };
        let again = thread::spawn(send.clone());

        assert_eq!(send(), again.join().unwrap());
    });
}

#[test]
fn the_order_of_ids_agrees_with_the_rows_after_creations_and_deletions() {
    explore(|| {
        let store = store();
        put_all(&store, &["a"], 0);
        let writers = [["a", "b"], ["b", "c"], ["c", "a"]].map(|[gone, made]| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                delete(&store, gone);
                put_all(&store, &[made, "d"], 1);
                let both = [gone, made].map(|id| Entry::delete(id, Expected::Any));
                store.commit(both.into_iter().collect()).wait().unwrap();
                put_all(&store, &[gone], 2);
            })
        });

        // While they run: a page is in order and names nobody twice.
        let page = store.scan(Scan::new("", 9)).wait().unwrap();
        assert!(page.items.is_sorted_by(|(one, _), (next, _)| one < next));

        for writer in writers {
            writer.join().unwrap();
        }
        let page = store.scan(Scan::new("", 9)).wait().unwrap();
        let listed: Vec<&str> = page.items.iter().map(|(id, _)| &**id).collect();
        let mut there = IDS.to_vec();
        there.retain(|id| read(&store, id).is_some());
        assert_eq!(listed, there);
    });
}
