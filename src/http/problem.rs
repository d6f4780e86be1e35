//! [`Problem`], the body of an answer that is an error (RFC 9457).

mod body;
mod read;
mod with;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use self::body::Body;
use crate::http::cause::Cause;
use crate::http::etag::EntityTag;
use crate::http::facts::{Facts, Failed};
#[cfg(any(feature = "actix", feature = "axum", feature = "resource", feature = "tower"))]
use crate::http::remark::Remark;
use crate::http::status;
use crate::store::{Advice, Conflict, Error, Kind, Origin, Refusal, whole_seconds};

/// The content type of a problem body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The body and headers of an answer that is an error: problem details as in RFC 9457, with members that programs
/// can rely on.
///
/// | member | |
/// |---|---|
/// | `type` | `/problems/` and the reason, the page of which is in [`docs::problems`](crate::docs::problems); `about:blank` for a problem of the program's own |
/// | `title`, `status` | the phrase of the status, the status |
/// | `detail` | one sentence with the id and the versions |
/// | `reason` | the machine-readable word of the table in [`http`](crate::http) |
/// | `retry` | `refetch`, `merge`, `wait` or `never` |
/// | `retry_after` | the seconds to wait, where waiting helps |
/// | `collection` | which collection of a [`Database`](crate::Database) it is in |
/// | `resource_id`, `resource_url` | which resource, and where it is, after [`at`](Self::at) |
/// | `expected_version`, `current_version` | as text, where there is one |
/// | `current_etag` | the version of the current value, ready to be sent as `If-Match` |
/// | `write_id` | what to resolve an unknown outcome by |
/// | `rule` | the name of the rule that refused |
/// | `holder` | who holds a locked resource |
/// | `conflicting_paths` | what both sides changed, where a merge left something, or after [`with_conflicting_paths`](Self::with_conflicting_paths) |
/// | `overlaps` | what there was at each of those, and what both made of it: `pointer`, `base`, `mine`, `theirs`; only after [`exposing`](Self::exposing) everything |
/// | `merged` | with it: the value with what did not overlap of both, and else mine, or theirs where mine has nothing. To be sent as it is decided, with `If-Match` and `current_etag` |
/// | `mismatches` | every id that failed, in a commit over several |
/// | `current` | the current value, only after [`with_current`](Self::with_current) |
///
/// Others are the program's own, by [`with_member`](Self::with_member).
///
/// It shows no value, and no cause of an error: a caller who may write may not be allowed to read, and whom
/// [`Expose::Nothing`](crate::http::Expose::Nothing) is for is not even told versions. `Debug` never shows the value either.
///
/// ```
/// use ifmatch::http::Problem;
/// use ifmatch::{Conflict, Versioned};
///
/// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
/// let conflict = Conflict::state("a1", "archived", "it is archived").with_current(&article);
///
/// let body = serde_json::to_value(Problem::new(conflict).at("/articles"))?;
/// assert_eq!((&body["status"], &body["type"]), (&409.into(), &"/problems/state".into()));
/// assert_eq!((&body["reason"], &body["rule"]), (&"state".into(), &"archived".into()));
/// assert_eq!(body["detail"], "`a1` refuses the change: it is archived (version 3)");
/// assert_eq!((&body["current_etag"], &body["resource_url"]), (&"\"3\"".into(), &"/articles/a1".into()));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
// In a box: a handler returns it as the error of a `Result`.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Body>);

impl Problem {
    /// The problem that an error or a conflict amounts to, by the default table. It keeps the error, for
    /// [`with_current`](Self::with_current) and [`cause`](Self::cause).
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::store::NotFound;
    /// let problem = Problem::new(NotFound::new("a1"));
    /// assert_eq!((problem.status(), problem.reason()), (404, "not-found"));
    /// ```
    pub fn new(error: impl Into<Error>) -> Self {
        let error = error.into();
        let mut problem = Self::about(&error);
        problem.0.cause = Some(Cause(Arc::new(error)));
        problem
    }

