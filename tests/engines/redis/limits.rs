//! Odd names and ids, large values, long lists, full memory, bounded history.

use std::collections::HashSet;
use std::sync::Arc;

use ifmatch::conformance::watch::a_watcher_left_behind_expires;
use ifmatch::engine::ConnectError;
use ifmatch::store::{Outcome, Receipt, Refusal, Resolution, Scan, WriteId};
use ifmatch::{Commit, Entry, Error, Expected, Redis, Start, Store};

use super::{drawn, fresh, open, say, server, shared, store, url};

fn put<'a>(id: &'a str, value: &[u8]) -> Commit<'a, [u8]> {
    Commit::one(Entry::put(id, Expected::Any, value.into()))
}

fn receipt(store: &dyn Store<[u8]>, commit: Commit<'_, [u8]>) -> Receipt {
    store.commit(commit).wait().unwrap().receipts()[0]
}

#[test]
fn names_that_would_leave_their_place_are_refused() {
    for name in ["", "a}b", "{", "a:b", "a b", "*", "'; FLUSHALL", "a\r\nFLUSHALL", "ä", &"x".repeat(65)] {
        let refused = Redis::options().namespace(name).connect(url(shared().port)).wait();
        assert!(matches!(refused, Err(ConnectError::Usage { .. })), "{name:?}");
        let refused = fresh().prefix(name).connect(url(shared().port)).wait();
        assert!(matches!(refused, Err(ConnectError::Usage { .. })), "{name:?}");
    }
}

#[test]
fn ids_of_every_plane_and_of_every_byte_are_kept_apart_and_listed_in_byte_order() {
    let store = store();
    let planes = (0..17).map(|plane| char::from_u32(plane * 0x1_0000 + 0xa0).unwrap().to_string());
    let low = (1..128_u8).map(|byte| char::from(byte).to_string());
    let odd = [
        "\r\n$4\r\nPING\r\n",
        "{x}",
        "}",
        "*",
        "[",
        "(",
        "+",
        "-",
        "a\u{10ffff}",
        "\u{10ffff}",
        "ﬀ",
        "e\u{301}",
    ];
    let ids: HashSet<String> = planes.chain(low).chain(odd.map(str::to_owned)).collect();
    let mut ids: Vec<String> = ids.into_iter().collect();
    ids.sort_unstable();

    for id in &ids {
        store.commit(put(id, id.as_bytes())).wait().unwrap();
    }

    let page = store.scan(Scan::new("", 1_000)).wait().unwrap();
    assert_eq!(page.items.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), ids);
    for id in &ids {
        assert_eq!(&*store.get(id).wait().unwrap().unwrap().value, id.as_bytes());
        let expected: Vec<&String> = ids.iter().filter(|other| other.starts_with(&**id)).collect();
        let page = store.scan(Scan::new(id, 1_000)).wait().unwrap();
        assert_eq!(
            page.items.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>().iter().collect::<Vec<_>>(),
            expected
        );
        let page = store.scan(Scan::new("", 1).after(Some(id))).wait().unwrap();
        let next = ids.iter().find(|other| *other > id);
        assert_eq!(page.items.first().map(|(id, _)| id.to_string()).as_ref(), next);
    }
}

#[test]
fn namespaces_and_prefixes_see_nothing_of_each_other() {
    let [a, b] = [store(), store()];
    let same_name = || Redis::options().namespace("namesake");
    let [c, d] = [same_name().prefix("one"), same_name().prefix("two")]
        .map(|options| options.connect(url(shared().port)).wait().unwrap());
    let stores = [a, b, c, d];

    for (number, store) in stores.iter().enumerate() {
        store.commit(put("id", &[number as u8])).wait().unwrap();
    }

    for (number, store) in stores.iter().enumerate() {
        let page = store.scan(Scan::new("", 9)).wait().unwrap();
        assert_eq!(page.items.len(), 1);
        assert_eq!(page.items[0].1.value.as_deref(), Some(&[number as u8][..]));
    }
}

#[test]
fn ten_thousand_ids_are_listed_in_one_page_and_in_many() {
    let store = store();
    let ids: Vec<String> = (0..10_000).map(|number| format!("id-{number:05}")).collect();
    for some in ids.chunks(1_000) {
        let entries = some.iter().map(|id| Entry::put(id, Expected::Absent, id.as_bytes().into()));
        store.commit(entries.collect()).wait().unwrap();
    }

    let whole = store.scan(Scan::new("id-", 20_000)).wait().unwrap();
    assert!(!whole.more && whole.items.len() == 10_000);
    assert!(whole.items.iter().zip(&ids).all(|((id, _), expected)| **id == **expected));

    let (mut listed, mut after) = (0, None);
    loop {
        let page = store.scan(Scan::new("", 999).after(after.as_deref())).wait().unwrap();
        listed += page.items.len();
        after = page.next().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, 10_000);
}

