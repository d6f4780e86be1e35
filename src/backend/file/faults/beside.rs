//! What an error of the disk does to a file beside its commits: to what is sent again, to syncs, to readers.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::*;
use crate::Cached;
use crate::store::{Scan, Start, Version};

/// How many commits readers look at.
const SEEN: u64 = 2_000;

#[test]
fn who_sends_again_what_was_applied_is_never_told_that_it_was_not() {
    let mut failed = 0;
    for at in 0..12 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, HISTORIES[1]);
        let write = drawn(&store);
        commit(&store, 1, write).wait().unwrap();
        disk.fail(Fault::Error, at);
        // Both share a transaction: whoever waits first serves both.
        let again = commit(&store, 1, write);
        let other = commit(&store, 2, drawn(&store));
        let (again, other) = (again.wait(), other.wait());
        failed += usize::from(other.is_err());

        let outcome = again.map_err(|error| error.outcome()).err();
        assert_ne!(outcome, Some(Outcome::NotApplied), "operation {at}");
        disk.heal();
        assert!(matches!(store.resolve(write).wait().unwrap(), Resolution::Applied(_)));
    }
    assert!(failed > 0, "no error met a transaction");
}

/// What changed nothing is in no log, and was applied all the same.
#[test]
fn who_sends_again_what_changed_nothing_is_never_told_that_it_was_not_applied() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, HISTORIES[1]);
    let write = drawn(&store);
    let nothing = || store.commit(Commit::one(Entry::delete("a", Expected::Any)).with_write(write));
    let first = nothing().wait().unwrap();
    disk.fail(Fault::Error, 0);
    // Both share a transaction: whoever waits first serves both.
    let (again, other) = (nothing(), commit(&store, 1, drawn(&store)));

    assert_eq!(again.wait().unwrap(), first);
    assert!(other.wait().is_err());
}

#[test]
fn closing_a_file_that_cannot_be_opened_again_says_that_commits_may_be_lost() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Eventual, HISTORIES[1]);
    commit(&store, 1, drawn(&store)).wait().unwrap();
    disk.fail(Fault::Full, 0);
    let handle = &store.shared.handle;
    let writing = handle.writing.lock();
    assert!(handle.mend(handle.generation()).is_err());
    drop(writing);

    assert_eq!(store.close().unwrap_err().outcome(), Outcome::Unknown);
}

#[test]
fn a_sync_tells_once_of_commits_that_an_error_took() {
    for close in [false, true] {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Eventual, HISTORIES[1]);
        commit(&store, 1, drawn(&store)).wait().unwrap();
        store.sync().wait().unwrap();
        commit(&store, 2, drawn(&store)).wait().unwrap();
        // As a reader does that meets an error, where what was written got lost.
        disk.forget();
        let handle = &store.shared.handle;
        let writing = handle.writing.lock();
        handle.mend(handle.generation()).unwrap();
        drop(writing);
        assert_eq!(&*store.get("a").wait().unwrap().unwrap().value, b"1");

        let told = if close {
            store.close()
        } else {
            // Both share a turn.
            let (one, other) = (store.sync(), store.sync());
            let (one, other) = (one.wait(), other.wait());
            assert_eq!(other.unwrap_err().to_string(), one.as_ref().unwrap_err().to_string());
            store.sync().wait().unwrap();
            one
        };
        assert_eq!(told.unwrap_err().outcome(), Outcome::Unknown);
    }
}

/// Who resolved it counts on that: the original may arrive late.
#[test]
fn a_write_id_that_was_closed_is_on_the_disk_whatever_commits_wait_for() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Eventual, HISTORIES[1]);
    for number in 1..=2 {
        commit(&store, number, drawn(&store)).wait().unwrap();
        store.sync().wait().unwrap();
    }
    let write = drawn(&store);
    assert_eq!(store.resolve(write).wait().unwrap(), Resolution::NotApplied);
    disk.forget();
    store.shared.handle.break_it();

    store.sync().wait().expect("nothing was lost");
    commit(&store, 3, write).wait().unwrap_err();
    assert_eq!(read(&opener(&SimulatedDisk::of(disk.confirmed())).open().unwrap()), after(2));
}

