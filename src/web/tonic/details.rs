//! The details of a status: what a problem says, as the messages that gRPC has for all services.

use std::collections::HashMap;

use tonic_types::{ErrorDetails, PreconditionViolation};

use crate::http::Problem;

/// Where the reasons are from.
const DOMAIN: &str = "ifmatch";

/// How many bytes of violations there are after the first one. Details travel in a header, and clients refuse more than
/// 8 KiB of those: a conflict over very many ids would be no conflict any more. `ErrorInfo` tells how many there are.
const LARGEST: usize = 2048;

/// What is told of a problem. Of a write that may have been applied it is not told when to send it again.
pub(super) fn of(problem: &Problem, unknown: bool) -> ErrorDetails {
    let violations = violations(problem);
    let facts = [
        ("retry", Some(problem.advised().to_owned())),
        ("collection", problem.collection().map(str::to_owned)),
        ("resource_id", problem.resource_id().map(str::to_owned)),
        // As text, as everywhere: a number past 2^53 is another one in JavaScript.
        ("expected_version", problem.expected_version().map(|version| version.to_string())),
        ("current_version", problem.current_version().map(|version| version.to_string())),
        ("rule", problem.rule().map(str::to_owned)),
        ("holder", problem.holder().map(str::to_owned)),
        ("write_id", problem.write_id().map(|write| write.to_string())),
        ("violations", (violations.len() > 1).then(|| violations.len().to_string())),
    ];
    let facts = facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?)));

    let mut details =
        ErrorDetails::with_error_info(problem.reason(), DOMAIN, facts.collect::<HashMap<_, _>>());
    let mut bytes = 0;
    for (at, violation) in violations.into_iter().enumerate() {
        bytes += violation.subject.len() + violation.description.len();
        if at > 0 && bytes > LARGEST {
            break;
        }
        details.add_precondition_failure_violation(
            violation.r#type,
            violation.subject,
            violation.description,
        );
    }
    if let Some(wait) = problem.retry_after().filter(|_| !unknown) {
        details.set_retry_info(Some(wait));
    }
    details
}

/// Each id that failed, and each path that a merge left.
fn violations(problem: &Problem) -> Vec<PreconditionViolation> {
    let failed = problem.failed().map(|failed| {
        let subject = match failed.collection {
            Some(collection) => format!("{collection}/{}", failed.id),
            None => failed.id.to_owned(),
        };
        PreconditionViolation::new(failed.reason, subject, failed.detail)
    });
    let paths = problem
        .conflicting_paths()
        .map(|path| PreconditionViolation::new("overlap", path, "both sides changed it"));
    failed.chain(paths).collect()
}
