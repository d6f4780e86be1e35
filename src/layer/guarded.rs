//! [`Guarded`], a layer that refuses what a policy does not allow.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::commit::{Action, Commit, Committed, Entry};
use crate::error::{Error, Refusal};
use crate::expected::Expected;
use crate::feed::{Batch, Changes, Feed, Start};
use crate::reply::Reply;
use crate::resource::Resource;
use crate::store::{Abilities, Page, Resolution, Store};
use crate::version::Versioned;
use crate::write_id::WriteId;

/// A layer that refuses what a policy does not allow, before anything is sent. It allows everything at first; each
/// method adds a rule.
///
/// A commit is refused as a whole where any of its entries breaks a rule.
///
/// ```
/// use ifmatch::{Commit, Entry, Error, Expected, Guarded, Memory, Refusal, Store};
///
/// let store = Guarded::new(Memory::<str>::new()).require_expectation().max_bytes(100, str::len);
///
/// let blind = Commit::one(Entry::put("a", Expected::Any, "text".into()));
/// let error = store.commit(blind).wait().unwrap_err();
/// assert!(matches!(error, Error::Refused(Refusal::ExpectationRequired { .. })));
/// ```
pub struct Guarded<S, T: ?Sized> {
    store: S,
    expectation_required: bool,
    size: Option<SizeLimit<T>>,
    allowed: Option<Allowed>,
}

struct SizeLimit<T: ?Sized> {
    bytes: usize,
    measure: fn(&T) -> usize,
}

/// Which ids there are, for those who use the layer. Shared with feeds, which outlive the borrow of the store.
type Allowed = Arc<dyn Fn(&str) -> bool + Send + Sync>;

impl<T: Resource + ?Sized, S: Store<T>> Guarded<S, T> {
    /// `store`, with everything allowed.
    pub fn new(store: S) -> Self {
        Self { store, expectation_required: false, size: None, allowed: None }
    }

    /// Every put and delete must say what it expects: [`Expected::Any`] is refused with
    /// [`Refusal::ExpectationRequired`], HTTP status 428.
    ///
    /// Put this above an [`Encoded`](crate::Encoded), not below it, where all writes expect something.
    ///
    /// ```
    /// use ifmatch::{Commit, Entry, Expected, Guarded, Memory, Store};
    ///
    /// let store = Guarded::new(Memory::<str>::new()).require_expectation();
    ///
    /// assert!(store.commit(Commit::one(Entry::delete("a", Expected::Any))).wait().is_err());
    /// assert!(store.commit(Commit::one(Entry::delete("a", Expected::Absent))).wait().is_ok());
    /// ```
    pub fn require_expectation(self) -> Self {
        Self { expectation_required: true, ..self }
    }

    /// A value that `measure` finds to have more than `limit` bytes is refused with [`Refusal::TooLarge`], HTTP
    /// status 413.
    ///
    /// ```
    /// use ifmatch::{Commit, Entry, Expected, Guarded, Memory, Store};
    ///
    /// let store = Guarded::new(Memory::<str>::new()).max_bytes(4, |text| text.len());
    ///
    /// assert!(store.commit(Commit::one(Entry::put("a", Expected::Any, "abcd".into()))).wait().is_ok());
    /// assert!(store.commit(Commit::one(Entry::put("a", Expected::Any, "abcde".into()))).wait().is_err());
    /// ```
    pub fn max_bytes(self, limit: usize, measure: fn(&T) -> usize) -> Self {
        Self { size: Some(SizeLimit { bytes: limit, measure }), ..self }
    }

    /// Only ids for which `allowed` holds can be read, checked, written or seen. Called again, it narrows further:
    /// all predicates must hold.
    ///
    /// - `get` and `commit` refuse another id with [`Refusal::NotAllowed`], HTTP status 403, whether it exists or not.
    /// - `scan` leaves other ids out. It reads on until its page is full or the store's end is reached: where few ids
    ///   are allowed, give it a prefix that they share.
    /// - `watch` leaves other ids out. A commit without a change that is allowed still delivers its batch, an empty
    ///   one, so that the cursor moves on; it tells that something was written, and not what.
    ///
    /// The predicate runs for every id, outside every lock. It must say the same of an id for as long as the store
    /// is used, or a feed shows some of its changes and not others.
    ///
    /// ```
    /// use ifmatch::{Error, Guarded, Memory, Refusal, Store};
    ///
    /// let store = Guarded::new(Memory::<str>::new()).allow_ids(|id| id.starts_with("public/"));
    ///
    /// assert!(store.get("public/a").wait()?.is_none());
    /// assert!(matches!(store.get("secret").wait(), Err(Error::Refused(Refusal::NotAllowed { .. }))));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn allow_ids(self, allowed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        let allowed: Allowed = match self.allowed {
            Some(before) => Arc::new(move |id: &str| before(id) && allowed(id)),
            None => Arc::new(allowed),
        };
        Self { allowed: Some(allowed), ..self }
    }

    fn check_id(&self, id: &str) -> Result<(), Refusal> {
        match &self.allowed {
            Some(allowed) if !allowed(id) => Err(Refusal::NotAllowed { id: id.into() }),
            _ => Ok(()),
        }
    }

    fn check(&self, entry: &Entry<'_, T>) -> Result<(), Refusal> {
        let id = entry.id;
        self.check_id(id)?;
        let writes = !matches!(entry.action, Action::Check);
        if self.expectation_required && writes && entry.expectation.expected == Expected::Any {
            return Err(Refusal::ExpectationRequired { id: id.into() });
        }
        if let (Some(limit), Action::Put(value)) = (&self.size, &entry.action) {
            let bytes = (limit.measure)(value);
            if bytes > limit.bytes {
                return Err(Refusal::TooLarge { id: id.into(), bytes, limit: limit.bytes });
            }
        }
        Ok(())
    }
}

