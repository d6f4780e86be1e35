//! [`Passage`], one way of a commit through the steps of its collections.

use std::collections::HashMap;
use std::sync::Arc;

use crate::collection::database::along::{Along, Own};
use crate::collection::database::expectations::Expectations;
use crate::collection::database::joint::Joint;
use crate::collection::database::member::Member;
use crate::collection::database::name::Name;
use crate::collection::database::opaque::Opaque;
use crate::collection::database::part::Base;
use crate::collection::database::rider::Rider;
use crate::collection::database::step::Exit;
use crate::collection::slot::{as_read, stricter};
use crate::memory::{Memory, Place, Prefix};
use crate::store::{Action, Commit, Committed, Condition, Entry, Error, Mismatch, Refusal, Store};

/// How often what steps added may make steps add more.
const MOST_ROUNDS: usize = 16;

/// Up to so many ids, comparing them is cheaper than hashing them.
const FEW: usize = 16;

/// One way of a commit through the steps of its collections: what they added, and what they want to hear.
pub(super) struct Passage {
    /// How many entries are the caller's own.
    own: usize,
    pub(super) riders: Vec<Rider>,
    /// What steps refused with a conflict.
    pub(super) refusals: Vec<Mismatch>,
    /// The places of the entries that each let pass, riders counted behind the caller's own.
    steps: Vec<(Vec<usize>, Vec<Exit>)>,
    expectations: Expectations,
}

impl Passage {
    /// Lets all parts of a commit pass the steps of their collections, and what those added pass theirs. `bases` has one for
    /// each entry of the commit.
    pub(super) async fn enter(
        joint: &Joint,
        commit: &Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
    ) -> Result<Self, Error> {
        let mut passage = Self::of(commit.entries().len());
        let entered = passage.enter_own(joint, commit, bases);
        passage.entered(entered)?.with_riders(joint, commit).await
    }

    /// One that nothing has passed yet.
    fn of(own: usize) -> Self {
        let expectations = Expectations::default();
        Self { own, riders: Vec::new(), refusals: Vec::new(), steps: Vec::new(), expectations }
    }

    /// The same once what was added has passed the steps of its own collections.
    pub(super) async fn with_riders(
        mut self,
        joint: &Joint,
        commit: &Commit<'_, Opaque>,
    ) -> Result<Self, Error> {
        let entered = self.enter_riders(joint, commit).await;
        self.entered(entered)
    }

    /// The same, or why it ended here.
    fn entered(mut self, entered: Result<(), Error>) -> Result<Self, Error> {
        match entered {
            Ok(()) => Ok(self),
            Err(error) => {
                self.end(&Err(&error), &[]);
                Err(error)
            }
        }
    }

