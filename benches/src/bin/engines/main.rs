//! The stores on engines beside the same operations by hand on the bare driver.
//!
//! `nice -n -15 cargo run --release --manifest-path benches/Cargo.toml --features etcd --bin engines`, and so for `redis` and
//! `postgres`. The first two start a server of their own; the last writes to the database that `IFMATCH_POSTGRES` names.

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;

fn main() {
    #[cfg(feature = "etcd")]
    etcd::run();
    #[cfg(feature = "postgres")]
    postgres::run();
    #[cfg(feature = "redis")]
    redis::run();
}
