use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use ifmatch::store::{
    Abilities, Action, Changes, Committed, Found, Listed, Page, Receipt, Refusal, Resolution, Scan, Window,
    WriteId, check_id,
};
use ifmatch::{Commit, Conflict, Error, Reply, Start, Store, Version, Versioned};

/// How many write ids are remembered.
const WRITES: usize = 100_000;

/// Values of bytes in an ordered map under one lock.
pub(crate) struct SmallStore(Mutex<State>);

struct State {
    last_version: u64,
    values: BTreeMap<Arc<str>, Versioned<[u8]>>,
    window: Window<Committed>,
}

impl SmallStore {
    /// An empty store. Give each store another start, as from the clock or from randomness: a version from before a
    /// restart must not match a value written after it.
    pub(crate) fn new(start: u64) -> Self {
        Self(Mutex::new(State { last_version: start, values: BTreeMap::new(), window: Window::new(WRITES) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no user code runs under the lock, so nothing panics there")
    }

    fn scan_now(&self, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
        let Scan { prefix, after, limit, values, .. } = scan;
        if limit == 0 {
            return Err(Refusal::EmptyPage.into());
        }
        let state = self.state();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = state.values.range::<str, _>((start, Bound::Unbounded));
        let mut found = range.take_while(|(id, _)| id.starts_with(prefix));
        let listed = found.by_ref().take(limit).map(|(id, current)| {
            let value = values.then(|| Arc::clone(&current.value));
            (Arc::clone(id), Listed { version: current.version, value })
        });
        let items = listed.collect();
        Ok(Page { items, more: found.next().is_some() })
    }
}

impl State {
    /// Checks all entries, then applies all of them.
    fn commit(&mut self, commit: Commit<'_, [u8]>) -> Result<Committed, Error> {
        commit.check_ids()?;
        let remembered = commit.remembered_write().map(|write| (write, commit.fingerprint()));
        if let Some((write, fingerprint)) = remembered
            && let Some(committed) = self.window.recall(write, fingerprint, self.newest())?
        {
            return Ok(committed.clone());
        }

        let mut mismatches = Vec::new();
        for entry in commit.entries() {
            if let Action::Put(_) = entry.action {
                check_id(entry.id)?;
            }
            let found = self.values.get(entry.id).cloned().map_or(Found::Nothing, Found::Value);
            mismatches.extend(entry.judge(found).err());
        }
        if let Some(conflict) = Conflict::new(mismatches) {
            return Err(conflict.into());
        }

        // One version for the whole commit: the next, so that the versions of every id increase.
        let last = self.last_version.checked_add(1).and_then(NonZeroU64::new);
        let version = Version::from_bits(last.ok_or(Refusal::VersionsExhausted)?);
        self.last_version = version.to_bits().get();
        let mut receipts = Vec::new();
        for entry in commit.into_entries() {
            let replaced = self.values.get(entry.id).map(|current| current.version);
            // Bytes run no code of the user's when they are dropped, so the old ones may go here, under the lock.
            let now = match entry.action {
                Action::Check => replaced,
                Action::Put(value) => {
                    self.values.insert(entry.id.into(), Versioned { version, value });
                    Some(version)
                }
                Action::Delete => self.values.remove(entry.id).map(|_| version),
            };
            receipts.push(Receipt { version: now, replaced });
        }
        let committed = Committed::from_iter(receipts);
        if let Some((write, fingerprint)) = remembered {
            self.window.remember(write, fingerprint, committed.clone());
        }
        Ok(committed)
    }

    fn resolve(&mut self, write: WriteId) -> Resolution {
        let newest = self.newest();
        self.window.ask(write, newest).into()
    }

    fn newest(&self) -> Option<Version> {
        NonZeroU64::new(self.last_version).map(Version::from_bits)
    }
}

impl Store<[u8]> for SmallStore {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        Reply::ready(Ok(self.state().values.get(id).cloned()))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        Reply::ready(self.state().commit(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        Reply::ready(Ok(self.state().resolve(write)))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        Reply::ready(self.scan_now(scan))
    }

    fn watch<'a>(&'a self, _from: Start) -> Reply<'a, Changes<[u8]>> {
        Reply::ready(Err(Refusal::Unsupported { what: "watching" }.into()))
    }

    fn abilities(&self) -> Abilities {
        // Commits of any size, no feed, no memory of deletions, nothing that survives the process.
        let mut abilities = Abilities::default();
        abilities.window = WRITES;
        abilities
    }
}
