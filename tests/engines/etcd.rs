//! The store on etcd, against nodes that the tests start.

mod cluster;
mod faults;
mod history;
mod limits;
mod login;
mod window;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ifmatch::codec::Codec;
use ifmatch::conformance::{Sample, writes};
use ifmatch::engine::Deadlines;
use ifmatch::store::{Abilities, Durability, WriteId};
use ifmatch::{Encoded, Etcd, Json, Store, conformance, database_conformance};

use crate::faults::newest;
use crate::patience;
use crate::server::{Directory, Server, free_port, program};

/// One node that all tests share that don't disturb it.
static NODE: LazyLock<Server> = LazyLock::new(|| node(&[]));

/// A cluster of one node, with more arguments.
fn node(more: &[&str]) -> Server {
    let peer = format!("http://127.0.0.1:{}", free_port());
    member("one", &peer, &format!("one={peer}"), more)
}

/// A node of a cluster, which serves once enough of the others do.
fn member(name: &str, peer: &str, cluster: &str, more: &[&str]) -> Server {
    let mut arguments = vec!["--name", name, "--data-dir", "{directory}/data"];
    arguments.extend(["--listen-client-urls", "http://127.0.0.1:{port}"]);
    arguments.extend(["--advertise-client-urls", "http://127.0.0.1:{port}"]);
    arguments.extend(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    arguments.extend(["--initial-cluster", cluster, "--log-level", "error"]);
    arguments.extend(["--heartbeat-interval", "20", "--election-timeout", "200"]);
    arguments.extend(more);
    Server::start(program("etcd", &[], "etcd-server"), Directory::new(None), None, &arguments)
}

/// What etcd's own client says.
fn etcdctl(port: u16, arguments: &[&str]) -> String {
    try_etcdctl(port, arguments).unwrap_or_else(|problem| panic!("{arguments:?}: {problem}"))
}

/// What etcd's own client says, or why it fails.
fn try_etcdctl(port: u16, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program("etcdctl", &[], "etcd-client"))
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A name that no other test uses.
fn unused(what: &str) -> String {
    patience::watch();
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn url(port: u16) -> String {
    format!("etcd://127.0.0.1:{port}/tests")
}

/// A new namespace on the shared node.
fn fresh() -> Etcd {
    Etcd::options().namespace(unused("law")).connect(&url(NODE.port)).wait().unwrap()
}

/// A write id at the newest version of a store.
fn drawn(store: &(impl Store<[u8]> + ?Sized)) -> WriteId {
    newest(store).unwrap().write()
}

/// Deadlines for tests in which they pass.
fn short() -> Deadlines {
    let milliseconds = Duration::from_millis;
    Deadlines { connect: milliseconds(2_000), read: milliseconds(500), commit: milliseconds(500) }
}

/// One store for all laws, which run at the same time.
fn shared() -> Arc<dyn Store<[u8]>> {
    static SHARED: LazyLock<Arc<Etcd>> = LazyLock::new(|| Arc::new(fresh()));
    Arc::clone(&*SHARED) as Arc<dyn Store<[u8]>>
}

fn declared() -> Abilities {
    let mut abilities = Abilities::default();
    abilities.entries = 125;
    abilities.watch = true;
    abilities.tombstones = false;
    abilities.durability = Durability::Strict;
    abilities.window = 100_000;
    abilities.may_lose_answers = true;
    abilities.detects_restore = false;
    abilities
}

fn encoded<T: Sample>(bytes: impl Store<[u8]>) -> Arc<dyn Store<T>>
where
    Json: Codec<T>,
{
    Arc::new(Encoded::new(bytes, Json))
}

conformance!(etcd, fresh(), declared());
conformance!(etcd_shared_by_all_laws, shared(), declared());
database_conformance!(database_in_etcd, ifmatch::Database::new(fresh()));
conformance!(encoded_over_etcd, encoded::<u64>(fresh()), declared());

/// A short memory, which the other laws would outrun at the same time.
#[tokio::test]
async fn write_ids_keep_their_laws_where_little_is_remembered() {
    let options = Etcd::options().namespace(unused("little")).history(64);
    let store: Arc<dyn Store<[u8]>> = Arc::new(options.connect(&url(NODE.port)).await.unwrap());

    assert_eq!(store.abilities().window, 64);
    writes::beyond_the_window_nothing_is_applied_again(&store).await;
    writes::asking_after_write_ids_shuts_out_no_other(&store).await;
    writes::a_write_id_from_ahead_is_not_ours(&store).await;
    writes::a_write_id_names_one_commit(&store).await;
}

#[test]
fn whoever_outlives_the_runtime_of_a_store_is_told() {
    crate::runtime::whoever_outlives_the_runtime_of_a_store_is_told(|| async {
        let opening = Etcd::options().namespace(unused("ended")).connect(&url(NODE.port));
        Arc::new(opening.await.unwrap()) as Arc<dyn Store<[u8]>>
    });
}
