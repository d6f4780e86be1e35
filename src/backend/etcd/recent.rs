//! [`Recent`], the newest part of the feed that the watchers of a store have read.

use std::collections::VecDeque;
use std::sync::Arc;

/// How many changes are kept.
const KEPT: usize = 4_096;

/// What one revision changed: ids, and whether they were deleted. Values are read when they are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) number: i64,
    pub(super) changes: Vec<(Arc<str>, bool)>,
}

/// The newest part of the feed that the watchers of a store have read, without a gap.
///
/// Etcd looks only ten times a second for watchers that are behind. One that begins where others are already is served
/// from here, up to where etcd says that it is: no restore shows in what was read before it.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Counts how often all was forgotten: what was read of an engine that has ended since is no part of this.
    line: u64,
    epoch: u64,
    /// What is kept came after this revision.
    after: i64,
    /// Up to this revision nothing is missing.
    upto: i64,
    revisions: VecDeque<Revision>,
    kept: usize,
}

impl Recent {
    /// What a stream must be begun under to be taken note of.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Forgets all: what was read under this line may be of an engine that is no more.
    pub(super) fn forget(&mut self, line: u64) {
        if line == self.line {
            *self = Self { line: line + 1, ..Self::default() };
        }
    }

    /// Takes note that these revisions, in order, are all there was after one revision and up to another.
    pub(super) fn add(&mut self, line: u64, epoch: u64, after: i64, upto: i64, revisions: &[Revision]) {
        if line != self.line {
            return;
        }
        if epoch != self.epoch || after > self.upto || after < self.after {
            // Another history, or a gap between: what is newer stays.
            if epoch == self.epoch && upto <= self.upto {
                return;
            }
            *self = Self { line, epoch, after, upto: after, ..Self::default() };
        }
        let known = self.upto;
        for revision in revisions.iter().filter(|revision| revision.number > known) {
            self.kept += revision.changes.len();
            self.revisions.push_back(revision.clone());
        }
        self.upto = self.upto.max(upto);
        while self.kept > KEPT {
            let Some(oldest) = self.revisions.pop_front() else { break };
            self.kept -= oldest.changes.len();
            self.after = oldest.number;
        }
    }

    /// Up to which revision all after this one is known, and what there was, `most` revisions of it and none behind `seen`.
    pub(super) fn after(
        &self,
        epoch: u64,
        position: i64,
        seen: i64,
        most: usize,
    ) -> Option<(i64, Vec<Revision>)> {
        let upto = self.upto.min(seen);
        if epoch != self.epoch || !(self.after..upto).contains(&position) {
            return None;
        }
        let first = self.revisions.partition_point(|revision| revision.number <= position);
        let behind = self.revisions.partition_point(|revision| revision.number <= upto);
        let found: Vec<Revision> = self.revisions.range(first..behind).take(most).cloned().collect();
        let whole = behind - first == found.len();
        let upto = if whole { upto } else { found.last().map_or(position, |last| last.number) };
        Some((upto, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(number: i64) -> Revision {
        Revision { number, changes: vec![("a".into(), false)] }
    }

    fn revisions(numbers: impl IntoIterator<Item = i64>) -> Vec<Revision> {
        numbers.into_iter().map(revision).collect()
    }

    #[test]
    fn what_follows_on_is_kept_once() {
        let mut recent = Recent::default();
        recent.add(0, 1, 10, 14, &revisions([12, 14]));
        recent.add(0, 1, 12, 15, &revisions([14, 15]));

        assert_eq!(recent.after(1, 10, 99, 9), Some((15, revisions([12, 14, 15]))));
        assert_eq!(recent.after(1, 13, 99, 1), Some((14, revisions([14]))));
        assert_eq!(recent.after(1, 12, 99, 0), Some((12, Vec::new())));
        assert_eq!(
            (recent.after(1, 15, 99, 9), recent.after(1, 9, 99, 9), recent.after(2, 12, 99, 9)),
            (None, None, None)
        );
    }

    #[test]
    fn after_a_gap_only_the_newer_part_is_kept() {
        let mut recent = Recent::default();
        recent.add(0, 1, 10, 12, &revisions([12]));
        recent.add(0, 1, 20, 22, &revisions([22]));
        recent.add(0, 1, 5, 7, &revisions([7]));

        assert_eq!((recent.after(1, 11, 99, 9), recent.after(1, 6, 99, 9)), (None, None));
        assert_eq!(recent.after(1, 20, 99, 9), Some((22, revisions([22]))));
        recent.add(0, 2, 3, 4, &revisions([4]));
        assert_eq!(recent.after(2, 3, 99, 9), Some((4, revisions([4]))));
    }

    #[test]
    fn it_is_bounded() {
        let mut recent = Recent::default();
        for number in 1..=KEPT as i64 + 10 {
            recent.add(0, 1, number - 1, number, &revisions([number]));
        }

        assert_eq!((recent.revisions.len(), recent.after), (KEPT, 10));
        assert_eq!(recent.after(1, 9, 99, 1), None);
        assert_eq!(recent.after(1, 10, 99, 1), Some((11, revisions([11]))));
    }

    #[test]
    fn nothing_is_told_that_etcd_has_not_shown() {
        let mut recent = Recent::default();
        recent.add(0, 1, 10, 15, &revisions([12, 14, 15]));

        assert_eq!(recent.after(1, 10, 14, 9), Some((14, revisions([12, 14]))));
        assert_eq!(recent.after(1, 10, 13, 9), Some((13, revisions([12]))));
        assert_eq!((recent.after(1, 13, 13, 9), recent.after(1, 14, 12, 9)), (None, None));
    }

    #[test]
    fn what_was_forgotten_does_not_come_back() {
        let mut recent = Recent::default();
        recent.add(0, 1, 10, 12, &revisions([12]));
        recent.forget(0);
        recent.add(0, 1, 12, 13, &revisions([13]));
        assert_eq!((recent.after(1, 10, 99, 9), recent.after(1, 12, 99, 9)), (None, None));

        recent.add(recent.line(), 1, 11, 12, &revisions([12]));
        recent.forget(0);
        assert_eq!(recent.after(1, 11, 99, 9), Some((12, revisions([12]))));
    }
}
