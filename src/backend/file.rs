//! [`File`], the durable store: one file that survives a crash.

mod answer;
mod backup;
mod batch;
mod committer;
mod disk;
#[cfg(test)]
mod faults;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzed;
mod handle;
#[cfg(feature = "json")]
mod lines;
mod log;
mod open;
mod options;
mod queue;
mod recent;
mod schema;
mod settle;
mod view;
mod watch;
mod window;

use std::fmt;
use std::future::Future;
use std::ops::Bound;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle, ThreadId};

use parking_lot::Mutex;

use crate::backend::limits::Limits;
use crate::backend::record::Record;
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Corrupt, Durability, Error, Page, Refusal, Reply,
    Resolution, Start, Store, Versioned, WriteId, is_blocking,
};
use answer::{Answer, promise};
use committer::Committer;
use handle::{Handle, What};
use queue::{Call, Full, Order, Queue};
use window::{Known, Unknown, Window};

#[cfg(feature = "json")]
pub use lines::ImportError;
pub use open::OpenError;
pub use options::{Options, Persistence};

/// The most entries one commit may have.
const ENTRIES: usize = 10_000;

/// The most bytes the values of one commit may have.
const COMMIT_BYTES: usize = 64 << 20;

/// The durable store: one file that survives a crash of the program and of the machine.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. It needs no
/// async runtime. A commit that was acknowledged is in the file and synced, unless the program chose
/// [`Persistence::Eventual`]; after a crash each commit is there as a whole or not at all.
///
/// # Cost
///
/// A commit waits for one sync of the disk. Commits that arrive while a sync is under way share the next one, each
/// with its own verdict, so many callers together cost little more than one alone. A read looks into the last
/// committed state on the caller's thread, and its reply is ready. So is a commit that only checks and has no write id.
/// Neither waits for a sync, unless the file is just being compacted or opened anew.
///
/// Commits are first kept together, however far apart their ids are, and also in memory. Once 256 KiB or 1,000 changes
/// are, or a sixteenth of [`Options::history`], the next commit settles them in its own transaction: it puts what they
/// came to in its place. So most values are written twice, and the commit that settles takes some milliseconds longer:
/// 2 ms where the ids lie close together, 13 ms where each of 750 lies in a page of its own.
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
/// - 65,536 calls, or 256 MiB of values, may wait for the disk. A call past that fails with
///   [`Outcome::NotApplied`](crate::store::Outcome::NotApplied).
/// - In memory it keeps the cache of [`Options::cache`], what waits, the write ids of the history, and what is recent: up
///   to some 1 MiB, and as much again for each read that has begun and not ended.
/// - The file does not shrink by itself: space that deletions leave is used again, and [`compact`](Self::compact) gives
///   it back.
/// - After a crash, the next opening reads the whole file to check it. An opening reads the history in any case.
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
    thread: Option<JoinHandle<Result<(), Error>>>,
}

/// What the callers and the committing thread share.
struct Shared {
    handle: Handle,
    queue: Queue,
    committer: Mutex<Committer>,
    /// The thread that commits.
    thread: OnceLock<ThreadId>,
    watchers: watch::Watchers,
    window: Mutex<Window>,
    identity: u64,
    history: usize,
    value_limit: usize,
    persistence: Persistence,
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

    fn start(handle: Handle, options: &Options) -> Result<Self, OpenError> {
        let path = handle.path().to_path_buf();
        let refuse = |error: Error| OpenError::Corrupt {
            path: path.clone(),
            found: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        };
        let identity = handle.read(|view| Ok(schema::facts(view.snapshot())?.identity)).map_err(refuse)?;
        let mut shared = Shared {
            handle,
            queue: Queue::default(),
            committer: Mutex::default(),
            thread: OnceLock::new(),
            watchers: watch::Watchers::default(),
            window: Mutex::default(),
            identity,
            history: options.history,
            value_limit: options.value_limit,
            persistence: options.persistence,
        };
        shared.committer = Mutex::new(Committer::new(&shared).map_err(refuse)?);
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let serve = move || {
            serving.thread.get_or_init(|| thread::current().id());
            Committer::run(&serving)
        };
        let thread = thread::Builder::new().name("ifmatch-file".to_owned()).spawn(serve);
        let thread =
            thread.map_err(|source| open::io_error("start the committing thread of", &path, source))?;
        Ok(Self { shared, thread: Some(thread) })
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
        self.shared.send(Call::Sync { promise }, answer)
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
        self.shared.send(Call::Compact { promise }, answer)
    }

