//! [`Transaction`], reads and writes of several ids that are committed as one.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::call::Call;
use crate::collection::Collection;
use crate::commit::{Action, Committed, Entry, Found};
use crate::conflict::{Conflict, Intent, Kind, Mismatch};
use crate::draft::{Draft, Saved};
use crate::error::{Error, Refusal};
use crate::expected::{Expectation, Expected};
use crate::reply::Reply;
use crate::resource::Resource;
use crate::version::Versioned;

/// Reads and writes of several ids that are committed as one, from [`Collection::transaction`].
///
/// Nothing is sent before [`commit`](Self::commit) but reads. Each id that was read is checked by the commit, an
/// absent one too: it applies only if at that one instant everything is as it was read. So what was decided on the
/// values read is right, though they may have been read at different instants. A second read of an id gives what the
/// first did, or what the transaction itself has written there.
///
/// Expectations speak of the state before the transaction. Dropping it leaves everything as it was. The store's
/// [`entries`](crate::Abilities::entries) limit how many ids one can touch.
///
/// ```
/// use ifmatch::Collection;
///
/// let accounts = Collection::<i64>::in_memory();
/// accounts.create("ann", 100).wait()?;
/// accounts.create("bob", 0).wait()?;
///
/// let mut transfer = accounts.transaction();
/// let ann = transfer.get("ann").wait()?.expect("ann has an account");
/// let bob = transfer.get("bob").wait()?.expect("bob has an account");
/// transfer.put("ann", *ann - 30);
/// transfer.put("bob", *bob + 30);
/// transfer.commit().wait()?;
///
/// assert_eq!(*accounts.fetch("bob").wait()?.value, 30);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "a transaction does nothing until it is committed"]
pub struct Transaction<T: Resource + ?Sized> {
    collection: Collection<T>,
    /// In the order in which the ids were first named.
    slots: Vec<Slot<T>>,
    by_id: HashMap<Arc<str>, usize>,
    drafts: Vec<(usize, Arc<T>, Saved<T>)>,
}

struct Slot<T: ?Sized> {
    id: Arc<str>,
    /// What the first read found.
    read: Option<Option<Versioned<T>>>,
    /// What the caller expects, where it said so.
    given: Option<Expectation>,
    action: Action<T>,
}

impl<T: Resource + ?Sized> Transaction<T> {
    pub(crate) fn new(collection: Collection<T>) -> Self {
        Self { collection, slots: Vec::new(), by_id: HashMap::new(), drafts: Vec::new() }
    }

    /// The value as the transaction sees it: its own write, else what it read here first, else what is stored now.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] where the value does not meet what the transaction was told to expect.
    pub fn get<'a>(&'a mut self, id: &'a str) -> Reply<'a, Option<Arc<T>>> {
        let at = self.slot(id);
        let Self { collection, slots, .. } = self;
        let slot = &mut slots[at];
        match &slot.action {
            Action::Put(value) => return Reply::ready(Ok(Some(Arc::clone(value)))),
            Action::Delete => return Reply::ready(Ok(None)),
            Action::Check => {}
        }
        if let Some(read) = &slot.read {
            return Reply::ready(Ok(read.as_ref().map(|read| Arc::clone(&read.value))));
        }
        collection.get(id).then(move |answer| {
            let found = answer?;
            slot.meets(slot.given, &found)?;
            let value = found.as_ref().map(|found| Arc::clone(&found.value));
            slot.read = Some(found);
            Ok(value)
        })
    }

    /// Expects this of the id, whether it is written or not. To replace exactly one version, check it and put.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] where the transaction has read something else; [`Refusal::Duplicate`] where it was told to
    /// expect something that this contradicts.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # let notes = Collection::<String>::in_memory();
    /// let first = notes.create("readme", "hello".to_string()).wait()?;
    /// let mut transaction = notes.transaction();
    /// transaction.check("readme", first.version)?;
    /// transaction.put("readme", "hello, world".to_string());
    /// transaction.commit().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn check(&mut self, id: &str, expectation: impl Into<Expectation>) -> Result<(), Error> {
        let at = self.slot(id);
        self.slots[at].expect(expectation.into())
    }

    /// Puts a value. Unless the id was read or checked, over whatever is there.
    pub fn put(&mut self, id: &str, value: impl Into<Arc<T>>) {
        let at = self.slot(id);
        self.slots[at].action = Action::Put(value.into());
    }

    /// Puts a value where there is none.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] at once where the transaction sees a value there already.
    pub fn create(&mut self, id: &str, value: impl Into<Arc<T>>) -> Result<(), Error> {
        let at = self.slot(id);
        let slot = &mut self.slots[at];
        match slot.action {
            Action::Put(_) => return Err(slot.exists()),
            // What stood there before is gone in this transaction, and its expectation was noted.
            Action::Delete => {}
            Action::Check => slot.expect(Expected::Absent.into())?,
        }
        slot.action = Action::Put(value.into());
        Ok(())
    }

    /// Deletes the value. Unless the id was read or checked, whatever is there, and also nothing.
    pub fn delete(&mut self, id: &str) {
        let at = self.slot(id);
        self.slots[at].action = Action::Delete;
    }

    /// Commits everything at one instant, or nothing. The receipts are in the order in which the ids were first
    /// named. A transaction that named no id succeeds, and nothing is sent.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] that names every id that is not as it was read or expected;
    /// [`Refusal::TooMany`] where the store can't apply that many ids as one.
    pub fn commit(mut self) -> Reply<'static, Committed> {
        Reply::pending(async move {
            let collection = self.collection.clone();
            let mut call = Call::new(collection.retry());
            self.send(&mut call).await
        })
    }

    pub(crate) async fn send(&mut self, call: &mut Call<'_>) -> Result<Committed, Error> {
        if self.slots.is_empty() {
            return Ok(Committed::from_iter([]));
        }
        let commit = self.slots.iter().map(Slot::entry).collect();
        let committed =
            call.commit(&**self.collection.store(), self.collection.stamps(), &commit, None).await?;
        for (at, value, saved) in self.drafts.drain(..) {
            let receipt = committed.receipts()[at];
            if let Some(version) = receipt.version {
                // Each save has a place of its own, so it can't be taken.
                let _ = saved.set(Versioned { version, value });
            }
        }
        Ok(committed)
    }

    /// Whether the work can come to another end where it reads again: everything that failed was read, not expected
    /// by the caller.
    pub(crate) fn may_mend(&self, conflict: &Conflict) -> bool {
        let read = |mismatch: &Mismatch| {
            let slot = self.by_id.get(mismatch.id()).map(|at| &self.slots[*at]);
            slot.is_some_and(|slot| slot.read.is_some() && slot.given.is_none())
        };
        conflict.mismatches().iter().all(read)
    }

    fn slot(&mut self, id: &str) -> usize {
        if let Some(at) = self.by_id.get(id) {
            return *at;
        }
        let id: Arc<str> = id.into();
        self.by_id.insert(Arc::clone(&id), self.slots.len());
        self.slots.push(Slot { id, read: None, given: None, action: Action::Check });
        self.slots.len() - 1
    }
}

