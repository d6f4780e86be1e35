//! Requests, calls and commits as events of the crate `tracing`, under the target `ifmatch`. Feature `tracing`.
//!
//! What went well is told at the level of debugging, a conflict as information, an unknown outcome or a given-up call as a
//! warning. No id and no value is among the fields; who wants ids has a hook of one's own.
//!
//! ```
//! use ifmatch::http::trace;
//! use ifmatch::{Collection, Memory, Observed, Retry};
//!
//! let counters = Collection::<u64>::new(Observed::new(Memory::new(), trace::event))
//!     .with_retry(Retry::default().report(trace::call));
//! counters.create("visits", 1).wait()?;
//! # Ok::<_, ifmatch::Error>(())
//! ```

use tracing::{debug, info, warn};

use crate::collection::Report;
use crate::http::exchange::{Exchange, Outcome};
use crate::http::tally::{call_ending, commit_ending};
use crate::layer::{Event, Operation};

/// Tells of a request. For [`Monitor`](crate::web::tower::Monitor).
pub fn request(exchange: &Exchange<'_>) {
    let Exchange { method, status, blind, duration, .. } = *exchange;
    let outcome = exchange.outcome.label();
    match exchange.outcome {
        Outcome::Refused("unknown-outcome" | "corrupt" | "newer-schema" | "unavailable") => {
            warn!(target: "ifmatch", method, status, outcome, blind, ?duration, "request");
        }
        Outcome::Refused(_) => info!(target: "ifmatch", method, status, outcome, blind, ?duration, "request"),
        _ => debug!(target: "ifmatch", method, status, outcome, blind, ?duration, "request"),
    }
}

/// Tells of a call that may have tried several times. For [`Retry::report`](crate::Retry::report).
pub fn call(report: &Report<'_>) {
    let (ending, attempts, elapsed) = (call_ending(report), report.attempts, report.elapsed);
    match ending {
        "exhausted" | "failed" => warn!(target: "ifmatch", ending, attempts, ?elapsed, "call"),
        "conflict" => info!(target: "ifmatch", ending, attempts, ?elapsed, "call"),
        _ => debug!(target: "ifmatch", ending, attempts, ?elapsed, "call"),
    }
}

/// Tells of a commit to the store. For [`Observed`](crate::Observed).
pub fn event(event: &Event<'_>) {
    let Operation::Commit { entries, blind, .. } = event.operation else { return };
    let (ending, duration) = (commit_ending(event), event.duration);
    match ending {
        "unknown" | "failed" => warn!(target: "ifmatch", ending, entries, blind, ?duration, "commit"),
        "conflict" => info!(target: "ifmatch", ending, entries, blind, ?duration, "commit"),
        _ => debug!(target: "ifmatch", ending, entries, blind, ?duration, "commit"),
    }
}
