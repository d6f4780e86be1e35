//! Whether a type keeps all that a document says.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The path of a member or an element of `document` of which nothing is left in `kept`, which is what a type made of it.
///
/// What a scalar became does not matter: `1` may be `1.0`, and a name spelled otherwise. A `null` may be left out, as an `Option`
/// leaves it out.
pub(super) fn dropped(document: &Value, kept: &Value) -> Option<String> {
    match (document, kept) {
        (Value::Object(members), Value::Object(kept)) => dropped_member(members, kept),
        (Value::Array(list), Value::Array(kept)) => dropped_element(list, kept),
        // What it holds is kept in another way, or not at all: that can't be told.
        (Value::Object(members), _) => members
            .iter()
            .find(|(_, member)| !member.is_null())
            .map(|(name, _)| format!("/{}", escaped(name))),
        (Value::Array(list), _) => (!list.is_empty()).then(|| "/0".to_owned()),
        _ => None,
    }
}

fn dropped_member(members: &Map<String, Value>, kept: &Map<String, Value>) -> Option<String> {
    members.iter().find_map(|(name, member)| {
        let below = match kept.get(name) {
            Some(kept) => dropped(member, kept),
            None => (!member.is_null()).then(String::new),
        };
        below.map(|below| format!("/{}{below}", escaped(name)))
    })
}

fn dropped_element(list: &[Value], kept: &[Value]) -> Option<String> {
    let in_order = || {
        list.iter()
            .zip(kept)
            .enumerate()
            .find_map(|(at, (element, kept))| dropped(element, kept).map(|below| format!("/{at}{below}")))
    };
    let lost = match list.len() == kept.len() {
        true => in_order()?,
        false => format!("/{}", list.len().min(kept.len())),
    };
    // A set walks its elements in an order of its own, and keeps one of equal ones.
    let kept: HashSet<String> = kept.iter().map(Value::to_string).collect();
    let all = list.iter().all(|element| kept.contains(&element.to_string()));
    (!all).then_some(lost)
}

/// A name as a JSON pointer has it (RFC 6901 §3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_vanishes_is_dropped() {
        for (document, kept) in [
            (json!(1), json!(1.0)),
            (json!({"a": 1}), json!({"a": "one", "b": 2})),
            (json!({"a": null}), json!({})),
            (json!({"a": [{"b": null}]}), json!({"a": [{}]})),
            (json!([3, 1, 2, 1]), json!([1, 2, 3])),
            (json!([{"a": 1}, {"b": 2}]), json!([{"b": 2}, {"a": 1}])),
            (json!({}), json!(null)),
        ] {
            assert_eq!(dropped(&document, &kept), None, "{document} {kept}");
        }
        for (document, kept, path) in [
            (json!({"a": 1}), json!({}), "/a"),
            (json!({"a": {"b/c": {"~": false}}}), json!({"a": {"b/c": {}}}), "/a/b~1c/~0"),
            (json!([{"a": 1}, {"a": 1, "b": 2}]), json!([{"a": 1}, {"a": 1}]), "/1/b"),
            (json!([1, 2]), json!([1]), "/1"),
            (json!({"a": {"b": 1}}), json!({"a": 1}), "/a/b"),
            (json!({"a": [1]}), json!({"a": null}), "/a/0"),
        ] {
            assert_eq!(dropped(&document, &kept).as_deref(), Some(path), "{document} {kept}");
        }
    }
}