    /// Copies the last committed state to a new file at `path`, which a store can open. Commits and reads go on.
    ///
    /// It blocks this thread for as long as reading and writing the file takes. Space that is freed meanwhile is used
    /// again only afterwards.
    ///
    /// # Errors
    ///
    /// What either disk said, or that there is a file at `path` already. Nothing is left there.
    ///
    /// ```no_run
    /// # let store = ifmatch::File::open("notes.ifmatch")?;
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

    /// Serves what waits, settles what is recent, syncs, and closes the file. Dropping the store does the same and says
    /// nothing.
    ///
    /// # Errors
    ///
    /// What could not be written. With [`Persistence::Immediate`] that loses no acknowledged commit.
    ///
    /// ```no_run
    /// # let store = ifmatch::File::open("notes.ifmatch")?;
    /// store.close()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(mut self) -> Result<(), Error> {
        self.shared.handle.check_process()?;
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        if self.shared.handle.is_forked() {
            // The thread is not in this process, and what it shares is the parent's.
            std::mem::forget(thread);
            return Ok(());
        }
        self.shared.queue.close();
        // A task that is woken by its answer may be the last to hold the store: the thread can't wait for itself.
        if self.shared.is_committing() {
            return Ok(());
        }
        thread.join().unwrap_or_else(|_| Err(self.shared.handle.refusal(What::Closed)))
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

impl Shared {
    fn is_eventual(&self) -> bool {
        self.persistence == Persistence::Eventual
    }

