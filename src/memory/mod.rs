//! The store in this process, and its only file that touches `dashmap`.
//!
//! Nothing is serialized here, and no lock is held while anything of a user's runs.

mod index;
mod log;
mod memory;
mod sleeper;
mod table;

pub use memory::Memory;
