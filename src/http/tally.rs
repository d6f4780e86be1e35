//! [`Tally`], what a service counts of its conflicts.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::collection::{Effect, Report};
use crate::http::busiest::{Busiest, Busy};
use crate::http::exchange::{Exchange, Outcome};
use crate::http::lag::{self, Lag};
use crate::http::status::REASONS;
use crate::layer::{Ending, Event, Operation};
use crate::store;
use crate::store::Error;

/// What a service counts of its conflicts, for a page that Prometheus reads: clones count together.
///
/// It has three ends, each of which can be left out. [`request`](Self::request) is for the layer in front of the service,
/// [`call`](Self::call) for [`Retry::report`](crate::Retry::report), and [`event`](Self::event) for
/// [`Observed`](crate::Observed). Its `Display` is the text format of Prometheus, without any id or value:
///
/// | metric | of |
/// |---|---|
/// | `ifmatch_requests_total{outcome}` | requests: `read`, `applied`, `replayed` (by an `Idempotency-Key`), `dropped`, `failed`, `other`, or the [`reason`](crate::http::reason) of the error |
/// | `ifmatch_request_seconds_sum`, `_count` | the time they took |
/// | `ifmatch_writes_total`, `ifmatch_blind_writes_total` | requests that write, and those of them which say nothing of the state they are based on |
/// | `ifmatch_version_lag_bucket{le}`, `_sum`, `_count` | requests that were refused as stale: by how much the version found is above the one that they were based on, as below |
/// | `ifmatch_calls_total{ending}` | calls of `modify` and its kin: `applied`, `unchanged`, `refused`, `exhausted`, `conflict` (one that escaped), `failed` |
/// | `ifmatch_attempts_total` | the commits that those sent, and their reads that failed |
/// | `ifmatch_absorbed_total` | the conflicts that were made up for by another attempt of the same call |
/// | `ifmatch_commits_total{ending}` | commits to the store: `applied`, `conflict`, `unknown`, `failed`, `dropped` |
/// | `ifmatch_blind_entries_total` | what those wrote whatever was there |
///
/// The lag is in the measure of the store's versions. In memory and in a file that is the commits to the whole store in between. In
/// PostgreSQL, Redis and etcd each commit counts 2^24, give or take one, as the lower bits of a version are no number; a store of
/// one's own has a measure of its own, or none. What is behind by more than 2^48 is not counted, as one of the two is of another
/// history: a store in memory begins anywhere with each start.
///
/// A count costs a few nanoseconds, and one of a conflict a lock and a look at 64 ids beside.
///
/// ```
/// use ifmatch::http::{Exchange, Tally};
/// use ifmatch::{Collection, Memory, Observed, Retry};
///
/// let tally = Tally::new();
/// let (calls, events) = (tally.clone(), tally.clone());
/// let counters = Collection::<u64>::new(Observed::new(Memory::new(), move |event| events.event(event)))
///     .with_retry(Retry::default().report(move |report| calls.call(report)));
///
/// counters.create("visits", 1).wait()?;
/// counters.modify("visits", |count| *count += 1).wait()?;
/// tally.request(&Exchange::new("PUT", 200, None).blind(true));
///
/// let text = tally.to_string();
/// assert!(text.contains("ifmatch_requests_total{outcome=\"applied\"} 1\n"));
/// assert!(text.contains("ifmatch_commits_total{ending=\"applied\"} 2\n"));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Tally(Arc<Counts>);

/// The outcomes of requests that are no reasons.
const PLAIN: [&str; 6] = ["read", "applied", "replayed", "dropped", "failed", "other"];

const CALLS: [&str; 6] = ["applied", "unchanged", "refused", "exhausted", "conflict", "failed"];

const COMMITS: [&str; 5] = ["applied", "conflict", "unknown", "failed", "dropped"];

struct Counts {
    plain: [AtomicU64; PLAIN.len()],
    refused: [AtomicU64; REASONS.len()],
    nanoseconds: AtomicU64,
    writes: AtomicU64,
    blind: AtomicU64,
    lag: Lag,
    calls: [AtomicU64; CALLS.len()],
    attempts: AtomicU64,
    absorbed: AtomicU64,
    commits: [AtomicU64; COMMITS.len()],
    blind_entries: AtomicU64,
    busiest: Mutex<Busiest>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            plain: [const { AtomicU64::new(0) }; PLAIN.len()],
            refused: [const { AtomicU64::new(0) }; REASONS.len()],
            nanoseconds: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            blind: AtomicU64::new(0),
            lag: Lag::default(),
            calls: [const { AtomicU64::new(0) }; CALLS.len()],
            attempts: AtomicU64::new(0),
            absorbed: AtomicU64::new(0),
            commits: [const { AtomicU64::new(0) }; COMMITS.len()],
            blind_entries: AtomicU64::new(0),
            busiest: Mutex::default(),
        }
    }
}

impl Tally {
    /// One that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a request.
    pub fn request(&self, exchange: &Exchange<'_>) {
        let counts = &*self.0;
        match exchange.outcome {
            Outcome::Refused(reason) if REASONS.contains(&reason) => add(&REASONS, &counts.refused, reason),
            Outcome::Refused(_) => add(&PLAIN, &counts.plain, "other"),
            plain => add(&PLAIN, &counts.plain, plain.label()),
        }
        let nanoseconds = exchange.duration.as_nanos().try_into().unwrap_or(u64::MAX);
        counts.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        counts.writes.fetch_add(exchange.writes().into(), Ordering::Relaxed);
        counts.blind.fetch_add(exchange.blind.into(), Ordering::Relaxed);
        if let Some(conflict) = exchange.cause.and_then(|cause| cause.error().conflict()) {
            let decisive = conflict.decisive();
            counts.busiest.lock().count(decisive.collection(), decisive.id(), 1);
            if let Some(lag) = lag::of(conflict) {
                counts.lag.count(lag);
            }
        }
    }

