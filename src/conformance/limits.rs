//! Promise 11: every possible id works, and every impossible one gets a clear error and changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::store::{Commit, Entry, Error, Expected, IdProblem, MAX_ID_BYTES, Refusal, Scan, Store};

/// Two hundred ids that engines, paths, queries and terminals trip over each keep their own value.
pub async fn nasty_ids_are_kept_apart<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("nasty_ids_are_kept_apart", store);
    let ids: Vec<String> = nasty().into_iter().map(|name| ground.id(name)).collect();
    let mut versions = Vec::new();
    for (number, id) in (0..).zip(&ids) {
        versions.push(ground.put(id, Expected::Absent, number).await);
    }

    for ((number, id), version) in (0..).zip(&ids).zip(&versions) {
        ground.assert_state(id, Some((*version, number)), "other ids were written").await;
    }
    for (nth, (id, version)) in ids.iter().zip(&versions).enumerate() {
        ground.delete(id, *version).await;
        ground.assert_state(id, None, "it was deleted").await;
        if let (Some(next), Some(version)) = (ids.get(nth + 1), versions.get(nth + 1)) {
            ground.assert_state(next, Some((*version, nth as u64 + 1)), "another id was deleted").await;
        }
    }
    ground.clear().await;
}

/// Nasty ids are listed as they were written, in byte order.
pub async fn nasty_ids_are_listed_as_written<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("nasty_ids_are_listed_as_written", store);
    let names = nasty();
    let ids: Vec<String> = names.iter().map(|name| ground.id(name)).collect();
    for id in &ids {
        ground.put(id, Expected::Absent, 1).await;
    }

    // Each id is also a prefix and a place to begin after.
    for id in &ids {
        let page = store
            .scan(Scan::new(id, 1))
            .await
            .unwrap_or_else(|error| panic!("`{}`: {error}", id.escape_debug()));
        let first = page.items.first().map(|(id, _)| id.to_string());
        assert_eq!(first.as_ref(), Some(id), "the first id with the prefix `{}`", id.escape_debug());
    }
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    while listed.len() <= ids.len() {
        let page = store.scan(Scan::new(ground.prefix(), 7).after(after.as_deref())).await;
        let page = page.unwrap_or_else(|error| panic!("{}: {error}", ground.prefix()));
        listed.extend(page.items.iter().map(|(id, _)| id.to_string()));
        after = page.next().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids, "the listing of {}", ground.prefix());
    ground.clear().await;
}

/// The shortest and the longest ids work.
pub async fn ids_of_1_and_512_bytes_work<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("ids_of_1_and_512_bytes_work", store);
    let fill = MAX_ID_BYTES - ground.prefix().len();
    let plain = ground.id("x".repeat(fill));
    let other = ground.id(format_args!("{}y", "x".repeat(fill - 1)));
    let wide = ground.id(format_args!("{}{}", "é".repeat(fill / 2), "x".repeat(fill % 2)));
    for (number, id) in (1..).zip([&plain, &other, &wide]) {
        assert_eq!(id.len(), MAX_ID_BYTES);
        let version = ground.put(id, Expected::Absent, number).await;
        ground.assert_state(id, Some((version, number)), "a put").await;
    }
    for (number, id) in (1..).zip([&plain, &other, &wide]) {
        let found = ground.read(id).await.map(|(_, number)| number);
        assert_eq!(found, Some(number), "`{id}`: ids of 512 bytes are told apart");
    }

    // One byte leaves no room for a prefix of our own: somebody else's value is left alone.
    match ground.try_put("\u{1}", Expected::Absent, 9).await {
        Ok(receipt) => {
            let version =
                receipt.version.unwrap_or_else(|| panic!("{}: a put without a version", ground.prefix()));
            ground.assert_state("\u{1}", Some((version, 9)), "a put").await;
            ground.delete("\u{1}", version).await;
        }
        Err(Error::Conflict(_)) => {}
        Err(error) => panic!("{}: an id of one byte was refused: {error}", ground.prefix()),
    }
    ground.clear().await;
}

/// An id that is empty, over 512 bytes, or has a NUL can't be created, and its whole commit changes nothing.
pub async fn an_impossible_id_cannot_be_created<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_impossible_id_cannot_be_created", store);
    let beside = ground.id("beside");
    for (id, problem) in impossible(&ground) {
        for expected in [Expected::Any, Expected::Absent] {
            let answer = ground.try_put(&id, expected, 1).await;
            match answer {
                Err(Error::Refused(Refusal::Id { problem: told, .. })) => {
                    assert_eq!(told, problem, "{}: what is wrong with the id", ground.prefix());
                }
                other => panic!("{}: an id that {problem} must be refused, not {other:?}", ground.prefix()),
            }
        }
        if ground.abilities().entries > 1 {
            let put = |id| Entry::put(id, Expected::Any, T::sample(1));
            for commit in [Commit::one(put(&beside)).and(put(&id)), Commit::one(put(&id)).and(put(&beside))] {
                let answer = ground.commit(commit).await;
                assert!(
                    matches!(answer, Err(Error::Refused(Refusal::Id { .. }))),
                    "{}: a commit with an id that {problem} must be refused, not {answer:?}",
                    ground.prefix()
                );
                ground.assert_state(&beside, None, "a commit with an impossible id").await;
            }
        }
    }
    ground.clear().await;
}

