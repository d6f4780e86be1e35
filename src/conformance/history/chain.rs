//! [`Chain`]: the states of one id, each linked to the one it replaced.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::event::{Deed, Numbering, Seen};
use super::gather::{Facts, Fate};
use super::violation::Violation;
use crate::store::{Expected, Version};

/// The states of one id after the first, which is absence, in the order of their versions.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    /// The places of the deletions in `links`.
    pub(super) deletions: Vec<usize>,
}

/// One state of one id, and what made it.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// `None` where it is a deletion that must have been and that nobody saw the version of.
    pub(super) version: Option<Version>,
    /// The moment of the commit that made it.
    pub(super) moment: usize,
    /// The fingerprint of the value, `None` for a deletion.
    pub(super) value: Option<u64>,
    pub(super) came: Came,
    /// The bits of the version; for one that nobody saw, those of the link before it.
    key: u64,
}

/// What a link says of the state before it.
#[derive(Clone, Copy)]
pub(super) enum Came {
    /// Its receipt names what it replaced.
    From(Option<Version>),
    /// Nobody got a receipt: all that is known is what the commit expected.
    As(Expected),
}

impl Link {
    pub(super) fn new(version: Version, moment: usize, value: Option<u64>, came: Came) -> Self {
        Self { version: Some(version), moment, value, came, key: bits(version) }
    }

    /// A deletion that nobody saw, just after the link with this version.
    pub(super) fn unseen_deletion(after: Version, moment: usize) -> Self {
        Self { version: None, moment, value: None, came: Came::From(Some(after)), key: bits(after) }
    }

    /// The version of the value, where the state is not absence.
    pub(super) fn live(&self) -> Option<Version> {
        self.version.filter(|_| self.value.is_some())
    }
}

impl Chain {
    /// The chains of all ids, from the receipts alone.
    pub(super) fn of_receipts(facts: &mut Facts<'_>) -> Result<Vec<Self>, Violation> {
        let mut chains = Vec::new();
        for moment in 0..facts.writes.len() {
            let (steps, fate) = (facts.writes[moment].steps, facts.writes[moment].fate);
            let Fate::Applied(receipts) = fate else { continue };
            let mut number = None;
            for (step, receipt) in steps.iter().zip(receipts) {
                let id = facts.place(&step.id);
                chains.resize_with(facts.ids.len(), Self::default);
                let value = match step.deed {
                    Deed::Check => continue,
                    Deed::Put(fingerprint) => Some(fingerprint),
                    Deed::Delete => None,
                };
                let Some(version) = receipt.version else { continue };
                let one_number = *number.get_or_insert(version) == version;
                if facts.history.numbering == Numbering::StoreWide && !one_number {
                    let event = facts.writes[moment].event;
                    return Err(Violation::Numbering { id: Arc::clone(&step.id), version, event });
                }
                chains[id].links.push(Link::new(version, moment, value, Came::From(receipt.replaced)));
            }
        }
        chains.resize_with(facts.ids.len(), Self::default);
        chains.iter_mut().for_each(Self::sort);
        Ok(chains)
    }

    pub(super) fn sort(&mut self) {
        self.links.sort_by_key(|link| (link.key, link.version.is_none()));
    }

    /// The place of the link with this version. The chain must be sorted.
    pub(super) fn find(&self, version: Version) -> Option<usize> {
        let place = self.below(version);
        let link = self.links.get(place)?;
        (link.version == Some(version)).then_some(place)
    }

    /// How many links have a smaller version. The chain must be sorted.
    pub(super) fn below(&self, version: Version) -> usize {
        self.links.partition_point(|link| link.key < bits(version))
    }

    /// The version of the value before a place, `None` where there is none.
    pub(super) fn live_before(&self, place: usize) -> Option<Version> {
        self.links[..place].last()?.live()
    }

    /// Checks that no version repeats and that each link came from the one before it, and notes the deletions.
    pub(super) fn link_up(&mut self, facts: &Facts<'_>, id: usize) -> Result<(), Violation> {
        for place in 0..self.links.len() {
            let stood = self.live_before(place);
            let link = &self.links[place];
            let before = place.checked_sub(1).map(|before| &self.links[before]);
            let Some(version) = link.version else { continue };
            let event = facts.moments[link.moment].event;
            let id = || Arc::clone(facts.ids[id]);
            if let Some(before) = before.filter(|before| before.version == Some(version)) {
                let events = [facts.moments[before.moment].event, event];
                return Err(Violation::VersionReused { id: id(), version, events });
            }
            match link.came {
                Came::From(replaced) if replaced == stood => {}
                Came::As(expected) if expected.admits(stood) => {}
                Came::As(_) => return Err(Violation::Unexplained { id: id(), version, event }),
                Came::From(replaced) => {
                    return Err(match before.map(|before| (before.version, before.came)) {
                        Some((Some(first), Came::From(same))) if same == replaced => {
                            let events = [facts.moments[self.links[place - 1].moment].event, event];
                            Violation::LostUpdate { id: id(), replaced, versions: [first, version], events }
                        }
                        _ => Violation::BrokenLink { id: id(), version, replaced, stood, event },
                    });
                }
            }
        }
        let places = 0..self.links.len();
        self.deletions = places.filter(|place| self.links[*place].value.is_none()).collect();
        Ok(())
    }

    /// Checks what was seen in a version against what was written in it, and gives the link's place.
    pub(super) fn confirm(
        &self,
        facts: &Facts<'_>,
        id: usize,
        seen: Seen,
        event: usize,
    ) -> Result<Option<usize>, Violation> {
        let (version, fits): (_, &dyn Fn(&Link) -> bool) = match &seen {
            Seen::Nothing => return Ok(None),
            Seen::Deleted { version } => (*version, &|link| link.value.is_none()),
            Seen::Value { version, fingerprint: None } => (*version, &|link| link.value.is_some()),
            Seen::Value { version, fingerprint } => (*version, &move |link| link.value == *fingerprint),
        };
        let id = || Arc::clone(facts.ids[id]);
        let Some(place) = self.find(version) else {
            return Err(Violation::Unexplained { id: id(), version, event });
        };
        if fits(&self.links[place]) {
            return Ok(Some(place));
        }
        let wrote = facts.moments[self.links[place].moment].event;
        Err(Violation::ValueMismatch { id: id(), version, wrote, seen: event })
    }
}

/// The place of a version in its store's order, which only the checker may ask for besides the store.
pub(super) fn bits(version: Version) -> u64 {
    NonZeroU64::get(version.to_bits())
}
