//! How commits lie in the file, and what is not settled there in memory.
//!
//! The only room that knows tables and rows. Those outside judge commits against a [`View`], collect what they add in
//! [`Added`], and have it [settled](settle) once the journal keeps it.

mod added;
mod commits;
mod copy;
mod extent;
mod log;
mod schema;
mod settle;
mod view;

pub(super) use added::Added;
#[cfg(fuzzing)]
pub(super) use commits::{Commits, decode_frame};
#[cfg(feature = "json")]
pub(super) use copy::fill;
pub(super) use copy::{CopyError, copy};
pub(super) use extent::Extent;
#[cfg(any(test, fuzzing))]
pub(super) use log::commits_in;
pub(super) use log::{Done, Logged, LoggedEntry};
#[cfg(test)]
pub(super) use schema::{DELETED, LOG, RESOURCES};
pub(super) use schema::{FORMAT, Journaled, Origin, facts, format, lay};
pub(super) use settle::{Settled, rescue, settle};
pub(super) use view::{Stored, View};
