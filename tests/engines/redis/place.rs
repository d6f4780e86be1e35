//! What stands at the place of a namespace: nothing, another's, a later format, damage; and two stores on one place.

use std::sync::Arc;
use std::thread;

use ifmatch::engine::ConnectError;
use ifmatch::store::{Changes, Resolution, Scan, WriteId};
use ifmatch::{Commit, Entry, Error, Expected, Kind, Redis, Start, Store, Version};

use super::{drawn, fresh, open, say, server, shared, url};

fn put(store: &dyn Store<[u8]>, id: &str, expected: impl Into<Expected>) -> Result<Version, Error> {
    let commit = Commit::one(Entry::put(id, expected.into(), (*b"value").into()));
    Ok(store.commit(commit).wait()?.version().unwrap())
}

#[test]
fn after_a_wipe_no_old_version_matches_and_every_old_cursor_is_expired() {
    let server = server(&["--appendonly", "no"]);
    let store = open(Redis::options(), server.port);
    let applied = drawn(&store);
    let mut watching = store.watch(Start::Now).wait().unwrap();
    let early = watching.cursor().clone();
    let old = put(&*store, "a", Expected::Absent).unwrap();
    store.commit(Commit::one(Entry::delete("a", old)).with_write(applied)).wait().unwrap();
    let old = put(&*store, "a", Expected::Absent).unwrap();
    for _ in 0..3 {
        watching.next().wait().unwrap();
    }
    let late = watching.cursor().clone();

    assert_eq!(say(server.address(), "FLUSHALL"), "+OK");

    assert!(store.get("a").wait().unwrap().is_none());
    let missing = put(&*store, "a", old).unwrap_err();
    assert!(matches!(missing.conflict().unwrap().kind(), Kind::Missing), "{missing}");
    let new = put(&*store, "a", Expected::Absent).unwrap();
    assert_ne!(new, old);
    let stale = put(&*store, "a", old).unwrap_err();
    assert_eq!(stale.conflict().unwrap().found(), Some(new));
    for cursor in [early, late] {
        let Err(Error::Expired(expired)) = store.watch(Start::After(cursor)).wait() else { panic!() };
        let mut changes = store.watch(Start::After(expired.oldest.unwrap())).wait().unwrap();
        assert_eq!(changes.next().wait().unwrap().changes[0].version, new);
    }
    // It waited for the next commit all the time.
    assert!(matches!(watching.next().wait(), Err(Error::Expired(_))));
    // What was applied before is not known here, and not said not to have been.
    assert_eq!(store.resolve(applied).wait().unwrap(), Resolution::Unknown);
}

#[test]
fn every_call_begins_a_wiped_namespace_anew() {
    let server = server(&["--appendonly", "no"]);
    let store = open(Redis::options(), server.port);
    let wipe = || assert_eq!(say(server.address(), "FLUSHALL"), "+OK");

    wipe();
    assert!(store.scan(Scan::new("", 9)).wait().unwrap().items.is_empty());
    wipe();
    let mut changes: Changes<[u8]> = store.watch(Start::Now).wait().unwrap();
    let version = put(&*store, "a", Expected::Absent).unwrap();
    assert_eq!(changes.next().wait().unwrap().changes[0].version, version);
    // Drawn before the namespace began again: it may have been applied before.
    let earlier = drawn(&store);
    wipe();
    assert_eq!(store.resolve(earlier).wait().unwrap(), Resolution::Unknown);
    assert_eq!(store.resolve(drawn(&store)).wait().unwrap(), Resolution::NotApplied);
}

#[test]
fn a_later_format_is_refused_and_left_as_it_is() {
    let options = || Redis::options().namespace("later");
    let store = open(options(), shared().port);
    put(&*store, "a", Expected::Absent).unwrap();
    say(shared().address(), "HSET ifmatch:{later}:meta format 2");

    let refused = options().connect(url(shared().port)).wait().unwrap_err();
    assert!(matches!(&refused, ConnectError::Foreign { found } if found.contains("format `2`")), "{refused}");
    // Also by those who have it open.
    assert!(put(&*store, "b", Expected::Any).is_err());
    assert!(store.scan(Scan::new("", 9)).wait().is_err());
    assert!(store.watch(Start::Now).wait().is_err());
    assert!(store.resolve(WriteId::after(None)).wait().is_err());

    say(shared().address(), "HSET ifmatch:{later}:meta format 1");
    assert!(store.get("b").wait().unwrap().is_none());
    put(&*store, "a", Expected::Present).unwrap();
}

