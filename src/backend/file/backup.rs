//! Copies of a consistent state: a file, while writes go on.

use std::fs;
use std::io;
use std::path::Path;

use redb::{Database, ReadTransaction, ReadableTable, TableDefinition};

use super::handle::Handle;
use super::open::{OpenError, Opener, beside, io_error, sync_directory, take_name};
use super::schema::{self, DELETED, LOG, NEWEST, Origin, RECENT, RESOURCES};
use crate::store::Error;

/// How many rows one transaction of a copy writes.
const ROWS: usize = 4096;

/// How many bytes one transaction of a copy writes, unless one row alone has more.
const BYTES: usize = 8 << 20;

/// What a copy goes through: the file it is made from fails on the outside, the one it is made to on the inside.
type Copied = Result<Result<(), OpenError>, redb::Error>;

/// Copies the last committed state to a new file at `path`.
pub(super) fn backup(handle: &Handle, path: &Path) -> Result<(), Error> {
    let fresh = beside(path);
    let made = handle.read(|view| copy(view.snapshot(), &fresh)).and_then(|copied| Ok(copied?));
    let named = made.and_then(|()| Ok(take_name(&fresh, path)?));
    let _ = fs::remove_file(&fresh);
    named.and_then(|()| Ok(sync_directory(path)?))
}

/// A new file for a copy to be written to, laid out and empty.
pub(super) fn begin(fresh: &Path, origin: Origin) -> Result<Database, OpenError> {
    let fail = |source| io_error("create", fresh, source);
    fs::OpenOptions::new().read(true).write(true).create_new(true).open(fresh).map_err(fail)?;
    let opener = Opener::new(fresh, 16 << 20, false);
    opener.initialize(origin)?;
    opener.open()
}

/// Closes and syncs a finished copy.
pub(super) fn finish(copy: Database, fresh: &Path) -> Result<(), OpenError> {
    copy.close().map_err(|error| engine_error(fresh, error.into()))?;
    fs::File::open(fresh).and_then(|file| file.sync_all()).map_err(|source| io_error("sync", fresh, source))
}

/// The error of a write to a copy.
pub(super) fn engine_error(fresh: &Path, error: redb::Error) -> OpenError {
    let source = match error {
        redb::Error::Io(source) => source,
        other => io::Error::other(other),
    };
    io_error("write", fresh, source)
}

fn copy(snapshot: &ReadTransaction, fresh: &Path) -> Copied {
    let facts = schema::facts(snapshot)?;
    // A try before this one may have left a part.
    let _ = fs::remove_file(fresh);
    let to = match begin(fresh, Origin { identity: facts.identity, floor: facts.floor }) {
        Ok(to) => to,
        Err(error) => return Ok(Err(error)),
    };
    let noted = write(&to, fresh, |transaction| {
        let mut table = transaction.open_table(schema::FACTS)?;
        Ok(schema::note_floor(&mut table, facts.floor, facts.forgotten)?)
    });
    let mut copied = noted;
    if copied.is_ok() {
        copied = copy_table(snapshot, &to, fresh, RESOURCES, <[u8]>::len)?;
    }
    if copied.is_ok() {
        copied = copy_table(snapshot, &to, fresh, LOG, <[u8]>::len)?;
    }
    if copied.is_ok() {
        copied = copy_table(snapshot, &to, fresh, DELETED, |_| 8)?;
    }
    if copied.is_ok() {
        copied = copy_table(snapshot, &to, fresh, RECENT, <[u8]>::len)?;
    }
    if copied.is_ok() {
        copied = copy_table(snapshot, &to, fresh, NEWEST, <[u8]>::len)?;
    }
    Ok(copied.and_then(|()| finish(to, fresh)))
}

fn copy_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    snapshot: &ReadTransaction,
    to: &Database,
    fresh: &Path,
    definition: TableDefinition<'_, K, V>,
    size: impl for<'v> Fn(V::SelfType<'v>) -> usize,
) -> Copied {
    let table = snapshot.open_table(definition)?;
    let mut rows = table.iter()?.peekable();
    while rows.peek().is_some() {
        let mut some = Vec::new();
        let mut bytes = 0;
        for row in rows.by_ref() {
            let (key, value) = row?;
            bytes += size(value.value());
            some.push((key, value));
            if some.len() == ROWS || bytes >= BYTES {
                break;
            }
        }
        let written = write(to, fresh, |transaction| {
            let mut table = transaction.open_table(definition)?;
            for (key, value) in &some {
                table.insert(key.value(), value.value())?;
            }
            Ok(())
        });
        if let Err(error) = written {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// One transaction on a copy. It is synced as a whole once it is complete, so this one need not be.
pub(super) fn write(
    to: &Database,
    fresh: &Path,
    fill: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), OpenError> {
    let written = || {
        let mut transaction = to.begin_write()?;
        transaction.set_durability(redb::Durability::None)?;
        fill(&transaction)?;
        Ok(transaction.commit()?)
    };
    written().map_err(|error| engine_error(fresh, error))
}
