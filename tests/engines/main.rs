//! The stores on engines, against servers that the tests start: one binary, so that it links once.
#![cfg(all(unix, any(feature = "etcd", feature = "postgres", feature = "redis")))]

mod faults;
#[cfg(feature = "postgres")]
mod postgres;
mod proxy;
mod server;
