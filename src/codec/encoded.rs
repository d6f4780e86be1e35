//! [`Encoded`], a store of values over a store of bytes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::codec::codec::Codec;
use crate::codec::narrowed::Narrowed;
use crate::store::{
    Abilities, Action, Batch, Change, ChangeKind, Changes, Commit, Committed, Conflict, Corrupt, Entry,
    Error, Expected, Feed, Page, Refusal, Reply, Resolution, Resource, Start, Store, Versioned, WriteId,
};

/// The most bytes of an encoded value, unless the program says otherwise: 1 MiB.
const MAX_BYTES: usize = 1 << 20;

/// A store of values over a store of bytes, with a [`Codec`] between them.
///
/// Values are encoded on the way down and decoded on the way up, those in a [`Conflict`] and in a feed included. A
/// value of more than 1 MiB is refused before anything is sent; [`with_max_bytes`](Self::with_max_bytes) changes that.
///
/// # Bytes that do not decode
///
/// They are never lost by accident: they stay as they are until a write expects exactly their version, which the
/// [`Corrupt`] error tells.
///
/// - `get` fails with [`Error::Corrupt`].
/// - `scan` ends its page just before them; where they would be the first of a page, it fails with
///   [`Error::Corrupt`], and the scan can go on after that id.
/// - A put or delete that expects [`Any`](crate::Expected::Any) or [`Present`](crate::Expected::Present) fails with
///   [`Error::Corrupt`]. To know, it costs a read for each such entry, and is then sent with the version found, again
///   while others write the same ids in between, at most 256 times; then the last conflict is returned. Entries that
///   expect a version or an absence cost nothing more. Put a policy like
///   [`Guarded::require_expectation`](crate::Guarded::require_expectation) above this layer, since below it all
///   writes expect something.
/// - In a conflict, [`current`](Conflict::current) is `None`.
/// - In a feed, the change has no value.
///
/// # Errors
///
/// Beside those of the store below: [`Error::Corrupt`] (500); [`Refusal::TooLarge`] (413) and [`Refusal::Encode`]
/// (422), with nothing sent. Retrying helps for none of them.
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
    max_bytes: usize,
}

impl<S: Store<[u8]>, C> Encoded<S, C> {
    /// A store of what `codec` encodes, kept in `store`.
    pub fn new(store: S, codec: C) -> Self {
        Self { store, codec: Arc::new(codec), max_bytes: MAX_BYTES }
    }

