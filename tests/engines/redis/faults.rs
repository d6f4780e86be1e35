//! Redis behind an unreliable network, killed, restarted and paused: what the checker says of all answers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::engine::Deadlines;
use ifmatch::store::{Outcome, Refusal, Resolution, Scan, WriteId};
use ifmatch::{Collection, Commit, Entry, Error, Expected, Retry, Start, Store};

use super::{STRICT, drawn, fresh, open, say, server, shared, short, store, url};
use crate::faults::newest;
use crate::faults::{self, Totals, calls_go_well_at_a_distance, every_deadline_recovers, patiently, runs};
use crate::patience::until;
use crate::proxy::{Fault, Proxy};

fn workload(seed: u64) -> Workload {
    Workload { threads: 8, calls: 625, ..Workload::new(seed) }
}

#[test]
fn one_order_explains_all_answers_through_a_network_that_loses_them() {
    let (proxy, mut totals) = (Proxy::new(shared().address()), Totals::default());

    for seed in 0..runs(20) {
        let store = open(fresh().deadlines(short()), proxy.port());
        let disturb = |done: &std::sync::atomic::AtomicBool| {
            proxy.disturb(seed, 30);
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            proxy.calm_down();
        };
        totals.add(&faults::run(store, &workload(seed), Numbering::StoreWide, disturb));
    }

    let dropped = proxy.happened(Fault::DropAnswer) + proxy.happened(Fault::CutAnswer);
    println!("{dropped} answers dropped: {totals:?}");
    assert!(dropped >= 500 && totals.unknown >= 500, "{dropped}, {totals:?}");
    assert!(totals.resolved_applied > 0 && totals.resolved_not_applied > 0, "{totals:?}");
    assert!(totals.operations as u64 >= runs(20) * 5_000, "{totals:?}");
}

#[test]
fn a_server_that_is_killed_and_started_again_keeps_all_that_it_acknowledged() {
    let mut server = server(&STRICT);
    let (mut totals, mut kills) = (Totals::default(), 0);

    for seed in 0..runs(3) {
        let store = open(fresh().deadlines(short()), server.port);
        let disturb = |done: &std::sync::atomic::AtomicBool| {
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(60));
                server.kill();
                server.start_again();
                kills += 1;
            }
        };
        totals.add(&faults::run(store, &workload(100 + seed), Numbering::StoreWide, disturb));
    }

    println!("{kills} kills: {totals:?}");
    assert!(kills >= 6 && totals.unknown > 0, "{kills}, {totals:?}");
}

#[test]
fn a_server_that_is_paused_loses_and_repeats_nothing() {
    let server = server(&["--appendonly", "no"]);
    let store = open(fresh().deadlines(short()), server.port);
    let disturb = |done: &std::sync::atomic::AtomicBool| {
        while !done.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
            server.pause();
            thread::sleep(Duration::from_millis(500));
            server.go_on();
        }
    };

    let totals = faults::run(store, &workload(200), Numbering::StoreWide, disturb);

    assert!(totals.unknown > 0, "{totals:?}");
}

#[test]
fn ten_thousand_dropped_calls_leave_the_old_state_or_the_new_one() {
    let store: Arc<dyn Store<[u8]>> = Arc::new(store());

    faults::dropped_calls_leave_the_old_state_or_the_new_one(&store, "pair", runs(10_000));
}

