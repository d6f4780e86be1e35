//! [`Deadlines`], how long a call to an engine may take.

use std::time::Duration;

/// How long a call to an engine may take before the store gives up on it.
///
/// An engine that was paused, or a network that swallows packets, answers nothing at all, for hours. A read that passes
/// its deadline fails with [`Outcome::NotApplied`](crate::store::Outcome::NotApplied); a commit that was sent fails with
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown), and [`resolve`](crate::Store::resolve) tells later what became of it. One
/// of more than a day counts as a day.
///
/// ```
/// use std::time::Duration;
///
/// use ifmatch::engine::Deadlines;
///
/// let patient = Deadlines { commit: Duration::from_secs(30), ..Deadlines::default() };
/// assert_eq!(patient.read, Duration::from_secs(5));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Deadlines {
    /// To connect, and to log in. Default: 5 seconds.
    pub connect: Duration,
    /// To read, to list, to resolve and to begin a watch. Default: 5 seconds.
    pub read: Duration,
    /// To commit. Default: 10 seconds. Waiting for another commit's locks is part of it.
    pub commit: Duration,
}

impl Deadlines {
    /// The longest there is: engines and clocks take no more.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// The same, none longer than a day.
    pub(crate) fn bounded(self) -> Self {
        let bound = |deadline: Duration| deadline.min(Self::LONGEST);
        Self { connect: bound(self.connect), read: bound(self.read), commit: bound(self.commit) }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), read: seconds(5), commit: seconds(10) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deadline_is_longer_than_clocks_and_engines_can_count() {
        let endless = Deadlines { connect: Duration::MAX, read: Duration::MAX, ..Deadlines::default() };

        let Deadlines { connect, read, commit } = endless.bounded();

        assert_eq!((connect, read), (Deadlines::LONGEST, Deadlines::LONGEST));
        assert_eq!(commit, Deadlines::default().commit);
    }
}
