//! The conformance suite on Redis.

use std::sync::{Arc, LazyLock};

use ifmatch::codec::Codec;
use ifmatch::conformance::Sample;
use ifmatch::store::{Abilities, Durability};
use ifmatch::{Encoded, Json, Store, conformance};

use super::{fresh, open, shared, store};

/// One store for all laws, which run at the same time.
fn one() -> Arc<dyn Store<[u8]>> {
    static ONE: LazyLock<Arc<dyn Store<[u8]>>> = LazyLock::new(|| open(fresh(), shared().port));
    Arc::clone(&ONE)
}

fn abilities() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.entries = 1_000;
    abilities.watch = true;
    abilities.tombstones = true;
    abilities.durability = Durability::Relaxed {
        may_lose: "all commits since the last snapshot, when the server ends or crashes: appendonly is off",
    };
    abilities.window = 100_000;
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

conformance!(redis, store(), abilities());
conformance!(redis_shared_by_all_laws, one(), abilities());
conformance!(encoded_over_redis, encoded::<u64>(store()), abilities());

/// A store that forgets soon.
fn forgetful() -> Arc<dyn Store<[u8]>> {
    open(fresh().history(64), shared().port)
}

fn little() -> Abilities {
    let mut abilities = abilities();
    abilities.window = 64;
    abilities
}

conformance!(redis_that_forgets_soon, forgetful(), little());

#[test]
fn whoever_outlives_the_runtime_of_a_store_is_told() {
    crate::runtime::whoever_outlives_the_runtime_of_a_store_is_told(|| async {
        Arc::new(store()) as Arc<dyn Store<[u8]>>
    });
}