    fn about(error: &Error) -> Self {
        let reason = status::reason(error);
        let mut problem = Self::of(status::status(error), reason, String::new());
        let inner = &mut *problem.0;
        // There is no host to invent: RFC 9457 §3.1.1 allows a reference, which is the service's own to answer.
        inner.r#type = format!("/problems/{reason}").into();
        inner.retry = status::advice(error);
        inner.retry_after = status::retry_after(error);
        // Their own sentences, never their causes.
        inner.detail = match error {
            Error::Conflict(conflict) => conflict.to_string().into(),
            other => other.to_string().into(),
        };
        match error {
            Error::Conflict(conflict) => {
                inner.facts = Facts::of(conflict.decisive());
                inner.conflicting_paths = conflict.decisive().conflicting_paths().map(Box::from).collect();
                match conflict.mismatches() {
                    // An id that is taken is no header of the request's: what was asked to create it is another resource.
                    [one] if matches!(one.kind(), Kind::Exists) && one.origin() == Origin::Argument => {}
                    [_] => inner.etag = inner.facts.current_version.map(EntityTag::from),
                    // A tag would not say whose it is.
                    several => inner.mismatches = several.iter().map(Failed::of).collect(),
                }
            }
            Error::NotFound(missing) => {
                inner.facts = Facts::about(missing.id());
                inner.facts.collection = missing.collection().map(Into::into);
            }
            Error::Refused(
                Refusal::Closed { write } | Refusal::Reused { write } | Refusal::Outside { write, .. },
            ) => inner.write_id = Some(*write),
            Error::Refused(refusal) => inner.facts = id_of(refusal).map(Facts::about).unwrap_or_default(),
            Error::Corrupt(corrupt) => {
                // What a later release has written is not to be overwritten: nobody is handed a tag for that.
                let damaged = Some(corrupt.version()).filter(|_| corrupt.newer_schema().is_none());
                inner.facts = Facts::about(corrupt.id()).with_current(damaged);
                inner.facts.collection = corrupt.collection().map(Into::into);
            }
            Error::Failed(failure) => inner.write_id = failure.write(),
            Error::Expired(_) => {}
        }
        problem
    }

    /// A problem of the program's own, with a word for `reason` and a sentence for `detail`. Both go to the caller. A
    /// status that is no error becomes 500.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// let problem = Problem::of(415, "not-json", "send `Content-Type: application/json`");
    /// assert_eq!((problem.status(), problem.type_uri()), (415, "about:blank"));
    /// ```
    pub fn of(status: u16, reason: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let problem = Self(Box::new(Body {
            // RFC 9457 §4.2.1: of a problem that says no more than its status.
            r#type: "about:blank".into(),
            title: "",
            status: 0,
            detail: detail.into(),
            instance: None,
            reason,
            retry: Advice::Never,
            retry_after: None,
            facts: Facts::default(),
            write_id: None,
            conflicting_paths: Vec::new(),
            mismatches: Vec::new(),
            #[cfg(feature = "json")]
            current: None,
            #[cfg(feature = "merge")]
            unmerged: None,
            #[cfg(feature = "json")]
            own: serde_json::Map::new(),
            etag: None,
            headers: Vec::new(),
            cause: None,
        }));
        problem.with_status(status)
    }

    /// The problem of an error that a framework answered by itself, as 405 or a body that is no JSON: all that is to be
    /// said is its status.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// assert_eq!(Problem::of_status(405).reason(), "method-not-allowed");
    /// ```
    pub fn of_status(status: u16) -> Self {
        let mut problem = Self::of(status, status::word_of_status(status), status::phrase(status));
        problem.0.retry = match status {
            409 | 412 | 428 => Advice::Refetch,
            423 => Advice::Wait,
            _ => Advice::Never,
        };
        problem
    }

    /// That a request named tags of what has none, as of a list: what it says can't hold.
    #[cfg(any(feature = "resource", feature = "tower"))]
    pub(crate) fn without_tag() -> Self {
        Self::of(412, "foreign-tag", "what the request is to has no entity tag that `If-Match` could name")
            .with_type("/problems/foreign-tag")
    }

    /// What the layers in front are told of a problem of ours that was made of no error.
    #[cfg(any(feature = "actix", feature = "axum", feature = "resource", feature = "tower"))]
    pub(crate) fn remark(&self) -> Option<Remark> {
        let is_ours = self.0.cause.is_none() && self.0.r#type.starts_with("/problems/");
        is_ours.then_some(Remark::Refused(self.0.reason))
    }

