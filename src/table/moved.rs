//! [`Versioned::moved`], the check that a write really changed the version column.

use crate::store::{Error, Failure, Found, Outcome, Resource, Version, Versioned, shortened, shown};

/// A write left the version column as it was: the cause of the [`Failure`] that [`Versioned::moved`] gives for that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the write to `{}` left its version at {version}: the statement must change the version column", shown(.id))]
struct Unmoved {
    id: Box<str>,
    version: Version,
}

impl<T: ?Sized> Versioned<T> {
    /// The row as it was written, if its version is another than that of the row which was `found` before.
    ///
    /// Ask before the commit. A version that stays as it was, such as where somebody forgot `version = version + 1`, lets the
    /// next writer overwrite what it never saw. A comparison of two numbers, so it is made in every build, and the first
    /// test of a handler finds the mistake.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that waiting does not mend: the program is wrong. Roll back.
    ///
    /// ```
    /// use ifmatch::{Version, Versioned};
    ///
    /// let row = |version, text: &str| Versioned::<str>::new(Version::from_column(version).unwrap(), text);
    /// let found = Some(row(7, "theirs"));
    ///
    /// let saved = row(8, "mine").moved("a1", &found)?;
    /// assert_eq!(saved.version.to_string(), "8");
    /// assert!(row(7, "mine").moved("a1", &found).is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn moved<U: Resource + ?Sized>(self, id: &str, found: impl Into<Found<U>>) -> Result<Self, Error> {
        if found.into().version() == Some(self.version) {
            let unmoved = Unmoved { id: shortened(id).into(), version: self.version };
            return Err(Failure::new(Outcome::NotApplied, unmoved).lasting().into());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn row(version: &str) -> Versioned<str> {
        Versioned::new(version.parse().unwrap(), "text")
    }

    #[test]
    fn a_version_that_a_write_left_as_it_was_is_an_error() {
        for found in [Found::Value(row("7")), Found::Unread("7".parse().unwrap())] {
            let error = row("7").moved("a", found).unwrap_err();

            assert_eq!((error.outcome(), crate::http::retry_after(&error)), (Outcome::NotApplied, None));
            assert_eq!(
                error.source().unwrap().to_string(),
                "the write to `a` left its version at 7: the statement must change the version column"
            );
        }
    }

    #[test]
    fn a_version_that_moved_and_one_of_a_new_row_are_not() {
        assert_eq!(row("8").moved("a", Some(row("7"))).unwrap(), row("8"));
        assert_eq!(row("8").moved("a", None::<Version>).unwrap(), row("8"));
    }
}
