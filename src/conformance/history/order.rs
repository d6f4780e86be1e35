//! [`Order`]: gives every moment the earliest instant it can have, or finds that there is none.

use std::ops::Range;
use std::sync::Arc;

use super::chain::{Chain, bits};
use super::event::{Numbering, Seen};
use super::gather::{Facts, Part};
use super::violation::Violation;
use crate::store::Version;

/// What must come before what, and from when on each moment is possible.
pub(super) struct Order<'a> {
    facts: &'a Facts<'a>,
    chains: &'a [Chain],
    /// For each moment with a link, twice its place among the commits of the store; 0 for the others, and for all
    /// where versions of different ids can't be compared. The odd ones are for deletions that nobody saw.
    ranks: Vec<usize>,
    /// Pairs of moments: the first before the second.
    edges: Vec<(u32, u32)>,
    absences: Vec<Absence>,
    /// The ids found absent, by absence.
    absent_ids: Vec<usize>,
}

/// A moment that found ids absent, and may have found them so at several times.
struct Absence {
    moment: usize,
    /// Where its ids are in `absent_ids`.
    ids: Range<usize>,
    /// The ranks between which what else it saw places it.
    after: usize,
    before: usize,
}

/// A time during which an id was absent, by the places of the links at its ends.
#[derive(Clone, Copy)]
struct Gap {
    since: Option<usize>,
    /// Past the last link where it goes on to the end.
    until: usize,
}

/// The moments in an order in which each comes after all that must come before it.
struct Sequence {
    order: Vec<u32>,
    /// Where the successors of each moment end in `successors`.
    ends: Vec<u32>,
    successors: Vec<u32>,
}

/// The earliest instant of each moment, and the moment whose call it is.
struct Earliest {
    instants: Vec<u64>,
    causes: Vec<u32>,
}

impl Sequence {
    /// The moments with their successors, not yet in order.
    fn of(count: usize, edges: &[(u32, u32)]) -> Self {
        let mut ends = vec![0u32; count + 1];
        for (before, _) in edges {
            ends[*before as usize + 1] += 1;
        }
        for moment in 0..count {
            ends[moment + 1] += ends[moment];
        }
        // Counting sort: `ends` holds where each moment's successors start, and moves to where they end.
        let mut successors = vec![0u32; edges.len()];
        for (before, after) in edges {
            let place = &mut ends[*before as usize];
            successors[*place as usize] = *after;
            *place += 1;
        }
        Self { order: Vec::with_capacity(count), ends, successors }
    }

    fn after(&self, moment: u32) -> &[u32] {
        let start = moment.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        &self.successors[start as usize..self.ends[moment as usize] as usize]
    }

    /// The earliest instants, where each moment has a floor and the moment that put it there.
    fn earliest(&self, floors: &[(u64, u32)]) -> Earliest {
        let (mut instants, mut causes): (Vec<u64>, Vec<u32>) = floors.iter().copied().unzip();
        for moment in &self.order {
            let at = *moment as usize;
            for after in self.after(*moment) {
                let after = *after as usize;
                if instants[after] < instants[at] {
                    (instants[after], causes[after]) = (instants[at], causes[at]);
                }
            }
        }
        Earliest { instants, causes }
    }
}

impl<'a> Order<'a> {
    /// Places every link and everything that was seen.
    pub(super) fn of(facts: &'a Facts<'a>, chains: &'a [Chain]) -> Result<Self, Violation> {
        let ranks = vec![0; facts.moments.len()];
        let (edges, absences, absent_ids) = (Vec::new(), Vec::new(), Vec::new());
        let mut order = Self { facts, chains, ranks, edges, absences, absent_ids };
        if facts.history.numbering == Numbering::StoreWide {
            order.rank()?;
        }
        for chain in chains {
            let links = chain.links.windows(2);
            order.edges.extend(links.map(|pair| (pair[0].moment as u32, pair[1].moment as u32)));
        }
        order.edges.extend(facts.refusals.iter().map(|(refused, write)| (*refused as u32, *write as u32)));
        for parts in facts.parts.chunk_by(|one, next| one.moment == next.moment) {
            order.place(parts)?;
        }
        Ok(order)
    }

    /// Puts the commits into the order of their numbers.
    fn rank(&mut self) -> Result<(), Violation> {
        let mut numbers: Vec<(u64, usize, usize, Version)> = Vec::new();
        for (id, chain) in self.chains.iter().enumerate() {
            let seen = chain.links.iter().filter_map(|link| Some((link.version?, link.moment)));
            numbers.extend(seen.map(|(version, moment)| (bits(version), moment, id, version)));
        }
        numbers.sort_unstable_by_key(|(number, moment, ..)| (*number, *moment));
        numbers.dedup_by_key(|(number, moment, ..)| (*number, *moment));
        for (rank, (.., moment, _, _)) in numbers.iter().enumerate() {
            self.ranks[*moment] = 2 * (rank + 1);
        }
        for pair in numbers.windows(2) {
            let ((number, before, ..), (same, after, id, version)) = (pair[0], pair[1]);
            if number == same {
                let (id, event) = (Arc::clone(self.facts.ids[id]), self.facts.moments[after].event);
                return Err(Violation::Numbering { id, version, event });
            }
            self.edges.push((before as u32, after as u32));
        }
        for chain in self.chains {
            for pair in chain.links.windows(2).filter(|pair| pair[1].version.is_none()) {
                self.ranks[pair[1].moment] = self.ranks[pair[0].moment] + 1;
            }
        }
        Ok(())
    }

