//! How a condition is judged against a row that the program read itself.

use crate::store::{
    Condition, Conflict, Error, Failure, Found, Intent, Mismatch, Outcome, Resource, Version, shortened,
    shown,
};

/// A statement changed no row, and a look afterwards found just what it expected: the cause of the [`Failure`] that
/// [`Condition::explain`] gives for that.
///
/// Either somebody changed the row and changed it back (rolled back, or deleted what stood in the way of an insertion)
/// between the statement and the look: then the same call works when it is tried again. Or the statement compares something
/// else than the look reads, or the version column does not change with each write: then it never works.
///
/// ```
/// use std::error::Error as _;
///
/// use ifmatch::store::{Condition, Intent};
/// use ifmatch::table::Unexplained;
/// use ifmatch::{Error, Version};
///
/// let seven = Version::from_column(7)?;
/// let Error::Failed(failure) = Condition::from(seven).explain("a1", Intent::Put, Some(seven)) else { panic!() };
/// let cause = failure.source().and_then(|cause| cause.downcast_ref::<Unexplained>()).unwrap();
/// assert_eq!(cause.found, Some(seven));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a statement changed no row of `{}`, and a look afterwards found what it expected: {}",
    shown(.id), of_version(*.found)
)]
#[non_exhaustive]
pub struct Unexplained {
    /// The row that was not changed.
    pub id: Box<str>,
    /// The version that the look found; `None` where it found no row, as was expected.
    pub found: Option<Version>,
}

fn of_version(found: Option<Version>) -> String {
    found.map_or("no row".to_owned(), |version| format!("version {version}"))
}

