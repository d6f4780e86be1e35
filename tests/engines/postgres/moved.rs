//! What holds where the database moves under an open store, and where its sequence or its functions are not what they were.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ifmatch::store::Resolution;
use ifmatch::{Collection, Commit, Entry, Error, Expected, Postgres, Start, Store, Version};

use super::{ELSEWHERE, connect, drawn, new_cluster, open, options, psql, server, server_in, shared_server};
use crate::faults::patiently;
use crate::proxy::Proxy;
use crate::server::program;

fn put(store: &Postgres, id: &str) -> Result<Version, Error> {
    let entry = Entry::put(id, Expected::Any, (*b"v").into());
    store.commit(Commit::one(entry)).wait().map(|committed| committed.version().unwrap())
}

/// Carries everything from one server to another, as an administrator would.
fn carry(from: u16, to: u16) {
    let server = |program_: &str, port: u16| {
        let mut command = Command::new(program(program_, &ELSEWHERE, "postgresql-client"));
        command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()]);
        command
    };
    let mut dump =
        server("pg_dump", from).args(["--clean", "--if-exists"]).stdout(Stdio::piped()).spawn().unwrap();
    let restore = server("psql", to)
        .args(["-qX", "-v", "ON_ERROR_STOP=1"])
        .stdin(dump.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status();
    assert!(dump.wait().unwrap().success() && restore.unwrap().success());
}

/// Uses up numbers of transactions.
fn burn(port: u16, many: u32) {
    let one = "SELECT pg_current_xact_id(); COMMIT;";
    psql(port, &format!("DO $$ BEGIN FOR i IN 1..{many} LOOP PERFORM {} END LOOP; END $$", &one[7..]));
}

#[test]
fn a_database_that_moves_under_an_open_store_begins_a_new_history_at_the_next_step() {
    // The new cluster may have come to fewer transactions than the old one, or to more.
    for (old, new) in [(3_000, 0), (0, 3_000)] {
        let [before, after] = [server(&["fsync=off"]), server_in(new_cluster(), &["fsync=off"])];
        burn(before.port, old);
        burn(after.port, new);
        let network = Proxy::new(before.address());
        let options = options();
        let store = open(&options, network.port());
        let kept: Vec<Version> = (0..20).map(|number| put(&store, &number.to_string()).unwrap()).collect();
        let write = drawn(&store);
        let entry = Entry::put("stamped", Expected::Any, (*b"v").into());
        store.commit(Commit::one(entry).with_write(write)).wait().unwrap();
        let [mut told, mut idle] = [(); 2].map(|()| store.watch(Start::Now).wait().unwrap());
        let cursor = told.cursor().clone();

        // What replication of the contents leaves behind: the sequence as it was once.
        carry(before.port, after.port);
        psql(after.port, "ALTER SEQUENCE ifmatch_versions RESTART WITH 1");
        network.redirect(after.address());
        network.cut_all();

        // A watcher finds out by itself.
        assert!(matches!(idle.next().wait(), Err(Error::Expired(_))));
        let fresh: Vec<Version> =
            (0..20).map(|number| patiently(|| put(&store, &number.to_string()))).collect();
        assert!(
            kept.iter().zip(&fresh).all(|(kept, fresh)| fresh.to_bits() > kept.to_bits()),
            "{kept:?} {fresh:?}"
        );
        assert!(matches!(told.next().wait(), Err(Error::Expired(_))));
        assert!(matches!(store.watch(Start::After(cursor)).wait(), Err(Error::Expired(_))));
        // The new history is told without a gap, and write ids of the old one are forgotten.
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let next: Vec<Version> = (0..20).map(|_| put(&store, "a").unwrap()).collect();
        let seen: Vec<Version> =
            next.iter().map(|_| changes.next().wait().unwrap().changes[0].version).collect();
        assert_eq!(seen, next);
        assert_eq!(store.resolve(write).wait().unwrap(), Resolution::Unknown);
        // Once is enough.
        let again = open(&options, after.port);
        assert!(again.watch(Start::After(changes.cursor().clone())).wait().is_ok());
    }
}

