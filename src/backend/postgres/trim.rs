//! [`Trimming`], how the history of a namespace stays bounded.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::trouble::Trouble;
use crate::base::random;

/// How the history of a namespace stays bounded: now and then, and in a task of its own, so that no commit waits for it.
///
/// Where the server refuses it lastingly, nothing is bounded any more, and nobody would know. So once it has refused as often
/// as it takes to write a whole history again, commits are refused, until a trim succeeds.
pub(super) struct Trimming {
    history: usize,
    commits: AtomicUsize,
    under_way: AtomicBool,
    /// How often in a row the server refused, and why.
    refused: Mutex<(u32, String)>,
}

/// How many lasting refusals in a row hinder commits.
const MOST_REFUSALS: u32 = 16;

impl Trimming {
    pub(super) fn new(history: usize) -> Self {
        // Not from 0: of many programs that each commit little, some trim.
        let commits = AtomicUsize::new(random() as usize % Self::interval(history));
        Self { history, commits, under_way: AtomicBool::new(false), refused: Mutex::default() }
    }

    /// After how many commits to trim.
    fn interval(history: usize) -> usize {
        (history / MOST_REFUSALS as usize).max(8)
    }

    /// Counts a commit. Tells whether to trim now: there were many since the last time, and nobody trims yet. Whoever is
    /// told so trims, and says when it is [`done`](Self::done).
    pub(super) fn count(&self) -> bool {
        let commits = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        let due = commits >= Self::interval(self.history) || self.hindered().is_some();
        if !due || self.under_way.swap(true, Ordering::SeqCst) {
            return false;
        }
        self.commits.store(0, Ordering::Relaxed);
        true
    }

    /// A trim has ended. One that met what passes tells nothing about the next.
    pub(super) fn done(&self, trimmed: Result<(), Trouble>) {
        match trimmed {
            Ok(()) => *self.refused.lock() = Default::default(),
            Err(trouble) if trouble.passes() => {}
            Err(trouble) => {
                let mut refused = self.refused.lock();
                *refused = (refused.0.saturating_add(1), trouble.into_cause().to_string());
            }
        }
        self.under_way.store(false, Ordering::SeqCst);
    }

    /// Why nothing may be committed, where that is so.
    pub(super) fn hindered(&self) -> Option<String> {
        let refused = self.refused.lock();
        let (times, why) = &*refused;
        (*times >= MOST_REFUSALS)
            .then(|| format!("the history can not be trimmed, and would grow without bounds: {why}"))
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

    use tokio_postgres::error::SqlState;

    use super::*;
    use crate::backend::postgres::trouble::Cause;

    #[test]
    fn commits_are_hindered_by_lasting_refusals_in_a_row_until_a_trim_succeeds() {
        let trimming = Trimming::new(64);
        let refused =
            || Err(Trouble::Refused(SqlState::INSUFFICIENT_PRIVILEGE, Cause::new("permission denied")));
        let passing = || Err(Trouble::Refused(SqlState::QUERY_CANCELED, Cause::new("canceled")));
        for nth in 1..=MOST_REFUSALS {
            assert_eq!(trimming.hindered(), None, "after {nth}");
            trimming.done(passing());
            trimming.done(refused());
        }
        assert!(trimming.hindered().is_some_and(|why| why.ends_with("permission denied")));
        assert!(trimming.count(), "each commit tries again");

        trimming.done(Ok(()));

        assert_eq!(trimming.hindered(), None);
    }

    #[test]
    fn programs_that_commit_little_begin_to_count_at_different_numbers() {
        let begins = |_| Trimming::new(100_000).commits.into_inner();
        let begins: HashSet<usize> = (0..100).map(begins).collect();

        assert!(begins.len() > 50 && begins.iter().all(|begin| *begin < 100_000 / 16), "{begins:?}");
    }
}
