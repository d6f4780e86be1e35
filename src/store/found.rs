//! [`Found`], what a store has under an id.

use std::fmt;

use crate::store::version::{Version, Versioned};

/// What a store found at the id of an [`Entry`](crate::Entry), for [`Entry::judge`](crate::Entry::judge).
///
/// ```
/// use ifmatch::{Entry, Expected, Versioned};
/// use ifmatch::store::Found;
///
/// let found = Found::Value(Versioned::<str>::new("7".parse()?, "text"));
/// assert!(Entry::check("a", Expected::Present).judge(found).is_ok());
/// assert!(Entry::<str>::check("a", Expected::Present).judge(Found::Deleted("8".parse()?)).is_err());
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
pub enum Found<T: ?Sized> {
    /// A value.
    Value(Versioned<T>),
    /// The memory of a deletion, and its version.
    Deleted(Version),
    /// Nothing.
    Nothing,
}

// Hand-written: the derived impl would reach for the user's value.
impl<T: ?Sized> fmt::Debug for Found<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(current) => f.debug_tuple("Value").field(&current.version).finish(),
            Self::Deleted(version) => f.debug_tuple("Deleted").field(version).finish(),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}
