//! History: what a value was before it became what it is, kept in the same commit.
//!
//! [`History`] keeps the past of each resource of a collection in one bounded record, in a collection of its own. The record is
//! written along with each change, whichever way that comes, so that there is no change without its past, and no past of a
//! change that was not applied. Reads of the resources cost nothing more.
//!
//! ```
//! use ifmatch::history::History;
//! use ifmatch::{Database, Error, Expected};
//!
//! let office = Database::in_memory();
//! let history = History::<String>::new(&office, "notes.history")?;
//! let notes = office.define::<String>("notes")?.recorded(&history).open()?;
//!
//! let first = notes.create("readme", "hello".to_string()).wait()?;
//! notes.put("readme", "hello, world".to_string()).wait()?;
//! notes.delete("readme", Expected::Present).wait()?;
//!
//! let past = history.of("readme").wait()?;
//! let versions: Vec<_> = past.versions().map(|past| past.value()).collect::<Result<_, _>>()?;
//! assert_eq!((&**versions[0], &**versions[1]), ("hello, world", "hello")); // the newest first
//!
//! let restored = history.restore(&notes, "readme", first.version, Expected::Absent).wait()?;
//! assert_eq!(*restored.value, "hello");
//! # Ok::<_, Error>(())
//! ```
//!
//! The record knows no version that stands: only what is over. No store is written here, and no value is compared.

mod history;
mod past;
mod record;
mod recorder;

pub use history::History;
pub use past::{Ended, Past, Versions};
