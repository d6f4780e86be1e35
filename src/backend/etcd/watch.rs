//! [`Watch`], etcd's own watch of a namespace, begun again on the next node where one ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{EventType, GetOptions, TxnOp, WatchOptions, WatchResponse};
use tokio::time::{sleep, timeout};

use super::manifest::Manifest;
use super::nodes::{Purpose, Watched};
use super::plan::{ENTRIES, decode, found};
use super::recent::Revision;
use super::shared::Shared;
use super::shared::revision;
use super::trouble::Trouble;
use crate::backend::engine::ConnectError;
use crate::store::{Batch, Change, ChangeKind, Cursor, Error, Expired, Failure, Outcome, Refusal, Start};

/// How long a watcher waits before it tries the next node: after the first try, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How many revisions a watcher takes at once of what others have read.
const TAKEN: usize = 64;

/// The text of a position in the feed.
fn cursor(epoch: u64, position: i64) -> Cursor {
    let text = format!("e{epoch:x}.{position:x}");
    text.parse().expect("a letter, hexadecimal digits and a full stop make a cursor")
}

/// The epoch a cursor is of, and its position there. One state has one text.
fn parse(text: &Cursor) -> Result<(u64, i64), Refusal> {
    let numbers = text.as_str().strip_prefix('e').and_then(|text| text.split_once('.'));
    let (epoch, position) = numbers.ok_or(Refusal::Cursor)?;
    let epoch = u64::from_str_radix(epoch, 16).map_err(|_| Refusal::Cursor)?;
    let position = i64::from_str_radix(position, 16).map_err(|_| Refusal::Cursor)?;
    if cursor(epoch, position) != *text || position < 0 {
        return Err(Refusal::Cursor);
    }
    Ok((epoch, position))
}

/// A position in the feed, and the stream that is read from there.
pub(super) struct Watch {
    shared: Arc<Shared>,
    manifest: Arc<Manifest>,
    /// The last revision that waits or was delivered, or of which it is known that it has nothing to deliver.
    position: i64,
    /// The newest revision when the watch was begun.
    seen: i64,
    /// What the stream was begun under, see [`Recent`](super::recent::Recent).
    line: u64,
    /// Of which node, and its watch.
    stream: Option<(usize, Watched)>,
    waiting: VecDeque<Revision>,
    /// Whether it waits for etcd to call, and for nothing it has asked.
    is_listening: Arc<AtomicBool>,
    /// Before a stream is begun; the longer the less there came of the last ones.
    pause: Duration,
}

/// What stands in the engine.
struct Seen {
    manifest: Arc<Manifest>,
    /// The revision in which the namespace was laid.
    laid: i64,
    newest: i64,
}

impl Watch {
    /// Begins a watch; its cursor, and the watch.
    pub(super) async fn start(shared: &Arc<Shared>, from: Start) -> Result<(Cursor, Self), Error> {
        let after = match &from {
            Start::Now => None,
            Start::After(cursor) => Some(parse(cursor)?),
        };
        let mut watch = Self {
            shared: Arc::clone(shared),
            manifest: shared.manifest(),
            position: 0,
            seen: 0,
            line: 0,
            stream: None,
            waiting: VecDeque::new(),
            is_listening: Arc::default(),
            pause: Duration::ZERO,
        };
        let seen = watch.look().await?;
        let epoch = seen.manifest.epoch;
        watch.manifest = seen.manifest;
        watch.seen = seen.newest;
        watch.position = match after {
            None => seen.newest,
            // No revision 0 can be asked for, and nothing was ever there.
            Some((of, position)) if of == epoch && (1..=seen.newest).contains(&position) => position,
            Some(_) => return Err(watch.expired().await),
        };
        if after.is_some() && watch.is_compacted(watch.position).await? {
            return Err(watch.expired().await);
        }
        Ok((cursor(epoch, watch.position), watch))
    }

    /// The next batch, however long that takes.
    pub(super) async fn next(&mut self) -> Result<Batch<[u8]>, Error> {
        loop {
            if let Some(revision) = self.waiting.pop_front() {
                let batch = self.deliver(revision).await?;
                if !batch.changes.is_empty() {
                    return Ok(batch);
                }
            } else if let Some(response) = self.receive().await? {
                self.take(&response).await?;
            }
        }
    }