    /// Places what one moment saw.
    fn place(&mut self, parts: &[Part]) -> Result<(), Violation> {
        let moment = parts[0].moment;
        let event = self.facts.moments[moment].event;
        let (mut after, mut before) = (0, usize::MAX);
        for part in parts {
            let chain = &self.chains[part.id];
            let Some(place) = chain.confirm(self.facts, part.id, part.seen, event)? else { continue };
            after = after.max(self.rank_of(part.id, place));
            before = before.min(self.rank_of(part.id, place + 1));
            self.between(moment, part.id, Gap { since: Some(place), until: place + 1 });
        }
        let absent = parts.iter().filter(|part| part.seen == Seen::Nothing).map(|part| part.id);
        let own = self.ranks[moment];
        let start = self.absent_ids.len();
        match self.facts.history.numbering {
            Numbering::StoreWide if own > 0 => {
                for id in absent {
                    self.absent_at(moment, id, own)?;
                }
            }
            Numbering::StoreWide => {
                self.absent_ids.extend(absent);
                self.absence(moment, start, after, before);
            }
            Numbering::PerId => {
                let write = self.facts.writes.get(moment);
                let alone = parts.len() == 1 && write.is_none_or(|write| write.steps.len() == 1);
                for id in absent {
                    let gap = if alone { None } else { self.only_gap(moment, id) };
                    if let Some(gap) = gap {
                        self.between(moment, id, gap);
                    } else {
                        let start = self.absent_ids.len();
                        self.absent_ids.push(id);
                        self.absence(moment, start, 0, usize::MAX);
                    }
                }
            }
        }
        Ok(())
    }

    fn absence(&mut self, moment: usize, start: usize, after: usize, before: usize) {
        let ids = start..self.absent_ids.len();
        if !ids.is_empty() {
            self.absences.push(Absence { moment, ids, after, before });
        }
    }

    /// Puts a moment between the links at the ends of a gap.
    fn between(&mut self, moment: usize, id: usize, gap: Gap) {
        let links = &self.chains[id].links;
        if let Some(since) = gap.since {
            self.edges.push((links[since].moment as u32, moment as u32));
        }
        if let Some(until) = links.get(gap.until) {
            self.edges.push((moment as u32, until.moment as u32));
        }
    }

    /// Checks that an id was absent just before the commit of this rank.
    fn absent_at(&mut self, moment: usize, id: usize, rank: usize) -> Result<(), Violation> {
        let links = &self.chains[id].links;
        let place = links.partition_point(|link| self.ranks[link.moment] < rank);
        if self.chains[id].live_before(place).is_some() {
            let event = self.facts.moments[moment].event;
            return Err(Violation::NeverAbsent { id: Arc::clone(self.facts.ids[id]), event });
        }
        self.between(moment, id, Gap { since: place.checked_sub(1), until: place });
        Ok(())
    }

    /// The rank of the link at a place, `usize::MAX` past the last.
    fn rank_of(&self, id: usize, place: usize) -> usize {
        let Some(link) = self.chains[id].links.get(place) else { return usize::MAX };
        match self.facts.history.numbering {
            Numbering::StoreWide => self.ranks[link.moment],
            Numbering::PerId => place + 1,
        }
    }

    /// The gaps of an id, from the first on.
    fn gap(&self, id: usize, number: usize) -> Gap {
        let since = number.checked_sub(1).map(|deletion| self.chains[id].deletions[deletion]);
        Gap { since, until: since.map_or(0, |since| since + 1) }
    }

    /// The one gap of an id that a moment can be in, as far as calls and returns tell; `None` where there are several.
    fn only_gap(&self, moment: usize, id: usize) -> Option<Gap> {
        let (facts, links) = (self.facts, &self.chains[id].links);
        let mut possible =
            (0..=self.chains[id].deletions.len()).map(|number| self.gap(id, number)).filter(|gap| {
                let since = gap.since.map(|place| &facts.moments[links[place].moment]);
                let until = links.get(gap.until).map(|link| &facts.moments[link.moment]);
                since.is_none_or(|since| since.call <= facts.moments[moment].returned)
                    && until.is_none_or(|until| until.returned >= facts.moments[moment].call)
            });
        let only = possible.next()?;
        possible.next().is_none().then_some(only)
    }

