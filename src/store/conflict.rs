//! [`Conflict`], the typed refusal of a write whose expectation was not met.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::store::expected::{Condition, Expected, Origin};
use crate::store::id::{on_one_line, shown};
use crate::store::resource::Resource;
use crate::store::version::{Version, Versioned};

/// How many mismatches the text of a conflict spells out before it counts the rest.
const SPELLED_OUT: usize = 3;

/// The refusal of a commit because at least one of its expectations was not met. Nothing was changed.
///
/// It names every id that failed, with what was expected and what was found, and keeps the value that stood there,
/// all true together at one instant between the call and its answer. Most commits concern one id: the accessors on
/// the conflict speak of its first mismatch, and [`mismatches`](Self::mismatches) lists all.
///
/// The type is not generic, so it passes through `?`, `anyhow` and `Box<dyn Error>`;
/// [`conflict_in`](crate::conflict_in) finds it there again. [`current`](Self::current) gives the value back typed.
/// `Debug` and `Display` show no value. One allocation for the conflict, one each for its id, its list and its value.
///
/// HTTP status: 409 or 412 by [`Origin`]; 404 or 410 where the resource is gone; 423 where it is locked.
///
/// ```
/// use ifmatch::{Collection, Error, Kind};
///
/// let notes = Collection::<String>::in_memory();
/// let first = notes.create("readme", "hello".to_string()).wait()?;
/// notes.replace("readme", first.version, "hello, world".to_string()).wait()?;
///
/// let late = notes.replace("readme", first.version, "oops".to_string()).wait();
///
/// let Err(Error::Conflict(conflict)) = late else { unreachable!() };
/// assert_eq!(conflict.id(), "readme");
/// assert!(matches!(conflict.kind(), Kind::Stale));
/// assert_eq!(*conflict.current::<String>().unwrap().value, "hello, world");
/// # Ok::<_, Error>(())
/// ```
pub struct Conflict(Box<Inner>);

struct Inner {
    mismatches: Vec<Mismatch>,
    attempts: u32,
    exhausted: bool,
}

/// One id of a [`Conflict`]: what was expected of it and what was found.
///
/// Stores make one with [`Entry::judge`](crate::Entry::judge).
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
    id: Box<str>,
    condition: Condition,
    intent: Intent,
    kind: Kind,
    found: Option<Version>,
    current: Option<Box<dyn Any + Send + Sync>>,
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
///         Kind::State(reason) => reason.to_string(),
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
        /// How long the lease lasts if it is not renewed.
        remaining: Duration,
    },
    /// A rule of the program refuses the write in the resource's present state. The text is the program's own.
    State(Cow<'static, str>),
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
    /// Both sides changed the same fields: show both, and let somebody decide.
    Merge,
    /// The resource is contended or locked: try again later.
    Wait,
    /// Another try meets the same answer until somebody else changes the resource.
    Never,
}

impl Conflict {
    /// The conflict with these mismatches. For store authors.
    ///
    /// # Panics
    ///
    /// Where the list is empty: a commit without a mismatch is not a conflict.
    pub fn new(mismatches: Vec<Mismatch>) -> Self {
        assert!(!mismatches.is_empty(), "a conflict has at least one mismatch");
        Self(Box::new(Inner { mismatches, attempts: 1, exhausted: false }))
    }

    /// The refusal by a rule of the program: the resource `current` is in a state that does not allow the write.
    ///
    /// Return it from the closure of [`try_modify`](crate::Collection::try_modify). The reason becomes part of
    /// messages and problem bodies: write it for the caller. HTTP status 409; retrying cannot help.
    ///
    /// ```
    /// use ifmatch::{Conflict, Versioned};
    ///
    /// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
    /// let conflict = Conflict::state("a1", &article, "it is archived");
    /// assert_eq!(conflict.to_string(), "`a1` refuses the change: it is archived (version 3)");
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn state<T: Resource + ?Sized>(
        id: &str,
        current: &Versioned<T>,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(vec![Mismatch {
            id: id.into(),
            condition: Expected::from(current).into(),
            intent: Intent::Put,
            kind: Kind::State(reason.into()),
            found: Some(current.version),
            current: Some(Box::new(current.clone())),
        }])
    }

