//! [`ParseError`], for text that is not one of the store's tokens.

/// The text is not the text form of a version, a cursor or a write id. Maps to HTTP 400; sending the same text again
/// cannot help.
///
/// ```
/// use ifmatch::store::{ParseError, WriteId};
/// use ifmatch::{Cursor, Version};
///
/// for text in ["", "0", "+1", " 1", "01", "1.0", "18446744073709551616"] {
///     assert_eq!(text.parse::<Version>(), Err(ParseError::Version), "{text:?}");
/// }
/// assert_eq!("x".repeat(1025).parse::<Cursor>(), Err(ParseError::Cursor));
/// assert_eq!("readme".parse::<WriteId>(), Err(ParseError::WriteId));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// A version is 1 to 20 digits without sign, space or leading zero, at most `u64::MAX`.
    #[error(
        "not a version: expected 1 to 20 decimal digits without a leading zero, at most 18446744073709551615"
    )]
    Version,
    /// A cursor is 1 to 1,024 bytes, all of them printable ASCII.
    #[error("not a cursor: expected 1 to 1024 printable ASCII characters")]
    Cursor,
    /// A write id is 32 hexadecimal digits in lower case.
    #[error("not a write id: expected 32 hexadecimal digits in lower case")]
    WriteId,
}
