//! tonic: an error as its [`Status`], preconditions out of metadata, and versions in metadata.
//!
//! A client says what its write is based on in metadata, with the names and the grammar that HTTP has: `if-match` and
//! `if-none-match`. [`preconditions`] reads them, and one call on the [`Collection`](crate::Collection) judges them and
//! commits. [`response`] tells the version as `etag`, which is what the client sends back. A service that has the tag as a
//! field of its messages makes [`Preconditions::from_headers`] of that.
//!
//! An [`Error`] becomes a [`Status`] by `?`:
//!
//! | situation | code |
//! |---|---|
//! | stale version; a race lost; retries exhausted; overlaps left by a merge | `ABORTED` |
//! | exists already | `ALREADY_EXISTS` |
//! | target missing or deleted, a put, `if-match` given | `FAILED_PRECONDITION` |
//! | target missing or deleted otherwise | `NOT_FOUND` |
//! | a rule of the program refuses; locked by another holder; a tag that is no version of ours | `FAILED_PRECONDITION` |
//! | precondition required, none given; malformed precondition; bad id | `INVALID_ARGUMENT` |
//! | outcome unknown; the store failed | `UNAVAILABLE` |
//!
//! Its details are the messages that gRPC has for all services: `ErrorInfo` with the `reason` of the table in
//! [`http`](crate::http), the domain `ifmatch`, and what a [`Problem`] tells under the same names (`resource_id`,
//! `expected_version`, `current_version`, `rule`, `holder` …); `PreconditionFailure` with each id that failed; `RetryInfo`
//! where waiting helps. No value is among them. [`status`] tells less, for callers who may not read.
//!
//! `UNAVAILABLE` is what retry policies of gRPC send again. Where that could apply a write twice, the status forbids it, with
//! `grpc-retry-pushback-ms: -1` in its metadata.
//!
//! A layer in front finds the error itself by [`cause_in`], as those of `web::tower` do. `Require` and `Problems` of those answer
//! with a status where they are told to by `grpc`.
//!
//! ```
//! use ifmatch::web::tonic::{preconditions, required, response};
//! use ifmatch::{Collection, http};
//! use tonic::{Request, Response, Status};
//!
//! struct Notes(Collection<String>);
//!
//! // In the trait that is generated from the service.
//! impl Notes {
//!     async fn read(&self, request: Request<String>) -> Result<Response<String>, Status> {
//!         let found = self.0.get_if(request.get_ref(), &preconditions(&request)).await?;
//!         Ok(response(found, String::clone))
//!     }
//!
//!     async fn write(&self, request: Request<(String, String)>) -> Result<Response<String>, Status> {
//!         let basis = required(&request);
//!         let (id, text) = request.into_inner();
//!         Ok(response(self.0.put_if(&id, &basis, text).await?, String::clone))
//!     }
//! }
//! ```

mod code;
mod details;

use std::error::Error as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status};
use tonic_types::StatusExt;

use crate::http::{Answer, Cause, Expose, Preconditions, Problem, Remark, Required, Terms};
use crate::store::{Error, Outcome};

/// What tells a client of gRPC when to send a call again by itself; below zero: never (gRFC A6).
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The preconditions in the metadata of a request, on the [`Terms`] in its extensions, where an interceptor put any.
///
/// ```
/// use ifmatch::http::Preconditions;
/// use ifmatch::web::tonic::preconditions;
///
/// let mut request = tonic::Request::new(());
/// request.metadata_mut().insert("if-match", "\"7\"".parse()?);
/// assert_eq!(preconditions(&request), Preconditions::from_headers([("If-Match", "\"7\"")]));
/// # Ok::<_, tonic::metadata::errors::InvalidMetadataValue>(())
/// ```
#[must_use = "only the call it is handed to refuses what does not hold"]
pub fn preconditions<M>(request: &Request<M>) -> Preconditions {
    let headers: &HeaderMap = request.metadata().as_ref();
    let terms = request.extensions().get::<Terms>().copied().unwrap_or_default();
    Preconditions::from_headers(headers).under(terms)
}

/// The same for a request that has to say which state it is based on; else the call it is handed to refuses.
///
/// ```
/// use ifmatch::web::tonic::required;
/// use tonic::{Code, Request, Status};
///
/// let notes = ifmatch::Collection::<String>::in_memory();
/// let basis = required(&Request::new(()));
/// let refused = notes.put_if("readme", &basis, "hello".to_string()).wait().unwrap_err();
/// assert_eq!(Status::from(refused).code(), Code::InvalidArgument);
/// ```
pub fn required<M>(request: &Request<M>) -> Required {
    Required::of(preconditions(request))
}

