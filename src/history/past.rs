//! [`Versions`], what a resource was, and [`Past`], one version of it.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, Json};
use crate::store::{Conflict, Corrupt, Error, Version};
#[cfg(feature = "patch")]
use crate::store::{Refusal, Resource};

/// What a resource was, as it is kept: the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) kept: VecDeque<Arc<Kept>>,
    /// How many versions there were before those.
    pub(super) expired: u64,
}

/// A version that is over. Its value is text, so that one that the type no longer reads stands in the way of nothing, and no
/// limit of depth counts it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) version: Version,
    pub(super) text: String,
    pub(super) until: SystemTime,
    pub(super) ended: Ended,
    pub(super) by: Option<String>,
}

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
    record: Arc<Record>,
    value: PhantomData<fn() -> T>,
}

/// One version that is over; see [`Versions`].
pub struct Past<'p, T> {
    id: &'p str,
    kept: &'p Kept,
    value: PhantomData<fn() -> T>,
}

impl<T> Versions<T> {
    pub(super) fn new(id: &str, record: Arc<Record>) -> Self {
        Self { id: id.into(), record, value: PhantomData }
    }

    /// Those that are kept, the newest first.
    pub fn versions(&self) -> impl Iterator<Item = Past<'_, T>> {
        self.record.kept.iter().rev().map(|kept| self.past(kept))
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
        kept.map(|kept| self.past(kept)).ok_or_else(|| {
            let (rule, what) = match self.expired() {
                0 => ("no-such-version", "never had"),
                _ => ("expired", "no longer has"),
            };
            Conflict::state(&self.id, rule, format!("its history {what} version {version}")).into()
        })
    }

    fn past<'p>(&'p self, kept: &'p Kept) -> Past<'p, T> {
        Past { id: &self.id, kept, value: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Past<'_, T> {
    /// What the resource was.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where the type no longer reads it. The others can be read.
    pub fn value(&self) -> Result<T, Error> {
        let value = Json.decode(self.kept.text.as_bytes());
        value.map_err(|fault| Corrupt::new(self.id, self.version(), fault).into())
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
    /// [`Error::Corrupt`] where what is kept is no JSON, and [`Refusal::Encode`] where `later` can't be written as such.
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
        let corrupt = |fault: serde_json::Error| Corrupt::new(self.id, self.version(), fault);
        let earlier = serde_json::from_str(&self.kept.text).map_err(corrupt)?;
        let unwritable =
            |source: serde_json::Error| Refusal::Encode { id: self.id.into(), source: source.into() };
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

    /// Who had made it, where the program says so; see [`History::by`](crate::history::History::by).
    pub fn by(&self) -> Option<&str> {
        self.kept.by.as_deref()
    }
}

// Hand-written: the derived impls would print the user's values.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("version", &self.version).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Past<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Past")
            .field("version", &self.version())
            .field("until", &self.until())
            .field("ended", &self.ended())
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
