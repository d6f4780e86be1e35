//! [`Preconditions`], what a request says about the state it is based on (RFC 9110 §13).

use std::time::SystemTime;

use crate::collection::Collection;
use crate::http::answer::Answer;
use crate::http::asked::{Asked, Evaluation, IF_MATCH};
use crate::http::date;
#[cfg(feature = "merge")]
use crate::http::etag::Comparison;
use crate::http::field::{Fault, Tags};
use crate::http::key::{IDEMPOTENCY_KEY, Key, KeyFault};
use crate::http::terms::Terms;
#[cfg(any(feature = "idempotency", feature = "merge", test))]
use crate::store::Version;
use crate::store::{Condition, Error, Expected, Found, Intent, NotFound, Refusal, Resource, Versioned};

/// How a request says which state it is based on.
const HOW: &str = "`If-Match` with its entity tag, or `If-None-Match: *` for none";
const HOW_BUT_STAR: &str = "`If-Match` with its entity tag, and not `*`, or `If-None-Match: *` for none";
const HOW_BUT_DATE: &str =
    "`If-Match` with its entity tag, or `If-None-Match: *` for none; a date is too coarse to tell";

const IF_NONE_MATCH: &str = "If-None-Match";
const IF_MODIFIED_SINCE: &str = "If-Modified-Since";
const IF_UNMODIFIED_SINCE: &str = "If-Unmodified-Since";

/// A header of our own, in the form of `If-Match`: the state that a value was made of which is to be merged.
const MERGE_BASE: &str = "Merge-Base";

/// What a request says about the state it is based on, extracted once and handed to the one call that does its work, as
/// [`put_if`](crate::Collection::put_if).
///
/// There is no conversion to an expectation without the resource at hand, on purpose: a list of tags, or a tag that can't
/// be a version of ours, says nothing that fits one [`Expected`], and must not be dropped.
///
/// Extracting never fails. A header that can't be read is kept as what it is: a read takes it for absent, and sends the
/// value; a write refuses it (400), once it is known that its target is there where the method needs one. So 404, 405 and
/// 415 go first, as RFC 9110 §13.2.1 wants.
///
/// `If-Match` compares strongly and goes first, `If-None-Match` weakly (RFC 9110 §13.2.2). `If-Modified-Since` counts for
/// reads of resources that [have a date](Answer::modified). `If-Unmodified-Since` is never enough for a write: a second is
/// too coarse to prevent a lost update, so a write that says no more is refused with 428.
///
/// ```
/// use ifmatch::{Collection, http};
/// use ifmatch::http::Preconditions;
///
/// let notes = Collection::<String>::in_memory();
/// notes.create("readme", "hello".to_string()).wait()?;
///
/// let stale = Preconditions::from_headers([("if-match", "\"7\", \"8\"")]);
/// let refused = notes.put_if("readme", &stale, "mine".to_string()).wait().unwrap_err();
/// assert_eq!((http::status(&refused), http::reason(&refused)), (412, "stale"));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Header,
    if_none_match: Header,
    /// Where it can be read, and stands alone.
    if_modified_since: Option<SystemTime>,
    /// Whether there is one: no answer here depends on what it says.
    if_unmodified_since: bool,
    merge_base: Header,
    key: Keyed,
    terms: Terms,
}

/// What is known of the `Idempotency-Key`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keyed {
    Not,
    /// Nobody has taken it, so that the write must not be applied.
    Untaken(Result<Key, KeyFault>),
    /// Whoever took it keeps it in the commit of the write, and has to know there whether that creates.
    Taken,
}

/// What a header says, if it is there and can be read.
type Header = Result<Option<Tags>, Fault>;

/// Whether a read has to send the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Freshness {
    /// The caller does not have it.
    Send,
    /// The caller has this state already.
    NotModified,
}

impl Preconditions {
    /// Reads the preconditions among the headers of a request, whatever framework they come from. The case of names
    /// does not matter, and several lines of one header are one list. Limits: 64 tags and 8 KiB a header, all its field
    /// lines together.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// let headers = [("Host", "localhost"), ("If-None-Match", "*")];
    /// assert_ne!(Preconditions::from_headers(headers), Preconditions::none());
    /// ```
    pub fn from_headers<N: AsRef<str>, V: AsRef<[u8]>>(headers: impl IntoIterator<Item = (N, V)>) -> Self {
        let (mut if_match, mut if_none_match) = (Vec::new(), Vec::new());
        let (mut since, mut if_unmodified_since) = (Vec::new(), false);
        let (mut merge_base, mut keys) = (Vec::new(), Vec::new());
        for (name, value) in headers {
            let name = name.as_ref();
            if name.eq_ignore_ascii_case(IF_MATCH) {
                if_match.push(value);
            } else if name.eq_ignore_ascii_case(IF_NONE_MATCH) {
                if_none_match.push(value);
            } else if name.eq_ignore_ascii_case(IF_MODIFIED_SINCE) {
                since.push(value);
            } else if name.eq_ignore_ascii_case(IF_UNMODIFIED_SINCE) {
                if_unmodified_since = true;
            } else if name.eq_ignore_ascii_case(MERGE_BASE) {
                merge_base.push(value);
            } else if name.eq_ignore_ascii_case(IDEMPOTENCY_KEY) {
                keys.push(value);
            }
        }
        Self {
            if_match: Tags::parse(&if_match),
            if_none_match: Tags::parse(&if_none_match),
            if_modified_since: date_of(&since),
            if_unmodified_since,
            merge_base: Tags::parse(&merge_base),
            key: Key::parse(&keys).transpose().map_or(Keyed::Not, Keyed::Untaken),
            terms: Terms::new(),
        }
    }

