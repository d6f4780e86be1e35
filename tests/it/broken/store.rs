//! [`Broken`], a plain store under one lock with one [`Fault`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::{
    Abilities, Action, Changes, Commit, Committed, Conflict, Entry, Error, Expectation, Expected, Failure,
    Found, Mismatch, Outcome, Page, Receipt, Refusal, Reply, Resolution, Start, Store, Version, Versioned,
    WriteId, check_id,
};

use super::fault::Fault;
use super::feed::watch;

pub(crate) struct Broken {
    fault: Fault,
    calls: AtomicU64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) slots: BTreeMap<String, Slot>,
    pub(crate) log: Vec<Vec<Logged>>,
    pub(crate) wakers: Vec<Waker>,
    clock: u64,
    writes: HashMap<WriteId, Option<Committed>>,
    /// Ids locked by a commit, for faults about locks.
    held: BTreeSet<String>,
    /// How many ids came before the next page, for a listing by offset.
    offsets: HashMap<String, usize>,
}

pub(crate) struct Slot {
    pub(crate) version: Version,
    /// `None` where it was deleted.
    pub(crate) value: Option<Arc<u64>>,
    before: Option<Versioned<u64>>,
}

pub(crate) struct Logged {
    pub(crate) id: Arc<str>,
    pub(crate) version: Version,
    /// `None` where it was deleted.
    pub(crate) value: Option<Arc<u64>>,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        let state = State { clock: 1 << 40, ..State::default() };
        Self { fault, calls: AtomicU64::new(0), state: Arc::new(Mutex::new(state)) }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        match self.fault {
            Fault::WakesUnderLock => self.state.lock().expect("poisoned"),
            _ => self.state.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn nth(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    /// The id as the store keeps it.
    fn key(&self, id: &str) -> String {
        match self.fault {
            Fault::IdsFoldCase => id.to_lowercase(),
            Fault::LongIdsCut => id.chars().take(256).collect(),
            _ => id.to_owned(),
        }
    }

    fn commit_now(&self, commit: Commit<'_, u64>) -> Result<Committed, Error> {
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
        if let ControlFlow::Break(answer) = self.recognise(&mut state, write) {
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
        for entry in &entries {
            receipts.push(self.apply(&mut state, entry, &mut logged));
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

    fn judge(&self, state: &State, at: usize, entry: &Entry<'_, u64>) -> Result<(), Mismatch> {
        let mut entry = entry.clone();
        let slot = state.slots.get(&self.key(entry.id));
        let expected = entry.expectation.expected;
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
            return Entry { expectation: Expected::Absent.into(), ..entry }.judge(found);
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
            Fault::OriginLost => entry.expectation = expected.into(),
            Fault::IntentLost => entry.action = Action::Check,
            _ => {}
        }
        match entry.judge(again(&found)) {
            // The state before may satisfy the expectation: then it is told as another failure.
            Ok(()) => Entry { expectation: impossible(), ..entry }.judge(found),
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
                for entry in &entries[..applied] {
                    self.apply(&mut state, entry, &mut logged);
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
                    return Conflict::new(mismatches).into();
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
                return Conflict::new(entries.iter().enumerate().filter_map(reread).collect()).into();
            }
            _ => {}
        }
        self.publish(state, logged);
        Conflict::new(mismatches).into()
    }

    fn apply(&self, state: &mut State, entry: &Entry<'_, u64>, logged: &mut Vec<Logged>) -> Receipt {
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
        let version = self.issue(state, current.as_ref(), value.as_deref());
        logged.push(Logged { id: entry.id.into(), version, value: value.clone() });
        state.slots.insert(key, Slot { version, value, before: current });
        let replaced = replaced.filter(|_| !self.is(Fault::ReceiptForgetsReplaced));
        Receipt { version: Some(version), replaced }
    }

    fn issue(&self, state: &mut State, current: Option<&Versioned<u64>>, value: Option<&u64>) -> Version {
        state.clock += 1;
        let bits = match (self.fault, current, value) {
            (Fault::VersionsGoDown, ..) => (1 << 50) - state.clock,
            (Fault::ReuseAfterDelete, Some(current), _) => current.version.to_bits().get() + 1,
            (Fault::ReuseAfterDelete, None, _) => 1,
            (Fault::VersionOfValue, _, Some(value)) => value + 1,
            (Fault::VersionTwice, ..) => state.clock / 2,
            (Fault::EqualValueKeepsVersion, Some(current), Some(value)) if *current.value == *value => {
                current.version.to_bits().get()
            }
            _ => state.clock,
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

    /// Gives up in the end, so that the threads of a test do not stay for ever.
    fn hold_when_free(&self, id: &str) {
        let end = Instant::now() + 2 * ifmatch::conformance::PATIENCE;
        while !self.lock().held.insert(id.to_owned()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn scan_now(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page<u64>, Error> {
        if limit == 0 && !self.is(Fault::EmptyPageTaken) {
            return Err(Refusal::EmptyPage.into());
        }
        if prefix.is_empty() && self.is(Fault::EmptyPrefixIsNothing) {
            return Ok(Page { items: Vec::new(), more: false });
        }
        let mut state = self.lock();
        let prefix = self.key(prefix);
        let matches = |id: &str| match self.fault {
            Fault::PrefixIsPattern => {
                let pairs = || prefix.chars().zip(id.chars());
                pairs().count() == prefix.chars().count()
                    && pairs().all(|(one, other)| one == '_' || one == other)
            }
            _ => id.starts_with(&prefix),
        };
        let mut found: Vec<(Arc<str>, Versioned<u64>)> = Vec::new();
        for (id, slot) in state.slots.iter().filter(|(id, _)| matches(id)) {
            let Some(value) = &slot.value else { continue };
            let current = Versioned { version: slot.version, value: Arc::clone(value) };
            let shown = slot.before.clone().filter(|_| self.is(Fault::ListsStaleValues)).unwrap_or(current);
            let id = if self.is(Fault::ListsTrimmedIds) { id.trim() } else { id };
            found.push((id.into(), shown));
        }
        if self.is(Fault::ListsBackwards) {
            found.reverse();
        }
        let skipped = match (self.fault, after) {
            (_, None) => 0,
            (Fault::PagesByOffset, Some(after)) if state.offsets.contains_key(after) => state.offsets[after],
            (Fault::AfterIsInclusive, Some(after)) => found.iter().filter(|(id, _)| &**id < after).count(),
            (_, Some(after)) => found.iter().filter(|(id, _)| &**id <= after).count(),
        };
        let more = found.len().saturating_sub(skipped) > limit && !self.is(Fault::PagesEndEarly);
        let items: Vec<_> = found.into_iter().skip(skipped).take(limit).collect();
        if let Some((last, _)) = items.last().filter(|_| self.is(Fault::PagesByOffset)) {
            state.offsets.insert(last.to_string(), skipped + items.len());
        }
        Ok(Page { items, more })
    }
}

impl Store<u64> for Broken {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
        let state = self.lock();
        let Some(slot) = state.slots.get(&self.key(id)) else { return Reply::ready(Ok(None)) };
        let current = slot.value.clone().map(|value| Versioned { version: slot.version, value });
        let stale = self.is(Fault::StaleRead) && slot.before.is_some() && self.nth() % 5 == 4;
        Reply::ready(Ok(if stale { slot.before.clone() } else { current }))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
        let limit = self.abilities().entries;
        let entries = commit.entries().len();
        if entries > limit && !self.is(Fault::LimitNotKept) {
            return Reply::ready(Err(Refusal::TooMany { entries, limit }.into()));
        }
        if !self.is(Fault::CommitTornByDrop) || entries < 2 {
            return Reply::ready(self.commit_now(commit));
        }
        Reply::pending(async move {
            let mut receipts = Vec::new();
            for entry in commit.into_entries() {
                receipts.extend_from_slice(self.commit_now(Commit::one(entry))?.receipts());
                yield_once().await;
            }
            Ok(Committed::from_iter(receipts))
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        let mut state = self.lock();
        Reply::ready(Ok(match state.writes.get(&write) {
            _ if self.is(Fault::ResolveForgets) => Resolution::Unknown,
            Some(Some(committed)) => Resolution::Applied(committed.clone()),
            Some(None) => Resolution::NotApplied,
            None => {
                if !self.is(Fault::ResolveDoesNotClose) {
                    state.writes.insert(write, None);
                }
                Resolution::NotApplied
            }
        }))
    }

    fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<u64>> {
        if !self.is(Fault::DroppedReadLocks) {
            return Reply::ready(self.scan_now(prefix, after, limit));
        }
        Reply::pending(async move {
            self.lock().held.insert(String::new());
            yield_once().await;
            self.lock().held.remove("");
            self.scan_now(prefix, after, limit)
        })
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u64>> {
        Reply::ready(watch(self.fault, &self.state, &from))
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.watch = !self.is(Fault::WatchUndeclared);
        abilities.tombstones = true;
        match self.fault {
            Fault::LimitNotKept => abilities.entries = 8,
            Fault::AbilitiesChange => abilities.entries = 1_000 + self.nth() as usize,
            _ => {}
        }
        abilities
    }
}

/// Lets other threads in between two steps that belong together.
fn pause() {
    thread::sleep(Duration::from_micros(100));
}

/// An expectation that no state satisfies.
fn impossible() -> Expectation {
    Expected::Version(Version::from_bits(u64::MAX.try_into().unwrap())).into()
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// `Found` is not `Clone`, since a sound store judges what it found once.
fn again(found: &Found<u64>) -> Found<u64> {
    match found {
        Found::Value(current) => Found::Value(current.clone()),
        Found::Deleted(version) => Found::Deleted(*version),
        Found::Nothing => Found::Nothing,
    }
}
