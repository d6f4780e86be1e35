//! The default table from errors to statuses, reasons and `Retry-After`.

use std::time::Duration;

use crate::store::{Advice, Conflict, Error, Intent, Kind, Mismatch, Origin, Outcome, Refusal};

/// What `Retry-After` says where nothing better is known.
const SOON: Duration = Duration::from_secs(1);

/// Every word that [`reason`] has, and that of a patch which can't be read.
pub(super) const REASONS: [&str; 34] = [
    "stale",
    "exists",
    "missing",
    "deleted",
    "locked",
    "state",
    "not-found",
    "expectation-required",
    "malformed-precondition",
    "key-not-kept",
    "key-reused",
    "altered-tag",
    "foreign-tag",
    "unknown-outcome",
    "unavailable",
    "corrupt",
    "newer-schema",
    "expired",
    "bad-id",
    "duplicate-id",
    "too-large",
    "too-many",
    "not-encodable",
    "unfit-change",
    "malformed-patch",
    "not-allowed",
    "bad-collection",
    "unsupported",
    "empty-page",
    "bad-cursor",
    "write-closed",
    "write-reused",
    "write-outside",
    "versions-exhausted",
];

/// The HTTP status of an error by the default table in [`http`](crate::http).
///
/// A conflict over several ids has the status of the mismatch that [speaks for all](crate::Conflict::decisive).
///
/// ```
/// use ifmatch::{http, Error};
/// use ifmatch::store::NotFound;
///
/// assert_eq!(http::status(&NotFound::new("a1").into()), 404);
/// assert_eq!(http::status(&NotFound::deleted("a1").into()), 410);
/// ```
pub fn status(error: &Error) -> u16 {
    match error {
        // A loop gave up: what the request asked for held each time, also what it asked for in a header.
        Error::Conflict(conflict) if gave_up(conflict) => 409,
        Error::Conflict(conflict) => of_mismatch(conflict.decisive()),
        Error::NotFound(missing) if missing.is_deleted() => 410,
        Error::NotFound(_) => 404,
        Error::Refused(refusal) => of_refusal(refusal),
        // Another instance, of the release that wrote it, can answer.
        Error::Corrupt(corrupt) if corrupt.newer_schema().is_some() => 503,
        Error::Corrupt(_) => 500,
        Error::Expired(_) => 410,
        Error::Failed(_) => 503,
    }
}

/// The machine-readable word for an error: stable, in `kebab-case`, the `reason` of a problem body.
///
/// ```
/// use ifmatch::http;
/// use ifmatch::store::{Failure, Outcome};
///
/// let lost = Failure::new(Outcome::Unknown, "connection reset").into();
/// assert_eq!(http::reason(&lost), "unknown-outcome");
/// ```
pub fn reason(error: &Error) -> &'static str {
    match error {
        Error::Conflict(conflict) => of_kind(conflict.kind()),
        Error::NotFound(missing) if missing.is_deleted() => "deleted",
        Error::NotFound(_) => "not-found",
        Error::Refused(refusal) => word_of_refusal(refusal),
        Error::Corrupt(corrupt) if corrupt.newer_schema().is_some() => "newer-schema",
        Error::Corrupt(_) => "corrupt",
        Error::Expired(_) => "expired",
        Error::Failed(failure) => match failure.outcome() {
            Outcome::NotApplied => "unavailable",
            Outcome::Unknown => "unknown-outcome",
        },
    }
}

/// How long a caller should wait before it tries again, where trying again can help: what is left of a lock (of several
/// the longest), else one second for contention, for a store that failed, and for a value in a newer schema.
///
/// ```
/// use std::time::Duration;
/// use ifmatch::http;
/// use ifmatch::store::{Failure, Outcome};
///
/// let failed = Failure::new(Outcome::NotApplied, "connection refused").into();
/// assert_eq!(http::retry_after(&failed), Some(Duration::from_secs(1)));
/// ```
pub fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::Conflict(conflict) => match (conflict.retry(), conflict.kind()) {
            (Advice::Wait, Kind::Locked { remaining, .. }) => Some(*remaining),
            (Advice::Wait, _) => Some(SOON),
            (Advice::Refetch | Advice::Merge | Advice::Never, _) => None,
        },
        Error::Failed(failure) => (!failure.is_lasting()).then_some(SOON),
        Error::Corrupt(corrupt) => corrupt.newer_schema().map(|_| SOON),
        _ => None,
    }
}

