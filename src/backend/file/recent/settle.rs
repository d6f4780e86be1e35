//! How commits become recent, and how recent ones are settled, in one transaction.

use redb::{Error as EngineError, ReadableTable, WriteTransaction};

use super::added::Added;
use super::commits::AfterImage;
use super::extent::Extent;
use super::log::{Logged, commits_in, push};
use super::schema::{self, CLOSED, DELETED, FACTS, LOG, NEWEST, RECENT, RESOURCES};
use super::view::View;

/// How many bytes a row takes up before another is begun: it fits a page of the engine with what that adds.
const ROW: usize = 4000;

/// How many bytes the row of the newest commits takes up at most, where a few batches add more than [`ROW`]. Each batch
/// writes that row, and one that moves to the recent ones costs two pages more.
const LONG_ROW: usize = 16_000;

/// How many batches share a row, unless it would be longer than that.
const SHARING: usize = 4;

/// How many changes may be recent, for the same reason: each may lie in a page of its own.
pub(super) const RECENT_CHANGES: usize = 1000;

/// Which part of the log may be recent: no commit leaves the log before it is settled.
pub(super) const RECENT_PART: usize = 16;

/// How many changes leave the log in one transaction, at least: twice as many as are added where those are more, so that
/// the log comes back to its limit however much is committed at once.
const TRIMMED: usize = 8192;

/// Adds the row of a turn to the recent commits. `before` is the position of the newest of those.
pub(super) fn append(
    to: &WriteTransaction,
    extent: &mut Extent,
    before: u64,
    row: &mut Vec<u8>,
) -> Result<(), EngineError> {
    let newest = &mut extent.newest;
    let was_empty = newest.is_empty();
    let room = (SHARING * row.len()).clamp(ROW, LONG_ROW);
    if newest.len() + row.len() > room {
        let mut recent = to.open_table(RECENT)?;
        if !was_empty {
            recent.insert(before, newest.as_slice())?;
            newest.clear();
        }
        if row.len() > room {
            recent.insert(extent.last, row.as_slice())?;
            row.clear();
        }
    }
    newest.append(row);
    if !(was_empty && newest.is_empty()) {
        to.open_table(NEWEST)?.insert((), newest.as_slice())?;
    }
    Ok(())
}

/// Puts all that is recent in its place, what is added included, and lets go of the oldest commits where the log is longer
/// than `history`. Gives how many of those had a write id.
pub(super) fn settle(
    to: &WriteTransaction,
    view: &View,
    extent: &mut Extent,
    added: &Added,
    history: usize,
) -> Result<usize, EngineError> {
    let recent = view.recent();
    let mut resources = to.open_table(RESOURCES)?;
    let mut deleted = to.open_table(DELETED)?;
    let mut place = |id: &str, state: &AfterImage| -> Result<(), EngineError> {
        match &state.record {
            Some(record) => _ = resources.insert(id.as_bytes(), &**record)?,
            None => {
                resources.remove(id.as_bytes())?;
                deleted.insert(id.as_bytes(), state.position)?;
            }
        }
        Ok(())
    };
    for (id, state) in recent.states() {
        if added.image(id).is_none() {
            place(id, state)?;
        }
    }
    for (id, state) in added.commits.states() {
        place(id, state)?;
    }
    drop((resources, deleted));

    let mut log = to.open_table(LOG)?;
    let mut row = Vec::new();
    let mut last = 0;
    for logged in recent.list().iter().chain(added.commits.list()) {
        let piece = logged.encode();
        if !row.is_empty() && row.len() + piece.len() > ROW {
            log.insert(last, row.as_slice())?;
            row.clear();
        }
        push(&mut row, &piece);
        last = logged.position.get();
    }
    if !row.is_empty() {
        log.insert(last, row.as_slice())?;
    }
    let settled = recent.weight() + added.commits.weight();
    drop((log, recent));

    to.open_table(RECENT)?.retain(|_, _| false)?;
    if !extent.newest.is_empty() {
        to.open_table(NEWEST)?.insert((), &[][..])?;
        extent.newest.clear();
    }
    trim(to, extent, history, TRIMMED.max(2 * settled))
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
