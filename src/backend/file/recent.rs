//! How commits lie in the file: first kept together as recent ones, later settled, many at once.
//!
//! The only room that knows tables and rows. Those outside judge commits against a [`View`], collect what they add in
//! [`Added`], and have it [prepared](prepare) and committed; another way to keep commits would change nothing there.

mod added;
mod commits;
mod copy;
mod extent;
mod log;
mod prepared;
mod schema;
mod settle;
mod view;

pub(super) use added::Added;
#[cfg(any(test, fuzzing))]
pub(super) use commits::{Commits, decode};
pub(super) use copy::copy;
#[cfg(feature = "json")]
pub(super) use copy::fill;
pub(super) use extent::Extent;
#[cfg(any(test, fuzzing))]
pub(super) use log::commits_in;
pub(super) use log::{Done, Logged, LoggedEntry};
pub(super) use prepared::{Committed, prepare, settle, sync};
#[cfg(test)]
pub(super) use schema::{DELETED, LOG, NEWEST, RECENT, RESOURCES, facts};
pub(super) use schema::{FORMAT, Origin, format, lay};
pub(super) use view::{Stored, View};
