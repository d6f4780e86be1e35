//! `Postgres` beside the same by hand, in the database that `IFMATCH_POSTGRES` names.
//!
//! Rounds are interleaved, and only ratios within a round are compared: the median over the rounds is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use ifmatch::{Collection, Commit, Entry, Postgres, Store, Version, WriteId};
use tokio::runtime::Builder;
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Statement};

const VALUE: [u8; 250] = [b'v'; 250];
const OPERATIONS: usize = 300;
const ROUNDS: usize = 15;
const WRITERS: u64 = 16;
const HOT: Duration = Duration::from_secs(2);

pub(crate) fn run() {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(measure());
}

async fn measure() {
    let url = std::env::var("IFMATCH_POSTGRES").expect("IFMATCH_POSTGRES names a database to write to");
    let name = format!("bench {}", WriteId::new());
    let store = Arc::new(Postgres::options().collection(&name).connect(&url).await.unwrap());
    let hand = Hand::new(&url, name).await;

    reads(&store, &hand).await;
    swaps(&store, &hand).await;
    hot_id(&store, &hand).await;
}

/// The same by hand.
struct Hand {
    pool: Pool,
    name: String,
}

impl Hand {
    async fn new(url: &str, name: String) -> Self {
        let mut config: tokio_postgres::Config = url.parse().unwrap();
        // As the store has it: else the plans differ, and not the work around them.
        config.options("-c enable_seqscan=off");
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, NoTls, manager);
        let pool = Pool::builder(manager).max_size(16).build().unwrap();
        let table = "CREATE TABLE IF NOT EXISTS ifmatch_bench
                         (id text PRIMARY KEY, version bigint NOT NULL, value bytea NOT NULL)";
        let row = "INSERT INTO ifmatch_bench VALUES ('a', 1, $1), ('hot', 1, $1)
                       ON CONFLICT (id) DO UPDATE SET version = 1, value = excluded.value";
        let client = pool.get().await.unwrap();
        client.batch_execute(table).await.unwrap();
        client.execute(row, &[&&VALUE[..]]).await.unwrap();
        Self { pool, name }
    }

    /// The row as the store has it.
    async fn read(&self, id: &str) -> (i64, Vec<u8>) {
        let client = self.pool.get().await.unwrap();
        let text = "SELECT version, format, checksum, value FROM ifmatch WHERE collection = $1 AND id = $2";
        let statement = client.prepare_typed_cached(text, &[Type::TEXT, Type::TEXT]).await.unwrap();
        let row = client.query_one(&statement, &[&self.name, &id]).await.unwrap();
        (row.get(0), row.get(3))
    }

    /// The store's own statement.
    async fn swap(&self, id: &str, version: i64) -> i64 {
        let client = self.pool.get().await.unwrap();
        let text = "SELECT * FROM ifmatch_commit_one_1($1, $2, $3, false, 5, '5s', $4, 'p', 'v', $5, 0, $6)";
        let types = [Type::TEXT, Type::BYTEA, Type::INT8, Type::TEXT, Type::INT8, Type::BYTEA];
        let statement: Statement = client.prepare_typed_cached(text, &types).await.unwrap();
        let write = WriteId::new().to_bits();
        let (bytes, key) = (write.to_be_bytes(), write as i64);
        let row = client
            .query_one(&statement, &[&self.name, &&bytes[..], &key, &id, &version, &&VALUE[..]])
            .await
            .unwrap();
        row.get(2)
    }

    /// The bare minimum: no log, no write id, no truth about a conflict.
    async fn update(&self, id: &str, version: i64) -> bool {
        let client = self.pool.get().await.unwrap();
        let text =
            "UPDATE ifmatch_bench SET version = version + 1, value = $3 WHERE id = $1 AND version = $2";
        let statement = client.prepare_cached(text).await.unwrap();
        client.execute(&statement, &[&id, &version, &&VALUE[..]]).await.unwrap() == 1
    }

    async fn bare_version(&self, id: &str) -> i64 {
        let client = self.pool.get().await.unwrap();
        let statement =
            client.prepare_cached("SELECT version FROM ifmatch_bench WHERE id = $1").await.unwrap();
        client.query_one(&statement, &[&id]).await.unwrap().get(0)
    }
}