    /// Gives each moment its earliest instant and holds that against its return.
    pub(super) fn walk(&self) -> Result<(), Violation> {
        let sequence = self.sequence()?;
        let mut floors: Vec<(u64, u32)> = Vec::new();
        floors.extend(self.facts.moments.iter().enumerate().map(|(at, moment)| (moment.call, at as u32)));
        loop {
            let earliest = sequence.earliest(&floors);
            self.in_time(&earliest)?;
            let mut raised = false;
            for absence in &self.absences {
                let call = self.facts.moments[absence.moment].call;
                for (id, gap) in self.latest_gaps(absence, &earliest)? {
                    let Some(next) = self.chains[id].links.get(gap.until) else { continue };
                    if earliest.instants[next.moment] < call && floors[next.moment].0 < call {
                        floors[next.moment] = (call, absence.moment as u32);
                        raised = true;
                    }
                }
            }
            // Raising one instant can make the gap that served another absence too late for it: look again.
            if !raised {
                return Ok(());
            }
        }
    }

    /// For each id of an absence the last gap that it can be in: the one that delays what comes after it least.
    fn latest_gaps(&self, absence: &Absence, earliest: &Earliest) -> Result<Vec<(usize, Gap)>, Violation> {
        let moment = &self.facts.moments[absence.moment];
        let ids = &self.absent_ids[absence.ids.clone()];
        let mut before = absence.before;
        loop {
            let limit = before;
            let gap = |id: usize| {
                let begins_in_time = |place: &usize| {
                    let link = &self.chains[id].links[*place];
                    earliest.instants[link.moment] <= moment.returned && self.rank_of(id, *place) < limit
                };
                (id, self.gap(id, self.chains[id].deletions.partition_point(begins_in_time)))
            };
            let gaps: Vec<(usize, Gap)> = ids.iter().copied().map(gap).collect();
            for (id, gap) in &gaps {
                before = before.min(self.rank_of(*id, gap.until));
            }
            if before <= absence.after {
                let id = Arc::clone(self.facts.ids[ids[0]]);
                return Err(Violation::NeverAbsent { id, event: moment.event });
            }
            // The end of one id's gap can be too early for another's.
            if before == limit || ids.len() == 1 {
                return Ok(gaps);
            }
        }
    }

    /// Checks that no moment ends before its earliest instant.
    fn in_time(&self, earliest: &Earliest) -> Result<(), Violation> {
        let moments = &self.facts.moments;
        let mut late =
            (0..moments.len()).filter(|moment| earliest.instants[*moment] > moments[*moment].returned);
        let Some(late) = late.next() else { return Ok(()) };
        let cause = earliest.causes[late] as usize;
        let (event, before) = (moments[late].event, moments[cause].event);
        let parts = &self.facts.parts;
        let part = parts.get(parts.partition_point(|part| part.moment < cause));
        Err(match part.filter(|part| part.moment == cause) {
            Some(part) => {
                let version = match part.seen {
                    Seen::Value { version, .. } | Seen::Deleted { version } => Some(version),
                    Seen::Nothing => None,
                };
                let id = Arc::clone(self.facts.ids[part.id]);
                Violation::StaleRead { id, version, event: before, after: event }
            }
            None => Violation::Reordered { event, before },
        })
    }

    /// Puts the moments into an order in which each comes after all that must come before it.
    fn sequence(&self) -> Result<Sequence, Violation> {
        let count = self.facts.moments.len();
        let mut sequence = Sequence::of(count, &self.edges);
        let mut waits_for = vec![0u32; count];
        for (_, after) in &self.edges {
            waits_for[*after as usize] += 1;
        }
        let mut order: Vec<u32> =
            (0..count as u32).filter(|moment| waits_for[*moment as usize] == 0).collect();
        let mut done = 0;
        while let Some(moment) = order.get(done).copied() {
            done += 1;
            for after in sequence.after(moment) {
                waits_for[*after as usize] -= 1;
                if waits_for[*after as usize] == 0 {
                    order.push(*after);
                }
            }
        }
        if order.len() < count {
            return Err(Violation::Torn { events: self.circle(&waits_for) });
        }
        sequence.order = order;
        Ok(sequence)
    }

    /// The events of one circle among the moments that still wait for another.
    fn circle(&self, waits_for: &[u32]) -> Vec<usize> {
        let mut before = vec![None; waits_for.len()];
        for (first, then) in &self.edges {
            if waits_for[*first as usize] > 0 && waits_for[*then as usize] > 0 {
                before[*then as usize] = Some(*first);
            }
        }
        let mut path = Vec::new();
        let mut at = before.iter().flatten().next().copied();
        while let Some(moment) = at {
            if let Some(start) = path.iter().position(|met| *met == moment) {
                path.drain(..start);
                break;
            }
            path.push(moment);
            at = before[moment as usize];
        }
        path.iter().rev().map(|moment| self.facts.moments[*moment as usize].event).collect()
    }
}
