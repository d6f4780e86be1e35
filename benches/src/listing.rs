//! What a listing of 1,000 values of 10 KB costs without the values, beside one with them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ifmatch::store::Scan;
use ifmatch::{Commit, Entry, Expected, Store};

use crate::rounds::{Contender, Measured, measure};

const IDS: usize = 1_000;
const BYTES: usize = 10_000;
const ROUNDS: usize = 31;
const SLICE: Duration = Duration::from_millis(150);

/// Fills the store, and lists what it was filled with in pages of 100.
pub fn listing(store: &dyn Store<[u8]>) -> Measured {
    let value: Arc<[u8]> = (0..BYTES).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 8) as u8).collect();
    for number in 0..IDS {
        let id = format!("listed/{number:04}");
        let put = Entry::put(&id, Expected::Any, Arc::clone(&value));
        store.commit(Commit::one(put)).wait().expect("it was empty");
    }
    let scan = Scan::new("listed/", 100);
    let of_ids = Contender::timed("without values", |times| pages(store, scan.without_values(), times));
    let of_values = Contender::timed("with values", |times| pages(store, scan, times));
    measure("listing of 1,000 values of 10 KB", ROUNDS, SLICE, vec![of_ids, of_values])
}

fn pages(store: &dyn Store<[u8]>, scan: Scan<'_>, times: usize) -> Duration {
    let begin = Instant::now();
    for _ in 0..times {
        let mut after: Option<Arc<str>> = None;
        let mut listed = 0;
        loop {
            let page = black_box(store.scan(scan.after(after.as_deref())).wait()).expect("it can be read");
            listed += page.items.len();
            after = page.next().map(Arc::from);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, IDS);
    }
    begin.elapsed()
}
