//! Layers: stores that wrap a store.
//!
//! No layer here serializes, compares versions to know which is newer, or knows of another layer.
//!
//! A layer has the same [`Store`](crate::Store) on both sides. It looks at a call on the way down, at its answer on the
//! way up, or at both: [`Observed`](crate::Observed) measures, [`Guarded`](crate::Guarded) refuses,
//! [`Cached`](crate::Cached) remembers, [`Encoded`](crate::Encoded) translates values into bytes. There is no trait for layers and no builder: a layer is a type that holds a store and is one, and
//! [`Collection::layer`](crate::Collection::layer) takes any function from a store to a store. The one added last sees
//! a call first.
//!
//! ```
//! use ifmatch::{Collection, Expected, Guarded, Observed};
//!
//! let notes = Collection::<String>::in_memory()
//!     .layer(|store| Guarded::new(store).require_expectation().max_bytes(1000, |note| note.len()))
//!     .layer(|store| Observed::new(store, |event| println!("{event:?}")));
//!
//! assert!(notes.put("readme", "hello".to_string()).wait().is_err());
//! assert!(notes.create("readme", "hello".to_string()).wait().is_ok());
//! ```
//!
//! # Writing one
//!
//! `Store` has no provided methods, so that a layer can't forget to pass one on. What a layer owes to those above it:
//!
//! - Every promise of the store below, or a refusal. All writes go through `commit`: a layer that changes one may make
//!   its expectations stronger, never weaker, and passes its write id on.
//! - A reply that was ready stays ready: change it with [`then`](crate::Reply::then), [`map`](crate::Reply::map) and
//!   [`and_then`](crate::Reply::and_then), not in an `async` block.
//! - A layer that shows other values than it stores changes those in a conflict too, with
//!   [`Conflict::map`](crate::Conflict::map), and those in a feed.
//! - No lock is held while the store below is called, and no value shows in a message.
//! - One that is to serve a collection of a [`Database`](crate::Database) is a [`Step`](crate::collection::Step) too: a commit
//!   over several collections goes through no stack of stores.
//!
//! This one lets nobody write, and is complete:
//!
//! ```
//! use ifmatch::{Commit, Entry, Error, Expected, Memory, Reply, Start, Store, Versioned};
//! use ifmatch::store::{Abilities, Action, Changes, Committed, Listed, Page, Refusal, Resolution, Resource};
//! use ifmatch::store::{Scan, WriteId};
//!
//! struct Frozen<S>(S);
//!
//! impl<T: Resource + ?Sized, S: Store<T>> Store<T> for Frozen<S> {
//!     fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
//!         self.0.get(id)
//!     }
//!
//!     fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
//!         // A commit of checks is a consistent read.
//!         if commit.entries().iter().all(|entry| matches!(entry.action, Action::Check)) {
//!             return self.0.commit(commit);
//!         }
//!         Reply::ready(Err(Refusal::Unsupported { what: "writes while it is frozen" }.into()))
//!     }
//!
//!     fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
//!         self.0.resolve(write)
//!     }
//!
//!     fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
//!         self.0.scan(scan)
//!     }
//!
//!     fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
//!         self.0.watch(from)
//!     }
//!
//!     fn abilities(&self) -> Abilities {
//!         self.0.abilities()
//!     }
//! }
//!
//! let store = Frozen(Memory::<str>::new());
//!
//! let error = store.commit(Commit::one(Entry::put("a", Expected::Absent, "text".into()))).wait().unwrap_err();
//! assert_eq!(error.to_string(), "the store does not support writes while it is frozen");
//! assert!(store.get("a").wait()?.is_none());
//! # Ok::<_, Error>(())
//! ```

// The layers themselves are at the root of the crate, and nowhere else.
pub(crate) mod cached;
pub(crate) mod guarded;
pub(crate) mod observed;
#[cfg(test)]
pub(crate) mod probe;

pub use observed::{Ending, Event, Operation};
