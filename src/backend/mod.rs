//! Stores that outlive the process, one file each, and the record they all keep.

pub mod file;
mod record;
