//! [`Stamps`], where the write ids of a collection's commits come from.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{Abilities, Committed, Error, Refusal, Version, WriteId};

/// Draws the write ids of a collection's commits, at the newest version that it has heard of.
///
/// Of reads only the first is listened to, so that the first write has a place: to hear of all would be a shared counter on
/// the way of each. A collection that has not written for as long as the store remembers draws an id that is too old, is
/// told the newest version with the refusal, and draws again.
#[derive(Debug)]
pub(crate) struct Stamps {
    /// Whether every commit needs an id, because answers of the store can be lost.
    needed: bool,
    /// The bits of the newest version; 0 before the first.
    newest: AtomicU64,
}

impl Stamps {
    pub(crate) fn new(abilities: &Abilities) -> Self {
        Self { needed: abilities.may_lose_answers, newest: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn needed(&self) -> bool {
        self.needed
    }

    pub(crate) fn draw(&self) -> WriteId {
        WriteId::after(NonZeroU64::new(self.newest.load(Ordering::Relaxed)).map(Version::from_bits))
    }

    /// Takes note of a version that was read, where none is known yet.
    #[inline]
    pub(crate) fn saw(&self, version: Version) {
        if self.needed && self.newest.load(Ordering::Relaxed) == 0 {
            self.newest.fetch_max(version.to_bits().get(), Ordering::Relaxed);
        }
    }

    /// Takes note of the versions that an answer tells.
    pub(crate) fn note(&self, answer: &Result<Committed, Error>) {
        let told = match answer {
            // The newest of them: a check tells the version that it found, which may be old.
            Ok(committed) => committed.receipts().iter().map(|receipt| bits(receipt.version)).max(),
            Err(Error::Conflict(conflict)) => conflict.mismatches().iter().map(|one| bits(one.found())).max(),
            Err(Error::Refused(Refusal::Outside { newest, .. })) => {
                // Exactly this: after a loss the store may be behind of what it was.
                self.newest.store(bits(*newest), Ordering::Relaxed);
                return;
            }
            Err(_) => return,
        };
        self.newest.fetch_max(told.unwrap_or_default(), Ordering::Relaxed);
    }
}

fn bits(version: Option<Version>) -> u64 {
    version.map_or(0, |version| version.to_bits().get())
}
