//! One commit of what several collections and their steps want.

use std::sync::Arc;

use crate::collection::database::along::{Along, Rider};
use crate::collection::database::ground::Ground;
use crate::collection::database::member::Member;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::step::Exit;
use crate::store::{
    Abilities, Changes, Commit, Committed, Entry, Error, Listed, Page, Refusal, Reply, Resolution, Scan,
    Start, Store, Versioned, WriteId,
};

/// How often what steps added may make steps add more.
const MOST_ROUNDS: usize = 16;

/// The store below a database, for commits over these collections: by full ids, through the steps of each.
pub(super) struct Joint {
    pub(super) ground: Arc<Ground>,
    pub(super) members: Vec<Arc<dyn Member>>,
}

/// The steps that let a commit pass, and the places of the entries that each saw.
#[derive(Default)]
struct Passed(Vec<(Vec<usize>, Vec<Exit>)>);

/// Sends a commit over these collections, by full ids, through the steps of each, as one commit of the store below.
pub(super) async fn send<'m>(
    ground: &Arc<Ground>,
    members: impl Iterator<Item = &'m Arc<dyn Member>> + Clone + Send,
    commit: Commit<'_, Opaque>,
) -> Result<Committed, Error> {
    let own = commit.entries().len();
    let mut passed = Passed::default();
    let riders = match enter(ground, members.clone(), &commit, &mut passed) {
        Ok(riders) => riders,
        Err(error) => {
            passed.end(&Err(&error));
            return Err(error);
        }
    };
    let write = commit.write();
    let whole = match riders.is_empty() {
        true => commit,
        false => {
            let entries = commit.into_entries().into_iter().chain(riders.iter().map(Rider::entry));
            let whole = Commit::from_iter(entries);
            match write {
                Some(write) => whole.with_write(write),
                None => whole,
            }
        }
    };
    let answer = match ground.commit(whole).await {
        Ok(committed) => committed.complete(own + riders.len()).map_err(Error::from),
        Err(error) => {
            let members = members.map(|member| -> &Arc<dyn Member> { member });
            Err(shown(error, members.chain(riders.iter().map(|rider| &rider.member))))
        }
    };
    passed.end(&answer.as_ref());
    let committed = answer?;
    match riders.is_empty() {
        true => Ok(committed),
        false => Ok(committed.receipts()[..own].iter().copied().collect()),
    }
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
        self.0.push((places, exits));
        entered
    }

    /// Tells the steps, the last one first.
    fn end(&mut self, outcome: &Result<&Committed, &Error>) {
        for (places, exits) in std::mem::take(&mut self.0).into_iter().rev() {
            if exits.iter().all(Exit::is_silent) {
                continue;
            }
            let part =
                outcome.map(|committed| places.iter().map(|place| committed.receipts()[*place]).collect());
            exits.into_iter().rev().for_each(|exit| exit.end(part.as_ref().map_err(|error| *error)));
        }
    }
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
