//! The only place that serializes: codecs, and the layer from a store of values to a store of bytes.

mod codec;
mod encoded;
#[cfg(feature = "json")]
mod json;
mod schema;

pub use codec::Codec;
pub use encoded::Encoded;
#[cfg(feature = "json")]
pub use json::Json;
pub use schema::Schema;
