//! Copies of all that is committed into another database, which is laid out and empty.

use redb::{Database, Durability, Error, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::schema::{self, CLOSED, DELETED, FACTS, LOG, RESOURCES};
use super::view::View;

/// How many rows one transaction of a copy writes.
const ROWS: usize = 4096;

/// How many bytes one transaction of a copy writes, unless one row alone has more.
const BYTES: usize = 8 << 20;

/// Why a copy failed: by what it is made of, or by what it is made in.
pub(crate) enum CopyError {
    Source(Error),
    Target(Error),
}

/// Copies all there is.
pub(crate) fn copy(view: &View, to: &Database) -> Result<(), CopyError> {
    let snapshot = view.snapshot();
    let facts = view.facts().map_err(source)?;
    let noted = write(to, |transaction| {
        let mut table = transaction.open_table(FACTS)?;
        schema::note_floor(&mut table, facts.floor, facts.forgotten)
    });
    noted.map_err(CopyError::Target)?;
    copy_table(snapshot, to, RESOURCES, <[u8]>::len)?;
    copy_table(snapshot, to, LOG, <[u8]>::len)?;
    copy_table(snapshot, to, DELETED, |_| 8)?;
    copy_table(snapshot, to, CLOSED, |()| 0)?;
    write(to, |transaction| view.put(transaction)).map_err(CopyError::Target)
}

fn copy_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    snapshot: &ReadTransaction,
    to: &Database,
    definition: TableDefinition<'_, K, V>,
    size: impl for<'v> Fn(V::SelfType<'v>) -> usize,
) -> Result<(), CopyError> {
    let table = snapshot.open_table(definition).map_err(source)?;
    let mut rows = table.iter().map_err(source)?.peekable();
    while rows.peek().is_some() {
        let mut some = Vec::new();
        let mut bytes = 0;
        for row in rows.by_ref() {
            let (key, value) = row.map_err(source)?;
            bytes += size(value.value());
            some.push((key, value));
            if some.len() == ROWS || bytes >= BYTES {
                break;
            }
        }
        let written = write(to, |transaction| {
            let mut table = transaction.open_table(definition)?;
            for (key, value) in &some {
                table.insert(key.value(), value.value())?;
            }
            Ok(())
        });
        written.map_err(CopyError::Target)?;
    }
    Ok(())
}

fn source(error: impl Into<Error>) -> CopyError {
    CopyError::Source(error.into())
}

/// Adds resources, an id and a [`Record`](crate::backend::record::Record) each. Tells whether all ids were free.
#[cfg(feature = "json")]
pub(crate) fn fill(to: &Database, resources: &[(String, Vec<u8>)]) -> Result<bool, Error> {
    let mut were_free = true;
    write(to, |transaction| {
        let mut table = transaction.open_table(RESOURCES)?;
        for (id, record) in resources {
            were_free &= table.insert(id.as_bytes(), record.as_slice())?.is_none();
        }
        Ok(())
    })?;
    Ok(were_free)
}

/// One transaction on a copy. It is synced as a whole once it is complete, so this one need not be.
fn write(to: &Database, fill: impl FnOnce(&WriteTransaction) -> Result<(), Error>) -> Result<(), Error> {
    let mut transaction = to.begin_write()?;
    transaction.set_durability(Durability::None)?;
    fill(&transaction)?;
    Ok(transaction.commit()?)
}
