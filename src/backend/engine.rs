//! What the stores on engines of their own share: [`Deadlines`], [`ConnectError`], where their connections live, and how
//! they compose versions.
//!
//! No driver is used here, and nothing knows which engine it serves.

mod deadlines;
mod error;
mod home;
mod runtime;
mod token;

pub use deadlines::Deadlines;
pub use error::{ConnectError, RuntimeEnded};
pub(crate) use runtime::Runtime;
pub(crate) use token::Token;
