//! [`History`] and its [`Event`]s: calls to a store, when they were made and what came back.

use std::sync::Arc;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::store::{Expected, Receipt, Version, WriteId};

/// What was asked of a store and what it answered, from the first write of its ids on.
///
/// Record one with [`Recorded`](super::Recorded), or write one by hand to see what the checker makes of it:
///
/// ```
/// use ifmatch::conformance::history::{Event, History, Numbering, Operation, Seen};
///
/// let read = |call, seen| Event {
///     process: 1,
///     call,
///     returned: Some(call + 1),
///     operation: Operation::Read { id: "a".into(), seen },
/// };
/// let value = Seen::Value { version: "7".parse()?, fingerprint: Some(1) };
/// let history = History::new(Numbering::PerId, vec![read(1, Seen::Nothing), read(3, value)]);
///
/// let violation = history.check().unwrap_err();
/// assert_eq!(violation.to_string(), "event 1 saw version 7 of `a`, which no event can have written");
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// What the test's random choices were made from, so that a saved history tells how to make it again.
    pub seed: u64,
    /// What the store's versions say about the order of commits to different ids.
    pub numbering: Numbering,
    /// The calls, by the time they were made. Violations name events by their place here.
    pub events: Vec<Event>,
}

/// What the versions of a store say about the order of its commits. Either way they strictly increase for one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Numbering {
    /// All versions of one commit are the same number, and the numbers of all commits follow the order in which they
    /// were applied. The check is exact.
    StoreWide,
    /// Versions of different ids can't be compared. The check is exact, but for one case: where a commit or a
    /// conflict over several ids found one of them absent, and that can have been at several times, the absence is
    /// checked without regard to the other ids.
    PerId,
}

/// One call to a store and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who called: a thread, as a number.
    pub process: u64,
    /// When the call was made, on a clock that all processes share.
    pub call: u64,
    /// When the answer came; `None` where it never did, or did not tell the outcome.
    pub returned: Option<u64>,
    /// What was asked and answered.
    pub operation: Operation,
}

/// What an [`Event`] asked, and its answer. Values appear as fingerprints only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A read of one id, or one item of a scanned page.
    Read {
        /// Which resource.
        id: Arc<str>,
        /// What was there.
        seen: Seen,
    },
    /// A commit.
    Commit {
        /// The write id, if it carried one. Events with the same one are the same commit, sent again.
        write: Option<WriteId>,
        /// Its entries.
        steps: Vec<Step>,
        /// What the store said.
        answer: Answer,
    },
    /// A question after the outcome of a commit.
    Resolve {
        /// Of which commit.
        write: WriteId,
        /// What the store said.
        answer: Answer,
    },
}

/// One entry of a recorded commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which resource.
    pub id: Arc<str>,
    /// What was expected of it.
    #[serde(deserialize_with = "any_expected")]
    pub expected: Expected,
    /// What was to be done.
    pub deed: Deed,
}

/// Reads every expectation: a history is written by the recorder, and holds the blind writes that no client may choose.
fn any_expected<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expected, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.as_str() {
        "any" => Ok(Expected::Any),
        "present" => Ok(Expected::Present),
        other => Expected::deserialize(other.into_deserializer()),
    }
}

/// What a [`Step`] was to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Deed {
    /// Change nothing.
    Check,
    /// Put a value with this fingerprint.
    Put(u64),
    /// Delete the value.
    Delete,
}

/// What a store said became of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was applied: a receipt a step.
    Applied(Vec<Receipt>),
    /// It was refused because of what stood at these ids, all at one instant.
    Conflict(Vec<Sight>),
    /// It was not applied and never will be.
    NotApplied,
    /// It may have been applied, or may still be.
    Unknown,
}

/// What stood at one id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// Which resource.
    pub id: Arc<str>,
    /// What was there.
    pub seen: Seen,
}

/// The state of one id, as an answer showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Seen {
    /// A value.
    Value {
        /// Its version.
        version: Version,
        /// A hash of it, where the answer showed it.
        fingerprint: Option<u64>,
    },
    /// The memory of a deletion, and its version.
    Deleted {
        /// The version of the deletion.
        version: Version,
    },
    /// No value: never written, or deleted.
    Nothing,
}

impl History {
    /// A history of these events, in any order, with seed 0.
    pub fn new(numbering: Numbering, mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| event.call);
        Self { seed: 0, numbering, events }
    }

    /// The same history with the seed it was made from.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}
