//! JSON that a request sends as its body.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::codec::json_within_limits;
use crate::http::problem::Problem;

/// Whether a media type is JSON: `application/json`, or one with the suffix `+json` that is no patch.
///
/// # Errors
///
/// 415 with `Accept`.
pub(crate) fn takes(content_type: Option<&str>) -> Result<(), Problem> {
    let kind = content_type.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    let patch = kind == "application/merge-patch+json" || kind == "application/json-patch+json";
    let json = kind
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"));
    match json && !patch {
        true => Ok(()),
        false => Err(Problem::of_status(415)
            .with_detail("a value is `application/json`")
            .with_header("accept", "application/json")),
    }
}

/// The value that a body is. No more is built than the codec would store: JSON that nests deeper, or has more values in it, is
/// refused before.
///
/// # Errors
///
/// 400 where it is no JSON, or past those limits; 422 where it is JSON of another shape. Neither quotes the body.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let refused = |status, detail| Problem::of_status(status).with_detail(detail);
    json_within_limits(body).map_err(|limit| refused(400, format!("the body is too much: {limit}")))?;
    serde_json::from_slice(body).map_err(|error| {
        let (status, what) = match error.classify() {
            Category::Data => (422, "the body is not JSON of the expected shape"),
            Category::Eof => (400, "the JSON of the body ends too early"),
            Category::Syntax | Category::Io => (400, "the body is no JSON"),
        };
        refused(status, format!("{what}, at line {}, column {}", error.line(), error.column()))
    })
}
