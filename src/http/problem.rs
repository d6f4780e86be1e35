//! [`Problem`], the body of an answer that is an error (RFC 9457).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::http::etag::EntityTag;
use crate::http::status;
use crate::store::{
    Advice, Conflict, Error, Expected, Kind, Mismatch, Refusal, Version, WriteId, whole_seconds,
};

/// The content type of a problem body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The body and headers of an answer that is an error: problem details as in RFC 9457, with members that programs
/// can rely on.
///
/// | member | |
/// |---|---|
/// | `type`, `title`, `status` | `about:blank`, the phrase of the status, the status |
/// | `detail` | one sentence with the id and the versions |
/// | `reason` | the machine-readable word of the table in [`http`](crate::http) |
/// | `retry` | `refetch`, `merge`, `wait` or `never` |
/// | `collection` | which collection of a [`Database`](crate::Database) it is in |
/// | `resource_id` | which resource |
/// | `expected_version`, `current_version` | as text, where there is one |
/// | `write_id` | what to resolve an unknown outcome by |
/// | `rule` | the name of the rule that refused |
/// | `holder` | who holds a locked resource |
/// | `mismatches` | every id that failed, in a commit over several |
/// | `current` | the current value, only after [`with_current`](Self::with_current) |
///
/// It shows no value, and no cause of an error: a caller who may write may not be allowed to read. `Debug` never
/// shows the value either.
///
/// ```
/// use ifmatch::http::Problem;
/// use ifmatch::{Conflict, Versioned};
///
/// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
/// let conflict = Conflict::state("a1", "archived", "it is archived").with_current(&article);
///
/// let body = serde_json::to_value(Problem::new(conflict))?;
/// assert_eq!(body["status"], 409);
/// assert_eq!((&body["reason"], &body["rule"]), (&"state".into(), &"archived".into()));
/// assert_eq!(body["detail"], "`a1` refuses the change: it is archived (version 3)");
/// assert_eq!(body["current_version"], "3");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Problem(Box<Inner>);

// In a box: a handler returns it as the error of a `Result`.
#[derive(Clone, Serialize)]
struct Inner {
    // RFC 9457 §4.2.1: the type of a problem that says no more than its status. There is no host to invent.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Box<str>>,
    reason: &'static str,
    retry: &'static str,
    #[serde(flatten)]
    facts: Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_id: Option<WriteId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mismatches: Vec<Failed>,
    #[cfg(feature = "json")]
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<serde_json::Value>,
    #[serde(skip)]
    etag: Option<EntityTag>,
    #[serde(skip)]
    retry_after: Option<Duration>,
    #[serde(skip)]
    cause: Option<Cause>,
}

/// The error that an answer was made of. Adapters to frameworks put it into the extensions of the response, so that a
/// layer in front knows the conflict, with its typed current value, and parses no body.
///
/// ```
/// use ifmatch::http::Problem;
/// use ifmatch::{Conflict, Kind};
///
/// let problem = Problem::new(Conflict::state("a1", "archived", "it is archived"));
/// let cause = problem.cause().unwrap().clone();
/// assert_eq!(cause.error().conflict().unwrap().id(), "a1");
/// ```
#[derive(Debug, Clone)]
pub struct Cause(Arc<Error>);

impl Cause {
    /// The error.
    pub fn error(&self) -> &Error {
        &self.0
    }
}

/// What a problem says of one resource.
#[derive(Debug, Clone, Default, Serialize)]
struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    collection: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<Box<str>>,
}

/// One of several ids that failed.
#[derive(Debug, Clone, Serialize)]
struct Failed {
    reason: &'static str,
    detail: String,
    #[serde(flatten)]
    facts: Facts,
}

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
        let mut problem = Self::of(status::status(error), status::reason(error), String::new());
        let inner = &mut *problem.0;
        inner.retry = word(status::advice(error));
        inner.retry_after = status::retry_after(error);
        // Their own sentences, never their causes.
        inner.detail = match error {
            Error::Conflict(conflict) => conflict.to_string().into(),
            other => other.to_string().into(),
        };
        match error {
            Error::Conflict(conflict) => {
                inner.facts = Facts::of(conflict.decisive());
                match conflict.mismatches() {
                    // With several ids a tag would not say whose it is.
                    [one] => inner.etag = current_version(one).map(EntityTag::from),
                    several => inner.mismatches = several.iter().map(Failed::of).collect(),
                }
            }
            Error::NotFound(missing) => inner.facts.resource_id = Some(missing.id().into()),
            Error::Refused(
                Refusal::Closed { write } | Refusal::Reused { write } | Refusal::Outside { write, .. },
            ) => inner.write_id = Some(*write),
            Error::Refused(refusal) => inner.facts.resource_id = id_of(refusal).map(Box::from),
            Error::Corrupt(corrupt) => {
                inner.facts.resource_id = Some(corrupt.id().into());
                inner.facts.current_version = Some(corrupt.version());
            }
            Error::Failed(failure) => inner.write_id = failure.write(),
            Error::Expired(_) => {}
        }
        problem
    }

    /// A problem of the program's own, with a word for `reason` and a sentence for `detail`. Both go to the caller.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// let problem = Problem::of(415, "not-json", "send `Content-Type: application/json`");
    /// assert_eq!(problem.status(), 415);
    /// ```
    pub fn of(status: u16, reason: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            r#type: "about:blank",
            title: status::phrase(status),
            status,
            detail: detail.into(),
            instance: None,
            reason,
            retry: word(Advice::Never),
            facts: Facts::default(),
            write_id: None,
            mismatches: Vec::new(),
            #[cfg(feature = "json")]
            current: None,
            etag: None,
            retry_after: None,
            cause: None,
        }))
    }

    /// The same with another status: overrides the table.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::store::NotFound;
    /// let hidden = Problem::new(NotFound::deleted("a1")).with_status(404);
    /// assert_eq!(hidden.status(), 404);
    /// ```
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        self.0.title = status::phrase(status);
        self
    }

    /// The same with the URI of this occurrence, for instance the path of the request.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::store::NotFound;
    /// let problem = Problem::new(NotFound::new("a1")).with_instance("/articles/a1");
    /// assert_eq!(serde_json::to_value(problem)?["instance"], "/articles/a1");
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    pub fn with_instance(mut self, instance: impl Into<Box<str>>) -> Self {
        self.0.instance = Some(instance.into());
        self
    }

    /// The same with the current value of a conflict, the one its `current_version` speaks of, as the member
    /// `current`. Only for callers who may read it.
    ///
    /// Nothing is added where the problem is of no conflict, where that has no value of type `T`, and where the value
    /// can't be written as JSON. So a handler for errors of several resource types asks for each of them in turn.
    ///
    /// ```
    /// # use ifmatch::http::Problem;
    /// # use ifmatch::{Conflict, Versioned};
    /// let article = Versioned::<String>::new("3".parse()?, "text".to_string());
    /// let conflict = Conflict::state("a1", "archived", "it is archived").with_current(&article);
    ///
    /// let problem = Problem::new(conflict).with_current::<u64>().with_current::<String>();
    /// assert_eq!(serde_json::to_value(problem)?["current"], "text");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "json")]
    pub fn with_current<T: crate::store::Resource + Serialize + ?Sized>(mut self) -> Self {
        let conflict = self.0.cause.as_ref().and_then(|cause| cause.error().conflict());
        let current = conflict.and_then(|conflict| conflict.current::<T>());
        if let Some(json) = current.and_then(|current| serde_json::to_value(&*current.value).ok()) {
            self.0.current = Some(json);
        }
        self
    }

    /// The error it was made of; `None` for a problem of the program's [own](Self::of).
    pub fn cause(&self) -> Option<&Cause> {
        self.0.cause.as_ref()
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The machine-readable word.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The headers that belong to the body: `Content-Type`, `Cache-Control: no-store`, the `ETag` of the current
    /// state if there is a value, and `Retry-After` in whole seconds, rounded up.
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
        headers
    }
}

