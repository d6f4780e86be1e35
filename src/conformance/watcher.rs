//! `Watcher`, a feed that shows only the ids of one law's ground.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::conformance::ground::Ground;
use crate::conformance::race::within;
use crate::conformance::sample::Sample;
use crate::store::{Batch, Changes, Cursor, Entry, Error, Expected, Start, Store, Version, block_on};

/// A feed that shows only the ids of one law's ground: others may write to the same store.
pub(super) struct Watcher<T: ?Sized> {
    changes: Changes<T>,
    prefix: Arc<str>,
}

/// One change of an id of the law's ground.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) version: Version,
    pub(super) deleted: bool,
    pub(super) number: Option<u64>,
}

impl<T: Sample + ?Sized> Watcher<T> {
    pub(super) async fn start(ground: &Ground<T>, from: Start) -> Self {
        let changes = within(ground.prefix(), ground.store().watch(from)).await;
        let changes =
            changes.unwrap_or_else(|error| panic!("{}: can't be watched: {error}", ground.prefix()));
        Self { changes, prefix: ground.prefix().into() }
    }

    pub(super) async fn now(ground: &Ground<T>) -> Self {
        Self::start(ground, Start::Now).await
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.changes.cursor().clone()
    }

    /// The law's own changes in the next batch that has any.
    pub(super) async fn next(&mut self) -> Vec<Seen> {
        self.try_next().await.unwrap_or_else(|error| panic!("{}: the feed ended: {error}", self.prefix))
    }

    /// The same for feeds that may end.
    pub(super) async fn try_next(&mut self) -> Result<Vec<Seen>, Error> {
        loop {
            let batch = within(&self.prefix, self.changes.next()).await?;
            assert_eq!(
                self.changes.cursor(),
                &batch.cursor,
                "{}: the cursor after a batch is the batch's",
                self.prefix
            );
            let own = self.own(&batch);
            if !own.is_empty() {
                return Ok(own);
            }
        }
    }

    /// Polls `next` once and drops it: the law's own changes, if it gave a batch that has any.
    pub(super) fn poll_own(&mut self, waker: &Waker) -> Poll<Option<Vec<Seen>>> {
        let polled = pin!(self.changes.next()).poll(&mut Context::from_waker(waker));
        polled.map(|batch| {
            let batch = batch.unwrap_or_else(|error| panic!("{}: the feed ended: {error}", self.prefix));
            Some(self.own(&batch)).filter(|own| !own.is_empty())
        })
    }

    /// All batches up to the one that changes `last`, and that one.
    pub(super) async fn until(&mut self, last: &str) -> Vec<Vec<Seen>> {
        let mut batches = Vec::new();
        loop {
            let batch = self.next().await;
            let end = batch.iter().any(|seen| seen.id == last);
            batches.push(batch);
            if end {
                return batches;
            }
        }
    }

    /// The law's own changes in a batch.
    fn own(&self, batch: &Batch<T>) -> Vec<Seen> {
        let own = batch.changes.iter().filter(|change| change.id.starts_with(&*self.prefix));
        own.map(|change| Seen {
            id: change.id.to_string(),
            version: change.version,
            deleted: change.is_delete(),
            number: change.value().map(|value| value.number()),
        })
        .collect()
    }
}

/// The ground of a law, where the store has a feed.
pub(super) fn watched<T: Sample + ?Sized>(law: &str, store: &Arc<dyn Store<T>>) -> Option<Ground<T>> {
    store.abilities().watch.then(|| Ground::new(law, store))
}

/// Puts and deletes of racing writers on few ids: every change that was acknowledged.
pub(super) fn write_and_delete<T: Sample + ?Sized>(
    ground: &Ground<T>,
    threads: usize,
    each: u64,
) -> Vec<(String, Version)> {
    let written = ground.race(threads, move |ground, thread| {
        let mut written = Vec::new();
        for number in 0..each {
            let id = ground.id((number + thread as u64) % 3);
            let entry = match number % 4 {
                3 => Entry::delete(&id, Expected::Any),
                _ => Entry::put(&id, Expected::Any, T::sample(number)),
            };
            let receipt = block_on(ground.send(entry)).unwrap_or_else(|error| panic!("`{id}`: {error}"));
            written.extend(receipt.version.map(|version| (id, version)));
        }
        written
    });
    written.into_iter().flatten().collect()
}

/// Puts of one writer on an id of its own: every change, in order.
pub(super) fn write_alone<T: Sample + ?Sized>(
    ground: &Ground<T>,
    writer: usize,
    each: u64,
) -> Vec<(String, Version)> {
    let id = ground.id(writer);
    (0..each).map(|number| (id.clone(), block_on(ground.put(&id, Expected::Any, number)))).collect()
}
