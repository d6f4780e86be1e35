//! [`Schema`], a codec that writes down which schema a value is in.

use std::error::Error as StdError;
use std::fmt;

use super::codec::Codec;
use crate::store::NewerSchema;

/// What stands before the number.
const HEADING: u8 = 1;

/// What stands between the number and the value.
const TEXT: u8 = 2;

/// A codec that writes the number of a schema before each value, and reads values of older schemas through a closure.
///
/// The stored bytes are U+0001, the number in decimal digits, U+0002 and what the codec within makes of the value: text
/// stays text. Bytes that do not begin so are of schema 0. That are all values which were stored before there was a
/// number, as long as their codec never began them with U+0001: [`Json`](crate::Json) doesn't. So schema 0 is written bare.
///
/// Values are read in any schema, and written in the new one: by every write that puts a value, and by a
/// [`modify`](crate::Collection::modify) or a [`Draft`](crate::Draft) that leaves the value as it is. So passing over
/// all ids once with `modify(id, |_| ())` brings everything up to date, while others read and write. A transaction
/// rewrites what it changes. An unchanged write of a value that is up to date writes nothing. Every write but a deletion and a
/// creation costs one more read than without a schema.
///
/// In a collection of a [`Database`](crate::Database) that was [defined](crate::Database::define) with steps, rules, leases or a
/// history among them, an unchanged write rewrites nothing either: those would let pass, and record, no write. Its values are
/// brought up to date by whatever puts them, as [`replace`](crate::Collection::replace) with the value that was read.
///
/// # Two releases side by side
///
/// A release that was rolled back, or runs beside its successor for a while, does not know what that wrote: a value in a
/// newer schema than the codec's is [`Corrupt`](crate::Error::Corrupt) with a
/// [`newer_schema`](crate::store::Corrupt::newer_schema), HTTP status 503. It is not overwritten either:
/// [`Encoded`](crate::Encoded) looks before each put at what that would write over, and fails in the same way, whether the
/// put names a version, `Present` or nothing. That is so over a store that answers as it stands: a
/// [`Cached`](crate::Cached) comes above the codec. Two things get by:
///
/// - A deletion, which is asked to take the whole away. Who wants to write over such a value deletes it first.
/// - A put that names no version, where the later release writes between that look and the put. One with a version does not.
///
/// A release whose codec tells no schemas apart, as [`Json`](crate::Json) alone, looks at nothing, and takes a value with a
/// number for damaged: its puts overwrite it.
///
/// So that no instance meets values which it can't read, a new schema comes in two steps. The first release reads it, and still
/// [writes](Self::writing) the old one. Once all instances are of that release, the next one writes the new schema.
///
/// # Errors
///
/// A value that the closure fails for is [`Corrupt`](crate::Error::Corrupt), as is damage: a write that names its version, or
/// none, overwrites it.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use ifmatch::{Collection, Encoded, Json, Memory, Schema};
/// use ifmatch::codec::Codec;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// struct Note {
///     title: String,
///     text: String,
/// }
///
/// // The notes of the first release were plain text.
/// let bytes = std::sync::Arc::new(Memory::<[u8]>::new());
/// let plain = Collection::<String>::json(bytes.clone());
/// let first = plain.create("readme", "hello".to_string()).wait()?;
///
/// let schema = Schema::new(1, Json, |number, bytes| match number {
///     0 => Ok(Note { title: "untitled".to_string(), text: Json.decode(bytes)? }),
///     _ => Err("there was no such schema".into()),
/// });
/// let notes = Collection::<Note>::new(Encoded::new(bytes.clone(), schema));
///
/// let readme = notes.fetch("readme").wait()?;
/// assert_eq!((readme.version, readme.value.text.as_str()), (first.version, "hello"));
/// let rewritten = notes.modify("readme", |_| ()).wait()?;
/// assert_ne!(rewritten.version, first.version);
/// assert_eq!(notes.modify("readme", |_| ()).wait()?, rewritten); // it is up to date
/// # }
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Schema<C, M> {
    number: u32,
    codec: C,
    migrate: M,
}

