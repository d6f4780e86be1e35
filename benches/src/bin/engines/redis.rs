//! `Redis` beside the same commands by hand, on a server of its own that keeps nothing on disk.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Script, Value, cmd};
use ifmatch::store::WriteId;
use ifmatch::{Collection, Commit, Entry, Expected, Redis, Retry, Store};
use ifmatch_benches::listing::listing;
use ifmatch_benches::rounds::{Contender, measure};
use ifmatch_benches::server::Server;
use tokio::runtime::{Builder, Runtime};

use crate::report::{HotId, Writers, show};

const ROUNDS: usize = 41;
const SLICE: Duration = Duration::from_millis(120);

fn start() -> Server {
    Server::start("redis", |port, directory| {
        let mut redis = Command::new("redis-server");
        redis.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"]).arg(directory);
        redis
    })
}

/// What a program would write on the bare driver.
struct ByHand {
    connection: MultiplexedConnection,
    script: Script,
}

impl ByHand {
    async fn connect(url: &str) -> Self {
        let client = Client::open(url).unwrap();
        let information = client.get_connection_info().clone();
        let tcp = information.tcp_settings().clone().set_nodelay(true);
        let client = Client::open(information.set_tcp_settings(tcp)).unwrap();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(5)));
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let script = Script::new(concat!(
            "#!lua\n",
            include_str!("../../../../src/backend/redis/common.lua"),
            include_str!("../../../../src/backend/redis/commit.lua"),
        ));
        Self { connection, script }
    }

    async fn get(&self, key: &str) -> Vec<u8> {
        cmd("GET").arg(key).query_async(&mut self.connection.clone()).await.unwrap()
    }

    async fn set(&self, key: &str, value: &[u8]) {
        cmd("SET").arg(key).arg(value).exec_async(&mut self.connection.clone()).await.unwrap();
    }

    /// A compare-and-swap with a log, a truthful conflict and a write id: the version it made.
    async fn swap(&self, namespace: &str, id: &str, expected: &[u8], value: &[u8], write: u128) -> Vec<u8> {
        let key = |name: &str| format!("ifmatch:{{{namespace}}}:{name}");
        let mut call = self.script.prepare_invoke();
        for name in ["meta", "ids", "deleted", "log", "writes"] {
            call.key(key(name));
        }
        call.key(key(&format!("v:{id}")));
        let write = write.to_be_bytes();
        // As the store does: a large record is whole, and numbered in its place.
        let (put, head) = match value.len() < 1024 {
            true => (b"pv", vec![0; 4]),
            false => (b"Pv", [&[2, 0, 0, 0, 0, 0, 0], &write[13..], &[0; 4]].concat()),
        };
        let (spec, record) = ([put, expected].concat(), [&head, value].concat());
        call.arg(100_000).arg(&write[13..]).arg(&write[..]).arg(spec).arg(record);
        let answer: Vec<Value> = call.invoke_async(&mut self.connection.clone()).await.unwrap();
        let Some(Value::BulkString(receipts)) = answer.into_iter().nth(1) else { panic!("a conflict") };
        receipts[..8].to_vec()
    }
}

/// Runs every measurement and prints what came out.
pub fn run() {
    let server = start();
    let url = format!("redis://127.0.0.1:{}", server.port);
    // Of the kind that a server has, where the caller and both connections share the threads. One is enough: more of them
    // pass the tasks on to each other, now here and now there.
    let several = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for size in [100, 10_000] {
        alone(&several, &url, "", size);
    }
    // The store keeps its connection on a thread of its own there.
    let single = Builder::new_current_thread().enable_all().build().unwrap();
    alone(&single, &url, ", on a runtime of one thread", 100);
    hot(&url);
    show(&listing(&Redis::options().namespace("listing").connect(&url).wait().unwrap()));
}

/// Times so many operations in a task of the runtime, where the connection is a task too.
fn contender<'a, F: Future<Output = ()> + Send + 'static>(
    name: &'static str,
    runtime: &'a Runtime,
    mut operations: impl FnMut(usize) -> F + 'a,
) -> Contender<'a> {
    Contender::timed(name, move |count| {
        let begin = Instant::now();
        runtime.block_on(runtime.spawn(operations(count))).unwrap();
        begin.elapsed()
    })
}