    /// No precondition at all.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// assert_eq!(Preconditions::from_headers([("Accept", "*/*")]), Preconditions::none());
    /// ```
    pub const fn none() -> Self {
        Self {
            if_match: Ok(None),
            if_none_match: Ok(None),
            if_modified_since: None,
            if_unmodified_since: false,
            merge_base: Ok(None),
            key: Keyed::Not,
            terms: Terms::new(),
        }
    }

    /// The same on these terms.
    ///
    /// ```
    /// # use ifmatch::http::{Preconditions, Terms};
    /// let request = Preconditions::from_headers([("If-Match", "\"7\"")]).under(Terms::new().required());
    /// # assert_ne!(request, Preconditions::none());
    /// ```
    #[must_use]
    pub fn under(self, terms: Terms) -> Self {
        Self { terms, ..self }
    }

    pub(super) fn terms(&self) -> Terms {
        self.terms
    }

    /// Judges what the program itself fetched under `id`, before it writes. One call for all forms: one tag, several, `*`,
    /// none. For a row of a table of its own, under its lock, [`admit_row`](Self::admit_row) is the same.
    ///
    /// `found` is an `Option<Versioned<T>>` or a reference to one, or where the value itself is not needed an
    /// `Option<Version>`, and then a conflict carries no value.
    ///
    /// What comes back is what the write has to expect: the very state that was judged, and where that came from, so that a
    /// race which is lost afterwards has the right status. Without a precondition a put is admitted whatever is there, and a
    /// deletion if there is something.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) from a header (412, for a missing target 404 where `intent` can't create it) that carries what was
    /// found; 404 for a deletion of nothing; 400 where a header can't be read, and 428 where one is required.
    ///
    /// ```
    /// use ifmatch::{Collection, http};
    /// use ifmatch::http::Preconditions;
    /// use ifmatch::store::Intent;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("readme", "hello".to_string()).wait()?;
    /// let request = Preconditions::from_headers([("If-Match", "*")]);
    ///
    /// let found = notes.fetch("readme").wait()?;
    /// let condition = request.admit("readme", Intent::Put, Some(&found))?;
    /// notes.put("readme", "faster".to_string()).wait()?; // somebody else
    ///
    /// let late = notes.replace("readme", condition, format!("{}, world", found.value)).wait().unwrap_err();
    /// assert_eq!(http::status(&late), 412);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn admit<T: Resource + ?Sized>(
        &self,
        id: &str,
        intent: Intent,
        found: impl Into<Found<T>>,
    ) -> Result<Condition, Error> {
        let found = found.into();
        match (intent, &found) {
            (Intent::Delete, Found::Nothing) => return Err(NotFound::new(id).into()),
            (Intent::Delete, Found::Deleted(_)) => return Err(NotFound::deleted(id).into()),
            _ => {}
        }
        let expected = found.version().map_or(Expected::Absent, Expected::Version);
        self.check_key()?;
        let asked = self.asked()?;
        asked.judge(id, intent, found)?;
        Ok(Condition { expected, origin: asked.origin() })
    }

    /// Judges a row of a table of the program's own, read under its lock in the transaction that is about to write it:
    /// [`admit`](Self::admit) without what the write has to expect, as nobody else can write meanwhile. Without such a lock
    /// somebody can, and that is lost. [`table`](crate::table) has the whole protocol.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit). Roll back: nothing was written yet.
    ///
    /// ```
    /// use ifmatch::http::{self, Preconditions};
    /// use ifmatch::store::Intent;
    /// use ifmatch::{Version, Versioned};
    ///
    /// let request = Preconditions::from_headers([("If-Match", "\"7\"")]);
    ///
    /// let row = Some(Versioned::<str>::new(Version::from_column(8)?, "text")); // SELECT … FOR UPDATE
    /// let error = request.admit_row("a1", Intent::Put, &row).unwrap_err();
    /// assert_eq!(http::status(&error), 412);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn admit_row<T: Resource + ?Sized>(
        &self,
        id: &str,
        intent: Intent,
        found: impl Into<Found<T>>,
    ) -> Result<(), Error> {
        self.admit(id, intent, found).map(drop)
    }

    /// The answer to a read of `id`, which found `current`: the value, or 304 where the caller has it. It is to be all that is
    /// shown: of a page that has more in it than `current`, the version of `current` is no entity tag.
    ///
    /// # Errors
    ///
    /// 412 where `If-Match` does not hold.
    ///
    /// ```
    /// use ifmatch::Versioned;
    /// use ifmatch::http::Preconditions;
    ///
    /// let cached = Preconditions::from_headers([("If-None-Match", "W/\"7\"")]);
    /// let article = Versioned::<String>::new("7".parse()?, "text".to_string());
    /// assert_eq!(cached.respond("a1", article)?.status(), 304);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn respond<T: Resource + ?Sized>(&self, id: &str, current: Versioned<T>) -> Result<Answer<T>, Error> {
        match self.freshness(id, &current)? {
            Freshness::NotModified => Ok(Answer::not_modified(current)),
            Freshness::Send => {
                // RFC 9110 §13.1.3: a date counts only where there are no tags.
                let has = self.if_modified_since.filter(|_| self.if_none_match == Ok(None));
                Ok(Answer::read(current, has))
            }
        }
    }

    fn freshness<T: Resource + ?Sized>(&self, id: &str, current: &Versioned<T>) -> Result<Freshness, Error> {
        // The worst that comes of a header taken for absent is an answer in full.
        fn read(header: &Header) -> Option<&Tags> {
            header.as_ref().ok().and_then(Option::as_ref)
        }
        let asked = Asked {
            if_match: read(&self.if_match),
            if_none_match: read(&self.if_none_match),
            terms: self.terms,
        };
        match asked.evaluate(Some(current.version)) {
            Evaluation::Holds => Ok(Freshness::Send),
            Evaluation::IfNoneMatchFailed => Ok(Freshness::NotModified),
            Evaluation::IfMatchFailed => Err(asked.if_match_failed(id, Intent::Check, Some(current).into())),
        }
    }

    /// The expectation of a write, where the headers alone tell it.
    pub(super) fn known(&self, intent: Intent) -> Result<Option<Condition>, Error> {
        self.check_key()?;
        let asked = self.asked()?;
        let expected = match (asked.if_match, asked.if_none_match) {
            (None, None) if intent == Intent::Delete => Some(Expected::Present),
            (None, None) if self.key == Keyed::Taken => None,
            (None, None) => Some(Expected::Any),
            (Some(Tags::Any), None) => Some(Expected::Present),
            (Some(tags), None) => asked.only_version(tags).map(Expected::Version),
            // A deletion that expects nothing to delete would succeed on what is missing; the answer is 404.
            (None, Some(Tags::Any)) if intent != Intent::Delete => Some(Expected::Absent),
            (_, Some(_)) => None,
        };
        Ok(expected.map(|expected| Condition { expected, origin: asked.origin() }))
    }

    /// The first version that `If-Match` names, where that is all that is asked.
    pub(super) fn named(&self) -> Option<Condition> {
        let Ok(asked) = self.readable() else { return None };
        match (asked.named(), asked.if_none_match) {
            (Expected::Version(version), None) => Some(Condition::from_protocol(version)),
            _ => None,
        }
    }

    /// Whether a request to a collection may create `id`. It has no entity tag, and is there.
    pub(super) fn check_creation(&self, id: &str) -> Result<(), Error> {
        self.check_key()?;
        match self.readable()?.if_match {
            Some(Tags::Listed(_)) => Err(Refusal::ForeignCondition { id: id.into(), name: IF_MATCH }.into()),
            Some(Tags::Any) | None => Ok(()),
        }
    }

    /// Whether the request says as much as its terms want, whatever there is: for what has no resource at hand, as a layer in
    /// front of a service. The call that writes judges the rest.
    ///
    /// # Errors
    ///
    /// 400 where a header can't be read, and 428 where one is required.
    ///
    /// ```
    /// use ifmatch::http::{self, Preconditions, Terms};
    ///
    /// let blind = Preconditions::none().under(Terms::new().required());
    /// assert_eq!(http::status(&blind.suffice().unwrap_err()), 428);
    /// ```
    pub fn suffice(&self) -> Result<(), Error> {
        self.asked().map(drop)
    }

    /// Whether the request says what state it is based on, or that there is to be none, readable or not.
    #[cfg(feature = "tower")]
    pub(crate) fn names_a_basis(&self) -> bool {
        [&self.if_match, &self.merge_base].iter().any(|header| **header != Ok(None))
            || !matches!(self.if_none_match, Ok(None | Some(Tags::Listed(_))))
    }

    /// Whether there is a `Merge-Base`, readable or not.
    #[cfg(any(all(feature = "resource", feature = "merge"), feature = "tower"))]
    pub(crate) fn asks_to_be_merged(&self) -> bool {
        self.merge_base != Ok(None)
    }

    /// Whether `If-Match` names tags. What can't be read counts as absent, as on any read.
    #[cfg(any(feature = "resource", feature = "tower"))]
    pub(crate) fn names_tags(&self) -> bool {
        matches!(self.if_match, Ok(Some(Tags::Listed(_))))
    }

    /// The version that `If-Match` names, where it names no other.
    #[cfg(feature = "resource")]
    pub(crate) fn names_only(&self) -> Option<Version> {
        let asked = self.readable().ok()?;
        asked.if_match.and_then(|tags| asked.only_version(tags))
    }

    /// The version that a `PUT` was made of, where the request asks to be merged.
    #[cfg(feature = "merge")]
    pub(crate) fn merge_base(&self) -> Result<Option<Version>, Error> {
        let malformed =
            |problem: &str| Refusal::MalformedCondition { name: MERGE_BASE, problem: problem.into() };
        let tags = match &self.merge_base {
            Ok(None) => return Ok(None),
            Ok(Some(tags)) => tags,
            Err(fault) => return Err(fault.refuse(MERGE_BASE)),
        };
        self.check_key()?;
        // RFC 9110 §13.1.1: where `If-Match` does not hold, the method must not be performed, and merging performs it.
        if self.if_match != Ok(None) || self.if_none_match != Ok(None) || self.if_unmodified_since {
            return Err(malformed("it stands beside a precondition").into());
        }
        match tags {
            Tags::Listed(tags) if tags.len() == 1 => {}
            _ => return Err(malformed("it has to name one state").into()),
        }
        let comparison = if self.terms.are_lenient() { Comparison::Lenient } else { Comparison::Strong };
        let version = tags.versions(comparison).next();
        let none = || malformed("its tag is none that was given here, or was changed on the way");
        Ok(Some(version.ok_or_else(none)?))
    }

    /// Takes the `Idempotency-Key` of the request, for [`Keys::once`](crate::http::Keys::once). A write of a request whose key
    /// nobody took is refused with 501, and once it was taken so is one through any other handle than that which `once` gives: it would
    /// be no more than a promise. Feature `idempotency`.
    ///
    /// # Errors
    ///
    /// 400 where it can't be read.
    ///
    /// ```
    /// use ifmatch::http::{self, Preconditions};
    /// use ifmatch::Collection;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// let mut request = Preconditions::from_headers([("Idempotency-Key", "8e03978e")]);
    /// let refused = notes.put_if("a1", &request, "hello".to_string()).wait().unwrap_err();
    /// assert_eq!((http::status(&refused), http::reason(&refused)), (501, "key-not-kept"));
    ///
    /// assert!(request.take_key()?.is_some());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[cfg(feature = "idempotency")]
    #[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
    pub fn take_key(&mut self) -> Result<Option<Key>, Error> {
        match std::mem::replace(&mut self.key, Keyed::Taken) {
            Keyed::Untaken(Ok(key)) => Ok(Some(Key { merge_base: self.only_merge_base(), ..key })),
            Keyed::Untaken(Err(fault)) => {
                self.key = Keyed::Untaken(Err(fault));
                Err(fault.refuse())
            }
            other => {
                self.key = other;
                Ok(None)
            }
        }
    }

    #[cfg(all(feature = "idempotency", feature = "merge"))]
    fn only_merge_base(&self) -> Option<Version> {
        self.merge_base().ok().flatten()
    }

    #[cfg(all(feature = "idempotency", not(feature = "merge")))]
    fn only_merge_base(&self) -> Option<Version> {
        None
    }

    /// Refuses a write through a handle that does not keep the key of the request, which was taken: it would be one that may be
    /// applied twice.
    #[cfg(feature = "idempotency")]
    pub(super) fn check_kept_by<T: Resource + ?Sized>(
        &self,
        collection: &Collection<T>,
    ) -> Result<(), Error> {
        match self.key {
            Keyed::Taken if !collection.keeps_key() => Err(Refusal::KeyNotKept.into()),
            _ => Ok(()),
        }
    }

    /// No key can be taken.
    #[cfg(not(feature = "idempotency"))]
    pub(super) fn check_kept_by<T: Resource + ?Sized>(&self, _: &Collection<T>) -> Result<(), Error> {
        Ok(())
    }

    /// Refuses a write whose key nobody keeps.
    pub(crate) fn check_key(&self) -> Result<(), Error> {
        match &self.key {
            Keyed::Untaken(Ok(_)) => Err(Refusal::KeyNotKept.into()),
            Keyed::Untaken(Err(fault)) => Err(fault.refuse()),
            Keyed::Not | Keyed::Taken => Ok(()),
        }
    }

    /// What a write asks for, if that is enough for the terms.
    fn asked(&self) -> Result<Asked<'_>, Error> {
        let asked = self.readable()?;
        let required = |how| Err(Refusal::ConditionRequired { how }.into());
        match (asked.if_match, asked.if_none_match) {
            (Some(Tags::Any), _) if self.terms.refuses_star() => return required(HOW_BUT_STAR),
            (Some(_), _) | (None, Some(Tags::Any)) => {}
            (None, None | Some(Tags::Listed(_))) if self.if_unmodified_since => {
                return required(HOW_BUT_DATE);
            }
            (None, None | Some(Tags::Listed(_))) if self.terms.wants_a_basis() => return required(HOW),
            (None, None | Some(Tags::Listed(_))) => {}
        }
        Ok(asked)
    }

    fn readable(&self) -> Result<Asked<'_>, Error> {
        fn read<'a>(header: &'a Header, name: &'static str) -> Result<Option<&'a Tags>, Error> {
            header.as_ref().map(Option::as_ref).map_err(|fault| fault.refuse(name))
        }
        // To go by the rest would be to write over what the client asked to be merged with.
        if self.merge_base != Ok(None) {
            return Err(Refusal::MalformedCondition {
                name: MERGE_BASE,
                problem: "nothing is merged here".into(),
            }
            .into());
        }
        Ok(Asked {
            if_match: read(&self.if_match, IF_MATCH)?,
            if_none_match: read(&self.if_none_match, IF_NONE_MATCH)?,
            terms: self.terms,
        })
    }
}

