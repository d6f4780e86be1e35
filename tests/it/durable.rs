//! The conformance suite on the durable store, and on the layer that keeps resources in memory.

use std::sync::{Arc, LazyLock};

use ifmatch::codec::Codec;
use ifmatch::conformance::Sample;
use ifmatch::file::Persistence;
use ifmatch::store::{Abilities, Durability};
use ifmatch::{Cached, Database, Encoded, File, Json, Memory, Store, conformance, database_conformance};

use crate::file::Kept;

fn fresh(persistence: Persistence) -> Kept {
    Kept::open(&File::options().persistence(persistence))
}

fn immediate() -> Kept {
    fresh(Persistence::Immediate)
}

/// A store whose recent commits are settled after every few, since it may remember few.
fn settling() -> Kept {
    Kept::open(&File::options().history(256))
}

/// One store for all laws, which run at the same time and so share transactions.
fn shared() -> Arc<dyn Store<[u8]>> {
    static SHARED: LazyLock<Arc<Kept>> = LazyLock::new(|| Arc::new(immediate()));
    Arc::clone(&*SHARED) as Arc<dyn Store<[u8]>>
}

fn of_file() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.entries = 10_000;
    abilities.watch = true;
    abilities.tombstones = true;
    abilities.durability = Durability::Strict;
    abilities.may_lose_answers = true;
    abilities.detects_restore = true;
    abilities
}

fn encoded<T: Sample>(bytes: impl Store<[u8]>) -> Arc<dyn Store<T>>
where
    Json: Codec<T>,
{
    Arc::new(Encoded::new(bytes, Json))
}

conformance!(file, immediate(), of_file());
conformance!(file_shared_by_all_laws, shared(), of_file());
conformance!(file_synced_eventually, fresh(Persistence::Eventual));
conformance!(file_that_settles_often, settling(), of_file());
conformance!(encoded_over_file, encoded::<u64>(immediate()), of_file());
conformance!(cached_file, Cached::alone(immediate()), of_file());
conformance!(cached_memory, Cached::alone(Memory::<u64>::new()));
conformance!(cached_memory_that_is_too_small, Cached::alone(Memory::<u64>::new()).with_limit(2));
conformance!(cached_memory_that_follows, Cached::new(Memory::<u64>::new()));
conformance!(cached_over_encoded_file, Cached::new(encoded::<String>(immediate())), of_file());
database_conformance!(database_in_file, Database::new(immediate()));
