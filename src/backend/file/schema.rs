//! The tables of a file and the facts it keeps about itself.
//!
//! A commit is first kept whole, values included, in a row that newer ones are added to: [`NEWEST`]. Full, the row moves
//! to [`RECENT`]. From there many commits at once are settled: their values in [`RESOURCES`], the rest in [`LOG`]. So a
//! commit writes one page of its own, however far apart its ids are, and a page of values is written once for all recent
//! commits that touch it.

use redb::{Database, ReadTransaction, ReadableDatabase, Table, TableDefinition};

use super::window::Forgotten;
use crate::base::random;
use crate::store::WriteId;

/// The format of the tables: what is in them, and how.
pub(super) const FORMAT: u64 = 2;

/// The format before, whose commits were all settled.
const SETTLED: u64 = 1;

/// Id to [`Record`](crate::backend::record::Record): what has a value.
pub(super) const RESOURCES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("resources");

/// Id to version: what was deleted, as far as the log reaches back. An id that was created again may still be here.
pub(super) const DELETED: TableDefinition<&[u8], u64> = TableDefinition::new("deleted");

/// Position of the last to [commits in order](super::log::commits_in): those that are settled. Rows of format 1 have one.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// Position of the last to [commits with their values](super::recent), in order: what is not settled.
pub(super) const RECENT: TableDefinition<u64, &[u8]> = TableDefinition::new("recent");

/// The same for the newest of all: one row, or none at first.
pub(super) const NEWEST: TableDefinition<(), &[u8]> = TableDefinition::new("newest");

/// The facts below, by number.
pub(super) const FACTS: TableDefinition<u8, u64> = TableDefinition::new("facts");

/// Which format the tables have.
const FORMAT_FACT: u8 = 0;
/// The random number that names this file in its cursors.
const IDENTITY: u8 = 1;
/// The position of the last commit that has left the log; before there was one, where the counter started.
const FLOOR: u8 = 2;
/// The two halves of [`Forgotten::youngest`] and of [`Forgotten::youngest_closed`]; absent where there is none.
const YOUNGEST: [u8; 2] = [3, 4];
const YOUNGEST_CLOSED: [u8; 2] = [5, 6];

/// What a new file begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) identity: u64,
    /// The number before the first version.
    pub(super) floor: u64,
}

impl Origin {
    pub(super) fn new() -> Self {
        // Below 2^62: as many versions again are left to issue, and the leaps at each opening.
        Self { identity: random(), floor: random() >> 2 }
    }
}

/// What a file knows of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) identity: u64,
    pub(super) floor: u64,
    pub(super) forgotten: Forgotten,
}

/// Lays the tables of a new file.
pub(super) fn lay(database: &Database, origin: Origin) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(RESOURCES)?;
        transaction.open_table(DELETED)?;
        transaction.open_table(LOG)?;
        transaction.open_table(RECENT)?;
        transaction.open_table(NEWEST)?;
        let mut facts = transaction.open_table(FACTS)?;
        facts.insert(FORMAT_FACT, FORMAT)?;
        facts.insert(IDENTITY, origin.identity)?;
        facts.insert(FLOOR, origin.floor)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Which format the tables have; every table must be there. The format before is made this one.
pub(super) fn format(database: &Database) -> Result<u64, redb::Error> {
    let snapshot = database.begin_read()?;
    let facts = snapshot.open_table(FACTS)?;
    let format = facts.get(FORMAT_FACT)?.map_or(0, |format| format.value());
    if format == FORMAT || format == SETTLED {
        snapshot.open_table(RESOURCES)?;
        snapshot.open_table(DELETED)?;
        snapshot.open_table(LOG)?;
    }
    if format == FORMAT {
        snapshot.open_table(RECENT)?;
        snapshot.open_table(NEWEST)?;
    }
    if format != SETTLED {
        return Ok(format);
    }
    let transaction = database.begin_write()?;
    transaction.open_table(RECENT)?;
    transaction.open_table(NEWEST)?;
    transaction.open_table(FACTS)?.insert(FORMAT_FACT, FORMAT)?;
    transaction.commit()?;
    Ok(FORMAT)
}

/// What the file knows of itself.
pub(super) fn facts(snapshot: &ReadTransaction) -> Result<Facts, redb::Error> {
    let facts = snapshot.open_table(FACTS)?;
    let fact = |number: u8| Ok::<_, redb::Error>(facts.get(number)?.map(|fact| fact.value()));
    let missing = |what: &str| redb::Error::Corrupted(format!("the file does not know its {what}"));
    let write = |[high, low]: [u8; 2]| {
        Ok::<_, redb::Error>(match (fact(high)?, fact(low)?) {
            (Some(high), Some(low)) => Some(WriteId::from_bits(u128::from(high) << 64 | u128::from(low))),
            _ => None,
        })
    };
    Ok(Facts {
        identity: fact(IDENTITY)?.ok_or_else(|| missing("identity"))?,
        floor: fact(FLOOR)?.ok_or_else(|| missing("floor"))?,
        forgotten: Forgotten { youngest: write(YOUNGEST)?, youngest_closed: write(YOUNGEST_CLOSED)? },
    })
}

