//! What becomes of tokens and cursors when the engine is wiped, replaced, restored or compacted, and formats.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use ifmatch::engine::ConnectError;
use ifmatch::store::{Changes, Resolution, Scan};
use ifmatch::{
    Commit, Conflict, Cursor, Entry, Error, Etcd, Expected, Kind, Start, Store, Version, conformance,
};

use super::{NODE, drawn, etcdctl, fresh, node, unused, url};
use crate::faults::patiently;
use crate::proxy::Proxy;
use crate::server::{Server, program};

fn put(store: &Etcd, id: &str, expected: impl Into<Expected>, value: &[u8]) -> Result<Version, Error> {
    let put = Entry::put(id, expected.into(), value.into());
    Ok(store.commit(Commit::one(put)).wait()?.version().unwrap())
}

fn conflict<T: std::fmt::Debug>(answer: Result<T, Error>) -> Conflict {
    match answer {
        Err(Error::Conflict(conflict)) => conflict,
        other => panic!("{other:?}"),
    }
}

fn assert_expired(answer: Result<Changes<[u8]>, Error>) {
    let Err(Error::Expired(expired)) = answer else { panic!("{answer:?}") };
    assert!(expired.oldest.is_some());
}

pub(super) fn open(port: u16, namespace: &str) -> Result<Etcd, ConnectError> {
    Etcd::options().namespace(namespace).connect(&url(port)).wait()
}

#[test]
fn after_a_wipe_no_old_token_matches_and_every_old_cursor_is_expired() {
    let name = unused("wiped");
    let stores = [(); 2].map(|()| open(NODE.port, &name).unwrap());
    let mut changes = stores[0].watch(Start::Now).wait().unwrap();
    let cursor = changes.cursor().clone();
    let old = put(&stores[0], "a", Expected::Absent, b"one").unwrap();
    let waiting = stores[1].watch(Start::Now).wait().unwrap();

    etcdctl(NODE.port, &["del", "--prefix", &format!("tests/{name}:")]);

    for store in &stores {
        let missing = conflict(put(store, "a", old, b"two"));
        assert!(matches!(missing.kind(), Kind::Missing));
    }
    let new = put(&stores[1], "a", Expected::Absent, b"three").unwrap();
    assert_ne!(old, new);
    let stale = conflict(put(&stores[0], "a", old, b"four"));
    assert_eq!(stale.current::<[u8]>().unwrap().version, new);
    assert_expired(stores[0].watch(Start::After(cursor)).wait());
    // A watcher that was there gets what it had not read yet, at most, and then its end.
    for mut changes in [std::mem::replace(&mut changes, stores[0].watch(Start::Now).wait().unwrap()), waiting]
    {
        let mut ended = false;
        for _ in 0..3 {
            ended |= matches!(changes.next().wait(), Err(Error::Expired(_)));
        }
        assert!(ended);
    }
}

#[test]
fn in_a_new_cluster_at_the_same_address_no_old_token_matches() {
    let (first, second) = (node(&[]), node(&[]));
    let proxy = Proxy::new(first.address());
    let store = open(proxy.port(), "replaced").unwrap();
    let cursor = store.watch(Start::Now).wait().unwrap().cursor().clone();
    let old: Vec<Version> =
        (0..20).map(|number| put(&store, "a", Expected::Any, &[number]).unwrap()).collect();

    proxy.redirect(second.address());
    proxy.cut_all();
    let other = open(second.port, "replaced").unwrap();
    let counter = |version: Version| version.to_bits().get() >> 24;
    let mut new = put(&other, "a", Expected::Absent, b"new").unwrap();
    let old = *old.iter().find(|old| counter(**old) > counter(new)).unwrap();
    while counter(new) < counter(old) {
        new = put(&other, "a", new, b"newer").unwrap();
    }

    // The engine counts as before: only the epoch tells them apart.
    assert_eq!(counter(new), counter(old));
    let read = patiently(|| store.get("a").wait()).unwrap();
    assert_eq!(read.version, new);
    let stale = conflict(put(&store, "a", old, b"late"));
    assert_eq!(stale.current::<[u8]>().unwrap().version, new);
    assert_expired(store.watch(Start::After(cursor)).wait());
}