    /// Every id whose expectation failed, in the order of the commit; never empty.
    ///
    /// ```
    /// use ifmatch::{Collection, Commit, Entry, Expected};
    ///
    /// let notes = Collection::<str>::in_memory();
    /// let both = Commit::one(Entry::delete("a", Expected::Present)).and(Entry::delete("b", Expected::Present));
    /// let error = notes.commit(both).wait().unwrap_err();
    ///
    /// let conflict = error.conflict().unwrap();
    /// let ids: Vec<_> = conflict.mismatches().iter().map(|mismatch| mismatch.id()).collect();
    /// assert_eq!(ids, ["a", "b"]);
    /// ```
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.0.mismatches
    }

    fn first(&self) -> &Mismatch {
        &self.0.mismatches[0]
    }

    /// The id of the first mismatch.
    pub fn id(&self) -> &str {
        self.first().id()
    }

    /// What the first mismatch expected.
    pub fn expected(&self) -> Expected {
        self.first().expected()
    }

    /// The version the first mismatch found; see [`Mismatch::found`].
    pub fn found(&self) -> Option<Version> {
        self.first().found()
    }

    /// Why the first mismatch failed.
    pub fn kind(&self) -> &Kind {
        self.first().kind()
    }

    /// Where the first mismatch's expectation came from.
    pub fn origin(&self) -> Origin {
        self.first().origin()
    }

    /// The value that stood at the first mismatch's id; see [`Mismatch::current`].
    pub fn current<T: Resource + ?Sized>(&self) -> Option<Versioned<T>> {
        self.first().current()
    }

    /// How many commits were tried before this conflict was returned: 1 unless a retry loop gave up.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// What a program can do now. A retry loop that gave up under contention advises to wait; otherwise the
    /// mismatch that is hardest to mend decides.
    pub fn retry(&self) -> Advice {
        if self.0.exhausted {
            return Advice::Wait;
        }
        let rank = |advice: &Advice| match advice {
            Advice::Refetch => 0,
            Advice::Merge => 1,
            Advice::Wait => 2,
            Advice::Never => 3,
        };
        self.0.mismatches.iter().map(Mismatch::retry).max_by_key(rank).unwrap_or(Advice::Refetch)
    }

    /// Notes that a retry loop ended with this conflict after `attempts` commits, without success.
    pub(crate) fn exhausted(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self.0.exhausted = true;
        self
    }

    /// One line for the error around a conflict, whose `source` is the conflict itself: other words, the same facts.
    pub(crate) fn headline(&self) -> String {
        let first = self.first();
        let reason = match (&first.kind, first.found) {
            (Kind::State(reason), Some(found)) => {
                format!("{} (version {found})", reason.escape_debug())
            }
            (Kind::Locked { holder, .. }, _) => format!("`{}` holds it", holder.escape_debug()),
            (Kind::Deleted, Some(found)) => {
                format!("expected {}, found its deletion, version {found}", first.expected())
            }
            (Kind::Exists, None) => format!("expected {}, found one", first.expected()),
            (Kind::Stale, Some(found)) if !matches!(first.expected(), Expected::Version(_)) => {
                format!("what was expected of it does not hold, found version {found}")
            }
            (_, Some(found)) => format!("expected {}, found version {found}", first.expected()),
            (_, None) => format!("expected {}, found none", first.expected()),
        };
        let others = match self.mismatches().len() - 1 {
            0 => String::new(),
            others => format!(" (and on {others} more)"),
        };
        let attempts = match self.attempts() {
            1 => String::new(),
            attempts => format!(", after {attempts} attempts"),
        };
        format!("conflict on `{}`: {reason}{others}{attempts}", shown(&first.id))
    }

    /// The conflict with each mismatch changed by `change`. For layers that present other values than they store.
    ///
    /// ```
    /// # use ifmatch::{Conflict, Versioned};
    /// # let stored = Versioned::<[u8]>::new("3".parse()?, *b"7");
    /// let bytes = Conflict::state("a", &stored, "full");
    /// let numbers = bytes.map(|mismatch| {
    ///     mismatch.map_current(|stored: Versioned<[u8]>| {
    ///         let number: u64 = std::str::from_utf8(&stored.value).ok()?.parse().ok()?;
    ///         Some(Versioned::<u64>::new(stored.version, number))
    ///     })
    /// });
    /// assert_eq!(*numbers.current::<u64>().unwrap().value, 7);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn map(mut self, change: impl FnMut(Mismatch) -> Mismatch) -> Self {
        self.0.mismatches = std::mem::take(&mut self.0.mismatches).into_iter().map(change).collect();
        self
    }
}

