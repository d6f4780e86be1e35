//! [`Files`], the two files of a store: its own and its journal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend, StorageError};

use super::disk::{Disk, Unconfirmed};
use super::journal::{Named, Shape};
use super::open::sync_directory;
use super::open_error::OpenError;
use super::place::Place;
use super::trouble::is_displaced;

/// What the name of a store's file is followed by in that of its journal.
const SUFFIX: &str = ".journal";

/// How long a store without space for a journal does without one. So what makes space can be committed.
const CRAMPED: Duration = Duration::from_secs(30);

/// How to reach the files of one store, again and again.
#[derive(Debug)]
pub(super) struct Files {
    location: Location,
    unconfirmed: Arc<Unconfirmed>,
    /// What of the journal may hold a part of a write that failed: start and length.
    torn: Mutex<Option<(u64, usize)>>,
    /// From when on a journal is created: not before a turn has gone without one, and later where there was no space.
    wanted: Mutex<Option<Instant>>,
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
        let beside = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let beside = with_suffix(&beside, SUFFIX);
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
        let (torn, wanted) = (Mutex::default(), Mutex::default());
        Self { location, unconfirmed: Arc::default(), torn, wanted, shape }
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

    /// Whether something was written to the store's own file that no sync has confirmed.
    #[cfg(test)]
    pub(super) fn is_unconfirmed(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// Opens the journal, which is there.
    pub(super) fn open_journal(&self) -> io::Result<Disk> {
        let disk = match &self.location {
            Location::At { own, journal, .. } => {
                let journal = Arc::clone(&journal.lock());
                let storage = Box::new(open_existing(&journal)?);
                let disk = Disk::new(storage, Arc::default(), vec![journal, Arc::clone(own)]);
                // Another file at the path of the store's own, a copy of it, has the same journal.
                disk.lock()?;
                disk
            }
            #[cfg(any(test, fuzzing))]
            Location::In([_, journal]) => Disk::new(journal(), Arc::default(), vec![]),
        };
        let mut torn = self.torn.lock();
        if let Some((start, length)) = *torn {
            disk.write(start, &vec![0; length])?;
            disk.sync_data()?;
            *torn = None;
        }
        drop(torn);
        Ok(disk)
    }

    /// Writes what was never there before. Where it fails, the part that was written is taken back before the file is
    /// opened anew: a disk that fails may cut where no crash does.
    pub(super) fn write_whole(&self, journal: &Disk, start: u64, bytes: &[u8]) -> io::Result<()> {
        journal.check()?;
        let mut torn = self.torn.lock();
        *torn = Some((start, bytes.len()));
        journal.write(start, bytes)?;
        *torn = None;
        Ok(())
    }

    /// Creates a journal under another name and gives it its own once it is complete and synced. One that is there makes
    /// way; `former` is the one that the store had before.
    pub(super) fn create_journal(
        &self,
        former: u64,
        fill: impl FnOnce(&Disk) -> io::Result<()>,
    ) -> io::Result<Disk> {
        *self.torn.lock() = None;
        match &self.location {
            Location::At { own, beside: path, journal } => {
                own.check()?;
                make_way(path, former).map_err(not_created)?;
                let fresh = with_suffix(path, ".new");
                // What a crash of a creation left.
                if let Some((_disk, _)) = locked(&fresh).map_err(not_created)? {
                    fs::remove_file(&fresh)?;
                }
                let place = Arc::new(Place::new(path));
                let made = (|| {
                    let file = create_like(&fresh, own.path()).map_err(not_created)?;
                    let same = file.try_clone()?;
                    let disk = Disk::new(Box::new(backend(file)?), Arc::default(), vec![]);
                    disk.lock()?;
                    fill(&disk)?;
                    disk.sync_data()?;
                    same.sync_all()?;
                    fs::rename(&fresh, path)?;
                    place.check_opened(&same)?;
                    synced(path)?;
                    Ok(disk.at(vec![Arc::clone(&place), Arc::clone(own)]))
                })();
                if made.is_err() {
                    let _ = fs::remove_file(&fresh);
                }
                *journal.lock() = place;
                made
            }
            #[cfg(any(test, fuzzing))]
            Location::In([_, journal]) => {
                let disk = Disk::new(journal(), Arc::default(), vec![]);
                disk.set_len(0)?;
                fill(&disk)?;
                disk.sync_data()?;
                Ok(disk)
            }
        }
    }

    /// Whether the journal is gone from its place, and the store's own file is at its own.
    pub(super) fn has_lost_journal(&self) -> bool {
        match &self.location {
            Location::At { own, journal, .. } => {
                own.check().is_ok() && journal.lock().check().is_err_and(|error| is_displaced(&error))
            }
            #[cfg(any(test, fuzzing))]
            Location::In(_) => false,
        }
    }

    /// Has no journal be created for a while: there is no space for one, or none beside one.
    pub(super) fn go_without_journal(&self) {
        *self.wanted.lock() = Some(Instant::now() + CRAMPED);
    }

    /// Has a journal be created for the next turn, unless there is no space for one.
    pub(super) fn want_journal(&self) {
        self.wanted.lock().get_or_insert_with(Instant::now);
    }

    /// Whether a journal is to be created where there is none.
    pub(super) fn wants_journal(&self) -> bool {
        self.wanted.lock().is_some_and(|from| from <= Instant::now())
    }

    /// Removes the journal that a store without one has [left](Named::is_left). Where that can't be done now, it makes way for
    /// the next one.
    pub(super) fn remove_left(&self, former: u64) {
        match &self.location {
            Location::At { beside, journal, .. } => {
                // What it holds takes up space as long as it is open.
                *journal.lock() = Arc::new(Place::new(beside));
                if matches!(locked(beside), Ok(Some((_, Some(found)))) if found.is_left(former)) {
                    let _ = fs::remove_file(beside).and_then(|()| synced(beside));
                }
            }
            #[cfg(any(test, fuzzing))]
            Location::In(_) => {}
        }
    }

    /// Removes the journal, if it is where it was.
    pub(super) fn remove_journal(&self) -> io::Result<()> {
        *self.wanted.lock() = None;
        match &self.location {
            Location::At { beside, journal, .. } => {
                let is_lost = self.has_lost_journal();
                let mut place = journal.lock();
                if !is_lost {
                    place.check()?;
                    fs::remove_file(beside)?;
                }
                // What it holds takes up space as long as it is open.
                *place = Arc::new(Place::new(beside));
                if is_lost { Ok(()) } else { synced(beside) }
            }
            #[cfg(any(test, fuzzing))]
            Location::In(_) => Ok(()),
        }
    }
}

/// What the system says of the directory, which may let nobody create files where the store's own may be written.
fn not_created(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => io::Error::new(error.kind(), format!("no journal can be created beside it: {error}")),
        None => error,
    }
}

