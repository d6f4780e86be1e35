//! A store beside a model of it, looked into again and again: what is recent, what is settled, what has left the log.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use redb::ReadableTable;

use super::super::committer::Committer;
use super::super::recent::{DELETED, LOG, View, commits_in};
use super::super::{File, Handle, Options, Persistence};
use super::disk::{Fault, SimulatedDisk};
use super::{SHAPE, after, commit, create, drawn, opener, read, start_journaled};
use crate::base::random;
use crate::store::{
    Commit, Entry, Expected, Kind, Known, Outcome, Resolution, Scan, Store, Version, WriteId,
};

const IDS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// How many bytes a row of the log has at most, unless it has one commit only: 4000, and the length of its last piece.
const ROW: usize = 4004;

/// What the store must show.
#[derive(Default)]
struct Model {
    values: BTreeMap<&'static str, (u64, Vec<u8>)>,
    /// The position of the last deletion of each id.
    deleted: BTreeMap<&'static str, u64>,
    /// The position, the weight and the write id of each commit.
    commits: Vec<(u64, usize, WriteId)>,
}

impl Model {
    /// Makes a commit of a few entries, whose values have one of some sizes, or closes a write id.
    fn step(&mut self, store: &File, sizes: &[usize]) {
        let write = drawn(store);
        let first = random() as usize;
        let weight = 1 + random() as usize % 3;
        if first.is_multiple_of(10) {
            assert_eq!(store.resolve(write).wait().unwrap(), Resolution::NotApplied);
            return;
        }
        let ids = (0..weight).map(|number| IDS[(first + number) % IDS.len()]);
        let puts = ids.map(|id| {
            let size = sizes[random() as usize % sizes.len()];
            (id, (!random().is_multiple_of(3)).then(|| vec![random() as u8; size]))
        });
        let puts: Vec<_> = puts.collect();
        let entries = puts.iter().map(|(id, value)| match value {
            Some(value) => Entry::put(id, Expected::Any, value.as_slice().into()),
            None => Entry::delete(id, Expected::Any),
        });
        let committed = store.commit(entries.collect::<Commit<'_, [u8]>>().with_write(write)).wait().unwrap();
        // A commit that changed nothing is remembered as well, and takes a version.
        let position = match committed.receipts().iter().find_map(|receipt| receipt.version) {
            Some(version) => version.to_bits().get(),
            None => store.shared.handle.read(|view| Ok(view.last)).unwrap(),
        };
        self.commits.push((position, weight, write));
        for (id, value) in puts {
            match value {
                Some(value) => _ = self.values.insert(id, (position, value)),
                None if self.values.remove(id).is_some() => _ = self.deleted.insert(id, position),
                None => {}
            }
        }
    }

    /// Looks whether the store shows what it must, in memory and in the file.
    fn check(&self, disk: &SimulatedDisk, store: &File, history: usize) {
        let shared = &store.shared;
        shared.handle.settling.wait();
        store.serving.committer.lock().see_settled(shared, false);
        let extent = store.serving.committer.lock().extent().clone();
        let floor = extent.floor;
        let there: Vec<_> = self.commits.iter().copied().filter(|(position, ..)| *position > floor).collect();
        let opened = opener(&SimulatedDisk::of(disk.seen())).open().unwrap();
        let looked = shared.handle.with(|open| {
            let view = open.view();
            let loaded = View::load(&opened.database, &opened.frames)?;
            let tables = loaded.snapshot();
            assert_eq!((view.last, view.floor), (loaded.last, floor));
            assert_eq!((loaded.floor, loaded.facts()?.forgotten), (floor, extent.forgotten));

            let (recent, again) = (view.recent(), loaded.recent());
            assert_eq!(recent.list(), again.list());
            assert_eq!((recent.closed(), recent.weight()), (again.closed(), again.weight()));
            assert!(view.settling().is_none());
            let recent_weight = recent.weight();
            assert!(recent.bytes() as u64 <= SHAPE.segment * SHAPE.segments);
            drop((recent, again));

            let mut oldest_row = None;
            for row in tables.open_table(LOG)?.iter()? {
                let (last, row) = row?;
                let commits: Vec<_> = commits_in(last.value(), row.value(), 0).map(Result::unwrap).collect();
                assert_eq!(commits.last().map(|logged| logged.position.get()), Some(last.value()));
                assert!(commits.len() == 1 || row.value().len() <= ROW);
                oldest_row.get_or_insert(commits.iter().map(|logged| logged.weight()).sum::<usize>());
            }
            let weight =
                |commits: &[(_, usize, _)]| commits.iter().map(|(_, weight, _)| weight).sum::<usize>();
            assert_eq!(extent.weight, weight(&there));
            assert!(weight(&there) >= weight(&self.commits).min(history), "the log is too short");
            let settled = weight(&there) - recent_weight;
            assert!(settled < history + oldest_row.unwrap_or(1), "the log is too long");

            for view in [&*view, &loaded] {
                let mut each = Vec::new();
                view.each_commit(|logged| {
                    each.push((logged.position.get(), logged.weight(), logged.write.unwrap()));
                })?;
                assert_eq!(each, there);
                let mut place = floor;
                for (position, ..) in &there {
                    let next = view.next(place, |_| true)?.map(|logged| logged.position.get());
                    assert_eq!(next, Some(*position));
                    assert!(view.at(*position)?.is_some());
                    assert!(place + 1 == *position || view.at(place + 1)?.is_none());
                    place = *position;
                }
                assert!(view.next(place, |_| true)?.is_none() && view.at(place + 1)?.is_none());
            }
            for row in tables.open_table(DELETED)?.iter()? {
                assert!(row?.1.value() > floor, "a deletion that has left the log is remembered");
            }
            Ok(())
        });
        looked.unwrap();

        for (position, _, write) in &self.commits {
            let window = shared.window.lock();
            let known = matches!(window.look(*write, write.place()), Known::Applied(_));
            assert_eq!(known, *position > floor);
        }
        for limit in [1, 2, 100] {
            let mut shown = BTreeMap::new();
            let mut last = None;
            loop {
                let scan = Scan::new("", limit).after(last);
                let page = store.scan(scan).wait().unwrap();
                let of_ids = store.scan(scan.without_values()).wait().unwrap().without_values();
                assert_eq!(of_ids, page.clone().without_values(), "pages of {limit}");
                let page = page.with_values().unwrap();
                for (id, found) in page.items {
                    let id = IDS.into_iter().find(|known| **known == *id).unwrap();
                    assert!(last < Some(id));
                    last = Some(id);
                    shown.insert(id, (found.version.to_bits().get(), found.value.to_vec()));
                }
                if !page.more {
                    break;
                }
            }
            assert!(shown == self.values, "pages of {limit}");
        }
        for id in IDS {
            let checked = store.commit(Commit::one(Entry::check(id, Expected::Present))).wait();
            let lost = checked.as_ref().err().map(|error| error.conflict().unwrap());
            let told = lost.map(|conflict| (conflict.kind().clone(), conflict.found().map(Version::to_bits)));
            let told = told.map(|(kind, found)| (kind, found.map(|found| found.get())));
            let deleted = self.deleted.get(id).copied().filter(|position| *position > floor);
            let expected = match deleted {
                _ if self.values.contains_key(id) => None,
                Some(position) => Some((Kind::Deleted, Some(position))),
                None => Some((Kind::Missing, None)),
            };
            assert_eq!(told, expected, "`{id}`");
        }
    }
}

fn start_with(disk: &SimulatedDisk, history: usize) -> File {
    File::start(Handle::open(opener(disk)).unwrap(), &Options::new().history(history)).unwrap()
}

/// Commits, compacts, closes and crashes at random, and looks every so many steps.
fn run(history: usize, steps: usize, every: usize, sizes: &[usize]) {
    let mut disk = SimulatedDisk::default();
    create(&disk);
    let mut store = start_with(&disk, history);
    let mut model = Model::default();
    for step in 1..=steps {
        match random() % 90 {
            0 => store.close().unwrap(),
            1 => {
                disk = SimulatedDisk::of(disk.confirmed());
                drop(store);
            }
            _ => {
                model.step(&store, sizes);
                if step.is_multiple_of(every) {
                    model.check(&disk, &store, history);
                }
                continue;
            }
        }
        store = start_with(&disk, history);
        if random().is_multiple_of(2) {
            store.compact().wait().unwrap();
        }
        model.check(&disk, &store, history);
    }
    model.check(&disk, &store, history);
}

#[test]
fn a_short_log_is_as_long_as_it_should_be() {
    run(64, 600, 1, &[0, 20, 1500, 9000]);
}

#[test]
fn rows_of_recent_commits_are_settled_once_they_are_many() {
    run(3200, 2000, 40, &[20, 20, 300, 1500, 5000]);
}

#[test]
fn large_commits_are_settled_before_they_are_many() {
    run(100_000, 200, 5, &[5000, 20_000]);
    run(100_000, 100, 5, &[20, 20_000, 300_000]);
}

/// It shares what is recent with the views after it.
#[test]
fn a_view_stays_as_it_was_while_commits_go_on() {
    for history in [64, 100_000] {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_with(&disk, history);
        for number in 1..=2 {
            commit(&store, number, drawn(&store)).wait().unwrap();
        }
        let view = store.shared.handle.with(|open| Ok(open.view())).unwrap();
        let look = || {
            let found = |id: &str| view.find(id).unwrap().record().map(<[u8]>::to_vec);
            let rows = view.range(Bound::Unbounded, "", usize::MAX).unwrap().map(Result::unwrap);
            let rows = rows.map(|(id, stored)| (id.to_string(), stored.record().map(<[u8]>::to_vec)));
            (["a", "guest"].map(found), rows.collect::<Vec<_>>())
        };
        let before = look();
        for number in 3..=8 {
            commit(&store, number, drawn(&store)).wait().unwrap();
            assert!(look() == before);
            assert!(view.next(view.last, |_| true).unwrap().is_none());
        }
    }
}

#[test]
fn what_did_not_wait_for_a_sync_is_synced_when_asked_and_when_closed() {
    // The first commit stays recent, and the second settles it.
    for commits in [1, 2] {
        let disk = SimulatedDisk::default();
        create(&disk);
        let confirmed = || read(&opener(&SimulatedDisk::of(disk.confirmed())).open().unwrap());
        let store = start_journaled(&disk, Persistence::Eventual, 64);
        for number in 1..=commits {
            commit(&store, number, drawn(&store)).wait().unwrap();
        }
        assert!(store.serving.committer.lock().deadline().is_some());
        store.close().unwrap();
        assert_eq!(confirmed(), after(commits));

        let store = start_journaled(&disk, Persistence::Eventual, 64);
        commit(&store, 3, drawn(&store)).wait().unwrap();
        store.sync().wait().unwrap();
        assert_eq!(confirmed(), after(3));
        assert!(store.serving.committer.lock().deadline().is_none());
    }
}

#[test]
fn a_write_that_is_sent_twice_in_one_turn_is_applied_once() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_with(&disk, 64);
    let write = drawn(&store);
    let send =
        || store.commit(Commit::one(Entry::put("a", Expected::Absent, (*b"one").into())).with_write(write));

