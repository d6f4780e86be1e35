//! [`Mismatch`], one id whose expectation was not met.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::store::expected::{Condition, Expected, Origin};
use crate::store::found::Found;
use crate::store::id::{on_one_line, shown};
use crate::store::resource::Resource;
use crate::store::version::{Version, Versioned};

/// One id of a [`Conflict`](crate::Conflict): what was expected of it and what was found.
///
/// Stores make one with [`Entry::judge`](crate::Entry::judge). Layers that refuse for reasons of their own make one with
/// [`locked`](Self::locked) or [`state`](Self::state); those that send other ids or expectations than they were given
/// change what comes back with [`with_id`](Self::with_id) and [`with_condition`](Self::with_condition). The
/// [`kind`](Self::kind) always follows from the rest, so that no mismatch contradicts itself.
///
/// ```
/// # use ifmatch::{Collection, Expected};
/// # let notes = Collection::<String>::in_memory();
/// let error = notes.replace("readme", Expected::Present, String::new()).wait().unwrap_err();
///
/// let mismatch = &error.conflict().unwrap().mismatches()[0];
/// assert_eq!(mismatch.to_string(), "`readme` does not exist: expected a value");
/// assert_eq!(mismatch.found(), None);
/// ```
pub struct Mismatch {
    // Boxed, so that a `Result` with a mismatch stays small.
    resource: Box<Name>,
    condition: Condition,
    intent: Intent,
    kind: Kind,
    found: Option<Version>,
    current: Option<Box<dyn Any + Send + Sync>>,
    /// What the maker advises, where that is not what the kind says.
    retry: Option<Advice>,
    /// In a box, as most have none.
    overlap: Option<Box<Overlap>>,
}

/// Why an expectation was not met.
///
/// ```
/// use ifmatch::{Conflict, Kind};
///
/// fn advise(conflict: &Conflict) -> String {
///     match conflict.kind() {
///         Kind::Stale => "somebody saved before you: look at the changes".to_string(),
///         Kind::Exists => "the name is taken".to_string(),
///         Kind::Missing | Kind::Deleted => "it is gone".to_string(),
///         Kind::Locked { remaining, .. } => format!("try again in {} s", remaining.as_secs()),
///         Kind::State { reason, .. } => reason.to_string(),
///         _ => conflict.to_string(),
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// There is a value, of another version than the expected one.
    Stale,
    /// There is a value where none was expected.
    Exists,
    /// There is no value, and as far as the store remembers there never was one.
    Missing,
    /// There was a value, and it was deleted. Only a store that keeps tombstones tells this from `Missing`.
    Deleted,
    /// Another holder has the lease on the resource.
    Locked {
        /// Who holds it, as the holder named itself.
        holder: Box<str>,
        /// How long it is until the lease may be over, if its holder is not heard of: as far as whoever refuses has looked.
        remaining: Duration,
    },
    /// A rule of the program refuses the write in the resource's present state.
    State {
        /// The name of the rule: a stable word for programs, which does not change when the sentence does.
        rule: Cow<'static, str>,
        /// A sentence for people, as the program wrote it.
        reason: Cow<'static, str>,
    },
}

impl Kind {
    /// Whether a lock or a rule refused, and not an expectation that does not hold.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::State { .. })
    }
}

/// What the refused entry was about to do. A deletion can't create what is missing, which decides an HTTP status.
///
/// ```
/// use ifmatch::{Collection, Expected};
/// use ifmatch::store::Intent;
///
/// let notes = Collection::<String>::in_memory();
/// let error = notes.delete("readme", Expected::Present).wait().unwrap_err();
/// assert_eq!(error.conflict().unwrap().mismatches()[0].intent(), Intent::Delete);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intent {
    /// To change nothing, and to hold only if the expectation does.
    Check,
    /// To put a value.
    Put,
    /// To delete the value.
    Delete,
}

/// What a program can do about a conflict.
///
/// ```
/// use ifmatch::{Collection, Expected};
/// use ifmatch::store::Advice;
///
/// let notes = Collection::<String>::in_memory();
/// let gone = notes.replace("readme", Expected::Present, "text".to_string()).wait().unwrap_err();
/// assert_eq!(gone.conflict().unwrap().retry(), Advice::Never);
///
/// notes.create("readme", "hello".to_string()).wait()?;
/// let taken = notes.create("readme", "mine".to_string()).wait().unwrap_err();
/// assert_eq!(taken.conflict().unwrap().retry(), Advice::Refetch);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Start again from the current value. Sending the same write again cannot help.
    Refetch,
    /// Both sides changed the same fields: show both, and let somebody decide. No store can know that; a layer that
    /// merges says it by [`Mismatch::with_retry`].
    Merge,
    /// The resource is contended or locked: try again later.
    Wait,
    /// Another try meets the same answer until somebody else changes the resource.
    Never,
}

