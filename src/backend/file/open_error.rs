//! [`OpenError`], why a file can't be opened.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::{Error, Failure, Outcome};

/// Why a file can't be opened. Nothing was changed, and the file stays as it is.
///
/// ```
/// use ifmatch::file::{File, OpenError};
///
/// let path = std::env::temp_dir().join(format!("ifmatch-doc-{}.txt", std::process::id()));
/// std::fs::write(&path, "dear diary")?;
///
/// let error = File::open(&path).unwrap_err();
///
/// assert!(matches!(error, OpenError::Corrupt { .. }));
/// assert!(error.to_string().contains("ifmatch-doc"));
/// # std::fs::remove_file(path)?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is open already, in this process or in another. One handle serves any number of threads: share it.
    #[error("`{}` is open already, in this process or another", path.display())]
    AlreadyOpen {
        /// Which file.
        path: PathBuf,
    },
    /// It is not a file of this store, or it is damaged, or its journal is missing, damaged or older than the file. It is never
    /// reset: put back the journal that belongs to it, or restore a backup.
    #[error("`{}` is not an intact file of this store: {found}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// The operating system refused: no such directory, no permission, a full disk.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Failure::new(Outcome::NotApplied, error).into()
    }
}

/// The system's refusal to do something with a file.
pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { action, path: path.to_path_buf(), source }
}
