//! [`Preconditions`], what a request says about the state it is based on (RFC 9110 §13).

use crate::http::etag::Comparison;
use crate::http::field::Tags;
use crate::store::{
    Condition, Conflict, Error, Expected, Found, Intent, Mismatch, NotFound, Refusal, Reply, Resource,
    Version, Versioned,
};

/// How a request says which state it is based on.
const HOW: &str = "`If-Match` with its entity tag, or `If-None-Match: *` for none";

const IF_MATCH: &str = "If-Match";
const IF_NONE_MATCH: &str = "If-None-Match";

/// The headers `If-Match` and `If-None-Match` of one request.
///
/// A write asks [`condition`](Self::condition) what they amount to and hands that to the collection; a read asks
/// [`freshness`](Self::freshness). There is no conversion without the resource at hand, on purpose: a list of tags,
/// or a tag that can't be a version of ours, says nothing that fits one [`Expected`], and must not be dropped.
///
/// `If-Match` compares strongly and goes first, `If-None-Match` weakly (RFC 9110 §13.2.2). The date headers
/// `If-Modified-Since` and `If-Unmodified-Since` are not read: versions have no dates, and a second is too coarse to
/// prevent a lost update.
///
/// ```
/// use ifmatch::http::Preconditions;
/// use ifmatch::{Expected, Reply, Versioned};
/// use ifmatch::store::Intent;
///
/// # fn articles_get(id: &str) -> Reply<'_, Option<Versioned<String>>> {
/// #     Reply::ready(Ok(Some(Versioned::new("8".parse().unwrap(), String::new()))))
/// # }
/// let preconditions = Preconditions::from_headers([("if-match", "\"7\", \"8\"")])?;
///
/// let condition = preconditions.condition(Intent::Put, "a1", || articles_get("a1")).wait()?;
/// assert_eq!(condition.expected, Expected::Version("8".parse()?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    lenient: Leniency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leniency {
    AsTheRfc,
    TowardsProxies,
}

/// Whether a read has to send the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Freshness {
    /// Send the value: the caller does not have it.
    Send,
    /// The caller has this state already: 304, with its `ETag` and without a body.
    NotModified,
}

/// What came of the preconditions where the resource is as found.
enum Evaluation {
    Holds,
    IfMatchFailed,
    IfNoneMatchFailed,
}

impl Preconditions {
    /// Reads the preconditions among the headers of a request, whatever framework they come from. The case of names
    /// does not matter, and several lines of one header are one list.
    ///
    /// # Errors
    ///
    /// [`Refusal::MalformedCondition`] (400), never a precondition left out. Limits: 64 tags and 8 KiB a header, all its
    /// field lines together.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// let headers = [("Host", "localhost"), ("If-None-Match", "*")];
    /// assert_ne!(Preconditions::from_headers(headers)?, Preconditions::none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn from_headers<N: AsRef<str>, V: AsRef<[u8]>>(
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, Error> {
        let (mut if_match, mut if_none_match) = (Vec::new(), Vec::new());
        for (name, value) in headers {
            let name = name.as_ref();
            if name.eq_ignore_ascii_case(IF_MATCH) {
                if_match.push(value);
            } else if name.eq_ignore_ascii_case(IF_NONE_MATCH) {
                if_none_match.push(value);
            }
        }
        Ok(Self {
            if_match: Tags::parse(IF_MATCH, &if_match)?,
            if_none_match: Tags::parse(IF_NONE_MATCH, &if_none_match)?,
            lenient: Leniency::AsTheRfc,
        })
    }

