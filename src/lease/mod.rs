//! Leases: who may write a resource for a while, and what tells a holder that was thought dead that it no longer may.
//!
//! [`Leases`] keeps who holds what in collections of a [`Database`](crate::Database), and its check rides along in the
//! commit of the write that it guards. So a write under a lease that was taken over is refused whatever any clock says: the
//! version of the holder's record is the fencing token.
//!
//! ```
//! use std::time::Duration;
//!
//! use ifmatch::lease::Leases;
//! use ifmatch::{Database, Error, Kind};
//!
//! let office = Database::in_memory();
//! let leases = Leases::new(&office, "leases")?.lasting(Duration::from_secs(30));
//! let articles = office.define::<String>("articles")?.leased(&leases).open()?;
//! articles.create("a1", "text".to_string()).wait()?;
//!
//! let lease = leases.acquire("a1", "ann").wait()?;
//! articles.under(&lease)?.put("a1", "ann's text".to_string()).wait()?;
//!
//! let Err(Error::Conflict(conflict)) = articles.put("a1", "bob's text".to_string()).wait() else { unreachable!() };
//! assert!(matches!(conflict.kind(), Kind::Locked { holder, .. } if &**holder == "ann")); // HTTP status 423
//! lease.release().wait()?;
//! articles.put("a1", "bob's text".to_string()).wait()?;
//! # Ok::<_, Error>(())
//! ```
//!
//! # A job that only one may run
//!
//! Who was taken to be dead may only have been slow. It must not write any more, and does not. A lease puts runs in an order and
//! does not count them: who has waited for another one comes after it, and looks whether the work is done.
//!
//! ```
//! use std::time::Duration;
//!
//! use ifmatch::lease::Leases;
//! use ifmatch::{Database, Error};
//!
//! let office = Database::in_memory();
//! let leases = Leases::new(&office, "leases")?.lasting(Duration::from_secs(60));
//! let reports = office.collection::<String>("reports")?;
//!
//! // Waits while another one runs, and for as long as a dead one's lease lasts: at least that long, and an hour at most.
//! let lease = leases.acquire_within("nightly", "worker-1", Duration::from_secs(3600)).wait()?;
//! // Renewed while the work is under way. Should it be lost for all that, the work is dropped.
//! let work = async {
//!     let reports = reports.under(&lease)?;
//!     if reports.get("today").await?.is_none() {
//!         reports.put("today", "all is well".to_string()).await?;
//!     }
//!     Ok::<_, Error>(())
//! };
//! let done = lease.during(work).wait();
//! // Also where the work failed: else the next one waits for as long as the lease lasts.
//! let released = lease.release().wait();
//! done?;
//! released?;
//! # Ok::<_, Error>(())
//! ```
//!
//! # Clocks
//!
//! No clock is compared with that of another machine. A lease has two records: the ownership, whose version is the token and
//! stays while the holder lives, and a heartbeat that each renewal writes. It is taken over by one who has seen the same
//! heartbeat for as long as the lease lasts, by its own monotonic clock, in a commit that holds only if the heartbeat is
//! still that one. So a holder whose renewals come through in that time is never taken over, and one whose renewal comes too
//! late for that is told. A clock that jumps may take a lease from one who lives; that one writes nothing more.
//!
//! A holder that died costs whoever waits the lease's time and a tenth, from its first look: nobody can know how long it was
//! dead by then. Who acquires at once takes over only from one that a look through the same handle found silent so long ago,
//! and **whoever is only refused a write never takes over**: the lock of a client that went without a word stays until somebody
//! acquires or waits. A service with such clients [sweeps](Leases::sweep) now and then.
//!
//! Nothing is stored here but through collections, and no lease protects from a program that writes to the store below.

mod guard;
mod lease;
mod leases;
mod record;
mod waiting;
mod watched;

pub use lease::Lease;
pub use leases::Leases;
pub use record::{Ended, Held};