/// The response of an answer: the message that `show` makes of its value, and its headers as metadata, `etag` above all.
///
/// Where no value is to be sent, the message is the default one: after a deletion, and for a read whose `if-none-match`
/// names what is there. gRPC has no code for that; the `etag` is then one that the caller sent.
///
/// ```
/// use ifmatch::http::Preconditions;
/// use ifmatch::web::tonic::response;
///
/// let notes = ifmatch::Collection::<String>::in_memory();
/// let created = notes.create_if("readme", &Preconditions::none(), "hello".to_string()).wait()?;
/// let tag = format!("\"{}\"", created.now().unwrap().version);
///
/// let response = response(created, String::clone);
/// assert_eq!(response.metadata().get("etag").unwrap(), tag.as_str());
/// assert_eq!(response.into_inner(), "hello");
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub fn response<T: ?Sized, M: Default>(answer: Answer<T>, show: impl FnOnce(&T) -> M) -> Response<M> {
    let mut headers = HeaderMap::new();
    for (name, value) in answer.headers() {
        insert(&mut headers, name, value);
    }
    let message = answer.body().map_or_else(M::default, show);
    let mut extensions = Extensions::new();
    if answer.is_replayed() {
        extensions.insert(Remark::Replayed);
    }
    Response::from_parts(MetadataMap::from_headers(headers), message, extensions)
}

/// The status of an error, telling as much of the resource as its caller may know. There is no value in a status, so
/// [`Expose::Full`] tells what [`Expose::Version`] does.
///
/// ```
/// use ifmatch::http::Expose;
/// use ifmatch::web::tonic::status;
/// use ifmatch::Conflict;
///
/// let refused = status(Conflict::state("a1", "archived", "it is archived"), Expose::Nothing);
/// assert_eq!(refused.message(), "Conflict");
/// ```
pub fn status(error: impl Into<Error>, level: Expose) -> Status {
    let problem = Problem::new(error);
    match level {
        Expose::Nothing => problem.telling_nothing().into(),
        Expose::Version | Expose::Full => problem.into(),
    }
}

/// The error that a response was made of: tonic puts the [`Status`] of a call that failed into the extensions of its
/// response, and the [`Cause`] is the source of that. A stream that fails on its way has its status in the trailers only.
///
/// ```
/// use ifmatch::web::tonic::cause_in;
/// use ifmatch::{Conflict, Error};
/// use tonic::Status;
///
/// let refused = Status::from(Error::from(Conflict::state("a1", "archived", "it is archived")));
/// let response = refused.into_http::<String>();
/// assert_eq!(cause_in(response.extensions()).unwrap().error().conflict().unwrap().id(), "a1");
/// ```
pub fn cause_in(extensions: &Extensions) -> Option<&Cause> {
    extensions.get::<Status>()?.source()?.downcast_ref()
}

/// By the table above, with the details, and the [`Cause`] as its source.
impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Problem::new(error).into()
    }
}

/// The same with what the program changed: a [status](Problem::with_status) of its own stands for the code that is nearest
/// to it. Members of its own are left out.
impl From<Problem> for Status {
    fn from(problem: Problem) -> Self {
        let error = problem.cause().map(|cause| cause.error());
        let unknown = error.is_some_and(|error| error.outcome() == Outcome::Unknown);
        let mut headers = HeaderMap::new();
        if let Some((name, tag)) = problem.headers().into_iter().find(|(name, _)| *name == "etag") {
            insert(&mut headers, name, tag);
        }
        if unknown {
            headers.insert(PUSHBACK, HeaderValue::from_static("-1"));
        }
        let mut status = Self::with_error_details_and_metadata(
            code::of(&problem),
            problem.detail(),
            details::of(&problem, unknown),
            MetadataMap::from_headers(headers),
        );
        if let Some(cause) = problem.cause() {
            status.set_source(Arc::new(cause.clone()));
        }
        status
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: String) {
    let value = HeaderValue::try_from(value).expect("these headers are printable ASCII");
    headers.insert(HeaderName::from_static(name), value);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;
    use crate::store::{Conflict, Failure, Mismatch, Version, Versioned, WriteId};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn asking(metadata: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in metadata {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    fn archived() -> Conflict {
        let current = Versioned::<String>::new(version("7"), "s3cr3t".to_owned());
        Conflict::state("a", "archived", "it is archived").with_current(&current)
    }

    /// As a client gets it: no more than what its headers say.
    fn received(status: Status) -> Status {
        let response = status.into_http::<String>();
        Status::from_header_map(response.headers()).unwrap()
    }

    #[test]
    fn several_lines_of_metadata_are_one_list_and_what_is_malformed_is_refused() {
        let current = || Versioned::<str>::new(version("7"), "text");
        let judge = |request: &Preconditions| request.admit("a", crate::store::Intent::Put, Some(&current()));

        let both = asking(&[("if-match", "\"6\""), ("if-match", "\"7\"")]);
        assert!(judge(&preconditions(&both)).is_ok());
        for (metadata, code) in [
            ([("if-match", "7")], Code::InvalidArgument),
            ([("if-match", "\"6\"")], Code::Aborted),
            ([("if-none-match", "*")], Code::AlreadyExists),
            ([("other", "\"6\"")], Code::InvalidArgument),
        ] {
            let refused = judge(&required(&asking(&metadata))).unwrap_err();
            assert_eq!(Status::from(refused).code(), code, "{metadata:?}");
        }
        assert!(judge(&preconditions(&asking(&[]))).is_ok());
    }

    #[test]
    fn the_terms_in_the_extensions_hold() {
        let mut request = asking(&[("if-match", "*")]);
        request.extensions_mut().insert(Terms::new().without_star());
        let current = Versioned::<str>::new(version("7"), "text");

        let refused = preconditions(&request).admit("a", crate::store::Intent::Put, Some(&current));

        assert_eq!(Status::from(refused.unwrap_err()).code(), Code::InvalidArgument);
    }

    #[test]
    fn a_conflict_arrives_with_its_facts_and_without_a_value() {
        let status = received(Error::from(archived()).into());

        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "`a` refuses the change: it is archived (version 7)");
        assert_eq!(status.metadata().get("etag").unwrap(), "\"7\"");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("state", "ifmatch"));
        assert_eq!((&*info.metadata["resource_id"], &*info.metadata["rule"]), ("a", "archived"));
        assert_eq!((&*info.metadata["current_version"], &*info.metadata["retry"]), ("7", "never"));
        let violations = &details.precondition_failure().unwrap().violations;
        assert_eq!((&*violations[0].r#type, &*violations[0].subject), ("state", "a"));
        let text = String::from_utf8_lossy(status.details());
        assert!(!text.contains("s3cr3t") && !format!("{status:?}").contains("s3cr3t"), "{text}");
    }

    #[test]
    fn whom_nothing_is_exposed_to_hears_no_id_and_no_version() {
        let status = received(status(archived(), Expose::Nothing));

        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "Conflict"));
        assert!(status.metadata().get("etag").is_none());
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata.keys().collect::<Vec<_>>(), ["retry"]);
        assert!(details.precondition_failure().is_none());
    }

