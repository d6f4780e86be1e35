//! Which write ids a namespace remembers, which it refuses, and what becomes of them when the engine is wiped or restored.

use ifmatch::store::{Committed, Refusal, Resolution, WriteId};
use ifmatch::{Collection, Commit, Entry, Error, Etcd, Expected, Store, Version};

use super::history::{open, restore};
use super::{NODE, drawn, etcdctl, node, unused, url};
use crate::faults::patiently;

/// A store that remembers little.
fn small(name: &str, port: u16) -> Etcd {
    Etcd::options().namespace(name).history(64).connect(&url(port)).wait().unwrap()
}

/// Sends a blind put of `a`.
fn send(store: &Etcd, value: &[u8], write: WriteId) -> Result<Committed, Error> {
    let put = Entry::put("a", Expected::Any, value.into());
    store.commit(Commit::one(put).with_write(write)).wait()
}

/// Commits so many times, each time under a fresh id.
fn write_on(store: &Etcd, commits: usize) {
    let mut seen = drawn(store).place();
    for _ in 0..commits {
        seen = send(store, b"more", WriteId::after(seen)).unwrap().version();
    }
}

/// Commits until what became of a write is forgotten; a task of the store's own forgets.
fn write_until_forgotten(store: &Etcd, write: WriteId) {
    for _ in 0..1_000 {
        if store.resolve(write).wait().unwrap() == Resolution::Unknown {
            return;
        }
        write_on(store, 1);
    }
    panic!("nothing is forgotten");
}

fn assert_outside(store: &Etcd, write: WriteId) {
    let refused = send(store, b"late", write);
    assert!(matches!(refused, Err(Error::Refused(Refusal::Outside { .. }))), "{refused:?}");
    assert_eq!(store.resolve(write).wait().unwrap(), Resolution::Unknown);
}

fn assert_closed(store: &Etcd, write: WriteId) {
    let refused = send(store, b"late", write);
    assert!(matches!(refused, Err(Error::Refused(Refusal::Closed { .. }))), "{refused:?}");
}

/// How many keys of a kind a namespace has.
fn keys(namespace: &str, kind: &str) -> usize {
    let keys = etcdctl(NODE.port, &["get", "--prefix", &format!("tests/{namespace}:{kind}"), "--keys-only"]);
    keys.lines().filter(|line| !line.is_empty()).count()
}

/// A version of the same history, so many revisions later.
fn later(version: Version, revisions: u64) -> Version {
    (version.to_bits().get() + (revisions << 24)).to_string().parse().unwrap()
}

#[test]
fn a_forgotten_commit_is_not_applied_again_over_newer_data() {
    let name = unused("forgotten");
    let [store, other] = [(); 2].map(|()| small(&name, NODE.port));
    let sent = drawn(&store);
    send(&store, b"old", sent).unwrap();

    write_until_forgotten(&store, sent);
    send(&store, b"newer", drawn(&store)).unwrap();

    for store in [&store, &other, &small(&name, NODE.port)] {
        assert_outside(store, sent);
        assert_eq!(&*store.get("a").wait().unwrap().unwrap().value, b"newer");
        // Who was refused is told where to draw anew.
        send(store, b"newer", drawn(store)).unwrap();
    }
}

#[test]
fn a_collection_that_was_idle_for_longer_than_is_remembered_writes_on() {
    let name = unused("idle");
    let [idle, busy] = [(); 2].map(|()| small(&name, NODE.port));
    let numbers = Collection::<u64>::json(idle);
    numbers.create("number", 1).wait().unwrap();
    let drawn_then = numbers.write_id();

    write_until_forgotten(&busy, drawn_then);
    write_on(&busy, 100);

    numbers.modify("number", |number| *number += 1).wait().unwrap();
    assert_eq!(*numbers.fetch("number").wait().unwrap().value, 2);
}

