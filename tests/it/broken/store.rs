//! [`Broken`], a plain store under one lock with one [`Fault`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::store::{
    Abilities, Changes, Committed, Listed, Page, Refusal, Resolution, Scan, Window, WriteId,
};
use ifmatch::{Commit, Error, Reply, Start, Store, Version, Versioned};

use super::fault::Fault;
use super::feed::watch;

pub(super) struct Broken {
    pub(super) fault: Fault,
    calls: AtomicU64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) slots: BTreeMap<String, Slot>,
    pub(super) log: Vec<Vec<Logged>>,
    pub(super) wakers: Vec<Waker>,
    pub(super) clock: u64,
    pub(super) writes: HashMap<WriteId, Option<Committed>>,
    /// The same by the rules of write ids, for the faults in keeping them.
    pub(super) window: Window<Committed>,
    /// The highest id that was asked for.
    pub(super) asked: Option<WriteId>,
    /// Ids locked by a commit, for faults about locks.
    pub(super) held: BTreeSet<String>,
    /// How many ids came before the next page, for a listing by offset.
    offsets: HashMap<String, usize>,
}

/// How many commits under a write id are remembered by the stores with a fault in that.
const WINDOW: usize = 16;

pub(super) struct Slot {
    pub(super) version: Version,
    /// `None` where it was deleted.
    pub(super) value: Option<Arc<u64>>,
    pub(super) before: Option<Versioned<u64>>,
}

pub(super) struct Logged {
    pub(super) id: Arc<str>,
    pub(super) version: Version,
    /// `None` where it was deleted.
    pub(super) value: Option<Arc<u64>>,
}

impl State {
    pub(super) fn newest(&self) -> Option<Version> {
        NonZeroU64::new(self.clock).map(Version::from_bits)
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Broken {
    pub(super) fn new(fault: Fault) -> Self {
        let state = State { clock: 1 << 40, ..State::default() };
        let state = State { window: Window::new(WINDOW), ..state };
        Self { fault, calls: AtomicU64::new(0), state: Arc::new(Mutex::new(state)) }
    }

    /// Whether it keeps the rules of write ids, but for its fault. The others keep the ids alone, by name.
    pub(super) fn has_a_window(&self) -> bool {
        use Fault::{
            AheadTaken, AskingShutsOut, ChecksRemembered, ForgottenIsNew, IdleForgotten, None,
            WriteIdsNameAny,
        };
        matches!(
            self.fault,
            None | AheadTaken
                | AskingShutsOut
                | ChecksRemembered
                | ForgottenIsNew
                | IdleForgotten
                | WriteIdsNameAny
        )
    }

    pub(super) fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        match self.fault {
            Fault::WakesUnderLock => self.state.lock().expect("poisoned"),
            _ => self.state.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(super) fn nth(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst)
    }

    /// The id as the store keeps it.
    pub(super) fn key(&self, id: &str) -> String {
        match self.fault {
            Fault::IdsFoldCase => id.to_lowercase(),
            Fault::LongIdsCut => id.chars().take(256).collect(),
            _ => id.to_owned(),
        }
    }

    /// Gives up in the end, so that the threads of a test do not stay for ever.
    pub(super) fn hold_when_free(&self, id: &str) {
        let end = Instant::now() + 2 * ifmatch::conformance::PATIENCE;
        while !self.lock().held.insert(id.to_owned()) && Instant::now() < end {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn scan_now(&self, scan: Scan<'_>) -> Result<Page<Listed<u64>>, Error> {
        let Scan { prefix, after, limit, values, .. } = scan;
        let taken = self.is(Fault::EmptyPageTaken) || self.is(Fault::EmptyPageOfIdsTaken) && !values;
        if limit == 0 && !taken {
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
        let mut found: Vec<(Arc<str>, Listed<u64>)> = Vec::new();
        for (id, slot) in state.slots.iter().filter(|(id, _)| matches(id)) {
            if slot.value.is_none() && (values || !self.is(Fault::IdsOfDeletedListed)) {
                continue;
            }
            let is_stale = match self.fault {
                Fault::ListsStaleValues => values,
                Fault::IdsWithOldVersions => !values,
                _ => false,
            };
            let current = Listed { version: slot.version, value: slot.value.clone() };
            let mut shown = slot.before.clone().filter(|_| is_stale).map_or(current, Listed::from);
            if !values || self.is(Fault::ListsWithoutValues) {
                shown.value = None;
            }
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
        let limit = if self.is(Fault::IdsInOnePage) && !values { usize::MAX } else { limit };
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
        if self.has_a_window() {
            let newest = state.newest();
            state.asked = state.asked.max(Some(write));
            return Reply::ready(Ok(state.window.ask(write, newest).into()));
        }
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

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<u64>>> {
        if !self.is(Fault::DroppedReadLocks) {
            return Reply::ready(self.scan_now(scan));
        }
        Reply::pending(async move {
            self.lock().held.insert(String::new());
            yield_once().await;
            self.lock().held.remove("");
            self.scan_now(scan)
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
            _ if self.has_a_window() => abilities.window = WINDOW,
            Fault::LimitNotKept => abilities.entries = 8,
            Fault::AbilitiesChange => abilities.entries = 1_000 + self.nth() as usize,
            _ => {}
        }
        abilities
    }
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
