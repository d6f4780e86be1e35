//! Whether a type keeps all that a document says.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value;

/// How many members a type may leave out: each is looked at by reading the whole document once more.
const MOST_LEFT_OUT: usize = 32;

/// The paths of the members and elements of `document` of which nothing is left in `kept`, which is what a type made of it.
///
/// What a scalar became does not matter: `1` may be `1.0`, and a name spelled otherwise. A `null` may be left out, as an `Option`
/// leaves it out; and so may any other member that the type `reads`, as an empty list often is.
pub(super) fn dropped(document: &Value, kept: &Value, reads: &mut dyn FnMut(&str) -> bool) -> Vec<String> {
    let mut comparison = Comparison { path: String::new(), reads, left_out: 0, lost: Vec::new() };
    comparison.compare(document, kept);
    comparison.lost
}

struct Comparison<'a> {
    /// Where it is, as a JSON pointer.
    path: String,
    reads: &'a mut dyn FnMut(&str) -> bool,
    left_out: usize,
    lost: Vec<String>,
}

impl Comparison<'_> {
    fn compare(&mut self, document: &Value, kept: &Value) {
        match (document, kept) {
            (Value::Object(members), Value::Object(kept)) => {
                for (name, member) in members {
                    self.at(name, |below| below.compare_member(member, kept.get(name)));
                }
            }
            (Value::Array(list), Value::Array(kept)) => self.compare_elements(list, kept),
            // What it holds is kept in another way, or not at all: that can't be told.
            (Value::Object(members), _) => {
                if let Some((name, _)) = members.iter().find(|(_, member)| !member.is_null()) {
                    self.at(name, Self::lose);
                }
            }
            (Value::Array(list), _) if !list.is_empty() => self.at("0", Self::lose),
            _ => {}
        }
    }

    fn compare_member(&mut self, member: &Value, kept: Option<&Value>) {
        match kept {
            Some(kept) => self.compare(member, kept),
            None if member.is_null() => {}
            None => {
                self.left_out += 1;
                if self.left_out > MOST_LEFT_OUT || !(self.reads)(&self.path) {
                    self.lose();
                }
            }
        }
    }

    fn compare_elements(&mut self, list: &[Value], kept: &[Value]) {
        let before = self.lost.len();
        if list.len() == kept.len() {
            for (at, (element, kept)) in list.iter().zip(kept).enumerate() {
                self.at(&at.to_string(), |below| below.compare(element, kept));
            }
        } else {
            self.at(&list.len().min(kept.len()).to_string(), Self::lose);
        }
        if self.lost.len() == before {
            return;
        }
        // A set walks its elements in an order of its own, and keeps one of equal ones.
        let kept: HashSet<String> = kept.iter().map(Value::to_string).collect();
        if list.iter().all(|element| kept.contains(&element.to_string())) {
            self.lost.truncate(before);
        }
    }

    fn lose(&mut self) {
        self.lost.push(self.path.clone());
    }

    /// One step further down.
    fn at(&mut self, name: &str, look: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&escaped(name));
        look(self);
        self.path.truncate(length);
    }
}

/// A name as a JSON pointer has it (RFC 6901 §3).
pub(crate) fn escaped(name: &str) -> Cow<'_, str> {
    match name.contains(['~', '/']) {
        true => name.replace('~', "~0").replace('/', "~1").into(),
        false => name.into(),
    }
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
            assert_eq!(dropped(&document, &kept, &mut |_| false), [""; 0], "{document} {kept}");
        }
        for (document, kept, path) in [
            (json!({"a": 1}), json!({}), "/a"),
            (json!({"a": {"b/c": {"~": false}}}), json!({"a": {"b/c": {}}}), "/a/b~1c/~0"),
            (json!([{"a": 1}, {"a": 1, "b": 2}]), json!([{"a": 1}, {"a": 1}]), "/1/b"),
            (json!([1, 2]), json!([1]), "/1"),
            (json!({"a": {"b": 1}}), json!({"a": 1}), "/a/b"),
            (json!({"a": [1]}), json!({"a": null}), "/a/0"),
        ] {
            assert_eq!(dropped(&document, &kept, &mut |_| false), [path], "{document} {kept}");
        }
    }

    #[test]
    fn what_the_type_reads_may_be_left_out() {
        let document = json!({"a": {"tags": [], "x": false}, "y": 1});
        let mut asked = Vec::new();

        let paths = dropped(&document, &json!({"a": {}}), &mut |path| {
            asked.push(path.to_owned());
            path != "/y"
        });

        assert_eq!(paths, ["/y"]);
        assert_eq!(asked, ["/a/tags", "/a/x", "/y"]);
        let many: Value = (0..40).map(|number| (number.to_string(), json!(false))).collect();
        assert_eq!(dropped(&many, &json!({}), &mut |_| true).len(), 40 - MOST_LEFT_OUT);
    }
}
