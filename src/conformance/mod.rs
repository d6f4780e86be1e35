//! The promises of a store as tests that any store author can run. Needs the feature `conformance`.
//!
//! Each law is one public async function that takes a store and panics where the store breaks the law.
//! [`conformance!`](crate::conformance!) makes one `#[test]` of each:
//!
//! ```
//! # use ifmatch::Memory;
//! ifmatch::conformance!(memory, Memory::<u64>::new());
//! # fn main() {}
//! ```
//!
//! [`writing_a_store`] shows a complete small store that passes the suite.
//!
//! The laws are safe on a store that already holds data and that others write to: every run works under a prefix
//! nobody else uses, ignores every other id, and clears up behind it. What the store's
//! [`Abilities`](crate::Abilities) promise must work, and what they lack must be refused. A law never waits for
//! ever: it panics after [`PATIENCE`].
//!
//! Laws about races block the thread they run on while they wait for threads of their own. In an async program run
//! them where blocking is allowed.

pub mod cas;
pub mod commits;
pub mod conflicts;
pub mod feed;
mod ground;
mod law;
pub mod limits;
pub mod race;
mod sample;
pub mod scan;
pub mod versions;
pub mod watch;
mod watcher;
pub mod whole;
pub mod writes;
#[doc = include_str!("../docs/writing-a-store.md")]
pub mod writing_a_store {}

pub use law::{Law, Trial, assert_abilities, check, laws};
pub use race::PATIENCE;
pub use sample::Sample;
