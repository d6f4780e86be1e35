//! The clock of a memory store, which issues versions, and the feed it records once somebody watches.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::sleeper::Sleeper;
use crate::base::{Apart, AtomicU64, Mutex};
use crate::store::{Cursor, Error, Expired, Refusal, Start, Version};

/// The default for how many changes the feed reaches back.
const CHANGES: usize = 65_536;

/// The bit of the counter that says whether commits are recorded.
const WATCHED: u64 = 1 << 63;

/// The last version. Those that race past it take their number back, so the distance to `WATCHED` need only exceed
/// the number of threads.
const LAST: u64 = WATCHED - (1 << 32);

/// Issues versions and records what they changed.
///
/// A number is always taken under the locks of the shards it is for, and for creations and deletions also under that
/// of the index. Three things follow. Who sees one version and then looks at another id finds every lower version
/// there, or waits at its lock. A cursor taken before a list covers all that the list can't show. And a watcher that
/// was told of a version finds that version or a later one.
pub(super) struct Log {
    /// The last version issued, and `WATCHED`: taking a number tells at once whether there is a feed to record it in.
    counter: Apart<AtomicU64>,
    /// Names this store in its cursors.
    origin: u64,
    ring: Mutex<Ring>,
}

struct Ring {
    records: VecDeque<(NonZeroU64, Record)>,
    limit: usize,
    /// The last revision that is not in the ring any more, or never was: the oldest place to read on from.
    oldest: u64,
    /// By the key of the watcher. Those that were woken are taken out by the next commit, if not by their own watcher.
    waiting: HashMap<u64, Arc<Sleeper>>,
    watchers: u64,
    closed: bool,
}

/// One change of one commit.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) id: Arc<str>,
    pub(super) deleted: bool,
}

/// The place of one watcher in the log.
pub(super) struct Watcher {
    key: u64,
    position: u64,
}

impl Watcher {
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Goes on after a batch that was read.
    pub(super) fn advance(&mut self, revision: NonZeroU64) {
        self.position = revision.get();
    }
}

/// What a watcher reads.
pub(super) enum Read {
    /// All records of the next revision.
    Batch(NonZeroU64, Vec<Record>),
    /// There is no next one yet; the waker was kept.
    Nothing,
    /// Records after the watcher's position are gone.
    Expired(Cursor),
    /// There will be no next one.
    Closed,
}

impl Log {
    /// A log whose next number is `last + 1`.
    pub(super) fn new(last: u64) -> Self {
        let last = last.min(LAST);
        let ring = Ring {
            records: VecDeque::new(),
            limit: CHANGES,
            oldest: last,
            waiting: HashMap::new(),
            watchers: 0,
            closed: false,
        };
        Self { counter: Apart(AtomicU64::new(last)), origin: last, ring: Mutex::new(ring) }
    }

    pub(super) fn limit_to(&self, changes: usize) {
        self.ring.lock().limit = changes;
    }

    /// Takes the next version, and records `changes` under it if the store is watched. Those that `asleep` is given are
    /// to be woken once every lock is released, before anything else of the program's runs and before the commit is
    /// answered.
    #[inline]
    pub(super) fn publish<I: Iterator<Item = Record>>(
        &self,
        changes: impl FnOnce() -> I,
        asleep: &mut impl Extend<Arc<Sleeper>>,
    ) -> Result<Version, Refusal> {
        let taken = self.counter.0.fetch_add(1, Ordering::AcqRel);
        if taken < LAST {
            return Ok(version(taken + 1));
        }
        self.publish_watched(changes(), asleep)
    }

