//! [`Encoded`], a store of values over a store of bytes.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::codec::coding::Coding;
use crate::store::{
    Abilities, Action, Batch, Change, ChangeKind, Changes, Commit, Committed, Conflict, Corrupt, Cursor,
    Entry, Error, Expected, Feed, Listed, NEVER, Page, Refusal, Reply, Resolution, Resource, Scan, Start,
    Store, Versioned, WriteId,
};

/// A store of values over a store of bytes, with a [`Codec`](crate::codec::Codec) between them.
///
/// Values are encoded on the way down and decoded on the way up, those in a [`Conflict`] and in a feed included. How large
/// a value may be is for the store to say, as in [`File::options`](crate::backend::file::Options::value_limit); a
/// [`Memory`](crate::Memory) has no limit of its own, and [`Guarded::max_bytes`](crate::Guarded::max_bytes) sets one on any store.
///
/// # Bytes that do not decode
///
/// They stay as they are until a write names their version, which the [`Corrupt`] error tells, or says that it takes
/// whatever is there.
///
/// - `get` fails with [`Error::Corrupt`].
/// - `scan` ends its page just before them; where they would be the first of a page, it fails with
///   [`Error::Corrupt`], and the scan can go on after that id. One without values decodes nothing, and lists them.
/// - A put or delete that expects their version, [`Any`](crate::Expected::Any) or
///   [`Present`](crate::Expected::Present) applies: it is one commit, and never looks at what it overwrites.
/// - In a conflict, [`current`](Conflict::current) is `None`.
/// - In a feed, the change has no value.
///
/// That is of bytes which the store has kept as they were put. A record that was damaged in the store is the store's own
/// `Corrupt`.
///
/// # Bytes that a later release has written
///
/// A codec may tell schemas apart, as [`Schema`](crate::Schema) does. Then a put looks at what it would write over first, which
/// costs a read unless it expects nothing there, and fails with [`Error::Corrupt`] too where that is in a
/// [newer schema](Corrupt::newer_schema) than the codec reads. Nothing is applied then.
///
/// A put with a version can't miss it, unless the store below answers from memory: so a [`Cached`](crate::Cached) comes above
/// the codec. One with `Any` or `Present` overwrites what a later release writes between that look and the put. A deletion
/// takes away whatever is there. With a codec that tells no schemas apart, a release knows nothing of later ones.
///
/// # Errors
///
/// Beside those of the store below: [`Error::Corrupt`] (500, or 503 for a newer schema), and [`Refusal::Encode`] (422) with
/// nothing sent. Retrying helps for neither, but with a newer schema at an instance of the later release.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use ifmatch::{Commit, Encoded, Entry, Expected, Json, Memory, Store};
///
/// let bytes = Memory::<[u8]>::new();
/// let store: &dyn Store<Vec<u32>> = &Encoded::new(bytes, Json);
///
/// store.commit(Commit::one(Entry::put("a", Expected::Absent, vec![1, 2].into()))).wait()?;
/// assert_eq!(*store.get("a").wait()?.unwrap().value, [1, 2]);
/// # }
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Clone)]
pub struct Encoded<S, C> {
    store: S,
    // Shared with feeds, which outlive the borrow of the store.
    codec: Arc<C>,
}

impl<S: Store<[u8]>, C> Encoded<S, C> {
    /// A store of what `codec` encodes, kept in `store`.
    pub fn new(store: S, codec: C) -> Self {
        Self { store, codec: Arc::new(codec) }
    }

