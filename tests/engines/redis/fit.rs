//! What a server must be to keep a namespace, when it is opened and as long as it is open.

use std::error::Error as _;

use ifmatch::engine::ConnectError;
use ifmatch::store::{Outcome, Scan};
use ifmatch::{Commit, Entry, Error, Expected, Redis, Start, Store};

use super::{STRICT, drawn, fresh, say, server, url};
use crate::patience::until;
use crate::server::Server;

fn put(store: &Redis, number: u64) -> Result<(), Error> {
    let value = number.to_be_bytes()[..].into();
    store.commit(Commit::one(Entry::put("a", Expected::Any, value))).wait().map(|_| ())
}

/// What a failure that changed nothing says.
fn told(error: &Error) -> String {
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    error.source().unwrap().to_string()
}

/// The action that was refused on opening as a user with these rights beside all of his keys, and why.
fn refused(server: &Server, rights: &str) -> (&'static str, String) {
    let acl = format!("ACL SETUSER keeper on >word resetkeys ~* +@all {rights}");
    assert_eq!(say(server.address(), &acl), "+OK");
    let url = format!("redis://keeper:word@127.0.0.1:{}", server.port);
    let ConnectError::Refused { action, source } = fresh().connect(url).wait().unwrap_err() else { panic!() };
    (action, source.to_string())
}

#[test]
fn a_server_that_drops_keys_is_refused_also_to_who_may_not_ask_for_its_settings() {
    let server = server(&["--appendonly", "no", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"]);

    let (action, why) = refused(&server, "-config");
    assert!(action == "keep every key" && why.contains("allkeys-lru"), "{action}: {why}");
    say(server.address(), "CONFIG SET maxmemory-policy noeviction");
    let (action, why) = refused(&server, "-config -info");
    assert!(action == "run INFO" && why.contains("NOPERM") && why.contains("`+info`"), "{action}: {why}");
}

#[test]
fn a_server_that_is_told_to_drop_keys_gets_no_more_than_fifteen_commits() {
    let server = server(&["--appendonly", "no", "--maxmemory", "50mb"]);
    let store = fresh().connect(url(server.port)).wait().unwrap();
    let set = |policy: &str| {
        assert_eq!(say(server.address(), &format!("CONFIG SET maxmemory-policy {policy}")), "+OK");
    };

    for policy in ["allkeys-lru", "allkeys-random"] {
        put(&store, 0).unwrap();
        set(policy);
        let acknowledged = (0..100).take_while(|number| put(&store, *number).is_ok()).count();
        assert!(acknowledged <= 15, "{acknowledged} under {policy}");
        let why = told(&put(&store, 1).unwrap_err());
        assert!(why.contains(policy), "{why}");
        // A namespace that nobody commits to is looked at with each new connection.
        assert!(matches!(fresh().connect(url(server.port)).wait(), Err(ConnectError::Refused { .. })));
        set("volatile-lru");
        put(&store, 2).unwrap();
    }
    // Where memory has no end, nothing is dropped.
    set("allkeys-lru");
    assert_eq!(say(server.address(), "CONFIG SET maxmemory 0"), "+OK");
    (0..32).for_each(|number| put(&store, number).unwrap());
}

#[test]
fn a_replica_that_takes_writes_is_refused() {
    let [primary, replica] = [(); 2].map(|()| server(&STRICT));
    say(replica.address(), &format!("REPLICAOF 127.0.0.1 {}", primary.port));
    assert_eq!(say(replica.address(), "CONFIG SET replica-read-only no"), "+OK");
    until("the replica does not follow", || {
        say(replica.address(), "INFO replication").contains("master_link_status:up")
    });

    let refused = fresh().connect(url(replica.port)).wait().unwrap_err();
    assert_eq!(refused.to_string(), "the engine refused to take writes");
    assert!(refused.source().unwrap().to_string().contains("it is a replica"));
}

#[test]
fn a_primary_that_becomes_a_replica_that_takes_writes_acknowledges_nothing_more() {
    let [server, other] = [(); 2].map(|()| server(&["--appendonly", "no"]));
    let replicate = || say(server.address(), &format!("REPLICAOF 127.0.0.1 {}", other.port));
    let follows = || say(server.address(), "INFO replication").contains("master_link_status:up");
    assert_eq!(say(server.address(), "CONFIG SET replica-read-only no"), "+OK");
    let stores: Vec<Redis> =
        (0..5).map(|_| Redis::options().connect(url(server.port)).wait().unwrap()).collect();
    stores.iter().for_each(|store| put(store, 1).unwrap());
    let write = drawn(&stores[3]);

    replicate();
    until("the server does not follow", follows);

    // Each over a connection that was made to a primary: nobody may rely on what it would show or keep.
    let calls = [
        put(&stores[0], 2).unwrap_err(),
        stores[1].scan(Scan::new("", 9)).wait().unwrap_err(),
        stores[2].watch(Start::Now).wait().err().unwrap(),
        stores[3].resolve(write).wait().unwrap_err(),
        // Nothing would be put.
        stores[4].commit(Commit::one(Entry::delete("b", Expected::Any))).wait().unwrap_err(),
    ];
    for error in calls {
        assert!(told(&error).contains("READONLY"), "{error}");
    }
    // By then the connection is a new one, and no call goes over it.
    assert!(told(&stores[0].get("a").wait().unwrap_err()).contains("READONLY"));
    assert_eq!(say(other.address(), "DBSIZE"), ":0");

    assert_eq!(say(server.address(), "REPLICAOF NO ONE"), "+OK");
    stores.iter().for_each(|store| put(store, 3).unwrap());
}
