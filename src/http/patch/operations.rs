//! [`Operations`], the list of a JSON Patch (RFC 6902), applied one by one.

use json_patch::jsonptr::Pointer;
use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Number, Value};

use crate::http::patch::load::Load;
use crate::http::patch::{malformed, too_large};
use crate::http::problem::Problem;

/// The most operations of one patch.
const MOST: usize = 1000;

/// The operations of a patch.
#[derive(Debug, Clone)]
pub(super) struct Operations(Vec<PatchOperation>);

/// Why an operation was not done, and none after it. They count from 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A `test` that does not hold.
    Differs {
        operation: usize,
        path: String,
    },
    /// There is nothing at this path, or no place for anything.
    Nowhere {
        operation: usize,
        path: String,
    },
    /// A value that would be moved into itself.
    Within {
        operation: usize,
    },
    /// What was carried so far, in bytes, is too large.
    TooLarge {
        bytes: usize,
    },
    TooMuch {
        operation: usize,
        what: &'static str,
    },
}

impl Operations {
    pub(super) fn read(body: Value) -> Result<Self, Problem> {
        let Value::Array(list) = body else {
            return Err(malformed("a patch is a list of operations".to_owned()));
        };
        if list.len() > MOST {
            return Err(too_large(format!("a patch of {} operations, and the limit is {MOST}", list.len())));
        }
        let read = |(at, operation)| {
            serde_json::from_value(operation)
                .map_err(|_| malformed(format!("operation {at} is none of RFC 6902, or lacks a member")))
        };
        Ok(Self(list.into_iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// Applies all of them, or those before the one that stopped it: the document is a copy.
    pub(super) fn apply(&self, document: &mut Value) -> Result<(), Stop> {
        let mut load = Load::new();
        for (operation, step) in self.0.iter().enumerate() {
            let nowhere = |path: &Pointer| Stop::Nowhere { operation, path: path.as_str().to_owned() };
            // All that the step puts anywhere, before it does.
            let carried = match step {
                PatchOperation::Add(add) => Some(&add.value),
                PatchOperation::Replace(replace) => Some(&replace.value),
                PatchOperation::Test(test) => Some(&test.value),
                PatchOperation::Copy(copy) => {
                    Some(document.pointer(copy.from.as_str()).ok_or_else(|| nowhere(&copy.from))?)
                }
                PatchOperation::Move(step) => {
                    Some(document.pointer(step.from.as_str()).ok_or_else(|| nowhere(&step.from))?)
                }
                PatchOperation::Remove(_) => None,
            };
            if let Some(value) = carried {
                load.take(value, step.path().count()).map_err(|over| over.at(operation))?;
            }
            if let PatchOperation::Test(test) = step {
                let found = document.pointer(test.path.as_str()).ok_or_else(|| nowhere(&test.path))?;
                if !equal(found, &test.value) {
                    return Err(Stop::Differs { operation, path: test.path.as_str().to_owned() });
                }
                continue;
            }
            // Alone, so that the next one is looked at first.
            json_patch::patch_unsafe(document, std::slice::from_ref(step)).map_err(|error| {
                match error.kind {
                    PatchErrorKind::CannotMoveInsideItself => Stop::Within { operation },
                    _ => nowhere(step.path()),
                }
            })?;
        }
        Ok(())
    }
}

/// Equality as RFC 6902 §4.6 has it: numbers by what they are worth, members in any order.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => equal_numbers(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, one)| other.get(name).is_some_and(|other| equal(one, other));
            one.len() == other.len() && one.iter().all(same)
        }
        (one, other) => one == other,
    }
}

