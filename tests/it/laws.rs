//! The conformance suite on the crate's stores, and on the store of `docs/writing-a-store.md`.

use ifmatch::{Abilities, conformance};

use crate::small_store::SmallStore;

conformance!(small, SmallStore::new(1_000), Abilities::default());
