//! [`Memory`], the store that lives in this process.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::base::{Mutex, random};
use crate::memory::log::{Log, Read, Watcher};
use crate::memory::table::{Below, Leftovers, Place, Prefix, Table};
use crate::store::{
    Abilities, Batch, Change, ChangeKind, Changes, Commit, Committed, Durability, Entry, Error, Expected,
    Expired, Failure, Feed, Listed, Outcome, Page, Receipt, Refusal, Reply, Resolution, Resource, Scan,
    Start, Store, Version, Versioned, Window, WriteId,
};

/// How many ids a scan takes from the index at a time, so that a page of any size holds up no writer for long.
const SCAN_STRIDE: usize = 256;

/// The store that lives in this process, for values of any type: they are neither cloned nor serialized.
///
/// A read clones an [`Arc`]. All replies are ready, so [`Reply::wait`] never blocks; only a watcher's
/// [`next`](Changes::next) may be pending. Nothing survives the process.
///
/// # Versions
///
/// One counter serves the whole store, so versions of an id increase also across deletion and re-creation. It starts
/// at a random number, so that a version from before a restart matches nothing written after it. All entries of one
/// commit share a version.
///
/// # Limits
///
/// - Ids have 1 to 512 bytes and no U+0000; values are of any size.
/// - The last 65,536 deletions or so are remembered (at least 1,024 by an even share of each of 64 shards);
///   a conflict on an id deleted earlier says `Missing` instead of `Deleted`.
/// - The feed is recorded from the first watch on and reaches back 65,536 changes; see
///   [`with_feed_limit`](Self::with_feed_limit).
/// - The last 100,000 commits under a write id are remembered, and as many ids that were resolved as not applied; see
///   [`with_window`](Self::with_window).
/// - Versions end at 2^63 - 2^32; a write past that is [`Refusal::VersionsExhausted`].
///
/// # Cost
///
/// A read or a write of an existing id is one lookup in a sharded hash table. Creating or deleting an id also changes
/// an ordered index, O(log n). A page of a scan is O(limit + log n), and one without values touches no value. A commit over
/// several ids locks the shards they are in.
///
/// ```
/// use ifmatch::{Commit, Entry, Expected, Memory, Store};
///
/// let store = Memory::<str>::new();
/// let committed = store.commit(Commit::one(Entry::put("a", Expected::Absent, "one".into()))).wait()?;
///
/// let found = store.get("a").wait()?.unwrap();
/// assert_eq!(Some(found.version), committed.version());
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Memory<T: Resource + ?Sized> {
    inner: Arc<Inner<T>>,
}

struct Inner<T: ?Sized> {
    table: Table<T>,
    log: Log,
    window: Mutex<Window<Committed>>,
}

impl<T: Resource + ?Sized> Memory<T> {
    /// An empty store whose versions start at a random number.
    pub fn new() -> Self {
        // Below 2^62: as many versions again are left to issue.
        Self::counting_from(random() >> 2)
    }

