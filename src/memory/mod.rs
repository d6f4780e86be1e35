//! [`Memory`], the store in this process: rows, their order, the feed's log, and the window of write ids.
//!
//! Nothing is serialized here, and no lock is held while anything of a user's runs.

mod index;
mod log;
mod memory;
mod sleeper;
mod table;

pub use memory::Memory;
pub(crate) use table::{Place, Prefix};
