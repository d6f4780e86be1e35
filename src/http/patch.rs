//! [`Patch`], a change of a part of a value, as the body of a request has it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::{self, Codec, Json, Unkept};
use crate::http::patch::operations::{Operations, Stop};
use crate::http::problem::Problem;
use crate::store::{Advice, Conflict, Error, Mismatch, Refusal};

mod load;
mod operations;

/// What [`Patch`] takes, as the header `Accept-Patch` lists it (RFC 5789 §3.1).
///
/// ```
/// assert!(ifmatch::http::ACCEPT_PATCH.contains("application/merge-patch+json"));
/// ```
pub const ACCEPT_PATCH: &str = "application/merge-patch+json, application/json-patch+json";

const MERGE: &str = "application/merge-patch+json";
const OPERATIONS: &str = "application/json-patch+json";

/// The longest body of a patch, in bytes, and the most that the operations of one may carry.
const MOST_BYTES: usize = 1024 * 1024;

/// A change of a part of a value: a merge patch (RFC 7396) or a list of operations (RFC 6902), as the body of a `PATCH` has it.
/// [`apply_if`](crate::Collection::apply_if) applies it to a resource. Feature `patch`.
///
/// It changes the JSON text of the value, and the changed text is read as the type again. On the way nothing is lost in silence:
///
/// - A value that does not survive its own way through JSON is not patched at all: with a field under `#[serde(skip)]` that is
///   not at its default, `Some(None)`, a float that is no number, an integer past 64 bits. 422, `not-encodable`.
/// - A member of the changed document that the type would drop is refused, and so is one that it can't hold: 422,
///   [`unfit-change`](crate::docs::problems#unfit-change). `1` for a float and `null` for an `Option` are fine.
/// - An operation that does not find what it builds on is a [`Conflict`], 409: its rule is `test` where the value is another
///   one, and `path` where there is none.
/// - A patch has at most 1 MiB and 1,000 operations; the values that these add, copy, move or test have at most 1 MiB and 100,000
///   values together, and none nests deeper than 64 levels. That is looked at before each step, so no step can blow up.
///
/// `test` compares numbers by what they are worth: `1` is `1.0` (RFC 6902 §4.6).
///
/// ```
/// use ifmatch::http::Patch;
///
/// let body = br#"{"title": "Hello", "draft": null}"#;
/// let patch = Patch::parse(Some("application/merge-patch+json"), body).unwrap();
///
/// let article = serde_json::json!({"title": "Hi", "draft": true, "text": "First words."});
/// let changed = patch.apply("intro", &article)?;
/// assert_eq!(changed, serde_json::json!({"title": "Hello", "text": "First words."}));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Patch(Form);

#[derive(Debug, Clone)]
enum Form {
    Merge(Value),
    Operations(Operations),
}

impl Patch {
    /// Reads the body of a request by its `Content-Type`.
    ///
    /// # Errors
    ///
    /// 415 with `Accept-Patch` for another type, or none; 413 for a body that is too long; 400,
    /// [`malformed-patch`](crate::docs::problems#malformed-patch), for one that is no patch.
    ///
    /// ```
    /// use ifmatch::http::Patch;
    ///
    /// let refused = Patch::parse(Some("application/json"), b"{}").unwrap_err();
    /// assert_eq!(refused.status(), 415);
    /// assert!(refused.headers().iter().any(|(name, _)| *name == "accept-patch"));
    /// ```
    pub fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, Problem> {
        let is_merge = Self::is_merge(content_type)?;
        if body.len() > MOST_BYTES {
            return Err(too_large(format!("a patch of {} bytes, and the limit is {MOST_BYTES}", body.len())));
        }
        let read: Result<Value, _> = Json.decode(body);
        // Of what was sent it tells line and column.
        let read = read.map_err(|fault| malformed(fault.to_string()))?;
        Ok(Self(if is_merge { Form::Merge(read) } else { Form::Operations(Operations::read(read)?) }))
    }

    /// Whether the type of a body is one of [`ACCEPT_PATCH`]. For programs that read the body only then.
    ///
    /// # Errors
    ///
    /// 415 with `Accept-Patch`.
    pub fn takes(content_type: Option<&str>) -> Result<(), Problem> {
        Self::is_merge(content_type).map(drop)
    }

