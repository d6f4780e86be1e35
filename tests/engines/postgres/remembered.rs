//! What a store in a PostgreSQL database remembers of write ids, and for how long.

use std::collections::HashSet;

use ifmatch::store::{Refusal, Resolution, WriteId};
use ifmatch::{Commit, Entry, Error, Expected, Kind, Postgres, Store, Version};

use super::{drawn, fresh_name, open, options, psql, server, shared_server};

fn put<'c>(id: &'c str, expected: impl Into<ifmatch::store::Condition>, value: &[u8]) -> Commit<'c, [u8]> {
    Commit::one(Entry::put(id, expected, value.into()))
}

fn version(store: &Postgres, commit: Commit<'_, [u8]>) -> Version {
    store.commit(commit).wait().unwrap().version().unwrap()
}

/// How many rows a namespace has in a table.
fn count(port: u16, table: &str, name: &str) -> u64 {
    psql(port, &format!("SELECT count(*) FROM {table} WHERE namespace = '{name}'")).parse().unwrap()
}

/// How many closed ids the row of a namespace says there are.
fn counted(port: u16, name: &str) -> u64 {
    psql(port, &format!("SELECT closed FROM ifmatch_places WHERE namespace = '{name}'")).parse().unwrap()
}

/// Commits until something holds. The last trim may still be under way, and eight commits bring the next one.
fn commit_until(store: &Postgres, holds: impl Fn() -> bool) {
    for _ in 0..30 {
        if holds() {
            return;
        }
        for _ in 0..8 {
            version(store, put("more", Expected::Any, b"v"));
        }
    }
    panic!("it does not hold after 30 trims");
}

#[test]
fn history_is_bounded_and_what_was_forgotten_is_neither_applied_again_nor_told_as_not_applied() {
    // A server of its own: where another test has a transaction open, nothing is trimmed.
    let (server, name) = (server(&["fsync=off"]), fresh_name());
    let port = server.port;
    let store = open(&Postgres::options().namespace(&name).history(64), port);
    let (first, closed) = (drawn(&store), drawn(&store));
    version(&store, put("first", Expected::Absent, b"v").with_write(first));
    assert_eq!(store.resolve(closed).wait().unwrap(), Resolution::NotApplied);
    store.commit(Commit::one(Entry::delete("first", Expected::Present))).wait().unwrap();
    let mut write = drawn(&store);
    for number in 0..300_u32 {
        let id = format!("{}", number % 7);
        write = WriteId::after(Some(version(&store, put(&id, Expected::Any, b"v").with_write(write))));
    }
    let last = write;
    version(&store, put("last", Expected::Absent, b"v").with_write(last));

    commit_until(&store, || {
        let [log, deleted, closed] =
            ["ifmatch_log", "ifmatch_deleted", "ifmatch_closed"].map(|table| count(port, table, &name));
        log <= 100 && deleted == 0 && closed == 0
    });

    assert_eq!(counted(port, &name), 0);
    for old in [first, closed] {
        assert_eq!(store.resolve(old).wait().unwrap(), Resolution::Unknown);
        let late = store.commit(put("first", Expected::Any, b"late").with_write(old)).wait().unwrap_err();
        let Error::Refused(Refusal::Outside { newest: Some(newest), .. }) = late else { panic!("{late}") };
        // Who draws there is heard.
        assert_eq!(store.resolve(WriteId::after(Some(newest))).wait().unwrap(), Resolution::NotApplied);
    }
    assert!(matches!(store.resolve(last).wait().unwrap(), Resolution::Applied(_)));
    let gone = store.commit(put("first", Expected::Present, b"v")).wait().unwrap_err();
    assert_eq!(gone.conflict().unwrap().kind(), &Kind::Missing);
}

#[test]
fn asking_after_more_write_ids_than_are_remembered_shuts_out_no_commit() {
    let (server, name) = (server(&["fsync=off"]), fresh_name());
    let port = server.port;
    let store = open(&Postgres::options().namespace(&name).history(64), port);
    let seen = version(&store, put("a", Expected::Absent, b"0"));
    let (mut closed, mut refused) = (Vec::new(), 0);
    for number in 0..300 {
        let ahead = WriteId::from_bits(u128::MAX - number);
        assert_eq!(store.resolve(ahead).wait().unwrap(), Resolution::Unknown);
        let write = WriteId::after(Some(seen));
        match store.resolve(write).wait().unwrap() {
            Resolution::NotApplied => closed.push(write),
            resolved => assert_eq!(resolved, Resolution::Unknown),
        }
    }
    assert_eq!((closed.len(), count(port, "ifmatch_closed", &name), counted(port, &name)), (64, 64, 64));
    for write in &closed {
        let late = store.commit(put("late", Expected::Any, b"1").with_write(*write)).wait().unwrap_err();
        assert!(matches!(late, Error::Refused(Refusal::Closed { .. })), "{late}");
    }

    let mut write = WriteId::after(Some(seen));
    for _ in 0..300 {
        match store.commit(put("a", Expected::Any, b"1").with_write(write)).wait() {
            Ok(committed) => write = WriteId::after(committed.version()),
            Err(_) => refused += 1,
        }
    }

    assert_eq!(refused, 0);
    commit_until(&store, || count(port, "ifmatch_closed", &name) == 0);
    for write in &closed {
        let late = store.commit(put("late", Expected::Any, b"1").with_write(*write)).wait().unwrap_err();
        assert!(matches!(late, Error::Refused(Refusal::Outside { .. })), "{late}");
    }
    // Those that are outdated have left room.
    assert_eq!(counted(port, &name), 0);
    assert_eq!(store.resolve(write).wait().unwrap(), Resolution::NotApplied);
}

