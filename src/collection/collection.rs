//! [`Collection`], the contract with users: the verbs on a store's resources.

use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;

#[cfg(feature = "json")]
use crate::codec::Encoded;
#[cfg(feature = "json")]
use crate::codec::Json;
use crate::collection::call::{Call, Sent, send};
use crate::collection::draft::Draft;
use crate::collection::gate::Gate;
use crate::collection::modify::{at_once, in_time};
use crate::collection::pages::Pages;
use crate::collection::retry::{Ending, Retry};
use crate::collection::transaction::{Seen, Transaction};
use crate::memory::Memory;
use crate::store::{Abilities, Page, Reply, Resolution, Resource, Store, Versioned, WriteId};
use crate::store::{Changes, Commit, Committed, Condition, Conflict, Entry, Error, Expected, Receipt, Start};

/// Versioned resources of one type, each under its id: the type that a program holds.
///
/// A handle on a [`Store`]. Cloning clones two [`Arc`]s, and clones share the store and the line for hot ids. Every verb
/// gives a [`Reply`]: await it, or [`wait`](Reply::wait) for it in a program without an async runtime.
///
/// | to | |
/// |---|---|
/// | read | [`get`](Self::get) may find nothing, [`fetch`](Self::fetch) must find something |
/// | write what is based on a version | [`replace`](Self::replace), [`delete`](Self::delete), [`create`](Self::create) |
/// | change what is there, whatever it is | [`modify`](Self::modify), [`try_modify`](Self::try_modify), [`modify_async`](Self::modify_async) |
/// | change a copy for as long as it takes | [`edit`](Self::edit) |
/// | change several ids as one | [`transaction`](Self::transaction), [`transact`](Self::transact) |
/// | see all, or what changes | [`list`](Self::list), [`scan`](Self::scan), [`watch`](Self::watch) |
///
/// A value is passed as anything that becomes an `Arc<T>`: a `T`, an `Arc<T>`, a `&str` for a `Collection<str>`. Write
/// `"text".to_string()`, as `"text".into()` leaves open what it becomes.
///
/// Reads that fail are tried again, and so are commits whose answer was lost, once they are known not to have been
/// applied; see [`Retry`]. A commit whose fate can't be told is an [`Error::Failed`] of
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown) with the write id to [`resolve`](Self::resolve) it by.
///
/// ```
/// use ifmatch::{Collection, Error};
///
/// let documents = Collection::<String>::in_memory();
/// let first = documents.create("readme", "hello".to_string()).wait()?;
///
/// documents.replace("readme", first.version, "hello, world".to_string()).wait()?;
/// let late = documents.replace("readme", first.version, "oops".to_string()).wait();
///
/// let Err(Error::Conflict(conflict)) = late else { unreachable!() };
/// assert_eq!(conflict.expected(), first.version.into());
/// # Ok::<_, Error>(())
/// ```
pub struct Collection<T: Resource + ?Sized> {
    store: Arc<dyn Store<T>>,
    /// Whether answers of the store can be lost, so that every commit needs a write id. Asked once: it is on the way
    /// of every write.
    stamps: bool,
    shared: Arc<Shared<T>>,
}

struct Shared<T: ?Sized> {
    retry: Retry,
    gate: Gate<T>,
}

