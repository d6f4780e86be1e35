//! Stores that outlive the process, one file each, and the record they all keep.

#[cfg(any(feature = "file", feature = "postgres"))]
mod checksum;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub mod engine;
#[cfg(feature = "file")]
pub mod file;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "file")]
mod record;