/// Notes that commits up to `floor` have left the log.
pub(super) fn note_floor(
    facts: &mut Table<'_, u8, u64>,
    floor: u64,
    forgotten: Forgotten,
) -> Result<(), redb::StorageError> {
    facts.insert(FLOOR, floor)?;
    for (numbers, write) in [(YOUNGEST, forgotten.youngest), (YOUNGEST_CLOSED, forgotten.youngest_closed)] {
        let Some(bits) = write.map(WriteId::to_bits) else { continue };
        facts.insert(numbers[0], (bits >> 64) as u64)?;
        facts.insert(numbers[1], bits as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use redb::backends::InMemoryBackend;

    use super::super::File;
    use super::super::log::{Done, Logged, LoggedEntry};
    use super::*;
    use crate::backend::record::Record;
    use crate::store::{Commit, Entry, Expected, Resolution, Start, Store, Version};

    const WRITE: WriteId = WriteId::from_bits(77);

    /// What was written in format 1: every commit settled, in a row of its own.
    fn write_format_1(path: &std::path::Path) {
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        let position = |bits| NonZeroU64::new(bits).unwrap();
        let done = |done| Some(vec![LoggedEntry { done, replaced: None }]);
        let commits = [
            Logged { position: position(11), write: None, entries: done(Done::Put("a".into())) },
            Logged { position: position(12), write: Some(WRITE), entries: done(Done::Put("b".into())) },
            Logged { position: position(13), write: None, entries: done(Done::Deleted("b".into())) },
        ];
        {
            let mut resources = transaction.open_table(RESOURCES).unwrap();
            let record =
                Record { version: Version::from_bits(position(11)), write: None, value: b"one" }.encode("a");
            resources.insert(b"a".as_slice(), record.as_slice()).unwrap();
            transaction.open_table(DELETED).unwrap().insert(b"b".as_slice(), 13).unwrap();
            let mut log = transaction.open_table(LOG).unwrap();
            for commit in commits {
                log.insert(commit.position.get(), commit.encode().as_slice()).unwrap();
            }
            let mut facts = transaction.open_table(FACTS).unwrap();
            for (fact, value) in [(FORMAT_FACT, SETTLED), (IDENTITY, 5), (FLOOR, 10)] {
                facts.insert(fact, value).unwrap();
            }
        }
        transaction.commit().unwrap();
    }

    /// Files of this format are on disks: what they hold stays readable for ever.
    #[test]
    fn a_file_of_the_format_before_goes_on_as_one_of_this() {
        let path = std::env::temp_dir().join(format!("ifmatch-format-1-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        write_format_1(&path);

        for opening in 1..=3 {
            let store = File::open(&path).unwrap();
            assert_eq!(store.get("a").wait().unwrap().unwrap().version.to_string(), "11");
            assert!(store.get("b").wait().unwrap().is_none());
            let Resolution::Applied(committed) = store.resolve(WRITE).wait().unwrap() else {
                panic!("the write is in the log")
            };
            assert_eq!(committed.version().unwrap().to_bits().get(), 12);
            let from = Start::After("f5.a".parse().unwrap());
            let mut changes = store.watch(from).wait().unwrap();
            let mut ids = Vec::new();
            for _ in 0..2 + opening {
                ids.push(changes.next().wait().unwrap().changes[0].id.to_string());
            }
            assert_eq!(ids, ["a", "b", "b", "c", "c"][..2 + opening]);
            let again = Commit::one(Entry::put("c", Expected::Any, opening.to_string().into_bytes().into()));
            store.commit(again).wait().unwrap();
            let found = store.get("c").wait().unwrap().unwrap();
            assert_eq!(&*found.value, opening.to_string().as_bytes());
        }
        let noted = noted(&Database::open(&path).unwrap());
        assert_eq!(noted, FORMAT, "a release that does not know it must refuse it");
        std::fs::remove_file(path).unwrap();
    }

    fn noted(database: &Database) -> u64 {
        let facts = database.begin_read().unwrap().open_table(FACTS).unwrap();
        facts.get(FORMAT_FACT).unwrap().unwrap().value()
    }

    #[test]
    fn a_file_of_the_format_before_without_its_tables_is_left_alone() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(FACTS).unwrap().insert(FORMAT_FACT, SETTLED).unwrap();
        transaction.commit().unwrap();

        assert!(format(&database).is_err());

        assert_eq!(noted(&database), SETTLED);
    }
}
