//! [`File`], the durable store: one file that survives a crash.

mod backup;
mod batch;
mod caught;
mod committer;
mod disk;
#[cfg(test)]
mod faults;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzed;
mod handle;
mod journal;
#[cfg(feature = "json")]
mod lines;
mod open;
mod open_error;
mod options;
mod place;
mod promise;
mod queue;
mod recent;
mod serving;
mod settling;
mod shared;
mod trouble;
mod watch;
mod watchers;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Durability, Error, Listed, Page, Reply, Resolution, Scan,
    Start, Store, Versioned, Window, WriteId,
};
use handle::Handle;
use promise::promise;
use queue::{OwnedCommit, Queue, Request, Upkeep};
use serving::Serving;
use settling::Settling;
use shared::{ENTRIES, Shared};
use trouble::Cause;

#[cfg(feature = "json")]
pub use lines::ImportError;
pub use open_error::OpenError;
pub use options::{Options, Persistence};

/// The durable store: one file that survives a crash of the program and of the machine.
///
/// As long as it is open, from its second commit on, and after a crash there is a journal of 8 MiB beside it, whose name is
/// that of the file and `.journal`: whoever moves or copies the file then takes both, or makes a [`backup`](Self::backup).
/// Without its journal the file is refused. A store that was closed is the one file again. So give the file a directory of its
/// own, in which the program may create files, and mount that directory into a container, not the file: the journal would be
/// lost with the container. Who may read the file may read its journal.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. It needs no
/// async runtime. A commit that was acknowledged is in the file and synced, unless the program chose
/// [`Persistence::Eventual`]; after a crash each commit is there as a whole or not at all.
///
/// # Cost
///
/// A commit waits for one sync of the disk. Commits that arrive while a sync is under way share the next one, each
/// with its own verdict, so many callers together cost little more than one alone. A read looks into the last
/// committed state on the caller's thread, and its reply is ready. So is a commit that only checks.
/// Neither waits for a sync, unless the file is just being compacted or opened anew. A listing without values copies none
/// and computes no checksums; a page of the file that a value stands on is read all the same.
///
/// Commits are first appended to the journal, which is what they wait for, and kept in memory. A thread of the store's own
/// puts what they came to in its place in the file behind them, once 256 KiB or 1,000 changes are there, or a sixteenth of
/// [`Options::history`], or a second has passed. So most values are written twice. Nobody waits for that as long as the
/// journal has room: it takes some 16,000 small commits of a lone caller, or 8 MiB. Where commits keep coming faster than
/// the disk takes them in, they wait for a quarter of that to be settled. With [`Persistence::Eventual`] the thread first
/// syncs the journal, and who commits meanwhile waits for that.
///
/// Commits of more than 1 MiB together go into the file at once, and wait for what is being settled. So does the first commit
/// after an opening or a [compaction](Self::compact), and the second waits until the journal is created, of 8 MiB of zeros: a
/// program that opens the file, commits once and closes it needs none.
///
/// A caller that blocks its thread with [`Reply::wait`] and is alone commits right there. A task that awaits never does,
/// since it would hold up its executor for as long as a sync takes: the store's own thread serves it, for two changes
/// of threads more.
///
/// # Versions
///
/// One counter serves the whole file and is kept in the same transaction as what it numbers. It starts at a random
/// number, and leaps over a random number of versions at each opening, so that a version from a file that was deleted,
/// replaced by an older copy or cut off by a crash matches nothing written afterwards, except by a chance of less than
/// one in a million for each 100,000 versions lost. That chance is what [`Abilities::detects_restore`] rests on here: a
/// file can't know that it is an older copy of itself. All entries of one commit share a version.
///
/// # Limits
///
/// - Ids have 1 to 512 bytes and no U+0000. Values have at most 1 MiB, see [`Options::value_limit`]; a commit at most
///   10,000 entries and 64 MiB.
/// - The feed, deletions and write ids reach back 100,000 changes, see [`Options::history`]. A cursor from before that
///   is [`Expired`](crate::store::Expired), and a write id from before that is [`Resolution::Unknown`].
/// - 65,536 calls, or 256 MiB of ids and values, may wait for the disk. A call past that fails with
///   [`Outcome::NotApplied`](crate::store::Outcome::NotApplied).
/// - In memory it keeps the cache of [`Options::cache`], what waits, the write ids of the history, and what is not settled:
///   mostly less than 1 MiB, and at most some 80 MiB, where the journal is full of small commits that came together.
/// - The file does not shrink by itself: space that deletions leave is used again, and [`compact`](Self::compact) gives
///   it back.
/// - An opening reads the history, and after a crash the journal. It reads the whole file only if asked to, by
///   [`Options::verified`].
///
/// # Failures
///
/// A commit that was in flight when the disk failed comes back with [`Outcome::Unknown`](crate::store::Outcome::Unknown), or
/// with `NotApplied` where the file shows that it was not. The file is opened anew inside, so the store serves again as
/// soon as the disk does.
///
/// On some damaged files the engine panics. That is caught and comes back as an error, but the program's panic hook runs
/// first, and the one that Rust installs prints a message: a program that minds sets a hook of its own. Where panics
/// abort (`panic = "abort"` in the profile), such a file ends the program. So do a very few in any profile, about one in a
/// million of those damaged on purpose: where a list of free pages is damaged, the engine panics again while it
/// unwinds, and nothing can catch that. For some damaged files it also asks for up to 4 GiB of memory for a moment.
///
/// The file and its journal must stay at their paths while they are open. Where the file was removed or renamed, or another
/// one was put in its place, no commit is acknowledged from then on: the next one fails, and the store serves again once
/// the file is back. Where that befell the journal, alone or together with the file, the next commit fails; what was acknowledged is then settled from
/// memory, and the store goes on with a new journal. On Unix each commit looks for that; elsewhere it looks for a missing
/// file only.
///
/// A journal that is damaged is refused: no flipped bit and no cut there makes a commit vanish that was acknowledged, and none
/// that is older than the file or was emptied is taken for its own. What can't be told from a crash is one in which all is
/// undone from some moment after the last settling on, by a disk that takes back what it confirmed, or by who puts an older
/// copy of the journal there.
///
/// Where the file of another store was replaced after a crash and its journal left behind, the first commit renames that
/// one, to its name and a dot and 16 digits, and keeps it: it has the newest commits of the file that was moved away, and
/// belongs beside it under that file's name.
///
/// Where there is no space left, commits go on until the journal is full, then fail and say so; as soon as there is space,
/// they succeed. Where there is none for a journal, they go into the file at once and take longer, so that what makes space
/// can be committed; a journal is tried again after 30 s. After a failure that waiting does not mend ([`Failure::is_lasting`](crate::store::Failure::is_lasting)) nothing is sent again by itself.
///
/// In a child of `fork()` every call is refused: open the file there by another name, or after the parent has closed it.
///
/// ```
/// use ifmatch::{Commit, Entry, Expected, File, Store};
///
/// let directory = std::env::temp_dir().join(format!("ifmatch-doc-file-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// let store = File::open(directory.join("notes.ifmatch"))?;
/// let committed = store.commit(Commit::one(Entry::put("a", Expected::Absent, (*b"one").into()))).wait()?;
/// drop(store);
///
/// let store = File::open(directory.join("notes.ifmatch"))?;
/// assert_eq!(Some(store.get("a").wait()?.unwrap().version), committed.version());
/// # drop(store);
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct File {
    shared: Arc<Shared>,
    serving: Arc<Serving>,
    threads: Option<Threads>,
}

