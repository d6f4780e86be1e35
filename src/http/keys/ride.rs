//! [`Ride`], what rides along with the write of a request.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::{Along, Collection, Exit};
use crate::http::keys::record::Record;
use crate::http::keys::request::KeyedRequest;
use crate::store::{Action, Entry, Error, Expected, Outcome, Refusal, Resource, Version};

/// What rides along with the write of a request.
pub(super) struct Ride {
    pub(super) request: KeyedRequest,
    records: Collection<Record>,
    fate: Mutex<Fate>,
}

/// What became of the last commit that it rode along with; of one that kept the answer, whatever came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// There was none, or it was refused.
    Nothing,
    /// The answer is kept, in the commit of this version.
    Kept(Option<Version>),
    /// The store lost the answer to it.
    InDoubt,
}

impl Ride {
    pub(super) fn new(request: KeyedRequest, records: &Collection<Record>) -> Self {
        Self { request, records: records.clone(), fate: Mutex::new(Fate::Nothing) }
    }

    pub(super) fn fate(&self) -> Fate {
        *self.fate.lock()
    }

    /// Adds the answer to a write to its commit.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`] where the answer to another write is kept already, or goes along with this commit, and where the
    /// write does not say what it expects.
    pub(super) fn along<T: Resource + Serialize + DeserializeOwned>(
        self: &Arc<Self>,
        id: &str,
        along: &mut Along<'_>,
    ) -> Result<Exit, Error> {
        let what = "to keep the key of a write that is not at hand";
        let entry = along.own::<T>(id).ok_or(Refusal::Unsupported { what })?;
        debug_assert!(!matches!(entry.action, Action::Check), "what only checks has no escort");
        let is_second =
            matches!(self.fate(), Fate::Kept(_)) || along.has_added(&self.records, &self.request.id);
        let record = Record::of_entry(&self.request, &entry)?.filter(|_| !is_second);
        let record = record.ok_or_else(|| {
            let problem = "is written through the handle of a request with a key: one write keeps it, and it has to say \
                           what it expects: use a call of `http`, or `keep_in`";
            Refusal::Collection { name: along.collection().into(), problem: problem.into() }
        })?;
        along.add(&self.records, Entry::put(&self.request.id, Expected::Absent, record.into()))?;
        let ride = Arc::clone(self);
        Ok(Exit::then(move |outcome| {
            let mut fate = ride.fate.lock();
            *fate = match outcome {
                // Another write of the call, which was sent beside this one, has kept its answer.
                Err(_) if matches!(*fate, Fate::Kept(_)) => return,
                Ok(committed) => Fate::Kept(committed.version()),
                Err(error) if error.outcome() == Outcome::Unknown => Fate::InDoubt,
                Err(_) => Fate::Nothing,
            };
        }))
    }
}
