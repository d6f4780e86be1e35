//! How a [`Broken`] store commits, and what goes wrong there.

use std::ops::ControlFlow;
use std::sync::{Arc, MutexGuard};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use ifmatch::store::{
    Action, Committed, Condition, Failure, Found, Mismatch, Outcome, Receipt, Refusal, WriteId, check_id,
};
use ifmatch::{Commit, Conflict, Entry, Error, Expected, Version, Versioned};

use super::fault::Fault;
use super::store::{Broken, Logged, Slot, State};

impl Broken {
    pub(super) fn commit_now(&self, commit: Commit<'_, u64>) -> Result<Committed, Error> {
        self.refuse(&commit)?;
        let write = commit.write().map(|write| match self.fault {
            Fault::WriteIdsCollide => WriteId::from_bits(0),
            _ => write,
        });
        if write.is_some() && self.is(Fault::ResolveDoesNotClose) {
            pause();
        }
        let locked = self.lock_in_order(&commit);
        let mut state = self.lock();
        let remembered = match self.fault {
            Fault::ChecksRemembered => commit.write(),
            _ => commit.remembered_write(),
        };
        let fingerprint = if self.is(Fault::WriteIdsNameAny) { 0 } else { commit.fingerprint() };
        let known = match remembered.filter(|_| self.has_a_window()) {
            Some(write) => self.recall(&state, write, fingerprint),
            None if self.has_a_window() => ControlFlow::Continue(()),
            None => self.recognise(&mut state, write),
        };
        if let ControlFlow::Break(answer) = known {
            return answer;
        }
        let entries = commit.into_entries();
        let mismatches: Vec<Mismatch> = entries
            .iter()
            .enumerate()
            .filter_map(|(at, entry)| self.judge(&state, at, entry).err())
            .collect();
        if !mismatches.is_empty() {
            return Err(self.refused(state, &entries, mismatches));
        }
        if self.is(Fault::LostUpdate) {
            drop(state);
            pause();
            state = self.lock();
        }
        let mut logged = Vec::new();
        let mut receipts = Vec::new();
        let number = state.next_number();
        for entry in &entries {
            receipts.push(self.apply(&mut state, number, entry, &mut logged));
            if self.is(Fault::TornCommit) {
                drop(state);
                pause();
                state = self.lock();
            }
        }
        for id in locked {
            state.held.remove(&id);
        }
        if self.is(Fault::ReceiptsAreSorted) {
            let mut sorted: Vec<_> = entries.iter().map(|entry| entry.id).zip(receipts).collect();
            sorted.sort_by_key(|(id, _)| *id);
            receipts = sorted.into_iter().map(|(_, receipt)| receipt).collect();
        }
        let committed = Committed::from_iter(receipts);
        if let Some(write) = write {
            state.writes.insert(write, Some(committed.clone()));
        }
        let idle = !committed.receipts().iter().any(Receipt::changed);
        if let Some(write) = remembered.filter(|_| !(idle && self.is(Fault::IdleForgotten))) {
            state.window.remember(write, fingerprint, committed.clone());
        }
        self.publish(state, logged);
        Ok(committed)
    }

    fn refuse(&self, commit: &Commit<'_, u64>) -> Result<(), Refusal> {
        if !self.is(Fault::DuplicatesTaken) {
            commit.check_ids()?;
        }
        if commit.entries().is_empty() && self.is(Fault::EmptyRefused) {
            return Err(Refusal::Unsupported { what: "empty commits" });
        }
        for entry in commit.entries() {
            if matches!(entry.action, Action::Put(_)) && !self.is(Fault::AnyIdTaken) {
                check_id(entry.id)?;
            }
        }
        Ok(())
    }

    /// Ends the commit where its write id is known.
    fn recognise(&self, state: &mut State, write: Option<WriteId>) -> ControlFlow<Result<Committed, Error>> {
        let Some(write) = write else { return ControlFlow::Continue(()) };
        match state.writes.get(&write) {
            _ if matches!(self.fault, Fault::AppliedTwice | Fault::OwnWriteConflicts) => {
                ControlFlow::Continue(())
            }
            Some(Some(committed)) => ControlFlow::Break(Ok(committed.clone())),
            Some(None) => ControlFlow::Break(Err(Refusal::Closed { write }.into())),
            None => {
                if self.is(Fault::ConflictedIsApplied) {
                    state.writes.insert(write, Some(Committed::from_iter([])));
                }
                ControlFlow::Continue(())
            }
        }
    }

