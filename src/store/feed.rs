//! The feed of a store: [`Changes`] delivers one [`Batch`] a commit.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::store::cursor::Cursor;
use crate::store::error::Error;
use crate::store::reply::Reply;
use crate::store::version::Version;

/// Where to watch from.
///
/// ```
/// use ifmatch::{Collection, Start};
///
/// let notes = Collection::<String>::in_memory();
/// let seen = notes.watch(Start::Now).wait()?.cursor().clone();
/// notes.create("readme", "hello".to_string()).wait()?;
///
/// let mut missed = notes.watch(Start::After(seen)).wait()?;
/// assert_eq!(&*missed.next().wait()?.changes[0].id, "readme");
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// What is committed from now on.
    Now,
    /// What was committed after this cursor.
    After(Cursor),
}

impl From<Cursor> for Start {
    fn from(cursor: Cursor) -> Self {
        Self::After(cursor)
    }
}

/// What one commit changed: every change of it, and the cursor after it.
///
/// ```
/// use ifmatch::{Collection, Commit, Entry, Expected, Start};
///
/// let notes = Collection::<str>::in_memory();
/// let mut changes = notes.watch(Start::Now).wait()?;
/// let both = Commit::one(Entry::put("a", Expected::Absent, "one".into()))
///     .and(Entry::put("b", Expected::Absent, "two".into()));
/// notes.commit(both).wait()?;
///
/// let batch = changes.next().wait()?;
/// assert_eq!(batch.changes.len(), 2);
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Batch<T: ?Sized> {
    /// The place in the feed just after this commit.
    pub cursor: Cursor,
    /// The changes, one an id.
    pub changes: Vec<Change<T>>,
}

/// One change of one resource.
///
/// ```
/// use ifmatch::{Collection, Expected, Start};
///
/// let notes = Collection::<String>::in_memory();
/// let mut changes = notes.watch(Start::Now).wait()?;
/// notes.create("readme", "hello".to_string()).wait()?;
/// notes.delete("readme", Expected::Present).wait()?;
///
/// let put = changes.next().wait()?;
/// assert_eq!(put.changes[0].value(), None); // deleted since
/// let delete = changes.next().wait()?;
/// assert!(delete.changes[0].is_delete());
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Change<T: ?Sized> {
    /// Which resource.
    pub id: Arc<str>,
    /// The version the change made.
    pub version: Version,
    /// What was done.
    pub kind: ChangeKind<T>,
}

/// What a [`Change`] did.
///
/// ```
/// use ifmatch::store::{Change, ChangeKind};
///
/// fn line(change: &Change<String>) -> String {
///     match &change.kind {
///         ChangeKind::Put(Some(text)) => format!("{}: {text}", change.id),
///         ChangeKind::Put(None) => format!("{}: changed again since", change.id),
///         ChangeKind::Delete => format!("{}: deleted", change.id),
///     }
/// }
/// ```
pub enum ChangeKind<T: ?Sized> {
    /// A value was put. It is given only while this version is still the stored one: values are not replayed.
    Put(Option<Arc<T>>),
    /// The value was deleted.
    Delete,
}

/// The feed of a store from a place on: one [`Batch`] a commit, without gaps, in order.
///
/// [`cursor`](Self::cursor) is there at once, so that taking it, then listing, then reading on misses nothing.
/// A watcher that falls behind further than the store remembers gets [`Error::Expired`], never a silent gap.
///
/// ```
/// use ifmatch::{Collection, Start};
///
/// let notes = Collection::<String>::in_memory();
/// let mut changes = notes.watch(Start::Now).wait()?;
/// notes.create("readme", "hello".to_string()).wait()?;
///
/// let batch = changes.next().wait()?;
/// assert_eq!(&*batch.changes[0].id, "readme");
/// assert_eq!(changes.cursor(), &batch.cursor);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "a watcher that is not read from falls behind"]
pub struct Changes<T: ?Sized> {
    feed: Box<dyn Feed<T>>,
    cursor: Cursor,
}