impl<C, M> Schema<C, M> {
    /// Values in the schema of this number, as `codec` encodes them. `migrate` is given the number of an older schema and
    /// the bytes of a value in it, without what stands before them.
    pub fn new<T>(number: u32, codec: C, migrate: M) -> Self
    where
        C: Codec<T>,
        M: Fn(u32, &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    {
        Self { number, codec, migrate }
    }

    /// The codec of the release before: it reads this schema, and still writes an older one, so that what runs beside it can
    /// read that. See [above](Self#two-releases-side-by-side). `encode` gives a value in the older schema, with nothing in it
    /// that a release of then would drop.
    ///
    /// What the older schema can't hold is refused with [`Refusal::Encode`](crate::store::Refusal::Encode), 422: each value is
    /// decoded once more as it is put, and has to be the same. A value that is stored in the new schema is read, and written in
    /// the older one if that can hold it.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Collection, Encoded, Json, Memory, Schema};
    /// use ifmatch::codec::Codec;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Plain {
    ///     text: String,
    /// }
    ///
    /// #[derive(Clone, PartialEq, Serialize, Deserialize)]
    /// struct Tagged {
    ///     text: String,
    ///     tags: Vec<String>,
    /// }
    ///
    /// let untagged = |_: u32, bytes: &[u8]| {
    ///     let Plain { text } = Json.decode(bytes)?;
    ///     Ok(Tagged { text, tags: Vec::new() })
    /// };
    /// let schema = Schema::new(1, Json, untagged)
    ///     .writing(0, |note: &Tagged| Json.encode(&Plain { text: note.text.clone() }));
    /// let bytes = std::sync::Arc::new(Memory::<[u8]>::new());
    /// let notes = Collection::<Tagged>::new(Encoded::new(bytes.clone(), schema));
    ///
    /// notes.create("readme", Tagged { text: "hello".to_string(), tags: Vec::new() }).wait()?;
    /// let before = Collection::<Plain>::json(bytes); // the release before reads it
    /// assert_eq!(before.fetch("readme").wait()?.value.text, "hello");
    ///
    /// let tagged = notes.modify("readme", |note| note.tags.push("new".to_string())).wait();
    /// assert!(tagged.is_err()); // that has to wait for the next release
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn writing<T: PartialEq>(
        self,
        number: u32,
        encode: impl Fn(&T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    ) -> impl Codec<T>
    where
        C: Codec<T>,
        M: Fn(u32, &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
    {
        Writing { schema: self, number, encode }
    }
}

/// A codec that reads a schema, and writes an older one.
struct Writing<S, F> {
    schema: S,
    number: u32,
    encode: F,
}

impl<T, S, F> Codec<T> for Writing<S, F>
where
    T: PartialEq,
    S: Codec<T>,
    F: Fn(&T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
{
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        let bytes = headed(self.number, (self.encode)(value)?);
        match self.schema.decode(&bytes)? == *value {
            true => Ok(bytes),
            false => Err(Unheld { number: self.number }.into()),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> {
        self.schema.decode(bytes)
    }

    fn schema(&self) -> Option<u32> {
        Some(self.number)
    }

    fn schema_of(&self, bytes: &[u8]) -> u32 {
        self.schema.schema_of(bytes)
    }
}

impl<T, C, M> Codec<T> for Schema<C, M>
where
    C: Codec<T>,
    M: Fn(u32, &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
{
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        Ok(headed(self.number, self.codec.encode(value)?))
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> {
        match numbered(bytes) {
            (number, value) if number == self.number => self.codec.decode(value),
            (number, value) if number < self.number => (self.migrate)(number, value),
            (number, _) => Err(NewerSchema { number, known: self.number }.into()),
        }
    }

    fn schema(&self) -> Option<u32> {
        Some(self.number)
    }

    fn schema_of(&self, bytes: &[u8]) -> u32 {
        numbered(bytes).0
    }
}

/// A value in the schema of this number.
fn headed(number: u32, encoded: Vec<u8>) -> Vec<u8> {
    // As it was stored before there was a number, so that a release of then can read it.
    if number == 0 && encoded.first() != Some(&HEADING) {
        return encoded;
    }
    let number = number.to_string();
    let mut bytes = Vec::with_capacity(number.len() + 2 + encoded.len());
    bytes.push(HEADING);
    bytes.extend(number.bytes());
    bytes.push(TEXT);
    bytes.extend(encoded);
    bytes
}

/// The number of a schema, and the value in it.
fn numbered(bytes: &[u8]) -> (u32, &[u8]) {
    let numbered = || {
        let (heading, rest) = bytes.split_first()?;
        let end = rest.iter().take(11).position(|byte| *byte == TEXT).filter(|_| *heading == HEADING)?;
        let digits = str::from_utf8(&rest[..end])
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        Some((digits.parse().ok()?, &rest[end + 1..]))
    };
    numbered().unwrap_or((0, bytes))
}

/// A value that an older schema can't hold.
#[derive(Debug, thiserror::Error)]
#[error("schema {number} can't hold it: it would not read back as it is")]
struct Unheld {
    number: u32,
}

impl<C: fmt::Debug, M> fmt::Debug for Schema<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema")
            .field("number", &self.number)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::codec::encoded::Encoded;
    use crate::codec::json::Json;
    use crate::collection::testing::{Fault, Jumping, Scripted};
    use crate::collection::{Collection, Database, Retry};
    use crate::memory::Memory;
    use crate::store::{Commit, Entry, Error, Expected, Outcome, Refusal, Store, Version, WriteId};

    fn schema(number: u32) -> impl Codec<u64> {
        // Each schema counts in units ten times as small as the one before.
        Schema::new(number, Json, move |old, bytes| {
            let value: u64 = Json.decode(bytes)?;
            Ok(value * 10u64.pow(number - old))
        })
    }

    fn over(bytes: &Arc<Memory<[u8]>>, number: u32) -> Collection<u64> {
        Collection::new(Encoded::new(Arc::clone(bytes), schema(number)))
    }

    /// These bytes are in stores: add to the list, never change it.
    #[test]
    fn values_of_every_schema_are_read_for_ever() {
        let golden: [(&[u8], u32, u64); 5] = [
            (b"7", 0, 7_000),
            (b" 7", 0, 7_000),
            (b"\x010\x027", 0, 7_000),
            (b"\x011\x027", 1, 700),
            (b"\x013\x027", 3, 7),
        ];

        for (bytes, number, value) in golden {
            assert_eq!((schema(3).schema_of(bytes), schema(3).decode(bytes).unwrap()), (number, value));
        }
        assert_eq!(schema(3).encode(&7).unwrap(), b"\x013\x027");
        assert_eq!(schema(0).encode(&7).unwrap(), b"7");
        assert_eq!(headed(0, b"\x01".to_vec()), b"\x010\x02\x01");
        assert_eq!(schema(u32::MAX).encode(&7).unwrap(), b"\x014294967295\x027");
        assert_eq!(schema(u32::MAX).schema_of(b"\x014294967295\x027"), u32::MAX);
    }

    #[test]
    fn what_only_looks_like_a_number_is_of_schema_0() {
        let none: [&[u8]; 8] = [
            b"",
            b"\x01",
            b"\x01\x027",
            b"\x017",
            b"\x01+1\x02",
            b"\x014294967296\x02",
            b"\x01-1\x02",
            b"\x021\x02",
        ];

        for bytes in none {
            assert_eq!(numbered(bytes), (0, bytes));
        }
    }

    #[test]
    fn a_write_rewrites_an_old_value_also_where_it_changes_nothing() {
        let ways: [fn(&Collection<u64>) -> Version; 3] = [
            |numbers| numbers.modify("a", |_| ()).wait().unwrap().version,
            |numbers| numbers.edit("a").wait().unwrap().commit().wait().unwrap().version,
            |numbers| numbers.put("a", 70).wait().unwrap().version,
        ];
        for write in ways {
            let bytes = Arc::new(Memory::<[u8]>::new());
            Collection::<u64>::json(bytes.clone()).create("a", 7).wait().unwrap();
            let numbers = over(&bytes, 1);
            let before = numbers.fetch("a").wait().unwrap();

            let version = write(&numbers);

            let now = numbers.fetch("a").wait().unwrap();
            assert_eq!((*before.value, *now.value, now.version), (70, 70, version));
            assert_ne!(before.version, version);
            let stored = Collection::<[u8]>::new(bytes.clone()).fetch("a").wait().unwrap();
            assert_eq!(*stored.value, *b"\x011\x0270");
            // From then on it is up to date.
            assert_eq!(numbers.modify("a", |_| ()).wait().unwrap(), now);
            assert_eq!(numbers.fetch("a").wait().unwrap(), now);
        }
    }

    type UnchangedWrite = fn(&Collection<u64>) -> Result<Version, Error>;

    /// The ways to write without a change, and what they say of the version now.
    const UNCHANGED: [UnchangedWrite; 2] = [
        |numbers| Ok(numbers.modify("a", |_| ()).wait()?.version),
        |numbers| Ok(numbers.edit("a").wait()?.commit().wait()?.version),
    ];

    fn losing(store: &Arc<Scripted<[u8]>>) -> Collection<u64> {
        let retry = Retry::default().timer(Jumping::new()).random(|| u64::MAX);
        Collection::new(Encoded::new(Arc::clone(store), schema(1))).with_retry(retry)
    }

    #[test]
    fn an_unchanged_write_that_rewrites_is_settled_as_the_write_it_is() {
        for write in UNCHANGED {
            for (fault, sent) in [(Fault::LoseAnswer, 1), (Fault::LoseRequest, 2), (Fault::Fail, 2)] {
                let store = Arc::new(Scripted::<[u8]>::losing(&[Fault::None, fault]));
                Collection::<u64>::json(Arc::clone(&store)).create("a", 7).wait().unwrap();

                let version = write(&losing(&store)).unwrap();

                assert_eq!(store.get("a").wait().unwrap().unwrap().version, version, "{fault:?}");
                assert_eq!(store.sent(), 1 + sent, "{fault:?}");
            }
        }
    }

    #[test]
    fn an_unchanged_write_that_rewrites_and_cannot_be_settled_has_an_unknown_outcome() {
        for write in UNCHANGED {
            let mut store = Scripted::<[u8]>::losing(&[Fault::None, Fault::LoseAnswer]);
            store.forgets = true;
            let store = Arc::new(store);
            Collection::<u64>::json(Arc::clone(&store)).create("a", 7).wait().unwrap();

            let error = write(&losing(&store)).unwrap_err();

            assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
        }
    }

    #[test]
    fn an_unchanged_write_of_what_is_up_to_date_goes_under_no_write_id() {
        for write in UNCHANGED {
            for fault in [Fault::None, Fault::LoseAnswer] {
                let store = Arc::new(Scripted::<[u8]>::losing(&[Fault::None, fault]));
                let numbers = losing(&store);
                let created = numbers.create("a", 7).wait().unwrap();

                assert_eq!(write(&numbers).unwrap(), created.version);

                let writes = store.writes.lock();
                assert!(writes[0].is_some() && writes[1..].iter().all(Option::is_none), "{writes:?}");
            }
        }
    }

    #[test]
    fn an_unchanged_write_that_arrives_twice_is_answered_as_the_first_time() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        let old = Collection::<u64>::json(bytes.clone()).create("a", 7).wait().unwrap();
        let store: &dyn Store<u64> = &Encoded::new(bytes.clone(), schema(1));
        let twice = Commit::unchanged(Entry::check("a", &old)).with_write(WriteId::after(None));

        let first = store.commit(twice.clone()).wait().unwrap();
        assert_eq!(store.commit(twice).wait().unwrap(), first);

        let late = Commit::unchanged(Entry::check("a", &old)).with_write(WriteId::after(None));
        assert!(matches!(store.commit(late).wait(), Err(Error::Conflict(_))));
    }

    #[test]
    fn a_check_and_a_refusal_write_nothing() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        Collection::<u64>::json(bytes.clone()).create("a", 7).wait().unwrap();
        let numbers = over(&bytes, 1);
        let before = numbers.fetch("a").wait().unwrap();

        numbers
            .try_modify("a", |_| Err::<(), _>(Error::from(crate::store::NotFound::new("b"))))
            .wait()
            .unwrap_err();
        let check = crate::store::Entry::check("a", Expected::Present);
        numbers.commit(crate::store::Commit::one(check)).wait().unwrap();

        assert_eq!(numbers.fetch("a").wait().unwrap(), before);
    }

    fn newer(error: &Error) -> Option<NewerSchema> {
        match error {
            Error::Corrupt(corrupt) => corrupt.newer_schema(),
            _ => None,
        }
    }

    type WriteOver = fn(&Collection<u64>, Version) -> Result<Version, Error>;

    #[test]
    fn a_value_of_a_later_release_is_left_alone() {
        let writes: [WriteOver; 7] = [
            |numbers, _| Ok(numbers.modify("a", |_| ()).wait()?.version),
            |numbers, _| Ok(numbers.put("a", 1).wait()?.version),
            |numbers, found| Ok(numbers.replace("a", found, 1).wait()?.version),
            |numbers, _| Ok(numbers.replace("a", Expected::Present, 1).wait()?.version),
            |numbers, _| {
                let mut tx = numbers.transaction();
                tx.put("b", 1);
                tx.put("a", 1);
                tx.commit().wait().map(|committed| committed.receipts()[1].version.unwrap())
            },
            |numbers, found| {
                let put = Commit::one(Entry::put("a", found, 1.into()));
                Ok(numbers.commit(put.with_write(numbers.write_id())).wait()?.version().unwrap())
            },
            |numbers, _| {
                let put = Commit::one(Entry::put("a", Expected::Any, 1.into()));
                Ok(numbers.commit(put.with_write(numbers.write_id())).wait()?.version().unwrap())
            },
        ];
        for (database, write) in [false, true].into_iter().flat_map(|kind| writes.map(|write| (kind, write)))
        {
            let bytes = Arc::new(Memory::<[u8]>::new());
            let over = |number| match database {
                false => over(&bytes, number),
                true => {
                    let database = Database::new(Arc::clone(&bytes));
                    database.define("numbers").unwrap().open_with(schema(number)).unwrap()
                }
            };
            let (new, old) = (over(2), over(1));
            let created = new.create("a", 7).wait().unwrap();

            let error = write(&old, created.version).unwrap_err();

            assert_eq!(newer(&error), Some(NewerSchema { number: 2, known: 1 }), "{error:?}");
            assert!(error.to_string().starts_with("`a`"), "{error}");
            assert_eq!(new.fetch("a").wait().unwrap(), created);
            assert!(new.get("b").wait().unwrap().is_none());
            // Who expects something else hears of that.
            let stale = old.replace("a", "7".parse::<Version>().unwrap(), 1).wait().unwrap_err();
            assert_eq!(stale.conflict().unwrap().found(), Some(created.version));
            assert!(old.create("a", 1).wait().unwrap_err().conflict().is_some());
            // A deletion takes the whole away.
            old.delete("a", created.version).wait().unwrap();
            old.put("a", 1).wait().unwrap();
        }
    }

    #[test]
    fn damage_under_a_schema_gives_way_as_anywhere() {
        for odd in ["\u{1}1\u{2}odd", "\u{1}0\u{2}odd", "odd"] {
            for expects_version in [false, true] {
                let bytes = Arc::new(Memory::<[u8]>::new());
                let numbers = over(&bytes, 1);
                let stored = Collection::<[u8]>::new(Arc::clone(&bytes));
                let version =
                    stored.commit(Commit::one(Entry::put("a", Expected::Any, odd.as_bytes().into())));
                let version = version.wait().unwrap().version().unwrap();
                let error = numbers.fetch("a").wait().unwrap_err();
                assert!(matches!(error, Error::Corrupt(_)) && newer(&error).is_none(), "{error}");

                let expected = if expects_version { version.into() } else { Expected::Any };
                numbers.replace("a", expected, 7).wait().unwrap();

                assert_eq!(*numbers.fetch("a").wait().unwrap().value, 7);
            }
        }
    }

    #[test]
    fn a_put_that_was_applied_before_a_later_release_wrote_is_answered_as_it_was() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        let (old, new) = (over(&bytes, 1), over(&bytes, 2));
        let put = Commit::one(Entry::put("a", Expected::Any, 7.into())).with_write(old.write_id());
        let first = old.commit(put.clone()).wait().unwrap();
        new.put("a", 8).wait().unwrap();

        assert_eq!(old.commit(put).wait().unwrap(), first);

        assert_eq!(*new.fetch("a").wait().unwrap().value, 8);
    }

    #[test]
    fn a_release_that_still_writes_the_old_schema_is_read_by_the_one_before() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        let tens = |value: &u64| Json.encode(&(value / 10));
        let reads_it = |number: u32| {
            move |old, bytes: &[u8]| -> Result<u64, _> {
                schema(number - 1).decode(&headed(old, bytes.to_vec())).map(|value| value * 10)
            }
        };
        let middle = Collection::<u64>::new(Encoded::new(
            Arc::clone(&bytes),
            Schema::new(2, Json, reads_it(2)).writing(1, tens),
        ));
        let (old, new) = (over(&bytes, 1), over(&bytes, 2));
        let stored =
            |id| Collection::<[u8]>::new(Arc::clone(&bytes)).fetch(id).wait().unwrap().value.to_vec();

        let created = middle.create("a", 70).wait().unwrap();
        assert_eq!(stored("a"), b"\x011\x027");
        assert_eq!(*old.fetch("a").wait().unwrap().value, 7);
        assert_eq!(middle.modify("a", |_| ()).wait().unwrap(), created, "it is as new as it is written");
        old.put("a", 8).wait().unwrap();
        assert_eq!(*middle.fetch("a").wait().unwrap().value, 80);

        // What the old schema can't hold has to wait; what is in the new one is read, and may be put.
        assert!(matches!(middle.put("a", 81).wait(), Err(Error::Refused(Refusal::Encode { .. }))));
        let newest = new.put("a", 81).wait().unwrap();
        assert_eq!(middle.fetch("a").wait().unwrap(), newest);
        assert_eq!(middle.modify("a", |_| ()).wait().unwrap(), newest);
        assert!(matches!(middle.modify("a", |value| *value += 1).wait(), Err(Error::Refused(_))));
        middle.replace("a", newest.version, 90).wait().unwrap();
        assert_eq!(*old.fetch("a").wait().unwrap().value, 9);
        new.modify("a", |_| ()).wait().unwrap();
        assert_eq!(stored("a"), b"\x012\x0290");
        let error = over(&bytes, 1).put("a", 1).wait().unwrap_err();
        assert!(newer(&error).is_some());

        // It can't write what it does not read itself.
        let ahead = Schema::new(2, Json, reads_it(2)).writing(3, tens);
        assert!(ahead.encode(&70).is_err());
        // Before there was a number there was none.
        let first = Schema::new(1, Json, reads_it(1)).writing(0, tens);
        assert_eq!(first.encode(&70).unwrap(), b"7");
    }
}