#[test]
fn a_collection_that_was_idle_for_longer_than_its_history_writes_on() {
    let (server, name) = (server(&["fsync=off"]), fresh_name());
    let options = Postgres::options().namespace(&name).history(64);
    let [idle, busy] = [(); 2].map(|()| ifmatch::Collection::<u64>::json(open(&options, server.port)));
    let created = idle.create("a", 1).wait().unwrap();
    let old = idle.write_id();
    for number in 0..300 {
        busy.put("b", number).wait().unwrap();
    }
    let other = open(&options, server.port);
    commit_until(&other, || count(server.port, "ifmatch_log", &name) <= 100);

    let forgotten = idle.store().resolve(old).wait().unwrap();
    idle.replace("a", created.version, 2).wait().unwrap();

    assert_eq!(forgotten, Resolution::Unknown);
    assert_eq!(*idle.fetch("a").wait().unwrap().value, 2);
}

#[test]
fn versions_under_a_made_up_write_id_are_told_apart_by_chance_all_the_same() {
    let store = open(&options(), shared_server().port);
    let place = u128::from(version(&store, put("a", Expected::Any, b"v")).to_bits().get());
    let tag = |number: u128| {
        let write = WriteId::from_bits(place << 64 | number << 32);
        version(&store, put("a", Expected::Any, b"v").with_write(write)).to_bits().get() & 0xff_ffff
    };

    let tags: HashSet<u64> = (0..20).map(tag).collect();

    assert!(tags.len() > 15, "{tags:?}");
}

#[test]
fn what_the_functions_say_of_a_write_id_is_the_same_for_one_entry_and_for_many() {
    let (port, name) = (shared_server().port, fresh_name());
    let store = open(&Postgres::options().namespace(&name), port);
    let newest = version(&store, put("a", Expected::Absent, b"v")).to_bits().get();
    let hex = |write: u128| format!("'\\x{write:032x}'::bytea");
    psql(
        port,
        &format!(
            "UPDATE ifmatch_places SET forgotten = {}, closed = 1 WHERE namespace = '{name}';
             INSERT INTO ifmatch_closed VALUES ('{name}', {})",
            hex(100),
            hex(50)
        ),
    );
    let verdict = |write: u128, again: bool, expected: char, room: u8| {
        let given = format!("'{name}', {}, 9, {}, {again}, {room}, 5, 1000", hex(write), write as i64);
        let one = format!("ifmatch_commit_one_1({given}, 'a', 'p', '{expected}', 0, 0, '')");
        let many = format!(
            "ifmatch_commit_many_1({given}, '{{a}}', '{{p}}', '{{{expected}}}', '{{0}}', '{{0}}', '{{\"\"}}')"
        );
        let undone = |call| psql(port, &format!("BEGIN; SELECT told_verdict FROM {call}; ROLLBACK"));
        let [one, many] = [one, many].map(undone);
        assert_eq!(one, many);
        one
    };
    let room = 64;

    // Whether it was sent before or not: nobody knows what became of it.
    for again in [true, false] {
        for expected in ['p', 'n'] {
            assert_eq!([7, 100].map(|write| verdict(write, again, expected, room)), ["u", "u"]);
            let ahead = (newest as u128 + (1 << 40)) << 64;
            assert_eq!([ahead, u128::MAX].map(|write| verdict(write, again, expected, room)), ["u", "u"]);
        }
    }
    // One that was closed by its name never came: what it is told is why, as long as that is so.
    assert_eq!(
        [(true, 'p'), (true, 'n'), (false, 'n')].map(|(again, expected)| verdict(50, again, expected, room)),
        ["x", "m", "x"]
    );
    // A conflict that is sent again closes its id, and is not told where there is no room for it.
    let ours = u128::from(newest) << 64 | 5;
    assert_eq!([101, ours].map(|write| verdict(write, false, 'p', 1)), ["a", "a"]);
    assert_eq!(
        [(false, 1), (true, 2), (true, 1)].map(|(again, room)| verdict(ours, again, 'n', room)),
        ["m", "m", "u"]
    );
    psql(port, &format!("UPDATE ifmatch SET format = 2 WHERE namespace = '{name}'"));
    assert_eq!(
        [(false, 1), (true, 2), (true, 1)].map(|(again, room)| verdict(ours, again, 'n', room)),
        ["f", "f", "u"]
    );
}

#[test]
fn what_a_long_transaction_has_kept_is_trimmed_piece_by_piece_once_it_ends() {
    let (server, name) = (server(&["fsync=off", "max_prepared_transactions=2"]), fresh_name());
    let store = open(&Postgres::options().namespace(&name).history(64), server.port);
    psql(server.port, "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'long'");
    for _ in 0..400 {
        version(&store, put("a", Expected::Any, b"v"));
    }
    assert_eq!(count(server.port, "ifmatch_log", &name), 400);

    psql(server.port, "ROLLBACK PREPARED 'long'");
    version(&store, put("a", Expected::Any, b"v"));

    commit_until(&store, || count(server.port, "ifmatch_log", &name) <= 100);
}