    /// An empty store that gives `first` to its first write: for tests and documentation, where versions should be
    /// the same in each run. A store that lives longer needs [`new`](Self::new), or a version from before a restart
    /// may match another value after it. Where `first` is past the last version there is, every write is refused.
    ///
    /// ```
    /// use ifmatch::{Collection, Memory};
    ///
    /// let notes = Collection::new(Memory::<String>::starting_at("1".parse()?));
    /// assert_eq!(notes.create("readme", "hello".to_string()).wait()?.version.to_string(), "1");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn starting_at(first: Version) -> Self {
        Self::counting_from(first.to_bits().get() - 1)
    }

    /// [`get`](Store::get), which is always ready.
    #[inline(always)]
    pub(crate) fn find(&self, id: &str) -> Option<Versioned<T>> {
        self.inner.table.get(id)
    }

    /// [`commit`](Store::commit), which is always ready.
    #[inline(always)]
    pub(crate) fn apply(&self, mut commit: Commit<'_, T>) -> Result<Committed, Error> {
        let Inner { table, log, .. } = &*self.inner;
        match (commit.write(), commit.entries_mut()) {
            (None, [entry]) => {
                // These, and the commit, own what was displaced: both are dropped here, outside of every lock.
                let mut leftovers = Leftovers::default();
                table.commit_one(entry, log, &mut leftovers).map(Committed::one)
            }
            _ => self.inner.commit_uncommon(commit),
        }
    }

    /// A store as [`new`](Self::new), for ids that are at hand in two pieces: a prefix up to the first `separator`, and the
    /// rest.
    pub(crate) fn of_pieces(separator: u8) -> Self {
        Self::with_parts(Some(separator), random() >> 2)
    }

    /// A prefix of ids, the separator included.
    pub(crate) fn prefix(&self, text: Arc<str>) -> Prefix {
        self.inner.table.prefix(text)
    }

    /// Where the id of both pieces has its place.
    #[inline(always)]
    pub(crate) fn place_below(&self, prefix: &Prefix, id: &str) -> Place {
        self.inner.table.place_of(prefix, id)
    }

    /// What [`find`](Self::find) gives for the id of both pieces, which are nowhere put together.
    #[inline(always)]
    pub(crate) fn find_below(&self, prefix: &Prefix, id: &str, place: Place) -> Option<Versioned<T>> {
        self.inner.table.get_below(prefix, id, place)
    }

    /// Puts a value where there is one as expected, and gives the displaced one for it; else does nothing.
    #[inline(always)]
    pub(crate) fn replace_below(
        &self,
        prefix: &Prefix,
        id: &str,
        place: Place,
        expected: Expected,
        value: &mut Arc<T>,
    ) -> Result<Option<Receipt>, Refusal> {
        let Inner { table, log, .. } = &*self.inner;
        // Dropped here, outside of every lock.
        let mut leftovers = Leftovers::default();
        table.replace_below((prefix, id), place, expected, value, log, &mut leftovers)
    }

    /// The same where another id, in two pieces as well, is as expected too, at the same instant.
    #[inline]
    pub(crate) fn replace_checked(
        &self,
        prefix: &Prefix,
        id: &str,
        place: Place,
        expected: Expected,
        value: &mut Arc<T>,
        check: (&Prefix, &str, Expected),
    ) -> Option<Receipt> {
        let Inner { table, log, .. } = &*self.inner;
        // Dropped here, outside of every lock.
        let mut leftovers = Leftovers::default();
        table.replace_checked((prefix, id), place, (expected, value), check, log, &mut leftovers)
    }

    /// A commit under no write id of entries whose ids differ: of the first `own` ones each is below `prefix`, and only those
    /// have receipts in the answer.
    #[inline]
    pub(crate) fn apply_below(
        &self,
        prefix: &Prefix,
        own: usize,
        entries: &mut [Entry<'_, T>],
    ) -> Result<Committed, Error> {
        let Inner { table, log, .. } = &*self.inner;
        // Dropped here, outside of every lock.
        let mut leftovers = Leftovers::default();
        table.commit_many(entries, Below::of(prefix, own), own, log, &mut leftovers)
    }

    fn with_parts(separator: Option<u8>, last: u64) -> Self {
        let (table, log) = (Table::new(separator), Log::new(last));
        Self { inner: Arc::new(Inner { table, log, window: Mutex::default() }) }
    }

    fn counting_from(last: u64) -> Self {
        Self::with_parts(None, last)
    }

    /// The same store with a feed that reaches back `changes` changes instead of 65,536; at least one.
    ///
    /// ```
    /// # use ifmatch::Memory;
    /// let store = Memory::<String>::new().with_feed_limit(1_000);
    /// ```
    pub fn with_feed_limit(self, changes: usize) -> Self {
        self.inner.log.limit_to(changes.max(1));
        self
    }

    /// The same store with a memory of `commits` commits under a write id instead of 100,000; at least one.
    ///
    /// ```
    /// # use ifmatch::Memory;
    /// let store = Memory::<String>::new().with_window(1_000);
    /// ```
    pub fn with_window(self, commits: usize) -> Self {
        *self.inner.window.lock() = Window::new(commits);
        self
    }
}

impl<T: Resource + ?Sized> Default for Memory<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Resource + ?Sized> fmt::Debug for Memory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("resources", &self.inner.table.len()).finish_non_exhaustive()
    }
}

impl<T: Resource + ?Sized> Drop for Memory<T> {
    fn drop(&mut self) {
        // Watchers share the table: without this, one that is waiting would wait for ever.
        self.inner.log.close();
    }
}

