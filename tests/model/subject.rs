//! [`Subject`], a real store whose answers are told in the words of the reference.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ifmatch::store::{Batch, Changes, Committed, Condition, Mismatch, Refusal, Resolution, Scan, WriteId};
use ifmatch::{Commit, Conflict, Cursor, Entry, Error, Expected, Start, Store, Version, Versioned};

use super::reference::{
    Answer, Belief, Changed, Deed, Held, IDS, Mark, Miss, Operation, Place, Receipt, Refused, Step,
};

/// A version no store under test issues: they start higher.
const NEVER: Version = Version::from_bits(NonZeroU64::MIN);

pub(crate) struct Subject {
    store: Box<dyn Store<u32>>,
    /// The versions that were issued, in order: the first one is that of mark 1.
    versions: Vec<Version>,
    marks: HashMap<Version, Mark>,
    watchers: Vec<(Changes<u32>, Arc<Count>)>,
    cursors: Vec<Cursor>,
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Subject {
    /// A store without values, whose first version is above 1.
    pub(crate) fn new(store: impl Store<u32>) -> Self {
        Self {
            store: Box::new(store),
            versions: Vec::new(),
            marks: HashMap::new(),
            watchers: Vec::new(),
            cursors: Vec::new(),
        }
    }

    /// Makes a call, and tells the answer.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Get(id) => {
                let found = self.store.get(IDS[*id]).wait().unwrap();
                Answer::Found(found.map(|found| self.held(&found)))
            }
            Operation::Commit { steps, write } => self.commit(steps, *write),
            Operation::Resolve(write) => match self.store.resolve(write_id(*write)).wait().unwrap() {
                Resolution::Applied(committed) => Answer::Applied(self.receipts(&committed)),
                Resolution::NotApplied => Answer::NotApplied,
                Resolution::Unknown => panic!("nothing was forgotten yet"),
            },
            Operation::Scan { prefix, after, limit, values } => {
                let scan = Scan::new(prefix, *limit).after(*after);
                let scan = if *values { scan } else { scan.without_values() };
                match self.store.scan(scan).wait() {
                    Ok(page) if !values => {
                        let page = page.without_values();
                        let items =
                            page.items.iter().map(|(id, version)| (id.to_string(), self.mark(*version)));
                        Answer::Ids { items: items.collect(), more: page.more }
                    }
                    Ok(page) => {
                        let page = page.with_values().unwrap();
                        let items = page.items.iter().map(|(id, found)| (id.to_string(), self.held(found)));
                        Answer::Page { items: items.collect(), more: page.more }
                    }
                    Err(error) => refused(error),
                }
            }
            Operation::Watch(place) => self.watch(*place),
            Operation::Next(watcher) => self.next(*watcher),
            Operation::Leave(watcher) => {
                drop(self.watchers.remove(*watcher));
                Answer::Left
            }
        }
    }

    /// All values in order, with their ids, page by page.
    pub(crate) fn values(&self) -> Vec<(String, Held)> {
        let mut values = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.store.scan(Scan::new("", 2).after(after.as_deref())).wait().unwrap();
            let page = page.with_values().unwrap();
            values.extend(page.items.iter().map(|(id, found)| (id.to_string(), self.held(found))));
            after = page.next().map(str::to_owned);
            if after.is_none() {
                return values;
            }
        }
    }

    /// How many wakers were woken since the last time this was asked.
    pub(crate) fn woken(&self) -> usize {
        self.watchers.iter().map(|(_, count)| count.0.swap(0, Ordering::Relaxed)).sum()
    }

    pub(crate) fn mark(&self, version: Version) -> Mark {
        *self.marks.get(&version).unwrap_or_else(|| panic!("{version:?} was never issued"))
    }

    pub(crate) fn version(&self, mark: Mark) -> Version {
        let index = usize::try_from(mark).ok().and_then(|mark| mark.checked_sub(1));
        index.and_then(|index| self.versions.get(index)).copied().unwrap_or(NEVER)
    }

    pub(crate) fn held(&self, found: &Versioned<u32>) -> Held {
        (self.mark(found.version), *found.value)
    }

    fn commit(&mut self, steps: &[Step], write: Option<u8>) -> Answer {
        let commit: Commit<'_, u32> = steps.iter().map(|step| self.entry(step)).collect();
        let commit = match write {
            Some(write) => commit.with_write(write_id(write)),
            None => commit,
        };
        match self.store.commit(commit).wait() {
            Ok(committed) => {
                self.learn(&committed);
                Answer::Committed(self.receipts(&committed))
            }
            Err(Error::Conflict(conflict)) => self.conflict(&conflict),
            Err(error) => refused(error),
        }
    }

    pub(crate) fn expected(&self, belief: Belief) -> Expected {
        match belief {
            Belief::Any => Expected::Any,
            Belief::Absent => Expected::Absent,
            Belief::Present => Expected::Present,
            Belief::Version(mark) => Expected::Version(self.version(mark)),
        }
    }

    fn entry(&self, step: &Step) -> Entry<'static, u32> {
        let condition = Condition { expected: self.expected(step.belief), origin: step.origin };
        match step.deed {
            Deed::Check => Entry::check(IDS[step.id], condition),
            Deed::Put(value) => Entry::put(IDS[step.id], condition, Arc::new(value)),
            Deed::Delete => Entry::delete(IDS[step.id], condition),
        }
    }

    fn learn(&mut self, committed: &Committed) {
        for version in committed.receipts().iter().filter_map(|receipt| receipt.version) {
            self.learn_version(version);
        }
    }

    /// Gives the next mark to a version that was not seen before, which must be above all that were.
    pub(crate) fn learn_version(&mut self, version: Version) {
        if self.marks.contains_key(&version) {
            return;
        }
        let newest = self.versions.last().map_or(1, |newest| newest.to_bits().get());
        assert!(version.to_bits().get() > newest, "{version:?} was issued after {newest}");
        self.versions.push(version);
        self.marks.insert(version, self.versions.len() as Mark);
    }

    pub(crate) fn receipts(&self, committed: &Committed) -> Vec<Receipt> {
        let mark = |version: Option<Version>| version.map(|version| self.mark(version));
        committed.receipts().iter().map(|receipt| (mark(receipt.version), mark(receipt.replaced))).collect()
    }

    pub(crate) fn conflict(&self, conflict: &Conflict) -> Answer {
        assert_eq!(conflict.attempts(), 1);
        let misses = conflict.mismatches().iter().map(|mismatch| self.miss(mismatch));
        Answer::Conflict(misses.collect(), conflict.retry())
    }

    fn miss(&self, mismatch: &Mismatch) -> Miss {
        let belief = match mismatch.expected() {
            Expected::Any => Belief::Any,
            Expected::Absent => Belief::Absent,
            Expected::Present => Belief::Present,
            Expected::Version(NEVER) => Belief::Version(0),
            Expected::Version(version) => Belief::Version(self.mark(version)),
        };
        Miss {
            id: mismatch.id().to_owned(),
            belief,
            origin: mismatch.origin(),
            intent: mismatch.intent(),
            kind: mismatch.kind().clone(),
            found: mismatch.found().map(|found| self.mark(found)),
            current: mismatch.current::<u32>().map(|current| self.held(&current)),
        }
    }

    fn watch(&mut self, place: Place) -> Answer {
        let start = match place {
            Place::Now => Start::Now,
            Place::Cursor(number) => self.cursors[number].clone().into(),
            Place::Elsewhere => Start::After("m0.1".parse().unwrap()),
            Place::Garbled => Start::After("elsewhere".parse().unwrap()),
        };
        match self.store.watch(start).wait() {
            Ok(changes) => {
                self.cursors.push(changes.cursor().clone());
                self.watchers.push((changes, Arc::default()));
                Answer::Watching
            }
            Err(error) => self.ended(error),
        }
    }

    fn next(&mut self, watcher: usize) -> Answer {
        let (changes, count) = &mut self.watchers[watcher];
        let waker = Waker::from(Arc::clone(count));
        match changes.poll_next(&mut Context::from_waker(&waker)) {
            Poll::Pending => Answer::Pending,
            Poll::Ready(Err(error)) => self.ended(error),
            Poll::Ready(Ok(batch)) => {
                assert_eq!(changes.cursor(), &batch.cursor);
                self.batch(batch)
            }
        }
    }

    fn batch(&mut self, batch: Batch<u32>) -> Answer {
        self.cursors.push(batch.cursor);
        let changed = batch.changes.iter().map(|change| Changed {
            id: change.id.to_string(),
            mark: self.mark(change.version),
            deleted: change.is_delete(),
            value: change.value().map(|value| **value),
        });
        Answer::Batch(changed.collect())
    }

    fn ended(&mut self, error: Error) -> Answer {
        let Error::Expired(expired) = error else { return refused(error) };
        self.cursors.push(expired.oldest.expect("a store with a feed tells how far it reaches back"));
        Answer::Expired
    }
}

pub(crate) fn refused(error: Error) -> Answer {
    let Error::Refused(refusal) = error else { panic!("{error:?}") };
    Answer::Refused(match refusal {
        Refusal::Id { id, .. } => Refused::Id(id.into()),
        Refusal::Duplicate { id } => Refused::Duplicate(id.into()),
        Refusal::Closed { write } => Refused::Closed(write.to_bits() as u8),
        Refusal::Reused { write } => Refused::Reused(write.to_bits() as u8),
        Refusal::EmptyPage => Refused::EmptyPage,
        Refusal::Cursor => Refused::Cursor,
        other => panic!("{other:?}"),
    })
}

fn write_id(number: u8) -> WriteId {
    WriteId::from_bits(number.into())
}
