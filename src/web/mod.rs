//! Frameworks: trait impls on top of [`http`](crate::http), one feature each.

pub mod axum;
