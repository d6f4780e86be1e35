//! [`Schema`], a codec that writes down which schema a value is in.

use std::error::Error as StdError;
use std::fmt;

use super::codec::Codec;

/// What stands before the number.
const HEADING: u8 = 1;

/// What stands between the number and the value.
const TEXT: u8 = 2;

/// A codec that writes the number of a schema before each value, and reads values of older schemas through a closure.
///
/// The stored bytes are U+0001, the number in decimal digits, U+0002 and what the codec within makes of the value: text
/// stays text. Bytes that do not begin so are of schema 0. That are all values which were stored before there was a
/// number, as long as their codec never began them with U+0001: [`Json`](crate::Json) doesn't.
///
/// Values are read in any schema, and written in the new one: by every write that puts a value, and by a
/// [`modify`](crate::Collection::modify) or a [`Draft`](crate::Draft) that leaves the value as it is. So passing over
/// all ids once with `modify(id, |_| ())` brings everything up to date, while others read and write. A transaction
/// rewrites what it changes. An unchanged write of a value that is up to date writes nothing; it costs one more read
/// than without a schema.
///
/// In a collection of a [`Database`](crate::Database) that was [defined](crate::Database::define) with steps, rules, leases or a
/// history among them, an unchanged write rewrites nothing either: those would let pass, and record, no write. Its values are
/// brought up to date by whatever puts them, as [`replace`](crate::Collection::replace) with the value that was read.
///
/// # Errors
///
/// A value in a newer schema than the codec's is [`Corrupt`](crate::Error::Corrupt), and so stays as it is: a program
/// that was rolled back does not overwrite by accident what its successor wrote. So is one that the closure fails for.
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
}

impl<T, C, M> Codec<T> for Schema<C, M>
where
    C: Codec<T>,
    M: Fn(u32, &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> + Send + Sync + 'static,
{
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        let encoded = self.codec.encode(value)?;
        let number = self.number.to_string();
        let mut bytes = Vec::with_capacity(number.len() + 2 + encoded.len());
        bytes.push(HEADING);
        bytes.extend(number.bytes());
        bytes.push(TEXT);
        bytes.extend(encoded);
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>> {
        match numbered(bytes) {
            (number, value) if number == self.number => self.codec.decode(value),
            (number, value) if number < self.number => (self.migrate)(number, value),
            (number, _) => Err(Newer { number, known: self.number }.into()),
        }
    }

    fn schema(&self) -> u32 {
        self.number
    }

    fn schema_of(&self, bytes: &[u8]) -> u32 {
        numbered(bytes).0
    }
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

/// A value that a later release has written.
#[derive(Debug, thiserror::Error)]
#[error("a value in schema {number}, and this release knows {known}")]
struct Newer {
    number: u32,
    known: u32,
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
    use crate::collection::{Collection, Retry};
    use crate::memory::Memory;
    use crate::store::{Commit, Entry, Error, Expected, Outcome, Store, Version, WriteId};

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
        assert_eq!(schema(0).encode(&7).unwrap(), b"\x010\x027");
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

    #[test]
    fn a_value_of_a_later_release_is_left_alone() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        over(&bytes, 2).create("a", 7).wait().unwrap();

        let error = over(&bytes, 1).modify("a", |_| ()).wait().unwrap_err();

        let Error::Corrupt(corrupt) = &error else { panic!("{error}") };
        let cause = StdError::source(corrupt).unwrap().to_string();
        assert_eq!(cause, "a value in schema 2, and this release knows 1");
        assert_eq!(*over(&bytes, 2).fetch("a").wait().unwrap().value, 7);
    }
}
