//! [`Later`], a layer that answers like a store far away: never at once, and with fewer abilities.

use std::future::poll_fn;
use std::task::Poll;
use std::thread;

use ifmatch::conformance::Sample;
use ifmatch::store::{Abilities, Changes, Committed, Listed, Page, Refusal, Resolution, Scan, WriteId};
use ifmatch::{Commit, Reply, Start, Store, Versioned};

/// Makes every reply pending, before and after the call, and takes commits of at most so many entries.
pub(crate) struct Later<S> {
    pub(crate) store: S,
    pub(crate) entries: usize,
}

impl<T: Sample + ?Sized, S: Store<T>> Store<T> for Later<S> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        later(move || self.store.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let (entries, limit) = (commit.entries().len(), self.entries);
        if entries > limit {
            return Reply::ready(Err(Refusal::TooMany { entries, limit }.into()));
        }
        later(move || self.store.commit(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        later(move || self.store.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        later(move || self.store.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        later(move || self.store.watch(from))
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.store.abilities();
        abilities.entries = self.entries;
        abilities
    }
}

/// Calls after one poll, and answers after one more, woken from another thread as by a driver.
fn later<'a, R: Send + 'a>(call: impl FnOnce() -> Reply<'a, R> + Send + 'a) -> Reply<'a, R> {
    Reply::pending(async move {
        woken_by_another_thread().await;
        let answer = call().await;
        woken_by_another_thread().await;
        answer
    })
}

async fn woken_by_another_thread() {
    let mut asked = false;
    poll_fn(|context| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        thread::spawn(move || waker.wake());
        Poll::Pending
    })
    .await;
}
