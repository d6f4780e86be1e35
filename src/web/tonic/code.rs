//! The default table from errors to codes of gRPC.

use tonic::Code;

use crate::http::{self, Problem};
use crate::store::{Advice, Conflict, Error, Intent, Kind, Origin, Refusal};

/// The code of a problem: that of its error, unless the program gave it another status.
pub(super) fn of(problem: &Problem) -> Code {
    match problem.cause().map(|cause| cause.error()) {
        // What a merge left is to be computed anew, whatever the conflict says that tells of it.
        Some(_) if problem.retry() == Advice::Merge => Code::Aborted,
        Some(error) if http::status(error) == problem.status() => of_error(error),
        _ => of_status(problem.status()),
    }
}

fn of_error(error: &Error) -> Code {
    match error {
        Error::Conflict(conflict) => of_conflict(conflict),
        Error::NotFound(_) => Code::NotFound,
        Error::Refused(refusal) => of_refusal(refusal),
        Error::Corrupt(corrupt) if corrupt.newer_schema().is_some() => Code::Unavailable,
        Error::Corrupt(_) => Code::DataLoss,
        // As etcd answers where a revision was compacted.
        Error::Expired(_) => Code::OutOfRange,
        Error::Failed(_) => Code::Unavailable,
    }
}

fn of_conflict(conflict: &Conflict) -> Code {
    let decisive = conflict.decisive();
    match decisive.kind() {
        Kind::Stale => Code::Aborted,
        // A loop gave up: what it was asked to do can be asked again.
        Kind::Exists if conflict.retry() == Advice::Wait => Code::Aborted,
        Kind::Exists => Code::AlreadyExists,
        Kind::Missing | Kind::Deleted
            if decisive.origin() == Origin::Protocol && decisive.intent() == Intent::Put =>
        {
            Code::FailedPrecondition
        }
        Kind::Missing | Kind::Deleted => Code::NotFound,
        Kind::Locked { .. } | Kind::State { .. } => Code::FailedPrecondition,
    }
}

fn of_refusal(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Id { .. }
        | Refusal::Duplicate { .. }
        | Refusal::TooLarge { .. }
        | Refusal::TooMany { .. }
        | Refusal::Encode { .. }
        | Refusal::Unfit { .. }
        | Refusal::ExpectationRequired { .. }
        | Refusal::ConditionRequired { .. }
        | Refusal::MalformedCondition { .. }
        | Refusal::KeyReused
        | Refusal::EmptyPage
        | Refusal::Cursor => Code::InvalidArgument,
        // No `ABORTED`: a new read brings the same tag again.
        Refusal::AlteredCondition { .. } | Refusal::ForeignCondition { .. } => Code::FailedPrecondition,
        Refusal::Closed { .. } | Refusal::Reused { .. } => Code::FailedPrecondition,
        // An earlier sending may have been applied: look first.
        Refusal::Outside { .. } => Code::Aborted,
        Refusal::NotAllowed { .. } => Code::PermissionDenied,
        Refusal::Collection { .. } => Code::Internal,
        Refusal::Unsupported { .. } | Refusal::KeyNotKept => Code::Unimplemented,
        Refusal::VersionsExhausted => Code::ResourceExhausted,
    }
}