/// What both sides of a merge changed.
struct Overlap {
    paths: Box<[Box<str>]>,
    cause: Box<dyn StdError + Send + Sync>,
}

/// Which resource it is.
struct Name {
    collection: Option<Arc<str>>,
    id: Box<str>,
}

impl Mismatch {
    /// An expectation that does not hold for what was found. Its kind follows from the two: `Exists` where nothing was
    /// expected, else `Stale`, `Deleted` or `Missing`.
    ///
    /// [`Entry::judge`](crate::Entry::judge) makes the same and also decides whether the expectation holds; this is for
    /// expectations that no [`Expected`] says in full, as "none of these versions", and for tables of one's own.
    ///
    /// ```
    /// use ifmatch::{Expected, Kind, Versioned};
    /// use ifmatch::store::{Found, Intent, Mismatch};
    ///
    /// let found = Found::Value(Versioned::<str>::new("7".parse()?, "text"));
    /// let not_as_listed = Mismatch::new("a1", Expected::Present.into(), Intent::Put, found);
    /// assert_eq!(not_as_listed.kind(), &Kind::Stale);
    /// assert_eq!(not_as_listed.to_string(), "`a1` is not as expected, found version 7");
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn new<T: Resource + ?Sized>(
        id: &str,
        condition: Condition,
        intent: Intent,
        found: Found<T>,
    ) -> Self {
        let mut mismatch = Self::bare(id, condition, intent, Kind::Missing);
        match found {
            Found::Value(current) => mismatch = mismatch.with_current(&current),
            // Its kind is that of a value, and follows from the version.
            Found::Unread(version) => (mismatch.kind, mismatch.found) = (Kind::Stale, Some(version)),
            Found::Deleted(version) => (mismatch.kind, mismatch.found) = (Kind::Deleted, Some(version)),
            Found::Nothing => {}
        }
        mismatch.with_condition(condition)
    }

    /// The refusal because `holder` has the resource for another `remaining`; see [`Conflict::locked`](crate::Conflict::locked).
    pub fn locked(id: &str, holder: impl Into<Box<str>>, remaining: Duration) -> Self {
        let kind = Kind::Locked { holder: holder.into(), remaining };
        Self::bare(id, Expected::Any.into(), Intent::Put, kind)
    }

    /// The refusal by a rule; see [`Conflict::state`](crate::Conflict::state).
    pub fn state(id: &str, rule: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        let kind = Kind::State { rule: rule.into(), reason: reason.into() };
        Self::bare(id, Expected::Any.into(), Intent::Put, kind)
    }

    fn bare(id: &str, condition: Condition, intent: Intent, kind: Kind) -> Self {
        let resource = Box::new(Name { collection: None, id: id.into() });
        Self { resource, condition, intent, kind, found: None, current: None, retry: None, overlap: None }
    }

    /// The same of a resource in this collection of a [`Database`](crate::Database), which beside the id says which one it
    /// is.
    ///
    /// ```
    /// use ifmatch::Conflict;
    /// use ifmatch::store::Mismatch;
    ///
    /// let mismatch = Mismatch::state("o7", "final", "it was sent").in_collection("orders");
    /// assert_eq!(mismatch.collection(), Some("orders"));
    /// assert_eq!(Conflict::from(mismatch).to_string(), "`o7` of `orders` refuses the change: it was sent");
    /// ```
    pub fn in_collection(mut self, name: impl Into<Arc<str>>) -> Self {
        self.resource.collection = Some(name.into());
        self
    }

    /// The mismatch as one of another id, for a layer that renames them.
    ///
    /// ```
    /// # use ifmatch::Conflict;
    /// let below = Conflict::state("notes/a1", "full", "it is full");
    /// let above = below.map(|mismatch| {
    ///     let id = mismatch.id().strip_prefix("notes/").unwrap_or(mismatch.id()).to_owned();
    ///     mismatch.with_id(&id)
    /// });
    /// assert_eq!(above.id(), "a1");
    /// ```
    pub fn with_id(mut self, id: &str) -> Self {
        self.resource.id = id.into();
        self
    }