    /// Counts a call that may have tried several times: for [`Retry::report`](crate::Retry::report).
    pub fn call(&self, report: &Report<'_>) {
        let counts = &*self.0;
        add(&CALLS, &counts.calls, call_ending(report));
        counts.attempts.fetch_add(report.attempts.into(), Ordering::Relaxed);
        let absorbed = absorbed(report);
        counts.absorbed.fetch_add(absorbed, Ordering::Relaxed);
        if let Some(id) = report.id.filter(|_| absorbed > 0) {
            counts.busiest.lock().count(report.collection, id, absorbed);
        }
    }

    /// Counts a commit: for the hook of [`Observed`](crate::Observed). Other operations are not counted.
    pub fn event(&self, event: &Event<'_>) {
        let Operation::Commit { blind, .. } = event.operation else { return };
        let counts = &*self.0;
        add(&COMMITS, &counts.commits, commit_ending(event));
        if matches!(event.ending, Ending::Done) {
            counts.blind_entries.fetch_add(blind as u64, Ordering::Relaxed);
        }
    }

    /// The ids that the most conflicts are about, the busiest first: those that requests ended in, and those that calls made up for. 64
    /// at most, each of the hot ones among them. A transaction that made up for some does not tell of which id.
    /// For a page that not everybody sees.
    ///
    /// ```
    /// use ifmatch::http::{Exchange, Problem, Tally};
    /// use ifmatch::Conflict;
    ///
    /// let tally = Tally::new();
    /// let problem = Problem::new(Conflict::state("a1", "archived", "it is archived"));
    /// tally.request(&Exchange::new("PUT", 409, problem.cause()));
    /// assert_eq!((&*tally.busiest()[0].id, tally.busiest()[0].conflicts), ("a1", 1));
    /// ```
    pub fn busiest(&self) -> Vec<Busy> {
        self.0.busiest.lock().sorted()
    }
}

/// How a call ended, in a word.
pub(super) fn call_ending(report: &Report<'_>) -> &'static str {
    match &report.effect {
        Effect::Applied => "applied",
        Effect::Unchanged => "unchanged",
        Effect::Refused => "refused",
        Effect::Failed(Error::Conflict(conflict)) if conflict.is_exhausted() => "exhausted",
        Effect::Failed(Error::Conflict(_)) => "conflict",
        Effect::Failed(_) => "failed",
    }
}

/// How many conflicts a call met and made up for. Not its attempts but one: a read that failed is tried again too.
pub(super) fn absorbed(report: &Report<'_>) -> u64 {
    match report.effect {
        Effect::Failed(_) => 0,
        _ => report.conflicts.into(),
    }
}

/// How a commit ended, in a word.
pub(super) fn commit_ending(event: &Event<'_>) -> &'static str {
    match event.ending {
        Ending::Done => "applied",
        Ending::Failed(Error::Conflict(_)) => "conflict",
        Ending::Failed(Error::Failed(failure)) if failure.outcome() == store::Outcome::Unknown => "unknown",
        Ending::Failed(_) => "failed",
        Ending::Dropped => "dropped",
    }
}

fn add(words: &[&str], counts: &[AtomicU64], word: &str) {
    let at = words.iter().position(|known| *known == word).expect("each word has a count");
    counts[at].fetch_add(1, Ordering::Relaxed);
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &*self.0;
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let labelled =
            |f: &mut fmt::Formatter<'_>, name: &str, label: &str, words: &[&str], counts: &[AtomicU64]| {
                words.iter().zip(counts).try_for_each(|(word, count)| {
                    writeln!(f, "ifmatch_{name}_total{{{label}=\"{word}\"}} {}", value(count))
                })
            };
        let single = |f: &mut fmt::Formatter<'_>, name: &str, count: &AtomicU64| {
            writeln!(f, "# TYPE ifmatch_{name}_total counter\nifmatch_{name}_total {}", value(count))
        };
        writeln!(f, "# TYPE ifmatch_requests_total counter")?;
        labelled(f, "requests", "outcome", &PLAIN, &counts.plain)?;
        labelled(f, "requests", "outcome", &REASONS, &counts.refused)?;
        let requests: u64 = counts.plain.iter().chain(&counts.refused).map(value).sum();
        let seconds = value(&counts.nanoseconds) as f64 / 1e9;
        writeln!(f, "# TYPE ifmatch_request_seconds summary")?;
        writeln!(f, "ifmatch_request_seconds_sum {seconds}\nifmatch_request_seconds_count {requests}")?;
        single(f, "writes", &counts.writes)?;
        single(f, "blind_writes", &counts.blind)?;
        counts.lag.fmt(f)?;
        writeln!(f, "# TYPE ifmatch_calls_total counter")?;
        labelled(f, "calls", "ending", &CALLS, &counts.calls)?;
        single(f, "attempts", &counts.attempts)?;
        single(f, "absorbed", &counts.absorbed)?;
        writeln!(f, "# TYPE ifmatch_commits_total counter")?;
        labelled(f, "commits", "ending", &COMMITS, &counts.commits)?;
        single(f, "blind_entries", &counts.blind_entries)
    }
}

// Hand-written: ids are shown to those who ask for them.
impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}
