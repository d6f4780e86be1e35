//! Small random histories: legal ones made by running a store, and mutations of them that may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::sync::Arc;

use ifmatch::conformance::history::{Answer, Deed, Event, History, Numbering, Operation, Seen, Sight, Step};
use ifmatch::store::{Receipt, WriteId};
use ifmatch::{Expected, Version};

use crate::dice::Dice;

impl Dice {
    pub(crate) fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// A history that a store made which keeps its promises, with some of its answers lost.
pub(crate) fn legal(seed: u64) -> History {
    let mut dice = Dice::new(seed);
    let numbering = if dice.below(3) == 0 { Numbering::PerId } else { Numbering::StoreWide };
    let ids = (0..1 + dice.below(3)).map(|id| ["a", "b", "c"][id as usize].into()).collect();
    let lossy = dice.below(2) == 0;
    let mut run = Run { dice, numbering, ids, lossy, ..Run::default() };
    for _ in 0..5 + run.dice.below(9) {
        run.call();
    }
    run.history().with_seed(seed)
}

/// A history with one to three of its answers or times changed.
pub(crate) fn mutated(seed: u64) -> History {
    let mut history = legal(seed);
    let mut dice = Dice::new(!seed);
    for _ in 0..1 + dice.below(3) {
        mutate(&mut history, &mut dice);
    }
    History::new(history.numbering, history.events).with_seed(seed)
}

/// One sequential run of a true store. Each call happens at its place in the run, and its times are drawn around it.
struct Run {
    dice: Dice,
    numbering: Numbering,
    ids: Vec<Arc<str>>,
    lossy: bool,
    now: u64,
    values: u64,
    counts: BTreeMap<Arc<str>, u64>,
    cells: BTreeMap<Arc<str>, (Version, Option<u64>)>,
    /// What answers showed of each id last, and all versions they showed: a caller can't know more.
    told: BTreeMap<Arc<str>, Option<Version>>,
    known: Vec<Version>,
    sent: Vec<(WriteId, Vec<Step>)>,
    applied: BTreeMap<WriteId, Vec<Receipt>>,
    closed: BTreeSet<WriteId>,
    events: Vec<Event>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            dice: Dice::new(1),
            numbering: Numbering::PerId,
            ids: Vec::new(),
            lossy: false,
            now: 1_000,
            values: 0,
            counts: BTreeMap::new(),
            cells: BTreeMap::new(),
            told: BTreeMap::new(),
            known: Vec::new(),
            sent: Vec::new(),
            applied: BTreeMap::new(),
            closed: BTreeSet::new(),
            events: Vec::new(),
        }
    }
}

impl Run {
    fn call(&mut self) {
        self.now += 100;
        match self.dice.below(20) {
            0..6 => {
                let id = self.dice.pick(&self.ids).clone();
                let seen = self.seen(&id);
                self.happened(Operation::Read { id, seen });
            }
            6 if !self.sent.is_empty() => {
                let (write, _) = self.dice.pick(&self.sent).clone();
                let answer = match self.applied.get(&write) {
                    Some(receipts) => Answer::Applied(receipts.clone()),
                    None if self.dice.below(2) == 0 => Answer::Unknown,
                    None => {
                        self.closed.insert(write);
                        Answer::NotApplied
                    }
                };
                self.happened(Operation::Resolve { write, answer });
            }
            7 if !self.sent.is_empty() => {
                let (write, steps) = self.dice.pick(&self.sent).clone();
                self.commit(Some(write), steps);
            }
            _ => {
                let steps = self.steps();
                let write = (self.dice.below(2) == 0).then(|| WriteId::from_bits(self.now.into()));
                self.sent.extend(write.map(|write| (write, steps.clone())));
                self.commit(write, steps);
            }
        }
    }

    fn steps(&mut self) -> Vec<Step> {
        let first = self.dice.below(self.ids.len() as u64) as usize;
        let count = 1 + self.dice.below(self.ids.len() as u64) as usize;
        let ids: Vec<_> = (0..count).map(|next| self.ids[(first + next) % self.ids.len()].clone()).collect();
        ids.into_iter().map(|id| self.step(id)).collect()
    }

