//! Optimistic concurrency for any store.

mod codec;
mod commit;
mod conflict;
mod cursor;
mod error;
mod expected;
mod feed;
#[cfg(feature = "json")]
mod json;
pub mod layer;
mod memory;
mod random;
mod reply;
mod resource;
mod store;
mod version;
mod write_id;

pub use codec::Codec;
pub use commit::{Action, Commit, Committed, Entry, Found, Receipt};
pub use conflict::{Advice, Conflict, Intent, Kind, Mismatch};
pub use cursor::{Cursor, ParseCursorError};
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
pub use reply::Reply;
pub use resource::Resource;
pub use store::{Abilities, Durability, Page, Resolution, Store};
pub use version::{ParseVersionError, Version, Versioned};
pub use write_id::{ParseWriteIdError, WriteId};
