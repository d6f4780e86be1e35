//! [`Facts`]: the events of a history, with what was said about one commit in several events put together.

use std::collections::HashMap;
use std::sync::Arc;

use super::event::{Answer, Deed, Event, History, Operation, Seen, Sight, Step};
use super::violation::Violation;
use crate::store::{Receipt, Version, WriteId};

/// What the events say, before anything is compared.
pub(super) struct Facts<'h> {
    pub(super) history: &'h History,
    /// The ids, each in the place by which the rest refers to it.
    pub(super) ids: Vec<&'h Arc<str>>,
    places: HashMap<&'h str, usize>,
    /// The commits that were applied or may have been. The first moments are theirs, in this order.
    pub(super) writes: Vec<Write<'h>>,
    pub(super) moments: Vec<Moment>,
    /// What the moments saw.
    pub(super) parts: Vec<Part>,
    /// A commit that was refused and a write, the same one, that was applied: the first before the second.
    pub(super) refusals: Vec<(usize, usize)>,
}

/// One commit that was applied or may have been: all the events that sent it or asked after it.
pub(super) struct Write<'h> {
    pub(super) event: usize,
    pub(super) steps: &'h [Step],
    pub(super) fate: Fate<'h>,
    write: Option<WriteId>,
    /// The event that told the fate.
    told_by: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate<'h> {
    Applied(&'h [Receipt]),
    NotApplied,
    Unknown,
}

/// Something that happened at one instant between `call` and `returned`.
pub(super) struct Moment {
    pub(super) event: usize,
    pub(super) call: u64,
    pub(super) returned: u64,
}

/// What a moment saw at one id.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) moment: usize,
    pub(super) id: usize,
    pub(super) seen: Seen,
}

impl<'h> Facts<'h> {
    pub(super) fn gather(history: &'h History) -> Result<Self, Violation> {
        let mut facts = Self {
            history,
            ids: Vec::new(),
            places: HashMap::new(),
            writes: Vec::new(),
            moments: Vec::new(),
            parts: Vec::new(),
            refusals: Vec::new(),
        };
        let mut sent = HashMap::new();
        let mut not_applied = HashMap::new();
        for (number, event) in history.events.iter().enumerate() {
            if let Operation::Commit { write, steps, answer } = &event.operation {
                facts.sent(&mut sent, number, *write, steps, answer)?;
                not_applied
                    .extend(write.filter(|write| !sent.contains_key(write)).map(|write| (write, number)));
            }
        }
        for (number, event) in history.events.iter().enumerate() {
            match &event.operation {
                Operation::Read { id, seen } => facts.looked(number, [(id, *seen)]),
                Operation::Commit { write, steps, answer: Answer::Conflict(sights) } => {
                    let known = write.and_then(|write| sent.get(&write));
                    facts.refused(number, known.copied(), steps, sights)?;
                }
                Operation::Commit { .. } => {}
                Operation::Resolve { write, answer } => {
                    let applied = matches!(answer, Answer::Applied(_));
                    match (sent.get(write), not_applied.get(write)) {
                        (Some(known), _) => facts.told(*known, number, answer)?,
                        (None, Some(refused)) if applied => {
                            let events = [*refused, number];
                            return Err(Violation::FalseResolution { write: *write, events });
                        }
                        _ => {}
                    }
                }
            }
        }
        facts.took_effect()?;
        Ok(facts)
    }

    /// The place of an id, a new one where it was not met before.
    pub(super) fn place(&mut self, id: &'h Arc<str>) -> usize {
        *self.places.entry(id).or_insert_with(|| {
            self.ids.push(id);
            self.ids.len() - 1
        })
    }

    /// The place of an id that was met before.
    pub(super) fn known_place(&self, id: &str) -> usize {
        self.places[id]
    }

    /// How many writes nobody was told the fate of.
    pub(super) fn unknown(&self) -> usize {
        self.writes.iter().filter(|write| write.fate == Fate::Unknown).count()
    }

    /// A commit was sent, for the first time or again.
    fn sent(
        &mut self,
        sent: &mut HashMap<WriteId, usize>,
        number: usize,
        write: Option<WriteId>,
        steps: &'h [Step],
        answer: &'h Answer,
    ) -> Result<(), Violation> {
        if !matches!(answer, Answer::Applied(_) | Answer::Unknown) {
            return Ok(());
        }
        let known = match write {
            Some(write) => *sent.entry(write).or_insert(self.writes.len()),
            None => self.writes.len(),
        };
        if known == self.writes.len() {
            let call = self.history.events[number].call;
            self.writes.push(Write { event: number, steps, fate: Fate::Unknown, write, told_by: number });
            self.moments.push(Moment { event: number, call, returned: u64::MAX });
        }
        self.told(known, number, answer)
    }