#[test]
fn the_first_commit_after_a_move_is_applied_once_and_a_question_is_answered() {
    let [before, after] = [server(&["fsync=off"]), server_in(new_cluster(), &["fsync=off"])];
    let network = Proxy::new(before.address());
    let store = open(&options(), network.port());
    let counter = Collection::<u64>::json(store);
    counter.create("n", 0).wait().unwrap();
    let asked = counter.write_id();
    carry(before.port, after.port);
    network.redirect(after.address());
    network.cut_all();

    for _ in 0..10 {
        counter.modify("n", |n| *n += 1).wait().unwrap();
    }

    assert_eq!(*counter.fetch("n").wait().unwrap().value, 10);
    // They are in the new history: whoever looks at it later finds them there.
    let write = counter.write_id();
    let stamped = Commit::one(Entry::put("stamped", Expected::Absent, Arc::new(1))).with_write(write);
    counter.store().commit(stamped).wait().unwrap();
    let _changes = counter.store().watch(Start::Now).wait().unwrap();
    assert!(matches!(counter.store().resolve(write).wait().unwrap(), Resolution::Applied(_)));
    let resolved = counter.store().resolve(asked).wait().unwrap();
    assert!(matches!(resolved, Resolution::NotApplied | Resolution::Unknown), "{resolved:?}");
    // Of several ids too, and where the question comes first.
    psql(after.port, "UPDATE ifmatch_places SET cluster = 1, epoch = epoch + 1");
    let resolved = counter.store().resolve(counter.write_id()).wait().unwrap();
    assert!(matches!(resolved, Resolution::NotApplied | Resolution::Unknown), "{resolved:?}");
    psql(after.port, "UPDATE ifmatch_places SET cluster = 1, epoch = epoch + 1");
    let both = ["a", "b"].map(|id| Entry::put(id, Expected::Absent, std::sync::Arc::new(1)));
    counter.store().commit(both.into_iter().collect()).wait().unwrap();
}

#[test]
fn a_sequence_that_was_set_back_gives_no_version_that_is_not_higher() {
    let server = server(&["fsync=off"]);
    let store = open(&options(), server.port);
    for id in ["a", "b", "gone"] {
        put(&store, id).unwrap();
    }
    store.commit(Commit::one(Entry::delete("gone", Expected::Present))).wait().unwrap();
    let stood = store.get("a").wait().unwrap();
    psql(server.port, "SELECT setval('ifmatch_versions', 5)");

    let one = |entry: Entry<'_, [u8]>| store.commit(Commit::one(entry)).wait().unwrap_err();
    let value = || (*b"new").into();
    let refused = [
        one(Entry::put("a", Expected::Any, value())),
        one(Entry::delete("a", Expected::Any)),
        one(Entry::put("gone", Expected::Absent, value())),
        store
            .commit(["new", "gone"].map(|id| Entry::put(id, Expected::Absent, value())).into_iter().collect())
            .wait()
            .unwrap_err(),
        store
            .commit(["new", "b"].map(|id| Entry::put(id, Expected::Any, value())).into_iter().collect())
            .wait()
            .unwrap_err(),
    ];

    for error in refused {
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("sequence of versions"), "{text}");
        assert_eq!(error.outcome(), ifmatch::store::Outcome::NotApplied);
    }
    assert_eq!(store.get("a").wait().unwrap(), stood);
    assert!(store.get("new").wait().unwrap().is_none() && store.get("gone").wait().unwrap().is_none());
}

#[test]
fn a_sequence_that_gives_numbers_in_another_order_is_refused() {
    let server = server(&["fsync=off"]);
    let settings = [("CACHE 20", "CACHE 1"), ("CYCLE", "NO CYCLE")];
    for (wrong, right) in settings {
        open(&options(), server.port);
        psql(server.port, &format!("ALTER SEQUENCE ifmatch_versions {wrong}"));

        let refused = connect(&options(), server.port).unwrap_err();

        assert!(refused.to_string().contains("sequence"), "{refused}");
        psql(server.port, &format!("ALTER SEQUENCE ifmatch_versions {right}"));
    }
}

