//! What each kind of version column misses, in a real server.

use ifmatch::Version;
use ifmatch::store::{Condition, Intent};
use trial::postgres::{Database, Server, database};

/// The version that the one row of this table is at.
fn version(database: &Database, column: &str) -> Version {
    let column = database.run(&format!("SELECT {column} FROM t"));
    Version::from_column(column.parse().unwrap()).unwrap()
}

/// Whether who read the row before these statements may write after them.
fn is_blind_to(table: &str, column: &str, statements: &str) -> bool {
    let database = database("read committed");
    database.run(table);
    let known = version(&database, column);
    database.run(statements);
    Condition::from(known).admit("t", Intent::Put, Some(version(&database, column))).is_ok()
}

#[test]
fn a_version_from_a_sequence_is_blind_to_nothing() {
    let table = "CREATE SEQUENCE s; CREATE TABLE t (version bigint DEFAULT nextval('s'), n int);
        INSERT INTO t (n) VALUES (1)";
    let update = "UPDATE t SET n = n + 1, version = nextval('s')";

    assert!(!is_blind_to(table, "version", update));
    assert!(!is_blind_to(table, "version", "DELETE FROM t; INSERT INTO t (n) VALUES (1)"));
}

#[test]
fn a_counter_is_blind_to_a_row_made_anew_and_may_begin_with_zero() {
    for first in [0, 1] {
        let insert = format!("INSERT INTO t VALUES ({first})");
        let table = format!("CREATE TABLE t (version bigint); {insert}");

        assert!(!is_blind_to(&table, "version", "UPDATE t SET version = version + 1"));
        assert!(is_blind_to(&table, "version", &format!("DELETE FROM t; {insert}")));
    }
}

#[test]
fn xmin_is_blind_to_writes_of_its_own_transaction() {
    let database = database("read committed");
    database.run("CREATE TABLE t (n int)");
    let versions = database.run(
        "WITH a AS (INSERT INTO t VALUES (1) RETURNING xmin::text::bigint AS x) SELECT x FROM a;
         UPDATE t SET n = 2; SELECT xmin::text::bigint FROM t",
    );

    let versions: Vec<&str> = versions.lines().collect();
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0], versions[1]);
    let table = "CREATE TABLE t (n int); INSERT INTO t VALUES (1)";
    assert!(!is_blind_to(table, "xmin::text::bigint", "UPDATE t SET n = 2"));
}

#[test]
fn xmin_says_the_same_again_after_a_dump_and_a_restore() {
    let (old, new) = (Server::start(), Server::start());
    let [old, new] = [old.database("read committed"), new.database("read committed")];
    // The old server has had more transactions than the new one will have when it takes over.
    old.run("DO $$ BEGIN FOR i IN 1..200 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$");
    old.run("CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    let column = "xmin::text::bigint";
    let known = version(&old, column);

    new.run(&old.dump());
    let restored = version(&new, column);
    new.run(&format!(
        "DO $$ BEGIN WHILE (SELECT {column} < {} FROM t) LOOP UPDATE t SET n = n + 1; COMMIT; END LOOP; END $$",
        known.to_column().unwrap()
    ));

    assert!(restored.to_column() < known.to_column(), "{restored} is not below {known}");
    assert!(new.run("SELECT n FROM t").parse::<u32>().unwrap() > 1);
    let basis = Condition::from(known);
    assert!(basis.admit("t", Intent::Put, Some(version(&new, column))).is_ok());
}

#[test]
fn a_timestamp_is_blind_to_writes_in_one_tick() {
    let column = "(extract(epoch FROM updated_at) * 1000000)::bigint";
    let table = "CREATE TABLE t (n int, updated_at timestamptz);
        INSERT INTO t VALUES (1, '2030-01-01 00:00:00.000001Z')";
    let update =
        |tick: u8| format!("UPDATE t SET n = n + 1, updated_at = '2030-01-01 00:00:00.00000{tick}Z'");

    assert!(!is_blind_to(table, column, &update(2)));
    assert!(is_blind_to(table, column, &update(1)));
}