    #[cold]
    fn publish_watched(
        &self,
        changes: impl Iterator<Item = Record>,
        asleep: &mut impl Extend<Arc<Sleeper>>,
    ) -> Result<Version, Refusal> {
        // Numbers must enter the ring in order. The one just taken may be overtaken on the way to the ring's lock, so it
        // stays unused, and another is taken inside.
        let mut ring = self.ring.lock();
        let taken = self.counter.0.fetch_add(1, Ordering::AcqRel);
        let last = taken & !WATCHED;
        if last >= LAST {
            self.counter.0.fetch_sub(2, Ordering::AcqRel);
            return Err(Refusal::VersionsExhausted);
        }
        let version = version(last + 1);
        if taken & WATCHED != 0 {
            let mut recorded = false;
            for change in changes {
                ring.push(version.to_bits(), change);
                recorded = true;
            }
            // A version that was only passed over is nothing to wake for.
            if recorded && !ring.waiting.is_empty() {
                // All of them, also those that were woken already: the last handle is not to be dropped under the lock.
                asleep.extend(ring.waiting.values().map(Arc::clone));
                ring.waiting.retain(|_, sleeper| !sleeper.is_woken());
            }
        }
        Ok(version)
    }

    /// The last version issued.
    pub(super) fn newest(&self) -> Option<Version> {
        NonZeroU64::new(self.counter.0.load(Ordering::Acquire) & !WATCHED).map(Version::from_bits)
    }

    /// Takes a version for a commit that changed nothing.
    pub(super) fn pass(&self) -> Result<Version, Refusal> {
        self.publish(std::iter::empty, &mut Vec::new())
    }

    /// Begins to watch, and to record if nobody did before.
    pub(super) fn watch(&self, from: Start) -> Result<Watcher, Error> {
        let after = match &from {
            Start::Now => None,
            Start::After(cursor) => Some(self.position(cursor)?),
        };
        let mut ring = self.ring.lock();
        let counter = self.counter.0.fetch_or(WATCHED, Ordering::AcqRel);
        let now = counter & !WATCHED;
        if counter & WATCHED == 0 {
            ring.oldest = now;
        }
        let position = match after {
            None => now,
            Some(Some(position)) if (ring.oldest..=now).contains(&position) => position,
            Some(_) => return Err(Expired { oldest: Some(self.cursor(ring.oldest)) }.into()),
        };
        ring.watchers += 1;
        Ok(Watcher { key: ring.watchers, position })
    }

    /// Reads the batch after the watcher's position, or keeps the waker.
    pub(super) fn read(&self, watcher: &Watcher, waker: &Waker) -> Read {
        // Wakers are the program's code, their clones and drops included: neither happens under the lock.
        let mut waker = Some(waker.clone());
        let mut ring = self.ring.lock();
        let read = ring.read(watcher).unwrap_or_else(|Overtaken| Read::Expired(self.cursor(ring.oldest)));
        let before = match read {
            Read::Nothing => {
                waker.take().and_then(|waker| ring.waiting.insert(watcher.key, Sleeper::new(waker)))
            }
            _ => ring.waiting.remove(&watcher.key),
        };
        drop(ring);
        before.into_iter().for_each(Sleeper::release);
        drop(waker);
        read
    }

    /// Forgets the waker of a watcher that is gone.
    pub(super) fn leave(&self, watcher: &Watcher) {
        let left = self.ring.lock().waiting.remove(&watcher.key);
        left.into_iter().for_each(Sleeper::release);
    }

    /// Whether no waker is kept.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.ring.lock().waiting.is_empty()
    }

    /// Ends every watch: there will be no more commits.
    pub(super) fn close(&self) {
        let mut ring = self.ring.lock();
        ring.closed = true;
        let waiting = std::mem::take(&mut ring.waiting);
        drop(ring);
        waiting.values().for_each(|sleeper| sleeper.wake());
        waiting.into_values().for_each(Sleeper::release);
    }

    /// The text of a place in this log.
    pub(super) fn cursor(&self, position: u64) -> Cursor {
        let text = format!("m{:x}.{position:x}", self.origin);
        text.parse().expect("a letter, hexadecimal digits and a full stop make a cursor")
    }

    /// The place a cursor names, `None` where it names one of another memory store.
    fn position(&self, cursor: &Cursor) -> Result<Option<u64>, Refusal> {
        let numbers = cursor.as_str().strip_prefix('m').and_then(|text| text.split_once('.'));
        let (origin, position) = numbers.ok_or(Refusal::Cursor)?;
        let parse = |text| u64::from_str_radix(text, 16).map_err(|_| Refusal::Cursor);
        let (origin, position) = (parse(origin)?, parse(position)?);
        Ok((origin == self.origin).then_some(position))
    }
}