/// The store's own threads.
struct Threads {
    committing: JoinHandle<Result<(), Error>>,
    settling: JoinHandle<()>,
}

impl File {
    /// Opens the file at `path`, or creates it where there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which names the path. A file that is damaged or of another program is never reset.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Options::new().open(path)
    }

    /// How to open a file otherwise than [`open`](Self::open) does.
    ///
    /// ```
    /// use ifmatch::File;
    ///
    /// let options = File::options().value_limit(64 * 1024).history(1_000_000);
    /// ```
    pub fn options() -> Options {
        Options::new()
    }

    /// Starts to serve from an open file.
    fn start(handle: Handle, options: &Options) -> Result<Self, OpenError> {
        let path = handle.path().to_path_buf();
        let refuse = |error: Error| OpenError::Corrupt {
            path: path.clone(),
            found: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        };
        let shared = Arc::new(Shared {
            handle,
            queue: Queue::default(),
            window: Mutex::new(Window::after(None, options.history)),
            history: options.history,
            value_limit: options.value_limit,
            persistence: options.persistence,
        });
        let serving = Arc::new(Serving::new(Arc::clone(&shared)).map_err(refuse)?);
        let refuse = |source| open_error::io_error("start the threads of", &path, source);
        let settle = {
            let serving = Arc::clone(&serving);
            move || Settling::run(&serving)
        };
        let settling =
            thread::Builder::new().name("ifmatch-settle".to_owned()).spawn(settle).map_err(refuse)?;
        let serve = {
            let serving = Arc::clone(&serving);
            move || serving.run()
        };
        let committing =
            thread::Builder::new().name("ifmatch-file".to_owned()).spawn(serve).map_err(|source| {
                shared.handle.settling.end();
                refuse(source)
            })?;
        Ok(Self { shared, serving, threads: Some(Threads { committing, settling }) })
    }

    /// Waits until everything that was committed is synced: of use with [`Persistence::Eventual`].
    ///
    /// # Errors
    ///
    /// What the disk said. Commits since the last sync may be lost then. Where an error between two syncs took some, the
    /// next sync says so, once, or else [`close`](Self::close).
    ///
    /// ```no_run
    /// # let store = ifmatch::File::open("notes.ifmatch")?;
    /// store.sync().wait()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn sync(&self) -> Reply<'_, ()> {
        let (promise, answer) = promise();
        self.serving.send(Request::Sync { promise }, answer)
    }

    /// Gives unused space back to the file system; tells whether there was any.
    ///
    /// It may be called while the store serves: other calls wait meanwhile. It takes about as long as copying the file.
    ///
    /// # Errors
    ///
    /// What the disk said, or that scans went on for too long. Nothing is lost.
    ///
    /// ```no_run
    /// # let store = ifmatch::File::open("notes.ifmatch")?;
    /// store.compact().wait()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self) -> Reply<'_, bool> {
        let (promise, answer) = promise();
        self.serving.send(Request::Upkeep { work: Upkeep::Compact, promise }, answer)
    }

    /// Reads the whole file, and compares the checksums of all its pages with what is in them.
    ///
    /// A value that was changed behind the store's back is found out whenever it is read; an id that was changed or lost is
    /// found out only here, and at the next opening with [`Options::verified`]. It may be called while the store
    /// serves: other calls wait meanwhile. It takes about as long as reading the file.
    ///
    /// # Errors
    ///
    /// That the file is damaged: write nothing more, and go back to a backup. Where the engine could repair it, the store
    /// serves what is left, and watchers of what is not end with [`Error::Expired`]. What the disk said, or that scans went
    /// on for too long.
    ///
    /// ```no_run
    /// # let store = ifmatch::File::open("notes.ifmatch")?;
    /// store.verify().wait()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self) -> Reply<'_, ()> {
        let (promise, answer) = promise();
        let handle = &self.shared.handle;
        self.serving.send(Request::Upkeep { work: Upkeep::Verify, promise }, answer).then(
            |sound| match sound? {
                true => Ok(()),
                false => Err(handle.refusal(Cause::Damaged("parts of it could not be read".to_owned()))),
            },
        )
    }

    /// Copies the last committed state to a new file at `path`, which a store can open. Commits and reads go on.
    ///
    /// It blocks this thread for as long as reading and writing the file takes. Space that is freed meanwhile is used
    /// again only afterwards. A [`Database`](crate::Database) takes the store: give it an `Arc`, and keep another.
    ///
    /// # Errors
    ///
    /// What either disk said, or that there is a file at `path` already. Nothing is left there.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use ifmatch::{Database, File};
    ///
    /// let store = Arc::new(File::open("notes.ifmatch")?);
    /// let office = Database::new(Arc::clone(&store));
    /// store.backup("notes-monday.ifmatch")?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.shared.handle.check_process()?;
        backup::backup(&self.shared.handle, path.as_ref())
    }

    /// Writes the last committed state as lines of JSON, and tells how many resources it had. Commits and reads go on.
    ///
    /// The first line tells the newest version, every other one is a resource with its version and its value: as
    /// `text`, or as `hex` where the bytes are not UTF-8. It blocks this thread.
    ///
    /// # Errors
    ///
    /// What the disk or `to` said. A part may have been written.
    ///
    /// ```
    /// use ifmatch::{Collection, File};
    ///
    /// # let path = std::env::temp_dir().join(format!("ifmatch-doc-export-{}", std::process::id()));
    /// let store = std::sync::Arc::new(File::open(&path)?);
    /// Collection::<String>::json(store.clone()).create("readme", "hello".to_string()).wait()?;
    ///
    /// let mut lines = Vec::new();
    /// assert_eq!(store.export(&mut lines)?, 1);
    /// assert!(String::from_utf8(lines)?.contains(r#""id":"readme""#));
    /// # drop(store);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn export(&self, mut to: impl std::io::Write) -> Result<u64, Error> {
        self.shared.handle.check_process()?;
        lines::export(&self.shared.handle, &mut to)
    }

    /// Makes a new file at `path` of lines that [`export`](Self::export) wrote, and tells how many resources it has.
    ///
    /// Every resource keeps its version, and versions go on from there. Cursors and write ids are those of the other
    /// file and mean nothing here.
    ///
    /// # Errors
    ///
    /// [`ImportError`]: a line that is none, or a file that can't be created, for one because it is there already.
    /// Nothing is left at `path` then.
    ///
    /// ```
    /// use ifmatch::{File, Store};
    ///
    /// # let path = std::env::temp_dir().join(format!("ifmatch-doc-import-{}", std::process::id()));
    /// let lines = r#"{"ifmatch":1,"newest":"7"}
    /// {"id":"readme","version":"5","text":"hello"}"#;
    ///
    /// File::import(&path, lines.as_bytes())?;
    ///
    /// let readme = File::open(&path)?.get("readme").wait()?.unwrap();
    /// assert_eq!(readme.version.to_string(), "5");
    /// # std::fs::remove_file(path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn import(path: impl AsRef<Path>, mut from: impl std::io::BufRead) -> Result<u64, ImportError> {
        lines::import(path.as_ref(), &mut from)
    }

    /// Serves what waits, settles what is recent, removes the journal, and closes the file. Dropping the store does the same and says
    /// nothing. What shares it by an `Arc`, as a [`Database`](crate::Database) and each collection of it, has to be dropped
    /// before.
    ///
    /// # Errors
    ///
    /// What could not be written. With [`Persistence::Immediate`] that loses no acknowledged commit: the journal stays, and the
    /// next opening reads it.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use ifmatch::{Database, File};
    ///
    /// let store = Arc::new(File::open("notes.ifmatch")?);
    /// let office = Database::new(Arc::clone(&store));
    /// // …
    /// drop(office);
    /// Arc::into_inner(store).expect("nobody else has it").close()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(mut self) -> Result<(), Error> {
        self.shared.handle.check_process()?;
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Error> {
        let Some(threads) = self.threads.take() else { return Ok(()) };
        if self.shared.handle.is_forked() {
            // The threads are not in this process, and what they share is the parent's.
            std::mem::forget(threads);
            return Ok(());
        }
        self.shared.queue.close();
        // A task that is woken by its answer may be the last to hold the store: the thread can't wait for itself.
        if self.serving.is_committing() {
            return Ok(());
        }
        let closed =
            threads.committing.join().unwrap_or_else(|_| Err(self.shared.handle.refusal(Cause::Closed)));
        self.shared.handle.settling.end();
        threads.settling.join().map_err(|_| self.shared.handle.refusal(Cause::Closed)).and(closed)
    }
}

