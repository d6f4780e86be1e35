//! What holds while the network and the server do what they like.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::engine::Deadlines;
use ifmatch::store::{Outcome, Refusal, Resolution, WriteId};
use ifmatch::{Commit, Entry, Error, Expected, Postgres, Store};

use super::{Session, crash, drawn, open, options, processes, server, shared_server, signal};
use crate::faults::{self, Totals, dropped_calls_leave_the_old_state_or_the_new_one, patiently};
use crate::patience::until;
use crate::proxy::{Fault, Proxy};

/// Short ones, so that a half-open connection costs less than a run.
const DEADLINES: Deadlines = Deadlines {
    connect: Duration::from_secs(2),
    read: Duration::from_millis(400),
    commit: Duration::from_millis(400),
};

/// Eight clients and 5,000 operations, on ids that no other run has.
fn workload(name: &str, seed: u64) -> Workload {
    let mut workload = Workload::new(seed);
    workload.ids = (0..5).map(|id| format!("{name}-{seed}/{id}")).collect();
    (workload.threads, workload.calls) = (8, 625);
    workload
}

#[test]
fn no_answer_is_wrong_on_an_unreliable_network() {
    let proxy = Proxy::new(shared_server().address());
    let mut totals = Totals::default();
    for seed in 0..faults::runs(20) {
        let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options().deadlines(DEADLINES), proxy.port()));
        let run = faults::run(store, &workload("network", seed), Numbering::PerId, |done| {
            proxy.disturb(seed, 100);
            while !done.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            proxy.calm_down();
        });
        totals.add(&run);
    }

    let dropped = proxy.happened(Fault::DropAnswer) + proxy.happened(Fault::CutAnswer);
    println!("{totals:?}, {dropped} answers dropped");
    assert!(dropped >= 500, "{dropped} answers dropped");
}

#[test]
fn no_answer_is_wrong_while_the_server_crashes() {
    let mut server = server(&["fsync=off"]);
    let port = server.port;
    let (mut totals, mut crashes) = (Totals::default(), 0);
    for seed in 0..faults::runs(3) {
        let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options().deadlines(DEADLINES), port));
        let probe = Arc::clone(&store);
        let run = faults::run(store, &workload("crash", seed), Numbering::PerId, |done| {
            while !done.load(Ordering::SeqCst) {
                // Some work between two crashes: recovery takes a while.
                patiently(|| probe.get("probe").wait());
                thread::sleep(Duration::from_millis(300));
                crash(&mut server);
                crashes += 1;
            }
        });
        totals.add(&run);
    }
    println!("{totals:?}, {crashes} crashes");
    assert!(crashes >= 3);
}

#[test]
fn dropped_calls_are_applied_as_a_whole_or_not_at_all() {
    let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options(), shared_server().port));

    dropped_calls_leave_the_old_state_or_the_new_one(&store, "dropped", faults::runs(10_000));
}

#[test]
fn a_commit_on_a_paused_server_is_unknown_and_resolves_later() {
    let server = server(&[]);
    let deadlines = Deadlines { commit: Duration::from_millis(600), ..DEADLINES };
    let store = open(&options().deadlines(deadlines), server.port);
    let put = |id, write| {
        store.commit(Commit::one(Entry::put(id, Expected::Absent, (*b"v").into())).with_write(write)).wait()
    };
    put("before", drawn(&store)).unwrap();
    let write = drawn(&store);

    signal(&processes(&server), "-STOP");
    let began = Instant::now();
    let lost = put("a", write).unwrap_err();
    let read = store.get("before").wait().unwrap_err();
    let took = began.elapsed();
    signal(&processes(&server), "-CONT");

    assert_eq!(lost.outcome(), Outcome::Unknown, "{lost:?}");
    let Error::Failed(failure) = &lost else { panic!("{lost:?}") };
    assert_eq!(failure.write(), Some(write));
    assert_eq!(read.outcome(), Outcome::NotApplied);
    assert!(took < Duration::from_secs(10), "{took:?}");
    let resolved = patiently(|| store.resolve(write).wait());
    let found = patiently(|| store.get("a").wait());
    match resolved {
        Resolution::Applied(committed) => assert_eq!(found.map(|found| found.version), committed.version()),
        Resolution::NotApplied => {
            assert!(found.is_none());
            assert!(matches!(put("a", write), Err(Error::Refused(Refusal::Closed { .. }))));
        }
        Resolution::Unknown => panic!("it was a moment ago"),
    }
}

