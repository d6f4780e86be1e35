//! axum: preconditions as extractors; versioned values, errors and problems as responses.
//!
//! [`Preconditions`] as an argument of a handler are those of the request, or none; [`Required`] ones answer 428 where
//! the request does not say which state it is based on. Both answer 400 where a header is malformed. A
//! [`Versioned<T>`](crate::Versioned) is answered as JSON with its `ETag`, an [`Error`](crate::Error) as a problem.
//!
//! Depends on `axum-core` and `http` only. `HEAD` needs nothing: axum answers it from the `GET` handler.
//!
//! ```
//! use axum::extract::{Path, State};
//! use axum::routing::{Router, get};
//! use axum_core::response::Response;
//! use ifmatch::http::Preconditions;
//! use ifmatch::web::axum::Required;
//! use ifmatch::{Collection, Error, Intent, Versioned};
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
//!     let expectation = preconditions.expectation(Intent::Put, &id, || notes.get(&id)).await?;
//!     notes.replace(&id, expectation, text).await
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

use crate::error::Error;
use crate::http::{EntityTag, Freshness, Preconditions, Problem};
use crate::resource::Resource;
use crate::version::{Version, Versioned};

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
    /// let response = known.respond("a1", Versioned::new("7".parse()?, "text".to_string()))?;
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

/// The problem by the default table of [`http`](crate::http).
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        Problem::new(&self).into_response()
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
        response
    }
}

fn header_value(version: Version) -> HeaderValue {
    HeaderValue::try_from(EntityTag::from(version).to_string()).expect("digits in quotes are printable ASCII")
}
