//! [`Watchers`], who waits for the next commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Who waits for the next commit.
///
/// While somebody watches, one task for all of them asks the engine whether there is news; a commit of this store says so
/// by itself. Whoever is woken looks for itself, from its own place.
#[derive(Default)]
pub(super) struct Watchers {
    waiting: Mutex<HashMap<u64, Waker>>,
    issued: AtomicU64,
    /// How many feeds there are.
    pub(super) live: AtomicUsize,
    /// How often there was news.
    news: AtomicU64,
    pub(super) hint: Notify,
    /// Whether a task asks the engine for news.
    pub(super) asking: AtomicBool,
}

impl Watchers {
    /// One more feed: its key, and whether a task must begin to ask the engine.
    pub(super) fn enter(&self) -> (u64, bool) {
        self.live.fetch_add(1, Ordering::SeqCst);
        let begins = !self.asking.swap(true, Ordering::SeqCst);
        (self.issued.fetch_add(1, Ordering::Relaxed), begins)
    }

    pub(super) fn leave(&self, key: u64) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        let left = self.waiting.lock().remove(&key);
        drop(left);
    }

    /// Has this waker called at the next news. Tells how often there was news before.
    pub(super) fn wait(&self, key: u64, waker: Waker) -> u64 {
        let replaced = self.waiting.lock().insert(key, waker);
        drop(replaced);
        self.news.load(Ordering::SeqCst)
    }

    /// A commit of this store was applied.
    pub(super) fn hint(&self) {
        if self.live.load(Ordering::SeqCst) > 0 {
            self.hint.notify_one();
        }
    }

    /// There is news.
    pub(super) fn wake(&self, handle: &Handle) {
        self.news.fetch_add(1, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for waker in waiting.into_values() {
            wake_elsewhere(handle, waker);
        }
    }
}

/// Wakes a task on a thread that may block: its waker is the program's code, may call the store, and would wait here for
/// connections that this very thread serves.
fn wake_elsewhere(handle: &Handle, waker: Waker) {
    handle.spawn_blocking(move || waker.wake());
}

/// A waker that wakes another one where that may block.
pub(super) fn relay(handle: &Handle, waker: &Waker) -> Waker {
    struct Relay(Handle, Waker);

    impl Wake for Relay {
        fn wake(self: Arc<Self>) {
            wake_elsewhere(&self.0, self.1.clone());
        }
    }

    Waker::from(Arc::new(Relay(handle.clone(), waker.clone())))
}