#[test]
fn without_a_write_id_a_lost_answer_is_unknown_and_with_one_it_is_found_out() {
    let proxy = Proxy::new(shared_server().address());
    let store = open(&options(), proxy.port());
    fn put(id: &str) -> Commit<'_, [u8]> {
        Commit::one(Entry::put(id, Expected::Absent, (*b"v").into()))
    }
    for round in 0..20 {
        let [plain, stamped] = ["plain", "stamped"].map(|name| format!("{name}/{round}"));
        let write = drawn(&store);
        store.get("warm").wait().unwrap();

        proxy.plan(Fault::DropAnswer);
        let unknown = store.commit(put(&plain)).wait();
        proxy.plan(Fault::DropAnswer);
        let known = store.commit(put(&stamped).with_write(write)).wait();

        // The first time a statement is prepared, and it is that answer which is dropped: nothing was sent then.
        assert!(
            round == 0 || matches!(&unknown, Err(error) if error.outcome() == Outcome::Unknown),
            "{unknown:?}"
        );
        assert_eq!(store.get(&stamped).wait().unwrap().map(|found| found.version), known.unwrap().version());
        assert!(store.get(&plain).wait().unwrap().is_some());
    }
}

#[test]
fn a_commit_that_waits_too_long_for_a_lock_was_certainly_not_applied() {
    let port = shared_server().port;
    let deadlines = Deadlines { commit: Duration::from_millis(300), ..Deadlines::default() };
    let name = super::fresh_name();
    let store = open(&Postgres::options().namespace(&name).deadlines(deadlines), port);
    let put = |number: u8| store.commit(Commit::one(Entry::put("a", Expected::Any, [number].into()))).wait();
    patiently(|| put(1));

    let holder = Session::begin(port, &super::lock_of(&name, "a"));
    super::refused_in_time(|| put(2).unwrap_err());
    drop(holder);

    assert_eq!(*store.get("a").wait().unwrap().unwrap().value, [1]);
    patiently(|| put(3));
}

#[test]
fn a_commit_waits_no_longer_for_many_locks_than_for_one() {
    let (port, name) = (shared_server().port, super::fresh_name());
    let deadlines = Deadlines { commit: Duration::from_secs(10), ..Deadlines::default() };
    let store = open(&Postgres::options().namespace(&name).deadlines(deadlines), port);
    let puts = |number: u8| {
        let put = |id| Entry::put(id, Expected::Any, [number].into());
        store.commit(Commit::one(put("a")).and(put("b"))).wait()
    };
    puts(1).unwrap();
    let order = format!(
        "SELECT string_agg(id, '' ORDER BY hashtextextended(id, hashtextextended('{name}',
            hashtextextended('public.ifmatch', 0)))) FROM unnest('{{a,b}}'::text[]) id"
    );
    let order = super::psql(port, &order);
    let (first, second) = order.split_at(1);

    // The first is let go of before the commit gives up, and then it waits for the second.
    let _held = Session::begin(port, &super::lock_of(&name, second));
    super::refused_in_time(|| {
        let holder = Session::begin(port, &super::lock_of(&name, first));
        thread::scope(|scope| {
            let waits = scope.spawn(|| puts(2).unwrap_err());
            until("it does not wait", || waits.is_finished() || super::waiting_for(port, &name, first) == 1);
            // A good part of its patience.
            thread::sleep(Duration::from_secs(4));
            drop(holder);
            waits.join().unwrap()
        })
    });

    assert_eq!(*store.get("b").wait().unwrap().unwrap().value, [1]);
}

