//! [`Handle`], the open file: views for readers, and opening it anew after an I/O error.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use redb::Database;

use super::open::{OpenError, Opener, panic_text};
use super::view::View;
use crate::store::{Error, Failure, Outcome};

/// The open file.
///
/// The engine wants its handle opened anew after an I/O error. That happens here, at the next call that needs it, so
/// a store serves again as soon as the disk does.
pub(super) struct Handle {
    opener: Opener,
    process: u32,
    database: RwLock<Opened>,
    /// Held by who writes and by who opens anew: the engine can't do the second during the first.
    pub(super) writing: Mutex<()>,
}

struct Opened {
    state: State,
    /// How many times the file was opened.
    generation: u64,
}

enum State {
    Open {
        database: Database,
        /// What readers see: what the last transaction left.
        view: RwLock<Arc<View>>,
    },
    /// An I/O error or a panic went through it.
    Broken,
    Closed,
}

/// What went wrong with a file. The text names it.
#[derive(Debug)]
pub(super) struct Trouble {
    path: PathBuf,
    what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Engine(redb::Error),
    Panicked(String),
    Damaged(String),
    Reopening(OpenError),
    Closed,
    Forked { opened_by: u32 },
    Busy,
    Lost,
}

impl Handle {
    pub(super) fn open(opener: Opener) -> Result<Self, OpenError> {
        let state = State::open(&opener)?;
        let database = RwLock::new(Opened { state, generation: 0 });
        Ok(Self { opener, process: std::process::id(), database, writing: Mutex::new(()) })
    }

    /// Whether this process is a child of the one that opened the file.
    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    pub(super) fn trouble(&self, what: What) -> Trouble {
        Trouble { path: self.opener.path.clone(), what }
    }

    /// The error of a call that could not be served, and changed nothing.
    pub(super) fn refusal(&self, what: What) -> Error {
        Failure::new(Outcome::NotApplied, self.trouble(what)).into()
    }

    /// The error where commits that no sync has confirmed may be lost.
    pub(super) fn doubt(&self, what: What) -> Error {
        Failure::new(Outcome::Unknown, self.trouble(what)).into()
    }

    /// Refuses a call in a child of the process that opened the file: no lock may be touched there, since a thread
    /// that is not in the child may hold it.
    pub(super) fn check_process(&self) -> Result<(), Error> {
        match self.is_forked() {
            true => Err(self.refusal(What::Forked { opened_by: self.process })),
            false => Ok(()),
        }
    }

    /// Answers from one view of what is committed. Opens the file anew once where it must.
    pub(super) fn read<T>(&self, ask: impl Fn(&View) -> Result<T, redb::Error>) -> Result<T, Error> {
        self.check_process()?;
        self.try_read(&ask)
            .or_else(|(what, generation)| match what {
                What::Damaged(_) | What::Closed => Err(what),
                _ => {
                    let _writing = self.writing.lock();
                    self.mend(generation)?;
                    self.try_read(&ask).map_err(|(what, _)| what)
                }
            })
            .map_err(|what| self.refusal(what))
    }

    fn try_read<T>(&self, ask: impl Fn(&View) -> Result<T, redb::Error>) -> Result<T, (What, u64)> {
        // A view is on its own: who wants to close the file or to open it anew need not wait for its end.
        let (view, generation) = self.opened(|_, view| Ok(Arc::clone(&view.read())));
        view.and_then(|view| caught(|| ask(&view))).map_err(|what| (what, generation))
    }