impl Facts {
    fn of(mismatch: &Mismatch) -> Self {
        let expected_version = match mismatch.expected() {
            Expected::Version(version) => Some(version),
            Expected::Any | Expected::Absent | Expected::Present => None,
        };
        let (rule, holder) = match mismatch.kind() {
            Kind::State { rule, .. } => (Some(rule.as_ref().into()), None),
            Kind::Locked { holder, .. } => (None, Some(holder.clone())),
            _ => (None, None),
        };
        Self {
            collection: mismatch.collection().map(Box::from),
            resource_id: Some(mismatch.id().into()),
            // A rule or a lock refused: the caller expected nothing that failed.
            expected_version: expected_version.filter(|_| rule.is_none() && holder.is_none()),
            current_version: current_version(mismatch),
            rule,
            holder,
        }
    }
}

impl Failed {
    fn of(mismatch: &Mismatch) -> Self {
        Self {
            reason: status::of_kind(mismatch.kind()),
            detail: mismatch.to_string(),
            facts: Facts::of(mismatch),
        }
    }
}

/// The version of the value found. What was found may also be the version of a deletion.
fn current_version(mismatch: &Mismatch) -> Option<Version> {
    match mismatch.kind() {
        Kind::Stale | Kind::Exists | Kind::State { .. } => mismatch.found(),
        Kind::Missing | Kind::Deleted | Kind::Locked { .. } => None,
    }
}

fn id_of(refusal: &Refusal) -> Option<&str> {
    match refusal {
        Refusal::Id { id, .. }
        | Refusal::Duplicate { id }
        | Refusal::TooLarge { id, .. }
        | Refusal::Encode { id, .. }
        | Refusal::ExpectationRequired { id }
        | Refusal::NotAllowed { id } => Some(id),
        Refusal::TooMany { .. }
        | Refusal::Collection { .. }
        | Refusal::Unsupported { .. }
        | Refusal::EmptyPage
        | Refusal::MalformedCondition { .. }
        | Refusal::ConditionRequired { .. }
        | Refusal::Cursor
        | Refusal::Closed { .. }
        | Refusal::Reused { .. }
        | Refusal::Outside { .. }
        | Refusal::VersionsExhausted => None,
    }
}

fn word(advice: Advice) -> &'static str {
    match advice {
        Advice::Refetch => "refetch",
        Advice::Merge => "merge",
        Advice::Wait => "wait",
        Advice::Never => "never",
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
    use serde_json::{Value, json};

    use super::*;
    use crate::store::{
        Condition, Corrupt, Failure, Found, IdProblem, Intent, NotFound, Origin, Outcome, Versioned,
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
                "type": "about:blank",
                "title": "Precondition Failed",
                "status": 412,
                "detail": "`a1` has changed: expected version 6, found version 7",
                "reason": "stale",
                "retry": "refetch",
                "resource_id": "a1",
                "expected_version": "6",
                "current_version": "7",
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
        for kind in [Kind::Stale, Kind::Exists, rule()] {
            let problem = Problem::new(conflict([mismatch("a", kind, Origin::Argument)]));
            assert_eq!(header(&problem, "etag").as_deref(), Some("\"7\""));
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
                },
            ])
        );
        assert_eq!(header(&problem, "etag"), None);
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
        use crate::http::Preconditions;

        let malformed = Preconditions::from_headers([("If-Match", "s3cr3t")]).unwrap_err();
        let required = Preconditions::none().required().unwrap_err();
        let [malformed, required] = [Problem::from(malformed), Problem::from(required)];

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
