//! The conformance suite on Redis.

use std::sync::{Arc, LazyLock};

use ifmatch::codec::Codec;
use ifmatch::conformance::{Sample, writes};
use ifmatch::store::{Abilities, Durability};
use ifmatch::{Encoded, Json, Store, conformance, database_conformance};

use super::{fresh, open, shared, store, url};

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
database_conformance!(database_in_redis, ifmatch::Database::new(store()));
conformance!(encoded_over_redis, encoded::<u64>(store()), abilities());

/// A short feed loses watchers that the other laws leave behind.
#[tokio::test]
async fn write_ids_keep_their_laws_where_little_is_remembered() {
    let store: Arc<dyn Store<[u8]>> =
        Arc::new(fresh().history(64).connect(url(shared().port)).await.unwrap());

    assert_eq!(store.abilities().window, 64);
    writes::beyond_the_window_nothing_is_applied_again(&store).await;
    writes::asking_after_write_ids_shuts_out_no_other(&store).await;
    writes::a_write_id_from_ahead_is_not_ours(&store).await;
    writes::a_write_id_names_one_commit(&store).await;
}

#[test]
fn whoever_outlives_the_runtime_of_a_store_is_told() {
    crate::runtime::whoever_outlives_the_runtime_of_a_store_is_told(|| async {
        Arc::new(store()) as Arc<dyn Store<[u8]>>
    });
}
