//! The tables of a file and the facts it keeps about itself.
//!
//! A commit is first kept in the journal. From there many at once are settled: their values in [`RESOURCES`], the rest in
//! [`LOG`]. So a page of values is written once for all commits since the last time that touch it.

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, Table, TableDefinition};

use crate::backend::checksum::Checksum;
use crate::backend::file::journal::Mark;
use crate::base::random;
use crate::store::WriteId;

/// The format of the tables: what is in them, and how.
pub(crate) const FORMAT: u64 = 2;

/// Id to [`Record`](crate::backend::record::Record): what has a value.
pub(crate) const RESOURCES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("resources");

/// Id to version: what was deleted, as far as the log reaches back. An id that was created again may still be here.
pub(crate) const DELETED: TableDefinition<&[u8], u64> = TableDefinition::new("deleted");

/// Position of the last to [commits in order](super::log::commits_in).
pub(crate) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// The write ids that were resolved as not applied, by their bits.
pub(crate) const CLOSED: TableDefinition<u128, ()> = TableDefinition::new("closed");

/// The facts below, by number.
pub(crate) const FACTS: TableDefinition<u8, u64> = TableDefinition::new("facts");

/// Which format the tables have.
const FORMAT_FACT: u8 = 0;
/// The random number that names this file in its cursors.
const IDENTITY: u8 = 1;
/// The position of the last commit that has left the log; before there was one, where the counter started.
const FLOOR: u8 = 2;
/// The two halves of the highest write id that has left the log; absent where there is none.
const FORGOTTEN: [u8; 2] = [3, 4];
/// The random number that names the journal; 0 where there is none.
const JOURNAL: u8 = 5;
/// The number of the last frame that is settled, its checksum, and where it ends.
const SETTLED: [u8; 3] = [6, 7, 8];
/// The random number that named the journal before it; where there was none, one that nothing else has.
const FORMER: u8 = 9;
/// The checksum of all other facts: the engine finds a flipped bit only where it reads the whole file, and one in what
/// tells of the journal would hide the commits there.
const SEAL: u8 = u8::MAX;

/// What a new file begins with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) identity: u64,
    /// The number before the first version.
    pub(crate) floor: u64,
}

impl Origin {
    pub(crate) fn new() -> Self {
        // Below 2^62: as many versions again are left to issue, and the leaps at each opening.
        Self { identity: random(), floor: random() >> 2 }
    }
}

/// What a file knows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) identity: u64,
    pub(crate) floor: u64,
    /// The highest write id that has left the log.
    pub(crate) forgotten: Option<WriteId>,
    pub(crate) journaled: Journaled,
}

/// What a file knows of its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Journaled {
    /// The random number that names it; 0 where there is none.
    pub(crate) id: u64,
    /// The one that named the journal before it; where there was none, one that nothing else has.
    pub(crate) former: u64,
    /// The last frame that is settled.
    pub(crate) settled: Mark,
}

impl Journaled {
    /// Once there is no journal any more.
    pub(crate) fn ended(self) -> Self {
        let former = if self.id == 0 { self.former } else { self.id };
        Self { id: 0, former, settled: Mark::default() }
    }
}

/// Lays the tables of a new file.
pub(crate) fn lay(database: &Database, origin: Origin) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        transaction.open_table(RESOURCES)?;
        transaction.open_table(DELETED)?;
        transaction.open_table(LOG)?;
        transaction.open_table(CLOSED)?;
        let mut facts = transaction.open_table(FACTS)?;
        facts.insert(FORMAT_FACT, FORMAT)?;
        facts.insert(IDENTITY, origin.identity)?;
        facts.insert(FLOOR, origin.floor)?;
        seal(&mut facts)?;
        note_journal(&mut facts, Journaled { former: random(), ..Journaled::default() })?;
    }
    transaction.commit()?;
    Ok(())
}

/// Which format the tables have. Every table of a format that is known must be there.
pub(crate) fn format(database: &Database) -> Result<u64, redb::Error> {
    let snapshot = database.begin_read()?;
    let format = snapshot.open_table(FACTS)?.get(FORMAT_FACT)?.map_or(0, |format| format.value());
    if format == FORMAT {
        snapshot.open_table(RESOURCES)?;
        snapshot.open_table(DELETED)?;
        snapshot.open_table(LOG)?;
        snapshot.open_table(CLOSED)?;
    }
    Ok(format)
}

