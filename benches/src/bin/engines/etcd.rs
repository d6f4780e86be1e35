//! `Etcd` beside the same calls by hand, on a node of its own.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, KvClient, Txn, TxnOp};
use ifmatch::store::WriteId;
use ifmatch::{Collection, Commit, Entry, Etcd, Expected, Retry, Store};
use ifmatch_benches::listing::listing;
use ifmatch_benches::rounds::{Contender, Measured, measure, timed};
use ifmatch_benches::server::{Server, free_port};
use tokio::runtime::{Builder, Runtime};

use crate::report::{HotId, Writers, show};

const ROUNDS: usize = 31;
const SLICE: Duration = Duration::from_millis(150);
const VALUE: [u8; 250] = [b'v'; 250];
const WRITERS: u64 = HotId::WRITERS;

fn start() -> Server {
    Server::start("etcd", |port, directory| {
        let (client, peer) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
        let mut etcd = Command::new("etcd");
        etcd.args(["--name", "one", "--log-level", "error", "--data-dir"]).arg(directory);
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        etcd.args(["--initial-cluster", &format!("one={peer}"), "--quota-backend-bytes", "8589934592"]);
        etcd
    })
}

pub fn run() {
    let server = start();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let endpoint = format!("127.0.0.1:{}", server.port);
    let store = runtime.block_on(Etcd::connect(&format!("etcd://{endpoint}/bench"))).unwrap();
    let kv = runtime.block_on(Client::connect([&endpoint], None)).unwrap().kv_client();

    show(&read(&runtime, &store, &kv));
    show(&compare_and_swap(&runtime, &store, &kv));
    show(&listing(&store));
    hot_id(&runtime, &endpoint, &kv);
}

fn read(runtime: &Runtime, store: &Etcd, kv: &KvClient) -> Measured {
    let put = Commit::one(Entry::put("read", Expected::Any, VALUE.into()));
    runtime.block_on(store.commit(put)).unwrap();
    let ours = Contender::timed("Etcd::get", |operations| {
        timed(runtime, operations, async || assert!(store.get("read").await.unwrap().is_some()))
    });
    let by_hand = Contender::timed("get by hand", |operations| {
        timed(runtime, operations, async || {
            let found = kv.clone().get("bench/default:r:read", None).await.unwrap();
            assert_eq!(found.kvs().len(), 1);
        })
    });
    measure("read", ROUNDS, SLICE, vec![ours, by_hand])
}

fn compare_and_swap(runtime: &Runtime, store: &Etcd, kv: &KvClient) -> Measured {
    let put = Commit::one(Entry::put("swap", Expected::Any, VALUE.into()));
    let mut version = runtime.block_on(store.commit(put)).unwrap().version().unwrap();
    // The ids by hand are drawn where ours begin: they name keys, and nothing judges their place.
    let first = version;
    let ours = Contender::timed("Etcd::commit under a write id", |operations| {
        timed(runtime, operations, async || {
            let put = Entry::put("swap", version, VALUE.into());
            let write = WriteId::after(Some(version));
            let committed = store.commit(Commit::one(put).with_write(write)).await.unwrap();
            version = committed.version().unwrap();
        })
    });

    let manifest =
        runtime.block_on(kv.clone().get("bench/default:manifest", None)).unwrap().kvs()[0].value().to_vec();
    runtime.block_on(kv.clone().put("bench/hand:manifest", manifest.clone(), None)).unwrap();
    let mut revision = runtime.block_on(set(kv, "bench/same"));
    let same = Contender::timed("transaction with the same guarantees", |operations| {
        timed(runtime, operations, async || {
            let write = WriteId::after(Some(first)).to_string();
            let (applied, closed) = (format!("bench/hand:w:{write}"), format!("bench/hand:c:{write}"));
            let transaction = Txn::new()
                .when([
                    Compare::value("bench/hand:manifest", CompareOp::Equal, manifest.clone()),
                    Compare::create_revision(&*applied, CompareOp::Equal, 0),
                    Compare::create_revision(&*closed, CompareOp::Equal, 0),
                    Compare::mod_revision("bench/same", CompareOp::Equal, revision),
                ])
                .and_then([TxnOp::put("bench/same", VALUE, None), TxnOp::put(&*applied, [0; 20], None)])
                .or_else([
                    TxnOp::get("bench/hand:manifest", None),
                    TxnOp::get(&*applied, None),
                    TxnOp::get(&*closed, None),
                    TxnOp::get("bench/same", None),
                ]);
            revision = applied_in(kv.clone().txn(transaction).await.unwrap());
        })
    });

    let mut last = runtime.block_on(set(kv, "bench/bare"));
    let bare = Contender::timed("bare transaction", |operations| {
        timed(runtime, operations, async || {
            let transaction = Txn::new()
                .when([Compare::mod_revision("bench/bare", CompareOp::Equal, last)])
                .and_then([TxnOp::put("bench/bare", VALUE, None)])
                .or_else([TxnOp::get("bench/bare", None)]);
            last = applied_in(kv.clone().txn(transaction).await.unwrap());
        })
    });
    measure("compare and swap", ROUNDS, SLICE, vec![ours, same, bare])
}

