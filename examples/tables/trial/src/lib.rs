//! What the services on tables are put to, through their HTTP handlers.

mod answer;
mod killed;
mod life;
#[allow(dead_code, reason = "the tests of the engines use more of it")]
#[path = "../../../../tests/engines/patience.rs"]
mod patience;
pub mod postgres;
mod race;
#[allow(dead_code, reason = "the tests of the engines use more of it")]
#[path = "../../../../tests/engines/server.rs"]
mod server;
pub mod sqlite;

pub use answer::{Answer, call};
pub use killed::killed_in_the_middle;
pub use life::life_of_an_item;
pub use race::{Basis, Logged, race};
