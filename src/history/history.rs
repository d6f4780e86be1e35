//! [`History`], what the resources of a collection were.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::collection::{Collection, Database, Definition};
use crate::history::past::Versions;
use crate::history::record::{AsJson, Record};
use crate::history::recorder::{Author, Bounds, Recorder};
use crate::store::{Condition, Error, Refusal, Reply, Resource, Version, Versioned};

/// What the resources of a collection were: a handle, which clones share.
///
/// Each resource has one record, under its own id, which every change of it writes along. It is bounded: 32 versions, and 256 KiB
/// of their bytes, unless the program says otherwise. What is past that is gone, the oldest first.
///
/// A change costs a read of what it writes over, one of the record, and the writing of both. Two changes of one resource are
/// decided one after the other, as under a rule. Where a commit is sent again under a write id of the program's own, it is
/// another one, as it keeps another past: ask [`resolve`](Collection::resolve) first.
pub struct History<T: Resource> {
    records: Collection<Record<T>>,
    bounds: Bounds,
    author: Option<Arc<Author<T>>>,
}

impl<T: Resource> History<T> {
    /// The history that is kept in the collection of this name.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the name can't be that of a collection, or it is open
    /// with another type.
    ///
    /// ```
    /// use ifmatch::Database;
    /// use ifmatch::history::History;
    ///
    /// let history = History::<String>::new(&Database::in_memory(), "notes.history")?;
    /// assert_eq!(history.of("readme").wait()?.versions().count(), 0);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn new(database: &Database, name: &str) -> Result<Self, Error> {
        let bounds = Bounds { versions: 32, bytes: 256 * 1024, lasts: None };
        Ok(Self { records: database.collection_with(name, AsJson)?, bounds, author: None })
    }

    /// The same, of at most so many versions of each resource: no more than 10,000. Default: 32.
    #[must_use]
    pub fn keeping(mut self, versions: usize) -> Self {
        // A record has eight values a version, and 100,000 are as many as JSON may have here.
        self.bounds.versions = versions.min(10_000);
        self
    }

    /// The same, of at most so many bytes for each resource: those that the collection's codec gives for its values, and in memory
    /// those of their JSON, their authors, and 200 bytes a version. The record has to fit into the store as a text, which
    /// escapes, or bytes that are no text, may make twice as long: past the half of the store's limit a write may be refused for
    /// it. Default: 256 KiB.
    #[must_use]
    pub fn within(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes;
        self
    }

    /// The same, of versions that ended no longer ago than this. They go when the resource is changed again.
    #[must_use]
    pub fn lasting(mut self, lasts: Duration) -> Self {
        self.bounds.lasts = Some(lasts);
        self
    }

    /// The same with the author of each version, as its value tells. Where values are merged, an author who saves twice in a row
    /// has not changed that member, so that another's stays: it needs something new each time, as the time beside the name.
    ///
    /// ```
    /// use ifmatch::Database;
    /// use ifmatch::history::History;
    ///
    /// let office = Database::in_memory();
    /// let history = History::new(&office, "notes.history")?.by(|(author, _): &(String, String)| Some(author.clone()));
    /// let notes = office.define("notes")?.recorded(&history).open()?;
    ///
    /// notes.create("a", ("ann".to_string(), "hello".to_string())).wait()?;
    /// notes.put("a", ("bob".to_string(), "hi".to_string())).wait()?;
    /// let past = history.of("a").wait()?;
    /// assert_eq!(past.versions().next().unwrap().by(), Some("ann"));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use]
    pub fn by(mut self, author: impl Fn(&T) -> Option<String> + Send + Sync + 'static) -> Self {
        self.author = Some(Arc::new(author));
        self
    }

    /// What a resource was, also one that is deleted. One read.
    pub fn of<'a>(&'a self, id: &'a str) -> Reply<'a, Versions<T>> {
        self.records.get(id).map(move |found| {
            let encoding = self.records.membership().and_then(|records| records.encoding_of_served());
            Versions::new(id, found, encoding, self.records.name().unwrap_or_default())
        })
    }

    /// Makes a resource what it was, as a new version: what it is now becomes past, and can be restored in turn. The condition
    /// says what is to be replaced, as for [`replace`](Collection::replace).
    ///
    /// # Errors
    ///
    /// Those of [`Versions::at`] and of [`Past::value`](crate::history::Past::value), and those of
    /// [`replace`](Collection::replace). [`Refusal::Collection`] where it is not the history of `to`.
    ///
    /// ```
    /// use ifmatch::history::History;
    /// use ifmatch::{Database, Error};
    ///
    /// let office = Database::in_memory();
    /// let history = History::<u32>::new(&office, "counts.history")?;
    /// let counts = office.define::<u32>("counts")?.recorded(&history).open()?;
    /// let first = counts.create("a", 1).wait()?;
    /// let second = counts.put("a", 2).wait()?;
    ///
    /// counts.put("a", 3).wait()?; // somebody else was faster
    /// assert!(history.restore(&counts, "a", first.version, second.version).wait().is_err());
    /// # Ok::<_, Error>(())
    /// ```
    pub fn restore<'a>(
        &'a self,
        to: &'a Collection<T>,
        id: &'a str,
        version: Version,
        condition: impl Into<Condition>,
    ) -> Reply<'a, Versioned<T>> {
        let condition = condition.into();
        Reply::pending(async move {
            self.check_of(to)?;
            let value = self.of(id).await?.at(version)?.value()?;
            to.replace(id, condition, value).await
        })
    }

    /// Forgets what a resource was, for what must not be kept. That there were versions is known still: asked for one of them, the
    /// answer is `expired`. What stands is not touched, and its change is kept again. In the file of a store, bytes are gone
    /// once they were written over, and from a backup never.
    ///
    /// # Errors
    ///
    /// As [`modify`](Collection::modify); nothing to forget is none.
    ///
    /// ```
    /// # use ifmatch::history::History;
    /// # use ifmatch::{Database, Error};
    /// let office = Database::in_memory();
    /// let history = History::<String>::new(&office, "notes.history")?;
    /// let notes = office.define::<String>("notes")?.recorded(&history).open()?;
    /// notes.create("a", "a secret".to_string()).wait()?;
    /// notes.put("a", "hello".to_string()).wait()?;
    ///
    /// history.forget("a").wait()?;
    /// let past = history.of("a").wait()?;
    /// assert_eq!((past.versions().count(), past.expired()), (0, 1));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn forget<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        let forgotten = self.records.modify(id, |record| {
            record.expired += record.kept.len() as u64;
            record.kept.clear();
        });
        forgotten.then(|done| match done {
            Ok(_) | Err(Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        })
    }
}

