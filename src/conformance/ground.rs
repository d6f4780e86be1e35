//! `Ground`, the part of a store that one run of a law has for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::random;
use crate::conformance::race::{self, PATIENCE};
use crate::conformance::sample::Sample;
use crate::store::{
    Abilities, Commit, Committed, Condition, Conflict, Entry, Error, Expected, Receipt, Scan, Store, Version,
    WriteId,
};

/// The version and the number of a stored value; `None` where there is none.
pub(super) type Stored = Option<(Version, u64)>;

/// The part of a store that one run of a law has for itself: the ids under a prefix nobody else uses.
///
/// The prefix begins with the law's name, so that each message with an id also names the law.
pub(super) struct Ground<T: ?Sized> {
    store: Arc<dyn Store<T>>,
    prefix: Arc<str>,
}

impl<T: Sample + ?Sized> Ground<T> {
    pub(super) fn new(law: &str, store: &Arc<dyn Store<T>>) -> Self {
        Self { store: Arc::clone(store), prefix: format!("{law}-{:016x}/", random()).into() }
    }

    pub(super) fn store(&self) -> &dyn Store<T> {
        &*self.store
    }

    pub(super) fn abilities(&self) -> Abilities {
        self.store.abilities()
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn id(&self, name: impl std::fmt::Display) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What stands at the id.
    pub(super) async fn read(&self, id: &str) -> Stored {
        let read = self.store.get(id).await;
        let read = read.unwrap_or_else(|error| panic!("`{}` can't be read: {error}", id.escape_debug()));
        read.map(|current| (current.version, current.value.number()))
    }

    pub(super) async fn commit(&self, commit: Commit<'_, T>) -> Result<Committed, Error> {
        self.store.commit(commit).await
    }

    /// Commits one entry.
    pub(super) async fn send(&self, entry: Entry<'_, T>) -> Result<Receipt, Error> {
        let id = entry.id;
        let committed = self.commit(Commit::one(entry)).await?;
        let [receipt] = committed.receipts() else {
            panic!("`{}`: a commit of one entry has one receipt, not {committed:?}", id.escape_debug());
        };
        Ok(*receipt)
    }

    pub(super) async fn try_put(
        &self,
        id: &str,
        expected: impl Into<Condition>,
        number: u64,
    ) -> Result<Receipt, Error> {
        self.send(Entry::put(id, expected, T::sample(number))).await
    }

    /// Puts a value where nothing speaks against it, and gives its version.
    pub(super) async fn put(&self, id: &str, expected: impl Into<Condition>, number: u64) -> Version {
        let receipt = self.try_put(id, expected, number).await;
        let receipt =
            receipt.unwrap_or_else(|error| panic!("a put of `{}` failed: {error}", id.escape_debug()));
        receipt.version.unwrap_or_else(|| panic!("the receipt of a put of `{id}` has no version"))
    }

    /// A write id, drawn at the newest version there is.
    pub(super) async fn write_id(&self) -> WriteId {
        let newest = self.put(&self.id("drawn"), Expected::Any, 0).await;
        WriteId::after(Some(newest))
    }

    /// Deletes a value that is there, and gives the version of the deletion.
    pub(super) async fn delete(&self, id: &str, expected: impl Into<Condition>) -> Version {
        let receipt = self.send(Entry::delete(id, expected)).await;
        let receipt =
            receipt.unwrap_or_else(|error| panic!("a delete of `{}` failed: {error}", id.escape_debug()));
        receipt.version.unwrap_or_else(|| panic!("the receipt of a delete of `{id}` has no version"))
    }

    /// The conflict that a commit must have come back with.
    pub(super) fn conflict<R>(&self, answer: Result<R, Error>, what: &str) -> Conflict {
        match answer {
            Err(Error::Conflict(conflict)) => conflict,
            Err(error) => panic!("{}: {what} must conflict, but failed: {error}", self.prefix),
            Ok(_) => panic!("{}: {what} must conflict, but was applied", self.prefix),
        }
    }

    pub(super) async fn assert_state(&self, id: &str, expected: Stored, after: &str) {
        let found = self.read(id).await;
        assert_eq!(found, expected, "`{}` after {after}", id.escape_debug());
    }

    /// A change of one id by read and compare-and-swap, tried again until it is applied.
    pub(super) async fn modify(&self, id: &str, change: impl Fn(u64) -> u64) -> Receipt {
        loop {
            let Some((version, number)) = self.read(id).await else { panic!("`{id}` is gone") };
            match self.try_put(id, version, change(number)).await {
                Ok(receipt) => return receipt,
                Err(Error::Conflict(_)) => {}
                Err(error) => panic!("`{id}`: {error}"),
            }
        }
    }

    /// Runs `work` on threads that start together; see [`race::race`].
    pub(super) fn race<R: Send + 'static>(
        &self,
        threads: usize,
        work: impl Fn(&Self, usize) -> R + Send + Sync + 'static,
    ) -> Vec<R> {
        let ground = self.clone();
        race::race(&self.prefix, PATIENCE, threads, move |number| work(&ground, number))
    }

