//! Users and passwords, names, and what no text shows.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use ifmatch::engine::{ConnectError, Deadlines};
use ifmatch::store::{Outcome, Scan};
use ifmatch::{Commit, Entry, Etcd, Expected, Store};

use super::{NODE, drawn, etcdctl, node, unused};
use crate::faults::{newest, patiently};
use crate::server::{Server, free_port};

const PASSWORD: &str = "s3cr3t@:/";
const ESCAPED: &str = "s3cr3t%40%3a%2f";

/// A node that wants a login; the user `ann` may use the prefix `app/` and nothing else.
pub(super) fn guarded(more: &[&str]) -> Server {
    let server = node(more);
    let administer = |arguments: &[&str]| etcdctl(server.port, arguments);
    administer(&["user", "add", "root:toor"]);
    administer(&["user", "grant-role", "root", "root"]);
    administer(&["user", "add", &format!("ann:{PASSWORD}"), "--interactive=false"]);
    administer(&["role", "add", "app"]);
    administer(&["role", "grant-permission", "app", "readwrite", "app/", "app0"]);
    administer(&["user", "grant-role", "ann", "app"]);
    administer(&["auth", "enable"]);
    server
}

/// The part of a URL by which `ann` logs in.
pub(super) fn login() -> String {
    format!("ann:{ESCAPED}@")
}

fn every_text(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&format!("{error} {error:?} "));
        next = error.source();
    }
    text
}

fn put(store: &Etcd) -> Result<(), ifmatch::Error> {
    let put = Entry::put("a", Expected::Any, (*b"s3cr3t").into());
    store.commit(Commit::one(put).with_write(newest(store)?.write())).wait().map(drop)
}

#[test]
fn a_user_with_rights_to_the_prefix_alone_can_do_everything() {
    let mut server = guarded(&[]);
    let url = format!("etcd://ann:{ESCAPED}@127.0.0.1:{}/app", server.port);
    let store = Etcd::connect(&url).wait().unwrap();

    put(&store).unwrap();
    let mut changes = store.watch(ifmatch::Start::Now).wait().unwrap();
    put(&store).unwrap();
    assert_eq!(changes.next().wait().unwrap().changes.len(), 1);
    assert_eq!(store.scan(Scan::new("", 10)).wait().unwrap().items.len(), 1);
    store.resolve(drawn(&store)).wait().unwrap();
    assert!(!format!("{store:?}").contains("s3cr3t"));

    // A node forgets who has logged in when it starts again.
    server.kill();
    server.start_again();
    patiently(|| put(&store));
    patiently(|| store.get("a").wait());
    // Rights that were changed make old logins stale.
    let administer =
        |arguments: &[&str]| etcdctl(server.port, &[&["--user", "root:toor"], arguments].concat());
    administer(&["role", "add", "other"]);
    administer(&["user", "grant-role", "ann", "other"]);
    put(&store).unwrap();
    store.get("a").wait().unwrap();

    put(&store).unwrap();
    changes.next().wait().unwrap();
    administer(&["role", "revoke-permission", "app", "app/", "app0"]);
    let mut later = store.watch(ifmatch::Start::After(changes.cursor().clone())).wait();
    assert!(
        later.is_err() || later.as_mut().unwrap().next().wait().is_err(),
        "a watch without rights waits for ever"
    );
    let refused = put(&store).unwrap_err();
    assert_eq!(refused.outcome(), Outcome::NotApplied);
    assert!(!every_text(&refused).contains("s3cr3t"));
}

#[test]
fn a_login_that_expires_is_made_again() {
    let server = guarded(&["--auth-token-ttl", "1"]);
    let store = Etcd::connect(&format!("etcd://ann:{ESCAPED}@127.0.0.1:{}/app", server.port)).wait().unwrap();
    let mut changes = store.watch(ifmatch::Start::Now).wait().unwrap();

    for _ in 0..2 {
        // It looks for logins that were not used for a second once a second.
        std::thread::sleep(Duration::from_millis(2_500));
        put(&store).unwrap();
        assert_eq!(changes.next().wait().unwrap().changes.len(), 1);
        std::thread::sleep(Duration::from_millis(2_500));
        drop(store.watch(ifmatch::Start::After(changes.cursor().clone())).wait().unwrap());
        store.get("a").wait().unwrap();
        store.resolve(drawn(&store)).wait().unwrap();
    }
}

#[test]
fn a_wrong_login_is_refused_and_shown_nowhere() {
    let server = guarded(&[]);
    let refused = |login: &str, prefix: &str| {
        Etcd::connect(&format!("etcd://{login}127.0.0.1:{}/{prefix}", server.port)).wait().unwrap_err()
    };

    for login in ["ann:s3cr3t@", "s3cr3t:s3cr3t@", ""] {
        let error = refused(login, "app");
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        assert!(!every_text(&error).contains("s3cr3t"), "{}", every_text(&error));
    }
    let error = refused(&format!("ann:{ESCAPED}@"), "elsewhere");
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(!every_text(&error).contains("s3cr3t"), "{}", every_text(&error));
}

#[test]
fn a_dead_port_is_told_without_the_login() {
    let deadlines = Deadlines { connect: Duration::from_secs(2), ..Deadlines::default() };
    for login in ["", "s3cr3t:s3cr3t@"] {
        let url = format!("etcd://{login}127.0.0.1:{},127.0.0.1:{}/app", free_port(), free_port());
        let error = Etcd::options().deadlines(deadlines).connect(&url).wait().unwrap_err();

        assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
        assert!(!every_text(&error).contains("s3cr3t"), "{}", every_text(&error));
    }
}

#[test]
fn names_that_are_none_are_refused() {
    for namespace in ["", "a:b", "a/b", "..", "'; DROP TABLE a", "\u{0}", "ü"] {
        let url = format!("etcd://127.0.0.1:{}", NODE.port);
        let error = Etcd::options().namespace(namespace).connect(&url).wait().unwrap_err();
        assert!(matches!(error, ConnectError::Usage { .. }), "{namespace:?}");
    }
}

#[test]
fn a_dead_node_among_the_endpoints_is_passed_over() {
    let url = format!("etcd://127.0.0.1:{},127.0.0.1:{}/tests", free_port(), NODE.port);
    let store = Etcd::options().namespace(unused("passed")).connect(&url).wait().unwrap();

    put(&store).unwrap();
}

#[test]
fn a_client_of_the_program_serves_as_well() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(async {
        let client = etcd_client::Client::connect([format!("127.0.0.1:{}", NODE.port)], None).await.unwrap();
        Arc::new(
            Etcd::options().namespace(unused("client")).require_strict().with_client(client).await.unwrap(),
        )
    });

    // From the runtime, and from a thread that is in none.
    let waiting = Arc::clone(&store);
    std::thread::spawn(move || put(&waiting).unwrap()).join().unwrap();
    let read = runtime.block_on(async { store.get("a").await });
    assert!(read.unwrap().is_some());
}
