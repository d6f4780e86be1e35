//! Stores that outlive the process, one file each, and the record they all keep.
//!
//! All of them hold bytes: none serializes a value, knows its type, or knows another store. Only this room touches drivers,
//! disks and tokio.

mod checksum;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub mod engine;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "file")]
pub mod file;
#[cfg(any(feature = "file", feature = "postgres", feature = "redis"))]
mod limits;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "etcd", feature = "file", feature = "redis"))]
mod record;
#[cfg(feature = "redis")]
pub mod redis;