#[test]
fn commits_are_forgotten_in_the_order_in_which_they_were_applied() {
    let store = small(&unused("order"), NODE.port);
    let [first, late] = [(); 2].map(|()| drawn(&store));
    send(&store, b"first", first).unwrap();
    write_on(&store, 60);
    // Drawn long ago, and sent only now.
    let committed = send(&store, b"late", late).unwrap();

    write_until_forgotten(&store, first);

    // It may be below the floor by now, and is remembered.
    assert_eq!(store.resolve(late).wait().unwrap(), Resolution::Applied(committed.clone()));
    assert_eq!(send(&store, b"again", late).unwrap(), committed);
}

#[test]
fn asking_after_more_write_ids_than_are_remembered_shuts_out_no_commit() {
    let name = unused("closed");
    let [store, other] = [(); 2].map(|()| small(&name, NODE.port));
    let seen = drawn(&store).place();
    let mut closed = Vec::new();
    for number in 0..300 {
        assert_eq!(
            store.resolve(WriteId::from_bits(u128::MAX - number)).wait().unwrap(),
            Resolution::Unknown
        );
        let write = WriteId::after(seen);
        match store.resolve(write).wait().unwrap() {
            Resolution::NotApplied => closed.push(write),
            resolved => assert_eq!(resolved, Resolution::Unknown),
        }
    }
    assert_eq!((closed.len(), keys(&name, "c:")), (64, 64));
    // A store that asks for the first time learns only then that there are enough.
    let resolved = [(); 8].map(|()| other.resolve(WriteId::after(seen)).wait().unwrap());
    assert!(resolved[1..].iter().all(|resolved| *resolved == Resolution::Unknown), "{resolved:?}");
    for store in [&store, &other] {
        closed.iter().for_each(|write| assert_closed(store, *write));
        assert_eq!(store.resolve(closed[0]).wait().unwrap(), Resolution::NotApplied);
        write_on(store, 10);
    }

    write_until_forgotten(&store, closed[0]);
    write_on(&store, 100);

    for store in [&store, &other, &small(&name, NODE.port)] {
        closed.iter().for_each(|write| assert_outside(store, *write));
    }
    // Those that the floor has passed have left room.
    assert_eq!(keys(&name, "c:"), 0);
    for store in [&store, &other] {
        let write = drawn(store);
        assert_eq!(store.resolve(write).wait().unwrap(), Resolution::NotApplied);
        assert_closed(store, write);
    }
}

#[test]
fn ids_from_ahead_and_behind_refuse_no_fresh_commit_however_many_are_asked_for() {
    let name = unused("skewed");

    crate::writes::asking_refuses_no_fresh_commit([&small(&name, NODE.port), &small(&name, NODE.port)], 64);
}

#[test]
fn an_id_from_ahead_is_refused_until_the_store_comes_there_and_no_longer() {
    // All who use one count its revisions on.
    let server = node(&[]);
    let [store, other] = [(); 2].map(|()| open(server.port, "ahead").unwrap());
    let newest = send(&store, b"one", drawn(&store)).unwrap().version().unwrap();
    let there = later(newest, 200);
    let ahead = [(); 2].map(|()| WriteId::after(Some(there)));
    for store in [&store, &other] {
        ahead.iter().for_each(|write| assert_outside(store, *write));
    }

    // What was written through another store, this one has not heard of: it is not ahead of the engine.
    let seen = send(&other, b"two", drawn(&other)).unwrap().version();
    let [write, never] = [(); 2].map(|()| WriteId::after(seen));
    let applied = send(&store, b"three", write).unwrap();
    assert_eq!(other.resolve(write).wait().unwrap(), Resolution::Applied(applied));
    let heard_of = send(&other, b"four", drawn(&other)).unwrap().version();
    assert_eq!(store.resolve(never).wait().unwrap(), Resolution::NotApplied);
    assert_eq!(store.resolve(WriteId::after(heard_of)).wait().unwrap(), Resolution::NotApplied);
    assert_closed(&other, never);

    while send(&other, b"more", drawn(&other)).unwrap().version().unwrap().to_bits() < there.to_bits() {}
    send(&store, b"five", ahead[0]).unwrap();
    assert_eq!(store.resolve(ahead[1]).wait().unwrap(), Resolution::NotApplied);
}

