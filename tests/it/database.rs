//! Several typed collections in one store.

use std::sync::Arc;

use ifmatch::conformance::laws;
use ifmatch::{Collection, Database, Memory};

/// The laws that need ids longer than a collection's name leaves room for.
const OF_LONG_IDS: [&str; 3] =
    ["ids_of_1_and_512_bytes_work", "an_impossible_id_cannot_be_created", "an_impossible_id_names_nothing"];

fn every_law_of_a_store_holds_in(database: impl Fn() -> Database + Send + Sync + 'static) {
    for law in laws::<u64>().into_iter().filter(|law| !OF_LONG_IDS.contains(&law.name())) {
        let numbers: Collection<u64> = database().collection("numbers").unwrap();
        law.check(Arc::clone(numbers.store()));
    }
}

#[test]
fn every_law_of_a_store_holds_for_a_collection_in_memory() {
    every_law_of_a_store_holds_in(Database::in_memory);
}

#[test]
fn every_law_of_a_store_holds_for_a_collection_over_bytes() {
    every_law_of_a_store_holds_in(|| Database::new(Memory::<[u8]>::new()));
}
