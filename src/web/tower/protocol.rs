//! [`Protocol`], in whose words a layer answers by itself.

#[cfg(feature = "tonic")]
use ::tonic::Status;
use http::request::Parts;
use http::{Method, Response};

use crate::http::Problem;
use crate::web::response;
use crate::web::tower::require::Basis;

/// In whose words a layer answers by itself, in a body of this type: those of [`Http`], or of gRPC with the feature `tonic`. What else
/// there were would be another protocol, so that it is no trait for others to implement.
pub trait Protocol<B>: private::Sealed {
    /// The answer that refuses a request.
    #[doc(hidden)]
    fn refusal(problem: &Problem) -> Response<B>;

    /// That of a refusal which another layer has answered without a word.
    #[doc(hidden)]
    fn instead_of(bare: Response<B>) -> Response<B>;

    /// What a request has to say where nobody says more of it.
    #[doc(hidden)]
    fn basis(head: &Parts) -> Basis;
}

/// Problems, as bodies of JSON, in any body that can be made of bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http;

/// A [`Status`] with the details that gRPC has for them, and no body: by `grpc` of each layer. Feature `tonic`.
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
#[derive(Debug, Clone, Copy, Default)]
pub struct Grpc;

impl<B: From<Vec<u8>>> Protocol<B> for Http {
    fn refusal(problem: &Problem) -> Response<B> {
        response::of_problem(problem).map(|body| B::from(body.into()))
    }

    fn instead_of(bare: Response<B>) -> Response<B> {
        response::instead_of(bare).map(|body| B::from(body.into()))
    }

    fn basis(head: &Parts) -> Basis {
        match head.method {
            Method::PUT | Method::PATCH | Method::DELETE => Basis::Required,
            Method::POST => Basis::Unjudged,
            _ => Basis::Optional,
        }
    }
}

#[cfg(feature = "tonic")]
impl<B: Default> Protocol<B> for Grpc {
    fn refusal(problem: &Problem) -> Response<B> {
        Status::from(problem.clone()).into_http()
    }

    fn instead_of(bare: Response<B>) -> Response<B> {
        let (head, _) = bare.into_parts();
        let mut status = Self::refusal(&Problem::of_status(head.status.as_u16()));
        response::keep(head, &mut status);
        status
    }

    /// A call by gRPC is a `POST`, whatever it does.
    fn basis(_: &Parts) -> Basis {
        Basis::Optional
    }
}

mod private {
    pub trait Sealed {}

    impl Sealed for super::Http {}

    #[cfg(feature = "tonic")]
    impl Sealed for super::Grpc {}
}
