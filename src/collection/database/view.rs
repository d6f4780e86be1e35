//! [`View`], the store of one collection of a database.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::collection::database::along::Along;
use crate::collection::database::database::Database;
use crate::collection::database::ground::Ground;
use crate::collection::database::joint::Joint;
use crate::collection::database::member::Member;
#[cfg(feature = "json")]
use crate::collection::database::member::Membership;
use crate::collection::database::name::Name;
use crate::collection::database::opaque::{OfAnotherType, Opaque, packed, typed, unpack};
use crate::collection::database::own::Typed;
use crate::collection::database::part::{Base, Part};
use crate::collection::database::step::{Exit, Step};
use crate::memory::Prefix;
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Corrupt, Entry, Error, Expected, Listed, Mismatch, Page,
    Refusal, Reply, Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};

/// The store of one collection of a database: its own resources by their ids alone, and with their type.
pub(in crate::collection) struct View<T: Resource> {
    name: Name,
    /// What every commit goes through.
    joint: Joint,
    /// What its full ids begin with, where they are in memory: so none has to be put together.
    in_memory: Option<Prefix>,
    /// Whether a commit has to pass anything.
    has_steps: bool,
    /// Whether it lies below layers, which let commits pass as steps: one that came here would have passed none of the others.
    only_reads: bool,
    /// What reads go through: the layers above this view, where it has any.
    reads: Option<Arc<dyn Store<T>>>,
    /// Its steps, where all of them are rules, which add nothing to a commit.
    rules: Option<Vec<Arc<dyn Step<T>>>>,
    _type: PhantomData<fn() -> T>,
}

/// What a commit of the collection passes.
struct Steps<T: Resource> {
    name: Name,
    /// In the order in which a commit passes them.
    steps: Vec<Arc<dyn Step<T>>>,
}

impl<T: Resource> View<T> {
    pub(super) fn new(
        database: &Database,
        name: Name,
        steps: Vec<Arc<dyn Step<T>>>,
        only_rules: bool,
    ) -> Self {
        let rules = (only_rules && !steps.is_empty()).then(|| steps.clone());
        let member = Arc::new(Steps { name: name.clone(), steps });
        let (ground, deciding) = (Arc::clone(database.ground()), Arc::clone(database.deciding()));
        let joint = Joint { ground, members: vec![member], escorts: Vec::new(), deciding };
        Self { rules, ..Self::of(joint, name) }
    }

    fn of(joint: Joint, name: Name) -> Self {
        let in_memory = joint.ground.memory().map(|memory| memory.prefix(Arc::clone(name.prefix())));
        let has_steps = joint.has_steps();
        let (reads, rules) = (None, None);
        Self { name, joint, in_memory, has_steps, only_reads: false, reads, rules, _type: PhantomData }
    }

    /// A view of the same collection as that of `membership`, where with each write something rides along.
    #[cfg(feature = "json")]
    pub(in crate::collection) fn escorted(membership: &Membership, reads: Arc<dyn Store<T>>) -> Self {
        let Membership { ground, member, escorts, deciding, .. } = membership;
        let joint = Joint {
            ground: Arc::clone(ground),
            members: vec![Arc::clone(member)],
            escorts: escorts.iter().map(|escort| (None, Arc::clone(escort))).collect(),
            deciding: Arc::clone(deciding),
        };
        Self::of(joint, member.name().clone()).read_through(reads)
    }

    pub(super) fn for_reads(self) -> Self {
        Self { only_reads: true, ..self }
    }

    /// The same view, with its reads through layers above one like it.
    pub(super) fn read_through(self, layers: Arc<dyn Store<T>>) -> Self {
        Self { reads: Some(layers), ..self }
    }

    pub(super) fn member(&self) -> &Arc<dyn Member> {
        &self.joint.members[0]
    }

    fn name(&self) -> &Name {
        &self.name
    }

    fn ground(&self) -> &Ground {
        &self.joint.ground
    }

