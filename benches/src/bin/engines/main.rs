//! The stores on engines beside the same operations by hand on the bare driver, each on a server of its own.
//!
//! `nice -n -15 cargo run --release --manifest-path benches/Cargo.toml --features etcd --bin engines`, and so for `redis` and
//! `postgres`. The server's data lies in `IFMATCH_BENCH_DIR`, or else in the temporary directory.

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod report;

fn main() {
    #[cfg(feature = "etcd")]
    etcd::run();
    #[cfg(feature = "postgres")]
    postgres::run();
    #[cfg(feature = "redis")]
    redis::run();
}
