//! [`Files`], the two files of a store: its own and its journal.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend, StorageError};

use super::disk::{Disk, Unconfirmed};
use super::journal::Shape;
use super::open::{beside, sync_directory};
use super::open_error::OpenError;
use super::place::Place;

/// What the name of a store's file is followed by in that of its journal.
const SUFFIX: &str = ".journal";

/// How many bytes of a file tell whether it may be a journal.
const MAGIC: usize = 512;

/// How to reach the files of one store, again and again.
#[derive(Debug)]
pub(super) struct Files {
    location: Location,
    unconfirmed: Arc<Unconfirmed>,
    /// The same of the journal.
    appended: Arc<Unconfirmed>,
    /// What of the journal may hold a part of a write that failed: start and length.
    torn: Mutex<Option<(u64, usize)>>,
    pub(super) shape: Shape,
}

/// Where they lie.
enum Location {
    At {
        own: Arc<Place>,
        beside: PathBuf,
        journal: Mutex<Arc<Place>>,
    },
    /// Elsewhere, in tests of what storage can do: the store's own, and the journal.
    #[cfg(any(test, fuzzing))]
    In([Box<dyn Fn() -> Box<dyn StorageBackend> + Send + Sync>; 2]),
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Location")
    }
}

impl Files {
    /// Those of the store at `path`.
    pub(super) fn at(path: &Path) -> Self {
        // By whichever link the store is opened, the journal is the same.
        let mut beside = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()).into_os_string();
        beside.push(SUFFIX);
        let beside = PathBuf::from(beside);
        let journal = Mutex::new(Arc::new(Place::new(&beside)));
        Self::new(Location::At { own: Arc::new(Place::new(path)), beside, journal }, Shape::USUAL)
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn of_storage<S: StorageBackend>(
        own: impl Fn() -> S + Send + Sync + 'static,
        journal: impl Fn() -> S + Send + Sync + 'static,
        shape: Shape,
    ) -> Self {
        Self::new(
            Location::In([Box::new(move || Box::new(own())), Box::new(move || Box::new(journal()))]),
            shape,
        )
    }

    fn new(location: Location, shape: Shape) -> Self {
        let torn = Mutex::default();
        Self { location, unconfirmed: Arc::default(), appended: Arc::default(), torn, shape }
    }

    /// Opens the store's own file.
    pub(super) fn open(&self) -> io::Result<Disk> {
        let unconfirmed = Arc::clone(&self.unconfirmed);
        Ok(match &self.location {
            Location::At { own, .. } => {
                Disk::new(Box::new(open_existing(own)?), unconfirmed, vec![Arc::clone(own)])
            }
            #[cfg(any(test, fuzzing))]
            Location::In([own, _]) => Disk::new(own(), unconfirmed, vec![]),
        })
    }

    /// Opens the journal, which is there.
    pub(super) fn open_journal(&self) -> io::Result<Disk> {
        let disk = match &self.location {
            Location::At { own, journal, .. } => {
                let journal = Arc::clone(&journal.lock());
                let storage = Box::new(open_existing(&journal)?);
                Disk::new(storage, Arc::clone(&self.appended), vec![journal, Arc::clone(own)])
            }
            #[cfg(any(test, fuzzing))]
            Location::In([_, journal]) => Disk::new(journal(), Arc::clone(&self.appended), vec![]),
        };
        let mut torn = self.torn.lock();
        if let Some((start, length)) = *torn {
            disk.write(start, &vec![0; length])?;
            *torn = None;
        }
        drop(torn);
        disk.confirm()?;
        Ok(disk)
    }

    /// Writes what was never there before. Where it fails, the part that was written is taken back before the file is
    /// opened anew: a disk that fails may cut where no crash does.
    pub(super) fn write_whole(&self, journal: &Disk, start: u64, bytes: &[u8]) -> io::Result<()> {
        let mut torn = self.torn.lock();
        *torn = Some((start, bytes.len()));
        journal.write(start, bytes)?;
        *torn = None;
        Ok(())
    }

    /// Creates a journal under another name and gives it its own once it is complete and synced. One that is there is of
    /// no use any more.
    pub(super) fn create_journal(&self, fill: impl FnOnce(&Disk) -> io::Result<()>) -> io::Result<Disk> {
        self.appended.forget();
        *self.torn.lock() = None;
        match &self.location {
            Location::At { own, beside: path, journal } => {
                refuse_strangers(path)?;
                let fresh = beside(path);
                let made = (|| {
                    let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(&fresh)?;
                    let filled = Disk::new(Box::new(backend(file)?), Arc::default(), vec![]);
                    fill(&filled)?;
                    drop(filled);
                    fs::File::open(&fresh)?.sync_all()?;
                    fs::rename(&fresh, path)
                })();
                if made.is_err() {
                    let _ = fs::remove_file(&fresh);
                }
                made?;
                synced(path)?;
                let place = Arc::new(Place::new(path));
                let disk = Box::new(open_existing(&place)?);
                *journal.lock() = Arc::clone(&place);
                Ok(Disk::new(disk, Arc::clone(&self.appended), vec![place, Arc::clone(own)]))
            }
            #[cfg(any(test, fuzzing))]
            Location::In([_, journal]) => {
                let disk = Disk::new(journal(), Arc::clone(&self.appended), vec![]);
                disk.set_len(0)?;
                fill(&disk)?;
                disk.sync_data()?;
                Ok(disk)
            }
        }
    }

    /// Removes the journal.
    pub(super) fn remove_journal(&self) -> io::Result<()> {
        self.appended.forget();
        match &self.location {
            Location::At { beside, journal, .. } => {
                journal.lock().check()?;
                fs::remove_file(beside)?;
                synced(beside)
            }
            #[cfg(any(test, fuzzing))]
            Location::In(_) => Ok(()),
        }
    }
}

/// Makes the names in the directory of `path` outlive a crash.
fn synced(path: &Path) -> io::Result<()> {
    sync_directory(path).map_err(|error| match error {
        OpenError::Io { source, .. } => source,
        other => io::Error::other(other),
    })
}

/// Refuses to replace a file that is no journal, nor one whose creation was cut off.
fn refuse_strangers(path: &Path) -> io::Result<()> {
    let file = match fs::File::open(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut start = Vec::new();
    file.take(MAGIC as u64).read_to_end(&mut start)?;
    match start.get(4..).is_some_and(|start| start.starts_with(b"\0\0\0\0ifmJ"))
        || start.iter().all(|byte| *byte == 0)
    {
        true => Ok(()),
        false => Err(io::Error::other("there is another file where its journal goes")),
    }
}

fn open_existing(place: &Place) -> io::Result<FileBackend> {
    let file = fs::OpenOptions::new().read(true).write(true).open(place.path());
    let file = file.map_err(|error| place.explain(error))?;
    place.check_opened(&file)?;
    backend(file)
}

fn backend(file: fs::File) -> io::Result<FileBackend> {
    FileBackend::new(file).map_err(|error| match error {
        DatabaseError::Storage(StorageError::Io(source)) => source,
        other => io::Error::other(other),
    })
}