    /// The same by the rules of write ids, but for the fault in keeping them.
    fn recall(
        &self,
        state: &State,
        write: WriteId,
        fingerprint: u64,
    ) -> ControlFlow<Result<Committed, Error>> {
        if self.is(Fault::AskingShutsOut) && Some(write) <= state.asked {
            return ControlFlow::Break(Err(Refusal::Closed { write }.into()));
        }
        let newest = if self.is(Fault::AheadTaken) { write.place() } else { state.newest() };
        match state.window.recall(write, fingerprint, newest) {
            Ok(Some(committed)) => ControlFlow::Break(Ok(committed.clone())),
            Ok(None) => ControlFlow::Continue(()),
            Err(Refusal::Outside { .. }) if self.is(Fault::ForgottenIsNew) => ControlFlow::Continue(()),
            Err(refusal) => ControlFlow::Break(Err(refusal.into())),
        }
    }

    fn judge(&self, state: &State, at: usize, entry: &Entry<'_, u64>) -> Result<(), Mismatch> {
        let mut entry = entry.clone();
        let slot = state.slots.get(&self.key(entry.id));
        let expected = entry.condition.expected;
        let lenient = match (self.fault, &entry.action) {
            (Fault::PutIgnoresPresent, Action::Put(_)) => expected == Expected::Present,
            (Fault::DeleteIgnoresExpectation, Action::Delete)
            | (Fault::CheckIgnoresExpectation, Action::Check) => true,
            (Fault::OnlyFirstIsChecked, _) => at > 0,
            (Fault::DeletionMatches, _) => {
                slot.is_some_and(|slot| slot.value.is_none() && expected == Expected::Version(slot.version))
            }
            (Fault::AnyLiveVersionMatches, _) => {
                let live = |slot: &Slot| slot.value.is_some() && expected == Expected::Version(slot.version);
                state.slots.values().any(live)
            }
            _ => false,
        };
        if lenient {
            return Ok(());
        }
        let found = match slot {
            Some(Slot { version, value: Some(value), .. }) => {
                Found::Value(Versioned { version: *version, value: Arc::clone(value) })
            }
            Some(_) if self.is(Fault::TombstonesForgotten) => Found::Nothing,
            Some(slot) => Found::Deleted(slot.version),
            None if self.is(Fault::MissingAsDeleted) => {
                Found::Deleted(Version::from_bits(1.try_into().unwrap()))
            }
            None => Found::Nothing,
        };
        if self.is(Fault::FalseConflict) && matches!(expected, Expected::Version(_)) && self.nth() % 10 == 9 {
            return Entry { condition: Expected::Absent.into(), ..entry }.judge(found);
        }
        if entry.judge(again(&found)).is_ok() {
            return Ok(());
        }

        // It failed: what follows only changes how the failure is told.
        let before = slot.filter(|slot| slot.value.is_some()).and_then(|slot| slot.before.clone());
        let found = match (self.fault, found, before) {
            (Fault::ConflictStale, Found::Value(_), Some(before)) => Found::Value(before),
            (Fault::ConflictMixed, Found::Value(current), Some(before)) => {
                Found::Value(Versioned { version: current.version, value: before.value })
            }
            (_, found, _) => found,
        };
        match self.fault {
            Fault::OriginLost => entry.condition = expected.into(),
            Fault::IntentLost => entry.action = Action::Check,
            _ => {}
        }
        match entry.judge(again(&found)) {
            // The state before may satisfy the expectation: then it is told as another failure.
            Ok(()) => Entry { condition: impossible(), ..entry }.judge(found),
            mismatch => mismatch,
        }
    }

