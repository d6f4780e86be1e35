//! [`View`], the store of one collection of a database.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::base::OneOrMany;
use crate::collection::database::along::Along;
use crate::collection::database::database::Database;
use crate::collection::database::definition::Given;
use crate::collection::database::direct::Direct;
use crate::collection::database::ground::Ground;
use crate::collection::database::joint::{Begun, Joint};
use crate::collection::database::member::Member;
#[cfg(feature = "json")]
use crate::collection::database::member::Membership;
use crate::collection::database::name::Name;
use crate::collection::database::opaque::{OfAnotherType, Opaque, pack, packed, typed, unpack};
use crate::collection::database::own::Typed;
use crate::collection::database::part::{Base, Part};
use crate::collection::database::passage::{AlongOne, Passage};
use crate::collection::database::step::Exit;
use crate::collection::slot::as_read;
use crate::memory::{Memory, Prefix};
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Corrupt, Entry, Error, Listed, Mismatch, Page, Receipt,
    Refusal, Reply, Resolution, Resource, Scan, Start, Store, Versioned, WriteId,
};

/// The store of one collection of a database: its own resources by their ids alone, and with their type.
pub(in crate::collection) struct View<T: Resource> {
    name: Name,
    /// What every commit goes through.
    joint: Joint,
    /// What its full ids begin with, where they are in memory: so none has to be put together.
    in_memory: Option<Prefix>,
    /// What a put passes in memory, where that is known before it comes.
    direct: Option<Direct<T>>,
    /// Whether a commit has to pass anything.
    has_steps: bool,
    /// Its steps, with the type of its values.
    steps: Option<Arc<Steps<T>>>,
    /// Whether it lies below layers, which let commits pass as steps: one that came here would have passed none of the others.
    only_reads: bool,
    /// What reads go through: the layers above this view, where it has any.
    reads: Option<Arc<dyn Store<T>>>,
}

/// What a commit of the collection passes.
struct Steps<T: Resource> {
    name: Name,
    /// In the order in which a commit passes them.
    steps: Vec<Given<T>>,
    /// Whether any of them decides on what a commit would write over.
    wants_base: bool,
    /// Whether any of them may look at more of that than its value.
    wants_more: bool,
}

/// Whether a commit has gone the short way.
enum Short {
    Done(Result<Committed, Error>),
    /// It can't, or not to its end; how far it has come.
    Long(Option<Box<Begun>>),
}

impl<T: Resource> View<T> {
    pub(super) fn new(database: &Database, name: Name, steps: Vec<Given<T>>, wants_more: bool) -> Self {
        let wants_base = steps.iter().any(|step| step.step().wants_base());
        let member = Arc::new(Steps { name: name.clone(), steps, wants_base, wants_more });
        let (ground, deciding) = (Arc::clone(database.ground()), Arc::clone(database.deciding()));
        Self::of(Joint { ground, members: vec![member], escorts: Vec::new(), deciding }, name)
    }

    fn of(joint: Joint, name: Name) -> Self {
        let in_memory = joint.ground.memory().map(|memory| memory.prefix(Arc::clone(name.prefix())));
        let steps: Option<Arc<Steps<T>>> = Arc::clone(&joint.members[0]).typed().downcast().ok();
        let direct =
            steps.as_ref().and_then(|steps| Direct::of(&joint, &steps.steps, joint.ground.memory()?));
        let has_steps = joint.has_steps();
        Self { name, joint, in_memory, direct, has_steps, steps, only_reads: false, reads: None }
    }

