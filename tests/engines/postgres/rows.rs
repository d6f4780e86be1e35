//! Ids, values and rows on a PostgreSQL server.

use std::sync::Arc;

use ifmatch::store::{Refusal, Scan};
use ifmatch::{Commit, Entry, Error, Expected, Postgres, Store};

use super::{fresh_name, open, options, psql, shared_server};

fn put<'c>(id: &'c str, expected: impl Into<ifmatch::store::Condition>, value: &[u8]) -> Commit<'c, [u8]> {
    Commit::one(Entry::put(id, expected, value.into()))
}

#[test]
fn ids_of_every_plane_are_kept_and_listed_in_byte_order() {
    let store = open(&options(), shared_server().port);
    let mut ids: Vec<String> = (0..=0x10ffff_u32)
        .step_by(0x777)
        .filter_map(char::from_u32)
        .chain(['\u{1}', '\u{7f}', '\u{80}', '\u{7ff}', '\u{800}', '\u{ffff}', '\u{10000}', '\u{10ffff}'])
        .filter(|character| *character != '\0')
        .map(|character| format!("{character}"))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    for some in ids.chunks(500) {
        let puts = some.iter().map(|id| Entry::put(id, Expected::Absent, id.as_bytes().into()));
        store.commit(puts.collect()).wait().unwrap();
    }

    let page = store.scan(Scan::new("", ids.len() + 1)).wait().unwrap();

    let listed: Vec<&str> = page.items.iter().map(|(id, _)| &**id).collect();
    assert_eq!(listed, ids);
    assert!(page.items.iter().all(|(id, found)| found.value.as_deref() == Some(id.as_bytes())));
    for id in &ids {
        assert_eq!(store.scan(Scan::new(id, 2)).wait().unwrap().items.len(), 1, "{id:?}");
    }
}

#[test]
fn ten_thousand_ids_are_listed_in_one_page_and_in_many() {
    let store = open(&options(), shared_server().port);
    let ids: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
    for some in ids.chunks(1_000) {
        store
            .commit(some.iter().map(|id| Entry::put(id, Expected::Absent, id.as_bytes().into())).collect())
            .wait()
            .unwrap();
    }

    let page = store.scan(Scan::new("", 10_000)).wait().unwrap();
    assert_eq!((page.items.len(), page.more), (10_000, false));

    let (mut listed, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = store.scan(Scan::new("", 777).after(after.as_deref())).wait().unwrap();
        listed.extend(page.items.iter().map(|(id, _)| id.to_string()));
        after = page.next().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids);
}

#[test]
fn names_like_injections_are_names() {
    let port = shared_server().port;
    let names = ["'; DROP TABLE ifmatch; --", "\"", "$1", "{log}", "a\\'b", "%", "ünï cödé 😀", "\n"];
    for name in names {
        let store = open(&Postgres::options().namespace(name), port);
        for id in names {
            store.commit(put(id, Expected::Any, name.as_bytes())).wait().unwrap();
        }
    }
    for name in names {
        let store = open(&Postgres::options().namespace(name), port);
        let page = store.scan(Scan::new("", 100)).wait().unwrap();
        assert_eq!(page.items.len(), names.len(), "{name:?}");
        assert!(
            page.items.iter().all(|(_, found)| found.value.as_deref() == Some(name.as_bytes())),
            "{name:?}"
        );
    }
}

