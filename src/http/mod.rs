//! The protocol on HTTP, without any framework: entity tags, preconditions, the status table and problem bodies.
//!
//! Nothing here reads or writes a store: a handler does, with what this room made of its headers. No type of a framework is
//! in it; those are in [`web`](crate::web).
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
//! | retries exhausted under contention | 409 + `Retry-After` | `stale`, `exists` |
//! | precondition required, none given | 428 | `expectation-required` |
//! | malformed precondition | 400 | `malformed-precondition` |
//! | the store failed | 503 + `Retry-After` | `unavailable` |
//! | outcome unknown | 503 + `Retry-After` + the write id | `unknown-outcome` |
//!
//! [`Refusal`](crate::store::Refusal) names the statuses of refused calls. [`Problem::with_status`] overrides the table.
//!
//! A method that can't create, such as `PATCH`, answers 404 before any precondition (RFC 9110 §13.2.1): its handler
//! begins with [`fetch`](crate::Collection::fetch).
//!
//! A handler reads the headers once, asks for the expectation they amount to, and hands it to the write:
//!
//! ```
//! use ifmatch::http::{Preconditions, Problem};
//! use ifmatch::{Error, Expected, Reply, Versioned};
//! use ifmatch::store::Intent;
//!
//! let headers = [("If-Match", "\"7\"")];
//! let preconditions = Preconditions::from_headers(headers)?;
//!
//! let read = || Reply::ready(Ok(None::<Versioned<String>>)); // `articles.get("a1")`
//! let condition = preconditions.condition(Intent::Put, "a1", read).wait()?;
//!
//! assert_eq!(condition.expected, Expected::Version("7".parse()?));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod etag;
mod field;
mod precondition;
mod problem;
mod status;

pub use etag::{EntityTag, ParseEntityTagError};
pub use precondition::{Freshness, Preconditions};
pub use problem::{Cause, PROBLEM_JSON, Problem};
pub use status::{reason, retry_after, status};
