//! The stores on engines beside the same operations by hand on the bare driver.
//!
//! `nice -n -15 cargo run --release --manifest-path benches/Cargo.toml --features etcd --bin engines`, and so for `redis`.

#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "redis")]
mod redis;

fn main() {
    #[cfg(feature = "etcd")]
    etcd::run();
    #[cfg(feature = "redis")]
    redis::run();
}
