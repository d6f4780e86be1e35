//! [`Retry`], how often and for how long a call tries again, and [`Report`], what it tells of that.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::random;
use crate::collection::timer::{ThreadTimer, Timer};
use crate::store::Error;

/// How often and for how long a call on a [`Collection`](crate::Collection) tries again.
///
/// What is tried again: a round of [`modify`](crate::Collection::modify) and its kin, and of
/// [`transact`](crate::Collection::transact), whose own commit lost a race; a read the store failed to answer; and,
/// for a store that says that answers can be lost ([`Abilities::may_lose_answers`](crate::store::Abilities::may_lose_answers)), a commit that
/// is known not to have been applied. A conflict is never sent again as it was.
///
/// | setting | default | because |
/// |---|---|---|
/// | [`attempts`](Self::attempts) | 100 | 64 writers of one id were seen to need up to 53 with no gate |
/// | [`deadline`](Self::deadline) | 10 s | proxies and browsers give up after 30 to 60 s; the caller should hear of it before |
/// | [`backoff`](Self::backoff) | 1 ms, up to 100 ms | one commit of a store nearby; a tenth of a second is still worth waiting for |
/// | [`stall`](Self::stall) | 1 s | longer than a slow commit, so that the line holds; short enough for a nested call to bear |
///
/// ```
/// use std::time::Duration;
///
/// use ifmatch::{Collection, Retry};
///
/// let retry = Retry::default().attempts(5).deadline(Duration::from_secs(2));
/// let notes = Collection::<String>::in_memory().with_retry(retry);
/// # notes.create("readme", "hello".to_string()).wait()?;
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "a retry does nothing until a collection is given it"]
pub struct Retry {
    attempts: u32,
    deadline: Duration,
    base: Duration,
    cap: Duration,
    stall: Option<Duration>,
    timer: Arc<dyn Timer>,
    random: Arc<dyn Fn() -> u64 + Send + Sync>,
    report: Option<Hook>,
}

type Hook = Arc<dyn Fn(&Report<'_>) + Send + Sync>;

/// What one call of [`modify`](crate::Collection::modify) and its kin or of
/// [`transact`](crate::Collection::transact) took. It has no value in it, and may be logged.
///
/// ```
/// use ifmatch::{Collection, Retry};
/// use ifmatch::collection::Effect;
///
/// let retry = Retry::default().report(|report| {
///     assert_eq!((report.id, report.attempts), (Some("counter"), 1));
///     assert!(matches!(report.effect, Effect::Applied));
/// });
/// let counters = Collection::<u64>::in_memory().with_retry(retry);
/// counters.create("counter", 1).wait()?;
/// counters.modify("counter", |count| *count += 1).wait()?;
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<'a> {
    /// The id that was to be changed; `None` for a transaction.
    pub id: Option<&'a str>,
    /// The name of its collection, where that is one of a [`Database`](crate::Database).
    pub collection: Option<&'a str>,
    /// How many tries it took: commits sent and reads that failed.
    pub attempts: u32,
    /// How many of them ended in a conflict. Of a call that did not fail, all were made up for.
    pub conflicts: u32,
    /// How long it took by the clock of the [`Timer`].
    pub elapsed: Duration,
    /// What it came to.
    pub effect: Effect<'a>,
}

/// What a call came to that may have tried several times.
///
/// ```
/// use ifmatch::collection::Effect;
///
/// /// What a counter of calls is labelled with.
/// fn label(effect: &Effect<'_>) -> &'static str {
///     match effect {
///         Effect::Applied | Effect::Unchanged => "done",
///         Effect::Refused => "refused",
///         Effect::Failed(error) if error.conflict().is_some() => "contended",
///         _ => "failed",
///     }
/// }
/// assert_eq!(label(&Effect::Unchanged), "done");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect<'a> {
    /// The change was applied.
    Applied,
    /// The closure changed nothing, so nothing was written.
    Unchanged,
    /// The closure refused, with an error of its own.
    Refused,
    /// It failed with this error, which tells whether anything can have been applied.
    Failed(&'a Error),
}

impl Retry {
    /// How often one call may try, the first time included: each commit it sends counts, and each read that failed.
    /// 0 is taken as 1.
    ///
    /// ```
    /// # use ifmatch::{Collection, Retry};
    /// let once = Collection::<u64>::in_memory().with_retry(Retry::default().attempts(1));
    /// # once.create("a", 1).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// How long one call may take in all, also where the store never answers.
    ///
    /// Where it passes, a read is [`NotApplied`](crate::store::Outcome::NotApplied), and a commit that was sent is
    /// [`Unknown`](crate::store::Outcome::Unknown) under its write id. An answer that is here is never refused for being
    /// late. The time a future of [`modify_async`](crate::Collection::modify_async) takes counts; a plain closure
    /// can't be interrupted.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ifmatch::{Collection, Retry};
    ///
    /// // A handler that answers within a second, whatever the store does.
    /// let notes = Collection::<String>::in_memory().with_retry(Retry::default().deadline(Duration::from_secs(1)));
    /// assert!(notes.get("readme").wait()?.is_none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// How long to wait before trying again: a random time up to `base`, and twice as much each time, up to `cap`.
    ///
    /// This is full jitter: of waits that grow alike, it is the one that leaves the fewest collisions, as Amazon's
    /// architects measured. Writers who wait in line for a hot id don't wait for this too, unless writers outside of the
    /// line, as in another process, beat them to it more than once.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ifmatch::Retry;
    ///
    /// // For a store on another continent.
    /// let retry = Retry::default().backoff(Duration::from_millis(80), Duration::from_secs(2));
    /// ```
    pub fn backoff(self, base: Duration, cap: Duration) -> Self {
        Self { base, cap, ..self }
    }