async fn set(kv: &KvClient, key: &str) -> i64 {
    kv.clone().put(key, VALUE, None).await.unwrap().header().unwrap().revision()
}

fn applied_in(answer: etcd_client::TxnResponse) -> i64 {
    assert!(answer.succeeded());
    answer.header().unwrap().revision()
}

/// 16 tasks that add one to the same number: through `Collection::modify`, and as one writes it on the bare driver.
fn hot_id(runtime: &Runtime, endpoint: &str, kv: &KvClient) {
    const EACH: u64 = 100;
    for round in 0..5 {
        let attempts = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&attempts);
        let retry =
            Retry::default().attempts(10_000).deadline(Duration::from_secs(120)).report(move |report| {
                seen.fetch_add(u64::from(report.attempts), Ordering::Relaxed);
            });
        let ours = runtime.block_on(async {
            let options = Etcd::options().namespace(format!("hot-{round}"));
            let store = options.connect(&format!("etcd://{endpoint}/bench")).await.unwrap();
            let counts = Collection::<u64>::json(store).with_retry(retry);
            counts.create("count", 0).await.unwrap();
            attempts.store(0, Ordering::Relaxed);
            let took = together(|| {
                let counts = counts.clone();
                async move {
                    for _ in 0..EACH {
                        counts.modify("count", |count| *count += 1).await.unwrap();
                    }
                }
            });
            let took = took.await;
            assert_eq!(*counts.fetch("count").await.unwrap().value, WRITERS * EACH);
            took
        });

        let tried = Arc::new(AtomicU64::new(0));
        let bare = runtime.block_on(async {
            let key = format!("bench/bare-{round}");
            kv.clone().put(&*key, "0", None).await.unwrap();
            together(|| {
                let (mut kv, key, tried) = (kv.clone(), key.clone(), Arc::clone(&tried));
                async move {
                    for _ in 0..EACH {
                        loop {
                            tried.fetch_add(1, Ordering::Relaxed);
                            let found = kv.get(&*key, None).await.unwrap();
                            let found = &found.kvs()[0];
                            let count: u64 = found.value_str().unwrap().parse().unwrap();
                            let transaction = Txn::new()
                                .when([Compare::mod_revision(&*key, CompareOp::Equal, found.mod_revision())])
                                .and_then([TxnOp::put(&*key, (count + 1).to_string(), None)]);
                            if kv.txn(transaction).await.unwrap().succeeded() {
                                break;
                            }
                        }
                    }
                }
            })
            .await
        });
        HotId {
            changes: WRITERS * EACH,
            gated: Writers { took: ours, attempts: attempts.load(Ordering::Relaxed) },
            bare: Writers { took: bare, attempts: tried.load(Ordering::Relaxed) },
        }
        .show();
    }
}

/// How long it takes until every writer is done.
async fn together<F: Future<Output = ()> + Send + 'static>(writer: impl Fn() -> F) -> Duration {
    let begin = Instant::now();
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(writer())).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    begin.elapsed()
}
