//! The promises as tests that any store author can run.

pub mod history;
pub mod simulation;
