//! The promises of a store as tests that any store author can run. Needs the feature `conformance`.
//!
//! The laws know only the contract: no law knows the store it judges, or passes over what a store finds hard.
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
//! [`docs::writing_a_store`](crate::docs::writing_a_store) shows a complete small store that passes the suite.
//!
//! The laws are safe on a store that already holds data and that others write to: every run works under a prefix
//! nobody else uses, ignores every other id, and clears up behind it. What the store's
//! [`Abilities`](crate::store::Abilities) promise must work, and what they lack must be refused. A law never waits for
//! ever: it panics after [`PATIENCE`].
//!
//! | promise | laws in |
//! |---|---|
//! | 1 no lost update, 3 no dropped expectation | [`cas`] |
//! | 2 versions increase and are never reused | [`versions`] |
//! | 4 a conflict tells the truth | [`conflicts`] |
//! | 5 a store recognises its own write | [`writes`] |
//! | 6 all or nothing | [`commits`] |
//! | 7 the feed is gapless, 10 a slow watcher pins nothing | [`feed`], [`watch`] |
//! | 8 no user code under a lock, 9 cancel-safe, 12 nothing leaks | [`whole`] |
//! | 11 bad input changes nothing | [`limits`] |
//! | listings are ordered and complete | [`scan`] |
//! | all of it over several collections of a [`Database`](crate::Database) | [`databases`], by [`database_conformance!`](crate::database_conformance!) |
//!
//! For what no law can see in one run there are two more tools: [`history`] records what real threads do to a store and
//! checks that one order explains all answers, and [`simulation`] is a store behind an unreliable network, under a clock
//! and a scheduler that a seed decides.
//!
//! Laws about races block the thread they run on while they wait for threads of their own. In an async program run
//! them where blocking is allowed.

pub mod cas;
pub mod commits;
pub mod conflicts;
pub mod databases;
pub mod feed;
mod ground;
pub mod history;
mod law;
mod leases;
pub mod limits;
#[cfg(feature = "merge")]
mod merged;
mod past;
mod race;
mod sample;
pub mod scan;
pub mod simulation;
pub mod versions;
pub mod watch;
mod watcher;
pub mod whole;
pub mod writes;

pub use law::{Law, Trial, assert_abilities, check, laws};
pub use race::PATIENCE;
pub use sample::Sample;
