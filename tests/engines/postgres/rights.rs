//! What the store needs the rights for, and what is told where one is missing.

use ifmatch::engine::ConnectError;
use ifmatch::store::Outcome;
use ifmatch::{Commit, Entry, Expected, Postgres, Start, Store};

use super::{Session, fresh_name, open, psql, server};
use crate::patience::until;

/// A role that may do everything the store needs with the tables that there are.
const ROLE: &str = "CREATE ROLE app LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app; \
                    GRANT USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA public TO app";

fn connect(port: u16, name: &str) -> Result<Postgres, ConnectError> {
    let options = Postgres::options().namespace(name).history(64);
    options.connect(&format!("postgres://app@127.0.0.1:{port}/postgres")).wait()
}

fn put(store: &Postgres, number: u32) -> Result<(), ifmatch::Error> {
    let entry = Entry::put("a", Expected::Any, number.to_be_bytes().into());
    store.commit(Commit::one(entry)).wait().map(drop)
}

#[test]
fn a_login_that_lacks_a_right_does_not_open_and_is_told_which() {
    let server = server(&["fsync=off"]);
    psql(server.port, ROLE);
    let name = fresh_name();
    put(&connect(server.port, &name).unwrap(), 1).unwrap();
    let rights = [
        ("DELETE", "ifmatch_log"),
        ("DELETE", "ifmatch_deleted"),
        ("DELETE", "ifmatch_closed"),
        ("UPDATE", "ifmatch_places"),
        ("INSERT", "ifmatch"),
        ("USAGE", "ifmatch_versions"),
        ("UPDATE", "ifmatch_versions"),
    ];
    for (right, table) in rights {
        let kind = if table == "ifmatch_versions" { "SEQUENCE" } else { "TABLE" };
        psql(server.port, &format!("REVOKE {right} ON {kind} {table} FROM app"));

        let refused = connect(server.port, &name).unwrap_err();

        let told = std::error::Error::source(&refused).unwrap().to_string();
        assert!(told.contains(&format!("{right} on \"public\".\"{table}\"")), "{refused}: {told}");
        psql(server.port, &format!("GRANT {right} ON {kind} {table} TO app"));
    }
    let store = connect(server.port, &name).unwrap();
    // What it takes to go on where the rows were carried here without their sequence.
    psql(
        server.port,
        "UPDATE ifmatch_places SET cluster = 1, epoch = epoch + 1; ALTER SEQUENCE ifmatch_versions RESTART WITH 1",
    );
    put(&store, 2).unwrap();
}

#[test]
fn a_history_that_can_not_be_trimmed_any_more_is_told_before_it_grows_without_bounds() {
    let server = server(&["fsync=off"]);
    psql(server.port, ROLE);
    let name = fresh_name();
    let store = connect(server.port, &name).unwrap();
    psql(server.port, "REVOKE DELETE ON ifmatch_log FROM app");

    let refused = (0..10_000).find_map(|number| put(&store, number).err()).expect("it is told");

    assert_eq!(refused.outcome(), Outcome::NotApplied);
    let told = std::error::Error::source(&refused).unwrap().to_string();
    assert!(told.contains("history") && told.contains("42501"), "{told}");
    psql(server.port, "GRANT DELETE ON ifmatch_log TO app");
    // The next trim goes well, which is begun by a commit and ends beside it.
    crate::faults::patiently(|| put(&store, 0));
}

#[test]
fn a_timeout_for_statements_ends_no_feed() {
    let server = server(&["fsync=off"]);
    psql(server.port, ROLE);
    let name = fresh_name();
    let store = connect(server.port, &name).unwrap();
    psql(server.port, "ALTER ROLE app SET statement_timeout = '300ms'");
    let watched = connect(server.port, &name).unwrap();
    let mut changes = watched.watch(Start::Now).wait().unwrap();

    // Its looks meet the timeout meanwhile.
    let next = std::thread::spawn(move || changes.next().wait());
    let holder = Session::begin(server.port, "LOCK TABLE ifmatch_log");
    until("no look meets the timeout", || server.log().matches("due to statement timeout").count() > 1);
    drop(holder);
    put(&store, 1).unwrap();

    assert_eq!(&*next.join().unwrap().unwrap().changes[0].id, "a");
    drop(open(&Postgres::options().namespace(&name), server.port));
}
