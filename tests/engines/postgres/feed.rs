//! The feed on a PostgreSQL server: what the laws, which see one store alone, can't provoke.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ifmatch::conformance::watch::a_watcher_left_behind_expires;
use ifmatch::engine::Deadlines;
use ifmatch::{Commit, Entry, Error, Expected, Postgres, Start, Store, Version};

use super::{Session, fresh_name, open, options, psql, server, shared_server};
use crate::proxy::Proxy;

fn put(store: &Postgres, id: &str, number: u64) -> Version {
    let entry = Entry::put(id, Expected::Any, number.to_be_bytes().into());
    store.commit(Commit::one(entry)).wait().unwrap().version().unwrap()
}

#[test]
fn a_watcher_further_behind_than_the_history_expires() {
    // Many more than the history, since it is trimmed beside the commits. A server of its own: where another test has a transaction open, nothing is trimmed.
    let server = server(&["fsync=off"]);
    let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options().history(64), server.port));

    let trial = a_watcher_left_behind_expires(&store, 3_000);

    // The law needs no runtime, only somebody who polls.
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(trial);
}

#[test]
fn a_watcher_sees_what_another_store_commits() {
    let name = fresh_name();
    let [here, there] = [(); 2].map(|()| open(&Postgres::options().namespace(&name), shared_server().port));
    let mut changes = here.watch(Start::Now).wait().unwrap();

    for number in 0..50 {
        let version = put(&there, "a", number);
        let batch = changes.next().wait().unwrap();
        assert_eq!(batch.changes[0].version, version);
        assert_eq!(
            batch.changes[0].value().map(|value| value[..].to_vec()),
            Some(number.to_be_bytes().to_vec())
        );
    }
}

#[test]
fn a_transaction_that_commits_late_is_not_missed() {
    let name = fresh_name();
    let port = shared_server().port;
    let store = open(&Postgres::options().namespace(&name), port);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    // A commit that has its number in the engine, and stays open while others come and go.
    let mut late = Session::begin(
        port,
        &format!(
            "SELECT ifmatch_commit_one_1('{name}', NULL, NULL, NULL, false, 64, 1, 1000, 'late', 'p', 'a', 0, 0, '')"
        ),
    );

    let mut cursors = vec![changes.cursor().clone()];
    let mut seen = Vec::new();
    for number in 0..5 {
        put(&store, "early", number);
        let batch = changes.next().wait().unwrap();
        seen.push(batch.changes[0].id.to_string());
        cursors.push(batch.cursor);
    }
    late.run("COMMIT");
    seen.push(changes.next().wait().unwrap().changes[0].id.to_string());

    assert_eq!(seen, ["early", "early", "early", "early", "early", "late"]);
    // From any cursor on it comes exactly once.
    for (told, cursor) in cursors.into_iter().enumerate() {
        let mut resumed = store.watch(Start::After(cursor)).wait().unwrap();
        let rest: Vec<_> =
            (told..6).map(|_| resumed.next().wait().unwrap().changes[0].id.to_string()).collect();
        assert_eq!(rest.iter().filter(|id| *id == "late").count(), 1, "after {told}");
    }
}

#[test]
fn a_watcher_whose_connections_break_goes_on_by_itself() {
    let proxy = Proxy::new(shared_server().address());
    let name = fresh_name();
    let watched = open(&Postgres::options().namespace(&name), proxy.port());
    let writer = open(&Postgres::options().namespace(&name), shared_server().port);
    let mut changes = watched.watch(Start::Now).wait().unwrap();

    let written: Vec<Version> = (0..60)
        .map(|number| {
            if number % 10 == 0 {
                proxy.cut_all();
            }
            put(&writer, "a", number)
        })
        .collect();

    let seen: Vec<Version> =
        written.iter().map(|_| changes.next().wait().unwrap().changes[0].version).collect();
    assert_eq!(seen, written);
}

#[test]
fn a_cursor_of_another_namespace_is_expired() {
    let port = shared_server().port;
    let [one, other] = [(); 2].map(|()| open(&options(), port));
    put(&one, "a", 1);
    let cursor = one.watch(Start::Now).wait().unwrap().cursor().clone();

    assert!(matches!(other.watch(Start::After(cursor)).wait(), Err(Error::Expired(_))));
}

