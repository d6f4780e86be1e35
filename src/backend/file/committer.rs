//! [`Committer`], who takes the calls that wait, commits them as one, and answers each: the store's own thread, or a
//! caller that is alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::batch::{Batch, Batched, Fresh, Judged, LAST};
use super::queue::{Request, Turn, Upkeep};
use super::recent::{self, Extent};
use super::shared::Shared;
use super::trouble::{Cause, Trouble};
use crate::base::{random, wake};
use crate::store::{Committed, Error, Failure, Outcome, Resolution, Window, WriteId};

/// How long a commit may stay without a sync where commits need not wait for it.
const EVENTUALLY: Duration = Duration::from_secs(1);

/// Which part of the time the last calls took is spent at most on waiting for those who made them.
const GATHERED: u32 = 4;

/// How long that is at most: a turn may have taken long for another reason than the disk's pace.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many turns begin at once after one that waited in vain: for callers who do not come back as soon as they are
/// answered, waiting costs time and saves no sync.
const HURRIED: u32 = 16;

/// How far the counter leaps at most when a file is opened.
const LEAP: u64 = 1 << 40;

/// What is known to who serves.
#[derive(Debug, Default)]
pub(super) struct Committer {
    extent: Extent,
    /// Which opening of the file `extent` belongs to.
    generation: u64,
    /// When what is not synced has to be.
    deadline: Option<Instant>,
    /// Whether commits that no sync had confirmed were lost when the file was opened anew. Who syncs next is told.
    lost: bool,
}

/// A call's verdict.
enum Response {
    Commit(Judged<Committed>),
    Resolve(Judged<Resolution>),
    Sync(Judged<()>),
    Upkeep(Judged<bool>),
}

/// The answers of one turn, to be given once no lock is held.
#[derive(Default)]
struct Responses {
    /// One for each call, in order.
    given: Vec<Response>,
    /// Whether a watcher has something to read.
    changed: bool,
}

impl Committer {
    /// Reads where the log stands.
    pub(super) fn new(shared: &Shared) -> Result<Self, Error> {
        let generation = shared.handle.generation();
        Ok(Self { extent: load(shared)?, generation, deadline: None, lost: false })
    }

    /// What the store's own thread does: it serves until the store is closed.
    pub(super) fn run(shared: &Shared, committer: &Mutex<Self>) -> Result<(), Error> {
        let mut hurried = 0;
        let mut until = None;
        loop {
            if let Some(until) = until {
                shared.queue.gather(0, until);
            }
            let deadline = committer.lock().deadline;
            if shared.queue.wait(deadline) == Turn::Close {
                return Self::close(shared, committer);
            }
            let company = shared.queue.company();
            let began = Instant::now();
            let served = Self::serve(shared, committer.lock(), until);
            if until.is_some() && served * 2 <= company {
                hurried = HURRIED;
            }
            let patient = hurried == 0 && shared.queue.is_crowded();
            until = patient.then(|| Instant::now() + PATIENCE.min(began.elapsed() / GATHERED));
            hurried = hurried.saturating_sub(1);
        }
    }

