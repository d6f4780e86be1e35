//! How a condition is judged against a row that the program read itself.

use crate::store::{
    Condition, Conflict, Error, Failure, Found, Intent, Mismatch, Outcome, Resource, Versioned,
};

/// A statement changed nothing, and nothing that a look finds speaks against it. The cause of a [`Failure`].
#[derive(Debug, thiserror::Error)]
#[error(
    "the statement changed no row, and a look afterwards found what was expected: somebody changed the row in between and \
     rolled back, or the statement compares something else than what was looked at"
)]
struct Unexplained;

impl Condition {
    /// Judges what the program found in a table of its own, in the transaction that is about to write.
    ///
    /// `found` is the row with the value of its version column, read under its lock. Without the lock, as with a plain
    /// `SELECT` at READ COMMITTED, somebody may write between the look and the write, and that is lost. Costs nothing but a
    /// comparison where the condition holds.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] that carries the row, with the status of a store's: 409, or 412 where a header set the condition;
    /// where nothing was found 404 as `intent` says. Roll back: nothing was written yet.
    ///
    /// ```
    /// use ifmatch::store::{Condition, Intent};
    /// use ifmatch::{Error, Expected, Version, Versioned, http};
    ///
    /// let row = Versioned::<str>::new(Version::from_column(8)?, "text");
    /// let basis: Condition = Version::from_column(7)?.into();
    ///
    /// let error = basis.admit("a1", Intent::Put, Some(row)).unwrap_err();
    /// assert_eq!(error.to_string(), "conflict on `a1`: expected version 7, found version 8");
    /// let missing = basis.admit::<str>("a1", Intent::Delete, None).unwrap_err();
    /// assert_eq!([error, missing].map(|error| http::status(&error)), [409, 404]);
    /// # Ok::<_, ifmatch::table::ColumnError>(())
    /// ```
    pub fn admit<T: Resource + ?Sized>(
        self,
        id: &str,
        intent: Intent,
        found: Option<Versioned<T>>,
    ) -> Result<(), Error> {
        match self.mismatch(id, intent, found) {
            Some(mismatch) => Err(Conflict::from(mismatch).into()),
            None => Ok(()),
        }
    }

    /// Why a statement that compares the version itself changed no row, from what a look found afterwards: `UPDATE … WHERE
    /// id = $1 AND version = $2`, `DELETE …`, `INSERT … ON CONFLICT DO NOTHING`. Never that all is well.
    ///
    /// Look in a new transaction: at REPEATABLE READ and above the old one sees what the statement did not (PostgreSQL:
    /// 25P02 after 40001). The row may have changed once more in between, so the conflict tells a state that was true after
    /// the write was refused.
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
    /// # Ok::<_, ifmatch::table::ColumnError>(())
    /// ```
    #[must_use = "the write was refused: this is the error to return"]
    pub fn explain<T: Resource + ?Sized>(
        self,
        id: &str,
        intent: Intent,
        found: Option<Versioned<T>>,
    ) -> Error {
        match self.mismatch(id, intent, found) {
            Some(mismatch) => Conflict::from(mismatch).into(),
            None => Failure::new(Outcome::NotApplied, Unexplained).into(),
        }
    }

    fn mismatch<T: Resource + ?Sized>(
        self,
        id: &str,
        intent: Intent,
        found: Option<Versioned<T>>,
    ) -> Option<Mismatch> {
        let version = found.as_ref().map(|found| found.version);
        let found = found.map_or(Found::Nothing, Found::Value);
        (!self.expected.admits(version)).then(|| Mismatch::new(id, self, intent, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expected, Kind, Version};

    fn row(version: &str) -> Option<Versioned<str>> {
        Some(Versioned::new(version.parse().unwrap(), "text"))
    }

    #[test]
    fn what_is_admitted_is_what_a_store_would_admit() {
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

                let admitted = condition.admit("a", Intent::Put, found.clone());
                let explained = condition.explain("a", Intent::Put, found);

                let told = |error: &Error| error.conflict().map(|one| (one.kind().clone(), one.found()));
                assert_eq!(admitted.as_ref().err().and_then(told), kind.clone().map(|kind| (kind, version)));
                assert_eq!(admitted.is_ok(), kind.is_none());
                assert_eq!(told(&explained).map(|(kind, _)| kind), kind, "{expected:?}");
            }
        }
    }

    #[test]
    fn a_condition_of_a_header_stays_one() {
        let condition = Condition::from_protocol(Expected::Present);

        let refused = condition.admit::<str>("a", Intent::Put, None).unwrap_err();

        assert_eq!(crate::http::status(&refused), 412);
        let deletion = condition.admit::<str>("a", Intent::Delete, None).unwrap_err();
        assert_eq!(crate::http::status(&deletion), 404);
    }
}