impl<T: Resource + PartialEq> Transaction<T> {
    /// Writes the draft as it is now, if it differs from its base, and expects that base either way. The draft's base
    /// moves on only if and when the transaction is committed.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check) for the base's version; and [`Refusal::Duplicate`] where the transaction has
    /// written that id.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # let notes = Collection::<String>::in_memory();
    /// notes.create("a", "one".to_string()).wait()?;
    /// let mut draft = notes.edit("a").wait()?;
    /// draft.push_str(" and two");
    ///
    /// let mut transaction = notes.transaction();
    /// transaction.save(&mut draft)?;
    /// transaction.create("b", "three".to_string())?;
    /// transaction.commit().wait()?;
    /// assert_eq!(*draft.base().value, "one and two");
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn save(&mut self, draft: &mut Draft<T>) -> Result<(), Error> {
        let (id, base, changed, saved) = draft.save();
        let at = self.slot(id);
        let slot = &mut self.slots[at];
        if !matches!(slot.action, Action::Check) {
            return Err(Refusal::Duplicate { id: id.into() }.into());
        }
        slot.expect(base.into())?;
        if let Some(value) = changed {
            slot.action = Action::Put(Arc::clone(&value));
            self.drafts.push((at, value, saved));
        }
        Ok(())
    }
}

impl<T: Resource + ?Sized> Slot<T> {
    fn entry(&self) -> Entry<'_, T> {
        let read = self.read.as_ref().map(|read| match read {
            Some(read) => Expected::Version(read.version),
            None => Expected::Absent,
        });
        let given = self.given.unwrap_or(Expected::Any.into());
        // What was read met what was given, and says more.
        let expectation = Expectation { expected: read.unwrap_or(given.expected), origin: given.origin };
        Entry { id: &self.id, expectation, action: self.action.clone() }
    }

    /// Takes one more expectation: the stricter of two that can both hold.
    fn expect(&mut self, wanted: Expectation) -> Result<(), Error> {
        if let Some(read) = &self.read {
            self.meets(Some(wanted), read)?;
        }
        let both = match self.given {
            Some(given) => Expectation {
                expected: stricter(given.expected, wanted.expected)
                    .ok_or_else(|| Refusal::Duplicate { id: (&*self.id).into() })?,
                ..wanted
            },
            None => wanted,
        };
        self.given = Some(both);
        Ok(())
    }

    fn meets(&self, given: Option<Expectation>, found: &Option<Versioned<T>>) -> Result<(), Error> {
        let Some(expectation) = given else { return Ok(()) };
        let found = found.clone().map_or(Found::Nothing, Found::Value);
        let entry = Entry { id: &self.id, expectation, action: self.action.clone() };
        entry.judge(found).map_err(|mismatch| Conflict::new(vec![mismatch]).into())
    }

    /// The refusal to create what the transaction itself has written.
    fn exists(&self) -> Error {
        let absent = Expected::Absent.into();
        let mismatch = Mismatch::new::<T>(&self.id, absent, Intent::Put, Kind::Exists, None, None);
        Conflict::new(vec![mismatch]).into()
    }
}

/// The one of two expectations that says more, if both can hold.
fn stricter(one: Expected, other: Expected) -> Option<Expected> {
    match (one, other) {
        (Expected::Any, said) | (said, Expected::Any) => Some(said),
        (Expected::Present, said @ Expected::Version(_))
        | (said @ Expected::Version(_), Expected::Present) => Some(said),
        (one, other) => (one == other).then_some(one),
    }
}

// Hand-written: the derived impl would print the user's values.
impl<T: Resource + ?Sized> fmt::Debug for Transaction<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots.iter().map(Slot::entry)).finish()
    }
}
