//! Histories of stores, and the checker that judges them.

mod broken;
mod generate;
mod second_opinion;
mod stress;
