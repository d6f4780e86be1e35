//! How a [`Batch`] is written: among the recent commits or, once those are many, together with them in place.

use redb::{Error as EngineError, ReadableTable, WriteTransaction};

use super::batch::{Batch, LAST};
use super::log::{Logged, commits_in, push};
use super::recent::State;
use super::schema::{self, DELETED, FACTS, LOG, NEWEST, RECENT, RESOURCES};
use super::window::Known;

/// How many bytes a row takes up before another is begun: it fits a page of the engine with what that adds.
const ROW: usize = 4000;

/// How many bytes the row of the newest commits takes up at most, where a few batches add more than [`ROW`]. Each batch
/// writes that row, and one that moves to the recent ones costs two pages more.
const LONG_ROW: usize = 16_000;

/// How many batches share a row, unless it would be longer than that.
const SHARING: usize = 4;

/// How many bytes of commits may be recent. With more, a page of values would be written for more of them at once, and the
/// commit that settles them would take longer.
pub(super) const RECENT_BYTES: usize = 256 << 10;

/// How many changes may be recent, for the same reason: each may lie in a page of its own.
const RECENT_CHANGES: usize = 1000;

/// Which part of the log may be recent: no commit leaves the log before it is settled.
const RECENT_PART: usize = 16;

/// How many changes leave the log in one transaction, at least: twice as many as are added where those are more, so that
/// the log comes back to its limit however much is committed at once.
const TRIMMED: usize = 8192;

impl Batch<'_> {
    /// Writes what the calls came to: among the recent commits, or, once those are many, together with them in place.
    pub(super) fn write(&mut self, to: &WriteTransaction, history: usize) -> Result<(), EngineError> {
        let recent = self.view.recent();
        let bytes = recent.bytes() + self.commits.bytes();
        let weight = recent.weight() + self.commits.weight();
        drop(recent);
        if bytes > RECENT_BYTES || weight > RECENT_CHANGES.min(history / RECENT_PART) {
            return self.settle(to, history);
        }
        let newest = &mut self.standing.newest;
        let was_empty = newest.is_empty();
        let room = (SHARING * self.row.len()).clamp(ROW, LONG_ROW);
        if newest.len() + self.row.len() > room {
            let mut recent = to.open_table(RECENT)?;
            if !was_empty {
                recent.insert(self.view.last, newest.as_slice())?;
                newest.clear();
            }
            if self.row.len() > room {
                recent.insert(self.standing.last, self.row.as_slice())?;
                self.row.clear();
            }
        }
        newest.append(&mut self.row);
        if !(was_empty && newest.is_empty()) {
            to.open_table(NEWEST)?.insert((), newest.as_slice())?;
        }
        Ok(())
    }

    /// Puts all that is recent in its place, this batch included, and lets go of the oldest commits where the log is
    /// longer than `history`.
    pub(super) fn settle(&mut self, to: &WriteTransaction, history: usize) -> Result<(), EngineError> {
        let recent = self.view.recent();
        let mut resources = to.open_table(RESOURCES)?;
        let mut deleted = to.open_table(DELETED)?;
        let mut place = |id: &str, state: &State| -> Result<(), EngineError> {
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
            if self.commits.find(id, LAST).is_none() {
                place(id, state)?;
            }
        }
        for (id, state) in self.commits.states() {
            place(id, state)?;
        }
        drop((resources, deleted));

        let mut log = to.open_table(LOG)?;
        let mut row = Vec::new();
        let mut last = 0;
        for logged in recent.list().iter().chain(self.commits.list()) {
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
        let added = recent.weight() + self.commits.weight();
        drop((log, recent));

        to.open_table(RECENT)?.retain(|_, _| false)?;
        if !self.standing.newest.is_empty() {
            to.open_table(NEWEST)?.insert((), &[][..])?;
            self.standing.newest.clear();
        }
        self.written.settled = true;
        self.trim(to, history, TRIMMED.max(2 * added))
    }

    /// Lets go of the oldest commits, a row at a time, as long as `limit` or more are left, and of `most` or little more.
    fn trim(&mut self, to: &WriteTransaction, limit: usize, most: usize) -> Result<(), EngineError> {
        if self.standing.weight <= limit {
            return Ok(());
        }
        let mut log = to.open_table(LOG)?;
        let mut deleted = to.open_table(DELETED)?;
        let least = self.standing.weight.saturating_sub(most);
        while self.standing.weight > least {
            let oldest = log.first()?.map(|(last, row)| {
                let last = last.value();
                // What doesn't decode is of no use to anybody.
                (last, commits_in(last, row.value(), 0).flatten().collect::<Vec<Logged>>())
            });
            let Some((last, commits)) = oldest else { break };
            let weight: usize = commits.iter().map(Logged::weight).sum();
            if self.standing.weight < limit + weight {
                break;
            }
            log.remove(last)?;
            self.standing.floor = last;
            self.standing.weight -= weight;
            for logged in commits {
                let position = logged.position.get();
                if let Some(write) = logged.write {
                    let known =
                        if logged.entries.is_some() { Known::Logged(position) } else { Known::Closed };
                    self.standing.forgotten.add(write, &known);
                    self.written.left.push(write);
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
        schema::note_floor(&mut facts, self.standing.floor, self.standing.forgotten)?;
        Ok(())
    }
}
