//! Patches of any bytes against a typed value: no panic, what is refused is refused by its table, and what is applied is what a
//! reader that goes by the text of the RFC makes of it.

#![no_main]

use std::collections::BTreeMap;

use ifmatch::http::{self, Patch};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Article {
    title: String,
    stars: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    tags: Vec<u8>,
    by: By,
    more: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum By {
    Post { street: String },
    Mail { address: String },
}

fn article() -> Article {
    Article {
        title: "t".to_owned(),
        stars: 0.1,
        note: Some("n".to_owned()),
        tags: vec![1, 2],
        by: By::Post { street: "s".to_owned() },
        more: BTreeMap::from([("a".to_owned(), json!({"b": [1, {"c": null}]})), ("~/".to_owned(), json!(1.5))]),
    }
}

// The first byte chooses the format.
fuzz_target!(|bytes: &[u8]| {
    let Some((format, body)) = bytes.split_first() else { return };
    let merges = format % 2 == 0;
    let kind = if merges { "application/merge-patch+json" } else { "application/json-patch+json" };
    let patch = match Patch::parse(Some(kind), body) {
        Ok(patch) => patch,
        Err(problem) => return assert!([400, 413].contains(&problem.status()), "{problem:?}"),
    };

    let before = article();
    let applied = patch.apply("a", &before);
    assert_eq!(before, article());
    let Value::Object(document) = serde_json::from_slice(&serde_json::to_vec(&before).unwrap()).unwrap() else {
        unreachable!()
    };
    match &applied {
        Ok(after) => {
            let text = serde_json::to_vec(after).expect("what was read can be written");
            assert!(text.len() < 4 * 1024 * 1024, "it grew to {}", text.len());
            let now: Value = serde_json::from_slice(&text).unwrap();
            if merges {
                let merged = merged(Value::Object(document), &serde_json::from_slice(body).unwrap());
                assert!(kept(&merged, &now), "{merged} became {now}");
                // A merge patch says what is to be, so once more changes nothing.
                assert_eq!(patch.apply("a", after).as_ref().ok(), Some(after));
            }
        }
        Err(error) => {
            let status = http::status(error);
            assert!(status == 422 || !merges && [409, 413].contains(&status), "{error:?}");
        }
    }
    // Of another type, whose values have no shape of their own: there everything fits.
    if merges {
        let any = patch.apply("a", &json!({"title": "t", "more": {"a": 1}})).expect("any JSON holds any JSON");
        let patch: Value = serde_json::from_slice(body).unwrap();
        assert_eq!(any, merged(json!({"title": "t", "more": {"a": 1}}), &patch));
    }
});

/// RFC 7396 §2, line by line.
fn merged(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = match target {
        Value::Object(target) => target,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let merged = merged(target.remove(name).unwrap_or(Value::Null), value);
            target.insert(name.clone(), merged);
        }
    }
    Value::Object(target)
}

/// Whether every member that is not `null` is still there.
fn kept(document: &Value, now: &Value) -> bool {
    match (document, now) {
        (Value::Object(members), Value::Object(now)) => members
            .iter()
            .all(|(name, member)| now.get(name).map_or(member.is_null(), |now| kept(member, now))),
        (Value::Array(list), Value::Array(now)) => {
            list.len() == now.len() && list.iter().zip(now).all(|(element, now)| kept(element, now))
        }
        (Value::Object(_) | Value::Array(_), _) => false,
        _ => true,
    }
}
