//! The stores on engines, against servers that the tests start: one binary, so that it links once.
#![cfg(all(unix, any(feature = "etcd", feature = "postgres", feature = "redis")))]

mod faults;
mod proxy;
mod server;
#[cfg(feature = "etcd")]
mod etcd;