    /// Writes rising numbers from 1 on one thread while two others observe, and lets them observe a little longer.
    ///
    /// What is observed must have stood there during the observation: no older than what was acknowledged, or seen by
    /// the same observer, before it began, and no newer than what was begun before it ended.
    pub(super) fn observe_writes(
        &self,
        write: impl Fn(&Self, u64) + Send + Sync + 'static,
        observe: impl Fn(&Self, u64) -> u64 + Send + Sync + 'static,
    ) {
        const LEAST: u64 = 80;
        let progress = Progress::default();
        self.race(3, move |ground, thread| {
            if thread == 0 {
                let _end = EndOnDrop(&progress);
                for number in 1.. {
                    if progress.ended()
                        || (number > LEAST && progress.observed.load(Ordering::SeqCst) > LEAST)
                    {
                        return;
                    }
                    progress.begun.store(number, Ordering::SeqCst);
                    write(ground, number);
                    progress.acknowledged.store(number, Ordering::SeqCst);
                }
            }
            let _end = EndOnDrop(&progress);
            let (mut seen, mut turn, mut after) = (0, thread as u64, 0);
            // Also some after the last write: what is a little late shows itself when nothing moves any more.
            while after < 20 {
                after += u64::from(progress.ended());
                let least = progress.acknowledged.load(Ordering::SeqCst).max(seen);
                seen = observe(ground, turn);
                let most = progress.begun.load(Ordering::SeqCst);
                assert!(
                    (least..=most).contains(&seen),
                    "{}: {seen} was observed, but only {least} to {most} stood there meanwhile",
                    ground.prefix()
                );
                progress.observed.fetch_add(1, Ordering::SeqCst);
                turn += 1;
            }
        });
    }

    /// Deletes what the law has left, as far as the store lets it.
    pub(super) async fn clear(self) {
        // Bounded: a store that does not delete must not keep the law from ending.
        for _ in 0..100 {
            let Ok(page) = self.store.scan(Scan::new(&self.prefix, 100).without_values()).await else {
                return;
            };
            if page.items.is_empty() {
                return;
            }
            for (id, _) in page.items.iter().filter(|(id, _)| id.starts_with(&*self.prefix)) {
                let _ = self.send(Entry::delete(id, Expected::Any)).await;
            }
        }
    }
}

/// How far a writer and its observers are; see [`Ground::observe_writes`].
#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    acknowledged: AtomicU64,
    observed: AtomicU64,
    ended: AtomicBool,
}

impl Progress {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// Lets the other threads end too when one ends, by a panic as well.
struct EndOnDrop<'p>(&'p Progress);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
    }
}

impl<T: ?Sized> Clone for Ground<T> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), prefix: Arc::clone(&self.prefix) }
    }
}
