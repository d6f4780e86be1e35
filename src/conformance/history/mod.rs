//! Histories: what many threads asked of a store and what it answered, and whether one order explains all of it.
//!
//! [`Recorded`] wraps a store and writes down every call and answer. [`History::check`] then looks for an order of
//! the calls, each at one instant between its call and its return, in which every answer is true. It answers in
//! O(n log n), so that a test can check millions of calls rather than thousands. A history it refuses is
//! [saved](History::save) with its seed and checked again at leisure.
//!
//! The search is short because the store tells the order itself: versions of an id strictly increase, and each
//! receipt names the version that its own replaced. So the versions of an id form a chain, every read belongs to one
//! link of it, and what is left is to give each link an instant: the earliest that its own call and the calls of all
//! that must come before allow. If that is later than its return, no order exists.
//!
//! ```
//! use std::thread;
//! use ifmatch::conformance::history::{Numbering, Recorded};
//! use ifmatch::{Commit, Entry, Error, Expected, Memory, Store};
//!
//! let store = Recorded::new(Memory::<u64>::new());
//! thread::scope(|scope| {
//!     for thread in 0..4u64 {
//!         let store = &store;
//!         scope.spawn(move || {
//!             for count in 0..100 {
//!                 let found = store.get("hot").wait()?.map_or(Expected::Absent, |found| found.version.into());
//!                 let put = Entry::put("hot", found, (thread << 32 | count).into());
//!                 let _ = store.commit(Commit::one(put)).wait();
//!             }
//!             Ok::<_, Error>(())
//!         });
//!     }
//! });
//!
//! let checked = store.history(Numbering::StoreWide).check()?;
//! assert_eq!(checked.operations, 800);
//! # Ok::<_, ifmatch::conformance::history::Violation>(())
//! ```

mod chain;
mod check;
mod event;
mod explain;
mod gather;
mod order;
mod recorder;
#[cfg(feature = "json")]
mod saved;
mod violation;
mod workload;

pub use check::Checked;
pub use event::{Answer, Deed, Event, History, Numbering, Operation, Seen, Sight, Step};
pub use recorder::Recorded;
#[cfg(feature = "json")]
pub use saved::LoadError;
pub use violation::Violation;
pub use workload::Workload;
