//! The stores on engines beside the same operations by hand on the bare driver.
//!
//! `nice -n -15 cargo run --release --manifest-path benches/Cargo.toml --features etcd --bin engines`

#[cfg(feature = "etcd")]
mod etcd;

fn main() {
    #[cfg(feature = "etcd")]
    etcd::run();
}