/// One caller at a time.
fn alone(runtime: &Runtime, url: &str, whence: &str, size: usize) {
    let namespace = format!("alone-{size}{}", whence.replace(|letter: char| !letter.is_alphabetic(), ""));
    let (store, hand) = runtime
        .block_on(runtime.spawn({
            let (url, namespace) = (url.to_owned(), namespace.clone());
            async move {
                let store = Redis::options().namespace(namespace).connect(&url).await.unwrap();
                (Arc::new(store), Arc::new(ByHand::connect(&url).await))
            }
        }))
        .unwrap();
    let value: Arc<[u8]> = vec![7; size].into();
    for id in ["ours", "theirs"] {
        let commit = Commit::one(Entry::put(id, Expected::Absent, Arc::clone(&value)));
        runtime.block_on(async { store.commit(commit).await.unwrap() });
    }
    let key = move |id: &str| format!("ifmatch:{{{namespace}}}:v:{id}");

    let get_by_hand = |count| {
        let (hand, key) = (Arc::clone(&hand), key("ours"));
        async move {
            for _ in 0..count {
                assert!(hand.get(&key).await.len() > size);
            }
        }
    };
    let get = |count| {
        let store = Arc::clone(&store);
        async move {
            for _ in 0..count {
                assert_eq!(store.get("ours").await.unwrap().unwrap().value.len(), size);
            }
        }
    };
    show(&measure(
        format!("read of {size} bytes{whence}"),
        ROUNDS,
        SLICE,
        vec![contender("Redis::get", runtime, get), contender("GET by hand", runtime, get_by_hand)],
    ));

    let swap_by_hand = |count| {
        let (hand, value, key) = (Arc::clone(&hand), Arc::clone(&value), key("theirs"));
        async move {
            let namespace = key.split(['{', '}']).nth(1).unwrap();
            let mut version = hand.get(&key).await[2..10].to_vec();
            for _ in 0..count {
                let write = WriteId::after(None).to_bits();
                version = hand.swap(namespace, "theirs", &version, &value, write).await;
            }
        }
    };
    let swap = |count| {
        let (store, value) = (Arc::clone(&store), Arc::clone(&value));
        async move {
            let mut version = store.get("ours").await.unwrap().unwrap().version;
            for _ in 0..count {
                let put = Entry::put("ours", version, Arc::clone(&value));
                let committed =
                    store.commit(Commit::one(put).with_write(WriteId::after(None))).await.unwrap();
                version = committed.version().unwrap();
            }
        }
    };
    let set = |count| {
        let (hand, value) = (Arc::clone(&hand), Arc::clone(&value));
        async move {
            for _ in 0..count {
                hand.set("bare", &value).await;
            }
        }
    };
    show(&measure(
        format!("compare-and-swap of {size} bytes{whence}"),
        ROUNDS,
        SLICE,
        vec![
            contender("Redis::commit", runtime, swap),
            contender("the same script by hand", runtime, swap_by_hand),
            contender("a bare SET", runtime, set),
        ],
    ));
}

/// Sixteen writers of one id, each in a task.
fn hot(url: &str) {
    const WRITERS: u64 = HotId::WRITERS;
    const EACH: u64 = 500;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for round in 0..3 {
        let attempts = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&attempts);
        let retry =
            Retry::default().attempts(10_000).deadline(Duration::from_secs(120)).report(move |report| {
                seen.fetch_add(u64::from(report.attempts), Ordering::Relaxed);
            });
        let ours = runtime.block_on(async {
            let store = Redis::options().namespace(format!("hot-{round}")).connect(url).await.unwrap();
            let counts = Collection::<u64>::json(store).with_retry(retry);
            counts.create("count", 0).await.unwrap();
            attempts.store(0, Ordering::Relaxed);
            let begin = Instant::now();
            let writers = (0..WRITERS).map(|_| {
                let counts = counts.clone();
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        counts.modify("count", |count| *count += 1).await.unwrap();
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
            let took = begin.elapsed();
            assert_eq!(*counts.fetch("count").await.unwrap().value, WRITERS * EACH);
            took
        });
        let tried = Arc::new(AtomicU64::new(0));
        let bare = runtime.block_on(async {
            let store = Redis::options().namespace(format!("bare-{round}")).connect(url).await.unwrap();
            let store: Arc<dyn Store<[u8]>> = Arc::new(store);
            let number = |number: u64| Arc::<[u8]>::from(number.to_string().into_bytes());
            store.commit(Commit::one(Entry::put("count", Expected::Absent, number(0)))).await.unwrap();
            let begin = Instant::now();
            let writers = (0..WRITERS).map(|_| {
                let (store, tried) = (Arc::clone(&store), Arc::clone(&tried));
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        loop {
                            tried.fetch_add(1, Ordering::Relaxed);
                            let current = store.get("count").await.unwrap().unwrap();
                            let count: u64 = std::str::from_utf8(&current.value).unwrap().parse().unwrap();
                            let put = Entry::put("count", current.version, number(count + 1));
                            if store.commit(Commit::one(put).with_write(WriteId::after(None))).await.is_ok() {
                                break;
                            }
                        }
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
            begin.elapsed()
        });
        HotId {
            changes: WRITERS * EACH,
            gated: Writers { took: ours, attempts: attempts.load(Ordering::Relaxed) },
            bare: Writers { took: bare, attempts: tried.load(Ordering::Relaxed) },
        }
        .show();
    }
}