    /// Whether it waits for etcd to call, seen from outside.
    pub(super) fn is_listening(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_listening)
    }

    /// What the stream says next; nothing where it has ended.
    async fn receive(&mut self) -> Result<Option<WatchResponse>, Error> {
        if self.stream.is_none() {
            let known = self.shared.recent.lock().after(self.manifest.epoch, self.position, self.seen, TAKEN);
            if let Some((upto, revisions)) = known {
                self.position = upto;
                self.waiting.extend(revisions);
                return Ok(None);
            }
            self.stream = Some(self.begin().await?);
        }
        let Some((number, stream)) = &mut self.stream else { return Ok(None) };
        self.is_listening.store(true, Ordering::Relaxed);
        let response = stream.next().await;
        self.is_listening.store(false, Ordering::Relaxed);
        if let Some(response) = response {
            return Ok(Some(response));
        }
        self.shared.nodes.leave(*number);
        self.stream = None;
        // Where all of etcd has ended, it may be another one that begins.
        self.shared.recent.lock().forget(self.line);
        Ok(None)
    }

    /// Begins a stream after the position, on whatever node answers.
    async fn begin(&mut self) -> Result<(usize, Watched), Error> {
        loop {
            sleep(self.pause).await;
            self.pause = (self.pause * 2).clamp(PAUSES.0, PAUSES.1);
            let first = self.shared.keys.watched().0;
            self.line = self.shared.recent.lock().line();
            // A stream has a connection of its own, which is part of beginning it.
            let begun = self.shared.nodes.watch(self.shared.deadlines.connect, first, self.options());
            match begun.await {
                (number, Ok(stream)) => match self.check().await {
                    Ok(()) => return Ok((number, stream)),
                    Err(error) if is_passing(&error) => {}
                    Err(error) => return Err(error),
                },
                (_, Err(refused @ Trouble::Refused { .. })) => return Err(refused.of_read()),
                (number, Err(_)) => self.shared.nodes.leave(number),
            }
        }
    }

    fn options(&self) -> WatchOptions {
        WatchOptions::new()
            .with_range(self.shared.keys.watched().1)
            .with_start_revision(self.position + 1)
            .with_progress_notify()
    }

    /// Whether the feed still goes on from the position without a gap.
    async fn check(&self) -> Result<(), Error> {
        let seen = self.look().await?;
        let other = seen.manifest.epoch != self.manifest.epoch || seen.newest < self.position;
        if other || self.is_compacted(self.position).await? {
            return Err(self.expired().await);
        }
        Ok(())
    }

    /// The manifest as it stands.
    async fn look(&self) -> Result<Seen, Error> {
        let get = TxnOp::get(self.shared.keys.manifest(), None);
        let (manifest, answer) = self.shared.read(vec![get]).await?;
        let laid = answer.op_responses().first().and_then(found).map_or(0, |stored| stored.create_revision());
        Ok(Seen { manifest, laid, newest: revision(&answer) })
    }

    /// Whether something after a revision may have been compacted away.
    ///
    /// Etcd takes the history to be whole from the compacted revision on. In releases of before 2025 it lacks deletions of
    /// just that revision, so it is the revision before the first wanted one that must not be compacted.
    async fn is_compacted(&self, revision: i64) -> Result<bool, Error> {
        let options = GetOptions::new().with_count_only().with_revision(revision);
        let there = self.shared.nodes.call(Purpose::Repeatable, self.shared.deadlines.read, |mut kv| {
            let (key, options) = (self.shared.keys.manifest(), options.clone());
            async move { kv.get(key, Some(options)).await }
        });
        match there.await {
            Ok(_) => Ok(false),
            Err(trouble) if trouble.is_compacted() => Ok(true),
            Err(trouble) => Err(trouble.of_read()),
        }
    }

    /// That the feed does not go on from the position, and from where it does.
    async fn expired(&self) -> Error {
        Expired { oldest: self.oldest().await.ok() }.into()
    }

    /// The oldest cursor from which nothing is missing.
    async fn oldest(&self) -> Result<Cursor, Error> {
        let seen = self.look().await?;
        let oldest = match self.is_compacted(seen.laid).await? {
            false => seen.laid,
            // Without an answer, at least the newest is good.
            true => self.compacted_revision().await.unwrap_or(seen.newest),
        };
        Ok(cursor(seen.manifest.epoch, oldest))
    }

    /// The revision up to which etcd was compacted. Only a watch that begins before it is told.
    async fn compacted_revision(&self) -> Option<i64> {
        let limit = self.shared.deadlines.connect;
        let from_the_first = WatchOptions::new().with_start_revision(1);
        let (_, stream) = self.shared.nodes.watch(limit, self.shared.keys.manifest(), from_the_first).await;
        let mut stream = stream.ok()?;
        let told = async {
            loop {
                let revision = stream.next().await?.compact_revision();
                if revision > 0 {
                    return Some(revision);
                }
            }
        };
        timeout(limit, told).await.ok()?
    }

    /// Sorts what the stream says into revisions.
    async fn take(&mut self, response: &WatchResponse) -> Result<(), Error> {
        if response.compact_revision() > 0 {
            let oldest = Some(cursor(self.manifest.epoch, response.compact_revision()));
            return Err(Expired { oldest }.into());
        }
        if response.canceled() {
            let reason = response.cancel_reason();
            if reason.contains("permission denied") {
                return Err(Failure::new(Outcome::NotApplied, reason.to_owned()).into());
            }
            // As when the node has lost its leader.
            if let Some((number, _)) = self.stream.take() {
                self.shared.nodes.leave(number);
            }
            return Ok(());
        }
        let progress = response.events().is_empty() && !response.created();
        if let Some(header) = response.header().filter(|_| progress) {
            self.position = self.position.max(header.revision());
            return Ok(());
        }
        if !response.events().is_empty() {
            self.pause = Duration::ZERO;
        }
        let mut revisions: Vec<Revision> = Vec::new();
        let manifest = self.shared.keys.manifest();
        for event in response.events() {
            let Some(stored) = event.kv() else { continue };
            // What was delivered before the stream was begun again.
            if stored.mod_revision() <= self.position {
                continue;
            }
            let deleted = event.event_type() == EventType::Delete;
            if stored.key() == manifest {
                let same = !deleted
                    && Manifest::decode(stored.value())
                        .is_ok_and(|manifest| manifest.epoch == self.manifest.epoch);
                if !same {
                    return Err(self.expired().await);
                }
                continue;
            }
            let Some(id) = self.shared.keys.id(stored.key()) else { continue };
            let change = (Arc::from(id), deleted);
            match revisions.last_mut().filter(|last| last.number == stored.mod_revision()) {
                Some(last) => last.changes.push(change),
                None => revisions.push(Revision { number: stored.mod_revision(), changes: vec![change] }),
            }
        }
        // All changes of one revision come in one response, so after the last of them nothing is missing.
        if let Some(last) = revisions.last() {
            let after = std::mem::replace(&mut self.position, last.number);
            self.shared.recent.lock().add(self.line, self.manifest.epoch, after, last.number, &revisions);
        }
        self.waiting.extend(revisions);
        Ok(())
    }

    /// The batch of one revision, each value only where it is still the stored one.
    async fn deliver(&mut self, revision: Revision) -> Result<Batch<[u8]>, Error> {
        let version = self.manifest.version(revision.number).ok_or(Refusal::VersionsExhausted)?;
        let puts = || revision.changes.iter().filter(|(_, deleted)| !deleted).map(|(id, _)| id);
        let mut values = VecDeque::new();
        let ids: Vec<&Arc<str>> = puts().collect();
        for some in ids.chunks(ENTRIES) {
            let get = |id: &&Arc<str>| TxnOp::get(self.shared.keys.resource(id), None);
            // A value is a courtesy: without an answer the change is told without it.
            let answer = self.shared.read(some.iter().map(get).collect()).await.ok();
            let answer = answer.filter(|(manifest, _)| manifest.epoch == self.manifest.epoch);
            let answer = answer.map(|(_, answer)| answer.op_responses()).unwrap_or_default();
            for (number, id) in some.iter().enumerate() {
                let stored = answer.get(number).and_then(found);
                let current = stored.and_then(|stored| decode(&self.manifest, id, stored).ok());
                let current = current.filter(|current| current.version == version);
                values.push_back(current.map(|current| current.value));
            }
        }
        let changes = revision.changes.into_iter().map(|(id, deleted)| {
            let kind = match deleted {
                true => ChangeKind::Delete,
                false => ChangeKind::Put(values.pop_front().flatten()),
            };
            Change { id, version, kind }
        });
        Ok(Batch { cursor: cursor(self.manifest.epoch, revision.number), changes: changes.collect() })
    }
}

/// Whether asking again may help: the engine did not answer, or not this time.
fn is_passing(error: &Error) -> bool {
    let Error::Failed(failure) = error else { return false };
    let Some(cause) = std::error::Error::source(failure) else { return false };
    match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(trouble), _) => !matches!(trouble, Trouble::Refused { .. }),
        (_, Some(unopened)) => matches!(unopened, ConnectError::Unreachable { .. }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_text() {
        let manifest = cursor(0xabc, 17);

        assert_eq!(manifest.as_str(), "eabc.11");
        assert_eq!(parse(&manifest).unwrap(), (0xabc, 17));
        for text in
            ["e", "e.", "eabc.", "e.11", "eABC.11", "e0abc.11", "eabc.-1", "eabc.+11", "fabc.11", "eabc.11.2"]
        {
            assert!(parse(&text.parse().unwrap()).is_err(), "{text}");
        }
    }
}
