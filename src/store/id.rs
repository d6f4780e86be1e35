//! Ids: which texts can name a resource, and how they and other foreign text stand in a message.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// The longest id, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 512;

/// What is wrong with an id. Everything else is a good id: slashes, dots, spaces and any Unicode text.
///
/// ```
/// use ifmatch::store::{check_id, IdProblem};
///
/// assert!(check_id("articles/../ünï cödé").is_ok());
/// # assert!(check_id(&"x".repeat(512)).is_ok());
/// assert!(check_id(&"x".repeat(513)).unwrap_err().to_string().ends_with("is longer than 512 bytes"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdProblem {
    /// It has no characters.
    #[error("is empty")]
    Empty,
    /// It is longer than [`MAX_ID_BYTES`], or in a collection of a [`Database`](crate::Database) than what its name leaves of
    /// them.
    #[error("is longer than {limit} bytes")]
    TooLong {
        /// How long it may be, in bytes of UTF-8.
        limit: usize,
    },
    /// It contains U+0000, which PostgreSQL's `text` and C strings cannot hold.
    #[error("contains a NUL character")]
    Nul,
    /// It is `.` or `..`, which a client takes out of a path before it asks. No store refuses these: the calls of
    /// [`http`](crate::http) create none.
    #[error("cannot be part of a path")]
    Dots,
}

impl IdProblem {
    /// What keeps a text from naming a resource.
    pub(crate) fn of(id: &str) -> Option<Self> {
        match id {
            "" => Some(Self::Empty),
            _ if id.len() > MAX_ID_BYTES => Some(Self::TooLong { limit: MAX_ID_BYTES }),
            _ if id.bytes().any(|byte| byte == 0) => Some(Self::Nul),
            _ => None,
        }
    }
}

/// An id: escaped, since one from a request may hold line breaks or terminal sequences, and not endless.
pub(crate) fn shown(id: &str) -> String {
    shortened(id).escape_debug().to_string()
}

/// A good id as it is; of one that is too long to name a resource, which may be of any length, the beginning.
pub(crate) fn shortened(id: &str) -> Cow<'_, str> {
    if id.len() <= MAX_ID_BYTES {
        return id.into();
    }
    id.chars().take(64).chain(['…']).collect()
}

/// A sentence of the program's own: as it was written, but for what would break the line or steer a terminal.
pub(crate) fn on_one_line(sentence: &str) -> impl fmt::Display + '_ {
    OneLine(sentence)
}

struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\u{2028}' | '\u{2029}' => write!(f, "{}", character.escape_unicode()),
            _ if character.is_control() => write!(f, "{}", character.escape_unicode()),
            _ => f.write_char(character),
        })
    }
}
