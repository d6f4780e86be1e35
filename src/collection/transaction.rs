//! [`Transaction`], reads and writes of several ids that are committed as one.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::collection::call::Call;
use crate::collection::collection::Collection;
use crate::collection::draft::{Draft, Saved};
use crate::collection::retry::Effect;
use crate::store::{
    Action, Commit, Committed, Condition, Conflict, Entry, Error, Expected, Found, Intent, Kind, Mismatch,
    Origin, Receipt, Refusal, Reply, Resource, Versioned,
};

/// Reads and writes of several ids that are committed as one, from [`Collection::transaction`].
///
/// Nothing is sent before [`commit`](Self::commit) but reads. Each id that was read is checked by the commit, an
/// absent one too: it applies only if at that one instant everything is as it was read. So what was decided on the
/// values read is right, though they may have been read at different instants. A second read of an id gives what the
/// first did, or what the transaction itself has written there. [`peek`](Self::peek) is a read that is not checked.
///
/// Expectations speak of the state before the transaction. Dropping it leaves everything as it was. The store's
/// [`entries`](crate::store::Abilities::entries) limit how many ids one can touch.
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
    seen: Seen,
}

/// What a transaction has read, shared with `transact`, which has to know it where the work fails and the transaction
/// is gone.
type Seen = Arc<Mutex<Vec<(Arc<str>, Expected)>>>;

struct Slot<T: ?Sized> {
    id: Arc<str>,
    /// What the first read found.
    read: Option<Option<Versioned<T>>>,
    /// What the caller expects, where it said so.
    given: Option<Condition>,
    action: Action<T>,
}

impl<T: Resource + ?Sized> Collection<T> {
    /// A new [`Transaction`], with nothing read or written yet.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let stock = Collection::<u32>::in_memory();
    /// stock.create("apples", 3).wait()?;
    ///
    /// let mut swap = stock.transaction();
    /// let apples = swap.get("apples").wait()?.map_or(0, |apples| *apples);
    /// swap.put("apples", apples - 1);
    /// swap.put("pears", 1);
    /// swap.commit().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn transaction(&self) -> Transaction<T> {
        Transaction::new(self.clone())
    }

    /// Does `work` in a transaction and commits it, and again where the commit lost a race for what the work had read.
    ///
    /// `work` may run more than once: keep it free of other effects. It gives the transaction back with its answer. Write it
    /// as an async closure, which borrows what it uses from outside. A transaction is one of this collection alone.
    ///
    /// The versions that were written are not told. Where a response has to carry one, as an `ETag`, take
    /// [`transaction`](Self::transaction) and the receipts of its commit: a read afterwards may find the next writer's.
    ///
    /// What it expects on its own account, by [`check`](Transaction::check), [`create`](Transaction::create) or
    /// [`save`](Transaction::save), is not tried again when it fails.
    ///
    /// # Errors
    ///
    /// The work's own error as it is, with nothing committed. Where a check shows that what the work had read has
    /// changed since, or never stood there at one instant, the work decides again instead. The last conflict once
    /// [`Retry`](crate::Retry) allows no more tries.
    ///
    /// ```
    /// use ifmatch::{Collection, Error};
    ///
    /// let accounts = Collection::<i64>::in_memory();
    /// accounts.create("ann", 100).wait()?;
    ///
    /// let (from, to) = ("ann".to_string(), "bob".to_string());
    /// let left = accounts
    ///     .transact(async |mut transfer| {
    ///         let giver = transfer.get(&from).await?.map_or(0, |giver| *giver);
    ///         transfer.put(&from, giver - 30);
    ///         // Only now: where both are the same account, it sees what was just put.
    ///         let taker = transfer.get(&to).await?.map_or(0, |taker| *taker);
    ///         transfer.put(&to, taker + 30);
    ///         Ok::<_, Error>((transfer, giver - 30)) // the error type must be named somewhere
    ///     })
    ///     .wait()?;
    /// assert_eq!(left, 70);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn transact<'a, R, E, F, Fut>(&'a self, mut work: F) -> Reply<'a, R, E>
    where
        R: Send + 'a,
        E: From<Error> + Send + 'a,
        F: FnMut(Transaction<T>) -> Fut + Send + 'a,
        Fut: Future<Output = Result<(Transaction<T>, R), E>> + Send,
    {
        Reply::pending(async move {
            let mut call = Call::new(self.retry());
            let error = loop {
                let transaction = self.transaction();
                let seen = transaction.seen();
                let Some(done) = call.bound(work(transaction)).await else { break call.too_late() };
                let (mut transaction, answer) = match done {
                    Ok(done) => done,
                    Err(error) => match self.changed_since(&seen, &mut call).await {
                        Some(_) if call.pause().await => continue,
                        Some(conflict) => break conflict.exhausted(call.attempts()).into(),
                        None => {
                            call.report(None, Effect::Refused);
                            return Err(error);
                        }
                    },
                };
                let error = match transaction.send(&mut call).await {
                    Ok(_) => {
                        let effect = if transaction.writes() { Effect::Applied } else { Effect::Unchanged };
                        call.report(None, effect);
                        return Ok(answer);
                    }
                    Err(error) => error,
                };
                match error {
                    Error::Conflict(conflict) if transaction.may_mend(&conflict) => {
                        if !call.pause().await {
                            break conflict.exhausted(call.attempts()).into();
                        }
                    }
                    error => break error,
                }
            };
            call.report(None, Effect::Failed(&error));
            Err(error.into())
        })
    }

    /// The conflict, where a check shows that what a transaction has read was changed since, or never was there at one
    /// instant.
    async fn changed_since(&self, seen: &Seen, call: &mut Call<'_>) -> Option<Conflict> {
        let seen = std::mem::take(&mut *seen.lock());
        let checks: Commit<'_, T> = seen.iter().map(|(id, read)| Entry::check(id, *read)).collect();
        let checked = match checks.entries() {
            [] => return None,
            _ => call.commit(&**self.store(), self.stamps(), &checks, None).await,
        };
        match checked {
            Err(Error::Conflict(conflict)) => Some(conflict),
            _ => None,
        }
    }
}

