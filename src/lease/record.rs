//! What is kept of a lease: who holds it, that the holder lives, and how others ended it.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::store::{Version, Versioned};

/// The format of these records. One of a later format is left alone: what of it can be read is told, and it is not taken over.
const FORMAT: u32 = 1;

/// Who holds a lease. Its version is the fencing token, and stays while the holder does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ownership {
    format: u32,
    pub(super) owner: String,
    /// Milliseconds.
    lasts: u64,
    /// When it was acquired, by the holder's clock: for people, nothing is decided by it.
    since: SystemTime,
}

/// That the holder lives: written by each renewal. It is its version that tells one from the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heartbeat {}

/// A lease that is held, for those who look after them; see [`Leases::list`](crate::lease::Leases::list).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Who holds it, as the holder named itself.
    pub owner: String,
    /// When it was acquired, by the holder's clock.
    pub since: SystemTime,
    /// How long it lasts from one renewal to the next.
    pub lasts: Duration,
    /// The fencing token: its [bits](Version::to_bits) are greater than those of every holder before.
    pub token: Version,
}

/// That a lease was ended by somebody else than its holder, as it is kept in the trail; see
/// [`Leases::trail`](crate::lease::Leases::trail).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ended {
    /// Who held it.
    pub from: String,
    /// Who ended that.
    pub by: String,
    /// Why: what the program said, or that the holder had gone silent.
    pub reason: String,
    /// When, by the clock of whoever ended it.
    pub at: SystemTime,
}

impl Ownership {
    pub(super) fn new(owner: &str, lasts: Duration) -> Self {
        // Rounded up: nobody takes it over before the holder knows it to be over.
        let lasts = lasts.as_nanos().div_ceil(1_000_000).try_into().unwrap_or(u64::MAX);
        Self { format: FORMAT, owner: owner.to_owned(), lasts, since: SystemTime::now() }
    }

    pub(super) fn lasts(&self) -> Duration {
        Duration::from_millis(self.lasts)
    }

    /// How long it is until it may be taken over from one who was silent for so long.
    pub(super) fn left(&self, silent: Duration) -> Duration {
        match self.is_understood() {
            true => self.lasts().saturating_sub(silent),
            // Nobody knows what it takes.
            false => self.lasts(),
        }
    }

    /// Whether this program knows all that it says.
    pub(super) fn is_understood(&self) -> bool {
        self.format <= FORMAT
    }
}

impl Held {
    pub(super) fn of(found: &Versioned<Ownership>) -> Self {
        Self {
            owner: found.value.owner.clone(),
            since: found.value.since,
            lasts: found.value.lasts(),
            token: found.version,
        }
    }
}

impl Ended {
    pub(super) fn new(from: &str, by: &str, reason: &str) -> Self {
        Self { from: from.to_owned(), by: by.to_owned(), reason: reason.to_owned(), at: SystemTime::now() }
    }
}
