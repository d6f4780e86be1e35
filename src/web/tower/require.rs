//! [`Require`], what a request has to say of the state it is based on before it reaches a handler.

use std::fmt;
use std::future::ready;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::http::{Preconditions, Problem, Terms};
#[cfg(feature = "tonic")]
use crate::web::tower::protocol::Grpc;
use crate::web::tower::protocol::{Http, Protocol};

/// A layer that refuses requests which do not say what state they are based on, also of handlers that never look.
///
/// Default: `PUT`, `PATCH` and `DELETE` need `If-Match`, or `If-None-Match: *`, else 428; a header that can't be read is 400; and
/// a `POST` may not name tags in `If-Match`, 412. An `Idempotency-Key` of a write is refused with 501, as no handler that never looks
/// keeps it; see [`keyed`](Self::keyed). Whether what they say holds is judged by the call that writes. A request for what
/// is not there, or by a method that its path does not have, is refused by this layer first: put it on the routes it is for.
///
/// ```
/// use axum::Router;
/// use axum::routing::put;
/// use ifmatch::web::tower::{Basis, Require};
///
/// // Whoever adds a line below `/ledger` says to which state, also by `POST`; and no `*` will do. The rest goes by method.
/// let require = Require::new().by(|head| head.uri.path().starts_with("/ledger").then_some(Basis::Required));
/// let app: Router = Router::new().route("/ledger/{id}", put(|| async { "…" })).layer(require.without_star());
/// ```
pub struct Require<P = Http> {
    by: By,
    terms: Terms,
    keyed: bool,
    report: Option<Report>,
    protocol: PhantomData<P>,
}

type By = Arc<dyn Fn(&Parts) -> Option<Basis> + Send + Sync>;
/// What is shown what would have been refused.
type Report = Arc<dyn Fn(&Parts, &Problem) + Send + Sync>;

/// What a request has to say of the state it is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Basis {
    /// `If-Match`, or `If-None-Match: *`: else 428. Of a safe method, as `GET`, nothing is required all the same.
    Required,
    /// As `Required`, or a `Merge-Base`: for what [merges](crate::docs::merging), as it is refused anywhere else.
    Merging,
    /// What it says is left to the handler, which has to judge it, but for an `Idempotency-Key`.
    Optional,
    /// No handler judges it: `If-Match` with tags, which could only be dropped, is 412, since what such a request is to has no
    /// tag.
    Unjudged,
}

impl Require {
    /// By method: required of `PUT`, `PATCH` and `DELETE`, unjudged with `POST`, else optional.
    pub fn new() -> Self {
        Self {
            by: Arc::new(|_| None),
            terms: Terms::new().required(),
            keyed: false,
            report: None,
            protocol: PhantomData,
        }
    }

    /// The same in front of a service of gRPC: what is refused is a status, and what a call has to say, in its metadata, is told
    /// [`by`](Self::by) its path alone, as `/shop.Stock/Put`. Default: nothing, as each call is a `POST`, also one that reads; but an
    /// `idempotency-key` is refused of all. Feature `tonic`.
    ///
    /// ```
    /// use ifmatch::web::tower::{Basis, Require};
    ///
    /// let require = Require::new().by(|head| head.uri.path().ends_with("/Put").then_some(Basis::Required));
    /// // For `layer` of tonic's `Server`.
    /// let require = require.grpc();
    /// ```
    #[cfg(feature = "tonic")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
    pub fn grpc(self) -> Require<Grpc> {
        let Self { by, terms, keyed, report, protocol: _ } = self;
        Require { by, terms, keyed, report, protocol: PhantomData }
    }
}

impl<P> Require<P> {
    /// By what a request says before its body: method, path, headers, extensions. `None` leaves it to the method, as
    /// [`new`](Self::new) does.
    pub fn by(self, by: impl Fn(&Parts) -> Option<Basis> + Send + Sync + 'static) -> Self {
        Self { by: Arc::new(by), ..self }
    }

    /// `If-Match: *` is not enough where something is required: it says that there is something, and not what.
    pub fn without_star(self) -> Self {
        Self { terms: self.terms.without_star(), ..self }
    }

