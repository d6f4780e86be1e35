//! [`Codec`], how values become bytes and bytes become values.

use std::error::Error as StdError;

/// How values become the bytes that a store keeps, and bytes become values again. [`Encoded`](crate::Encoded) makes a
/// store of values from a store of bytes and a codec.
///
/// What was encoded must decode to an equal value, also in a later release of the program: the stored bytes outlive
/// it. Bytes may come from anywhere, so decoding has to bound what it builds from them. They may come from a later release
/// too, which runs beside this one or did before a rollback: what decoding skips, as a member that the type doesn't have, the
/// next write of the value leaves out. A [`Schema`](crate::Schema) has such bytes refused.
///
/// # Errors
///
/// An error of a codec becomes the `source` of an [`Error`](crate::Error) and so ends up in logs: it must say where the
/// fault is and of what sort, and must not show any part of the value. The messages of most parsers do show parts, so
/// do not pass them on.
///
/// ```
/// use std::error::Error;
///
/// use ifmatch::codec::Codec;
///
/// struct Utf8;
///
/// impl Codec<String> for Utf8 {
///     fn encode(&self, value: &String) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
///         Ok(value.clone().into_bytes())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<String, Box<dyn Error + Send + Sync>> {
///         Ok(std::str::from_utf8(bytes)?.to_owned()) // this message has a position and no text
///     }
/// }
///
/// assert_eq!(Utf8.decode(&Utf8.encode(&"hello".to_string())?)?, "hello");
/// # Ok::<_, Box<dyn Error + Send + Sync>>(())
/// ```
pub trait Codec<T>: Send + Sync + 'static {
    /// The bytes to store for this value.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>>;

    /// The value that these stored bytes stand for.
    fn decode(&self, bytes: &[u8]) -> Result<T, Box<dyn StdError + Send + Sync>>;

    /// The number of the schema that values are encoded in; `None`, unless the codec tells schemas apart, as
    /// [`Schema`](crate::Schema) does.
    fn schema(&self) -> Option<u32> {
        None
    }

    /// The number of the schema that these stored bytes are in. Where it is lower than [`schema`](Self::schema), the
    /// next write rewrites them, also one that leaves the value as it is. Where it is higher and they do not decode, with
    /// [`NewerSchema`](crate::store::NewerSchema) as the error, no put overwrites them.
    fn schema_of(&self, bytes: &[u8]) -> u32 {
        let _ = bytes;
        0
    }
}
