//! The write ids that a file remembers, in memory: an index of its log.

use std::collections::{HashMap, VecDeque};

use crate::store::{Committed, WriteId};

/// How many commits that changed nothing are remembered. They are not in the log: after a restart nobody can tell
/// whether they came, and it makes no difference.
const IDLE: usize = 10_000;

/// The write ids of the log, and the youngest of those that have left it.
///
/// A write id carries the time it was drawn. One that is younger than all that were forgotten was never seen. A clock
/// that is wrong makes fewer ids younger, never a wrong answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    known: HashMap<WriteId, Known>,
    idle: VecDeque<WriteId>,
    forgotten: Forgotten,
}

/// The youngest write ids that have left the log, kept in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    pub(super) youngest: Option<WriteId>,
    pub(super) youngest_closed: Option<WriteId>,
}

/// What is known of a write id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It was applied, and its answer is in the log at this position.
    Logged(u64),
    /// It was applied and changed nothing.
    Idle(Committed),
    /// It was resolved as not applied.
    Closed,
}

/// What a write id that is not known may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It certainly never came.
    Unseen,
    /// It may have come and been forgotten.
    Forgotten,
    /// It may have been resolved as not applied and forgotten: it stays out, the answer was given for good.
    ForgottenClosed,
}

impl Window {
    /// An empty window after others that are forgotten.
    pub(super) fn after(forgotten: Forgotten) -> Self {
        Self { forgotten, ..Self::default() }
    }

    pub(super) fn look(&self, write: WriteId) -> Result<&Known, Unknown> {
        self.known.get(&write).ok_or(match Some(write) {
            write if write <= self.forgotten.youngest_closed => Unknown::ForgottenClosed,
            write if write <= self.forgotten.youngest => Unknown::Forgotten,
            _ => Unknown::Unseen,
        })
    }

    pub(super) fn insert(&mut self, write: WriteId, known: Known) {
        if matches!(known, Known::Idle(_)) {
            self.idle.push_back(write);
        }
        self.known.insert(write, known);
        if self.idle.len() <= IDLE {
            return;
        }
        let oldest = self.idle.pop_front().expect("there are more than a few");
        self.known.remove(&oldest);
        self.forgotten.youngest = self.forgotten.youngest.max(Some(oldest));
    }

    /// Drops a write id that has left the log.
    pub(super) fn forget(&mut self, write: WriteId, forgotten: Forgotten) {
        self.known.remove(&write);
        self.forgotten.youngest = self.forgotten.youngest.max(forgotten.youngest);
        self.forgotten.youngest_closed = self.forgotten.youngest_closed.max(forgotten.youngest_closed);
    }
}

impl Forgotten {
    /// Takes note of a write id that leaves the log.
    pub(super) fn add(&mut self, write: WriteId, known: &Known) {
        self.youngest = self.youngest.max(Some(write));
        if matches!(known, Known::Closed) {
            self.youngest_closed = self.youngest_closed.max(Some(write));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_left_the_log_is_forgotten_and_what_is_younger_was_never_seen() {
        let mut window = Window::default();
        let mut forgotten = Forgotten::default();
        let write = WriteId::from_bits;
        window.insert(write(4), Known::Closed);
        window.insert(write(6), Known::Logged(1));

        forgotten.add(write(4), &Known::Closed);
        forgotten.add(write(6), &Known::Logged(1));
        window.forget(write(4), forgotten);
        window.forget(write(6), forgotten);

        assert_eq!(window.look(write(4)), Err(Unknown::ForgottenClosed));
        assert_eq!(window.look(write(5)), Err(Unknown::Forgotten));
        assert_eq!(window.look(write(7)), Err(Unknown::Unseen));
    }

    #[test]
    fn commits_that_changed_nothing_are_bounded() {
        let mut window = Window::default();
        for bits in 1..=IDLE as u128 + 5 {
            window.insert(WriteId::from_bits(bits), Known::Idle(Committed::from_iter([])));
        }

        assert_eq!(window.known.len(), IDLE);
        assert_eq!(window.look(WriteId::from_bits(5)), Err(Unknown::Forgotten));
    }
}
