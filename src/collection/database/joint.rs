//! One commit of what several collections and their steps want.

use std::sync::Arc;

use crate::collection::database::along::{Along, Rider};
use crate::collection::database::ground::Ground;
use crate::collection::database::member::Member;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::step::Exit;
use crate::collection::slot::stricter;
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Entry, Error, Listed, Mismatch, Page, Refusal, Reply,
    Resolution, Scan, Start, Store, Versioned, WriteId,
};

/// How often what steps added may make steps add more.
const MOST_ROUNDS: usize = 16;

/// The store below a database, for commits over these collections: by full ids, through the steps of each.
pub(super) struct Joint {
    pub(super) ground: Arc<Ground>,
    pub(super) members: Vec<Arc<dyn Member>>,
}

/// The steps that let a commit pass, and the places of the entries that each saw.
struct Passed {
    /// How many entries are the caller's own.
    own: usize,
    steps: Vec<(Vec<usize>, Vec<Exit>)>,
}

/// Sends a commit over these collections, by full ids, through the steps of each, as one commit of the store below.
pub(super) async fn send<'m>(
    ground: &Arc<Ground>,
    members: impl Iterator<Item = &'m Arc<dyn Member>> + Clone + Send,
    commit: Commit<'_, Opaque>,
) -> Result<Committed, Error> {
    let own = commit.entries().len();
    let mut passed = Passed { own, steps: Vec::new() };
    let riders = match enter(ground, members.clone(), &commit, &mut passed) {
        Ok(riders) => riders,
        Err(error) => {
            passed.end(&Err(&error), &[]);
            return Err(error);
        }
    };
    let (whole, places) = match with_riders(commit, &riders) {
        Ok(whole) => whole,
        Err(error) => {
            passed.end(&Err(&error), &[]);
            return Err(error);
        }
    };
    let entries = whole.entries().len();
    let answer = match ground.commit(whole).await {
        Ok(committed) => committed.complete(entries).map_err(Error::from),
        Err(error) => {
            let members = members.map(|member| -> &Arc<dyn Member> { member });
            Err(shown(error, members.chain(riders.iter().map(|rider| &rider.member))))
        }
    };
    passed.end(&answer.as_ref(), &places);
    answer.map(|committed| committed.first(own))
}

/// The commit with all that rides along, and where each rider has its place in it: a check of an id that is there already
/// joins what is there.
fn with_riders<'e>(
    commit: Commit<'e, Opaque>,
    riders: &'e [Rider],
) -> Result<(Commit<'e, Opaque>, Vec<usize>), Error> {
    if riders.is_empty() {
        return Ok((commit, Vec::new()));
    }
    let write = commit.write();
    let mut entries = commit.into_entries();
    let places = riders.iter().map(|rider| join(&mut entries, rider)).collect::<Result<_, _>>()?;
    let whole = Commit::from_iter(entries);
    Ok((if let Some(write) = write { whole.with_write(write) } else { whole }, places))
}

fn join<'e>(entries: &mut Vec<Entry<'e, Opaque>>, rider: &'e Rider) -> Result<usize, Error> {
    let added = rider.entry();
    let Some(at) = entries.iter().position(|entry| entry.id == added.id) else {
        entries.push(added);
        return Ok(entries.len() - 1);
    };
    let there = &mut entries[at];
    let one_writes = matches!(there.action, Action::Check) || matches!(added.action, Action::Check);
    let both = stricter(there.condition.expected, added.condition.expected).filter(|_| one_writes);
    let Some(expected) = both else {
        return Err(Refusal::Duplicate { id: rider.own_entry().id.into() }.into());
    };
    there.condition.expected = expected;
    if matches!(there.action, Action::Check) {
        there.action = added.action;
    }
    Ok(at)
}

