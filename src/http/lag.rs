//! [`Lag`], how far behind the writes were that were refused as stale.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{Conflict, Expected, Kind};

/// How many bounds there are: the powers of 16 up to [`FURTHEST`].
const BOUNDS: usize = 13;

/// What is further behind is no version of this history of the store: one in memory begins anywhere with each start.
const FURTHEST: u64 = 1 << 48;

/// How far behind the writes were that were refused as stale, as a histogram whose bounds are the powers of 16.
#[derive(Default)]
pub(super) struct Lag {
    /// How many were above the bound before, and not above this one.
    counts: [AtomicU64; BOUNDS],
    sum: AtomicU64,
}

/// By how much the version that was found is above the one that a write was based on. `None` where the decisive mismatch is of another
/// kind, and where one of the two is of another history of the store.
pub(super) fn of(conflict: &Conflict) -> Option<u64> {
    let decisive = conflict.decisive();
    let (Kind::Stale, Expected::Version(based)) = (decisive.kind(), decisive.expected()) else { return None };
    let lag = decisive.found()?.to_bits().get().checked_sub(based.to_bits().get());
    lag.filter(|lag| *lag <= FURTHEST)
}

impl Lag {
    pub(super) fn count(&self, lag: u64) {
        let at = (0..BOUNDS - 1).find(|at| lag <= bound(*at)).unwrap_or(BOUNDS - 1);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(lag, Ordering::Relaxed);
    }
}

fn bound(at: usize) -> u64 {
    1 << (4 * at)
}

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# TYPE ifmatch_version_lag histogram")?;
        let mut count = 0;
        for (at, here) in self.counts.iter().enumerate() {
            count += here.load(Ordering::Relaxed);
            writeln!(f, "ifmatch_version_lag_bucket{{le=\"{}\"}} {count}", bound(at))?;
        }
        writeln!(f, "ifmatch_version_lag_bucket{{le=\"+Inf\"}} {count}")?;
        let sum = self.sum.load(Ordering::Relaxed);
        writeln!(f, "ifmatch_version_lag_sum {sum}\nifmatch_version_lag_count {count}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collection;
    use crate::store::Version;

    fn conflict(based: Option<u64>) -> Conflict {
        let counters = Collection::<u64>::in_memory();
        let created = counters.create("a", 0).wait().unwrap().version;
        for count in 0..20 {
            counters.put("b", count).wait().unwrap();
        }
        counters.put("a", 1).wait().unwrap();
        let based = based.map_or(created, |bits| Version::from_bits(bits.try_into().unwrap()));
        let Err(crate::Error::Conflict(conflict)) = counters.replace("a", based, 2).wait() else { panic!() };
        conflict
    }

    #[test]
    fn in_memory_it_is_the_commits_in_between() {
        assert_eq!(of(&conflict(None)), Some(21));
        assert_eq!(of(&conflict(Some(u64::MAX / 2))), None, "one that is not given yet");
        assert_eq!(of(&conflict(Some(1))), None, "one of another history");
        assert_eq!(of(&Conflict::state("a", "full", "it is full")), None);
    }

    #[test]
    fn each_is_in_the_first_bucket_that_holds_it_and_in_all_after_it() {
        let lag = Lag::default();
        for behind in [1, 1, 2, 16, 17, FURTHEST] {
            lag.count(behind);
        }
        let text = lag.to_string();
        let counts: Vec<u64> = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("ifmatch_version_lag_bucket")?.rsplit(' ').next()?.parse().ok()
            })
            .collect();
        assert_eq!((&counts[..4], counts[11], counts[12]), (&[2, 4, 5, 5][..], 5, 6));
        assert!(
            text.contains("{le=\"281474976710656\"} 6\n") && text.contains("{le=\"+Inf\"} 6\n"),
            "{text}"
        );
        assert!(text.ends_with(&format!("sum {}\nifmatch_version_lag_count 6\n", 37 + FURTHEST)), "{text}");
    }
}
