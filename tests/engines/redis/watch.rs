//! The feed where connections break, watchers are slow or many, and servers come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ifmatch::store::Changes;
use ifmatch::{Commit, Entry, Error, Expected, Start, Store, Version};

use super::{STRICT, fresh, open, say, server, shared, short, url};
use crate::faults::patiently;
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
    let written = AtomicUsize::new(0);
    thread::scope(|scope| {
        let cut = scope.spawn(|| {
            while written.load(Ordering::SeqCst) < 30 {
                proxy.cut_all();
                thread::sleep(Duration::from_millis(7));
            }
        });
        let mut numbers = 0..;
        while !cut.is_finished() {
            let version = put(&watched, numbers.next().unwrap());
            // A commit whose answer was lost comes twice here, without a write id: read on to the one that is known.
            while next(&mut changes) != version {}
            written.fetch_add(1, Ordering::SeqCst);
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