    /// The headers that belong to the body: `Content-Type`, `Cache-Control: no-store`, the `ETag` of the current
    /// state if there is a value, and `Retry-After` in whole seconds, rounded up.
    ///
    /// An id that is taken, and was no precondition of the request, has no `ETag` here: the request was about the collection.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::store::NotFound;
    /// let problem = Problem::new(NotFound::new("a1"));
    /// assert!(problem.headers().contains(&("cache-control", "no-store".into())));
    /// ```
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers =
            vec![("content-type", PROBLEM_JSON.to_owned()), ("cache-control", "no-store".to_owned())];
        if let Some(etag) = &self.0.etag {
            headers.push(("etag", etag.to_string()));
        }
        if let Some(wait) = self.0.retry_after {
            headers.push(("retry-after", whole_seconds(wait).to_string()));
        }
        headers.extend(self.0.headers.iter().cloned());
        headers
    }
}

fn id_of(refusal: &Refusal) -> Option<&str> {
    match refusal {
        Refusal::Id { id, .. }
        | Refusal::Duplicate { id }
        | Refusal::TooLarge { id, .. }
        | Refusal::Encode { id, .. }
        | Refusal::Unfit { id, .. }
        | Refusal::ExpectationRequired { id }
        | Refusal::AlteredCondition { id, .. }
        | Refusal::ForeignCondition { id, .. }
        | Refusal::NotAllowed { id } => Some(id),
        Refusal::TooMany { .. }
        | Refusal::Collection { .. }
        | Refusal::Unsupported { .. }
        | Refusal::EmptyPage
        | Refusal::MalformedCondition { .. }
        | Refusal::ConditionRequired { .. }
        | Refusal::KeyNotKept
        | Refusal::KeyReused
        | Refusal::Cursor
        | Refusal::Closed { .. }
        | Refusal::Reused { .. }
        | Refusal::Outside { .. }
        | Refusal::VersionsExhausted => None,
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::new(error)
    }
}

impl From<Conflict> for Problem {
    fn from(conflict: Conflict) -> Self {
        Self::new(conflict)
    }
}

/// The sentence for people.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

