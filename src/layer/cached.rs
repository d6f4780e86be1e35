//! [`Cached`], a layer that keeps what was read and written in memory.

mod follower;
mod shelf;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::collection::{self, Along, Exit, Step};
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Entry, Error, Listed, Mismatch, Outcome, Page, Reply,
    Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};
use follower::{Follower, Told};
use shelf::{Limits, Shelf, Write};

/// The default for how many resources are held.
const RESOURCES: usize = 10_000;

/// A layer that keeps what was read and written in memory, up to a number of resources and of bytes: a hit costs what a
/// read of the memory store costs, and its reply is ready.
///
/// Everything but `get` is the store's own answer: commits, conflicts, scans and feeds are as fresh as without the
/// layer. A write based on a stale value is refused with a conflict as ever, which carries the current one.
///
/// # What `get` may answer
///
/// - **Never older than what was written through this layer, nor than anything it has told.** Once a commit through it
///   has been answered, every `get` of its ids answers with that state or a later one. The same holds for every state
///   that a `get`, a conflict, a check, a page or a feed that came through it has shown, and for every id once
///   [`resolve`](Store::resolve) has said that something was applied. Where all writes go through the layer and are
///   answered, a `get` through it is linearizable, as it is without.
/// - **What others write**, past the layer or in other processes, the store's feed tells: a `get` answers with a state no
///   older than what the feed has announced when it is called. The gap that is left is the delay of the feed;
///   with [`Memory`](crate::Memory) and `File` there is none once the writer has its answer. Where the feed breaks off,
///   nothing is answered from memory until it goes on, nor while it [asks](crate::store::Feed::is_idle) its engine for what came
///   next. Over PostgreSQL the delay is the time between two looks, 50 ms at most, and that of the look; over etcd and
///   Redis it is the network's, and while their server is gone without a word, the time until that is noticed.
///   There it gains only where reads through it outnumber the commits of the whole database: each look brings one.
/// - **Where the store has no feed**, every `get` is the store's own answer: nothing is gained, and nothing is stale.
/// - [`alone`](Self::alone) spares the feed where nobody else writes to the store. Where somebody does, a value may be as
///   old as its stay in memory, without limit.
///
/// A page tells only of what is on it: that an id is missing there is not noticed. An absent resource is not held:
/// `None` always comes from the store.
///
/// # Writes that nobody knows the fate of
///
/// A commit whose reply was dropped, or that came back with [`Outcome::Unknown`], may be applied at any later time. The
/// feed tells of it, as it tells of others. [`alone`](Self::alone) never answers from memory again for its ids, nor for
/// about one in 4,000 of all others. So a program that cancels calls, as web servers do, is better off with
/// [`new`](Self::new) also where it is alone.
///
/// # Limits
///
/// 10,000 resources, or as many as [`with_limit`](Self::with_limit) says, and no limit of bytes unless
/// [`with_byte_limit`](Self::with_byte_limit) sets one; those not read for long go first. About 100 KiB at once, and per
/// resource about 150 bytes beside the id and the value.
///
/// ```
/// use ifmatch::{Cached, Collection};
///
/// let notes = Collection::<String>::in_memory();
/// let cached = notes.clone().layer(|store| Cached::new(store).with_limit(1_000));
/// cached.create("readme", "hello".to_string()).wait()?;
///
/// notes.put("readme", "hello, world".to_string()).wait()?; // past the layer
///
/// assert_eq!(*cached.fetch("readme").wait()?.value, "hello, world");
/// assert_eq!(*cached.fetch("readme").wait()?.value, "hello, world"); // from memory
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Cached<S, T: Resource + ?Sized> {
    store: Arc<S>,
    shelf: Arc<Shelf<T>>,
    follower: Option<Follower<T>>,
}

impl<T: Resource + ?Sized, S: Store<T>> Cached<S, T> {
    /// `store`, whose feed tells what others write.
    ///
    /// It has no thread: a `get` that finds that the feed has called takes from it what there is, and then answers. The first
    /// one begins to watch.
    pub fn new(store: S) -> Self {
        Self { follower: Some(Follower::default()), ..Self::alone(store) }
    }