impl<T: Resource + ?Sized> Transaction<T> {
    fn new(collection: Collection<T>) -> Self {
        Self {
            collection,
            slots: Vec::new(),
            by_id: HashMap::new(),
            drafts: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// The value as the transaction sees it: its own write, else what it read here first, else what is stored now.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] where the value does not meet what the transaction was told to expect.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// let mut transaction = notes.transaction();
    /// assert!(transaction.get("readme").wait()?.is_none());
    /// transaction.put("readme", "hello".to_string());
    ///
    /// assert_eq!(*transaction.get("readme").wait()?.unwrap(), "hello");
    /// assert!(notes.get("readme").wait()?.is_none()); // not committed yet
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn get<'a>(&'a mut self, id: &'a str) -> Reply<'a, Option<Arc<T>>> {
        let at = self.slot(id);
        let Self { collection, slots, seen, .. } = self;
        let slot = &mut slots[at];
        if let Some(value) = slot.value() {
            return Reply::ready(Ok(value));
        }
        collection.get(id).then(move |answer| {
            let found = answer?;
            slot.meets(slot.given, &found)?;
            let value = found.as_ref().map(|found| Arc::clone(&found.value));
            seen.lock().push((Arc::clone(&slot.id), as_read(&found)));
            slot.read = Some(found);
            Ok(value)
        })
    }

    /// The same as [`get`](Self::get), but what is read from the store is neither checked nor kept: it may have changed by
    /// the time of the commit, and again at the next read. For what is shown or logged, and never for what decides a write.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let stock = Collection::<u32>::in_memory();
    /// stock.create("apples", 3).wait()?;
    ///
    /// let mut sale = stock.transaction();
    /// let apples = sale.peek("apples").wait()?;
    /// sale.put("pears", 1);
    /// stock.put("apples", 2).wait()?;
    /// sale.commit().wait()?; // no conflict: it does not rest on the apples
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn peek<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Arc<T>>> {
        let known = self.by_id.get(id).and_then(|at| self.slots[*at].value());
        match known {
            Some(value) => Reply::ready(Ok(value)),
            None => self.collection.get(id).map(|found| found.map(|found| found.value)),
        }
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
    pub fn check(&mut self, id: &str, condition: impl Into<Condition>) -> Result<(), Error> {
        let at = self.slot(id);
        self.slots[at].expect(condition.into())
    }

    /// Puts a value. Unless the id was read or checked, over whatever is there.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # let settings = Collection::<String>::in_memory();
    /// let mut both = settings.transaction();
    /// both.put("theme", "dark".to_string());
    /// both.put("font", "large".to_string());
    /// both.commit().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn put(&mut self, id: &str, value: impl Into<Arc<T>>) {
        let at = self.slot(id);
        self.slots[at].action = Action::Put(value.into());
    }

    /// Puts a value where there is none.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] at once where the transaction sees a value there already.
    ///
    /// ```
    /// # use ifmatch::{Collection, Kind};
    /// # let notes = Collection::<String>::in_memory();
    /// notes.create("readme", "hello".to_string()).wait()?;
    ///
    /// let mut transaction = notes.transaction();
    /// transaction.create("readme", "mine".to_string())?; // not read, so not known yet
    /// let error = transaction.commit().wait().unwrap_err();
    /// assert_eq!(error.conflict().unwrap().kind(), &Kind::Exists);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # let notes = Collection::<String>::in_memory();
    /// notes.create("draft", "hello".to_string()).wait()?;
    ///
    /// let mut rename = notes.transaction();
    /// let text = rename.get("draft").wait()?.expect("it was just created");
    /// rename.delete("draft");
    /// rename.create("readme", text)?;
    /// rename.commit().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn delete(&mut self, id: &str) {
        let at = self.slot(id);
        self.slots[at].action = Action::Delete;
    }

    /// Commits everything at one instant, or nothing. The receipts are in the order in which the ids were first
    /// named. Nothing is sent, and it succeeds, where no id was named, and where one was read and that is all: what was
    /// read is as fresh as the store's own read.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] that names every id that is not as it was read or expected;
    /// [`Refusal::TooMany`] where the store can't apply that many ids as one.
    ///
    /// ```
    /// # use ifmatch::{Collection, Expected};
    /// # let notes = Collection::<String>::in_memory();
    /// let mut transaction = notes.transaction();
    /// transaction.put("a", "one".to_string());
    /// transaction.check("b", Expected::Absent)?;
    ///
    /// let committed = transaction.commit().wait()?;
    /// assert_eq!(committed.receipts()[0].version, Some(notes.fetch("a").wait()?.version));
    /// assert_eq!(committed.receipts()[1].version, None);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn commit(mut self) -> Reply<'static, Committed> {
        Reply::pending(async move {
            let collection = self.collection.clone();
            let mut call = Call::new(collection.retry());
            self.send(&mut call).await
        })
    }

