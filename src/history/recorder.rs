//! [`Recorder`], the step that keeps what a commit writes over.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::collection::{Along, Collection, Encoding, Exit, Part, Step};
use crate::history::past::Ended;
use crate::history::record::{Form, Kept, Record};
use crate::store::{Action, Error, Refusal, Resource, Versioned};

/// Keeps what a commit writes over, in the same commit.
pub(super) struct Recorder<T: Resource> {
    /// Not the database, which holds the collection that has this step: that would hold itself.
    pub(super) records: Collection<Record<T>>,
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

impl<T: Resource + Serialize> Step<T> for Recorder<T> {
    fn wants_base(&self) -> bool {
        true
    }

    fn enter(&self, part: &Part<'_, T>, along: &mut Along<'_>) -> Result<Exit, Error> {
        let encoding = self.records.membership().and_then(|records| records.encoding_of(along.collection()));
        for (at, entry) in part.entries().iter().enumerate() {
            let ended = match entry.action {
                Action::Check => continue,
                Action::Put(_) => Ended::Replaced,
                Action::Delete => Ended::Deleted,
            };
            // What is new has no past yet.
            let Some(base) = part.base(at)? else { continue };
            let value = form(&base.value, entry.id, encoding.as_ref());
            let kept = Arc::new(Kept {
                version: base.version,
                value: value.map_err(|source| Refusal::Encode { id: entry.id.into(), source })?,
                until: SystemTime::now(),
                ended,
                by: self.author.as_ref().and_then(|author| author(&base.value)).map(Arc::from),
                after_gap: false,
            });
            let bounds = self.bounds;
            along
                .modify(&self.records, entry.id, move |record| bounds.kept_with(record, Arc::clone(&kept)))?;
        }
        Ok(Exit::silent())
    }
}

/// A value as its record keeps it.
fn form<T: Resource + Serialize>(
    value: &Arc<T>,
    id: &str,
    encoding: Option<&Encoding>,
) -> Result<Form<T>, Box<dyn std::error::Error + Send + Sync>> {
    match encoding {
        Some(encoding) => Ok(Form::Bytes(encoding.encode(id, &**value)?.into())),
        None => Ok(Form::Value { value: Arc::clone(value), length: length(&**value)? }),
    }
}

/// The length of a value's JSON.
fn length(value: &impl Serialize) -> Result<usize, Unwritable> {
    let mut length = Length(0);
    serde_json::to_writer(&mut length, value).map_err(|_| Unwritable)?;
    Ok(length.0)
}

/// Counts what is written.
struct Length(usize);

/// The errors of serde_json may quote the value.
#[derive(Debug, thiserror::Error)]
#[error("the value cannot be written as JSON, by which its history is bounded")]
struct Unwritable;

impl io::Write for Length {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    /// Of one piece at a time there is nothing to go on with.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0 += bytes.len();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bounds {
    /// The record with one more version, and without those that are too many, too long or too old.
    fn kept_with<T>(self, found: Option<&Versioned<Record<T>>>, mut last: Arc<Kept<T>>) -> Record<T> {
        let now = last.until;
        let mut record = found.map_or_else(Record::empty, |found| Record::clone(&found.value));
        // A record is written in the commit that made what its last version was written over with: they have one version.
        let before = record.kept.back().filter(|before| before.ended == Ended::Replaced);
        if before.and(found).is_some_and(|found| found.version != last.version) {
            last = Arc::new(Kept { after_gap: true, ..Kept::clone(&last) });
        }
        record.kept.push_back(last);
        // A clock that was set back makes nothing old, and one that was ahead keeps nothing that came before it.
        let is_old = |kept: &Arc<Kept<T>>, lasts| now.duration_since(kept.until).unwrap_or_default() > lasts;
        let last_old = self.lasts.and_then(|lasts| record.kept.iter().rposition(|kept| is_old(kept, lasts)));
        let mut old = last_old.map_or(0, |last| last + 1);
        let mut bytes: usize = record.kept.iter().map(|kept| kept.weight()).sum();
        while let Some(oldest) = record.kept.front() {
            if old == 0 && record.kept.len() <= self.versions && bytes <= self.bytes {
                break;
            }
            old = old.saturating_sub(1);
            bytes -= oldest.weight();
            record.kept.pop_front();
            record.expired += 1;
        }
        record
    }
}