#[test]
fn functions_of_others_that_fit_better_are_not_called() {
    let server = server(&["fsync=off"]);
    // Whoever may create in a schema that is searched can make these.
    for (name, result, body) in [
        ("hashtextextended(text, integer)", "bigint", "SELECT (random() * 1000000)::bigint"),
        ("hashtextextended(text, bigint)", "bigint", "SELECT (random() * 1000000)::bigint"),
        ("pg_advisory_xact_lock(bigint)", "void", "SELECT"),
        ("pg_try_advisory_xact_lock(bigint)", "boolean", "SELECT true"),
        ("nextval(regclass)", "bigint", "SELECT 7::bigint"),
        ("unnest(text[])", "SETOF text", "SELECT 'x'::text"),
        ("max(smallint)", "smallint", "SELECT 9::smallint"),
        ("to_regclass(text)", "regclass", "SELECT NULL::regclass"),
    ] {
        psql(
            server.port,
            &format!("CREATE FUNCTION public.{name} RETURNS {result} LANGUAGE sql AS $body${body}$body$"),
        );
    }
    psql(server.port, "ALTER ROLE postgres SET search_path = public, pg_catalog");
    // With the settings of the store, and with those of the role.
    let options = options();
    let stores = [options.clone(), options.unprepared()].map(|options| Arc::new(open(&options, server.port)));
    let applied = AtomicU64::new(0);

    thread::scope(|scope| {
        for worker in 0..8 {
            let (store, applied) = (Arc::clone(&stores[worker % 2]), &applied);
            scope.spawn(move || {
                for _ in 0..40 {
                    let found = store.get("n").wait().unwrap();
                    let number = found.as_ref().map_or(0, |found| found.value[0]);
                    let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.version));
                    let entries = ["n", "m"].map(|id| match id {
                        "n" => Entry::put("n", expected, [number + 1].into()),
                        _ => Entry::put("m", Expected::Any, [number].into()),
                    });
                    let commit = match worker % 4 {
                        0 => entries.into_iter().collect::<Commit<'_, [u8]>>(),
                        _ => Commit::one(entries.into_iter().next().unwrap()),
                    };
                    match store.commit(commit).wait() {
                        Ok(_) => _ = applied.fetch_add(1, Ordering::SeqCst),
                        Err(Error::Conflict(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
    });

    let found = store_value(&stores[0], "n");
    assert_eq!(u64::from(found), applied.load(Ordering::SeqCst) % 256);
    let checks = ["n", "m"].map(|id| Entry::check(id, Expected::Present));
    assert_eq!(stores[0].commit(checks.into_iter().collect()).wait().unwrap().receipts().len(), 2);
}

fn store_value(store: &Postgres, id: &str) -> u8 {
    store.get(id).wait().unwrap().unwrap().value[0]
}

#[test]
fn a_table_that_a_crash_empties_is_told_whichever_it_is() {
    let server = server(&[]);
    let strict = options().require_strict();
    open(&strict, server.port);
    for table in ["ifmatch", "ifmatch_log", "ifmatch_deleted", "ifmatch_closed", "ifmatch_places"] {
        psql(server.port, &format!("ALTER TABLE {table} SET UNLOGGED"));
        let refused = connect(&strict, server.port).unwrap_err();
        assert!(refused.to_string().contains("unlogged"), "{table}: {refused}");
        psql(server.port, &format!("ALTER TABLE {table} SET LOGGED"));
    }
    open(&strict, server.port);
}

#[test]
fn values_that_are_gone_are_not_told_again() {
    let store = open(&options(), shared_server().port);
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let ids: Vec<String> = (0..7).map(|number| number.to_string()).collect();
    for id in &ids {
        put(&store, id).unwrap();
    }
    let first = changes.next().wait().unwrap();
    assert!(first.changes[0].value().is_some());

    for id in &ids {
        store.commit(Commit::one(Entry::delete(id, Expected::Present))).wait().unwrap();
    }

    for id in &ids[1..] {
        let told = changes.next().wait().unwrap();
        assert_eq!((&*told.changes[0].id, told.changes[0].value().is_some()), (&**id, false));
    }
    let deleted: Vec<String> =
        ids.iter().map(|_| changes.next().wait().unwrap().changes[0].id.to_string()).collect();
    assert_eq!(deleted, ids);
}