    fn encode<'a, T: Resource + ?Sized>(&self, entry: Entry<'a, T>) -> Result<Entry<'a, [u8]>, Refusal>
    where
        C: Coding<T>,
    {
        let Entry { id, condition, action } = entry;
        let action = match action {
            Action::Check => Action::Check,
            Action::Delete => Action::Delete,
            Action::Put(value) => {
                let bytes = self
                    .codec
                    .encode(id, &value)
                    .map_err(|source| Refusal::Encode { id: id.into(), source })?;
                Action::Put(bytes.into())
            }
        };
        Ok(Entry { id, condition, action })
    }

    fn decode<T: Resource + ?Sized>(
        &self,
        id: &str,
        stored: &Versioned<[u8]>,
    ) -> Result<Versioned<T>, Corrupt>
    where
        C: Coding<T>,
    {
        let value = self
            .codec
            .decode(id, &stored.value)
            .map_err(|source| Corrupt::new(id, stored.version, source))?;
        Ok(Versioned { version: stored.version, value })
    }

    fn has_schema<T: Resource + ?Sized>(&self, commit: &Commit<'_, [u8]>) -> bool
    where
        C: Coding<T>,
    {
        commit.entries().iter().any(|entry| self.codec.has_schema(entry.id))
    }

    /// Whether it is looked at what an entry would write over: a put, where schemas are told apart.
    fn looks_first<T: Resource + ?Sized>(&self, entry: &Entry<'_, [u8]>) -> bool
    where
        C: Coding<T>,
    {
        matches!(entry.action, Action::Put(_))
            && entry.condition.expected != Expected::Absent
            && self.codec.has_schema(entry.id)
    }

    /// Sends a commit, unless a put in it would write over what a later release has written.
    fn commit_over<'a, T: Resource + ?Sized>(&'a self, mut commit: Commit<'a, [u8]>) -> Reply<'a, Committed>
    where
        C: Coding<T>,
    {
        Reply::begin(async move {
            let mut newer = None;
            for entry in commit.entries().iter().filter(|entry| self.looks_first::<T>(entry)) {
                newer = match self.store.get(entry.id).await {
                    // Who expects something else hears of that, from the store.
                    Ok(Some(stored)) if entry.condition.expected.admits(Some(stored.version)) => {
                        self.newer::<T>(entry.id, &stored)
                    }
                    // A record that is damaged gives way to its version.
                    Ok(_) | Err(Error::Corrupt(_)) => None,
                    Err(error) => return Err(error),
                };
                if newer.is_some() {
                    break;
                }
            }
            let Some(newer) = newer else { return self.store.commit(commit).await };
            if commit.write().is_none() {
                return Err(newer.into());
            }
            // It may have been applied before the later release wrote: then it is answered as it was.
            commit.entries_mut().iter_mut().for_each(|entry| entry.condition.expected = NEVER.into());
            match self.store.commit(commit).await {
                Err(Error::Conflict(_)) => Err(newer.into()),
                answer => answer,
            }
        })
    }

    /// Why stored bytes are not written over, where a later release has written them.
    fn newer<T: Resource + ?Sized>(&self, id: &str, stored: &Versioned<[u8]>) -> Option<Corrupt>
    where
        C: Coding<T>,
    {
        if self.codec.age(id, &stored.value) != Ordering::Greater {
            return None;
        }
        self.decode::<T>(id, stored).err().filter(|corrupt| corrupt.newer_schema().is_some())
    }

    /// Sends the check that stands for a write of what was there already, or where the stored bytes are of an old schema
    /// a put of the same value in its place.
    fn commit_unchanged<'a, T: Resource + ?Sized>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed>
    where
        C: Coding<T>,
    {
        let &[Entry { id, condition, .. }] = commit.entries() else { return self.store.commit(commit) };
        self.store.get(id).and_then(move |found| match found {
            Some(stored) if condition.expected == Expected::Version(stored.version) => {
                let renewed = self.renewed::<T>(&commit, &stored);
                self.store.commit(renewed.unwrap_or_else(|| commit.without_write()))
            }
            _ => self.commit_outrun(commit),
        })
    }

    /// Answers a commit of what was there already that finds something else there: its own put, where it arrives for a
    /// second time.
    fn commit_outrun<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        let Some(write) = commit.write() else { return self.store.commit(commit) };
        let store = &self.store;
        store.resolve(write).and_then(move |resolution| match resolution {
            Resolution::Applied(committed) => Reply::ready(Ok(committed)),
            Resolution::NotApplied | Resolution::Unknown => store.commit(commit.without_write()),
        })
    }

    /// The put of a stored value in the schema of today; `None` where it is in it.
    fn renewed<'a, T: Resource + ?Sized>(
        &self,
        commit: &Commit<'a, [u8]>,
        stored: &Versioned<[u8]>,
    ) -> Option<Commit<'a, [u8]>>
    where
        C: Coding<T>,
    {
        let &[Entry { id, condition, .. }] = commit.entries() else { return None };
        if self.codec.age(id, &stored.value) != Ordering::Less {
            return None;
        }
        // What can't be rewritten is not the concern of a caller who changes nothing.
        let value = self.decode::<T>(id, stored).ok()?.value;
        let put = Commit::one(self.encode(Entry::put(id, condition, value)).ok()?);
        Some(match commit.write() {
            Some(write) => put.with_write(write),
            None => put,
        })
    }
}

