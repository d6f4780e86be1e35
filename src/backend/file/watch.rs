//! [`Watch`], the feed of a file to one watcher.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::recent::{Logged, View};
use super::shared::Shared;
use crate::backend::record::Record;
use crate::store::{
    Batch, Change, ChangeKind, Changes, Cursor, Error, Expired, Feed, Refusal, Start, Version,
};

/// The feed of a file to one watcher. It keeps a place in the log and nothing else: a slow one costs no memory.
pub(super) struct Watch {
    shared: Arc<Shared>,
    key: u64,
    position: u64,
    /// How many times commits had been lost when it began.
    losses: u64,
    expired: Option<Expired>,
}

/// Begins to watch.
pub(super) fn watch(shared: &Arc<Shared>, from: &Start) -> Result<Changes<[u8]>, Error> {
    let after = match from {
        Start::Now => None,
        Start::After(cursor) => Some(parse(cursor)?),
    };
    let identity = shared.handle.identity;
    let losses = shared.handle.losses();
    let (position, floor) = shared.handle.read(|view| {
        let position = match after {
            None => Some(view.last),
            // The number of a commit that a crash or a restored backup has taken back is none of this log's.
            Some((of, position))
                if of == identity && (position == view.floor || view.at(position)?.is_some()) =>
            {
                Some(position)
            }
            Some(_) => None,
        };
        Ok((position, view.floor))
    })?;
    let position = position.ok_or_else(|| Error::from(Expired { oldest: Some(cursor(identity, floor)) }))?;
    let key = shared.handle.watchers.key();
    let watch = Watch { shared: Arc::clone(shared), key, position, losses, expired: None };
    Ok(Changes::new(cursor(identity, position), watch))
}

/// What a look at the log finds.
enum Upcoming {
    Batch(Arc<Logged>, Vec<ChangeKind<[u8]>>),
    Nothing,
    /// What comes next has left the log, which begins after this position.
    Overtaken(u64),
}

impl Watch {
    fn look(&self) -> Result<Upcoming, Error> {
        self.shared.handle.read(|view| {
            if self.position < view.floor {
                return Ok(Upcoming::Overtaken(view.floor));
            }
            Ok(match view.next(self.position, |logged| logged.changes().next().is_some())? {
                Some(logged) => {
                    let kinds = kinds(view, &logged)?;
                    Upcoming::Batch(logged, kinds)
                }
                None => Upcoming::Nothing,
            })
        })
    }
}

impl Watch {
    /// Ends the feed: it can begin again after the commit at `floor`.
    fn expire<T>(&mut self, floor: Option<u64>) -> Poll<Result<T, Error>> {
        let expired = Expired { oldest: floor.map(|floor| cursor(self.shared.handle.identity, floor)) };
        self.expired = Some(expired.clone());
        Poll::Ready(Err(expired.into()))
    }
}

impl Feed<[u8]> for Watch {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<[u8]>, Error>> {
        if let Some(expired) = &self.expired {
            return Poll::Ready(Err(expired.clone().into()));
        }
        if let Err(forked) = self.shared.handle.check_process() {
            return Poll::Ready(Err(forked));
        }
        // Before the look: a commit in between wakes this waker.
        self.shared.handle.watchers.wait(self.key, context.waker().clone());
        let looked = self.look();
        // What it has shown may never have been, as far as anybody can tell now.
        if self.shared.handle.losses() != self.losses {
            let floor = self.shared.handle.read(|view| Ok(view.floor)).ok();
            return self.expire(floor);
        }
        let (logged, kinds) = match looked {
            Ok(Upcoming::Nothing) => return Poll::Pending,
            Ok(Upcoming::Batch(logged, kinds)) => (logged, kinds),
            Ok(Upcoming::Overtaken(floor)) => {
                return self.expire(Some(floor));
            }
            Err(error) => return Poll::Ready(Err(error)),
        };
        self.position = logged.position.get();
        let version = Version::from_bits(logged.position);
        let changes = logged.changes().zip(kinds);
        let changes = changes.map(|((id, _), kind)| Change { id: Arc::clone(id), version, kind }).collect();
        Poll::Ready(Ok(Batch { cursor: cursor(self.shared.handle.identity, self.position), changes }))
    }

    fn is_idle(&self) -> bool {
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.shared.handle.is_forked() {
            return;
        }
        self.shared.handle.watchers.leave(self.key);
    }
}

/// What each change of a commit did; the value only where it is still the stored one.
fn kinds(view: &View, logged: &Logged) -> Result<Vec<ChangeKind<[u8]>>, redb::Error> {
    let version = Version::from_bits(logged.position);
    let kind = |(id, deleted): (&Arc<str>, bool)| {
        if deleted {
            return Ok(ChangeKind::Delete);
        }
        let stored = view.find(id)?;
        let record = stored.record().and_then(|stored| Record::decode(id, stored).ok());
        Ok(ChangeKind::Put(
            record.filter(|record| record.version == version).map(|record| record.value.into()),
        ))
    };
    logged.changes().map(kind).collect()
}

/// The text of a place in the log of a file.
fn cursor(identity: u64, position: u64) -> Cursor {
    let text = format!("f{identity:x}.{position:x}");
    text.parse().expect("a letter, hexadecimal digits and a full stop make a cursor")
}

/// The file a cursor is of, and its place there.
fn parse(cursor: &Cursor) -> Result<(u64, u64), Refusal> {
    let numbers = cursor.as_str().strip_prefix('f').and_then(|text| text.split_once('.'));
    let (identity, position) = numbers.ok_or(Refusal::Cursor)?;
    let parse = |text| u64::from_str_radix(text, 16).map_err(|_| Refusal::Cursor);
    Ok((parse(identity)?, parse(position)?))
}