impl<T: Resource + ?Sized> Collection<T> {
    /// The resources of a store, with the default [`Retry`].
    ///
    /// ```
    /// use ifmatch::{Collection, Memory};
    ///
    /// let notes = Collection::new(Memory::<str>::new());
    /// notes.create("readme", "hello").wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn new(store: impl Store<T>) -> Self {
        Self::over(Arc::new(store), Retry::default())
    }

    /// An empty collection in memory.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let numbers = Collection::<u64>::in_memory();
    /// assert!(numbers.get("one").wait()?.is_none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn in_memory() -> Self {
        Self::new(Memory::new())
    }

    /// The resources of a store of bytes, as JSON.
    ///
    /// ```
    /// use ifmatch::{Collection, Memory};
    ///
    /// let notes = Collection::<Vec<u32>>::json(Memory::<[u8]>::new());
    /// notes.create("squares", vec![1, 4, 9]).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn json(store: impl Store<[u8]>) -> Self
    where
        T: Sized + serde::Serialize + serde::de::DeserializeOwned,
    {
        Self::new(Encoded::new(store, Json))
    }

    /// The collection over its store wrapped in a layer: any function from a store to a store.
    ///
    /// It keeps its [`Retry`], and has a line for hot ids of its own.
    ///
    /// ```
    /// use ifmatch::{Collection, Guarded};
    ///
    /// let notes = Collection::<String>::in_memory().layer(Guarded::new);
    /// # notes.create("readme", "hello".to_string()).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn layer<S: Store<T>>(self, layer: impl FnOnce(Arc<dyn Store<T>>) -> S) -> Self {
        Self::over(Arc::new(layer(self.store)), self.shared.retry.clone())
    }

    /// The collection with other limits for trying again, and a line for hot ids of its own.
    ///
    /// ```
    /// # use ifmatch::{Collection, Retry};
    /// let notes = Collection::<String>::in_memory().with_retry(Retry::default().attempts(3));
    /// # notes.create("a", "b".to_string()).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn with_retry(self, retry: Retry) -> Self {
        Self::over(self.store, retry)
    }

    fn over(store: Arc<dyn Store<T>>, retry: Retry) -> Self {
        let stamps = store.abilities().may_lose_answers;
        let gate = Gate::new(Arc::clone(retry.clock()), retry.longest_stall());
        Self { store, stamps, shared: Arc::new(Shared { retry, gate }) }
    }

    /// The store, layers included.
    ///
    /// ```
    /// use ifmatch::{Collection, Store};
    ///
    /// let bytes = Collection::<[u8]>::in_memory();
    /// bytes.create("a", *b"1").wait()?;
    /// # #[cfg(feature = "json")] {
    /// let numbers = Collection::<u64>::json(bytes.store().clone());
    /// assert_eq!(*numbers.fetch("a").wait()?.value, 1);
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn store(&self) -> &Arc<dyn Store<T>> {
        &self.store
    }

    /// What the store can do.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let abilities = Collection::<u64>::in_memory().abilities();
    /// assert!(abilities.watch && abilities.tombstones);
    /// ```
    pub fn abilities(&self) -> Abilities {
        self.store.abilities()
    }

    #[inline]
    pub(crate) fn stamps(&self) -> bool {
        self.stamps
    }

    #[inline]
    pub(crate) fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    #[inline]
    pub(crate) fn gate(&self) -> &Gate<T> {
        &self.shared.gate
    }

    /// The current value, `None` where there is none. Costs what the store's own read costs.
    ///
    /// # Errors
    ///
    /// What the store's read fails with, after the tries that [`Retry`] allows.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// assert!(notes.get("readme").wait()?.is_none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[inline]
    pub fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        let mut reply = self.store.get(id);
        if reply.good().is_none() {
            reply = self.read(reply, move || self.store.get(id));
        }
        reply
    }

    /// The current value of a resource that must exist.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where it does not; it tells whether it was deleted, where the store remembers deletions.
    ///
    /// ```
    /// use ifmatch::{Collection, Error, Expected};
    ///
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("readme", "hello".to_string()).wait()?;
    /// notes.delete("readme", Expected::Present).wait()?;
    ///
    /// let Err(Error::NotFound(missing)) = notes.fetch("readme").wait() else { unreachable!() };
    /// assert!(missing.is_deleted());
    /// # Ok::<_, Error>(())
    /// ```
    pub fn fetch<'a>(&'a self, id: &'a str) -> Reply<'a, Versioned<T>> {
        let first = match self.store.get(id).into_ready() {
            Ok(Ok(Some(found))) => return Reply::ready(Ok(found)),
            Ok(answer) => Reply::ready(answer),
            Err(reply) => reply,
        };
        Reply::pending(async move {
            Call::new(self.retry()).fetch(&*self.store, self.stamps, id, Some(first)).await
        })
    }

    /// Puts the first value of an id, or one after a deletion.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) of kind [`Exists`](crate::Kind::Exists) where there is a value; 409.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// let readme = notes.create("readme", "hello".to_string()).wait()?;
    /// assert!(notes.create("readme", "again".to_string()).wait().is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn create<'a>(&'a self, id: &'a str, value: impl Into<Arc<T>>) -> Reply<'a, Versioned<T>> {
        self.replace(id, Expected::Absent, value)
    }

    /// Puts a value where the stored one is as expected: a version, as a rule.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) where it is not; nothing is changed.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// let first = notes.create("readme", "hello".to_string()).wait()?;
    /// let second = notes.replace("readme", &first, "hello, world".to_string()).wait()?;
    /// assert_ne!(first.version, second.version);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[inline]
    pub fn replace<'a>(
        &'a self,
        id: &'a str,
        condition: impl Into<Condition>,
        value: impl Into<Arc<T>>,
    ) -> Reply<'a, Versioned<T>> {
        let value = value.into();
        let entry = Entry::put(id, condition, Arc::clone(&value));
        let reply = self.commit(Commit::one(entry));
        if let Some(version) = reply.good().and_then(|committed| committed.version()) {
            return Reply::ready(Ok(Versioned { version, value }));
        }
        reply.then(move |committed| Ok(Versioned { version: committed?.put_version(0)?, value }))
    }

    /// Puts a value over whatever is there: a blind write, by which the changes of others can be lost.
    ///
    /// # Errors
    ///
    /// Those of [`commit`](Self::commit), but never a conflict.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let settings = Collection::<String>::in_memory();
    /// settings.put("theme", "dark".to_string()).wait()?;
    /// settings.put("theme", "light".to_string()).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn put<'a>(&'a self, id: &'a str, value: impl Into<Arc<T>>) -> Reply<'a, Versioned<T>> {
        self.replace(id, Expected::Any, value)
    }

    /// Deletes the value where it is as expected. The receipt tells the version of the deletion, and which version
    /// was deleted.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) where it is not. Where [`Expected::Any`] was expected, it is none that there
    /// was nothing.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// let readme = notes.create("readme", "hello".to_string()).wait()?;
    /// let receipt = notes.delete("readme", readme.version).wait()?;
    /// assert_eq!(receipt.replaced, Some(readme.version));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn delete<'a>(&'a self, id: &'a str, condition: impl Into<Condition>) -> Reply<'a, Receipt> {
        let reply = self.commit(Commit::one(Entry::delete(id, condition)));
        if let Some(receipt) = reply.good().and_then(|committed| committed.receipts().first()) {
            return Reply::ready(Ok(*receipt));
        }
        reply.then(|committed| Ok(committed?.receipt(0)?))
    }

    /// Commits checks, puts and deletes of one or many ids at one instant, or nothing of it. The other writing verbs
    /// come down to this; [`transaction`](Self::transaction) is the comfortable form for several ids.
    ///
    /// A commit that carries a write id keeps it. One that carries none gets a fresh one each time it is sent, where
    /// the store's answers can be lost.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) that names each id whose expectation failed, and the rest of
    /// [`Store::commit`]. Where the answer was lost and the store can't tell either, or where the deadline passed,
    /// [`Outcome::Unknown`](crate::store::Outcome::Unknown). A write id of the caller's that the store has closed is not
    /// applied, and is not sent again.
    ///
    /// ```
    /// use ifmatch::{Collection, Commit, Entry, Expected};
    ///
    /// let notes = Collection::<str>::in_memory();
    /// let draft = notes.create("draft", "hello").wait()?;
    /// let publish = Commit::one(Entry::delete("draft", &draft))
    ///     .and(Entry::put("published", Expected::Absent, draft.value.clone()));
    /// notes.commit(publish).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[inline]
    pub fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        if self.stamps {
            return self.commit_stamped(commit);
        }
        let write = commit.write();
        let mut reply = self.store.commit(commit);
        if reply.is_pending() {
            reply = self.commit_in_time(Sent { reply, write });
        }
        reply
    }

    #[cold]
    fn commit_in_time<'a>(&'a self, sent: Sent<'a>) -> Reply<'a, Committed> {
        Reply::pending(async move {
            // Nothing is sent again where answers can't be lost, so no entry is needed for that.
            let nothing = Commit::from_iter([]);
            Call::new(self.retry()).commit(&*self.store, false, &nothing, Some(sent)).await
        })
    }

    fn commit_stamped<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let sent = send(&*self.store, true, &commit);
        let reply = match sent.reply.into_ready() {
            Ok(Err(Error::Failed(failure))) => Reply::ready(Err(Error::Failed(failure))),
            Ok(answer) => return Reply::ready(answer),
            Err(reply) => reply,
        };
        let sent = Sent { reply, write: sent.write };
        Reply::pending(async move {
            Call::new(self.retry()).commit(&*self.store, true, &commit, Some(sent)).await
        })
    }

    /// What became of a commit whose outcome was unknown.
    ///
    /// ```
    /// use ifmatch::{Collection, Commit, Entry, Expected};
    /// use ifmatch::store::{Resolution, WriteId};
    ///
    /// let notes = Collection::<str>::in_memory();
    /// let write = WriteId::new();
    /// let commit = Commit::one(Entry::put("readme", Expected::Absent, "hello".into())).with_write(write);
    /// let committed = notes.commit(commit).wait()?;
    /// assert_eq!(notes.resolve(write).wait()?, Resolution::Applied(committed));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn resolve(&self, write: WriteId) -> Reply<'_, Resolution> {
        self.read(self.store.resolve(write), move || self.store.resolve(write))
    }

    /// Some of the resources whose id starts with `prefix`, in byte order of their ids: those after `after`, at most
    /// `limit`. [`list`](Self::list) goes through all of them.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmptyPage`](crate::store::Refusal::EmptyPage) where `limit` is 0.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("a/1", "one".to_string()).wait()?;
    /// notes.create("a/2", "two".to_string()).wait()?;
    /// let page = notes.scan("a/", None, 1).wait()?;
    /// assert_eq!(page.next(), Some("a/1"));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<T>> {
        self.read(self.store.scan(prefix, after, limit), move || self.store.scan(prefix, after, limit))
    }

    /// All resources whose id starts with `prefix`, page by page, in byte order of their ids.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// let mut pages = notes.list("");
    /// while let Some(page) = pages.next().wait()? {
    ///     println!("{} more", page.items.len());
    /// }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn list(&self, prefix: &str) -> Pages<T> {
        Pages::new(self.clone(), prefix)
    }

    /// The feed of commits from a place on; see [`Changes`].
    ///
    /// # Errors
    ///
    /// [`Error::Expired`] where the feed does not reach back to the cursor;
    /// [`Refusal::Unsupported`](crate::store::Refusal::Unsupported) where the store has no feed.
    ///
    /// ```
    /// use ifmatch::{Collection, Start};
    ///
    /// let notes = Collection::<String>::in_memory();
    /// let mut changes = notes.watch(Start::Now).wait()?;
    /// notes.create("readme", "hello".to_string()).wait()?;
    /// assert_eq!(changes.next().wait()?.changes.len(), 1);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn watch(&self, from: Start) -> Reply<'_, Changes<T>> {
        self.read(self.store.watch(from.clone()), move || self.store.watch(from.clone()))
    }

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
    /// `work` may run more than once: keep it free of other effects. It gives the transaction back with its answer.
    /// What it expects on its own account, by [`check`](Transaction::check), [`create`](Transaction::create) or
    /// [`save`](Transaction::save), is not tried again when it fails.
    ///
    /// # Errors
    ///
    /// The work's own error as it is, with nothing committed. Where a check shows that what the work had read has
    /// changed since, or never stood there at one instant, the work decides again instead. The last conflict once
    /// [`Retry`] allows no more tries.
    ///
    /// ```
    /// use ifmatch::{Collection, Error};
    ///
    /// let accounts = Collection::<i64>::in_memory();
    /// accounts.create("ann", 100).wait()?;
    ///
    /// let left = accounts
    ///     .transact(|mut transfer| async move {
    ///         let ann = transfer.get("ann").await?.map_or(0, |ann| *ann);
    ///         let bob = transfer.get("bob").await?.map_or(0, |bob| *bob);
    ///         transfer.put("ann", ann - 30);
    ///         transfer.put("bob", bob + 30);
    ///         Ok::<_, Error>((transfer, ann - 30))
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
                            call.report(None, Ending::Refused);
                            return Err(error);
                        }
                    },
                };
                let error = match transaction.send(&mut call).await {
                    Ok(_) => {
                        call.report(None, Ending::Applied);
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
            call.report(None, Ending::Failed(&error));
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
            _ => call.commit(&*self.store, self.stamps, &checks, None).await,
        };
        match checked {
            Err(Error::Conflict(conflict)) => Some(conflict),
            _ => None,
        }
    }

    /// A read that is answered with an error, or not yet, gets the deadline and the tries of the [`Retry`].
    fn read<'a, A: Send + 'a>(
        &'a self,
        first: Reply<'a, A>,
        read: impl Fn() -> Reply<'a, A> + Send + 'a,
    ) -> Reply<'a, A> {
        match first.into_ready() {
            Ok(Err(Error::Failed(failure))) => self.read_in_time(Reply::ready(Err(failure.into())), read),
            Ok(answer) => Reply::ready(answer),
            Err(reply) => self.read_in_time(reply, read),
        }
    }

    #[cold]
    fn read_in_time<'a, A: Send + 'a>(
        &'a self,
        first: Reply<'a, A>,
        read: impl Fn() -> Reply<'a, A> + Send + 'a,
    ) -> Reply<'a, A> {
        Reply::pending(async move { Call::new(self.retry()).read(Some(first), read).await })
    }
}