    fn enter_own(
        &mut self,
        joint: &Joint,
        commit: &Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
    ) -> Result<(), Error> {
        let mut riders = std::mem::take(&mut self.riders);
        let expectations = std::mem::take(&mut self.expectations);
        let writes = |(_, entry): &(usize, &Entry<'_, Opaque>)| !matches!(entry.action, Action::Check);
        for (place, entry) in commit.entries().iter().enumerate().filter(writes) {
            for (_, escort) in
                joint.escorts.iter().filter(|(of, _)| of.as_deref().is_none_or(|of| of == entry.id))
            {
                let member = joint.member(entry.id).expect("who has a handle has opened its collection");
                let id = member.name().id_of(entry.id).unwrap_or(entry.id);
                let places = &[place];
                let exit = escort.enter(
                    id,
                    &mut along(joint, commit, (member, places), &[], &mut riders, &expectations),
                )?;
                if !exit.is_silent() {
                    self.steps.push((vec![place], vec![exit]));
                }
            }
        }
        for member in joint.members.iter().filter(|member| member.has_steps()) {
            let (mut places, mut part, mut of_part) = (Vec::new(), Vec::new(), Vec::new());
            for (place, entry) in commit.entries().iter().enumerate() {
                if let Some(id) = member.name().id_of(entry.id) {
                    places.push(place);
                    part.push(Entry { id, ..entry.clone() });
                    of_part.push(bases.get(place).cloned().unwrap_or(Base::Unread));
                }
            }
            let mut along = along(joint, commit, (member, &places), &[], &mut riders, &expectations);
            self.by(member, part.into_iter().collect(), &of_part, &mut along)?;
        }
        (self.riders, self.expectations) = (riders, expectations);
        Ok(())
    }

    async fn enter_riders(&mut self, joint: &Joint, commit: &Commit<'_, Opaque>) -> Result<(), Error> {
        let mut riders = std::mem::take(&mut self.riders);
        let expectations = std::mem::take(&mut self.expectations);
        let (mut seen, mut rounds) = (0, 0);
        while seen < riders.len() {
            rounds += 1;
            if rounds > MOST_ROUNDS {
                let name = Box::from(&**riders[seen].member.name().text());
                let problem = "gets entries from steps that add more for ever".into();
                return Err(Refusal::Collection { name, problem }.into());
            }
            for rider in riders.iter_mut().skip(seen).filter(|rider| rider.wants_base()) {
                let found = joint.ground.get(&rider.full_id).await;
                rider.decide(found.map_err(|error| rider.member.name().shown(error))?);
            }
            let mut more = Vec::new();
            for (at, rider) in
                riders.iter().enumerate().skip(seen).filter(|(_, rider)| rider.member.has_steps())
            {
                let (part, places) = (Commit::one(rider.own_entry()), &[self.own + at]);
                let member = (&rider.member, &places[..]);
                let mut along = along(joint, commit, member, &riders, &mut more, &expectations);
                self.by(&rider.member, part, std::slice::from_ref(&rider.base), &mut along)?;
            }
            seen = riders.len();
            riders.append(&mut more);
        }
        (self.riders, self.expectations) = (riders, expectations);
        Ok(())
    }

    fn by(
        &mut self,
        member: &Arc<dyn Member>,
        part: Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        along: &mut Along<'_>,
    ) -> Result<(), Error> {
        let part = match along.write {
            Some(write) => part.with_write(write),
            None => part,
        };
        let mut exits = Vec::new();
        let entered = member.enter(part, bases, along, &mut exits);
        if !exits.is_empty() {
            self.steps.push((along.places.to_vec(), exits));
        }
        self.refusals.extend(entered?.into_iter().map(|mismatch| named(mismatch, member.name())));
        Ok(())
    }

    /// Tells the steps how it ended, the last one first. Behind the caller's own entries each rider has a place of its own,
    /// which is `of_riders` in the commit that was sent.
    pub(super) fn end(&mut self, outcome: &Result<&Committed, &Error>, of_riders: &[usize]) {
        for (places, exits) in std::mem::take(&mut self.steps).into_iter().rev() {
            let part = outcome.map(|committed| {
                let at = |place: &usize| match place.checked_sub(self.own) {
                    Some(rider) => of_riders[rider],
                    None => *place,
                };
                places.iter().map(|place| committed.receipts()[at(place)]).collect()
            });
            end(exits, part.as_ref().map_err(|error| *error));
        }
    }
}

/// Tells those who let one part pass how it ended, the last one first.
fn end(exits: Vec<Exit>, outcome: Result<&Committed, &Error>) {
    exits.into_iter().rev().for_each(|exit| exit.end(outcome));
}

/// What rides along with a commit of one entry in memory, and what wants to hear of it.
#[derive(Default)]
pub(super) struct AlongOne {
    riders: Vec<Rider>,
    exits: Vec<Exit>,
    refusals: Vec<Mismatch>,
}

impl AlongOne {
    /// Lets the commit pass what rides along with each write, and the steps of its collection as `enter` runs them.
    #[inline]
    pub(super) fn enter(
        &mut self,
        joint: &Joint,
        (name, entry): (&Name, &Entry<'_, Opaque>),
        writes: bool,
        enter: impl FnOnce(&mut Along<'_>, &mut Vec<Exit>, &mut Vec<Mismatch>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut along = Along {
            ground: &joint.ground,
            own: Own { entries: std::slice::from_ref(entry), of: Some(name) },
            write: None,
            name,
            places: &[0],
            writes,
            before: &[],
            riders: &mut self.riders,
            expectations: &Expectations::default(),
        };
        if !matches!(entry.action, Action::Check) {
            for (_, escort) in &joint.escorts {
                let exit = escort.enter(entry.id, &mut along)?;
                if !exit.is_silent() {
                    self.exits.push(exit);
                }
            }
        }
        enter(&mut along, &mut self.exits, &mut self.refusals)
    }

    /// Applies the entry with all that rides along. `None` where that is not at once what the commit comes to: where a step
    /// refuses it, or something is not as expected, and where riders are many, or have steps to pass or entries to join.
    #[inline]
    pub(super) fn commit(
        &mut self,
        memory: &Memory<Opaque>,
        (prefix, place): (&Prefix, Place),
        mut own: Entry<'_, Opaque>,
    ) -> Option<Committed> {
        if !self.refusals.is_empty() || self.riders.len() > FEW {
            return None;
        }
        for at in 0..self.riders.len() {
            let (before, rest) = self.riders.split_at_mut(at);
            let rider = &mut rest[0];
            let joins = prefix.and(own.id, &rider.full_id)
                || before.iter().any(|other| other.full_id == rider.full_id);
            if joins || rider.member.has_steps() {
                return None;
            }
            if rider.wants_base() {
                rider.decide(memory.find(&rider.full_id));
            }
        }
        let expected = own.condition.expected;
        match (&mut own.action, &self.riders[..]) {
            (Action::Put(value), []) => {
                let replaced = memory.replace_below(prefix, own.id, place, expected, value);
                replaced.ok().flatten().map(Committed::one)
            }
            (Action::Put(value), [rider]) if rider.only_checks() => {
                let name = rider.member.name();
                let below = memory.prefix(Arc::clone(name.prefix()));
                let id = name.id_of(&rider.full_id).unwrap_or_default();
                let check = (&below, id, rider.condition.expected);
                match memory.replace_checked(prefix, own.id, place, expected, value, check) {
                    Some(receipt) => Some(Committed::one(receipt)),
                    None => memory.apply_below(prefix, 1, &mut [own, with_base(rider)]).ok(),
                }
            }
            (_, [rider]) => memory.apply_below(prefix, 1, &mut [own, with_base(rider)]).ok(),
            (_, riders) => {
                let riders = riders.iter().map(with_base);
                let mut entries: Vec<_> = std::iter::once(own).chain(riders).collect();
                memory.apply_below(prefix, 1, &mut entries).ok()
            }
        }
    }

    /// Tells how it ended.
    #[inline]
    pub(super) fn end(self, outcome: &Result<&Committed, &Error>) {
        if !self.exits.is_empty() {
            end(self.exits, *outcome);
        }
    }

    /// The passage that it is the beginning of.
    #[cold]
    pub(super) fn begun(self, name: &Name) -> Passage {
        let Self { riders, exits, refusals } = self;
        let refusals = refusals.into_iter().map(|mismatch| named(mismatch, name)).collect();
        let steps = if exits.is_empty() { Vec::new() } else { vec![(vec![0], exits)] };
        Passage { riders, refusals, steps, ..Passage::of(1) }
    }
}

/// Why what rides along can't be one commit with what it rides with.
pub(super) enum Clash {
    /// Two write one id.
    Twice(Refusal),
    /// What is expected of this full id can't hold at once.
    Expected(String),
}

/// Where in a commit the entry of a full id is: comparing a few ids is cheaper than hashing them.
enum Places<'e> {
    Few,
    Many(HashMap<&'e str, usize>),
}

impl<'e> Places<'e> {
    fn of(entries: &[Entry<'e, Opaque>], riders: usize) -> Self {
        match entries.len() + riders {
            0..=FEW => Self::Few,
            _ => Self::Many(entries.iter().enumerate().map(|(at, entry)| (entry.id, at)).collect()),
        }
    }

    /// The place of an id among the entries, if it is there; else it will be the last one.
    fn find(&mut self, entries: &[Entry<'e, Opaque>], id: &'e str) -> Option<usize> {
        match self {
            Self::Few => entries.iter().position(|entry| entry.id == id),
            Self::Many(places) => {
                Some(*places.entry(id).or_insert(entries.len())).filter(|at| *at < entries.len())
            }
        }
    }
}

/// A step may refuse an entry that rides along: the caller has to hear of which collection.
fn named(mismatch: Mismatch, name: &Name) -> Mismatch {
    match mismatch.collection() {
        Some(_) => mismatch,
        None => mismatch.in_collection(Arc::clone(name.text())),
    }
}

fn along<'a>(
    joint: &'a Joint,
    commit: &'a Commit<'a, Opaque>,
    (member, places): (&'a Arc<dyn Member>, &'a [usize]),
    before: &'a [Rider],
    riders: &'a mut Vec<Rider>,
    expectations: &'a Expectations,
) -> Along<'a> {
    Along {
        ground: &joint.ground,
        own: Own { entries: commit.entries(), of: None },
        write: commit.write(),
        name: member.name(),
        places,
        writes: !commit.applies_nothing(),
        before,
        riders,
        expectations,
    }
}

/// The commit with all that rides along, each entry only to what the steps decided on; and where each rider has its place
/// in it: a check of an id that is there already joins what is there.
pub(super) fn whole<'e>(
    commit: Commit<'e, Opaque>,
    bases: &[Base<Opaque>],
    riders: &'e [Rider],
) -> Result<(Commit<'e, Opaque>, Vec<usize>), Clash> {
    if riders.is_empty() && bases.iter().all(|base| matches!(base, Base::Unread)) {
        return Ok((commit, Vec::new()));
    }
    let (write, fresh) = (commit.write(), commit.fresh_write());
    let mut entries = commit.into_entries();
    for (entry, base) in entries.iter_mut().zip(bases) {
        entry.condition = pinned(entry.condition, base);
    }
    let mut places = Places::of(&entries, riders.len());
    let joined = riders.iter().map(|rider| join(&mut entries, &mut places, rider));
    let joined = joined.collect::<Result<Vec<_>, _>>()?;
    let whole = Commit::from_iter(entries);
    let whole = match (write, fresh) {
        (_, Some(write)) => whole.with_fresh_write(write),
        (Some(write), None) => whole.with_write(write),
        (None, None) => whole,
    };
    Ok((whole, joined))
}

/// The condition that also holds only as long as what was read stands. One that does not hold for that is left as it is:
/// it will be what fails.
fn pinned(condition: Condition, base: &Base<Opaque>) -> Condition {
    match base {
        Base::Read(base) if condition.expected.admits(base.as_ref().map(|base| base.version)) => {
            Condition { expected: as_read(base), ..condition }
        }
        _ => condition,
    }
}

/// The entry of a rider, only to what it was decided on.
fn with_base(rider: &Rider) -> Entry<'_, Opaque> {
    Entry { condition: pinned(rider.condition, &rider.base), ..rider.entry() }
}

/// Adds the entry of a rider, or lets it join what is there.
fn join<'e>(
    entries: &mut Vec<Entry<'e, Opaque>>,
    places: &mut Places<'e>,
    rider: &'e Rider,
) -> Result<usize, Clash> {
    let added = with_base(rider);
    let Some(at) = places.find(entries, added.id) else {
        entries.push(added);
        return Ok(entries.len() - 1);
    };
    let there = &mut entries[at];
    if !matches!(there.action, Action::Check) && !matches!(added.action, Action::Check) {
        return Err(Clash::Twice(Refusal::Duplicate { id: rider.own_entry().id.into() }));
    }
    let both = stricter(there.condition.expected, added.condition.expected);
    there.condition.expected = both.ok_or_else(|| Clash::Expected(rider.full_id.clone()))?;
    if matches!(there.action, Action::Check) {
        there.action = added.action;
    }
    Ok(at)
}
