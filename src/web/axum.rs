//! axum: preconditions as extractors; answers, versioned values, errors and problems as responses.
//!
//! [`Preconditions`] as an argument of a handler are those of the request, or none; [`Required`] ones say that the request
//! must tell which state it is based on. Neither answers by itself: the call that they are handed to does, as
//! [`put_if`](crate::Collection::put_if), with 400, 412 or 428 where it has to. So what goes first can: a route, a method, a
//! body of another type.
//!
//! An [`Answer`] becomes the response of its verb, a [`Versioned`] value JSON with its `ETag`, an [`Error`] a problem. Return
//! them bare: wrapped in axum's `Json` they have no `ETag`. For another status return a tuple: `(StatusCode::ACCEPTED, note)`.
//!
//! [`problems`] makes problems of what axum answers by itself: 404 without a route, 405, a body or a path that it can't read.
//!
//! Depends on `axum-core` and `http` only. `HEAD` needs nothing: axum answers it from the `GET` handler.
//!
//! ```
//! use axum::extract::{Json, Path, State};
//! use axum::middleware::map_response;
//! use axum::routing::{Router, get};
//! use ifmatch::http::{Answer, Preconditions, Required};
//! use ifmatch::web::axum::problems;
//! use ifmatch::{Collection, Error};
//!
//! type Notes = State<Collection<String>>;
//! type Answered = Result<Answer<String>, Error>;
//!
//! async fn read(notes: Notes, id: Path<String>, known: Preconditions) -> Answered {
//!     notes.get_if(&id, &known).await
//! }
//!
//! async fn replace(notes: Notes, id: Path<String>, basis: Required, Json(text): Json<String>) -> Answered {
//!     notes.put_if(&id, &basis, text).await
//! }
//!
//! async fn delete(notes: Notes, id: Path<String>, basis: Required) -> Answered {
//!     notes.delete_if(&id, &basis).await
//! }
//!
//! let notes = Collection::<String>::in_memory();
//! let route = get(read).put(replace).delete(delete);
//! let app: Router = Router::new().route("/notes/{id}", route).layer(map_response(problems)).with_state(notes);
//! ```
//!
//! [`Terms`] in the extensions of a request hold for all handlers behind:
//!
//! ```
//! use axum::Extension;
//! use axum::routing::Router;
//! use ifmatch::http::Terms;
//!
//! let app: Router = Router::new() /* routes */ .layer(Extension(Terms::new().required().lenient()));
//! ```

use std::convert::Infallible;

use axum_core::body::Body;
use axum_core::extract::FromRequestParts;
#[cfg(feature = "patch")]
use axum_core::extract::{FromRequest, Request};
use axum_core::response::{IntoResponse, Response};
#[cfg(feature = "patch")]
use bytes::Bytes;
use http::HeaderValue;
#[cfg(feature = "patch")]
use http::header::CONTENT_TYPE;
use http::header::ETAG;
use http::request::Parts;
use serde::Serialize;

#[cfg(feature = "patch")]
use crate::http::Patch;
use crate::http::{Answer, EntityTag, Preconditions, Problem, Required, Terms};
use crate::store::{Error, Version, Versioned};
use crate::web::response::{self, Unsent};

/// On the [`Terms`] in the extensions of the request, where there are any.
impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::from_headers(&parts.headers).under(terms(parts)))
    }
}

/// On the [`Terms`] in the extensions of the request, where there are any, and required whatever they say.
impl<S: Sync> FromRequestParts<S> for Required {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(Preconditions::from_headers(&parts.headers).under(terms(parts))))
    }
}

fn terms(parts: &Parts) -> Terms {
    parts.extensions.get().copied().unwrap_or_default()
}

/// The body of a `PATCH` by its `Content-Type`, within the body limit of the router.
///
/// ```
/// use axum::extract::{Path, State};
/// use ifmatch::http::{Answer, Patch, Required};
/// use ifmatch::{Collection, Error};
///
/// type Notes = State<Collection<String>>;
///
/// async fn change(notes: Notes, id: Path<String>, basis: Required, patch: Patch) -> Result<Answer<String>, Error> {
///     notes.apply_if(&id, &basis, &patch).await
/// }
/// ```
#[cfg(feature = "patch")]
#[cfg_attr(docsrs, doc(cfg(feature = "patch")))]
impl<S: Send + Sync> FromRequest<S> for Patch {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        // Another type goes first, whatever its body is.
        Self::takes(kind.as_deref())?;
        let body = Bytes::from_request(request, state).await;
        let body =
            body.map_err(|rejection| Problem::of_status(rejection.into_response().status().as_u16()))?;
        Self::parse(kind.as_deref(), &body)
    }
}

/// The status, the headers and, where it is to be sent, the value as JSON.
impl<T: Serialize + ?Sized> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match response::of_answer(&self) {
            Ok(response) => response.map(|body| body.map_or_else(|| Body::new(Unsent), Body::from)),
            Err(problem) => problem.into_response(),
        }
    }
}

/// 200, the value as JSON, its version as `ETag`. For another status, answer a tuple: `(StatusCode::ACCEPTED, value)`.
impl<T: Serialize + ?Sized> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        match response::of_value(&*self.value) {
            Ok(mut response) => {
                response.headers_mut().insert(ETAG, header_value(self.version));
                response.map(Body::from)
            }
            Err(problem) => problem.into_response(),
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
        response::of_problem(&self).map(Body::from)
    }
}