    #[test]
    fn who_should_wait_is_told_how_long() {
        let locked = Conflict::locked("a", "ann", Duration::from_secs(9));

        let details = received(Error::from(locked).into()).get_error_details();

        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(9)));
        assert_eq!(details.error_info().unwrap().metadata["holder"], "ann");
    }

    #[test]
    fn what_may_have_been_applied_is_not_to_be_sent_again() {
        let failed = |outcome| {
            let failure = Failure::new(outcome, "s3cr3t").with_write(WriteId::from_bits(5));
            received(Error::from(failure).into())
        };

        let lost = failed(Outcome::Unknown);
        assert_eq!(lost.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
        let details = lost.get_error_details();
        assert!(details.retry_info().is_none());
        assert_eq!(details.error_info().unwrap().metadata["write_id"], WriteId::from_bits(5).to_string());
        let refused = failed(Outcome::NotApplied);
        assert!(refused.metadata().get("grpc-retry-pushback-ms").is_none());
        assert!(refused.get_error_details().retry_info().is_some());
        for status in [lost, refused] {
            assert_eq!(status.code(), Code::Unavailable);
            assert!(!String::from_utf8_lossy(status.details()).contains("s3cr3t"));
        }
    }

    #[test]
    fn a_conflict_over_very_many_ids_fits_into_a_header() {
        let long = |at: usize| format!("{at:0>512}");
        let many = (0..200).map(|at| Mismatch::state(&long(at), "full", "it is full").in_collection("stock"));
        let status: Status = Error::from(Conflict::new(many).unwrap()).into();

        let response = status.into_http::<String>();

        let bytes: usize =
            response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        assert!(bytes < 8192, "{bytes}");
        let details = Status::from_header_map(response.headers()).unwrap().get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["violations"], "200");
        let subject = &details.precondition_failure().unwrap().violations[0].subject;
        assert_eq!(*subject, format!("stock/{}", long(0)));
    }

    #[test]
    fn a_layer_in_front_finds_the_error_with_its_typed_value() {
        let response = Status::from(Error::from(archived())).into_http::<String>();

        let cause = cause_in(response.extensions()).unwrap();

        assert_eq!(*cause.error().conflict().unwrap().current::<String>().unwrap().value, "s3cr3t");
        let status: &Status = response.extensions().get().unwrap();
        assert!(crate::store::conflict_in(status).is_some());
        #[cfg(feature = "tower")]
        assert!(crate::web::response::cause(response.extensions()).is_some());
        let own = Status::from(Problem::of(409, "mine", "mine")).into_http::<String>();
        assert!(cause_in(own.extensions()).is_none());
    }

    #[test]
    fn where_no_value_is_sent_the_message_is_empty_and_the_tag_tells_why() {
        let notes = crate::Collection::<String>::in_memory();
        let none = Preconditions::none();
        let created = notes.create_if("a", &none, "text".to_owned()).wait().unwrap();
        let tag = format!("\"{}\"", created.now().unwrap().version);
        let known = preconditions(&asking(&[("if-none-match", &tag)]));

        let read = response(notes.get_if("a", &known).wait().unwrap(), String::clone);
        assert_eq!(read.metadata().get("etag").unwrap(), &*tag);
        assert_eq!(read.into_inner(), "");
        let deleted = response(notes.delete_if("a", &none).wait().unwrap(), String::clone);
        assert!(deleted.metadata().is_empty());
    }
}
