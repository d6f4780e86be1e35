//! Frameworks: trait impls on top of [`http`](crate::http), one feature each.
//!
//! No status, header or body is decided here: what one framework could do, [`http`](crate::http) must do for all.

pub mod axum;