    async fn send(&mut self, call: &mut Call<'_>) -> Result<Committed, Error> {
        if let Some(committed) = self.stands_as_read() {
            return Ok(committed);
        }
        let commit = self.slots.iter().map(Slot::entry).collect();
        let committed =
            call.commit(&**self.collection.store(), self.collection.stamps(), &commit, None).await?;
        let committed = committed.complete(self.slots.len())?;
        for (at, value, saved) in self.drafts.drain(..) {
            // What was saved may have been written over, or deleted, later in the transaction.
            let stands = matches!(&self.slots[at].action, Action::Put(last) if Arc::ptr_eq(last, &value));
            if let Some(version) = committed.receipt(at)?.version.filter(|_| stands) {
                // Each save has a place of its own, so it can't be taken.
                let _ = saved.set(Versioned { version, value });
            }
        }
        Ok(committed)
    }

    fn writes(&self) -> bool {
        self.slots.iter().any(|slot| !matches!(slot.action, Action::Check))
    }

    /// The answer that takes no commit: nothing is to be written, and no two reads have to hold at one instant.
    fn stands_as_read(&self) -> Option<Committed> {
        match &self.slots[..] {
            [] => Some(Committed::from_iter([])),
            [Slot { read: Some(read), given: None, action: Action::Check, .. }] => {
                let version = read.as_ref().map(|read| read.version);
                Some(Committed::from_iter([Receipt { version, replaced: version }]))
            }
            _ => None,
        }
    }

    /// Whether the work can come to another end where it reads again: everything that failed was read, and what the caller
    /// expects on his own account still holds.
    fn may_mend(&self, conflict: &Conflict) -> bool {
        let read = |mismatch: &Mismatch| {
            let there = match mismatch.kind() {
                Kind::Missing | Kind::Deleted => None,
                _ => mismatch.found(),
            };
            let slot = self.by_id.get(mismatch.id()).map(|at| &self.slots[*at]);
            slot.is_some_and(|slot| {
                slot.read.is_some() && slot.given.is_none_or(|given| given.expected.admits(there))
            })
        };
        conflict.mismatches().iter().all(read)
    }

    fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
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

impl<T: Resource> Transaction<T> {
    /// Writes the draft as it is now, if it was touched, and expects its base either way. The draft's base
    /// moves on only if and when the transaction is committed, with the draft's value.
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
        let at = self.slot(draft.id());
        let slot = &mut self.slots[at];
        if !matches!(slot.action, Action::Check) {
            return Err(Refusal::Duplicate { id: draft.id().into() }.into());
        }
        slot.expect(draft.base().into())?;
        // Only from here on: a save that is refused leaves the draft waiting for one before it.
        if let Some((value, saved)) = draft.save() {
            slot.action = Action::Put(Arc::clone(&value));
            self.drafts.push((at, value, saved));
        }
        Ok(())
    }
}

