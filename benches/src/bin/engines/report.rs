//! What a bench of an engine measures and prints, the same for each.

use std::time::Duration;
#[cfg(any(feature = "etcd", feature = "postgres"))]
use std::time::Instant;

use ifmatch_benches::rounds::Measured;
#[cfg(any(feature = "etcd", feature = "postgres"))]
use tokio::runtime::Runtime;

/// Prints what was measured, the store's own operation first.
pub fn show(measured: &Measured) {
    println!("{}", measured.scenario);
    for result in &measured.results {
        let (low, high) = result.spread;
        println!(
            "  {:36} {:8.1} us; the store takes {:.3} x as long ({low:.3} to {high:.3})",
            result.name,
            result.nanoseconds / 1_000.0,
            result.ratio,
        );
    }
}

/// Runs an operation again and again in the runtime, and tells how long that took.
#[cfg(any(feature = "etcd", feature = "postgres"))]
pub fn timed(runtime: &Runtime, operations: usize, mut once: impl AsyncFnMut()) -> Duration {
    let begin = Instant::now();
    runtime.block_on(async {
        for _ in 0..operations {
            once().await;
        }
    });
    begin.elapsed()
}

/// Sixteen writers of one id: through `Collection::modify`, and in a bare loop.
pub struct HotId {
    /// How many changes they made in each way.
    pub changes: u64,
    pub gated: Writers,
    pub bare: Writers,
}

/// How long they took, and how often they tried.
pub struct Writers {
    pub took: Duration,
    pub attempts: u64,
}

impl HotId {
    pub const WRITERS: u64 = 16;

    pub fn show(&self) {
        let speed = |writers: &Writers| self.changes as f64 / writers.took.as_secs_f64();
        let each = |writers: &Writers| writers.attempts as f64 / self.changes as f64;
        println!(
            "hot id, {} writers: modify {:.0} commits/s, {:.2} attempts each; bare loop {:.0} commits/s, {:.2} attempts \
             each; {:.2} x",
            Self::WRITERS,
            speed(&self.gated),
            each(&self.gated),
            speed(&self.bare),
            each(&self.bare),
            speed(&self.gated) / speed(&self.bare),
        );
    }
}
