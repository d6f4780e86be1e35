//! [`ConnectError`] and [`RuntimeEnded`], why a store can't use its engine.

use std::error::Error as StdError;

use crate::store::{Error, Failure, Outcome};

/// Why a store on an engine can't be opened. Nothing was changed in the engine, except that its tables may have been made.
///
/// No text shows a user name, a password or a URL.
///
/// ```
/// use ifmatch::engine::ConnectError;
///
/// let refused = ConnectError::Relaxed { may_lose: "the last second, where the machine loses power" };
/// assert_eq!(
///     refused.to_string(),
///     "the engine may lose acknowledged commits, and strict durability is required: the last second, where the machine \
///      loses power"
/// );
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL, or the name of a table, schema or namespace, can't be used.
    #[error("cannot use the {what}: {problem}")]
    Usage {
        /// What was given.
        what: &'static str,
        /// What is wrong with it, without the text itself where that may hold a password.
        problem: String,
    },
    /// Nobody answers, or not in time. Worth a retry later.
    #[error("cannot reach {endpoint}")]
    Unreachable {
        /// The host and port that was tried last.
        endpoint: String,
        /// What the driver said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The engine answers, and refuses: the login, a permission, a release that is too old.
    #[error("the engine refused to {action}")]
    Refused {
        /// What was being done.
        action: &'static str,
        /// What the engine said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// There is something else at this place, or data in a format of a later release. It is left as it is.
    #[error("this place is not one of this store: {found}")]
    Foreign {
        /// What was found.
        found: String,
    },
    /// Strict durability is required, and the settings of the engine do not give it.
    #[error("the engine may lose acknowledged commits, and strict durability is required: {may_lose}")]
    Relaxed {
        /// What may be lost, and when.
        may_lose: &'static str,
    },
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Failure::new(Outcome::NotApplied, error).into()
    }
}

/// The tokio runtime that a store was opened in has ended, and the connections of the store with it. Open the store anew.
///
/// The source of an [`Error::Failed`], of calls as of watchers. A commit that was under way may have been applied: open the
/// store elsewhere, and [`resolve`](crate::Store::resolve) its write id there.
///
/// ```
/// use std::error::Error as _;
///
/// use ifmatch::engine::RuntimeEnded;
///
/// let error = ifmatch::Error::from(RuntimeEnded);
/// assert!(error.source().is_some_and(|source| source.is::<RuntimeEnded>()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tokio runtime that the store was opened in has ended")]
pub struct RuntimeEnded;

impl From<RuntimeEnded> for Error {
    fn from(ended: RuntimeEnded) -> Self {
        Failure::new(Outcome::NotApplied, ended).into()
    }
}

impl From<RuntimeEnded> for ConnectError {
    fn from(_: RuntimeEnded) -> Self {
        Self::Usage { what: "tokio runtime", problem: "it has ended".to_owned() }
    }
}