#[test]
fn who_was_shown_commits_that_an_error_took_is_told() {
    let mut lost = 0;
    for (at, reads) in (0..12).flat_map(|at| [(at, false), (at, true)]) {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = Arc::new(start_journaled(&disk, Persistence::Eventual, HISTORIES[1]));
        let cached = Cached::new(Arc::clone(&store));
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let mut next = |waker: &Waker| pin!(changes.next()).poll(&mut Context::from_waker(waker));
        commit(&store, 1, drawn(&store)).wait().unwrap();
        store.sync().wait().unwrap();
        commit(&store, 2, drawn(&store)).wait().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        while next(&waker).is_ready() {}
        assert_eq!(number(&cached.get("a").wait().unwrap().unwrap().value), 2);
        woken.0.store(false, Ordering::SeqCst);

        disk.forget();
        disk.fail(Fault::Error, at);
        if reads {
            // As where a reader meets the error: the next one opens the file anew.
            let handle = &store.shared.handle;
            handle.break_it();
            let _ = store.get("b").wait();
        } else {
            let _ = commit(&store, 3, drawn(&store)).wait();
        }
        disk.heal();
        let shown = number(&store.get("a").wait().unwrap().unwrap().value);
        if shown == 1 {
            lost += 1;
            assert!(woken.0.load(Ordering::SeqCst), "operation {at}, by a read: {reads}");
            let told = next(&waker);
            assert!(
                matches!(told, Poll::Ready(Err(Error::Expired(_)))),
                "operation {at}, by a read: {reads}"
            );
        }
        let found = cached.get("a").wait().unwrap().unwrap();
        assert_eq!(number(&found.value), shown, "operation {at}, by a read: {reads}");
    }
    assert!(lost > 0, "no commit was lost");
}

/// The thread that finds the loss must not wake who may wait for it.
#[test]
fn a_watcher_is_woken_by_a_loss_that_the_settling_thread_finds() {
    let mut lost = 0;
    for at in 0..40 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Eventual, 100_000);
        commit(&store, 1, drawn(&store)).wait().unwrap();
        store.sync().wait().unwrap();
        commit(&store, 2, drawn(&store)).wait().unwrap();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let waker = Waker::from(Arc::new(Telling(tell)));
        assert!(pin!(changes.next()).poll(&mut Context::from_waker(&waker)).is_pending());
        disk.forget();
        disk.fail(Fault::Error, at);
        super::journal::settle(&store);
        disk.heal();
        if store.shared.handle.losses() > 0 {
            lost += 1;
            told.recv_timeout(std::time::Duration::from_secs(60)).expect("it is not woken");
        }
    }
    assert!(lost > 0, "no commit was lost");
}

/// Tells that it was woken.
struct Telling(std::sync::mpsc::Sender<()>);

impl Wake for Telling {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// The caller does not know, but a watcher can.
#[test]
fn a_watcher_is_woken_by_a_commit_that_nobody_knows_of_and_that_is_there() {
    let mut there = 0;
    for at in 0..20 {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, HISTORIES[1]);
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert!(pin!(changes.next()).poll(&mut Context::from_waker(&waker)).is_pending());
        disk.fail(Fault::LostOnSync, at);
        if commit(&store, 1, drawn(&store)).wait().is_ok() {
            continue;
        }
        disk.heal();
        if store.get("a").wait().unwrap().is_some() {
            there += 1;
            assert!(woken.0.load(Ordering::SeqCst), "operation {at}");
        }
    }
    assert!(there > 0, "no failed commit was there");
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn the_log_comes_back_to_its_limit_however_much_is_committed_at_once() {
    const LIMIT: usize = 1_000;
    const CALLS: usize = 8;

    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, LIMIT);
    let ids: Vec<String> = (0..2_000).map(|number| format!("id-{number}")).collect();
    let all =
        || ids.iter().map(|id| Entry::put(id, Expected::Any, (*b"").into())).collect::<Commit<'_, [u8]>>();
    let weigh = |view: &View| {
        let weight = RefCell::new(0);
        view.each_commit(|logged| *weight.borrow_mut() += logged.weight())?;
        Ok(weight.into_inner())
    };
    for _ in 0..6 {
        let replies: Vec<_> = (0..CALLS).map(|_| store.commit(all())).collect();
        replies.into_iter().for_each(|reply| _ = reply.wait().unwrap());

        // What was added last leaves with what is added next.
        let weight = store.shared.handle.read(weigh).unwrap();
        assert!((LIMIT..=LIMIT + 2 * CALLS * ids.len()).contains(&weight), "{weight}");
    }
}