/// What a caller can do about an error.
pub(super) fn advice(error: &Error) -> Advice {
    match error {
        Error::Conflict(conflict) => conflict.retry(),
        // An earlier sending may have been applied: look first.
        Error::Refused(Refusal::Outside { .. }) => Advice::Refetch,
        Error::Refused(Refusal::ExpectationRequired { .. } | Refusal::ConditionRequired { .. })
        | Error::Expired(_) => Advice::Refetch,
        Error::Failed(failure) => match failure.outcome() {
            Outcome::NotApplied if failure.is_lasting() => Advice::Never,
            Outcome::NotApplied => Advice::Wait,
            // Sent again as it was, it may apply twice: look first.
            Outcome::Unknown => Advice::Refetch,
        },
        Error::Corrupt(corrupt) if corrupt.newer_schema().is_some() => Advice::Wait,
        Error::NotFound(_) | Error::Refused(_) | Error::Corrupt(_) => Advice::Never,
    }
}

fn gave_up(conflict: &Conflict) -> bool {
    conflict.retry() == Advice::Wait && matches!(conflict.kind(), Kind::Stale | Kind::Exists)
}

fn of_mismatch(mismatch: &Mismatch) -> u16 {
    let from_header = mismatch.origin() == Origin::Protocol;
    match mismatch.kind() {
        Kind::Stale | Kind::Exists if from_header => 412,
        Kind::Stale | Kind::Exists | Kind::State { .. } => 409,
        // A put could have created it, so it was the header that failed. Nothing else can, and then 404 goes first.
        Kind::Missing | Kind::Deleted if from_header && mismatch.intent() == Intent::Put => 412,
        Kind::Missing => 404,
        Kind::Deleted => 410,
        Kind::Locked { .. } => 423,
    }
}

pub(super) fn of_kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Stale => "stale",
        Kind::Exists => "exists",
        Kind::Missing => "missing",
        Kind::Deleted => "deleted",
        Kind::Locked { .. } => "locked",
        Kind::State { .. } => "state",
    }
}

fn of_refusal(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Id { .. }
        | Refusal::Duplicate { .. }
        | Refusal::TooMany { .. }
        | Refusal::EmptyPage
        | Refusal::MalformedCondition { .. }
        | Refusal::Cursor => 400,
        Refusal::NotAllowed { .. } => 403,
        Refusal::AlteredCondition { .. } | Refusal::ForeignCondition { .. } => 412,
        Refusal::Closed { .. } | Refusal::Reused { .. } | Refusal::Outside { .. } => 409,
        Refusal::TooLarge { .. } => 413,
        Refusal::Encode { .. } | Refusal::Unfit { .. } | Refusal::KeyReused => 422,
        Refusal::ExpectationRequired { .. } | Refusal::ConditionRequired { .. } => 428,
        Refusal::Collection { .. } => 500,
        Refusal::Unsupported { .. } | Refusal::KeyNotKept => 501,
        Refusal::VersionsExhausted => 507,
    }
}

fn word_of_refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Id { .. } => "bad-id",
        Refusal::Duplicate { .. } => "duplicate-id",
        Refusal::TooLarge { .. } => "too-large",
        Refusal::TooMany { .. } => "too-many",
        Refusal::Encode { .. } => "not-encodable",
        Refusal::Unfit { .. } => "unfit-change",
        Refusal::ExpectationRequired { .. } | Refusal::ConditionRequired { .. } => "expectation-required",
        Refusal::MalformedCondition { .. } => "malformed-precondition",
        Refusal::KeyNotKept => "key-not-kept",
        Refusal::KeyReused => "key-reused",
        Refusal::AlteredCondition { .. } => "altered-tag",
        Refusal::ForeignCondition { .. } => "foreign-tag",
        Refusal::NotAllowed { .. } => "not-allowed",
        Refusal::Collection { .. } => "bad-collection",
        Refusal::Unsupported { .. } => "unsupported",
        Refusal::EmptyPage => "empty-page",
        Refusal::Cursor => "bad-cursor",
        Refusal::Closed { .. } => "write-closed",
        Refusal::Reused { .. } => "write-reused",
        Refusal::Outside { .. } => "write-outside",
        Refusal::VersionsExhausted => "versions-exhausted",
    }
}

/// The word for an error that a framework answered by itself, of which there is no more to say than its status.
pub(super) fn word_of_status(status: u16) -> &'static str {
    match status {
        400 => "bad-request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "no-route",
        405 => "method-not-allowed",
        406 => "not-acceptable",
        408 => "request-timeout",
        409 => "conflict",
        412 => "precondition-failed",
        413 => "too-large",
        414 => "uri-too-long",
        415 => "unsupported-media-type",
        422 => "unprocessable-content",
        423 => "locked",
        428 => "precondition-required",
        429 => "too-many-requests",
        503 => "unavailable",
        500.. => "server-error",
        _ => "client-error",
    }
}

