//! The conformance suite on the crate's stores, and on the store of `docs/writing-a-store.md`.

use std::sync::{Arc, LazyLock};

use ifmatch::{Abilities, Memory, Store, Version, conformance};

use crate::small_store::SmallStore;

fn of_memory() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.watch = true;
    abilities.tombstones = true;
    abilities.restores_told = true;
    abilities
}

/// One store for all laws, which run at the same time and so disturb each other as much as they can.
fn shared() -> Arc<dyn Store<u64>> {
    static SHARED: LazyLock<Arc<Memory<u64>>> = LazyLock::new(|| Arc::new(Memory::new()));
    Arc::clone(&*SHARED) as Arc<dyn Store<u64>>
}

/// Past the integers that a JSON number or a float can hold.
fn late() -> Version {
    "9007199254740993".parse().unwrap()
}

conformance!(small, SmallStore::new(1_000), Abilities::default());
conformance!(memory_of_numbers, Memory::<u64>::new(), of_memory());
conformance!(memory_of_strings, Memory::<String>::new(), of_memory());
conformance!(memory_of_bytes, Memory::<[u8]>::new(), of_memory());
conformance!(memory_started_late, Memory::<u64>::starting_at(late()));
conformance!(memory_shared_by_all_laws, shared());
