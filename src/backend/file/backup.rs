//! Copies of a consistent state: a file, while writes go on.

use std::fs;
use std::io;
use std::path::Path;

use redb::Database;

use super::handle::Handle;
use super::open::{Opener, beside, sync_directory, take_name};
use super::open_error::{OpenError, io_error};
use super::recent::{self, CopyError, Origin};
use crate::store::Error;

/// Copies the last committed state to a new file at `path`.
pub(super) fn backup(handle: &Handle, path: &Path) -> Result<(), Error> {
    let fresh = beside(path);
    let copied = handle.read(|view| {
        // A try before this one may have left a part.
        let _ = fs::remove_file(&fresh);
        let to = match begin(&fresh, view.origin()?) {
            Ok(to) => to,
            Err(error) => return Ok(Err(error)),
        };
        match recent::copy(view, &to) {
            Ok(()) => Ok(finish(to, &fresh)),
            Err(CopyError::Source(error)) => Err(error),
            Err(CopyError::Target(error)) => Ok(Err(engine_error(&fresh, error))),
        }
    });
    let named = copied.and_then(|copied| {
        copied?;
        Ok(take_name(&fresh, path)?)
    });
    let _ = fs::remove_file(&fresh);
    named.and_then(|()| Ok(sync_directory(path)?))
}

/// A new file for a copy to be written to, laid out and empty.
pub(super) fn begin(fresh: &Path, origin: Origin) -> Result<Database, OpenError> {
    let fail = |source| io_error("create", fresh, source);
    fs::OpenOptions::new().read(true).write(true).create_new(true).open(fresh).map_err(fail)?;
    let opener = Opener::new(fresh, 16 << 20, false);
    opener.initialize(origin)?;
    Ok(opener.open()?.database)
}

/// Closes and syncs a finished copy.
pub(super) fn finish(copy: Database, fresh: &Path) -> Result<(), OpenError> {
    copy.close().map_err(|error| engine_error(fresh, error.into()))?;
    fs::File::open(fresh).and_then(|file| file.sync_all()).map_err(|source| io_error("sync", fresh, source))
}

/// The error of a write to a copy.
pub(super) fn engine_error(fresh: &Path, error: redb::Error) -> OpenError {
    let source = match error {
        redb::Error::Io(source) => source,
        other => io::Error::other(other),
    };
    io_error("write", fresh, source)
}
