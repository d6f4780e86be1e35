//! [`Transaction`], reads and writes of several ids that are committed as one.

use std::fmt;
use std::sync::Arc;

use crate::collection::call::Call;
use crate::collection::collection::Collection;
use crate::collection::draft::Draft;
use crate::collection::slot::Slot;
use crate::collection::slots::{Seen, Slots};
use crate::collection::transact::Tried;
use crate::store::{Committed, Condition, Conflict, Error, NotFound, Reply, Resource};

/// Reads and writes of several ids that are committed as one, from [`Collection::transaction`].
///
/// Nothing is sent before [`commit`](Self::commit) but reads. Each id that was read is checked by the commit, an
/// absent one too: it applies only if at that one instant everything is as it was read. So what was decided on the
/// values read is right, though they may have been read at different instants. A second read of an id gives what the
/// first did, or what the transaction itself has written there. [`peek`](Self::peek) is a read that is not checked.
///
/// Only what is read through the transaction is checked, and never a list: what [`scan`](Collection::scan) and
/// [`list`](Collection::list) showed may be more or less by then. Where no two may have the same, as an address of mail, give
/// that an id of its own and [`create`](Self::create) it in the same transaction: `mails/ann@x`, with the id of whose it is.
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
    slots: Slots<T>,
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
}

impl<T: Resource + ?Sized> Transaction<T> {
    fn new(collection: Collection<T>) -> Self {
        Self { collection, slots: Slots::new() }
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
        if let Some(value) = self.slots.value(id) {
            return Reply::ready(Ok(value));
        }
        let Self { collection, slots } = self;
        collection.get(id).then(move |answer| slots.read(id, answer?))
    }

    /// The value of a resource that must exist, as the transaction sees it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where it does not. That it is absent is checked by the commit, as what [`get`](Self::get) finds
    /// is.
    ///
    /// ```
    /// # use ifmatch::{Collection, Error};
    /// let notes = Collection::<String>::in_memory();
    /// let mut transaction = notes.transaction();
    /// assert!(matches!(transaction.fetch("readme").wait(), Err(Error::NotFound(_))));
    /// ```
    pub fn fetch<'a>(&'a mut self, id: &'a str) -> Reply<'a, Arc<T>> {
        self.get(id).then(move |found| Ok(found?.ok_or_else(|| NotFound::new(id))?))
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
        match self.slots.value(id) {
            Some(value) => Reply::ready(Ok(value)),
            None => self.collection.get(id).map(|found| found.map(|found| found.value)),
        }
    }

    /// Expects this of the id, whether it is written or not. To replace exactly one version, check it and put.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] where the transaction has read something else;
    /// [`Refusal::Duplicate`](crate::store::Refusal::Duplicate) where it was told to expect something that this
    /// contradicts.
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
        self.slots.check(id, condition.into())
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
        self.slots.put(id, value.into());
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
        self.slots.create(id, value.into())
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
        self.slots.delete(id);
    }

    /// Commits everything at one instant, or nothing. The receipts are in the order in which the ids were first
    /// named. Nothing is sent, and it succeeds, where no id was named, and where one was read and that is all: what was
    /// read is as fresh as the store's own read.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] that names every id that is not as it was read or expected;
    /// [`Refusal::TooMany`](crate::store::Refusal::TooMany) where the store can't apply that many ids as one.
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
}

impl<T: Resource + ?Sized> Tried for Transaction<T> {
    fn seen(&self) -> Seen {
        self.slots.seen()
    }

    async fn send(&mut self, call: &mut Call<'_>) -> Result<Committed, Error> {
        let Self { collection, slots } = self;
        slots.send(&**collection.store(), collection.stamps(), call).await
    }

    fn writes(&self) -> bool {
        self.slots.writes()
    }

    fn may_mend(&self, conflict: &Conflict) -> bool {
        let own = self.collection.name();
        conflict.mismatches().iter().all(|mismatch| mismatch.collection() == own)
            && self.slots.may_mend(conflict, |mismatch| mismatch.id().to_owned())
    }
}

impl<T: Resource> Transaction<T> {
    /// Writes the draft as it is now, if it was touched, and expects its base either way. The draft's base
    /// moves on only if and when the transaction is committed, with the draft's value.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check) for the base's version; and
    /// [`Refusal::Duplicate`](crate::store::Refusal::Duplicate) where the transaction has written that id.
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
        self.slots.expect_base(draft.id(), draft.base().into())?;
        // Only from here on: a save that is refused leaves the draft waiting for one before it.
        if let Some((value, saved)) = draft.save() {
            self.slots.save(draft.id(), value, move |saving| saved.note(saving));
        }
        Ok(())
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
    use super::*;
    use crate::collection::retry::Retry;
    use crate::collection::testing::{Fault, Jumping, Pace, Scripted};
    use crate::store::{Expected, Kind, Origin, Receipt, Refusal};

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
    fn debug_shows_what_is_to_be_done_and_no_value() {
        let mut transaction = numbers().transaction();
        transaction.put("a", 987_654);

        let text = format!("{transaction:?}");

        assert!(text.starts_with("[Entry { id: \"a\", ") && text.contains("Put(..)"), "{text}");
        assert!(!text.contains("987654"), "{text}");
    }
}
