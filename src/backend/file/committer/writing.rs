//! How a committer writes the commits of a turn: to the journal, or where they are too many, to the file.

use super::Committer;
use crate::backend::file::recent::{self, Added};
use crate::backend::file::shared::Shared;
use crate::backend::file::trouble::Cause;

impl Committer {
    /// Adds commits to the journal, with a sync or, where it need not wait for one, without, and shows them to readers. Gives
    /// how many commits under a write id have left the log.
    pub(super) fn write(
        &mut self,
        shared: &Shared,
        added: Added,
        syncs: bool,
        committing: &mut bool,
    ) -> Result<usize, (Cause, u64)> {
        let frame = match added.frame() {
            Some(frame) if self.make_room(shared, frame.len())? => frame,
            _ => return self.write_through(shared, &added, false, committing),
        };
        (*committing, self.has_issued) = (true, true);
        let (last, weight) = (added.commits().last(), added.commits().weight());
        let (bytes, changes) = shared.handle.with(|open| {
            open.journal.lock().append(&frame, syncs)?;
            let next = open.view().followed(added);
            let recent = next.recent();
            let due = (recent.bytes(), recent.weight());
            drop(recent);
            shared.handle.publish(open, next);
            Ok(due)
        })?;
        self.extent.last = last.unwrap_or(self.extent.last);
        self.extent.weight += weight;
        self.has_issued = false;
        shared.handle.settling.look_if(true);
        if shared.handle.settling.is_due(bytes, changes, shared.history) {
            // The commits are made all the same.
            let _ = self.begin_settling(shared);
        }
        Ok(0)
    }

    /// Settles commits that are too many for the journal, or come before there is one, together with all before them, which
    /// waits for the disk longer. Where that `ends` the journal, removes it.
    pub(super) fn write_through(
        &mut self,
        shared: &Shared,
        added: &Added,
        ends: bool,
        committing: &mut bool,
    ) -> Result<usize, (Cause, u64)> {
        shared.handle.settling.wait();
        self.take_settled(shared)?;
        let mut extent = self.extent.clone();
        extent.weight += added.commits().weight();
        (*committing, self.has_issued) = (true, true);
        let left = shared.handle.with(|open| {
            let (view, mut journal) = (open.view(), open.journal.lock());
            let mut journaled = journal.journaled();
            match ends {
                true => journaled = journaled.ended(),
                // The file tells only of frames that are on the disk.
                false => journal.sync()?,
            }
            let commits = [&*view.recent(), added.commits()];
            let settled = recent::settle(&open.database, &commits, &extent, journaled, shared.history)?;
            match ends {
                true => journal.remove()?,
                false => {
                    journal.settled(journaled.settled);
                    journal.want();
                }
            }
            extent.note(&settled);
            let left = settled.left;
            shared.handle.publish(open, view.settled_with(added, settled));
            Ok(left)
        })?;
        extent.last = added.commits().last().unwrap_or(extent.last);
        self.extent = extent;
        self.has_issued = false;
        Ok(left)
    }

    /// Waits until the journal is there and has room for a frame: a settling sees to both. Tells whether it takes one at all.
    fn make_room(&mut self, shared: &Shared, body: usize) -> Result<bool, (Cause, u64)> {
        loop {
            let (takes, has_room) = shared.handle.with(|open| {
                let journal = open.journal.lock();
                Ok((journal.takes(body), journal.has_room(body)))
            })?;
            if !takes || has_room {
                return Ok(takes);
            }
            if shared.handle.settling.is_idle() {
                self.begin_settling(shared)?;
            }
            shared.handle.settling.wait();
            self.take_settled(shared)?;
        }
    }
}
