//! The write ids that a namespace in etcd remembers: what became of one, and how the oldest are forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
};

use super::manifest::Manifest;
use super::nodes::Purpose;
use super::plan::{ENTRIES, absent, damaged_write, found, never};
use super::shared::{Shared, revision, slack};
use super::trouble::Trouble;
use super::written::Written;
use crate::store::{Committed, Error, Resolution, WriteId};

/// How many commits are forgotten at once at most.
const FORGOTTEN_AT_ONCE: i64 = 16_384;

/// A commit that is remembered: its write id, and the revision in which it was applied.
type Remembered = (WriteId, i64);

impl Shared {
    /// What became of a commit. One that never came is closed, so that it can't be applied any more.
    pub(super) async fn resolve(&self, write: WriteId) -> Result<Resolution, Error> {
        let room = i64::try_from(self.history).unwrap_or(i64::MAX);
        loop {
            let (before, manifest) = (self.newest(), self.manifest());
            // Both as far as is known. Where that is old, the answer tells.
            let barred = manifest.is_outside(write, before) || self.closings.load(Ordering::Relaxed) >= room;
            let [applied, closed] = [self.keys.write(write), self.keys.closed(write)];
            let (first, behind) = self.keys.closings();
            let transaction = || {
                let get = |key: &Vec<u8>| TxnOp::get(key.clone(), None);
                let count = GetOptions::new().with_range(behind.clone()).with_count_only();
                let count = TxnOp::get(first.clone(), Some(count));
                let may_close = if barred { never(closed.clone()) } else { absent(closed.clone()) };
                Txn::new()
                    .when([self.stands(&manifest), absent(applied.clone()), may_close])
                    .and_then([count.clone(), TxnOp::put(closed.clone(), [], None)])
                    .or_else([count, get(&self.keys.manifest()), get(&applied), get(&closed)])
            };
            // Closing an id twice is the same as closing it once.
            let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.read, |mut kv| {
                let transaction = transaction();
                async move { kv.txn(transaction).await }
            });
            let answer = answer.await.map_err(Trouble::of_read)?;
            self.saw(before, &answer);
            let operations = answer.op_responses();
            let closings = match operations.first() {
                Some(TxnOpResponse::Get(counted)) => counted.count(),
                _ => room,
            };
            self.closings.store(closings + i64::from(answer.succeeded()), Ordering::Relaxed);
            if answer.succeeded() {
                return Ok(Resolution::NotApplied);
            }
            let [stands, applied, closed] = [1, 2, 3].map(|number| operations.get(number).and_then(found));
            if stands.is_none_or(|stands| stands.value() != manifest.bytes) {
                let stands = stands.map(|stands| Manifest::decode(stands.value())).transpose()?;
                self.follow(stands).await?;
                continue;
            }
            if let Some(applied) = applied {
                let revision = applied.mod_revision();
                let written = Written::decode(write, applied.value())
                    .map_err(|damage| damaged_write(write, &manifest, revision, damage))?;
                let committed = self.recall(write, &written, revision).await.map_err(Trouble::of_read)?;
                return Ok(committed.map_or(Resolution::Unknown, Resolution::Applied));
            }
            if closed.is_some() {
                return Ok(Resolution::NotApplied);
            }
            if !barred || closings >= room || manifest.is_outside(write, revision(&answer)) {
                return Ok(Resolution::Unknown);
            }
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

    /// Takes note of a commit more. Now and then that makes the oldest leave, in a task of its own.
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

    /// Forgets the oldest commits where there are more than are kept. Where another store does so at this moment, the rest is
    /// left to it.
    async fn trim(&self) -> Result<(), Trouble> {
        loop {
            let manifest = self.manifest();
            let oldest = self.surplus().await?;
            if oldest.is_empty() {
                return Ok(());
            }
            let Some(manifest) = self.raise_floor(&manifest, &oldest).await? else { return Ok(()) };
            for some in oldest.chunks(ENTRIES) {
                if !self.forget(&manifest, some).await? {
                    return Ok(());
                }
            }
        }
    }

    /// The first of the commits, in the order in which they were applied, that are too many.
    async fn surplus(&self) -> Result<Vec<Remembered>, Trouble> {
        let (first, behind) = self.keys.writes();
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
        let oldest = get(oldest.with_sort(SortTarget::Mod, SortOrder::Ascend)).await?;
        let remembered = oldest
            .kvs()
            .iter()
            .filter_map(|oldest| Some((self.keys.write_id(oldest.key())?, oldest.mod_revision())));
        Ok(remembered.collect())
    }

    /// Raises the floor to the highest of these, before any of them is forgotten, and lets go of the closed write ids that it
    /// has passed: what is not above it is refused anyway. The manifest as it is then; `None` where another one stood there.
    async fn raise_floor(
        &self,
        manifest: &Manifest,
        oldest: &[Remembered],
    ) -> Result<Option<Manifest>, Trouble> {
        // One that was drawn in a later revision than it was applied in is from before a restore that nothing told, and the
        // floor there would keep out all until etcd is as far again. One of another history stays out by its tag.
        let drawn_before = |(write, revision): &&Remembered| manifest.is_ours(*write, revision - 1);
        let highest = oldest.iter().filter(drawn_before).map(|(write, _)| *write).max();
        let raised = Manifest::new(manifest.epoch, highest.unwrap_or(manifest.floor).max(manifest.floor));
        let (first, behind) = self.keys.closings_up_to(raised.floor);
        let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.commit, |mut kv| {
            let passed = DeleteOptions::new().with_range(behind.clone());
            let transaction = Txn::new().when([self.stands(manifest)]).and_then([
                TxnOp::put(self.keys.manifest(), raised.bytes.clone(), None),
                TxnOp::delete(first.clone(), Some(passed)),
            ]);
            async move { kv.txn(transaction).await }
        });
        if !answer.await?.succeeded() {
            return Ok(None);
        }
        self.set_manifest(raised.clone());
        Ok(Some(raised))
    }

    /// Forgets commits that are below the floor of this manifest; whether it was still that one.
    async fn forget(&self, manifest: &Manifest, commits: &[Remembered]) -> Result<bool, Trouble> {
        let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.commit, |mut kv| {
            let removals = commits.iter().map(|(write, _)| TxnOp::delete(self.keys.write(*write), None));
            let transaction = Txn::new().when([self.stands(manifest)]).and_then(removals.collect::<Vec<_>>());
            async move { kv.txn(transaction).await }
        });
        Ok(answer.await?.succeeded())
    }
}
