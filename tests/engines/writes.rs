//! Write ids where more is asked than is remembered, drawn where the store is, behind it and ahead of it.

use ifmatch::store::{Committed, Refusal, Resolution, WriteId};
use ifmatch::{Commit, Entry, Error, Expected, Store, Version};

use crate::faults::newest;

/// How far from the newest version ids are drawn, in commits: right, ahead, and behind.
const SKEWS: [i64; 9] = [0, 1, 64, 1_000, 1 << 30, -1, -16, -1_000, i64::MIN >> 24];

/// What came of the ids that were asked for or sent.
#[derive(Debug, Default)]
struct Told {
    resolved: usize,
    not_applied: usize,
    fresh: usize,
    fresh_refused: usize,
    skewed_applied: usize,
    skewed_refused: usize,
    asked_again: usize,
}

/// An id that was drawn so many commits from a version.
fn skewed(newest: Version, commits: i64) -> WriteId {
    let bits = newest.to_bits().get().saturating_add_signed(commits << 24).clamp(1, u64::MAX - 1);
    WriteId::after(Some(bits.to_string().parse().unwrap()))
}

/// Resolves many more ids than two stores of one namespace remember, which is `window`. No fresh commit is refused for it, and
/// no applied one is told not to have been.
pub(crate) fn asking_refuses_no_fresh_commit(stores: [&dyn Store<[u8]>; 2], window: usize) {
    let mut told = Told::default();
    let mut applied: Vec<(WriteId, Committed)> = Vec::new();
    for round in 0..5 * window {
        let [store, other] = [stores[round % 2], stores[(round + 1) % 2]];
        let put = |write| {
            let value = (round as u64).to_be_bytes()[..].into();
            store.commit(Commit::one(Entry::put("a", Expected::Any, value)).with_write(write)).wait()
        };
        let seen = newest(store).unwrap().write().place().unwrap();
        for skew in SKEWS {
            told.resolved += 1;
            match other.resolve(skewed(seen, skew)).wait().unwrap() {
                Resolution::NotApplied => told.not_applied += 1,
                resolved => assert_eq!(resolved, Resolution::Unknown),
            }
        }

        let fresh = skewed(seen, 0);
        told.fresh += 1;
        match put(fresh) {
            Ok(committed) => applied.push((fresh, committed)),
            Err(_) => told.fresh_refused += 1,
        }
        let late = skewed(seen, SKEWS[round % SKEWS.len()]);
        match put(late) {
            Ok(committed) => {
                told.skewed_applied += 1;
                applied.push((late, committed));
            }
            Err(Error::Refused(Refusal::Outside { .. })) => told.skewed_refused += 1,
            Err(error) => panic!("{error}: {error:?}"),
        }

        if round % window == window - 1 {
            // The newest half of what is remembered for certain, and all before it.
            let certain = applied.len().saturating_sub(window / 2);
            for (number, (write, committed)) in applied.iter().enumerate() {
                told.asked_again += 1;
                match other.resolve(*write).wait().unwrap() {
                    Resolution::Applied(again) => assert_eq!(again, *committed),
                    Resolution::Unknown => assert!(number < certain, "{number} of {}", applied.len()),
                    resolved => panic!("{write} was applied: {resolved:?}"),
                }
            }
        }
    }

    println!("{told:?}");
    assert_eq!(told.fresh_refused, 0, "{told:?}");
    assert!(told.not_applied >= window && told.resolved > 40 * window, "{told:?}");
    assert!(told.skewed_applied > window && told.skewed_refused > window, "{told:?}");
}
