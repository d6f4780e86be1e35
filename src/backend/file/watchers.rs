//! [`Watchers`], who waits for the next commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use super::caught::discard;
use crate::base::wake_by_ref;

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
        // Dropping one may end its task, and run what the program wrote for that: the others are awake by then.
        waiting.values().for_each(wake_by_ref);
        waiting.into_values().for_each(discard);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    /// A waker of a task: as it goes, it looks how many were woken.
    struct Task {
        woken: Arc<AtomicUsize>,
        seen: Arc<AtomicUsize>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            self.woken.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Drop for Task {
        fn drop(&mut self) {
            self.seen.fetch_min(self.woken.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    #[test]
    fn all_are_woken_before_the_end_of_a_task_can_hold_anybody_up() {
        let watchers = Watchers::default();
        let (woken, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(usize::MAX)));
        for _ in 0..8 {
            let task = Task { woken: Arc::clone(&woken), seen: Arc::clone(&seen) };
            watchers.wait(watchers.key(), Waker::from(Arc::new(task)));
        }

        watchers.wake();

        assert_eq!(seen.load(Ordering::Relaxed), 8, "a task ended before all were woken");
    }
}
