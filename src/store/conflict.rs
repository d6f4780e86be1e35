//! [`Conflict`], the typed refusal of a write whose expectation was not met.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::store::expected::{Expected, Origin};
use crate::store::id::{on_one_line, shown};
use crate::store::mismatch::{Advice, Kind, Mismatch};
use crate::store::resource::Resource;
use crate::store::version::{Version, Versioned};

/// How many mismatches the text of a conflict spells out before it counts the rest.
const SPELLED_OUT: usize = 3;

/// The refusal of a commit because at least one of its expectations was not met. Nothing was changed.
///
/// It names every id that failed, with what was expected and what was found, and keeps the value that stood there,
/// all true together at one instant between the call and its answer. Most commits concern one id. Where several failed,
/// [`mismatches`](Self::mismatches) lists all, and one of them speaks for all: every other accessor here, the advice and
/// the HTTP status are of the same mismatch, the [`decisive`](Self::decisive) one.
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
    /// At least one.
    mismatches: Vec<Mismatch>,
    /// Which of them speaks for all.
    decisive: usize,
    attempts: u32,
    exhausted: bool,
}

impl Conflict {
    /// The conflict of these mismatches, in the order of the commit; `None` where there are none, since then nothing
    /// failed. For authors of stores and layers. For a single mismatch there is `Conflict::from`.
    ///
    /// ```
    /// use ifmatch::{Conflict, Entry, Expected};
    /// use ifmatch::store::Found;
    ///
    /// let entries = [Entry::<str>::delete("a", Expected::Present), Entry::check("b", Expected::Absent)];
    /// let refused = entries.iter().filter_map(|entry| entry.judge(Found::Nothing).err());
    /// assert_eq!(Conflict::new(refused).unwrap().id(), "a");
    ///
    /// assert!(Conflict::new([]).is_none());
    /// ```
    pub fn new(mismatches: impl IntoIterator<Item = Mismatch>) -> Option<Self> {
        let mismatches: Vec<_> = mismatches.into_iter().collect();
        let decisive = decisive(&mismatches)?;
        Some(Self(Box::new(Inner { mismatches, decisive, attempts: 1, exhausted: false })))
    }

    /// The refusal by a rule of the program: the resource is in a state that does not allow the write.
    ///
    /// Return it from the closure of [`try_modify`](crate::Collection::try_modify). `rule` is a stable word for
    /// programs; `reason` is a sentence for people, becomes part of messages and HTTP bodies, and so must hold nothing
    /// secret. [`with_current`](Self::with_current) adds the value that stands there, if there is one.
    ///
    /// ```
    /// use ifmatch::{Conflict, Versioned};
    ///
    /// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
    /// let conflict = Conflict::state("a1", "archived", "it is archived").with_current(&article);
    /// assert_eq!(conflict.to_string(), "`a1` refuses the change: it is archived (version 3)");
    ///
    /// let creation = Conflict::state("a2", "quota", "ann has 10 articles already");
    /// assert_eq!(creation.to_string(), "`a2` refuses the change: ann has 10 articles already");
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn state(id: &str, rule: impl Into<Cow<'static, str>>, reason: impl Into<Cow<'static, str>>) -> Self {
        Mismatch::state(id, rule, reason).into()
    }

    /// The refusal because `holder` has the resource for another `remaining`. The holder's name becomes part of
    /// messages and HTTP bodies.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ifmatch::{Conflict, http};
    ///
    /// let conflict = Conflict::locked("a1", "ann", Duration::from_secs(60));
    /// assert_eq!(conflict.to_string(), "`a1` is locked by `ann` for another 60 s");
    /// assert_eq!(http::status(&conflict.into()), 423);
    /// ```
    pub fn locked(id: &str, holder: impl Into<Box<str>>, remaining: Duration) -> Self {
        Mismatch::locked(id, holder, remaining).into()
    }