    /// How long a writer waits in a line that does not move, before it goes on without its turn.
    ///
    /// Writers of one id form a line once one of them has lost a race, so that each has to try only once. It is
    /// advice: nothing breaks where a writer does not wait. A [`modify`](crate::Collection::modify) inside another of
    /// the same id waits this long where there is a line.
    pub fn stall(self, stall: Duration) -> Self {
        Self { stall: Some(stall), ..self }
    }

    /// Without the line for hot ids: a writer that lost a race backs off and tries again.
    ///
    /// ```
    /// # use ifmatch::{Collection, Retry};
    /// let counters = Collection::<u64>::in_memory().with_retry(Retry::default().without_gate());
    /// # counters.create("a", 1).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn without_gate(self) -> Self {
        Self { stall: None, ..self }
    }

    /// Another clock; see [`Timer`].
    pub fn timer(self, timer: impl Timer) -> Self {
        Self { timer: Arc::new(timer), ..self }
    }

    /// Another source of randomness for the backoff: evenly spread numbers. For tests that have to repeat.
    ///
    /// ```
    /// # use ifmatch::Retry;
    /// let longest_waits = Retry::default().random(|| u64::MAX);
    /// ```
    pub fn random(self, random: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { random: Arc::new(random), ..self }
    }

    /// Calls `report` after each call of [`modify`](crate::Collection::modify) and its kin and of
    /// [`transact`](crate::Collection::transact), with nothing locked. A call that is dropped before its end does
    /// not report.
    pub fn report(self, report: impl Fn(&Report<'_>) + Send + Sync + 'static) -> Self {
        Self { report: Some(Arc::new(report)), ..self }
    }

    pub(crate) fn most_attempts(&self) -> u32 {
        self.attempts
    }

    pub(crate) fn longest(&self) -> Duration {
        self.deadline
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(crate) fn longest_stall(&self) -> Option<Duration> {
        self.stall
    }

    pub(crate) fn reports(&self) -> bool {
        self.report.is_some()
    }

    pub(crate) fn tell(&self, report: &Report<'_>) {
        if let Some(hook) = &self.report {
            hook(report);
        }
    }

    /// How long to wait after as many waits as `waited`.
    pub(crate) fn wait_after(&self, waited: u32) -> Duration {
        let most = self.base.saturating_mul(1 << waited.min(31)).min(self.cap);
        let nanos = most.as_nanos().min(u128::from(u64::MAX));
        // The upper half of the product spreads the random number over `0..=nanos`, without a division.
        let share = (u128::from((self.random)()) * (nanos + 1)) >> 64;
        Duration::from_nanos(share as u64)
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 100,
            deadline: Duration::from_secs(10),
            base: Duration::from_millis(1),
            cap: Duration::from_millis(100),
            stall: Some(Duration::from_secs(1)),
            timer: Arc::new(ThreadTimer),
            random: Arc::new(random),
            report: None,
        }
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("deadline", &self.deadline)
            .field("base", &self.base)
            .field("cap", &self.cap)
            .field("stall", &self.stall)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_anything_from_nothing_to_a_bound_that_doubles_up_to_the_cap() {
        let retry = Retry::default().backoff(Duration::from_millis(2), Duration::from_millis(9));
        let (least, most) = (retry.clone().random(|| 0), retry.random(|| u64::MAX));

        let waits = |retry: &Retry| [0, 1, 2, 3, 40, u32::MAX].map(|n| retry.wait_after(n).as_millis());

        assert_eq!(waits(&least), [0; 6]);
        assert_eq!(waits(&most), [2, 4, 8, 9, 9, 9]);
    }

    #[test]
    fn a_wait_may_be_of_any_length() {
        let retry = Retry::default().backoff(Duration::MAX, Duration::MAX).random(|| u64::MAX);

        assert_eq!(retry.wait_after(3), Duration::from_nanos(u64::MAX));
        assert_eq!(retry.backoff(Duration::ZERO, Duration::ZERO).wait_after(3), Duration::ZERO);
    }

    #[test]
    fn the_defaults_are_those_of_the_table_and_each_setting_changes_its_own() {
        let shown = |retry: Retry| format!("{retry:?}");
        let millis = Duration::from_millis;
        let set = Retry::default().attempts(0).deadline(millis(20)).backoff(millis(3), millis(4));

        assert_eq!(
            shown(Retry::default()),
            "Retry { attempts: 100, deadline: 10s, base: 1ms, cap: 100ms, stall: Some(1s), .. }"
        );
        assert_eq!(
            shown(set.clone().stall(millis(5))),
            "Retry { attempts: 1, deadline: 20ms, base: 3ms, cap: 4ms, stall: Some(5ms), .. }"
        );
        assert_eq!(
            shown(set.without_gate()),
            "Retry { attempts: 1, deadline: 20ms, base: 3ms, cap: 4ms, stall: None, .. }"
        );
    }
}