/// A problem of what axum answers by itself: 404 without a route, 405, a path, a query or a body that it can't read. Its
/// text is left out, as that may quote the request; all headers stay but those that describe the body. Other responses pass as they
/// are, errors with a body that is no plain text among them.
///
/// For axum's `middleware::map_response`, over the whole router.
///
/// ```
/// use axum::middleware::map_response;
/// use axum::routing::{Router, get};
/// use ifmatch::web::axum::problems;
///
/// let app: Router = Router::new().route("/", get(|| async { "hello" })).layer(map_response(problems));
/// ```
pub async fn problems(response: Response) -> Response {
    let status = response.status();
    match response::is_bare(&response) && (status.is_client_error() || status.is_server_error()) {
        true => response::instead_of(response).map(Body::from),
        false => response,
    }
}

fn header_value(version: Version) -> HeaderValue {
    HeaderValue::try_from(EntityTag::from(version).to_string()).expect("digits in quotes are printable ASCII")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{HeaderName, Request, StatusCode};

    use super::*;
    use crate::store::{Conflict, Failure, Intent, Outcome, block_on};

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

    fn given(headers: &[(&str, &[u8])]) -> Preconditions {
        let Ok(given) = block_on(Preconditions::from_request_parts(&mut parts(headers), &()));
        given
    }

    fn required(headers: &[(&str, &[u8])]) -> Required {
        let Ok(required) = block_on(Required::from_request_parts(&mut parts(headers), &()));
        required
    }

    fn refused(request: &Preconditions) -> u16 {
        let current = Versioned::<str>::new(version("7"), "text");
        crate::http::status(&request.admit("a", Intent::Put, Some(&current)).unwrap_err())
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
    fn what_is_required_or_malformed_is_refused_by_the_call_it_is_handed_to() {
        assert_eq!(given(&[]), Preconditions::none());
        assert_eq!(refused(&required(&[])), 428);
        for headers in [[("if-match", &b"7"[..])], [("if-none-match", b"\xff")], [("if-match", b"")]] {
            assert_eq!(refused(&given(&headers)), 400);
            assert_eq!(refused(&required(&headers)), 400);
        }
        assert_eq!(refused(&required(&[("if-none-match", b"*")])), 412);
    }

    #[test]
    fn several_lines_and_bytes_past_ascii_are_all_read() {
        let lines = [("if-match", &b"\"\xff\""[..]), ("if-match", b"\"7\"")];
        let current = Versioned::<str>::new(version("7"), "text");

        assert!(required(&lines).admit("a", Intent::Put, Some(&current)).is_ok());

        let star = [("if-match", &b"\"7\""[..]), ("if-match", b"*")];
        assert_eq!(refused(&given(&star)), 400);
    }

    #[test]
    fn the_terms_in_the_extensions_hold_for_every_extractor() {
        let weak = || {
            let mut parts = parts(&[("if-match", b"W/\"7\"")]);
            parts.extensions.insert(Terms::new().lenient());
            parts
        };
        let current = Versioned::<str>::new(version("7"), "text");

        let Ok(given) = block_on(Preconditions::from_request_parts(&mut weak(), &()));
        let Ok(required) = block_on(Required::from_request_parts(&mut weak(), &()));

        for request in [&given, &*required] {
            assert!(request.admit("a", Intent::Put, Some(&current)).is_ok());
        }
        let mut blind = parts(&[]);
        blind.extensions.insert(Terms::new().required());
        let Ok(blind) = block_on(Preconditions::from_request_parts(&mut blind, &()));
        assert_eq!(refused(&blind), 428);
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
        let respond = |tag: &[u8]| given(&[("if-none-match", tag)]).respond("a", value()).unwrap();

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
    fn each_answer_is_the_response_of_its_verb() {
        use crate::Collection;

        let notes = Collection::<String>::in_memory();
        let none = Preconditions::none();

        let created = notes.put_if("a b", &none, "text".to_owned()).wait().unwrap().at("/notes");
        let tag = format!("\"{}\"", created.now().unwrap().version);
        let (status, headers, body) = whole(created);
        assert_eq!((status, &*body, &*headers["location"]), (201, r#""text""#, "/notes/a%20b"));
        assert_eq!((&*headers["etag"], &*headers["content-type"]), (&*tag, "application/json"));

        let (status, headers, body) = whole(notes.delete_if("a b", &none).wait().unwrap());
        assert_eq!((status, headers.len(), &*body), (204, 0, ""));
        assert_eq!(whole(notes.get_if("a b", &none).wait()).0, 410);
    }

    #[test]
    fn what_axum_answers_by_itself_becomes_a_problem_and_nothing_else_does() {
        let plain = |status: u16, text: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("allow", "GET"), ("content-type", "text/plain; charset=utf-8")], text).into_response()
        };

        for (status, reason) in
            [(404, "no-route"), (405, "method-not-allowed"), (415, "unsupported-media-type")]
        {
            let (code, headers, body) = whole(block_on(problems(plain(status, "s3cr3t"))));
            assert_eq!((code, &*headers["content-type"]), (status, "application/problem+json"));
            assert_eq!((&*headers["allow"], &*headers["cache-control"]), ("GET", "no-store"));
            assert!(body.contains(&format!("\"reason\":\"{reason}\"")) && !body.contains("s3cr3t"), "{body}");
        }
        assert_eq!(whole(block_on(problems(plain(200, "text")))).2, "text");
        let own = (StatusCode::CONFLICT, [("content-type", "application/json")], "{}").into_response();
        assert_eq!(whole(block_on(problems(own))).2, "{}");
        let ours = Problem::of(409, "mine", "mine").into_response();
        assert!(whole(block_on(problems(ours))).2.contains("mine"));
        // The cause goes on with the problem.
        let kept = block_on(problems(Error::from(Conflict::state("a", "no", "no")).into_response()));
        assert!(kept.extensions().get::<crate::http::Cause>().is_some());
    }
}
