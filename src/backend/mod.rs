//! Stores that outlive the process, one file each, and the record they all keep.

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
