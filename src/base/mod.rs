//! The ground: numbers that nobody guesses, short lists, wakers that may panic, and the locks that threads share.
//!
//! Nothing in this room knows what a resource or a version is.

mod one_or_many;
mod random;
mod sync;
mod wake;

pub(crate) use one_or_many::OneOrMany;
pub(crate) use random::random;
pub(crate) use sync::{
    Apart, AtomicBool, AtomicU64, AtomicUsize, DashMap, Mutex, RwLock, ThreadId, this_thread,
};
pub(crate) use wake::wake;
#[cfg(feature = "file")]
pub(crate) use wake::wake_by_ref;
