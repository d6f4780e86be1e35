//! [`Sleeper`], a watcher's task that waits for the next commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use crate::base::{AtomicBool, Mutex, ThreadId, this_thread};

/// A watcher's task that waits for the next commit.
///
/// It stays in the log until its waker has been called, not only until somebody is about to call it: a thread that took
/// it along may be held up before it gets there, and a commit that is answered meanwhile would have woken nobody. So
/// each commit wakes all that are still asleep, and one may be woken twice.
pub(super) struct Sleeper {
    waker: Waker,
    woken: AtomicBool,
    /// The threads that are about to call the waker. It may commit itself, and then must not be called by that commit again.
    callers: Mutex<Vec<ThreadId>>,
}

impl Sleeper {
    pub(super) fn new(waker: Waker) -> Arc<Self> {
        Arc::new(Self { waker, woken: AtomicBool::new(false), callers: Mutex::default() })
    }

    pub(super) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    /// Calls the waker, which is the program's code: under no lock, and one that panics must not keep the others
    /// asleep, nor fail whoever happened to wake it.
    pub(super) fn wake(&self) {
        if self.is_woken() {
            return;
        }
        let this = this_thread();
        let mut callers = self.callers.lock();
        if callers.contains(&this) {
            return;
        }
        callers.push(this);
        drop(callers);
        let _ = catch_unwind(AssertUnwindSafe(|| self.waker.wake_by_ref()));
        self.woken.store(true, Ordering::Release);
    }

    /// Lets go of it. The last one to do so drops the waker, which is the program's code as well.
    pub(super) fn release(self: Arc<Self>) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
    }
}