/// Where [`Changes`] come from. For store authors.
///
/// ```
/// use std::task::{Context, Poll, Waker};
///
/// use ifmatch::Error;
/// use ifmatch::store::{Batch, Changes, Feed};
///
/// /// The feed of a store that never changes.
/// struct Silent;
///
/// impl Feed<str> for Silent {
///     fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Batch<str>, Error>> {
///         Poll::Pending
///     }
///
///     fn is_idle(&self) -> bool {
///         true
///     }
/// }
///
/// let mut changes = Changes::new("start".parse()?, Silent);
/// assert!(changes.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
/// assert!(changes.is_idle());
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
pub trait Feed<T: ?Sized>: Send {
    /// The next batch. Cancel-safe: a batch is taken out only by a call that returns it. After an error the feed has
    /// ended, and gives the same error again.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>>;

    /// Whether the feed, after a poll that was pending, only waits to be called: all that was announced to it has been
    /// delivered. A feed that asks its engine when it is polled is not idle until the answer has come and held nothing.
    fn is_idle(&self) -> bool;

    /// How far the feed has come beyond the last batch that it gave, where it passed over batches that hold nothing for its
    /// watcher. `None`, unless a feed leaves out whole batches: the watcher goes on from here after a restart, and would
    /// otherwise fall behind the more, the more is left out.
    fn passed(&self) -> Option<&Cursor> {
        None
    }
}

impl<T: ?Sized> Changes<T> {
    /// The changes of a feed that starts after `cursor`. For store authors.
    pub fn new(cursor: Cursor, feed: impl Feed<T> + 'static) -> Self {
        Self { feed: Box::new(feed), cursor }
    }

    /// The place in the feed after the last batch that was delivered, or where the watch began. Where only others' changes
    /// came since, it may be later.
    pub fn cursor(&self) -> &Cursor {
        self.feed.passed().unwrap_or(&self.cursor)
    }

    /// The next batch, as soon as there is one. Dropping the reply loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Expired`] where the watcher fell behind: list again and watch from a new cursor.
    #[expect(clippy::should_implement_trait, reason = "the name every stream has; an iterator it is not")]
    pub fn next(&mut self) -> Reply<'_, Batch<T>> {
        Reply::pending(poll_fn(|context| self.poll_next(context)))
    }

    /// [`next`](Self::next) for those who poll: a `Stream` is `stream::poll_fn(|cx| changes.poll_next(cx).map(Some))`.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        self.feed.poll_next(context).map_ok(|batch| {
            self.cursor = batch.cursor.clone();
            batch
        })
    }

    /// Whether all that was announced has been delivered, after a [`poll_next`](Self::poll_next) that was pending. See
    /// [`Feed::is_idle`].
    ///
    /// ```
    /// use std::task::{Context, Waker};
    ///
    /// use ifmatch::{Collection, Start};
    ///
    /// let notes = Collection::<String>::in_memory();
    /// let mut changes = notes.watch(Start::Now).wait()?;
    /// assert!(changes.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
    ///
    /// assert!(changes.is_idle());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn is_idle(&self) -> bool {
        self.feed.is_idle()
    }
}

impl<T: ?Sized> Change<T> {
    /// Whether the value was deleted.
    pub fn is_delete(&self) -> bool {
        matches!(self.kind, ChangeKind::Delete)
    }

    /// The value put, while it is still the stored one.
    pub fn value(&self) -> Option<&Arc<T>> {
        match &self.kind {
            ChangeKind::Put(value) => value.as_ref(),
            ChangeKind::Delete => None,
        }
    }
}

// Hand-written, as the next two: the derived impls would print the user's value.
impl<T: ?Sized> fmt::Debug for Change<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_delete() { "Delete" } else { "Put" };
        write!(f, "{kind}({:?}, {:?})", self.id, self.version)
    }
}

impl<T: ?Sized> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("cursor", &self.cursor).field("changes", &self.changes).finish()
    }
}

impl<T: ?Sized> fmt::Debug for Changes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
