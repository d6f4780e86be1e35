//! [`Codecs`], how the values of each collection become bytes.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::marker::PhantomData;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::codec::{Codec, Coding};
use crate::collection::database::name::Name;
use crate::collection::database::opaque::Opaque;
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

    fn of(&self, full_id: &str) -> Result<Arc<dyn Coding<Opaque>>, Odd> {
        self.0.read().get(Name::of_full(full_id)).cloned().ok_or(Odd::Name)
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

    fn is_old(&self, id: &str, bytes: &[u8]) -> bool {
        self.of(id).is_ok_and(|codec| codec.is_old(id, bytes))
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
        self.codec.schema() > 0
    }

    fn is_old(&self, _: &str, bytes: &[u8]) -> bool {
        self.codec.schema_of(bytes) < self.codec.schema()
    }
}
