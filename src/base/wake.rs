//! Waking tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Wakes a task. A waker is the program's code: one that panics must not keep the others asleep, nor fail whoever
/// happened to wake it.
pub(crate) fn wake(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// The same with a waker that is dropped later, since dropping it is the program's code too.
#[cfg(feature = "file")]
pub(crate) fn wake_by_ref(waker: &Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake_by_ref()));
}