#[test]
fn a_page_of_large_values_ends_early_and_the_next_goes_on() {
    let store = fresh().value_limit(4 << 20).connect(url(shared().port)).wait().unwrap();
    let value = vec![7; 4 << 20];
    for number in 0..9 {
        store.commit(put(&number.to_string(), &value)).wait().unwrap();
    }

    let (mut sizes, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan(Scan::new("", 100).after(after.as_deref())).wait().unwrap();
        assert!(page.items.iter().all(|(_, current)| current.value.as_deref() == Some(&*value)));
        sizes.push(page.items.len());
        after = page.next().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }

    // Each alone is more than a page has room for.
    assert_eq!(sizes, [1; 9]);
    let conflict = store.commit(Commit::one(Entry::check("3", Expected::Absent))).wait().unwrap_err();
    assert_eq!(conflict.conflict().unwrap().current::<[u8]>().unwrap().value.len(), value.len());
}

#[test]
fn values_of_every_size_come_back_whole() {
    let store = store();
    for size in [0, 1, 1_023, 1_024, 1_025, 70_000, 1 << 20] {
        let value: Vec<u8> = (0..size).map(|at: usize| (at * 31) as u8).collect();
        for _ in 0..2 {
            let version = receipt(&store, put("a", &value)).version;
            let current = store.get("a").wait().unwrap().unwrap();
            assert_eq!((Some(current.version), &*current.value), (version, &*value), "{size} bytes");
        }
    }
}

#[test]
fn what_is_over_a_limit_is_refused_before_it_is_sent() {
    let store = fresh().value_limit(10).connect(url(shared().port)).wait().unwrap();

    let large = store.commit(put("a", &[0; 11])).wait().unwrap_err();
    let ids: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
    let many = ids.iter().map(|id| Entry::put(id, Expected::Any, (*b"v").into())).collect();
    let many = store.commit(many).wait().unwrap_err();
    let most = ids[1..].iter().map(|id| Entry::put(id, Expected::Any, (*b"v").into())).collect();

    assert!(matches!(large, Error::Refused(Refusal::TooLarge { bytes: 11, limit: 10, .. })), "{large}");
    assert!(matches!(many, Error::Refused(Refusal::TooMany { entries: 1_001, limit: 1_000 })), "{many}");
    assert_eq!(store.commit(most).wait().unwrap().receipts().len(), 1_000);
}