/// Makes the names in the directory of `path` outlive a crash.
fn synced(path: &Path) -> io::Result<()> {
    sync_directory(path).map_err(|error| match error {
        OpenError::Io { source, .. } => source,
        other => io::Error::other(other),
    })
}

/// Sees to the file where a journal goes, if there is one.
///
/// What the same store has [left](Named::is_left) there is removed. Any other may have the newest commits of a file that was
/// moved away, and gets another name.
fn make_way(path: &Path, former: u64) -> io::Result<()> {
    let Some((_disk, found)) = locked(path)? else { return Ok(()) };
    let Some(found) = found else {
        return Err(io::Error::other("there is another file where its journal goes"));
    };
    if found.is_left(former) {
        return fs::remove_file(path);
    }
    let aside = with_suffix(path, &format!(".{:016x}", found.id));
    if aside.try_exists()? {
        return Err(io::Error::other("the journal of another store is where its own goes"));
    }
    fs::rename(path, aside)
}

/// The file where a journal goes, locked, and whose it is if it is a journal.
fn locked(path: &Path) -> io::Result<Option<(Disk, Option<Named>)>> {
    let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let disk = Disk::new(Box::new(backend(file)?), Arc::default(), vec![]);
    disk.lock()?;
    let found = Named::read(&disk)?;
    Ok(Some((disk, found)))
}

/// A name that goes on.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// Creates a file that may be read and written by whom another one may.
fn create_like(path: &Path, other: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let like = fs::metadata(other)?;
    #[cfg(unix)]
    share_owner(&file, &like)?;
    file.set_permissions(like.permissions())?;
    Ok(file)
}

/// Gives a file to whom another one belongs, or at least to its group, as far as the system allows that: a program that may do
/// neither has the other one by a right that is not the owner's, and shares this one by the same.
#[cfg(unix)]
fn share_owner(file: &fs::File, like: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let (own, owner) = (file.metadata()?, (like.uid(), like.gid()));
    if (own.uid(), own.gid()) != owner {
        let _ = fchown(file, Some(owner.0), Some(owner.1)).or_else(|_| fchown(file, None, Some(owner.1)));
    }
    Ok(())
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
