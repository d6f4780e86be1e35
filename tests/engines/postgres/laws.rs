//! The conformance suite on a PostgreSQL server.

use std::sync::{Arc, LazyLock};

use ifmatch::codec::Codec;
use ifmatch::conformance::{Sample, writes};
use ifmatch::store::{Abilities, Durability};
use ifmatch::{Encoded, Json, Postgres, Store, conformance, database_conformance};

use super::{open, options, server, shared_server};

/// A namespace of its own on the server of all.
fn fresh() -> Postgres {
    open(&options(), shared_server().port)
}

/// One store for all laws, which run at the same time.
fn shared() -> Arc<dyn Store<[u8]>> {
    static SHARED: LazyLock<Arc<Postgres>> = LazyLock::new(|| Arc::new(fresh()));
    Arc::clone(&*SHARED) as Arc<dyn Store<[u8]>>
}

pub(super) fn of_postgres() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.entries = 1_000;
    abilities.watch = true;
    abilities.tombstones = true;
    // What it is with the usual settings, the tests of opening show.
    abilities.durability =
        Durability::Relaxed { may_lose: "anything, where the machine loses power: `fsync` is off" };
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

conformance!(postgres, fresh(), of_postgres());
conformance!(postgres_shared_by_all_laws, shared(), of_postgres());
conformance!(postgres_unprepared, open(&options().unprepared(), shared_server().port), of_postgres());
database_conformance!(database_in_postgres, ifmatch::Database::new(fresh()));
conformance!(encoded_over_postgres, encoded::<u64>(fresh()), of_postgres());

/// A short feed loses watchers that the other laws leave behind. A server of its own: where another test has a transaction
/// open, nothing is trimmed.
#[test]
fn write_ids_keep_their_laws_where_little_is_remembered() {
    let server = server(&["fsync=off"]);
    let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options().history(64), server.port));

    assert_eq!(store.abilities().window, 64);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        writes::beyond_the_window_nothing_is_applied_again(&store).await;
        writes::asking_after_write_ids_shuts_out_no_other(&store).await;
        writes::a_write_id_from_ahead_is_not_ours(&store).await;
        writes::a_write_id_names_one_commit(&store).await;
    });
}