#[test]
fn a_scan_looks_at_no_recent_commits_but_those_of_its_prefix() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, 10_000);
    for id in ["a", "b1", "b2", "c"] {
        store.commit(Commit::one(Entry::put(id, Expected::Any, (*b"").into()))).wait().unwrap();
    }

    let looked = |limit| {
        let looked = |view: &View| Ok(view.range(Bound::Included("b"), "b", limit)?.recent());
        store.shared.handle.read(looked).unwrap()
    };
    assert_eq!([looked(10), looked(1)], [2, 1]);
}

/// Readers beside commits, settlings, compactions and a file that is opened anew again and again.
#[test]
fn readers_see_whole_commits_in_order() {
    for history in HISTORIES.into_iter().chain([100_000]) {
        let disk = SimulatedDisk::default();
        create(&disk);
        let store = start_journaled(&disk, Persistence::Immediate, history);
        let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for look in [shown_by_a_page, shown_by_a_conflict] {
                let (store, done, acknowledged) = (&store, &done, &acknowledged);
                scope.spawn(move || {
                    let mut newest = 0;
                    while !done.load(Ordering::Relaxed) {
                        newest = newest.max(acknowledged.load(Ordering::SeqCst));
                        let shown = look(store);
                        let at = shown.get("a").copied().unwrap_or(0);
                        assert_eq!(shown, after(at), "a commit in part");
                        assert!(at >= newest, "{at} after {newest}");
                        newest = at;
                    }
                });
            }
            let (opened, finished) = (&store, &done);
            scope.spawn(move || {
                while !finished.load(Ordering::Relaxed) {
                    if random().is_multiple_of(4) {
                        opened.compact().wait().unwrap();
                    }
                    let handle = &opened.shared.handle;
                    let _writing = handle.writing.lock();
                    handle.mend(handle.generation()).unwrap();
                }
            });
            for number in 1..=SEEN {
                commit(&store, number, drawn(&store)).wait().unwrap();
                acknowledged.store(number, Ordering::SeqCst);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

fn number(value: &[u8]) -> u64 {
    str::from_utf8(value).unwrap().parse().unwrap()
}

fn shown_by_a_page(store: &File) -> Shown {
    let page = store.scan(Scan::new("", 10)).wait().unwrap().with_values().unwrap();
    page.items.iter().map(|(id, found)| (id.to_string(), number(&found.value))).collect()
}

/// A conflict over all ids shows them at one instant.
fn shown_by_a_conflict(store: &File) -> Shown {
    let wrong = Expected::Version(Version::from_bits(1.try_into().unwrap()));
    let check = ["a", "b", "guest", "padded"].map(|id| Entry::check(id, wrong)).into_iter().collect();
    let error = store.commit(check).wait().unwrap_err();
    let mismatches = error.conflict().unwrap().mismatches();
    let shown = mismatches
        .iter()
        .filter_map(|mismatch| Some((mismatch.id().to_owned(), number(&mismatch.current::<[u8]>()?.value))));
    shown.collect()
}

#[test]
fn the_counter_leaps_once_after_a_commit_that_failed() {
    let disk = SimulatedDisk::default();
    create(&disk);
    let store = start_journaled(&disk, Persistence::Immediate, 100_000);
    let reopen = || {
        store.shared.handle.break_it();
        store.sync().wait().unwrap();
        store.serving.committer.lock().extent().last
    };
    // One that succeeded is found again: on a disk that stays full a store is opened anew all the time.
    for number in 1..=2 {
        commit(&store, number, drawn(&store)).wait().unwrap();
        let last = store.serving.committer.lock().extent().last;
        assert_eq!([reopen(), reopen()], [last; 2]);
    }

    // Nobody knows where the frame of one that failed is.
    let before = reopen();
    disk.fail(Fault::Error, 0);
    commit(&store, 3, drawn(&store)).wait().unwrap_err();
    disk.heal();
    let leapt = reopen();
    assert!(leapt > before + 1);
    assert_eq!(reopen(), leapt);
}
