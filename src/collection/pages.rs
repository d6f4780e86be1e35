//! [`Pages`], the resources of a collection, page by page.

use std::fmt;
use std::sync::Arc;

use crate::collection::collection::Collection;
use crate::store::{Error, Page, Reply, Resource, Version, Versioned};

/// How many resources a page has where nothing else was asked for: of values of a few kilobytes, a megabyte at most.
const PAGE: usize = 100;

/// The resources of a collection whose ids start with a prefix, page by page, from [`Collection::list`], or their
/// versions alone, from [`Collection::list_ids`].
///
/// Each page is read when it is asked for. A resource that exists from the first page to the last is seen exactly
/// once; one that comes or goes in between may be seen or not.
///
/// ```
/// use ifmatch::Collection;
///
/// let notes = Collection::<String>::in_memory();
/// for id in ["a/1", "a/2", "a/3", "b/1"] {
///     notes.create(id, "text".to_string()).wait()?;
/// }
///
/// let mut pages = notes.list("a/").page_size(2);
/// let mut seen = Vec::new();
/// while let Some(page) = pages.next().wait()? {
///     seen.extend(page.items.into_iter().map(|(id, _)| id.to_string()));
/// }
/// assert_eq!(seen, ["a/1", "a/2", "a/3"]);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "nothing is read until a page is asked for"]
pub struct Pages<T: Resource + ?Sized, I = Versioned<T>> {
    collection: Collection<T>,
    scan: ScanFn<T, I>,
    prefix: Box<str>,
    size: usize,
    after: Option<Arc<str>>,
    ended: bool,
}

/// [`Collection::scan`] or its like.
type ScanFn<T, I> = for<'a> fn(&'a Collection<T>, &'a str, Option<&'a str>, usize) -> Reply<'a, Page<I>>;

impl<T: Resource + ?Sized> Collection<T> {
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
        Pages::new(self.clone(), prefix, Self::scan)
    }

    /// The ids and versions of all resources whose id starts with `prefix`, page by page, in byte order of their ids.
    /// What the values would cost is spared, as [`scan_ids`](Self::scan_ids) tells.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("old/1", "text".to_string()).wait()?;
    ///
    /// let mut pages = notes.list_ids("old/");
    /// while let Some(page) = pages.next().wait()? {
    ///     for (id, version) in page.items {
    ///         notes.delete(&id, version).wait()?;
    ///     }
    /// }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn list_ids(&self, prefix: &str) -> Pages<T, Version> {
        Pages::new(self.clone(), prefix, Self::scan_ids)
    }
}

impl<T: Resource + ?Sized, I: Send + 'static> Pages<T, I> {
    fn new(collection: Collection<T>, prefix: &str, scan: ScanFn<T, I>) -> Self {
        Self { collection, scan, prefix: prefix.into(), size: PAGE, after: None, ended: false }
    }

    /// The most resources one page may have. Default: 100. 0 is refused when a page is asked for.
    pub fn page_size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// The next page; `None` after the last one. Dropping the reply loses nothing: the same page is read again.
    ///
    /// # Errors
    ///
    /// Those of [`Collection::scan`]. The same page can be asked for again; after [`Error::Corrupt`] the next page begins
    /// behind the id that it names.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't be waited for")]
    pub fn next(&mut self) -> Reply<'_, Option<Page<I>>> {
        if self.ended {
            return Reply::ready(Ok(None));
        }
        Reply::pending(async move {
            let after = self.after.clone();
            let page = match (self.scan)(&self.collection, &self.prefix, after.as_deref(), self.size).await {
                Ok(page) => page,
                Err(error) => {
                    // What does not decode was told once, and is not to hide all that comes after it.
                    // Only forward: a layer may name it by another id.
                    if let Error::Corrupt(corrupt) = &error
                        && corrupt.id().starts_with(&*self.prefix)
                        && after.as_deref().is_none_or(|after| after < corrupt.id())
                    {
                        self.after = Some(corrupt.id().into());
                    }
                    return Err(error);
                }
            };
            match page.items.last() {
                Some((last, _)) => self.after = Some(Arc::clone(last)),
                // A page may be empty without being the last one: the next would be asked for after the same id.
                None => self.ended = true,
            }
            self.ended |= !page.more;
            Ok((!page.items.is_empty()).then_some(page))
        })
    }
}

