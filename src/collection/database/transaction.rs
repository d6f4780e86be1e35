//! [`DatabaseTransaction`], reads and writes of several collections that are committed as one.

use std::fmt;
use std::sync::Arc;

use crate::collection::call::Call;
use crate::collection::collection::Collection;
use crate::collection::database::database::Database;
use crate::collection::database::joint;
use crate::collection::database::member::{Escort, Member, Membership};
use crate::collection::database::opaque::{OfAnotherType, Opaque, downcast, pack};
use crate::collection::draft::Draft;
use crate::collection::slot::Slot;
use crate::collection::slots::{Seen, Slots};
use crate::collection::transact::Tried;
use crate::store::{
    Committed, Condition, Conflict, Entry, Error, Failure, NotFound, Outcome, Reply, Resource,
};

/// Reads and writes of several collections of a [`Database`] that are committed as one, from
/// [`Database::transaction`].
///
/// A [`Transaction`](crate::Transaction) whose calls also say which collection they mean, and the same rules: each id that
/// was read is checked by the commit, an absent one too, and nothing is sent before [`commit`](Self::commit) but reads.
/// Reads go through the layers of the collection, and the commit passes the steps of each. What is read past the transaction is
/// not checked, and a list is not either: what no two may have gets an id of its own, in a collection for that, which the
/// transaction [creates](Self::create) (`ann@x` of `mails`).
///
/// ```
/// # #[cfg(feature = "json")] {
/// use ifmatch::Database;
///
/// let office = Database::in_memory();
/// let projects = office.collection::<String>("projects")?;
/// let tasks = office.collection::<u32>("tasks")?;
///
/// let mut start = office.transaction();
/// start.create(&projects, "p1", "the house".to_string())?;
/// start.put(&tasks, "p1", 3);
/// start.commit().wait()?;
///
/// assert_eq!(*tasks.fetch("p1").wait()?.value, 3);
/// # }
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "a transaction does nothing until it is committed"]
pub struct DatabaseTransaction {
    database: Database,
    /// By full ids.
    slots: Slots<Opaque>,
    /// What a call that gives no answer could not do: the first of it is the answer of the commit.
    refused: Option<Error>,
    /// What rides along with the writes of these full ids, as the handles say through which they were made.
    escorts: Vec<(Option<String>, Escort)>,
}

impl DatabaseTransaction {
    pub(super) fn new(database: Database) -> Self {
        Self { database, slots: Slots::new(), refused: None, escorts: Vec::new() }
    }