    // Nobody serves them before one is waited for.
    let (first, second, resolved) = (send(), send(), store.resolve(write));

    let first = first.wait().unwrap();
    assert_eq!(second.wait().unwrap(), first);
    assert_eq!(resolved.wait().unwrap(), Resolution::Applied(first));
}

/// Opening the file anew fails as long as the disk does, so it is for the commit after that to do it.
#[test]
fn once_the_disk_is_well_the_next_commit_succeeds() {
    let mut failed = 0;
    for at in 0..100 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, 64);
        disk.fail(Fault::Full, at);
        failed += usize::from(commit(&store, 1, drawn(&store)).wait().is_err());
        disk.heal();
        commit(&store, 2, drawn(&store)).wait().unwrap_or_else(|error| panic!("operation {at}: {error}"));
    }
    assert!(failed > 0);
}

#[test]
fn what_the_file_shows_to_be_absent_is_told_as_not_applied() {
    let mut failed = 0;
    for at in 0..100 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, 64);
        disk.fail(Fault::Error, at);
        let write = drawn(&store);
        let Err(error) = commit(&store, 1, write).wait() else { continue };
        failed += 1;
        let told = error.outcome() == Outcome::NotApplied;
        assert_eq!(store.resolve(write).wait().unwrap() == Resolution::NotApplied, told, "operation {at}");
    }
    assert!(failed > 0);
}