    /// Runs with the open database and what readers see of it, for who writes and so holds [`writing`](Self::writing).
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(&Database, &Arc<View>) -> Result<T, redb::Error>,
    ) -> Result<T, (What, u64)> {
        let (ran, generation) = self.opened(|database, view| {
            let view = Arc::clone(&view.read());
            caught(|| run(database, &view))
        });
        ran.map_err(|what| (what, generation))
    }

    fn opened<T>(
        &self,
        run: impl FnOnce(&Database, &RwLock<Arc<View>>) -> Result<T, What>,
    ) -> (Result<T, What>, u64) {
        let opened = self.database.read();
        let ran = match &opened.state {
            State::Open { database, view } => run(database, view),
            State::Broken => Err(What::Engine(redb::Error::PreviousIo)),
            State::Closed => Err(What::Closed),
        };
        (ran, opened.generation)
    }

    /// Shows readers what a transaction left, for who holds [`writing`](Self::writing).
    pub(super) fn publish(&self, next: View) {
        let opened = self.database.read();
        if let State::Open { view, .. } = &opened.state {
            let before = std::mem::replace(&mut *view.write(), Arc::new(next));
            discard(before);
        }
    }

    /// Runs with the database to itself, for who writes and so holds [`writing`](Self::writing): readers wait.
    pub(super) fn alone<T>(
        &self,
        run: impl FnOnce(&mut Database) -> Result<T, redb::Error>,
    ) -> Result<T, What> {
        let mut opened = self.database.write();
        let (mut database, view) = match std::mem::replace(&mut opened.state, State::Broken) {
            State::Open { database, view } => (database, view),
            State::Broken => return Err(What::Engine(redb::Error::PreviousIo)),
            State::Closed => {
                opened.state = State::Closed;
                return Err(What::Closed);
            }
        };
        discard(view);
        let ran = caught(|| run(&mut database));
        match caught(|| View::load(&database)) {
            Ok(view) => {
                opened.state = State::Open { database, view: RwLock::new(Arc::new(view)) };
                ran
            }
            Err(what) => {
                discard(database);
                ran.and(Err(what))
            }
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.database.read().generation
    }

    /// Opens the file anew, unless that was done since `generation`. For who holds [`writing`](Self::writing).
    pub(super) fn mend(&self, generation: u64) -> Result<(), What> {
        let mut opened = self.database.write();
        match opened.state {
            State::Closed => return Err(What::Closed),
            State::Open { .. } if opened.generation != generation => return Ok(()),
            State::Open { .. } | State::Broken => {}
        }
        let broken = std::mem::replace(&mut opened.state, State::Broken);
        discard(broken);
        opened.state = State::open(&self.opener).map_err(What::Reopening)?;
        opened.generation += 1;
        Ok(())
    }

    /// Closes the file for good.
    pub(super) fn close(&self) -> Result<(), What> {
        let _writing = self.writing.lock();
        let closing = std::mem::replace(&mut self.database.write().state, State::Closed);
        match closing {
            State::Open { database, view } => {
                discard(view);
                caught(|| Ok(database.close()?))
            }
            State::Broken => Err(What::Engine(redb::Error::PreviousIo)),
            State::Closed => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.opener.path
    }
}

impl State {
    fn open(opener: &Opener) -> Result<Self, OpenError> {
        let database = opener.open()?;
        let loaded = caught(|| View::load(&database));
        match loaded {
            Ok(view) => Ok(Self::Open { database, view: RwLock::new(Arc::new(view)) }),
            Err(what) => {
                discard(database);
                Err(opener.refused(what))
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        discard(std::mem::replace(&mut self.database.get_mut().state, State::Closed));
    }
}

/// Drops a database that may be damaged: the engine writes where it is dropped, and can panic there too.
pub(super) fn discard<T>(damaged: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(damaged)));
}

/// Runs engine code, which panics on some damaged files.
fn caught<T>(run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, What> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(redb::Error::Corrupted(found))) => Err(What::Damaged(found)),
        Ok(Err(error)) => Err(What::Engine(error)),
        Err(panic) => Err(What::Panicked(panic_text(&*panic).to_owned())),
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.what {
            What::Engine(redb::Error::Io(_)) => write!(f, "`{path}` cannot be read or written"),
            What::Engine(error) => write!(f, "`{path}`: {error}"),
            What::Panicked(words) => write!(f, "`{path}` is damaged: the engine panicked: {words}"),
            What::Damaged(found) => write!(f, "`{path}` is damaged: {found}"),
            What::Reopening(_) => write!(f, "`{path}` could not be opened again after an error"),
            What::Closed => write!(f, "`{path}` is closed"),
            What::Forked { opened_by } => {
                write!(f, "`{path}` was opened by process {opened_by}, from which this one was forked")
            }
            What::Lost => write!(f, "`{path}` lost commits that were not synced when it failed"),
            What::Busy => write!(f, "`{path}` has as many commits waiting as it takes"),
        }
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.what {
            What::Engine(redb::Error::Io(source)) => Some(source as &io::Error),
            What::Reopening(source) => Some(source),
            _ => None,
        }
    }
}