impl Mismatch {
    pub(crate) fn new<T: Resource + ?Sized>(
        id: &str,
        condition: Condition,
        intent: Intent,
        kind: Kind,
        found: Option<Version>,
        current: Option<Versioned<T>>,
    ) -> Self {
        let current = current.map(|current| Box::new(current) as Box<dyn Any + Send + Sync>);
        Self { id: id.into(), condition, intent, kind, found, current }
    }

    /// The id whose expectation failed.
    pub fn id(&self) -> &str {
        &self.id
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

    fn retry(&self) -> Advice {
        match self.kind {
            Kind::Stale | Kind::Exists => Advice::Refetch,
            Kind::Locked { .. } => Advice::Wait,
            Kind::Missing | Kind::Deleted | Kind::State(_) => Advice::Never,
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = shown(&self.id);
        let expected = self.expected();
        match &self.kind {
            Kind::Stale if matches!(expected, Expected::Version(_)) => {
                write!(f, "`{id}` has changed: expected {expected}")?;
            }
            // Something was named that no single expectation says, as a list or a foreign tag in a request.
            Kind::Stale => write!(f, "`{id}` is not as expected")?,
            Kind::Exists => write!(f, "`{id}` already exists: expected {expected}")?,
            Kind::Missing => return write!(f, "`{id}` does not exist: expected {expected}"),
            Kind::Deleted => write!(f, "`{id}` was deleted: expected {expected}")?,
            Kind::Locked { holder, remaining } => {
                let holder = holder.escape_debug();
                return write!(f, "`{id}` is locked by `{holder}` for another {remaining:?}");
            }
            Kind::State(reason) => {
                write!(f, "`{id}` refuses the change: {}", on_one_line(reason))?;
                return self.found.map_or(Ok(()), |found| write!(f, " (version {found})"));
            }
        }
        match (&self.kind, self.found) {
            (Kind::Deleted, Some(found)) => write!(f, ", found its deletion, version {found}"),
            (_, Some(found)) => write!(f, ", found version {found}"),
            (_, None) => Ok(()),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mismatch) in self.mismatches().iter().take(SPELLED_OUT).enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{mismatch}")?;
        }
        if let Some(more) = self.mismatches().len().checked_sub(SPELLED_OUT).filter(|more| *more > 0) {
            write!(f, "; and {more} more")?;
        }
        match self.attempts() {
            1 => Ok(()),
            attempts => write!(f, ", after {attempts} attempts"),
        }
    }
}

// Hand-written, as the next one: the derived impls would reach for the user's value.
impl fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mismatch")
            .field("id", &self.id)
            .field("expected", &self.expected())
            .field("origin", &self.origin())
            .field("intent", &self.intent)
            .field("kind", &self.kind)
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflict")
            .field("mismatches", &self.mismatches())
            .field("attempts", &self.attempts())
            .field("retry", &self.retry())
            .finish()
    }
}