/// The phrase of a status, as RFC 9110 and its companions have it.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        423 => "Locked",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        other if (400..500).contains(&other) => "Client Error",
        other if (500..600).contains(&other) => "Server Error",
        _ => "Problem",
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::store::{
        Condition, Corrupt, Expected, Expired, Failure, Found, IdProblem, NewerSchema, NotFound, Version,
        Versioned, WriteId,
    };

    const KINDS: [Kind; 4] = [Kind::Stale, Kind::Exists, Kind::Missing, Kind::Deleted];

    fn mismatch(kind: Kind, origin: Origin, intent: Intent) -> Mismatch {
        let version: Version = "7".parse().unwrap();
        let condition = Condition { expected: Expected::Version(version), origin };
        let value = Found::Value(Versioned::<str>::new("8".parse().unwrap(), "v"));
        let absent = Condition { expected: Expected::Absent, origin };
        match kind {
            Kind::Stale => Mismatch::new("a", condition, intent, value),
            Kind::Exists => Mismatch::new("a", absent, intent, value),
            Kind::Missing => Mismatch::new::<str>("a", condition, intent, Found::Nothing),
            Kind::Deleted => Mismatch::new::<str>("a", condition, intent, Found::Deleted(version)),
            Kind::Locked { holder, remaining } => {
                Mismatch::locked("a", holder, remaining).with_condition(condition).with_intent(intent)
            }
            Kind::State { rule, reason } => {
                Mismatch::state("a", rule, reason).with_condition(condition).with_intent(intent)
            }
        }
    }

    fn conflict(mismatches: impl Into<Vec<Mismatch>>) -> Error {
        Conflict::new(mismatches.into()).unwrap().into()
    }

    fn rule() -> Kind {
        Kind::State { rule: "full".into(), reason: "it is full".into() }
    }

    fn locked(seconds: u64) -> Kind {
        Kind::Locked { holder: "ann".into(), remaining: Duration::from_secs(seconds) }
    }

    #[test]
    fn a_conflict_has_the_status_of_the_table() {
        let statuses = |origin, intent| KINDS.map(|kind| status(&conflict([mismatch(kind, origin, intent)])));

        assert_eq!(statuses(Origin::Protocol, Intent::Put), [412, 412, 412, 412]);
        assert_eq!(statuses(Origin::Protocol, Intent::Delete), [412, 412, 404, 410]);
        assert_eq!(statuses(Origin::Protocol, Intent::Check), [412, 412, 404, 410]);
        for intent in [Intent::Put, Intent::Delete, Intent::Check] {
            assert_eq!(statuses(Origin::Argument, intent), [409, 409, 404, 410]);
            for origin in [Origin::Protocol, Origin::Argument] {
                assert_eq!(status(&conflict([mismatch(locked(1), origin, intent)])), 423);
                assert_eq!(status(&conflict([mismatch(rule(), origin, intent)])), 409);
            }
        }
    }

    #[test]
    fn the_hardest_to_mend_decides_and_of_equals_a_failed_header() {
        let argument = || mismatch(Kind::Missing, Origin::Argument, Intent::Put);
        let header = || mismatch(Kind::Stale, Origin::Protocol, Intent::Put);
        let exists = || mismatch(Kind::Exists, Origin::Argument, Intent::Put);

        for all in [conflict([argument(), header()]), conflict([exists(), header(), argument()])] {
            assert_eq!((status(&all), reason(&all), advice(&all)), (404, "missing", Advice::Never));
        }
        let equals = conflict([exists(), header()]);
        assert_eq!((status(&equals), reason(&equals), advice(&equals)), (412, "stale", Advice::Refetch));
        assert_eq!(status(&conflict([exists()])), 409);
    }

    #[test]
    fn every_refusal_has_a_status_and_a_word_of_its_own() {
        let id = || Box::<str>::from("a");
        let write = WriteId::from_bits(1);
        let rows = [
            (Refusal::Id { id: id(), problem: IdProblem::Empty }, 400, "bad-id"),
            (Refusal::Duplicate { id: id() }, 400, "duplicate-id"),
            (Refusal::TooLarge { id: id(), bytes: 2, limit: 1 }, 413, "too-large"),
            (Refusal::TooMany { entries: 2, limit: 1 }, 400, "too-many"),
            (Refusal::Encode { id: id(), source: "odd".into() }, 422, "not-encodable"),
            (Refusal::Unfit { id: id(), problem: id() }, 422, "unfit-change"),
            (Refusal::ExpectationRequired { id: id() }, 428, "expectation-required"),
            (Refusal::ConditionRequired { how: "so" }, 428, "expectation-required"),
            (Refusal::MalformedCondition { name: "a", problem: id() }, 400, "malformed-precondition"),
            (Refusal::KeyNotKept, 501, "key-not-kept"),
            (Refusal::KeyReused, 422, "key-reused"),
            (Refusal::AlteredCondition { id: id(), name: "a" }, 412, "altered-tag"),
            (Refusal::ForeignCondition { id: id(), name: "a" }, 412, "foreign-tag"),
            (Refusal::NotAllowed { id: id() }, 403, "not-allowed"),
            (Refusal::Collection { name: id(), problem: id() }, 500, "bad-collection"),
            (Refusal::Unsupported { what: "watching" }, 501, "unsupported"),
            (Refusal::EmptyPage, 400, "empty-page"),
            (Refusal::Cursor, 400, "bad-cursor"),
            (Refusal::Closed { write }, 409, "write-closed"),
            (Refusal::Reused { write }, 409, "write-reused"),
            (Refusal::Outside { write, newest: None }, 409, "write-outside"),
            (Refusal::VersionsExhausted, 507, "versions-exhausted"),
        ];

        for (refusal, code, word) in rows {
            let error = Error::from(refusal);
            assert_eq!((status(&error), reason(&error)), (code, word), "{error}");
            assert!(REASONS.contains(&word), "{word} has no page");
            assert_eq!(retry_after(&error), None, "{error}");
            let looks_first = code == 428 || error.outcome() == Outcome::Unknown;
            let expected = if looks_first { Advice::Refetch } else { Advice::Never };
            assert_eq!(advice(&error), expected, "{error}");
        }
    }

    #[test]
    fn every_other_error_has_the_status_of_the_table() {
        let version = "7".parse().unwrap();
        let failed = |outcome| Error::from(Failure::new(outcome, "odd"));
        let newer = NewerSchema { number: 2, known: 1 };
        let rows: [(Error, u16, &str, Advice); 7] = [
            (NotFound::new("a").into(), 404, "not-found", Advice::Never),
            (NotFound::deleted("a").into(), 410, "deleted", Advice::Never),
            (Corrupt::new("a", version, "odd").into(), 500, "corrupt", Advice::Never),
            (Corrupt::new("a", version, newer).into(), 503, "newer-schema", Advice::Wait),
            (Expired { oldest: None }.into(), 410, "expired", Advice::Refetch),
            (failed(Outcome::NotApplied), 503, "unavailable", Advice::Wait),
            (failed(Outcome::Unknown), 503, "unknown-outcome", Advice::Refetch),
        ];

        for (error, code, word, expected) in rows {
            assert_eq!((status(&error), reason(&error), advice(&error)), (code, word, expected), "{error}");
            assert!(REASONS.contains(&word), "{word} has no page");
            assert_eq!(retry_after(&error).is_some(), code == 503, "{error}");
            assert!(error.source().is_none_or(|source| !error.to_string().contains(&source.to_string())));
        }
    }

    #[test]
    fn nobody_is_asked_to_wait_for_what_waiting_does_not_mend() {
        let full = Error::from(Failure::new(Outcome::NotApplied, "the disk is full").lasting());

        assert_eq!((status(&full), advice(&full), retry_after(&full)), (503, Advice::Never, None));
    }

    #[test]
    fn retry_after_is_what_is_left_of_the_longest_lock_or_a_second_of_contention() {
        let stale = || mismatch(Kind::Stale, Origin::Argument, Intent::Put);
        let lock = |seconds| mismatch(locked(seconds), Origin::Argument, Intent::Put);
        let exhausted = Error::from(Conflict::from(stale()).exhausted(5));

        assert_eq!(retry_after(&conflict([stale()])), None);
        assert_eq!(
            retry_after(&conflict([stale(), lock(3), lock(9), lock(5)])),
            Some(Duration::from_secs(9))
        );
        assert_eq!((status(&exhausted), retry_after(&exhausted)), (409, Some(SOON)));
        let star = Conflict::from(mismatch(Kind::Stale, Origin::Protocol, Intent::Put)).exhausted(5);
        assert_eq!(status(&star.into()), 409, "the header held each time");
        // Waiting for the lock is no use while a rule refuses.
        let state = Mismatch::state("a", "final", "it was sent");
        assert_eq!(retry_after(&conflict([lock(3), state])), None);
    }

    #[test]
    fn every_status_of_the_table_and_others_a_program_may_choose_have_their_phrase() {
        let table = [400, 403, 404, 409, 410, 412, 413, 422, 423, 428, 500, 501, 503, 507];
        for code in table.into_iter().chain([401, 405, 406, 408, 414, 415, 429]) {
            assert!(!["Client Error", "Server Error", "Problem"].contains(&phrase(code)), "{code}");
        }
        assert_eq!([phrase(418), phrase(599), phrase(299)], ["Client Error", "Server Error", "Problem"]);
    }
}
