//! [`WriteId`], the name of one commit, by which a store recognises it and tells what became of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::random;
use crate::store::parse_error::ParseError;
use crate::store::version::Version;

/// The name of one commit.
///
/// A store keeps it in the same commit, so that it recognises a commit that is sent again, and so that
/// [`resolve`](crate::Store::resolve) can tell what became of one whose acknowledgement was lost.
///
/// 128 bits: a place in the store's history, which is the newest version that whoever drew the id had seen, and 64 random
/// bits. A commit always lands after its place. So a store that remembers its latest commits only still tells an id that
/// it never saw from one that it forgot, whatever the clocks say; [`Window`](crate::store::Window) has the rules.
///
/// The text form is 32 hexadecimal digits.
///
/// ```
/// use ifmatch::Collection;
///
/// let notes = Collection::<String>::in_memory();
/// let write = notes.write_id();
/// assert_ne!(write, notes.write_id());
/// assert_eq!(write.to_string().parse(), Ok(write));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriteId {
    place: u64,
    random: u64,
}

impl WriteId {
    /// Draws a new id for a commit to a store whose newest version known to the caller is `seen`; `None` where the caller
    /// knows none.
    ///
    /// An older version than the newest is fine as long as the store still remembers what came after it.
    /// [`Collection::write_id`](crate::Collection::write_id) keeps track of it.
    ///
    /// ```
    /// use ifmatch::store::WriteId;
    ///
    /// let seen = "7".parse()?;
    /// let write = WriteId::after(Some(seen));
    /// assert_eq!(write.place(), Some(seen));
    /// assert_ne!(write, WriteId::after(Some(seen)));
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn after(seen: Option<Version>) -> Self {
        Self { place: seen.map_or(0, |version| version.to_bits().get()), random: random() }
    }

    /// The newest version that whoever drew the id had seen; `None` where that was none.
    pub fn place(self) -> Option<Version> {
        self.place.try_into().ok().map(Version::from_bits)
    }

    /// The id with these bits, for tests and for stores that keep ids as bytes.
    ///
    /// ```
    /// # use ifmatch::store::WriteId;
    /// assert_eq!(WriteId::from_bits(10).to_string(), "0000000000000000000000000000000a");
    /// ```
    pub const fn from_bits(bits: u128) -> Self {
        Self { place: (bits >> 64) as u64, random: bits as u64 }
    }

    /// The 128 bits: the place, then the random ones. Ids of a later place have larger ones.
    ///
    /// ```
    /// # use ifmatch::store::WriteId;
    /// assert_eq!(WriteId::from_bits(10).to_bits(), 10);
    /// ```
    pub const fn to_bits(self) -> u128 {
        (self.place as u128) << 64 | self.random as u128
    }
}

impl fmt::Display for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.to_bits())
    }
}

impl fmt::Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteId({self})")
    }
}

impl FromStr for WriteId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return Err(ParseError::WriteId);
        }
        u128::from_str_radix(text, 16).map(Self::from_bits).map_err(|_| ParseError::WriteId)
    }
}

impl TryFrom<String> for WriteId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<WriteId> for String {
    fn from(write: WriteId) -> Self {
        write.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_and_its_bits() {
        for write in [WriteId::from_bits(0), WriteId::from_bits(u128::MAX), WriteId::after(None)] {
            assert_eq!(write.to_string().parse(), Ok(write));
            assert_eq!(WriteId::from_bits(write.to_bits()), write);
        }
    }

    #[test]
    fn other_text_is_refused() {
        let short = "a".repeat(31);
        for text in ["", "xyz", &short, &"A".repeat(32), &"a".repeat(33), &format!("+{short}")] {
            assert_eq!(text.parse::<WriteId>(), Err(ParseError::WriteId), "{text:?}");
        }
    }

    #[test]
    fn order_follows_bits() {
        let (older, newer) = (WriteId::from_bits(u64::MAX as u128), WriteId::from_bits(1 << 64));

        assert!(older < newer);
    }
}
