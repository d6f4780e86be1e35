//! axum: preconditions as extractors; versioned values, errors and problems as responses.
//!
//! [`Preconditions`] as an argument of a handler are those of the request, or none; [`Required`] ones answer 428 where
//! the request does not say which state it is based on. Both answer 400 where a header is malformed. A
//! [`Versioned`] value is answered as JSON with its `ETag`, an [`Error`] as a problem. Return it bare: wrapped in axum's
//! `Json` it has no `ETag`. For another status return a tuple, as a creation does: `(StatusCode::CREATED, created)`.
//!
//! Take [`Required`] where a write may not be blind: [`Preconditions`] without a header admit whatever is there.
//!
//! Depends on `axum-core` and `http` only. `HEAD` needs nothing: axum answers it from the `GET` handler.
//!
//! ```
//! use axum::extract::{Path, State};
//! use axum::routing::{Router, get};
//! use axum_core::response::Response;
//! use ifmatch::http::Preconditions;
//! use ifmatch::web::axum::Required;
//! use ifmatch::{Collection, Error, Versioned};
//! use ifmatch::store::Intent;
//!
//! type Notes = Collection<String>;
//!
//! async fn read(State(notes): State<Notes>, Path(id): Path<String>, known: Preconditions) -> Result<Response, Error> {
//!     known.respond(&id, notes.fetch(&id).await?)
//! }
//!
//! async fn replace(
//!     State(notes): State<Notes>,
//!     Path(id): Path<String>,
//!     Required(preconditions): Required,
//!     text: String,
//! ) -> Result<Versioned<String>, Error> {
//!     let condition = preconditions.condition(Intent::Put, &id, || notes.get(&id)).await?;
//!     notes.replace(&id, condition, text).await
//! }
//!
//! let app: Router = Router::new().route("/notes/{id}", get(read).put(replace)).with_state(Notes::in_memory());
//! ```

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, ETAG};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::http::{EntityTag, Freshness, Preconditions, Problem};
use crate::store::{Error, Resource, Version, Versioned};

/// The preconditions of a request that has to say which state it is based on, with `If-Match` or `If-None-Match: *`.
///
/// Answers 428 where the request does not, and 400 where a header is malformed.
///
/// ```
/// use ifmatch::web::axum::Required;
///
/// async fn replace(Required(preconditions): Required) { /* … */ }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required(pub Preconditions);

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::from_headers(&parts.headers)?)
    }
}

impl<S: Sync> FromRequestParts<S> for Required {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let preconditions = Preconditions::from_request_parts(parts, state).await?;
        Ok(Self(preconditions.required()?))
    }
}

impl Preconditions {
    /// The answer to a read of `id`: `current` as JSON with its `ETag`, or 304 with the `ETag` and no body where the
    /// caller has it already.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) (412) where `If-Match` does not hold.
    ///
    /// ```
    /// use ifmatch::Versioned;
    /// use ifmatch::http::Preconditions;
    ///
    /// let known = Preconditions::from_headers([("If-None-Match", "\"7\"")])?;
    /// let response = known.respond("a1", Versioned::<String>::new("7".parse()?, "text".to_string()))?;
    ///
    /// assert_eq!(response.status(), 304);
    /// assert_eq!(response.headers()["etag"], "\"7\"");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn respond<T: Resource + Serialize + ?Sized>(
        &self,
        id: &str,
        current: Versioned<T>,
    ) -> Result<Response, Error> {
        match self.freshness(id, &current)? {
            Freshness::Send => Ok(current.into_response()),
            Freshness::NotModified => {
                Ok((StatusCode::NOT_MODIFIED, [(ETAG, header_value(current.version))]).into_response())
            }
        }
    }
}

/// 200, the value as JSON, its version as `ETag`. For another status, answer a tuple: `(StatusCode::CREATED, value)`.
impl<T: Serialize + ?Sized> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&*self.value) {
            Ok(body) => {
                let headers = [
                    (CONTENT_TYPE, HeaderValue::from_static("application/json")),
                    (ETAG, header_value(self.version)),
                ];
                (headers, Body::from(body)).into_response()
            }
            Err(_) => {
                Problem::of(500, "not-encodable", "the value cannot be written as JSON").into_response()
            }
        }
    }
}

/// The problem by the default table of [`http`](crate::http), with the error itself as a [`Cause`](crate::http::Cause) in
/// the extensions of the response.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::new(self).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A program may have asked for any number.
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem is made of text and of JSON values");
        let mut response = (status, Body::from(body)).into_response();
        for (name, value) in self.headers() {
            let value = HeaderValue::try_from(value).expect("these headers are printable ASCII");
            response.headers_mut().insert(name, value);
        }
        if let Some(cause) = self.cause() {
            response.extensions_mut().insert(cause.clone());
        }
        response
    }
}

