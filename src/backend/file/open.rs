//! [`Opener`], how a file is opened, and how one is created.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase, StorageBackend};

use super::caught::{discard, panic_text};
use super::files::Files;
use super::journal::Journal;
use super::open_error::{OpenError, io_error};
use super::recent::{self, FORMAT, Journaled, Origin};
use super::trouble::Cause;
use crate::base::random;

/// How to open one store, again and again.
pub(super) struct Opener {
    pub(super) path: PathBuf,
    files: Arc<Files>,
    cache_bytes: usize,
    verify: bool,
}

/// A store's files, open.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) journal: Journal,
    /// What the journal holds that is not settled.
    pub(super) frames: Vec<Vec<u8>>,
}

impl Opener {
    /// For the file at `path`, which exists.
    pub(super) fn new(path: &Path, cache_bytes: usize, verify: bool) -> Self {
        Self { path: path.to_path_buf(), files: Arc::new(Files::at(path)), cache_bytes, verify }
    }

    /// For storage that is not a file, in tests of what storage can do.
    #[cfg(any(test, fuzzing))]
    pub(super) fn of_files(files: Files) -> Self {
        Self { path: "memory".into(), files: Arc::new(files), cache_bytes: 1 << 20, verify: false }
    }

    /// The same with the whole file checked at each opening.
    #[cfg(test)]
    pub(super) fn verified(self) -> Self {
        Self { verify: true, ..self }
    }

    /// Opens the files and looks whether they are those of a store.
    pub(super) fn open(&self) -> Result<Opened, OpenError> {
        self.open_after(|_| Ok(()))
    }

    /// The same once something was done to the database.
    pub(super) fn open_after(
        &self,
        prepare: impl FnOnce(&Database) -> Result<(), redb::Error>,
    ) -> Result<Opened, OpenError> {
        let fail = |source| io_error("open", &self.path, source);
        let disk = self.files.open().map_err(fail)?;
        // The engine would make a new database of it.
        if disk.len().map_err(fail)? == 0 {
            return Err(self.corrupt("it is empty".to_owned()));
        }
        disk.confirm().map_err(|source| self.refusal(redb::Error::Io(source)))?;
        let open = || {
            let database = self.builder(self.verify).create_with_backend(disk)?;
            let format = recent::format(&database)?;
            if format != FORMAT {
                return Ok((database, format, Journaled::default()));
            }
            prepare(&database)?;
            let journaled = recent::facts(&database.begin_read()?)?.journaled;
            Ok((database, format, journaled))
        };
        // The engine trusts a file that was closed in good order, and panics where it should not have.
        let opened = catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
            Err(redb::Error::Corrupted(format!("the engine panicked: {}", panic_text(&*panic))))
        });
        let (database, format, journaled) = opened.map_err(|error| self.refusal(error))?;
        if format != FORMAT {
            discard(database);
            return Err(self.corrupt(format!("it has format {format}, and this release reads {FORMAT}")));
        }
        match Journal::open(&self.files, journaled) {
            Ok((journal, frames)) => Ok(Opened { database, journal, frames }),
            Err(unreadable) => {
                discard(database);
                Err(match unreadable.kind() {
                    io::ErrorKind::NotFound => {
                        self.corrupt("its journal is missing, with the newest commits".to_owned())
                    }
                    io::ErrorKind::InvalidData => self.corrupt(unreadable.to_string()),
                    _ => self.refusal(redb::Error::Io(unreadable)),
                })
            }
        }
    }

    /// Whether the journal is gone from its place, and the store's own file is at its own.
    pub(super) fn has_lost_journal(&self) -> bool {
        self.files.has_lost_journal()
    }

    /// Makes a new database in the storage, which is empty.
    pub(super) fn initialize(&self, origin: Origin) -> Result<(), OpenError> {
        let fail = |source| io_error("create", &self.path, source);
        let disk = self.files.open().map_err(fail)?;
        let create = || {
            let database = self.builder(false).create_with_backend(disk)?;
            recent::lay(&database, origin)?;
            database.close()?;
            Ok(())
        };
        create().map_err(|error| self.refusal(error))
    }

    fn builder(&self, verify: bool) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes).set_check_integrity_on_open(verify);
        builder
    }

    fn corrupt(&self, found: String) -> OpenError {
        OpenError::Corrupt { path: self.path.clone(), found }
    }

    /// Why a file that the engine has opened can't be served from.
    pub(super) fn refused(&self, what: Cause) -> OpenError {
        match what {
            Cause::Engine(error) => self.refusal(error),
            Cause::Damaged(found) => self.corrupt(found),
            Cause::Panicked(words) => self.corrupt(format!("the engine panicked: {words}")),
            Cause::Reopening(error) => error,
            Cause::Closed | Cause::Forked { .. } | Cause::Busy | Cause::Lost => {
                self.corrupt("it is closed".to_owned())
            }
        }
    }

    fn refusal(&self, error: redb::Error) -> OpenError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};

        let path = self.path.clone();
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                OpenError::AlreadyOpen { path }
            }
            redb::Error::Io(held) if held.kind() == io::ErrorKind::ResourceBusy => {
                OpenError::AlreadyOpen { path }
            }
            redb::Error::Io(source)
                if !matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof) =>
            {
                OpenError::Io { action: "open", path, source }
            }
            redb::Error::Io(source) if source.kind() == UnexpectedEof => {
                self.corrupt("it is cut short".to_owned())
            }
            redb::Error::TableDoesNotExist(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableIsMultimap(_) => {
                self.corrupt("it is a redb database of another program".to_owned())
            }
            other => self.corrupt(other.to_string()),
        }
    }
}