    /// Serves the calls that wait, as many as share one transaction, and those of callers who come back until a moment;
    /// how many those were.
    ///
    /// The tasks are woken at the end, when every call has its answer and no lock is held: on this very thread a waker
    /// may call the store and wait for it, and then serves the next calls from within.
    pub(super) fn serve(
        shared: &Shared,
        mut committer: MutexGuard<'_, Self>,
        until: Option<Instant>,
    ) -> usize {
        // Under the lock, so that who came first is served first.
        let mut calls = Vec::new();
        shared.queue.take(&mut calls);
        let losses = shared.handle.losses();
        let answers = catch_unwind(AssertUnwindSafe(|| committer.answer(shared, &mut calls, until)));
        let answers = answers.unwrap_or_else(|_| {
            // Those it was serving are told that nobody knows. What was known is read anew from the file.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let _writing = shared.handle.writing.lock();
                shared.handle.mend(shared.handle.generation())
            }));
            committer.generation = u64::MAX;
            Responses { given: Vec::new(), changed: true }
        });
        drop(committer);
        let served = calls.len();
        match calls.first() {
            None => {}
            // Whoever asked for it does not come back with a commit.
            Some(Request::Upkeep { .. }) => shared.queue.served(0),
            Some(_) => shared.queue.served(served),
        }
        // Before the answers, so that nobody who has one is ahead of the feed.
        if answers.changed || shared.handle.losses() != losses {
            shared.handle.watchers.wake();
        }
        // Who lost a race starts again first: woken after the winner, it would lose to the winner's next write, and
        // to every one after that.
        let (mut losers, mut winners) = (Vec::new(), Vec::new());
        for (call, answer) in calls.into_iter().zip(answers.given) {
            let lost = matches!(answer, Response::Commit(Err(_)));
            let order = if lost { &mut losers } else { &mut winners };
            order.extend(give(call, answer));
        }
        losers.into_iter().chain(winners).for_each(wake);
        served
    }

    /// When what is not synced has to be.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    #[cfg(test)]
    pub(super) fn extent(&self) -> &Extent {
        &self.extent
    }

    fn answer(&mut self, shared: &Shared, calls: &mut Vec<Request>, until: Option<Instant>) -> Responses {
        match calls.first() {
            None => {
                self.sync_if_due(shared);
                Responses::default()
            }
            Some(Request::Upkeep { work, .. }) => {
                let done = self.keep_up(shared, *work);
                Responses { given: vec![Response::Upkeep(done)], changed: false }
            }
            Some(_) => self.commit_all(shared, calls, until),
        }
    }

    /// Settles and syncs what is not, and closes the file.
    fn close(shared: &Shared, committer: &Mutex<Self>) -> Result<(), Error> {
        let mut committer = committer.lock();
        let synced = match shared.handle.read_quietly(|view| Ok(view.is_settled())) {
            Ok(true) if committer.deadline.is_none() => Ok(()),
            Ok(true) => committer.sync(shared),
            Ok(false) => committer.settle(shared).map_err(|what| shared.handle.doubt(what)),
            Err(error) if committer.deadline.is_some() => Err(Failure::new(Outcome::Unknown, error).into()),
            Err(error) => Err(error),
        };
        let synced = match std::mem::take(&mut committer.lost) {
            true => synced.and(Err(shared.handle.doubt(Cause::Lost))),
            false => synced,
        };
        drop(committer);
        let closed = shared.handle.close().map_err(|what| shared.handle.refusal(what));
        shared.handle.watchers.wake();
        synced.and(closed)
    }

    /// Commits the calls as one, and with them those that come until a moment.
    fn commit_all(&mut self, shared: &Shared, calls: &mut Vec<Request>, until: Option<Instant>) -> Responses {
        let _writing = shared.handle.writing.lock();
        let served = self.attempt(shared, calls, until).or_else(|failed| {
            // Nothing was sent to the disk: a handle that broke earlier is opened anew, and they go again.
            let again = failed.before && !matches!(failed.what, Cause::Damaged(_) | Cause::Closed);
            if !again {
                return Err(failed);
            }
            if let Err(what) = shared.handle.mend(failed.generation) {
                // Whoever watches sees nothing any more, and is to find that out.
                shared.handle.watchers.wake();
                // That says more than that the handle is broken.
                return Err(Failed { what, ..*failed }.into());
            }
            self.attempt(shared, calls, None)
        });
        served.unwrap_or_else(|failed| {
            // It may be in the file all the same, for watchers to see.
            let changed = !failed.before;
            Responses { given: self.fail(shared, calls, *failed), changed }
        })
    }

    fn sync_if_due(&mut self, shared: &Shared) {
        let due = self.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if due && self.sync(shared).is_err() {
            // Nobody waits for this sync. The next commit meets the same disk and says so, and who watches looks now.
            shared.handle.watchers.wake();
            self.deadline = Some(Instant::now() + EVENTUALLY);
        }
    }

    /// One transaction for all the calls.
    fn attempt(
        &mut self,
        shared: &Shared,
        calls: &mut Vec<Request>,
        until: Option<Instant>,
    ) -> Result<Responses, Box<Failed>> {
        self.refresh(shared)?;
        let mut verdicts = None;
        let mut syncs = true;
        let mut committing = false;
        let ran = shared.handle.with(|database, view| {
            let mut batch = Batch::new(view, self.extent.last, &shared.window);
            let mut answers = Vec::with_capacity(calls.len());
            // Who comes first is judged while the others are on their way. To wait for them here keeps out only who would
            // write, or open the file anew: readers need none of the locks that are held.
            loop {
                for call in &calls[answers.len()..] {
                    answers.push(match call {
                        Request::Commit { commit, .. } => Response::Commit(batch.commit(commit)?),
                        Request::Resolve { write, .. } => Response::Resolve(batch.resolve(*write)?),
                        Request::Sync { .. } | Request::Upkeep { .. } => Response::Sync(Ok(())),
                    });
                }
                let more = until.is_some_and(|until| shared.queue.gather(calls.len(), until));
                if !more || shared.queue.take(calls) == 0 {
                    break;
                }
            }
            // Who lost begins again from what it is told. Told what stood at its place in the batch, it would lose to those
            // behind it, who know better, and in the next batch again.
            for (call, answer) in calls.iter().zip(&mut answers) {
                if let (Request::Commit { commit, .. }, Response::Commit(Err(Error::Conflict(_)))) =
                    (call, &*answer)
                    && let Some(conflict) = batch.conflict(commit)?
                {
                    *answer = Response::Commit(Err(conflict.into()));
                }
            }
            verdicts = Some(answers);
            let sync_asked = calls.iter().any(|call| matches!(call, Request::Sync { .. }));
            syncs = sync_asked || !shared.is_eventual();
            let Batched { added, fresh, changed } = batch.finish();
            if added.is_empty() && !(sync_asked && self.deadline.is_some()) {
                return Ok((fresh, changed, None));
            }
            let prepared = recent::prepare(database, view, &self.extent, added, shared.history, syncs)?;
            committing = true;
            Ok((fresh, changed, Some(prepared.commit()?)))
        });
        match ran {
            Ok((fresh, changed, committed)) => {
                self.note(shared, fresh, committed);
                if syncs && committing {
                    self.deadline = None;
                } else if committing {
                    self.deadline.get_or_insert_with(|| Instant::now() + EVENTUALLY);
                }
                let mut given = verdicts.unwrap_or_default();
                let mut syncs =
                    given.iter_mut().filter(|answer| matches!(answer, Response::Sync(_))).peekable();
                // Who syncs together is told together.
                if syncs.peek().is_some() && std::mem::take(&mut self.lost) {
                    syncs.for_each(|answer| *answer = Response::Sync(Err(shared.handle.doubt(Cause::Lost))));
                }
                Ok(Responses { given, changed })
            }
            Err((what, generation)) => Err(Failed { what, before: !committing, generation, verdicts }.into()),
        }
    }

    /// Puts all that is recent in its place, and syncs.
    fn settle(&mut self, shared: &Shared) -> Result<(), Cause> {
        let _writing = shared.handle.writing.lock();
        self.refresh(shared).map_err(|failed| failed.what)?;
        let settled = shared
            .handle
            .with(|database, view| recent::settle(database, view, &self.extent, shared.history)?.commit());
        match settled {
            Ok(committed) => {
                self.note(shared, Fresh::default(), Some(committed));
                self.deadline = None;
                Ok(())
            }
            Err((what, generation)) => {
                let _ = shared.handle.mend(generation);
                Err(what)
            }
        }
    }

    /// Makes what was committed known, to those who read and to those who resolve.
    fn note(&mut self, shared: &Shared, fresh: Fresh, committed: Option<recent::Committed>) {
        let mut left = 0;
        if let Some(committed) = committed {
            self.extent = committed.extent;
            left = committed.left;
            shared.handle.publish(committed.view);
        }
        let mut window = shared.window.lock();
        for (write, position, fingerprint) in fresh.applied {
            window.remember(write, fingerprint, position);
        }
        for write in fresh.closed {
            window.close(write);
        }
        // They are the oldest: the log loses its commits in the order in which they came.
        for _ in 0..left {
            window.forget_oldest();
        }
    }

    /// The answers after a transaction that failed: what it was about to write is unknown, unless the file, opened
    /// anew, shows that it does not have it. Whatever was judged on top of it was not applied. What had been applied
    /// before is answered as before, where the file can be read and has it.
    fn fail(&mut self, shared: &Shared, calls: &[Request], failed: Failed) -> Vec<Response> {
        let before = self.extent.last;
        let applied_before: Vec<Option<u64>> = {
            let window = shared.window.lock();
            let known = |call: &Request| match call {
                Request::Commit { commit, .. } => {
                    let write = commit.write?;
                    window.recall(write, commit.fingerprint, write.place()).ok()?.copied()
                }
                _ => None,
            };
            calls.iter().map(known).collect()
        };
        let mended = shared.handle.mend(failed.generation).is_ok() && self.refresh(shared).is_ok();
        let absent = failed.before || (mended && committed_after(shared, before) == Some(false));
        let trouble = Arc::new(shared.handle.trouble(failed.what));
        let verdicts = failed.verdicts.unwrap_or_default();
        let mut verdicts = verdicts.into_iter();
        calls
            .iter()
            .zip(applied_before)
            .map(|(call, applied_before)| {
                let applied = matches!(verdicts.next(), Some(Response::Commit(Ok(_))));
                let outcome = if applied && !absent { Outcome::Unknown } else { Outcome::NotApplied };
                match (call, applied_before) {
                    (Request::Commit { commit, .. }, Some(position)) => {
                        let logged = shared.handle.with(|_, view| view.at(position)).ok().flatten();
                        Response::Commit(match logged {
                            Some(logged) => Ok(logged.committed()),
                            None => Err(failure(Outcome::Unknown, &trouble, commit.write)),
                        })
                    }
                    (Request::Commit { commit, .. }, None) => {
                        Response::Commit(Err(failure(outcome, &trouble, commit.write)))
                    }
                    (Request::Resolve { write, .. }, _) => {
                        Response::Resolve(Err(failure(Outcome::NotApplied, &trouble, Some(*write))))
                    }
                    (Request::Sync { .. } | Request::Upkeep { .. }, _) => {
                        Response::Sync(Err(failure(Outcome::Unknown, &trouble, None)))
                    }
                }
            })
            .collect()
    }

    /// Reads anew where the log stands, if the file was opened anew.
    fn refresh(&mut self, shared: &Shared) -> Result<(), Box<Failed>> {
        let generation = shared.handle.generation();
        if generation == self.generation {
            return Ok(());
        }
        match load_writing(shared, self.extent.last) {
            Ok((extent, newest)) => {
                // With a deadline there is a commit that this opening made, and its version was the last.
                self.lost |= self.deadline.take().is_some() && newest < self.extent.last;
                self.extent = extent;
                self.generation = generation;
                Ok(())
            }
            Err((what, generation)) => Err(Failed { what, before: true, generation, verdicts: None }.into()),
        }
    }

    /// Syncs what was committed without.
    fn sync(&mut self, shared: &Shared) -> Result<(), Error> {
        let _writing = shared.handle.writing.lock();
        self.refresh(shared).map_err(|failed| shared.handle.doubt(failed.what))?;
        if self.deadline.is_none() {
            return Ok(());
        }
        let synced = shared.handle.with(|database, _| recent::sync(database));
        match synced {
            Ok(()) => {
                self.deadline = None;
                Ok(())
            }
            Err((what, generation)) => {
                let _ = shared.handle.mend(generation);
                Err(shared.handle.doubt(what))
            }
        }
    }

    /// Works on the whole file; what the engine says of it.
    fn keep_up(&mut self, shared: &Shared, work: Upkeep) -> Result<bool, Error> {
        /// How many snapshots may be met that are still being read.
        const TRIES: usize = 1000;

        self.settle(shared).map_err(|what| shared.handle.refusal(what))?;
        let _writing = shared.handle.writing.lock();
        for _ in 0..TRIES {
            let done = shared.handle.alone(|database| match work {
                Upkeep::Compact => Ok(database.compact()?),
                Upkeep::Verify => Ok(database.check_integrity()?),
            });
            match done {
                Err(Cause::Engine(redb::Error::TransactionInProgress)) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                done => {
                    self.deadline = None;
                    let is_whole = done.is_ok() && (work == Upkeep::Compact || matches!(done, Ok(true)));
                    let done = done.map_err(|what| {
                        let _ = shared.handle.mend(self.generation);
                        shared.handle.refusal(what)
                    });
                    if !is_whole {
                        // What is recent is not what it was: it is read anew before anything is committed.
                        self.generation = u64::MAX;
                    }
                    return done;
                }
            }
        }
        Err(shared.handle.refusal(Cause::Engine(redb::Error::TransactionInProgress)))
    }
}