fn header_value(version: Version) -> HeaderValue {
    HeaderValue::try_from(EntityTag::from(version).to_string()).expect("digits in quotes are printable ASCII")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{HeaderName, Request};

    use super::*;
    use crate::store::{Conflict, Failure, NotFound, Outcome, block_on};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn parts(headers: &[(&str, &[u8])]) -> Parts {
        let mut parts = Request::new(()).into_parts().0;
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            parts.headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        parts
    }

    fn given(headers: &[(&str, &[u8])]) -> Result<Preconditions, Problem> {
        block_on(Preconditions::from_request_parts(&mut parts(headers), &()))
    }

    fn required(headers: &[(&str, &[u8])]) -> Result<Required, Problem> {
        block_on(Required::from_request_parts(&mut parts(headers), &()))
    }

    /// The status, the headers and the body of a response.
    fn whole(response: impl IntoResponse) -> (u16, BTreeMap<String, String>, String) {
        let (parts, body) = response.into_response().into_parts();
        let body = block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (parts.status.as_u16(), headers.collect(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn what_is_required_answers_428_and_what_is_malformed_400() {
        assert_eq!(given(&[]).unwrap(), Preconditions::none());
        assert_eq!(required(&[]).unwrap_err().status(), 428);
        for headers in [[("if-match", &b"7"[..])], [("if-none-match", b"\xff")], [("if-match", b"")]] {
            assert_eq!(given(&headers).unwrap_err().status(), 400);
            assert_eq!(required(&headers).unwrap_err().status(), 400);
        }
        assert!(required(&[("if-none-match", b"*")]).is_ok());
    }

    #[test]
    fn several_lines_and_bytes_past_ascii_are_all_read() {
        let lines = [("if-match", &b"\"\xff\""[..]), ("if-match", b"\"7\"")];

        let Required(preconditions) = required(&lines).unwrap();

        let current = Versioned::<str>::new(version("7"), "text");
        assert_eq!(preconditions.freshness("a", &current).unwrap(), Freshness::Send);
        let star = [("if-match", &b"\"7\""[..]), ("if-match", b"*")];
        assert_eq!(given(&star).unwrap_err().status(), 400);
    }

    #[test]
    fn a_value_is_json_with_its_tag() {
        let value = Versioned::<Vec<&str>>::new(version("7"), vec!["text"]);

        let (status, headers, body) = whole((StatusCode::CREATED, value));

        assert_eq!((status, &*body), (201, r#"["text"]"#));
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["etag"], "\"7\"");
    }

    #[test]
    fn a_value_that_is_no_json_is_a_problem_without_it() {
        let value: Versioned<BTreeMap<_, _>> =
            Versioned::new(version("7"), BTreeMap::from([((1, 2), "s3cr3t")]));

        let (status, headers, body) = whole(value);

        assert_eq!((status, headers.contains_key("etag")), (500, false));
        assert!(body.contains("not-encodable") && !body.contains("s3cr3t"), "{body}");
    }

    #[test]
    fn what_the_caller_has_is_not_sent_again() {
        let value = || Versioned::<String>::new(version("7"), "text".to_owned());
        let respond = |tag: &[u8]| given(&[("if-none-match", tag)]).unwrap().respond("a", value()).unwrap();

        let (status, headers, body) = whole(respond(b"W/\"7\""));
        assert_eq!((status, &*body), (304, ""));
        assert_eq!(headers, BTreeMap::from([("etag".to_owned(), "\"7\"".to_owned())]));
        assert_eq!(whole(respond(b"\"6\"")).0, 200);
    }

    #[test]
    fn an_error_is_its_problem() {
        let current = Versioned::<String>::new(version("7"), "s3cr3t".to_owned());
        let conflict =
            Error::from(Conflict::state("a\r\nb", "archived", "it is archived").with_current(&current));

        let (status, headers, body) = whole(conflict);

        assert_eq!(status, 409);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!((&*headers["cache-control"], &*headers["etag"]), ("no-store", "\"7\""));
        assert!(body.contains(r#""reason":"state""#) && !body.contains("s3cr3t"), "{body}");

        let failed = Error::from(Failure::new(Outcome::NotApplied, "s3cr3t"));
        let (status, headers, body) = whole(failed);
        assert_eq!((status, &*headers["retry-after"], body.contains("s3cr3t")), (503, "1", false));
    }

    #[test]
    fn a_layer_in_front_finds_the_error_with_its_typed_value() {
        use crate::http::Cause;

        let current = Versioned::<String>::new(version("7"), "text".to_owned());
        let conflict = || Conflict::state("a", "archived", "it is archived").with_current(&current);
        let error = Error::from(conflict());

        for response in [error.into_response(), Problem::from(conflict()).into_response()] {
            let cause: &Cause = response.extensions().get().unwrap();
            assert_eq!(cause.error().conflict().unwrap().current::<String>().unwrap(), current);
        }
        let own = Problem::of(415, "not-json", "send JSON").into_response();
        assert!(own.extensions().get::<Cause>().is_none());
    }

    #[test]
    fn a_status_that_is_none_becomes_500() {
        let missing = Problem::new(NotFound::new("a"));

        assert_eq!(whole(missing.clone().with_status(410)).0, 410);
        assert_eq!(whole(missing.with_status(7)).0, 500);
    }
}
