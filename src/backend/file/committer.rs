//! [`Committer`], who takes the calls that wait, commits them as one, and answers each: the store's own thread, or a
//! caller that is alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::batch::{Batch, Batched, Fresh, Judged, LAST};
use super::handle::Open;
use super::queue::{Request, Turn, Upkeep};
use super::recent::{self, Added, Extent, Settled};
use super::settling::Work;
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
    /// Of how many losses of what readers were shown the watchers have been told.
    losses: u64,
    /// Whether versions were issued since the counter leapt, also by commits that failed.
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
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let _writing = shared.handle.writing.lock();
                shared.handle.mend(shared.handle.generation())
            }));
            committer.distrust();
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
            Err(error) if committer.deadline.is_some() => Err(Failure::new(Outcome::Unknown, error).into()),
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
        let syncs = sync_asked || !shared.is_eventual();
        let mut left = 0;
        if !added.is_empty() {
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

    /// Adds commits to the journal, with a sync or, where it need not wait for one, without, and shows them to readers. Gives
    /// how many commits under a write id have left the log.
    fn write(
        &mut self,
        shared: &Shared,
        added: Added,
        syncs: bool,
        committing: &mut bool,
    ) -> Result<usize, (Cause, u64)> {
        let frame = added.frame();
        let takes = |frame: &Vec<u8>| shared.handle.with(|open| Ok(open.journal.lock().takes(frame.len())));
        let frame = match frame {
            Some(frame) if takes(&frame)? => frame,
            _ => return self.write_through(shared, &added, committing),
        };
        self.make_room(shared, frame.len())?;
        (*committing, self.has_issued) = (true, true);
        let (last, weight) = (added.last(), added.weight());
        let (bytes, changes) = shared.handle.with(|open| {
            open.journal.lock().append(&frame, syncs)?;
            let next = open.view().followed(added);
            let recent = next.recent();
            let due = (recent.bytes(), recent.weight());
            drop(recent);
            shared.handle.publish(open, next);
            Ok(due)
        })?;
        self.extent.last = last.map_or(self.extent.last, |last| last.get());
        self.extent.weight += weight;
        if shared.handle.settling.is_due(bytes, changes, shared.history) {
            // The commits are made all the same.
            let _ = self.begin_settling(shared);
        }
        Ok(0)
    }

    /// Settles commits that are too many for the journal together with all before them, which waits for the disk longer.
    fn write_through(
        &mut self,
        shared: &Shared,
        added: &Added,
        committing: &mut bool,
    ) -> Result<usize, (Cause, u64)> {
        shared.handle.settling.wait();
        self.take_settled(shared)?;
        let mut extent = self.extent.clone();
        extent.weight += added.weight();
        (*committing, self.has_issued) = (true, true);
        let left = shared.handle.with(|open| {
            let (view, mut journal) = (open.view(), open.journal.lock());
            let journaled = journal.journaled();
            let commits = [&*view.recent(), added.commits()];
            let settled = recent::settle(&open.database, &commits, &extent, journaled, shared.history)?;
            journal.settled(journaled.settled);
            extent.note(&settled);
            let left = settled.left;
            shared.handle.publish(open, view.settled_with(added, settled));
            Ok(left)
        })?;
        extent.last = added.last().map_or(extent.last, |last| last.get());
        self.extent = extent;
        Ok(left)
    }

    /// Waits until the journal is there and has room for a frame: a settling sees to both.
    fn make_room(&mut self, shared: &Shared, body: usize) -> Result<(), (Cause, u64)> {
        while !shared.handle.with(|open| Ok(open.journal.lock().has_room(body)))? {
            if shared.handle.settling.is_idle() {
                self.begin_settling(shared)?;
            }
            shared.handle.settling.wait();
            self.take_settled(shared)?;
        }
        Ok(())
    }

    /// Has the settling thread settle what is recent.
    fn begin_settling(&mut self, shared: &Shared) -> Result<(), (Cause, u64)> {
        shared.handle.with(|open| {
            let next = open.view().begun();
            let journal = open.journal.lock();
            let work = Work {
                generation: open.generation,
                view: Arc::new(next.clone()),
                extent: self.extent.clone(),
                journaled: journal.journaled(),
            };
            drop(journal);
            shared.handle.publish(open, next);
            shared.handle.settling.begin(work);
            Ok(())
        })
    }

    /// Takes note of what was settled meanwhile, or of what failed there; for who holds
    /// [`writing`](super::handle::Handle::writing).
    fn take_settled(&mut self, shared: &Shared) -> Result<(), (Cause, u64)> {
        let Some(came) = shared.handle.settling.take() else { return Ok(()) };
        let (settled, generation) = came?;
        shared.handle.with(|open| {
            // An opening since then has read what is settled from the file.
            if open.generation == generation {
                self.show(shared, open, settled);
            }
            Ok(())
        })
    }

    fn show(&mut self, shared: &Shared, open: &Open, settled: Settled) {
        open.journal.lock().settled(settled.journaled.settled);
        self.extent.note(&settled);
        let left = settled.left;
        shared.handle.publish(open, open.view().settled(settled));
        forget(shared, left);
    }

    /// The same for the settling thread, which has nobody to tell of a failure: the file is opened anew, and it tries again
    /// later. What has been recent for long is settled next. Tells whether nobody else was at it.
    pub(super) fn see_settled(&mut self, shared: &Shared, idle: bool) -> bool {
        let Some(_writing) = shared.handle.writing.try_lock() else { return false };
        let looked =
            self.take_settled(shared).and_then(|()| match idle && shared.handle.settling.is_idle() {
                true => self.settle_recent(shared),
                false => Ok(()),
            });
        let Err((_, generation)) = looked else { return true };
        let mended = shared.handle.mend(generation).is_ok();
        // Who watches is told of what is lost by the thread that commits: a waker may call the store and wait for it.
        shared.queue.nudge();
        mended
    }

    /// Begins to settle what is recent, if anything is.
    fn settle_recent(&mut self, shared: &Shared) -> Result<(), (Cause, u64)> {
        self.refresh(shared).map_err(|failed| (failed.what, failed.generation))?;
        match shared.handle.with(|open| Ok(open.view().recent().is_empty()))? {
            true => Ok(()),
            false => self.begin_settling(shared),
        }
    }

    /// Settles all there is, and removes the journal.
    fn settle(&mut self, shared: &Shared) -> Result<(), Cause> {
        let _writing = shared.handle.writing.lock();
        shared.handle.settling.wait();
        let settled = self.take_settled(shared).or_else(|(_, generation)| {
            // That was in the background: it gets another chance here.
            shared.handle.mend(generation).map_err(|what| (what, generation))
        });
        let settled = settled.and_then(|()| {
            self.refresh(shared).map_err(|failed| (failed.what, failed.generation))?;
            shared.handle.with(|open| {
                let view = open.view().begun();
                let mut journal = open.journal.lock();
                let journaled = journal.journaled();
                if journaled.id == 0 {
                    return Ok(());
                }
                let commits = view.settling();
                let commits = commits.as_deref().map_or_else(Vec::new, |commits| vec![commits]);
                let (extent, ended) = (&self.extent, journaled.ended());
                let settled = recent::settle(&open.database, &commits, extent, ended, shared.history)?;
                journal.remove()?;
                drop(journal);
                // Readers see the same.
                shared.handle.publish(open, view.clone());
                self.show(shared, open, settled);
                Ok(())
            })
        });
        match settled {
            Ok(()) => {
                self.deadline = None;
                Ok(())
            }
            Err((what, generation)) => {
                let _ = shared.handle.mend(generation);
                Err(what)
            }
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
                        let logged = shared.handle.with(|open| open.view().at(position)).ok().flatten();
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
        match load_writing(shared) {
            Ok(extent) => {
                let (newest, issued) = (extent.last, self.extent.last);
                // With a deadline there is a commit that this opening made, and its version was the last.
                self.lost |= self.deadline.take().is_some() && newest < issued;
                let leaps = std::mem::take(&mut self.has_issued) || newest > issued;
                let last = if leaps { leap(newest.max(issued)) } else { issued };
                self.extent = Extent { last, ..extent };
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

    /// Works on the whole file; what the engine says of it.
    fn keep_up(&mut self, shared: &Shared, work: Upkeep) -> Result<bool, Error> {
        /// How many snapshots may be met that are still being read.
        const TRIES: usize = 1000;

        // Without a journal, closing has nothing to write any more: the engine would double a file that is compact.
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
                        self.distrust();
                    }
                    // A repair may have gone back to what the file said of its journal before.
                    let noted = shared.handle.with(|open| {
                        let journal = open.journal.lock();
                        let journaled = journal.journaled();
                        if open.view().facts()?.journaled != journaled {
                            recent::settle(&open.database, &[], &Extent::default(), journaled, usize::MAX)?;
                        }
                        Ok(())
                    });
                    return done.and_then(|done| {
                        noted.map(|()| done).map_err(|(what, _)| shared.handle.refusal(what))
                    });
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

/// Makes the write ids of a turn known to those who resolve.
fn remember(shared: &Shared, fresh: Fresh) {
    let mut window = shared.window.lock();
    for (write, position, fingerprint) in fresh.applied {
        window.remember(write, fingerprint, position);
    }
    for write in fresh.closed {
        window.close(write);
    }
}

/// Forgets the oldest write ids: the log loses its commits in the order in which they came.
fn forget(shared: &Shared, left: usize) {
    let mut window = shared.window.lock();
    for _ in 0..left {
        window.forget_oldest();
    }
}

/// Whether there is a commit after a position; `None` where that can't be told.
fn committed_after(shared: &Shared, position: u64) -> Option<bool> {
    shared.handle.with(|open| Ok(open.view().last > position)).ok()
}

/// Reads how far the log reaches, and what it says of write ids.
fn load(shared: &Shared) -> Result<Extent, Error> {
    let _writing = shared.handle.writing.lock();
    let extent = load_writing(shared).map_err(|(what, _)| shared.handle.refusal(what))?;
    Ok(Extent { last: leap(extent.last), ..extent })
}

fn load_writing(shared: &Shared) -> Result<Extent, (Cause, u64)> {
    let (extent, window) = shared.handle.with(|open| {
        let view = open.view();
        let mut extent = Extent::load(&view)?;
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
    Ok(extent)
}

/// Versions issued after this file was copied, or lost with a crash that no sync preceded, are not issued again: the
/// counter leaps over where they would be.
fn leap(last: u64) -> u64 {
    last.saturating_add(1 + random() % LEAP).min(LAST)
}
