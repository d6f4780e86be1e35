//! Merges: what a person would expect of them, what holds for any three documents, and what becomes of people's work.

mod cases;
mod drafts;
mod editors;
mod properties;
mod triples;
