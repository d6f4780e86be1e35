//! Behaviour across modules: one binary, so that it links once.

#[cfg(feature = "axum")]
mod articles;
#[cfg(feature = "conformance")]
mod broken;
#[cfg(feature = "conformance")]
mod cached;
mod cancel;
#[cfg(feature = "file")]
mod crash;
#[cfg(feature = "conformance")]
mod database;
#[cfg(feature = "conformance")]
mod dice;
#[cfg(all(feature = "file", target_os = "linux"))]
mod disk;
#[cfg(all(feature = "file", feature = "conformance"))]
mod durable;
#[cfg(feature = "file")]
mod file;
#[cfg(all(feature = "axum", feature = "resource", feature = "tower"))]
mod front;
#[cfg(feature = "conformance")]
mod history;
#[cfg(feature = "file")]
mod journal;
#[cfg(feature = "conformance")]
mod later;
#[cfg(feature = "conformance")]
mod laws;
mod layers;
mod lazy;
#[cfg(all(feature = "conformance", feature = "file"))]
mod leases;
mod manifest;
#[cfg(all(feature = "merge", feature = "conformance"))]
mod merge;
#[cfg(all(feature = "axum", feature = "file", feature = "merge", feature = "resource"))]
mod once;
#[cfg(all(feature = "axum", feature = "file"))]
mod outbox;
mod past;
#[cfg(feature = "conformance")]
mod recorded;
mod reentry;
#[cfg(all(feature = "axum", feature = "resource"))]
mod resource;
mod rooms;
#[cfg(feature = "file")]
mod rules;
#[cfg(feature = "axum")]
mod serving;
#[cfg(feature = "axum")]
mod shop;
#[cfg(feature = "conformance")]
mod simulation;
#[cfg(feature = "conformance")]
mod small_store;
mod stress;
#[cfg(feature = "axum")]
mod verbs;
