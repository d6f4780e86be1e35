//! Optimistic concurrency for any store.

pub mod http;
#[cfg(feature = "axum")]
pub mod web;

mod call;
mod codec;
mod collection;
mod commit;
mod conflict;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
mod draft;
mod error;
mod expected;
mod feed;
mod gate;
#[cfg(feature = "json")]
mod json;
pub mod layer;
mod memory;
mod modify;
mod pages;
mod random;
mod reply;
mod resource;
mod retry;
mod store;
#[cfg(test)]
mod testing;
mod timer;
mod transaction;
mod version;
mod write_id;

pub use codec::Codec;
pub use collection::Collection;
pub use commit::{Action, Commit, Committed, Entry, Found, Receipt};
pub use conflict::{Advice, Conflict, Intent, Kind, Mismatch};
pub use cursor::{Cursor, ParseCursorError};
pub use draft::Draft;
pub use error::{
    Corrupt, Error, Expired, Failure, IdProblem, MAX_ID_BYTES, NotFound, Outcome, Refusal, check_id,
    conflict_in,
};
pub use expected::{Expectation, Expected, Origin};
pub use feed::{Batch, Change, ChangeKind, Changes, Feed, Start};
#[cfg(feature = "json")]
pub use json::Json;
pub use layer::{Encoded, Guarded, Observed};
pub use memory::Memory;
pub use pages::Pages;
pub use reply::Reply;
pub use resource::Resource;
pub use retry::{Ending, Report, Retry};
pub use store::{Abilities, Durability, Page, Resolution, Store};
pub use timer::{Sleep, ThreadTimer, Timer};
pub use transaction::Transaction;
pub use version::{ParseVersionError, Version, Versioned};
pub use write_id::{ParseWriteIdError, WriteId};
