//! Millions of calls from real threads.

use std::path::PathBuf;

use ifmatch::Memory;
use ifmatch::conformance::history::{Checked, Numbering, Recorded, Workload};

/// How many calls the whole test makes, in rounds so that the histories fit into memory.
const CALLS: u64 = 2_400_000;
const ROUNDS: u64 = 12;
const THREADS: u64 = 4;

#[test]
fn two_million_calls_to_memory_have_an_order_that_explains_them() {
    let mut total = Checked::default();

    for seed in 1..=ROUNDS {
        let store = Recorded::new(Memory::<u64>::new());
        let workload = Workload { threads: THREADS, calls: CALLS / ROUNDS / THREADS, ..Workload::new(seed) };
        workload.run(&store, |number| number.into());

        let history = store.history(Numbering::StoreWide).with_seed(seed);
        let checked = history.check().unwrap_or_else(|violation| {
            let file = failing(seed);
            history.save(&file).unwrap();
            panic!("{violation}; the history is in {}", file.display());
        });
        total.operations += checked.operations;
        total.conflicts += checked.conflicts;
        total.versions += checked.versions;
        total.sights += checked.sights;
    }

    println!("checked {total:?}");
    assert!(total.operations >= 2_000_000, "{total:?}");
}

/// Where a failing history is saved.
fn failing(seed: u64) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("memory-{seed}.history"))
}