    /// The conflict with the value that stands at the id of the decisive mismatch; see
    /// [`Mismatch::with_current`].
    pub fn with_current<T: Resource + ?Sized>(mut self, current: &Versioned<T>) -> Self {
        let at = self.0.decisive;
        self.0.mismatches[at].set_current(current);
        // The value may have made it easier to mend than another one.
        self.0.decisive = decisive(&self.0.mismatches).unwrap_or_default();
        self
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

    /// The mismatch that speaks for all. Where several ids failed, it is
    ///
    /// 1. the one that is hardest to mend, by its advice: `Never` before `Wait` before `Merge` before `Refetch`. So
    ///    whoever follows the advice does not run into what was known already. But a rule that was decided on something else
    ///    than the writer expected speaks after all others: of what is made of that it may say something else;
    /// 2. among locks the one that lasts longest;
    /// 3. one whose expectation came in a header of the request;
    /// 4. the first of the commit.
    ///
    /// ```
    /// use ifmatch::{Collection, Commit, Entry, Expected, Kind};
    /// use ifmatch::store::Advice;
    ///
    /// let notes = Collection::<str>::in_memory();
    /// notes.create("taken", "hello").wait()?;
    /// let both = Commit::one(Entry::put("taken", Expected::Absent, "mine".into()))
    ///     .and(Entry::delete("gone", Expected::Present));
    /// let error = notes.commit(both).wait().unwrap_err();
    ///
    /// let conflict = error.conflict().unwrap();
    /// assert_eq!(conflict.mismatches()[0].id(), "taken");
    /// assert_eq!((conflict.id(), conflict.kind(), conflict.retry()), ("gone", &Kind::Missing, Advice::Never));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn decisive(&self) -> &Mismatch {
        &self.0.mismatches[self.0.decisive]
    }

    /// The id of the decisive mismatch.
    pub fn id(&self) -> &str {
        self.decisive().id()
    }

    /// The collection of the resource, where it is one of a [`Database`](crate::Database).
    pub fn collection(&self) -> Option<&str> {
        self.decisive().collection()
    }

    /// What the decisive mismatch expected.
    pub fn expected(&self) -> Expected {
        self.decisive().expected()
    }

    /// The version the decisive mismatch found; see [`Mismatch::found`].
    pub fn found(&self) -> Option<Version> {
        self.decisive().found()
    }

    /// Why the decisive mismatch failed.
    pub fn kind(&self) -> &Kind {
        self.decisive().kind()
    }

    /// Where the decisive mismatch's expectation came from.
    pub fn origin(&self) -> Origin {
        self.decisive().origin()
    }

    /// The value that stood at the decisive mismatch's id; see [`Mismatch::current`].
    pub fn current<T: Resource + ?Sized>(&self) -> Option<Versioned<T>> {
        self.decisive().current()
    }

    /// How many commits were tried before this conflict was returned: 1 unless a retry loop gave up.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// What a program can do now: to wait where a retry loop gave up under contention, else what the decisive mismatch
    /// advises.
    pub fn retry(&self) -> Advice {
        if self.0.exhausted { Advice::Wait } else { self.decisive().retry() }
    }

    /// Whether a retry loop gave up: the caller lost too many races, and may try again later.
    ///
    /// ```
    /// # use ifmatch::Conflict;
    /// assert!(Conflict::state("a1", "full", "it is full").exhausted(3).is_exhausted());
    /// ```
    pub fn is_exhausted(&self) -> bool {
        self.0.exhausted
    }

    /// The conflict as the end of a retry loop that gave up after `attempts` commits. For layers that send again by
    /// themselves.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::Conflict;
    /// # use ifmatch::store::Advice;
    /// let conflict = Conflict::state("a1", "full", "it is full").exhausted(3);
    /// assert_eq!((conflict.attempts(), conflict.retry()), (3, Advice::Wait));
    /// ```
    pub fn exhausted(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self.0.exhausted = true;
        self
    }

    /// The mismatches, for a layer that passes on some of them, or those of several conflicts as one.
    pub fn into_mismatches(self) -> Vec<Mismatch> {
        self.0.mismatches
    }

    /// One line for the error around a conflict, whose `source` is the conflict itself: other words, the same facts.
    pub(crate) fn headline(&self) -> String {
        let first = self.decisive();
        let reason = match (first.kind(), first.found()) {
            (Kind::State { reason, .. }, Some(found)) => {
                format!("{} (version {found})", on_one_line(reason))
            }
            (Kind::State { reason, .. }, None) => on_one_line(reason).to_string(),
            (Kind::Locked { holder, .. }, _) => format!("`{}` holds it", shown(holder)),
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
        format!("conflict on {}: {reason}{others}{attempts}", first.name())
    }

    /// The conflict with each mismatch changed by `change`. For layers that present other values than they store.
    ///
    /// ```
    /// # use ifmatch::{Conflict, Versioned};
    /// # let stored = Versioned::<[u8]>::new("3".parse()?, *b"7");
    /// let bytes = Conflict::state("a", "full", "it is full").with_current(&stored);
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
        self.0.decisive = decisive(&self.0.mismatches).unwrap_or_default();
        self
    }
}