    /// A view of the same collection as that of `membership`, where with each write something rides along.
    #[cfg(feature = "json")]
    pub(in crate::collection) fn escorted(membership: &Membership, reads: Arc<dyn Store<T>>) -> Self {
        let Membership { ground, member, escorts, deciding, .. } = membership;
        let joint = Joint {
            ground: Arc::clone(ground),
            members: vec![Arc::clone(member)],
            escorts: escorts.iter().map(|escort| (None, escort.clone())).collect(),
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

    /// The short way of a commit in memory: at once, and with no id put together where nothing needs one.
    #[inline]
    fn at_once(&self, commit: &Commit<'_, T>) -> Short {
        let (Some(memory), Some(prefix)) = (self.ground().memory(), &self.in_memory) else {
            return Short::Long(None);
        };
        if commit.write().is_some() {
            return Short::Long(None);
        }
        match (self.has_steps, commit.entries()) {
            (false, [Entry { id, condition, action: Action::Put(value) }]) => {
                let mut packed: Arc<Opaque> = Arc::clone(value) as Arc<Opaque>;
                let place = memory.place_below(prefix, id);
                match memory.replace_below(prefix, id, place, condition.expected, &mut packed) {
                    Ok(Some(receipt)) => Short::Done(Ok(Committed::one(receipt))),
                    Ok(None) => self.apply(memory, prefix, commit),
                    Err(refusal) => Short::Done(Err(refusal.into())),
                }
            }
            (false, _) => self.apply(memory, prefix, commit),
            (true, [entry]) => match self.put_directly(memory, prefix, entry) {
                Some(receipt) => Short::Done(Ok(Committed::one(receipt))),
                None => self.pass(memory, prefix, commit),
            },
            (true, _) => Short::Long(None),
        }
    }

    #[inline]
    fn put_directly(
        &self,
        memory: &Memory<Opaque>,
        prefix: &Prefix,
        entry: &Entry<'_, T>,
    ) -> Option<Receipt> {
        let Action::Put(value) = &entry.action else { return None };
        self.direct.as_ref()?.put(memory, prefix, &self.joint.deciding, entry, value)
    }

    /// Applies a commit that has to pass nothing.
    fn apply(&self, memory: &Memory<Opaque>, prefix: &Prefix, commit: &Commit<'_, T>) -> Short {
        let good = commit
            .check_ids()
            .and_then(|()| commit.entries().iter().try_for_each(|entry| self.name.check_id(entry.id)));
        if good.is_err() {
            return Short::Long(None);
        }
        let mut entries: Vec<_> =
            commit.entries().iter().map(|entry| packed(entry.clone(), entry.id)).collect();
        let own = entries.len();
        match memory.apply_below(prefix, own, &mut entries) {
            Ok(committed) => Short::Done(Ok(committed)),
            // Nothing was applied, and the long way tells why.
            Err(_) => Short::Long(None),
        }
    }

    /// Lets a commit of one entry pass all steps, and applies it with what they add.
    #[inline(never)]
    fn pass(&self, memory: &Memory<Opaque>, prefix: &Prefix, commit: &Commit<'_, T>) -> Short {
        let ([entry], Some(steps)) = (commit.entries(), &self.steps) else { return Short::Long(None) };
        if self.name.check_id(entry.id).is_err() {
            return Short::Long(None);
        }
        let place = memory.place_below(prefix, entry.id);
        let mut own = packed(entry.clone(), entry.id);
        let (mut base, mut pinned) = (Base::Unread, own.condition.expected);
        if steps.wants_base && !matches!(entry.action, Action::Check) {
            let found = match memory.find_below(prefix, entry.id, place).map(unpack::<T>) {
                Some(None) => return Short::Long(None),
                found => found.flatten(),
            };
            // Somebody stands in line, or there is something else than the caller expects.
            let version = found.as_ref().map(|found| found.version);
            if !self.joint.deciding.is_quiet() || !entry.condition.expected.admits(version) {
                return Short::Long(None);
            }
            pinned = as_read(&found);
            base = Base::Read(found);
        }
        let part = Part::new(commit, OneOrMany::One(base));
        let mut along = AlongOne::default();
        let entered = along.enter(
            &self.joint,
            (&self.name, &own),
            !matches!(entry.action, Action::Check),
            |along, exits, refusals| steps.pass(&part, along, exits, refusals),
        );
        if let Err(error) = entered {
            along.end(&Err(&error));
            return Short::Done(Err(error));
        }
        // Steps are shown what the caller expects; it applies only to what they decided on.
        own.condition.expected = pinned;
        match along.commit(memory, (prefix, place), own) {
            Some(committed) => {
                along.end(&Ok(&committed));
                Short::Done(Ok(committed))
            }
            None => self.unfinished(part, along.begun(self.name())),
        }
    }

    #[cold]
    fn unfinished(&self, part: Part<'_, T>, passage: Passage) -> Short {
        let bases = part.into_bases().map(|base| base.map_owned(|base| Some(pack(base)))).collect();
        Short::Long(Some(Box::new(Begun { bases, passage })))
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
            let found = memory.find_below(prefix, id, memory.place_below(prefix, id));
            return Reply::ready(self.found(id, found));
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
        let begun = match self.at_once(&commit) {
            Short::Done(answer) => return Reply::ready(answer),
            Short::Long(begun) => begun,
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
            self.joint.send(packed, begun).await
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

impl<T: Resource> Steps<T> {
    /// Lets a part of a commit pass all steps, also after one has refused it with a conflict.
    #[inline]
    fn pass(
        &self,
        part: &Part<'_, T>,
        along: &mut Along<'_>,
        exits: &mut Vec<Exit>,
        refusals: &mut Vec<Mismatch>,
    ) -> Result<(), Error> {
        for step in &self.steps {
            match step.step().enter(part, along) {
                Ok(exit) if exit.is_silent() => {}
                Ok(exit) => exits.push(exit),
                Err(Error::Conflict(conflict)) => refusals.extend(conflict.into_mismatches()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
        self.wants_base
    }

    fn wants_value(&self) -> bool {
        self.wants_base && !self.wants_more
    }

    fn typed(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn enter(
        &self,
        part: Commit<'_, Opaque>,
        bases: &[Base<Opaque>],
        along: &mut Along<'_>,
        exits: &mut Vec<Exit>,
    ) -> Result<Vec<Mismatch>, Error> {
        let commit = part.try_map(|entry| typed(entry))?;
        let part = Part::new(&commit, bases.iter().map(|base| base.map(unpack)).collect());
        let mut refusals = Vec::new();
        self.pass(&part, along, exits, &mut refusals).map(|()| refusals)
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
