//! [`Problems`], a body for refusals that have none of ours.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{ALLOW, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::http::{PROBLEM_JSON, Problem};
use crate::web::response;

/// A layer that gives a bare 409, 412, 423 or 428 of another layer, or of a handler, the body of a problem (RFC 9457).
///
/// What is a problem already stays as it is, and so does any other body that says its type, but for plain text. Headers that a
/// client acts on stay: `ETag`, `Retry-After`, `Allow`, `WWW-Authenticate`.
///
/// ```
/// use axum::Router;
/// use axum::http::StatusCode;
/// use axum::routing::put;
/// use ifmatch::web::tower::Problems;
///
/// let app: Router = Router::new().route("/", put(|| async { StatusCode::CONFLICT })).layer(Problems::new());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Problems(());

impl Problems {
    /// The layer.
    pub fn new() -> Self {
        Self(())
    }
}

impl<S> Layer<S> for Problems {
    type Service = WithProblems<S>;

    fn layer(&self, inner: S) -> WithProblems<S> {
        WithProblems { inner }
    }
}

/// A service behind [`Problems`].
#[derive(Debug, Clone)]
pub struct WithProblems<S> {
    inner: S,
}

impl<S, R, B> Service<Request<R>> for WithProblems<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: From<Vec<u8>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map(with_problem) })
    }
}

fn with_problem<B: From<Vec<u8>>>(bare: Response<B>) -> Response<B> {
    let status = bare.status().as_u16();
    if !matches!(status, 409 | 412 | 423 | 428) || says_more(bare.headers()) {
        return bare;
    }
    let (head, _) = bare.into_parts();
    let mut response = response::of_problem(&Problem::of_status(status)).map(|body| B::from(body.into()));
    // What is known of the refusal goes on to the layers in front.
    *response.extensions_mut() = head.extensions;
    for name in [ALLOW, ETAG, RETRY_AFTER, WWW_AUTHENTICATE] {
        for value in head.headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

/// Whether there is a body that says something to a program.
fn says_more(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| kind.starts_with(PROBLEM_JSON.as_bytes()) || !kind.starts_with(b"text/plain"))
}
