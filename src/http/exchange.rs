//! [`Exchange`], one request and what came of it.

use std::fmt;
use std::time::Duration;

use crate::http::cause::Cause;
use crate::http::remark::Remark;
use crate::http::status::reason;

/// One request and what came of it, as far as versions go: what a layer in front of a service tells those who count. That of
/// [`web::tower`](crate::web::tower) makes them.
///
/// Its `Debug` shows neither ids nor values.
///
/// ```
/// use std::time::Duration;
///
/// use ifmatch::http::{Exchange, Outcome};
///
/// let exchange = Exchange::new("PUT", 200, None).blind(true).taking(Duration::from_millis(3));
/// assert_eq!(exchange.outcome, Outcome::Applied);
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Exchange<'e> {
    /// The method of the request.
    pub method: &'e str,
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it is a write that says nothing of the state it is based on.
    pub blind: bool,
    /// How long it took.
    pub duration: Duration,
    /// The error that the answer was made of. It knows the conflict, with ids and values.
    pub cause: Option<&'e Cause>,
}

/// How a request ended, as far as versions go.
///
/// ```
/// use ifmatch::http::{Exchange, Outcome, Problem};
/// use ifmatch::Conflict;
///
/// let problem = Problem::new(Conflict::state("a1", "archived", "it is archived"));
/// let refused = Exchange::new("PUT", 409, problem.cause());
/// assert_eq!(refused.outcome, Outcome::Refused("state"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// A read that was answered: 2xx or 304.
    Read,
    /// A write that was applied: 2xx.
    Applied,
    /// A write that was applied for an earlier request with the same `Idempotency-Key`, and was answered as then.
    Replayed,
    /// It was answered with an error of ours: a conflict, a missing or malformed precondition, an unknown outcome. The word is
    /// its [`reason`](crate::http::reason).
    Refused(&'static str),
    /// The client went away before there was an answer: a write may have been applied.
    Dropped,
    /// The service failed without an answer, so that the connection ends: a layer of time limits does so.
    Failed,
    /// All else, as a 404 of the router.
    Other,
}

impl<'e> Exchange<'e> {
    /// That a request was answered with this status, by an error of ours where there is a `cause`.
    pub fn new(method: &'e str, status: u16, cause: Option<&'e Cause>) -> Self {
        let outcome = match (cause, status) {
            (Some(cause), _) => Outcome::Refused(reason(cause.error())),
            (None, 200..=299) if writes(method) => Outcome::Applied,
            (None, 200..=299 | 304) => Outcome::Read,
            (None, 0) => Outcome::Dropped,
            (None, _) => Outcome::Other,
        };
        Self { method, status, outcome, blind: false, duration: Duration::ZERO, cause }
    }

    /// The same with what the response says beside its status.
    pub fn remarked(self, remark: Option<&Remark>) -> Self {
        let outcome = match (remark, self.outcome) {
            (Some(Remark::Replayed), Outcome::Applied) => Outcome::Replayed,
            (Some(Remark::Refused(reason)), Outcome::Other) => Outcome::Refused(reason),
            (_, outcome) => outcome,
        };
        Self { outcome, ..self }
    }

    /// That the service failed without an answer.
    pub fn failed(method: &'e str) -> Self {
        Self { outcome: Outcome::Failed, ..Self::new(method, 0, None) }
    }

    /// The same, blind or not. Of a read it changes nothing.
    pub fn blind(self, blind: bool) -> Self {
        Self { blind: blind && writes(self.method), ..self }
    }

    /// The same, which took this long.
    pub fn taking(self, duration: Duration) -> Self {
        Self { duration, ..self }
    }

    /// Whether the method is one that writes.
    pub fn writes(&self) -> bool {
        writes(self.method)
    }
}

/// All methods but the safe ones of RFC 9110 §9.2.1.
fn writes(method: &str) -> bool {
    !matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

impl Outcome {
    /// The word for it in a log or a label: `read`, `applied`, `replayed`, `dropped`, `failed`, `other`, or the
    /// reason.
    pub fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Applied => "applied",
            Self::Replayed => "replayed",
            Self::Refused(reason) => reason,
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

// Hand-written: the cause would show ids.
impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("method", &self.method)
            .field("status", &self.status)
            .field("outcome", &self.outcome)
            .field("blind", &self.blind)
            .field("duration", &self.duration)
            .finish_non_exhaustive()
    }
}
