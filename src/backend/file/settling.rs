//! [`Settling`], how the store's second thread is told what to settle behind the commits, and tells what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::caught::panic_text;
use super::recent::{self, Extent, Journaled, Settled, View};
use super::serving::Serving;
use super::shared::Shared;
use super::trouble::{Cause, is_full};

/// How many bytes of recent commits are settled together, at least, as long as commits come.
const BYTES: usize = 256 << 10;

/// How many changes are.
const CHANGES: usize = 1000;

/// Which part of the log they are at most: no commit leaves the log before it is settled.
const PART: usize = 16;

/// How long a commit stays recent where no more come. In tests of what storage can do, nothing happens by itself.
const IDLE: Duration = Duration::from_secs(if cfg!(test) { 600 } else { 1 });

/// How long a settling that failed is not tried again, unless the journal is full.
const PAUSE: Duration = Duration::from_secs(1);

/// How the settling thread is told what to settle, and tells what came of it.
#[derive(Default)]
pub(super) struct Settling {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    stage: Stage,
    /// Whether there are recent commits.
    is_dirty: bool,
    /// When to try again after a failure.
    again: Option<Instant>,
    ended: bool,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Wanted(Work),
    Running,
    Done(Box<Came>),
}

/// What is to be settled: nothing yet where only the journal has to be created.
pub(super) struct Work {
    /// Which opening of the file it belongs to.
    pub(super) generation: u64,
    /// A view of which the settling commits are those.
    pub(super) view: Arc<View>,
    pub(super) extent: Extent,
    pub(super) journaled: Journaled,
}

/// What came of it: what is settled and by which opening of the file, or what failed, in which opening.
pub(super) type Came = Result<(Settled, u64), (Cause, u64)>;

/// What the settling thread has to do.
enum Turn {
    Settle(Work),
    /// Look for commits that have been recent for long.
    Look,
    End,
}

impl Settling {
    /// What the settling thread does: it settles until the store is closed.
    pub(super) fn run(serving: &Serving) {
        let shared = &serving.shared;
        let settling = &shared.handle.settling;
        loop {
            let idle = match settling.next() {
                Turn::End => return,
                Turn::Look => true,
                Turn::Settle(work) => {
                    let generation = work.generation;
                    settling.finish(guarded(generation, || settle(shared, work)));
                    false
                }
            };
            // Who has it may be waiting for this thread; it looks for itself then, or this thread does later.
            let seen = serving.committer.try_lock().is_some_and(|mut committer| {
                let seen = catch_unwind(AssertUnwindSafe(|| committer.see_settled(shared, idle)));
                seen.unwrap_or_else(|_| committer.start_anew(shared))
            });
            settling.look_if(!seen);
        }
    }

    fn next(&self) -> Turn {
        let mut state = self.state.lock();
        loop {
            if state.ended {
                return Turn::End;
            }
            match std::mem::take(&mut state.stage) {
                Stage::Wanted(work) => {
                    state.stage = Stage::Running;
                    return Turn::Settle(work);
                }
                stage => state.stage = stage,
            }
            if !state.is_dirty {
                self.moved.wait(&mut state);
            } else if self.moved.wait_for(&mut state, IDLE).timed_out() {
                state.is_dirty = false;
                return Turn::Look;
            }
        }
    }

    /// Has the thread look later for commits that have been recent for long, where there may be some.
    pub(super) fn look_if(&self, has_recent: bool) {
        if has_recent && !std::mem::replace(&mut self.state.lock().is_dirty, true) {
            self.moved.notify_all();
        }
    }

    fn finish(&self, came: Came) {
        let mut state = self.state.lock();
        state.is_dirty |= came.is_err();
        state.again = came.is_err().then(|| Instant::now() + PAUSE);
        state.stage = Stage::Done(Box::new(came));
        drop(state);
        self.moved.notify_all();
    }

    /// Whether recent commits of so many bytes and changes are to be settled now.
    pub(super) fn is_due(&self, bytes: usize, changes: usize, history: usize) -> bool {
        let state = self.state.lock();
        let is_much = bytes > BYTES || changes > CHANGES.min(history / PART);
        let may = state.again.is_none_or(|again| again <= Instant::now());
        is_much && may && matches!(state.stage, Stage::Idle)
    }

    /// Whether nothing is being settled.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state.lock().stage, Stage::Idle)
    }

    /// Hands over what is to be settled, where nothing else is.
    pub(super) fn begin(&self, work: Work) {
        self.state.lock().stage = Stage::Wanted(work);
        self.moved.notify_all();
    }

    /// What came of it, once.
    pub(super) fn take(&self) -> Option<Came> {
        let mut state = self.state.lock();
        match std::mem::take(&mut state.stage) {
            Stage::Done(came) => Some(*came),
            stage => {
                state.stage = stage;
                None
            }
        }
    }

    /// Waits until what is being settled is.
    pub(super) fn wait(&self) {
        let mut state = self.state.lock();
        while matches!(state.stage, Stage::Wanted(_) | Stage::Running) && !state.ended {
            self.moved.wait(&mut state);
        }
    }

    /// Whether the last settling failed.
    #[cfg(test)]
    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().again.is_some()
    }

    /// Whether the settling thread looks by itself for what is recent for long.
    #[cfg(test)]
    pub(super) fn will_look(&self) -> bool {
        self.state.lock().is_dirty
    }

    /// As where the thread has looked.
    #[cfg(test)]
    pub(super) fn look_no_more(&self) {
        self.state.lock().is_dirty = false;
    }

    /// Ends the settling thread.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.moved.notify_all();
    }
}

/// Where the engine or anything else panics, whoever waits for the thread is told.
fn guarded(generation: u64, settle: impl FnOnce() -> Came) -> Came {
    catch_unwind(AssertUnwindSafe(settle))
        .unwrap_or_else(|panic| Err((Cause::Panicked(panic_text(&*panic).to_owned()), generation)))
}

fn settle(shared: &Shared, work: Work) -> Came {
    let generation = work.generation;
    let settled = shared.handle.with(|open| {
        // What was recent in another opening was read anew since.
        if open.generation != generation {
            return Err(redb::Error::PreviousIo);
        }
        // Before the first commit. To fill it costs processor time, which the caller need not pay.
        let mut journal = open.journal.lock();
        let is_new = journal.create()?;
        let journaled = if is_new { journal.journaled() } else { work.journaled };
        // The file tells only of frames that are on the disk.
        journal.sync()?;
        drop(journal);
        let commits = work.view.settling();
        let commits = commits.as_deref().map_or_else(Vec::new, |commits| vec![commits]);
        let settled = recent::settle(&open.database, &commits, &work.extent, journaled, shared.history);
        // Without the journal, which is removed when the file is opened anew, there is space.
        if is_new && matches!(&settled, Err(redb::Error::Io(full)) if is_full(full)) {
            open.journal.lock().go_without();
        }
        Ok((settled?, generation))
    });
    settled.map_err(|(what, _)| (what, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_what_came_of_it_and_is_tried_again() {
        let settling = Settling::default();

        settling.finish(guarded(7, || panic!("the engine's words")));

        settling.wait();
        assert!(settling.will_look());
        let came = settling.take();
        assert!(matches!(came, Some(Err((Cause::Panicked(words), 7))) if words == "the engine's words"));
    }
}
