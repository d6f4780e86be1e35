//! [`Reference`], what a memory store must answer, worked out from a plain `BTreeMap` one call after another.

use std::collections::{BTreeMap, HashMap, VecDeque};

use ifmatch::Kind;
use ifmatch::store::{Advice, Intent, Origin};

/// The ids that operations are about: some are prefixes of others, and the last one can't name a resource.
pub(crate) const IDS: [&str; 8] = ["a", "a/1", "a/2", "ab", "b", "b/ü", "c", ""];

/// How many changes the feed is told to reach back: few, so that watchers fall behind.
pub(crate) const FEED_LIMIT: usize = 12;

/// A state of the store by its number: 1 is what the first commit made, 0 a version that no commit made. The store's
/// own versions are none of the reference's business, only which of them are equal.
pub(crate) type Mark = u32;

/// One call on a store.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    Get(usize),
    Commit {
        steps: Vec<Step>,
        write: Option<u8>,
    },
    Resolve(u8),
    Scan {
        prefix: &'static str,
        after: Option<&'static str>,
        limit: usize,
        values: bool,
    },
    Watch(Place),
    /// The next batch of one of the watchers.
    Next(usize),
    /// Drops one of the watchers.
    Leave(usize),
}

/// One entry of a commit.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: usize,
    pub(crate) belief: Belief,
    pub(crate) origin: Origin,
    pub(crate) deed: Deed,
}

/// An expectation, with a mark for the version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Belief {
    Any,
    Absent,
    Present,
    Version(Mark),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Check,
    Put(u32),
    Delete,
}

/// Where to watch from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Now,
    /// After one of the cursors that were given so far, by its number.
    Cursor(usize),
    /// After a cursor of another store.
    Elsewhere,
    /// After a text that is no cursor of such a store.
    Garbled,
}

/// A value and the state that has it.
pub(crate) type Held = (Mark, u32);

/// What a call must answer, and what it did answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Found(Option<Held>),
    /// Of each entry the version now and the one it replaced.
    Committed(Vec<Receipt>),
    Conflict(Vec<Miss>, Advice),
    Refused(Refused),
    Applied(Vec<Receipt>),
    NotApplied,
    Page {
        items: Vec<(String, Held)>,
        more: bool,
    },
    /// A page without values.
    Ids {
        items: Vec<(String, Mark)>,
        more: bool,
    },
    Watching,
    Batch(Vec<Changed>),
    Pending,
    Expired,
    Left,
}

pub(crate) type Receipt = (Option<Mark>, Option<Mark>);