/// The code that says what a status of HTTP says.
fn of_status(status: u16) -> Code {
    match status {
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 | 410 => Code::NotFound,
        405 | 501 => Code::Unimplemented,
        409 => Code::Aborted,
        412 | 423 => Code::FailedPrecondition,
        429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        504 => Code::DeadlineExceeded,
        500.. => Code::Internal,
        _ => Code::InvalidArgument,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code::*;

    use super::*;
    use crate::store::{
        self, Condition, Corrupt, Expected, Failure, Found, IdProblem, Mismatch, Outcome, Version, Versioned,
        WriteId,
    };

    fn version() -> Version {
        "7".parse().unwrap()
    }

    fn conflict(expected: Expected, origin: Origin, intent: Intent, found: Found<str>) -> Conflict {
        let mismatch = Mismatch::new("a", Condition { expected, origin }, intent, found);
        Conflict::new([mismatch]).unwrap()
    }

    fn found() -> Found<str> {
        Found::Value(Versioned::new(version(), "v"))
    }

    fn code(error: impl Into<Error>) -> Code {
        of(&Problem::new(error))
    }

    #[test]
    fn a_conflict_has_the_code_of_the_table() {
        let (header, argument) = (Origin::Protocol, Origin::Argument);
        let six = Expected::Version("6".parse().unwrap());

        for origin in [header, argument] {
            assert_eq!(code(conflict(six, origin, Intent::Put, found())), Aborted);
            assert_eq!(code(conflict(Expected::Absent, origin, Intent::Put, found())), AlreadyExists);
            assert_eq!(code(conflict(six, origin, Intent::Delete, Found::Nothing)), NotFound);
        }
        for nothing in [|| Found::Nothing, || Found::Deleted(version())] {
            assert_eq!(code(conflict(six, header, Intent::Put, nothing())), FailedPrecondition);
            assert_eq!(code(conflict(six, argument, Intent::Put, nothing())), NotFound);
        }
        assert_eq!(code(Conflict::state("a", "full", "it is full")), FailedPrecondition);
        assert_eq!(code(Conflict::locked("a", "ann", Duration::from_secs(1))), FailedPrecondition);
        let exists = || conflict(Expected::Absent, argument, Intent::Put, found());
        assert_eq!(code(exists().exhausted(3)), Aborted);
    }

    #[test]
    fn every_other_error_has_the_code_of_the_table() {
        let id = || Box::<str>::from("a");
        let write = WriteId::from_bits(1);
        let newer = store::NewerSchema { number: 2, known: 1 };
        let rows: [(Error, Code); 22] = [
            (store::NotFound::new("a").into(), NotFound),
            (store::NotFound::deleted("a").into(), NotFound),
            (Corrupt::new("a", version(), "odd").into(), DataLoss),
            (Corrupt::new("a", version(), newer).into(), Unavailable),
            (Failure::new(Outcome::NotApplied, "refused").into(), Unavailable),
            (Failure::new(Outcome::Unknown, "reset").into(), Unavailable),
            (Refusal::ConditionRequired { how: "so" }.into(), InvalidArgument),
            (Refusal::MalformedCondition { name: "a", problem: id() }.into(), InvalidArgument),
            (Refusal::Id { id: id(), problem: IdProblem::Empty }.into(), InvalidArgument),
            (Refusal::TooLarge { id: id(), bytes: 2, limit: 1 }.into(), InvalidArgument),
            (Refusal::Unfit { id: id(), problem: id() }.into(), InvalidArgument),
            (Refusal::Cursor.into(), InvalidArgument),
            (Refusal::AlteredCondition { id: id(), name: "a" }.into(), FailedPrecondition),
            (Refusal::ForeignCondition { id: id(), name: "a" }.into(), FailedPrecondition),
            (Refusal::Reused { write }.into(), FailedPrecondition),
            (Refusal::Outside { write, newest: None }.into(), Aborted),
            (Refusal::NotAllowed { id: id() }.into(), PermissionDenied),
            (Refusal::Unsupported { what: "watching" }.into(), Unimplemented),
            (Refusal::KeyNotKept.into(), Unimplemented),
            (Refusal::KeyReused.into(), InvalidArgument),
            (Refusal::Collection { name: id(), problem: id() }.into(), Internal),
            (Refusal::VersionsExhausted.into(), ResourceExhausted),
        ];
        for (error, expected) in rows {
            let said = error.to_string();
            assert_eq!(code(error), expected, "{said}");
        }
        assert_eq!(code(store::Expired { oldest: None }), OutOfRange);
    }

    #[test]
    fn a_status_of_the_programs_own_decides() {
        let gone = || Problem::new(store::NotFound::deleted("a"));

        assert_eq!(of(&gone().with_status(403)), PermissionDenied);
        assert_eq!(of(&Problem::of(409, "sold-out", "there is none left")), Aborted);
        assert_eq!(of(&Problem::of(429, "slower", "not so fast")), ResourceExhausted);
        let overlap = Conflict::state("a", "overlap", "both changed the title");
        assert_eq!(of(&Problem::new(overlap).with_conflicting_paths(["/title"])), Aborted);
    }
}
