//! What the stores on engines of their own share: [`Deadlines`], [`ConnectError`], where their connections live, and how
//! they compose versions.
//!
//! No driver is used here, and nothing knows which engine it serves.

mod deadlines;
mod error;
mod home;
mod runtime;
mod tag;
#[cfg(any(feature = "etcd", feature = "redis"))]
mod token;

pub use deadlines::Deadlines;
pub use error::{ConnectError, RuntimeEnded};
pub(crate) use runtime::Runtime;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use tag::draw_tag;
#[cfg(any(feature = "etcd", feature = "redis"))]
pub(crate) use token::Token;
