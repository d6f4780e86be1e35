//! The contract with users: [`Collection`], and what its calls take and give.
//!
//! No store is written here, and nothing is serialized.

mod call;
mod collection;
mod database;
mod draft;
mod gate;
mod line;
mod lines;
mod modify;
mod pages;
mod retry;
mod rounds;
mod slot;
mod slots;
mod stamps;
#[cfg(test)]
pub(crate) mod testing;
mod timer;
mod transact;
mod transaction;

pub(crate) use call::{Call, missing_in, own_in};
pub use collection::Collection;
pub use database::{Along, Database, DatabaseTransaction, Definition, Exit, Part, Step};
#[cfg(feature = "json")]
pub(crate) use database::{Encoding, Escort, Guard, Guarded, Tell};
pub use draft::Draft;
#[cfg(any(feature = "merge", all(test, shuttle)))]
pub(crate) use gate::Called;
#[cfg(any(feature = "json", all(test, shuttle)))]
pub(crate) use gate::Gate;
#[cfg(feature = "merge")]
pub(crate) use gate::Ticket;
pub use pages::Pages;
pub use retry::{Effect, Report, Retry};
pub(crate) use rounds::Rounds;
pub use timer::{Sleep, ThreadTimer, Timer};
pub use transaction::Transaction;
