//! The contract with those who write stores and layers: [`Store`], and all that goes in and out of one.
//!
//! Nothing in this room keeps a value, serializes one, sleeps, or knows of HTTP.

mod commit;
mod committed;
mod conflict;
mod cursor;
mod entry;
mod error;
mod expected;
mod feed;
mod found;
mod id;
mod mismatch;
mod parse_error;
mod reply;
mod resource;
mod scan;
mod store;
mod version;
mod window;
mod write_id;

pub use commit::Commit;
pub(crate) use commit::{NEVER, ON_ITS_WAY};
pub use committed::{Committed, Receipt};
pub use conflict::Conflict;
pub use cursor::Cursor;
pub use entry::{Action, Entry};
pub use error::{
    Corrupt, Error, Expired, Failure, NewerSchema, NotFound, Outcome, Refusal, check_id, conflict_in,
};
pub use expected::{Condition, Expected, Origin};
pub use feed::{Batch, Change, ChangeKind, Changes, Feed, Start};
pub use found::Found;
pub use id::{IdProblem, MAX_ID_BYTES};
pub(crate) use id::{shortened, shown};
pub(crate) use mismatch::whole_seconds;
pub use mismatch::{Advice, Intent, Kind, Mismatch};
pub use parse_error::ParseError;
pub use reply::Reply;
pub(crate) use reply::block_on;
#[cfg(feature = "file")]
pub(crate) use reply::is_blocking;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub(crate) use reply::park_by;
pub use resource::Resource;
pub use scan::{Listed, Page, Scan};
pub use store::{Abilities, Durability, Resolution, Store};
pub use version::{Version, Versioned};
#[cfg(feature = "file")]
pub(crate) use window::Known;
pub use window::{Asked, Window};
pub use write_id::WriteId;
