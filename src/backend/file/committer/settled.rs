//! What a committer does about what is recent: it has it settled behind the commits, and takes note of what came of it.

use std::sync::Arc;

use super::Committer;
use super::known::forget;
use crate::backend::file::handle::Open;
use crate::backend::file::recent::{Added, Settled};
use crate::backend::file::settling::Work;
use crate::backend::file::shared::Shared;
use crate::backend::file::trouble::Cause;

impl Committer {
    /// Has the settling thread settle what is recent.
    pub(super) fn begin_settling(&mut self, shared: &Shared) -> Result<(), (Cause, u64)> {
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
    /// [`writing`](crate::backend::file::handle::Handle::writing).
    pub(super) fn take_settled(&mut self, shared: &Shared) -> Result<(), (Cause, u64)> {
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
    pub(in crate::backend::file) fn see_settled(&mut self, shared: &Shared, idle: bool) -> bool {
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
    pub(super) fn settle(&mut self, shared: &Shared) -> Result<(), Cause> {
        let _writing = shared.handle.writing.lock();
        shared.handle.settling.wait();
        let settled = self.take_settled(shared).or_else(|(_, generation)| {
            // That was in the background: it gets another chance here.
            shared.handle.mend(generation).map_err(|what| (what, generation))
        });
        let settled = settled.and_then(|()| {
            self.refresh(shared).map_err(|failed| (failed.what, failed.generation))?;
            match shared.handle.with(|open| Ok(open.journal.lock().noted().id))? {
                0 => Ok(0),
                _ => self.write_through(shared, &Added::default(), true, &mut false),
            }
        });
        match settled {
            Ok(left) => {
                self.deadline = None;
                forget(shared, left);
                Ok(())
            }
            Err((what, generation)) => {
                let _ = shared.handle.mend(generation);
                Err(what)
            }
        }
    }
}
