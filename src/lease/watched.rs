//! [`Watched`], what those who looked have seen of holders.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::Version;

/// Of how many leases it is remembered what was seen of their holders.
const MOST: usize = 16_384;

/// What those who looked have seen of the holders of leases, for as many as are remembered.
///
/// Nothing tells of a lease that others ended. So what nobody has looked at for longest makes room.
#[derive(Default)]
pub(super) struct Watched(Mutex<Looks>);

#[derive(Default)]
struct Looks {
    seen: HashMap<Arc<str>, Seen>,
    /// The ids in the order of the last looks at them.
    order: BTreeMap<u64, Arc<str>>,
    /// The number of the last look.
    last: u64,
}

/// A holder's heartbeat, and since when it has been this one by the clock of whoever looks. A version never comes back, so
/// that counts whenever it is seen again.
struct Seen {
    beat: Beat,
    since: Instant,
    looked: Instant,
    look: u64,
}

/// What changes whenever a holder tells that it lives, or another one holds the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beat {
    pub(super) token: Version,
    pub(super) beat: Option<Version>,
    /// How long the lease lasts.
    pub(super) lasts: Duration,
}

impl Watched {
    /// Since when the heartbeat of the holder has been this one, as far as is known; `now` where that can't be remembered.
    ///
    /// One who waits always has room. One who only looks has that of leases which nobody has looked at while they lasted: a
    /// sweep over more than there is room for would else push out what it is to find again.
    pub(super) fn since(&self, id: &str, beat: Beat, waits: bool, now: Instant) -> Instant {
        let looks = &mut *self.0.lock();
        if !looks.seen.contains_key(id) && looks.seen.len() >= MOST {
            let Some((look, longest)) = looks.order.first_key_value() else { return now };
            let is_over = |seen: &Seen| now.saturating_duration_since(seen.looked) >= seen.beat.lasts;
            if !waits && !looks.seen.get(longest).is_none_or(is_over) {
                return now;
            }
            let look = *look;
            looks.order.remove(&look).and_then(|longest| looks.seen.remove(&longest));
        }
        looks.note(id, beat, now)
    }

    /// For how long the holder of this token has been silent, where somebody looked not long ago. It would else tell for ever
    /// that a holder who lives and was seen once is about to lose it.
    pub(super) fn silence(&self, id: &str, token: Version, now: Instant) -> Duration {
        let looks = self.0.lock();
        let passed = |since: Instant| now.saturating_duration_since(since);
        let seen = looks.seen.get(id).filter(|seen| seen.beat.token == token);
        let lately = seen.filter(|seen| passed(seen.looked) <= seen.beat.lasts / 3);
        lately.map_or(Duration::ZERO, |seen| passed(seen.since))
    }

    /// Forgets a lease that is over.
    pub(super) fn forget(&self, id: &str) {
        let looks = &mut *self.0.lock();
        if let Some(seen) = looks.seen.remove(id) {
            looks.order.remove(&seen.look);
        }
    }
}

impl Looks {
    fn note(&mut self, id: &str, beat: Beat, now: Instant) -> Instant {
        self.last += 1;
        let (before, since) = match self.seen.get(id) {
            Some(seen) => (Some(seen.look), if seen.beat == beat { seen.since } else { now }),
            None => (None, now),
        };
        let id = before.and_then(|before| self.order.remove(&before)).unwrap_or_else(|| id.into());
        self.order.insert(self.last, Arc::clone(&id));
        self.seen.insert(id, Seen { beat, since, looked: now, look: self.last });
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(30);

    fn beat(number: u64) -> Beat {
        let version = Version::from_bits(number.try_into().unwrap());
        Beat { token: version, beat: Some(version), lasts: LASTS }
    }

    /// Whether what was seen of it at the beginning is remembered.
    fn remembers(watched: &Watched, id: usize, begun: Instant, now: Instant) -> bool {
        watched.since(&id.to_string(), beat(1), false, now) == begun
    }

    fn full(begun: Instant) -> Watched {
        let watched = Watched::default();
        for id in 0..MOST {
            watched.since(&id.to_string(), beat(1), false, begun);
        }
        watched
    }

    #[test]
    fn a_heartbeat_counts_from_when_it_was_first_seen() {
        let (watched, begun) = (Watched::default(), Instant::now());
        watched.since("a", beat(1), false, begun);

        assert_eq!(watched.since("a", beat(1), true, begun + LASTS), begun);
        assert_eq!(watched.since("a", beat(2), true, begun + LASTS), begun + LASTS);
        watched.forget("a");
        assert_eq!(watched.since("a", beat(2), true, begun + LASTS * 2), begun + LASTS * 2);
    }

    #[test]
    fn a_silence_is_told_while_the_last_look_is_young() {
        let (watched, begun) = (Watched::default(), Instant::now());
        let silence = |number, now| watched.silence("a", beat(number).token, now);
        assert_eq!(silence(1, begun), Duration::ZERO);
        watched.since("a", beat(1), false, begun);

        assert_eq!(silence(1, begun + LASTS / 3), LASTS / 3);
        assert_eq!(silence(1, begun + LASTS / 2), Duration::ZERO, "it may live");
        watched.since("a", beat(1), false, begun + LASTS / 2);
        assert_eq!(silence(1, begun + LASTS), Duration::ZERO);
        assert_eq!(silence(1, begun + LASTS / 2 + LASTS / 3), LASTS / 2 + LASTS / 3);
        assert_eq!(silence(2, begun + LASTS / 2), Duration::ZERO, "it is another holder");
    }

    #[test]
    fn what_was_looked_at_pushes_out_nothing_that_lasts_and_who_waits_the_longest_unlooked_at() {
        let begun = Instant::now();
        let (watched, later) = (full(begun), begun + LASTS / 2);

        assert!(!remembers(&watched, MOST, later, later + LASTS / 4), "there is no room");
        assert!(remembers(&watched, 0, begun, later));
        watched.since("waits", beat(1), true, later);
        assert_eq!(watched.since("waits", beat(1), true, later + LASTS), later);
        assert!(remembers(&watched, 0, begun, later), "it was looked at since");
        assert!(remembers(&watched, 2, begun, later));
        assert!(!remembers(&watched, 1, begun, later), "it was not, for longest");
    }

    #[test]
    fn what_nobody_looked_at_while_it_lasted_makes_room_and_what_is_over_does_at_once() {
        let begun = Instant::now();
        let (watched, later) = (full(begun), begun + LASTS);

        watched.since("new", beat(1), false, later);
        assert_eq!(watched.since("new", beat(1), false, later + LASTS), later);

        let watched = full(begun);
        watched.forget("7");
        watched.since("new", beat(1), false, begun);
        assert_eq!(watched.since("new", beat(1), false, later), begun);
    }
}
