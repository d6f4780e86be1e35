//! [`Ground`], the one store below all collections of a database.

use std::sync::Arc;

use crate::codec::encoded::{Decoding, Encoded};
use crate::collection::database::codecs::Codecs;
use crate::collection::database::name::{Name, SEPARATOR};
use crate::collection::database::opaque::Opaque;
use crate::collection::database::own::Own;
use crate::memory::Memory;
use crate::store::{
    Abilities, Changes, Commit, Committed, Listed, Page, Reply, Scan, Start, Store, Versioned,
};
use crate::store::{Resolution, WriteId};

/// The one store below all collections of a database: of values whose type each collection knows, under their full ids.
pub(super) enum Ground {
    /// In memory nothing is encoded.
    Memory(Memory<Opaque>),
    Bytes {
        values: Encoded<Arc<dyn Store<[u8]>>, Codecs>,
        bytes: Arc<dyn Store<[u8]>>,
        codecs: Codecs,
    },
}

impl Ground {
    pub(super) fn in_memory() -> Self {
        Self::Memory(Memory::of_pieces(SEPARATOR))
    }

    pub(super) fn over(store: impl Store<[u8]>) -> Self {
        let (bytes, codecs): (Arc<dyn Store<[u8]>>, _) = (Arc::new(store), Codecs::default());
        Self::Bytes { values: Encoded::new(Arc::clone(&bytes), codecs.clone()), bytes, codecs }
    }

    fn store(&self) -> &dyn Store<Opaque> {
        match self {
            Self::Memory(memory) => memory,
            Self::Bytes { values, .. } => values,
        }
    }

    /// The store itself, where nothing is encoded.
    #[inline]
    pub(super) fn memory(&self) -> Option<&Memory<Opaque>> {
        match self {
            Self::Memory(memory) => Some(memory),
            Self::Bytes { .. } => None,
        }
    }

    /// The codecs, where values are encoded.
    pub(super) fn codecs(&self) -> Option<&Codecs> {
        match self {
            Self::Memory(_) => None,
            Self::Bytes { codecs, .. } => Some(codecs),
        }
    }

    /// Whether all its replies are ready.
    pub(super) fn is_prompt(&self) -> bool {
        self.memory().is_some()
    }

    /// The changes of one collection, by their ids there. Values of others are not decoded.
    pub(super) async fn watch_own(
        &self,
        name: &Name,
        from: Start,
    ) -> Result<Changes<Opaque>, crate::store::Error> {
        match self {
            Self::Memory(memory) => Ok(Own::of(memory.watch(from).await?, name)),
            Self::Bytes { bytes, codecs, .. } => {
                let changes = Own::of(bytes.watch(from).await?, name);
                Ok(Decoding::of(changes, codecs.of_name(name)))
            }
        }
    }
}

impl Store<Opaque> for Ground {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<Opaque>>> {
        self.store().get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, Opaque>) -> Reply<'a, Committed> {
        self.store().commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store().resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<Opaque>>> {
        self.store().scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<Opaque>> {
        self.store().watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.store().abilities()
    }
}
