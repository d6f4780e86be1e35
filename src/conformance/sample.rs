//! [`Sample`], values that the laws can make and tell apart.

use std::sync::Arc;

use crate::store::Resource;

/// A value the laws can make from a number and read the number back from.
///
/// Implemented for `u64`, `String` and `[u8]`. For a type of your own, keep the number in one of its fields.
///
/// ```
/// use std::sync::Arc;
///
/// use ifmatch::conformance::Sample;
///
/// struct Note {
///     text: String,
/// }
///
/// impl Sample for Note {
///     fn sample(number: u64) -> Arc<Self> {
///         Arc::new(Self { text: number.to_string() })
///     }
///
///     fn number(&self) -> u64 {
///         self.text.parse().unwrap()
///     }
/// }
///
/// assert_eq!(Note::sample(7).number(), 7);
/// ```
pub trait Sample: Resource {
    /// The value for this number. Different numbers make different values.
    fn sample(number: u64) -> Arc<Self>;

    /// The number this value was made from.
    fn number(&self) -> u64;
}

impl Sample for u64 {
    fn sample(number: u64) -> Arc<Self> {
        Arc::new(number)
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl Sample for String {
    fn sample(number: u64) -> Arc<Self> {
        Arc::new(number.to_string())
    }

    fn number(&self) -> u64 {
        parsed(self)
    }
}

impl Sample for [u8] {
    fn sample(number: u64) -> Arc<Self> {
        number.to_string().into_bytes().into()
    }

    fn number(&self) -> u64 {
        parsed(std::str::from_utf8(self).unwrap_or_default())
    }
}

/// A store that hands out a value nobody put fails the law that reads it, so the text stays out of the message.
fn parsed(text: &str) -> u64 {
    text.parse().expect("the store gave a value that no law has put")
}