impl Condition {
    /// Judges what the program found in a table of its own, in the transaction that is about to write.
    ///
    /// `found` is the row with the value of its version column, read under its lock: an `Option<Versioned<T>>` or a
    /// reference to one; or where the row itself is not needed an `Option<Version>`, and then a conflict carries no row.
    /// Without the lock, as with a plain `SELECT` at READ COMMITTED, somebody may write between the look and the write, and
    /// that is lost. Costs nothing but a comparison and the clone of an `Arc` where the condition holds.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] that carries the row, with the status of a store's: 409, or 412 where a header set the condition;
    /// where nothing was found 404 as `intent` says. Roll back: nothing was written yet.
    ///
    /// ```
    /// use ifmatch::store::{Condition, Intent};
    /// use ifmatch::{Version, Versioned, http};
    ///
    /// let row = Some(Versioned::<str>::new(Version::from_column(8)?, "text"));
    /// let basis: Condition = Version::from_column(7)?.into();
    ///
    /// let error = basis.admit("a1", Intent::Put, &row).unwrap_err();
    /// assert_eq!(error.to_string(), "conflict on `a1`: expected version 7, found version 8");
    /// assert_eq!(*error.conflict().unwrap().current::<str>().unwrap().value, *"text");
    ///
    /// let missing = basis.admit("a1", Intent::Delete, None::<Version>).unwrap_err();
    /// assert_eq!([error, missing].map(|error| http::status(&error)), [409, 404]);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn admit<T: Resource + ?Sized>(
        self,
        id: &str,
        intent: Intent,
        found: impl Into<Found<T>>,
    ) -> Result<(), Error> {
        let found = found.into();
        match self.expected.admits(found.version()) {
            true => Ok(()),
            false => Err(Conflict::from(Mismatch::new(id, self, intent, found)).into()),
        }
    }

    /// Why a statement that compares the version itself changed no row, from what a look found afterwards: `UPDATE … WHERE
    /// id = $1 AND version = $2`, `DELETE …`, `INSERT … ON CONFLICT DO NOTHING`. Never that all is well.
    ///
    /// Look in a new transaction: at REPEATABLE READ and above the old one sees what the statement did not (PostgreSQL:
    /// 25P02 after 40001). The row may have changed once more in between, so the conflict tells a state that was true after
    /// the write was refused. Or let the statement report what it saw; [`docs::tables`](crate::docs::tables) has it.
    ///
    /// Where nothing that the look found speaks against the write, the error is a [`Failure`] whose cause is
    /// [`Unexplained`]: nothing was applied, 503, and the caller may try again.
    ///
    /// ```
    /// use ifmatch::store::{Condition, Intent, Outcome};
    /// use ifmatch::{Version, Versioned};
    ///
    /// let row = |version| Some(Versioned::<str>::new(Version::from_column(version).unwrap(), "text"));
    /// let basis: Condition = Version::from_column(7)?.into();
    ///
    /// assert!(basis.explain("a1", Intent::Put, row(8)).conflict().is_some());
    /// // The very version that was expected: nothing was written, and it may be tried again.
    /// let odd = basis.explain("a1", Intent::Put, row(7));
    /// assert!(odd.conflict().is_none() && odd.outcome() == Outcome::NotApplied);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use = "the write was refused: this is the error to return"]
    pub fn explain<T: Resource + ?Sized>(
        self,
        id: &str,
        intent: Intent,
        found: impl Into<Found<T>>,
    ) -> Error {
        let found = found.into();
        let version = found.version();
        match self.admit(id, intent, found) {
            Err(conflict) => conflict,
            Ok(()) => {
                Failure::new(Outcome::NotApplied, Unexplained { id: shortened(id).into(), found: version })
                    .into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::store::{Expected, Kind, Versioned};

    fn row(version: &str) -> Option<Versioned<str>> {
        Some(Versioned::new(version.parse().unwrap(), "text"))
    }

    fn told(error: &Error) -> Option<(Kind, Option<Version>)> {
        error.conflict().map(|conflict| (conflict.kind().clone(), conflict.found()))
    }

    #[test]
    fn what_is_admitted_is_what_a_store_would_admit_with_a_value_or_without() {
        let seven: Version = "7".parse().unwrap();
        let cases = [
            (Expected::Any, [None, None, None]),
            (Expected::Absent, [None, Some(Kind::Exists), Some(Kind::Exists)]),
            (Expected::Present, [Some(Kind::Missing), None, None]),
            (Expected::Version(seven), [Some(Kind::Missing), None, Some(Kind::Stale)]),
        ];
        for (expected, kinds) in cases {
            for (found, kind) in [None, row("7"), row("8")].into_iter().zip(kinds) {
                let condition = Condition::from(expected);
                let version = found.as_ref().map(|found| found.version);

                let admitted = condition.admit("a", Intent::Put, &found);
                let unread = condition.admit("a", Intent::Put, version);
                let explained = condition.explain("a", Intent::Put, &found);

                let expected = kind.map(|kind| (kind, version));
                assert_eq!(admitted.as_ref().err().and_then(told), expected);
                assert_eq!(unread.as_ref().err().and_then(told), expected);
                assert_eq!([admitted.is_ok(), unread.is_ok()], [expected.is_none(); 2]);
                assert_eq!(told(&explained), expected);
                let current = explained.conflict().and_then(|conflict| conflict.current::<str>());
                assert_eq!(current, found.filter(|_| expected.is_some()));
            }
        }
    }

    #[test]
    fn a_deletion_that_the_table_remembers_is_told_as_one() {
        let condition = Condition::from(Expected::Present);
        let deleted = Found::<str>::Deleted("9".parse().unwrap());

        let refused = condition.admit("a", Intent::Put, deleted).unwrap_err();

        assert_eq!(told(&refused), Some((Kind::Deleted, "9".parse().ok())));
        assert_eq!(crate::http::status(&refused), 410);
    }

    #[test]
    fn a_condition_of_a_header_stays_one() {
        let condition = Condition::from_protocol(Expected::Present);
        let status =
            |intent| crate::http::status(&condition.admit("a", intent, None::<Version>).unwrap_err());

        assert_eq!([Intent::Put, Intent::Delete].map(status), [412, 404]);
    }

    #[test]
    fn a_look_that_finds_what_was_expected_is_never_taken_for_success() {
        let seven = row("7");
        let cases = [
            (Condition::from(Expected::Version("7".parse().unwrap())), seven.clone(), "version 7"),
            (Expected::Present.into(), seven, "version 7"),
            (Expected::Absent.into(), None, "no row"),
            (Expected::Any.into(), None, "no row"),
        ];
        for (condition, found, shown) in cases {
            let error = condition.explain("a\n", Intent::Put, &found);

            assert_eq!((error.outcome(), crate::http::status(&error)), (Outcome::NotApplied, 503));
            let Error::Failed(failure) = error else { panic!("{error}") };
            let cause = failure.source().unwrap().downcast_ref::<Unexplained>().unwrap();
            assert_eq!(
                cause.to_string(),
                format!(
                    "a statement changed no row of `a\\n`, and a look afterwards found what it expected: {shown}"
                )
            );
        }
    }
}
