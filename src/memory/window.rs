//! The write ids that a memory store remembers.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::store::{Committed, Resolution, WriteId};

/// How many applied write ids are remembered, and how many closed ones.
const REMEMBERED: usize = 100_000;

/// The latest write ids that were applied, each with its commit's answer, and those of which it was promised that they
/// never are.
///
/// A write id carries the time it was drawn. Of the forgotten ones the youngest is kept: an id that is younger still
/// can't have been forgotten. A clock that is wrong makes fewer ids younger, never a wrong answer.
#[derive(Default)]
pub(super) struct Window {
    applied: HashMap<WriteId, Committed>,
    /// The applied ones in the order in which they came.
    order: VecDeque<WriteId>,
    youngest_forgotten: Option<WriteId>,
    /// Resolved as not applied. What is forgotten here shuts out all that is older, so the oldest goes first, however
    /// late it came: one id of a clock that is ahead must not shut out the others.
    closed: BTreeSet<WriteId>,
    youngest_forgotten_closed: Option<WriteId>,
}

/// What a commit that arrives now meets.
pub(super) enum Known {
    /// It was applied before, with this answer.
    Applied(Committed),
    /// It was resolved as not applied, or may have been.
    Closed,
    /// Nothing: it never came, or so long ago that it was forgotten.
    Nothing,
}

impl Window {
    /// What a commit that arrives now meets. One that may have been resolved as not applied stays out, also after that
    /// resolution was forgotten: the answer was given for good.
    pub(super) fn recall(&self, write: WriteId) -> Known {
        match self.applied.get(&write) {
            Some(committed) => Known::Applied(committed.clone()),
            None if self.is_closed(write) => Known::Closed,
            None => Known::Nothing,
        }
    }

    pub(super) fn remember(&mut self, write: WriteId, committed: Committed) {
        self.applied.insert(write, committed);
        self.order.push_back(write);
        if self.order.len() > REMEMBERED {
            let forgotten = self.order.pop_front().expect("the window is full");
            self.applied.remove(&forgotten);
            self.youngest_forgotten = self.youngest_forgotten.max(Some(forgotten));
        }
    }

    /// Answers for good: an id that never came is closed, so that its commit can't be applied any more.
    pub(super) fn resolve(&mut self, write: WriteId) -> Resolution {
        if let Some(committed) = self.applied.get(&write) {
            return Resolution::Applied(committed.clone());
        }
        if self.closed.contains(&write) {
            return Resolution::NotApplied;
        }
        if Some(write) <= self.youngest_forgotten {
            return Resolution::Unknown;
        }
        self.closed.insert(write);
        if self.closed.len() > REMEMBERED {
            self.youngest_forgotten_closed = self.youngest_forgotten_closed.max(self.closed.pop_first());
        }
        Resolution::NotApplied
    }

    fn is_closed(&self, write: WriteId) -> bool {
        Some(write) <= self.youngest_forgotten_closed || self.closed.contains(&write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: usize) -> WriteId {
        WriteId::from_bits(number as u128)
    }

    fn nothing() -> Committed {
        Committed::from_iter([])
    }

    #[test]
    fn outside_the_window_the_answer_is_unknown_and_never_not_applied() {
        let mut window = Window::default();
        for number in 1..=REMEMBERED + 10 {
            window.remember(write(number), nothing());
        }

        assert_eq!(window.resolve(write(10)), Resolution::Unknown);
        assert_eq!(window.resolve(write(11)), Resolution::Applied(nothing()));
        assert_eq!(window.resolve(write(REMEMBERED + 11)), Resolution::NotApplied);
        assert!(window.applied.len() == REMEMBERED && window.order.len() == REMEMBERED);
    }

    #[test]
    fn a_closed_id_stays_closed_even_when_it_is_forgotten() {
        let mut window = Window::default();

        for number in 1..=REMEMBERED + 10 {
            assert_eq!(window.resolve(write(number)), Resolution::NotApplied);
        }

        assert!(window.closed.len() == REMEMBERED && !window.closed.contains(&write(10)));
        assert!((1..=REMEMBERED + 10).all(|number| matches!(window.recall(write(number)), Known::Closed)));
        assert_eq!(window.resolve(write(1)), Resolution::NotApplied);
        assert!(matches!(window.recall(write(REMEMBERED + 11)), Known::Nothing));
    }

    #[test]
    fn one_id_of_a_clock_that_is_ahead_shuts_out_no_other() {
        let mut window = Window::default();
        let ahead = WriteId::from_bits(u128::MAX);
        window.resolve(ahead);

        for number in 1..=REMEMBERED + 10 {
            window.remember(write(number), nothing());
        }

        assert!(matches!(window.recall(write(REMEMBERED + 11)), Known::Nothing));
        assert!(matches!(window.recall(ahead), Known::Closed));
        assert_eq!(window.resolve(ahead), Resolution::NotApplied);
    }

    #[test]
    fn asking_of_ids_that_never_came_forgets_no_answer() {
        let mut window = Window::default();
        window.remember(write(1), nothing());

        for number in 2..REMEMBERED + 10 {
            window.resolve(write(number));
        }

        assert!(matches!(window.recall(write(1)), Known::Applied(_)));
    }
}