    fn is_merge(content_type: Option<&str>) -> Result<bool, Problem> {
        let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case(MERGE) {
            return Ok(true);
        }
        if kind.eq_ignore_ascii_case(OPERATIONS) {
            return Ok(false);
        }
        Err(Problem::of_status(415)
            .with_detail(format!("a patch is one of {ACCEPT_PATCH}"))
            .with_header("accept-patch", ACCEPT_PATCH))
    }

    /// The value of the resource `id` after the patch. The value itself stays as it is, whatever comes of it.
    ///
    /// # Errors
    ///
    /// Those that [`Patch`] lists. A conflict of it knows no current value; that of
    /// [`apply_if`](crate::Collection::apply_if) does.
    ///
    /// ```
    /// use ifmatch::http::{self, Patch};
    ///
    /// let body = br#"[{"op": "test", "path": "", "value": 1.0}, {"op": "replace", "path": "", "value": 2}]"#;
    /// let patch = Patch::parse(Some("application/json-patch+json"), body).unwrap();
    ///
    /// assert_eq!(patch.apply("visits", &1)?, 2);
    /// assert_eq!(http::status(&patch.apply("visits", &7).unwrap_err()), 409);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn apply<T>(&self, id: &str, value: &T) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let unfaithful = |source| Refusal::Encode { id: id.into(), source };
        let mut document = codec::document(value).map_err(unfaithful)?;
        match &self.0 {
            Form::Merge(patch) => json_patch::merge(&mut document, patch),
            Form::Operations(operations) => {
                operations.apply(&mut document).map_err(|stop| stopped(id, stop))?
            }
        }
        codec::value(&document).map_err(|unkept| unfit(id, unkept))
    }
}

/// What the type does not hold of the patched document.
fn unfit(id: &str, unkept: Unkept) -> Error {
    let problem = match unkept {
        Unkept::Unreadable(problem) => problem,
        // A column of a text that the client never saw would tell it nothing.
        Unkept::Misfit(path) => format!("what would be at `{}` is not of the expected shape", shown(&path)),
        Unkept::Dropped(paths) => format!("nothing would be kept of what is at `{}`", shown(&paths[0])),
    };
    Refusal::Unfit { id: id.into(), problem: problem.into() }.into()
}

/// What an operation could not do.
fn stopped(id: &str, stop: Stop) -> Error {
    let conflict = |rule: &'static str, said: String| {
        // What it builds on is another one by now: to look again helps.
        Error::from(Conflict::from(Mismatch::state(id, rule, said).with_retry(Advice::Refetch)))
    };
    match stop {
        Stop::Differs { operation, path } => conflict(
            "test",
            format!("operation {operation} of the patch expects another value at `{}`", shown(&path)),
        ),
        Stop::Nowhere { operation, path } => conflict(
            "path",
            format!("operation {operation} of the patch finds nothing at `{}`", shown(&path)),
        ),
        Stop::Within { operation } => Refusal::Unfit {
            id: id.into(),
            problem: format!("operation {operation} of the patch moves a value into itself").into(),
        }
        .into(),
        Stop::TooLarge { bytes } => Refusal::TooLarge { id: id.into(), bytes, limit: MOST_BYTES }.into(),
        Stop::TooMuch { operation, what } => Refusal::Unfit {
            id: id.into(),
            problem: format!("operation {operation} of the patch {what}").into(),
        }
        .into(),
    }
}

fn malformed(detail: String) -> Problem {
    Problem::of(400, "malformed-patch", detail).with_type("/problems/malformed-patch")
}

fn too_large(detail: String) -> Problem {
    Problem::of(413, "too-large", detail).with_type("/problems/too-large")
}

