//! Frameworks: trait impls on top of [`http`](crate::http), one feature each, and [`resource`](mod@resource), a whole
//! collection as one service.
//!
//! No status of an error, and no precondition, is decided here: what one framework could do, [`http`](crate::http) must do
//! for all. Only the codes of gRPC are `tonic`'s own.

#[cfg(feature = "actix")]
#[cfg_attr(docsrs, doc(cfg(feature = "actix")))]
pub mod actix;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
#[cfg(feature = "resource")]
#[cfg_attr(docsrs, doc(cfg(feature = "resource")))]
pub mod resource;
#[cfg(any(feature = "actix", feature = "axum", feature = "resource", feature = "tower"))]
mod response;
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
pub mod tonic;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;

#[cfg(feature = "resource")]
#[cfg_attr(docsrs, doc(cfg(feature = "resource")))]
pub use resource::resource;
