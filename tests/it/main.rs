//! Behaviour across modules: one binary, so that it links once.

mod articles;
mod manifest;
mod model;