    /// An event told the fate of a write, or that it is unknown.
    fn told(&mut self, known: usize, number: usize, answer: &'h Answer) -> Result<(), Violation> {
        let fate = match answer {
            Answer::Applied(receipts) => Fate::Applied(receipts),
            Answer::NotApplied => Fate::NotApplied,
            Answer::Unknown | Answer::Conflict(_) => return Ok(()),
        };
        let (write, moment) = (&mut self.writes[known], &mut self.moments[known]);
        if let Fate::Applied(receipts) = fate {
            let fits = receipts.len() == write.steps.len();
            if !fits {
                return Err(Violation::Receipts { event: number });
            }
            moment.returned = moment.returned.min(returned(&self.history.events[number]));
        }
        match write.fate {
            Fate::Unknown => (write.fate, write.told_by) = (fate, number),
            before if before == fate => {}
            before => return Err(two_fates(write, before, fate, number)),
        }
        Ok(())
    }

    /// A commit was refused: a read of what its conflict shows.
    fn refused(
        &mut self,
        number: usize,
        known: Option<usize>,
        steps: &'h [Step],
        sights: &'h [Sight],
    ) -> Result<(), Violation> {
        let met = sights.iter().find(|sight| {
            let step = steps.iter().find(|step| step.id == sight.id);
            step.is_some_and(|step| step.expected.admits(live(sight.seen)))
        });
        let applied_before = known.is_some_and(|known| {
            // A store that recognises its own earlier write never answers it with a conflict.
            self.moments[known].returned < self.history.events[number].call
        });
        if let Some(sight) = met.or(sights.first().filter(|_| applied_before)) {
            return Err(Violation::FalseConflict { id: Arc::clone(&sight.id), event: number });
        }
        self.refusals.extend(known.map(|known| (self.moments.len(), known)));
        self.looked(number, sights.iter().map(|sight| (&sight.id, sight.seen)));
        Ok(())
    }

    /// An event saw these states at one instant.
    fn looked(&mut self, number: usize, sights: impl IntoIterator<Item = (&'h Arc<str>, Seen)>) {
        let event = &self.history.events[number];
        let moment = self.moments.len();
        self.moments.push(Moment { event: number, call: event.call, returned: returned(event) });
        for (id, seen) in sights {
            let id = self.place(id);
            self.parts.push(Part { moment, id, seen });
        }
    }

    /// Holds each receipt against its step, and notes what the steps that wrote nothing saw.
    fn took_effect(&mut self) -> Result<(), Violation> {
        for moment in 0..self.writes.len() {
            let Write { event, steps, fate, .. } = self.writes[moment];
            for (at, step) in steps.iter().enumerate() {
                let id = self.place(&step.id);
                let Fate::Applied(receipts) = fate else { continue };
                let receipt = receipts[at];
                let found = match step.deed {
                    Deed::Check => receipt.version,
                    Deed::Put(_) | Deed::Delete => receipt.replaced,
                };
                if !step.expected.admits(found) {
                    let (id, expected) = (Arc::clone(&step.id), step.expected);
                    return Err(Violation::ExpectationDropped { id, expected, found, event });
                }
                match (step.deed, receipt.version, receipt.replaced) {
                    (Deed::Put(_), None, _)
                    | (Deed::Delete, None, Some(_))
                    | (Deed::Delete, Some(_), None) => {
                        return Err(Violation::Receipts { event });
                    }
                    (Deed::Check, version, replaced) if version != replaced => {
                        return Err(Violation::Receipts { event });
                    }
                    (Deed::Put(_) | Deed::Delete, Some(version), Some(replaced))
                        if version.to_bits() <= replaced.to_bits() =>
                    {
                        let id = Arc::clone(&step.id);
                        return Err(Violation::VersionOrder { id, version, replaced, event });
                    }
                    (Deed::Check, version, _) => {
                        self.parts.push(Part { moment, id, seen: checked(version) });
                    }
                    (Deed::Delete, None, None) => {
                        self.parts.push(Part { moment, id, seen: Seen::Nothing });
                    }
                    (Deed::Put(_) | Deed::Delete, Some(_), _) => {}
                }
            }
        }
        Ok(())
    }
}

/// What a check saw, by its receipt.
fn checked(version: Option<Version>) -> Seen {
    version.map_or(Seen::Nothing, |version| Seen::Value { version, fingerprint: None })
}

/// The version of the value seen, where there was one.
fn live(seen: Seen) -> Option<Version> {
    match seen {
        Seen::Value { version, .. } => Some(version),
        Seen::Deleted { .. } | Seen::Nothing => None,
    }
}

fn returned(event: &Event) -> u64 {
    event.returned.unwrap_or(u64::MAX)
}

fn two_fates(write: &Write<'_>, before: Fate<'_>, now: Fate<'_>, number: usize) -> Violation {
    if let (Fate::Applied(before), Fate::Applied(now)) = (before, now) {
        let differing = write.steps.iter().zip(before.iter().zip(now));
        for (step, (before, now)) in differing {
            if let (Some(before), Some(now)) = (before.version, now.version)
                && before != now
            {
                let (id, event) = (Arc::clone(&step.id), write.event);
                return Violation::AppliedTwice { id, versions: [before, now], event };
            }
        }
    }
    match write.write {
        Some(write_id) => Violation::FalseResolution { write: write_id, events: [write.told_by, number] },
        None => Violation::Receipts { event: number },
    }
}