    /// A reply that is ready where the store below always answers at once.
    fn reply<'a, A: 'a>(&self, answer: impl Future<Output = Result<A, Error>> + Send + 'a) -> Reply<'a, A> {
        if self.ground().is_prompt() { Reply::begin(answer) } else { Reply::pending(answer) }
    }

    fn found(&self, id: &str, found: Option<Versioned<Opaque>>) -> Result<Option<Versioned<T>>, Error> {
        let Some(found) = found else { return Ok(None) };
        let version = found.version;
        match unpack(found) {
            Some(found) => Ok(Some(found)),
            None => Err(Corrupt::new(id, version, OfAnotherType).into()),
        }
    }

    /// The short way of a new value for an existing id, in memory and past no step but rules: there is no full id to be put together.
    /// Where anything is otherwise, the commit comes back.
    #[inline]
    fn replace<'a>(&self, commit: Commit<'a, T>) -> Result<Result<Committed, Error>, Commit<'a, T>> {
        let (Some(memory), Some(prefix)) = (self.ground().memory(), &self.in_memory) else {
            return Err(commit);
        };
        if (self.has_steps && self.rules.is_none()) || commit.write().is_some() {
            return Err(commit);
        }
        let [Entry { id, condition, action: Action::Put(value) }] = commit.entries() else {
            return Err(commit);
        };
        let expected = match &self.rules {
            None => condition.expected,
            Some(rules) => match self.allowed(rules, memory.find_below(prefix, id), &commit) {
                Some(expected) => expected,
                None => return Err(commit),
            },
        };
        let mut packed: Arc<Opaque> = Arc::clone(value) as Arc<Opaque>;
        match memory.replace_below(prefix, id, expected, &mut packed) {
            Ok(Some(receipt)) => Ok(Ok(Committed::one(receipt))),
            Ok(None) => Err(commit),
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    /// What the commit has to expect, pinned to what its rules were decided on; `None` where they do not all allow it, or
    /// somebody stands in line.
    fn allowed(
        &self,
        rules: &[Arc<dyn Step<T>>],
        found: Option<Versioned<Opaque>>,
        commit: &Commit<'_, T>,
    ) -> Option<Expected> {
        let [Entry { condition, .. }] = commit.entries() else { return None };
        let base = unpack::<T>(found?)?;
        let pinned = Expected::from(&base);
        if !self.joint.deciding.is_quiet() || !condition.expected.admits(Some(base.version)) {
            return None;
        }
        let part = Part::new(commit.clone(), vec![Base::Read(Some(base))]);
        let mut riders = Vec::new();
        let mut along = Along {
            ground: &self.joint.ground,
            entries: &[],
            write: None,
            collection: self.name.text(),
            writes: true,
            before: &[],
            riders: &mut riders,
        };
        rules.iter().all(|rule| rule.enter(&part, &mut along).is_ok()).then_some(pinned)
    }

    async fn page(&self, scan: Scan<'_>) -> Result<Page<Listed<T>>, Error> {
        let name = self.name();
        let (prefix, after) = (name.full(scan.prefix), scan.after.map(|after| name.full(after)));
        let scan = Scan { prefix: &prefix, after: after.as_deref(), ..scan };
        let Page { items, more } = self.ground().scan(scan).await.map_err(|error| name.shown(error))?;
        let mut page = Page { items: Vec::with_capacity(items.len()), more };
        for (full, Listed { version, value }) in items {
            let Some(id) = name.id_of(&full) else { continue };
            let item = match value {
                Some(value) => {
                    self.found(id, Some(Versioned { version, value })).map(|found| found.map(Listed::from))
                }
                None => Ok(None),
            };
            if !page.add(id.into(), item.map(|item| item.unwrap_or(Listed { version, value: None })))? {
                break;
            }
        }
        Ok(page)
    }
}

impl<T: Resource> Store<T> for View<T> {
    #[inline]
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        if let Some(layers) = &self.reads {
            return layers.get(id);
        }
        if let (Some(memory), Some(prefix)) = (self.ground().memory(), &self.in_memory) {
            return Reply::ready(self.found(id, memory.find_below(prefix, id)));
        }
        Reply::begin(async move {
            let found = self.ground().get(&self.name().full(id)).await;
            self.found(id, found.map_err(|error| self.name().shown(error))?)
        })
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        if self.only_reads {
            let what = "commits from below the layers of a database's collection";
            return Reply::ready(Err(Refusal::Unsupported { what }.into()));
        }
        let commit = match self.replace(commit) {
            Ok(answer) => return Reply::ready(answer),
            Err(commit) => commit,
        };
        for entry in commit.entries() {
            if let Err(refusal) = self.name().check_id(entry.id) {
                return Reply::ready(Err(refusal.into()));
            }
        }
        self.reply(async move {
            let full: Vec<String> = commit.entries().iter().map(|entry| self.name().full(entry.id)).collect();
            let mut places = 0..;
            let at_its_place = |entry| {
                let place: usize = places.next().unwrap_or_default();
                Ok::<_, Infallible>(packed(entry, &full[place]))
            };
            let Ok(packed) = commit.try_map(at_its_place);
            self.joint.send(packed).await
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        match &self.reads {
            Some(layers) => layers.resolve(write),
            None => self.ground().resolve(write),
        }
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        match &self.reads {
            Some(layers) => layers.scan(scan),
            None => self.reply(self.page(scan)),
        }
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        match &self.reads {
            Some(layers) => layers.watch(from),
            None => {
                self.reply(async move { Ok(Typed::of(self.ground().watch_own(self.name(), from).await?)) })
            }
        }
    }

    fn abilities(&self) -> Abilities {
        self.ground().abilities()
    }
}

impl<T: Resource> Member for Steps<T> {
    fn name(&self) -> &Name {
        &self.name
    }

    #[inline]
    fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    fn wants_base(&self) -> bool {
        self.steps.iter().any(|step| step.wants_base())
    }

    fn enter(
        &self,
        part: Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        along: &mut Along<'_>,
        exits: &mut Vec<Exit>,
    ) -> Result<Vec<Mismatch>, Error> {
        let commit = part.try_map(|entry| typed(entry))?;
        let part = Part::new(commit, bases.iter().map(|base| base.map(unpack)).collect());
        let mut refusals = Vec::new();
        for step in &self.steps {
            match step.enter(&part, along) {
                Ok(exit) => exits.push(exit),
                Err(Error::Conflict(conflict)) => refusals.extend(conflict.into_mismatches()),
                Err(error) => return Err(error),
            }
        }
        Ok(refusals)
    }

    fn shown(&self, mismatch: Mismatch) -> Mismatch {
        let id = self.name.id_of(mismatch.id()).unwrap_or(mismatch.id()).to_owned();
        mismatch.with_id(&id).in_collection(Arc::clone(self.name.text())).map_current(unpack::<T>)
    }
}

impl<T: Resource> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("collection", self.name()).finish_non_exhaustive()
    }
}