impl<T: Resource + Clone + PartialEq> Collection<T> {
    /// Opens a private copy of a resource, to be changed and then committed.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # let notes = Collection::<String>::in_memory();
    /// # notes.create("readme", "hello".to_string()).wait()?;
    /// let mut draft = notes.edit("readme").wait()?;
    /// draft.push_str(", world");
    /// draft.commit().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where there is nothing to edit.
    pub fn edit<'a>(&'a self, id: &'a str) -> Reply<'a, Draft<T>> {
        self.fetch(id).map(|base| Draft::new(self.clone(), id, base))
    }

    /// Reads a resource, changes a copy of it by `change`, and commits that if nobody else was faster; else again,
    /// from the value the other one left. Gives the state now.
    ///
    /// `change` may run more than once, with nothing locked: keep it free of other effects. A value that it leaves
    /// as it was, by the type's own `==`, is not written: there is no new version, and no feed event. Each try costs a
    /// clone of the value and a commit, and the first one a read.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where there is nothing to change. The last [`Conflict`](crate::Conflict) once [`Retry`]
    /// allows no more tries: 409, and worth trying later.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let counters = Collection::<u64>::in_memory();
    /// counters.create("visits", 0).wait()?;
    /// let visits = counters.modify("visits", |count| *count += 1).wait()?;
    /// assert_eq!(*visits.value, 1);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn modify<'a>(
        &'a self,
        id: &'a str,
        mut change: impl FnMut(&mut T) + Send + 'a,
    ) -> Reply<'a, Versioned<T>> {
        at_once(self, id, move |mut value| {
            change(&mut value);
            ready(Ok(value))
        })
    }

    /// [`modify`](Self::modify) by a closure that may refuse, with an error of the program's own or with
    /// [`Conflict::state`](crate::Conflict::state).
    ///
    /// # Errors
    ///
    /// The closure's error as it is. It is returned only once a check has shown that the value it was decided on is
    /// still the stored one; else the closure decides again.
    ///
    /// ```
    /// use ifmatch::{Collection, Error};
    ///
    /// #[derive(Debug)]
    /// enum Withdrawal {
    ///     TooMuch,
    ///     Store(Error),
    /// }
    ///
    /// impl From<Error> for Withdrawal {
    ///     fn from(error: Error) -> Self {
    ///         Self::Store(error)
    ///     }
    /// }
    ///
    /// let accounts = Collection::<u64>::in_memory();
    /// accounts.create("ann", 20).wait()?;
    /// let refused = accounts
    ///     .try_modify("ann", |balance| {
    ///         *balance = balance.checked_sub(30).ok_or(Withdrawal::TooMuch)?;
    ///         Ok(())
    ///     })
    ///     .wait();
    /// assert!(matches!(refused, Err(Withdrawal::TooMuch)));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_modify<'a, E: From<Error> + Send + 'a>(
        &'a self,
        id: &'a str,
        mut change: impl FnMut(&mut T) -> Result<(), E> + Send + 'a,
    ) -> Reply<'a, Versioned<T>, E> {
        at_once(self, id, move |mut value| {
            let changed = change(&mut value);
            ready(changed.map(|()| value))
        })
    }

    /// [`try_modify`](Self::try_modify) by a future: `change` takes the copy and gives the changed value back.
    ///
    /// The deadline of the [`Retry`] bounds the future too.
    ///
    /// ```
    /// # use ifmatch::{Collection, Error};
    /// # async fn price() -> u64 { 7 }
    /// let prices = Collection::<u64>::in_memory();
    /// prices.create("tea", 5).wait()?;
    /// let tea = prices.modify_async("tea", |old| async move { Ok::<_, Error>(old.max(price().await)) }).wait()?;
    /// assert_eq!(*tea.value, 7);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn modify_async<'a, E, F, Fut>(&'a self, id: &'a str, change: F) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
        F: FnMut(T) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        in_time(self, id, change)
    }
}