#[test]
fn a_watcher_of_large_values_on_a_slow_network_goes_on() {
    let proxy = Proxy::new(shared_server().address());
    let name = fresh_name();
    let deadlines = Deadlines { read: Duration::from_secs(1), ..Deadlines::default() };
    let watched = open(&Postgres::options().namespace(&name).deadlines(deadlines), proxy.port());
    let writer = open(&Postgres::options().namespace(&name), shared_server().port);
    let mut changes = watched.watch(Start::Now).wait().unwrap();
    // All together take far longer than a look may, each by itself does not.
    let ids: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for id in &ids {
        let entry = Entry::put(id, Expected::Any, vec![7; 16 << 10].into());
        writer.commit(Commit::one(entry)).wait().unwrap();
    }
    proxy.slow_down(Duration::from_millis(10));

    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let _watched = watched;
        while tell.send(changes.next().wait().unwrap().changes[0].id.to_string()).is_ok() {}
    });

    let longest = Duration::from_secs(120);
    let seen: Vec<String> =
        ids.iter().map(|_| told.recv_timeout(longest).expect("the feed goes on")).collect();
    proxy.slow_down(Duration::ZERO);
    assert_eq!(seen, ids);
}

#[test]
fn a_prepared_transaction_that_is_left_behind_is_told_once_it_ends_whatever_came_after() {
    let mut server = server(&["fsync=off", "max_prepared_transactions=4"]);
    let port = server.port;
    let name = fresh_name();
    let options = Postgres::options().namespace(&name);
    let store = open(&options, port);
    let from = store.watch(Start::Now).wait().unwrap().cursor().clone();
    let commit = |id: &str| {
        format!(
            "BEGIN; SELECT ifmatch_commit_one_1('{name}', NULL, NULL, NULL, false, 64, 1, 1000, '{id}', 'p', 'a', 0, 0, '');
             PREPARE TRANSACTION '{id}'"
        )
    };
    // A proxy of two-phase commits would do so around a commit of the store, and somebody else around anything.
    psql(port, &commit("kept"));
    psql(port, &commit("undone"));
    psql(
        port,
        "CREATE TABLE beside (id integer); BEGIN; INSERT INTO beside VALUES (1); PREPARE TRANSACTION 'other'",
    );

    for number in 0..50 {
        put(&store, "early", number);
    }
    // Whoever writes its id waits for it, in vain.
    let waits = Deadlines { commit: Duration::from_secs(2), ..Deadlines::default() };
    let hasty = open(&options.clone().deadlines(waits), port);
    super::refused_in_time(|| {
        hasty.commit(Commit::one(Entry::put("kept", Expected::Any, (*b"v").into()))).wait().unwrap_err()
    });
    let mut changes = store.watch(Start::After(from.clone())).wait().unwrap();
    let told: Vec<String> =
        (0..50).map(|_| changes.next().wait().unwrap().changes[0].id.to_string()).collect();
    assert!(told.iter().all(|id| id == "early"), "{told:?}");

    // They outlive a crash.
    super::crash(&mut server);
    crate::faults::patiently(|| store.get("early").wait());
    psql(port, "COMMIT PREPARED 'kept'; ");
    psql(port, "ROLLBACK PREPARED 'undone'");
    psql(port, "COMMIT PREPARED 'other'");

    assert_eq!(&*changes.next().wait().unwrap().changes[0].id, "kept");
    crate::faults::patiently(|| {
        store.commit(Commit::one(Entry::put("undone", Expected::Absent, (*b"v").into()))).wait()
    });
    assert_eq!(&*changes.next().wait().unwrap().changes[0].id, "undone");
    // From the beginning it is each of them once.
    let mut again = store.watch(Start::After(from)).wait().unwrap();
    let mut all: Vec<String> =
        (0..52).map(|_| again.next().wait().unwrap().changes[0].id.to_string()).collect();
    all.retain(|id| id != "early");
    all.sort();
    assert_eq!(all, ["kept", "undone"]);
}
