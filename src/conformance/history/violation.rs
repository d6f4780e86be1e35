//! [`Violation`]: why no order of the events explains a history.

use std::sync::Arc;

use crate::store::{Expected, Version, WriteId};

/// Why a history can't have come from a store that keeps its promises. Events are named by their place in
/// [`History::events`](super::History::events).
///
/// ```
/// use ifmatch::conformance::history::Violation;
///
/// let violation = Violation::LostUpdate {
///     id: "a".into(),
///     replaced: Some("3".parse()?),
///     versions: ["4".parse()?, "5".parse()?],
///     events: [6, 7],
/// };
/// assert_eq!(
///     violation.to_string(),
///     "lost update: events 6 and 7 both replaced version 3 of `a`, with versions 4 and 5",
/// );
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Two commits replaced the same state, so one of them was based on what no longer stood.
    #[error("lost update: events {} and {} both replaced {} of `{}`, with versions {} and {}",
        .events[0], .events[1], state(.replaced), .id.escape_debug(), .versions[0], .versions[1])]
    LostUpdate {
        /// Which resource.
        id: Arc<str>,
        /// What both replaced; `None` where both created.
        replaced: Option<Version>,
        /// The versions they made.
        versions: [Version; 2],
        /// The two commits.
        events: [usize; 2],
    },
    /// A commit replaced another state than the one before it in the order of versions.
    #[error("event {event} made version {version} of `{}` out of {}, but before it stood {}",
        .id.escape_debug(), state(.replaced), state(.stood))]
    BrokenLink {
        /// Which resource.
        id: Arc<str>,
        /// The version the commit made.
        version: Version,
        /// What its receipt says it replaced.
        replaced: Option<Version>,
        /// What the other events say stood there.
        stood: Option<Version>,
        /// The commit.
        event: usize,
    },
    /// Two commits made the same version.
    #[error("events {} and {} both made version {version} of `{}`", .events[0], .events[1], .id.escape_debug())]
    VersionReused {
        /// Which resource.
        id: Arc<str>,
        /// The version.
        version: Version,
        /// The two commits.
        events: [usize; 2],
    },
    /// A commit made a version that is not greater than the one it replaced.
    #[error("event {event} replaced version {replaced} of `{}` with version {version}, which is not greater",
        .id.escape_debug())]
    VersionOrder {
        /// Which resource.
        id: Arc<str>,
        /// The version made.
        version: Version,
        /// The version replaced.
        replaced: Version,
        /// The commit.
        event: usize,
    },
    /// The store numbers whole commits, but not this one: its versions differ, or another commit has its number.
    #[error("event {event} does not have one number of its own: version {version} of `{}`", .id.escape_debug())]
    Numbering {
        /// Which resource.
        id: Arc<str>,
        /// The version that does not fit.
        version: Version,
        /// The commit.
        event: usize,
    },
    /// An answer shows another value, or another kind of state, than was written in that version.
    #[error("event {seen} saw another state in version {version} of `{}` than event {wrote} wrote",
        .id.escape_debug())]
    ValueMismatch {
        /// Which resource.
        id: Arc<str>,
        /// The version.
        version: Version,
        /// The commit that made it.
        wrote: usize,
        /// The event that saw another.
        seen: usize,
    },
    /// An answer shows a version that no commit of the history can have made.
    #[error("event {event} saw version {version} of `{}`, which no event can have written", .id.escape_debug())]
    Unexplained {
        /// Which resource.
        id: Arc<str>,
        /// The version.
        version: Version,
        /// The event that saw it.
        event: usize,
    },
    /// One commit was applied more than once.
    #[error("event {event} was applied twice: it made versions {} and {} of `{}`",
        .versions[0], .versions[1], .id.escape_debug())]
    AppliedTwice {
        /// Which resource.
        id: Arc<str>,
        /// The versions it made.
        versions: [Version; 2],
        /// The commit.
        event: usize,
    },
    /// A commit was applied although its expectation was not met.
    #[error("event {event} expected {expected} of `{}` and was applied to {}", .id.escape_debug(), state(.found))]
    ExpectationDropped {
        /// Which resource.
        id: Arc<str>,
        /// What was expected.
        expected: Expected,
        /// What its receipt says stood there.
        found: Option<Version>,
        /// The commit.
        event: usize,
    },
    /// A commit was refused although what was found is what it expected, or although it had been applied before.
    #[error("event {event} was refused because of `{}`, which was as expected", .id.escape_debug())]
    FalseConflict {
        /// Which resource.
        id: Arc<str>,
        /// The commit.
        event: usize,
    },
    /// A write was said to have ended in two ways.
    #[error("events {} and {} tell different ends of write {write}", .events[0], .events[1])]
    FalseResolution {
        /// Which write.
        write: WriteId,
        /// The two events.
        events: [usize; 2],
    },
    /// An answer shows a state that had been replaced before the question was asked.
    #[error("stale read: event {event} saw {} of `{}`, but was called after event {after}, which comes later, \
        had returned", state(.version), .id.escape_debug())]
    StaleRead {
        /// Which resource.
        id: Arc<str>,
        /// What was seen.
        version: Option<Version>,
        /// The event that saw it.
        event: usize,
        /// The event that had ended before.
        after: usize,
    },
    /// An event had returned when another was called that must come before it in every order.
    #[error("event {event} had returned when event {before} was called, which must come before it")]
    Reordered {
        /// The event that returned too early.
        event: usize,
        /// The event called too late.
        before: usize,
    },
    /// An answer shows no value at a time when there always was one.
    #[error("event {event} found no value at `{}`, which had one all that time", .id.escape_debug())]
    NeverAbsent {
        /// Which resource.
        id: Arc<str>,
        /// The event.
        event: usize,
    },
    /// No order lets each of these events happen at one instant: one saw or wrote a part of what another did.
    #[error("torn: no order lets each of the events {events:?} happen at one instant")]
    Torn {
        /// The events, each before the next, and the last before the first.
        events: Vec<usize>,
    },
    /// The receipts of a commit do not fit its entries.
    #[error("event {event} was applied, but its receipts do not fit its entries")]
    Receipts {
        /// The commit.
        event: usize,
    },
}

fn state(version: &Option<Version>) -> String {
    version.map_or_else(|| "no value".to_owned(), |version| format!("version {version}"))
}