impl From<Mismatch> for Conflict {
    fn from(mismatch: Mismatch) -> Self {
        Self(Box::new(Inner { mismatches: vec![mismatch], decisive: 0, attempts: 1, exhausted: false }))
    }
}

/// Which mismatch speaks for all; see [`Conflict::decisive`].
fn decisive(mismatches: &[Mismatch]) -> Option<usize> {
    let weight = |mismatch: &Mismatch| {
        let hardness = match mismatch.retry() {
            _ if is_outdated(mismatch) => 0,
            Advice::Refetch => 1,
            Advice::Merge => 2,
            Advice::Wait => 3,
            Advice::Never => 4,
        };
        let lock = match mismatch.kind() {
            Kind::Locked { remaining, .. } => *remaining,
            _ => Duration::ZERO,
        };
        (hardness, lock, mismatch.origin() == Origin::Protocol)
    };
    // From the end, since of equals the last is taken.
    (0..mismatches.len()).rev().max_by_key(|at| weight(&mismatches[*at]))
}

/// Whether a rule was decided on what the writer did not expect to be there.
fn is_outdated(mismatch: &Mismatch) -> bool {
    matches!(mismatch.kind(), Kind::State { .. }) && !mismatch.expected().admits(mismatch.found())
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

// Hand-written: the derived impl would reach for the user's value.
impl fmt::Debug for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conflict")
            .field("mismatches", &self.mismatches())
            .field("attempts", &self.attempts())
            .field("retry", &self.retry())
            .finish()
    }
}

impl std::error::Error for Conflict {
    /// What a merge left, where that is why; see [`Mismatch::with_overlap`].
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.decisive().cause()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::expected::Condition;
    use crate::store::found::Found;
    use crate::store::mismatch::{Intent, whole_seconds};

    fn stale(id: &str) -> Mismatch {
        let [one, two]: [Version; 2] = ["1", "2"].map(|text| text.parse().unwrap());
        let found = Found::Value(Versioned::<str>::new(two, "s3cr3t"));
        Mismatch::new(id, Expected::Version(one).into(), Intent::Put, found)
    }

    #[test]
    fn the_text_has_the_id_and_both_versions_and_no_value() {
        let conflict = Conflict::from(stale("readme"));

        assert_eq!(conflict.to_string(), "`readme` has changed: expected version 1, found version 2");
        assert!(!format!("{conflict:?}").contains("s3cr3t"));
        assert_eq!(&*conflict.current::<str>().unwrap().value, "s3cr3t");
        assert!(conflict.current::<String>().is_none());
    }

    #[test]
    fn the_headline_says_what_happened_without_its_source() {
        let [one, two]: [Version; 2] = ["1", "2"].map(|text| text.parse().unwrap());
        let found = |expected: Expected, found: Found<str>| {
            Conflict::from(Mismatch::new("readme", expected.into(), Intent::Put, found))
        };

        let stale = found(one.into(), Found::Value(Versioned::new(two, "text"))).exhausted(3);
        let deleted = found(one.into(), Found::Deleted(two));
        let own = found(Expected::Absent, Found::Nothing);
        let locked = Conflict::locked("readme", "ann", Duration::from_secs(9));
        let state = Conflict::state("readme", "full", "it's full");

        let texts = [stale, deleted, own, locked, state].map(|conflict| conflict.headline());
        assert_eq!(
            texts,
            [
                "conflict on `readme`: expected version 1, found version 2, after 3 attempts",
                "conflict on `readme`: expected version 1, found its deletion, version 2",
                "conflict on `readme`: expected no value, found one",
                "conflict on `readme`: `ann` holds it",
                "conflict on `readme`: it's full",
            ]
        );
    }

