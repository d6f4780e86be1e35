//! Behaviour across modules: one binary, so that it links once.

mod broken;
mod laws;
mod manifest;
mod small_store;
