//! Behaviour across modules: one binary, so that it links once.

#[cfg(feature = "axum")]
mod articles;
#[cfg(feature = "conformance")]
mod broken;
#[cfg(all(feature = "conformance", feature = "json"))]
mod later;
#[cfg(all(feature = "conformance", feature = "json"))]
mod laws;
mod manifest;
mod reentry;
#[cfg(all(feature = "conformance", feature = "json"))]
mod small_store;
