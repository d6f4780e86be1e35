//! [`Along`], what a [`Step`](crate::collection::Step) adds to a commit.

use std::fmt;
use std::sync::Arc;

use crate::collection::collection::Collection;
use crate::collection::database::ground::Ground;
use crate::collection::database::member::{Member, Membership};
use crate::collection::database::opaque::{Opaque, packed};
use crate::store::{Action, Condition, Entry, Error, Refusal, Resource, WriteId};

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
    pub(super) write: Option<WriteId>,
    /// The collection whose step is running.
    pub(super) collection: &'a str,
    /// Whether the commit writes anything. One that does not has no write id, so nothing may be written with it.
    pub(super) writes: bool,
    pub(super) riders: &'a mut Vec<Rider>,
}

/// An entry that a step added.
pub(super) struct Rider {
    pub(super) member: Arc<dyn Member>,
    /// As the store knows it.
    pub(super) full_id: String,
    pub(super) condition: Condition,
    pub(super) action: Action<Opaque>,
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
    /// around, and where the entry writes and the commit only checks; [`Refusal::Id`]. A step that passes them on refuses the
    /// commit.
    pub fn add<T: Resource>(&mut self, to: &Collection<T>, entry: Entry<'_, T>) -> Result<(), Error> {
        let member = Membership::within(to.membership(), self.ground)?;
        member.name().check_id(entry.id)?;
        if !self.writes && !matches!(entry.action, Action::Check) {
            let name = Box::from(&**member.name().text());
            let problem = "can't be written along with a commit that only checks".into();
            return Err(Refusal::Collection { name, problem }.into());
        }
        let full_id = member.name().full(entry.id);
        let Entry { condition, action, .. } = packed(entry, &full_id);
        self.riders.push(Rider { member, full_id, condition, action });
        Ok(())
    }

    /// The name of the collection whose commit it is: one type of step may serve several.
    pub fn collection(&self) -> &str {
        self.collection
    }

    /// The write id of the commit, if it has one. A commit that is sent again under it is the same commit only if it has the
    /// same entries: what a step adds should have ids that follow from the commit.
    pub fn write(&self) -> Option<WriteId> {
        self.write
    }
}

impl Rider {
    pub(super) fn entry(&self) -> Entry<'_, Opaque> {
        Entry { id: &self.full_id, condition: self.condition, action: self.action.clone() }
    }

    /// The same, as its own collection names it.
    pub(super) fn own_entry(&self) -> Entry<'_, Opaque> {
        let id = self.member.name().id_of(&self.full_id).unwrap_or(&self.full_id);
        Entry { id, condition: self.condition, action: self.action.clone() }
    }
}

impl fmt::Debug for Along<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added: Vec<_> = self.riders.iter().map(Rider::own_entry).collect();
        f.debug_struct("Along").field("collection", &self.collection).field("added", &added).finish()
    }
}
