//! [`Coding`], which codec the values of an id go through.

use std::cmp::Ordering;
use std::error::Error as StdError;
use std::sync::Arc;

use crate::codec::codec::Codec;
use crate::store::Resource;

/// Which codec the values of an id go through: of a [`Codec`], always itself.
///
/// What [`Encoded`](crate::Encoded) asks of its codec. A program writes a [`Codec`], which is one of these.
pub trait Coding<T: ?Sized>: Send + Sync + 'static {
    /// The bytes to store for this value.
    fn encode(&self, id: &str, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>>;

    /// The value that these stored bytes stand for.
    fn decode(&self, id: &str, bytes: &[u8]) -> Result<Arc<T>, Box<dyn StdError + Send + Sync>>;

    /// Whether schemas are told apart at all.
    fn has_schema(&self, id: &str) -> bool;

    /// How the schema of these stored bytes compares to the one that a put would write.
    fn age(&self, id: &str, bytes: &[u8]) -> Ordering;
}

impl<T: Resource, C: Codec<T>> Coding<T> for C {
    fn encode(&self, _: &str, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        Codec::encode(self, value)
    }

    fn decode(&self, _: &str, bytes: &[u8]) -> Result<Arc<T>, Box<dyn StdError + Send + Sync>> {
        Codec::decode(self, bytes).map(Arc::new)
    }

    fn has_schema(&self, _: &str) -> bool {
        self.schema().is_some()
    }

    fn age(&self, _: &str, bytes: &[u8]) -> Ordering {
        age(self, bytes)
    }
}

/// How the schema of these stored bytes compares to the one that the codec writes.
pub(crate) fn age<T>(codec: &impl Codec<T>, bytes: &[u8]) -> Ordering {
    codec.schema().map_or(Ordering::Equal, |written| codec.schema_of(bytes).cmp(&written))
}
