//! How the value of a version column is a [`Version`], and back.

use std::num::NonZeroU64;

use crate::store::{Error, Failure, Outcome, Version};

/// The bits of the version whose column says 0: one more than the largest value of a column.
const ZERO: u64 = 1 << 63;

/// A version column holds a negative number: the cause of the [`Failure`] that [`Version::from_column`] gives for that.
#[derive(Debug, thiserror::Error)]
#[error("a version column of {0}: expected a number from 0 on")]
struct Negative(i64);

impl Version {
    /// The version of a row whose version column, a `bigint`, says this: the same number, and for 0, which a version can't
    /// be, the one above all columns.
    ///
    /// What a column must do to be one: change with every write, and never say the same again for the same id.
    ///
    /// - A `bigint` from a sequence does, also where a row is deleted and made anew. The safe choice.
    /// - `version = version + 1` from 0 or 1 begins again with a row that was deleted and made anew: a token of the first
    ///   life then admits a write to the second.
    /// - `xmin` is the same for two writes of one transaction, and other rows get it again after a dump and a restore.
    /// - `updated_at` in microseconds, compared for equality, is the same for two writes in one tick of the clock, and a clock
    ///   that is set back says the same again.
    ///
    /// A token of more than 63 bits, such as a UUID or a hash, does not fit: give such a table a version column.
    ///
    /// # Errors
    ///
    /// A [`Failure`] for a negative number, which waiting does not mend: somebody has to mend the row.
    ///
    /// ```
    /// use ifmatch::Version;
    ///
    /// assert_eq!(Version::from_column(7)?.to_string(), "7");
    /// assert!(Version::from_column(-1).is_err());
    /// for column in [0, 1, i64::MAX] {
    ///     assert_eq!(Version::from_column(column)?.to_column(), Some(column));
    /// }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn from_column(column: i64) -> Result<Self, Error> {
        let negative = |_| Failure::new(Outcome::NotApplied, Negative(column)).lasting();
        let bits = u64::try_from(column).map_err(negative)?;
        let zero = const { NonZeroU64::new(ZERO).expect("it is not 0") };
        Ok(Self::from_bits(NonZeroU64::new(bits).unwrap_or(zero)))
    }

    /// What the version column of a row of this version says. `None` for a token that no column has, as a client may send:
    /// no row is of that version.
    ///
    /// ```
    /// # use ifmatch::Version;
    /// let made_up: Version = "18446744073709551615".parse()?;
    /// assert_eq!(made_up.to_column(), None);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn to_column(self) -> Option<i64> {
        match self.to_bits().get() {
            ZERO => Some(0),
            bits => i64::try_from(bits).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_negative_number_is_told_as_what_nobody_can_wait_for() {
        let error = Version::from_column(-1).unwrap_err();

        assert_eq!((error.outcome(), crate::http::retry_after(&error)), (Outcome::NotApplied, None));
        let cause = error.source().unwrap().to_string();
        assert_eq!(cause, "a version column of -1: expected a number from 0 on");
    }
}