/// An impossible id names nothing: it reads as nothing, or the call is refused.
pub async fn an_impossible_id_names_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_impossible_id_names_nothing", store);
    // What an engine that cuts ids would find.
    let cut = ground.id("x".repeat(MAX_ID_BYTES - ground.prefix().len()));
    let short = ground.id("nul");
    let stripped = ground.id("nultail");
    for id in [&cut, &short, &stripped] {
        ground.put(id, Expected::Absent, 1).await;
    }

    for (id, problem) in impossible(&ground) {
        match store.get(&id).await {
            Ok(None) | Err(Error::Refused(Refusal::Id { .. })) => {}
            other => panic!("{}: an id that {problem} reads as {other:?}", ground.prefix()),
        }
        for entry in [Entry::delete(&id, Expected::Present), Entry::check(&id, Expected::Present)] {
            match ground.send(entry).await {
                Err(Error::Conflict(_) | Error::Refused(Refusal::Id { .. })) => {}
                other => panic!("{}: an id that {problem} is taken to be there: {other:?}", ground.prefix()),
            }
        }
    }
    for id in [&cut, &short, &stripped] {
        assert!(ground.read(id).await.is_some(), "`{id}` was deleted by another id");
    }
    ground.clear().await;
}

fn impossible<T: Sample + ?Sized>(ground: &Ground<T>) -> [(String, IdProblem); 5] {
    let long = ground.id("x".repeat(MAX_ID_BYTES + 1 - ground.prefix().len()));
    [
        (String::new(), IdProblem::Empty),
        (long, IdProblem::TooLong { limit: MAX_ID_BYTES }),
        (ground.id("x".repeat(10_000)), IdProblem::TooLong { limit: MAX_ID_BYTES }),
        (ground.id("nul\0tail"), IdProblem::Nul),
        (ground.id("nul\0"), IdProblem::Nul),
    ]
}

/// Ids that something or other trips over, in byte order.
fn nasty() -> BTreeSet<String> {
    let whole = [
        ".",
        "..",
        "../..",
        "./a",
        "a/./b",
        "a/../b",
        "a//b",
        "//",
        "a/",
        "/a",
        "~",
        "~root",
        "C:\\",
        "con",
        "NUL",
        "aux.txt",
        "a",
        "A",
        "aa",
        "aA",
        "Aa",
        "AA",
        "ß",
        "ẞ",
        "ss",
        "SS",
        "i",
        "I",
        "İ",
        "ı",
        "K",
        "K",
        "Å",
        "Å",
        "A\u{30a}",
        "ﬁ",
        "fi",
        "é",
        "e\u{301}",
        "E\u{301}",
        "ñ",
        "n\u{303}",
        "각",
        "\u{1100}\u{1161}\u{11a8}",
        "１",
        "²",
        "2",
        "½",
        "\u{200b}",
        "a\u{200b}",
        "\u{200d}",
        "\u{feff}a",
        "\u{a0}",
        "\u{3000}",
        " a",
        "a ",
        " a ",
        "a\t",
        "a\n",
        "a\r\n",
        "a\r",
        "\n",
        "\r",
        "\t",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{1b}]0;title\u{7}",
        "\u{7f}",
        "\u{80}",
        "\u{85}",
        "\u{2028}",
        "\u{2029}",
        "مرحبا",
        "שלום",
        "\u{202e}abc",
        "\u{202d}abc",
        "\u{2066}a\u{2069}",
        "日本語",
        "ไทย",
        "हिन्दी",
        "𝕏",
        "😀",
        "👨‍👩‍👧",
        "👩🏽‍🚀",
        "🏳️‍🌈",
        "🇩🇪",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{10000}",
        "\u{10ffff}",
        "\u{1}",
        "\u{2}",
        "\u{1f}",
        "0",
        "00",
        "1",
        "01",
        "1.0",
        "1e0",
        "-1",
        "+1",
        "-0",
        "0x1",
        "null",
        "NULL",
        "nil",
        "undefined",
        "true",
        "false",
        "NaN",
        "'; DROP TABLE a; --",
        "\" OR \"\"=\"",
        "' OR 1=1",
        "$1",
        "$$",
        "${a}",
        "#{a}",
        "{{a}}",
        "{a}",
        "{a}b",
        "{}",
        "%s%n",
        "%00",
        "%2e%2e",
        "%2F",
        "%",
        "%%",
        "a%b",
        "\\0",
        "\\x00",
        "\\u0000",
        "\\n",
        "a.*",
        "a.>",
        ">",
        "*",
        "**",
        "a*",
        "?",
        "[a-z]",
        "^a$",
        "<script>",
        "&amp;",
        "W/\"1\"",
        "\"1\"",
        "a,b",
        "a;b",
        "a=b",
        "a&b",
        "a?b=c#d",
        "a:b",
        "::",
        "a|b",
        "`a`",
        "$(a)",
        "@a",
        "!a",
        "__proto__",
        "constructor",
        "index",
        "_id",
        "_",
        "__",
        "a_b",
        "a-b",
        "--",
        "-a",
        "a\u{0338}",
    ];
    let marks = "%_*?[](){}\\/.:;,'\"`~!@#$^&+-=|<> ".chars();
    let marked = marks.flat_map(|mark| [format!("{mark}{mark}x"), format!("x{mark}y")]);
    whole.into_iter().map(str::to_owned).chain(marked).collect()
}

#[cfg(test)]
mod tests {
    use super::nasty;

    #[test]
    fn there_are_two_hundred_nasty_ids() {
        assert!(nasty().len() >= 200, "{}", nasty().len());
    }
}
