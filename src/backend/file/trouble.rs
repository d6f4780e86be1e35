//! [`Trouble`], what went wrong with a file.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::open_error::OpenError;
use super::place::Displaced;
use crate::store::{Failure, Outcome};

/// What went wrong with a file. The text names it.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) path: PathBuf,
    pub(super) cause: Cause,
}

/// What went wrong.
#[derive(Debug)]
pub(super) enum Cause {
    Engine(redb::Error),
    Panicked(String),
    Damaged(String),
    Reopening(OpenError),
    Closed,
    Forked { opened_by: u32 },
    Busy,
    Lost,
}

impl Trouble {
    /// The failure of a call by it.
    pub(super) fn failure(self: &Arc<Self>, outcome: Outcome) -> Failure {
        let failure = Failure::new(outcome, Arc::clone(self));
        if self.cause.is_lasting() { failure.lasting() } else { failure }
    }
}

impl Cause {
    /// Whether waiting does not mend it.
    fn is_lasting(&self) -> bool {
        match self {
            Self::Forked { .. } | Self::Closed => true,
            Self::Engine(redb::Error::Io(source)) | Self::Reopening(OpenError::Io { source, .. }) => {
                is_full(source) || is_displaced(source)
            }
            _ => false,
        }
    }
}

pub(super) fn is_full(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(super) fn is_displaced(source: &io::Error) -> bool {
    source.get_ref().is_some_and(|source| source.is::<Displaced>())
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Engine(redb::Error::Io(source)) if is_full(source) => {
                write!(f, "`{path}` cannot be written: there is no space left on its disk")
            }
            Cause::Engine(redb::Error::Io(source)) if is_displaced(source) => {
                write!(f, "`{path}` is not the file any more that was opened there")
            }
            Cause::Engine(redb::Error::Io(_)) => write!(f, "`{path}` cannot be read or written"),
            Cause::Engine(error) => write!(f, "`{path}`: {error}"),
            Cause::Panicked(words) => write!(f, "`{path}` is damaged: the engine panicked: {words}"),
            Cause::Damaged(found) => write!(f, "`{path}` is damaged: {found}"),
            Cause::Reopening(_) => write!(f, "`{path}` could not be opened again after an error"),
            Cause::Closed => write!(f, "`{path}` is closed"),
            Cause::Forked { opened_by } => {
                write!(f, "`{path}` was opened by process {opened_by}, from which this one was forked")
            }
            Cause::Lost => write!(f, "`{path}` lost commits that were not synced when it failed"),
            Cause::Busy => write!(f, "`{path}` has as many commits waiting as it takes"),
        }
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Engine(redb::Error::Io(source)) => Some(source as &io::Error),
            Cause::Reopening(source) => Some(source),
            _ => None,
        }
    }
}