#[test]
fn full_memory_refuses_puts_whole_and_lets_deletions_and_reads_through() {
    let server = server(&["--appendonly", "no", "--maxmemory", "12mb", "--maxmemory-policy", "noeviction"]);
    let open_again = fresh();
    let store = open_again.clone().connect(url(server.port)).wait().unwrap();
    let seen = drawn(&store).place();
    let (value, mut written) = (vec![0; 200_000], 0);

    let refused = loop {
        let [one, other] = [written, written + 1].map(|number: usize| number.to_string());
        let write = WriteId::after(seen);
        let pair = put(&one, &value).and(Entry::put(&other, Expected::Absent, value[..].into()));
        match store.commit(pair.with_write(write)).wait() {
            Ok(_) => written += 2,
            Err(error) => break (error, write, one, other),
        }
        assert!(written < 1_000, "twelve megabytes hold no more than that");
    };
    let (error, write, one, other) = refused;

    assert_eq!(error.outcome(), Outcome::NotApplied, "{error}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("OOM"));
    assert!(store.get(&one).wait().unwrap().is_none() && store.get(&other).wait().unwrap().is_none());
    assert_eq!(store.resolve(write).wait().unwrap(), Resolution::NotApplied);
    let listed = store.scan(Scan::new("", 1_000)).wait().unwrap();
    assert_eq!(listed.items.len(), written.min(listed.items.len()));

    // One that is opened only now is let in to make room as well.
    let late = open_again.connect(url(server.port)).wait().unwrap();
    for number in 0..written {
        receipt(&late, Commit::one(Entry::delete(&number.to_string(), Expected::Present)));
    }
    store.commit(put("again", &value)).wait().unwrap();
}

#[test]
fn the_feed_deletions_and_write_ids_reach_back_as_far_as_told_and_no_further() {
    let options = || Redis::options().namespace("bounded").history(64);
    let store = open(options(), shared().port);
    let (first, closed) = (drawn(&store), drawn(&store));
    let begin = store.watch(Start::Now).wait().unwrap().cursor().clone();
    let mut slow = store.watch(Start::Now).wait().unwrap();
    store.commit(put("first", b"1").with_write(first)).wait().unwrap();
    assert_eq!(store.resolve(closed).wait().unwrap(), Resolution::NotApplied);
    store.commit(put("gone", b"1")).wait().unwrap();
    receipt(&*store, Commit::one(Entry::delete("gone", Expected::Present)));
    let deleted = |store: &Arc<dyn Store<[u8]>>| {
        let error = store.commit(Commit::one(Entry::check("gone", Expected::Present))).wait().unwrap_err();
        error.to_string().contains("deletion")
    };
    assert!(deleted(&store));

    for number in 0..200_u64 {
        store.commit(put("other", &number.to_be_bytes()).with_write(drawn(&store))).wait().unwrap();
    }

    assert!(!deleted(&store));
    assert_eq!(store.resolve(first).wait().unwrap(), Resolution::Unknown);
    assert_eq!(store.resolve(closed).wait().unwrap(), Resolution::Unknown);
    for write in [first, closed] {
        let late = store.commit(put("late", b"1").with_write(write)).wait().unwrap_err();
        assert!(matches!(late, Error::Refused(Refusal::Outside { .. })), "{late}");
    }
    let Err(Error::Expired(expired)) = store.watch(Start::After(begin)).wait() else { panic!("not expired") };
    let mut oldest = store.watch(Start::After(expired.oldest.unwrap())).wait().unwrap();
    for _ in 0..64 {
        assert_eq!(&*oldest.next().wait().unwrap().changes[0].id, "other");
    }
    assert!(matches!(slow.next().wait(), Err(Error::Expired(_))));
    assert!(matches!(slow.next().wait(), Err(Error::Expired(_))));

    let address = shared().address();
    for (command, most) in [
        ("XLEN ifmatch:{bounded}:log", 80),
        ("HLEN ifmatch:{bounded}:writes", 80),
        ("ZCARD ifmatch:{bounded}:closed", 0),
        ("HLEN ifmatch:{bounded}:deleted", 0),
    ] {
        let length: u64 = say(address, command)[1..].parse().unwrap();
        assert!(length <= most, "{command}: {length}");
    }
}

#[tokio::test]
async fn a_watcher_that_is_left_behind_expires() {
    let store = open_in(fresh().history(64)).await;

    a_watcher_left_behind_expires(&store, 100).await;
}

async fn open_in(options: ifmatch::redis::Options) -> Arc<dyn Store<[u8]>> {
    Arc::new(options.connect(url(shared().port)).await.unwrap())
}

#[test]
fn asking_after_more_write_ids_than_are_remembered_shuts_out_no_commit() {
    let store = Redis::options().namespace("closed").history(64).connect(url(shared().port)).wait().unwrap();
    let seen = drawn(&store).place();
    let (mut closed, mut refused) = (Vec::new(), 0);
    for number in 0..300 {
        let ahead = WriteId::from_bits(u128::MAX - number);
        assert_eq!(store.resolve(ahead).wait().unwrap(), Resolution::Unknown);
        let write = WriteId::after(seen);
        match store.resolve(write).wait().unwrap() {
            Resolution::NotApplied => closed.push(write),
            resolved => assert_eq!(resolved, Resolution::Unknown),
        }
    }
    assert_eq!(closed.len(), 64);
    for write in &closed {
        let late = store.commit(put("late", b"1").with_write(*write)).wait().unwrap_err();
        assert!(matches!(late, Error::Refused(Refusal::Closed { .. })), "{late}");
    }

    for _ in 0..300 {
        refused += usize::from(store.commit(put("a", b"1").with_write(drawn(&store))).wait().is_err());
    }

    assert_eq!(refused, 0);
    for write in &closed {
        let late = store.commit(put("late", b"1").with_write(*write)).wait().unwrap_err();
        assert!(matches!(late, Error::Refused(Refusal::Outside { .. })), "{late}");
    }
    // Those that are outdated have left room.
    assert_eq!(say(shared().address(), "ZCARD ifmatch:{closed}:closed"), ":0");
    assert_eq!(store.resolve(drawn(&store)).wait().unwrap(), Resolution::NotApplied);
}

#[test]
fn ids_from_ahead_and_behind_refuse_no_fresh_commit_however_many_are_asked_for() {
    let store =
        || Redis::options().namespace("skewed").history(64).connect(url(shared().port)).wait().unwrap();

    crate::writes::asking_refuses_no_fresh_commit([&store(), &store()], 64);
}

#[test]
fn versions_under_made_up_write_ids_have_tags_of_their_own() {
    let store = store();
    let place = u128::from(drawn(&store).place().unwrap().to_bits().get());
    let tags: HashSet<u64> = (1..=20_u128)
        .map(|number| {
            let commit = put("a", b"1").with_write(WriteId::from_bits(place << 64 | number << 32));
            receipt(&store, commit).version.unwrap().to_bits().get() & 0xff_ffff
        })
        .collect();

    // Two of them are the same once in 88,000 runs, and three or more never.
    assert!(tags.len() >= 19, "{tags:?}");
}

#[test]
fn numbers_that_the_scripts_can_not_count_are_never_issued() {
    let options = || Redis::options().namespace("counted");
    let store = options().connect(url(shared().port)).wait().unwrap();
    let count = |number: u64| {
        say(shared().address(), &format!("HSET ifmatch:{{counted}}:meta counter {number}"));
        store.commit(put("a", b"1")).wait()
    };

    let last = count((1 << 40) - 3).unwrap().version().unwrap().to_bits().get();
    assert_eq!(last >> 24, (1 << 40) - 2);
    assert_eq!(store.get("a").wait().unwrap().unwrap().version.to_bits().get(), last);
    for number in [(1 << 40) - 2, (1 << 53) - 1, 1 << 53, (1 << 53) + 1, u64::MAX] {
        let refused = count(number).unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::VersionsExhausted)), "{number}: {refused}");
    }
}
