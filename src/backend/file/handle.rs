//! [`Handle`], the open file: views for readers, and opening it anew after an I/O error.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::Database;

use super::caught::{caught, discard};
use super::journal::Journal;
use super::open::{Opened, Opener};
use super::open_error::OpenError;
use super::place::Displaced;
use super::recent::{self, Journaled, View};
use super::settling::Settling;
use super::trouble::{Cause, Trouble};
use super::watchers::Watchers;
use crate::store::{Error, Outcome};

/// The open file.
///
/// The engine wants its handle opened anew after an I/O error. That happens here, at the next call that needs it, so
/// a store serves again as soon as the disk does.
pub(super) struct Handle {
    opener: Opener,
    process: u32,
    opened: RwLock<Opening>,
    /// Held by who writes and by who opens anew: the engine can't do the second during the first.
    pub(super) writing: Mutex<()>,
    pub(super) watchers: Watchers,
    pub(super) settling: Settling,
    /// The position of the newest commit that readers were shown.
    newest: AtomicU64,
    /// How many times commits that readers were shown were not there any more when the file was opened anew, or repaired.
    losses: AtomicU64,
    /// The random number that names the store in this file.
    pub(super) identity: u64,
}

struct Opening {
    engine: Engine,
    /// What the last opening had, where it is over and the next one not begun.
    orphans: Option<Orphans>,
    /// How many times the file was opened.
    generation: u64,
}

enum Engine {
    Open(Box<Open>),
    /// An I/O error or a panic went through it.
    Broken,
    Closed,
}

/// What there is as long as the file is open.
pub(super) struct Open {
    pub(super) database: Database,
    pub(super) journal: Mutex<Journal>,
    /// What readers see: what the last turn left.
    view: RwLock<Arc<View>>,
    /// Which opening this is.
    pub(super) generation: u64,
}

/// What there was in an opening that is over. Where its journal is gone, nobody else has the commits that were not settled.
struct Orphans {
    view: Arc<View>,
    noted: Journaled,
}

impl Handle {
    pub(super) fn open(opener: Opener) -> Result<Self, OpenError> {
        let engine = Engine::open(&opener, 0, None)?;
        let newest = AtomicU64::new(engine.last().unwrap_or(0));
        let settling = Settling::default();
        settling.look_if(engine.has_recent());
        let identity = engine.identity().map_err(|what| opener.refused(what))?;
        Ok(Self {
            identity,
            opener,
            process: std::process::id(),
            opened: RwLock::new(Opening { engine, orphans: None, generation: 0 }),
            writing: Mutex::new(()),
            watchers: Watchers::default(),
            settling,
            newest,
            losses: AtomicU64::new(0),
        })
    }

    /// Whether this process is a child of the one that opened the file.
    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    pub(super) fn trouble(&self, what: Cause) -> Trouble {
        Trouble { path: self.opener.path.clone(), cause: what }
    }

    /// The error of a call that could not be served, and changed nothing.
    pub(super) fn refusal(&self, what: Cause) -> Error {
        Arc::new(self.trouble(what)).failure(Outcome::NotApplied).into()
    }

    /// The error where commits that no sync has confirmed may be lost.
    pub(super) fn doubt(&self, what: Cause) -> Error {
        Arc::new(self.trouble(what)).failure(Outcome::Unknown).into()
    }

    /// Refuses a call in a child of the process that opened the file: no lock may be touched there, since a thread
    /// that is not in the child may hold it.
    pub(super) fn check_process(&self) -> Result<(), Error> {
        match self.is_forked() {
            true => Err(self.refusal(Cause::Forked { opened_by: self.process })),
            false => Ok(()),
        }
    }

    /// How many times commits were lost that readers had been shown: those that did not wait for a sync, by an error of
    /// the disk.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// Answers from one view of what is committed. Opens the file anew once where it must, and tells the watchers where
    /// that shows that commits are lost: call it under no lock.
    pub(super) fn read<T>(&self, ask: impl Fn(&View) -> Result<T, redb::Error>) -> Result<T, Error> {
        let losses = self.losses();
        let answer = self.read_quietly(ask);
        if self.losses() != losses {
            self.watchers.wake();
        }
        answer
    }

    /// The same for who wakes the watchers himself.
    pub(super) fn read_quietly<T>(&self, ask: impl Fn(&View) -> Result<T, redb::Error>) -> Result<T, Error> {
        self.check_process()?;
        self.try_read(&ask)
            .or_else(|(what, generation)| match what {
                Cause::Damaged(_) | Cause::Closed => Err(what),
                _ => {
                    let _writing = self.writing.lock();
                    self.mend(generation)?;
                    self.try_read(&ask).map_err(|(what, _)| what)
                }
            })
            .map_err(|what| self.refusal(what))
    }

    fn try_read<T>(&self, ask: impl Fn(&View) -> Result<T, redb::Error>) -> Result<T, (Cause, u64)> {
        // A view is on its own: who wants to close the file or to open it anew need not wait for its end.
        let (view, generation) = self.opened(|open| Ok(open.view()));
        view.and_then(|view| caught(|| ask(&view))).map_err(|what| (what, generation))
    }

