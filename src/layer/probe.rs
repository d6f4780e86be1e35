//! For the tests of layers: a memory store that keeps a record of the calls, can answer late, and lets others write
//! just before a commit.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::memory::Memory;
use crate::store::{
    Abilities, Batch, Changes, Commit, Committed, Entry, Error, Expected, Listed, Page, Reply, Resolution,
    Resource, Scan, Start, Store, Version, Versioned, WriteId,
};

type Meddler<T> = Box<dyn FnMut(&Memory<T>) + Send>;

/// Clones share everything: a test keeps one and gives one to a layer.
pub(crate) struct Probe<T: Resource + ?Sized> {
    inner: Arc<Inner<T>>,
}

struct Inner<T: Resource + ?Sized> {
    memory: Memory<T>,
    /// How many replies are still ready; the others are pending at their first poll.
    prompt: AtomicUsize,
    calls: Mutex<Vec<String>>,
    before_commits: Mutex<Option<Meddler<T>>>,
}

impl<T: Resource + ?Sized> Probe<T> {
    /// Every reply is ready.
    pub(crate) fn prompt() -> Self {
        Self::prompt_for(usize::MAX)
    }

    /// Every reply is pending at its first poll.
    pub(crate) fn late() -> Self {
        Self::prompt_for(0)
    }

    /// So many replies are ready, and those after them pending at their first poll.
    pub(crate) fn prompt_for(calls: usize) -> Self {
        let first: Version = "1".parse().unwrap();
        let inner = Inner {
            memory: Memory::starting_at(first),
            prompt: AtomicUsize::new(calls),
            calls: Mutex::default(),
            before_commits: Mutex::new(None),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs `meddle` just before each commit that comes through the layer.
    pub(crate) fn before_commits(&self, meddle: impl FnMut(&Memory<T>) + Send + 'static) {
        *self.inner.before_commits.lock() = Some(Box::new(meddle));
    }

    /// Writes past the layer and the record, and gives the version.
    pub(crate) fn set(&self, id: &str, value: impl Into<Arc<T>>) -> Version {
        set(&self.inner.memory, id, value)
    }

    /// Deletes past the layer and the record.
    #[cfg(feature = "json")]
    pub(crate) fn delete(&self, id: &str) {
        delete(&self.inner.memory, id);
    }

    /// What is stored, past the layer and the record.
    pub(crate) fn peek(&self, id: &str) -> Option<Versioned<T>> {
        self.inner.memory.get(id).wait().unwrap()
    }

    /// The calls since the last time they were taken.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.inner.calls.lock())
    }

    fn answer<'a, A: Send + 'a>(&'a self, call: String, reply: Reply<'a, A>) -> Reply<'a, A> {
        self.inner.calls.lock().push(call);
        let left = |left: usize| left.checked_sub(1);
        if self.inner.prompt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
            return reply;
        }
        Reply::pending(async move {
            later().await;
            reply.await
        })
    }
}

/// Writes blindly, and gives the version.
pub(crate) fn set<T: Resource + ?Sized>(memory: &Memory<T>, id: &str, value: impl Into<Arc<T>>) -> Version {
    let put = Entry::put(id, Expected::Any, value.into());
    memory.commit(Commit::one(put)).wait().unwrap().version().unwrap()
}

/// Deletes blindly.
#[cfg(feature = "json")]
pub(crate) fn delete<T: Resource + ?Sized>(memory: &Memory<T>, id: &str) {
    memory.commit(Commit::one(Entry::delete(id, Expected::Any))).wait().unwrap();
}

/// The answer, which has to be here already.
pub(crate) fn at_once<A>(reply: Reply<'_, A>) -> Result<A, Error> {
    reply.into_ready().unwrap_or_else(|_| panic!("the reply is pending"))
}

/// Whether a reply is pending after its first poll. Then drops it.
pub(crate) fn is_pending<A>(reply: Reply<'_, A>) -> bool {
    pin!(reply).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// The next batch, which has to be here already.
pub(crate) fn next_of<T: ?Sized>(changes: &mut Changes<T>) -> Result<Batch<T>, Error> {
    match changes.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(batch) => batch,
        Poll::Pending => panic!("there is no batch"),
    }
}

async fn later() {
    let mut polled = false;
    poll_fn(|context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<T: Resource + ?Sized> Clone for Probe<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T: Resource + ?Sized> Store<T> for Probe<T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        self.answer(format!("get {id}"), self.inner.memory.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        if let Some(meddle) = &mut *self.inner.before_commits.lock() {
            meddle(&self.inner.memory);
        }
        let entries: Vec<_> = commit
            .entries()
            .iter()
            .map(|entry| format!("{} if {}", entry.id, entry.condition.expected))
            .collect();
        let reply = self.inner.memory.commit(commit);
        self.answer(format!("commit {}", entries.join(", ")), reply)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.answer(format!("resolve {write}"), self.inner.memory.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        let Scan { prefix, after, limit, values } = scan;
        let what = if values { "" } else { "ids " };
        let call = format!("scan {what}{prefix} after {} limit {limit}", after.unwrap_or_default());
        self.answer(call, self.inner.memory.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.answer("watch".to_owned(), self.inner.memory.watch(from))
    }

    fn abilities(&self) -> Abilities {
        self.inner.memory.abilities()
    }
}
