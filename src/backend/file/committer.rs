//! [`Committer`], who takes the calls that wait, commits them as one, and answers each: the store's own thread, or a
//! caller that is alone.

mod failed;
mod known;
mod settled;
mod upkeep;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::batch::{Batch, Batched, Judged};
use super::queue::{Request, Turn};
use super::recent::Extent;
use super::shared::Shared;
use super::trouble::Cause;
use crate::base::wake;
use crate::store::{Committed, Error, Failure, Outcome, Resolution};

use failed::Failed;
use known::{forget, load, remember};

/// How long a commit may stay without a sync where commits need not wait for it.
const EVENTUALLY: Duration = Duration::from_secs(1);

/// Which part of the time the last calls took is spent at most on waiting for those who made them.
const GATHERED: u32 = 4;

/// How long that is at most: a turn may have taken long for another reason than the disk's pace.
const PATIENCE: Duration = Duration::from_millis(5);

/// How many turns begin at once after one that waited in vain: for callers who do not come back as soon as they are
/// answered, waiting costs time and saves no sync.
const HURRIED: u32 = 16;

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
    /// Of how many losses of what readers were shown the watchers have been told.
    losses: u64,
    /// Whether a turn has issued versions and failed since the counter leapt, or is about to. Those of one that succeeded can't be
    /// issued again: who opens the file anew finds them there.
    has_issued: bool,
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
        let (generation, losses) = (shared.handle.generation(), shared.handle.losses());
        let extent = load(shared)?;
        Ok(Self { extent, generation, deadline: None, lost: false, losses, has_issued: false })
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
        let answers = catch_unwind(AssertUnwindSafe(|| committer.answer(shared, &mut calls, until)));
        let answers = answers.unwrap_or_else(|_| {
            // Those it was serving are told that nobody knows. What was known is read anew from the file.
            committer.start_anew(shared);
            Responses { given: Vec::new(), changed: true }
        });
        let losses = shared.handle.losses();
        let lost = std::mem::replace(&mut committer.losses, losses) != losses;
        drop(committer);
        let served = calls.len();
        match calls.first() {
            None => {}
            // Whoever asked for it does not come back with a commit.
            Some(Request::Upkeep { .. }) => shared.queue.served(0),
            Some(_) => shared.queue.served(served),
        }
        // Before the answers, so that nobody who has one is ahead of the feed.
        if answers.changed || lost {
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

    /// Opens the file anew after a panic, which may have left anything half done. Tells whether that could be done.
    pub(super) fn start_anew(&mut self, shared: &Shared) -> bool {
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let _writing = shared.handle.writing.lock();
            shared.handle.mend(shared.handle.generation()).is_ok()
        }));
        self.distrust();
        opened.unwrap_or(false)
    }

    /// Reads anew what is known, before anything is built upon it.
    pub(super) fn distrust(&mut self) {
        self.generation = u64::MAX;
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

    /// Settles all there is, removes the journal, and closes the file.
    fn close(shared: &Shared, committer: &Mutex<Self>) -> Result<(), Error> {
        let mut committer = committer.lock();
        let settled = match shared.handle.read_quietly(|_| Ok(())) {
            Ok(()) => committer.settle(shared).map_err(|what| shared.handle.doubt(what)),
            Err(error) if committer.deadline.is_some() || shared.handle.has_orphans() => {
                Err(Failure::new(Outcome::Unknown, error).into())
            }
            Err(error) => Err(error),
        };
        let settled = match std::mem::take(&mut committer.lost) {
            true => settled.and(Err(shared.handle.doubt(Cause::Lost))),
            false => settled,
        };
        drop(committer);
        shared.handle.settling.end();
        let closed = shared.handle.close().map_err(|what| shared.handle.refusal(what));
        shared.handle.watchers.wake();
        settled.and(closed)
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

    /// One frame for all the calls.
    fn attempt(
        &mut self,
        shared: &Shared,
        calls: &mut Vec<Request>,
        until: Option<Instant>,
    ) -> Result<Responses, Box<Failed>> {
        let before = |(what, generation)| Box::new(Failed { what, before: true, generation, verdicts: None });
        self.take_settled(shared).map_err(before)?;
        self.refresh(shared)?;
        let judged = shared.handle.with(|open| {
            let view = open.view();
            let mut batch = Batch::new(&view, self.extent.last, &shared.window);
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
            Ok((answers, batch.finish()))
        });
        let (mut given, Batched { added, fresh, changed }) = judged.map_err(before)?;
        let sync_asked = calls.iter().any(|call| matches!(call, Request::Sync { .. }));
        // Who was told that a write was not applied counts on that.
        let closes = !added.commits().closed().is_empty();
        let syncs = sync_asked || closes || !shared.is_eventual();
        let mut left = 0;
        if !added.commits().is_empty() {
            let mut committing = false;
            match self.write(shared, added, syncs, &mut committing) {
                Ok(forgotten) => left = forgotten,
                Err((what, generation)) => {
                    return Err(
                        Failed { what, before: !committing, generation, verdicts: Some(given) }.into()
                    );
                }
            }
            self.deadline = match syncs {
                true => None,
                false => self.deadline.or_else(|| Some(Instant::now() + EVENTUALLY)),
            };
        } else if sync_asked && let Err((what, generation)) = self.sync_journal(shared) {
            return Err(Failed { what, before: false, generation, verdicts: Some(given) }.into());
        }
        remember(shared, fresh);
        forget(shared, left);
        let mut syncs = given.iter_mut().filter(|answer| matches!(answer, Response::Sync(_))).peekable();
        // Who syncs together is told together.
        if syncs.peek().is_some() && std::mem::take(&mut self.lost) {
            syncs.for_each(|answer| *answer = Response::Sync(Err(shared.handle.doubt(Cause::Lost))));
        }
        Ok(Responses { given, changed })
    }

    /// Syncs what was committed without.
    fn sync(&mut self, shared: &Shared) -> Result<(), Error> {
        let _writing = shared.handle.writing.lock();
        self.refresh(shared).map_err(|failed| shared.handle.doubt(failed.what))?;
        if self.deadline.is_none() {
            return Ok(());
        }
        self.sync_journal(shared).map_err(|(what, generation)| {
            let _ = shared.handle.mend(generation);
            shared.handle.doubt(what)
        })
    }

    fn sync_journal(&mut self, shared: &Shared) -> Result<(), (Cause, u64)> {
        if self.deadline.is_some() {
            shared.handle.with(|open| Ok(open.journal.lock().sync()?))?;
            self.deadline = None;
        }
        Ok(())
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