impl<T: Resource + ?Sized, S: Store<[u8]>, C: Coding<T>> Store<T> for Encoded<S, C> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        self.store.get(id).then(move |found| match found? {
            Some(stored) => Ok(Some(self.decode(id, &stored)?)),
            None => Ok(None),
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let encoded = match commit.check_ids().and_then(|()| commit.try_map(|entry| self.encode(entry))) {
            Ok(encoded) => encoded,
            Err(refusal) => return Reply::ready(Err(refusal.into())),
        };
        let reply = match encoded.is_unchanged() {
            true if self.has_schema::<T>(&encoded) => self.commit_unchanged::<T>(encoded),
            // A check, which needs no write id: it applies nothing.
            true => self.store.commit(encoded.without_write()),
            false if encoded.entries().iter().any(|entry| self.looks_first::<T>(entry)) => {
                self.commit_over::<T>(encoded)
            }
            false => self.store.commit(encoded),
        };
        reply.then(|answer| {
            answer.map_err(|error| match error {
                Error::Conflict(conflict) => decoded(conflict, &*self.codec).into(),
                other => other,
            })
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        self.store.scan(scan).then(move |page| {
            let page = page?;
            if !scan.values {
                return Ok(page.without_values().map(Listed::from));
            }
            let Page { items, more } = page.with_values()?;
            let mut decoded = Page { items: Vec::with_capacity(items.len()), more };
            for (id, stored) in items {
                let value = self.decode(&id, &stored).map(Listed::from);
                if !decoded.add(id, value)? {
                    break;
                }
            }
            Ok(decoded)
        })
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.store.watch(from).map(|changes| Decoding::of(changes, Arc::clone(&self.codec)))
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Encoded<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The conflict with values for bytes, and without a value where the bytes do not decode.
fn decoded<T: Resource + ?Sized>(conflict: Conflict, codec: &impl Coding<T>) -> Conflict {
    conflict.map(|mismatch| {
        let id = mismatch.id().to_owned();
        mismatch.map_current(|stored: Versioned<[u8]>| {
            Some(Versioned { version: stored.version, value: codec.decode(&id, &stored.value).ok()? })
        })
    })
}

/// The feed of the store below, with values for bytes.
pub(crate) struct Decoding<C: ?Sized> {
    changes: Changes<[u8]>,
    codec: Arc<C>,
    /// Taken from below and not delivered yet: a codec that panics must not make a gap.
    batch: Option<Batch<[u8]>>,
}

impl<C: ?Sized> Decoding<C> {
    pub(crate) fn of<T: Resource + ?Sized>(changes: Changes<[u8]>, codec: Arc<C>) -> Changes<T>
    where
        C: Coding<T>,
    {
        Changes::new(changes.cursor().clone(), Self { changes, codec, batch: None })
    }
}

impl<T: Resource + ?Sized, C: Coding<T> + ?Sized> Feed<T> for Decoding<C> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let batch = match self.batch.take() {
            Some(batch) => batch,
            None => ready!(self.changes.poll_next(context))?,
        };
        let batch = self.batch.insert(batch);
        let decode = |change: &Change<[u8]>| {
            let kind = match &change.kind {
                // No value where the bytes do not decode: a `get` says what is wrong with them.
                ChangeKind::Put(bytes) => {
                    let decode = |bytes: &Arc<[u8]>| self.codec.decode(&change.id, bytes).ok();
                    ChangeKind::Put(bytes.as_ref().and_then(decode))
                }
                ChangeKind::Delete => ChangeKind::Delete,
            };
            Change { id: Arc::clone(&change.id), version: change.version, kind }
        };
        let decoded =
            Batch { cursor: batch.cursor.clone(), changes: batch.changes.iter().map(decode).collect() };
        self.batch = None;
        Poll::Ready(Ok(decoded))
    }

    fn is_idle(&self) -> bool {
        self.batch.is_none() && self.changes.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        self.batch.is_none().then(|| self.changes.cursor())
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::error::Error as StdError;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::codec::Codec;
    use crate::codec::json::Json;
    use crate::codec::schema::Schema;
    use crate::collection::Collection;
    use crate::layer::guarded::Guarded;
    use crate::layer::probe::{Probe, at_once, is_pending, next_of};
    use crate::memory::Memory;
    use crate::store::{Condition, Intent, Kind, Origin, Version};

    const ODD: &[u8] = b"{s3cr3t";

    type Numbers = Encoded<Probe<[u8]>, Json>;

    /// The layer as the store of one type, so that calls need no annotation.
    fn over(probe: &Probe<[u8]>) -> Numbers {
        Encoded::new(probe.clone(), Json)
    }

    fn get(store: &dyn Store<u32>, id: &str) -> Result<Option<Versioned<u32>>, Error> {
        store.get(id).wait()
    }

    fn put(id: &str, condition: impl Into<Condition>, value: u32) -> Commit<'_, u32> {
        Commit::one(Entry::put(id, condition, value.into()))
    }

    fn commit(store: &dyn Store<u32>, commit: Commit<'_, u32>) -> Result<Committed, Error> {
        store.commit(commit).wait()
    }

    fn conflict(answer: Result<Committed, Error>) -> Conflict {
        match answer {
            Err(Error::Conflict(conflict)) => conflict,
            other => panic!("expected a conflict: {other:?}"),
        }
    }

    fn corrupt<A: fmt::Debug>(answer: Result<A, Error>) -> Corrupt {
        match answer {
            Err(Error::Corrupt(corrupt)) => corrupt,
            other => panic!("expected corrupt bytes: {other:?}"),
        }
    }

    fn seven() -> Vec<u8> {
        b"7".to_vec()
    }

    #[test]
    fn values_go_down_as_bytes_and_come_up_as_values() {
        let probe = Probe::prompt();
        let store = over(&probe);

        let version = commit(&store, put("a", Expected::Absent, 7)).unwrap().version().unwrap();

        assert_eq!(*probe.peek("a").unwrap().value, *b"7");
        assert_eq!(get(&store, "a").unwrap(), Some(Versioned::new(version, 7)));
        assert_eq!(get(&store, "b").unwrap(), None);
    }

    #[test]
    fn a_value_that_does_not_encode_is_refused_before_anything_is_sent() {
        let probe = Probe::prompt();
        let store: &dyn Store<Vec<u8>> = &over(&probe);

        let many = Commit::one(Entry::put("a", Expected::Any, vec![0; 100_000].into()));
        let error = store.commit(many).wait().unwrap_err();

        assert!(matches!(&error, Error::Refused(Refusal::Encode { id, .. }) if &**id == "a"));
        assert_eq!(probe.calls(), [""; 0]);
    }

    /// A codec of bytes that takes some for damaged: a store of bytes over it has records that can't be read.
    struct Picky;

    impl Coding<[u8]> for Picky {
        fn encode(&self, _: &str, value: &[u8]) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
            Ok(value.to_vec())
        }

        fn decode(&self, _: &str, bytes: &[u8]) -> Result<Arc<[u8]>, Box<dyn StdError + Send + Sync>> {
            if bytes == ODD { Err("odd".into()) } else { Ok(bytes.into()) }
        }

        fn has_schema(&self, _: &str) -> bool {
            false
        }

        fn age(&self, _: &str, _: &[u8]) -> std::cmp::Ordering {
            std::cmp::Ordering::Equal
        }
    }

    #[test]
    fn a_damaged_record_gives_way_under_a_schema_too() {
        let probe = Probe::prompt();
        let schema = Schema::new(1, Json, |_, _| Err("there was none before".into()));
        let store = Encoded::new(Encoded::new(probe.clone(), Picky), schema);
        let version = probe.set("a", ODD);
        assert_eq!(corrupt(get(&store, "a")).version(), version);

        commit(&store, put("a", version, 7)).unwrap();

        assert_eq!(*get(&store, "a").unwrap().unwrap().value, 7);
    }

    #[test]
    fn a_put_looks_first_only_where_it_may_write_over_what_is_in_a_schema() {
        let probe = Probe::prompt();
        let schema = Schema::new(1, Json, |_, _| Err("there was none before".into()));
        let (schemed, plain) = (Encoded::new(probe.clone(), schema), over(&probe));
        let looks = |reply: Result<Committed, Error>| {
            let version = reply.unwrap().version();
            (probe.calls().iter().filter(|call| call.starts_with("get")).count(), version)
        };

        let (created, version) = looks(commit(&schemed, put("a", Expected::Absent, 1)));
        let (replaced, _) = looks(commit(&schemed, put("a", version.unwrap(), 2)));
        let (deleted, _) = looks(commit(&schemed, Commit::one(Entry::delete("a", Expected::Any))));
        let (without, _) = looks(commit(&plain, put("a", Expected::Any, 1)));

        assert_eq!([created, replaced, deleted, without], [0, 1, 0, 0]);
    }

    #[test]
    fn a_repeated_id_is_refused_before_anything_is_sent() {
        let probe = Probe::prompt();

        let twice = put("a", Expected::Any, 1).and(Entry::delete("a", Expected::Any));
        let error = commit(&over(&probe), twice).unwrap_err();

        assert!(matches!(error, Error::Refused(Refusal::Duplicate { .. })));
        assert_eq!(probe.calls(), [""; 0]);
    }

    #[test]
    fn a_conflict_tells_the_value_or_none_where_the_bytes_do_not_decode() {
        let probe = Probe::prompt();
        let [old, good] = [(); 2].map(|()| probe.set("good", seven()));
        let odd = probe.set("odd", ODD);

        let stale = put("good", old, 1).and(Entry::put("odd", old, 1.into()));
        let conflict = conflict(commit(&over(&probe), stale));

        let [first, second] = conflict.mismatches() else { panic!("{conflict}") };
        assert_eq!(first.current::<u32>(), Some(Versioned::new(good, 7)));
        assert_eq!(second.found(), Some(odd));
        assert!(second.current::<u32>().is_none() && second.current::<[u8]>().is_none());
    }

    #[test]
    fn bytes_that_do_not_decode_stay_and_say_so() {
        let probe = Probe::prompt();
        let version = probe.set("a", ODD);

        let corrupt = corrupt(get(&over(&probe), "a"));

        assert_eq!((corrupt.id(), corrupt.version()), ("a", version));
        assert!(!format!("{corrupt:?} {corrupt}").contains("s3cr3t"));
        assert_eq!(*probe.peek("a").unwrap().value, *ODD);
    }

    #[test]
    fn bytes_that_do_not_decode_give_way_to_a_write_that_names_them_or_takes_whatever_is_there() {
        for probe in [Probe::prompt(), Probe::late()] {
            let store = over(&probe);
            for write in [None, Some(())] {
                let stamped = |commit: Commit<'static, u32>| match write {
                    Some(()) => commit.with_write(WriteId::after(None)),
                    None => commit,
                };
                let odd = || probe.set("a", ODD);

                let stale = odd();
                let version = odd();
                for exact in [Expected::Version(stale), Expected::Absent] {
                    let conflict = conflict(commit(&store, stamped(put("a", exact, 1))));
                    assert_eq!((conflict.found(), conflict.current::<u32>()), (Some(version), None));
                }
                let admitted: [fn(Version) -> Expected; 3] =
                    [|_| Expected::Any, |_| Expected::Present, Expected::Version];
                for admitted in admitted {
                    let put = commit(&store, stamped(put("a", admitted(odd()), 1))).unwrap();
                    assert_eq!(get(&store, "a").unwrap().map(|now| now.version), put.version());
                    let now = odd();
                    let delete = Commit::one(Entry::delete("a", admitted(now)));
                    let deleted = commit(&store, stamped(delete)).unwrap();
                    assert_eq!(deleted.receipts()[0].replaced, Some(now));
                    assert!(probe.peek("a").is_none());
                }
            }
        }
    }

    #[test]
    fn a_blind_write_is_one_commit_as_it_was_given() {
        for probe in [Probe::prompt(), Probe::late()] {
            let store = over(&probe);
            let old = probe.set("old", ODD);

            let blind = put("new", Expected::Any, 2)
                .and(Entry::put("old", Expected::Present, 1.into()))
                .and(Entry::delete("gone", Expected::Any))
                .and(Entry::check("checked", Expected::Any));
            let committed = commit(&store, blind).unwrap();

            assert_eq!(committed.receipts()[1].replaced, Some(old));
            let sent = "commit new if anything, old if a value, gone if anything, checked if anything";
            assert_eq!(probe.calls(), [sent]);
            assert_eq!(*get(&store, "old").unwrap().unwrap().value, 1);
        }
    }

    #[test]
    fn blind_writes_of_many_threads_never_conflict() {
        let probe = Probe::prompt();
        let numbers = Collection::<u32>::new(over(&probe));

        std::thread::scope(|scope| {
            for thread in 0..8 {
                let numbers = numbers.clone();
                scope.spawn(move || (0..500).for_each(|_| drop(numbers.put("a", thread).wait().unwrap())));
            }
        });

        assert_eq!(probe.calls().len(), 8 * 500);
    }

    #[test]
    fn ready_stays_ready_and_pending_pending() {
        let prompt = Probe::prompt();
        let store: &dyn Store<u32> = &over(&prompt);
        prompt.set("a", seven());

        at_once(store.commit(put("a", Expected::Present, 1).and(Entry::delete("b", Expected::Any)))).unwrap();
        at_once(store.get("a")).unwrap();
        at_once(store.scan(Scan::new("", 1))).unwrap();
        at_once(store.resolve(WriteId::after(None))).unwrap();
        let _ = at_once(store.watch(Start::Now)).unwrap();

        let late = Probe::late();
        let store: &dyn Store<u32> = &over(&late);
        assert!(is_pending(store.commit(put("a", Expected::Any, 1))));
        assert!(is_pending(store.get("a")));
    }

    #[test]
    fn how_large_a_value_may_be_is_for_the_store_to_say() {
        let large = || Arc::new("x".repeat(5 << 20));
        let texts = Collection::<String>::json(Memory::<[u8]>::new());
        texts.create("a", String::clone(&large())).wait().unwrap();
        assert_eq!(texts.fetch("a").wait().unwrap().value, large());

        let narrow = Guarded::new(Memory::<[u8]>::new()).max_bytes(10, |bytes| bytes.len());
        let texts = Collection::<String>::json(narrow);
        texts.create("a", "x".repeat(8)).wait().unwrap();
        let error = texts.create("b", "x".repeat(9)).wait().unwrap_err();
        assert!(matches!(error, Error::Refused(Refusal::TooLarge { bytes: 11, limit: 10, .. })), "{error}");
    }

    #[test]
    fn a_required_value_that_is_missing_is_the_callers_own_conflict() {
        let probe = Probe::prompt();
        let header = Condition::from_protocol(Expected::Present);
        probe.set("gone", seven());
        probe.delete("gone");

        let conflict = conflict(commit(
            &over(&probe),
            Commit::one(Entry::delete("never", header)).and(Entry::put("gone", header, 1.into())),
        ));

        let [never, gone] = conflict.mismatches() else { panic!("{conflict}") };
        assert_eq!(
            (never.kind(), never.expected(), never.intent()),
            (&Kind::Missing, Expected::Present, Intent::Delete)
        );
        assert_eq!(
            (gone.kind(), gone.expected(), gone.intent()),
            (&Kind::Deleted, Expected::Present, Intent::Put)
        );
        assert_eq!(never.origin(), Origin::Protocol);
    }

    #[test]
    fn a_commit_sent_again_under_its_write_id_is_answered_as_the_first_time() {
        let after_it: [fn(&Probe<[u8]>); 4] = [
            |_| {},
            |probe| _ = probe.set("a", b"8".to_vec()),
            |probe| _ = probe.set("a", ODD),
            |probe| probe.delete("a"),
        ];
        for expected in [Expected::Any, Expected::Present] {
            for change in after_it {
                let probe = Probe::prompt();
                let store = over(&probe);
                probe.set("a", seven());
                let resent = put("a", expected, 1).with_write(WriteId::after(None));

                let first = commit(&store, resent.clone()).unwrap();
                change(&probe);
                let stored = probe.peek("a").map(|stored| stored.version);
                let second = commit(&store, resent).unwrap();

                assert_eq!(first, second);
                assert_eq!(probe.peek("a").map(|stored| stored.version), stored);
            }
        }
    }

    #[test]
    fn the_write_id_reaches_the_store() {
        let probe = Probe::prompt();
        let store: &dyn Store<u32> = &over(&probe);

        for expected in [Expected::Any, Expected::Absent] {
            let write = WriteId::after(None);
            let id = if expected == Expected::Any { "a" } else { "b" };
            let committed = store.commit(put(id, expected, 1).with_write(write)).wait().unwrap();
            assert_eq!(store.resolve(write).wait().unwrap(), Resolution::Applied(committed));
        }
    }

    #[test]
    fn a_scan_stops_before_bytes_that_do_not_decode_and_names_them() {
        let probe = Probe::prompt();
        let store: &dyn Store<u32> = &over(&probe);
        for id in ["a", "b", "d"] {
            probe.set(id, seven());
        }
        let odd = probe.set("c", ODD);

        let page = store.scan(Scan::new("", 10)).wait().unwrap();
        let error = corrupt(store.scan(Scan::new("", 10).after(page.next())).wait());
        let rest = store.scan(Scan::new("", 10).after(Some(error.id()))).wait().unwrap();

        let ids =
            |page: &Page<Listed<u32>>| page.items.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&page), ["a", "b"]);
        assert!(page.more);
        assert_eq!((error.id(), error.version()), ("c", odd));
        assert_eq!(ids(&rest), ["d"]);
        assert!(!rest.more);
        assert!(store.scan(Scan::new("", 1)).wait().unwrap().more);
        assert_eq!(rest.items[0].1.value.as_deref(), Some(&7));
    }

    #[test]
    fn a_listing_without_values_decodes_none() {
        let probe = Probe::prompt();
        let store: &dyn Store<u32> = &over(&probe);
        probe.set("a", seven());
        let odd = probe.set("b", ODD);

        let page = store.scan(Scan::new("", 1).after(Some("a")).without_values()).wait().unwrap();

        assert!(page.items[0].1.value.is_none());
        assert_eq!(page.without_values().items, [("b".into(), odd)]);
    }

    #[test]
    fn a_feed_gives_values_and_none_where_the_bytes_do_not_decode() {
        let probe = Probe::prompt();
        let store: &dyn Store<u32> = &over(&probe);
        let mut changes = store.watch(Start::Now).wait().unwrap();
        let began = changes.cursor().clone();

        let version = probe.set("a", seven());
        probe.set("b", ODD);
        probe.delete("c");
        probe.set("c", seven());
        probe.delete("c");

        let first = next_of(&mut changes).unwrap();
        let second = next_of(&mut changes).unwrap();
        assert_eq!(first.changes[0].value().map(|value| **value), Some(7));
        assert_eq!((&*first.changes[0].id, first.changes[0].version), ("a", version));
        assert!(second.changes[0].value().is_none() && !second.changes[0].is_delete());
        assert!(!next_of(&mut changes).unwrap().changes[0].is_delete());
        assert!(next_of(&mut changes).unwrap().changes[0].is_delete());
        let mut again = store.watch(Start::After(began)).wait().unwrap();
        assert_eq!(next_of(&mut again).unwrap().cursor, first.cursor);
    }

    #[test]
    fn a_panic_in_the_codec_makes_no_gap_in_a_feed() {
        struct Panicky(AtomicBool);

        impl Codec<u32> for Panicky {
            fn encode(&self, value: &u32) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
                Codec::encode(&Json, value)
            }

            fn decode(&self, bytes: &[u8]) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
                assert!(self.0.swap(true, Ordering::Relaxed), "the codec's own");
                Codec::decode(&Json, bytes)
            }
        }

        let probe = Probe::prompt();
        let store = Encoded::new(probe.clone(), Panicky(AtomicBool::new(false)));
        let mut changes: Changes<u32> = store.watch(Start::Now).wait().unwrap();
        let version = probe.set("a", seven());

        assert!(catch_unwind(AssertUnwindSafe(|| next_of(&mut changes))).is_err());

        assert_eq!(next_of(&mut changes).unwrap().changes[0].version, version);
        let next = probe.set("a", seven());
        assert_eq!(next_of(&mut changes).unwrap().changes[0].version, next);
    }

    #[test]
    fn abilities_are_those_of_the_store_below() {
        let probe = Probe::prompt();

        assert_eq!(Store::<u32>::abilities(&over(&probe)), probe.abilities());
    }

    #[test]
    fn writers_of_one_id_through_blind_and_exact_writes_lose_no_update() {
        let store: &dyn Store<u32> = &over(&Probe::prompt());
        store.commit(put("a", Expected::Absent, 0)).wait().unwrap();

        let increment = || {
            for _ in 0..200 {
                loop {
                    let before = store.get("a").wait().unwrap().unwrap();
                    let next =
                        put("a", before.version, *before.value + 1).and(Entry::delete("b", Expected::Any));
                    match store.commit(next).wait() {
                        Ok(_) => break,
                        Err(Error::Conflict(conflict)) => assert_eq!(conflict.mismatches().len(), 1),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(increment);
            }
        });

        assert_eq!(*store.get("a").wait().unwrap().unwrap().value, 800);
    }

    #[test]
    fn debug_shows_the_layer_and_no_value() {
        let shown = format!("{:?}", Encoded::new(Memory::<[u8]>::new(), Json));

        assert_eq!(shown, "Encoded { store: Memory { resources: 0, .. }, .. }");
    }
}
