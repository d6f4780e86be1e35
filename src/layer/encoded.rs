//! [`Encoded`], a store of values over a store of bytes.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::codec::Codec;
use crate::commit::{Action, Commit, Committed, Entry};
use crate::conflict::Conflict;
use crate::error::{Corrupt, Error, Refusal};
use crate::feed::{Batch, Change, ChangeKind, Changes, Feed, Start};
use crate::layer::narrowed::Narrowed;
use crate::reply::Reply;
use crate::resource::Resource;
use crate::store::{Abilities, Page, Resolution, Store};
use crate::version::Versioned;
use crate::write_id::WriteId;

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
///   while others write the same ids in between, at most 64 times; then the last conflict is returned. Entries that
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
    /// use ifmatch::{Commit, Encoded, Entry, Error, Expected, Json, Memory, Refusal, Store};
    ///
    /// let store = Encoded::new(Memory::<[u8]>::new(), Json).with_max_bytes(4);
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
        let Entry { id, expectation, action } = entry;
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
        Ok(Entry { id, expectation, action })
    }

    fn decode<T: Resource>(&self, id: &str, stored: &Versioned<[u8]>) -> Result<Versioned<T>, Corrupt>
    where
        C: Codec<T>,
    {
        let value =
            self.codec.decode(&stored.value).map_err(|source| Corrupt::new(id, stored.version, source))?;
        Ok(Versioned::new(stored.version, value))
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
            Changes::new(cursor, Decoding { changes, codec: Arc::clone(&self.codec) })
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
}

impl<T: Resource, C: Codec<T>> Feed<T> for Decoding<C> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let batch = std::task::ready!(self.changes.poll_next(context))?;
        let decode = |change: Change<[u8]>| {
            let kind = match change.kind {
                // No value where the bytes do not decode: a `get` says what is wrong with them.
                ChangeKind::Put(bytes) => {
                    ChangeKind::Put(bytes.and_then(|bytes| self.codec.decode(&bytes).ok().map(Arc::new)))
                }
                ChangeKind::Delete => ChangeKind::Delete,
            };
            Change { id: change.id, version: change.version, kind }
        };
        let changes = batch.changes.into_iter().map(decode).collect();
        Poll::Ready(Ok(Batch { cursor: batch.cursor, changes }))
    }
}
