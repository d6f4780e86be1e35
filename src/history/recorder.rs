//! [`Recorder`], the step that keeps what a commit writes over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Codec, Json};
use crate::collection::{Along, Collection, Exit, Part, Step};
use crate::history::past::{Ended, Kept, Record};
use crate::store::{Action, Error, Refusal, Resource};

/// Keeps what a commit writes over, in the same commit.
pub(super) struct Recorder<T> {
    /// Not the database, which holds the collection that has this step: that would hold itself.
    pub(super) records: Collection<Record>,
    pub(super) bounds: Bounds,
    pub(super) author: Option<Arc<Author<T>>>,
}

pub(super) type Author<T> = dyn Fn(&T) -> Option<String> + Send + Sync;

/// How much of the past of one resource is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) versions: usize,
    pub(super) bytes: usize,
    pub(super) lasts: Option<Duration>,
}

impl<T: Resource + Serialize + DeserializeOwned> Step<T> for Recorder<T> {
    fn wants_base(&self) -> bool {
        true
    }

    fn enter(&self, part: &Part<'_, T>, along: &mut Along<'_>) -> Result<Exit, Error> {
        for (at, entry) in part.entries().iter().enumerate() {
            let ended = match entry.action {
                Action::Check => continue,
                Action::Put(_) => Ended::Replaced,
                Action::Delete => Ended::Deleted,
            };
            // What is new has no past yet.
            let Some(base) = part.base(at)? else { continue };
            let unfaithful = |source| Refusal::Encode { id: entry.id.into(), source };
            let text = Json.encode(&base.value).map_err(unfaithful)?;
            let kept = Arc::new(Kept {
                version: base.version,
                text: String::from_utf8(text).map_err(|error| unfaithful(error.into()))?,
                until: SystemTime::now(),
                ended,
                by: self.author.as_ref().and_then(|author| author(&base.value)),
            });
            let bounds = self.bounds;
            along.modify(&self.records, entry.id, move |record| {
                bounds.kept_with(record.map(|record| &*record.value), Arc::clone(&kept))
            })?;
        }
        Ok(Exit::silent())
    }
}

impl Bounds {
    /// The record with one more version, and without those that are too many, too long or too old.
    fn kept_with(self, record: Option<&Record>, last: Arc<Kept>) -> Record {
        let now = last.until;
        let empty = Record { kept: VecDeque::new(), expired: 0 };
        let mut record = record.cloned().unwrap_or(empty);
        record.kept.push_back(last);
        // A clock that was set back makes nothing old, and one that was ahead keeps nothing that came before it.
        let is_old = |kept: &Arc<Kept>| {
            let age = now.duration_since(kept.until).unwrap_or_default();
            self.lasts.is_some_and(|lasts| age > lasts)
        };
        let mut old = record.kept.iter().rposition(is_old).map_or(0, |last| last + 1);
        let mut bytes: usize = record.kept.iter().map(|kept| weight(kept)).sum();
        while let Some(oldest) = record.kept.front() {
            if old == 0 && record.kept.len() <= self.versions && bytes <= self.bytes {
                break;
            }
            old = old.saturating_sub(1);
            bytes -= weight(oldest);
            record.kept.pop_front();
            record.expired += 1;
        }
        record
    }
}

/// About as many bytes as a version takes in its record.
fn weight(kept: &Kept) -> usize {
    200 + kept.text.len() + kept.by.as_ref().map_or(0, String::len)
}
