//! Whether a type keeps all that a document says.

use std::collections::HashSet;

use serde_json::Value;

/// How many members a type may leave out: each is looked at by reading the whole document once more.
const MOST_LEFT_OUT: usize = 32;

/// The path of a member or an element of `document` of which nothing is left in `kept`, which is what a type made of it.
///
/// What a scalar became does not matter: `1` may be `1.0`, and a name spelled otherwise. A `null` may be left out, as an `Option`
/// leaves it out; and so may any other member that the type `reads`, as an empty list often is.
pub(super) fn dropped(document: &Value, kept: &Value, reads: &mut dyn FnMut(&str) -> bool) -> Option<String> {
    Comparison { path: String::new(), reads, left_out: 0 }.dropped(document, kept)
}

struct Comparison<'a> {
    /// Where it is, as a JSON pointer.
    path: String,
    reads: &'a mut dyn FnMut(&str) -> bool,
    left_out: usize,
}

impl Comparison<'_> {
    fn dropped(&mut self, document: &Value, kept: &Value) -> Option<String> {
        match (document, kept) {
            (Value::Object(members), Value::Object(kept)) => members.iter().find_map(|(name, member)| {
                self.at(name, |below| below.dropped_member(member, kept.get(name)))
            }),
            (Value::Array(list), Value::Array(kept)) => self.dropped_element(list, kept),
            // What it holds is kept in another way, or not at all: that can't be told.
            (Value::Object(members), _) => members
                .iter()
                .find(|(_, member)| !member.is_null())
                .and_then(|(name, _)| self.at(name, |below| Some(below.path.clone()))),
            (Value::Array(list), _) => (!list.is_empty()).then(|| format!("{}/0", self.path)),
            _ => None,
        }
    }

    fn dropped_member(&mut self, member: &Value, kept: Option<&Value>) -> Option<String> {
        match kept {
            Some(kept) => self.dropped(member, kept),
            None if member.is_null() => None,
            None => {
                self.left_out += 1;
                let may_be = self.left_out <= MOST_LEFT_OUT && (self.reads)(&self.path);
                (!may_be).then(|| self.path.clone())
            }
        }
    }

    fn dropped_element(&mut self, list: &[Value], kept: &[Value]) -> Option<String> {
        let lost = match list.len() == kept.len() {
            true => list.iter().zip(kept).enumerate().find_map(|(at, (element, kept))| {
                self.at(&at.to_string(), |below| below.dropped(element, kept))
            })?,
            false => format!("{}/{}", self.path, list.len().min(kept.len())),
        };
        // A set walks its elements in an order of its own, and keeps one of equal ones.
        let kept: HashSet<String> = kept.iter().map(Value::to_string).collect();
        let all = list.iter().all(|element| kept.contains(&element.to_string()));
        (!all).then_some(lost)
    }

    /// One step further down.
    fn at(&mut self, name: &str, look: impl FnOnce(&mut Self) -> Option<String>) -> Option<String> {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&escaped(name));
        let found = look(self);
        self.path.truncate(length);
        found
    }
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
            assert_eq!(dropped(&document, &kept, &mut |_| false), None, "{document} {kept}");
        }
        for (document, kept, path) in [
            (json!({"a": 1}), json!({}), "/a"),
            (json!({"a": {"b/c": {"~": false}}}), json!({"a": {"b/c": {}}}), "/a/b~1c/~0"),
            (json!([{"a": 1}, {"a": 1, "b": 2}]), json!([{"a": 1}, {"a": 1}]), "/1/b"),
            (json!([1, 2]), json!([1]), "/1"),
            (json!({"a": {"b": 1}}), json!({"a": 1}), "/a/b"),
            (json!({"a": [1]}), json!({"a": null}), "/a/0"),
        ] {
            assert_eq!(dropped(&document, &kept, &mut |_| false).as_deref(), Some(path), "{document} {kept}");
        }
    }
    #[test]
    fn what_the_type_reads_may_be_left_out() {
        let document = json!({"a": {"tags": [], "x": false}, "y": 1});
        let mut asked = Vec::new();

        let path = dropped(&document, &json!({"a": {}}), &mut |path| {
            asked.push(path.to_owned());
            path != "/y"
        });

        assert_eq!(path.as_deref(), Some("/y"));
        assert_eq!(asked, ["/a/tags", "/a/x", "/y"]);
        let many: Value = (0..40).map(|number| (number.to_string(), json!(false))).collect();
        assert!(dropped(&many, &json!({}), &mut |_| true).is_some());
    }
}