#[test]
fn keys_of_another_program_are_refused_and_left_as_they_are() {
    let address = shared().address();
    let cases = [
        ("foreign-1", "SET ifmatch:{foreign-1}:meta text"),
        ("foreign-2", "HSET ifmatch:{foreign-2}:meta name text"),
        ("foreign-3", "SADD ifmatch:{foreign-3}:ids text"),
        ("foreign-4", "XADD ifmatch:{foreign-4}:log * a b"),
        ("foreign-5", "SET ifmatch:{foreign-5}:log text"),
    ];
    for (namespace, command) in cases {
        say(address, command);
        let refused = Redis::options().namespace(namespace).connect(url(shared().port)).wait();
        assert!(matches!(refused, Err(ConnectError::Foreign { .. })), "{command}");
    }
    assert_eq!(say(address, "GET ifmatch:{foreign-1}:meta"), "text");
}

#[test]
fn damaged_bytes_are_told_of_left_and_given_up_only_to_who_names_them() {
    let options = || Redis::options().namespace("damaged");
    let store = open(options(), shared().port);
    let address = shared().address();
    let old = put(&*store, "a", Expected::Absent).unwrap();
    put(&*store, "a", old).unwrap();
    let first = put(&*store, "0", Expected::Absent).unwrap();
    let key = "ifmatch:{damaged}:v:a";
    let damages = [
        (format!("SETRANGE {key} 14 X"), true),
        (format!("SETRANGE {key} 0 \u{3}"), false),
        (format!("SET {key} x"), false),
    ];

    for (damage, tells_its_version) in damages {
        assert!(!say(address, &damage).starts_with('-'));
        let before = say(address, &format!("STRLEN {key}"));

        let Err(Error::Corrupt(corrupt)) = store.get("a").wait() else { panic!("{damage}") };
        let values = Scan::new("", 9);
        let before_it = store.scan(values).wait().unwrap().without_values();
        assert_eq!((before_it.items, before_it.more), (vec![("0".into(), first)], true), "{damage}");
        let from_it = store.scan(values.after(Some("0"))).wait();
        assert!(matches!(from_it, Err(Error::Corrupt(_))), "{damage}");
        let ids = store.scan(values.without_values()).wait().unwrap();
        assert_eq!((ids.items.len(), ids.more), if tells_its_version { (2, false) } else { (1, true) });
        let Err(Error::Corrupt(_)) = put(&*store, "a", old) else { panic!("{damage}") };
        assert_eq!(say(address, &format!("STRLEN {key}")), before);
        put(&*store, "a", corrupt.version()).unwrap();
        store.get("a").wait().unwrap().unwrap();
    }
}

#[test]
fn two_stores_that_begin_at_once_begin_one_namespace() {
    for round in 0..20 {
        let options = || Redis::options().namespace(format!("both-{round}"));
        let opened = thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| open(options(), shared().port)));
            threads.map(|thread| thread.join().unwrap())
        });

        let mut changes = opened[0].watch(Start::Now).wait().unwrap();
        let version = put(&*opened[1], "a", Expected::Absent).unwrap();
        assert_eq!(opened[2].get("a").wait().unwrap().unwrap().version, version);
        assert_eq!(changes.next().wait().unwrap().changes[0].version, version);
        let _resumed = opened[3].watch(Start::After(changes.cursor().clone())).wait().unwrap();
    }
}

#[test]
fn stores_of_two_processes_share_a_namespace_and_no_update_is_lost() {
    let namespace = "processes";
    let increments = |store: Arc<dyn Store<[u8]>>| {
        for _ in 0..200 {
            loop {
                let current = store.get("count").wait().unwrap().unwrap();
                let next = u64::from_be_bytes((*current.value).try_into().unwrap()) + 1;
                let put = Entry::put("count", current.version, Arc::from(next.to_be_bytes()));
                match store.commit(Commit::one(put)).wait() {
                    Ok(_) => break,
                    Err(Error::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    };
    let store = open(Redis::options().namespace(namespace), shared().port);
    let zero = Entry::put("count", Expected::Absent, Arc::from(0_u64.to_be_bytes()));
    store.commit(Commit::one(zero)).wait().unwrap();

    // Stores share nothing but the server: separate connections, as separate processes have.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| increments(open(Redis::options().namespace(namespace), shared().port)));
        }
    });

    let count = store.get("count").wait().unwrap().unwrap();
    assert_eq!(u64::from_be_bytes((*count.value).try_into().unwrap()), 800);
}

#[test]
fn a_store_survives_the_runtime_it_was_opened_without() {
    let store = fresh().connect(url(shared().port)).wait().unwrap();

    // Opened on a plain thread, polled by tasks of another runtime, dropped within one of them.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let put = Entry::put("a", Expected::Absent, (*b"v").into());
        store.commit(Commit::one(put)).await.unwrap();
        let mut changes = store.watch(Start::Now).await.unwrap();
        store.commit(Commit::one(Entry::delete("a", Expected::Present))).await.unwrap();
        assert!(changes.next().await.unwrap().changes[0].is_delete());
        drop(store);
        drop(changes);
    });
}
