//! [`Contention`], what an error of a database says about a transaction that others were in the way of.

/// What an error of a database says about a transaction that others were in the way of.
///
/// By the code that every driver gives out somewhere: no driver is a dependency of this crate. Of a code that is none of
/// these nothing is said, and the error is the program's. A connection that broke may come without any code: of a commit
/// that is [`Unknown`](Self::Unknown) too.
///
/// | | nothing was applied | may be tried again |
/// |---|---|---|
/// | [`Serialization`](Self::Serialization), [`Deadlock`](Self::Deadlock), [`LockTimeout`](Self::LockTimeout) | yes | the whole transaction, its reads included |
/// | [`Exists`](Self::Exists) | yes | no: look, and [`explain`](crate::store::Condition::explain) |
/// | [`Unknown`](Self::Unknown) | of a commit nobody knows | no: look first |
///
/// ```
/// use ifmatch::table::Contention;
///
/// assert_eq!(Contention::of_sqlstate("40001"), Some(Contention::Serialization));
/// assert_eq!(Contention::of_sqlstate("42P01"), None); // no such table
/// assert!(Contention::of_mysql(1213).is_some_and(Contention::is_retryable));
/// assert!(!Contention::Unknown.is_retryable());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Contention {
    /// It can't be put in one order with the others.
    Serialization,
    /// It and others waited for one another, and it was the one to give way.
    Deadlock,
    /// It waited too long for a lock, or did not want to wait.
    LockTimeout,
    /// There is a row of that key.
    Exists,
    /// The connection broke, or the server went away, or the disk failed under SQLite. Where that met the commit, it may have
    /// been applied; where it met an earlier statement, nothing was.
    Unknown,
}

impl Contention {
    /// By the SQLSTATE of PostgreSQL (its documentation, appendix A) and of others that follow the standard.
    pub fn of_sqlstate(code: &str) -> Option<Self> {
        match code {
            "40001" => Some(Self::Serialization),
            "40P01" => Some(Self::Deadlock),
            "55P03" => Some(Self::LockTimeout),
            "23505" => Some(Self::Exists),
            // Connection exceptions, "completion unknown", and a server that shuts down or has crashed.
            "40003" | "08000" | "08003" | "08006" | "08007" | "57P01" | "57P02" => Some(Self::Unknown),
            _ => None,
        }
    }

    /// By the error number of MySQL and MariaDB, those of their client library (2006, 2013, 2055) included.
    pub fn of_mysql(number: u16) -> Option<Self> {
        match number {
            1213 => Some(Self::Deadlock),
            // Also with `NOWAIT`. By default MySQL rolls back the statement alone: roll back the transaction.
            1205 | 3572 => Some(Self::LockTimeout),
            1062 | 1586 => Some(Self::Exists),
            1053 | 1927 | 2006 | 2013 | 2055 => Some(Self::Unknown),
            _ => None,
        }
    }

    /// By the result code of SQLite, extended or not.
    pub fn of_sqlite(code: i32) -> Option<Self> {
        match code {
            // A transaction that read before others wrote can't write any more: `BEGIN IMMEDIATE` avoids it.
            517 => Some(Self::Serialization),
            1555 | 2067 | 2579 => Some(Self::Exists),
            // A commit that was written, and then not synced, is there after a crash.
            _ if code & 0xff == 10 => Some(Self::Unknown),
            _ if matches!(code & 0xff, 5 | 6) => Some(Self::LockTimeout),
            _ => None,
        }
    }

    /// Whether the whole transaction may be tried again as it was: nothing of it was applied, and others were in its way.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Serialization | Self::Deadlock | Self::LockTimeout => true,
            Self::Exists | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_says_what_the_manuals_say() {
        use Contention::*;

        let sqlstate = ["40001", "40P01", "55P03", "23505", "08006", "57P01", "23503", "25P02", ""];
        assert_eq!(
            sqlstate.map(Contention::of_sqlstate),
            [
                Some(Serialization),
                Some(Deadlock),
                Some(LockTimeout),
                Some(Exists),
                Some(Unknown),
                Some(Unknown),
                None,
                None,
                None
            ]
        );
        assert_eq!(
            [1213, 1205, 3572, 1062, 2013, 1064].map(Contention::of_mysql),
            [Some(Deadlock), Some(LockTimeout), Some(LockTimeout), Some(Exists), Some(Unknown), None]
        );
        // Busy, locked, busy in recovery, locked in a shared cache, busy with an old snapshot; a unique index, a failed sync, a
        // `CHECK`.
        assert_eq!(
            [5, 6, 261, 262, 517, 2067, 1034, 275, 1].map(Contention::of_sqlite),
            [
                Some(LockTimeout),
                Some(LockTimeout),
                Some(LockTimeout),
                Some(LockTimeout),
                Some(Serialization),
                Some(Exists),
                Some(Unknown),
                None,
                None
            ]
        );
    }
}