impl std::error::Error for Conflict {}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(id: &str) -> Mismatch {
        let [one, two]: [Version; 2] = ["1", "2"].map(|text| text.parse().unwrap());
        let current = Versioned::<str>::new(two, "s3cr3t");
        Mismatch::new(id, Expected::Version(one).into(), Intent::Put, Kind::Stale, Some(two), Some(current))
    }

    #[test]
    fn the_text_has_the_id_and_both_versions_and_no_value() {
        let conflict = Conflict::new(vec![stale("readme")]);

        assert_eq!(conflict.to_string(), "`readme` has changed: expected version 1, found version 2");
        assert!(!format!("{conflict:?}").contains("s3cr3t"));
        assert_eq!(&*conflict.current::<str>().unwrap().value, "s3cr3t");
        assert!(conflict.current::<String>().is_none());
    }

    #[test]
    fn the_headline_says_what_happened_without_its_source() {
        let [one, two]: [Version; 2] = ["1", "2"].map(|text| text.parse().unwrap());
        let headline = |kind, expected: Expected, found| {
            let mismatch = Mismatch::new::<str>("readme", expected.into(), Intent::Put, kind, found, None);
            Conflict::new(vec![mismatch])
        };

        let stale = headline(Kind::Stale, one.into(), Some(two)).exhausted(3);
        let deleted = headline(Kind::Deleted, one.into(), Some(two));
        let own = headline(Kind::Exists, Expected::Absent, None);
        let locked = headline(
            Kind::Locked { holder: "ann".into(), remaining: Duration::from_secs(9) },
            Expected::Any,
            None,
        );

        let texts = [stale, deleted, own, locked].map(|conflict| conflict.headline());
        assert_eq!(
            texts,
            [
                "conflict on `readme`: expected version 1, found version 2, after 3 attempts",
                "conflict on `readme`: expected version 1, found its deletion, version 2",
                "conflict on `readme`: expected no value, found one",
                "conflict on `readme`: `ann` holds it",
            ]
        );
    }

    #[test]
    fn the_text_stays_short_and_on_one_line() {
        let conflict = Conflict::new(["a", "b", "c\n\u{1b}[31m", "d", "e"].map(stale).into());

        let text = conflict.exhausted(7).to_string();

        assert!(text.ends_with("; and 2 more, after 7 attempts"), "{text}");
        assert!(text.contains(r"c\n\u{1b}[31m") && !text.contains('\n'), "{text}");
        let three = Conflict::new(["a", "b", "c"].map(stale).into()).to_string();
        assert!(three.ends_with("`c` has changed: expected version 1, found version 2"), "{three}");
    }

    #[test]
    fn debug_shows_all_but_the_value() {
        let conflict = Conflict::new(vec![stale("readme")]).exhausted(3);

        assert_eq!(
            format!("{conflict:?}"),
            "Conflict { mismatches: [Mismatch { id: \"readme\", expected: Version(Version(1)), origin: Argument, \
             intent: Put, kind: Stale, found: Some(Version(2)), .. }], attempts: 3, retry: Wait }"
        );
    }

    #[test]
    fn a_reason_is_shown_as_it_was_written_but_on_one_line() {
        let current = Versioned::<str>::new("2".parse().unwrap(), "s3cr3t");
        let conflict = Conflict::state("a", &current, "it's \"final\", ❤️\r\n\u{1b}\u{2028}!");

        let text = conflict.to_string();

        assert_eq!(
            text,
            "`a` refuses the change: it's \"final\", ❤️\\u{d}\\u{a}\\u{1b}\\u{2028}! (version 2)"
        );
    }

    #[test]
    fn the_hardest_mismatch_decides_the_advice() {
        let gone =
            || Mismatch::new::<str>("b", Expected::Present.into(), Intent::Put, Kind::Missing, None, None);

        assert_eq!(Conflict::new(vec![stale("a")]).retry(), Advice::Refetch);
        assert_eq!(Conflict::new(vec![stale("a"), gone()]).retry(), Advice::Never);
        assert_eq!(Conflict::new(vec![stale("a")]).exhausted(3).retry(), Advice::Wait);
    }
}
