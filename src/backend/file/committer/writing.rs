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
}
