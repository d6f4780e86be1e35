//! [`Found`], what there is under an id.

use std::fmt;

use crate::store::version::{Version, Versioned};

/// What was found at an id: by a store at that of an [`Entry`](crate::Entry), for [`Entry::judge`](crate::Entry::judge), or by
/// a program in a [table of its own](crate::table).
///
/// A program rarely names it: what a query gave, an `Option<Versioned<T>>` or a reference to one, becomes one, and so does
/// the `Option<Version>` of a query that read the version alone.
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
    /// A value of this version, which was not read. A conflict then tells the version, and has no current value.
    Unread(Version),
    /// The memory of a deletion, and its version.
    Deleted(Version),
    /// Nothing.
    Nothing,
}

impl<T: ?Sized> Found<T> {
    /// The version of the value; `None` where there is none, so also for a deletion.
    ///
    /// ```
    /// # use ifmatch::{Version, store::Found};
    /// let version: Version = "8".parse()?;
    /// assert_eq!(Found::<str>::Unread(version).version(), Some(version));
    /// assert_eq!(Found::<str>::Deleted(version).version(), None);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn version(&self) -> Option<Version> {
        match self {
            Self::Value(current) => Some(current.version),
            Self::Unread(version) => Some(*version),
            Self::Deleted(_) | Self::Nothing => None,
        }
    }
}

impl<T: ?Sized> From<Option<Versioned<T>>> for Found<T> {
    fn from(current: Option<Versioned<T>>) -> Self {
        current.map_or(Self::Nothing, Self::Value)
    }
}

impl<T: ?Sized> From<Option<&Versioned<T>>> for Found<T> {
    fn from(current: Option<&Versioned<T>>) -> Self {
        current.cloned().into()
    }
}

impl<T: ?Sized> From<&Option<Versioned<T>>> for Found<T> {
    fn from(current: &Option<Versioned<T>>) -> Self {
        current.as_ref().into()
    }
}

impl From<Option<Version>> for Found<()> {
    fn from(version: Option<Version>) -> Self {
        version.map_or(Self::Nothing, Self::Unread)
    }
}

// Hand-written: the derived impl would reach for the user's value.
impl<T: ?Sized> fmt::Debug for Found<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(current) => f.debug_tuple("Value").field(&current.version).finish(),
            Self::Unread(version) => f.debug_tuple("Unread").field(version).finish(),
            Self::Deleted(version) => f.debug_tuple("Deleted").field(version).finish(),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}
