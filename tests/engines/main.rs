//! The stores on engines, against servers that the tests start: one binary, so that it links once.
#![cfg(all(unix, any(feature = "etcd", feature = "postgres", feature = "redis")))]

#[cfg(all(feature = "axum", feature = "resource"))]
mod clients;
#[cfg(feature = "etcd")]
mod etcd;
mod faults;
#[cfg(feature = "idempotency")]
mod keys;
mod leases;
mod patience;
#[cfg(feature = "postgres")]
mod postgres;
mod proxy;
#[cfg(feature = "redis")]
mod redis;
mod runtime;
mod server;
#[cfg(any(feature = "etcd", feature = "redis"))]
mod writes;
