//! [`Place`], where a file lies, and whether it still does.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[cfg(target_os = "linux")]
use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};

/// Where a file lies. It remembers which file was opened there first.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    first: OnceLock<First>,
}

/// The file that was opened first.
#[derive(Debug)]
struct First {
    identity: (u64, u64),
    /// As long as it is open its inode is given to no other file, even while the engine has closed it.
    _held: File,
}

/// The file is not at its path any more.
#[derive(Debug, thiserror::Error)]
#[error("the file was removed, or another one was put in its place")]
pub(super) struct Displaced;

impl Place {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), first: OnceLock::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a file that was just opened here if it is not the one that was opened first.
    pub(super) fn check_opened(&self, file: &File) -> io::Result<()> {
        let found = identity(file.metadata()?);
        if self.first.get().is_none() {
            // Not a clone of the handle: that would keep the engine's lock.
            let held = File::open(&self.path)?;
            if identity(held.metadata()?) != found {
                return Err(io::Error::other(Displaced));
            }
            self.first.get_or_init(|| First { identity: found, _held: held });
        }
        self.compare(found)
    }

    /// Refuses to go on where the path leads to another file by now, or to none: what is written then is lost to whoever
    /// opens the path. One `stat`.
    pub(super) fn check(&self) -> io::Result<()> {
        self.compare(identity_at(&self.path).map_err(|error| self.explain(error))?)
    }

    /// A file that was here once and is missing was displaced.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::NotFound if self.first.get().is_some() => io::Error::other(Displaced),
            _ => error,
        }
    }

    fn compare(&self, found: (u64, u64)) -> io::Result<()> {
        match self.first.get() {
            Some(first) if first.identity != found => Err(io::Error::other(Displaced)),
            _ => Ok(()),
        }
    }
}

/// Device and inode: no other file has both while this one is open.
#[cfg(unix)]
fn identity(file: Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;

    (file.dev(), file.ino())
}

/// Elsewhere the standard library tells nothing like it; on Windows an open file can't be replaced.
#[cfg(not(unix))]
fn identity(_: Metadata) -> (u64, u64) {
    (0, 0)
}

/// That of the file at a path.
fn identity_at(path: &Path) -> io::Result<(u64, u64)> {
    // Asked for its times, as the standard library does, Linux gives the next write an exact one, and the next sync has that
    // to write as well: it takes half as long again.
    #[cfg(target_os = "linux")]
    if let Ok(found) = statx(CWD, path, AtFlags::empty(), StatxFlags::INO) {
        return Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino));
    }
    // Also where the system refuses that call.
    path.metadata().map(identity)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_identity_however_it_is_asked_for() {
        let directory = std::env::temp_dir();
        for path in [directory.as_path(), Path::new("/proc/self/exe"), Path::new("/dev/null")] {
            assert_eq!(identity_at(path).unwrap(), identity(path.metadata().unwrap()), "{}", path.display());
        }
    }
}
