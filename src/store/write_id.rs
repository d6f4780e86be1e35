//! [`WriteId`], the name a writer gives to one commit so that its outcome can be asked for later.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::base::random;
use crate::store::parse::ParseError;

/// The name a writer gives to one commit.
///
/// A store keeps it in the same commit, so that it recognises a commit that is sent again, and so that
/// [`resolve`](crate::Store::resolve) can tell what became of one whose acknowledgement was lost.
///
/// 128 bits: the time it was drawn in milliseconds (48 bits) and 80 random bits; the text form is 32 hexadecimal
/// digits. The time puts ids in rough order of age, which lets a store with a bounded memory tell an id it never
/// saw from one it may have forgotten; no promise rests on clocks being right.
///
/// ```
/// use ifmatch::store::WriteId;
///
/// let write = WriteId::new();
/// assert_ne!(write, WriteId::new());
/// assert_eq!(write.to_string().parse(), Ok(write));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriteId {
    high: u64,
    low: u64,
}

impl WriteId {
    /// Draws a new id from the system's clock and randomness.
    ///
    /// ```
    /// # use ifmatch::store::WriteId;
    /// assert_ne!(WriteId::new(), WriteId::new());
    /// ```
    #[expect(clippy::new_without_default, reason = "no id is the default one: each call draws another")]
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Self { high: now << 16 | random() >> 48, low: random() }
    }

    /// The id with these bits, for tests and for stores that keep ids as bytes.
    ///
    /// ```
    /// # use ifmatch::store::WriteId;
    /// assert_eq!(WriteId::from_bits(10).to_string(), "0000000000000000000000000000000a");
    /// ```
    pub const fn from_bits(bits: u128) -> Self {
        Self { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// The 128 bits; ids drawn later have larger ones, as far as the clocks that drew them agree.
    ///
    /// ```
    /// # use ifmatch::store::WriteId;
    /// assert_eq!(WriteId::from_bits(10).to_bits(), 10);
    /// ```
    pub const fn to_bits(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
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
        for write in [WriteId::from_bits(0), WriteId::from_bits(u128::MAX), WriteId::new()] {
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
