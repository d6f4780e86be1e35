//! [`Monitor`], which tells how each request ended.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::http::{Exchange, Outcome, Preconditions};
use crate::web::response;

/// A layer that shows how each request ended to one hook, as an [`Exchange`]: by the error in the response's extensions, whatever
/// the body says.
///
/// The hook is called once a request, when the head of its answer is there, or when it is given up because the client went
/// away; one whose handler panics is not shown. [`Tally::request`](crate::http::Tally::request) counts for Prometheus, `http::meter::request` for the facade
/// `metrics`, `http::trace::request` for `tracing`; a hook of one's own may look into the cause:
///
/// ```
/// use ifmatch::web::tower::Monitor;
///
/// let monitor = Monitor::new(|exchange| {
///     if let Some(conflict) = exchange.cause.and_then(|cause| cause.error().conflict()) {
///         eprintln!("{} lost a race over {}", exchange.method, conflict.id());
///     }
/// });
/// ```
#[derive(Clone)]
pub struct Monitor(Arc<dyn Fn(&Exchange<'_>) + Send + Sync>);

impl Monitor {
    /// Shows each exchange to `hook`.
    pub fn new(hook: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Monitor {
    type Service = Monitored<S>;

    fn layer(&self, inner: S) -> Monitored<S> {
        Monitored { inner, monitor: self.clone() }
    }
}

/// A service behind [`Monitor`].
#[derive(Debug, Clone)]
pub struct Monitored<S> {
    inner: S,
    monitor: Monitor,
}

impl<S, R, B> Service<Request<R>> for Monitored<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let mut underway = Underway {
            monitor: self.monitor.clone(),
            blind: !Preconditions::from_headers(request.headers()).names_a_basis(),
            method: request.method().clone(),
            begun: Instant::now(),
            ended: false,
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let method = underway.method.clone();
            match &answer {
                Ok(answer) => {
                    let cause = response::cause(answer.extensions());
                    let mut exchange = Exchange::new(method.as_str(), answer.status().as_u16(), cause);
                    if cause.is_none() && response::is_failed_call(answer.extensions()) {
                        exchange.outcome = Outcome::Other;
                    }
                    underway.end(exchange.remarked(answer.extensions().get()));
                }
                Err(_) => underway.end(Exchange::failed(method.as_str())),
            }
            answer
        })
    }
}

/// A request that has no answer yet. Dropped before its end, it says so.
struct Underway {
    monitor: Monitor,
    blind: bool,
    method: Method,
    begun: Instant,
    ended: bool,
}

impl Underway {
    fn end(&mut self, exchange: Exchange<'_>) {
        // Before the hook: one that panics is not called again.
        self.ended = true;
        (self.monitor.0)(&exchange.blind(self.blind).taking(self.begun.elapsed()));
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        // A handler that panics is no client that went away; and a hook that panics then too would end the program.
        if !self.ended && !std::thread::panicking() {
            self.end(Exchange::new(self.method.clone().as_str(), 0, None));
        }
    }
}