impl Options {
    /// Opens the file at `path`, or creates it where there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which names the path.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File, OpenError> {
        let opener = open::open_or_create(path.as_ref(), self.cache_bytes, self.verify)?;
        File::start(Handle::open(opener)?, self)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.shared.handle.path()).finish_non_exhaustive()
    }
}

impl Store<[u8]> for File {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        Reply::ready(self.shared.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        if let Err(refusal) = self.shared.admit(&commit) {
            return Reply::ready(Err(refusal.into()));
        }
        let commit = OwnedCommit::from(commit);
        let checks = commit.entries.iter().all(|entry| matches!(entry.action, Action::Check));
        if checks && commit.write.is_none() && commit.behind.is_none() {
            return Reply::ready(self.shared.check(&commit));
        }
        let (promise, answer) = promise();
        self.serving.send(Request::Commit { commit, promise }, answer)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        match self.shared.resolved(write) {
            Ok(Some(resolution)) => Reply::ready(Ok(resolution)),
            Ok(None) => {
                let (promise, answer) = promise();
                self.serving.send(Request::Resolve { write, promise }, answer)
            }
            Err(error) => Reply::ready(Err(error)),
        }
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        Reply::ready(self.shared.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        Reply::ready(watch::watch(&self.shared, &from))
    }

    fn abilities(&self) -> Abilities {
        let durability = match self.shared.persistence {
            Persistence::Immediate => Durability::Strict,
            Persistence::Eventual => Durability::Relaxed {
                may_lose: "the commits of about the last second, in a crash of the program or the machine, \
                           or by an error of the disk",
            },
        };
        Abilities {
            entries: ENTRIES,
            watch: true,
            tombstones: true,
            durability,
            window: self.shared.history,
            may_lose_answers: true,
            detects_restore: true,
            queues: true,
        }
    }
}
