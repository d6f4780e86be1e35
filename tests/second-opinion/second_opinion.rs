//! The checker against `porcupine-rs`, which searches all orders, on small histories.

#[path = "../it/dice.rs"]
mod dice;
mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use ifmatch::conformance::history::{Answer, Deed, Event, History, Numbering, Operation, Seen, Step};
use ifmatch::store::{Receipt, WriteId};
use ifmatch::{Expected, Version};

use generate::{legal, mutated};

/// How many histories are judged, unless `IFMATCH_HISTORIES` says otherwise.
const HISTORIES: u64 = 20_000;

#[test]
fn twenty_thousand_small_histories_are_judged_as_an_exhaustive_search_judges_them() {
    let histories = env::var("IFMATCH_HISTORIES").map_or(HISTORIES, |histories| histories.parse().unwrap());
    let (mut legal_ones, mut illegal_ones, mut disagreements) = (0, 0, Vec::new());

    for seed in 0..histories {
        let history = if seed % 3 == 0 { legal(seed) } else { mutated(seed) };
        let ours = history.check();
        let theirs = has_an_order(&history);
        match theirs {
            true => legal_ones += 1,
            false => illegal_ones += 1,
        }
        if ours.is_ok() != theirs {
            disagreements.push((seed, ours.err()));
        }
    }

    println!("{legal_ones} legal and {illegal_ones} illegal histories");
    for (seed, ours) in disagreements.iter().take(3) {
        println!("seed {seed}: we say {ours:?}");
        let history = if seed % 3 == 0 { legal(*seed) } else { mutated(*seed) };
        println!("{:?}", history.numbering);
        for (number, event) in history.events.iter().enumerate() {
            println!("  {number}: {event:?}");
        }
    }
    assert!(disagreements.is_empty(), "{} disagreements", disagreements.len());
    assert!(legal_ones > histories / 14 && illegal_ones > histories / 14);
}

fn has_an_order(history: &History) -> bool {
    let operations: Vec<porcupine_rs::Operation<Model>> = history
        .events
        .iter()
        .map(|event| porcupine_rs::Operation {
            client_id: None,
            call_time: event.call as i64,
            return_time: event.returned.map_or(i64::MAX, |returned| returned as i64),
            op: Call { event: event.clone(), numbering: history.numbering },
            metadata: None,
        })
        .collect();
    porcupine_rs::check_operations(&operations)
}

#[derive(Debug, Clone)]
struct Model;

#[derive(Debug, Clone)]
struct Call {
    event: Event,
    numbering: Numbering,
}

/// A store as an outsider can know it: versions given to commits whose answer was lost are known once they were seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct State {
    cells: BTreeMap<String, Cell>,
    /// The versions in the order in which they were given, one list an id or one for all.
    lines: BTreeMap<String, Vec<Option<u64>>>,
    applied: BTreeMap<WriteId, Vec<Effect>>,
    closed: BTreeSet<WriteId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cell {
    slot: Slot,
    value: Option<u64>,
}

/// A version: its list and its place there.
type Slot = (String, usize);

/// What a commit did to one id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Effect {
    version: Option<Slot>,
    replaced: Option<Slot>,
}

impl porcupine_rs::Model for Model {
    type State = State;
    type Op = Call;
    type Metadata = ();

    fn init() -> State {
        State::default()
    }

    fn step(state: &State, call: &Call) -> (bool, State) {
        let mut next = state.clone();
        match next.take(&call.event.operation, call.numbering) {
            Some(()) => (true, next),
            None => (false, state.clone()),
        }
    }
}

impl State {
    /// The state after an operation, `None` where its answer is not true here.
    fn take(&mut self, operation: &Operation, numbering: Numbering) -> Option<()> {
        match operation {
            Operation::Read { id, seen } => self.see(id, *seen),
            Operation::Resolve { write, answer: Answer::Applied(receipts) } => {
                let effects = self.applied.get(write)?.clone();
                self.confirm(&effects, receipts)
            }
            Operation::Resolve { write, answer: Answer::NotApplied } => {
                self.closed.insert(*write);
                (!self.applied.contains_key(write)).then_some(())
            }
            Operation::Resolve { .. } => Some(()),
            Operation::Commit { write, steps, answer } => {
                let known = write.and_then(|write| self.applied.get(&write).cloned());
                match (answer, known) {
                    (Answer::NotApplied, _) | (Answer::Unknown, Some(_)) => Some(()),
                    (Answer::Applied(receipts), Some(known)) => self.confirm(&known, receipts),
                    (Answer::Applied(receipts), None) => {
                        let effects = self.apply(*write, steps, numbering)?;
                        self.confirm(&effects, receipts)
                    }
                    (Answer::Conflict(_), Some(_)) => None,
                    (Answer::Conflict(sights), None) => sights.iter().try_for_each(|sight| {
                        let step = steps.iter().find(|step| step.id == sight.id)?;
                        let refused = !step.expected.admits(live(sight.seen));
                        refused.then(|| self.see(&sight.id, sight.seen))?
                    }),
                    (Answer::Unknown, None) => {
                        let mut applied = self.clone();
                        if applied.apply(*write, steps, numbering).is_some() {
                            *self = applied;
                        }
                        Some(())
                    }
                }
            }
        }
    }

