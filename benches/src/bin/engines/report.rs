//! What a bench of an engine measures and prints, the same for each.

use std::time::Duration;

use ifmatch_benches::rounds::Measured;

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
