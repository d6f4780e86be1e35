//! The locks, atomics and sharded rows that threads share: the real ones, or those whose schedules shuttle explores.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --release --target-dir target/shuttle --lib schedules::` runs the tests in
//! `tests/schedules/` on the second; without `--release` that takes forty times as long.

#[cfg(not(all(test, shuttle)))]
pub(crate) use {
    dashmap::DashMap,
    parking_lot::{Mutex, RwLock},
    std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize},
    std::thread::{self, ThreadId},
};

#[cfg(all(test, shuttle))]
mod explored;

#[cfg(all(test, shuttle))]
pub(crate) use explored::{AtomicBool, AtomicU64, AtomicUsize, DashMap, Mutex, RwLock};
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::thread::{self, ThreadId};

/// Which thread this is.
pub(crate) fn this_thread() -> ThreadId {
    thread::current().id()
}

/// A value in cache lines of its own: what all threads change would otherwise take its neighbours away from those that
/// only read them.
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);
