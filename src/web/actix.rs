//! actix-web: preconditions as extractors; answers, versioned values, errors and problems as responses.
//!
//! [`Preconditions`] as an argument of a handler are those of the request, or none; [`Required`] ones say that the request
//! must tell which state it is based on. Neither answers by itself: the call that they are handed to does, with 400, 412 or
//! 428 where it has to. So what goes first can: a route, a method, a body of another type.
//!
//! An [`Answer`] becomes the response of its verb, a [`Versioned`] value JSON with its `ETag`, an [`Error`] a problem. For
//! another status write `versioned.customize().with_status(StatusCode::ACCEPTED)`.
//!
//! [`Terms`] in the application's data hold for the handlers of that application, scope or resource:
//! `App::new().app_data(Terms::new().required())`.
//!
//! [`problems`] makes problems of what actix-web answers by itself. A middleware finds the error that a response was made of
//! as a [`Cause`] in its extensions.
//!
//! `HEAD` needs a route of its own: `web::head().to(read)`.
//!
//! ```
//! use actix_web::middleware::from_fn;
//! use actix_web::web::{self, Data, Json, Path};
//! use actix_web::App;
//! use ifmatch::http::{Answer, Preconditions, Required};
//! use ifmatch::web::actix::problems;
//! use ifmatch::{Collection, Error};
//!
//! type Notes = Data<Collection<String>>;
//! type Answered = Result<Answer<String>, Error>;
//!
//! async fn read(notes: Notes, id: Path<String>, known: Preconditions) -> Answered {
//!     notes.get_if(&id, &known).await
//! }
//!
//! async fn replace(notes: Notes, id: Path<String>, basis: Required, text: Json<String>) -> Answered {
//!     notes.put_if(&id, &basis, text.into_inner()).await
//! }
//!
//! async fn delete(notes: Notes, id: Path<String>, basis: Required) -> Answered {
//!     notes.delete_if(&id, &basis).await
//! }
//!
//! let notes = Data::new(Collection::<String>::in_memory());
//! let note = web::resource("/notes/{id}")
//!     .route(web::get().to(read))
//!     .route(web::head().to(read))
//!     .route(web::put().to(replace))
//!     .route(web::delete().to(delete));
//! let app = App::new().app_data(notes).service(note).wrap(from_fn(problems));
//! ```

use std::convert::Infallible;
use std::future::{Ready, ready};
#[cfg(feature = "patch")]
use std::pin::Pin;

use actix_web::body::{BoxBody, MessageBody, None as NoBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{
    ALLOW, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder, ResponseError};
use bytes::Bytes;
use http::Response;
use serde::Serialize;

#[cfg(feature = "patch")]
use crate::http::Patch;
use crate::http::{Answer, Cause, EntityTag, Preconditions, Problem, Remark, Required, Terms};
use crate::store::{Error, Versioned};
use crate::web::response;

/// On the [`Terms`] in the application's data, where there are any.
impl FromRequest for Preconditions {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let terms = request.app_data::<Terms>().copied().unwrap_or_default();
        ready(Ok(Self::from_headers(request.headers()).under(terms)))
    }
}

/// On the [`Terms`] in the application's data, where there are any, and required whatever they say.
impl FromRequest for Required {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let Ok(given) = Preconditions::from_request(request, payload).into_inner();
        ready(Ok(Self::of(given)))
    }
}

/// The body of a `PATCH` by its `Content-Type`, within the limit of the application's `PayloadConfig`.
///
/// ```
/// use actix_web::web::{Data, Path};
/// use ifmatch::http::{Answer, Patch, Required};
/// use ifmatch::{Collection, Error};
///
/// type Notes = Data<Collection<String>>;
///
/// async fn change(notes: Notes, id: Path<String>, basis: Required, patch: Patch) -> Result<Answer<String>, Error> {
///     notes.apply_if(&id, &basis, &patch).await
/// }
/// ```
#[cfg(feature = "patch")]
#[cfg_attr(docsrs, doc(cfg(feature = "patch")))]
impl FromRequest for Patch {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        // Another type goes first, whatever its body is.
        if let Err(problem) = Self::takes(kind.as_deref()) {
            return Box::pin(ready(Err(problem)));
        }
        let body = Bytes::from_request(request, payload);
        Box::pin(async move {
            let refused = |error: actix_web::Error| error.as_response_error().status_code().as_u16();
            let body = body.await.map_err(|error| Problem::of_status(refused(error)))?;
            Self::parse(kind.as_deref(), &body)
        })
    }
}

