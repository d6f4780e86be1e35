//! Behaviour across modules: one binary, so that it links once.

mod laws;
mod manifest;
mod small_store;
