//! The conformance suite on the crate's stores, and on the store of `docs/writing-a-store.md`.

use std::sync::{Arc, LazyLock};

use ifmatch::codec::Codec;
use ifmatch::conformance::Sample;
use ifmatch::conformance::watch::a_watcher_left_behind_expires;
use ifmatch::layer::Event;
use ifmatch::store::Abilities;
use ifmatch::{Encoded, Guarded, Json, Memory, Observed, Schema, Store, Version, conformance};

use crate::later::Later;
use crate::small_store::SmallStore;

fn of_memory() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.watch = true;
    abilities.tombstones = true;
    abilities.detects_restore = true;
    abilities
}

fn of_one_entry() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.entries = 1;
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

/// Encoded values, named by type: a codec is one for many types.
fn encoded<T: Sample>(bytes: impl Store<[u8]>) -> Arc<dyn Store<T>>
where
    Json: Codec<T>,
{
    Arc::new(Encoded::new(bytes, Json))
}

/// Numbers that are looked at before they are written over.
fn in_a_schema(bytes: impl Store<[u8]>) -> Arc<dyn Store<u64>> {
    Arc::new(Encoded::new(bytes, Schema::new(1, Json, |_, _| Err("there was none before".into()))))
}

fn observed<T: Sample + ?Sized>(store: impl Store<T>) -> impl Store<T> {
    Observed::new(store, |_: &Event<'_>| {})
}

fn guarded<T: Sample + ?Sized>(store: impl Store<T>) -> Guarded<impl Store<T>, T> {
    Guarded::new(store)
}

conformance!(small, SmallStore::new(1_000), Abilities::default());
conformance!(memory_of_numbers, Memory::<u64>::new(), of_memory());
conformance!(memory_of_strings, Memory::<String>::new(), of_memory());
conformance!(memory_of_bytes, Memory::<[u8]>::new(), of_memory());
conformance!(memory_started_late, Memory::<u64>::starting_at(late()));
conformance!(memory_shared_by_all_laws, shared());
conformance!(encoded_over_memory, encoded::<u64>(Memory::<[u8]>::new()), of_memory());
conformance!(encoded_over_small, encoded::<String>(SmallStore::new(1)), Abilities::default());
conformance!(encoded_in_a_schema, in_a_schema(Memory::<[u8]>::new()), of_memory());
conformance!(encoded_in_a_schema_over_later, in_a_schema(Later { store: Memory::<[u8]>::new(), entries: 5 }));
conformance!(observed_memory, observed(Memory::<u64>::new()), of_memory());
conformance!(guarded_memory, guarded(Memory::<String>::new()).allow_ids(|_| true), of_memory());
conformance!(every_layer, observed(guarded(encoded::<String>(observed(Memory::<[u8]>::new())))), of_memory());

conformance!(later, Later { store: Memory::<u64>::new(), entries: 5 });
conformance!(one_entry_a_commit, Later { store: SmallStore::new(1), entries: 1 }, of_one_entry());

#[test]
fn the_tutorial_shows_the_store_that_is_tested() {
    let tutorial = include_str!("../../src/docs/writing-a-store.md");
    let tested = include_str!("small_store.rs").replace("pub(crate) ", "pub ");

    assert!(
        tutorial.contains(&format!("```rust\n{tested}")),
        "src/docs/writing-a-store.md shows another store"
    );
}

#[tokio::test]
async fn a_watcher_of_memory_expires_once_it_is_further_behind_than_the_limit() {
    let store: Arc<dyn Store<u64>> = Arc::new(Memory::new().with_feed_limit(100));

    a_watcher_left_behind_expires(&store, 20_000).await;
}
