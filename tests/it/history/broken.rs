//! Stores broken on purpose: each fault must be caught in every run, which guards the workload and the checker.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ifmatch::conformance::history::{History, Numbering, Recorded, Violation, Workload};
use ifmatch::store::{
    Abilities, Action, Changes, Committed, Found, Listed, Page, Receipt, Refusal, Resolution, Scan, WriteId,
};
use ifmatch::{Commit, Conflict, Entry, Error, Reply, Start, Store, Version, Versioned};
use parking_lot::Mutex;

/// One thing that a [`Broken`] store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Judges a commit, lets others go first, and applies it without judging again.
    CheckThenAct,
    /// Reads the value before the current one, 1 time in 200.
    StaleRead,
    /// Shows the value before the current one in a conflict, 1 time in 200.
    StaleConflict,
    /// Shows the current version with the value before it in a conflict, 1 time in 200.
    WrongConflictValue,
    /// Applies the entries of a commit one after another, and lets others see the first without the second.
    TornCommit,
    /// Counts the versions of an id from the start again after it was deleted.
    VersionReuse,
    /// Applies a put twice, 1 time in 200.
    AppliedTwice,
    /// Applies again a commit that is sent again under its write id.
    ForgottenWrite,
    /// Answers a commit that is sent again under its write id with a conflict.
    FalseConflict,
    /// Applies a commit whose expectation is not met, 1 time in 200.
    DroppedExpectation,
    /// Acknowledges a commit and forgets it, 1 time in 200.
    LostCommit,
    /// Says of a write that it was not applied, which it was.
    FalseResolution,
}

/// A small store under one lock, faithful but for one fault.
struct Broken {
    fault: Fault,
    state: Mutex<State>,
    /// How many calls there were, so that a torn commit can wait for some between its halves.
    arrived: AtomicU64,
    /// Held by a commit that is torn, so that only readers meet its halves.
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    calls: u64,
    number: u64,
    cells: BTreeMap<String, Cell>,
    writes: BTreeMap<WriteId, Committed>,
}

#[derive(Clone, Default)]
struct Cell {
    version: Option<Version>,
    value: Option<Arc<u64>>,
    before: Option<Versioned<u64>>,
    counted: u64,
}

impl Broken {
    fn with(fault: Fault) -> Self {
        Self { fault, state: Mutex::default(), writing: Mutex::default(), arrived: AtomicU64::new(0) }
    }

    /// Waits for three calls of others, but not for ever: there may be no others.
    fn let_others_in(&self) {
        let before = self.arrived.load(Ordering::Relaxed);
        for _ in 0..200 {
            if self.arrived.load(Ordering::Relaxed) >= before + 3 {
                return;
            }
            thread::yield_now();
        }
    }

    fn commit_now(&self, commit: &Commit<'_, u64>) -> Result<Committed, Error> {
        commit.check_ids()?;
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let writes = commit.entries().iter().any(|entry| !matches!(entry.action, Action::Check));
        let _writing = (writes && self.fault == Fault::TornCommit).then(|| self.writing.lock());
        let mut state = self.state.lock();
        let known = commit.remembered_write().and_then(|write| state.writes.get(&write).cloned());
        match (known, self.fault) {
            (Some(_), Fault::ForgottenWrite) | (None, _) => {}
            (Some(_), Fault::FalseConflict) => return Err(state.conflict(commit, self.fault)),
            (Some(known), _) => return Ok(known),
        }
        // Counted for those that would be refused only, so that each run has some.
        let refused = !state.admits(commit);
        let dropped = refused && self.fault == Fault::DroppedExpectation && state.rarely();
        if refused && !dropped {
            return Err(state.conflict(commit, self.fault));
        }
        match self.fault {
            Fault::CheckThenAct if matches!(commit.entries(), [Entry { action: Action::Put(_), .. }]) => {
                let entry = &commit.entries()[0];
                let replaced = state.live(entry.id);
                drop(state);
                thread::yield_now();
                let mut state = self.state.lock();
                let committed = Committed::one(Receipt { replaced, ..state.apply(entry, None, self.fault) });
                state.remember(commit, &committed);
                return Ok(committed);
            }
            Fault::TornCommit if writes => {
                drop(state);
                let apply = |entry: &Entry<'_, u64>| {
                    self.let_others_in();
                    self.state.lock().apply(entry, None, self.fault)
                };
                let committed: Committed = commit.entries().iter().map(apply).collect();
                self.state.lock().remember(commit, &committed);
                return Ok(committed);
            }
            _ => {}
        }
        let kept = (self.fault == Fault::LostCommit && state.rarely()).then(|| state.cells.clone());
        let committed = state.apply_all(commit, self.fault);
        if let Some(kept) = kept {
            state.cells = kept;
        }
        if self.fault == Fault::AppliedTwice && state.rarely() {
            state.apply_all(commit, self.fault);
        }
        state.remember(commit, &committed);
        Ok(committed)
    }
}

