//! What holds under load, behind locks, and with little time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::engine::Deadlines;
use ifmatch::store::{Outcome, Resolution};
use ifmatch::{Commit, Entry, Error, Expected, Postgres, Start, Store};

use super::pooled::bouncer_of;
use super::{Session, fresh_name, open, options, psql, server, url};
use crate::patience::{Ending, until};
use crate::proxy::Proxy;

fn put<'c>(id: &'c str) -> Entry<'c, [u8]> {
    Entry::put(id, Expected::Any, (*b"v").into())
}

/// How many servers of connections wait for a lock for an application, those that were given up included. One that has let
/// go of its statement is still there for a moment, when the next one has its place already.
fn backends(port: u16, application: &str) -> usize {
    let count = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{application}' AND wait_event_type = 'Lock'"
    );
    psql(port, &count).parse().unwrap()
}

/// Reads from 16 threads while a table is locked, and how many backends were there at most.
fn read_behind_a_lock(store: &Postgres, port: u16, application: &str) -> usize {
    let mut most = 0;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _holder = Session::begin(port, "LOCK TABLE ifmatch IN ACCESS EXCLUSIVE MODE");
        let _ending = Ending::new(&done);
        for _ in 0..16 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let _ = store.get("a").wait();
                }
            });
        }
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            most = most.max(backends(port, application));
        }
    });
    most
}

#[test]
fn reads_behind_a_locked_table_have_no_more_backends_than_connections() {
    let server = server(&["fsync=off"]);
    let deadlines = Deadlines { read: Duration::from_millis(200), ..Deadlines::default() };
    let store = open(&options().connections(4).deadlines(deadlines), server.port);
    store.commit(Commit::one(put("a"))).wait().unwrap();

    let most = read_behind_a_lock(&store, server.port, "ifmatch");

    println!("{most} backends");
    assert!((1..=4).contains(&most), "{most} backends");
    assert!(crate::faults::patiently(|| store.get("a").wait()).is_some());
}

#[test]
fn so_it_is_behind_a_proxy_that_pools_transactions() {
    let server = server(&["fsync=off"]);
    let bouncer = bouncer_of(server.port, 4, &["application_name_add_host = 0"]);
    let deadlines = Deadlines { read: Duration::from_millis(200), ..Deadlines::default() };
    let store = open(&options().unprepared().connections(16).deadlines(deadlines), bouncer.port);
    store.commit(Commit::one(put("a"))).wait().unwrap();

    let most = read_behind_a_lock(&store, server.port, "ifmatch");

    println!("{most} backends");
    assert!((1..=4).contains(&most), "{most} backends");
    assert!(crate::faults::patiently(|| store.get("a").wait()).is_some());
}

