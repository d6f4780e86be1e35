//! Counts and times for the facade of the crate `metrics`, which has exporters for every collector. Feature `metrics`.
//!
//! Three functions, one for each place that has something to tell; the names and labels are those of
//! [`Tally`](crate::http::Tally), which needs no recorder. No id and no value is among them.
//!
//! ```
//! use ifmatch::http::meter;
//! use ifmatch::{Collection, Memory, Observed, Retry};
//!
//! let counters = Collection::<u64>::new(Observed::new(Memory::new(), meter::event))
//!     .with_retry(Retry::default().report(meter::call));
//! counters.create("visits", 1).wait()?;
//! # Ok::<_, ifmatch::Error>(())
//! ```

use metrics::{counter, histogram};

use crate::collection::Report;
use crate::http::exchange::Exchange;
use crate::http::lag;
use crate::http::tally::{absorbed, call_ending, commit_ending};
use crate::layer::{Event, Operation};

/// Counts a request: `ifmatch_requests_total`, `ifmatch_request_seconds`, `ifmatch_writes_total`, `ifmatch_blind_writes_total` and
/// `ifmatch_version_lag`. For [`Monitor`](crate::web::tower::Monitor).
pub fn request(exchange: &Exchange<'_>) {
    let outcome = exchange.outcome.label();
    counter!("ifmatch_requests_total", "outcome" => outcome).increment(1);
    histogram!("ifmatch_request_seconds", "outcome" => outcome).record(exchange.duration);
    if exchange.writes() {
        counter!("ifmatch_writes_total").increment(1);
        counter!("ifmatch_blind_writes_total").increment(exchange.blind.into());
    }
    if let Some(lag) = exchange.cause.and_then(|cause| lag::of(cause.error().conflict()?)) {
        histogram!("ifmatch_version_lag").record(lag as f64);
    }
}

/// Counts a call that may have tried several times: `ifmatch_calls_total`, `ifmatch_attempts_total` and
/// `ifmatch_absorbed_total`. For [`Retry::report`](crate::Retry::report).
pub fn call(report: &Report<'_>) {
    counter!("ifmatch_calls_total", "ending" => call_ending(report)).increment(1);
    counter!("ifmatch_attempts_total").increment(report.attempts.into());
    counter!("ifmatch_absorbed_total").increment(absorbed(report));
}

/// Counts a commit to the store: `ifmatch_commits_total`, `ifmatch_commit_seconds` and `ifmatch_blind_entries_total`. For
/// [`Observed`](crate::Observed).
pub fn event(event: &Event<'_>) {
    let Operation::Commit { blind, .. } = event.operation else { return };
    let ending = commit_ending(event);
    counter!("ifmatch_commits_total", "ending" => ending).increment(1);
    histogram!("ifmatch_commit_seconds", "ending" => ending).record(event.duration);
    if ending == "applied" {
        counter!("ifmatch_blind_entries_total").increment(blind as u64);
    }
}
