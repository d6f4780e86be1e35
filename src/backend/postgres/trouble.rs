//! [`Trouble`], what can go wrong between the store and the engine, told apart by what can have been applied.

use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// What went wrong with one statement.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The statement was not sent.
    NotSent(Cause),
    /// It was not sent either: the server is there, and about to serve.
    Starting(Cause),
    /// It was sent, and its answer was lost: it may have been applied, or may still be.
    Lost(Cause),
    /// The engine refused it, and has undone it.
    Refused(SqlState, Cause),
}

/// What the engine or the driver said, in words that show neither a value nor who logs in.
#[derive(Debug)]
pub(super) struct Cause(String);

impl Cause {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

impl From<&tokio_postgres::Error> for Cause {
    fn from(error: &tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else { return Self(error.to_string()) };
        let code = refusal.code().code();
        if MIXED_UP.contains(&code) {
            return Self(format!("SQLSTATE {code}: {POOLED}"));
        }
        // Only the message: the detail may have the key of a row.
        Self(format!("SQLSTATE {code}: {}", refusal.message().escape_debug()))
    }
}

/// What is said of a proxy that gives each transaction another connection, to whoever prepares statements.
pub(super) const POOLED: &str = "a proxy that pools transactions is between the store and its server, or a connection is used \
                                 by somebody else: open the store with `Options::unprepared`";

/// What a server says to a prepared statement that another of its connections has, or somebody else's of the same name.
const MIXED_UP: [&str; 2] = ["26000", "42P05"];

impl Cause {
    /// Of a connection that the server, or a proxy before it, did not grant. Most of what it says names the role or the
    /// database, so none of it is shown.
    fn of_connection(error: &tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else { return Self(error.to_string()) };
        let code = refusal.code().code();
        let meaning = match code {
            _ if is_pooled(error) => POOLED,
            "57P03" => "the server is not ready to serve",
            _ if code.starts_with("28") || code.starts_with("08P") => "the login was refused",
            _ if code.starts_with("3D") => "there is no such database",
            _ if code.starts_with("42") => "the login may not use this database",
            _ if code.starts_with("53") => "the server has no connection left, or not for this login",
            _ => "the server granted no connection",
        };
        Self(format!("SQLSTATE {code}: {meaning}"))
    }
}

impl Trouble {
    /// Of a statement that was sent.
    pub(super) fn of_answer(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // Whoever is thrown out at the end of a commit may have committed.
            Some(refusal) if is_error(refusal) => Self::Refused(refusal.code().clone(), error.into()),
            _ => Self::Lost(error.into()),
        }
    }

    /// Of a statement that could not be prepared, and so was never sent.
    pub(super) fn of_preparation(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) if is_error(refusal) => Self::Refused(refusal.code().clone(), error.into()),
            _ => Self::NotSent(error.into()),
        }
    }

    /// Of a connection that could not be had.
    pub(super) fn of_pool(error: &PoolError) -> Self {
        match error {
            PoolError::Backend(error) => {
                let cause = Cause::of_connection(error);
                match error.code() {
                    _ if is_pooled(error) => Self::Refused(SqlState::FEATURE_NOT_SUPPORTED, cause),
                    Some(code) if *code == SqlState::CANNOT_CONNECT_NOW => Self::Starting(cause),
                    Some(code) if !passes(code) => Self::Refused(code.clone(), cause),
                    _ => Self::NotSent(cause),
                }
            }
            PoolError::Timeout(_) => Self::NotSent(Cause::new("no connection became free in time")),
            PoolError::Closed => Self::NotSent(Cause::new("the pool was closed")),
            _ => Self::NotSent(Cause::new("the pool can make no connection")),
        }
    }

    /// Of rows that somebody changed who takes no locks.
    pub(super) fn disturbed() -> Self {
        let cause = Cause::new("somebody changed the tables behind the back of the store");
        Self::Refused(SqlState::T_R_SERIALIZATION_FAILURE, cause)
    }

    /// Whether the same statement can succeed when it is sent again, and nothing was applied: it met another one.
    pub(super) fn is_collision(&self) -> bool {
        let Self::Refused(code, _) = self else { return false };
        [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::UNIQUE_VIOLATION]
            .contains(code)
    }

    /// Whether tables or functions are not there, as while somebody carries them here, or the server could not read what it is.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused(code, _) if ["42P01", "42883", "42703", "3F000", "XX000"].contains(&code.code()))
    }

    /// Whether it waited too long for the locks of others.
    pub(super) fn is_wait(&self) -> bool {
        matches!(self, Self::Refused(code, _) if *code == SqlState::LOCK_NOT_AVAILABLE)
    }

    /// Whether it is likely to pass by itself.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Starting(_) | Self::Lost(_) => true,
            Self::Refused(code, _) => passes(code) || self.is_collision() || self.is_wait(),
        }
    }

    /// Whether the engine has issued its last version.
    pub(super) fn is_exhaustion(&self) -> bool {
        matches!(self, Self::Refused(code, _) if *code == SqlState::SEQUENCE_GENERATOR_LIMIT_EXCEEDED)
    }

    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::NotSent(cause) | Self::Starting(cause) | Self::Lost(cause) | Self::Refused(_, cause) => {
                cause
            }
        }
    }
}

/// Whether a proxy refused the settings that connections of our own begin with: it could not keep them for us.
fn is_pooled(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|refusal| refusal.message().contains("unsupported startup parameter"))
}

fn is_error(refusal: &DbError) -> bool {
    refusal.parsed_severity() == Some(Severity::Error)
}

/// Whether a server that answers with this is likely to serve later. One that cancelled a statement was slow: it has a
/// `statement_timeout`, or its operator has put an end to it.
pub(super) fn passes(code: &SqlState) -> bool {
    let code = code.code();
    code.starts_with("57P") || code.starts_with("53") || code.starts_with("08") || code == "57014"
}
