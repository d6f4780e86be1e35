//! The write ids that a collection in etcd remembers: what became of one, and how the oldest are forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, Txn, TxnOp, TxnOpResponse};

use super::Shared;
use super::nodes::Purpose;
use super::place::{Place, floor_text};
use super::plan::{absent, damaged_write, value};
use super::trouble::Trouble;
use super::written::Written;
use crate::commit::Committed;
use crate::error::Error;
use crate::store::Resolution;
use crate::write_id::WriteId;

/// How many write ids leave in one transaction at most.
const FORGOTTEN_AT_ONCE: i64 = 2048;

impl Shared {
    /// What became of a commit. One that never came is closed, so that it can't be applied any more.
    pub(super) async fn resolve(self: &Arc<Self>, write: WriteId) -> Result<Resolution, Error> {
        loop {
            let place = self.place();
            let [applied, closed] = [self.keys.write(write), self.keys.closed(write)];
            let transaction = || {
                let get = |key: Vec<u8>| TxnOp::get(key, None);
                Txn::new()
                    .when([
                        Compare::value(self.keys.place(), CompareOp::Equal, place.bytes.clone()),
                        absent(applied.clone()),
                        absent(closed.clone()),
                        // An id that was forgotten is at most the floor. Where that is gone, nothing holds.
                        Compare::value(self.keys.floor(), CompareOp::Less, floor_text(write)),
                    ])
                    .and_then([TxnOp::put(closed.clone(), [], None)])
                    .or_else([get(self.keys.place()), get(applied.clone()), get(closed.clone())])
            };
            // Closing an id twice is the same as closing it once.
            let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.read, |mut kv| {
                let transaction = transaction();
                async move { kv.txn(transaction).await }
            });
            let answer = answer.await.map_err(Trouble::of_read)?;
            if answer.succeeded() {
                self.note();
                return Ok(Resolution::NotApplied);
            }
            let operations = answer.op_responses();
            let [TxnOpResponse::Get(stands), TxnOpResponse::Get(applied), TxnOpResponse::Get(closed)] =
                &*operations
            else {
                return Ok(Resolution::Unknown);
            };
            match value(stands) {
                Some(stands) if stands.value() == place.bytes => {}
                Some(stands) => {
                    self.set_place(Place::decode(stands.value())?);
                    continue;
                }
                None => {
                    self.lay().await?;
                    continue;
                }
            }
            if let Some(applied) = value(applied) {
                let revision = applied.mod_revision();
                let written = Written::decode(write, applied.value())
                    .map_err(|damage| damaged_write(write, &place, revision, damage))?;
                let committed = self.recall(&written, revision).await.map_err(Trouble::of_read)?;
                return Ok(committed.map_or(Resolution::Unknown, Resolution::Applied));
            }
            return Ok(match value(closed) {
                Some(_) => Resolution::NotApplied,
                None => Resolution::Unknown,
            });
        }
    }

    /// The answer that a commit was given; `None` where etcd has compacted away what it replaced.
    pub(super) async fn recall(
        &self,
        written: &Written,
        revision: i64,
    ) -> Result<Option<Committed>, Trouble> {
        let asked = || written.asked().map(|id| self.keys.resource(id));
        if asked().next().is_none() {
            return Ok(written.committed(revision, &[]));
        }
        let before = || GetOptions::new().with_keys_only().with_revision(revision - 1);
        let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.read, |mut kv| {
            let gets: Vec<TxnOp> = asked().map(|key| TxnOp::get(key, Some(before()))).collect();
            async move { kv.txn(Txn::new().and_then(gets)).await }
        });
        let answer = match answer.await {
            Ok(answer) => answer,
            Err(trouble) if trouble.is_compacted() => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let found = answer.op_responses();
        let revisions = found.iter().map(|operation| match operation {
            TxnOpResponse::Get(found) => value(found).map(|before| before.mod_revision()),
            _ => None,
        });
        Ok(written.committed(revision, &revisions.collect::<Vec<_>>()))
    }

    /// Takes note of a write id more. Now and then that makes the oldest leave, in a task of its own.
    pub(super) fn note(self: &Arc<Self>) {
        let noted = self.noted.fetch_add(1, Ordering::Relaxed) + 1;
        if noted < slack(self.history) || self.trimming.swap(true, Ordering::AcqRel) {
            return;
        }
        self.noted.store(0, Ordering::Relaxed);
        let shared = Arc::clone(self);
        self.runtime.handle().spawn(async move {
            // What was left is done the next time.
            let _ = shared.trim().await;
            shared.trimming.store(false, Ordering::Release);
        });
    }

    /// Lets go of the oldest write ids where there are more than are kept.
    async fn trim(&self) -> Result<(), Trouble> {
        while let Some(youngest) = self.oldest_of(self.keys.writes()).await? {
            self.forget(youngest).await?;
        }
        while let Some(youngest) = self.oldest_of(self.keys.closings()).await? {
            let place = self.place();
            self.forget_closed(&place, youngest).await?;
            if *self.place() == *place {
                break;
            }
        }
        Ok(())
    }

    /// The youngest of the ids in a range that are too many; they are sorted by the time they were drawn.
    async fn oldest_of(&self, (first, behind): (Vec<u8>, Vec<u8>)) -> Result<Option<WriteId>, Trouble> {
        let get = |options: GetOptions| {
            let (first, behind) = (&first, &behind);
            self.nodes.call(Purpose::Repeatable, self.deadlines.read, move |mut kv| {
                let (first, options) = (first.clone(), options.clone().with_range(behind.clone()));
                async move { kv.get(first, Some(options)).await }
            })
        };
        let count = get(GetOptions::new().with_count_only()).await?.count();
        let surplus = count - i64::try_from(self.history).unwrap_or(i64::MAX);
        if surplus <= 0 {
            return Ok(None);
        }
        let oldest = GetOptions::new().with_keys_only().with_limit(surplus.min(FORGOTTEN_AT_ONCE));
        let oldest = get(oldest).await?;
        Ok(oldest.kvs().last().and_then(|last| self.keys.write_id(last.key())))
    }

    /// Removes applied write ids up to this one, which from now on may have been applied.
    async fn forget(&self, youngest: WriteId) -> Result<(), Trouble> {
        let floor = self.keys.floor();
        self.nodes
            .call(Purpose::Repeatable, self.deadlines.commit, |mut kv| {
                let remove = self.removal(self.keys.writes().0, self.keys.write(youngest));
                let raise = TxnOp::put(floor.clone(), floor_text(youngest), None);
                let transaction = Txn::new()
                    .when([Compare::value(floor.clone(), CompareOp::Less, floor_text(youngest))])
                    .and_then([raise, remove.clone()])
                    .or_else([remove]);
                async move { kv.txn(transaction).await }
            })
            .await
            .map(drop)
    }

    /// Removes closed write ids up to this one. The place shuts out what is as old, in every store.
    async fn forget_closed(&self, place: &Place, youngest: WriteId) -> Result<(), Trouble> {
        let next = Place::new(place.epoch, place.closed.max(youngest));
        let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.commit, |mut kv| {
            let remove = self.removal(self.keys.closings().0, self.keys.closed(youngest));
            let transaction = Txn::new()
                .when([Compare::value(self.keys.place(), CompareOp::Equal, place.bytes.clone())])
                .and_then([TxnOp::put(self.keys.place(), next.bytes.clone(), None), remove]);
            async move { kv.txn(transaction).await }
        });
        if answer.await?.succeeded() {
            self.set_place(next);
        }
        Ok(())
    }

    /// An operation that removes the keys from `first` to `last`.
    fn removal(&self, first: Vec<u8>, mut last: Vec<u8>) -> TxnOp {
        last.push(0);
        TxnOp::delete(first, Some(DeleteOptions::new().with_range(last)))
    }
}

/// After how many write ids the oldest leave together.
pub(super) fn slack(history: usize) -> usize {
    (history / 64).clamp(1, 1024)
}
