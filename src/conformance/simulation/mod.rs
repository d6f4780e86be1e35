//! A world of its own for tests: tasks, time and a network that loses, delays and repeats, all from one seed.
//!
//! [`Simulation`] runs tasks on one thread under a clock that jumps from one event to the next, so a minute of waiting
//! takes no time. [`Simulated`] puts a store behind an unreliable network in that world. The same seed makes the same
//! run, so a failing seed is all that a test has to report.
//!
//! ```
//! use ifmatch::conformance::simulation::{Simulated, Simulation};
//! use ifmatch::{Collection, Error, Memory, Retry};
//!
//! let world = Simulation::new(7);
//! let store = Simulated::new(&world, Memory::<u64>::new());
//! let retry = Retry::default().timer(world.clone()).random(world.randomness());
//! let counters = Collection::new(store).with_retry(retry);
//!
//! world.spawn(async move {
//!     counters.create("hits", 0).await?;
//!     let counted = counters.modify("hits", |hits| *hits += 1).await?;
//!     assert_eq!(*counted.value, 1);
//!     Ok::<_, Error>(())
//! });
//! world.run();
//! ```

mod network;
mod store;
mod world;

pub use network::Network;
pub use store::Simulated;
pub use world::Simulation;