    /// `store`, to which nobody writes but through this very layer: no other handle, and no other process. Nothing is watched.
    ///
    /// ```
    /// use ifmatch::{Cached, Commit, Entry, Expected, Memory, Store};
    ///
    /// let store = Cached::alone(Memory::<str>::new());
    /// store.commit(Commit::one(Entry::put("a", Expected::Absent, "one".into()))).wait()?;
    ///
    /// assert_eq!(&*store.get("a").wait()?.unwrap().value, "one"); // from memory
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn alone(store: S) -> Self {
        let limits = Limits { resources: RESOURCES, bytes: usize::MAX, measure: |_: &T| 0 };
        Self { store: Arc::new(store), shelf: Arc::new(Shelf::new(limits)), follower: None }
    }

    /// The same with room for another number of resources; at least one.
    pub fn with_limit(self, resources: usize) -> Self {
        let limits = Limits { resources, ..self.shelf.limits() };
        Self { shelf: Arc::new(Shelf::new(limits)), ..self }
    }

    /// The same with room for that many bytes of ids and values, as `measure` counts those of a value. A value of more
    /// than a 64th of them may not be held at all.
    ///
    /// ```
    /// use ifmatch::{Cached, Memory};
    ///
    /// let store = Cached::new(Memory::<str>::new()).with_byte_limit(16 << 20, |text| text.len());
    /// ```
    pub fn with_byte_limit(self, bytes: usize, measure: fn(&T) -> usize) -> Self {
        let limits = Limits { bytes, measure, ..self.shelf.limits() };
        Self { shelf: Arc::new(Shelf::new(limits)), ..self }
    }

    /// Whether the memory has all that was announced: then it may answer.
    #[inline]
    fn is_current(&self) -> bool {
        match &self.follower {
            None => true,
            Some(follower) => follower.is_current() || follower.catch_up(&self.store, &self.shelf),
        }
    }
}

/// In a [`Database`](crate::Database) the cache hears of every commit of the collection.
impl<T: Resource + ?Sized, S: Store<T>> Step<T> for Cached<S, T> {
    fn enter(&self, part: &collection::Part<'_, T>, along: &mut Along<'_>) -> Result<Exit, Error> {
        let begun = Writing::begin(Arc::clone(&self.shelf), part.commit(), self.follower.is_some());
        let writing = begun.of_collection(along.collection());
        Ok(Exit::then(move |outcome| writing.end(outcome)))
    }
}

impl<T: Resource + ?Sized, S: Store<T>> Store<T> for Cached<S, T> {
    #[inline]
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        let question = match self.is_current().then(|| self.shelf.look(id)) {
            Some(Ok(held)) => return Reply::ready(Ok(Some(held))),
            Some(Err(question)) => Some(question),
            None => None,
        };
        self.store.get(id).map(move |found| {
            match question {
                Some(question) => self.shelf.answered(id, question, found.as_ref()),
                None => self.shelf.told(id, found.as_ref().map(|found| found.version)),
            }
            found
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let writing = Writing::begin(&*self.shelf, &commit, self.follower.is_some());
        self.store.commit(commit).then(move |answer| {
            writing.end(answer.as_ref());
            answer
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write).map(|resolution| {
            // It tells of versions, and not of which ids.
            if matches!(resolution, Resolution::Applied(_)) {
                self.shelf.clear();
            }
            resolution
        })
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        self.store.scan(scan).map(|page| {
            page.items.iter().for_each(|(id, found)| self.shelf.told(id, Some(found.version)));
            page
        })
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.store.watch(from).map(|changes| {
            let cursor = changes.cursor().clone();
            Changes::new(cursor, Told::new(changes, Arc::clone(&self.shelf)))
        })
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

/// A commit under way.
struct Writing<'a, T: Resource + ?Sized, B: Deref<Target = Shelf<T>>> {
    shelf: B,
    /// Where the commit has parts of several: the collection whose shelf it is.
    collection: Option<Box<str>>,
    parts: Vec<Part<'a, T>>,
    /// Whether the commit can be one that was applied before and is sent again.
    stamped: bool,
    /// Whether the feed tells of it, should nobody hear the answer.
    announced: bool,
}

/// One entry of a commit under way.
struct Part<'a, T: ?Sized> {
    id: Cow<'a, str>,
    /// `None` for a check.
    write: Option<Write>,
    /// The value of a put.
    value: Option<Arc<T>>,
}

impl<'a, T: Resource + ?Sized, B: Deref<Target = Shelf<T>>> Writing<'a, T, B> {
    fn begin(shelf: B, commit: &Commit<'a, T>, announced: bool) -> Self {
        let part = |entry: &Entry<'a, T>| {
            let (write, value) = match &entry.action {
                Action::Check => (None, None),
                Action::Put(value) => (Some(shelf.write_begins(entry.id)), Some(Arc::clone(value))),
                Action::Delete => (Some(shelf.write_begins(entry.id)), None),
            };
            Part { id: entry.id.into(), write, value }
        };
        let parts = commit.entries().iter().map(part).collect();
        Self { shelf, collection: None, parts, stamped: commit.write().is_some(), announced }
    }

    /// The same as one part of a commit over several collections, to be kept for as long as it takes.
    fn of_collection(mut self, name: &str) -> Writing<'static, T, B>
    where
        B: Clone,
    {
        let own = |part: Part<'a, T>| Part {
            id: part.id.into_owned().into(),
            write: part.write,
            value: part.value,
        };
        let parts = std::mem::take(&mut self.parts).into_iter().map(own).collect();
        Writing {
            shelf: self.shelf.clone(),
            collection: Some(name.into()),
            parts,
            stamped: self.stamped,
            announced: self.announced,
        }
    }

