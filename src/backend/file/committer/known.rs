//! What a committer knows of the log, read from the file: how far it reaches, and the write ids in it.

use super::Committer;
use super::failed::Failed;
use crate::backend::file::batch::{Fresh, LAST};
use crate::backend::file::recent::Extent;
use crate::backend::file::shared::Shared;
use crate::backend::file::trouble::Cause;
use crate::base::random;
use crate::store::{Error, Window};

/// How far the counter leaps at most when a file is opened.
const LEAP: u64 = 1 << 40;

impl Committer {
    /// Reads anew where the log stands, if the file was opened anew.
    pub(super) fn refresh(&mut self, shared: &Shared) -> Result<(), Box<Failed>> {
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
}

/// Reads how far the log reaches, and what it says of write ids.
pub(super) fn load(shared: &Shared) -> Result<Extent, Error> {
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

/// Makes the write ids of a turn known to those who resolve.
pub(super) fn remember(shared: &Shared, fresh: Fresh) {
    let mut window = shared.window.lock();
    for (write, position, fingerprint) in fresh.applied {
        window.remember(write, fingerprint, position);
    }
    for write in fresh.closed {
        window.close(write);
    }
}

/// Forgets the oldest write ids: the log loses its commits in the order in which they came.
pub(super) fn forget(shared: &Shared, left: usize) {
    let mut window = shared.window.lock();
    for _ in 0..left {
        window.forget_oldest();
    }
}