    fn step(&mut self, id: Arc<str>) -> Step {
        let current = self.told.get(&id).copied().flatten();
        let expected = match self.dice.below(12) {
            0..2 => Expected::Any,
            2 => Expected::Present,
            3 => Expected::Absent,
            4 if !self.known.is_empty() => Expected::Version(*self.dice.pick(&self.known)),
            _ => current.map_or(Expected::Absent, Expected::Version),
        };
        let deed = match self.dice.below(8) {
            0 => Deed::Check,
            1..4 => Deed::Delete,
            _ => {
                self.values += 1;
                Deed::Put(self.values)
            }
        };
        Step { id, expected, deed }
    }

    fn commit(&mut self, write: Option<WriteId>, steps: Vec<Step>) {
        // Whether what nobody saw of a commit fits the rest of it is beyond the checker.
        let unseen = steps.iter().any(|step| step.deed == Deed::Delete) || self.numbering == Numbering::PerId;
        let beyond = steps.len() > 1 && unseen;
        let lost = self.lossy && self.dice.below(3) == 0 && !beyond;
        if lost && self.dice.below(2) == 0 {
            self.happened(Operation::Commit { write, steps, answer: Answer::Unknown });
            return;
        }
        let answer = self.answer(write, &steps);
        if let (Some(write), Answer::Applied(receipts)) = (write, &answer) {
            self.applied.insert(write, receipts.clone());
        }
        let answer = if lost { Answer::Unknown } else { answer };
        self.happened(Operation::Commit { write, steps, answer });
    }

    fn answer(&mut self, write: Option<WriteId>, steps: &[Step]) -> Answer {
        if let Some(known) = write.and_then(|write| self.applied.get(&write)) {
            return Answer::Applied(known.clone());
        }
        if write.is_some_and(|write| self.closed.contains(&write)) {
            return Answer::NotApplied;
        }
        let mut forgets = Dice::new(self.dice.below(u64::MAX));
        let mut failed = Vec::new();
        for step in steps.iter().filter(|step| !step.expected.admits(self.live(&step.id))) {
            // A store may forget a deletion.
            let seen = match self.cells.get(&step.id) {
                Some((version, None)) if forgets.below(4) > 0 => Seen::Deleted { version: *version },
                _ => self.seen(&step.id),
            };
            failed.push(Sight { id: step.id.clone(), seen });
        }
        if !failed.is_empty() {
            return Answer::Conflict(failed);
        }
        let number = self.counts.values().max().copied().unwrap_or(0) + 1 + self.dice.below(2);
        Answer::Applied(steps.iter().map(|step| self.apply(step, number)).collect())
    }

    fn apply(&mut self, step: &Step, number: u64) -> Receipt {
        let replaced = self.live(&step.id);
        let value = match step.deed {
            Deed::Check => return Receipt { version: replaced, replaced },
            Deed::Delete if replaced.is_none() => return Receipt { version: None, replaced },
            Deed::Delete => None,
            Deed::Put(value) => Some(value),
        };
        let count = self.counts.entry(step.id.clone()).or_default();
        *count = if self.numbering == Numbering::StoreWide { number } else { *count + 2 };
        let version = version(*count);
        self.cells.insert(step.id.clone(), (version, value));
        Receipt { version: Some(version), replaced }
    }

    fn live(&self, id: &Arc<str>) -> Option<Version> {
        self.cells.get(id).and_then(|(version, value)| value.map(|_| *version))
    }

    fn seen(&self, id: &Arc<str>) -> Seen {
        match self.cells.get(id) {
            Some((version, Some(value))) => Seen::Value { version: *version, fingerprint: Some(*value) },
            _ => Seen::Nothing,
        }
    }

    fn learn(&mut self, id: &Arc<str>, version: Option<Version>) {
        self.told.insert(id.clone(), version);
        self.known.extend(version);
    }

    fn happened(&mut self, operation: Operation) {
        match &operation {
            Operation::Read { id, seen } => self.learn(id, live(*seen)),
            Operation::Commit { steps, answer: Answer::Applied(receipts), .. } => {
                for (step, receipt) in steps.iter().zip(receipts) {
                    self.learn(&step.id, receipt.version.filter(|_| step.deed != Deed::Delete));
                }
            }
            Operation::Commit { answer: Answer::Conflict(sights), .. } => {
                sights.iter().for_each(|sight| self.learn(&sight.id, live(sight.seen)));
            }
            _ => {}
        }
        let lost = matches!(operation, Operation::Commit { answer: Answer::Unknown, .. });
        let wide = self.dice.below(300) + 1;
        let call = self.now - self.dice.below(wide);
        let returned = (!lost).then(|| self.now + 1 + self.dice.below(wide));
        let process = self.dice.below(4);
        self.events.push(Event { process, call, returned, operation });
    }

