//! Responses of `http` that any framework takes: of answers, values and problems.

#[cfg(feature = "axum")]
use std::convert::Infallible;
#[cfg(feature = "axum")]
use std::pin::Pin;
#[cfg(feature = "axum")]
use std::task::{Context, Poll};

use bytes::Bytes;
#[cfg(feature = "tower")]
use http::Extensions;
use http::header::CONTENT_TYPE;
#[cfg(any(feature = "axum", feature = "tower"))]
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
#[cfg(any(feature = "actix", feature = "axum", feature = "resource"))]
use serde::Serialize;

#[cfg(any(feature = "actix", feature = "axum", feature = "resource"))]
use crate::http::Answer;
#[cfg(feature = "tower")]
use crate::http::Cause;
use crate::http::Problem;
#[cfg(any(feature = "actix", feature = "axum", feature = "resource"))]
use crate::http::Remark;

/// The answer, with its body where one is to be sent.
#[cfg(any(feature = "actix", feature = "axum", feature = "resource"))]
pub(super) fn of_answer<T: Serialize + ?Sized>(
    answer: &Answer<T>,
) -> Result<Response<Option<Bytes>>, Problem> {
    let mut response = match answer.body() {
        Some(value) => of_value(value)?.map(Some),
        None => Response::new(None),
    };
    *response.status_mut() = status(answer.status());
    insert(response.headers_mut(), answer.headers());
    remark(&mut response, answer);
    Ok(response)
}

/// The answer without its value, which is not to be sent back.
#[cfg(feature = "resource")]
pub(super) fn without_value<T: ?Sized>(answer: &Answer<T>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status(answer.status());
    insert(response.headers_mut(), answer.headers());
    remark(&mut response, answer);
    response
}

/// Says that an answer was given before, for the layers in front.
#[cfg(any(feature = "actix", feature = "axum", feature = "resource"))]
fn remark<B, T: ?Sized>(response: &mut Response<B>, answer: &Answer<T>) {
    if answer.is_replayed() {
        response.extensions_mut().insert(Remark::Replayed);
    }
}

/// A value as JSON: 200.
#[cfg(any(feature = "actix", feature = "axum", feature = "resource"))]
pub(super) fn of_value<T: Serialize + ?Sized>(value: &T) -> Result<Response<Bytes>, Problem> {
    let Ok(body) = serde_json::to_vec(value) else {
        return Err(Problem::of(500, "not-encodable", "the value cannot be written as JSON"));
    };
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The problem, with the error itself as a [`Cause`](crate::http::Cause) in the extensions of the response, or a [`Remark`].
pub(super) fn of_problem(problem: &Problem) -> Response<Bytes> {
    let body = serde_json::to_vec(problem).expect("a problem is made of text and of JSON values");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status(problem.status());
    insert(response.headers_mut(), problem.headers());
    if let Some(cause) = problem.cause() {
        response.extensions_mut().insert(cause.clone());
    }
    if let Some(remark) = problem.remark() {
        response.extensions_mut().insert(remark);
    }
    response
}

/// Whether a response says no more than plain text can.
#[cfg(any(feature = "axum", feature = "tower"))]
pub(super) fn is_bare<B>(response: &Response<B>) -> bool {
    response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// The headers that say something of a body, and of no other.
#[cfg(any(feature = "axum", feature = "tower"))]
const OF_BODY: [&str; 10] = [
    "content-digest",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "digest",
    "repr-digest",
    "transfer-encoding",
];

/// The problem of a status, in place of a response: with its extensions, and its headers but for those that describe its body.
/// Its text is left out, as that may quote the request.
#[cfg(any(feature = "axum", feature = "tower"))]
pub(super) fn instead_of<B>(response: Response<B>) -> Response<Bytes> {
    let (head, _) = response.into_parts();
    let mut problem = of_problem(&Problem::of_status(head.status.as_u16()));
    keep(head, &mut problem);
    problem
}

/// Keeps the extensions of a response that another takes the place of, and its headers but for those that describe its body.
#[cfg(any(feature = "axum", feature = "tower"))]
pub(super) fn keep<B>(head: Parts, response: &mut Response<B>) {
    // What is known of the refusal goes on to the layers in front.
    response.extensions_mut().extend(head.extensions);
    let own = response.headers().clone();
    for (name, value) in &head.headers {
        if !OF_BODY.contains(&name.as_str()) && !own.contains_key(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
}

/// The body of an answer of axum that has none. Its length is open, so that nobody writes `Content-Length: 0` into a 304, where that
/// would be the length of the value (RFC 9110 §8.6).
#[cfg(feature = "axum")]
pub(super) struct Unsent;

#[cfg(feature = "axum")]
impl http_body::Body for Unsent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// The error that a response was made of, in the channel of the framework that made it.
#[cfg(feature = "tower")]
pub(super) fn cause(extensions: &Extensions) -> Option<&Cause> {
    #[cfg(feature = "tonic")]
    if let Some(cause) = super::tonic::cause_in(extensions) {
        return Some(cause);
    }
    extensions.get()
}

/// Whether a call by gRPC failed, whatever the status of HTTP says.
#[cfg(feature = "tower")]
pub(super) fn is_failed_call(extensions: &Extensions) -> bool {
    #[cfg(feature = "tonic")]
    if let Some(status) = extensions.get::<::tonic::Status>() {
        return status.code() != ::tonic::Code::Ok;
    }
    _ = extensions;
    false
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("answers and problems have good statuses")
}

fn insert(headers: &mut HeaderMap, given: Vec<(&'static str, String)>) {
    for (name, value) in given {
        let value = HeaderValue::try_from(value).expect("these headers are printable ASCII");
        headers.insert(HeaderName::from_static(name), value);
    }
}