/// Lets all parts of a commit pass the steps of their collections, and what those added pass theirs.
fn enter<'m>(
    ground: &Arc<Ground>,
    members: impl Iterator<Item = &'m Arc<dyn Member>>,
    commit: &Commit<'_, Opaque>,
    passed: &mut Passed,
) -> Result<Vec<Rider>, Error> {
    let writes = !commit.applies_nothing();
    let mut riders = Vec::new();
    for member in members.filter(|member| member.has_steps()) {
        let mut places = Vec::new();
        let mut part = Vec::new();
        for (place, entry) in commit.entries().iter().enumerate() {
            if let Some(id) = member.name().id_of(entry.id) {
                places.push(place);
                part.push(Entry { id, ..entry.clone() });
            }
        }
        let mut along = Along {
            ground,
            write: commit.write(),
            collection: member.name().text(),
            writes,
            riders: &mut riders,
        };
        passed.by(member, places, part.into_iter().collect(), &mut along)?;
    }
    let (mut seen, mut rounds) = (0, 0);
    while seen < riders.len() {
        rounds += 1;
        if rounds > MOST_ROUNDS {
            let name = Box::from(&**riders[seen].member.name().text());
            let problem = "gets entries from steps that add more for ever".into();
            return Err(Refusal::Collection { name, problem }.into());
        }
        let mut more = Vec::new();
        for (at, rider) in riders.iter().enumerate().skip(seen).filter(|(_, rider)| rider.member.has_steps())
        {
            let part = Commit::one(rider.own_entry());
            let collection = rider.member.name().text();
            let mut along = Along { ground, write: commit.write(), collection, writes, riders: &mut more };
            passed.by(&rider.member, vec![commit.entries().len() + at], part, &mut along)?;
        }
        seen = riders.len();
        riders.append(&mut more);
    }
    Ok(riders)
}

impl Passed {
    fn by(
        &mut self,
        member: &Arc<dyn Member>,
        places: Vec<usize>,
        part: Commit<'_, Opaque>,
        along: &mut Along<'_>,
    ) -> Result<(), Error> {
        let part = match along.write {
            Some(write) => part.with_write(write),
            None => part,
        };
        let mut exits = Vec::new();
        let entered = member.enter(part, along, &mut exits);
        self.steps.push((places, exits));
        entered.map_err(|error| of_collection(error, member))
    }

    /// Tells the steps, the last one first. Behind the caller's own entries each rider has a place of its own, which is
    /// `of_riders` in the commit that was sent.
    fn end(&mut self, outcome: &Result<&Committed, &Error>, of_riders: &[usize]) {
        for (places, exits) in std::mem::take(&mut self.steps).into_iter().rev() {
            if exits.iter().all(Exit::is_silent) {
                continue;
            }
            let part = outcome.map(|committed| {
                let at = |place: &usize| match place.checked_sub(self.own) {
                    Some(rider) => of_riders[rider],
                    None => *place,
                };
                places.iter().map(|place| committed.receipts()[at(place)]).collect()
            });
            exits.into_iter().rev().for_each(|exit| exit.end(part.as_ref().map_err(|error| *error)));
        }
    }
}

/// What a step refuses, with the collection that it is a step of: it may be of an entry that rides along.
#[cold]
fn of_collection(error: Error, member: &Arc<dyn Member>) -> Error {
    let Error::Conflict(conflict) = error else { return error };
    let named = |mismatch: Mismatch| match mismatch.collection() {
        Some(_) => mismatch,
        None => mismatch.in_collection(Arc::clone(member.name().text())),
    };
    conflict.map(named).into()
}

/// The error as those see it who use the collections.
#[cold]
pub(super) fn shown<'m>(error: Error, members: impl Iterator<Item = &'m Arc<dyn Member>> + Clone) -> Error {
    let of = |full: &str| members.clone().find(|member| member.name().id_of(full).is_some());
    match error {
        Error::Conflict(conflict) => Error::Conflict(conflict.map(|mismatch| match of(mismatch.id()) {
            Some(member) => member.shown(mismatch),
            None => mismatch,
        })),
        other => {
            other.map_ids(|full| of(full).and_then(|member| member.name().id_of(full)).unwrap_or(full).into())
        }
    }
}

impl Store<Opaque> for Joint {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<Opaque>>> {
        self.ground.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, Opaque>) -> Reply<'a, Committed> {
        let sent = send(&self.ground, self.members.iter(), commit);
        if self.ground.is_prompt() { Reply::begin(sent) } else { Reply::pending(sent) }
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.ground.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<Opaque>>> {
        self.ground.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<Opaque>> {
        self.ground.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.ground.abilities()
    }
}
