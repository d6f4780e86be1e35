//! Large values, many ids, large commits and odd texts.

use std::sync::Arc;

use ifmatch::store::{Refusal, Scan};
use ifmatch::{Commit, Entry, Error, Etcd, Expected, Start, Store};

use super::{NODE, drawn, fresh, node, unused, url};
use crate::faults::newest;

fn put(id: &str, value: impl Into<Arc<[u8]>>) -> Entry<'_, [u8]> {
    Entry::put(id, Expected::Any, value.into())
}

#[test]
fn a_commit_has_up_to_125_entries_of_every_kind() {
    let store = fresh();
    let ids: Vec<String> = (0..126).map(|number| format!("{number:03}")).collect();
    let every =
        |entries: usize| -> Commit<'_, [u8]> { ids[..entries].iter().map(|id| put(id, *b"x")).collect() };
    let mut changes = store.watch(Start::Now).wait().unwrap();

    let committed = store.commit(every(125).with_write(drawn(&store))).wait().unwrap();
    assert_eq!(committed.receipts().len(), 125);
    assert_eq!(changes.next().wait().unwrap().changes.len(), 125);

    let refused = store.commit(every(126)).wait().unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::TooMany { entries: 126, limit: 125 })));
    let write = drawn(&store);
    let mixed: Commit<'_, [u8]> = ids[..125]
        .iter()
        .zip(
            [Expected::Present, Expected::Any, Expected::Version(committed.version().unwrap())]
                .iter()
                .cycle(),
        )
        .enumerate()
        .map(|(number, (id, expected))| match number % 3 {
            0 => Entry::check(id, *expected),
            1 => Entry::delete(id, *expected),
            _ => Entry::put(id, *expected, (*b"y").into()),
        })
        .collect();
    let first = store.commit(mixed.clone().with_write(write)).wait().unwrap();
    assert_eq!(store.commit(mixed.with_write(write)).wait().unwrap(), first);
    let stale: Commit<'_, [u8]> =
        ids[..125].iter().map(|id| Entry::check(id, committed.version().unwrap())).collect();
    let Err(Error::Conflict(conflict)) = store.commit(stale).wait() else { panic!("no conflict") };
    assert!(conflict.mismatches().len() > 80);
}

#[test]
fn what_no_request_can_hold_is_refused_before_it_is_sent() {
    let store = fresh();
    let megabyte: Arc<[u8]> = vec![7; 1 << 20].into();

    store.commit(Commit::one(put("a", Arc::clone(&megabyte)))).wait().unwrap();
    let both = Commit::one(put("a", Arc::clone(&megabyte))).and(put("b", Arc::clone(&megabyte)));
    let refused = store.commit(both).wait().unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::TooLarge { limit: 1_572_864, .. })), "{refused}");
    let refused = store.commit(Commit::one(put("a", vec![7; (1 << 20) + 1]))).wait().unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::TooLarge { limit: 1_048_576, .. })), "{refused}");

    // The largest that our sum lets through fits into etcd's own limit.
    let patient = Etcd::options().namespace(unused("limits")).value_limit(2 << 20);
    let store = patient.connect(&url(NODE.port)).wait().unwrap();
    let largest = (1..64).rev().map(|kilobytes| (1536 - kilobytes) << 10);
    let mut fits = largest
        .map(|bytes| store.commit(Commit::one(put("a", vec![7; bytes])).with_write(drawn(&store))).wait());
    let applied = fits.by_ref().take_while(|answer| answer.is_ok()).count();
    assert!(applied > 40, "{applied}");
    assert!(matches!(fits.next(), None | Some(Err(Error::Refused(Refusal::TooLarge { .. })))));
}

#[test]
fn a_value_of_4_mebibytes_works_where_etcd_takes_it() {
    let server = node(&["--max-request-bytes", "8388608"]);
    let options = Etcd::options().value_limit(4 << 20).request_limit(8 << 20);
    let store = options.connect(&url(server.port)).wait().unwrap();
    let value: Arc<[u8]> = (0..4 << 20).map(|number| (number % 251) as u8).collect();
    let mut changes = store.watch(Start::Now).wait().unwrap();

    for _ in 0..2 {
        store.commit(Commit::one(put("a", Arc::clone(&value))).with_write(drawn(&store))).wait().unwrap();
    }

    assert_eq!(store.get("a").wait().unwrap().unwrap().value, value);
    assert_eq!(store.scan(Scan::new("", 10)).wait().unwrap().items[0].1.value.as_ref(), Some(&value));
    let Err(Error::Conflict(conflict)) =
        store.commit(Commit::one(Entry::delete("a", Expected::Absent))).wait()
    else {
        panic!("no conflict")
    };
    assert_eq!(conflict.current::<[u8]>().unwrap().value, value);
    assert!(changes.next().wait().unwrap().changes[0].value().is_none());
    assert_eq!(changes.next().wait().unwrap().changes[0].value(), Some(&value));
}

