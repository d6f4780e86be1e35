//! [`Marks`], by which it is known how long answers have been kept at least.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::store::Version;

/// How many marks there are at most, but for one: a look for what is too old comes as often while an answer lasts.
const MARKS: u32 = 16;

/// Instants of a clock that never goes back, each with a version that there was by then: whatever has this version or a lower one
/// has been kept since, or for longer. No clock of the wall takes part, so that one which is set makes nothing old.
#[derive(Default)]
pub(super) struct Marks(VecDeque<(Instant, Version)>);

impl Marks {
    /// Notes that there is this version by `now`, and tells up to which version all has been kept for as long as it `lasts`, where
    /// that is news.
    pub(super) fn note(&mut self, now: Instant, version: Version, lasts: Duration) -> Option<Version> {
        // What came later has a lower version: its commit overtook this one, or the store was set back, and gives its numbers again.
        while self.0.back().is_some_and(|(_, marked)| marked.to_bits() > version.to_bits()) {
            self.0.pop_back();
        }
        let mut old = None;
        while let Some(&(at, marked)) = self.0.front()
            && now.duration_since(at) >= lasts
        {
            old = Some(marked);
            self.0.pop_front();
        }
        let is_apart = |(at, marked): &(Instant, Version)| {
            *marked != version && now.duration_since(*at) >= lasts / MARKS
        };
        if self.0.back().is_none_or(is_apart) {
            self.0.push_back((now, version));
        }
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(160);

    fn version(number: u64) -> Version {
        Version::from_bits(number.try_into().unwrap())
    }

    #[test]
    fn what_was_there_long_enough_is_old_and_nothing_else_is() {
        let (mut marks, begun) = (Marks::default(), Instant::now());
        let mut note = |seconds, number| {
            let old = marks.note(begun + Duration::from_secs(seconds), version(number), LASTS);
            old.map(|old| old.to_bits().get())
        };

        assert_eq!(note(0, 1), None);
        assert_eq!(note(9, 2), None, "it is not marked, as it is too near to the first");
        assert_eq!(note(10, 3), None);
        assert_eq!(note(159, 4), None);
        assert_eq!(note(160, 5), Some(1), "and not 2, which is a second too young");
        assert_eq!(note(161, 6), None, "no news");
        assert_eq!(note(169, 7), None);
        assert_eq!(note(170, 8), Some(3));
        assert_eq!(note(10_000, 9), Some(7), "several marks at once");
    }

    #[test]
    fn few_are_kept_however_many_are_noted() {
        let (mut marks, begun) = (Marks::default(), Instant::now());
        for second in 0..10_000 {
            marks.note(begun + Duration::from_secs(second), version(second + 1), LASTS);
        }
        assert!(marks.0.len() <= MARKS as usize + 1, "{}", marks.0.len());
    }

    #[test]
    fn a_store_that_was_set_back_makes_nothing_old_that_it_writes_now() {
        let (mut marks, begun) = (Marks::default(), Instant::now());
        let mut note = |seconds, number| {
            let old = marks.note(begun + Duration::from_secs(seconds), version(number), LASTS);
            old.map(|old| old.to_bits().get())
        };
        for second in 0..10 {
            assert_eq!(note(second * 10, 100 + second), None);
        }

        assert_eq!(note(100, 104), None, "105 to 109 may be given again");

        assert_eq!(note(101, 105), None);
        assert_eq!(note(160, 106), Some(100));
        assert_eq!(note(260, 107), Some(104), "the second 105 is a second too young");
        assert_eq!(note(261, 108), Some(105));
    }

    #[test]
    fn a_version_that_is_the_newest_for_long_has_been_there_since_it_was_seen_first() {
        let (mut marks, begun) = (Marks::default(), Instant::now());
        let mut note =
            |seconds| marks.note(begun + Duration::from_secs(seconds), version(1), LASTS).is_some();

        assert!(!(0..160).any(&mut note));
        assert!(note(160));
    }

    #[test]
    fn a_clock_that_stands_or_is_behind_makes_nothing_old() {
        let (mut marks, begun) = (Marks::default(), Instant::now() + LASTS);
        for number in 1..100 {
            assert_eq!(marks.note(begun, version(number), LASTS), None);
        }
        assert_eq!(marks.note(begun - LASTS, version(100), LASTS), None);
    }
}
