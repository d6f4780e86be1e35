//! Listings: in byte order, by prefix, in pages that together show each id once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::store::{Error, Expected, Listed, Page, Refusal, Scan, Store, Version, Versioned, block_on};

/// A listing is in the byte order of the ids, whatever order they were written in.
pub async fn a_listing_is_in_byte_order<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_listing_is_in_byte_order", store);
    let names = [
        "b",
        "a",
        "aa",
        "B",
        "é",
        "e\u{301}",
        "z",
        "10",
        "9",
        "a/b",
        "a.b",
        "~",
        "\u{10ffff}",
        "ab",
        "😀",
        "Z",
    ];
    let mut ids: Vec<String> = names.iter().map(|name| ground.id(name)).collect();
    for id in &ids {
        ground.put(id, Expected::Absent, 1).await;
    }

    let listed = ids_of(&page(&ground, ground.prefix(), None, 100).await);

    ids.sort_unstable();
    assert_eq!(listed, ids, "the listing of {}", ground.prefix());
    ground.clear().await;
}

/// A prefix selects exactly the ids that begin with it, whatever characters it has.
pub async fn a_prefix_selects_exactly_its_ids<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_prefix_selects_exactly_its_ids", store);
    let names = [
        "a",
        "a/",
        "a/b",
        "a/b/c",
        "a0",
        "ab",
        "A",
        "a%",
        "a%b",
        "a_",
        "a_b",
        "a*",
        "a?",
        "b",
        "é",
        "éa",
        "e",
        "e\u{301}",
        "\u{10ffff}",
        "\u{10ffff}a",
        "\u{7f}",
        "a\\",
        "a'",
        "a\"",
        "[a]",
        "😀",
        "😀😀",
        "😁",
        "a\u{7f}",
        "a\u{80}",
    ];
    let ids: Vec<String> = names.iter().map(|name| ground.id(name)).collect();
    for id in &ids {
        ground.put(id, Expected::Absent, 1).await;
    }

    for prefix in names.iter().chain(&["", "nothing", "a/b/", "a//"]).map(|name| ground.id(name)) {
        let mut expected: Vec<&String> = ids.iter().filter(|id| id.starts_with(&prefix)).collect();
        expected.sort_unstable();
        let listed = ids_of(&page(&ground, &prefix, None, 100).await);
        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "the listing of `{}`", prefix.escape_debug());
    }
    ground.clear().await;
}

/// The empty prefix selects every id.
pub async fn the_empty_prefix_selects_everything<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("the_empty_prefix_selects_everything", store);
    let ids = ["a", "b", "c"].map(|name| ground.id(name));
    for id in &ids {
        ground.put(id, Expected::Absent, 1).await;
    }

    // Others may have ids before and after: none can sort between the ground's prefix and its ids.
    let listed = ids_of(&page(&ground, "", Some(ground.prefix()), 3).await);

    assert_eq!(listed, ids, "the listing of everything after {}", ground.prefix());
    ground.clear().await;
}

/// A listing begins after the id it is told, whether that id exists or not.
pub async fn a_listing_begins_after_the_id_told<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_listing_begins_after_the_id_told", store);
    let ids = ["b", "d", "f"].map(|name| ground.id(name));
    for id in &ids {
        ground.put(id, Expected::Absent, 1).await;
    }

    let cases = [("a", 0), ("b", 1), ("b\u{1}", 1), ("c", 1), ("d", 2), ("e", 2), ("f", 3), ("g", 3)];
    for (after, skipped) in cases {
        let after = ground.id(after);
        let listed = ids_of(&page(&ground, ground.prefix(), Some(&after), 10).await);
        assert_eq!(listed, ids[skipped..], "the listing after `{}`", after.escape_debug());
    }
    let before = page(&ground, &ids[2], Some(&ids[0]), 10).await;
    assert_eq!(ids_of(&before), ids[2..], "an id before the prefix skips nothing of `{}`", ids[2]);
    let past = page(&ground, &ids[0], Some(&ids[2]), 10).await;
    assert_eq!(ids_of(&past), [""; 0], "an id past the prefix leaves nothing of `{}`", ids[0]);
    ground.clear().await;
}