impl<T: Resource + ?Sized, I> fmt::Debug for Pages<T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("prefix", &self.prefix)
            .field("after", &self.after)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::sync::Arc;

    use crate::collection::collection::Collection;
    use crate::collection::retry::Retry;
    use crate::collection::testing::{Fault, Jumping, Pace, Scripted};
    use crate::store::{Error, Outcome, Refusal};

    #[cfg(feature = "json")]
    #[test]
    fn bytes_that_do_not_decode_are_told_once_and_hide_nothing_else() {
        let bytes = Collection::<[u8]>::in_memory();
        for (id, value) in [("a", "1"), ("b", "odd"), ("c", "3"), ("d", "odd")] {
            bytes.create(id, value.as_bytes()).wait().unwrap();
        }
        let mut pages = Collection::<u64>::json(bytes.store().clone()).list("").page_size(2);
        let mut next = || match pages.next().wait() {
            Ok(page) => {
                page.map_or_else(Vec::new, |page| page.items.iter().map(|(id, _)| id.to_string()).collect())
            }
            Err(error) => vec![error.to_string()],
        };

        assert_eq!(next(), ["a"]);
        assert!(next()[0].contains("`b`"));
        assert_eq!(next(), ["c"]);
        assert!(next()[0].contains("`d`"));
        assert!(next().is_empty());
    }

    #[test]
    fn every_resource_is_seen_once_whatever_the_page_size() {
        let numbers = Collection::<u64>::in_memory();
        let ids: Vec<_> = (0..10).map(|number| format!("a/{number}")).collect();
        for id in &ids {
            numbers.create(id, 1).wait().unwrap();
        }
        numbers.create("b", 1).wait().unwrap();

        for size in [1, 3, 5, 10, 11, 100] {
            let mut pages = numbers.list("a/").page_size(size);
            let mut seen = Vec::new();
            while let Some(page) = pages.next().wait().unwrap() {
                assert!((1..=size).contains(&page.items.len()));
                seen.extend(page.items.into_iter().map(|(id, _)| id.to_string()));
            }
            assert_eq!(seen, ids, "pages of {size}");
            assert!(pages.next().wait().unwrap().is_none());
        }
        assert!(numbers.list("c").next().wait().unwrap().is_none());
        let none = numbers.list("").page_size(0).next().wait();
        assert!(matches!(none, Err(Error::Refused(Refusal::EmptyPage))));
    }

    #[test]
    fn ids_are_listed_with_their_versions_and_without_values() {
        // It gives the values all the same.
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, false));
        let numbers = Collection::new(store);
        let versions = ["a/1", "a/2", "a/3"].map(|id| numbers.create(id, 1).wait().unwrap().version);
        numbers.create("b", 1).wait().unwrap();

        let mut pages = numbers.list_ids("a/").page_size(2);
        let first = pages.next().wait().unwrap().unwrap();
        let last = pages.next().wait().unwrap().unwrap();

        assert_eq!(first.items, [("a/1".into(), versions[0]), ("a/2".into(), versions[1])]);
        assert_eq!(last.items, [("a/3".into(), versions[2])]);
        assert!(pages.next().wait().unwrap().is_none());
        let none = Collection::<u64>::in_memory().list_ids("").page_size(0).next().wait();
        assert!(matches!(none, Err(Error::Refused(Refusal::EmptyPage))));
    }

    #[test]
    fn a_store_that_leaves_out_values_it_was_asked_for_has_failed() {
        let mut store = Scripted::<u64>::new(Pace::Ready, false);
        store.lists_no_values = true;
        let numbers = Collection::new(store);
        let created = numbers.create("a\nb", 1).wait().unwrap();

        let Err(Error::Failed(failure)) = numbers.list("").next().wait() else { panic!("no failure") };

        assert_eq!(failure.outcome(), Outcome::NotApplied);
        assert!(failure.is_lasting());
        let cause = failure.source().unwrap().to_string();
        assert_eq!(cause, "the store has listed `a\\nb` without its value");
        let ids = numbers.list_ids("").next().wait().unwrap().unwrap();
        assert_eq!(ids.items, [("a\nb".into(), created.version)]);
    }

    #[cfg(feature = "json")]
    #[test]
    fn ids_of_bytes_that_do_not_decode_are_listed() {
        let bytes = Collection::<[u8]>::in_memory();
        let odd = bytes.create("a", &b"odd"[..]).wait().unwrap();
        let numbers = Collection::<u64>::json(bytes.store().clone());

        let ids = numbers.list_ids("").next().wait().unwrap().unwrap();

        assert_eq!(ids.items, [("a".into(), odd.version)]);
        numbers.delete("a", odd.version).wait().unwrap();
    }

    #[test]
    fn a_page_that_failed_can_be_asked_for_again() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, false));
        let retry = Retry::default().timer(Jumping::new()).attempts(2);
        let numbers = Collection::new(Arc::clone(&store)).with_retry(retry);
        numbers.create("a", 1).wait().unwrap();
        let mut pages = numbers.list("");
        store.read_faults.lock().extend([Fault::Fail; 2]);

        assert!(matches!(pages.next().wait(), Err(Error::Failed(_))));
        drop(pages.next());

        assert_eq!(pages.next().wait().unwrap().unwrap().items.len(), 1);
    }

    #[test]
    fn debug_shows_how_far_it_came() {
        let numbers = Collection::<u64>::in_memory();
        numbers.create("a/1", 987_654).wait().unwrap();
        let mut pages = numbers.list("a/");

        pages.next().wait().unwrap();

        let text = format!("{pages:?}");
        assert_eq!(text, "Pages { prefix: \"a/\", after: Some(\"a/1\"), ended: true, .. }");
    }
}