/// What the file knows of itself.
pub(crate) fn facts(snapshot: &ReadTransaction) -> Result<Facts, redb::Error> {
    let facts = snapshot.open_table(FACTS)?;
    check(&facts)?;
    let fact = |number: u8| Ok::<_, redb::Error>(facts.get(number)?.map(|fact| fact.value()));
    let known = |number: u8| {
        let missing = || redb::Error::Corrupted(format!("the file lacks the fact {number} about itself"));
        fact(number)?.ok_or_else(missing)
    };
    let forgotten = match (fact(FORGOTTEN[0])?, fact(FORGOTTEN[1])?) {
        (Some(high), Some(low)) => Some(WriteId::from_bits(u128::from(high) << 64 | u128::from(low))),
        _ => None,
    };
    let [number, checksum, end] = [known(SETTLED[0])?, known(SETTLED[1])?, known(SETTLED[2])?];
    let checksum = u32::try_from(checksum).map_err(|_| damaged())?;
    let settled = Mark { number, checksum, end };
    Ok(Facts {
        identity: known(IDENTITY)?,
        floor: known(FLOOR)?,
        forgotten,
        journaled: Journaled { id: known(JOURNAL)?, former: known(FORMER)?, settled },
    })
}

/// Notes that commits up to `floor` have left the log.
pub(crate) fn note_floor(
    facts: &mut Table<'_, u8, u64>,
    floor: u64,
    forgotten: Option<WriteId>,
) -> Result<(), redb::Error> {
    check(facts)?;
    facts.insert(FLOOR, floor)?;
    if let Some(bits) = forgotten.map(WriteId::to_bits) {
        facts.insert(FORGOTTEN[0], (bits >> 64) as u64)?;
        facts.insert(FORGOTTEN[1], bits as u64)?;
    }
    seal(facts)
}

/// Notes what there is of the journal.
pub(crate) fn note_journal(facts: &mut Table<'_, u8, u64>, journaled: Journaled) -> Result<(), redb::Error> {
    check(facts)?;
    let Journaled { id, former, settled } = journaled;
    facts.insert(JOURNAL, id)?;
    facts.insert(FORMER, former)?;
    facts.insert(SETTLED[0], settled.number)?;
    facts.insert(SETTLED[1], u64::from(settled.checksum))?;
    facts.insert(SETTLED[2], settled.end)?;
    seal(facts)
}

/// Puts the checksum of all facts beside them.
fn seal(facts: &mut Table<'_, u8, u64>) -> Result<(), redb::Error> {
    let sum = sum(facts)?;
    facts.insert(SEAL, sum)?;
    Ok(())
}

/// Refuses facts that are not as they were written, before anything is built upon them.
fn check(facts: &impl ReadableTable<u8, u64>) -> Result<(), redb::Error> {
    let sealed = facts.get(SEAL)?.map(|sum| sum.value());
    if sealed == Some(sum(facts)?) { Ok(()) } else { Err(damaged()) }
}

fn sum(facts: &impl ReadableTable<u8, u64>) -> Result<u64, redb::Error> {
    let mut sum = Checksum::new();
    for fact in facts.range(..SEAL)? {
        let (number, fact) = fact?;
        sum = sum.add(&[number.value()]).add(&fact.value().to_be_bytes());
    }
    Ok(sum.finish().into())
}

fn damaged() -> redb::Error {
    redb::Error::Corrupted("what it says of itself is damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    fn laid() -> Database {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        lay(&database, Origin::new()).unwrap();
        database
    }

    /// The first release writes format 2: a later one counts on.
    #[test]
    fn a_new_file_has_the_first_format() {
        assert_eq!(format(&laid()).unwrap(), 2);
    }

    #[test]
    fn a_file_that_lacks_a_table_is_none_of_this_store() {
        let database = laid();
        let transaction = database.begin_write().unwrap();
        transaction.delete_table(DELETED).unwrap();
        transaction.commit().unwrap();

        assert!(format(&database).is_err());
    }

    #[test]
    fn facts_that_were_changed_or_lost_are_refused() {
        let known = |change: &dyn Fn(&mut Table<'_, u8, u64>)| {
            let database = laid();
            let transaction = database.begin_write().unwrap();
            change(&mut transaction.open_table(FACTS).unwrap());
            transaction.commit().unwrap();
            facts(&database.begin_read().unwrap()).is_ok()
        };

        assert!(known(&|_| ()));
        for number in [IDENTITY, FLOOR, JOURNAL, SETTLED[0], SETTLED[1], SETTLED[2], FORMER, SEAL] {
            assert!(!known(&|facts| _ = facts.remove(number).unwrap()), "without {number}");
            for bit in 0..64 {
                let flip = |facts: &mut Table<'_, u8, u64>| {
                    let fact = facts.get(number).unwrap().unwrap().value();
                    facts.insert(number, fact ^ 1 << bit).unwrap();
                };
                assert!(!known(&flip), "bit {bit} of {number}");
            }
        }
    }
}
