//! [`Entry`], one id of a commit: what is expected of it, and what is to be done.

use std::fmt;
use std::sync::Arc;

use crate::store::expected::Condition;
use crate::store::found::Found;
use crate::store::mismatch::{Intent, Mismatch};
use crate::store::resource::Resource;

/// One id in a [`Commit`](crate::Commit): what is expected of it and what is to be done with it.
///
/// ```
/// use ifmatch::{Collection, Commit, Entry, Expected};
/// use ifmatch::store::Intent;
///
/// let put = Entry::put("a", Expected::Absent, "one".into());
/// let check = Entry::check("b", Expected::Absent);
/// let delete = Entry::delete("c", Expected::Any);
/// assert_eq!(delete.intent(), Intent::Delete);
///
/// Collection::<str>::in_memory().commit(Commit::from_iter([put, check, delete])).wait()?;
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Entry<'a, T: ?Sized> {
    /// Which resource.
    pub id: &'a str,
    /// What is believed of it.
    pub condition: Condition,
    /// What is to be done.
    pub action: Action<T>,
}

/// What an [`Entry`] does once the expectations of its whole commit hold.
///
/// ```
/// use ifmatch::{Entry, Expected};
/// use ifmatch::store::Action;
///
/// let entry = Entry::put("a", Expected::Absent, "one".into());
/// assert!(matches!(&entry.action, Action::<str>::Put(text) if &**text == "one"));
/// ```
pub enum Action<T: ?Sized> {
    /// Nothing: the expectation of an id that was read and is not written.
    Check,
    /// Store this value, as a new version.
    Put(Arc<T>),
    /// Remove the value. Where there is none and none was required, nothing happens.
    Delete,
}

impl<'a, T: ?Sized> Entry<'a, T> {
    /// Holds only if the expectation does, and changes nothing.
    pub fn check(id: &'a str, condition: impl Into<Condition>) -> Self {
        Self { id, condition: condition.into(), action: Action::Check }
    }

    /// Puts a value.
    #[inline]
    pub fn put(id: &'a str, condition: impl Into<Condition>, value: Arc<T>) -> Self {
        Self { id, condition: condition.into(), action: Action::Put(value) }
    }

    /// Deletes the value.
    pub fn delete(id: &'a str, condition: impl Into<Condition>) -> Self {
        Self { id, condition: condition.into(), action: Action::Delete }
    }

    /// What the entry is about to do.
    pub fn intent(&self) -> Intent {
        match self.action {
            Action::Check => Intent::Check,
            Action::Put(_) => Intent::Put,
            Action::Delete => Intent::Delete,
        }
    }

    /// Judges the expectation against what the store found, inside the critical section that applies the write or
    /// with values taken in it.
    ///
    /// # Errors
    ///
    /// The [`Mismatch`] to make a [`Conflict`](crate::Conflict) of.
    ///
    /// ```
    /// use ifmatch::{Entry, Expected, Kind};
    /// use ifmatch::store::Found;
    ///
    /// let entry = Entry::<str>::delete("a", Expected::Present);
    /// let mismatch = entry.judge(Found::Nothing).unwrap_err();
    /// assert!(matches!(mismatch.kind(), Kind::Missing));
    /// ```
    pub fn judge(&self, found: Found<T>) -> Result<(), Mismatch>
    where
        T: Resource,
    {
        match self.condition.expected.admits(found.version()) {
            true => Ok(()),
            false => Err(Mismatch::new(self.id, self.condition, self.intent(), found)),
        }
    }
}

impl<T: ?Sized> Clone for Entry<'_, T> {
    fn clone(&self) -> Self {
        Self { id: self.id, condition: self.condition, action: self.action.clone() }
    }
}

impl<T: ?Sized> Action<T> {
    /// The value to be put, if there is one. A check is left.
    pub(crate) fn take_value(&mut self) -> Option<Arc<T>> {
        match std::mem::replace(self, Self::Check) {
            Self::Put(value) => Some(value),
            Self::Check | Self::Delete => None,
        }
    }
}

impl<T: ?Sized> Clone for Action<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Check => Self::Check,
            Self::Put(value) => Self::Put(Arc::clone(value)),
            Self::Delete => Self::Delete,
        }
    }
}

// Hand-written, as the next one: the derived impls would reach for the user's value.
impl<T: ?Sized> fmt::Debug for Action<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "Check",
            Self::Put(_) => "Put(..)",
            Self::Delete => "Delete",
        })
    }
}

impl<T: ?Sized> fmt::Debug for Entry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("expectation", &self.condition)
            .field("action", &self.action)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::expected::Expected;
    use crate::store::mismatch::Kind;
    use crate::store::version::{Version, Versioned};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn judging_tells_the_five_kinds_apart() {
        let value = || Found::Value(Versioned::<str>::new(version("2"), "v"));
        let judged = |expected: Expected, found: Found<str>| {
            Entry::<str>::check("a", expected).judge(found).map_err(|mismatch| mismatch.kind().clone())
        };

        assert_eq!(judged(version("1").into(), value()), Err(Kind::Stale));
        assert_eq!(judged(Expected::Absent, value()), Err(Kind::Exists));
        assert_eq!(judged(Expected::Present, Found::Nothing), Err(Kind::Missing));
        assert_eq!(judged(version("2").into(), Found::Deleted(version("2"))), Err(Kind::Deleted));
        assert_eq!(judged(Expected::Absent, Found::Deleted(version("2"))), Ok(()));
        assert_eq!(judged(version("2").into(), value()), Ok(()));
        assert_eq!(judged(Expected::Any, Found::Nothing), Ok(()));
    }
}