#[test]
fn after_a_wipe_no_write_id_of_before_is_applied_or_said_not_to_have_been() {
    let name = unused("wiped-writes");
    let [store, other] = [(); 2].map(|()| open(NODE.port, &name).unwrap());
    let [sent, closed, unsent] = [(); 3].map(|()| drawn(&store));
    send(&store, b"one", sent).unwrap();
    assert_eq!(store.resolve(closed).wait().unwrap(), Resolution::NotApplied);

    etcdctl(NODE.port, &["del", "--prefix", &format!("tests/{name}:")]);

    for store in [&store, &other, &open(NODE.port, &name).unwrap()] {
        for write in [sent, closed, unsent, WriteId::after(None)] {
            assert_outside(store, write);
        }
        assert!(store.get("a").wait().unwrap().is_none());
    }
    send(&other, b"two", drawn(&other)).unwrap();
    assert_eq!(store.resolve(drawn(&store)).wait().unwrap(), Resolution::NotApplied);
}

#[test]
fn a_namespace_laid_anew_forgets_nothing_that_was_remembered() {
    let name = unused("anew");
    let store = open(NODE.port, &name).unwrap();
    let [sent, closed, unsent] = [(); 3].map(|()| drawn(&store));
    let committed = send(&store, b"one", sent).unwrap();
    assert_eq!(store.resolve(closed).wait().unwrap(), Resolution::NotApplied);

    // As after a restore.
    etcdctl(NODE.port, &["del", &format!("tests/{name}:manifest")]);

    for store in [&store, &open(NODE.port, &name).unwrap()] {
        assert_eq!(send(store, b"again", sent).unwrap(), committed);
        assert_closed(store, closed);
        assert_outside(store, unsent);
        assert_eq!(&*store.get("a").wait().unwrap().unwrap().value, b"one");
    }
    send(&store, b"two", drawn(&store)).unwrap();
}

#[test]
fn a_store_that_runs_across_a_restore_takes_no_id_of_what_was_lost_for_one_of_its_own() {
    let mut server = node(&[]);
    let store = open(server.port, "across").unwrap();
    send(&store, b"kept", drawn(&store)).unwrap();
    let backup = server.directory().join("backup");
    let backup = backup.to_str().unwrap();
    etcdctl(server.port, &["snapshot", "save", backup]);
    write_on(&store, 400);
    let [first, lost] = [(); 2].map(|()| drawn(&store));

    restore(&mut server, backup);

    // The first call can't know of it yet, the second does.
    patiently(|| send(&store, b"first", first));
    assert_outside(&store, lost);
    // What was drawn in a future that is none any more keeps out nobody once it is forgotten.
    let small = small("across", server.port);
    write_on(&small, 100);
    write_until_forgotten(&small, first);
    write_on(&small, 20);
    assert_outside(&store, lost);
}

#[test]
fn another_commit_under_a_used_id_is_refused_also_by_another_store() {
    let name = unused("used");
    let [store, other] = [(); 2].map(|()| open(NODE.port, &name).unwrap());
    let write = drawn(&store);
    let committed = send(&store, b"one", write).unwrap();
    let both = || {
        let put = Entry::put("a", Expected::Any, (*b"two").into());
        Commit::one(put).and(Entry::put("b", Expected::Any, (*b"two").into())).with_write(write)
    };

    for store in [&store, &other] {
        let refused = store.commit(both()).wait();
        assert!(matches!(refused, Err(Error::Refused(Refusal::Reused { .. }))), "{refused:?}");
    }

    assert_eq!(&*store.get("a").wait().unwrap().unwrap().value, b"one");
    assert!(store.get("b").wait().unwrap().is_none());
    assert_eq!(send(&other, b"again", write).unwrap(), committed);
}
