//! The only place that serializes values: codecs, their schemas, and [`Encoded`](crate::Encoded), the layer from a store
//! of values to a store of bytes.
//!
//! Nothing here knows an engine, and no error shows what was encoded.

mod codec;
mod coding;
pub(crate) mod encoded;
#[cfg(feature = "json")]
mod json;
mod schema;

pub use codec::Codec;
pub(crate) use coding::{Coding, age};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "merge")]
pub(crate) use json::escaped;
#[cfg(feature = "resource")]
pub(crate) use json::within_limits as json_within_limits;
#[cfg(any(feature = "merge", feature = "patch"))]
pub(crate) use json::{Unkept, document, value};
pub use schema::Schema;