#[test]
fn an_answer_may_be_larger_than_any_request() {
    let store = fresh();
    let value: Arc<[u8]> = vec![7; 1 << 20].into();
    let ids: Vec<String> = (0..12).map(|number| format!("{number:02}")).collect();
    let begin = store.watch(Start::Now).wait().unwrap().cursor().clone();
    for id in &ids {
        store.commit(Commit::one(put(id, Arc::clone(&value))).with_write(drawn(&store))).wait().unwrap();
    }

    let page = store.scan(Scan::new("", 100)).wait().unwrap();
    assert_eq!(
        page.with_values().unwrap().items.iter().map(|(_, found)| found.value.len()).sum::<usize>(),
        12 << 20
    );
    let stale: Commit<'_, [u8]> = ids.iter().map(|id| Entry::check(id, Expected::Absent)).collect();
    let Err(Error::Conflict(conflict)) = store.commit(stale.with_write(drawn(&store))).wait() else {
        panic!("no conflict")
    };
    assert_eq!(conflict.mismatches().len(), 12);
    // Etcd sends a watcher that is behind many values at once.
    let mut changes = store.watch(Start::After(begin)).wait().unwrap();
    for _ in &ids {
        assert_eq!(changes.next().wait().unwrap().changes[0].value(), Some(&value));
    }
}

#[test]
fn ten_thousand_ids_are_listed_in_pages_and_at_once() {
    let store = fresh();
    let ids: Vec<String> = (0..10_000).map(|number| format!("{number:05}")).collect();
    for some in ids.chunks(125) {
        store.commit(some.iter().map(|id| put(id, *b"x")).collect()).wait().unwrap();
    }
    let listed = |limit: usize| {
        let (mut listed, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = store.scan(Scan::new("", limit).after(after.as_deref())).wait().unwrap();
            assert!(page.items.len() <= limit);
            listed.extend(page.items.iter().map(|(id, _)| id.to_string()));
            after = page.next().map(str::to_owned);
            if after.is_none() {
                return listed;
            }
        }
    };

    assert_eq!(listed(usize::MAX), ids);
    assert_eq!(listed(777), ids);
    assert_eq!(store.scan(Scan::new("09", 5_000)).wait().unwrap().items.len(), 1_000);
}

#[test]
fn ids_of_every_plane_of_unicode_keep_their_order() {
    let store = fresh();
    let mut ids: Vec<String> =
        (0..=0x10_u32).filter_map(|plane| char::from_u32(plane << 16 | 0x41)).map(String::from).collect();
    ids.extend(
        ["\u{fffd}", "\u{e000}", "\u{10ffff}", "z", "'; DROP--", "..", "a/b", ":r:", ":manifest"]
            .map(String::from),
    );
    for id in &ids {
        store.commit(Commit::one(put(id, id.as_bytes()))).wait().unwrap();
    }
    ids.sort_unstable();

    let page = store.scan(Scan::new("", 100)).wait().unwrap();

    assert_eq!(page.items.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), ids);
    assert!(page.items.iter().all(|(id, found)| found.value.as_deref() == Some(id.as_bytes())));
}

#[test]
fn watchers_that_nobody_reads_hold_up_no_call_and_miss_nothing() {
    let store = fresh();
    let mut idle: Vec<_> = (0..4).map(|_| store.watch(Start::Now).wait().unwrap()).collect();
    store.commit(Commit::one(put("first", *b"x"))).wait().unwrap();
    // From here on each has a stream of its own.
    for changes in &mut idle {
        assert_eq!(&*changes.next().wait().unwrap().changes[0].id, "first");
        let mut next = std::pin::pin!(changes.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::future::Future::poll(next.as_mut(), &mut context).is_pending());
    }

    let value: Arc<[u8]> = vec![7; 512 << 10].into();
    for _ in 0..20 {
        store.commit(Commit::one(put("large", Arc::clone(&value)))).wait().unwrap();
        store.get("large").wait().unwrap();
    }

    for changes in &mut idle {
        for number in 0..20 {
            let batch = changes.next().wait().unwrap();
            assert_eq!(batch.changes[0].value().is_some(), number == 19);
        }
    }
}

#[test]
fn an_engine_that_is_full_does_not_tell_whether_it_has_applied_the_write_that_filled_it() {
    let server = node(&["--quota-backend-bytes", "16777216"]);
    let store = Etcd::connect(&url(server.port)).wait().unwrap();
    let value: Arc<[u8]> = vec![7; 1 << 20].into();
    let seen = newest(&store).unwrap();

    let failed = (0..100).find_map(|number: u32| {
        let id = number.to_string();
        let put = Commit::one(put(&id, Arc::clone(&value))).with_write(seen.write());
        store.commit(put).wait().err().map(|error| (id, error))
    });

    let (id, error) = failed.expect("it is full at last");
    // It checks before and after, and says the same each time.
    assert_eq!(error.outcome(), ifmatch::store::Outcome::Unknown, "{error:?}");
    store.get(&id).wait().unwrap();
    assert!(store.get("0").wait().unwrap().is_some());
}