/// A path as a message shows it: the beginning of a long one, and no control characters.
fn shown(path: &str) -> String {
    const LONGEST: usize = 120;
    let start: String = path.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if path.chars().nth(LONGEST).is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::http::{reason, status};

    fn merge(patch: Value) -> Patch {
        Patch::parse(Some(MERGE), patch.to_string().as_bytes()).unwrap()
    }

    fn operations(patch: Value) -> Patch {
        Patch::parse(Some(OPERATIONS), patch.to_string().as_bytes()).unwrap()
    }

    fn refused<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        patch: &Patch,
        value: &T,
    ) -> (u16, String) {
        let error = patch.apply("a", value).unwrap_err();
        (status(&error), error.conflict().map_or_else(|| error.to_string(), ToString::to_string))
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Measure {
        litres: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        tags: HashSet<String>,
    }

    fn measure() -> Measure {
        let tags = ["a", "b", "c", "d"].map(str::to_owned).into();
        Measure { litres: 1.5, note: Some("new".to_owned()), tags }
    }

    /// RFC 7396, appendix A: the document, the patch, and what comes of it.
    #[test]
    fn the_examples_of_the_rfc_of_merge_patches_hold() {
        for (document, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge(patch.clone()).apply("a", &document).unwrap(), merged, "{document} {patch}");
        }
    }

    #[test]
    fn a_typed_value_is_patched_and_what_the_patch_does_not_name_stays() {
        let litres = merge(json!({"litres": 2})).apply("a", &measure()).unwrap();
        assert_eq!(litres, Measure { litres: 2.0, ..measure() });
        let bare = merge(json!({"note": null})).apply("a", &measure()).unwrap();
        assert_eq!(bare, Measure { note: None, ..measure() });
        let null = operations(json!([{"op": "add", "path": "/note", "value": null}]));
        assert_eq!(null.apply("a", &measure()).unwrap(), bare);
        let again = operations(json!([{"op": "add", "path": "/tags/-", "value": "a"}]));
        assert_eq!(again.apply("a", &measure()).unwrap(), measure(), "a set keeps one of equal ones");
    }

    #[test]
    fn a_member_that_the_type_would_drop_is_refused_and_named() {
        let unfit = |at: &str| {
            (422, format!("the change of `a` does not fit: nothing would be kept of what is at `{at}`"))
        };
        assert_eq!(refused(&merge(json!({"liters": 2})), &measure()), unfit("/liters"));
        assert_eq!(refused(&merge(json!({"litres": 2, "x": {"y": 1}})), &measure()), unfit("/x"));
        let add = operations(json!([{"op": "add", "path": "/a~1b", "value": 1}]));
        assert_eq!(refused(&add, &measure()), unfit("/a~1b"));
        let long = merge(json!({"x".repeat(500): 1}));
        assert!(refused(&long, &measure()).1.len() < 300);
    }

    #[test]
    fn what_a_type_leaves_out_of_its_own_is_not_dropped() {
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        struct Task {
            title: String,
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            tags: Vec<String>,
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            done: bool,
            #[serde(default, skip_serializing_if = "String::is_empty")]
            note: String,
        }

        let task = Task { title: "t".into(), tags: vec!["a".into()], done: true, note: "n".into() };
        let bare = Task { tags: Vec::new(), done: false, note: String::new(), ..task.clone() };
        let patch = merge(json!({"tags": [], "done": false, "note": ""}));
        assert_eq!(patch.apply("a", &task).unwrap(), bare);
        let last = operations(json!([{"op": "remove", "path": "/tags/0"}]));
        assert_eq!(last.apply("a", &task).unwrap(), Task { tags: Vec::new(), ..task.clone() });
        // What it does not read is dropped, however little it says.
        for unknown in [json!([]), json!({}), json!(false), json!("")] {
            let patch = merge(json!({"tags": [], "other": unknown}));
            assert_eq!(refused(&patch, &task).0, 422, "{unknown}");
        }
    }

    /// One side says another variant, and the members of the old one would go without a word.
    #[test]
    fn a_variant_that_changes_does_not_drop_the_members_of_the_old_one_in_silence() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "by", rename_all = "lowercase")]
        enum Sent {
            Post { street: String },
            Mail { address: String },
        }

        let post = Sent::Post { street: "s3cr3t".to_owned() };
        let mail = json!({"by": "mail", "address": "a@b"});
        let (code, message) = refused(&merge(mail.clone()), &post);
        assert!(
            (code, message.contains("`/street`"), message.contains("s3cr3t")) == (422, true, false),
            "{message}"
        );
        let whole = operations(json!([{"op": "replace", "path": "", "value": mail}]));
        assert_eq!(whole.apply("a", &post).unwrap(), Sent::Mail { address: "a@b".to_owned() });
    }

    #[test]
    fn what_the_type_cannot_hold_is_refused_without_a_word_of_it() {
        for patch in
            [json!({"litres": "s3cr3t"}), json!({"litres": null}), json!({"tags": {"s3cr3t": 1}}), json!(7)]
        {
            let (code, message) = refused(&merge(patch), &measure());
            assert!(code == 422 && !message.contains("s3cr3t"), "{message}");
        }
    }

    #[test]
    fn a_value_that_does_not_survive_its_own_way_through_json_is_not_patched() {
        #[derive(Debug, PartialEq, Serialize, Deserialize, Default)]
        struct Odd {
            name: String,
            #[serde(skip)]
            skipped: u8,
            #[serde(default)]
            twice: Option<Option<u8>>,
            float: f32,
            wide: u128,
        }

        let rename = merge(json!({"name": "new"}));
        for odd in [
            Odd { skipped: 7, ..Odd::default() },
            Odd { twice: Some(None), ..Odd::default() },
            Odd { float: f32::NAN, ..Odd::default() },
            Odd { float: f32::INFINITY, ..Odd::default() },
            Odd { wide: u128::MAX, ..Odd::default() },
        ] {
            let error = rename.apply("a", &odd).unwrap_err();
            assert_eq!((status(&error), reason(&error)), (422, "not-encodable"), "{odd:?}");
        }
        let fine = Odd { wide: u64::MAX.into(), float: 0.1, twice: Some(Some(1)), ..Odd::default() };
        let renamed = rename.apply("a", &fine).unwrap();
        assert_eq!((renamed.name.as_str(), renamed.wide, renamed.float), ("new", fine.wide, 0.1));
    }

    #[test]
    fn a_test_of_a_float_holds_for_what_was_sent() {
        let test = |value: Value| operations(json!([{"op": "test", "path": "/0", "value": value}]));
        let floats = vec![0.1_f32, 1.0];

        assert!(test(json!(0.1)).apply("a", &floats).is_ok());
        assert!(operations(json!([{"op": "test", "path": "/1", "value": 1}])).apply("a", &floats).is_ok());
        let (code, message) = refused(&test(json!(0.100000001)), &floats);
        assert_eq!(
            (code, &*message),
            (409, "`a` refuses the change: operation 0 of the patch expects another value at `/0`")
        );
    }

    #[test]
    fn what_an_operation_builds_on_and_is_not_there_is_a_conflict_to_look_at_again() {
        let nowhere = operations(json!([{"op": "remove", "path": "/x\u{1b}"}]));
        let error = nowhere.apply("a", &BTreeMap::<String, u8>::new()).unwrap_err();

        let problem = Problem::new(error);
        assert_eq!((problem.status(), problem.reason(), problem.rule()), (409, "state", Some("path")));
        assert_eq!(problem.retry(), Advice::Refetch);
        assert!(!problem.detail().contains(char::is_control), "{}", problem.detail());
    }

    #[test]
    fn only_the_two_types_are_patches_and_the_answer_lists_them() {
        for kind in
            [MERGE, "Application/Merge-Patch+JSON; charset=utf-8", " application/merge-patch+json ;x=y"]
        {
            assert!(Patch::parse(Some(kind), b"{}").is_ok(), "{kind}");
        }
        for kind in [
            None,
            Some(""),
            Some("application/json"),
            Some("application/merge-patch+jsons"),
            Some("text/plain"),
        ] {
            let refused = Patch::parse(kind, b"{}").unwrap_err();
            assert_eq!((refused.status(), refused.reason()), (415, "unsupported-media-type"), "{kind:?}");
            assert!(refused.headers().contains(&("accept-patch", ACCEPT_PATCH.to_owned())));
        }
    }

    #[test]
    fn what_is_no_json_or_too_much_of_it_is_no_patch() {
        let parse =
            |body: &[u8]| Patch::parse(Some(MERGE), body).map(drop).map_err(|problem| problem.status());

        assert_eq!(parse(b"{"), Err(400));
        assert_eq!(parse(b"{} {}"), Err(400));
        assert_eq!(parse(b"\xff"), Err(400));
        assert_eq!(parse(&b"[".repeat(65)), Err(400), "deeper than any value may be");
        assert_eq!(parse(&vec![b' '; MOST_BYTES + 1]), Err(413));
        assert_eq!(parse(format!("[{}0]", "0,".repeat(100_000)).as_bytes()), Err(400));
        let secret = Patch::parse(Some(MERGE), b"{\"a\": s3cr3t}").unwrap_err();
        assert!(!serde_json::to_string(&secret).unwrap().contains("s3cr3t"));
        assert_eq!(secret.type_uri(), "/problems/malformed-patch");
    }
}
