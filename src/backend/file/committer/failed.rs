//! [`Failed`], why a transaction failed, and what those are told whose calls were in it.

use std::sync::Arc;

use super::{Committer, Response};
use crate::backend::file::queue::Request;
use crate::backend::file::shared::Shared;
use crate::backend::file::trouble::{Cause, Trouble};
use crate::store::{Error, Outcome, WriteId};

/// Why a transaction failed.
pub(super) struct Failed {
    pub(super) what: Cause,
    /// Whether that was before it was sent to the disk: then nothing of it was applied.
    pub(super) before: bool,
    pub(super) generation: u64,
    pub(super) verdicts: Option<Vec<Response>>,
}

impl Committer {
    /// The answers after a transaction that failed: what it was about to write is unknown, unless the file, opened
    /// anew, shows that it does not have it. Whatever was judged on top of it was not applied. What had been applied
    /// before is answered as before, where the file can be read and has it.
    pub(super) fn fail(&mut self, shared: &Shared, calls: &[Request], failed: Failed) -> Vec<Response> {
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
}

fn failure(outcome: Outcome, trouble: &Arc<Trouble>, write: Option<WriteId>) -> Error {
    let failure = trouble.failure(outcome);
    match write {
        Some(write) => failure.with_write(write).into(),
        None => failure.into(),
    }
}

/// Whether there is a commit after a position; `None` where that can't be told.
fn committed_after(shared: &Shared, position: u64) -> Option<bool> {
    shared.handle.with(|open| Ok(open.view().last > position)).ok()
}
