//! The protocol on tables of a program's own beside the same statements by hand.
//!
//! `nice -n -15 cargo run --release --manifest-path benches/Cargo.toml --features postgres --bin tables`. SQLite is in memory,
//! and PostgreSQL a server of the bench's own, whose data lies in `IFMATCH_BENCH_DIR` or else in the temporary directory.

#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use ifmatch_benches::rounds::Measured;

/// What a row holds.
#[derive(Debug)]
struct Item {
    #[expect(dead_code, reason = "it is read from the row, as a caller would have it")]
    name: String,
    count: i64,
}

/// The name in every row.
const TEXT: &str = "a name of some twenty";

fn main() {
    sqlite::run();
    #[cfg(feature = "postgres")]
    postgres::run();
}

/// Prints what was measured, the protocol first.
fn show(driver: &str, measured: &Measured) {
    println!("{driver}, {}", measured.scenario);
    for result in &measured.results {
        let (low, high) = result.spread;
        println!(
            "  {:12} {:8.2} us; the protocol takes {:.3} x as long ({low:.3} to {high:.3})",
            result.name,
            result.nanoseconds / 1_000.0,
            result.ratio,
        );
    }
}