    fn refused(
        &self,
        mut state: MutexGuard<'_, State>,
        entries: &[Entry<'_, u64>],
        mut mismatches: Vec<Mismatch>,
    ) -> Error {
        let first = entries.iter().position(|entry| entry.id == mismatches[0].id()).unwrap();
        let mut logged = Vec::new();
        match self.fault {
            Fault::PartialCommit | Fault::LoserWrites => {
                let applied = if self.is(Fault::PartialCommit) { first } else { entries.len() };
                let number = state.next_number();
                for entry in &entries[..applied] {
                    self.apply(&mut state, number, entry, &mut logged);
                }
            }
            Fault::FirstMismatchOnly => mismatches.truncate(1),
            Fault::ConflictWithoutValue => {
                let without =
                    |mismatch: Mismatch| mismatch.map_current(|_: Versioned<u64>| None::<Versioned<u64>>);
                mismatches = mismatches.into_iter().map(without).collect();
            }
            Fault::LeaksValue => {
                let Action::Put(value) = &entries[first].action else {
                    return Conflict::new(mismatches).expect("an expectation failed").into();
                };
                return Failure::new(Outcome::NotApplied, format!("can't write {value}")).into();
            }
            Fault::RawIds => {
                return Failure::new(Outcome::NotApplied, format!("lost {}", entries[first].id)).into();
            }
            Fault::ConflictTorn => {
                drop(state);
                let reread = |(at, entry): (usize, &Entry<'_, u64>)| {
                    pause();
                    self.judge(&self.lock(), at, entry).err()
                };
                let reread = entries.iter().enumerate().filter_map(reread);
                return Conflict::new(reread).expect("an expectation failed").into();
            }
            _ => {}
        }
        self.publish(state, logged);
        Conflict::new(mismatches).expect("an expectation failed").into()
    }

    fn apply(
        &self,
        state: &mut State,
        number: u64,
        entry: &Entry<'_, u64>,
        logged: &mut Vec<Logged>,
    ) -> Receipt {
        let key = self.key(entry.id);
        let current = state.slots.get(&key).and_then(|slot| {
            Some(Versioned { version: slot.version, value: Arc::clone(slot.value.as_ref()?) })
        });
        let replaced = current.as_ref().map(|current| current.version);
        let value = match &entry.action {
            Action::Put(value) => Some(Arc::clone(value)),
            Action::Check if self.is(Fault::ChecksMakeVersions) => {
                current.as_ref().map(|current| Arc::clone(&current.value))
            }
            Action::Check => {
                if let (Fault::WatchNoise, Some(version)) = (self.fault, replaced) {
                    logged.push(Logged { id: entry.id.into(), version, value: None });
                }
                return Receipt { version: replaced, replaced };
            }
            Action::Delete => None,
        };
        if value.is_none() && current.is_none() && !self.is(Fault::DeleteOfNothingMakesVersion) {
            return Receipt { version: None, replaced: None };
        }
        let version = self.issue(state, number, current.as_ref(), value.as_deref());
        logged.push(Logged { id: entry.id.into(), version, value: value.clone() });
        state.slots.insert(key, Slot { version, value, before: current });
        let replaced = replaced.filter(|_| !self.is(Fault::ReceiptForgetsReplaced));
        Receipt { version: Some(version), replaced }
    }

    /// The version of one entry of the commit with this number.
    fn issue(
        &self,
        state: &mut State,
        number: u64,
        current: Option<&Versioned<u64>>,
        value: Option<&u64>,
    ) -> Version {
        let bits = match (self.fault, current, value) {
            (Fault::VersionsGoDown, ..) => (1 << 50) - number,
            (Fault::ReuseAfterDelete, Some(current), _) => current.version.to_bits().get() + 1,
            (Fault::ReuseAfterDelete, None, _) => 1,
            (Fault::VersionOfValue, _, Some(value)) => value + 1,
            (Fault::VersionTwice, ..) => number / 2,
            (Fault::VersionAnEntry, ..) => state.next_number(),
            (Fault::EqualValueKeepsVersion, Some(current), Some(value)) if *current.value == *value => {
                current.version.to_bits().get()
            }
            _ => number,
        };
        Version::from_bits(bits.try_into().unwrap())
    }

    /// Writes the feed, and wakes who waits for it.
    fn publish(&self, mut state: MutexGuard<'_, State>, logged: Vec<Logged>) {
        let place = state.log.len();
        match self.fault {
            _ if logged.is_empty() => return,
            Fault::WatchSplit => state.log.extend(logged.into_iter().map(|logged| vec![logged])),
            Fault::WatchDisorder => state.log.insert(place - place % 2, logged),
            _ => state.log.push(logged),
        }
        let wakers = std::mem::take(&mut state.wakers);
        match self.fault {
            Fault::WatchDeaf => return,
            Fault::WakesUnderLock => {}
            _ => drop(state),
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Locks each id in the order of the commit, as a store that forgot to sort does.
    fn lock_in_order(&self, commit: &Commit<'_, u64>) -> Vec<String> {
        let writes = commit.entries().iter().any(|entry| matches!(entry.action, Action::Put(_)));
        if self.is(Fault::DroppedReadLocks) && writes {
            self.hold_when_free("");
            self.lock().held.remove("");
        }
        if !self.is(Fault::CrossedLocks) || commit.entries().len() < 2 {
            return Vec::new();
        }
        let ids: Vec<String> = commit.entries().iter().map(|entry| entry.id.to_owned()).collect();
        for id in &ids {
            self.hold_when_free(id);
            pause();
        }
        ids
    }
}

/// Lets other threads in between two steps that belong together.
fn pause() {
    thread::sleep(Duration::from_micros(100));
}

/// An expectation that no state satisfies.
fn impossible() -> Condition {
    Expected::Version(Version::from_bits(u64::MAX.try_into().unwrap())).into()
}

/// `Found` is not `Clone`, since a sound store judges what it found once.
fn again(found: &Found<u64>) -> Found<u64> {
    match found {
        Found::Value(current) => Found::Value(current.clone()),
        Found::Unread(version) => Found::Unread(*version),
        Found::Deleted(version) => Found::Deleted(*version),
        Found::Nothing => Found::Nothing,
    }
}
