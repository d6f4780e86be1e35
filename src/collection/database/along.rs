//! [`Along`], what a [`Step`](crate::collection::Step) adds to a commit.

use std::fmt;
use std::sync::Arc;

use crate::collection::collection::Collection;
use crate::collection::database::expectations::Expectations;
use crate::collection::database::ground::Ground;
use crate::collection::database::guard::Tell;
use crate::collection::database::member::{Member, Membership};
use crate::collection::database::name::Name;
#[cfg(feature = "idempotency")]
use crate::collection::database::opaque::typed;
use crate::collection::database::opaque::{Opaque, packed, unpack};
use crate::collection::database::rider::{Rider, Told};
use crate::store::{
    Action, Condition, Entry, Error, Expected, Intent, Mismatch, Refusal, Resource, Version, Versioned,
    WriteId,
};

/// What a [`Step`](crate::collection::Step) adds to a commit, and what it may know of it.
///
/// ```
/// use ifmatch::collection::Along;
/// use ifmatch::{Collection, Entry, Error, Expected};
///
/// /// Lets the commit apply only while nobody holds the lock of this name.
/// fn unless_locked(along: &mut Along<'_>, locks: &Collection<String>, name: &str) -> Result<(), Error> {
///     along.add(locks, Entry::check(name, Expected::Absent))
/// }
/// ```
pub struct Along<'a> {
    pub(super) ground: &'a Arc<Ground>,
    /// The caller's own entries.
    pub(super) own: Own<'a>,
    pub(super) write: Option<WriteId>,
    /// The collection whose step is running.
    pub(super) name: &'a Name,
    /// Where the entries that it sees are in the commit, riders counted behind the caller's own.
    pub(super) places: &'a [usize],
    /// Whether the commit writes anything. One that does not has no write id, so nothing may be written with it.
    pub(super) writes: bool,
    /// What steps added in earlier rounds.
    pub(super) before: &'a [Rider],
    pub(super) riders: &'a mut Vec<Rider>,
    pub(super) expectations: &'a Expectations,
}

/// The caller's own entries.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    pub(super) entries: &'a [Entry<'a, Opaque>],
    /// The one collection whose ids they name; else they name full ids.
    pub(super) of: Option<&'a Name>,
}

impl<'a> Own<'a> {
    /// The entry for an id of a collection.
    pub(super) fn find(self, name: &Name, id: &str) -> Option<&'a Entry<'a, Opaque>> {
        match self.of {
            Some(of) if of.text() != name.text() => None,
            Some(_) => self.entries.iter().find(|entry| entry.id == id),
            None => self.entries.iter().find(|entry| name.id_of(entry.id) == Some(id)),
        }
    }
}

