//! Layers.

mod encoded;
mod guarded;
mod narrowed;
mod observed;

pub use encoded::Encoded;
pub use guarded::Guarded;
pub use observed::{Ending, Event, Observed, Operation};