/// Opens the file at `path`, or creates it.
pub(super) fn open_or_create(path: &Path, cache_bytes: usize, verify: bool) -> Result<Opener, OpenError> {
    // The program may change its directory before the file has to be opened anew.
    let path = &std::path::absolute(path).map_err(|source| io_error("open", path, source))?;
    match fs::metadata(path) {
        Ok(_) => {}
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => create(path, Origin::new())?,
        Err(source) => return Err(io_error("open", path, source)),
    }
    Ok(Opener::new(path, cache_bytes, verify))
}

/// Creates a file under another name and gives it its own once it is complete and synced: a crash in between leaves
/// nothing at `path`, and a stray `NAME.RANDOM.new` beside it that may be deleted.
pub(super) fn create(path: &Path, origin: Origin) -> Result<(), OpenError> {
    let fresh = beside(path);
    let made = fill(&fresh, origin).and_then(|()| give_name(&fresh, path));
    // Also where all went well: the file has two names now.
    let _ = fs::remove_file(&fresh);
    made.and_then(|()| sync_directory(path)).map_err(|error| match error {
        OpenError::Io { source, .. } => io_error("create", path, source),
        other => other,
    })
}

/// A name in the same directory that nobody else uses.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:016x}.new", random()));
    path.with_file_name(name)
}

fn fill(fresh: &Path, origin: Origin) -> Result<(), OpenError> {
    let fail = |source| io_error("create", fresh, source);
    fs::OpenOptions::new().read(true).write(true).create_new(true).open(fresh).map_err(fail)?;
    Opener::new(fresh, 1 << 20, false).initialize(origin)?;
    fs::File::open(fresh).and_then(|file| file.sync_all()).map_err(fail)
}

/// Gives a complete file its name, unless somebody else was faster: then theirs stays.
fn give_name(fresh: &Path, path: &Path) -> Result<(), OpenError> {
    match take_name(fresh, path) {
        Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        given => given,
    }
}

/// Gives a complete file its name, which must be free.
pub(super) fn take_name(fresh: &Path, path: &Path) -> Result<(), OpenError> {
    // A rename would replace what another process created meanwhile, and a link does not.
    let linked = fs::hard_link(fresh, path).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Err(error),
        // A file system without links.
        _ if path.try_exists()? => Err(io::ErrorKind::AlreadyExists.into()),
        _ => fs::rename(fresh, path),
    });
    linked.map_err(|source| io_error("create", path, source))
}

/// Makes names given or taken in the directory of `path` outlive a crash.
pub(super) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // Elsewhere directories can't be opened as files, and need not be.
    if cfg!(unix) {
        let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|source| io_error("sync the directory of", path, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who opened it meanwhile may be writing there.
    #[test]
    fn nothing_is_written_again_to_a_file_that_somebody_else_has_open() {
        let directory = std::env::temp_dir().join(format!("ifmatch-open-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("store.ifmatch");
        let opener = open_or_create(&path, 1 << 20, false).unwrap();
        // As by an opening that is over: no sync has confirmed it.
        let disk = opener.files.open().unwrap();
        let mut first = [0; 64];
        disk.read(0, &mut first).unwrap();
        disk.write(0, &first).unwrap();
        drop(disk);
        let other = open_or_create(&path, 1 << 20, false).unwrap().open().unwrap();

        assert!(matches!(opener.open().map(|_| ()), Err(OpenError::AlreadyOpen { .. })));
        assert!(opener.files.is_unconfirmed());
        drop(other);
        opener.open().unwrap();
        assert!(!opener.files.is_unconfirmed());

        fs::remove_dir_all(directory).unwrap();
    }
}