async fn put(store: &Postgres, id: &str, version: Version) -> Version {
    let entry = Entry::put(id, version, VALUE.into());
    let commit = Commit::one(entry).with_write(WriteId::new());
    store.commit(commit).await.unwrap().version().unwrap()
}

async fn create(store: &Postgres, id: &str) -> Version {
    let entry = Entry::put(id, ifmatch::Expected::Any, VALUE.into());
    store.commit(Commit::one(entry)).await.unwrap().version().unwrap()
}

async fn reads(store: &Postgres, hand: &Hand) {
    create(store, "a").await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let ours = timed(async || drop(store.get("a").await.unwrap())).await;
        let theirs = timed(async || drop(hand.read("a").await)).await;
        rounds.push([ours, theirs, theirs]);
    }
    tell("read", rounds);
}

async fn swaps(store: &Postgres, hand: &Hand) {
    let mut version = create(store, "a").await;
    let mut by_hand = create(store, "b").await.to_bits().get() as i64;
    let mut bare = hand.bare_version("a").await;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let ours = timed(async || version = put(store, "a", version).await).await;
        let same = timed(async || by_hand = hand.swap("b", by_hand).await).await;
        let least = timed(async || {
            assert!(hand.update("a", bare).await);
            bare += 1;
        });
        rounds.push([ours, same, least.await]);
    }
    tell("compare-and-swap", rounds);
}

/// The time of one call.
async fn timed(mut call: impl AsyncFnMut()) -> Duration {
    let began = Instant::now();
    for _ in 0..OPERATIONS {
        call().await;
    }
    began.elapsed() / OPERATIONS as u32
}

/// Median times, and median ratios of ours to the same by hand and to the bare minimum.
fn tell(what: &str, rounds: Vec<[Duration; 3]>) {
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    let of = |nth: usize| median(rounds.iter().map(|round| round[nth].as_secs_f64() * 1e6).collect());
    let ratio = |nth: usize| {
        median(rounds.iter().map(|round| round[0].as_secs_f64() / round[nth].as_secs_f64()).collect())
    };
    println!(
        "{what}: {:.0} us, by hand {:.0} us ({:.2} x), bare {:.0} us ({:.2} x)",
        of(0),
        of(1),
        ratio(1),
        of(2),
        ratio(2)
    );
}

/// Sixteen writers that each change one id as often as they can: through the gate, and in a bare loop.
async fn hot_id(store: &Arc<Postgres>, hand: &Hand) {
    let texts = Collection::<String>::json(Arc::clone(store));
    texts.put("hot", "v".repeat(250)).await.unwrap();
    let (mut commits, mut attempts) = ([0, 0], [0, 0]);
    for _ in 0..3 {
        let (made, tried) = (AtomicU64::new(0), AtomicU64::new(0));
        writers(|| async {
            let change = |value: &mut String| {
                tried.fetch_add(1, Ordering::Relaxed);
                value.make_ascii_lowercase();
            };
            texts.modify("hot", change).await.unwrap();
            made.fetch_add(1, Ordering::Relaxed);
        })
        .await;
        commits[0] += made.load(Ordering::Relaxed);
        attempts[0] += tried.load(Ordering::Relaxed);

        let (made, tried) = (AtomicU64::new(0), AtomicU64::new(0));
        writers(|| async {
            loop {
                let version = hand.bare_version("hot").await;
                tried.fetch_add(1, Ordering::Relaxed);
                if hand.update("hot", version).await {
                    break;
                }
            }
            made.fetch_add(1, Ordering::Relaxed);
        })
        .await;
        commits[1] += made.load(Ordering::Relaxed);
        attempts[1] += tried.load(Ordering::Relaxed);
    }
    for (who, nth) in [("modify with the gate", 0), ("bare retry loop", 1)] {
        println!(
            "hot id, {WRITERS} writers, {who}: {:.0} commits/s, {:.2} attempts a commit",
            commits[nth] as f64 / (3.0 * HOT.as_secs_f64()),
            attempts[nth] as f64 / commits[nth] as f64
        );
    }
}

/// Runs as many writers until the time is over.
async fn writers<F: Future<Output = ()>>(work: impl Fn() -> F) {
    let end = Instant::now() + HOT;
    let writer = || async {
        while Instant::now() < end {
            work().await;
        }
    };
    let mut all: Vec<_> = (0..WRITERS).map(|_| Box::pin(writer())).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|writer| writer.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
