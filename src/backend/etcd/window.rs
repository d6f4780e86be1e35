//! The write ids that a collection in etcd remembers: what became of one, and how the oldest are forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, SortOrder, SortTarget, Txn, TxnOp};

use super::Shared;
use super::nodes::Purpose;
use super::place::{Place, floor_of_now, floor_text};
use super::plan::{ENTRIES, absent, damaged_write, found};
use super::trouble::Trouble;
use super::written::Written;
use crate::store::{Committed, Error, Resolution, WriteId};

/// How many write ids leave at once at most.
const FORGOTTEN_AT_ONCE: i64 = 16_384;

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
                        self.stands(&place),
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
            let [stands, applied, closed] = [0, 1, 2].map(|number| operations.get(number).and_then(found));
            if stands.is_none_or(|stands| stands.value() != place.bytes) {
                let stands = stands.map(|stands| Place::decode(stands.value())).transpose()?;
                self.follow(stands).await?;
                continue;
            }
            if let Some(applied) = applied {
                let revision = applied.mod_revision();
                let written = Written::decode(write, applied.value())
                    .map_err(|damage| damaged_write(write, &place, revision, damage))?;
                let committed = self.recall(write, &written, revision).await.map_err(Trouble::of_read)?;
                return Ok(committed.map_or(Resolution::Unknown, Resolution::Applied));
            }
            return Ok(closed.map_or(Resolution::Unknown, |_| Resolution::NotApplied));
        }
    }

    /// The answer that a commit was given; `None` where it was forgotten in between, or etcd has compacted away what it
    /// replaced.
    pub(super) async fn recall(
        &self,
        write: WriteId,
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
            // Else the history is another one.
            let same = Compare::mod_revision(self.keys.write(write), CompareOp::Equal, revision);
            async move { kv.txn(Txn::new().when([same]).and_then(gets)).await }
        });
        let answer = match answer.await {
            Ok(answer) if answer.succeeded() => answer,
            Ok(_) => return Ok(None),
            Err(trouble) if trouble.is_compacted() => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        let history = answer.op_responses();
        let history = history.iter().map(|before| found(before).map(|before| before.mod_revision()));
        Ok(written.committed(revision, &history.collect::<Vec<_>>()))
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
        // Those that were applied first, whatever the clocks say that drew them.
        loop {
            let by_commit = |oldest: GetOptions| oldest.with_sort(SortTarget::Mod, SortOrder::Ascend);
            let oldest = self.oldest_of(self.keys.writes(), by_commit).await?;
            if oldest.is_empty() {
                break;
            }
            for some in oldest.chunks(ENTRIES) {
                self.forget(some).await?;
            }
        }
        // Those that were drawn first: what is forgotten here shuts out all that is older, and one id of a clock that is
        // ahead must not shut out the others.
        loop {
            let oldest = self.oldest_of(self.keys.closings(), |oldest| oldest).await?;
            let Some(youngest) = oldest.last() else { break };
            let place = self.place();
            self.forget_closed(&place, *youngest).await?;
            if *self.place() == *place {
                break;
            }
        }
        Ok(())
    }

    /// The first of the ids in a range, as they are sorted, that are too many.
    async fn oldest_of(
        &self,
        (first, behind): (Vec<u8>, Vec<u8>),
        sort: impl Fn(GetOptions) -> GetOptions,
    ) -> Result<Vec<WriteId>, Trouble> {
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
            return Ok(Vec::new());
        }
        let oldest = GetOptions::new().with_keys_only().with_limit(surplus.min(FORGOTTEN_AT_ONCE));
        let oldest = get(sort(oldest)).await?;
        Ok(oldest.kvs().iter().filter_map(|oldest| self.keys.write_id(oldest.key())).collect())
    }

    /// Removes applied write ids. All up to the youngest of them may have been applied from now on.
    async fn forget(&self, writes: &[WriteId]) -> Result<(), Trouble> {
        let Some(youngest) = writes.iter().max() else { return Ok(()) };
        self.nodes
            .call(Purpose::Repeatable, self.deadlines.commit, |mut kv| {
                let mut operations = vec![self.raise_floor(*youngest)];
                operations.extend(writes.iter().map(|write| TxnOp::delete(self.keys.write(*write), None)));
                async move { kv.txn(Txn::new().and_then(operations)).await }
            })
            .await
            .map(drop)
    }

    /// An operation that raises the floor to this write id, unless it is higher, or gone: then nothing holds any more.
    pub(super) fn raise_floor(&self, to: WriteId) -> TxnOp {
        let (floor, to) = (self.keys.floor(), floor_text(to));
        let lower = Compare::value(floor.clone(), CompareOp::Less, to.clone());
        TxnOp::txn(Txn::new().when([lower]).and_then([TxnOp::put(floor, to, None)]))
    }

    /// The floor of a place that is new to this store: nothing is known of commits of before. No clock that was set back
    /// makes those that this store has sent look new.
    pub(super) fn floor_of_now(&self) -> WriteId {
        floor_of_now().max(*self.youngest.lock())
    }

    /// Removes closed write ids up to this one. The place shuts out what is as old, in every store.
    async fn forget_closed(&self, place: &Place, youngest: WriteId) -> Result<(), Trouble> {
        let next = Place::new(place.epoch, place.closed.max(youngest));
        let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.commit, |mut kv| {
            let remove = self.removal(self.keys.closings().0, self.keys.closed(youngest));
            let transaction = Txn::new()
                .when([self.stands(place)])
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

/// After how many write ids the oldest leave together: etcd reads all of them to find these.
pub(super) fn slack(history: usize) -> usize {
    (history / 8).clamp(1, 16_384)
}
