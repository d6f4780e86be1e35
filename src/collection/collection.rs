//! [`Collection`], the contract with users: the verbs on a store's resources.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "json")]
use crate::codec::Json;
#[cfg(feature = "json")]
use crate::codec::encoded::Encoded;
use crate::collection::call::{Call, Sent, send};
use crate::collection::database::Membership;
#[cfg(feature = "json")]
use crate::collection::database::{Escort, View};
use crate::collection::gate::Gate;
use crate::collection::retry::Retry;
use crate::collection::stamps::Stamps;
use crate::memory::Memory;
use crate::store::{
    Abilities, Changes, Commit, Committed, Condition, Entry, Error, Expected, Listed, Page, Receipt, Reply,
    Resolution, Resource, Scan, Start, Store, Version, Versioned, WriteId,
};

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
/// | change what is there, or create it | [`modify_or_create`](Self::modify_or_create) |
/// | change a copy for as long as it takes | [`edit`](Self::edit) |
/// | change several ids as one | [`transaction`](Self::transaction), [`transact`](Self::transact) |
/// | see all, page by page | [`list`](Self::list), [`scan`](Self::scan) |
/// | see their ids and versions only | [`list_ids`](Self::list_ids), [`scan_ids`](Self::scan_ids) |
/// | see what changes | [`watch`](Self::watch) |
///
/// A value is passed as anything that becomes an `Arc<T>`: a `T`, an `Arc<T>`, a `&str` for a `Collection<str>`. Write
/// `"text".to_string()`, as `"text".into()` leaves open what it becomes.
///
/// Everything is about this one collection, transactions too.
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
    shared: Arc<Shared<T>>,
}

struct Shared<T: ?Sized> {
    /// The store's abilities are asked once: they are on the way of every write.
    stamps: Arc<Stamps>,
    retry: Retry,
    gate: Arc<Gate<T>>,
    /// Where it is one of a database.
    membership: Option<Membership>,
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
        Self::over(Arc::new(store), Retry::default(), None)
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

