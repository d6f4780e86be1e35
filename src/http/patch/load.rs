//! [`Load`], what the operations of a patch carry together.

use serde_json::Value;

use crate::http::patch::MOST_BYTES;
use crate::http::patch::operations::Stop;

/// The most values that they carry, as many as a document may have.
const MOST_VALUES: usize = 100_000;

/// The most arrays and objects inside one another, as in any JSON here.
const DEEPEST: usize = 64;

/// What the operations of a patch have carried so far: put, copied, moved or compared. What is removed again is not taken off,
/// so that it bounds the work as well as the document.
pub(super) struct Load {
    bytes: usize,
    values: usize,
}

/// Which bound would be passed.
#[derive(Debug)]
pub(super) enum Over {
    Bytes(usize),
    Values,
    Depth,
}

impl Load {
    pub(super) fn new() -> Self {
        Self { bytes: 0, values: 0 }
    }

    /// Adds a value that is carried to a place so many levels down.
    pub(super) fn take(&mut self, value: &Value, depth: usize) -> Result<(), Over> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(Over::Values);
        }
        // About as long as it is written.
        self.bytes += match value {
            Value::Null | Value::Bool(_) => 4,
            Value::Number(_) => 8,
            Value::String(text) => text.len() + 2,
            Value::Array(_) | Value::Object(_) => 2,
        };
        match value {
            Value::Array(_) | Value::Object(_) if depth >= DEEPEST => return Err(Over::Depth),
            Value::Array(list) => list.iter().try_for_each(|element| self.take(element, depth + 1))?,
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                self.bytes += name.len() + 4;
                self.take(member, depth + 1)
            })?,
            _ => {}
        }
        if self.bytes > MOST_BYTES { Err(Over::Bytes(self.bytes)) } else { Ok(()) }
    }
}

impl Over {
    pub(super) fn at(self, operation: usize) -> Stop {
        match self {
            Self::Bytes(bytes) => Stop::TooLarge { bytes },
            Self::Values => {
                Stop::TooMuch { operation, what: "and those before it carry more than 100000 values" }
            }
            Self::Depth => Stop::TooMuch { operation, what: "nests deeper than 64 levels" },
        }
    }
}