    /// The value as the transaction sees it: its own write, else what it read here first, else what is stored now.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] where the value does not meet what the transaction was told to expect;
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the collection is not of this database, or has a
    /// layer that the commit would go around.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use ifmatch::Database;
    /// # let office = Database::in_memory();
    /// # let tasks = office.collection::<u32>("tasks")?;
    /// let mut transaction = office.transaction();
    /// assert!(transaction.get(&tasks, "t1").wait()?.is_none());
    /// transaction.put(&tasks, "t1", 3);
    /// assert_eq!(*transaction.get(&tasks, "t1").wait()?.unwrap(), 3);
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn get<'a, T: Resource>(
        &'a mut self,
        from: &'a Collection<T>,
        id: &'a str,
    ) -> Reply<'a, Option<Arc<T>>> {
        let member = match self.member(from) {
            Ok(member) => member,
            Err(error) => return Reply::ready(Err(error)),
        };
        let full_id = member.name().full(id);
        if let Some(value) = self.slots.value(&full_id) {
            return Reply::ready(value.map(typed).transpose());
        }
        let slots = &mut self.slots;
        from.get(id).then(move |answer| {
            let found = slots.read(&full_id, answer?.map(pack)).map_err(|error| shown(error, &member))?;
            found.map(typed).transpose()
        })
    }

    /// The value of a resource that must exist, as the transaction sees it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where it does not; that it is absent is checked by the commit. Else those of
    /// [`get`](Self::get).
    pub fn fetch<'a, T: Resource>(&'a mut self, from: &'a Collection<T>, id: &'a str) -> Reply<'a, Arc<T>> {
        self.get(from, id).then(move |found| found?.ok_or_else(|| from.told(NotFound::new(id).into())))
    }

    /// The same as [`get`](Self::get), but what is read from the store is neither checked nor kept. For what is shown or
    /// logged, and never for what decides a write.
    ///
    /// # Errors
    ///
    /// Those of the store's read, and of a collection that is not of this database.
    pub fn peek<'a, T: Resource>(
        &'a self,
        from: &'a Collection<T>,
        id: &'a str,
    ) -> Reply<'a, Option<Arc<T>>> {
        let known = self.member(from).map(|member| self.slots.value(&member.name().full(id)));
        match known {
            Ok(Some(value)) => Reply::ready(value.map(typed).transpose()),
            Ok(None) => from.get(id).map(|found| found.map(|found| found.value)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// Expects this of the id, whether it is written or not. To replace exactly one version, check it and put.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] where the transaction has read something else;
    /// [`Refusal::Duplicate`](crate::store::Refusal::Duplicate) where it was told to expect something that this
    /// contradicts; and what [`get`](Self::get) refuses.
    pub fn check<T: Resource>(
        &mut self,
        of: &Collection<T>,
        id: &str,
        condition: impl Into<Condition>,
    ) -> Result<(), Error> {
        let member = self.member(of)?;
        let checked = self.slots.check(&member.name().full(id), condition.into());
        checked.map_err(|error| shown(error, &member))
    }

    /// Puts a value. Unless the id was read or checked, over whatever is there. What is wrong with the collection or the id
    /// is told by the commit, which then sends nothing.
    pub fn put<T: Resource>(&mut self, to: &Collection<T>, id: &str, value: impl Into<Arc<T>>) {
        match self.full_id(to, id) {
            Ok(full_id) => self.slots.put(&full_id, value.into()),
            Err(error) => self.refuse(error),
        }
    }

    /// Puts a value where there is none.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] at once where the transaction sees a value there already; and what [`get`](Self::get) refuses.
    pub fn create<T: Resource>(
        &mut self,
        to: &Collection<T>,
        id: &str,
        value: impl Into<Arc<T>>,
    ) -> Result<(), Error> {
        let member = self.member(to)?;
        let full_id = self.full_id(to, id)?;
        self.slots.create(&full_id, value.into()).map_err(|error| shown(error, &member))
    }

    /// Deletes the value. Unless the id was read or checked, whatever is there, and also nothing. What is wrong with the
    /// collection or the id is told by the commit, which then sends nothing.
    pub fn delete<T: Resource>(&mut self, from: &Collection<T>, id: &str) {
        match self.full_id(from, id) {
            Ok(full_id) => self.slots.delete(&full_id),
            Err(error) => self.refuse(error),
        }
    }

    /// Writes the draft as it is now, if it was touched, and expects its base either way.
    /// The draft's base moves on only if and when the transaction is committed, with the draft's value.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check) for the base's version; and [`Refusal::Duplicate`](crate::store::Refusal::Duplicate)
    /// where the transaction has written that id.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use ifmatch::Database;
    /// # let office = Database::in_memory();
    /// # let notes = office.collection::<String>("notes")?;
    /// # let counts = office.collection::<usize>("counts")?;
    /// notes.create("a", "one".to_string()).wait()?;
    /// let mut draft = notes.edit("a").wait()?;
    /// draft.push_str(" and two");
    ///
    /// let mut transaction = office.transaction();
    /// transaction.save(&mut draft)?;
    /// transaction.put(&counts, "a", draft.len());
    /// transaction.commit().wait()?;
    /// assert_eq!(*draft.base().value, "one and two");
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn save<T: Resource>(&mut self, draft: &mut Draft<T>) -> Result<(), Error> {
        let member = self.member(draft.collection())?;
        let full_id = self.full_id(draft.collection(), draft.id())?;
        self.slots.expect_base(&full_id, draft.base().into()).map_err(|error| shown(error, &member))?;
        if let Some((value, saved)) = draft.save() {
            self.slots.save(&full_id, value, move |saving| saved.note(saving));
        }
        Ok(())
    }

    /// Commits everything at one instant, or nothing. The receipts are in the order in which the ids were first named.
    /// Nothing is sent, and it succeeds, where no id was named, and where one was read and that is all.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] that names every id that is not as it was read or expected, with its collection; what a step of a
    /// collection refuses; what a [`put`](Self::put) or [`delete`](Self::delete) could not do;
    /// [`Refusal::TooMany`](crate::store::Refusal::TooMany) where the store can't apply that many ids as one, those
    /// included that steps add.
    pub fn commit(mut self) -> Reply<'static, Committed> {
        Reply::pending(async move {
            let retry = self.database.retry().clone();
            self.send(&mut Call::new(&retry)).await
        })
    }

    fn member<T: Resource>(&self, collection: &Collection<T>) -> Result<Arc<dyn Member>, Error> {
        Membership::within(collection.membership(), self.database.ground()).cloned()
    }

    /// The full id of one that is to be written.
    fn full_id<T: Resource>(&mut self, collection: &Collection<T>, id: &str) -> Result<String, Error> {
        let member = self.member(collection)?;
        member.name().check_id(id)?;
        let full_id = member.name().full(id);
        let escorts = collection.membership().map_or(&[][..], |own| &own.escorts);
        self.escorts.extend(escorts.iter().map(|escort| (Some(full_id.clone()), escort.clone())));
        Ok(full_id)
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }
}

impl Tried for DatabaseTransaction {
    fn seen(&self) -> Seen {
        self.slots.seen()
    }

    async fn send(&mut self, call: &mut Call<'_>) -> Result<Committed, Error> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        let Self { database, slots, escorts, .. } = self;
        let mut joint = database.joint(slots.iter().map(|slot| &*slot.id));
        joint.escorts.clone_from(escorts);
        slots.send(&joint, database.stamps(), call).await
    }

    fn writes(&self) -> bool {
        self.slots.writes()
    }

    fn may_mend(&self, conflict: &Conflict) -> bool {
        self.slots.may_mend(conflict, |mismatch| {
            format!("{}/{}", mismatch.collection().unwrap_or_default(), mismatch.id())
        })
    }
}

fn typed<T: Resource>(value: Arc<Opaque>) -> Result<Arc<T>, Error> {
    downcast(value).ok_or_else(|| Failure::new(Outcome::NotApplied, OfAnotherType).lasting().into())
}

fn shown(error: Error, member: &Arc<dyn Member>) -> Error {
    joint::shown(error, std::iter::once(member))
}

// Hand-written: the derived impl would print the user's values.
impl fmt::Debug for DatabaseTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for Entry { id, condition, action } in self.slots.iter().map(Slot::entry) {
            let (collection, id) = id.split_once('/').unwrap_or(("", id));
            list.entry(&format_args!("{id:?} of {collection}: {action:?}, {condition:?}"));
        }
        list.finish()
    }
}
