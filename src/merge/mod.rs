//! Merging what two have changed, where a conflict would let one of them start again.
//!
//! A [`Merge`] takes the base that both started from, and what each made of it. Edits of different places are both kept, equal
//! edits are one, and what overlaps is listed, place by place, for somebody to decide. Feature `merge`; the page
//! [`docs::merging`](crate::docs::merging) shows it in a program.
//!
//! ```
//! use ifmatch::merge::Merge;
//! use ifmatch::merge::Strategy::{Counter, Keyed};
//! use serde_json::json;
//!
//! let merge = Merge::new().at("/quantity", Counter).at("/items", Keyed("sku"));
//!
//! let base = json!({"quantity": 5, "note": "", "items": [{"sku": "a", "price": 1}]});
//! let mine = json!({"quantity": 4, "note": "mine", "items": [{"sku": "a", "price": 2}]});
//! let theirs = json!({"quantity": 3, "note": "theirs", "items": [{"sku": "b"}, {"sku": "a", "price": 1}]});
//!
//! let overlaps = merge.values(&base, &mine, &theirs).unwrap_err();
//! assert!(overlaps.pointers().eq(["/note"])); // all else is merged
//! let merged = overlaps.settle(|note| note.theirs.clone());
//! assert_eq!(
//!     merged,
//!     json!({"quantity": 2, "note": "theirs", "items": [{"sku": "b"}, {"sku": "a", "price": 2}]})
//! );
//! ```
//!
//! Nothing is merged but JSON values, and nothing is read or stored here but through a draft.

mod arrays;
mod draft;
mod merge;
mod numbers;
mod overlaps;
mod rules;
mod settling;
mod sides;
mod strategy;
mod typed;
mod walk;

pub use merge::Merge;
pub use overlaps::{Overlap, Overlaps};
pub use sides::Sides;
pub use strategy::Strategy;
pub use typed::Unmerged;