impl<T: Resource + ?Sized> Clone for Collection<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), stamps: self.stamps, shared: Arc::clone(&self.shared) }
    }
}

impl<T: Resource + ?Sized> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("retry", &self.shared.retry).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::testing::{Pace, Scripted};
    use crate::store::Kind;

    #[test]
    fn what_a_program_holds_goes_to_other_threads() {
        fn moves<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}

        is_shared::<(Collection<str>, Draft<String>, Transaction<str>, crate::collection::pages::Pages<str>)>(
        );
        is_shared::<(Error, Conflict, Retry, Memory<str>, Page<str>, Commit<'_, str>, Versioned<str>)>();
        moves::<(Changes<str>, Reply<'_, Versioned<str>>)>();
    }

    #[test]
    fn debug_shows_how_it_tries_again_and_no_value() {
        let numbers = Collection::<u64>::in_memory().with_retry(Retry::default().attempts(7));
        numbers.create("a", 987_654).wait().unwrap();

        let text = format!("{numbers:?}");

        assert!(text.starts_with("Collection { retry: Retry { attempts: 7, "), "{text}");
        assert!(!text.contains("987654"), "{text}");
    }

    #[test]
    fn the_verbs_over_a_store_that_answers_at_once_answer_at_once() {
        for unknown in [false, true] {
            let notes = Collection::<str>::new(Scripted::new(Pace::Ready, unknown));

            let first = notes.create("a", "one").into_ready().unwrap().unwrap();
            let second = notes.replace("a", &first, "two").into_ready().unwrap().unwrap();
            assert_eq!(notes.get("a").into_ready().unwrap().unwrap(), Some(second.clone()));
            assert_eq!(notes.fetch("a").into_ready().unwrap().unwrap(), second);
            notes.put("a", "three").into_ready().unwrap().unwrap();
            assert!(notes.replace("a", &first, "late").into_ready().unwrap().is_err());
            assert_eq!(notes.scan("", None, 9).into_ready().unwrap().unwrap().items.len(), 1);
            notes.delete("a", Expected::Present).into_ready().unwrap().unwrap();
            assert!(notes.watch(Start::Now).into_ready().unwrap().is_err());
        }
    }

    #[test]
    fn each_verb_refuses_what_it_says_and_changes_nothing() {
        let notes = Collection::<str>::in_memory();
        let first = notes.create("a", "one").wait().unwrap();
        let second = notes.put("a", "two").wait().unwrap();

        let kind = |error: Error| error.conflict().map(|conflict| conflict.kind().clone());
        assert_eq!(kind(notes.create("a", "x").wait().unwrap_err()), Some(Kind::Exists));
        assert_eq!(kind(notes.replace("a", &first, "x").wait().unwrap_err()), Some(Kind::Stale));
        assert_eq!(kind(notes.delete("a", &first).wait().unwrap_err()), Some(Kind::Stale));
        assert_eq!(kind(notes.replace("b", Expected::Present, "x").wait().unwrap_err()), Some(Kind::Missing));

        assert_eq!(notes.fetch("a").wait().unwrap(), second);
        assert!(notes.get("b").wait().unwrap().is_none());
    }

    #[test]
    fn a_layer_keeps_the_retry_and_has_a_line_of_its_own() {
        let below = Collection::<u64>::in_memory().with_retry(Retry::default().attempts(7).without_gate());
        let clone = below.clone();

        let above = below.layer(|store| store);

        assert_eq!(above.retry().most_attempts(), 7);
        assert!(!Arc::ptr_eq(&above.shared, &clone.shared));
        clone.create("a", 1).wait().unwrap();
        assert_eq!(*above.fetch("a").wait().unwrap().value, 1);
    }

    #[test]
    fn what_changed_nothing_is_no_event() {
        let numbers = Collection::<u64>::in_memory();
        numbers.create("a", 1).wait().unwrap();
        let mut changes = numbers.watch(Start::Now).wait().unwrap();

        numbers.modify("a", |_| ()).wait().unwrap();
        numbers.edit("a").wait().unwrap().commit().wait().unwrap();
        numbers.fetch("b").wait().unwrap_err();
        let refusal = |_: &mut u64| Err(Error::from(crate::store::Refusal::EmptyPage));
        numbers.try_modify("a", refusal).wait().unwrap_err();
        let written = numbers.modify("a", |number| *number += 1).wait().unwrap();

        let batch = changes.next().wait().unwrap();
        assert_eq!(batch.changes[0].version, written.version);
    }

    #[test]
    fn every_commit_to_a_store_that_loses_answers_has_its_own_write_id() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, true));
        let numbers = Collection::new(Arc::clone(&store));
        numbers.create("a", 1).wait().unwrap();
        numbers.modify("a", |number| *number += 1).wait().unwrap();
        numbers.modify("a", |_| ()).wait().unwrap();
        numbers.fetch("b").wait().unwrap_err();
        let mut draft = numbers.edit("a").wait().unwrap();
        *draft += 1;
        draft.commit().wait().unwrap();
        let mut transaction = numbers.transaction();
        transaction.put("b", 1);
        transaction.commit().wait().unwrap();
        numbers.delete("a", Expected::Any).wait().unwrap();

        let writes: std::collections::HashSet<_> =
            store.writes.lock().iter().map(|write| write.expect("a write id")).collect();
        assert_eq!(writes.len(), 7);
    }
}