impl<T: Resource> History<T> {
    /// Whether it keeps what the resources of this collection were: another one's tell nothing of them, also where versions are
    /// the same.
    pub(crate) fn check_of(&self, collection: &Collection<T>) -> Result<(), Error> {
        match (self.records.membership(), collection.membership()) {
            (Some(own), Some(of)) if own.serves(of) => Ok(()),
            _ => Err(self.refused("keeps no history of this collection")),
        }
    }

    fn refused(&self, problem: &str) -> Error {
        let name = self.records.name().unwrap_or_default().into();
        Refusal::Collection { name, problem: problem.into() }.into()
    }
}

impl<T: Resource + Serialize> Definition<T> {
    /// Keeps what each resource was in `history`, in the commit of each change, whichever way it comes. A value that is only brought
    /// up to a newer [`Schema`](crate::Schema) was not changed.
    ///
    /// The past is kept as the collection's own codec gives it, and read through that: one that hides values hides those that are
    /// over, and a [`Schema`](crate::Schema) reads those of earlier releases. In memory the values themselves are kept.
    /// A change is refused where what it writes over can't be read or encoded, in memory where serde can't write it as JSON, by
    /// the length of which it is bounded; and where the id is too long for the name of the history before it. Opening the
    /// collection fails where the history is of another database, or keeps another collection already.
    ///
    /// ```
    /// use ifmatch::Database;
    /// use ifmatch::history::History;
    ///
    /// let office = Database::in_memory();
    /// let history = History::<String>::new(&office, "notes.history")?.keeping(100);
    /// let notes = office.define::<String>("notes")?.recorded(&history).open()?;
    /// # notes.create("a", "b".to_string()).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn recorded(self, history: &History<T>) -> Self {
        let History { records, bounds, author } = history.clone();
        let (own, name) = (history.clone(), self.name().to_owned());
        let claim = move || {
            let serves = own.records.membership().is_some_and(|records| records.serve(&name));
            (!serves).then(|| own.refused("keeps the history of another collection"))
        };
        self.beside(&records).claiming(claim).step(Recorder { records, bounds, author })
    }
}

impl<T: Resource> Clone for History<T> {
    fn clone(&self) -> Self {
        Self { records: self.records.clone(), bounds: self.bounds, author: self.author.clone() }
    }
}

impl<T: Resource> fmt::Debug for History<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}
