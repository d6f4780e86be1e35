//! [`Database`], several typed collections side by side in one store, and commits over them.
//!
//! Below a database there is one store of values whose type is not known ([`opaque`]). A collection's [`view`](mod@view)
//! of it names resources by their ids alone and knows their type; [`joint`](mod@joint) makes one commit of what several
//! collections and their [`Step`]s want.

mod along;
mod codecs;
mod database;
mod definition;
mod direct;
mod expectations;
mod ground;
mod guard;
mod joint;
mod member;
mod name;
mod opaque;
mod own;
mod part;
mod passage;
mod rider;
mod rule;
mod step;
mod transact;
mod transaction;
mod view;

pub use along::Along;
#[cfg(feature = "json")]
pub(crate) use codecs::Encoding;
pub use database::Database;
pub use definition::Definition;
#[cfg(feature = "json")]
pub(crate) use guard::{Guard, Tell};
#[cfg(feature = "json")]
pub(crate) use member::Escort;
pub(super) use member::Membership;
pub use part::Part;
#[cfg(feature = "json")]
pub(crate) use rider::Guarded;
pub use step::{Exit, Step};
pub use transaction::DatabaseTransaction;
#[cfg(feature = "json")]
pub(super) use view::View;
