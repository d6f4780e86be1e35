//! The protocol on HTTP, without any framework: entity tags, preconditions, the verbs, the status table and problem bodies.
//!
//! No type of a framework is here; those are in [`web`](crate::web).
//!
//! The rule behind the statuses is that of RFC 5789 §2.2: a failed precondition that came in a **header** is 412,
//! the same conflict with the version in the body or an argument is **409**.
//!
//! | situation | status | `reason` |
//! |---|---|---|
//! | stale version, from `If-Match` | 412 | `stale` |
//! | stale version, from the body or an argument; a race lost without a header | 409 | `stale` |
//! | exists already, `If-None-Match: *` | 412 | `exists` |
//! | exists already, plain create | 409 | `exists` |
//! | target missing or deleted, a put, `If-Match` given | 412 | `missing`, `deleted` |
//! | target missing otherwise | 404 | `missing`, `not-found` |
//! | target deleted otherwise, where the store remembers deletions | 410 | `deleted` |
//! | a rule of the program refuses | 409 | `state` |
//! | locked by another holder | 423 + `Retry-After` | `locked` |
//! | a tag of `If-Match` was [changed by a proxy](crate::docs::proxies), or is of somebody else | 412 | `altered-tag`, `foreign-tag` |
//! | retries exhausted under contention | 409 + `Retry-After` | `stale`, `exists` |
//! | several at once | that of the one that no new try helps, else the one that helps least ([`Conflict::decisive`](crate::Conflict::decisive)) | its own |
//! | precondition required, none given | 428 | `expectation-required` |
//! | malformed precondition of a write, or `Merge-Base` where nothing is merged; a read takes it for absent | 400 | `malformed-precondition` |
//! | an `Idempotency-Key` that no [`Keys`] keep | 501 | `key-not-kept` |
//! | an `Idempotency-Key` of another request | 422 | `key-reused` |
//! | a patch that can't be read | 400 | `malformed-patch` |
//! | a patch that does not find what it builds on | 409 | `state`, with the rule `test` or `path` |
//! | a patch that makes what the type can't hold, or would drop | 422 | `unfit-change` |
//! | stored bytes that do not decode | 500 | `corrupt` |
//! | a value in the schema of a later release | 503 + `Retry-After` | `newer-schema` |
//! | the store failed | 503 + `Retry-After` | `unavailable` |
//! | outcome unknown | 503 + `Retry-After` + the write id | `unknown-outcome` |
//!
//! [`Refusal`](crate::store::Refusal) names the statuses of refused calls. [`Problem::with_status`] overrides the table.
//! Each `reason` has a page in [`docs::problems`](crate::docs::problems).
//!
//! A handler extracts the [`Preconditions`] of the request and hands them to one call on its
//! [`Collection`](crate::Collection), which does all that is to be done: it looks whether there is something where the method
//! needs that, judges the preconditions on the very value that it reads or replaces, commits pinned to that version, and
//! tells what came of it.
//!
//! | method | call |
//! |---|---|
//! | `GET`, `HEAD` | [`get_if`](crate::Collection::get_if) |
//! | `PUT` | [`put_if`](crate::Collection::put_if), with the feature `merge` [`merge_if`](crate::Collection::merge_if) |
//! | `POST` of a new resource | [`create_if`](crate::Collection::create_if) |
//! | `PATCH` | [`modify_if`](crate::Collection::modify_if), [`try_modify_if`](crate::Collection::try_modify_if), [`patch_if`](crate::Collection::patch_if), with the feature `patch` [`apply_if`](crate::Collection::apply_if) |
//! | `DELETE` | [`delete_if`](crate::Collection::delete_if) |
//!
//! What a handler fetches and commits by hand is judged by [`Preconditions::admit`], and a row of a
//! [table](crate::table) by [`Preconditions::admit_row`].
//!
//! ```
//! use ifmatch::http::{Preconditions, Terms};
//! use ifmatch::{Collection, http};
//!
//! let articles = Collection::<String>::in_memory();
//! let terms = Terms::new().required();
//!
//! let headers = [("If-None-Match", "*")];
//! let request = Preconditions::from_headers(headers).under(terms);
//! let answer = articles.put_if("a1", &request, "text".to_string()).wait()?;
//! assert_eq!(answer.status(), 201);
//!
//! let late = articles.put_if("a1", &request, "another".to_string()).wait().unwrap_err();
//! assert_eq!((http::status(&late), http::reason(&late)), (412, "exists"));
//! # Ok::<_, ifmatch::Error>(())
//! ```

mod answer;
#[cfg(feature = "patch")]
mod apply;
mod asked;
mod busiest;
mod cause;
mod date;
mod etag;
mod exchange;
mod expose;
mod facts;
mod field;
#[cfg(feature = "resource")]
pub(crate) mod json;
mod key;
#[cfg(feature = "idempotency")]
mod keys;
mod lag;
#[cfg(feature = "merge")]
mod merge;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub mod meter;
mod pages;
#[cfg(feature = "patch")]
mod patch;
mod path;
mod precondition;
#[cfg(feature = "resource")]
mod prefer;
mod problem;
mod remark;
mod required;
#[cfg(feature = "patch")]
mod seen;
mod status;
mod tally;
mod terms;
#[cfg(feature = "tracing")]
#[cfg_attr(docsrs, doc(cfg(feature = "tracing")))]
pub mod trace;
mod verbs;

pub use answer::Answer;
pub use busiest::Busy;
pub use cause::Cause;
pub use etag::{EntityTag, ParseEntityTagError};
pub use exchange::{Exchange, Outcome};
pub use expose::Expose;
#[cfg(feature = "idempotency")]
#[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
pub use key::Key;
#[cfg(feature = "idempotency")]
#[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
pub use keys::{KeyedRequest, Keys};
pub use pages::problem_page;
#[cfg(feature = "patch")]
#[cfg_attr(docsrs, doc(cfg(feature = "patch")))]
pub use patch::{ACCEPT_PATCH, Patch};
pub use precondition::Preconditions;
#[cfg(feature = "resource")]
pub(crate) use prefer::Return;
pub use problem::{PROBLEM_JSON, Problem};
pub use remark::Remark;
pub use required::Required;
pub use status::{reason, retry_after, status};
pub use tally::Tally;
pub use terms::Terms;