#[test]
fn a_large_value_is_kept_and_a_larger_one_refused() {
    let store = open(&options().value_limit(4 << 20), shared_server().port);
    let large: Arc<[u8]> =
        (0..4 << 20).map(|number: u32| (number.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();

    let version = store.commit(put("large", Expected::Absent, &large)).wait().unwrap().version().unwrap();
    let stale = store.commit(put("large", Expected::Absent, b"small")).wait().unwrap_err();
    let refused = store.commit(put("larger", Expected::Any, &vec![0; (4 << 20) + 1])).wait();

    let found = store.get("large").wait().unwrap().unwrap();
    assert!(found.version == version && found.value == large);
    assert!(stale.conflict().unwrap().current::<[u8]>().unwrap().value == large);
    assert!(
        matches!(refused, Err(Error::Refused(Refusal::TooLarge { bytes, limit, .. })) if bytes == limit + 1)
    );
}

#[test]
fn a_commit_of_a_thousand_entries_is_one_commit() {
    let store = open(&options(), shared_server().port);
    let ids: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
    let commit = |ids: &[String]| {
        let puts = ids.iter().map(|id| Entry::put(id, Expected::Absent, (*b"v").into()));
        store.commit(puts.collect::<Commit<'_, [u8]>>()).wait()
    };

    assert!(matches!(commit(&ids), Err(Error::Refused(Refusal::TooMany { entries: 1_001, limit: 1_000 }))));
    assert_eq!(commit(&ids[..1_000]).unwrap().receipts().len(), 1_000);
    let again = commit(&ids[1..]).unwrap_err();
    assert_eq!(again.conflict().unwrap().mismatches().len(), 999);
    assert!(store.get("1000").wait().unwrap().is_none());
}

#[test]
fn damaged_values_and_those_of_a_later_format_are_told_and_stay() {
    let (port, name) = (shared_server().port, fresh_name());
    let store = open(&Postgres::options().namespace(&name), port);
    for id in ["a", "b", "c"] {
        store.commit(put(id, Expected::Absent, b"value")).wait().unwrap();
    }
    psql(port, &format!("UPDATE ifmatch SET value = 'valuf' WHERE namespace = '{name}' AND id = 'b'"));
    psql(port, &format!("UPDATE ifmatch SET format = 2 WHERE namespace = '{name}' AND id = 'c'"));

    let ids = Scan::new("", 10).without_values();
    let listed = |scan| {
        let page = store.scan(scan).wait().map(|page| page.without_values());
        page.map(|page| (page.items.iter().map(|(id, _)| id.to_string()).collect::<String>(), page.more))
    };
    assert_eq!(listed(Scan::new("", 10)).unwrap(), ("a".to_owned(), true));
    assert_eq!(listed(ids).unwrap(), ("ab".to_owned(), true), "only the value of `b` is damaged");
    assert!(matches!(listed(ids.after(Some("b"))), Err(Error::Corrupt(corrupt)) if corrupt.id() == "c"));

    for id in ["b", "c"] {
        let Err(Error::Corrupt(corrupt)) = store.get(id).wait() else { panic!("`{id}` is damaged") };
        let blind = store.commit(put(id, Expected::Any, b"new")).wait();
        if id == "c" {
            assert!(
                matches!(&blind, Err(Error::Corrupt(told)) if told.version() == corrupt.version()),
                "{blind:?}"
            );
            let beside = put("a", Expected::Any, b"new").and(Entry::delete("c", Expected::Any));
            assert!(matches!(store.commit(beside).wait(), Err(Error::Corrupt(_))));
            // Of two the one that was not named is told.
            psql(port, &format!("UPDATE ifmatch SET format = 2 WHERE namespace = '{name}' AND id = 'b'"));
            let Err(Error::Corrupt(other)) = store.get("b").wait() else { panic!("`b` is damaged") };
            let named = Commit::one(Entry::put("b", other.version(), (*b"new").into())).and(Entry::put(
                "c",
                Expected::Any,
                (*b"new").into(),
            ));
            let told = store.commit(named).wait();
            assert!(matches!(&told, Err(Error::Corrupt(told)) if told.id() == "c"), "{told:?}");
            store.commit(put(id, corrupt.version(), b"named")).wait().unwrap();
            assert_eq!(*store.get(id).wait().unwrap().unwrap().value, *b"named");
        }
    }
    assert_eq!(*store.get("a").wait().unwrap().unwrap().value, *b"value");
}