/// One mismatch of a conflict.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Miss {
    pub(crate) id: String,
    pub(crate) belief: Belief,
    pub(crate) origin: Origin,
    pub(crate) intent: Intent,
    pub(crate) kind: Kind,
    pub(crate) found: Option<Mark>,
    pub(crate) current: Option<Held>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refused {
    Id(String),
    Duplicate(String),
    Closed(u8),
    Reused(u8),
    EmptyPage,
    Cursor,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Changed {
    pub(crate) id: String,
    pub(crate) mark: Mark,
    pub(crate) deleted: bool,
    pub(crate) value: Option<u32>,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Row {
    Value(Held),
    Deleted(Mark),
}

#[derive(Debug, Clone)]
struct Watcher {
    position: Mark,
    waits: bool,
}

/// A commit under a write id: its ids and deeds, by which it is told from another one, and its answer.
type Written = (Vec<(usize, u8)>, Vec<Receipt>);

/// A store that is nothing but a map, and answers one call after another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    rows: BTreeMap<String, Row>,
    /// The last state.
    last: Mark,
    /// What came under a write id; `None` where it was resolved before it came.
    writes: HashMap<u8, Option<Written>>,
    /// What is recorded since the first watch.
    records: VecDeque<(Mark, String, bool)>,
    /// The oldest place that the feed reaches back to; `None` before the first watch.
    oldest: Option<Mark>,
    watchers: Vec<Watcher>,
    cursors: Vec<Mark>,
    /// Which of the watchers that waited the last call woke.
    pub(crate) woken: usize,
}

impl Reference {
    /// The last state that a commit made.
    pub(crate) fn last(&self) -> Mark {
        self.last
    }

    /// The state of the value of an id; 0 where there is none.
    pub(crate) fn mark(&self, id: usize) -> Mark {
        self.held(IDS[id]).map_or(0, |(mark, _)| mark)
    }

    pub(crate) fn watchers(&self) -> usize {
        self.watchers.len()
    }

    pub(crate) fn cursors(&self) -> usize {
        self.cursors.len()
    }

    pub(crate) fn held(&self, id: &str) -> Option<Held> {
        match self.rows.get(id) {
            Some(Row::Value(held)) => Some(*held),
            _ => None,
        }
    }

    /// All values in order, with their ids.
    pub(crate) fn values(&self) -> Vec<(String, Held)> {
        self.rows.keys().filter_map(|id| Some((id.clone(), self.held(id)?))).collect()
    }

    /// Carries out a call, and tells what the answer is.
    pub(crate) fn apply(&mut self, operation: &Operation) -> Answer {
        self.woken = 0;
        match operation {
            Operation::Get(id) => Answer::Found(self.held(IDS[*id])),
            Operation::Commit { steps, write } => self.commit(steps, *write),
            Operation::Resolve(write) => match self.writes.entry(*write).or_insert(None) {
                Some((_, receipts)) => Answer::Applied(receipts.clone()),
                None => Answer::NotApplied,
            },
            Operation::Scan { limit: 0, .. } => Answer::Refused(Refused::EmptyPage),
            Operation::Scan { prefix, after, limit, values } => {
                let mut items = self.values();
                items.retain(|(id, _)| {
                    id.starts_with(prefix) && after.is_none_or(|after| id.as_str() > after)
                });
                let more = items.len() > *limit;
                items.truncate(*limit);
                match values {
                    true => Answer::Page { items, more },
                    false => {
                        let items = items.into_iter().map(|(id, (mark, _))| (id, mark));
                        Answer::Ids { items: items.collect(), more }
                    }
                }
            }
            Operation::Watch(place) => self.watch(*place),
            Operation::Next(watcher) => self.next(*watcher),
            Operation::Leave(watcher) => {
                self.watchers.remove(*watcher);
                Answer::Left
            }
        }
    }

    pub(crate) fn commit(&mut self, steps: &[Step], write: Option<u8>) -> Answer {
        for (index, step) in steps.iter().enumerate() {
            if steps[..index].iter().any(|earlier| earlier.id == step.id) {
                return Answer::Refused(Refused::Duplicate(IDS[step.id].to_owned()));
            }
        }
        let deed = |step: &Step| match step.deed {
            Deed::Check => 0,
            Deed::Put(_) => 1,
            Deed::Delete => 2,
        };
        let named: Vec<(usize, u8)> = steps.iter().map(|step| (step.id, deed(step))).collect();
        // Checks alone are judged anew, whatever their write id.
        let write = write.filter(|_| named.iter().any(|(_, deed)| *deed > 0));
        match write.and_then(|write| Some((write, self.writes.get(&write)?))) {
            Some((_, Some((same, receipts)))) if *same == named => {
                return Answer::Committed(receipts.clone());
            }
            Some((write, Some(_))) => return Answer::Refused(Refused::Reused(write)),
            Some((write, None)) => return Answer::Refused(Refused::Closed(write)),
            None => {}
        }
        let created = |step: &&Step| {
            let creates = matches!(step.deed, Deed::Put(_)) && !self.rows.contains_key(IDS[step.id]);
            creates && IDS[step.id].is_empty() && self.miss(step).is_none()
        };
        if let Some(step) = steps.iter().find(created) {
            return Answer::Refused(Refused::Id(IDS[step.id].to_owned()));
        }
        let misses: Vec<Miss> = steps.iter().filter_map(|step| self.miss(step)).collect();
        if !misses.is_empty() {
            let never = misses.iter().any(|miss| matches!(miss.kind, Kind::Missing | Kind::Deleted));
            return Answer::Conflict(misses, if never { Advice::Never } else { Advice::Refetch });
        }
        let receipts = self.write(steps);
        if let Some(write) = write {
            self.writes.insert(write, Some((named, receipts.clone())));
        }
        Answer::Committed(receipts)
    }

    /// Why an expectation is not met, if it isn't.
    fn miss(&self, step: &Step) -> Option<Miss> {
        let id = IDS[step.id];
        let held = self.held(id);
        let met = match step.belief {
            Belief::Any => true,
            Belief::Absent => held.is_none(),
            Belief::Present => held.is_some(),
            Belief::Version(mark) => held.is_some_and(|(now, _)| now == mark),
        };
        let (kind, found) = match self.rows.get(id) {
            _ if met => return None,
            Some(Row::Value((mark, _))) if step.belief == Belief::Absent => (Kind::Exists, Some(*mark)),
            Some(Row::Value((mark, _))) => (Kind::Stale, Some(*mark)),
            Some(Row::Deleted(mark)) => (Kind::Deleted, Some(*mark)),
            None => (Kind::Missing, None),
        };
        let intent = match step.deed {
            Deed::Check => Intent::Check,
            Deed::Put(_) => Intent::Put,
            Deed::Delete => Intent::Delete,
        };
        let (id, current) = (id.to_owned(), held);
        Some(Miss { id, belief: step.belief, origin: step.origin, intent, kind, found, current })
    }

    /// Does what the steps say, in one new state if it changes anything.
    fn write(&mut self, steps: &[Step]) -> Vec<Receipt> {
        let mark = self.last + 1;
        let mut changes = Vec::new();
        let mut receipts = Vec::new();
        for step in steps {
            let id = IDS[step.id];
            let before = self.held(id).map(|(mark, _)| mark);
            let row = match step.deed {
                Deed::Put(value) => Some(Row::Value((mark, value))),
                Deed::Delete => before.map(|_| Row::Deleted(mark)),
                Deed::Check => None,
            };
            let now = match step.deed {
                Deed::Check => before,
                _ => row.map(|_| mark),
            };
            receipts.push((now, before));
            if let Some(row) = row {
                self.rows.insert(id.to_owned(), row);
                changes.push((mark, id.to_owned(), matches!(row, Row::Deleted(_))));
            }
        }
        if changes.is_empty() {
            return receipts;
        }
        self.last = mark;
        if self.oldest.is_some() {
            self.records.extend(changes);
            while self.records.len() > FEED_LIMIT {
                self.oldest = self.records.pop_front().map(|(mark, ..)| mark);
            }
            for watcher in &mut self.watchers {
                self.woken += usize::from(std::mem::take(&mut watcher.waits));
            }
        }
        receipts
    }

    fn watch(&mut self, place: Place) -> Answer {
        let position = match place {
            Place::Garbled => return Answer::Refused(Refused::Cursor),
            Place::Now => Some(self.last),
            Place::Cursor(number) => Some(self.cursors[number]),
            Place::Elsewhere => None,
        };
        // A store that was asked to watch records from then on, also where the answer is that it can't.
        let oldest = *self.oldest.get_or_insert(self.last);
        match position.filter(|position| *position >= oldest) {
            Some(position) => {
                self.watchers.push(Watcher { position, waits: false });
                self.cursors.push(position);
                Answer::Watching
            }
            None => {
                self.cursors.push(oldest);
                Answer::Expired
            }
        }
    }

    fn next(&mut self, watcher: usize) -> Answer {
        let Self { records, oldest, rows, cursors, .. } = self;
        let Watcher { position, waits } = &mut self.watchers[watcher];
        let oldest = oldest.expect("there is a feed while somebody watches");
        if *position < oldest {
            cursors.push(oldest);
            return Answer::Expired;
        }
        let Some(mark) = records.iter().map(|(mark, ..)| *mark).find(|mark| mark > position) else {
            *waits = true;
            return Answer::Pending;
        };
        *position = mark;
        cursors.push(mark);
        let of_mark = records.iter().filter(|(other, ..)| *other == mark);
        Answer::Batch(
            of_mark
                .map(|(mark, id, deleted)| {
                    let value = match rows.get(id) {
                        Some(Row::Value((now, value))) if now == mark => Some(*value),
                        _ => None,
                    };
                    Changed { id: id.clone(), mark: *mark, deleted: *deleted, value }
                })
                .collect(),
        )
    }
}