#[test]
fn a_deadline_on_a_paused_server_is_unknown_and_resolves_later() {
    let server = server(&["--appendonly", "no"]);
    let store = open(fresh().deadlines(short()), server.port);
    let (arrives, late) = (drawn(&store), drawn(&store));
    let put = |id, write| Commit::one(Entry::put(id, Expected::Absent, (*b"value").into())).with_write(write);
    // So that the server knows the script.
    store.commit(put("before", drawn(&store))).wait().unwrap();

    server.pause();
    let unanswered = store.commit(put("a", arrives)).wait().unwrap_err();
    let unread = store.get("a").wait().unwrap_err();
    server.go_on();

    let Error::Failed(failure) = &unanswered else { panic!("{unanswered}") };
    assert_eq!((failure.outcome(), failure.write()), (Outcome::Unknown, Some(arrives)));
    assert_eq!(unread.outcome(), Outcome::NotApplied);
    // It lay in the server's socket, and was carried out before the question could be asked.
    let resolved = patiently(|| store.resolve(arrives).wait());
    let Resolution::Applied(committed) = resolved else { panic!("{resolved:?}") };
    let stored = patiently(|| store.get("a").wait()).unwrap();
    assert_eq!(committed.version(), Some(stored.version));

    // One that never arrived is shut out, should it come after all.
    assert_eq!(store.resolve(late).wait().unwrap(), Resolution::NotApplied);
    let refused = store.commit(put("b", late)).wait().unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::Closed { write }) if write == late), "{refused}");
}

#[test]
fn a_lost_answer_is_settled_for_the_user_of_a_namespace() {
    let proxy = Proxy::new(shared().address());
    let store = fresh().connect(url(proxy.port())).wait().unwrap();
    let notes = Collection::<String>::json(store).with_retry(Retry::default());
    let mut expected = notes.create("a", "0".to_owned()).wait().unwrap();

    for round in 1..=20 {
        proxy.plan(if round % 2 == 0 { Fault::DropAnswer } else { Fault::LoseRequest });
        expected = notes.replace("a", expected.version, round.to_string()).wait().unwrap();
        assert_eq!(notes.fetch("a").wait().unwrap(), expected);
    }
    assert_eq!(proxy.happened(Fault::DropAnswer), 10);
}

#[test]
fn a_connection_that_broke_while_nobody_used_it_costs_no_call() {
    let proxy = Proxy::new(shared().address());
    let store = fresh().connect(url(proxy.port())).wait().unwrap();

    for round in 0..50_u64 {
        let put = Commit::one(Entry::put("a", Expected::Any, Arc::from(round.to_be_bytes())));
        store.commit(put).wait().unwrap();
        proxy.cut_all();
        // The driver closes its end once it has seen that the other is closed, and has told the store before.
        until("the driver does not see the end", || connections_to(proxy.port()) == 0);
    }
}

/// The connections of this machine to a port that are not closed by those who made them.
fn connections_to(port: u16) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!(":{port:04X}");
    let open = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Established, or closed by the peer alone.
        fields[2].ends_with(&peer) && matches!(fields[3], "01" | "08")
    };
    table.lines().skip(1).filter(open).count()
}

#[test]
fn a_script_cache_that_was_emptied_is_filled_again() {
    let server = server(&["--appendonly", "no"]);
    let store = fresh().connect(url(server.port)).wait().unwrap();
    let mut changes = store.watch(Start::Now).wait().unwrap();

    for round in 0..20_u64 {
        assert_eq!(say(server.address(), "SCRIPT FLUSH"), "+OK");
        let put = Entry::put("a", Expected::Any, Arc::from(round.to_be_bytes()));
        let committed = store.commit(Commit::one(put)).wait().unwrap();
        assert_eq!(say(server.address(), "SCRIPT FLUSH"), "+OK");
        assert_eq!(Some(changes.next().wait().unwrap().changes[0].version), committed.version());
        assert_eq!(store.scan(Scan::new("", 9)).wait().unwrap().items.len(), 1);
    }
}

