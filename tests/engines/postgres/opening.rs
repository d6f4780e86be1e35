//! Opening a store on a PostgreSQL server: what is refused, what is told, and what outlives what.

use std::error::Error as StdError;
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use ifmatch::engine::ConnectError;
use ifmatch::store::Durability;
use ifmatch::{Commit, Entry, Error, Expected, Postgres, Start, Store};

use super::{connect, drawn, fresh_name, open, options, psql, server, server_in, shared_server, url, user};
use crate::server::Directory;

fn put(store: &Postgres, id: &str) -> ifmatch::Version {
    let entry = Entry::put(id, Expected::Any, (*b"v").into());
    store.commit(Commit::one(entry)).wait().unwrap().version().unwrap()
}

fn texts(error: &(dyn StdError + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

#[test]
fn many_may_make_the_tables_at_once() {
    let server = server(&[]);
    for round in 0..5 {
        let options = Postgres::options().schema(format!("schema_{round}")).table("notes");
        let openers: Vec<_> = (0..6)
            .map(|_| {
                let (options, port) = (options.clone(), server.port);
                thread::spawn(move || open(&options, port))
            })
            .collect();
        let stores: Vec<Postgres> = openers.into_iter().map(|opener| opener.join().unwrap()).collect();
        let version = put(&stores[0], "a");
        for store in &stores {
            assert_eq!(store.get("a").wait().unwrap().unwrap().version, version);
        }
    }
}

#[test]
fn relaxed_settings_are_told_and_refused_where_strictness_is_required() {
    let relaxed = [
        ("fsync=off", "`fsync` is off"),
        ("full_page_writes=off", "`full_page_writes` is off"),
        ("synchronous_commit=off", "`synchronous_commit` is off"),
    ];
    for (setting, told) in relaxed {
        let server = server(&[setting]);
        let Durability::Relaxed { may_lose } = open(&options(), server.port).abilities().durability else {
            panic!("{setting} is not strict");
        };
        assert!(may_lose.contains(told), "{may_lose}");
        let refused = connect(&options().require_strict(), server.port).unwrap_err();
        assert!(matches!(refused, ConnectError::Relaxed { .. }), "{refused}");
    }
    let server = server(&[]);
    let strict = open(&options().require_strict(), server.port);
    assert_eq!(strict.abilities().durability, Durability::Strict);
}

#[test]
fn what_is_there_and_not_ours_is_left_alone() {
    let server = server(&[]);
    let port = server.port;
    psql(port, "CREATE TABLE theirs (id integer); INSERT INTO theirs VALUES (7)");

    let foreign = connect(&options().table("theirs"), port).unwrap_err();
    assert!(matches!(foreign, ConnectError::Foreign { .. }), "{foreign}");
    assert_eq!(psql(port, "SELECT id FROM theirs"), "7");

    open(&options().table("ours"), port);
    psql(port, "UPDATE ours_places SET format = 2");
    let later = connect(&options().table("ours"), port).unwrap_err();
    assert!(matches!(&later, ConnectError::Foreign { found } if found.contains("format 2")), "{later}");
}

#[test]
fn a_server_that_can_not_commit_as_it_must_is_refused() {
    let server = server(&["default_transaction_isolation=serializable"]);

    // Connections of our own ask for what they need.
    put(&open(&options(), server.port), "a");
    let refused = connect(&options().unprepared(), server.port).unwrap_err();
    assert!(texts(&refused).contains("read committed"), "{refused}");
}

#[test]
fn no_text_shows_who_logs_in_with_what() {
    let port = shared_server().port;
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let urls = [
        format!("postgres://us3r:s3cr3t@127.0.0.1:{closed}/db"),
        format!("postgres://us3r:s3cr3t@127.0.0.1:{port}/postgres"),
        format!("postgres://postgres:s3cr3t@127.0.0.1:{port}/us3r"),
        "postgres://us3r:s3cr3t@127.0.0.1:notaport/db".to_owned(),
        "postgres://us3r:s3cr3t%zz@host/db".to_owned(),
        "user=us3r password='s3cr3t".to_owned(),
        "user=us3r password=s3cr3t".to_owned(),
        "s3cr3t".to_owned(),
    ];
    for url in urls {
        let options = options();
        let error = options.connect(&url).wait().unwrap_err();
        let text = format!("{}{options:?}", texts(&error));
        assert!(!text.contains("s3cr3t") && !text.contains("us3r"), "{text}");
    }
    let store =
        options().connect(&format!("postgres://postgres:s3cr3t@127.0.0.1:{port}/postgres")).wait().unwrap();
    assert!(!format!("{store:?}").contains("s3cr3t"));
}

#[test]
fn no_refusal_of_a_connection_names_who_or_what_was_refused() {
    let server = server(&["max_connections=8", "superuser_reserved_connections=3"]);
    psql(server.port, "CREATE ROLE us3r LOGIN");
    let url = |database: &str| format!("postgres://us3r:s3cr3t@127.0.0.1:{}/{database}", server.port);
    let refusal = |prepare: &str, database: &str, undo: &str| {
        psql(server.port, prepare);
        let error = options().connect(&url(database)).wait().unwrap_err();
        psql(server.port, undo);
        let text = texts(&error);
        assert!(!["us3r", "s3cr3t", "th3irs"].iter().any(|name| text.contains(name)), "{text}");
        text
    };
    psql(server.port, "CREATE DATABASE th3irs");

    let refusals = [
        ("ALTER ROLE us3r CONNECTION LIMIT 0", "postgres", "ALTER ROLE us3r CONNECTION LIMIT -1", "53300"),
        (
            "ALTER DATABASE th3irs CONNECTION LIMIT 0",
            "th3irs",
            "ALTER DATABASE th3irs CONNECTION LIMIT -1",
            "53300",
        ),
        ("ALTER ROLE us3r NOLOGIN", "postgres", "ALTER ROLE us3r LOGIN", "28000"),
        (
            "REVOKE CONNECT ON DATABASE th3irs FROM PUBLIC",
            "th3irs",
            "GRANT CONNECT ON DATABASE th3irs TO PUBLIC",
            "42501",
        ),
        (
            "ALTER DATABASE th3irs ALLOW_CONNECTIONS false",
            "th3irs",
            "ALTER DATABASE th3irs ALLOW_CONNECTIONS true",
            "55000",
        ),
        ("SELECT 1", "us3r", "SELECT 1", "3D000"),
        // Logged in, it may make no tables: what is shown then is the message, which names none of them.
        ("REVOKE CREATE ON SCHEMA public FROM PUBLIC", "postgres", "SELECT 1", "42501"),
    ];
    for (prepare, database, undo, code) in refusals {
        let text = refusal(prepare, database, undo);
        assert!(text.contains(code), "{prepare}: {text}");
    }
    psql(server.port, "DROP ROLE us3r");
    let text = texts(&options().connect(&url("postgres")).wait().unwrap_err());
    assert!(text.contains("28000") && !text.contains("us3r"), "{text}");
}

#[test]
fn after_a_wipe_no_old_version_matches_and_every_old_cursor_is_expired() {
    let server = server(&[]);
    let name = fresh_name();
    let options = Postgres::options().namespace(&name);
    let store = open(&options, server.port);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let old = put(&store, "a");
    let cursor = changes.next().wait().unwrap().cursor;
    psql(
        server.port,
        "DROP TABLE ifmatch, ifmatch_log, ifmatch_deleted, ifmatch_closed, ifmatch_places; DROP SEQUENCE ifmatch_versions",
    );

    // The store that was open fails, until somebody makes the tables anew.
    let failed = store.get("a").wait().unwrap_err();
    assert!(matches!(failed, Error::Failed(_)), "{failed:?}");
    let fresh = open(&options, server.port);
    put(&fresh, "a");

    for store in [&store, &fresh] {
        let stale = store.commit(Commit::one(Entry::delete("a", old))).wait().unwrap_err();
        assert!(stale.conflict().is_some(), "{stale}");
        assert!(matches!(store.watch(Start::After(cursor.clone())).wait(), Err(Error::Expired(_))));
    }
    assert!(matches!(changes.next().wait(), Err(Error::Expired(_))));
}

#[test]
fn after_a_restore_no_old_version_matches_and_every_old_cursor_is_expired() {
    let mut first = server(&[]);
    let name = fresh_name();
    let options = Postgres::options().namespace(&name);
    let store = open(&options, first.port);
    let kept = put(&store, "kept");
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let early = changes.cursor().clone();

    // A copy of the directory as it is after a crash: an older state, of which the server itself can't know.
    let copy = Directory::new(user());
    psql(first.port, "CHECKPOINT");
    let copied = Command::new("cp").arg("-a").arg(first.directory().join("data")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let _ = std::fs::remove_file(copy.path().join("data/postmaster.pid"));
    let lost: Vec<_> = (0..50).map(|_| put(&store, "a")).collect();
    let cursors: Vec<_> = lost.iter().map(|_| changes.next().wait().unwrap().cursor).collect();
    first.kill();

    let restored = server_in(copy, &[]);
    let store = open(&options, restored.port);
    let fresh: Vec<_> = (0..100).map(|_| put(&store, "a")).collect();

    assert_eq!(store.get("kept").wait().unwrap().unwrap().version, kept);
    assert!(lost.iter().all(|version| !fresh.contains(version)));
    for cursor in cursors {
        let resumed = store.watch(Start::After(cursor)).wait();
        assert!(matches!(resumed, Err(Error::Expired(_))), "{resumed:?}");
    }
    // One from before the copy was made goes on.
    let mut resumed = store.watch(Start::After(early)).wait().unwrap();
    assert_eq!(resumed.next().wait().unwrap().changes[0].version, fresh[0]);
}

#[test]
fn what_a_dump_has_carried_into_another_cluster_begins_a_new_feed() {
    let server = server(&[]);
    let options = Postgres::options().namespace(fresh_name());
    let store = open(&options, server.port);
    let kept = put(&store, "kept");
    let write = drawn(&store);
    store
        .commit(Commit::one(Entry::put("b", Expected::Any, (*b"v").into())).with_write(write))
        .wait()
        .unwrap();
    let cursor = store.watch(Start::Now).wait().unwrap().cursor().clone();

    // As the rows look there: transactions of a cluster that is not this one.
    psql(server.port, "UPDATE ifmatch_log SET xid = (xid::text::bigint + 1000000)::text::xid8");
    let carried = open(&options, server.port);

    assert!(matches!(carried.watch(Start::After(cursor)).wait(), Err(Error::Expired(_))));
    assert_eq!(carried.get("kept").wait().unwrap().unwrap().version, kept);
    assert_eq!(carried.resolve(write).wait().unwrap(), ifmatch::store::Resolution::Unknown);
    let mut changes = carried.watch(Start::Now).wait().unwrap();
    let fresh = put(&carried, "a");
    assert_eq!(changes.next().wait().unwrap().changes[0].version, fresh);
    // Once is enough.
    let again = open(&options, server.port);
    assert!(again.watch(Start::After(changes.cursor().clone())).wait().is_ok());
}

#[test]
fn a_pool_that_is_there_already_serves() {
    let config: tokio_postgres::Config = url(shared_server().port).parse().unwrap();
    let manager = deadpool_postgres::Manager::new(config, tokio_postgres::NoTls);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(2).build().unwrap();

    let store = options().with_pool(pool).wait().unwrap();

    let version = put(&store, "a");
    assert_eq!(store.get("a").wait().unwrap().unwrap().version, version);
}

#[tokio::test]
async fn a_store_serves_tasks_of_the_runtime_it_was_opened_in() {
    let store = options().connect(&url(shared_server().port)).await.unwrap();
    let entry = Entry::put("a", Expected::Absent, (*b"v").into());
    let mut changes = store.watch(Start::Now).await.unwrap();

    let committed = store.commit(Commit::one(entry)).await.unwrap();

    assert_eq!(Some(changes.next().await.unwrap().changes[0].version), committed.version());
}

#[test]
fn whoever_outlives_the_runtime_of_a_store_is_told() {
    crate::runtime::whoever_outlives_the_runtime_of_a_store_is_told(|| async {
        Arc::new(open(&options(), shared_server().port)) as Arc<dyn Store<[u8]>>
    });
}
