//! The write ids that a memory store remembers.

use std::collections::{HashMap, VecDeque};

use crate::commit::Committed;
use crate::store::Resolution;
use crate::write_id::WriteId;

/// How many write ids are remembered.
const REMEMBERED: usize = 100_000;

/// The latest write ids, each with its commit's answer or with the promise that it is never applied.
///
/// A write id carries the time it was drawn. Of the forgotten ones the youngest is kept: an id that is younger still
/// can't have been forgotten, so it was never seen. A clock that is wrong makes fewer ids younger, never a wrong answer.
#[derive(Default)]
pub(super) struct Window {
    known: HashMap<WriteId, Option<Committed>>,
    order: VecDeque<WriteId>,
    youngest_forgotten: Option<WriteId>,
    youngest_forgotten_closed: Option<WriteId>,
}

/// What the window knows of a write id.
pub(super) enum Known {
    Applied(Committed),
    /// It was resolved as not applied, or may have been.
    Closed,
    /// It certainly never came.
    Unseen,
    /// It may have come and been forgotten.
    Forgotten,
}

impl Window {
    /// What a commit that arrives now meets. One that may have been resolved as not applied stays out, also after that
    /// resolution was forgotten: the answer was given for good.
    pub(super) fn recall(&self, write: WriteId) -> Known {
        match self.known.get(&write) {
            Some(Some(committed)) => Known::Applied(committed.clone()),
            Some(None) => Known::Closed,
            None if Some(write) <= self.youngest_forgotten_closed => Known::Closed,
            None if Some(write) <= self.youngest_forgotten => Known::Forgotten,
            None => Known::Unseen,
        }
    }

    pub(super) fn remember(&mut self, write: WriteId, committed: Committed) {
        self.insert(write, Some(committed));
    }

    /// Answers for good: an id that never came is closed, so that its commit can't be applied any more.
    pub(super) fn resolve(&mut self, write: WriteId) -> Resolution {
        match self.known.get(&write) {
            Some(Some(committed)) => Resolution::Applied(committed.clone()),
            Some(None) => Resolution::NotApplied,
            None if Some(write) <= self.youngest_forgotten => Resolution::Unknown,
            None => {
                self.insert(write, None);
                Resolution::NotApplied
            }
        }
    }

    fn insert(&mut self, write: WriteId, answer: Option<Committed>) {
        self.known.insert(write, answer);
        self.order.push_back(write);
        if self.order.len() <= REMEMBERED {
            return;
        }
        let forgotten = self.order.pop_front().expect("the window is full");
        self.youngest_forgotten = self.youngest_forgotten.max(Some(forgotten));
        if let Some(None) = self.known.remove(&forgotten) {
            self.youngest_forgotten_closed = self.youngest_forgotten_closed.max(Some(forgotten));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_the_window_the_answer_is_unknown_and_never_not_applied() {
        let mut window = Window::default();
        let write = |number: usize| WriteId::from_bits(number as u128);
        for number in 1..=REMEMBERED + 10 {
            window.remember(write(number), Committed::from_iter([]));
        }

        assert_eq!(window.resolve(write(10)), Resolution::Unknown);
        assert_eq!(window.resolve(write(11)), Resolution::Applied(Committed::from_iter([])));
        assert_eq!(window.resolve(write(REMEMBERED + 11)), Resolution::NotApplied);
        assert!(window.known.len() == REMEMBERED && window.order.len() == REMEMBERED);
    }

    #[test]
    fn a_closed_id_stays_closed_even_when_it_is_forgotten() {
        let mut window = Window::default();
        let first = WriteId::from_bits(1);

        assert_eq!(window.resolve(first), Resolution::NotApplied);
        assert!(matches!(window.recall(first), Known::Closed));

        for number in 2..REMEMBERED as u128 + 10 {
            window.remember(WriteId::from_bits(number), Committed::from_iter([]));
        }
        assert!(!window.known.contains_key(&first));
        assert!(matches!(window.recall(first), Known::Closed));
        assert_eq!(window.resolve(first), Resolution::Unknown);
    }
}