    /// Takes note of the answer. Where that is unknown, the commit counts as dropped.
    fn end(mut self, answer: Result<&Committed, &Error>) {
        if answer.is_err_and(|error| error.outcome() == Outcome::Unknown) {
            return;
        }
        for (place, part) in std::mem::take(&mut self.parts).into_iter().enumerate() {
            let Some(write) = part.write else {
                let receipt = answer.ok().and_then(|committed| committed.receipts().get(place));
                self.shelf.told(&part.id, receipt.and_then(|receipt| receipt.version));
                continue;
            };
            let stands = self.stands(place, &part, write, answer);
            self.shelf.write_ends(&part.id, write, stands);
        }
    }

    /// The value that stands at an id after the commit, as far as the answer shows.
    fn stands(
        &self,
        place: usize,
        part: &Part<'_, T>,
        write: Write,
        answer: Result<&Committed, &Error>,
    ) -> Option<Versioned<T>> {
        match answer {
            Ok(committed) => {
                let receipt = committed.receipts().get(place)?;
                // A commit that is sent again is answered as it was then, and others may have written since. It is a
                // new one for sure if it replaced what was held until now.
                let new = !self.stamped || (write.held.is_some() && receipt.replaced == write.held);
                let value = part.value.as_ref().filter(|_| new)?;
                Some(Versioned { version: receipt.version?, value: Arc::clone(value) })
            }
            Err(error) => {
                // The same id in another collection is another resource.
                let own = |mismatch: &&Mismatch| {
                    mismatch.id() == part.id
                        // What a rule was decided on may be older than what this cache was told of since.
                        && !mismatch.kind().is_refusal()
                        && (self.collection.is_none() || mismatch.collection() == self.collection.as_deref())
                };
                error.conflict()?.mismatches().iter().find(own)?.current()
            }
        }
    }
}

impl<T: Resource + ?Sized, B: Deref<Target = Shelf<T>>> Drop for Writing<'_, T, B> {
    fn drop(&mut self) {
        if !self.announced {
            // It may still be applied, and nobody will tell: the write is under way for ever.
            return;
        }
        for part in &self.parts {
            if let Some(write) = part.write {
                self.shelf.write_ends(&part.id, write, None);
            }
        }
    }
}

