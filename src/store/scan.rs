//! [`Scan`], what a listing asks for, and [`Page`], its answer.

use std::fmt;
use std::sync::Arc;

use crate::store::error::{Failure, Outcome};
use crate::store::id::shown;
use crate::store::version::{Version, Versioned};

/// What [`Store::scan`](crate::Store::scan) is asked for: the resources whose id starts with a prefix, from a place on.
///
/// ```
/// use std::sync::Arc;
///
/// use ifmatch::store::Scan;
/// use ifmatch::{Collection, Memory, Store};
///
/// let store = Arc::new(Memory::<str>::new());
/// let notes = Collection::new(Arc::clone(&store));
/// for id in ["a/1", "a/2", "b/1"] {
///     notes.create(id, "text").wait()?;
/// }
///
/// let scan = Scan::new("a/", 10).after(Some("a/1")).without_values();
/// let page = store.scan(scan).wait()?;
/// let (id, listed) = &page.items[0];
/// assert_eq!((&**id, page.items.len()), ("a/2", 1));
/// assert!(listed.value.is_none());
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Scan<'a> {
    /// What the ids begin with.
    pub prefix: &'a str,
    /// The id after which the page begins, whether it exists or not.
    pub after: Option<&'a str>,
    /// The most resources the page may have.
    pub limit: usize,
    /// Whether the values are wanted too.
    pub values: bool,
}

impl<'a> Scan<'a> {
    /// The first `limit` resources whose id starts with `prefix`, with their values.
    pub fn new(prefix: &'a str, limit: usize) -> Self {
        Self { prefix, after: None, limit, values: true }
    }

    /// Those that sort after an id, as [`Page::next`] tells it.
    #[must_use]
    pub fn after(self, after: Option<&'a str>) -> Self {
        Self { after, ..self }
    }

    /// Their ids and versions only.
    #[must_use]
    pub fn without_values(self) -> Self {
        Self { values: false, ..self }
    }
}

/// Some of a store's resources, in byte order of their ids. Beside each id stands an `I`: a [`Versioned`] from
/// [`Collection::scan`](crate::Collection::scan), a [`Version`] from
/// [`Collection::scan_ids`](crate::Collection::scan_ids), a [`Listed`] from a store.
///
/// ```
/// use ifmatch::Collection;
///
/// let notes = Collection::<String>::in_memory();
/// for id in ["a", "b", "c"] {
///     notes.create(id, "text".to_string()).wait()?;
/// }
///
/// let first = notes.scan("", None, 2).wait()?;
/// assert_eq!((first.items.len(), first.next()), (2, Some("b")));
/// let last = notes.scan("", first.next(), 2).wait()?;
/// assert_eq!((last.items.len(), last.next()), (1, None));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<I> {
    /// The resources, each under its id.
    pub items: Vec<(Arc<str>, I)>,
    /// Whether there may be more after the last of them.
    pub more: bool,
}

impl<I> Page<I> {
    /// What to pass as `after` for the next page; `None` on the last page.
    pub fn next(&self) -> Option<&str> {
        self.items.last().filter(|_| self.more).map(|(id, _)| &**id)
    }

    /// Adds the next resource of a page that is being read. `false` where the page ends before it: what can't be told is the
    /// first of the next page, which fails for it, so that it hides nothing that can.
    ///
    /// # Errors
    ///
    /// Where it is the first of this page.
    pub(crate) fn add<E>(&mut self, id: Arc<str>, item: Result<I, E>) -> Result<bool, E> {
        match item {
            Ok(item) => {
                self.items.push((id, item));
                Ok(true)
            }
            Err(error) if self.items.is_empty() => Err(error),
            Err(_) => {
                self.more = true;
                Ok(false)
            }
        }
    }

    /// The page with something else beside each id.
    ///
    /// ```
    /// use ifmatch::Collection;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("a", "text".to_string()).wait()?;
    ///
    /// let lengths = notes.scan("", None, 10).wait()?.map(|note| note.value.len());
    /// assert_eq!(lengths.items, [("a".into(), 4)]);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn map<J>(self, mut change: impl FnMut(I) -> J) -> Page<J> {
        let items = self.items.into_iter().map(|(id, item)| (id, change(item)));
        Page { items: items.collect(), more: self.more }
    }
}

impl<T: ?Sized> Page<Listed<T>> {
    /// The answer to a scan that asked for values.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where the store left one out. Trying again does not help.
    ///
    /// ```
    /// use ifmatch::store::Scan;
    /// use ifmatch::{Memory, Store};
    ///
    /// let page = Memory::<str>::new().scan(Scan::new("", 10)).wait()?.with_values()?;
    /// assert!(page.items.is_empty());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn with_values(self) -> Result<Page<Versioned<T>>, Failure> {
        let items = self.items.into_iter().map(|(id, Listed { version, value })| match value {
            Some(value) => Ok((id, Versioned { version, value })),
            None => Err(Failure::new(Outcome::NotApplied, NoValue(id)).lasting()),
        });
        Ok(Page { items: items.collect::<Result<_, _>>()?, more: self.more })
    }

    /// The answer to a scan that asked for no values. Those that the store gave all the same are dropped.
    ///
    /// ```
    /// use ifmatch::store::Scan;
    /// use ifmatch::{Memory, Store};
    ///
    /// let page = Memory::<str>::new().scan(Scan::new("", 10).without_values()).wait()?.without_values();
    /// assert!(page.items.is_empty());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn without_values(self) -> Page<Version> {
        self.map(|listed| listed.version)
    }
}

/// What a store tells of one resource on a [`Page`].
///
/// ```
/// use ifmatch::Versioned;
/// use ifmatch::store::{Listed, Scan};
///
/// /// What a store that holds `found` tells of it.
/// fn listed(found: &Versioned<str>, scan: &Scan<'_>) -> Listed<str> {
///     Listed { version: found.version, value: scan.values.then(|| found.value.clone()) }
/// }
/// ```
#[derive(PartialEq, Eq)]
pub struct Listed<T: ?Sized> {
    /// Its version.
    pub version: Version,
    /// Its value. Every resource has one where the scan asked for values; where it did not, what is here is dropped.
    pub value: Option<Arc<T>>,
}

impl<T: ?Sized> From<Versioned<T>> for Listed<T> {
    fn from(Versioned { version, value }: Versioned<T>) -> Self {
        Self { version, value: Some(value) }
    }
}

impl<T: ?Sized> From<Version> for Listed<T> {
    fn from(version: Version) -> Self {
        Self { version, value: None }
    }
}

impl<T: ?Sized> Clone for Listed<T> {
    fn clone(&self) -> Self {
        Self { version: self.version, value: self.value.clone() }
    }
}

impl<T: ?Sized> fmt::Debug for Listed<T> {
    /// Does not show the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").field("version", &self.version).finish_non_exhaustive()
    }
}

/// What a [`Failure`] says of a store that was asked for values and left one out.
#[derive(Debug, thiserror::Error)]
#[error("the store has listed `{}` without its value", shown(.0))]
struct NoValue(Arc<str>);