    /// The history, with its times made distinct.
    fn history(self) -> History {
        let mut times: Vec<(u64, usize, bool)> = Vec::new();
        for (at, event) in self.events.iter().enumerate() {
            times.push((event.call, at, false));
            times.extend(event.returned.map(|returned| (returned, at, true)));
        }
        // A call before the returns of the same time: they overlap.
        times.sort_by_key(|(time, at, returned)| (*time, *returned, *at));
        let mut events = self.events;
        for (place, (_, at, returned)) in times.into_iter().enumerate() {
            let place = 10 * (place as u64 + 1);
            match returned {
                true => events[at].returned = Some(place),
                false => events[at].call = place,
            }
        }
        History::new(self.numbering, events)
    }
}

fn version(number: u64) -> Version {
    Version::from_bits(NonZeroU64::new(number).expect("numbers start at one"))
}

/// Changes one answer or one time.
fn mutate(history: &mut History, dice: &mut Dice) {
    let versions: Vec<Version> = (1..8).map(version).collect();
    let at = dice.below(history.events.len() as u64) as usize;
    let other = dice.below(history.events.len() as u64) as usize;
    match dice.below(8) {
        // Times: later, earlier, longer, shorter; always ones that no other event has.
        0..3 => {
            let step = 10 * dice.below(8) + 1 + dice.below(8);
            let event = &mut history.events[at];
            let last = event.returned.unwrap_or(u64::MAX);
            match dice.below(4) {
                0 => event.call = (event.call + step).min(last - 1),
                1 => event.call = event.call.saturating_sub(step),
                2 => event.returned = event.returned.map(|returned| returned + step),
                _ => {
                    event.returned =
                        event.returned.map(|returned| (returned - step.min(returned)).max(event.call + 1))
                }
            }
        }
        3 => {
            // Without its questions: that a commit nobody sent was applied is beyond the checker.
            if let Operation::Commit { write: Some(gone), .. } = history.events.remove(at).operation {
                let asks = |event: &Event| matches!(event.operation, Operation::Resolve { write, .. } if write == gone);
                history.events.retain(|event| !asks(event));
            }
            if history.events.is_empty() {
                *history = legal(dice.below(u64::MAX));
            }
        }
        4 => {
            let (one, two) = (history.events[at].operation.clone(), history.events[other].operation.clone());
            if let (Operation::Read { seen: one, .. }, Operation::Read { seen: two, .. }) = (one, two) {
                set_seen(&mut history.events[at].operation, two);
                set_seen(&mut history.events[other].operation, one);
            }
        }
        _ => match &mut history.events[at].operation {
            Operation::Read { seen, .. } => *seen = changed(*seen, &versions, dice),
            Operation::Commit { answer, .. } | Operation::Resolve { answer, .. } => match answer {
                Answer::Applied(receipts) if !receipts.is_empty() => {
                    let receipt = dice.below(receipts.len() as u64) as usize;
                    let new = (dice.below(6) > 0).then(|| *dice.pick(&versions));
                    match dice.below(2) {
                        0 => receipts[receipt].replaced = new,
                        _ => receipts[receipt].version = new,
                    }
                }
                Answer::Conflict(sights) => {
                    let sight = dice.below(sights.len() as u64) as usize;
                    sights[sight].seen = changed(sights[sight].seen, &versions, dice);
                }
                _ => {}
            },
        },
    }
}

fn live(seen: Seen) -> Option<Version> {
    match seen {
        Seen::Value { version, .. } => Some(version),
        Seen::Deleted { .. } | Seen::Nothing => None,
    }
}

fn set_seen(operation: &mut Operation, new: Seen) {
    if let Operation::Read { seen, .. } = operation {
        *seen = new;
    }
}

fn changed(seen: Seen, versions: &[Version], dice: &mut Dice) -> Seen {
    match (seen, dice.below(4)) {
        (_, 0) => Seen::Nothing,
        (Seen::Value { version, fingerprint: Some(value) }, 1) => {
            Seen::Value { version, fingerprint: Some(value + 1) }
        }
        (Seen::Value { fingerprint, .. }, _) => Seen::Value { version: *dice.pick(versions), fingerprint },
        (Seen::Deleted { .. }, _) => Seen::Deleted { version: *dice.pick(versions) },
        (Seen::Nothing, _) => Seen::Value { version: *dice.pick(versions), fingerprint: Some(dice.below(6)) },
    }
}
