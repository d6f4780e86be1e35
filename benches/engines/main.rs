//! The stores on engines beside the same operations by hand on the bare driver.
//!
//! `nice -n -15 cargo run --release --manifest-path benches/Cargo.toml --features redis --bin engines`

#[cfg(feature = "redis")]
mod redis;

fn main() {
    #[cfg(feature = "redis")]
    redis::run();
}
