//! [`Codecs`], how the values of each collection become bytes.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::error::Error as StdError;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::codec::{Codec, Coding, age};
use crate::collection::database::name::Name;
use crate::collection::database::opaque::Opaque;
#[cfg(feature = "json")]
use crate::collection::database::opaque::downcast;
use crate::store::Resource;

/// How the values of each collection become bytes: by the codec of the name that their full id begins with.
#[derive(Clone, Default)]
pub(super) struct Codecs(Arc<RwLock<ByName>>);

type ByName = HashMap<Arc<str>, Arc<dyn Coding<Opaque>>>;

/// A codec for the values of one collection, which forgets their type.
struct Of<T, C> {
    codec: C,
    values: PhantomData<fn(&T)>,
}

/// How the values of one collection become bytes, for what keeps them beside it.
#[cfg(feature = "json")]
#[derive(Clone)]
pub(crate) struct Encoding(Arc<dyn Coding<Opaque>>);

/// Why a value is neither encoded nor decoded: none of them can happen to who comes through a collection.
#[derive(Debug, thiserror::Error)]
enum Odd {
    #[error("no collection of this name is open")]
    Name,
    #[error("it is of another type than its collection")]
    Type,
}

impl Codecs {
    pub(super) fn add<T: Resource, C: Codec<T>>(&self, name: &Name, codec: C) {
        let codec = Of { codec, values: PhantomData };
        self.0.write().insert(Arc::clone(name.text()), Arc::new(codec));
    }

    /// The codec of one collection.
    pub(super) fn of_name(&self, name: &Name) -> Arc<dyn Coding<Opaque>> {
        let codec = self.0.read().get(&**name.text()).cloned();
        codec.unwrap_or_else(|| Arc::new(self.clone()))
    }

    /// The codec of the collection of this name, if it is open.
    #[cfg(feature = "json")]
    pub(super) fn encoding_of(&self, name: &str) -> Option<Encoding> {
        self.0.read().get(name).cloned().map(Encoding)
    }

    fn of(&self, full_id: &str) -> Result<Arc<dyn Coding<Opaque>>, Odd> {
        self.0.read().get(Name::of_full(full_id)).cloned().ok_or(Odd::Name)
    }
}

#[cfg(feature = "json")]
impl Encoding {
    pub(crate) fn encode<T: Resource>(
        &self,
        id: &str,
        value: &T,
    ) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        self.0.encode(id, value)
    }

    pub(crate) fn decode<T: Resource>(
        &self,
        id: &str,
        bytes: &[u8],
    ) -> Result<Arc<T>, Box<dyn StdError + Send + Sync>> {
        Ok(downcast(self.0.decode(id, bytes)?).ok_or(Odd::Type)?)
    }
}

impl Coding<Opaque> for Codecs {
    fn encode(&self, id: &str, value: &Opaque) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        self.of(id)?.encode(id, value)
    }

    fn decode(&self, id: &str, bytes: &[u8]) -> Result<Arc<Opaque>, Box<dyn StdError + Send + Sync>> {
        self.of(id)?.decode(id, bytes)
    }

    fn has_schema(&self, id: &str) -> bool {
        self.of(id).is_ok_and(|codec| codec.has_schema(id))
    }

    fn age(&self, id: &str, bytes: &[u8]) -> Ordering {
        self.of(id).map_or(Ordering::Equal, |codec| codec.age(id, bytes))
    }
}

impl<T: Resource, C: Codec<T>> Coding<Opaque> for Of<T, C> {
    fn encode(&self, _: &str, value: &Opaque) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
        self.codec.encode(value.downcast_ref().ok_or(Odd::Type)?)
    }

    fn decode(&self, _: &str, bytes: &[u8]) -> Result<Arc<Opaque>, Box<dyn StdError + Send + Sync>> {
        Ok(Arc::new(self.codec.decode(bytes)?))
    }

    fn has_schema(&self, _: &str) -> bool {
        self.codec.schema().is_some()
    }

    fn age(&self, _: &str, bytes: &[u8]) -> Ordering {
        age(&self.codec, bytes)
    }
}