/// Pages of every size show each id once, in order, and the last one says that it is.
pub async fn pages_show_everything_once<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("pages_show_everything_once", store);
    let ids: Vec<String> = (10..33).map(|nth| ground.id(nth)).collect();
    for id in &ids {
        ground.put(id, Expected::Absent, 1).await;
    }

    for limit in [1, 2, 5, 22, 23, 24, usize::MAX] {
        let (mut listed, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = page(&ground, ground.prefix(), after.as_deref(), limit).await;
            assert!(page.items.len() <= limit, "{}: a page has more than {limit} ids", ground.prefix());
            assert!(listed.len() <= ids.len(), "{}: pages of {limit} do not end", ground.prefix());
            listed.extend(ids_of(&page));
            after = page.next().map(str::to_owned);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, ids, "pages of {limit} of {}", ground.prefix());
    }
    ground.clear().await;
}

/// A page of no resources is refused, with values and without.
pub async fn a_page_of_nothing_is_refused<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_page_of_nothing_is_refused", store);
    let scan = Scan::new(ground.prefix(), 0);
    for scan in [scan, scan.without_values()] {
        let answer = store.scan(scan).await;
        assert!(
            matches!(answer, Err(Error::Refused(Refusal::EmptyPage))),
            "{}: a page limit of 0 must be refused, not answered with {answer:?}",
            ground.prefix()
        );
    }
    ground.clear().await;
}

/// A listing shows the current values with their versions, and nothing that was deleted.
pub async fn a_listing_shows_what_is_stored<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_listing_shows_what_is_stored", store);
    let mut expected = Vec::new();
    for nth in 10..30 {
        let id = ground.id(nth);
        let mut version = ground.put(&id, Expected::Absent, nth).await;
        if nth % 2 == 0 {
            version = ground.put(&id, version, nth * 100).await;
        }
        match nth % 5 {
            0 => drop(ground.delete(&id, version).await),
            _ => expected.push((id, version, if nth % 2 == 0 { nth * 100 } else { nth })),
        }
    }

    let listed: Vec<_> = page(&ground, ground.prefix(), None, 100)
        .await
        .items
        .iter()
        .map(|(id, current)| (id.to_string(), current.version, current.value.number()))
        .collect();

    assert_eq!(listed, expected, "the listing of {}", ground.prefix());
    ground.clear().await;
}

/// A listing without values names the same ids and versions as one with values, and its pages end alike.
pub async fn a_listing_of_ids_agrees_with_one_of_values<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_listing_of_ids_agrees_with_one_of_values", store);
    for nth in 10..30 {
        let id = ground.id(nth);
        let mut version = ground.put(&id, Expected::Absent, nth).await;
        if nth % 3 == 0 {
            version = ground.put(&id, version, nth * 100).await;
        }
        if nth % 4 == 0 {
            ground.delete(&id, version).await;
        }
        if nth % 8 == 0 {
            ground.put(&id, Expected::Absent, nth).await;
        }
    }

    // The first, one that was deleted, one that came back, one that never was, and the last.
    let afters = ["10", "12", "16", "2", "29"].map(|name| ground.id(name));
    for prefix in ["", "1", "2", "12", "3"].map(|name| ground.id(name)) {
        for after in [None].into_iter().chain(afters.iter().map(|id| Some(id.as_str()))) {
            for limit in [1, 2, 7, 16, 17, usize::MAX] {
                let of_values = page(&ground, &prefix, after, limit).await.map(|current| current.version);
                let of_ids = page_of_ids(&ground, &prefix, after, limit).await;
                assert_eq!(of_ids, of_values, "{limit} ids of {prefix} after {after:?}, and the values");
            }
        }
    }
    ground.clear().await;
}