    /// Runs with the open file, and tells which opening failed.
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(&Open) -> Result<T, redb::Error>,
    ) -> Result<T, (Cause, u64)> {
        let (ran, generation) = self.opened(|open| caught(|| run(open)));
        ran.map_err(|what| (what, generation))
    }

    fn opened<T>(&self, run: impl FnOnce(&Open) -> Result<T, Cause>) -> (Result<T, Cause>, u64) {
        let opened = self.opened.read();
        let ran = match &opened.engine {
            Engine::Open(open) => run(open),
            Engine::Broken => Err(Cause::Engine(redb::Error::PreviousIo)),
            Engine::Closed => Err(Cause::Closed),
        };
        (ran, opened.generation)
    }

    /// Shows readers what a turn left, for who holds [`writing`](Self::writing).
    pub(super) fn publish(&self, open: &Open, next: View) {
        self.newest.store(next.last, Ordering::SeqCst);
        let before = std::mem::replace(&mut *open.view.write(), Arc::new(next));
        discard(before);
    }

    /// Runs with the database to itself, for who writes and so holds [`writing`](Self::writing), and once all is settled:
    /// readers wait.
    pub(super) fn alone<T>(
        &self,
        run: impl FnOnce(&mut Database) -> Result<T, redb::Error>,
    ) -> Result<T, Cause> {
        let mut opened = self.opened.write();
        let Open { mut database, journal, view, generation } =
            match std::mem::replace(&mut opened.engine, Engine::Broken) {
                Engine::Open(open) => *open,
                Engine::Broken => return Err(Cause::Engine(redb::Error::PreviousIo)),
                Engine::Closed => {
                    opened.engine = Engine::Closed;
                    return Err(Cause::Closed);
                }
            };
        discard(view);
        let ran = caught(|| run(&mut database));
        match caught(|| View::load(&database, &[])) {
            Ok(view) => {
                self.take_note(view.last);
                let view = RwLock::new(Arc::new(view));
                opened.engine = Engine::Open(Box::new(Open { database, journal, view, generation }));
                ran
            }
            Err(what) => {
                discard(database);
                ran.and(Err(what))
            }
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.opened.read().generation
    }

    /// Opens the file anew, unless that was done since `generation`. For who holds [`writing`](Self::writing).
    pub(super) fn mend(&self, generation: u64) -> Result<(), Cause> {
        let mut opened = self.opened.write();
        match opened.engine {
            Engine::Closed => return Err(Cause::Closed),
            Engine::Open(_) if opened.generation != generation => return Ok(()),
            Engine::Open(_) | Engine::Broken => {}
        }
        let broken = std::mem::replace(&mut opened.engine, Engine::Broken);
        if let Engine::Open(open) = &broken {
            opened.orphans = Some(open.orphans());
        }
        discard(broken);
        // One that is there has them all.
        let orphans = opened.orphans.as_ref().filter(|_| self.opener.has_lost_journal());
        let engine = Engine::open(&self.opener, opened.generation + 1, orphans).map_err(Cause::Reopening)?;
        // The same file may hold another store by now: what is written there is nobody's.
        if engine.identity()? != self.identity {
            discard(engine);
            return Err(Cause::Engine(redb::Error::Io(io::Error::other(Displaced))));
        }
        opened.engine = engine;
        opened.orphans = None;
        opened.generation += 1;
        self.take_note(opened.engine.last().unwrap_or(0));
        self.settling.look_if(opened.engine.has_recent());
        Ok(())
    }

    /// Takes note of the newest commit that is there, and so of a loss.
    fn take_note(&self, last: u64) {
        if last < self.newest.swap(last, Ordering::SeqCst) {
            self.losses.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Whether there are commits that are in memory and, as long as the file is not opened anew, perhaps nowhere else.
    pub(super) fn has_orphans(&self) -> bool {
        self.opened.read().orphans.as_ref().is_some_and(|orphans| !orphans.view.is_settled())
    }

    /// Closes the file for good.
    pub(super) fn close(&self) -> Result<(), Cause> {
        let _writing = self.writing.lock();
        let closing = std::mem::replace(&mut self.opened.write().engine, Engine::Closed);
        match closing {
            Engine::Open(open) => {
                let Open { database, view, .. } = *open;
                discard(view);
                caught(|| Ok(database.close()?))
            }
            Engine::Broken => Err(Cause::Engine(redb::Error::PreviousIo)),
            Engine::Closed => Ok(()),
        }
    }

    /// As an error of the disk does.
    #[cfg(test)]
    pub(super) fn break_it(&self) {
        let broken = std::mem::replace(&mut self.opened.write().engine, Engine::Broken);
        discard(broken);
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.opener.path
    }
}

impl Engine {
    /// The position of the newest commit.
    fn last(&self) -> Option<u64> {
        match self {
            Self::Open(open) => Some(open.view.read().last),
            Self::Broken | Self::Closed => None,
        }
    }

    /// Whether there are commits that are not settled.
    fn has_recent(&self) -> bool {
        matches!(self, Self::Open(open) if !open.view.read().is_settled())
    }

    /// The random number that names the store.
    fn identity(&self) -> Result<u64, Cause> {
        match self {
            Self::Open(open) => caught(|| open.view.read().identity()),
            Self::Broken | Self::Closed => Err(Cause::Closed),
        }
    }

    fn open(opener: &Opener, generation: u64, orphans: Option<&Orphans>) -> Result<Self, OpenError> {
        let opened = opener.open_after(|database| match orphans {
            Some(Orphans { view, noted }) => recent::rescue(database, view, *noted),
            None => Ok(()),
        });
        let Opened { database, journal, frames } = opened?;
        match caught(|| View::load(&database, &frames)) {
            Ok(view) => {
                let (journal, view) = (Mutex::new(journal), RwLock::new(Arc::new(view)));
                Ok(Self::Open(Box::new(Open { database, journal, view, generation })))
            }
            Err(what) => {
                discard(database);
                Err(opener.refused(what))
            }
        }
    }
}

impl Open {
    /// What readers see, also where it is settled: the file has to be told that the journal is gone.
    fn orphans(&self) -> Orphans {
        Orphans { view: self.view(), noted: self.journal.lock().noted() }
    }

    /// What readers see.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        discard(std::mem::replace(&mut self.opened.get_mut().engine, Engine::Closed));
    }
}