// Hand-written: the derived impl would print the current value.
impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("status", &self.0.status)
            .field("reason", &self.0.reason)
            .field("detail", &self.0.detail)
            .field("retry", &self.0.retry)
            .field("facts", &self.0.facts)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::body::MEMBERS;
    use super::*;
    use crate::http::expose::Expose;
    use crate::store::{
        Condition, Corrupt, Expected, Failure, Found, IdProblem, Intent, Mismatch, NewerSchema, NotFound,
        Outcome, Version, Versioned, WriteId,
    };

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn mismatch(id: &str, kind: Kind, origin: Origin) -> Mismatch {
        let condition = Condition { expected: version("6").into(), origin };
        let value = Versioned::<str>::new(version("7"), "s3cr3t");
        match kind {
            Kind::Stale => Mismatch::new(id, condition, Intent::Put, Found::Value(value)),
            Kind::Exists => {
                let absent = Condition { expected: Expected::Absent, origin };
                Mismatch::new(id, absent, Intent::Put, Found::Value(value))
            }
            Kind::Missing => Mismatch::new::<str>(id, condition, Intent::Put, Found::Nothing),
            Kind::Deleted => Mismatch::new::<str>(id, condition, Intent::Put, Found::Deleted(version("7"))),
            Kind::Locked { holder, remaining } => {
                Mismatch::locked(id, holder, remaining).with_condition(condition)
            }
            Kind::State { rule, reason } => {
                Mismatch::state(id, rule, reason).with_condition(condition).with_current(&value)
            }
        }
    }

    fn rule() -> Kind {
        Kind::State { rule: "full".into(), reason: "it is full".into() }
    }

    fn conflict(mismatches: impl Into<Vec<Mismatch>>) -> Error {
        Conflict::new(mismatches.into()).unwrap().into()
    }

    fn body(problem: &Problem) -> Value {
        serde_json::to_value(problem).unwrap()
    }

    fn header(problem: &Problem, name: &str) -> Option<String> {
        problem.headers().into_iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    #[test]
    fn a_conflict_is_told_in_stable_members_with_versions_as_text() {
        let problem = Problem::new(conflict([mismatch("a1", Kind::Stale, Origin::Protocol)]));

        assert_eq!(
            body(&problem),
            json!({
                "type": "/problems/stale",
                "title": "Precondition Failed",
                "status": 412,
                "detail": "`a1` has changed: expected version 6, found version 7",
                "reason": "stale",
                "retry": "refetch",
                "resource_id": "a1",
                "expected_version": "6",
                "current_version": "7",
                "current_etag": "\"7\"",
            })
        );
        assert_eq!(
            problem.headers(),
            [
                ("content-type", "application/problem+json".to_owned()),
                ("cache-control", "no-store".to_owned()),
                ("etag", "\"7\"".to_owned()),
            ]
        );
    }

    #[test]
    fn only_a_value_that_exists_has_a_tag() {
        let locked = Kind::Locked { holder: "ann".into(), remaining: Duration::from_millis(1500) };
        for kind in [Kind::Missing, Kind::Deleted, locked] {
            let problem = Problem::new(conflict([mismatch("a", kind, Origin::Argument)]));
            assert_eq!((header(&problem, "etag"), body(&problem).get("current_version")), (None, None));
        }
        for kind in [Kind::Stale, rule()] {
            let problem = Problem::new(conflict([mismatch("a", kind, Origin::Argument)]));
            assert_eq!(header(&problem, "etag").as_deref(), Some("\"7\""));
        }
    }

    #[test]
    fn an_id_that_is_taken_is_told_by_its_url_and_has_no_tag_for_a_request_to_the_collection() {
        let taken = |origin| Problem::new(conflict([mismatch("a b", Kind::Exists, origin)])).at("/notes");

        let post = taken(Origin::Argument);
        assert_eq!((post.status(), header(&post, "etag")), (409, None));
        assert_eq!(body(&post)["resource_url"], "/notes/a%20b");
        assert_eq!(body(&post)["current_etag"], "\"7\"");
        assert_eq!(header(&taken(Origin::Protocol), "etag").as_deref(), Some("\"7\""));
        assert_eq!(Problem::of_status(405).at("/notes").resource_url(), None);
    }

    #[test]
    fn a_caller_without_permission_to_read_sees_no_field_of_any_resource() {
        let locked = Kind::Locked { holder: "s3cr3t".into(), remaining: Duration::from_secs(9) };
        let secret = |kind| mismatch("s3cr3t", kind, Origin::Protocol);
        let kinds = [Kind::Stale, Kind::Exists, Kind::Missing, Kind::Deleted, locked, rule()];
        let mut errors: Vec<Error> = kinds.into_iter().map(|kind| conflict([secret(kind)])).collect();
        errors.push(conflict([secret(Kind::Stale), secret(Kind::Exists)]));
        errors.push(NotFound::deleted("s3cr3t").into());
        errors.push(Corrupt::new("s3cr3t", version("7"), "odd").into());
        errors.push(Refusal::NotAllowed { id: "s3cr3t".into() }.into());

        for error in errors {
            let problem =
                Problem::new(error).at("/notes").with_current::<str>().with_conflicting_paths(["/s3cr3t"]);
            let shown = problem.exposing::<str>(Expose::Nothing);

            let body = body(&shown);
            let allowed = ["type", "title", "status", "detail", "reason", "retry", "retry_after"];
            for member in body.as_object().unwrap().keys() {
                assert!(allowed.contains(&&**member), "{member} in {body}");
            }
            assert!(
                !body.to_string().contains("s3cr3t") && !body["detail"].to_string().contains('7'),
                "{body}"
            );
            assert_eq!(header(&shown, "etag"), None);
        }
    }

    #[test]
    fn what_is_exposed_is_what_was_asked_for() {
        let stale = || Problem::new(conflict([mismatch("a", Kind::Stale, Origin::Protocol)]));

        let full = stale().exposing::<str>(Expose::Full);
        assert_eq!(
            (&body(&full)["current"], &body(&full)["current_version"]),
            (&json!("s3cr3t"), &json!("7"))
        );
        let version = full.exposing::<str>(Expose::Version);
        assert_eq!(body(&version), body(&stale()));
        assert_eq!(Expose::default(), Expose::Version);
    }

    #[test]
    fn every_member_has_an_accessor() {
        let stale = Problem::new(conflict([mismatch("a", Kind::Stale, Origin::Protocol)])).at("/notes");
        let told = body(&stale.clone().with_instance("/i"));
        assert_eq!(stale.type_uri(), told["type"]);
        assert_eq!(stale.title(), told["title"]);
        assert_eq!(stale.detail(), told["detail"]);
        assert_eq!(stale.retry(), Advice::Refetch);
        assert_eq!(stale.resource_id(), told["resource_id"].as_str());
        assert_eq!(stale.resource_url(), Some("/notes/a"));
        assert_eq!(
            (stale.expected_version(), stale.current_version()),
            (Some(version("6")), Some(version("7")))
        );
        assert_eq!(stale.current_etag().map(|tag| tag.to_string()).as_deref(), told["current_etag"].as_str());
        assert_eq!(stale.with_instance("/i").instance(), Some("/i"));

        let locked = Kind::Locked { holder: "ann".into(), remaining: Duration::from_millis(1500) };
        let locked = Problem::new(conflict([mismatch("a", locked, Origin::Argument)]));
        assert_eq!((locked.holder(), locked.retry_after()), (Some("ann"), Some(Duration::from_millis(1500))));
        assert_eq!(body(&locked)["retry_after"], 2);
        let ruled = Problem::new(conflict([mismatch("a", rule(), Origin::Argument)]));
        assert_eq!((ruled.rule(), ruled.write_id()), (Some("full"), None));
        let merged = ruled.with_conflicting_paths(["/title"]);
        assert_eq!(
            (merged.retry(), merged.conflicting_paths().collect::<Vec<_>>()),
            (Advice::Merge, vec!["/title"])
        );
        let write = WriteId::from_bits(10);
        assert_eq!(Problem::new(Refusal::Closed { write }).write_id(), Some(write));
    }

    #[test]
    fn a_program_adds_members_and_a_type_of_its_own_and_replaces_none() {
        let mut problem = Problem::new(conflict([mismatch("a", Kind::Stale, Origin::Protocol)]))
            .at("/notes")
            .with_type("tag:example.org,2026:stale")
            .with_member("shelf", 7)
            .with_member("odd", f64::NAN);
        let before = body(&problem);
        assert_eq!((&before["type"], &before["shelf"]), (&json!("tag:example.org,2026:stale"), &json!(7)));

        for member in MEMBERS {
            problem = problem.with_member(member, "mine");
        }

        assert_eq!(body(&problem), before);
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(text.matches("\"type\"").count(), 1, "{text}");
        // Whatever a problem can have is reserved.
        let locked = Kind::Locked { holder: "ann".into(), remaining: Duration::from_secs(1) };
        let several =
            conflict([mismatch("a", locked, Origin::Argument), mismatch("b", rule(), Origin::Argument)]);
        let everything = Problem::new(several).at("/").with_instance("/i").with_conflicting_paths(["/a"]);
        for member in body(&everything).as_object().unwrap().keys() {
            assert!(MEMBERS.contains(&&**member), "{member}");
        }
    }

    #[test]
    fn a_status_that_is_no_error_becomes_500() {
        for status in [0, 7, 200, 204, 304, 399, 600, 999, u16::MAX] {
            let [own, changed] =
                [Problem::of(status, "odd", "odd"), Problem::new(NotFound::new("a")).with_status(status)];
            assert_eq!((own.status(), own.title()), (500, "Internal Server Error"));
            assert_eq!((changed.status(), body(&changed)["status"].as_u64()), (500, Some(500)));
        }
        assert_eq!([400, 418, 599].map(|status| Problem::of(status, "odd", "odd").status()), [400, 418, 599]);
    }

    #[test]
    fn every_problem_has_a_page_with_an_example_and_every_page_a_problem() {
        let pages = include_str!("../docs/problems.md");
        let headings: Vec<&str> = pages.lines().filter_map(|line| line.strip_prefix("## ")).collect();

        let mut reasons = crate::http::status::REASONS.to_vec();
        reasons.sort_unstable();
        let mut sorted = headings.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, reasons);
        for reason in headings {
            let page = crate::http::problem_page(reason).unwrap();
            for part in [
                "**What happened.**",
                "**What the client does.**",
                "```json",
                &format!("\"reason\":\"{reason}\""),
            ] {
                assert!(page.contains(part), "{reason} has no {part}");
            }
            assert!(page.contains(&format!("\"type\":\"/problems/{reason}\"")), "{reason}");
            assert_eq!(page.matches("\n## ").count(), 0);
        }
    }

    #[test]
    fn a_rule_of_the_program_is_no_failed_expectation() {
        let problem = Problem::new(conflict([mismatch("a", rule(), Origin::Argument)]));

        let body = body(&problem);

        assert_eq!((body.get("expected_version"), &body["current_version"]), (None, &json!("7")));
        assert_eq!((&body["retry"], &body["status"]), (&json!("never"), &json!(409)));
        assert_eq!((&body["rule"], body.get("holder")), (&json!("full"), None));
    }

    #[test]
    fn a_commit_over_several_ids_lists_all_that_failed() {
        let first = mismatch("a", Kind::Missing, Origin::Argument);
        let second = mismatch("b", Kind::Stale, Origin::Protocol);
        let problem = Problem::new(conflict([first, second]));

        let body = body(&problem);

        assert_eq!((&body["status"], &body["resource_id"]), (&json!(404), &json!("a")));
        assert_eq!((&body["reason"], &body["retry"]), (&json!("missing"), &json!("never")));
        assert_eq!(
            body["mismatches"],
            json!([
                {
                    "reason": "missing",
                    "detail": "`a` does not exist: expected version 6",
                    "resource_id": "a",
                    "expected_version": "6",
                },
                {
                    "reason": "stale",
                    "detail": "`b` has changed: expected version 6, found version 7",
                    "resource_id": "b",
                    "expected_version": "6",
                    "current_version": "7",
                    "current_etag": "\"7\"",
                },
            ])
        );
        assert_eq!(header(&problem, "etag"), None);
    }

    #[test]
    fn a_value_of_a_later_release_is_told_without_what_could_overwrite_it() {
        let newer = NewerSchema { number: 2, known: 1 };

        let problem = Problem::new(Corrupt::new("a1", version("7"), newer).in_collection("notes"));

        assert_eq!((problem.status(), problem.reason()), (503, "newer-schema"));
        assert_eq!(header(&problem, "retry-after").as_deref(), Some("1"));
        assert_eq!(header(&problem, "etag"), None);
        let body = body(&problem);
        assert_eq!((&body["resource_id"], &body["collection"]), (&json!("a1"), &json!("notes")));
        assert_eq!((body.get("current_version"), body.get("current_etag")), (None, None));
    }

    #[test]
    fn an_unknown_outcome_has_its_write_id() {
        let write = WriteId::from_bits(10);
        let lost = Failure::new(Outcome::Unknown, "password s3cr3t refused").with_write(write);

        let problem = Problem::new(lost);

        assert_eq!(body(&problem)["write_id"], "0000000000000000000000000000000a");
        assert_eq!((problem.status(), problem.reason()), (503, "unknown-outcome"));
        assert_eq!(header(&problem, "retry-after").as_deref(), Some("1"));
        let closed = Problem::new(Refusal::Closed { write });
        assert_eq!(body(&closed)["write_id"], "0000000000000000000000000000000a");
    }

    #[test]
    fn every_error_about_one_resource_names_it() {
        let errors: [Error; 6] = [
            NotFound::new("a1").into(),
            Corrupt::new("a1", version("7"), "odd").into(),
            Refusal::Id { id: "a1".into(), problem: IdProblem::Nul }.into(),
            Refusal::TooLarge { id: "a1".into(), bytes: 2, limit: 1 }.into(),
            Refusal::ExpectationRequired { id: "a1".into() }.into(),
            Refusal::NotAllowed { id: "a1".into() }.into(),
        ];

        for error in errors {
            let message = error.to_string();
            assert_eq!(body(&Problem::new(error))["resource_id"], "a1", "{message}");
        }
    }

    #[test]
    fn neither_value_nor_cause_is_shown_unless_asked_for() {
        let source = || -> Box<dyn std::error::Error + Send + Sync> { "s3cr3t".into() };
        let errors = [
            conflict([mismatch("a", Kind::Stale, Origin::Protocol)]),
            conflict([
                mismatch("a", Kind::Stale, Origin::Protocol),
                mismatch("b", Kind::Exists, Origin::Protocol),
            ]),
            conflict([mismatch("a", rule(), Origin::Argument)]),
            Corrupt::new("a", version("7"), source()).into(),
            Failure::new(Outcome::NotApplied, source()).into(),
            Failure::new(Outcome::Unknown, source()).into(),
            Refusal::Encode { id: "a".into(), source: source() }.into(),
        ];

        for error in errors {
            let problem = Problem::new(error);
            let shown = format!("{problem:?} {} {:?}", body(&problem), problem.headers());
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
    }

    #[test]
    fn the_current_value_appears_where_the_program_asks_for_it() {
        let problem = Problem::new(conflict([mismatch("a", Kind::Stale, Origin::Protocol)]));

        let asked = problem.clone().with_current::<u64>().with_current::<str>().with_current::<String>();
        let mistyped = problem.with_current::<String>();

        assert_eq!(body(&asked)["current"], "s3cr3t");
        let shown = format!("{asked:?}");
        assert!(shown.starts_with("Problem { status: 412, reason: \"stale\", detail: "), "{shown}");
        assert!(!shown.contains("s3cr3t"), "asked for in the body, not in logs");
        assert_eq!(body(&mistyped).get("current"), None);
        assert_eq!(body(&Problem::new(NotFound::new("a")).with_current::<str>()).get("current"), None);
    }

    #[test]
    fn the_current_value_is_that_of_the_mismatch_that_decides() {
        let mut other = mismatch("b", Kind::Stale, Origin::Protocol);
        other = other.map_current(|stored: Versioned<str>| Some(Versioned::<u32>::new(stored.version, 5)));
        let problem = Problem::new(conflict([mismatch("a", Kind::Stale, Origin::Argument), other]));

        assert_eq!(body(&problem.clone().with_current::<u32>())["current"], 5);
        assert_eq!(body(&problem.with_current::<str>()).get("current"), None);
    }

    #[test]
    fn one_line_overrides_the_table() {
        let error = conflict([mismatch("a", Kind::Stale, Origin::Protocol)]);

        let problem = body(&Problem::new(error).with_status(409).with_instance("/a"));

        assert_eq!((&problem["status"], &problem["title"]), (&json!(409), &json!("Conflict")));
        assert_eq!((&problem["reason"], &problem["instance"]), (&json!("stale"), &json!("/a")));
    }

    #[test]
    fn hostile_ids_stay_inside_their_string() {
        let id = "a\"}\r\nset-cookie: x\u{1b}[31m\0</script>";
        let problem = Problem::new(conflict([mismatch(id, Kind::Stale, Origin::Protocol)]));

        let text = serde_json::to_string(&problem).unwrap();

        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["resource_id"], id);
        assert!(!text.contains(char::is_control), "{text}");
        assert!(problem.headers().iter().all(|(_, value)| !value.contains(char::is_control)));
        assert!(problem.headers().iter().all(|(_, value)| !value.contains("cookie")));
    }

    #[test]
    fn retry_after_is_in_whole_seconds_rounded_up() {
        let seconds = |millis| {
            let locked = Kind::Locked { holder: "ann".into(), remaining: Duration::from_millis(millis) };
            let problem = Problem::new(conflict([mismatch("a", locked, Origin::Argument)]));
            header(&problem, "retry-after").unwrap()
        };

        assert_eq!([0, 1, 1000, 1001, 60_000].map(seconds), ["1", "1", "1", "2", "60"]);
    }

    #[test]
    fn a_request_that_cannot_be_read_is_a_problem_too() {
        use crate::http::{Preconditions, Terms};

        let malformed = Preconditions::from_headers([("If-Match", "s3cr3t")]);
        let required = Preconditions::none().under(Terms::new().required());
        let [malformed, required] = [malformed, required]
            .map(|request| Problem::from(request.admit("a", Intent::Put, None::<Version>).unwrap_err()));

        assert_eq!((malformed.status(), malformed.reason()), (400, "malformed-precondition"));
        assert!(!body(&malformed).to_string().contains("s3cr3t"));
        assert_eq!((required.status(), required.reason()), (428, "expectation-required"));
        assert_eq!(body(&required)["retry"], "refetch");
    }

    #[test]
    fn a_problem_keeps_the_error_it_was_made_of() {
        let problem = Problem::from(Conflict::locked("a", "ann", Duration::from_secs(60)));

        let conflict = problem.cause().unwrap().error().conflict().unwrap();
        assert_eq!(conflict.id(), "a");
        assert_eq!((problem.status(), &body(&problem)["holder"]), (423, &json!("ann")));
        assert!(Problem::of(415, "not-json", "send JSON").cause().is_none());
    }
}
