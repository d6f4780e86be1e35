//! Unpredictable 64-bit numbers from the standard library alone.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number that another process, and a later run of this one, will not draw.
///
/// SipHash under the keys that the standard library takes from the operating system, over a counter: a keyed
/// pseudo-random function, so its outputs can't be told from random ones. The time and the process id are mixed in
/// because a forked child has the parent's keys and counter.
pub(crate) fn random() -> u64 {
    static KEYS: OnceLock<RandomState> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);

    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    KEYS.get_or_init(RandomState::new).hash_one((count, time, std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::random;

    #[test]
    fn ten_thousand_draws_do_not_repeat() {
        let drawn: HashSet<u64> = (0..10_000).map(|_| random()).collect();

        assert_eq!(drawn.len(), 10_000);
    }
}