impl<S, T: Resource + ?Sized> fmt::Debug for Cached<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("resources", &self.shelf.len())
            .field("following", &self.follower.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use super::*;
    use crate::memory::Memory;
    use crate::store::{Batch, Entry, Expected, Failure, Feed, Refusal, block_on};

    /// A store that counts its reads, and answers when it is told to.
    #[derive(Default)]
    struct Slow {
        store: Memory<u64>,
        reads: AtomicU64,
        lost: AtomicBool,
        pending: AtomicBool,
        asking: AtomicBool,
        unwatched: AtomicBool,
        watches: AtomicU64,
    }

    impl Slow {
        fn reads(&self) -> u64 {
            self.reads.load(Ordering::Relaxed)
        }
    }

    impl Store<u64> for Slow {
        fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let found = self.store.get(id).wait();
            match self.pending.load(Ordering::Relaxed) {
                true => Reply::pending(async { found }),
                false => Reply::ready(found),
            }
        }

        fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
            let lost = self.lost.load(Ordering::Relaxed);
            match self.pending.load(Ordering::Relaxed) {
                true => Reply::pending(async move { self.store.commit(commit).await }),
                false => self.store.commit(commit).then(move |answer| match lost {
                    true => Err(Failure::new(Outcome::Unknown, "lost").into()),
                    false => answer,
                }),
            }
        }

        fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
            self.store.resolve(write)
        }

        fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<u64>>> {
            self.store.scan(scan)
        }

        fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u64>> {
            self.watches.fetch_add(1, Ordering::Relaxed);
            if self.unwatched.load(Ordering::Relaxed) {
                return Reply::ready(Err(Refusal::Unsupported { what: "watching" }.into()));
            }
            let asking = self.asking.load(Ordering::Relaxed);
            self.store.watch(from).then(move |changes| match asking {
                true => changes
                    .map(|changes| Changes::new(changes.cursor().clone(), Asking { changes, asks: false })),
                false => changes,
            })
        }

        fn abilities(&self) -> Abilities {
            self.store.abilities()
        }
    }

    fn put(id: &str, value: u64) -> Commit<'_, u64> {
        Commit::one(Entry::put(id, Expected::Any, value.into()))
    }

    fn value<S: Store<u64>>(store: &S, id: &str) -> Option<u64> {
        store.get(id).wait().unwrap().map(|found| *found.value)
    }

    #[test]
    fn what_was_read_or_written_is_not_read_again() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        slow.commit(put("a", 1)).wait().unwrap();

        assert_eq!([value(&cached, "a"), value(&cached, "a")], [Some(1), Some(1)]);
        assert_eq!(slow.reads(), 1);

        cached.commit(put("b", 2)).wait().unwrap();
        assert_eq!(value(&cached, "b"), Some(2));
        assert_eq!(slow.reads(), 1);

        cached.commit(Commit::one(Entry::delete("b", Expected::Any))).wait().unwrap();
        assert_eq!(value(&cached, "b"), None);
    }

    #[test]
    fn a_read_that_a_write_overtook_is_not_kept() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        slow.commit(put("a", 1)).wait().unwrap();
        slow.pending.store(true, Ordering::Relaxed);

        let late = cached.get("a");
        cached.commit(put("a", 2)).wait().unwrap();

        assert_eq!(late.wait().unwrap().map(|found| *found.value), Some(1));
        assert_eq!(value(&cached, "a"), Some(2));
    }

    #[test]
    fn writes_that_overlap_leave_nothing_in_memory() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        slow.pending.store(true, Ordering::Relaxed);

        let (first, second) = (cached.commit(put("a", 1)), cached.commit(put("a", 2)));
        second.wait().unwrap();
        first.wait().unwrap();

        assert_eq!(value(&cached, "a"), Some(1));
        assert_eq!(slow.reads(), 1);
        assert_eq!(value(&cached, "a"), Some(1));
        assert_eq!(slow.reads(), 1);
    }

    #[test]
    fn after_an_unknown_or_dropped_write_the_store_is_asked() {
        for drops in [false, true] {
            let slow = Arc::new(Slow::default());
            let cached = Cached::alone(Arc::clone(&slow));
            cached.commit(put("a", 1)).wait().unwrap();
            if drops {
                slow.pending.store(true, Ordering::Relaxed);
                drop(cached.commit(put("a", 2)));
            } else {
                slow.lost.store(true, Ordering::Relaxed);
                cached.commit(put("a", 2)).wait().unwrap_err();
            }

            // It may be applied at any time.
            slow.store.commit(put("a", 3)).wait().unwrap();
            assert_eq!(value(&cached, "a"), Some(3));
            slow.store.commit(put("a", 4)).wait().unwrap();
            assert_eq!(value(&cached, "a"), Some(4));
        }
    }

    #[test]
    fn a_dropped_read_keeps_nothing_back() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        slow.commit(put("a", 1)).wait().unwrap();
        slow.pending.store(true, Ordering::Relaxed);

        drop(cached.get("a"));

        assert_eq!([value(&cached, "a"), value(&cached, "a")], [Some(1), Some(1)]);
        assert_eq!(slow.reads(), 2);
    }

    #[test]
    fn the_number_of_resources_is_bounded_and_what_is_read_stays() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow)).with_limit(10);
        cached.commit(put("hot", 0)).wait().unwrap();
        for number in 0..1000 {
            cached.commit(put(&number.to_string(), number)).wait().unwrap();
            assert_eq!(value(&cached, "hot"), Some(0));
            assert!(cached.shelf.len() <= 10, "{}", cached.shelf.len());
        }

        assert_eq!(slow.reads(), 0);
    }

    #[test]
    fn a_cache_that_follows_sees_what_others_write() {
        let memory = Arc::new(Memory::<u64>::new());
        let cached = Cached::new(Arc::clone(&memory));
        cached.commit(put("a", 0)).wait().unwrap();

        for number in 1..100 {
            memory.commit(put("a", number)).wait().unwrap();
            assert_eq!(value(&cached, "a"), Some(number));
            assert_eq!(value(&cached, "a"), Some(number));
        }
    }

    /// A feed that asks for what there is when it is polled, and has it at the next poll.
    struct Asking {
        changes: Changes<u64>,
        asks: bool,
    }

    impl Feed<u64> for Asking {
        fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<u64>, Error>> {
            if !std::mem::replace(&mut self.asks, true) {
                return Poll::Pending;
            }
            let answer = self.changes.poll_next(context);
            self.asks = answer.is_ready();
            answer
        }

        fn is_idle(&self) -> bool {
            !self.asks
        }
    }

    #[test]
    fn while_the_feed_still_asks_the_store_is_asked_too() {
        let slow = Arc::new(Slow::default());
        slow.asking.store(true, Ordering::Relaxed);
        let cached = Cached::new(Arc::clone(&slow));

        for number in 1..100 {
            slow.commit(put("a", number)).wait().unwrap();
            for _ in 0..4 {
                assert_eq!(value(&cached, "a"), Some(number));
            }
        }
    }

    #[test]
    fn where_the_store_has_no_feed_it_is_asked_each_time() {
        let slow = Arc::new(Slow::default());
        slow.unwatched.store(true, Ordering::Relaxed);
        let cached = Cached::new(Arc::clone(&slow));

        for number in 1..100 {
            cached.commit(put("a", 0)).wait().unwrap();
            assert_eq!(value(&cached, "a"), Some(0));
            slow.commit(put("a", number)).wait().unwrap();
            assert_eq!([value(&cached, "a"), value(&cached, "a")], [Some(number); 2]);
        }

        assert_eq!(slow.watches.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_cache_that_fell_behind_starts_anew() {
        let memory = Arc::new(Memory::<u64>::new().with_feed_limit(3));
        let cached = Cached::new(Arc::clone(&memory));
        cached.commit(put("a", 0)).wait().unwrap();
        assert_eq!(value(&cached, "a"), Some(0));

        for number in 1..100 {
            memory.commit(put("b", number)).wait().unwrap();
        }
        memory.commit(put("a", 1)).wait().unwrap();
        for number in 1..100 {
            memory.commit(put("b", number)).wait().unwrap();
        }

        assert_eq!(value(&cached, "a"), Some(1));
    }

    #[test]
    fn one_write_of_unknown_fate_spoils_nothing_else() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        slow.lost.store(true, Ordering::Relaxed);
        cached.commit(put("a", 1)).wait().unwrap_err();
        slow.lost.store(false, Ordering::Relaxed);
        let ids: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        ids.iter().for_each(|id| drop(cached.commit(put(id, 1)).wait().unwrap()));

        let hits = ids.iter().filter(|id| cached.get(id).into_ready().is_ok()).count() as u64 - slow.reads();

        assert!(hits > 90, "{hits}");
    }

    #[test]
    fn a_cache_that_follows_keeps_an_id_again_whose_write_was_dropped() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::new(Arc::clone(&slow));
        slow.pending.store(true, Ordering::Relaxed);
        drop(cached.commit(put("a", 1)));
        slow.pending.store(false, Ordering::Relaxed);
        slow.commit(put("a", 2)).wait().unwrap();

        let values = [value(&cached, "a"), value(&cached, "a")];

        assert_eq!((values, slow.reads()), ([Some(2), Some(2)], 1));
        slow.store.commit(put("a", 3)).wait().unwrap();
        assert_eq!(value(&cached, "a"), Some(3));
    }

    type Way = fn(&Cached<Arc<Slow>, u64>);

    /// Each way to hear through the layer that somebody else has written.
    #[test]
    fn what_was_told_is_never_taken_back() {
        let ways: [Way; 5] = [
            |cached| {
                let absent = Entry::put("a", Expected::Absent, 9.into());
                cached.commit(Commit::one(absent)).wait().unwrap_err();
            },
            |cached| {
                let check = Entry::check("a", Expected::Present);
                cached.commit(Commit::one(check)).wait().unwrap();
            },
            |cached| {
                let check = Entry::check("a", Expected::Absent);
                cached.commit(Commit::one(check)).wait().unwrap_err();
            },
            |cached| assert_eq!(cached.scan(Scan::new("", 9)).wait().unwrap().items.len(), 1),
            |cached| {
                let write = WriteId::from_bits(7);
                assert!(matches!(cached.resolve(write).wait(), Ok(Resolution::Applied(_))));
            },
        ];
        for tell in ways {
            let slow = Arc::new(Slow::default());
            let cached = Cached::alone(Arc::clone(&slow));
            cached.commit(put("a", 1)).wait().unwrap();
            slow.commit(put("a", 2).with_write(WriteId::from_bits(7))).wait().unwrap();
            assert_eq!(value(&cached, "a"), Some(1));

            tell(&cached);

            assert_eq!(value(&cached, "a"), Some(2));
        }
    }

    #[test]
    fn a_watcher_hears_of_nothing_that_a_read_does_not_show_yet() {
        let memory = Arc::new(Memory::<u64>::new());
        let cached = Cached::alone(Arc::clone(&memory));
        cached.commit(put("a", 1)).wait().unwrap();
        let mut changes = cached.watch(Start::Now).wait().unwrap();
        memory.commit(put("a", 2)).wait().unwrap();

        let batch = changes.next().wait().unwrap();

        assert_eq!(changes.cursor(), &batch.cursor);
        assert_eq!(value(&cached, "a"), Some(2));
    }

    #[test]
    fn a_conflict_brings_the_value_that_is_held_next() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        slow.commit(put("a", 1)).wait().unwrap();

        cached.commit(Commit::one(Entry::put("a", Expected::Absent, 2.into()))).wait().unwrap_err();

        assert_eq!((value(&cached, "a"), slow.reads()), (Some(1), 0));
    }

    #[test]
    fn a_commit_that_is_sent_again_brings_nothing_old() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::alone(Arc::clone(&slow));
        let commit = put("a", 1).with_write(WriteId::from_bits(1));
        cached.commit(commit.clone()).wait().unwrap();
        cached.commit(put("a", 2)).wait().unwrap();

        cached.commit(commit).wait().unwrap();
        assert_eq!(value(&cached, "a"), Some(2));
        cached.commit(put("a", 3).with_write(WriteId::from_bits(2))).wait().unwrap();

        assert_eq!((value(&cached, "a"), slow.reads()), (Some(3), 1));
    }

    #[test]
    fn the_number_of_bytes_is_bounded() {
        let memory = Memory::<str>::new();
        let cached = Cached::alone(memory).with_limit(10).with_byte_limit(100, |text| text.len());
        for (id, length) in [("a", 40), ("b", 40), ("c", 40), ("d", 101)] {
            let text = "x".repeat(length);
            cached.commit(Commit::one(Entry::put(id, Expected::Any, text.into()))).wait().unwrap();
            assert_eq!(cached.get(id).wait().unwrap().unwrap().value.len(), length);
        }

        assert_eq!(cached.shelf.len(), 2);
    }

    #[test]
    fn hits_are_ready() {
        let cached = Cached::alone(Memory::<u64>::new());
        block_on(cached.commit(put("a", 1))).unwrap();

        assert!(matches!(cached.get("a").into_ready(), Ok(Ok(Some(_)))));
    }
}
