//! [`Upkeep`], as a committer does it.

use std::time::Duration;

use super::Committer;
use crate::backend::file::queue::Upkeep;
use crate::backend::file::recent::{self, Extent};
use crate::backend::file::shared::Shared;
use crate::backend::file::trouble::Cause;
use crate::store::Error;

impl Committer {
    /// Works on the whole file; what the engine says of it.
    pub(super) fn keep_up(&mut self, shared: &Shared, work: Upkeep) -> Result<bool, Error> {
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