    /// The same with another limit to the size of an encoded value. Values that are stored already are read whatever
    /// their size.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Commit, Encoded, Entry, Error, Expected, Json, Memory, Store};
    /// use ifmatch::store::Refusal;
    ///
    /// let store: &dyn Store<String> = &Encoded::new(Memory::<[u8]>::new(), Json).with_max_bytes(4);
    ///
    /// let five = Commit::one(Entry::put("a", Expected::Absent, "abc".to_string().into()));
    /// let error = store.commit(five).wait().unwrap_err();
    /// assert!(matches!(error, Error::Refused(Refusal::TooLarge { bytes: 5, limit: 4, .. })));
    /// # }
    /// ```
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes, ..self }
    }

    fn encode<'a, T: Resource>(&self, entry: Entry<'a, T>) -> Result<Entry<'a, [u8]>, Refusal>
    where
        C: Codec<T>,
    {
        let Entry { id, condition, action } = entry;
        let action = match action {
            Action::Check => Action::Check,
            Action::Delete => Action::Delete,
            Action::Put(value) => {
                let bytes =
                    self.codec.encode(&value).map_err(|source| Refusal::Encode { id: id.into(), source })?;
                if bytes.len() > self.max_bytes {
                    return Err(Refusal::TooLarge {
                        id: id.into(),
                        bytes: bytes.len(),
                        limit: self.max_bytes,
                    });
                }
                Action::Put(bytes.into())
            }
        };
        Ok(Entry { id, condition, action })
    }

    fn decode<T: Resource>(&self, id: &str, stored: &Versioned<[u8]>) -> Result<Versioned<T>, Corrupt>
    where
        C: Codec<T>,
    {
        let value =
            self.codec.decode(&stored.value).map_err(|source| Corrupt::new(id, stored.version, source))?;
        Ok(Versioned::new(stored.version, value))
    }

    /// Sends the check that stands for a write of what was there already, or where the stored bytes are of an old schema
    /// a put of the same value in its place.
    fn commit_unchanged<'a, T: Resource>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed>
    where
        C: Codec<T>,
    {
        let [Entry { id, .. }] = *commit.entries() else { return self.store.commit(commit) };
        self.store.get(id).and_then(move |found| {
            let renewed = found.and_then(|stored| self.renewed::<T>(&commit, &stored));
            self.store.commit(renewed.unwrap_or(commit))
        })
    }

    /// The put of a stored value in the schema of today; `None` where it is in it, or another one than was expected.
    fn renewed<'a, T: Resource>(
        &self,
        commit: &Commit<'a, [u8]>,
        stored: &Versioned<[u8]>,
    ) -> Option<Commit<'a, [u8]>>
    where
        C: Codec<T>,
    {
        let [Entry { id, condition, .. }] = *commit.entries() else { return None };
        let old = self.codec.schema_of(&stored.value) < self.codec.schema();
        if !old || condition.expected != Expected::Version(stored.version) {
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

    /// Sends a commit with blind writes: narrowed to what is seen, for as long as others come in between.
    fn commit_narrowed<'a, T: Resource>(&'a self, narrowed: Narrowed<'a>) -> Reply<'a, Committed>
    where
        C: Codec<T>,
    {
        self.read_unread(narrowed).and_then(move |mut narrowed| {
            let sent = self.store.commit(narrowed.commit());
            // The error goes on as an answer, since another call may follow it.
            sent.then(Ok).and_then(move |answer: Result<Committed, Error>| match answer {
                Err(Error::Conflict(conflict)) => {
                    match narrowed.refused(conflict, |id, stored| self.decode::<T>(id, stored).map(drop)) {
                        Ok(()) => self.commit_narrowed(narrowed),
                        Err(error) => Reply::ready(Err(error)),
                    }
                }
                answer => Reply::ready(answer),
            })
        })
    }

    /// Reads what the blind writes of a commit would overwrite, as far as it is not known.
    fn read_unread<'a, T: Resource>(&'a self, mut narrowed: Narrowed<'a>) -> Reply<'a, Narrowed<'a>>
    where
        C: Codec<T>,
    {
        let decode = |id: &str, stored: &Versioned<[u8]>| self.decode::<T>(id, stored).map(drop);
        let mut start = 0;
        while let Some((place, id)) = narrowed.unread(start) {
            let pending = match self.store.get(id).into_ready() {
                Ok(answer) => match answer.and_then(|found| narrowed.read(place, found, decode)) {
                    Ok(()) => {
                        start = place;
                        continue;
                    }
                    Err(error) => return Reply::ready(Err(error)),
                },
                Err(pending) => pending,
            };
            return Reply::pending(async move {
                narrowed.read(place, pending.await?, decode)?;
                let mut start = place;
                while let Some((place, id)) = narrowed.unread(start) {
                    narrowed.read(place, self.store.get(id).await?, decode)?;
                    start = place;
                }
                Ok(narrowed)
            });
        }
        Reply::ready(Ok(narrowed))
    }
}

impl<T: Resource, S: Store<[u8]>, C: Codec<T>> Store<T> for Encoded<S, C> {
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
        let reply = match Narrowed::new(encoded) {
            Ok(narrowed) => self.commit_narrowed(narrowed),
            Err(encoded) if encoded.is_unchanged() && self.codec.schema() > 0 => {
                self.commit_unchanged(encoded)
            }
            Err(encoded) => self.store.commit(encoded),
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

    fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<T>> {
        self.store.scan(prefix, after, limit).then(|page| {
            let Page { items, more } = page?;
            let mut decoded = Page { items: Vec::with_capacity(items.len()), more };
            for (id, stored) in items {
                match self.decode(&id, &stored) {
                    Ok(value) => decoded.items.push((id, value)),
                    Err(corrupt) if decoded.items.is_empty() => return Err(corrupt.into()),
                    // The next page begins with it, and says so.
                    Err(_) => {
                        decoded.more = true;
                        break;
                    }
                }
            }
            Ok(decoded)
        })
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.store.watch(from).map(|changes| {
            let cursor = changes.cursor().clone();
            Changes::new(cursor, Decoding { changes, codec: Arc::clone(&self.codec), batch: None })
        })
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Encoded<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("store", &self.store)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

/// The conflict with values for bytes, and without a value where the bytes do not decode.
fn decoded<T: Resource>(conflict: Conflict, codec: &impl Codec<T>) -> Conflict {
    conflict.map(|mismatch| {
        mismatch.map_current(|stored: Versioned<[u8]>| {
            Some(Versioned::new(stored.version, codec.decode(&stored.value).ok()?))
        })
    })
}

/// The feed of the store below, with values for bytes.
struct Decoding<C> {
    changes: Changes<[u8]>,
    codec: Arc<C>,
    /// Taken from below and not delivered yet: a codec that panics must not make a gap.
    batch: Option<Batch<[u8]>>,
}

impl<T: Resource, C: Codec<T>> Feed<T> for Decoding<C> {
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
                    let value = bytes.as_ref().and_then(|bytes| self.codec.decode(bytes).ok());
                    ChangeKind::Put(value.map(Arc::new))
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
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::codec::json::Json;
    use crate::layer::probe::{self, Probe, at_once, is_pending, next_of};
    use crate::memory::Memory;
    use crate::store::{Advice, Condition, Intent, Kind, Origin};

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
    fn a_value_over_the_limit_is_refused_before_anything_is_sent() {
        let probe = Probe::prompt();
        let store: &dyn Store<String> = &over(&probe).with_max_bytes(10);
        let text = |length: usize| Arc::new("x".repeat(length));

        let fits = store.commit(Commit::one(Entry::put("a", Expected::Any, text(8)))).wait();
        probe.calls();
        let both =
            Commit::one(Entry::delete("a", Expected::Any)).and(Entry::put("b", Expected::Any, text(9)));
        let error = store.commit(both).wait().unwrap_err();

        assert!(fits.is_ok());
        assert!(
            matches!(&error, Error::Refused(Refusal::TooLarge { id, bytes: 11, limit: 10 }) if &**id == "b")
        );
        assert_eq!(probe.calls(), [""; 0]);
    }

    #[test]
    fn the_limit_is_one_mebibyte_unless_set() {
        let store: &dyn Store<String> = &over(&Probe::prompt());
        let text = |length: usize| Commit::one(Entry::put("a", Expected::Absent, "x".repeat(length).into()));

        let over = store.commit(text((1 << 20) - 1)).wait().unwrap_err();

        assert!(matches!(over, Error::Refused(Refusal::TooLarge { bytes: 1_048_577, limit: 1_048_576, .. })));
        assert!(store.commit(text((1 << 20) - 2)).wait().is_ok());
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
    fn only_a_write_that_expects_their_version_changes_bytes_that_do_not_decode() {
        for (probe, write) in [
            (Probe::prompt(), None),
            (Probe::prompt(), Some(WriteId::after(None))),
            (Probe::late(), None),
            (Probe::late(), Some(WriteId::after(None))),
            (Probe::tacit(), Some(WriteId::after(None))),
        ] {
            let store = over(&probe);
            let version = probe.set("a", ODD);
            let stamped = |commit: Commit<'static, u32>| match write {
                Some(_) => commit.with_write(WriteId::after(None)),
                None => commit,
            };

            for expected in [Expected::Any, Expected::Present] {
                for blind in [put("a", expected, 1), Commit::one(Entry::delete("a", expected))] {
                    let corrupt = corrupt(commit(&store, stamped(blind)));
                    assert_eq!((corrupt.id(), corrupt.version()), ("a", version));
                }
            }
            let sent = probe.calls().iter().any(|call| call.starts_with("commit"));
            assert_eq!(sent, write.is_some(), "nothing is sent that the store could not recognise");
            assert_eq!(probe.peek("a").unwrap().version, version);

            let replaced = commit(&store, stamped(put("a", version, 1))).unwrap().version().unwrap();
            assert_eq!(get(&store, "a").unwrap(), Some(Versioned::new(replaced, 1)));
            let version = probe.set("a", ODD);
            commit(&store, stamped(Commit::one(Entry::delete("a", version)))).unwrap();
            assert!(probe.peek("a").is_none());
        }
    }

    #[test]
    fn blind_writes_of_good_bytes_and_of_nothing_apply() {
        for probe in [Probe::prompt(), Probe::late(), Probe::tacit()] {
            let store = over(&probe);
            let old = probe.set("old", seven());
            probe.set("gone", seven());
            probe.delete("gone");

            let blind = put("new", Expected::Any, 2)
                .and(Entry::put("old", Expected::Present, 1.into()))
                .and(Entry::delete("gone", Expected::Any))
                .and(Entry::check("checked", Expected::Any));
            let committed = commit(&store, blind).unwrap();

            assert_eq!(committed.receipts()[1].replaced, Some(old));
            assert_eq!(committed.receipts()[0].replaced, None);
            let exact = format!(
                "commit new if no value, old if version {old}, gone if no value, checked if anything"
            );
            assert_eq!(probe.calls(), ["get new", "get old", "get gone", &exact]);
            assert_eq!(*get(&store, "old").unwrap().unwrap().value, 1);
            assert_eq!(*get(&store, "new").unwrap().unwrap().value, 2);
        }
    }

    #[test]
    fn a_commit_without_blind_writes_costs_no_read_and_stays_ready() {
        let probe = Probe::prompt();
        let store: &dyn Store<u32> = &over(&probe);
        let version = probe.set("b", ODD);

        let exact = put("a", Expected::Absent, 1)
            .and(Entry::check("b", Expected::Present))
            .and(Entry::check("c", Expected::Any));
        at_once(store.commit(exact)).unwrap();
        at_once(store.commit(Commit::one(Entry::delete("b", version)))).unwrap();

        let sent =
            ["commit a if no value, b if a value, c if anything", &format!("commit b if version {version}")];
        assert_eq!(probe.calls(), sent);
    }

    #[test]
    fn ready_stays_ready_and_pending_pending() {
        let prompt = Probe::prompt();
        let store: &dyn Store<u32> = &over(&prompt);
        prompt.set("a", seven());
        let mut rival = 3;
        prompt.before_commits(move |memory| {
            rival -= 1;
            if rival > 0 {
                probe::set(memory, "a", seven());
            }
        });

        at_once(store.commit(put("a", Expected::Present, 1).and(Entry::delete("b", Expected::Any)))).unwrap();
        at_once(store.get("a")).unwrap();
        at_once(store.scan("", None, 1)).unwrap();
        at_once(store.resolve(WriteId::after(None))).unwrap();
        let _ = at_once(store.watch(Start::Now)).unwrap();

        let late = Probe::late();
        let store: &dyn Store<u32> = &over(&late);
        assert!(is_pending(store.commit(put("a", Expected::Any, 1))));
        assert!(is_pending(store.get("a")));
    }

    #[test]
    fn a_blind_write_that_is_outrun_is_sent_again_from_what_the_conflict_tells() {
        for probe in [Probe::prompt(), Probe::late()] {
            probe.set("a", seven());
            let mut steps = vec!["set", "delete", "set"];
            probe.before_commits(move |memory| match steps.pop() {
                Some("set") => _ = probe::set(memory, "a", seven()),
                Some(_) => probe::delete(memory, "a"),
                None => {}
            });

            commit(&over(&probe), put("a", Expected::Any, 1)).unwrap();

            let calls = probe.calls();
            assert_eq!(calls.iter().filter(|call| call.starts_with("commit")).count(), 4, "{calls:?}");
            assert_eq!(calls.iter().filter(|call| call.starts_with("get")).count(), 1, "{calls:?}");
            assert_eq!(*probe.peek("a").unwrap().value, *b"1");
        }
    }

    #[test]
    fn where_conflicts_tell_no_value_an_outrun_write_reads_again() {
        let probe = Probe::tacit();
        let mut rivals = 2;
        probe.before_commits(move |memory| {
            if rivals > 0 {
                rivals -= 1;
                probe::set(memory, "a", seven());
            }
        });

        commit(&over(&probe), put("a", Expected::Any, 1)).unwrap();

        assert_eq!(probe.calls().iter().filter(|call| *call == "get a").count(), 3);
        assert_eq!(*probe.peek("a").unwrap().value, *b"1");
    }

    #[test]
    fn bytes_that_stop_decoding_between_read_and_commit_are_not_overwritten() {
        for expected in [Expected::Any, Expected::Present] {
            for before in [None, Some(seven())] {
                let probe = Probe::prompt();
                if let Some(before) = before {
                    probe.set("a", before);
                }
                probe.before_commits(|memory| _ = probe::set(memory, "a", ODD));

                corrupt(commit(&over(&probe), put("a", expected, 1)));

                assert_eq!(*probe.peek("a").unwrap().value, *ODD);
            }
        }
    }

    #[test]
    fn bytes_that_are_mended_between_read_and_commit_are_overwritten() {
        let probe = Probe::prompt();
        probe.set("a", ODD);
        let mut mended = false;
        probe.before_commits(move |memory| {
            if !std::mem::replace(&mut mended, true) {
                probe::set(memory, "a", seven());
            }
        });

        commit(&over(&probe), put("a", Expected::Present, 1).with_write(WriteId::after(None))).unwrap();

        assert_eq!(*probe.peek("a").unwrap().value, *b"1");
    }

    #[test]
    fn a_value_that_appears_after_the_read_is_found_by_a_write_that_requires_one() {
        let probe = Probe::prompt();
        let mut appeared = false;
        probe.before_commits(move |memory| {
            if !std::mem::replace(&mut appeared, true) {
                probe::set(memory, "a", seven());
            }
        });

        commit(&over(&probe), put("a", Expected::Present, 1)).unwrap();

        assert_eq!(*probe.peek("a").unwrap().value, *b"1");
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
    fn a_required_value_that_is_deleted_after_the_read_is_the_callers_own_conflict() {
        let probe = Probe::prompt();
        probe.set("a", seven());
        probe.before_commits(|memory| probe::delete(memory, "a"));

        let conflict = conflict(commit(&over(&probe), put("a", Expected::Present, 1)));

        assert_eq!((conflict.kind(), conflict.expected()), (&Kind::Deleted, Expected::Present));
        assert_eq!(conflict.attempts(), 1);
    }

    #[test]
    fn only_what_the_caller_expected_itself_is_in_the_conflict() {
        let probe = Probe::prompt();
        let [stale, current] = [(); 2].map(|()| probe.set("b", seven()));
        probe.before_commits(|memory| _ = probe::set(memory, "a", seven()));

        let both = put("a", Expected::Any, 1).and(Entry::put("b", stale, 1.into()));
        let conflict = conflict(commit(&over(&probe), both));

        let [mismatch] = conflict.mismatches() else { panic!("{conflict}") };
        assert_eq!((mismatch.id(), mismatch.expected()), ("b", Expected::Version(stale)));
        assert_eq!(mismatch.current::<u32>(), Some(Versioned::new(current, 7)));
        assert_eq!(conflict.retry(), Advice::Refetch);
    }

    #[test]
    fn a_write_that_is_outrun_for_ever_ends_in_a_conflict() {
        let probe = Probe::prompt();
        probe.before_commits(|memory| _ = probe::set(memory, "a", seven()));

        let conflict = conflict(commit(&over(&probe), put("a", Expected::Any, 1)));

        assert_eq!((conflict.attempts(), conflict.retry()), (256, Advice::Wait));
        assert_eq!(conflict.current::<u32>().map(|current| *current.value), Some(7));
        assert_eq!(probe.calls().len(), 257);
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

        let page = store.scan("", None, 10).wait().unwrap();
        let error = corrupt(store.scan("", page.next(), 10).wait());
        let rest = store.scan("", Some(error.id()), 10).wait().unwrap();

        let ids = |page: &Page<u32>| page.items.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(&page), ["a", "b"]);
        assert!(page.more);
        assert_eq!((error.id(), error.version()), ("c", odd));
        assert_eq!(ids(&rest), ["d"]);
        assert!(!rest.more);
        assert!(store.scan("", None, 1).wait().unwrap().more);
        assert_eq!(*rest.items[0].1.value, 7);
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
                Json.encode(value)
            }

            fn decode(&self, bytes: &[u8]) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
                assert!(self.0.swap(true, Ordering::Relaxed), "the codec's own");
                Json.decode(bytes)
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
    fn a_store_that_is_late_only_at_times_is_read_and_written_all_the_same() {
        for prompt_calls in 0..6 {
            let probe = Probe::prompt_for(prompt_calls);
            let store: &dyn Store<u32> = &over(&probe);
            probe.set("b", seven());
            let mut rivals = 2;
            probe.before_commits(move |memory| {
                if rivals > 0 {
                    rivals -= 1;
                    probe::set(memory, "b", seven());
                }
            });

            let blind = put("a", Expected::Any, 1)
                .and(Entry::put("b", Expected::Present, 2.into()))
                .and(Entry::delete("c", Expected::Any));
            store.commit(blind).wait().unwrap();

            assert_eq!(probe.calls().len(), 6);
            assert_eq!(*store.get("b").wait().unwrap().unwrap().value, 2);
        }
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

        assert!(shown.contains("max_bytes: 1048576"), "{shown}");
    }
}
