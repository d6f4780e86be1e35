//! [`Versions`], what a resource was, and [`Past`], one version of it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::collection::Encoding;
use crate::history::record::{Form, Kept, Record};
use crate::store::{Conflict, Corrupt, Error, Refusal, Resource, Version, Versioned};

/// How a version ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Another one took its place.
    Replaced,
    /// The resource was deleted.
    Deleted,
}

/// The versions of one resource that are over, as far as they are kept; see [`History::of`](crate::history::History::of).
pub struct Versions<T> {
    id: Box<str>,
    record: Arc<Record<T>>,
    /// That of the commit which wrote the record last: it made what took the place of the newest one.
    written: Option<Version>,
    /// Of the collection, where it is open and keeps bytes.
    encoding: Option<Encoding>,
    /// The name of the history.
    history: Box<str>,
}

/// One version that is over; see [`Versions`].
pub struct Past<'p, T> {
    of: &'p Versions<T>,
    kept: &'p Kept<T>,
}

impl<T> Versions<T> {
    pub(super) fn new(
        id: &str,
        found: Option<Versioned<Record<T>>>,
        encoding: Option<Encoding>,
        history: &str,
    ) -> Self {
        let written = found.as_ref().map(|found| found.version);
        let record = found.map_or_else(|| Arc::new(Record::empty()), |found| found.value);
        Self { id: id.into(), record, written, encoding, history: history.into() }
    }

    /// Those that are kept, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = Past<'_, T>> {
        self.record.kept.iter().rev().map(|kept| Past { of: self, kept })
    }

    /// How many there were before those that are kept.
    pub fn expired(&self) -> u64 {
        self.record.expired
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] of [`Kind::State`](crate::Kind::State), HTTP status 409: its rule is `expired` where the resource had
    /// versions that are not kept any more, of which this may be one, and else `no-such-version`. The version that stands is
    /// not among them, as it is not over.
    pub fn at(&self, version: Version) -> Result<Past<'_, T>, Error> {
        let kept = self.record.kept.iter().find(|kept| kept.version == version);
        kept.map(|kept| Past { of: self, kept }).ok_or_else(|| self.missing(format!("version {version}")))
    }

    /// The one that this version, which may be the one that stands, took the place of: what is wanted back to undo a change.
    ///
    /// # Errors
    ///
    /// As [`at`](Self::at): where that is kept no longer, where there was none, as the resource was created then, and where it is
    /// [not known](Past::is_after_gap).
    ///
    /// ```
    /// use ifmatch::Database;
    /// use ifmatch::history::History;
    ///
    /// let office = Database::in_memory();
    /// let history = History::<u32>::new(&office, "counts.history")?;
    /// let counts = office.define::<u32>("counts")?.recorded(&history).open()?;
    /// let first = counts.create("a", 1).wait()?;
    /// let second = counts.put("a", 2).wait()?;
    ///
    /// let past = history.of("a").wait()?;
    /// assert_eq!(past.before(second.version)?.version(), first.version);
    /// assert!(past.before(first.version).is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn before(&self, version: Version) -> Result<Past<'_, T>, Error> {
        let kept = &self.record.kept;
        let before = match kept.iter().position(|kept| kept.version == version) {
            Some(at) if kept[at].after_gap => None,
            Some(at) => at.checked_sub(1).and_then(|before| kept.get(before)),
            None => kept.back().filter(|_| self.written == Some(version)),
        };
        let replaced = before.filter(|before| before.ended == Ended::Replaced);
        replaced
            .map(|kept| Past { of: self, kept })
            .ok_or_else(|| self.missing(format!("anything from before version {version}")))
    }

    /// The version that the last write made which was recorded.
    #[cfg(feature = "merge")]
    pub(crate) fn written(&self) -> Option<Version> {
        self.written
    }

    fn missing(&self, what: String) -> Error {
        let (rule, has) = match self.expired() {
            0 => ("no-such-version", "never had"),
            _ => ("expired", "no longer has"),
        };
        Conflict::state(&self.id, rule, format!("its history {has} {what}")).into()
    }
}