impl<T: Resource + ?Sized> Slot<T> {
    /// The value as the transaction sees it, as far as that is known already.
    fn value(&self) -> Option<Option<Arc<T>>> {
        match &self.action {
            Action::Put(value) => Some(Some(Arc::clone(value))),
            Action::Delete => Some(None),
            Action::Check => self.read.as_ref().map(|read| read.as_ref().map(|read| Arc::clone(&read.value))),
        }
    }

    fn entry(&self) -> Entry<'_, T> {
        let read = self.read.as_ref().map(as_read);
        let given = self.given.unwrap_or(Expected::Any.into());
        // What was read met what was given, and says more.
        let condition = Condition { expected: read.unwrap_or(given.expected), origin: given.origin };
        Entry { id: &self.id, condition, action: self.action.clone() }
    }

    /// Takes one more expectation: the stricter of two that can both hold.
    fn expect(&mut self, wanted: Condition) -> Result<(), Error> {
        if let Some(read) = &self.read {
            self.meets(Some(wanted), read)?;
        }
        let both = match self.given {
            Some(given) => Condition {
                expected: stricter(given.expected, wanted.expected)
                    .ok_or_else(|| Refusal::Duplicate { id: (&*self.id).into() })?,
                // As the status speaks of the header where one failed.
                origin: if given.origin == Origin::Protocol { Origin::Protocol } else { wanted.origin },
            },
            None => wanted,
        };
        self.given = Some(both);
        Ok(())
    }

    fn meets(&self, given: Option<Condition>, found: &Option<Versioned<T>>) -> Result<(), Error> {
        let Some(condition) = given else { return Ok(()) };
        let found = found.clone().map_or(Found::Nothing, Found::Value);
        let entry = Entry { id: &self.id, condition, action: self.action.clone() };
        entry.judge(found).map_err(|mismatch| {
            // What will be done there is not known yet, and may be a put: then it is the header that failed.
            let by_header = condition.origin == Origin::Protocol && mismatch.intent() == Intent::Check;
            let mismatch = if by_header { mismatch.with_intent(Intent::Put) } else { mismatch };
            Conflict::from(mismatch).into()
        })
    }

    /// The refusal to create what the transaction itself has written.
    fn exists(&self) -> Error {
        let absent = Expected::Absent.into();
        Conflict::from(Mismatch::new::<T>(&self.id, absent, Intent::Put, Found::Nothing)).into()
    }
}