/// The status, the headers and, where it is to be sent, the value as JSON.
impl<T: Serialize + ?Sized> Responder for Answer<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        match response::of_answer(&self) {
            Ok(response) => sent(response),
            Err(problem) => problem.error_response(),
        }
    }
}

/// 200, the value as JSON, its version as `ETag`.
impl<T: Serialize + ?Sized> Responder for Versioned<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        match response::of_value(&*self.value) {
            Ok(response) => {
                let mut response = sent(response.map(Some));
                let tag = EntityTag::from(self.version).to_string();
                let tag = HeaderValue::try_from(tag).expect("digits in quotes are printable ASCII");
                response.headers_mut().insert(ETAG, tag);
                response
            }
            Err(problem) => problem.error_response(),
        }
    }
}

/// The problem, with the error it was made of as a [`Cause`] in the extensions of the response.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status(self.status())
    }

    fn error_response(&self) -> HttpResponse {
        sent(response::of_problem(self).map(Some))
    }
}

/// The same, for what a handler returns or another responder holds.
impl Responder for Problem {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::from_error(self)
    }
}

/// The problem by the default table of [`http`](crate::http). It is no `ResponseError` itself: a response that is made of a
/// borrowed error could not take it along.
impl From<Error> for actix_web::Error {
    fn from(error: Error) -> Self {
        Problem::new(error).into()
    }
}

/// A problem of what actix-web answers by itself: 404 without a route, 405, a path, a query or a body that it can't read.
/// Its text is left out, as that may quote the request; the status and headers like `Allow` stay. Other responses pass as
/// they are, errors with a body that is no plain text among them.
///
/// For actix-web's `middleware::from_fn`, over the whole application.
///
/// ```
/// use actix_web::middleware::from_fn;
/// use actix_web::{App, web};
/// use ifmatch::web::actix::problems;
///
/// let app = App::new().route("/", web::get().to(|| async { "hello" })).wrap(from_fn(problems));
/// ```
///
/// # Errors
///
/// Those of what it is in front of, where that has no response.
pub async fn problems<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let mut answered = next.call(request).await?;
    let (status, headers) = (answered.status(), answered.headers());
    let plain = headers.get(CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return Ok(answered.map_into_boxed_body());
    }
    let mut problem = Problem::of_status(status.as_u16()).error_response();
    keep(headers, problem.headers_mut());
    std::mem::swap(&mut *problem.extensions_mut(), &mut *answered.response_mut().extensions_mut());
    Ok(answered.into_response(problem))
}

fn keep(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [ALLOW, RETRY_AFTER, WWW_AUTHENTICATE] {
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
    }
}

