//! Behaviour across modules: one binary, so that it links once.

mod articles;
mod cancel;
mod manifest;
mod model;
mod stress;