    fn see(&mut self, id: &str, seen: Seen) -> Option<()> {
        let cell = self.cells.get(id).cloned();
        match (seen, cell) {
            (Seen::Nothing, cell) => cell.is_none_or(|cell| cell.value.is_none()).then_some(()),
            (Seen::Deleted { version }, Some(Cell { slot, value: None })) => self.bind(&slot, version),
            (Seen::Value { version, fingerprint }, Some(Cell { slot, value: Some(value) })) => {
                let same = fingerprint.is_none_or(|fingerprint| fingerprint == value);
                same.then(|| self.bind(&slot, version))?
            }
            _ => None,
        }
    }

    /// Learns the version in a slot: the one known, or one that fits between its neighbours.
    fn bind(&mut self, (line, place): &Slot, version: Version) -> Option<()> {
        let (line, version) = (self.lines.get_mut(line)?, version.to_bits().get());
        let fits = match line[*place] {
            Some(known) => known == version,
            None => {
                line[..*place].iter().flatten().all(|before| *before < version)
                    && line[*place + 1..].iter().flatten().all(|after| *after > version)
            }
        };
        line[*place] = Some(version);
        fits.then_some(())
    }

    fn apply(&mut self, write: Option<WriteId>, steps: &[Step], numbering: Numbering) -> Option<Vec<Effect>> {
        if write.is_some_and(|write| self.closed.contains(&write)) {
            return None;
        }
        for step in steps {
            let slot = self.slot(&step.id);
            match (step.expected, slot) {
                (Expected::Any, _) | (Expected::Absent, None) | (Expected::Present, Some(_)) => {}
                (Expected::Version(version), Some(slot)) => self.bind(&slot, version)?,
                _ => return None,
            }
        }
        let mut number = None;
        let effects: Vec<Effect> = steps
            .iter()
            .map(|step| {
                let replaced = self.slot(&step.id);
                let value = match step.deed {
                    Deed::Check => return Effect { version: replaced.clone(), replaced },
                    Deed::Delete if replaced.is_none() => return Effect { version: None, replaced },
                    Deed::Delete => None,
                    Deed::Put(value) => Some(value),
                };
                let slot = match (numbering, &number) {
                    (Numbering::StoreWide, Some(slot)) => Clone::clone(slot),
                    (Numbering::StoreWide, None) => self.next(""),
                    (Numbering::PerId, _) => self.next(&step.id),
                };
                number = Some(slot.clone());
                self.cells.insert(step.id.to_string(), Cell { slot: slot.clone(), value });
                Effect { version: Some(slot), replaced }
            })
            .collect();
        self.applied.extend(write.map(|write| (write, effects.clone())));
        Some(effects)
    }

    /// Holds what a commit did against its receipts.
    fn confirm(&mut self, effects: &[Effect], receipts: &[Receipt]) -> Option<()> {
        for (effect, receipt) in effects.iter().zip(receipts) {
            for (slot, version) in [(&effect.version, receipt.version), (&effect.replaced, receipt.replaced)]
            {
                match (slot, version) {
                    (None, None) => {}
                    (Some(slot), Some(version)) => self.bind(slot, version)?,
                    _ => return None,
                }
            }
        }
        (effects.len() == receipts.len()).then_some(())
    }

    /// Where the version of the value at an id is, where there is one.
    fn slot(&self, id: &str) -> Option<Slot> {
        let cell = self.cells.get(id)?;
        cell.value.map(|_| cell.slot.clone())
    }

    fn next(&mut self, line: &str) -> Slot {
        let versions = self.lines.entry(line.to_owned()).or_default();
        versions.push(None);
        (line.to_owned(), versions.len() - 1)
    }
}

fn live(seen: Seen) -> Option<Version> {
    match seen {
        Seen::Value { version, .. } => Some(version),
        Seen::Deleted { .. } | Seen::Nothing => None,
    }
}