impl State {
    /// Once in 200 calls.
    fn rarely(&mut self) -> bool {
        self.calls += 1;
        self.calls.is_multiple_of(200)
    }

    fn found(&self, id: &str) -> Found<u64> {
        match self.cells.get(id) {
            Some(Cell { version: Some(version), value: Some(value), .. }) => {
                Found::Value(Versioned { version: *version, value: Arc::clone(value) })
            }
            Some(Cell { version: Some(version), .. }) => Found::Deleted(*version),
            _ => Found::Nothing,
        }
    }

    fn live(&self, id: &str) -> Option<Version> {
        match self.found(id) {
            Found::Value(current) => Some(current.version),
            _ => None,
        }
    }

    fn admits(&self, commit: &Commit<'_, u64>) -> bool {
        commit.entries().iter().all(|entry| entry.judge(self.found(entry.id)).is_ok())
    }

    fn conflict(&mut self, commit: &Commit<'_, u64>, fault: Fault) -> Error {
        let mut mismatches = Vec::new();
        for entry in commit.entries() {
            let stale = self.stale(entry.id, fault).and_then(|stale| entry.judge(Found::Value(stale)).err());
            let stale = stale.filter(|_| self.rarely());
            mismatches.extend(stale.or_else(|| entry.judge(self.found(entry.id)).err()));
        }
        if mismatches.is_empty() {
            let (id, other) = (commit.entries()[0].id, Version::from_bits(NonZeroU64::MAX));
            mismatches.extend(Entry::<u64>::check(id, other).judge(self.found(id)).err());
        }
        Conflict::new(mismatches).expect("an expectation failed").into()
    }

    /// What a conflict on this id shows instead of the truth.
    fn stale(&self, id: &str, fault: Fault) -> Option<Versioned<u64>> {
        let before = self.cells.get(id)?.before.clone()?;
        match fault {
            Fault::StaleConflict => Some(before),
            Fault::WrongConflictValue => Some(Versioned { version: self.live(id)?, ..before }),
            _ => None,
        }
    }

    fn apply_all(&mut self, commit: &Commit<'_, u64>, fault: Fault) -> Committed {
        self.number += 1;
        let number = self.number;
        commit.entries().iter().map(|entry| self.apply(entry, Some(number), fault)).collect()
    }

    fn remember(&mut self, commit: &Commit<'_, u64>, committed: &Committed) {
        self.writes.extend(commit.remembered_write().map(|write| (write, committed.clone())));
    }

    fn apply(&mut self, entry: &Entry<'_, u64>, number: Option<u64>, fault: Fault) -> Receipt {
        let replaced = self.live(entry.id);
        if matches!(entry.action, Action::Check) {
            return Receipt { version: replaced, replaced };
        }
        if matches!(entry.action, Action::Delete) && replaced.is_none() {
            return Receipt { version: None, replaced: None };
        }
        let number = number.unwrap_or_else(|| {
            self.number += 1;
            self.number
        });
        let cell = self.cells.entry(entry.id.to_owned()).or_default();
        cell.counted += 1;
        let number = if fault == Fault::VersionReuse { cell.counted } else { number };
        let version = NonZeroU64::new(number).map(Version::from_bits);
        if let (Some(version), Some(value)) = (cell.version, cell.value.take()) {
            cell.before = Some(Versioned { version, value });
        }
        cell.version = version;
        match &entry.action {
            Action::Put(value) => cell.value = Some(Arc::clone(value)),
            _ => cell.counted = 0,
        }
        Receipt { version, replaced }
    }
}

impl Store<u64> for Broken {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        let stale = self.fault == Fault::StaleRead && state.rarely();
        let before = state.cells.get(id).and_then(|cell| cell.before.clone());
        Reply::ready(Ok(match state.found(id) {
            Found::Value(current) => Some(before.filter(|_| stale).unwrap_or(current)),
            _ => None,
        }))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
        Reply::ready(self.commit_now(&commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        let state = self.state.lock();
        let applied = state.writes.get(&write).filter(|_| self.fault != Fault::FalseResolution);
        let unknown =
            if self.fault == Fault::FalseResolution { Resolution::NotApplied } else { Resolution::Unknown };
        Reply::ready(Ok(applied.cloned().map_or(unknown, Resolution::Applied)))
    }

    fn scan<'a>(&'a self, _: Scan<'a>) -> Reply<'a, Page<Listed<u64>>> {
        Reply::ready(Err(Refusal::Unsupported { what: "scanning" }.into()))
    }

    fn watch<'a>(&'a self, _: Start) -> Reply<'a, Changes<u64>> {
        Reply::ready(Err(Refusal::Unsupported { what: "watching" }.into()))
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.tombstones = true;
        abilities
    }
}