    /// Whether this is the thread that commits.
    fn is_committing(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    fn send<T: Send + 'static>(self: &Arc<Self>, call: Call, answer: Answer<T>) -> Reply<'static, T> {
        if let Err(forked) = self.handle.check_process() {
            return Reply::ready(Err(forked));
        }
        match self.queue.push(call) {
            Ok(()) => Reply::pending(Waiting { shared: Arc::clone(self), answer, rung: false }),
            Err((Full::Busy, _)) => Reply::ready(Err(self.handle.refusal(What::Busy))),
            Err((Full::Closed, _)) => Reply::ready(Err(self.handle.refusal(What::Closed))),
        }
    }

    /// Serves the calls that wait on this thread, if that is the thing to do.
    fn serve_here(&self) -> bool {
        if self.is_committing() {
            // A waker that waits for an answer on the thread that gives it has to see to it itself. It never sleeps:
            // who serves meanwhile may itself have to wait for a call that is left to this thread.
            if Committer::serve(self, self.committer.lock(), None) == 0 {
                thread::yield_now();
            }
            return true;
        }
        if !is_blocking() || self.queue.is_crowded() {
            return false;
        }
        let Some(committer) = self.committer.try_lock() else { return false };
        let due = committer.deadline();
        let served = Committer::serve(self, committer, None);
        if due.is_none() && self.is_eventual() {
            self.queue.nudge();
        }
        // Where there was none, the answer is just being given by somebody else.
        served > 0
    }

    fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        self.handle.read(|view| Ok(view.find(id)?.record().map(|stored| value(id, stored)).transpose()))?
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page<[u8]>, Error> {
        if limit == 0 {
            return Err(Refusal::EmptyPage.into());
        }
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.handle.read(|view| {
            let mut items = Vec::with_capacity(limit.min(256));
            for next in view.range(from, prefix, limit.saturating_add(1))? {
                let (id, stored) = next?;
                if !id.starts_with(prefix) {
                    break;
                }
                if items.len() == limit {
                    return Ok(Ok(Page { items, more: true }));
                }
                match value(&id, stored.record().unwrap_or_default()) {
                    Ok(found) => items.push((id, found)),
                    Err(corrupt) => return Ok(Err(corrupt)),
                }
            }
            Ok(Ok(Page { items, more: false }))
        })?
    }

    /// A commit that only checks, judged against the last committed state.
    fn check(&self, order: &Order) -> Result<Committed, Error> {
        self.handle.read(|view| {
            let judged = batch::judge(&order.entries, |id| view.find(id), view)?;
            let pairs = |found: Vec<_>| {
                order.entries.iter().zip(found).map(|(entry, found)| batch::unchanged(entry, found)).collect()
            };
            Ok(judged.map(pairs))
        })?
    }

    /// What is known of a write id already; `None` where the committing thread has to be asked.
    fn resolved(&self, write: WriteId) -> Result<Option<Resolution>, Error> {
        self.handle.check_process()?;
        let known = self.window.lock().look(write).cloned();
        let position = match known {
            Ok(Known::Idle(committed)) => return Ok(Some(Resolution::Applied(committed))),
            Ok(Known::Closed) => return Ok(Some(Resolution::NotApplied)),
            Ok(Known::Logged(position)) => position,
            Err(Unknown::Forgotten | Unknown::ForgottenClosed) => return Ok(Some(Resolution::Unknown)),
            Err(Unknown::Unseen) => return Ok(None),
        };
        // It may have left the log since.
        self.handle.read(|view| {
            let logged = view.at(position)?;
            Ok(logged.map(|logged| Resolution::Applied(logged.committed())))
        })
    }

    /// Refuses what the file can't hold, before it waits for anything.
    fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        Limits { entries: ENTRIES, value: self.value_limit, commit: COMMIT_BYTES }.admit(commit)
    }
}

/// A call that waits for its answer.
///
/// A caller that blocks its thread and is alone serves itself, which saves two changes of threads. A task must not hold
/// up its executor for as long as a sync takes, so it leaves its call to the store's own thread.
struct Waiting<T> {
    shared: Arc<Shared>,
    answer: Answer<T>,
    /// Whether the store's own thread was called.
    rung: bool,
}

impl<T> Waiting<T> {
    fn ring(&mut self) {
        if !std::mem::replace(&mut self.rung, true) {
            self.shared.queue.ring();
        }
    }
}

impl<T> Future for Waiting<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.shared.handle.check_process()?;
        while !self.answer.is_here() && self.shared.serve_here() {}
        let polled = Pin::new(&mut self.answer).poll(context);
        if polled.is_pending() {
            self.ring();
        }
        polled
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        // Nobody waits for it any more; it is applied all the same.
        if !self.shared.handle.is_forked() && !self.answer.is_here() {
            self.ring();
        }
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
        let order = Order::from(commit);
        let checks = order.entries.iter().all(|entry| matches!(entry.action, Action::Check));
        if checks && order.write.is_none() {
            return Reply::ready(self.shared.check(&order));
        }
        let (promise, answer) = promise();
        self.shared.send(Call::Commit { order, promise }, answer)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        match self.shared.resolved(write) {
            Ok(Some(resolution)) => Reply::ready(Ok(resolution)),
            Ok(None) => {
                let (promise, answer) = promise();
                self.shared.send(Call::Resolve { write, promise }, answer)
            }
            Err(error) => Reply::ready(Err(error)),
        }
    }

    fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<[u8]>> {
        Reply::ready(self.shared.scan(prefix, after, limit))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        Reply::ready(watch::watch(&self.shared, &from))
    }

    fn abilities(&self) -> Abilities {
        let durability = match self.shared.persistence {
            Persistence::Immediate => Durability::Strict,
            Persistence::Eventual => Durability::Relaxed {
                may_lose: "the commits of about the last second, in a crash of the program or the machine",
            },
        };
        Abilities {
            entries: ENTRIES,
            watch: true,
            tombstones: true,
            durability,
            may_lose_answers: true,
            detects_restore: true,
        }
    }
}

/// The value stored under an id.
fn value(id: &str, stored: &[u8]) -> Result<Versioned<[u8]>, Error> {
    match Record::decode(id, stored) {
        Ok(record) => Ok(Versioned::new(record.version, record.value)),
        Err(damage) => Err(Corrupt::new(id, Record::claimed_version(stored), damage).into()),
    }
}