/// The same response in the types of actix-web, which are those of `http` 0.2.
fn sent(response: Response<Option<Bytes>>) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let response = HttpResponse::new(status(parts.status.as_u16()));
    let mut response = match body {
        Some(body) => response.set_body(body).map_into_boxed_body(),
        // No length: in a 304 it would be that of the value (RFC 9110 §8.6).
        None => response.set_body(NoBody::new()).map_into_boxed_body(),
    };
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).expect("it is a name in `http` too");
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("it is a value in `http` too");
        response.headers_mut().append(name, value);
    }
    if let Some(cause) = parts.extensions.get::<Cause>() {
        response.extensions_mut().insert(cause.clone());
    }
    if let Some(remark) = parts.extensions.get::<Remark>() {
        response.extensions_mut().insert(*remark);
    }
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("answers and problems have good statuses")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use actix_web::body::to_bytes;
    use actix_web::test::TestRequest;

    use super::*;
    use crate::Collection;
    use crate::store::{Conflict, Intent, Version, block_on};

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn given<P: FromRequest<Error = Infallible>>(request: TestRequest) -> P {
        let Ok(given) = block_on(P::extract(&request.to_http_request()));
        given
    }

    fn refused(request: &Preconditions) -> u16 {
        let current = Versioned::<str>::new(version("7"), "text");
        crate::http::status(&request.admit("a", Intent::Put, Some(&current)).unwrap_err())
    }

    /// The status, the headers and the body of a response.
    fn whole(response: impl Responder) -> (u16, BTreeMap<String, String>, String) {
        let response = response.respond_to(&TestRequest::default().to_http_request());
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let headers = headers.collect();
        let body = block_on(to_bytes(response.map_into_boxed_body().into_body())).unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn what_is_required_or_malformed_is_refused_by_the_call_it_is_handed_to() {
        let with = |value: &'static str| TestRequest::default().insert_header(("if-match", value));

        assert_eq!(given::<Preconditions>(TestRequest::default()), Preconditions::none());
        assert_eq!(refused(&given::<Required>(TestRequest::default())), 428);
        assert_eq!(refused(&given::<Preconditions>(with("7"))), 400);
        assert_eq!(refused(&given::<Required>(with("7"))), 400);
        let both = || with("\"6\"").append_header(("if-match", "*"));
        assert_eq!(refused(&given::<Preconditions>(both())), 400);
    }

    #[test]
    fn the_terms_in_the_data_of_the_application_hold_for_every_extractor() {
        let weak = || {
            let request = TestRequest::default().insert_header(("if-match", "W/\"7\""));
            request.app_data(Terms::new().lenient())
        };
        let current = Versioned::<str>::new(version("7"), "text");

        for request in [&given::<Preconditions>(weak()), &*given::<Required>(weak())] {
            assert!(request.admit("a", Intent::Put, Some(&current)).is_ok());
        }
        let blind = TestRequest::default().app_data(Terms::new().required());
        assert_eq!(refused(&given::<Preconditions>(blind)), 428);
    }

    #[test]
    fn each_answer_is_the_response_of_its_verb() {
        let notes = Collection::<String>::in_memory();
        let none = Preconditions::none();

        let created = notes.put_if("a b", &none, "text".to_owned()).wait().unwrap().at("/notes");
        let tag = format!("\"{}\"", created.now().unwrap().version);
        let (status, headers, body) = whole(created);
        assert_eq!((status, &*body, &*headers["location"]), (201, r#""text""#, "/notes/a%20b"));
        assert_eq!((&*headers["etag"], &*headers["content-type"]), (&*tag, "application/json"));
        let (status, headers, body) = whole(notes.delete_if("a b", &none).wait());
        assert_eq!((status, headers.len(), &*body), (204, 0, ""));
        assert_eq!(whole(notes.get_if("a b", &none).wait()).0, 410);
    }

    #[test]
    fn a_value_is_json_with_its_tag_and_what_is_none_a_problem_without_it() {
        let value = Versioned::<Vec<&str>>::new(version("7"), vec!["text"]);
        let (status, headers, body) = whole(value);
        assert_eq!((status, &*body, &*headers["etag"]), (200, r#"["text"]"#, "\"7\""));

        let odd: Versioned<BTreeMap<_, _>> =
            Versioned::new(version("7"), BTreeMap::from([((1, 2), "s3cr3t")]));
        let (status, headers, body) = whole(odd);
        assert_eq!((status, headers.contains_key("etag")), (500, false));
        assert!(body.contains("not-encodable") && !body.contains("s3cr3t"), "{body}");
    }

    #[test]
    fn an_error_is_its_problem_and_a_middleware_finds_it_with_its_typed_value() {
        let current = Versioned::<String>::new(version("7"), "s3cr3t".to_owned());
        let conflict = || Conflict::state("a", "archived", "it is archived").with_current(&current);

        let (status, headers, body) = whole(Problem::from(conflict()));
        assert_eq!((status, &*headers["content-type"]), (409, "application/problem+json"));
        assert_eq!((&*headers["cache-control"], &*headers["etag"]), ("no-store", "\"7\""));
        assert!(body.contains(r#""reason":"state""#) && !body.contains("s3cr3t"), "{body}");

        let error = actix_web::Error::from(Error::from(conflict()));
        let response = HttpResponse::from_error(error);
        let extensions = response.extensions();
        let cause: &Cause = extensions.get().unwrap();
        assert_eq!(cause.error().conflict().unwrap().current::<String>().unwrap(), current);
    }

    #[cfg(feature = "patch")]
    #[test]
    fn a_patch_is_read_by_its_type_and_within_the_limit() {
        use actix_web::web::PayloadConfig;

        let read = |kind: &'static str, body: &'static str| {
            let request = TestRequest::default().insert_header(("content-type", kind)).set_payload(body);
            let (request, mut payload) = request.app_data(PayloadConfig::new(64)).to_http_parts();
            let patch = block_on(Patch::from_request(&request, &mut payload));
            patch.map(|_| ()).map_err(|problem| problem.status())
        };

        assert_eq!(read("application/merge-patch+json", r#"{"a":1}"#), Ok(()));
        assert_eq!(read("application/json", r#"{"a":1}"#), Err(415));
        assert_eq!(read("application/merge-patch+json", "{"), Err(400));
        let long = Box::leak(format!("\"{}\"", "x".repeat(64)).into_boxed_str());
        assert_eq!(read("application/merge-patch+json", long), Err(413));
    }
}