    /// The mismatch as one of another expectation, for a layer that sent a narrower one than it was given: the caller
    /// gets its own back.
    ///
    /// ```
    /// use ifmatch::{Entry, Expected, Version};
    /// use ifmatch::store::Found;
    ///
    /// let seen: Version = "7".parse()?;
    /// let narrowed = Entry::<str>::delete("a1", seen).judge(Found::Nothing).unwrap_err();
    /// let own = narrowed.with_condition(Expected::Present.into());
    /// assert_eq!(own.to_string(), "`a1` does not exist: expected a value");
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self.kind = match self.kind {
            refusal @ (Kind::Locked { .. } | Kind::State { .. }) => refusal,
            _ if condition.expected == Expected::Absent => Kind::Exists,
            Kind::Exists => Kind::Stale,
            other => other,
        };
        self
    }

    /// The mismatch as one of an entry that was about to do something else.
    pub fn with_intent(self, intent: Intent) -> Self {
        Self { intent, ..self }
    }

    /// The mismatch with the value that stands there, and its version.
    pub fn with_current<T: Resource + ?Sized>(mut self, current: &Versioned<T>) -> Self {
        self.set_current(current);
        self
    }

    pub(super) fn set_current<T: Resource + ?Sized>(&mut self, current: &Versioned<T>) {
        self.found = Some(current.version);
        self.current = Some(Box::new(current.clone()));
        if matches!(self.kind, Kind::Missing | Kind::Deleted) {
            self.kind = Kind::Stale;
        }
    }

    /// The mismatch with other advice than its kind gives, as [`Advice::Merge`] where a merge left overlaps.
    ///
    /// ```
    /// use ifmatch::{Entry, Expected, Versioned};
    /// use ifmatch::store::{Advice, Found};
    ///
    /// let found = Found::Value(Versioned::<str>::new("7".parse()?, "text"));
    /// let stale = Entry::check("a1", Expected::Absent).judge(found).unwrap_err();
    /// assert_eq!(stale.with_retry(Advice::Merge).retry(), Advice::Merge);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn with_retry(self, advice: Advice) -> Self {
        Self { retry: Some(advice), ..self }
    }

    /// The mismatch as what is left of a merge: both sides changed what is at these paths, and nobody but a person can say
    /// what it is to be. The advice is [`Advice::Merge`]. `cause` is the [`source`](StdError::source) of a
    /// [`Conflict`](crate::Conflict) that this mismatch speaks for, where a program finds what each side made of it; the paths
    /// go into a problem body, and so must hold nothing secret.
    ///
    /// ```
    /// use ifmatch::{Conflict, Entry, Expected, Versioned};
    /// use ifmatch::store::{Advice, Found};
    ///
    /// let found = Found::Value(Versioned::<str>::new("7".parse()?, "text"));
    /// let stale = Entry::check("a1", Expected::Absent).judge(found).unwrap_err();
    /// let conflict = Conflict::from(stale.with_overlap(["/title"], "both changed the title"));
    /// assert_eq!(conflict.retry(), Advice::Merge);
    /// assert!(conflict.decisive().conflicting_paths().eq(["/title"]));
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn with_overlap<P: Into<Box<str>>>(
        mut self,
        paths: impl IntoIterator<Item = P>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        let paths = paths.into_iter().map(Into::into).collect();
        self.overlap = Some(Box::new(Overlap { paths, cause: cause.into() }));
        self.with_retry(Advice::Merge)
    }

    /// What both sides of a merge changed, as JSON pointers; empty where nothing was merged.
    pub fn conflicting_paths(&self) -> impl Iterator<Item = &str> {
        self.overlap.iter().flat_map(|overlap| &overlap.paths).map(|path| &**path)
    }

    pub(super) fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.overlap.as_ref()?.cause)
    }

    /// The collection that the resource is in, where it is one of a [`Database`](crate::Database).
    pub fn collection(&self) -> Option<&str> {
        self.resource.collection.as_deref()
    }

    /// How messages name the resource.
    pub(crate) fn name(&self) -> String {
        match self.collection() {
            Some(collection) => format!("`{}` of `{collection}`", shown(self.id())),
            None => format!("`{}`", shown(self.id())),
        }
    }

    /// The id whose expectation failed.
    pub fn id(&self) -> &str {
        &self.resource.id
    }

    /// What was expected, and where that came from.
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// What was expected.
    pub fn expected(&self) -> Expected {
        self.condition.expected
    }

    /// Where the expectation came from.
    pub fn origin(&self) -> Origin {
        self.condition.origin
    }

    /// What the entry was about to do.
    pub fn intent(&self) -> Intent {
        self.intent
    }

    /// Why it failed.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The version found: of the current value, or of the deletion where the store remembers it.
    pub fn found(&self) -> Option<Version> {
        self.found
    }

    /// The value that stood there when the expectation failed, and its version. `None` where there was none, where
    /// `T` is not the collection's type, and where the stored bytes do not decode.
    pub fn current<T: Resource + ?Sized>(&self) -> Option<Versioned<T>> {
        self.current.as_ref()?.downcast_ref::<Versioned<T>>().cloned()
    }

    /// The mismatch with its current value changed from the stored type to the presented one, or dropped.
    pub fn map_current<T: Resource + ?Sized, U: Resource + ?Sized>(
        mut self,
        change: impl FnOnce(Versioned<T>) -> Option<Versioned<U>>,
    ) -> Self {
        self.current = match self.current.take().map(|current| current.downcast::<Versioned<T>>()) {
            Some(Ok(current)) => {
                change(*current).map(|current| Box::new(current) as Box<dyn Any + Send + Sync>)
            }
            Some(Err(other)) => Some(other),
            None => None,
        };
        self
    }

    /// What a program can do about this id.
    pub fn retry(&self) -> Advice {
        self.retry.unwrap_or(match self.kind {
            Kind::Stale | Kind::Exists => Advice::Refetch,
            Kind::Locked { .. } => Advice::Wait,
            Kind::Missing | Kind::Deleted | Kind::State { .. } => Advice::Never,
        })
    }
}

