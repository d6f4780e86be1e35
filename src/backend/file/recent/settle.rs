//! How recent commits are settled: put in their place, many in one transaction.

use std::ops::Bound;

use redb::{
    Database, Durability, Error as EngineError, ReadTransaction, ReadableDatabase, ReadableTable,
    WriteTransaction,
};

use super::commits::Commits;
use super::extent::Extent;
use super::log::{Logged, commits_in, push};
use super::schema::{self, CLOSED, DELETED, FACTS, Journaled, LOG, RESOURCES};
use super::view::{Snapshot, View};
use crate::store::WriteId;

/// How many bytes a row takes up before another is begun: it fits a page of the engine with what that adds.
const ROW: usize = 4000;

/// How many changes leave the log in one transaction, at least: twice as many as are added where those are more, so that
/// the log comes back to its limit however much is committed at once.
const TRIMMED: usize = 8192;

/// What there is once commits are settled.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(super) snapshot: Snapshot,
    pub(crate) journaled: Journaled,
    /// The position of the last commit that has left the log.
    pub(crate) floor: u64,
    /// The highest write id that has left the log.
    pub(crate) forgotten: Option<WriteId>,
    /// How much has left the log.
    pub(crate) trimmed: usize,
    /// How many commits under a write id have left the log.
    pub(crate) left: usize,
}

/// Puts commits in their place, the older before the newer ones, and lets go of the oldest where the log is longer than
/// `history`. Once it returns, all of that is synced, with the note that the journal need not be read for it any more.
pub(crate) fn settle(
    database: &Database,
    commits: &[&Commits],
    extent: &Extent,
    journaled: Journaled,
    history: usize,
) -> Result<Settled, EngineError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    // After a crash nothing of the file has to be read to check it.
    transaction.set_quick_repair(true);
    for commits in commits {
        put(&transaction, commits, u64::MAX)?;
    }
    let added: usize = commits.iter().map(|commits| commits.weight()).sum();
    let mut after = extent.clone();
    let left = trim(&transaction, &mut after, history, TRIMMED.max(2 * added))?;
    schema::note_journal(&mut transaction.open_table(FACTS)?, journaled)?;
    transaction.commit()?;
    Ok(Settled {
        snapshot: Snapshot::of(database.begin_read()?),
        journaled,
        floor: after.floor,
        forgotten: after.forgotten,
        trimmed: extent.weight - after.weight,
        left,
    })
}

/// Settles what a view has and the file has not, and notes that there is no journal any more. A file that has noted less than
/// `noted` is an older copy, which lacks more than that.
pub(crate) fn rescue(database: &Database, view: &View, noted: Journaled) -> Result<(), EngineError> {
    let snapshot = database.begin_read()?;
    let facts = schema::facts(&snapshot)?;
    let found = facts.journaled;
    if found.id != noted.id || found.settled.number < noted.settled.number {
        return Ok(());
    }
    let settled = newest(&snapshot, facts.floor)?;
    drop(snapshot);
    let unsettled: Vec<_> = view.unsettled().map(|commits| commits.read()).collect();
    let is_missing = |commits: &&Commits| commits.last().is_none_or(|last| last > settled);
    let missing: Vec<&Commits> = unsettled.iter().map(|commits| &**commits).filter(is_missing).collect();
    // Nothing leaves the log by that.
    settle(database, &missing, &Extent::default(), noted.ended(), usize::MAX).map(|_| ())
}

/// The position of the newest commit that is settled.
pub(super) fn newest(snapshot: &ReadTransaction, floor: u64) -> Result<u64, EngineError> {
    Ok(snapshot.open_table(LOG)?.last()?.map_or(floor, |(last, _)| last.value()))
}