impl<T: Resource> Past<'_, T> {
    /// What the resource was, through the codec of its collection.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where the codec no longer reads it. The others can be read. [`Refusal::Collection`] where the store
    /// keeps bytes, and the collection was not opened yet: its codec is not known then.
    pub fn value(&self) -> Result<Arc<T>, Error> {
        let bytes = match &self.kept.value {
            Form::Value { value, .. } => return Ok(Arc::clone(value)),
            Form::Bytes(bytes) => bytes,
        };
        let Some(encoding) = &self.of.encoding else {
            let problem = "keeps the history of a collection that is not open".into();
            return Err(Refusal::Collection { name: self.of.history.clone(), problem }.into());
        };
        let value = encoding.decode(&self.of.id, bytes);
        value.map_err(|fault| Corrupt::new(&self.of.id, self.version(), fault).into())
    }
}

#[cfg(feature = "patch")]
impl<T: Resource + Serialize> Past<'_, T> {
    /// What was changed from this version to a later one, or to any value: the operations of a JSON Patch (RFC 6902), for people
    /// to look at, or to take what is wanted back by the difference in the other direction. Arrays are compared index by index. Feature
    /// `patch`.
    ///
    /// # Errors
    ///
    /// Those of [`value`](Self::value), and [`Refusal::Encode`] where one of the two can't be written as JSON.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use ifmatch::Database;
    /// use ifmatch::history::History;
    /// use serde_json::json;
    ///
    /// let office = Database::in_memory();
    /// let history = History::new(&office, "prices.history")?;
    /// let prices = office.define::<BTreeMap<String, u32>>("prices")?.recorded(&history).open()?;
    /// prices.create("shop", BTreeMap::from([("tea".to_string(), 3)])).wait()?;
    /// let now = prices.modify("shop", |prices| drop(prices.insert("tea".to_string(), 4))).wait()?;
    ///
    /// let past = history.of("shop").wait()?;
    /// let before = past.versions().next().unwrap();
    /// assert_eq!(before.difference(&now.value)?, json!([{"op": "replace", "path": "/tea", "value": 4}]));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn difference(&self, later: &T) -> Result<serde_json::Value, Error> {
        let unwritable =
            |source: serde_json::Error| Refusal::Encode { id: self.of.id.clone(), source: source.into() };
        let earlier = serde_json::to_value(&*self.value()?).map_err(unwritable)?;
        let later = serde_json::to_value(later).map_err(unwritable)?;
        serde_json::to_value(json_patch::diff(&earlier, &later)).map_err(|error| unwritable(error).into())
    }
}

impl<T> Past<'_, T> {
    /// The version that it was.
    pub fn version(&self) -> Version {
        self.kept.version
    }

    /// When it ended, by the clock of whoever ended it.
    pub fn until(&self) -> SystemTime {
        self.kept.until
    }

    /// How it ended.
    pub fn ended(&self) -> Ended {
        self.kept.ended
    }

    /// Whether the resource was something else between the version before this one and this one, of which nothing is known: it was
    /// written by a program that does not record, or only brought up to a newer [`Schema`](crate::Schema). What was between a
    /// deletion and a creation is not noticed.
    pub fn is_after_gap(&self) -> bool {
        self.kept.after_gap
    }

    /// Who had made it, where the program says so; see [`History::by`](crate::history::History::by).
    pub fn by(&self) -> Option<&str> {
        self.kept.by.as_deref()
    }
}

// Hand-written: the derived impls would print the user's values.
impl<T> fmt::Debug for Past<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past")
            .field("version", &self.version())
            .field("until", &self.until())
            .field("ended", &self.ended())
            .field("is_after_gap", &self.is_after_gap())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Versions<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions")
            .field("id", &self.id)
            .field("kept", &self.record.kept)
            .field("expired", &self.record.expired)
            .finish()
    }
}