#[test]
fn a_call_that_is_dropped_or_given_up_leaves_no_statement_behind() {
    let server = server(&["fsync=off"]);
    // Longer than the lock is held: nothing ends them but a cancellation.
    let deadlines = Deadlines { read: Duration::from_secs(60), ..Deadlines::default() };
    let store = open(&options().deadlines(deadlines), server.port);
    store.commit(Commit::one(put("a"))).wait().unwrap();
    let mut holder = Session::begin(server.port, "LOCK TABLE ifmatch IN ACCESS EXCLUSIVE MODE");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ifmatch' AND wait_event_type = 'Lock'";

    for _ in 0..4 {
        let mut call = std::pin::pin!(store.get("a"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end && psql(server.port, waiting) == "0" {
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
    }
    // All of them are dropped, and the table is locked still.
    until("they wait for the lock still", || psql(server.port, waiting) == "0");
    holder.run("SELECT count(*) FROM ifmatch");
}

#[test]
fn many_large_commits_at_once_leave_room_for_others() {
    let server = server(&["fsync=off", "max_connections=100"]);
    let stores = [(); 2].map(|()| open(&options(), server.port));

    thread::scope(|scope| {
        let holder = Session::begin(server.port, "LOCK TABLE ifmatch_places");
        let workers: Vec<_> = (0..16)
            .map(|worker| {
                let store = &stores[worker % 2];
                scope.spawn(move || {
                    let ids: Vec<String> = (0..1_000).map(|number| format!("{worker}/{number}")).collect();
                    for _ in 0..3 {
                        store.commit(ids.iter().map(|id| put(id)).collect()).wait().unwrap();
                    }
                })
            })
            .collect();
        // All have their locks, and wait for this one.
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ifmatch' AND wait_event_type = 'Lock'";
        until("they do not wait", || psql(server.port, waiting) == "16");
        drop(holder);
        // Somebody else's statements need locks too.
        let mut tables = 0;
        while !workers.iter().all(|worker| worker.is_finished()) {
            psql(
                server.port,
                &format!("BEGIN; CREATE TABLE beside_{tables} (id integer PRIMARY KEY); COMMIT"),
            );
            tables += 1;
        }
    });
}

#[test]
fn commits_that_lock_ids_and_commits_that_lock_parts_exclude_each_other() {
    let server = server(&["fsync=off"]);
    let name = fresh_name();
    let stores = [(); 2].map(|()| open(&Postgres::options().namespace(&name), server.port));
    let ids: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let added = AtomicUsize::new(0);
    // Each adds one to the numbers of so many ids in one commit.
    let add = |store: &Postgres, many: usize| {
        let read = |id: &String| store.get(id).wait().unwrap();
        loop {
            let found: Vec<_> = ids[..many].iter().map(read).collect();
            let entries = ids.iter().zip(&found).map(|(id, found)| {
                let number =
                    found.as_ref().map_or(0, |found| u32::from_be_bytes(found.value[..].try_into().unwrap()));
                let expected =
                    found.as_ref().map_or(Expected::Absent, |found| Expected::Version(found.version));
                Entry::put(id, expected, (number + 1).to_be_bytes().into())
            });
            match store.commit(entries.collect()).wait() {
                Ok(_) => break,
                Err(Error::Conflict(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        added.fetch_add(many, Ordering::SeqCst);
    };

    thread::scope(|scope| {
        for (worker, many) in [1, 1, 1, 5, 32, 33, 100].into_iter().enumerate() {
            let (store, add) = (&stores[worker % 2], &add);
            scope.spawn(move || (0..(400 / many).max(20)).for_each(|_| add(store, many)));
        }
    });

    let sum: usize = ids
        .iter()
        .map(|id| {
            u32::from_be_bytes(stores[0].get(id).wait().unwrap().unwrap().value[..].try_into().unwrap())
                as usize
        })
        .sum();
    assert_eq!(sum, added.into_inner());
}

#[test]
fn calls_shorter_than_it_takes_to_connect_recover_after_a_cut() {
    let server = server(&["fsync=off"]);
    let network = Proxy::new(server.address());
    let deadlines = Deadlines {
        connect: Duration::from_secs(5),
        read: Duration::from_millis(130),
        commit: Duration::from_millis(130),
    };
    // While it is opened there is no hurry.
    let store = options().deadlines(deadlines).connect(&url(network.port())).wait().unwrap();
    // There is time to ask once, and not for a statement to be prepared before.
    network.move_away(Duration::from_millis(80));
    store.commit(Commit::one(put("a"))).wait().ok();
    network.cut_all();

    let call = |number: usize| match number % 2 {
        0 => store.get("a").wait().is_ok(),
        _ => store.commit(Commit::one(put("a"))).wait().is_ok(),
    };
    let answered = (0..100).filter(|number| call(*number)).count();

    println!("{answered} of 100 answered");
    assert!(answered > 70, "{answered} of 100 answered");
}

#[test]
fn a_feed_that_nobody_asks_keeps_no_connection() {
    let store = open(&options().connections(1), super::shared_server().port);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    store.commit(Commit::one(put("a"))).wait().unwrap();
    {
        let mut next = std::pin::pin!(changes.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = next.as_mut().poll(&mut context);
    }

    assert!(store.get("a").wait().unwrap().is_some());
}

#[test]
fn a_commit_that_waits_for_a_synchronous_replica_is_not_told_as_applied() {
    let server = server(&["fsync=off"]);
    let deadlines =
        Deadlines { read: Duration::from_secs(1), commit: Duration::from_secs(1), ..Deadlines::default() };
    let store = open(&options().deadlines(deadlines), server.port);
    let write = super::drawn(&store);
    let set = |change: &str| {
        psql(server.port, &format!("ALTER SYSTEM {change}"));
        psql(server.port, "SELECT pg_reload_conf()");
    };
    let send = || store.commit(Commit::one(put("a")).with_write(write)).wait();
    // There is none of that name.
    set("SET synchronous_standby_names = 'standby'");
    until("the setting is not there", || psql(server.port, "SHOW synchronous_standby_names") == "standby");

    // The first is under way when it is dropped, the second when its time is over.
    {
        let mut call = std::pin::pin!(store.commit(Commit::one(put("a")).with_write(write)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while psql(server.port, waits) == "0" {
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
    }
    for _ in 0..3 {
        let sent = send();
        assert!(
            matches!(&sent, Err(error) if error.outcome() == Outcome::Unknown || error.conflict().is_none()),
            "{sent:?}"
        );
        let resolved = store.resolve(write).wait();
        assert!(resolved.is_err(), "{resolved:?}");
    }

    set("RESET synchronous_standby_names");
    let resolved = crate::faults::patiently(|| store.resolve(write).wait());
    assert!(matches!(resolved, Resolution::Applied(_)), "{resolved:?}");
    assert!(send().is_ok());
}