    #[test]
    fn the_text_stays_short_and_on_one_line() {
        let conflict = Conflict::new(["a", "b", "c\n\u{1b}[31m", "d", "e"].map(stale)).unwrap();

        let text = conflict.exhausted(7).to_string();

        assert!(text.ends_with("; and 2 more, after 7 attempts"), "{text}");
        assert!(text.contains(r"c\n\u{1b}[31m") && !text.contains('\n'), "{text}");
        let three = Conflict::new(["a", "b", "c"].map(stale)).unwrap().to_string();
        assert!(three.ends_with("`c` has changed: expected version 1, found version 2"), "{three}");
    }

    #[test]
    fn debug_shows_all_but_the_value() {
        let conflict = Conflict::from(stale("readme")).exhausted(3);

        assert_eq!(
            format!("{conflict:?}"),
            "Conflict { mismatches: [Mismatch { id: \"readme\", expected: Version(Version(1)), origin: Argument, \
             intent: Put, kind: Stale, found: Some(Version(2)), .. }], attempts: 3, retry: Wait }"
        );
    }

    #[test]
    fn a_reason_is_shown_as_it_was_written_but_on_one_line() {
        let current = Versioned::<str>::new("2".parse().unwrap(), "s3cr3t");
        let conflict =
            Conflict::state("a", "final", "it's \"final\", ❤️\r\n\u{1b}\u{2028}!").with_current(&current);

        let text = conflict.to_string();

        assert_eq!(
            text,
            "`a` refuses the change: it's \"final\", ❤️\\u{d}\\u{a}\\u{1b}\\u{2028}! (version 2)"
        );
    }

    fn gone(id: &str) -> Mismatch {
        Mismatch::new::<str>(id, Expected::Present.into(), Intent::Put, Found::Nothing)
    }

    fn locked(id: &str, seconds: u64) -> Mismatch {
        Mismatch::locked(id, "ann", Duration::from_secs(seconds))
    }

    /// As if its expectation had come in a header.
    fn of_header(mismatch: Mismatch) -> Mismatch {
        let expected = mismatch.expected();
        mismatch.with_condition(Condition::from_protocol(expected))
    }

    #[test]
    fn one_mismatch_speaks_for_all_and_the_list_keeps_the_order() {
        let rows = [
            (vec![stale("a"), stale("b")], "a"),
            (vec![stale("a"), gone("b"), of_header(stale("c"))], "b"),
            (vec![stale("a"), locked("b", 5)], "b"),
            (vec![locked("a", 5), Mismatch::state("b", "full", "it is full")], "b"),
            (vec![gone("a"), Mismatch::state("b", "full", "it is full")], "a"),
            (vec![stale("a"), stale("b").with_retry(Advice::Merge), of_header(stale("c"))], "b"),
            (vec![locked("a", 3), locked("b", 9), of_header(locked("c", 5))], "b"),
            (vec![stale("a"), of_header(stale("b")), of_header(stale("c"))], "b"),
        ];

        for (mismatches, speaker) in rows {
            let given: Vec<String> = mismatches.iter().map(|mismatch| mismatch.id().to_owned()).collect();
            let conflict = Conflict::new(mismatches).unwrap();

            let speaks = conflict.mismatches().iter().find(|mismatch| mismatch.id() == speaker).unwrap();
            assert_eq!((conflict.id(), conflict.kind()), (speaker, speaks.kind()));
            assert_eq!((conflict.expected(), conflict.found()), (speaks.expected(), speaks.found()));
            assert_eq!((conflict.origin(), conflict.retry()), (speaks.origin(), speaks.retry()));
            assert!(conflict.headline().starts_with(&format!("conflict on `{speaker}`: ")));
            assert!(conflict.mismatches().iter().map(Mismatch::id).eq(&given));
        }
    }

    #[test]
    fn who_gave_up_under_contention_is_told_to_wait() {
        assert_eq!(Conflict::from(stale("a")).exhausted(3).retry(), Advice::Wait);
    }

    #[test]
    fn a_list_without_a_mismatch_is_no_conflict() {
        assert!(Conflict::new([]).is_none());
    }

    #[test]
    fn the_time_left_is_told_in_seconds() {
        let told = |left| Mismatch::locked("a", "a\nb", left).to_string();

        assert_eq!(told(Duration::from_millis(59_999)), r"`a` is locked by `a\nb` for another 60 s");
        assert_eq!(told(Duration::ZERO), r"`a` is locked by `a\nb` for another 1 s");
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
