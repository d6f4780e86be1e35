//! [`Problems`], a body for refusals that have none of ours.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::web::response;

/// A layer that gives a bare 409, 412, 423 or 428 of another layer, or of a handler, the body of a problem (RFC 9457).
///
/// What is a problem already stays as it is, and so does any other body that says its type, but for plain text. All headers stay
/// but those that describe the body.
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

fn with_problem<B: From<Vec<u8>>>(answer: Response<B>) -> Response<B> {
    match matches!(answer.status().as_u16(), 409 | 412 | 423 | 428) && response::is_bare(&answer) {
        true => response::instead_of(answer).map(|body| B::from(body.into())),
        false => answer,
    }
}