#[test]
fn what_redis_refuses_to_run_is_not_applied() {
    let mut server = server(&["--appendonly", "no"]);
    let store = open(fresh(), server.port);
    let seen = drawn(&store).place();
    let put =
        |id| Commit::one(Entry::put(id, Expected::Any, (*b"value").into())).with_write(WriteId::after(seen));
    store.commit(put("a")).wait().unwrap();
    let refused = |store: &Arc<dyn Store<[u8]>>| {
        let error = store.commit(put("b")).wait().unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
        std::error::Error::source(&error).unwrap().to_string()
    };

    say(server.address(), "REPLICAOF 127.0.0.1 1");
    assert!(refused(&store).contains("READONLY"));
    // What it would answer may be older than what was acknowledged elsewhere.
    let read = [
        store.get("a").wait().err(),
        store.scan(Scan::new("", 9)).wait().err(),
        store.watch(Start::Now).wait().err(),
        store.resolve(WriteId::after(None)).wait().err(),
    ];
    for error in read {
        let error = error.expect("a replica is not read");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("READONLY"), "{error}");
    }
    let replica = fresh().connect(url(server.port)).wait().unwrap_err();
    assert_eq!(replica.to_string(), "the engine refused to take writes");
    say(server.address(), "REPLICAOF NO ONE");
    store.commit(put("c")).wait().unwrap();

    say(server.address(), "CONFIG SET min-replicas-to-write 1");
    assert!(refused(&store).contains("NOREPLICAS"));
    say(server.address(), "CONFIG SET min-replicas-to-write 0");
    assert!(store.get("b").wait().unwrap().is_none());

    server.kill();
    // This call may be the one that finds out.
    let _ = store.commit(put("b")).wait();
    assert!(refused(&store).contains("cannot connect"));
    let listed: Result<_, Error> = store.scan(Scan::new("", 9)).wait();
    assert_eq!(listed.unwrap_err().outcome(), Outcome::NotApplied);
}

#[test]
fn every_call_ends_by_its_deadline_where_nothing_answers() {
    let proxy = Proxy::new(shared().address());
    let limit = Duration::from_millis(50);
    let deadlines = Deadlines { connect: limit, read: limit, commit: limit };
    let store = open(fresh().deadlines(deadlines), proxy.port());
    let seen = patiently(|| newest(&store));

    for _ in 0..4 {
        proxy.plan(Fault::HalfOpen);
        assert_eq!(store.get("a").wait().unwrap_err().outcome(), Outcome::NotApplied);
        proxy.plan(Fault::HalfOpen);
        let put = Entry::put("a", Expected::Any, (*b"value").into());
        let write = seen.write();
        let _ = store.commit(Commit::one(put).with_write(write)).wait().unwrap_err();
        proxy.cut_all();
        assert_eq!(patiently(|| store.resolve(write).wait()), Resolution::NotApplied);
    }
}

#[test]
fn a_store_with_tight_deadlines_opens_far_away_and_recovers_from_a_cut() {
    let server = server(&["--appendonly", "no"]);
    let proxy = Proxy::new(server.address());
    proxy.move_away(Duration::from_millis(30));
    let connect = Duration::from_secs(5);
    let limits = |limit| Deadlines { connect, read: limit, commit: limit };

    // A deadline of one round trip and some more, and a server that knows no script yet.
    let store =
        fresh().deadlines(limits(Duration::from_millis(50))).connect(url(proxy.port())).wait().unwrap();
    patiently(|| store.commit(Commit::one(Entry::put("a", Expected::Any, (*b"value").into()))).wait());
    patiently(|| store.get("a").wait()).unwrap();
    // To send one only when it is missed would take each first call two round trips.
    assert!(!say(server.address(), "INFO errorstats").contains("NOSCRIPT"));

    let open = |limit| fresh().deadlines(limits(limit)).connect(url(proxy.port())).wait().unwrap();
    calls_go_well_at_a_distance(&proxy, &open(Duration::from_millis(100)));
    every_deadline_recovers(&proxy, open);
}

#[cfg(feature = "idempotency")]
#[test]
fn a_keyed_request_whose_answer_is_lost_is_applied_once_and_told_the_same() {
    let proxy = Proxy::new(shared().address());
    let store = open(fresh().deadlines(short()), proxy.port());
    crate::keys::each_is_applied_once_and_told_the_same(store, &proxy, 3);
}
