//! [`Watchers`], who waits for the next commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::base::wake;

/// Who waits for the next commit.
#[derive(Default)]
pub(super) struct Watchers {
    waiting: Mutex<HashMap<u64, Waker>>,
    issued: AtomicU64,
}

impl Watchers {
    /// A key of its own for one more watcher.
    pub(super) fn key(&self) -> u64 {
        self.issued.fetch_add(1, Ordering::Relaxed)
    }

    /// Has a watcher woken at the next commit.
    pub(super) fn wait(&self, key: u64, waker: Waker) {
        let replaced = self.waiting.lock().insert(key, waker);
        drop(replaced);
    }

    /// Forgets a watcher.
    pub(super) fn leave(&self, key: u64) {
        let left = self.waiting.lock().remove(&key);
        drop(left);
    }

    /// Wakes everybody, who then look for themselves. Runs the program's own code: call it under no lock.
    pub(super) fn wake(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_values().for_each(wake);
    }
}
