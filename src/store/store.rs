//! [`Store`], the contract with those who write stores and layers.

use std::sync::Arc;

use crate::store::commit::Commit;
use crate::store::committed::Committed;
use crate::store::feed::{Changes, Start};
use crate::store::reply::Reply;
use crate::store::resource::Resource;
use crate::store::scan::{Listed, Page, Scan};
use crate::store::version::Versioned;
use crate::store::write_id::WriteId;

/// Something that keeps versioned resources: the contract between the crate and those who write stores and layers.
/// Programs use a [`Collection`](crate::Collection), which holds a store.
///
/// A store in memory is a `Store<T>` for any `T`; a durable one is a `Store<[u8]>`, and
/// [`Encoded`](crate::Encoded) makes a `Store<T>` of it. A layer is a store that wraps a store. The promises every
/// store keeps are the laws of the `conformance` suite, which also tests yours.
///
/// There are no provided methods, so that a layer can't forget to pass one on.
///
/// ```
/// use ifmatch::store::Scan;
/// use ifmatch::{Error, Memory, Store};
///
/// /// How many resources there are, up to a limit, whatever keeps them.
/// fn count(store: &dyn Store<str>, limit: usize) -> Result<usize, Error> {
///     Ok(store.scan(Scan::new("", limit).without_values()).wait()?.items.len())
/// }
///
/// assert_eq!(count(&Memory::new(), 10)?, 0);
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub trait Store<T: Resource + ?Sized>: Send + Sync + 'static {
    /// The current value, `None` where there is none. Linearizable: it was current at one instant during the call.
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>>;

    /// The one door for writes: applies all entries at one instant, or changes nothing.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) that names every id whose expectation failed; a
    /// [`Refusal`](crate::store::Refusal), with nothing sent, for what the store cannot enforce; a
    /// [`Failure`](crate::store::Failure) that says whether the commit can have been applied.
    ///
    /// A commit under a write id is applied once, by the rules of [`Window`](crate::store::Window): sent again, it is
    /// answered as it was then. A commit of checks alone applies nothing, and its write id is passed over.
    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed>;

    /// What became of the commit with this write id.
    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution>;

    /// The resources whose id starts with a prefix and sorts after an id, in byte order of their ids, at most as many as
    /// the [`Scan`] says. A resource that exists from the first page to the last is seen exactly once.
    ///
    /// Every resource is told with its value where the scan asks for values. Where it does not, the same ids and versions
    /// are told, and the store reads no more than it takes to know them: it need not notice that a value is damaged.
    ///
    /// # Errors
    ///
    /// [`Refusal::EmptyPage`](crate::store::Refusal::EmptyPage) where the limit is 0.
    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>>;

    /// The feed of commits from a place on.
    ///
    /// # Errors
    ///
    /// [`Error::Expired`](crate::Error::Expired) where the feed does not reach back to the cursor.
    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>>;

    /// What the store can do.
    fn abilities(&self) -> Abilities;
}

impl<T: Resource + ?Sized, S: Store<T> + ?Sized> Store<T> for Arc<S> {
    #[inline]
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        (**self).get(id)
    }

    #[inline]
    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        (**self).commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        (**self).resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        (**self).scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        (**self).watch(from)
    }

    fn abilities(&self) -> Abilities {
        (**self).abilities()
    }
}

/// What became of a commit, by its write id.
///
/// ```
/// use ifmatch::Collection;
/// use ifmatch::store::Resolution;
///
/// let notes = Collection::<String>::in_memory();
/// let write = notes.write_id(); // of a commit whose answer was lost
/// match notes.resolve(write).wait()? {
///     Resolution::Applied(committed) => println!("applied as {:?}", committed.version()),
///     Resolution::NotApplied => println!("never arrived: send it again, under a new write id"),
///     Resolution::Unknown => println!("too long ago: read, and decide"),
/// }
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It was applied, with these versions.
    Applied(Committed),
    /// It was not applied, and no longer can be: the store refuses it should it still arrive.
    NotApplied,
    /// The store can't tell: it no longer remembers commits of that age, never issued a version that this id names, or
    /// has closed as many ids as it keeps.
    Unknown,
}

/// What a store can do, beyond what every store does. The conformance suite holds a store to it: what it has must
/// work, what it lacks must be refused.
///
/// ```
/// use ifmatch::store::{Abilities, Durability};
///
/// let mut abilities = Abilities::default();
/// abilities.watch = true;
/// assert_eq!(abilities.durability, Durability::None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// The most entries one commit may have; a larger one is refused with
    /// [`Refusal::TooMany`](crate::store::Refusal::TooMany). 1 where the store can't apply several as one.
    pub entries: usize,
    /// Whether it has a feed.
    pub watch: bool,
    /// Whether it remembers deletions, so that `Deleted` and `Missing` are told apart.
    pub tombstones: bool,
    /// What survives a crash.
    pub durability: Durability,
    /// How many of the latest commits under a write id it remembers, where each changes one id; 0 where it does not say.
    /// Beyond them the rules of [`Window`](crate::store::Window) hold.
    pub window: usize,
    /// Whether a commit's answer can be lost. [`Collection`](crate::Collection) then gives every commit a write id.
    pub may_lose_answers: bool,
    /// Whether versions from before the engine was restored to an older state never match what is written after it.
    pub detects_restore: bool,
    /// Whether commits apply in the order in which they were sent, before their replies are asked for, and know one that they
    /// come [behind](Commit::behind).
    pub(crate) queues: bool,
}

impl Default for Abilities {
    /// The least a store may have: commits of any size, and nothing else.
    fn default() -> Self {
        Self {
            entries: usize::MAX,
            watch: false,
            tombstones: false,
            durability: Durability::None,
            window: 0,
            may_lose_answers: false,
            detects_restore: false,
            queues: false,
        }
    }
}

/// Which acknowledged commits survive a crash.
///
/// ```
/// use ifmatch::{Memory, Store};
/// use ifmatch::store::Durability;
///
/// assert_eq!(Memory::<str>::new().abilities().durability, Durability::None);
/// let cached = Durability::Relaxed { may_lose: "the last second, where the machine loses power" };
/// assert_ne!(cached, Durability::Strict);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// None: the store lives as long as its process.
    None,
    /// The engine may lose acknowledged commits in a crash.
    Relaxed {
        /// What may be lost, and when.
        may_lose: &'static str,
    },
    /// All of them.
    Strict,
}
