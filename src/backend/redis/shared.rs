//! [`Shared`], what a [`Redis`](super::Redis), its calls and its watchers have in common.

use std::sync::{Arc, Weak};

use ::redis::{Cmd, Value};
use parking_lot::Mutex;

use super::answer::ScriptAnswer;
use super::begin::begin;
use super::hub::Hub;
use super::keys::Keys;
use super::link::Link;
use super::order::{self, Verdict};
use super::script::{RESOLVE, Request};
use super::trouble::Trouble;
use crate::backend::engine::{Deadlines, Runtime};
use crate::backend::limits::Limits;
use crate::store::{
    Action, Commit, Committed, Durability, Error, Failure, Outcome, Refusal, Resolution, Versioned, WriteId,
    check_id,
};

/// The most entries one commit may have.
pub(super) const ENTRIES: usize = 1_000;

/// The most bytes the values of one commit may have, unless a single one may have more.
const COMMIT_BYTES: usize = 64 << 20;

/// What the store and its watchers share.
pub(super) struct Shared {
    pub(super) link: Arc<Link>,
    pub(super) keys: Keys,
    pub(super) deadlines: Deadlines,
    pub(super) history: usize,
    pub(super) value_limit: usize,
    pub(super) durability: Durability,
    /// There while somebody watches.
    pub(super) hub: Mutex<Weak<Hub>>,
    // The last field: the runtime ends after all that lives in it.
    pub(super) runtime: Runtime,
}

impl Shared {
    /// Runs a script that changes nothing, and gives its answer. A namespace that was wiped is begun anew.
    pub(super) async fn read(&self, call: &Request) -> Result<ScriptAnswer, Error> {
        let mut begun = false;
        loop {
            let answer = self.link.call(call, self.deadlines.read).await;
            let answer = answer.map_err(|undone| undone.trouble).and_then(ScriptAnswer::new);
            let answer = answer.map_err(Trouble::of_read)?;
            if answer.word() != "place" {
                return Ok(answer);
            }
            match answer.trouble() {
                Trouble::Format(format) if format.is_empty() && !begun => self.begin_anew().await?,
                trouble => return Err(trouble.of_read()),
            }
            begun = true;
        }
    }

    /// Somebody wiped the place: begins the namespace again.
    async fn begin_anew(&self) -> Result<(), Error> {
        Ok(begin(&self.link, &self.keys, self.deadlines.read).await?)
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        let key = self.keys.value(id);
        let mut command = Cmd::with_capacity(2, key.len() + 5);
        // A `GET` that counts as a write: a replica, as a primary may have become, refuses it and does not answer with what
        // may be old.
        command.arg("GETEX").arg(key);
        match self.link.call(&Request::reading(command), self.deadlines.read).await {
            Ok(Value::Nil) => Ok(None),
            Ok(Value::BulkString(stored)) => order::value(id, &stored),
            Ok(_) => Err(Trouble::Unexpected.of_read()),
            Err(undone) => Err(undone.trouble.of_read()),
        }
    }

    pub(super) async fn commit(&self, commit: Commit<'_, [u8]>) -> Result<Committed, Error> {
        let call = order::call(&self.keys, self.history, &commit);
        let mut begun = false;
        loop {
            let answer = match self.link.call(&call, self.deadlines.commit).await {
                Ok(answer) => answer,
                Err(undone) => return Err(failed(&commit, undone.outcome(), undone.trouble)),
            };
            let verdict = match ScriptAnswer::new(answer) {
                Ok(answer) => order::verdict(&commit, answer),
                Err(trouble) => Err(trouble.into()),
            };
            match verdict {
                Ok(committed) => return Ok(committed),
                Err(Verdict::Refused(error)) => return Err(error),
                Err(Verdict::Gone) if !begun => self.begin_anew().await?,
                Err(Verdict::Gone) => {
                    return Err(failed(&commit, Outcome::NotApplied, Trouble::Format(String::new())));
                }
                Err(Verdict::Trouble(trouble)) => return Err(failed(&commit, trouble.outcome(), trouble)),
            }
            begun = true;
        }
    }

    pub(super) async fn resolve(&self, write: WriteId) -> Result<Resolution, Error> {
        let keys = [&self.keys.meta, &self.keys.log, &self.keys.writes, &self.keys.closed];
        let call = RESOLVE
            .call(&keys, 64)
            .argument(write.to_bits().to_be_bytes())
            .argument(self.history.to_string())
            .repeatable();
        let mut answer = self.read(&call).await?;
        match answer.word() {
            "applied" => {
                let committed = answer.bytes().and_then(|receipts| order::committed(&receipts));
                Ok(Resolution::Applied(committed.map_err(Trouble::of_read)?))
            }
            "closed" => Ok(Resolution::NotApplied),
            "unknown" => Ok(Resolution::Unknown),
            _ => Err(Trouble::Unexpected.of_read()),
        }
    }

    /// The hub of all who watch; the first of them starts it.
    pub(super) fn hub(&self) -> Arc<Hub> {
        let mut current = self.hub.lock();
        current.upgrade().unwrap_or_else(|| {
            let (link, log) = (Arc::clone(&self.link), self.keys.log.clone());
            let hub = Arc::new(Hub::start(link, log, self.deadlines.read, self.runtime.handle()));
            *current = Arc::downgrade(&hub);
            hub
        })
    }

    /// Refuses what Redis can't hold, before anything is sent.
    pub(super) fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        Limits { entries: ENTRIES, value: self.value_limit, commit: COMMIT_BYTES }.admit(commit)?;
        let puts = commit.entries().iter().filter(|entry| matches!(entry.action, Action::Put(_)));
        for entry in puts {
            check_id(entry.id)?;
        }
        Ok(())
    }
}

/// The error of a commit that came to no verdict.
pub(super) fn failed(commit: &Commit<'_, [u8]>, outcome: Outcome, trouble: Trouble) -> Error {
    let failure = Failure::new(outcome, trouble);
    match commit.remembered_write() {
        Some(write) if outcome == Outcome::Unknown => failure.with_write(write).into(),
        _ => failure.into(),
    }
}
