//! [`Cached`], a layer that keeps what was read and written in memory.

mod follower;
mod shelf;

use std::fmt;
use std::sync::Arc;

use crate::commit::{Action, Commit, Committed};
use crate::error::Refusal;
use crate::feed::{Changes, Start};
use crate::reply::Reply;
use crate::resource::Resource;
use crate::store::{Abilities, Page, Resolution, Store};
use crate::version::Versioned;
use crate::write_id::WriteId;
use follower::Follower;
use shelf::{Reading, Shelf, Writing};

/// How many resources are kept unless told otherwise.
const RESOURCES: usize = 10_000;

/// A layer that keeps what was read and written in memory, up to a number of resources: a hit costs what a read of the
/// memory store costs, and its reply is ready.
///
/// Writes go through, and everything but `get` is the store's own answer: scans, conflicts, checks and feeds are as
/// fresh as without the layer. A write based on a value that was stale is refused with a conflict as ever, which
/// carries the current one.
///
/// # What `get` may answer
///
/// - **Never older than what was written through this layer.** Once a commit through it has been answered, every `get`
///   of its ids answers with that state or a later one. An id with a write under way is read from the store, and so
///   is one whose last write came back as unknown or was dropped before its answer.
/// - **What others write**, in this process past the layer or in other processes, is not noticed by
///   [`new`](Self::new): a value may be as old as its stay in memory, without limit. Use it where nobody else writes,
///   as with a [`File`](crate::file::File) that has one collection.
/// - [`following`](Self::following) watches the store and forgets what others change. A `get` then answers with a
///   state no older than what the feed has announced; the gap is the delay of the feed, which for the stores in this
///   process is none once the writer has its answer. Where the feed breaks off, nothing is answered from memory until
///   it goes on.
///
/// A commit with a write id may be one that is sent again and is answered as it was before: what it wrote is kept only
/// where it replaced what was held, and is read anew otherwise.
///
/// An absent resource is not kept: `None` always comes from the store.
///
/// # Limits
///
/// At most 10,000 resources, or as many as [`with_limit`](Self::with_limit) says, of whatever size; those not read for
/// long go first. Ids whose last write is unknown are remembered too, up to the same number: past that everything is
/// read from the store.
///
/// ```
/// use ifmatch::{Cached, Commit, Entry, Expected, Memory, Store};
///
/// let store = Cached::new(Memory::<str>::new()).with_limit(1_000);
/// store.commit(Commit::one(Entry::put("a", Expected::Absent, "one".into()))).wait()?;
///
/// assert_eq!(&*store.get("a").wait()?.unwrap().value, "one"); // from memory
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Cached<S, T: Resource + ?Sized> {
    store: Arc<S>,
    shelf: Arc<Shelf<T>>,
    follower: Option<Follower<T>>,
}