impl<T: Resource + ?Sized> Inner<T> {
    /// Applies a commit under a write id, or answers as before where that has already come.
    fn once(
        &self,
        write: WriteId,
        fingerprint: u64,
        apply: impl FnOnce() -> Result<Committed, Error>,
    ) -> Result<Committed, Error> {
        // Held while the commit applies, so that of two sends at the same time one finds the other's answer.
        let mut window = self.window.lock();
        if let Some(committed) = window.recall(write, fingerprint, self.log.newest())? {
            return Ok(committed.clone());
        }
        let committed = apply()?;
        window.remember(write, fingerprint, committed.clone());
        Ok(committed)
    }

    /// Applies a commit that is not a plain one of one entry.
    #[inline(never)]
    fn commit_uncommon(&self, mut commit: Commit<'_, T>) -> Result<Committed, Error> {
        commit.check_ids()?;
        // They and the commit are dropped after the locks.
        let mut leftovers = Leftovers::default();
        let Some(write) = commit.remembered_write() else {
            return self.commit_many(&mut commit, &mut leftovers);
        };
        self.once(write, commit.fingerprint(), || {
            let committed = self.commit_many(&mut commit, &mut leftovers)?;
            // A deletion that found nothing is remembered too, or it would delete what came since when it is sent again.
            if !committed.receipts().iter().any(Receipt::changed) {
                self.log.pass()?;
            }
            Ok(committed)
        })
    }

    fn commit_many(
        &self,
        commit: &mut Commit<'_, T>,
        leftovers: &mut Leftovers<T>,
    ) -> Result<Committed, Error> {
        let entries = commit.entries_mut();
        let told = entries.len();
        self.table.commit_many(entries, Below::NONE, told, &self.log, leftovers)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<Page<Listed<T>>, Error> {
        let Scan { prefix, after, limit, values } = scan;
        if limit == 0 {
            return Err(Refusal::EmptyPage.into());
        }
        let mut items = Vec::with_capacity(limit.min(SCAN_STRIDE));
        let mut last: Option<Arc<str>> = None;
        loop {
            let wanted = (limit - items.len()).min(SCAN_STRIDE);
            // One more than wanted tells whether there is more.
            let mut ids = self.table.ids(prefix, last.as_deref().or(after), wanted + 1);
            let more = ids.len() > wanted;
            ids.truncate(wanted);
            last = ids.last().cloned().or(last);
            // An id may have been deleted since: its place in the page goes to the next one.
            let found = if values { self.table.read(&ids) } else { self.table.versions(&ids) };
            items.extend(ids.into_iter().zip(found).filter_map(|(id, listed)| Some((id, listed?))));
            if !more || items.len() == limit {
                return Ok(Page { items, more });
            }
        }
    }
}

impl<T: Resource + ?Sized> Store<T> for Memory<T> {
    #[inline]
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        Reply::ready(Ok(self.find(id)))
    }

    #[inline]
    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        Reply::ready(self.apply(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        let Inner { window, log, .. } = &*self.inner;
        let asked = window.lock().ask(write, log.newest());
        Reply::ready(Ok(asked.into()))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        Reply::ready(self.inner.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        let log = &self.inner.log;
        Reply::ready(log.watch(from).map(|watcher| {
            let cursor = log.cursor(watcher.position());
            Changes::new(cursor, Watch { inner: Arc::clone(&self.inner), watcher })
        }))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            watch: true,
            tombstones: true,
            durability: Durability::None,
            detects_restore: true,
            window: self.inner.window.lock().limit(),
            ..Abilities::default()
        }
    }
}

/// The feed of a memory store to one watcher.
struct Watch<T: Resource + ?Sized> {
    inner: Arc<Inner<T>>,
    watcher: Watcher,
}

impl<T: Resource + ?Sized> Feed<T> for Watch<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let (revision, records) = match self.inner.log.read(&self.watcher, context.waker()) {
            Read::Batch(revision, records) => (revision, records),
            Read::Nothing => return Poll::Pending,
            Read::Expired(oldest) => return Poll::Ready(Err(Expired { oldest: Some(oldest) }.into())),
            Read::Closed => {
                let gone = Failure::new(Outcome::NotApplied, "the store was dropped");
                return Poll::Ready(Err(gone.into()));
            }
        };
        let version = Version::from_bits(revision);
        let changes = records.into_iter().map(|record| {
            let kind = match record.deleted {
                true => ChangeKind::Delete,
                false => {
                    // The values of a commit appear one after another, each only while it is still the stored one.
                    let current =
                        self.inner.table.get(&record.id).filter(|current| current.version == version);
                    ChangeKind::Put(current.map(|current| current.value))
                }
            };
            Change { id: record.id, version, kind }
        });
        let changes = changes.collect();
        // Only now: a value that is the last of its kind may panic as it is dropped above, and must not make a gap.
        self.watcher.advance(revision);
        Poll::Ready(Ok(Batch { cursor: self.inner.log.cursor(revision.get()), changes }))
    }

    fn is_idle(&self) -> bool {
        true
    }
}