    /// A request with an `Idempotency-Key` passes: what is behind keeps it, by [`Keys`](crate::http::Keys), or refuses it by itself, as
    /// every call of [`http`](crate::http) does. Without this a write that has one is refused with 501, and with 400 where the key
    /// can't be read: a handler that does not know of keys would apply it twice.
    ///
    /// ```
    /// use ifmatch::http::{Keys, Problem};
    /// use ifmatch::web::resource::{Call, resource};
    /// use ifmatch::web::tower::Require;
    /// use ifmatch::{Database, Error};
    /// use tower_layer::Layer;
    ///
    /// /// Put there by a layer in front, which knows who it is.
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// fn user(call: &Call<'_>) -> Option<String> {
    ///     call.extensions().get::<User>().map(|user| user.0.clone())
    /// }
    ///
    /// let office = Database::in_memory();
    /// let keys = Keys::new(&office, "keys")?;
    /// let notes = resource("/notes", office.collection::<String>("notes")?)
    ///     .allow(|call| user(call).map(drop).ok_or_else(|| Problem::of_status(401)))
    ///     .idempotent(&keys, |call| user(call).expect("nobody else is let in"))?;
    /// let notes = Require::new().keyed().layer(notes);
    /// # Ok::<_, Error>(())
    /// ```
    #[cfg(feature = "idempotency")]
    #[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
    pub fn keyed(self) -> Self {
        Self { keyed: true, ..self }
    }

    /// Refuses nothing, and shows what it would have refused to `report`: to see which clients a rule would break.
    ///
    /// ```
    /// use ifmatch::web::tower::Require;
    ///
    /// let watch = Require::new().report_only(|head, problem| {
    ///     eprintln!("{} would be refused: {}", head.method, problem.reason());
    /// });
    /// ```
    pub fn report_only(self, report: impl Fn(&Parts, &Problem) + Send + Sync + 'static) -> Self {
        Self { report: Some(Arc::new(report)), ..self }
    }

    fn judge<B>(&self, head: &Parts) -> Result<(), Problem>
    where
        P: Protocol<B>,
    {
        let basis = (self.by)(head).unwrap_or_else(|| P::basis(head));
        // No read minds a key.
        let is_safe = head.method.is_safe();
        if is_safe && basis != Basis::Unjudged {
            return Ok(());
        }
        let said = Preconditions::from_headers(&head.headers);
        if !self.keyed && !is_safe {
            said.check_key()?;
        }
        match basis {
            // The call that writes judges it, and refuses it where nothing is merged.
            Basis::Merging if said.asks_to_be_merged() => Ok(()),
            Basis::Required | Basis::Merging => said.under(self.terms).suffice().map_err(Problem::new),
            Basis::Optional => Ok(()),
            Basis::Unjudged => {
                said.suffice()?;
                match said.names_tags() {
                    true => Err(Problem::without_tag()),
                    false => Ok(()),
                }
            }
        }
    }
}

impl Default for Require {
    fn default() -> Self {
        Self::new()
    }
}

// Hand-written: the derived impl would ask for a protocol that can be cloned.
impl<P> Clone for Require<P> {
    fn clone(&self) -> Self {
        let Self { by, terms, keyed, report, protocol } = self;
        Self { by: Arc::clone(by), terms: *terms, keyed: *keyed, report: report.clone(), protocol: *protocol }
    }
}

impl<P> fmt::Debug for Require<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require")
            .field("terms", &self.terms)
            .field("keyed", &self.keyed)
            .finish_non_exhaustive()
    }
}

impl<S, P> Layer<S> for Require<P> {
    type Service = Requiring<S, P>;

    fn layer(&self, inner: S) -> Requiring<S, P> {
        Requiring { inner, require: self.clone() }
    }
}

/// A service behind [`Require`].
#[derive(Debug, Clone)]
pub struct Requiring<S, P = Http> {
    inner: S,
    require: Require<P>,
}

impl<S, R, B, P> Service<Request<R>> for Requiring<S, P>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    B: Send + 'static,
    P: Protocol<B>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (head, body) = request.into_parts();
        match (self.require.judge(&head), &self.require.report) {
            (Err(problem), None) => {
                return Box::pin(ready(Ok(P::refusal(&problem))));
            }
            (Err(problem), Some(report)) => report(&head, &problem),
            (Ok(()), _) => {}
        }
        Box::pin(self.inner.call(Request::from_parts(head, body)))
    }
}
