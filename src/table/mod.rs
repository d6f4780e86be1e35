//! Tables that a program already has: the protocol without the storage. Free of any driver and of any runtime.
//!
//! Read the row in the transaction that writes it, with its lock (`SELECT … FOR UPDATE`; SQLite: `BEGIN IMMEDIATE`), let
//! [`Condition::admit`](crate::store::Condition::admit) judge it, write, and commit. A stale write changes nothing, and is
//! the same typed [`Conflict`](crate::Conflict) as a store's, with the row that stands there:
//!
//! ```
//! use ifmatch::store::{Condition, Intent};
//! use ifmatch::{Error, Expected, Version, Versioned};
//!
//! # struct Transaction(Option<Versioned<String>>);
//! # fn select_for_update(tx: &mut Transaction, _: &str) -> Option<Versioned<String>> { tx.0.clone() }
//! # fn update(_: &mut Transaction, _: &str, text: &str) -> Versioned<String> {
//! #     Versioned::new("8".parse().unwrap(), text.to_owned())
//! # }
//! fn save(tx: &mut Transaction, id: &str, basis: Condition, text: &str) -> Result<Versioned<String>, Error> {
//!     let found = select_for_update(tx, id); // the row, and the value of its version column
//!     basis.admit(id, Intent::Put, &found)?; // a conflict: drop the transaction
//!     update(tx, id, text).moved(id, &found) // SET text = $2, version = version + 1 WHERE id = $1 RETURNING version
//! }
//!
//! let mut tx = Transaction(Some(Versioned::new(Version::from_column(7)?, "theirs".to_string())));
//! let Err(Error::Conflict(conflict)) = save(&mut tx, "a1", Version::from_column(6)?.into(), "mine") else { panic!() };
//! assert_eq!(*conflict.current::<String>().unwrap().value, "theirs");
//! # Ok::<_, ifmatch::Error>(())
//! ```
//!
//! In a handler the preconditions of the request take the place of the condition:
//! [`Preconditions::admit_row`](crate::http::Preconditions::admit_row).
//!
//! | | |
//! |---|---|
//! | one statement (`UPDATE … WHERE id = $1 AND version = $2`) that changed no row | look in a new transaction, and ask [`Condition::explain`](crate::store::Condition::explain) why |
//! | a transaction that lost against another (40001, deadlock, a busy database) | [`Retry::again`](crate::Retry::again), or [`again_blocking`](crate::Retry::again_blocking), by [`Contention`] |
//! | the version column | [`Version::from_column`](crate::Version::from_column), and back |
//! | whether a write moved it | [`Versioned::moved`](crate::Versioned::moved) |
//!
//! [`docs::tables`](crate::docs::tables) is the page about all of it. No table is read or written here, and nothing
//! knows a driver.

mod admit;
mod again;
mod column;
mod contention;
mod moved;

pub use admit::Unexplained;
pub use again::Contended;
pub use contention::Contention;