/// What the checker says of one run, with each of the numberings that fits the fault.
fn judged(fault: Fault, numbering: Numbering, seed: u64) -> Option<Violation> {
    let store = Recorded::new(Broken::with(fault));
    Workload { calls: 4_000, ..Workload::new(seed) }.run(&store, |number| number.into());
    store.history(numbering).check().err()
}

/// How often threads meet on a broken store before it counts as not caught.
const TRIES: u64 = 20;

fn caught_in_every_run(fault: Fault, numbering: Numbering, fits: impl Fn(&Violation) -> bool) {
    for seed in 1..=20 {
        // How threads meet is up to the machine: now and then none of them sees what is wrong, and so they meet again.
        let violation = (0..TRIES).find_map(|again| judged(fault, numbering, seed + 100 * again));
        let violation = violation.unwrap_or_else(|| panic!("{fault:?} with seed {seed} was not caught"));
        assert!(fits(&violation), "{fault:?} with seed {seed} was caught as: {violation}");
    }
}

#[test]
fn the_store_without_a_fault_passes() {
    for seed in 1..=20 {
        assert_eq!(judged(Fault::None, Numbering::StoreWide, seed), None);
        assert_eq!(judged(Fault::None, Numbering::PerId, seed), None);
    }
}

#[test]
fn a_saved_history_is_judged_again_as_before() {
    let store = Recorded::new(Broken::with(Fault::StaleRead));
    Workload::new(3).run(&store, |number| number.into());
    let history = store.history(Numbering::StoreWide).with_seed(3);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("stale-read.history");

    history.save(&file).unwrap();
    let replayed = History::load(&file).unwrap();

    assert_eq!(replayed, history);
    assert_eq!(replayed.check(), history.check());
    assert!(replayed.check().is_err());
}

#[test]
fn a_check_then_act_store_loses_updates() {
    caught_in_every_run(Fault::CheckThenAct, Numbering::PerId, |violation| {
        matches!(violation, Violation::LostUpdate { .. } | Violation::BrokenLink { .. })
    });
}

#[test]
fn a_stale_read_1_in_200_is_caught() {
    caught_in_every_run(Fault::StaleRead, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::StaleRead { .. })
    });
}

#[test]
fn a_stale_conflict_body_1_in_200_is_caught() {
    caught_in_every_run(Fault::StaleConflict, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::StaleRead { .. } | Violation::Torn { .. })
    });
}

#[test]
fn a_conflict_body_with_another_value_1_in_200_is_caught() {
    caught_in_every_run(Fault::WrongConflictValue, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::ValueMismatch { .. })
    });
}

#[test]
fn a_torn_commit_is_caught() {
    caught_in_every_run(Fault::TornCommit, Numbering::PerId, |violation| {
        matches!(
            violation,
            Violation::Torn { .. } | Violation::StaleRead { .. } | Violation::Reordered { .. }
        )
    });
}

#[test]
fn a_reused_version_is_caught() {
    caught_in_every_run(Fault::VersionReuse, Numbering::PerId, |violation| {
        matches!(violation, Violation::VersionReused { .. } | Violation::VersionOrder { .. })
    });
}

#[test]
fn a_commit_applied_twice_1_in_200_is_caught() {
    caught_in_every_run(Fault::AppliedTwice, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::AppliedTwice { .. } | Violation::Unexplained { .. })
    });
}

#[test]
fn a_write_id_that_is_not_recognised_is_caught() {
    caught_in_every_run(Fault::ForgottenWrite, Numbering::StoreWide, |violation| {
        matches!(
            violation,
            Violation::AppliedTwice { .. }
                | Violation::FalseConflict { .. }
                | Violation::FalseResolution { .. }
        )
    });
}

#[test]
fn a_conflict_with_its_own_write_is_caught() {
    caught_in_every_run(Fault::FalseConflict, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::FalseConflict { .. })
    });
}

#[test]
fn a_dropped_expectation_1_in_200_is_caught() {
    caught_in_every_run(Fault::DroppedExpectation, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::ExpectationDropped { .. })
    });
}

#[test]
fn an_acknowledged_commit_that_is_lost_is_caught() {
    caught_in_every_run(Fault::LostCommit, Numbering::StoreWide, |_| true);
}

#[test]
fn a_false_resolution_is_caught() {
    caught_in_every_run(Fault::FalseResolution, Numbering::StoreWide, |violation| {
        matches!(violation, Violation::FalseResolution { .. })
    });
}