impl<T: Resource + ?Sized, S: Store<T>> Store<T> for Guarded<S, T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        match self.check_id(id) {
            Ok(()) => self.store.get(id),
            Err(refusal) => Reply::ready(Err(refusal.into())),
        }
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        match commit.entries().iter().try_for_each(|entry| self.check(entry)) {
            Ok(()) => self.store.commit(commit),
            Err(refusal) => Reply::ready(Err(refusal.into())),
        }
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write)
    }

    fn scan<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<T>> {
        let Some(allowed) = &self.allowed else { return self.store.scan(prefix, after, limit) };
        let mut filling = Filling { allowed: &**allowed, limit, items: Vec::new(), after: None };
        let mut answer = match self.store.scan(prefix, after, limit).into_ready() {
            Ok(answer) => answer,
            Err(pending) => {
                return Reply::pending(async move {
                    match filling.add(pending.await) {
                        Some(page) => page,
                        None => filling.fill(&self.store, prefix).await,
                    }
                });
            }
        };
        loop {
            if let Some(page) = filling.add(answer) {
                return Reply::ready(page);
            }
            // A pending reply is dropped and asked for again: it borrows from what has to move into the future.
            let ready = self.store.scan(prefix, filling.after.as_deref(), limit).into_ready().ok();
            answer = match ready {
                Some(answer) => answer,
                None => return Reply::pending(filling.fill(&self.store, prefix)),
            };
        }
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        let changes = self.store.watch(from);
        let Some(allowed) = &self.allowed else { return changes };
        changes.map(|changes| {
            let cursor = changes.cursor().clone();
            Changes::new(cursor, Filtered { changes, allowed: Arc::clone(allowed) })
        })
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

impl<S: Clone, T: ?Sized> Clone for Guarded<S, T> {
    fn clone(&self) -> Self {
        let size = self.size.as_ref().map(|size| SizeLimit { ..*size });
        Self { store: self.store.clone(), size, allowed: self.allowed.clone(), ..*self }
    }
}

impl<S: fmt::Debug, T: ?Sized> fmt::Debug for Guarded<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("store", &self.store)
            .field("expectation_required", &self.expectation_required)
            .field("max_bytes", &self.size.as_ref().map(|size| size.bytes))
            .finish_non_exhaustive()
    }
}

/// A page that is being filled with the allowed ones among the resources of the store's pages.
struct Filling<'a, T: ?Sized> {
    allowed: &'a (dyn Fn(&str) -> bool + Send + Sync),
    limit: usize,
    items: Vec<(Arc<str>, Versioned<T>)>,
    /// Where the store's next page begins.
    after: Option<Arc<str>>,
}

impl<T: Resource + ?Sized> Filling<'_, T> {
    /// Takes one of the store's pages, and gives the whole answer once it is complete.
    fn add(&mut self, answer: Result<Page<T>, Error>) -> Option<Result<Page<T>, Error>> {
        let page = match answer {
            Ok(page) => page,
            // What stands there is none of the caller's business, and must not end the scan either.
            Err(Error::Corrupt(corrupt)) if !(self.allowed)(corrupt.id()) => {
                self.after = Some(corrupt.id().into());
                return None;
            }
            // The next page begins with it, and says so.
            Err(Error::Corrupt(_)) if !self.items.is_empty() => return Some(Ok(self.take(true))),
            Err(error) => return Some(Err(error)),
        };
        self.after = page.next().map(Arc::from);
        let more = page.more;
        for (id, value) in page.items.into_iter().filter(|(id, _)| (self.allowed)(id)) {
            if self.items.len() == self.limit {
                return Some(Ok(self.take(true)));
            }
            self.items.push((id, value));
        }
        // Without a place to go on from, there is nothing to go on to.
        if self.items.len() < self.limit && self.after.is_some() {
            return None;
        }
        Some(Ok(self.take(more)))
    }

    fn take(&mut self, more: bool) -> Page<T> {
        Page { items: std::mem::take(&mut self.items), more }
    }

    async fn fill(mut self, store: &impl Store<T>, prefix: &str) -> Result<Page<T>, Error> {
        loop {
            let answer = store.scan(prefix, self.after.as_deref(), self.limit).await;
            if let Some(page) = self.add(answer) {
                return page;
            }
        }
    }
}

/// The feed of the store below, without the ids that are not allowed.
struct Filtered<T: ?Sized> {
    changes: Changes<T>,
    allowed: Allowed,
}

impl<T: Resource + ?Sized> Feed<T> for Filtered<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let mut batch = ready!(self.changes.poll_next(context))?;
        batch.changes.retain(|change| (self.allowed)(&change.id));
        Poll::Ready(Ok(batch))
    }
}