/// Puts commits up to the one at `last` in their place.
pub(super) fn put(to: &WriteTransaction, commits: &Commits, last: u64) -> Result<(), EngineError> {
    let mut resources = to.open_table(RESOURCES)?;
    let mut deleted = to.open_table(DELETED)?;
    for (id, state) in commits.range(Bound::Unbounded, last) {
        match &state.record {
            Some(record) => _ = resources.insert(id.as_bytes(), &**record)?,
            None => {
                resources.remove(id.as_bytes())?;
                deleted.insert(id.as_bytes(), state.position)?;
            }
        }
    }

    let mut log = to.open_table(LOG)?;
    let mut row = Vec::new();
    let mut end = 0;
    for logged in commits.list().iter().take_while(|logged| logged.position.get() <= last) {
        let piece = logged.encode();
        if !row.is_empty() && row.len() + piece.len() > ROW {
            log.insert(end, row.as_slice())?;
            row.clear();
        }
        push(&mut row, &piece);
        end = logged.position.get();
    }
    if !row.is_empty() {
        log.insert(end, row.as_slice())?;
    }

    let mut closed = to.open_table(CLOSED)?;
    for write in commits.closed() {
        closed.insert(write.to_bits(), ())?;
    }
    Ok(())
}

/// Lets go of the oldest commits, a row at a time, as long as `limit` or more are left, and of `most` or little more.
/// Gives how many had a write id.
fn trim(to: &WriteTransaction, extent: &mut Extent, limit: usize, most: usize) -> Result<usize, EngineError> {
    let mut left = 0;
    if extent.weight <= limit {
        return Ok(left);
    }
    let mut log = to.open_table(LOG)?;
    let mut deleted = to.open_table(DELETED)?;
    let least = extent.weight.saturating_sub(most);
    while extent.weight > least {
        let oldest = log.first()?.map(|(last, row)| {
            let last = last.value();
            // What doesn't decode is of no use to anybody.
            (last, commits_in(last, row.value(), 0).flatten().collect::<Vec<Logged>>())
        });
        let Some((last, commits)) = oldest else { break };
        let weight: usize = commits.iter().map(Logged::weight).sum();
        if extent.weight < limit + weight {
            break;
        }
        log.remove(last)?;
        extent.floor = last;
        extent.weight -= weight;
        for logged in commits {
            let position = logged.position.get();
            if let Some(write) = logged.write {
                extent.forgotten = extent.forgotten.max(Some(write));
                left += 1;
            }
            for (id, _) in logged.changes().filter(|(_, deleted)| *deleted) {
                let stone = deleted.get(id.as_bytes())?.map(|version| version.value());
                if stone == Some(position) {
                    deleted.remove(id.as_bytes())?;
                }
            }
        }
    }
    let mut facts = to.open_table(FACTS)?;
    schema::note_floor(&mut facts, extent.floor, extent.forgotten)?;
    if let Some(forgotten) = extent.forgotten.filter(|_| left > 0) {
        // What is not above the highest forgotten id is refused anyway.
        to.open_table(CLOSED)?.retain_in(..=forgotten.to_bits(), |_, ()| false)?;
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::super::commits::encode_frame;
    use super::super::schema::Origin;
    use super::*;
    use crate::backend::file::journal::Mark;

    /// What was settled since that copy was made is not in it, and not in memory any more.
    #[test]
    fn commits_are_put_into_no_older_copy_of_their_file() {
        let mark = |number| Mark { number, checksum: 1, end: 512 };
        let journaled = |id, number| Journaled { id, former: 2, settled: mark(number) };
        for (found, is_rescued) in [
            (journaled(3, 5), true),
            // What was settled and nobody has taken note of.
            (journaled(3, 6), true),
            (journaled(3, 4), false),
            (journaled(4, 5), false),
        ] {
            let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            schema::lay(&database, Origin { identity: 1, floor: 7 }).unwrap();
            let none = Extent::default();
            settle(&database, &[], &none, found, usize::MAX).unwrap();
            let closed = encode_frame(&[WriteId::from_bits(1 << 64)], &[]);
            let view = View::load(&database, &[closed]).unwrap();

            rescue(&database, &view, journaled(3, 5)).unwrap();

            let after = View::load(&database, &[]).unwrap();
            let expected = if is_rescued { found.ended() } else { found };
            assert_eq!(after.facts().unwrap().journaled, expected);
            assert_eq!(after.closed().unwrap().len(), usize::from(is_rescued), "{found:?}");
        }
    }
}