#[test]
fn who_comes_while_others_are_judged_shares_their_turn() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_with(&disk, 64);
    let shared = &store.shared;
    let put = |id| store.commit(Commit::one(Entry::put(id, Expected::Absent, (*b"one").into())));
    let far = Instant::now() + Duration::from_secs(600);
    let is_served = AtomicBool::new(false);
    shared.queue.served(2);

    // The store's own thread can't serve meanwhile.
    let committer = store.serving.committer.lock();
    let first = put("a");
    let (served, second) = thread::scope(|scope| {
        let later = scope.spawn(|| {
            while shared.queue.len() > 0 {
                thread::yield_now();
            }
            let second = put("b");
            while !is_served.load(Ordering::Relaxed) {
                // The other thread may be the one that hears it.
                shared.queue.ring();
                thread::yield_now();
            }
            second
        });
        let served = Committer::serve(shared, committer, Some(far));
        is_served.store(true, Ordering::Relaxed);
        (served, later.join().unwrap())
    });

    assert_eq!(served, 2);
    let versions = [first, second].map(|reply| reply.wait().unwrap().version().unwrap().to_bits().get());
    assert_eq!(versions[0] + 1, versions[1]);
}

#[test]
fn a_compaction_that_meets_a_reader_leaves_the_file_open() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_with(&disk, 64);
    let handle = &store.shared.handle;
    let view = handle.with(|open| Ok(open.view())).unwrap();

    assert!(handle.alone(|database| Ok(database.compact()?)).is_err());

    drop(view);
    assert!(store.get("a").wait().unwrap().is_none());
    assert_eq!(handle.generation(), 0);
    for _ in 0..2 {
        handle.mend(0).unwrap();
    }
    assert_eq!(handle.generation(), 1, "it was opened anew since");
}