/// What holds as long as a read would find the same.
fn as_read<T: ?Sized>(read: &Option<Versioned<T>>) -> Expected {
    read.as_ref().map_or(Expected::Absent, Expected::from)
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Waker};
    use std::thread;

    use super::*;
    use crate::collection::retry::Retry;
    use crate::collection::testing::{Fault, Jumping, Pace, Scripted};
    use crate::store::{Commit, Kind};

    fn numbers() -> Collection<u64> {
        let numbers = Collection::in_memory();
        numbers.create("a", 1).wait().unwrap();
        numbers.create("b", 2).wait().unwrap();
        numbers
    }

    fn kinds(answer: Result<Committed, Error>) -> Vec<(String, Kind)> {
        let Err(Error::Conflict(conflict)) = answer else { panic!("no conflict") };
        conflict.mismatches().iter().map(|one| (one.id().to_owned(), one.kind().clone())).collect()
    }

    #[test]
    fn what_was_read_is_checked_also_where_nothing_was() {
        let numbers = numbers();
        let mut transaction = numbers.transaction();
        transaction.get("a").wait().unwrap();
        assert_eq!(transaction.get("c").wait().unwrap(), None);
        transaction.put("b", 9);
        numbers.put("a", 5).wait().unwrap();
        numbers.create("c", 5).wait().unwrap();

        let failed = kinds(transaction.commit().wait());

        assert_eq!(failed, [("a".to_owned(), Kind::Stale), ("c".to_owned(), Kind::Exists)]);
        assert_eq!(*numbers.fetch("b").wait().unwrap().value, 2);
    }

    #[test]
    fn reads_repeat_and_see_the_transactions_own_writes() {
        let numbers = numbers();
        let mut transaction = numbers.transaction();
        assert_eq!(transaction.get("a").wait().unwrap().as_deref(), Some(&1));
        numbers.put("a", 5).wait().unwrap();
        assert_eq!(transaction.get("a").wait().unwrap().as_deref(), Some(&1));

        transaction.put("b", 7);
        assert_eq!(transaction.get("b").wait().unwrap().as_deref(), Some(&7));
        transaction.delete("b");
        assert_eq!(transaction.get("b").wait().unwrap(), None);
        transaction.create("b", 8).unwrap();
        assert_eq!(transaction.get("b").wait().unwrap().as_deref(), Some(&8));
        transaction.create("b", 9).unwrap_err();

        assert_eq!(kinds(transaction.commit().wait()), [("a".to_owned(), Kind::Stale)]);
    }

    #[test]
    fn everything_applies_at_once_with_receipts_in_the_order_of_naming() {
        let numbers = numbers();
        let mut transaction = numbers.transaction();
        transaction.put("b", 20);
        transaction.create("c", 30).unwrap();
        transaction.delete("a");

        let committed = transaction.commit().wait().unwrap();

        let versions: Vec<_> = committed.receipts().iter().map(|receipt| receipt.version).collect();
        let now = |id| numbers.get(id).wait().unwrap().map(|found| found.version);
        assert_eq!(versions[..2], [now("b"), now("c")]);
        assert_eq!(now("a"), None);
        assert!(committed.receipts()[2].replaced.is_some());
    }

    #[test]
    fn what_contradicts_a_read_is_refused_at_once_and_changes_nothing() {
        let numbers = numbers();
        let stale = numbers.fetch("a").wait().unwrap();
        let now = numbers.put("a", 5).wait().unwrap();

        let mut transaction = numbers.transaction();
        transaction.get("a").wait().unwrap();
        assert!(matches!(transaction.check("a", &stale), Err(Error::Conflict(_))));
        assert!(matches!(transaction.create("a", 6), Err(Error::Conflict(_))));
        transaction.check("a", &now).unwrap();

        let mut transaction = numbers.transaction();
        transaction.check("a", &stale).unwrap();
        assert!(matches!(transaction.get("a").wait(), Err(Error::Conflict(_))));
        assert!(matches!(transaction.check("a", Expected::Absent), Err(Error::Refused(_))));
        transaction.check("a", Expected::Present).unwrap();
        transaction.put("a", 7);
        assert_eq!(kinds(transaction.commit().wait()), [("a".to_owned(), Kind::Stale)]);
    }

    #[test]
    fn an_expectation_keeps_where_it_came_from() {
        let numbers = numbers();
        let stale = numbers.fetch("a").wait().unwrap();
        numbers.put("a", 5).wait().unwrap();
        let mut transaction = numbers.transaction();
        let header = Condition::from_protocol(Expected::from(&stale));
        transaction.check("a", header).unwrap();

        let Err(Error::Conflict(conflict)) = transaction.commit().wait() else { panic!("it was stale") };

        assert_eq!(conflict.origin(), Origin::Protocol);
    }

    #[test]
    fn a_draft_moves_on_only_when_the_transaction_commits() {
        let numbers = numbers();
        let mut draft = numbers.edit("a").wait().unwrap();
        let before = draft.base().clone();
        *draft += 10;

        let mut dropped = numbers.transaction();
        dropped.save(&mut draft).unwrap();
        drop(dropped);
        assert_eq!(draft.base(), &before);

        let mut refused = numbers.transaction();
        refused.save(&mut draft).unwrap();
        refused.check("b", Expected::Absent).unwrap();
        refused.commit().wait().unwrap_err();
        assert_eq!(draft.base(), &before);

        let mut transaction = numbers.transaction();
        transaction.save(&mut draft).unwrap();
        *draft += 100;
        transaction.commit().wait().unwrap();
        assert_eq!(draft.base(), &numbers.fetch("a").wait().unwrap());
        assert_eq!((*draft.base().value, *draft), (11, 111));
        assert_eq!(*draft.commit().wait().unwrap().value, 111);
    }

    #[test]
    fn a_peek_sees_what_a_read_sees_and_nothing_rests_on_it() {
        let numbers = Collection::<u64>::in_memory();
        for id in ["a", "b", "c", "d"] {
            numbers.create(id, 1).wait().unwrap();
        }
        let mut transaction = numbers.transaction();
        transaction.get("b").wait().unwrap();
        numbers.put("b", 2).wait().unwrap();
        transaction.put("c", 3);
        transaction.delete("d");

        let mut peek = |id| transaction.peek(id).wait().unwrap().map(|value| *value);
        assert_eq!(["a", "b", "c", "d", "e"].map(&mut peek), [Some(1), Some(1), Some(3), None, None]);
        numbers.put("a", 5).wait().unwrap();
        assert_eq!(peek("a"), Some(5), "it is not kept");

        let mut transaction = numbers.transaction();
        transaction.peek("a").wait().unwrap();
        transaction.put("b", 4);
        numbers.put("a", 6).wait().unwrap();
        assert_eq!(transaction.commit().wait().unwrap().receipts().len(), 1);
    }

    #[test]
    fn a_race_for_what_was_read_is_run_again_while_what_the_caller_expects_holds() {
        for (goes, expected) in [(false, Some(3)), (true, None)] {
            let numbers = Collection::<u64>::in_memory();
            numbers.create("a", 1).wait().unwrap();
            let runs = AtomicU32::new(0);

            let answer = numbers
                .transact(async |mut transaction| {
                    transaction.check("a", Condition::from_protocol(Expected::Present))?;
                    let read = *transaction.get("a").await?.unwrap();
                    if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                        match goes {
                            true => drop(numbers.delete("a", Expected::Present).await?),
                            false => drop(numbers.put("a", 2).await?),
                        }
                    }
                    transaction.put("a", read + 1);
                    Ok::<_, Error>((transaction, read + 1))
                })
                .wait();

            assert_eq!(answer.ok(), expected, "only what the caller expected is told as its failure");
        }
    }

    #[test]
    fn a_read_that_does_not_meet_a_header_fails_as_the_write_would() {
        let numbers = Collection::<u64>::in_memory();
        let condition = Condition::from_protocol(Expected::Version("7".parse().unwrap()));
        let mut reads = numbers.transaction();
        reads.check("a", condition).unwrap();
        let read = reads.get("a").wait().unwrap_err();
        let mut writes = numbers.transaction();
        writes.check("a", condition).unwrap();
        writes.put("a", 1);
        let written = writes.commit().wait().unwrap_err();
        let mut checks = numbers.transaction();
        checks.get("a").wait().unwrap();
        let checked = checks.check("a", condition).unwrap_err();

        assert_eq!([read, written, checked].map(|error| crate::http::status(&error)), [412; 3]);
    }

    #[test]
    fn one_read_alone_needs_no_commit_and_two_do() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, false));
        let numbers = Collection::new(Arc::clone(&store));
        let one = numbers.create("a", 1).wait().unwrap();
        let sent = store.sent();
        for (id, version) in [("a", Some(one.version)), ("b", None)] {
            let mut transaction = numbers.transaction();
            transaction.get(id).wait().unwrap();
            let committed = transaction.commit().wait().unwrap();
            assert_eq!(committed.receipts(), [Receipt { version, replaced: version }]);
        }
        assert_eq!(store.sent(), sent);

        let mut checked = numbers.transaction();
        checked.get("a").wait().unwrap();
        checked.check("a", one.version).unwrap();
        let mut two = numbers.transaction();
        two.get("a").wait().unwrap();
        two.get("b").wait().unwrap();
        numbers.put("a", 2).wait().unwrap();
        for transaction in [checked, two] {
            assert!(matches!(transaction.commit().wait(), Err(Error::Conflict(_))));
        }
    }

    #[test]
    fn the_base_of_a_draft_that_is_saved_and_then_written_over_stays() {
        let numbers = numbers();
        for deletes in [false, true] {
            let mut draft = numbers.edit("a").wait().unwrap();
            let before = draft.base().clone();
            *draft += 10;
            let mut transaction = numbers.transaction();
            transaction.save(&mut draft).unwrap();
            match deletes {
                true => transaction.delete("a"),
                false => transaction.put("a", 5),
            }

            transaction.commit().wait().unwrap();

            assert_eq!(draft.base(), &before);
        }
    }

    #[test]
    fn a_second_save_is_refused_and_the_first_one_counts() {
        let numbers = numbers();
        let mut draft = numbers.edit("a").wait().unwrap();
        *draft += 10;
        let mut transaction = numbers.transaction();
        transaction.save(&mut draft).unwrap();
        *draft += 100;

        transaction.save(&mut draft).unwrap_err();
        transaction.commit().wait().unwrap();

        assert_eq!((*draft.base().value, *draft), (11, 111));
        assert_eq!(draft.base(), &numbers.fetch("a").wait().unwrap());
    }

    #[test]
    fn a_draft_that_is_stale_or_written_to_is_refused() {
        let numbers = numbers();
        let mut draft = numbers.edit("a").wait().unwrap();
        let mut transaction = numbers.transaction();
        transaction.put("a", 9);
        assert!(matches!(transaction.save(&mut draft), Err(Error::Refused(Refusal::Duplicate { .. }))));

        numbers.put("a", 5).wait().unwrap();
        let mut transaction = numbers.transaction();
        transaction.save(&mut draft).unwrap();
        assert_eq!(kinds(transaction.commit().wait()), [("a".to_owned(), Kind::Stale)]);
    }

    #[test]
    fn an_empty_transaction_sends_nothing() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, true));
        let numbers = Collection::new(Arc::clone(&store));

        assert!(numbers.transaction().commit().wait().unwrap().receipts().is_empty());
        assert_eq!(store.sent(), 0);
    }

    #[test]
    fn a_lost_answer_is_settled_here_too() {
        let store = Arc::new(Scripted::<u64>::losing(&[Fault::LoseAnswer]));
        let numbers = Collection::new(Arc::clone(&store)).with_retry(Retry::default().timer(Jumping::new()));
        let mut transaction = numbers.transaction();
        transaction.create("a", 1).unwrap();
        transaction.create("b", 2).unwrap();

        transaction.commit().wait().unwrap();

        assert_eq!((store.sent(), *numbers.fetch("b").wait().unwrap().value), (1, 2));
    }

    #[test]
    fn transact_tries_again_for_what_it_read_and_not_for_what_it_was_told() {
        let numbers = numbers().with_retry(Retry::default().timer(Jumping::new()).attempts(3));
        let runs = AtomicU32::new(0);
        let (runs, numbers) = (&runs, &numbers);
        let race = |id: &'static str, times: u32| {
            if runs.fetch_add(1, Ordering::Relaxed) < times {
                numbers.put(id, 100).wait().unwrap();
            }
        };

        let sum = numbers.transact(|mut work| async move {
            let sum = work.get("a").await?.map_or(0, |a| *a) + work.get("b").await?.map_or(0, |b| *b);
            race("a", 1);
            work.put("c", sum);
            Ok::<_, Error>((work, sum))
        });
        assert_eq!(sum.wait().unwrap(), 102);
        assert_eq!(runs.swap(0, Ordering::Relaxed), 2);

        let for_ever = numbers.transact(|mut work| async move {
            work.get("a").await?;
            race("a", u32::MAX);
            work.put("c", 1);
            Ok::<_, Error>((work, ()))
        });
        let Err(Error::Conflict(conflict)) = for_ever.wait() else { panic!("it did not give up") };
        assert_eq!((conflict.attempts(), runs.swap(0, Ordering::Relaxed)), (3, 3));

        let told = numbers.transact(|mut work| async move {
            race("none", 0);
            work.create("b", 1)?;
            Ok::<_, Error>((work, ()))
        });
        let Err(Error::Conflict(conflict)) = told.wait() else { panic!("b is there") };
        assert_eq!((conflict.attempts(), runs.swap(0, Ordering::Relaxed)), (1, 1));

        let own = numbers.transact(|mut work| async move {
            race("none", 0);
            work.put("c", 77);
            Err::<(Transaction<u64>, ()), _>(numbers.create("b", 1).await.unwrap_err())
        });
        assert!(matches!(own.wait(), Err(Error::Conflict(_))));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(*numbers.fetch("c").wait().unwrap().value, 102);
    }

    #[test]
    fn an_error_of_the_work_stands_only_on_what_was_there_at_one_instant() {
        let numbers = numbers().with_retry(Retry::default().timer(Jumping::new()));
        let runs = AtomicU32::new(0);
        let (runs, numbers) = (&runs, &numbers);

        // The sum is 3 throughout; between its reads a transfer is seen in half.
        let answer = numbers.transact(|mut work| async move {
            let a = *work.get("a").await?.unwrap();
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                let both = Commit::one(Entry::put("a", Expected::Any, Arc::new(0)));
                numbers.commit(both.and(Entry::put("b", Expected::Any, Arc::new(3)))).await?;
            }
            let b = *work.get("b").await?.unwrap();
            if a + b != 3 { Err(Error::from(Refusal::EmptyPage)) } else { Ok((work, a)) }
        });
        assert_eq!(answer.wait().unwrap(), 0);
        assert_eq!(runs.load(Ordering::Relaxed), 2);

        let refused = numbers.transact(|mut work| async move {
            work.get("a").await?;
            runs.fetch_add(1, Ordering::Relaxed);
            Err::<(Transaction<u64>, ()), Error>(Refusal::EmptyPage.into())
        });
        assert!(matches!(refused.wait(), Err(Error::Refused(Refusal::EmptyPage))));
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_error_of_the_work_on_what_had_changed_is_not_returned_when_the_tries_end() {
        let numbers = numbers().with_retry(Retry::default().timer(Jumping::new()).attempts(3));
        let numbers = &numbers;

        let answer = numbers.transact(|mut work| async move {
            let a = *work.get("a").await?.unwrap();
            numbers.put("a", a + 1).await?;
            Err::<(Transaction<u64>, ()), Error>(Refusal::EmptyPage.into())
        });

        let Err(Error::Conflict(conflict)) = answer.wait() else { panic!("decided on what had changed") };
        assert_eq!((conflict.id(), conflict.attempts()), ("a", 3));
    }

    #[test]
    fn of_two_expectations_one_from_a_header_stays_one_from_a_header() {
        let numbers = numbers();
        let header = Condition::from_protocol(Expected::Version("1".parse().unwrap()));
        for header_first in [true, false] {
            let mut transaction = numbers.transaction();
            let both = [header, Expected::Present.into()];
            for condition in if header_first { both } else { [both[1], both[0]] } {
                transaction.check("a", condition).unwrap();
            }
            transaction.put("a", 9);

            let Err(Error::Conflict(conflict)) = transaction.commit().wait() else { panic!("no conflict") };
            assert_eq!(conflict.origin(), Origin::Protocol);
        }
    }

    #[test]
    fn a_transfer_that_is_dropped_at_any_await_moved_all_or_nothing() {
        let mut context = Context::from_waker(Waker::noop());
        let mut ends = [0, 0];
        for (unknown, polls) in
            [false, true].into_iter().flat_map(|unknown| (0..20).map(move |n| (unknown, n)))
        {
            let numbers = Collection::new(Scripted::<u64>::new(Pace::Yields, unknown));
            for id in ["a", "b"] {
                numbers.create(id, 10).wait().unwrap();
            }
            let transfer = || {
                numbers.transact(|mut work| async move {
                    let [a, b] = [work.get("a").await?.unwrap(), work.get("b").await?.unwrap()];
                    work.put("a", *a - 1);
                    work.put("b", *b + 1);
                    Ok::<_, Error>((work, ()))
                })
            };
            let value = |id| *numbers.fetch(id).wait().unwrap().value;

            let mut dropped = transfer();
            (0..polls).any(|_| Pin::new(&mut dropped).poll(&mut context).is_ready());
            drop(dropped);

            let moved = 10 - value("a");
            assert_eq!(value("b"), 10 + moved);
            ends[moved as usize] += 1;
            transfer().wait().unwrap();
            assert_eq!((value("a"), value("b")), (9 - moved, 11 + moved));
        }

        assert!(ends.iter().all(|times| *times > 2), "{ends:?}");
    }

    #[test]
    fn transfers_keep_the_sum_and_checks_stop_write_skew() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, false));
        let doctors = Collection::new(store);
        for id in ["a", "b", "on-duty-a", "on-duty-b"] {
            doctors.create(id, if id.len() == 1 { 1_000 } else { 1 }).wait().unwrap();
        }
        thread::scope(|scope| {
            for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
                let doctors = &doctors;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let transfer = doctors.transact(|mut work| async move {
                            let [source, target] = [work.get(from).await?, work.get(to).await?];
                            work.put(from, *source.unwrap() - 1);
                            work.put(to, *target.unwrap() + 1);
                            Ok::<_, Error>((work, ()))
                        });
                        transfer.wait().unwrap();
                    }
                });
            }
            for (own, other) in [("on-duty-a", "on-duty-b"), ("on-duty-b", "on-duty-a")] {
                let doctors = &doctors;
                scope.spawn(move || {
                    let leave = doctors.transact(|mut work| async move {
                        if work.get(other).await?.as_deref() == Some(&1) {
                            work.put(own, 0);
                        }
                        Ok::<_, Error>((work, ()))
                    });
                    leave.wait().unwrap();
                });
            }
        });

        let value = |id| *doctors.fetch(id).wait().unwrap().value;
        assert_eq!(value("a") + value("b"), 2_000);
        assert_eq!(value("on-duty-a") + value("on-duty-b"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn transact_works_in_a_spawned_task() {
        let numbers = numbers();
        let task = tokio::spawn(async move {
            let (id, step) = ("a".to_owned(), 5);
            let (id, step) = (&*id, &step);
            numbers
                .transact(|mut work| async move {
                    let before = work.get(id).await?.map_or(0, |found| *found);
                    work.put(id, before + step);
                    Ok::<_, Error>((work, before))
                })
                .await
        });

        assert_eq!(task.await.unwrap().unwrap(), 1);
    }

    #[test]
    fn debug_shows_what_is_to_be_done_and_no_value() {
        let mut transaction = numbers().transaction();
        transaction.put("a", 987_654);

        let text = format!("{transaction:?}");

        assert!(text.starts_with("[Entry { id: \"a\", ") && text.contains("Put(..)"), "{text}");
        assert!(!text.contains("987654"), "{text}");
    }
}