fn equal_numbers(one: &Number, other: &Number) -> bool {
    match (whole(one), whole(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one.as_f64() == other.as_f64(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// A number that is whole, exactly.
fn whole(number: &Number) -> Option<i128> {
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    integer.or_else(|| {
        // Below 2^100 a float that is whole is exactly the integer that it is cast to.
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 2f64.powi(100))
            .map(|float| float as i128)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(mut document: Value, patch: Value) -> Result<Value, Stop> {
        Operations::read(patch).unwrap().apply(&mut document).map(|()| document)
    }

    #[test]
    fn each_operation_does_what_the_rfc_says() {
        let document = || json!({"a": {"b": [1, 2]}, "c": "x", "~/": 0});
        for (step, expected) in [
            (
                json!({"op": "add", "path": "/a/b/1", "value": 7}),
                json!({"a": {"b": [1, 7, 2]}, "c": "x", "~/": 0}),
            ),
            (
                json!({"op": "add", "path": "/a/b/-", "value": 7}),
                json!({"a": {"b": [1, 2, 7]}, "c": "x", "~/": 0}),
            ),
            (
                json!({"op": "add", "path": "/c", "value": null}),
                json!({"a": {"b": [1, 2]}, "c": null, "~/": 0}),
            ),
            (json!({"op": "remove", "path": "/~0~1"}), json!({"a": {"b": [1, 2]}, "c": "x"})),
            (json!({"op": "replace", "path": "", "value": 1, "odd": 1}), json!(1)),
            (
                json!({"op": "move", "from": "/a/b/0", "path": "/c"}),
                json!({"a": {"b": [2]}, "c": 1, "~/": 0}),
            ),
            (
                json!({"op": "copy", "from": "/c", "path": "/a/b/0"}),
                json!({"a": {"b": ["x", 1, 2]}, "c": "x", "~/": 0}),
            ),
            (json!({"op": "test", "path": "/a", "value": {"b": [1.0, 2]}}), document()),
        ] {
            assert_eq!(apply(document(), json!([step.clone()])), Ok(expected), "{step}");
        }
    }

    #[test]
    fn what_does_not_find_its_place_stops_and_tells_which_it_was() {
        let document = || json!({"a": [1], "b": {}});
        let nowhere = |path: &str| Stop::Nowhere { operation: 1, path: path.to_owned() };
        for (step, stop) in [
            (json!({"op": "remove", "path": "/x"}), nowhere("/x")),
            (json!({"op": "replace", "path": "/x", "value": 1}), nowhere("/x")),
            (json!({"op": "add", "path": "/x/y", "value": 1}), nowhere("/x/y")),
            (json!({"op": "add", "path": "/a/2", "value": 1}), nowhere("/a/2")),
            (json!({"op": "add", "path": "/a/01", "value": 1}), nowhere("/a/01")),
            (json!({"op": "remove", "path": "/a/-"}), nowhere("/a/-")),
            (json!({"op": "remove", "path": ""}), nowhere("")),
            (json!({"op": "move", "from": "/x", "path": "/b/y"}), nowhere("/x")),
            (json!({"op": "copy", "from": "/a/1", "path": "/b/y"}), nowhere("/a/1")),
            (json!({"op": "test", "path": "/x", "value": null}), nowhere("/x")),
            (
                json!({"op": "test", "path": "/a", "value": [2]}),
                Stop::Differs { operation: 1, path: "/a".into() },
            ),
            (json!({"op": "move", "from": "/b", "path": "/b/c"}), Stop::Within { operation: 1 }),
        ] {
            let fine = json!({"op": "test", "path": "/a/0", "value": 1});
            assert_eq!(apply(document(), json!([fine, step.clone()])), Err(stop), "{step}");
        }
    }

    #[test]
    fn numbers_are_compared_by_what_they_are_worth() {
        let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for (one, other, same) in [
            ("1", "1.0", true),
            ("1", "1e0", true),
            ("-0.0", "0", true),
            ("100", "1e2", true),
            ("0.1", "0.1", true),
            ("1", "1.5", false),
            ("9007199254740993", "9007199254740992.0", false),
            ("9007199254740993", "9007199254740993", true),
            ("18446744073709551615", "18446744073709551616.0", false),
            ("18446744073709551615", "18446744073709551615", true),
            ("1e300", "1e300", true),
            ("1e300", "1e301", false),
            ("1", "\"1\"", false),
        ] {
            assert_eq!(equal(&number(one), &number(other)), same, "{one} {other}");
            assert_eq!(equal(&json!([{"a": number(one)}]), &json!([{"a": number(other)}])), same);
        }
        assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": 1})));
        assert!(!equal(&json!([1]), &json!([1, 1])));
    }

    #[test]
    fn what_is_no_list_of_operations_is_malformed() {
        for patch in [
            json!({}),
            json!([1]),
            json!([{"op": "add", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "path": "/~2", "value": 1}]),
            json!([{"op": "merge", "path": "/a", "value": 1}]),
            json!([{"op": "copy", "path": "/a"}]),
            json!([{"path": "/a", "value": 1}]),
        ] {
            let refused = Operations::read(patch.clone()).unwrap_err();
            assert_eq!((refused.status(), refused.reason()), (400, "malformed-patch"), "{patch}");
        }
        let many = |count| Value::from(vec![json!({"op": "remove", "path": "/a"}); count]);
        assert!(Operations::read(many(1000)).is_ok());
        assert_eq!(Operations::read(many(1001)).unwrap_err().status(), 413);
    }

    #[test]
    fn twenty_copies_do_not_blow_up() {
        let doubling: Vec<Value> =
            (0..20).map(|at| json!({"op": "copy", "from": "", "path": format!("/{at}")})).collect();

        let stop = apply(json!({"text": "x".repeat(21)}), doubling.into()).unwrap_err();

        assert!(matches!(stop, Stop::TooLarge { bytes } if bytes < 4 * 1024 * 1024), "{stop:?}");
    }

    #[test]
    fn a_removal_in_between_buys_no_more_copies() {
        let big = json!({"text": "x".repeat(300_000)});
        let pair =
            [json!({"op": "copy", "from": "/text", "path": "/b"}), json!({"op": "remove", "path": "/b"})];

        let stop = apply(big, pair.iter().cloned().cycle().take(400).collect()).unwrap_err();

        assert!(matches!(stop, Stop::TooLarge { bytes } if bytes < 2 * 1024 * 1024), "{stop:?}");
    }

    #[test]
    fn neither_many_small_values_nor_deep_ones_get_through() {
        let many = json!({"a": vec![0; 30_000]});
        let copies: Vec<Value> =
            (0..4).map(|at| json!({"op": "copy", "from": "/a", "path": format!("/{at}")})).collect();
        let stop = apply(many, copies.into()).unwrap_err();
        assert!(matches!(stop, Stop::TooMuch { operation: 3, .. }), "{stop:?}");

        // Each step nests by one more what the last one made.
        let deeper: Vec<Value> = (0..100).map(|_| json!({"op": "copy", "from": "", "path": "/a"})).collect();
        let stop = apply(json!({}), deeper.into()).unwrap_err();
        assert!(matches!(stop, Stop::TooMuch { .. } | Stop::TooLarge { .. }), "{stop:?}");

        let chain: Vec<Value> =
            (1..100).map(|depth| json!({"op": "add", "path": "/a".repeat(depth), "value": {}})).collect();
        let stop = apply(json!({}), chain.into()).unwrap_err();
        assert!(matches!(stop, Stop::TooMuch { operation: 63, .. }), "{stop:?}");
    }
}
