//! Layers of tower in front of any service over the types of `http`: axum, a bare hyper service, and with the feature `tonic` tonic,
//! where `grpc` has [`Require`] and [`Problems`] answer in the words of gRPC. Feature `tower`.
//!
//! What a gateway promises and can't keep, since it sees no version: [`Require`] refuses writes that do not say what they are
//! based on, [`Monitor`] tells how each request ended, and [`Problems`] gives the bare refusals of other layers a body. They
//! learn of a conflict from the [`Cause`](crate::http::Cause) in the extensions of the response, and parse no body.
//!
//! ```
//! use axum::Router;
//! use axum::routing::put;
//! use ifmatch::http::Tally;
//! use ifmatch::web::tower::{Monitor, Problems, Require};
//!
//! let tally = Tally::new();
//! let requests = tally.clone();
//! let app: Router = Router::new()
//!     .route("/articles/{id}", put(|| async { "…" }))
//!     .layer(Require::new())
//!     .layer(Problems::new())
//!     // The last one is in front of all others, and sees what they refuse.
//!     .layer(Monitor::new(move |exchange| requests.request(exchange)));
//! ```
//!
//! A layer boxes the future of the service, and costs less than a microsecond a request.

mod monitor;
mod problems;
mod protocol;
mod require;

pub use monitor::{Monitor, Monitored};
pub use problems::{Problems, WithProblems};
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub use protocol::Grpc;
pub use protocol::{Http, Protocol};
pub use require::{Basis, Require, Requiring};
