//! [`Cursor`], a place in a store's feed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::store::parse_error::ParseError;

/// The longest text of a cursor, in bytes.
const LONGEST: usize = 1024;

/// A place in a store's feed of commits: opaque text of at most 1 KiB that a program may keep and hand back to
/// [`watch`](crate::Store::watch), also after a restart of the program.
///
/// Cloning clones an [`Arc`].
///
/// ```
/// use ifmatch::Cursor;
///
/// let cursor: Cursor = "any-text".parse()?;
/// assert_eq!(cursor.as_str(), "any-text");
/// assert!("".parse::<Cursor>().is_err());
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(Arc<str>);

impl Cursor {
    /// The text, to keep or to send.
    ///
    /// ```
    /// # use ifmatch::Cursor;
    /// assert_eq!("7".parse::<Cursor>()?.as_str(), "7");
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Cursor {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into())).ok_or(ParseError::Cursor)
    }
}

impl TryFrom<String> for Cursor {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.as_str().to_owned()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({})", self.0)
    }
}