impl<T: Resource + ?Sized, S: Store<T>> Cached<S, T> {
    /// `store`, whose resources are written through this layer only.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(store), shelf: Arc::new(Shelf::new(RESOURCES)), follower: None }
    }

    /// `store`, watched for what others write.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsupported`] where the store has no feed.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ifmatch::{Cached, Commit, Entry, Expected, Memory, Store};
    ///
    /// let memory = Arc::new(Memory::<str>::new());
    /// let cached = Cached::following(memory.clone())?;
    /// let put = |text: &str| Commit::one(Entry::put("a", Expected::Any, text.into()));
    /// cached.commit(put("one")).wait()?;
    ///
    /// memory.commit(put("two")).wait()?; // past the layer
    ///
    /// assert_eq!(&*cached.get("a").wait()?.unwrap().value, "two");
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn following(store: S) -> Result<Self, Refusal> {
        if !store.abilities().watch {
            return Err(Refusal::Unsupported { what: "watching, which a cache that follows it needs" });
        }
        let follower = Some(Follower::default());
        Ok(Self { follower, ..Self::new(store) })
    }

    /// The same with room for another number of resources; at least one.
    pub fn with_limit(self, resources: usize) -> Self {
        Self { shelf: Arc::new(Shelf::new(resources.max(1))), ..self }
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

impl<T: Resource + ?Sized, S: Store<T>> Store<T> for Cached<S, T> {
    #[inline]
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        if !self.is_current() {
            return self.store.get(id);
        }
        if let Some(held) = self.shelf.get(id) {
            return Reply::ready(Ok(Some(held)));
        }
        let Some(reading) = Reading::begin(&self.shelf, id) else { return self.store.get(id) };
        self.store.get(id).then(move |answer| {
            match &answer {
                Ok(Some(found)) => reading.end(found.clone()),
                Ok(None) | Err(_) => drop(reading),
            }
            answer
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let put = |action: &Action<T>| match action {
            Action::Put(value) => Some(Arc::clone(value)),
            Action::Check | Action::Delete => None,
        };
        let entries = commit.entries().iter().enumerate();
        let writes = entries.filter(|(_, entry)| !matches!(entry.action, Action::Check));
        let writes = writes.map(|(place, entry)| (place, entry.id, put(&entry.action)));
        let writing = Writing::begin(&self.shelf, commit.write(), writes);
        self.store.commit(commit).then(move |answer| {
            writing.end(&answer);
            answer
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write)
    }

    fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<T>> {
        self.store.scan(prefix, after, limit)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
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
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::thread;

    use super::*;
    use crate::commit::Entry;
    use crate::error::{Error, Failure, Outcome};
    use crate::expected::Expected;
    use crate::memory::Memory;
    use crate::reply::block_on;

    /// A store that counts its reads, and answers when it is told to.
    #[derive(Default)]
    struct Slow {
        store: Memory<u64>,
        reads: AtomicU64,
        lost: AtomicBool,
        pending: AtomicBool,
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

        fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<u64>> {
            self.store.scan(prefix, after, limit)
        }

        fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u64>> {
            self.store.watch(from)
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
        let cached = Cached::new(Arc::clone(&slow));
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
        let cached = Cached::new(Arc::clone(&slow));
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
        let cached = Cached::new(Arc::clone(&slow));
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
            let cached = Cached::new(Arc::clone(&slow));
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
    fn past_a_number_of_unknown_writes_nothing_is_kept() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::new(Arc::clone(&slow)).with_limit(3);
        slow.lost.store(true, Ordering::Relaxed);
        for number in 0..100 {
            cached.commit(put(&number.to_string(), number)).wait().unwrap_err();
        }
        slow.lost.store(false, Ordering::Relaxed);
        cached.commit(put("a", 1)).wait().unwrap();

        assert_eq!([value(&cached, "a"), value(&cached, "a")], [Some(1), Some(1)]);
        assert_eq!(slow.reads(), 2);
        assert!(cached.shelf.len() == 0);
    }

    #[test]
    fn a_dropped_read_keeps_nothing_back() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::new(Arc::clone(&slow));
        slow.commit(put("a", 1)).wait().unwrap();
        slow.pending.store(true, Ordering::Relaxed);

        drop(cached.get("a"));

        assert_eq!([value(&cached, "a"), value(&cached, "a")], [Some(1), Some(1)]);
        assert_eq!(slow.reads(), 2);
    }

    #[test]
    fn the_number_of_resources_is_bounded_and_what_is_read_stays() {
        let slow = Arc::new(Slow::default());
        let cached = Cached::new(Arc::clone(&slow)).with_limit(10);
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
        let cached = Cached::following(Arc::clone(&memory)).unwrap();
        cached.commit(put("a", 0)).wait().unwrap();

        for number in 1..100 {
            memory.commit(put("a", number)).wait().unwrap();
            assert_eq!(value(&cached, "a"), Some(number));
            assert_eq!(value(&cached, "a"), Some(number));
        }
    }

    #[test]
    fn a_cache_that_fell_behind_starts_anew() {
        let memory = Arc::new(Memory::<u64>::new().with_feed_limit(3));
        let cached = Cached::following(Arc::clone(&memory)).unwrap();
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
    fn a_reader_never_sees_a_value_older_than_the_last_answer() {
        for follows in [false, true] {
            let memory = Arc::new(Memory::<u64>::new());
            let cached = match follows {
                false => Cached::new(Arc::clone(&memory)),
                true => Cached::following(Arc::clone(&memory)).unwrap(),
            };
            let cached = cached.with_limit(2);
            let ids = ["a", "b", "c"];
            let answered = [const { AtomicU64::new(0) }; 3];
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !done.load(Ordering::Relaxed) {
                            for (id, answered) in ids.iter().zip(&answered) {
                                let before = answered.load(Ordering::Acquire);
                                let seen = value(&cached, id).unwrap_or(0);
                                assert!(seen >= before, "`{id}` was {seen} after {before} had been written");
                            }
                        }
                    });
                }
                for number in 1..20_000 {
                    for (id, answered) in ids.iter().zip(&answered) {
                        cached.commit(put(id, number)).wait().unwrap();
                        answered.store(number, Ordering::Release);
                    }
                }
                done.store(true, Ordering::Relaxed);
            });
        }
    }

    #[test]
    fn hits_are_ready() {
        let cached = Cached::new(Memory::<u64>::new());
        block_on(cached.commit(put("a", 1))).unwrap();

        assert!(matches!(cached.get("a").into_ready(), Ok(Ok(Some(_)))));
        let refused: Result<_, Error> =
            cached.commit(Commit::one(Entry::put("", Expected::Any, 1.into()))).wait();
        assert!(refused.is_err());
    }
}