/// While other ids come and go, pages show each id that exists throughout exactly once.
pub async fn pages_under_writers_show_each_lasting_id_once<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const PASSES: usize = 12;
    let ground = Ground::new("pages_under_writers_show_each_lasting_id_once", store);
    let lasting: Arc<Vec<String>> = Arc::new((100..140).map(|nth| ground.id(nth)).collect());
    for id in &*lasting {
        ground.put(id, Expected::Absent, 0).await;
    }

    let passes = AtomicUsize::new(0);
    ground.race(3, move |ground, thread| {
        if thread > 0 {
            while passes.load(Ordering::SeqCst) < PASSES {
                come_and_go(ground, &lasting, thread);
                passes.fetch_add(1, Ordering::SeqCst);
            }
            return;
        }
        // Each limit comes with values and without.
        for (limit, values) in [1, 3, 7, 50, 100].into_iter().cycle().zip([true, false].into_iter().cycle()) {
            let mut seen: HashMap<String, usize> = HashMap::new();
            let mut after = None::<String>;
            loop {
                let scan = Scan::new(ground.prefix(), limit).after(after.as_deref());
                let scan = if values { scan } else { scan.without_values() };
                let page = block_on(listed(ground, scan));
                for id in ids_of(&page) {
                    *seen.entry(id).or_default() += 1;
                }
                after = page.next().map(str::to_owned);
                if after.is_none() {
                    break;
                }
                // An id before the next page comes or goes, also where the other threads get no turn.
                let early = ground.id("000");
                if block_on(ground.try_put(&early, Expected::Absent, 1)).is_err() {
                    block_on(ground.delete(&early, Expected::Present));
                }
            }
            let odd: Vec<_> = lasting.iter().filter(|id| seen.get(*id) != Some(&1)).collect();
            if passes.load(Ordering::SeqCst) >= PASSES || !odd.is_empty() {
                passes.store(PASSES, Ordering::SeqCst);
                assert!(odd.is_empty(), "pages of {limit} did not show these ids exactly once: {odd:?}");
                return;
            }
        }
    });
    ground.clear().await;
}

/// Lets neighbours of the lasting ids come and go, and changes the lasting ones.
fn come_and_go<T: Sample + ?Sized>(ground: &Ground<T>, lasting: &[String], thread: usize) {
    let neighbours = lasting.iter().map(|id| format!("{id}.{thread}"));
    for (id, neighbour) in lasting.iter().zip(neighbours.clone()) {
        block_on(ground.put(&neighbour, Expected::Any, 1));
        block_on(ground.put(id, Expected::Present, 1));
    }
    for neighbour in neighbours {
        block_on(ground.delete(&neighbour, Expected::Present));
    }
}

async fn page<T: Sample + ?Sized>(
    ground: &Ground<T>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Page<Versioned<T>> {
    let scan = Scan::new(prefix, limit).after(after);
    let page = listed(ground, scan).await.with_values();
    page.unwrap_or_else(|error| panic!("`{}` was asked for values: {error}", prefix.escape_debug()))
}

/// A page of ids and versions only.
async fn page_of_ids<T: Sample + ?Sized>(
    ground: &Ground<T>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Page<Version> {
    listed(ground, Scan::new(prefix, limit).after(after).without_values()).await.without_values()
}

async fn listed<T: Sample + ?Sized>(ground: &Ground<T>, scan: Scan<'_>) -> Page<Listed<T>> {
    let page = ground.store().scan(scan).await;
    page.unwrap_or_else(|error| panic!("`{}` can't be listed: {error}", scan.prefix.escape_debug()))
}

fn ids_of<I>(page: &Page<I>) -> Vec<String> {
    page.items.iter().map(|(id, _)| id.to_string()).collect()
}