/// Rounded up, and never 0, which would invite a storm.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    let rest = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(rest).max(1)
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let expected = self.expected();
        match &self.kind {
            Kind::Stale if matches!(expected, Expected::Version(_)) => {
                write!(f, "{name} has changed: expected {expected}")?;
            }
            // Something was named that no single expectation says, as a list or a foreign tag in a request.
            Kind::Stale => write!(f, "{name} is not as expected")?,
            Kind::Exists => write!(f, "{name} already exists: expected {expected}")?,
            Kind::Missing => return write!(f, "{name} does not exist: expected {expected}"),
            Kind::Deleted => write!(f, "{name} was deleted: expected {expected}")?,
            Kind::Locked { holder, remaining } => {
                let (holder, seconds) = (shown(holder), whole_seconds(*remaining));
                return write!(f, "{name} is locked by `{holder}` for another {seconds} s");
            }
            Kind::State { reason, .. } => {
                write!(f, "{name} refuses the change: {}", on_one_line(reason))?;
                return self.found.map_or(Ok(()), |found| write!(f, " (version {found})"));
            }
        }
        match (&self.kind, self.found) {
            (Kind::Deleted, Some(found)) => write!(f, ", found its deletion, version {found}")?,
            (_, Some(found)) => write!(f, ", found version {found}")?,
            (_, None) => {}
        }
        match self.conflicting_paths().count() {
            0 => Ok(()),
            1 => f.write_str("; both sides changed the same place"),
            places => write!(f, "; both sides changed {places} of the same places"),
        }
    }
}

// Hand-written: the derived impl would reach for the user's value.
impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Mismatch");
        if let Some(collection) = self.collection() {
            fields.field("collection", &collection);
        }
        fields
            .field("id", &self.id())
            .field("expected", &self.expected())
            .field("origin", &self.origin())
            .field("intent", &self.intent)
            .field("kind", &self.kind)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_what_is_changed_afterwards() {
        let [one, two]: [Version; 2] = ["1", "2"].map(|text| text.parse().unwrap());
        let value = Versioned::<str>::new(two, "text");
        let exists = Mismatch::new("a", Expected::Absent.into(), Intent::Put, Found::Value(value.clone()));
        assert_eq!(exists.kind(), &Kind::Exists);

        let own =
            exists.with_condition(Expected::Version(one).into()).with_id("b").with_intent(Intent::Check);

        assert_eq!((own.id(), own.intent(), own.kind()), ("b", Intent::Check, &Kind::Stale));
        assert_eq!(own.current::<str>().unwrap(), value);
        let gone = own.with_condition(Expected::Present.into());
        assert_eq!((gone.kind(), gone.condition().expected), (&Kind::Stale, Expected::Present));
        // A refusal stays one, whatever was expected.
        let refused = Mismatch::state("a", "full", "it is full").with_current(&value);
        assert_eq!(refused.found(), Some(two));
        assert!(matches!(refused.with_condition(Expected::Absent.into()).kind(), Kind::State { .. }));
    }
}
