//! The feed where connections break, watchers are slow or many, and servers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ifmatch::store::{Changes, Cursor, Expired};
use ifmatch::{Commit, Entry, Error, Expected, Redis, Start, Store, Version};

use super::{STRICT, fresh, open, say, server, shared, short, url};
use crate::faults::patiently;
use crate::patience::Ending;
use crate::proxy::Proxy;

fn put(store: &dyn Store<[u8]>, number: u64) -> Version {
    let put = || Commit::one(Entry::put("a", Expected::Any, Arc::from(number.to_be_bytes())));
    patiently(|| store.commit(put()).wait()).version().unwrap()
}

fn next(changes: &mut Changes<[u8]>) -> Version {
    changes.next().wait().unwrap().changes[0].version
}

#[test]
fn a_watcher_resumes_by_itself_without_a_gap_or_a_repetition() {
    let proxy = Proxy::new(shared().address());
    let watched = open(fresh().deadlines(short()), proxy.port());
    let mut changes = watched.watch(Start::Now).wait().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                proxy.cut_all();
                thread::sleep(Duration::from_millis(7));
            }
        });
        let _ending = Ending::new(&done);
        for number in 0..30 {
            let version = put(&watched, number);
            // A commit whose answer was lost comes twice here, without a write id: read on to the one that is known.
            while next(&mut changes) != version {}
        }
    });
}

#[test]
fn a_watcher_outlives_a_restart_of_the_server() {
    let mut server = server(&STRICT);
    let store = open(fresh().deadlines(short()), server.port);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let first = put(&store, 1);
    assert_eq!(next(&mut changes), first);

    for number in 2..5 {
        server.kill();
        server.start_again();
        let version = put(&store, number);
        assert_eq!(next(&mut changes), version);
    }
}

#[test]
fn many_watchers_share_one_waiting_connection_and_leave_none_behind() {
    let server = server(&["--appendonly", "no"]);
    let store = fresh().connect(url(server.port)).wait().unwrap();
    let clients = || say(server.address(), "CLIENT LIST").lines().count();
    let before = clients();
    let mut watchers: Vec<_> = (0..50).map(|_| store.watch(Start::Now).wait().unwrap()).collect();

    for number in 0..5 {
        let version = put(&store, number);
        watchers.iter_mut().for_each(|changes| assert_eq!(next(changes), version));
    }

    assert!(clients() <= before + 1, "{} connections, {before} before", clients());
    drop(watchers);
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while clients() > before {
        assert!(std::time::Instant::now() < end, "the waiting connection stays");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn watchers_see_what_other_stores_commit() {
    let namespace = "seen-by-others";
    let [one, other] = [(); 2].map(|()| open(ifmatch::Redis::options().namespace(namespace), shared().port));
    let mut changes = one.watch(Start::Now).wait().unwrap();

    for number in 0..100 {
        let version = put(&*other, number);
        assert_eq!(next(&mut changes), version);
    }
}

#[test]
fn a_feed_whose_runtime_ended_says_so() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut changes = runtime.block_on(async {
        let store = fresh().connect(url(shared().port)).await.unwrap();
        store.watch(Start::Now).await.unwrap()
    });
    drop(runtime);

    let ended = changes.next().wait().unwrap_err();
    assert!(matches!(ended, Error::Failed(_)), "{ended}");
}

/// What a watch from a cursor tells until the newest commit, and whether it ended as expired before.
fn told(store: &dyn Store<[u8]>, from: Cursor, newest: Version) -> (Vec<Version>, bool) {
    let mut told = Vec::new();
    let mut changes = match store.watch(Start::After(from)).wait() {
        Ok(changes) => changes,
        Err(Error::Expired(expired)) => {
            assert_stands(store, expired);
            return (told, true);
        }
        Err(error) => panic!("{error}"),
    };
    while told.last() != Some(&newest) {
        match changes.next().wait() {
            Ok(batch) => told.push(batch.changes[0].version),
            Err(Error::Expired(expired)) => {
                assert_stands(store, expired);
                return (told, true);
            }
            Err(error) => panic!("{error}"),
        }
    }
    (told, false)
}

/// A program that goes on where it is told to is not told again that it came too late.
fn assert_stands(store: &dyn Store<[u8]>, expired: Expired) {
    let _stands = store.watch(Start::After(expired.oldest.unwrap())).wait().unwrap();
}

#[test]
fn a_log_that_somebody_deleted_of_ends_each_watch_that_would_skip_a_commit() {
    // Of ten commits, those that are deleted, counted from 0; and how many commits follow.
    let deleted: [&[u64]; 6] =
        [&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[0, 1, 2, 3], &[4, 5], &[9], &[0], &[3, 8, 9]];
    for (deleted, later) in deleted.iter().flat_map(|deleted| [0, 1, 3].map(|later| (deleted, later))) {
        let namespace = format!("gap-{}-{}-{later}", deleted.len(), deleted[0]);
        let store = open(Redis::options().namespace(&namespace), shared().port);
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let mut waiting = store.watch(Start::Now).wait().unwrap();
        let mut cursors = vec![changes.cursor().clone()];
        let mut versions = Vec::new();
        for number in 0..10 {
            versions.push(put(&*store, number));
            assert_eq!(next(&mut changes), versions[number as usize]);
            cursors.push(changes.cursor().clone());
        }
        for gone in *deleted {
            let number = versions[*gone as usize].to_bits().get() >> 24;
            assert_eq!(
                say(shared().address(), &format!("XDEL ifmatch:{{{namespace}}}:log {number}-0")),
                ":1"
            );
        }
        if deleted.len() == 10 {
            assert_eq!(say(shared().address(), &format!("DEL ifmatch:{{{namespace}}}:log")), ":1");
        }
        let mut now = (later == 3).then(|| store.watch(Start::Now).wait().unwrap());
        versions.extend((10..10 + later).map(|number| put(&*store, number)));
        let newest = *versions.last().unwrap();

        for (from, cursor) in cursors.into_iter().enumerate() {
            let skipped = deleted.iter().any(|gone| *gone as usize >= from);
            if from == versions.len() {
                continue;
            }
            let (told, expired) = told(&*store, cursor, newest);
            assert!(versions[from..].starts_with(&told), "{namespace}: from {from}: {told:?}");
            assert!(expired || (!skipped && told == versions[from..]), "{namespace}: from {from}: {told:?}");
            // Its own entry is what a place is known by, unless somebody began to watch there.
            let begun = from == 10 && now.is_some();
            let unknown = from > 0 && !begun && deleted.contains(&(from as u64 - 1));
            assert_eq!(expired, skipped || unknown, "{namespace}: from {from}");
        }
        // One that was begun before and reads only now, and one that was begun after it.
        let ended = (0..11).find_map(|_| waiting.next().wait().err()).unwrap();
        assert!(matches!(ended, Error::Expired(_)), "{ended}");
        let last = put(&*store, 99);
        versions.push(last);
        if let Some(now) = &mut now {
            assert!(versions[10..].iter().all(|version| next(now) == *version));
        }
        // The one that had read all goes on where nothing is missing.
        if !deleted.contains(&9) {
            assert!(versions[10..].iter().all(|version| next(&mut changes) == *version));
        }
    }
}