#[test]
fn a_restore_from_a_backup_is_not_told_and_a_namespace_laid_anew_tells_it() {
    let mut server = node(&[]);
    let store = open(server.port, "restored").unwrap();
    let kept = put(&store, "a", Expected::Absent, b"one").unwrap();
    let backup = server.directory().join("backup");
    let backup = backup.to_str().unwrap();
    etcdctl(server.port, &["snapshot", "save", backup]);
    let lost = put(&store, "a", kept, b"two").unwrap();

    restore(&mut server, backup);

    assert!(!store.abilities().detects_restore);
    let store = open(server.port, "restored").unwrap();
    let again = patiently(|| put(&store, "a", kept, b"three"));
    // What no client of etcd's can tell: another value has the version of the one that was lost.
    assert_eq!(again, lost);
    put(&store, "a", lost, b"overwrites what it has never seen").unwrap();

    etcdctl(server.port, &["del", "tests/restored:manifest"]);

    let stale = conflict(put(&store, "a", lost, b"late"));
    assert_ne!(stale.current::<[u8]>().unwrap().version, lost);
    assert_eq!(&*stale.current::<[u8]>().unwrap().value, b"overwrites what it has never seen");
}

#[test]
fn after_a_restore_no_watcher_is_told_what_another_has_read_of_what_was_lost() {
    // Whether anybody watches while it happens, and how many commits follow: fewer than were lost, or more.
    for (watched, later) in [(true, 3), (false, 3), (true, 20)] {
        let mut server = node(&[]);
        let network = Proxy::new(server.address());
        let store = open(network.port(), "lost").unwrap();
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let start = changes.cursor().clone();
        (0..5).for_each(|number| assert!(put(&store, "kept", Expected::Any, &[number]).is_ok()));
        let backup = server.directory().join("backup");
        let backup = backup.to_str().unwrap();
        etcdctl(server.port, &["snapshot", "save", backup]);
        (0..8).for_each(|number| assert!(put(&store, "lost", Expected::Any, &[number]).is_ok()));
        // So that the store has read them.
        (0..13).for_each(|_| drop(changes.next().wait().unwrap()));

        let watching = watched.then(|| thread::spawn(move || changes.next().wait()));
        // The store sees of it what has become of it by then, and nothing in between.
        network.redirect(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        network.cut_all();
        restore(&mut server, backup);
        let other = open(server.port, "lost").unwrap();
        for number in 0..later {
            patiently(|| put(&other, "new", Expected::Any, &[number]));
        }
        network.redirect(server.address());
        if let Some(watching) = watching {
            // It ends, or goes on where nothing tells it.
            let _ = watching.join().unwrap();
        }

        let mut resumed = patiently(|| store.watch(Start::After(start.clone())).wait());
        let told: Vec<String> =
            (0..5 + later).map(|_| resumed.next().wait().unwrap().changes[0].id.to_string()).collect();
        let kept = told.iter().take_while(|id| *id == "kept").count();
        assert!(kept == 5 && told[5..].iter().all(|id| id == "new"), "{watched} {later}: {told:?}");
    }
}

/// Replaces the data of a node by a backup, as an operator does.
pub(super) fn restore(server: &mut Server, backup: &str) {
    server.kill();
    let data = server.directory().join("data");
    fs::remove_dir_all(&data).unwrap();
    let peer = server.argument("--listen-peer-urls").to_owned();
    let output = Command::new(program("etcdctl", &[], "etcd-client"))
        .env("ETCDCTL_API", "3")
        .args(["snapshot", "restore", backup, "--name", "one", "--data-dir", data.to_str().unwrap()])
        .args(["--initial-cluster", &format!("one={peer}"), "--initial-advertise-peer-urls", &peer])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.start_again();
}

#[test]
fn compacted_history_expires_cursors_and_watchers_and_nothing_else() {
    let server = node(&[]);
    let store = Arc::new(open(server.port, "compacted").unwrap());
    let first = store.watch(Start::Now).wait().unwrap().cursor().clone();
    let mut cursors: Vec<Cursor> = Vec::new();
    let mut changes = store.watch(Start::Now).wait().unwrap();
    for number in 0..100 {
        put(&store, "a", Expected::Any, &[number]).unwrap();
        cursors.push(changes.next().wait().unwrap().cursor);
    }

    let compacted = store.compact(50).wait().unwrap();

    assert!(compacted > 0);
    let Err(Error::Expired(expired)) = store.watch(Start::After(first)).wait() else { panic!("not expired") };
    let oldest = expired.oldest.unwrap();
    let mut resumed = store.watch(Start::After(oldest)).wait().unwrap();
    let mut rest = 0;
    while resumed.next().wait().unwrap().cursor != cursors[99] {
        rest += 1;
    }
    assert!((40..=50).contains(&rest), "{rest}");
    let alive = cursors.iter().filter(|cursor| store.watch(Start::After((*cursor).clone())).wait().is_ok());
    assert!((40..=51).contains(&alive.count()));
    // One that waits at the newest revision reads on.
    put(&store, "a", Expected::Any, b"more").unwrap();
    assert_eq!(changes.next().wait().unwrap().changes.len(), 1);
}

#[test]
fn a_watcher_left_behind_by_compaction_expires() {
    let server = node(&[]);
    let store = Arc::new(open(server.port, "behind").unwrap());
    let compacting = Arc::clone(&store);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let compactor = thread::spawn(move || {
        while stopped.try_recv().is_err() {
            compacting.compact(10).wait().unwrap();
        }
    });

    let watched: Arc<dyn Store<[u8]>> = store;
    let law = conformance::watch::a_watcher_left_behind_expires::<[u8]>;
    ifmatch::Reply::<(), Error>::pending(async move {
        law(&watched, 300).await;
        Ok(())
    })
    .wait()
    .unwrap();
    stop.send(()).unwrap();
    compactor.join().unwrap();
}

#[test]
fn a_write_whose_history_was_compacted_is_unknown_where_it_was_blind() {
    let server = node(&[]);
    let store = open(server.port, "blind").unwrap();
    let first = put(&store, "a", Expected::Absent, b"one").unwrap();
    let [blind, exact] = [(); 2].map(|()| drawn(&store));
    let commit = |id, expected: Expected, write| {
        store
            .commit(Commit::one(Entry::put(id, expected, (*b"two").into())).with_write(write))
            .wait()
            .unwrap()
    };
    commit("b", Expected::Any, blind);
    let committed = commit("a", first.into(), exact);
    put(&store, "c", Expected::Any, b"more").unwrap();
    assert!(matches!(store.resolve(blind).wait().unwrap(), Resolution::Applied(_)));

    store.compact(0).wait().unwrap();

    assert_eq!(store.resolve(blind).wait().unwrap(), Resolution::Unknown);
    assert_eq!(store.resolve(exact).wait().unwrap(), Resolution::Applied(committed));
}

#[test]
fn no_answer_of_another_history_carries_a_token_of_the_one_before() {
    let name = unused("silent");
    let stores = [(); 4].map(|()| open(NODE.port, &name).unwrap());
    put(&stores[0], "a", Expected::Absent, b"one").unwrap();
    let mut changes = stores[2].watch(Start::Now).wait().unwrap();
    stores.iter().for_each(|store| drop(store.get("a").wait().unwrap()));

    etcdctl(NODE.port, &["del", "--prefix", &format!("tests/{name}:")]);
    let new = put(&open(NODE.port, &name).unwrap(), "a", Expected::Absent, b"new").unwrap();

    assert_eq!(stores[0].get("a").wait().unwrap().unwrap().version, new);
    assert_eq!(stores[1].scan(Scan::new("", 10)).wait().unwrap().items[0].1.version, new);
    let Err(Error::Expired(_)) = changes.next().wait() else { panic!("it goes on") };
    assert!(matches!(conflict(put(&stores[3], "a", Expected::Absent, b"x")).kind(), Kind::Exists));
}

#[test]
fn a_later_format_is_refused_and_left_as_it_is() {
    let name = unused("later");
    let store = open(NODE.port, &name).unwrap();
    put(&store, "a", Expected::Absent, b"one").unwrap();
    let key = format!("tests/{name}:manifest");
    etcdctl(NODE.port, &["put", &key, "\u{2}later"]);

    let refused = open(NODE.port, &name).unwrap_err();
    let running = put(&store, "a", Expected::Any, b"two").unwrap_err();

    assert!(matches!(&refused, ConnectError::Foreign { found } if found.contains("format 2")), "{refused}");
    assert_eq!(running.outcome(), ifmatch::store::Outcome::NotApplied);
    assert_eq!(etcdctl(NODE.port, &["get", &key, "--print-value-only"]), "\u{2}later\n");
}

#[test]
fn bytes_that_do_not_decode_are_corrupt_and_give_way_to_who_names_them_or_is_blind() {
    let name = unused("corrupt");
    let store = open(NODE.port, &name).unwrap();
    let first = put(&store, "0", Expected::Absent, b"good").unwrap();
    put(&store, "b", Expected::Absent, b"good").unwrap();
    etcdctl(NODE.port, &["put", &format!("tests/{name}:r:a"), "s3cr3t garbage"]);

    let Err(Error::Corrupt(corrupt)) = store.get("a").wait() else { panic!("it decodes") };
    let before_it = store.scan(Scan::new("", 10)).wait().unwrap().without_values();
    assert_eq!((before_it.items, before_it.more), (vec![("0".into(), first)], true));
    let from_it = store.scan(Scan::new("", 10).after(Some("0"))).wait();
    assert!(matches!(from_it, Err(Error::Corrupt(_))));
    let ids = store.scan(Scan::new("", 10).without_values()).wait().unwrap();
    assert_eq!(ids.without_values().items[1], ("a".into(), corrupt.version()));
    assert!(matches!(put(&store, "a", Expected::Absent, b"x"), Err(Error::Corrupt(_))));
    assert!(!format!("{corrupt} {corrupt:?}").contains("s3cr3t"));
    assert_eq!(
        etcdctl(NODE.port, &["get", &format!("tests/{name}:r:a"), "--print-value-only"]),
        "s3cr3t garbage\n"
    );

    let version = put(&store, "a", corrupt.version(), b"mended").unwrap();
    assert_eq!(store.get("a").wait().unwrap().unwrap().version, version);

    // Etcd can't tell them from a value, and to read them first would cost every blind write a round trip.
    etcdctl(NODE.port, &["put", &format!("tests/{name}:r:a"), "s3cr3t garbage"]);
    let Err(Error::Corrupt(corrupt)) = store.get("a").wait() else { panic!("it decodes") };
    let blind = store.commit(Commit::one(Entry::put("a", Expected::Any, (*b"blind").into()))).wait().unwrap();
    assert_eq!(blind.receipts()[0].replaced, Some(corrupt.version()));
}

#[test]
fn many_stores_that_open_at_once_lay_one_namespace() {
    let name = unused("together");
    let stores: Vec<Etcd> = thread::scope(|scope| {
        let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| open(NODE.port, &name).unwrap())).collect();
        opening.into_iter().map(|opening| opening.join().unwrap()).collect()
    });

    let mut last = put(&stores[0], "a", Expected::Absent, b"0").unwrap();
    for store in &stores {
        assert_eq!(store.get("a").wait().unwrap().unwrap().version, last);
        last = put(store, "a", last, b"next").unwrap();
    }
}

#[test]
fn namespaces_and_prefixes_are_kept_apart() {
    let name = unused("apart");
    let stores = [
        Etcd::options().namespace(&*name).prefix("tests/x"),
        Etcd::options().namespace(format!("{name}-r")).prefix("tests/x"),
        Etcd::options().namespace(&*name).prefix("tests"),
    ]
    .map(|options| options.connect(&format!("etcd://127.0.0.1:{}", NODE.port)).wait().unwrap());

    for (number, store) in stores.iter().enumerate() {
        put(store, "a", Expected::Absent, &[number as u8]).unwrap();
    }
    for (number, store) in stores.iter().enumerate() {
        let page = store.scan(Scan::new("", 10)).wait().unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].1.value.as_deref(), Some(&[number as u8][..]));
    }
    drop(fresh());
}
