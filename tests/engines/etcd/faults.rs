//! A node behind a network that loses requests and answers, and a node that crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::store::{Abilities, Changes, Committed, Listed, Outcome, Page, Resolution, Scan, WriteId};
use ifmatch::{Commit, Entry, Error, Etcd, Expected, Reply, Start, Store, Versioned};

use ifmatch::engine::Deadlines;

use super::{NODE, drawn, node, short, unused, url};
use crate::faults::{
    self, Totals, calls_go_well_at_a_distance, dropped_calls_leave_the_old_state_or_the_new_one,
    every_deadline_recovers, newest, patiently, runs,
};
use crate::proxy::{Fault, Proxy};

/// 8 clients that make 5,000 calls.
fn workload(seed: u64) -> Workload {
    Workload { threads: 8, calls: 625, ..Workload::new(seed) }
}

fn store(port: u16) -> Arc<dyn Store<[u8]>> {
    let options = Etcd::options().namespace(unused("faults")).deadlines(short());
    Arc::new(options.connect(&url(port)).wait().unwrap())
}

#[test]
fn no_answer_that_is_lost_is_misjudged() {
    let mut totals = Totals::default();
    let proxy = Proxy::new(NODE.address());
    for seed in 0..runs(20) {
        let store = store(proxy.port());
        totals.add(&faults::run(store, &workload(seed), Numbering::StoreWide, |done| {
            proxy.disturb(seed, 80);
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            proxy.calm_down();
        }));
    }

    let dropped = proxy.happened(Fault::DropAnswer);
    println!("{totals:?}, {dropped} answers dropped");
    assert!(dropped >= runs(500) as usize && totals.unknown >= runs(500) as usize, "{totals:?}");
    assert!(totals.resolved_applied > 0 && totals.resolved_not_applied > 0, "{totals:?}");
}

#[test]
fn a_node_that_crashes_loses_nothing() {
    let mut server = node(&[]);
    let mut totals = Totals::default();
    for seed in 100..100 + runs(5) {
        let store = store(server.port);
        totals.add(&faults::run(store, &workload(seed), Numbering::StoreWide, |done| {
            for _ in 0..2 {
                thread::sleep(Duration::from_millis(300));
                server.kill();
                thread::sleep(Duration::from_millis(100));
                server.start_again();
            }
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
        }));
    }

    println!("{totals:?}");
    assert!(totals.unknown > 0, "{totals:?}");
}

#[test]
fn dropped_calls_are_whole_or_nothing() {
    let store: Arc<dyn Store<[u8]>> = Arc::new(super::fresh());

    dropped_calls_leave_the_old_state_or_the_new_one(&store, "pair", runs(10_000));
}

#[test]
fn a_commit_whose_answer_is_lost_is_unknown_and_resolved_later() {
    let proxy = Proxy::new(NODE.address());
    let store = store(proxy.port());
    let write = drawn(&*store);
    let commit = || Commit::one(Entry::put("a", Expected::Absent, (*b"one").into())).with_write(write);

    proxy.plan(Fault::DropAnswer);
    let error = store.commit(commit()).wait().unwrap_err();

    let Error::Failed(failure) = &error else { panic!("{error}") };
    assert_eq!((failure.outcome(), failure.write()), (Outcome::Unknown, Some(write)));
    let resolution = patiently(|| store.resolve(write).wait());
    let found = patiently(|| store.get("a").wait());
    match resolution {
        Resolution::Applied(committed) => assert_eq!(committed.version(), found.map(|found| found.version)),
        Resolution::NotApplied => assert!(found.is_none()),
        Resolution::Unknown => panic!("{write} is not that old"),
    }
}

#[test]
fn a_node_that_is_paused_makes_a_commit_unknown_until_it_goes_on() {
    let server = node(&[]);
    let store = store(server.port);
    for round in 0..5 {
        let (id, write) = (round.to_string(), drawn(&*store));
        let put = Entry::put(&id, Expected::Absent, (*b"one").into());
        server.pause();
        let error = store.commit(Commit::one(put).with_write(write)).wait().unwrap_err();
        let read = store.get(&id).wait().unwrap_err();
        server.go_on();

        assert_eq!((error.outcome(), read.outcome()), (Outcome::Unknown, Outcome::NotApplied));
        let resolution = patiently(|| store.resolve(write).wait());
        let found = patiently(|| store.get(&id).wait());
        match resolution {
            Resolution::Applied(committed) => {
                assert_eq!(committed.version(), found.map(|found| found.version));
            }
            Resolution::NotApplied => assert!(found.is_none()),
            Resolution::Unknown => panic!("{write} is not that old"),
        }
    }
}

#[test]
fn without_a_node_nothing_is_applied_and_nobody_waits_long() {
    let mut server = node(&[]);
    let store = Etcd::connect(&url(server.port)).wait().unwrap();
    let seen = newest(&store).unwrap();
    server.kill();

    let mut outcomes = Vec::new();
    for _ in 0..3 {
        let put = Entry::put("a", Expected::Any, (*b"one").into());
        let failed = store.commit(Commit::one(put).with_write(seen.write())).wait().unwrap_err();
        outcomes.push(failed.outcome());
    }

    // The first may still have been written to the broken connection.
    assert_eq!(outcomes[1..], [Outcome::NotApplied; 2]);
    server.start_again();
    patiently(|| store.commit(Commit::one(Entry::put("a", Expected::Any, (*b"one").into()))).wait());
}

#[test]
fn two_programs_on_one_namespace_see_one_order() {
    let name = unused("both");
    let open = || Etcd::options().namespace(&*name).connect(&url(NODE.port)).wait().unwrap();
    let both = Arc::new(Both { stores: [open(), open()], turn: AtomicUsize::new(0) });

    let totals = faults::run(both, &workload(400), Numbering::StoreWide, |_| {});

    assert!(totals.conflicts > 0 && totals.unknown == 0, "{totals:?}");
}

/// Two stores that take turns.
struct Both {
    stores: [Etcd; 2],
    turn: AtomicUsize,
}

impl Both {
    fn next(&self) -> &Etcd {
        &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

impl Store<[u8]> for Both {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.next().get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        self.next().commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.next().resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.next().scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.next().watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.next().abilities()
    }
}

#[test]
fn a_store_with_tight_deadlines_opens_far_away_and_recovers_from_a_cut() {
    let guarded = super::login::guarded(&[]);
    for (port, login) in [(NODE.port, String::new()), (guarded.port, super::login::login())] {
        let proxy = Proxy::new((std::net::Ipv4Addr::LOCALHOST, port).into());
        proxy.move_away(Duration::from_millis(30));
        let url = format!("etcd://{login}127.0.0.1:{}/app", proxy.port());
        let open = |limit| {
            let deadlines = Deadlines { connect: Duration::from_secs(5), read: limit, commit: limit };
            Etcd::options().namespace(unused("far")).deadlines(deadlines).connect(&url).wait().unwrap()
        };

        calls_go_well_at_a_distance(&proxy, &open(Duration::from_millis(66)));
        every_deadline_recovers(&proxy, open);
    }
}

#[cfg(feature = "idempotency")]
#[test]
fn a_keyed_request_whose_answer_is_lost_is_applied_once_and_told_the_same() {
    let proxy = Proxy::new(NODE.address());
    let store = store(proxy.port());
    crate::keys::each_is_applied_once_and_told_the_same(store, &proxy, 3);
}