impl<T: Resource + ?Sized> Drop for Watch<T> {
    fn drop(&mut self) {
        self.inner.log.leave(&self.watcher);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::thread;

    use super::*;

    fn put<'a, T: ?Sized>(id: &'a str, value: impl Into<Arc<T>>) -> Entry<'a, T> {
        Entry::put(id, Expected::Any, value.into())
    }

    // Here too, and not in `tests/it` alone: a mutant of this store is to meet them without building that.
    #[cfg(feature = "conformance")]
    crate::conformance!(laws, Memory::<u64>::new());

    #[test]
    fn a_reader_never_sees_one_half_of_a_commit() {
        let store = Memory::<u64>::new();

        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..20_000 {
                    store.commit(Commit::one(put("a", round)).and(put("b", round))).wait().unwrap();
                }
            });
            let read = |id| store.get(id).wait().unwrap().map_or(0, |found| *found.value);
            while !writer.is_finished() {
                let (a, b) = (read("a"), read("b"));
                assert!(a <= b, "`a` of round {a} was there, and then `b` of round {b}");
            }
        });
    }

    /// A value that writes to its own store when it is dropped.
    struct Restless {
        store: Weak<Memory<Restless>>,
        write: Option<WriteId>,
    }

    impl Drop for Restless {
        fn drop(&mut self) {
            let Some(store) = self.store.upgrade() else { return };
            let calm = Restless { store: Weak::new(), write: None };
            let commit = Commit::one(put("a", calm)).and(Entry::check("b", Expected::Any));
            let commit = match self.write {
                Some(write) => commit.with_write(write),
                None => commit,
            };
            store.commit(commit).wait().unwrap();
        }
    }

    #[test]
    fn a_value_may_call_its_store_when_it_is_dropped() {
        for stamped in [false, true] {
            let store = Arc::new(Memory::<Restless>::new());
            let write = |bits| stamped.then(|| WriteId::from_bits(bits));
            let restless = |bits| Restless { store: Arc::downgrade(&store), write: write(bits) };
            let send = |entry, bits| {
                let commit = Commit::one(entry);
                // What is applied depends on what the dropped values did before: only returning at all counts.
                let _ = match write(bits) {
                    Some(write) => store.commit(commit.with_write(write)).wait(),
                    None => store.commit(commit).wait(),
                };
            };

            send(put("a", restless(1)), 2);
            send(put("a", restless(3)), 4);
            send(Entry::delete("a", Expected::Any), 5);
            send(put("a", restless(6)), 7);
            send(Entry::put("a", Expected::Absent, restless(8).into()), 9);
            send(put("a", restless(8)), 9);
            let both = Commit::one(put("a", restless(10))).and(put("b", restless(11)));
            store.commit(both).wait().unwrap();
            let both = Commit::one(put("a", restless(12))).and(put("b", restless(13)));
            store.commit(both).wait().unwrap();
        }
    }

    /// A waker that calls the store when it is woken and when it is dropped.
    struct Nosy(Weak<Memory<u64>>);

    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {
            if let Some(store) = self.0.upgrade() {
                store.commit(Commit::one(put("woken", 1))).wait().unwrap();
            }
        }
    }

    impl Drop for Nosy {
        fn drop(&mut self) {
            if let Some(store) = self.0.upgrade() {
                drop(store.watch(Start::Now).wait().unwrap());
            }
        }
    }

    #[test]
    fn a_waker_may_call_the_store() {
        let store = Arc::new(Memory::<u64>::new());
        let mut changes = store.watch(Start::Now).wait().unwrap();
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Nosy(Arc::downgrade(&store))));
            assert!(changes.poll_next(&mut Context::from_waker(&waker)).is_pending());
        }

        store.commit(Commit::one(put("a", 1)).and(put("b", 1))).wait().unwrap();

        let ids =
            |batch: Batch<u64>| batch.changes.iter().map(|change| change.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(changes.next().wait().unwrap()), ["a", "b"]);
        assert_eq!(ids(changes.next().wait().unwrap()), ["woken"]);
    }

    /// A waker that counts, or panics.
    struct Alarm(Arc<AtomicUsize>, bool);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            assert!(!self.1, "a waker that panics");
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waker_that_panics_keeps_nobody_else_asleep_and_is_not_the_writers_fault() {
        for closes in [false, true] {
            let store = Memory::<u64>::new();
            let woken = Arc::new(AtomicUsize::new(0));
            let mut watchers: Vec<_> = (0..16).map(|_| store.watch(Start::Now).wait().unwrap()).collect();
            for (number, changes) in watchers.iter_mut().enumerate() {
                let waker = Waker::from(Arc::new(Alarm(Arc::clone(&woken), number % 2 == 0)));
                assert!(changes.poll_next(&mut Context::from_waker(&waker)).is_pending());
            }

            if closes {
                drop(store);
            } else {
                store.commit(Commit::one(put("a", 1))).wait().unwrap();
            }

            assert_eq!(woken.load(Ordering::Relaxed), 8);
        }
    }

    #[test]
    fn a_watcher_that_is_gone_leaves_no_waker_and_one_that_waits_ends_with_the_store() {
        let store = Memory::<u64>::new();
        let waker = Waker::from(Arc::new(Nosy(Weak::new())));
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let mut gone = store.watch(Start::Now).wait().unwrap();
        assert!(gone.poll_next(&mut Context::from_waker(&waker)).is_pending());

        drop(gone);
        assert!(store.inner.log.is_idle());

        drop(store);
        assert!(matches!(changes.next().wait(), Err(Error::Failed(_))));
    }

    fn create_and_delete(store: &Memory<u64>, id: &str) {
        store.commit(Commit::one(put(id, 1))).wait().unwrap();
        store.commit(Commit::one(Entry::delete(id, Expected::Present))).wait().unwrap();
    }

    /// What a store says of an id that is expected to be there.
    fn missing(store: &Memory<u64>, id: &str) -> crate::Kind {
        let refused = store.commit(Commit::one(Entry::check(id, Expected::Present))).wait().unwrap_err();
        refused.conflict().unwrap().kind().clone()
    }

    #[test]
    fn a_page_longer_than_a_stride_has_as_many_as_asked_for() {
        let store = Memory::<u64>::new();
        for number in 0..3 * SCAN_STRIDE {
            store.commit(Commit::one(put(&format!("{number:04}"), 1))).wait().unwrap();
        }

        for limit in [SCAN_STRIDE - 1, SCAN_STRIDE, SCAN_STRIDE + 44, 3 * SCAN_STRIDE, 4 * SCAN_STRIDE] {
            let page = store.scan(Scan::new("", limit)).wait().unwrap();

            assert_eq!(page.items.len(), limit.min(3 * SCAN_STRIDE));
            assert_eq!(page.more, limit < 3 * SCAN_STRIDE);
            assert!(page.items.iter().enumerate().all(|(at, (id, _))| **id == *format!("{at:04}")));
        }
    }

    #[test]
    fn deletions_are_forgotten_past_the_limit_and_nothing_else_is() {
        let store = Memory::<u64>::new();
        let create = |id: &str| store.commit(Commit::one(put(id, 1))).wait().unwrap();
        let delete =
            |id: &str| store.commit(Commit::one(Entry::delete(id, Expected::Present))).wait().unwrap();
        let ids: Vec<String> = (0..100_000).map(|number| format!("id-{number}")).collect();
        for id in ["back", "twice"] {
            create(id);
            delete(id);
        }
        create("back");

        for (number, id) in ids.iter().enumerate() {
            create(id);
            // Alone or among others, a deletion goes two ways in the table.
            if number % 2 == 0 {
                delete(id);
            } else {
                let two = Commit::one(Entry::delete(id, Expected::Present));
                store.commit(two.and(Entry::check("back", Expected::Present))).wait().unwrap();
            }
            if number == 50_000 {
                create("twice");
                delete("twice");
            }
        }

        assert!((65_536..=65_536 + 64 * 32).contains(&store.inner.table.rows()));
        assert_eq!(missing(&store, &ids[0]), crate::Kind::Missing);
        assert_eq!(missing(&store, &ids[99_999]), crate::Kind::Deleted);
        // The first deletion of each was forgotten, and that is all.
        assert!(store.get("back").wait().unwrap().is_some());
        assert_eq!(missing(&store, "twice"), crate::Kind::Deleted);
    }

    #[test]
    fn the_first_write_gets_the_version_the_store_was_started_at() {
        for first in ["1", "2", "9007199254740993"] {
            let first: Version = first.parse().unwrap();

            let store = Memory::<u64>::starting_at(first);

            assert_eq!(store.commit(Commit::one(put("a", 1))).wait().unwrap().version(), Some(first));
        }
    }

    #[test]
    fn a_watcher_expires_once_it_is_further_behind_than_the_limit() {
        let store = Memory::<u64>::new().with_feed_limit(3);
        let mut watchers = [(); 2].map(|()| store.watch(Start::Now).wait().unwrap());

        for number in 0..4 {
            if number == 3 {
                assert!(watchers[0].next().wait().is_ok());
            }
            store.commit(Commit::one(put("a", number))).wait().unwrap();
        }

        let [kept_up, behind] = watchers.each_mut().map(|changes| changes.next().wait());
        assert!(kept_up.is_ok() && matches!(behind, Err(Error::Expired(_))));
    }

    #[test]
    fn an_impossible_id_is_refused_only_where_it_would_be_created() {
        let store = Memory::<u64>::new();
        let nothing = || Entry::check("", Expected::Absent);

        for commit in [Commit::one(nothing()), Commit::one(nothing()).and(put("a", 1))] {
            store.commit(commit).wait().unwrap();
        }
        for commit in [Commit::one(put("", 1)), Commit::one(put("", 1)).and(put("a", 2))] {
            assert!(matches!(store.commit(commit).wait(), Err(Error::Refused(Refusal::Id { .. }))));
        }
        assert_eq!(*store.get("a").wait().unwrap().unwrap().value, 1);
    }

    #[test]
    fn an_id_that_comes_back_takes_one_place_and_its_last_deletion_counts() {
        let store = Memory::<u64>::new();
        create_and_delete(&store, "often");
        create_and_delete(&store, "stays");
        store.commit(Commit::one(put("stays", 1))).wait().unwrap();

        for number in 0..200_000 {
            create_and_delete(&store, &format!("id-{number}"));
            if number % 10_000 == 0 {
                create_and_delete(&store, "often");
            }
        }

        assert_eq!(missing(&store, "often"), crate::Kind::Deleted);
        assert!(store.get("stays").wait().unwrap().is_some());
        // Its place went to another, and it takes one anew.
        store.commit(Commit::one(Entry::delete("stays", Expected::Present))).wait().unwrap();
        assert_eq!(missing(&store, "stays"), crate::Kind::Deleted);
        (200_000..400_000).for_each(|number| create_and_delete(&store, &format!("id-{number}")));
        assert_eq!(missing(&store, "often"), crate::Kind::Missing);
        assert_eq!(missing(&store, "stays"), crate::Kind::Missing);
        assert!((65_536..=65_536 + 64 * 32).contains(&store.inner.table.rows()));
    }

    #[test]
    fn a_version_from_before_a_restart_matches_nothing() {
        let issued = || Memory::<u64>::new().commit(Commit::one(put("a", 1))).wait().unwrap().version();

        let versions: std::collections::HashSet<_> = (0..1000).map(|_| issued()).collect();

        assert_eq!(versions.len(), 1000);
    }

    #[test]
    fn debug_shows_no_value() {
        let store = Memory::<str>::new();
        for id in ["a", "b", "c"] {
            store.commit(Commit::one(put(id, "s3cr3t"))).wait().unwrap();
        }

        store.commit(Commit::one(Entry::delete("b", Expected::Present))).wait().unwrap();

        assert_eq!(format!("{store:?}"), "Memory { resources: 2, .. }");
    }
}
