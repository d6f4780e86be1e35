//! What a person would expect of a merge, case by case, each with its reason.

use ifmatch::merge::Strategy::{Counter, Keyed, Lines, Max, Min, Mine, Set, Theirs};
use ifmatch::merge::{Merge, Unmerged};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What comes of it.
enum Expected {
    Merged(Value),
    /// These places overlap, and no other.
    Overlaps(&'static [&'static str]),
}

use Expected::{Merged, Overlaps};

type Case = (&'static str, Merge, [Value; 3], Expected);

fn of_objects() -> Vec<Case> {
    let plain = Merge::new;
    vec![
        (
            "two members, one by each: neither has to know of the other",
            plain(),
            [json!({"a": 1, "b": 1}), json!({"a": 2, "b": 1}), json!({"a": 1, "b": 2})],
            Merged(json!({"a": 2, "b": 2})),
        ),
        (
            "both wrote the same: there is nothing to decide",
            plain(),
            [json!({"a": 1}), json!({"a": 2}), json!({"a": 2})],
            Merged(json!({"a": 2})),
        ),
        (
            "both wrote something else: only a person knows",
            plain(),
            [json!({"a": 1, "b": 1}), json!({"a": 2, "b": 2}), json!({"a": 3, "b": 1})],
            Overlaps(&["/a"]),
        ),
        (
            "a member deep down is shown where it is, and not the object around it",
            plain(),
            [
                json!({"a": {"b": {"c": 1, "d": 1}}}),
                json!({"a": {"b": {"c": 2, "d": 2}}}),
                json!({"a": {"b": {"c": 3, "d": 1}}}),
            ],
            Overlaps(&["/a/b/c"]),
        ),
        (
            "I removed what they changed: their work would be gone",
            plain(),
            [json!({"a": {"b": 1}}), json!({}), json!({"a": {"b": 2}})],
            Overlaps(&["/a"]),
        ),
        (
            "they removed what I changed: mine would be back as if nobody had removed it",
            plain(),
            [json!({"a": 1}), json!({"a": 2}), json!({})],
            Overlaps(&["/a"]),
        ),
        (
            "both removed it",
            plain(),
            [json!({"a": 1, "b": 1}), json!({"b": 1}), json!({"b": 1})],
            Merged(json!({"b": 1})),
        ),
        (
            "null is a value: I said that there is none, they said nothing any more",
            plain(),
            [json!({"a": 1}), json!({"a": null}), json!({})],
            Overlaps(&["/a"]),
        ),
        (
            "null is a value: to add it is a change, and stays",
            plain(),
            [json!({}), json!({"a": null}), json!({"b": 1})],
            Merged(json!({"a": null, "b": 1})),
        ),
        (
            "a renamed key is one that went and one that came: with a change of the old one that is to be decided",
            plain(),
            [json!({"colour": "red"}), json!({"color": "red"}), json!({"colour": "blue"})],
            Overlaps(&["/colour"]),
        ),
        (
            "a renamed key, where nobody changed the old one",
            plain(),
            [
                json!({"colour": "red", "a": 1}),
                json!({"color": "red", "a": 1}),
                json!({"colour": "red", "a": 2}),
            ],
            Merged(json!({"color": "red", "a": 2})),
        ),
        (
            "labels where there were none yet, some by each",
            plain(),
            [json!({}), json!({"labels": {"a": 1}}), json!({"labels": {"b": 2}})],
            Merged(json!({"labels": {"a": 1, "b": 2}})),
        ),
        (
            "the same label where there was none, and not the same value",
            plain(),
            [
                json!({"labels": null}),
                json!({"labels": {"a": 1, "c": 1}}),
                json!({"labels": {"a": 2, "b": 2}}),
            ],
            Overlaps(&["/labels/a"]),
        ),
        (
            "a type that I changed, around what they changed: the text is not a part of the object",
            plain(),
            [
                json!({"name": "Ann Lee"}),
                json!({"name": {"first": "Ann", "last": "Lee"}}),
                json!({"name": "Ann Li"}),
            ],
            Overlaps(&["/name"]),
        ),
        (
            "a type that only I changed",
            plain(),
            [
                json!({"name": "Ann", "a": 1}),
                json!({"name": ["Ann"], "a": 1}),
                json!({"name": "Ann", "a": 2}),
            ],
            Merged(json!({"name": ["Ann"], "a": 2})),
        ),
        (
            "the whole, where no place is smaller",
            plain(),
            [json!("a"), json!("b"), json!("c")],
            Overlaps(&[""]),
        ),
    ]
}

fn of_arrays() -> Vec<Case> {
    let item = |sku: &str, n: u8| json!({"sku": sku, "n": n});
    let keyed = || Merge::new().at("/items", Keyed("sku"));
    let items = |list: &[Value]| json!({"items": list});
    vec![
        (
            "an array of which nobody said what it is: an index is no identity",
            Merge::new(),
            [json!({"l": [1, 2]}), json!({"l": [1, 2, 3]}), json!({"l": [0, 1, 2]})],
            Overlaps(&["/l"]),
        ),
        (
            "a set: tags by each, and one that is gone",
            Merge::new().at("/tags", Set),
            [json!({"tags": ["a", "b"]}), json!({"tags": ["a", "b", "c"]}), json!({"tags": ["b", "d"]})],
            Merged(json!({"tags": ["b", "d", "c"]})),
        ),
        (
            "one item by each",
            keyed(),
            [
                items(&[item("a", 1), item("b", 1)]),
                items(&[item("a", 2), item("b", 1)]),
                items(&[item("a", 1), item("b", 2)]),
            ],
            Merged(items(&[item("a", 2), item("b", 2)])),
        ),
        (
            "I moved an item that they changed: it is one item",
            keyed(),
            [
                items(&[item("a", 1), item("b", 1)]),
                items(&[item("b", 1), item("a", 1)]),
                items(&[item("a", 2), item("b", 1)]),
            ],
            Merged(items(&[item("b", 1), item("a", 2)])),
        ),
        (
            "I removed an item that they changed: their work would be gone",
            keyed(),
            [
                items(&[item("a", 1), item("b", 1)]),
                items(&[item("b", 1)]),
                items(&[item("a", 2), item("b", 1)]),
            ],
            Overlaps(&["/items/0"]),
        ),
        (
            "both moved items, to other orders: no order is right",
            keyed(),
            [
                items(&[item("a", 1), item("b", 1), item("c", 1)]),
                items(&[item("b", 1), item("a", 1), item("c", 1)]),
                items(&[item("a", 1), item("c", 1), item("b", 1)]),
            ],
            Overlaps(&["/items"]),
        ),
        (
            "both added items at the end: theirs was there first",
            keyed(),
            [
                items(&[item("a", 1)]),
                items(&[item("a", 1), item("m", 1)]),
                items(&[item("a", 1), item("t", 1)]),
            ],
            Merged(items(&[item("a", 1), item("t", 1), item("m", 1)])),
        ),
        (
            "both added the same item, and counted it otherwise",
            keyed(),
            [items(&[]), items(&[item("a", 1)]), items(&[item("b", 5), item("a", 2)])],
            Overlaps(&["/items/1/n"]),
        ),
        (
            "two items of one key: nobody can tell which is which",
            keyed(),
            [
                items(&[item("a", 1), item("a", 2)]),
                items(&[item("a", 1), item("a", 3)]),
                items(&[item("a", 4), item("a", 2)]),
            ],
            Overlaps(&["/items"]),
        ),
    ]
}

fn of_rules() -> Vec<Case> {
    vec![
        (
            "stock that two sold from: both sales count",
            Merge::new().at("/stock", Counter),
            [json!({"stock": 10}), json!({"stock": 7}), json!({"stock": 8})],
            Merged(json!({"stock": 5})),
        ),
        (
            "two equal sales are two",
            Merge::new().at("/stock", Counter),
            [json!({"stock": 10}), json!({"stock": 9}), json!({"stock": 9})],
            Merged(json!({"stock": 8})),
        ),
        (
            "a counter that somebody took away",
            Merge::new().at("/stock", Counter),
            [json!({"stock": 10}), json!({}), json!({"stock": 9})],
            Overlaps(&["/stock"]),
        ),
        (
            "the items of an order, counted by pattern",
            Merge::new().at("/items", Keyed("sku")).at("/items/*/n", Counter),
            [
                json!({"items": [{"sku": 1, "n": 1}]}),
                json!({"items": [{"sku": 1, "n": 2}]}),
                json!({"items": [{"sku": 1, "n": 4}]}),
            ],
            Merged(json!({"items": [{"sku": 1, "n": 5}]})),
        ),
        (
            "last seen: the later time; first seen: the earlier one",
            Merge::new().at("/last", Max).at("/first", Min),
            [
                json!({"last": "2026-01-01", "first": 9}),
                json!({"last": "2026-01-05", "first": 8}),
                json!({"last": "2026-01-03", "first": 7}),
            ],
            Merged(json!({"last": "2026-01-05", "first": 7})),
        ),
        (
            "a maximum that only they took back: nobody said otherwise",
            Merge::new().at("/most", Max),
            [json!({"most": 5, "a": 1}), json!({"most": 5, "a": 2}), json!({"most": 3, "a": 1})],
            Merged(json!({"most": 3, "a": 2})),
        ),
        (
            "who saved last, and a member that always is the other's",
            Merge::new().at("/by", Mine).at("/cache", Theirs),
            [
                json!({"by": "bob", "cache": 1}),
                json!({"by": "ann", "cache": 2}),
                json!({"by": "eve", "cache": 3}),
            ],
            Merged(json!({"by": "ann", "cache": 3})),
        ),
        (
            "a text: paragraphs by each",
            Merge::new().at("/text", Lines),
            [
                json!({"text": "one\ntwo\nthree\n"}),
                json!({"text": "One\ntwo\nthree\n"}),
                json!({"text": "one\ntwo\nthree\nfour\n"}),
            ],
            Merged(json!({"text": "One\ntwo\nthree\nfour\n"})),
        ),
        (
            "a text: the same line by each",
            Merge::new().at("/text", Lines),
            [
                json!({"text": "one\ntwo\nthree\n"}),
                json!({"text": "one\nTwo\nthree\n"}),
                json!({"text": "one\n2\nthree\n"}),
            ],
            Overlaps(&["/text"]),
        ),
        (
            "a text: lines that touch, of which nobody knows how they go together",
            Merge::new().at("/text", Lines),
            [json!({"text": "one\ntwo\n"}), json!({"text": "One\ntwo\n"}), json!({"text": "one\nTwo\n"})],
            Overlaps(&["/text"]),
        ),
    ]
}

#[test]
fn each_case_is_merged_as_a_person_would() {
    let cases: Vec<Case> = [of_objects(), of_arrays(), of_rules()].into_iter().flatten().collect();
    assert!(cases.len() >= 30, "{}", cases.len());
    for (reason, merge, [base, mine, theirs], expected) in cases {
        match (merge.values(&base, &mine, &theirs), expected) {
            (Ok(merged), Merged(expected)) => assert_eq!(merged, expected, "{reason}"),
            (Err(overlaps), Overlaps(expected)) => {
                assert!(overlaps.pointers().eq(expected.iter().copied()), "{reason}: {overlaps:?}");
            }
            (Ok(merged), Overlaps(expected)) => panic!("{reason}: {merged}, expected {expected:?}"),
            (Err(overlaps), Merged(expected)) => panic!("{reason}: {overlaps:?}, expected {expected}"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
enum Sent {
    Post {
        street: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        floor: Option<u8>,
    },
    Mail {
        address: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Parcel {
    sent: Sent,
    grams: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[test]
fn each_typed_case_is_merged_as_a_person_would() {
    let post = |floor| Sent::Post { street: "Main Street".to_owned(), floor };
    let mail = || Sent::Mail { address: "ann@example.org".to_owned() };
    let parcel = |sent, grams| Parcel { sent, grams, notes: Vec::new() };
    let noted = |parcel: Parcel| Parcel { notes: vec!["fragile".to_owned()], ..parcel };
    // What is merged, or the places that overlap.
    type Expected = Result<Parcel, &'static [&'static str]>;
    let cases: [(&str, [Parcel; 3], Expected); 5] = [
        (
            "a variant by me, the weight by them",
            [parcel(post(None), 5), parcel(mail(), 5), parcel(post(None), 6)],
            Ok(parcel(mail(), 6)),
        ),
        (
            "a variant by me, a member of the old one by them: serde would drop it without a word",
            [parcel(post(None), 5), parcel(mail(), 5), parcel(post(Some(3)), 5)],
            Err(&["/sent/floor"]),
        ),
        (
            "a member that the type leaves out when it is empty",
            [noted(parcel(post(None), 5)), parcel(post(None), 5), noted(parcel(post(None), 6))],
            Ok(parcel(post(None), 6)),
        ),
        (
            "the last note by me, another by them",
            [
                noted(parcel(post(None), 5)),
                parcel(post(None), 5),
                Parcel { notes: vec!["fragile".to_owned(), "urgent".to_owned()], ..parcel(post(None), 5) },
            ],
            Err(&["/notes"]),
        ),
        (
            "a sum that the type can't hold",
            [parcel(post(None), 1), parcel(post(None), 60_000), parcel(post(None), 50_000)],
            Err(&["/grams"]),
        ),
    ];
    let merge = Merge::new().at("/grams", Counter);
    for (reason, [base, mine, theirs], expected) in cases {
        match (merge.typed(&base, &mine, &theirs), expected) {
            (Ok(merged), Ok(expected)) => assert_eq!(merged, expected, "{reason}"),
            (Err(Unmerged::Overlaps(overlaps)), Err(expected)) => {
                assert!(overlaps.pointers().eq(expected.iter().copied()), "{reason}: {overlaps:?}");
            }
            (merged, expected) => panic!("{reason}: {merged:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn a_closure_decides_where_both_changed_a_place_and_nowhere_else() {
    let longer = Merge::new().by("/*", |sides| {
        let texts = [sides.mine, sides.theirs].map(|side| side.and_then(Value::as_str));
        let [Some(mine), Some(theirs)] = texts else { return None };
        Some(if mine.len() >= theirs.len() { mine } else { theirs }.into())
    });
    let base = json!({"a": "1", "b": "1234", "c": "1"});

    let merged = longer.values(
        &base,
        &json!({"a": "12", "b": "1", "c": "1"}),
        &json!({"a": "123", "b": "1234", "c": "1"}),
    );

    assert_eq!(merged.unwrap(), json!({"a": "123", "b": "1", "c": "1"}));
    let overlaps = longer.values(&base, &json!({"a": 7}), &json!({"a": "123"})).unwrap_err();
    assert!(overlaps.pointers().eq(["/a"]));
}