    /// The resources of a store of bytes, as JSON. It takes the whole store for this one type: several types in one store
    /// are collections of a [`Database`](crate::Database).
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
    /// It keeps its [`Retry`], and has a line for hot ids of its own. In a [`Database`](crate::Database) this handle alone has
    /// the layer, and can't be part of a transaction over several collections, which would go around it: what every commit
    /// has to pass is given to [`Database::define`](crate::Database::define).
    ///
    /// ```
    /// use ifmatch::{Collection, Guarded};
    ///
    /// let notes = Collection::<String>::in_memory().layer(Guarded::new);
    /// # notes.create("readme", "hello".to_string()).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn layer<S: Store<T>>(self, layer: impl FnOnce(Arc<dyn Store<T>>) -> S) -> Self {
        let membership = self.shared.membership.clone().map(Membership::below_a_layer);
        Self::over(Arc::new(layer(self.store)), self.shared.retry.clone(), membership)
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
        Self::over(self.store, retry, self.shared.membership.clone())
    }

    /// The same collection of a database, where with each write something rides along.
    #[cfg(feature = "json")]
    pub(crate) fn escorted<U: Resource>(&self, escort: Escort, with: &Collection<U>) -> Result<Self, Error>
    where
        T: Sized,
    {
        let with = with.membership().expect("what rides along is of a database");
        Ok(self.as_member(with.beside(self.membership())?.escorted(escort)))
    }

    /// The same, where that keeps the key of a request.
    #[cfg(feature = "idempotency")]
    pub(crate) fn keyed<U: Resource>(&self, escort: Escort, with: &Collection<U>) -> Result<Self, Error>
    where
        T: Sized,
    {
        let with = with.membership().expect("what rides along is of a database");
        Ok(self.as_member(with.beside(self.membership())?.escorted(escort).keeping_key()))
    }

    /// Whether each write of this handle keeps the key of a request.
    #[cfg(feature = "idempotency")]
    pub(crate) fn keeps_key(&self) -> bool {
        self.membership().is_some_and(Membership::keeps_key)
    }

    #[cfg(feature = "json")]
    fn as_member(&self, membership: Membership) -> Self
    where
        T: Sized,
    {
        let view = View::escorted(&membership, Arc::clone(&self.store));
        let Shared { stamps, retry, gate, .. } = &*self.shared;
        let shared = Shared {
            stamps: Arc::clone(stamps),
            retry: retry.clone(),
            gate: Arc::clone(gate),
            membership: Some(membership),
        };
        Self { store: Arc::new(view), shared: Arc::new(shared) }
    }

    pub(super) fn of_database(store: Arc<dyn Store<T>>, retry: Retry, membership: Membership) -> Self {
        Self::over(store, retry, Some(membership))
    }

    fn over(store: Arc<dyn Store<T>>, retry: Retry, membership: Option<Membership>) -> Self {
        let stamps = Stamps::new(&store.abilities());
        let gate = Arc::new(Gate::new(Arc::clone(retry.clock()), retry.longest_stall()));
        Self { store, shared: Arc::new(Shared { stamps: Arc::new(stamps), retry, gate, membership }) }
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
    pub(crate) fn stamps(&self) -> &Stamps {
        &self.shared.stamps
    }

    #[inline]
    pub(crate) fn retry(&self) -> &Retry {
        &self.shared.retry
    }

    #[inline]
    pub(crate) fn gate(&self) -> &Gate<T> {
        &self.shared.gate
    }

    /// Its name, where it is one of a [`Database`](crate::Database).
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use ifmatch::Database;
    /// let orders = Database::in_memory().collection::<String>("orders")?;
    /// assert_eq!(orders.name(), Some("orders"));
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.shared.membership.as_ref().map(Membership::name)
    }

    /// The error of a judgement on a resource of this collection, which says so where there are several.
    pub(crate) fn told(&self, error: Error) -> Error {
        match self.name() {
            Some(name) => error.in_collection(name),
            None => error,
        }
    }

    /// What its database knows it by, where it is one of a database.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        self.shared.membership.as_ref()
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
            let mut call = Call::new(self.retry());
            call.fetch(&*self.store, self.stamps(), self.name(), id, Some(first)).await
        })
    }

    /// Puts the first value of an id, or one after a deletion.
    ///
    /// A text is passed as `"text".to_string()`: in `"text".into()` nothing says what it is to become.
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
        let reply = self.send(Commit::one(entry));
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
        let reply = self.send(Commit::one(Entry::delete(id, condition)));
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
        let entries = commit.entries().len();
        let reply = self.send(commit);
        match reply.good() {
            Some(committed) if committed.receipts().len() == entries => reply,
            _ => reply.then(move |committed| Ok(committed?.complete(entries)?)),
        }
    }

    /// The same, for those who look themselves whether the answer has a receipt for each entry.
    #[inline]
    fn send<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let write = commit.write();
        if write.is_some() || self.stamps().needed() {
            return self.commit_stamped(commit);
        }
        let mut reply = self.store.commit(commit);
        if reply.is_pending() {
            reply = self.commit_in_time(Sent { reply, write });
        }
        reply
    }

    #[cold]
    fn commit_in_time<'a>(&'a self, sent: Sent<'a>) -> Reply<'a, Committed> {
        Reply::pending(async move {
            // Nothing is sent again where answers can't be lost and there is no write id, so no entry is needed for that.
            let nothing = Commit::from_iter([]);
            Call::new(self.retry()).commit(&*self.store, self.stamps(), &nothing, Some(sent)).await
        })
    }

    fn commit_stamped<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        let Sent { reply, write } = send(&*self.store, self.stamps(), &commit);
        let reply = match reply.into_ready() {
            Ok(answer @ Err(Error::Failed(_) | Error::Refused(_))) => Reply::ready(answer),
            Ok(answer) => {
                self.stamps().note(&answer);
                return Reply::ready(answer);
            }
            Err(reply) => reply,
        };
        let sent = Sent { reply, write };
        Reply::pending(async move {
            Call::new(self.retry()).commit(&*self.store, self.stamps(), &commit, Some(sent)).await
        })
    }

    /// A fresh write id, for a commit whose outcome the program itself wants to ask for later. It is drawn at the newest
    /// version that this collection has heard of: draw it shortly before it is used.
    ///
    /// Where the collection has written nothing for as long as the store remembers, or nothing yet, the first sending of
    /// the commit may come back as [`Refusal::Outside`](crate::store::Refusal::Outside), with nothing applied: draw again,
    /// and send that. A later sending that comes back so may have been applied the time before: read, and decide, as
    /// under a new id it could be applied twice.
    ///
    /// ```
    /// use ifmatch::store::Resolution;
    /// use ifmatch::{Collection, Commit, Entry, Expected};
    ///
    /// let notes = Collection::<str>::in_memory();
    /// let write = notes.write_id();
    /// let create = Commit::one(Entry::put("readme", Expected::Absent, "hello".into()));
    /// let committed = notes.commit(create.with_write(write)).wait()?;
    ///
    /// assert_eq!(notes.resolve(write).wait()?, Resolution::Applied(committed));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn write_id(&self) -> WriteId {
        self.stamps().draw()
    }

    /// What became of a commit whose outcome was unknown.
    ///
    /// ```
    /// use ifmatch::{Collection, Commit, Entry, Expected};
    /// use ifmatch::store::{Resolution, WriteId};
    ///
    /// let notes = Collection::<str>::in_memory();
    /// let write = notes.write_id();
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
    pub fn scan<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Reply<'a, Page<Versioned<T>>> {
        self.page(Scan::new(prefix, limit).after(after)).then(|page| Ok(page?.with_values()?))
    }

    /// The same page without the values: the ids and versions. [`list_ids`](Self::list_ids) goes through all of them.
    ///
    /// No store here sends or decodes a value for it. So a resource is listed whether its value can be read or not: a
    /// [`get`](Self::get) tells of one that is damaged, or that does not decode.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmptyPage`](crate::store::Refusal::EmptyPage) where `limit` is 0.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// let created = notes.create("a/1", "one".to_string()).wait()?;
    /// let page = notes.scan_ids("a/", None, 10).wait()?;
    /// assert_eq!(page.items, [("a/1".into(), created.version)]);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn scan_ids<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> Reply<'a, Page<Version>> {
        self.page(Scan::new(prefix, limit).after(after).without_values()).map(Page::without_values)
    }

    fn page<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        self.read(self.store.scan(scan), move || self.store.scan(scan))
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

impl<T: Resource + ?Sized> Clone for Collection<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store), shared: Arc::clone(&self.shared) }
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
    use crate::collection::draft::Draft;
    use crate::collection::pages::Pages;
    use crate::collection::testing::{Pace, Scripted};
    use crate::collection::transaction::Transaction;
    use crate::store::{Conflict, Kind};

    #[test]
    fn what_a_program_holds_goes_to_other_threads() {
        fn moves<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}

        is_shared::<(Collection<str>, Draft<String>, Transaction<str>, Pages<str>)>();
        is_shared::<(
            Error,
            Conflict,
            Retry,
            Memory<str>,
            Page<Versioned<str>>,
            Commit<'_, str>,
            Versioned<str>,
        )>();
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
    fn every_commit_that_may_apply_something_has_its_own_write_id_where_answers_can_be_lost() {
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

        let writes = store.writes.lock();
        let ids: std::collections::HashSet<_> = writes.iter().flatten().collect();
        // All but the check of the fetch. What `modify` left alone may be kept in an old schema, and then it is written.
        assert_eq!((writes.len(), ids.len()), (7, 6));
    }
}
