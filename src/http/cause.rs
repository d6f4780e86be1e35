//! [`Cause`], the channel by which an error goes with the answer that was made of it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::store::Error;

/// The error that an answer was made of. Adapters to frameworks put it into the extensions of the response, so that a
/// layer in front knows the conflict, with its typed current value, and parses no body.
///
/// ```
/// use ifmatch::http::Problem;
/// use ifmatch::{Conflict, Kind};
///
/// let problem = Problem::new(Conflict::state("a1", "archived", "it is archived"));
/// let cause = problem.cause().unwrap().clone();
/// assert_eq!(cause.error().conflict().unwrap().id(), "a1");
/// ```
#[derive(Debug, Clone)]
pub struct Cause(pub(super) Arc<Error>);

impl Cause {
    /// The error.
    pub fn error(&self) -> &Error {
        &self.0
    }
}

/// The sentence of the error.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An error itself, so that it can be the source of an answer that has one, as that of gRPC.
impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
