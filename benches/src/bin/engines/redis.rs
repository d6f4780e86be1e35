//! `Redis` beside the same commands by hand, on a server of its own that keeps nothing on disk.

use std::cell::RefCell;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Script, Value, cmd};
use ifmatch::{Collection, Commit, Entry, Expected, Redis, Retry, Store, Version, WriteId};
use ifmatch_benches::rounds::{Contender, Measured, measure};
use tokio::runtime::{Builder, Runtime};

use crate::server::Server;

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
    connection: RefCell<MultiplexedConnection>,
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
        let script = Script::new(include_str!("../../../../src/backend/redis/commit.lua"));
        Self { connection: RefCell::new(connection), script }
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "one task uses it")]
    async fn get(&self, key: &str) -> Vec<u8> {
        let mut connection = self.connection.borrow_mut();
        cmd("GET").arg(key).query_async(&mut *connection).await.unwrap()
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "one task uses it")]
    async fn set(&self, key: &str, value: &[u8]) {
        let mut connection = self.connection.borrow_mut();
        cmd("SET").arg(key).arg(value).exec_async(&mut *connection).await.unwrap();
    }

    /// A compare-and-swap with a log, a truthful conflict and a write id: the version it made.
    #[expect(clippy::await_holding_refcell_ref, reason = "one task uses it")]
    async fn swap(&self, collection: &str, id: &str, expected: &[u8], value: &[u8], write: u128) -> Vec<u8> {
        let mut connection = self.connection.borrow_mut();
        let key = |name: &str| format!("ifmatch:{{{collection}}}:{name}");
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
        let answer: Vec<Value> = call.invoke_async(&mut *connection).await.unwrap();
        let Some(Value::BulkString(receipts)) = answer.into_iter().nth(1) else { panic!("a conflict") };
        receipts[..8].to_vec()
    }
}

/// Runs every measurement and prints what came out.
pub fn run() {
    let server = start();
    let url = format!("redis://127.0.0.1:{}", server.port);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for size in [100, 10_000] {
        alone(&runtime, &url, size);
    }
    hot(&url);
}

fn contender<'a, F: Future>(
    name: &'static str,
    runtime: &'a Runtime,
    mut operation: impl FnMut() -> F + 'a,
) -> Contender<'a> {
    Contender::timed(name, move |operations| {
        let begin = Instant::now();
        runtime.block_on(async {
            for _ in 0..operations {
                operation().await;
            }
        });
        begin.elapsed()
    })
}

/// One caller at a time.
fn alone(runtime: &Runtime, url: &str, size: usize) {
    let collection = format!("alone-{size}");
    let (store, hand) = runtime.block_on(async {
        let store = Redis::options().collection(&collection).connect(url).await.unwrap();
        (store, ByHand::connect(url).await)
    });
    let value: Arc<[u8]> = vec![7; size].into();
    let put = |id, expected: Expected| {
        let commit = Commit::one(Entry::put(id, expected, Arc::clone(&value))).with_write(WriteId::new());
        runtime.block_on(async { store.commit(commit).await.unwrap().version().unwrap() })
    };
    let (ours, theirs) = (put("ours", Expected::Absent), put("theirs", Expected::Absent));
    let key = format!("ifmatch:{{{collection}}}:v:ours");

    show(measure(
        format!("read of {size} bytes"),
        ROUNDS,
        SLICE,
        vec![
            contender("GET by hand", runtime, || async { assert!(hand.get(&key).await.len() > size) }),
            contender("Redis::get", runtime, || async {
                assert!(store.get("ours").await.unwrap().is_some())
            }),
        ],
    ));

    let current = RefCell::new(ours);
    let by_hand = RefCell::new(theirs.to_bits().get().to_be_bytes().to_vec());
    let swap_ours = || async {
        let expected: Version = *current.borrow();
        let entry = Entry::put("ours", expected, Arc::clone(&value));
        let committed = store.commit(Commit::one(entry).with_write(WriteId::new())).await.unwrap();
        *current.borrow_mut() = committed.version().unwrap();
    };
    let swap_by_hand = || async {
        let expected = by_hand.borrow().clone();
        let write = WriteId::new().to_bits();
        let version = hand.swap(&collection, "theirs", &expected, &value, write).await;
        *by_hand.borrow_mut() = version;
    };
    show(measure(
        format!("compare-and-swap of {size} bytes"),
        ROUNDS,
        SLICE,
        vec![
            contender("the same script by hand", runtime, swap_by_hand),
            contender("Redis::commit", runtime, swap_ours),
            contender("a bare SET", runtime, || hand.set("bare", &value)),
        ],
    ));
}

/// Sixteen writers of one id, each in a task.
fn hot(url: &str) {
    const WRITERS: u64 = 16;
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
            let store = Redis::options().collection(format!("hot-{round}")).connect(url).await.unwrap();
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
            let store = Redis::options().collection(format!("bare-{round}")).connect(url).await.unwrap();
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
                            if store.commit(Commit::one(put).with_write(WriteId::new())).await.is_ok() {
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
        let total = (WRITERS * EACH) as f64;
        println!(
            "hot id, {WRITERS} writers: modify {:.0} commits/s, {:.2} attempts each; bare loop {:.0} commits/s, {:.2} \
             attempts each; {:.2} x",
            total / ours.as_secs_f64(),
            attempts.load(Ordering::Relaxed) as f64 / total,
            total / bare.as_secs_f64(),
            tried.load(Ordering::Relaxed) as f64 / total,
            bare.as_secs_f64() / ours.as_secs_f64(),
        );
    }
}

fn show(measured: Measured) {
    println!("{}", measured.scenario);
    for result in &measured.results {
        let (low, high) = result.spread;
        println!(
            "  {:<26} {:>8.1} us   {:.3} x ({:.3} to {:.3})",
            result.name,
            result.nanoseconds / 1_000.0,
            1.0 / result.ratio,
            1.0 / high,
            1.0 / low,
        );
    }
}