#[test]
fn a_conflict_whose_answer_is_lost_again_and_again_is_told_as_the_conflict() {
    let proxy = Proxy::new(shared_server().address());
    for ids in [&["a"][..], &["a", "b"]] {
        let name = super::fresh_name();
        let store = open(&Postgres::options().namespace(&name), proxy.port());
        let put = |ids: &[&'static str], expected: Expected, write: WriteId| {
            let puts = ids.iter().map(|id| Entry::put(id, expected, (*b"v").into()));
            store.commit(puts.collect::<Commit<'_, [u8]>>().with_write(write)).wait()
        };
        let found = put(ids, Expected::Absent, drawn(&store)).unwrap().receipts()[0].version;
        // Four connections that have the statement prepared, since all of these wait at once.
        let holder = Session::begin(shared_server().port, &super::lock_of(&name, "a"));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| put(ids, Expected::Absent, drawn(&store)).unwrap_err());
            }
            // All of them where that is locked first, and else behind the first that waits for it.
            until("they do not wait", || {
                let waiting = |id: &&str| super::waiting_for(shared_server().port, &name, id);
                ids.iter().map(waiting).sum::<usize>() == 4
            });
            drop(holder);
        });
        let (write, dropped) = (drawn(&store), proxy.happened(Fault::DropAnswer));

        (0..3).for_each(|_| proxy.plan(Fault::DropAnswer));
        let refused = put(ids, Expected::Absent, write).unwrap_err();

        assert_eq!(proxy.happened(Fault::DropAnswer) - dropped, 3);
        let conflict = refused.conflict().unwrap_or_else(|| panic!("{refused:?}"));
        assert_eq!(conflict.mismatches().len(), ids.len());
        assert_eq!(conflict.current::<[u8]>().map(|current| current.version), found);
        assert_eq!(store.resolve(write).wait().unwrap(), Resolution::NotApplied);
    }
}

#[test]
fn what_is_sent_again_and_can_not_be_settled_is_unknown_and_is_no_refusal_to_draw_anew() {
    let (proxy, port) = (Proxy::new(shared_server().address()), shared_server().port);
    for ids in [&["a"][..], &["a", "b"]] {
        let name = super::fresh_name();
        let store = open(&Postgres::options().namespace(&name), proxy.port());
        let put = |expected: Expected, write: WriteId| {
            let puts = ids.iter().map(|id| Entry::put(id, expected, (*b"v").into()));
            store.commit(puts.collect::<Commit<'_, [u8]>>().with_write(write)).wait()
        };
        let places = |set: &str| {
            super::psql(port, &format!("UPDATE ifmatch_places SET {set} WHERE namespace = '{name}'"));
        };
        let unknown = |expected, write| {
            proxy.plan(Fault::DropAnswer);
            let lost = put(expected, write).unwrap_err();
            let Error::Failed(failure) = &lost else { panic!("{lost:?}") };
            assert_eq!((failure.outcome(), failure.write()), (Outcome::Unknown, Some(write)));
        };
        // The first time a statement is prepared, and it is that answer which is dropped.
        put(Expected::Absent, drawn(&store)).unwrap();

        // It conflicts, and as many ids are closed as there may be: its first sending may still come true.
        let full = drawn(&store);
        places("closed = 1000000");
        unknown(Expected::Absent, full);
        places("closed = 0");
        assert_eq!(store.resolve(full).wait().unwrap(), Resolution::NotApplied);

        // It is forgotten: its first sending may have been applied.
        let forgotten = drawn(&store);
        places(&format!("forgotten = '\\x{forgotten}'"));
        unknown(Expected::Any, forgotten);
        let first = put(Expected::Any, forgotten).unwrap_err();
        assert!(matches!(first, Error::Refused(Refusal::Outside { .. })), "{first:?}");
    }
}

#[cfg(feature = "idempotency")]
#[test]
fn a_keyed_request_whose_answer_is_lost_is_applied_once_and_told_the_same() {
    let proxy = Proxy::new(shared_server().address());
    let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options().deadlines(DEADLINES), proxy.port()));
    crate::keys::each_is_applied_once_and_told_the_same(store, &proxy, 3);
}