struct Overtaken;

impl Ring {
    fn read(&self, watcher: &Watcher) -> Result<Read, Overtaken> {
        if watcher.position < self.oldest {
            return Err(Overtaken);
        }
        let start = self.records.partition_point(|(revision, _)| revision.get() <= watcher.position);
        let Some((revision, _)) = self.records.get(start) else {
            return Ok(if self.closed { Read::Closed } else { Read::Nothing });
        };
        let records = self.records.range(start..).take_while(|(other, _)| other == revision);
        Ok(Read::Batch(*revision, records.map(|(_, record)| record.clone()).collect()))
    }

    /// Adds a record. The oldest goes first, or the ring would grow to twice its size to hold one more.
    fn push(&mut self, revision: NonZeroU64, record: Record) {
        while self.records.len() >= self.limit {
            // A batch that loses one record is out of reach as a whole: `oldest` is its own revision.
            self.oldest = self.records.pop_front().map_or(self.oldest, |(revision, _)| revision.get());
        }
        self.records.push_back((revision, record));
    }
}

fn version(number: u64) -> Version {
    Version::from_bits(NonZeroU64::new(number).expect("a number follows another one, and none is below zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str) -> impl FnOnce() -> std::array::IntoIter<Record, 1> {
        let id = id.into();
        || [Record { id, deleted: false }].into_iter()
    }

    #[test]
    fn the_last_version_is_issued_once_and_then_refused() {
        for watched in [false, true] {
            let log = Log::new(LAST - 2);
            if watched {
                log.watch(Start::Now).unwrap();
            }
            let next = || log.publish(one("a"), &mut Vec::new()).map(|version| version.to_bits().get());

            assert_eq!(next().unwrap(), LAST - 1 + u64::from(watched));
            if !watched {
                assert_eq!(next().unwrap(), LAST);
            }
            for _ in 0..3 {
                assert!(matches!(next(), Err(Refusal::VersionsExhausted)));
            }
        }
    }

    #[test]
    fn a_batch_that_lost_a_record_is_expired_as_a_whole() {
        let log = Log::new(10);
        log.limit_to(3);
        let watcher = log.watch(Start::Now).unwrap();
        let two = || ["a", "b"].map(|id| Record { id: id.into(), deleted: false }).into_iter();
        for _ in 0..2 {
            log.publish(two, &mut Vec::new()).unwrap();
        }

        let Read::Expired(oldest) = log.read(&watcher, Waker::noop()) else { panic!("not expired") };

        let mut resumed = log.watch(oldest.into()).unwrap();
        let Read::Batch(revision, records) = log.read(&resumed, Waker::noop()) else { panic!("no batch") };
        assert_eq!(records.len(), 2);
        resumed.advance(revision);
        assert!(matches!(log.read(&resumed, Waker::noop()), Read::Nothing));
    }

    #[test]
    fn a_cursor_from_before_the_first_watch_is_expired() {
        let log = Log::new(10);
        for _ in 0..3 {
            log.publish(one("a"), &mut Vec::new()).unwrap();
        }
        let watch = |text: &str| log.watch(Start::After(text.parse().unwrap()));

        assert!(matches!(watch("ma.b"), Err(Error::Expired(_))), "nobody recorded what came after it");
        assert_eq!(watch("ma.d").unwrap().position(), 13);
    }

    #[test]
    fn a_cursor_of_another_store_or_from_the_future_is_expired_and_other_text_refused() {
        let log = Log::new(10);
        let watch =
            |text: &str| log.watch(Start::After(text.parse().unwrap())).map(|watcher| watcher.position());

        for text in ["m9.a", "ma.b", "ma.9"] {
            assert!(matches!(watch(text), Err(Error::Expired(_))), "{text}");
        }
        for text in ["x", "m", "m.", "ma", "ma.", "ma.z", "ma.-1", "ma.fffffffffffffffff"] {
            assert!(matches!(watch(text), Err(Error::Refused(Refusal::Cursor))), "{text}");
        }
        assert_eq!(watch("ma.a").unwrap(), 10);
    }
}