impl Along<'_> {
    /// Adds an entry for a collection of the same database. It passes that collection's own steps, and is applied with the
    /// commit, or refused with it: its mismatch names its collection. A check of an id that the commit has already joins what
    /// is there; two writes of one id refuse the commit with [`Refusal::Duplicate`]. It has no receipt in the answer; where a
    /// write id is resolved by hand, those of the commit's own entries come first.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`] where the collection is not of this database, where it has a layer that the entry would go
    /// around, where the entry writes and the commit only checks, and where it writes through a handle under a
    /// lease or with a key, of which the commit would know nothing: [`require`](Self::require) what it depends on, and add it to
    /// the collection itself. [`Refusal::Id`]. A step that passes them on refuses the commit.
    pub fn add<T: Resource>(&mut self, to: &Collection<T>, entry: Entry<'_, T>) -> Result<(), Error> {
        self.ride(to, entry, None)
    }

    /// Adds a check, as [`add`](Self::add) does, and says what the caller hears where it fails: `told` makes that of the
    /// mismatch of the check itself, which has the value that stands there. So a conflict can speak of the resource that was
    /// to be written, and not of what guards it.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    ///
    /// ```
    /// use ifmatch::collection::Along;
    /// use ifmatch::store::Mismatch;
    /// use ifmatch::{Collection, Error, Expected};
    ///
    /// /// No order is written while its customer is blocked.
    /// fn unless_blocked(along: &mut Along<'_>, blocked: &Collection<String>, order: &str) -> Result<(), Error> {
    ///     let (collection, order) = (along.collection().to_owned(), order.to_owned());
    ///     along.require(blocked, "ann", Expected::Absent, move |_| {
    ///         Mismatch::state(&order, "blocked", "its customer is blocked").in_collection(&*collection)
    ///     })
    /// }
    /// ```
    pub fn require<T: Resource>(
        &mut self,
        of: &Collection<T>,
        id: &str,
        condition: impl Into<Condition>,
        told: impl Fn(Mismatch) -> Mismatch + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.ride(of, Entry::check(id, condition), Some(Told::By(Arc::new(told))))
    }

    /// The same for a check that guards the entry at this place of the part, which `told` speaks of: nothing is kept for it.
    pub(super) fn guard(
        &mut self,
        at: usize,
        of: &Arc<dyn Member>,
        id: &str,
        expected: Expected,
        told: &Tell,
    ) -> Result<(), Error> {
        of.name().check_id(id)?;
        let told = self.places.get(at).map(|place| Told::Of(*place, Arc::clone(told)));
        let full_id = of.name().full(id);
        self.riders.push(Rider::new(Arc::clone(of), full_id, expected.into(), Action::Check, told));
        Ok(())
    }

    /// Adds a put of what `change` makes of the value that stands there, `None` where there is none. It costs a read, and
    /// applies only to what was read: where somebody else changed that in between, all steps are asked again. So `change` may
    /// run more than once; keep it pure. It is joined by no other write of the same id. A value that can't be read can't be
    /// written over.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    ///
    /// ```
    /// use ifmatch::collection::Along;
    /// use ifmatch::{Collection, Error};
    ///
    /// /// Counts the writes of each order.
    /// fn count(along: &mut Along<'_>, writes: &Collection<u64>, order: &str) -> Result<(), Error> {
    ///     along.modify(writes, order, |count| count.map_or(1, |count| *count.value + 1))
    /// }
    /// ```
    pub fn modify<T: Resource>(
        &mut self,
        of: &Collection<T>,
        id: &str,
        change: impl Fn(Option<&Versioned<T>>) -> T + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let (member, full_id) = self.rides(of, id, Intent::Put)?;
        let change = move |found: Option<Versioned<Opaque>>| {
            Arc::new(change(found.and_then(unpack).as_ref())) as Arc<Opaque>
        };
        self.riders.push(Rider::changing(member, full_id, Arc::new(change)));
        Ok(())
    }

    fn ride<T: Resource>(
        &mut self,
        to: &Collection<T>,
        entry: Entry<'_, T>,
        told: Option<Told>,
    ) -> Result<(), Error> {
        let (member, full_id) = self.rides(to, entry.id, entry.intent())?;
        let Entry { condition, action, .. } = packed(entry, &full_id);
        self.riders.push(Rider::new(member, full_id, condition, action, told));
        Ok(())
    }

    /// The collection and the full id of an entry that may ride along.
    fn rides<T: Resource>(
        &self,
        to: &Collection<T>,
        id: &str,
        intent: Intent,
    ) -> Result<(Arc<dyn Member>, String), Error> {
        let member = Arc::clone(Membership::within(to.membership(), self.ground)?);
        member.name().check_id(id)?;
        let refused = |problem: &str| {
            let name = Box::from(&**member.name().text());
            Err(Refusal::Collection { name, problem: problem.into() }.into())
        };
        let writes = intent != Intent::Check;
        if writes && !self.writes {
            return refused("can't be written along with a commit that only checks");
        }
        // What rides along with a handle does so with the commits that are made through it.
        if writes && to.membership().is_some_and(|own| !own.escorts.is_empty()) {
            return refused(
                "can't be written by a step through a handle under a lease or with a key: add to the collection itself",
            );
        }
        let full_id = member.name().full(id);
        Ok((member, full_id))
    }

    /// The version that the commit expects of this id already, if it says one: as its own entry, or as what a step before
    /// this one added.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`] where the collection is not of this database.
    ///
    /// ```
    /// use ifmatch::collection::Along;
    /// use ifmatch::{Collection, Error};
    ///
    /// /// Whether whoever commits has looked at the plan.
    /// fn knows_the_plan(along: &Along<'_>, plans: &Collection<String>) -> Result<bool, Error> {
    ///     Ok(along.expects(plans, "plan")?.is_some())
    /// }
    /// ```
    pub fn expects<T: Resource>(&self, of: &Collection<T>, id: &str) -> Result<Option<Version>, Error> {
        Ok(self.expects_in(Membership::within(of.membership(), self.ground)?.name(), id))
    }

    /// The same of the collection of this name.
    pub(super) fn expects_in(&self, name: &Name, id: &str) -> Option<Version> {
        self.expectations.find(name, id, self.own, [self.before, &*self.riders])
    }

    /// What the commit itself does with this id of the collection whose step is running, and what it expects there.
    #[cfg(feature = "idempotency")]
    pub(crate) fn own<'i, T: Resource>(&self, id: &'i str) -> Option<Entry<'i, T>> {
        let entry = self.own.find(self.name, id)?;
        typed(Entry { id, condition: entry.condition, action: entry.action.clone() }).ok()
    }

    /// Whether an entry for this id of a collection was added already, in this round.
    #[cfg(feature = "idempotency")]
    pub(crate) fn has_added<T: Resource>(&self, to: &Collection<T>, id: &str) -> bool {
        let Some(to) = to.membership() else { return false };
        self.riders.iter().any(|rider| to.member.name().id_of(&rider.full_id) == Some(id))
    }

    /// The name of the collection whose commit it is: one type of step may serve several.
    pub fn collection(&self) -> &str {
        self.name.text()
    }

    /// The write id of the commit, if it has one. A commit that is sent again under it is the same commit only if it has the
    /// same entries: what a step adds should have ids that follow from the commit.
    pub fn write(&self) -> Option<WriteId> {
        self.write
    }
}

impl fmt::Debug for Along<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added: Vec<_> = self.riders.iter().map(Rider::own_entry).collect();
        f.debug_struct("Along").field("collection", &self.collection()).field("added", &added).finish()
    }
}
