//! [`Prepared`], a turn that is written and not yet committed.

use redb::{Database, Durability, Error, ReadableDatabase, WriteTransaction};

use super::added::{Added, RECENT_BYTES};
use super::extent::Extent;
use super::schema::CLOSED;
use super::settle::{self, RECENT_CHANGES, RECENT_PART};
use super::view::View;

/// A turn that is written and not yet committed. Dropped, it leaves nothing.
pub(crate) struct Prepared<'t> {
    database: &'t Database,
    view: &'t View,
    transaction: WriteTransaction,
    extent: Extent,
    added: Added,
    is_settled: bool,
    left: usize,
}

/// What there is once a turn is committed.
pub(crate) struct Committed {
    pub(crate) extent: Extent,
    /// What readers see from now on.
    pub(crate) view: View,
    /// How many commits under a write id have left the log.
    pub(crate) left: usize,
}

/// Writes commits among the recent ones or, once those are many, together with them in place. Nothing of it is to be seen
/// before it is [committed](Prepared::commit), with a sync or, where it need not wait for one, without.
pub(crate) fn prepare<'t>(
    database: &'t Database,
    view: &'t View,
    extent: &Extent,
    added: Added,
    history: usize,
    syncs: bool,
) -> Result<Prepared<'t>, Error> {
    let mut prepared = begin(database, view, extent, added, syncs)?;
    if prepared.added.is_empty() {
        return Ok(prepared);
    }
    let recent = view.recent();
    let bytes = recent.bytes() + prepared.added.commits.bytes();
    let weight = recent.weight() + prepared.added.commits.weight();
    drop(recent);
    if bytes > RECENT_BYTES || weight > RECENT_CHANGES.min(history / RECENT_PART) {
        prepared.settle(history)?;
    } else if !prepared.added.row.is_empty() {
        let Prepared { transaction, extent, added, .. } = &mut prepared;
        settle::append(transaction, extent, view.last, &mut added.row)?;
    }
    if !prepared.added.closed.is_empty() {
        let mut closed = prepared.transaction.open_table(CLOSED)?;
        for write in &prepared.added.closed {
            closed.insert(write.to_bits(), ())?;
        }
    }
    Ok(prepared)
}

/// Puts all that is recent in its place, and syncs once it is [committed](Prepared::commit).
pub(crate) fn settle<'t>(
    database: &'t Database,
    view: &'t View,
    extent: &Extent,
    history: usize,
) -> Result<Prepared<'t>, Error> {
    let mut prepared = begin(database, view, extent, Added::default(), true)?;
    prepared.settle(history)?;
    Ok(prepared)
}

/// Syncs what was committed without.
pub(crate) fn sync(database: &Database) -> Result<(), Error> {
    Ok(database.begin_write()?.commit()?)
}

fn begin<'t>(
    database: &'t Database,
    view: &'t View,
    extent: &Extent,
    added: Added,
    syncs: bool,
) -> Result<Prepared<'t>, Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(if syncs { Durability::Immediate } else { Durability::None })?;
    let mut extent = extent.clone();
    extent.last = added.last().map_or(extent.last, |last| last.get());
    extent.weight += added.commits.weight();
    Ok(Prepared { database, view, transaction, extent, added, is_settled: false, left: 0 })
}

impl Prepared<'_> {
    fn settle(&mut self, history: usize) -> Result<(), Error> {
        self.left = settle::settle(&self.transaction, self.view, &mut self.extent, &self.added, history)?;
        self.is_settled = true;
        Ok(())
    }

    /// Commits it.
    pub(crate) fn commit(self) -> Result<Committed, Error> {
        let Self { database, view, transaction, extent, added, is_settled, left } = self;
        transaction.commit()?;
        let snapshot = database.begin_read()?;
        let last = added.last().map_or(view.last, |last| last.get());
        let view = match is_settled {
            true => View::settled(snapshot, last, extent.floor),
            false => view.followed(snapshot, added.commits, last),
        };
        Ok(Committed { extent, view, left })
    }
}