    /// No precondition at all.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// assert_eq!(Preconditions::from_headers([("Accept", "*/*")])?, Preconditions::none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub const fn none() -> Self {
        Self { if_match: None, if_none_match: None, lenient: Leniency::AsTheRfc }
    }

    /// The same, with tags of ours recognised also where a compressing proxy made them weak (`W/"7"`, as nginx and
    /// HAProxy do) or gave them a suffix (`"7-gzip"`, as Apache does).
    ///
    /// That is a departure from the strong comparison which RFC 9110 wants for `If-Match`. It is safe where all that
    /// proxies change is the coding of the body: the tag still names one version.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// # use ifmatch::{Expected, Reply, Versioned};
    /// # use ifmatch::store::Intent;
    /// let weakened = Preconditions::from_headers([("If-Match", "W/\"7\"")])?.lenient();
    /// # let read = || Reply::ready(Ok(None::<Versioned<String>>));
    /// let condition = weakened.condition(Intent::Put, "a1", read).wait()?;
    /// assert_eq!(condition.expected, Expected::Version("7".parse()?));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn lenient(self) -> Self {
        Self { lenient: Leniency::TowardsProxies, ..self }
    }

    /// The same, if they say which state the request is based on: `If-Match`, or `If-None-Match: *` for none.
    /// `If-None-Match` with tags only says which states it is not based on, so it is not enough.
    ///
    /// # Errors
    ///
    /// [`Refusal::ConditionRequired`] (428).
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// let creates = Preconditions::from_headers([("If-None-Match", "*")])?;
    /// assert!(creates.required().is_ok());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn required(self) -> Result<Self, Error> {
        match (&self.if_match, &self.if_none_match) {
            (Some(_), _) | (None, Some(Tags::Any)) => Ok(self),
            (None, None | Some(Tags::Listed(_))) => Err(Refusal::ConditionRequired { how: HOW }.into()),
        }
    }

    /// What a write of `id` has to expect for the preconditions to hold at the instant it is applied.
    ///
    /// One tag, `If-Match: *` and `If-None-Match: *` need no look at the resource, and `read` is not called. Else it
    /// is called once; the answer is narrowed to the version it found, so that a race in between is a conflict.
    /// Without a precondition a put expects anything, and a deletion that there is something: ask
    /// [`required`](Self::required) first, or extract `Required`, where a write may not be blind.
    ///
    /// `*` stays what it is, also after a look: a program that reads the value, decides on it (a rule, a patch) and then
    /// writes must write on the version that it read. It judges that one by [`admit`](Self::admit), and passes it on as the
    /// expectation.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] from a header (412, for a missing target 404 where `intent` can't create it) where the
    /// preconditions do not hold for what was read; what `read` came back with.
    ///
    /// ```
    /// # use ifmatch::http::Preconditions;
    /// # use ifmatch::{Expected, Reply, Versioned};
    /// # use ifmatch::store::{Intent, Origin};
    /// # let read = || Reply::ready(Ok(None::<Versioned<String>>));
    /// let creates = Preconditions::from_headers([("If-None-Match", "*")])?;
    ///
    /// let condition = creates.condition(Intent::Put, "a1", read).wait()?;
    /// assert_eq!((condition.expected, condition.origin), (Expected::Absent, Origin::Protocol));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn condition<'a, T: Resource + ?Sized>(
        &'a self,
        intent: Intent,
        id: &'a str,
        read: impl FnOnce() -> Reply<'a, Option<Versioned<T>>>,
    ) -> Reply<'a, Condition> {
        match self.without_a_look(intent) {
            Some(condition) => Reply::ready(Ok(condition)),
            None => read().then(move |current| self.narrowed(intent, id, current?)),
        }
    }

    /// Judges what the handler itself found under `id`, in the transaction that is about to write: for values that are in
    /// no store of ours. One call for all forms: one tag, several, `*`, none. See [`Condition::admit`].
    ///
    /// Without a precondition a put is admitted whatever is there, and a deletion if there is something.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] from a header (412, for a missing target 404 where `intent` can't create it) that carries what was
    /// found; 404 for a deletion of nothing.
    ///
    /// ```
    /// use ifmatch::http::{self, Preconditions};
    /// use ifmatch::store::Intent;
    /// use ifmatch::{Version, Versioned};
    ///
    /// let row = || Some(Versioned::<str>::new(Version::from_column(8).unwrap(), "text"));
    /// let known = Preconditions::from_headers([("If-Match", "\"7\", \"8\"")])?;
    /// known.admit("a1", Intent::Put, row())?;
    ///
    /// let stale = Preconditions::from_headers([("If-Match", "\"7\"")])?;
    /// assert_eq!(http::status(&stale.admit("a1", Intent::Put, row()).unwrap_err()), 412);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn admit<T: Resource + ?Sized>(
        &self,
        id: &str,
        intent: Intent,
        found: Option<Versioned<T>>,
    ) -> Result<(), Error> {
        match self.without_a_look(intent) {
            Some(condition) => condition.admit(id, intent, found),
            None => {
                let condition = self.narrowed(intent, id, found.clone())?;
                condition.admit(id, intent, found)
            }
        }
    }

    /// Whether a read of `id`, which found `current`, has to send it.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] from a header (412) where `If-Match` does not hold.
    ///
    /// ```
    /// use ifmatch::Versioned;
    /// use ifmatch::http::{Freshness, Preconditions};
    ///
    /// let cached = Preconditions::from_headers([("If-None-Match", "W/\"7\"")])?;
    /// let article = Versioned::<String>::new("7".parse()?, "text".to_string());
    /// assert_eq!(cached.freshness("a1", &article)?, Freshness::NotModified);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn freshness<T: Resource + ?Sized>(
        &self,
        id: &str,
        current: &Versioned<T>,
    ) -> Result<Freshness, Error> {
        match self.verdict(Some(current.version)) {
            Evaluation::Holds => Ok(Freshness::Send),
            Evaluation::IfNoneMatchFailed => Ok(Freshness::NotModified),
            verdict => Err(self.conflict(&verdict, Intent::Check, id, Some(current.clone())).into()),
        }
    }

    /// The expectation where the headers alone tell it.
    fn without_a_look(&self, intent: Intent) -> Option<Condition> {
        let expected = match (&self.if_match, &self.if_none_match) {
            (None, None) if intent == Intent::Delete => return Some(Expected::Present.into()),
            (None, None) => return Some(Expected::Any.into()),
            (Some(Tags::Any), None) => Expected::Present,
            (Some(tags), None) => Expected::Version(self.one_version(tags)?),
            // A deletion that expects nothing to delete would succeed on what is missing; the answer is 404.
            (None, Some(Tags::Any)) if intent != Intent::Delete => Expected::Absent,
            (_, Some(_)) => return None,
        };
        Some(Condition::from_protocol(expected))
    }

    /// The version that `If-Match` names, where it names exactly one. Tags beside it that are not ours never match.
    fn one_version(&self, tags: &Tags) -> Option<Version> {
        let mut versions = tags.versions(self.if_match_comparison());
        let first = versions.next()?;
        versions.all(|other| other == first).then_some(first)
    }

    /// The expectation where the resource was `current` a moment ago.
    fn narrowed<T: Resource + ?Sized>(
        &self,
        intent: Intent,
        id: &str,
        current: Option<Versioned<T>>,
    ) -> Result<Condition, Error> {
        let found = current.as_ref().map(|current| current.version);
        let expected = match (self.verdict(found), found) {
            (Evaluation::Holds, Some(version)) => Expected::Version(version),
            (Evaluation::Holds, None) if intent == Intent::Delete => return Err(NotFound::new(id).into()),
            (Evaluation::Holds, None) => Expected::Absent,
            (verdict, _) => match (self.named(), &self.if_none_match) {
                // The store refuses it, with the facts of that instant, a remembered deletion among them.
                (named @ Expected::Version(_), None) => named,
                _ => return Err(self.conflict(&verdict, intent, id, current).into()),
            },
        };
        Ok(Condition::from_protocol(expected))
    }

    /// RFC 9110 §13.2.2, steps 1 and 3.
    fn verdict(&self, found: Option<Version>) -> Evaluation {
        let admits =
            |tags: &Option<Tags>, comparison| tags.as_ref().map(|tags| tags.admit(found, comparison));
        if admits(&self.if_match, self.if_match_comparison()) == Some(false) {
            return Evaluation::IfMatchFailed;
        }
        if admits(&self.if_none_match, self.if_none_match_comparison()) == Some(true) {
            return Evaluation::IfNoneMatchFailed;
        }
        Evaluation::Holds
    }

    fn if_match_comparison(&self) -> Comparison {
        match self.lenient {
            Leniency::AsTheRfc => Comparison::Strong,
            Leniency::TowardsProxies => Comparison::Lenient,
        }
    }

    fn if_none_match_comparison(&self) -> Comparison {
        match self.lenient {
            Leniency::AsTheRfc => Comparison::Weak,
            Leniency::TowardsProxies => Comparison::Lenient,
        }
    }

    fn conflict<T: Resource + ?Sized>(
        &self,
        verdict: &Evaluation,
        intent: Intent,
        id: &str,
        current: Option<Versioned<T>>,
    ) -> Conflict {
        let expected = match (verdict, &self.if_none_match) {
            (Evaluation::IfNoneMatchFailed, Some(Tags::Any)) => Expected::Absent,
            // "Not this version": no expectation says that, and something was found.
            (Evaluation::IfNoneMatchFailed, _) => Expected::Present,
            _ => self.named(),
        };
        let found = current.map_or(Found::Nothing, Found::Value);
        Mismatch::new(id, Condition::from_protocol(expected), intent, found).into()
    }

    /// What `If-Match` expected, for a message: the first version of its list, else that there is something.
    fn named(&self) -> Expected {
        let named = self.if_match.as_ref().and_then(|tags| tags.versions(self.if_match_comparison()).next());
        named.map_or(Expected::Present, Expected::Version)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::store::{Entry, Kind, Origin};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn preconditions(headers: &[(&str, &str)]) -> Preconditions {
        Preconditions::from_headers(headers.iter().copied()).unwrap()
    }

    #[test]
    fn what_a_handler_found_is_admitted_as_a_store_would_admit_it() {
        let headers: [&[(&str, &str)]; 10] = [
            &[],
            &[("If-Match", "*")],
            &[("If-Match", "\"7\"")],
            &[("If-Match", "\"6\", \"7\"")],
            &[("If-Match", "\"odd\"")],
            &[("If-None-Match", "*")],
            &[("If-None-Match", "\"7\"")],
            &[("If-None-Match", "\"6\", W/\"8\"")],
            &[("If-Match", "\"7\""), ("If-None-Match", "\"7\"")],
            &[("If-Match", "\"7\""), ("If-None-Match", "*")],
        ];
        for (headers, intent) in headers
            .into_iter()
            .flat_map(|headers| [Intent::Put, Intent::Delete].map(|intent| (headers, intent)))
        {
            for found in [None, Some("7"), Some("8")] {
                let preconditions = preconditions(headers);
                let current = || found.map(|found| Versioned::<str>::new(version(found), "text"));

                let admitted = preconditions.admit("a", intent, current());

                // What a store would say to the same request, with the same state.
                let judged = preconditions.condition(intent, "a", || Reply::ready(Ok(current()))).wait();
                let judged = judged.and_then(|condition| {
                    let action = match intent {
                        Intent::Delete => Entry::delete("a", condition),
                        _ => Entry::put("a", condition, "new".into()),
                    };
                    let found = current().map_or(Found::Nothing, Found::Value);
                    action.judge(found).map_err(|mismatch| Conflict::from(mismatch).into())
                });
                let told = |answer: Result<(), Error>| {
                    answer.map_err(|error| (crate::http::status(&error), error.to_string()))
                };
                assert_eq!(told(admitted), told(judged), "{headers:?} {intent:?} {found:?}");
            }
        }
    }

    /// What the headers come to for a write of a resource found in `found`: the expectation's word, or the kind of
    /// conflict, and how often the resource was read.
    fn outcome(preconditions: &Preconditions, intent: Intent, found: Option<&str>) -> (String, u32) {
        let reads = Cell::new(0);
        let current = || found.map(|found| Versioned::<str>::new(version(found), "s3cr3t"));
        let condition = preconditions
            .condition(intent, "a", || {
                reads.set(reads.get() + 1);
                Reply::ready(Ok(current()))
            })
            .wait();
        let word = match condition {
            Ok(Condition { expected, origin: Origin::Argument }) => format!("argument: {expected}"),
            Ok(Condition { expected, origin: Origin::Protocol }) => expected.to_string(),
            Err(Error::Conflict(conflict)) => {
                assert_eq!(conflict.origin(), Origin::Protocol);
                assert_eq!(conflict.mismatches()[0].intent(), intent);
                assert_eq!(conflict.current::<str>(), current());
                assert_eq!(conflict.found(), found.map(version));
                format!("{:?}", conflict.kind())
            }
            Err(other) => other.to_string(),
        };
        (word, reads.get())
    }

    fn put(headers: &[(&str, &str)], found: Option<&str>) -> (String, u32) {
        outcome(&preconditions(headers), Intent::Put, found)
    }

    fn unread(word: &str) -> (String, u32) {
        (word.to_owned(), 0)
    }

    fn read(word: &str) -> (String, u32) {
        (word.to_owned(), 1)
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
        // The store refuses it, with its own facts.
        assert_eq!(put(&list, Some("9")), read("version 7"));
        assert_eq!(put(&list, None), read("version 7"));
    }

    #[test]
    fn a_tag_that_is_no_version_of_ours_never_matches_and_is_never_dropped() {
        for tag in ["\"abc\"", "\"007\"", "W/\"7\"", "\"7-gzip\"", "\"\"", "W/\"abc\", \"0\""] {
            assert_eq!(put(&[("If-Match", tag)], Some("7")), read("Stale"), "{tag}");
            assert_eq!(put(&[("If-Match", tag)], None), read("Missing"), "{tag}");
        }
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
    }

    #[test]
    fn a_deletion_that_wants_nothing_there_never_succeeds() {
        let delete = |headers, found| outcome(&preconditions(headers), Intent::Delete, found);

        for headers in [&[("If-None-Match", "*")], &[("If-None-Match", "\"7\"")]] {
            assert_eq!(delete(headers, None), read("`a` does not exist"));
        }
        assert_eq!(delete(&[("If-None-Match", "*")], Some("7")), read("Exists"));
        assert_eq!(delete(&[("If-Match", "\"x\"")], None), read("Missing"));
    }

    #[test]
    fn the_lenient_comparison_is_opt_in() {
        for tag in ["W/\"7\"", "\"7-gzip\"", "W/\"7;gzip\""] {
            let strict = preconditions(&[("If-Match", tag)]);
            assert_eq!(outcome(&strict, Intent::Put, Some("7")), read("Stale"), "{tag}");
            assert_eq!(outcome(&strict.lenient(), Intent::Put, Some("7")), unread("version 7"), "{tag}");

            let cached = preconditions(&[("If-None-Match", tag)]).lenient();
            let current = Versioned::<str>::new(version("7"), "text");
            assert_eq!(cached.freshness("a", &current).unwrap(), Freshness::NotModified, "{tag}");
        }
    }

    #[test]
    fn a_failed_read_is_passed_on() {
        let list = preconditions(&[("If-Match", "\"abc\"")]);

        let answer = list.condition::<str>(Intent::Put, "a", || {
            Reply::ready(Err(crate::store::Refusal::Unsupported { what: "reading" }.into()))
        });

        assert!(matches!(answer.wait(), Err(Error::Refused(_))));
    }

    #[test]
    fn a_read_is_sent_unless_the_caller_has_it() {
        let current = Versioned::<str>::new(version("7"), "text");
        let fresh = |headers: &[_]| {
            preconditions(headers)
                .freshness("a", &current)
                .map_err(|error| error.conflict().unwrap().kind().clone())
        };

        assert_eq!(fresh(&[]), Ok(Freshness::Send));
        assert_eq!(fresh(&[("If-None-Match", "\"6\"")]), Ok(Freshness::Send));
        for tag in ["\"7\"", "W/\"7\"", "*", "\"6\", \"7\""] {
            assert_eq!(fresh(&[("If-None-Match", tag)]), Ok(Freshness::NotModified), "{tag}");
        }
        for tag in ["\"7\"", "*"] {
            assert_eq!(fresh(&[("If-Match", tag)]), Ok(Freshness::Send), "{tag}");
            let both = [("If-Match", tag), ("If-None-Match", "\"7\"")];
            assert_eq!(fresh(&both), Ok(Freshness::NotModified), "{tag}");
        }
        for tag in ["\"6\"", "W/\"7\"", "\"abc\""] {
            let both = [("If-Match", tag), ("If-None-Match", "\"7\"")];
            assert_eq!(fresh(&both), Err(Kind::Stale), "{tag}");
        }
        let stale = preconditions(&[("If-Match", "\"6\", \"5\"")]).freshness("a", &current).unwrap_err();
        let stale = stale.conflict().unwrap();
        assert_eq!(stale.to_string(), "`a` has changed: expected version 6, found version 7");
    }

    #[test]
    fn dates_are_not_read() {
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        let dated = [("If-Unmodified-Since", date), ("If-Modified-Since", date), ("If-Range", "\"7\"")];

        assert_eq!(preconditions(&dated), Preconditions::none());
    }

    #[test]
    fn only_what_says_what_the_write_is_based_on_is_enough() {
        let required = |headers: &[_]| preconditions(headers).required().is_ok();

        assert!(required(&[("If-Match", "\"7\"")]) && required(&[("If-Match", "*")]));
        assert!(required(&[("If-Match", "\"abc\""), ("If-None-Match", "\"7\"")]));
        assert!(required(&[("If-None-Match", "*")]));
        assert!(!required(&[]) && !required(&[("If-None-Match", "\"abc\"")]));
    }

    #[test]
    fn one_malformed_header_refuses_the_request() {
        for headers in [
            [("If-Match", "\"7\""), ("If-None-Match", "7")],
            [("If-Match", ""), ("If-None-Match", "*")],
            [("If-Match", "\"7\""), ("If-Match", "*")],
        ] {
            assert!(Preconditions::from_headers(headers).is_err(), "{headers:?}");
        }
    }

    #[test]
    fn what_a_failed_precondition_says_is_fit_for_a_log_line() {
        let text = |headers, found: Option<&str>| {
            let current = found.map(|found| Versioned::<str>::new(version(found), "s3cr3t"));
            let read = || Reply::ready(Ok(current));
            let headers = preconditions(headers);
            let error = headers.condition(Intent::Put, "a", read).wait().unwrap_err();
            assert!(!format!("{error:?}").contains("s3cr3t"));
            (error.to_string(), error.conflict().unwrap().to_string())
        };

        let (headline, sentence) = text(&[("If-Match", "\"abc\"")], Some("7"));
        assert_eq!(headline, "conflict on `a`: what was expected of it does not hold, found version 7");
        assert_eq!(sentence, "`a` is not as expected, found version 7");
        assert_eq!(text(&[("If-Match", "\"abc\"")], None).1, "`a` does not exist: expected a value");
    }

    #[test]
    fn what_is_left_to_the_store_is_refused_there() {
        let list = preconditions(&[("If-Match", "\"7\", \"8\"")]);
        let read = || Reply::ready(Ok(None::<Versioned<str>>));
        let condition = list.condition(Intent::Delete, "a", read).wait().unwrap();

        let judged = Entry::<str>::delete("a", condition).judge(Found::Deleted(version("9")));

        assert_eq!(judged.unwrap_err().kind(), &Kind::Deleted);
    }
}
