//! Behaviour across modules: one binary, so that it links once.

mod articles;
mod dice;
mod history;
mod manifest;
mod simulation;
