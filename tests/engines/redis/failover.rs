//! What Redis can not survive, shown: acknowledged commits that are lost, and what is left of the promises then.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ifmatch::store::{Resolution, Scan};
use ifmatch::{Commit, Entry, Error, Expected, Redis, Start, Store, Version};

use super::{STRICT, drawn, say, server, url};
use crate::faults::patiently;
use crate::patience::until;
use crate::proxy::Proxy;
use crate::server::Server;

fn put(store: &dyn Store<[u8]>, expected: impl Into<Expected>, number: u64) -> Result<Version, Error> {
    let put = Entry::put("a", expected.into(), Arc::from(number.to_be_bytes()));
    Ok(store.commit(Commit::one(put).with_write(drawn(store))).wait()?.version().unwrap())
}

/// The negative control: a failover while replication lags loses acknowledged commits. Their versions and cursors
/// match nothing of what is written in their place.
#[test]
fn a_failover_loses_acknowledged_commits_and_nothing_matches_them_later() {
    let mut primary = server(&STRICT);
    let replica = server(&STRICT);
    let [network, between] = [(); 2].map(|()| Proxy::new(primary.address()));
    say(replica.address(), &format!("REPLICAOF 127.0.0.1 {}", between.port()));
    until("the replica does not follow", || {
        say(replica.address(), "INFO replication").contains("master_link_status:up")
    });
    let store = Redis::options().connect(url(network.port())).wait().unwrap();
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let mut kept = put(&store, Expected::Absent, 0).unwrap();
    changes.next().wait().unwrap();
    let kept_cursor = changes.cursor().clone();
    let position = || say(primary.address(), "STRLEN ifmatch:{default}:v:a");
    until("the replica does not catch up", || {
        say(replica.address(), "STRLEN ifmatch:{default}:v:a") == position()
    });

    between.redirect(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    between.cut_all();
    let lost_write = drawn(&store);
    let mut lost: Vec<Version> =
        (1..50).map(|number| put(&store, Expected::Present, number).unwrap()).collect();
    let last = Entry::put("a", Expected::Present, Arc::from(50_u64.to_be_bytes()));
    lost.push(store.commit(Commit::one(last).with_write(lost_write)).wait().unwrap().version().unwrap());
    while changes.next().wait().unwrap().changes[0].version != *lost.last().unwrap() {}
    let lost_cursor = changes.cursor().clone();
    primary.kill();
    assert_eq!(say(replica.address(), "REPLICAOF NO ONE"), "+OK");
    network.redirect(replica.address());
    network.cut_all();

    // Acknowledged, with `appendfsync always`, and gone.
    let current = patiently(|| store.get("a").wait()).unwrap();
    assert_eq!(current.version, kept);
    // The writer is told that it was not applied: true of this history, and the only one left.
    assert_eq!(store.resolve(lost_write).wait().unwrap(), Resolution::NotApplied);
    // The same numbers are given again, and none of the old versions matches.
    for number in 100..200 {
        for lost in &lost {
            let conflict = put(&store, *lost, number).unwrap_err();
            assert_eq!(conflict.conflict().unwrap().found(), Some(kept));
        }
        let next = put(&store, kept, number).unwrap();
        assert!(next.to_bits() > kept.to_bits());
        kept = next;
    }
    let number = |version: &Version| version.to_bits().get() >> 24;
    assert!(number(lost.last().unwrap()) < number(&kept), "the numbers were given again");
    // A cursor from among what was lost is expired, one from before goes on.
    assert!(matches!(store.watch(Start::After(lost_cursor)).wait(), Err(Error::Expired(_))));
    assert!(matches!(changes.next().wait(), Err(Error::Expired(_))));
    let mut resumed = store.watch(Start::After(kept_cursor)).wait().unwrap();
    let first = resumed.next().wait().unwrap().changes[0].version;
    assert!(first != lost[0] && number(&first) == number(&lost[0]), "the same number, and another version");
}

/// What a loss of power leaves of the append-only file where the machine had not yet written the latest of it.
#[test]
fn a_restore_to_an_older_state_is_told_from_what_was_there() {
    let mut server = server(&STRICT);
    let store = Redis::options().connect(url(server.port)).wait().unwrap();
    let kept = put(&store, Expected::Absent, 0).unwrap();
    let file = append_only_file(&server);
    let length = fs::metadata(&file).unwrap().len();
    let cursor = {
        let mut changes = store.watch(Start::Now).wait().unwrap();
        put(&store, kept, 1).unwrap();
        changes.next().wait().unwrap();
        changes.cursor().clone()
    };
    let lost: Vec<Version> = (2..20).map(|number| put(&store, Expected::Present, number).unwrap()).collect();

    server.kill();
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
    server.start_again();

    assert_eq!(patiently(|| store.get("a").wait()).unwrap().version, kept);
    let new = put(&store, kept, 100).unwrap();
    for lost in lost {
        assert!(put(&store, lost, 101).unwrap_err().conflict().is_some());
    }
    assert_eq!(store.get("a").wait().unwrap().unwrap().version, new);
    assert!(matches!(store.watch(Start::After(cursor)).wait(), Err(Error::Expired(_))));
}

/// A crash in the middle of what the server writes for one commit leaves all of it or nothing.
#[test]
fn an_append_only_file_that_was_cut_anywhere_holds_whole_commits() {
    let mut server = server(&STRICT);
    let store = Redis::options().connect(url(server.port)).wait().unwrap();
    let pair = |number: u64| {
        let value: Arc<[u8]> = number.to_be_bytes().into();
        let [a, b] = ["a", "b"].map(|id| Entry::put(id, Expected::Any, Arc::clone(&value)));
        Commit::one(a).and(b).with_write(drawn(&store))
    };
    store.commit(pair(0)).wait().unwrap();
    let file = append_only_file(&server);
    let before = fs::metadata(&file).unwrap().len();
    store.commit(pair(1)).wait().unwrap();
    server.kill();
    let whole = fs::read(&file).unwrap();
    let (from, to) = (before as usize, whole.len());
    assert!(to > from + 100, "the second commit is in the file");

    for cut in (0..8).map(|eighth| from + (to - from) * eighth / 8 + eighth).chain([to - 1, to]) {
        fs::write(&file, &whole[..cut]).unwrap();
        server.start_again();
        let [a, b] = ["a", "b"].map(|id| patiently(|| store.get(id).wait()).unwrap());
        assert_eq!((a.version, &a.value), (b.version, &b.value), "cut at {cut} of {from} to {to}");
        assert_eq!(a.value[7] == 1, cut == to, "cut at {cut} of {from} to {to}");
        let listed = store.scan(Scan::new("", 9)).wait().unwrap();
        assert_eq!(listed.items.len(), 2);
        server.kill();
    }
}

/// The negative control for a server that keeps nothing on disk: a crash loses all that it acknowledged.
#[test]
fn a_crash_without_an_append_only_file_loses_everything_and_nothing_matches_later() {
    let mut server = server(&["--appendonly", "no"]);
    let store = Redis::options().connect(url(server.port)).wait().unwrap();
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let write = drawn(&store);
    let create = Entry::put("a", Expected::Absent, Arc::from(0_u64.to_be_bytes()));
    let lost = store.commit(Commit::one(create).with_write(write)).wait().unwrap().version().unwrap();
    changes.next().wait().unwrap();

    server.kill();
    server.start_again();

    assert!(patiently(|| store.get("a").wait()).is_none(), "acknowledged, and gone");
    let new = put(&store, Expected::Absent, 1).unwrap();
    assert_eq!(put(&store, lost, 2).unwrap_err().conflict().unwrap().found(), Some(new));
    assert!(matches!(changes.next().wait(), Err(Error::Expired(_))));
    assert_eq!(store.resolve(write).wait().unwrap(), Resolution::Unknown);
}

fn append_only_file(server: &Server) -> std::path::PathBuf {
    let directory = server.directory().join("appendonlydir");
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.to_str().unwrap().ends_with(".incr.aof"));
    files.next().expect("an append-only file")
}
