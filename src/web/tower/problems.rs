//! [`Problems`], a body for refusals that have none of ours.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::web::response;
#[cfg(feature = "tonic")]
use crate::web::tower::protocol::Grpc;
use crate::web::tower::protocol::{Http, Protocol};

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
pub struct Problems<P = Http>(PhantomData<P>);

impl Problems {
    /// The layer.
    pub fn new() -> Self {
        Self(PhantomData)
    }

    /// The same in front of a service of gRPC: the refusal is a status, `ABORTED` for 409, `FAILED_PRECONDITION` for 412 and 423,
    /// `INVALID_ARGUMENT` for 428, with the headers as its metadata. Without it a client hears `UNKNOWN`. Feature `tonic`.
    ///
    /// ```
    /// use ifmatch::web::tower::Problems;
    ///
    /// // For `layer` of tonic's `Server`.
    /// let problems = Problems::new().grpc();
    /// ```
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(self) -> Problems<Grpc> {
        Problems(PhantomData)
    }
}

impl<S, P> Layer<S> for Problems<P> {
    type Service = WithProblems<S, P>;

    fn layer(&self, inner: S) -> WithProblems<S, P> {
        WithProblems { inner, protocol: PhantomData }
    }
}

/// A service behind [`Problems`].
#[derive(Debug, Clone)]
pub struct WithProblems<S, P = Http> {
    inner: S,
    protocol: PhantomData<P>,
}

impl<S, R, B, P> Service<Request<R>> for WithProblems<S, P>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    P: Protocol<B>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let answer = self.inner.call(request);
        Box::pin(async move { answer.await.map(with_problem::<B, P>) })
    }
}

fn with_problem<B, P: Protocol<B>>(answer: Response<B>) -> Response<B> {
    match matches!(answer.status().as_u16(), 409 | 412 | 423 | 428) && response::is_bare(&answer) {
        true => P::instead_of(answer),
        false => answer,
    }
}
