//! Histories of stores, and the checker that judges them.

mod broken;
mod pair;
mod stress;