/// Why a transaction failed.
struct Failed {
    what: Cause,
    /// Whether that was before it was sent to the disk: then nothing of it was applied.
    before: bool,
    generation: u64,
    verdicts: Option<Vec<Response>>,
}

fn failure(outcome: Outcome, trouble: &Arc<Trouble>, write: Option<WriteId>) -> Error {
    let failure = trouble.failure(outcome);
    match write {
        Some(write) => failure.with_write(write).into(),
        None => failure.into(),
    }
}

fn give(call: Request, answer: Response) -> Option<Waker> {
    match (call, answer) {
        (Request::Commit { promise, .. }, Response::Commit(verdict)) => promise.give(verdict),
        (Request::Resolve { promise, .. }, Response::Resolve(verdict)) => promise.give(verdict),
        (Request::Sync { promise }, Response::Sync(verdict)) => promise.give(verdict),
        (Request::Upkeep { promise, .. }, Response::Upkeep(verdict)) => promise.give(verdict),
        // The promise is dropped, and so answers that nobody knows.
        _ => None,
    }
}

/// Whether there is a commit after a position; `None` where that can't be told.
fn committed_after(shared: &Shared, position: u64) -> Option<bool> {
    shared.handle.with(|_, view| Ok(view.last > position)).ok()
}

/// Reads how far the log reaches, and what it says of write ids.
fn load(shared: &Shared) -> Result<Extent, Error> {
    let _writing = shared.handle.writing.lock();
    let loaded = load_writing(shared, 0).map_err(|(what, _)| shared.handle.refusal(what));
    loaded.map(|(extent, _)| extent)
}

/// The same, and the position of the newest commit.
fn load_writing(shared: &Shared, issued: u64) -> Result<(Extent, u64), (Cause, u64)> {
    let (mut extent, window) = shared.handle.with(|_, view| {
        let mut extent = Extent::load(view)?;
        let mut window = Window::after(extent.forgotten, shared.history);
        view.closed()?.into_iter().for_each(|write| window.close(write));
        view.each_commit(|logged| {
            extent.weight += logged.weight();
            if let Some(write) = logged.write {
                window.remember(write, logged.fingerprint, logged.position.get());
            }
        })?;
        Ok((extent, window))
    })?;
    *shared.window.lock() = window;
    // Versions issued after this file was copied, or lost with a crash that no sync preceded, are not issued again:
    // the counter leaps over where they would be.
    let leap = 1 + random() % LEAP;
    let newest = extent.last;
    extent.last = newest.max(issued).saturating_add(leap).min(LAST);
    Ok((extent, newest))
}
