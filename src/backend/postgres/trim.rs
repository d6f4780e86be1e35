//! [`Trimming`], how the history of a namespace stays bounded.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::base::random;

/// How the history of a namespace stays bounded: now and then, and in a task of its own, so that no commit waits for it.
pub(super) struct Trimming {
    history: usize,
    commits: AtomicUsize,
    under_way: AtomicBool,
}

impl Trimming {
    pub(super) fn new(history: usize) -> Self {
        // Not from 0: of many programs that each commit little, some trim.
        let commits = AtomicUsize::new(random() as usize % Self::interval(history));
        Self { history, commits, under_way: AtomicBool::new(false) }
    }

    /// After how many commits to trim.
    fn interval(history: usize) -> usize {
        (history / 16).max(8)
    }

    /// Counts a commit. Tells whether to trim now: there were many since the last time, and nobody trims yet. Whoever is
    /// told so trims, and says when it is [`done`](Self::done).
    pub(super) fn count(&self) -> bool {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        if commits < Self::interval(self.history) || self.under_way.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.commits.store(0, Ordering::Relaxed);
        true
    }

    /// A trim has ended.
    pub(super) fn done(&self) {
        self.under_way.store(false, Ordering::SeqCst);
    }

    /// How many commits are to be left.
    pub(super) fn history(&self) -> usize {
        self.history
    }

    /// The same, as a parameter.
    pub(super) fn most(&self) -> i64 {
        i64::try_from(self.history).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn programs_that_commit_little_begin_to_count_at_different_numbers() {
        let begins = |_| Trimming::new(100_000).commits.into_inner();
        let begins: HashSet<usize> = (0..100).map(begins).collect();

        assert!(begins.len() > 50 && begins.iter().all(|begin| *begin < 100_000 / 16), "{begins:?}");
    }
}