/// The date of the only line, in any of the three forms of RFC 9110 §5.6.7. What can't be read is as if absent, as the RFC
/// wants.
fn date_of<L: AsRef<[u8]>>(lines: &[L]) -> Option<SystemTime> {
    let [line] = lines else { return None };
    date::parse(str::from_utf8(line.as_ref()).ok()?.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{reason, status};
    use crate::store::Origin;
    use crate::store::{Entry, Kind};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn state(version: &str) -> Versioned<str> {
        Versioned::new(version.parse().unwrap(), "s3cr3t")
    }

    fn preconditions(headers: &[(&str, &str)]) -> Preconditions {
        Preconditions::from_headers(headers.iter().copied())
    }

    /// What the headers come to for a write of a resource found in `found`: the expectation, or the reason and status of
    /// the refusal; and whether the resource had to be read for it.
    fn outcome(preconditions: &Preconditions, intent: Intent, found: Option<&str>) -> (String, bool) {
        let current = found.map(state);
        let (condition, read) = match preconditions.known(intent) {
            Ok(Some(condition)) => (Ok(condition), false),
            Ok(None) => (preconditions.admit("a", intent, current.as_ref()), true),
            Err(error) => (Err(error), false),
        };
        let word = match condition {
            Ok(Condition { expected, origin: Origin::Argument }) => format!("argument: {expected}"),
            Ok(Condition { expected, origin: Origin::Protocol }) => expected.to_string(),
            Err(Error::Conflict(conflict)) => {
                assert_eq!(conflict.origin(), Origin::Protocol);
                assert_eq!(conflict.mismatches()[0].intent(), intent);
                assert_eq!(conflict.current::<str>(), current);
                assert_eq!(conflict.found(), found.map(version));
                format!("{:?}", conflict.kind())
            }
            Err(other) => format!("{} {}", status(&other), reason(&other)),
        };
        (word, read)
    }

    fn put(headers: &[(&str, &str)], found: Option<&str>) -> (String, bool) {
        outcome(&preconditions(headers), Intent::Put, found)
    }

    fn unread(word: &str) -> (String, bool) {
        (word.to_owned(), false)
    }

    fn read(word: &str) -> (String, bool) {
        (word.to_owned(), true)
    }

    #[test]
    fn what_is_admitted_is_what_a_store_would_admit_and_is_pinned_to_what_was_found() {
        let headers: [&[(&str, &str)]; 9] = [
            &[],
            &[("If-Match", "*")],
            &[("If-Match", "\"7\"")],
            &[("If-Match", "\"6\", \"7\"")],
            &[("If-None-Match", "*")],
            &[("If-None-Match", "\"7\"")],
            &[("If-None-Match", "\"6\", W/\"8\"")],
            &[("If-Match", "\"7\""), ("If-None-Match", "\"7\"")],
            &[("If-Match", "\"7\""), ("If-None-Match", "*")],
        ];
        for headers in headers {
            let preconditions = preconditions(headers);
            for found in [None, Some("7"), Some("8")] {
                let current = found.map(state);
                let admitted = preconditions.admit("a", Intent::Put, current.as_ref());

                if let Ok(Some(condition)) = preconditions.known(Intent::Put) {
                    let store = current.clone().map_or(Found::Nothing, Found::Value);
                    let judged = Entry::put("a", condition, "new".into()).judge(store);
                    assert_eq!(admitted.is_ok(), judged.is_ok(), "{headers:?} {found:?}");
                }
                let unread =
                    preconditions.admit("a", Intent::Put, current.as_ref().map(|state| state.version));
                assert_eq!(unread.as_ref().ok(), admitted.as_ref().ok(), "{headers:?} {found:?}");
                if let Ok(condition) = admitted {
                    let pinned = current.as_ref().map_or(Expected::Absent, Expected::from);
                    assert_eq!(condition.expected, pinned, "{headers:?} {found:?}");
                    assert_eq!(condition.origin == Origin::Argument, headers.is_empty());
                }
            }
        }
    }

    #[test]
    fn a_version_alone_is_judged_and_told_and_a_deletion_stays_one() {
        let request = preconditions(&[("If-Match", "\"7\"")]);
        let eight: Version = "8".parse().unwrap();

        let stale = request.admit("a", Intent::Put, Some(eight)).unwrap_err();
        let deleted = [Intent::Put, Intent::Delete]
            .map(|intent| request.admit("a", intent, Found::<str>::Deleted(eight)).unwrap_err());

        assert_eq!((status(&stale), stale.conflict().unwrap().found()), (412, Some(eight)));
        assert_eq!(deleted.each_ref().map(status), [412, 410]);
        assert_eq!(deleted[0].conflict().unwrap().kind(), &Kind::Deleted);
    }

    #[test]
    #[expect(unused_must_use, reason = "whoever drops what the write has to expect is to be warned")]
    fn a_condition_that_is_dropped_warns_and_a_row_under_its_own_lock_needs_none() {
        let request = preconditions(&[("If-Match", "\"7\"")]);

        request.admit("a", Intent::Put, Some(&state("7"))).unwrap();

        let rows = ["7", "8"].map(|row| request.admit_row("a", Intent::Put, Some(&state(row))));
        assert_eq!(rows.map(|row| row.map_err(|error| status(&error))), [Ok(()), Err(412)]);
    }

    #[test]
    fn the_usual_forms_need_no_look_at_the_resource() {
        for found in [None, Some("7"), Some("8")] {
            assert_eq!(put(&[], found), unread("argument: anything"));
            assert_eq!(put(&[("If-Match", "\"7\"")], found), unread("version 7"));
            assert_eq!(put(&[("If-Match", "\"7\", \"abc\", W/\"8\", \"7\"")], found), unread("version 7"));
            assert_eq!(put(&[("IF-MATCH", "*")], found), unread("a value"));
            assert_eq!(put(&[("if-none-match", "*")], found), unread("no value"));

            let delete = |headers| outcome(&preconditions(headers), Intent::Delete, found);
            assert_eq!(delete(&[]), unread("argument: a value"));
            assert_eq!(delete(&[("If-Match", "\"7\"")]), unread("version 7"));
        }
    }

    #[test]
    fn a_list_is_narrowed_to_the_version_found() {
        let list = [("If-Match", "\"7\""), ("If-Match", "\"x\", \"8\"")];

        assert_eq!(put(&list, Some("7")), read("version 7"));
        assert_eq!(put(&list, Some("8")), read("version 8"));
        assert_eq!(put(&list, Some("9")), read("Stale"));
        assert_eq!(put(&list, None), read("Missing"));
        assert_eq!(preconditions(&list).named(), Some(Condition::from_protocol(version("7"))));
    }

    #[test]
    fn a_tag_that_can_match_nothing_is_refused_without_advice_that_loops() {
        for (tag, answer) in [
            ("\"abc\"", "412 foreign-tag"),
            ("\"007\"", "412 foreign-tag"),
            ("\"\"", "412 foreign-tag"),
            ("W/\"abc\", \"0\"", "412 foreign-tag"),
            ("W/\"7\"", "412 altered-tag"),
            ("\"7-gzip\"", "412 altered-tag"),
            ("\"abc\", W/\"7;gzip\"", "412 altered-tag"),
        ] {
            for found in [None, Some("7"), Some("8")] {
                assert_eq!(put(&[("If-Match", tag)], found), read(answer), "{tag}");
            }
            let read = preconditions(&[("If-Match", tag)]).respond("a", state("7")).unwrap_err();
            assert_eq!(format!("{} {}", status(&read), reason(&read)), answer);
        }
        // Beside a stale version: had nobody touched it, it would have matched.
        let both = [("If-Match", "\"6\", W/\"7\", \"5\"")];
        assert_eq!(put(&both, Some("7")), read("412 altered-tag"));
        assert_eq!(put(&both, Some("8")), read("Stale"));
        assert_eq!(put(&[("If-Match", "\"6\", W/\"7\"")], Some("8")), unread("version 6"));
    }

    #[test]
    fn if_none_match_with_tags_refuses_those_versions_and_compares_weakly() {
        for tag in ["\"7\"", "W/\"7\"", "\"6\", \"7\""] {
            assert_eq!(put(&[("If-None-Match", tag)], Some("7")), read("Stale"), "{tag}");
            assert_eq!(put(&[("If-None-Match", tag)], Some("8")), read("version 8"), "{tag}");
            assert_eq!(put(&[("If-None-Match", tag)], None), read("no value"), "{tag}");
        }
        assert_eq!(put(&[("If-None-Match", "\"7-gzip\"")], Some("7")), read("version 7"));
    }

    #[test]
    fn both_headers_must_hold_and_if_match_goes_first() {
        let both = |one, other| [("If-None-Match", other), ("If-Match", one)];

        assert_eq!(put(&both("\"7\"", "\"8\""), Some("7")), read("version 7"));
        assert_eq!(put(&both("\"7\"", "\"7\""), Some("7")), read("Stale"));
        assert_eq!(put(&both("\"7\"", "\"8\""), Some("8")), read("Stale"));
        assert_eq!(put(&both("*", "*"), Some("7")), read("Exists"));
        assert_eq!(put(&both("*", "*"), None), read("Missing"));
        assert_eq!(put(&both("\"7\"", "*"), None), read("Missing"));
        assert_eq!(put(&both("*", "\"7\""), Some("8")), read("version 8"));
        assert_eq!(preconditions(&both("\"7\"", "*")).named(), None);
    }

    #[test]
    fn a_deletion_that_wants_nothing_there_never_succeeds() {
        let delete = |headers, found| outcome(&preconditions(headers), Intent::Delete, found);

        for headers in [&[("If-None-Match", "*")], &[("If-None-Match", "\"7\"")]] {
            assert_eq!(delete(headers, None), read("404 not-found"));
        }
        assert_eq!(delete(&[("If-None-Match", "*")], Some("7")), read("Exists"));
    }

    #[test]
    fn the_lenient_comparison_is_opt_in() {
        for tag in ["W/\"7\"", "\"7-gzip\"", "W/\"7;gzip\""] {
            let lenient = |name| preconditions(&[(name, tag)]).under(Terms::new().lenient());

            let put = outcome(&lenient("If-Match"), Intent::Put, Some("7"));
            assert_eq!(put, unread("version 7"), "{tag}");

            let cached = lenient("If-None-Match").respond("a", state("7")).unwrap();
            assert_eq!(cached.status(), 304, "{tag}");
        }
    }

    #[test]
    fn a_read_is_sent_unless_the_caller_has_it() {
        let fresh = |headers: &[_]| match preconditions(headers).respond("a", state("7")) {
            Ok(answer) => (answer.status(), ""),
            Err(error) => (status(&error), reason(&error)),
        };

        assert_eq!(fresh(&[]), (200, ""));
        assert_eq!(fresh(&[("If-None-Match", "\"6\"")]), (200, ""));
        for tag in ["\"7\"", "W/\"7\"", "*", "\"6\", \"7\""] {
            assert_eq!(fresh(&[("If-None-Match", tag)]), (304, ""), "{tag}");
        }
        for tag in ["\"7\"", "*"] {
            assert_eq!(fresh(&[("If-Match", tag)]), (200, ""), "{tag}");
            let both = [("If-Match", tag), ("If-None-Match", "\"7\"")];
            assert_eq!(fresh(&both), (304, ""), "{tag}");
        }
        for (tag, reason) in [("\"6\"", "stale"), ("W/\"7\"", "altered-tag"), ("\"abc\"", "foreign-tag")] {
            let both = [("If-Match", tag), ("If-None-Match", "\"7\"")];
            assert_eq!(fresh(&both), (412, reason), "{tag}");
        }
        let stale = preconditions(&[("If-Match", "\"6\", \"5\"")]).respond("a", state("7")).unwrap_err();
        let stale = stale.conflict().unwrap();
        assert_eq!(stale.to_string(), "`a` has changed: expected version 6, found version 7");
    }

    #[test]
    fn what_cannot_be_read_is_absent_for_a_read_and_refuses_a_write() {
        let long = vec!["\"7\""; 65].join(",");
        for value in ["", ",", "7", "\"7", "*, \"7\"", &long] {
            for name in ["If-Match", "If-None-Match"] {
                let headers = [(name, value)];
                assert_eq!(preconditions(&headers).respond("a", state("7")).unwrap().status(), 200);
                assert_eq!(put(&headers, Some("7")), unread("400 malformed-precondition"));
                let admitted = preconditions(&headers).admit("a", Intent::Put, Some(&state("7")));
                assert_eq!(status(&admitted.unwrap_err()), 400);
            }
        }
        // One that can be read does not make up for the other.
        assert_eq!(
            put(&[("If-Match", "\"7\""), ("If-None-Match", "7")], Some("7")).0,
            "400 malformed-precondition"
        );
    }

    #[cfg(feature = "dates")]
    #[test]
    fn where_there_are_tags_no_date_counts() {
        let date = [("If-None-Match", ""), ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")];
        let read = preconditions(&date).respond("a", state("7")).unwrap();

        assert_eq!(read.modified(|_| SystemTime::UNIX_EPOCH).status(), 200);
    }

    #[cfg(feature = "dates")]
    #[test]
    fn a_date_counts_in_its_three_forms_for_a_read_alone() {
        let at = |_: &str| httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read =
            |headers: &[_]| preconditions(headers).respond("a", state("7")).unwrap().modified(at).status();

        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(read(&[("If-Modified-Since", date)]), 304, "{date}");
            assert_eq!(read(&[("If-Modified-Since", date), ("If-None-Match", "\"6\"")]), 200, "{date}");
            assert_eq!(read(&[("If-Modified-Since", date), ("If-Modified-Since", date)]), 200, "{date}");
            assert_eq!(put(&[("If-Modified-Since", date)], Some("7")), unread("argument: anything"));
        }
        for odd in ["Sun, 06 Nov 1994 08:49:36 GMT", "yesterday", "", "784111777", "\u{fc}"] {
            assert_eq!(read(&[("If-Modified-Since", odd)]), 200, "{odd}");
        }
    }

    #[test]
    fn a_date_is_never_enough_for_a_write() {
        let date = ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:37 GMT");

        assert_eq!(put(&[date], Some("7")), unread("428 expectation-required"));
        assert_eq!(put(&[date, ("If-None-Match", "\"6\"")], Some("7")), unread("428 expectation-required"));
        assert_eq!(put(&[date, ("If-Match", "\"7\"")], Some("7")), unread("version 7"));
        assert_eq!(put(&[date, ("If-None-Match", "*")], None), unread("no value"));
        assert_eq!(preconditions(&[date]).respond("a", state("7")).unwrap().status(), 200);
        assert_eq!(put(&[("If-Range", "\"7\"")], Some("7")), unread("argument: anything"));
    }

    #[test]
    fn only_what_says_what_the_write_is_based_on_is_enough() {
        let outcome =
            |headers: &[_], terms| outcome(&preconditions(headers).under(terms), Intent::Put, Some("7"));
        let [required, starless] = [Terms::new().required(), Terms::new().without_star()];

        for enough in [&[("If-Match", "\"7\"")], &[("If-Match", "*")], &[("If-None-Match", "*")]] {
            assert!(!outcome(enough, required).0.starts_with("428"), "{enough:?}");
        }
        assert_eq!(
            outcome(&[("If-Match", "\"7\""), ("If-None-Match", "\"8\"")], required),
            read("version 7")
        );
        let since = ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT");
        for little in [&[][..], &[("If-None-Match", "\"abc\"")], &[since]] {
            assert_eq!(outcome(little, required), unread("428 expectation-required"), "{little:?}");
        }
        assert_eq!(outcome(&[("If-Match", "*")], starless), unread("428 expectation-required"));
        assert_eq!(outcome(&[("If-None-Match", "*")], starless), unread("no value"));
        assert_eq!(outcome(&[], starless), unread("argument: anything"));
    }

    #[test]
    fn a_creation_in_a_collection_fails_by_its_own_tags_alone() {
        let creation = |headers: &[_]| match preconditions(headers).check_creation("a") {
            Ok(()) => "201".to_owned(),
            Err(error) => format!("{} {}", status(&error), reason(&error)),
        };

        for good in [&[][..], &[("If-Match", "*")], &[("If-None-Match", "*")], &[("If-None-Match", "\"7\"")]]
        {
            assert_eq!(creation(good), "201", "{good:?}");
        }
        assert_eq!(creation(&[("If-Match", "\"7\"")]), "412 foreign-tag");
        assert_eq!(creation(&[("If-None-Match", "7")]), "400 malformed-precondition");
    }

    #[test]
    fn what_a_failed_precondition_says_is_fit_for_a_log_line() {
        let text = |headers, found: Option<&str>| {
            let error =
                preconditions(headers).admit("a", Intent::Put, found.map(state).as_ref()).unwrap_err();
            assert!(!format!("{error:?}").contains("s3cr3t"));
            (error.to_string(), error.conflict().map(ToString::to_string).unwrap_or_default())
        };

        let (headline, sentence) = text(&[("If-None-Match", "\"7\"")], Some("7"));
        assert_eq!(headline, "conflict on `a`: what was expected of it does not hold, found version 7");
        assert_eq!(sentence, "`a` is not as expected, found version 7");
        assert_eq!(text(&[("If-Match", "*")], None).1, "`a` does not exist: expected a value");
        let altered = text(&[("If-Match", "W/\"7\"")], Some("7")).0;
        assert_eq!(altered, "`If-Match` of a write of `a` was changed on the way, and matches no version");
    }
}
