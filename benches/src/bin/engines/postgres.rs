//! `Postgres` beside the same by hand, on a server of its own with the settings that PostgreSQL comes with.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use ifmatch::store::WriteId;
use ifmatch::{Collection, Commit, Entry, Expected, Postgres, Retry, Store, Version};
use ifmatch_benches::listing::listing;
use ifmatch_benches::rounds::{Contender, Measured, measure, timed};
use ifmatch_benches::server::Server;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, Statement};

use crate::report::{HotId, Writers, show};

const VALUE: [u8; 250] = [b'v'; 250];
const ROUNDS: usize = 31;
const SLICE: Duration = Duration::from_millis(150);
const WRITERS: u64 = HotId::WRITERS;

/// The same by hand.
struct Hand {
    pool: Pool,
    name: &'static str,
}

impl Hand {
    async fn new(url: &str, name: &'static str) -> Self {
        let mut config: tokio_postgres::Config = url.parse().unwrap();
        // As the store has it: else the plans differ, and not the work around them.
        config.options("-c enable_seqscan=off");
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, NoTls, manager);
        let pool = Pool::builder(manager).max_size(16).build().unwrap();
        let table = "CREATE TABLE bare (id text PRIMARY KEY, version bigint NOT NULL, value bytea NOT NULL)";
        pool.get().await.unwrap().batch_execute(table).await.unwrap();
        Self { pool, name }
    }

    /// The row as the store has it.
    async fn read(&self, id: &str) -> (i64, Vec<u8>) {
        let client = self.pool.get().await.unwrap();
        let text = "SELECT version, format, checksum, value FROM ifmatch WHERE namespace = $1 AND id = $2";
        let statement = client.prepare_typed_cached(text, &[Type::TEXT, Type::TEXT]).await.unwrap();
        let row = client.query_one(&statement, &[&self.name, &id]).await.unwrap();
        (row.get(0), row.get(3))
    }

    /// The store's own statement.
    async fn swap(&self, id: &str, version: i64) -> i64 {
        let client = self.pool.get().await.unwrap();
        let text =
            "SELECT * FROM ifmatch_commit_one_1($1, $2, 1, $3, false, 64, 5, 5000, $4, 'p', 'v', $5, 0, $6)";
        let types = [Type::TEXT, Type::BYTEA, Type::INT8, Type::TEXT, Type::INT8, Type::BYTEA];
        let statement: Statement = client.prepare_typed_cached(text, &types).await.unwrap();
        let seen = NonZeroU64::new(version as u64).map(Version::from_bits);
        let write = WriteId::after(seen).to_bits();
        let (bytes, key) = (write.to_be_bytes(), write as i64);
        let row = client
            .query_one(&statement, &[&self.name, &&bytes[..], &key, &id, &version, &&VALUE[..]])
            .await
            .unwrap();
        row.get(2)
    }

    async fn bare_create(&self, id: &str, value: &[u8]) {
        let client = self.pool.get().await.unwrap();
        client.execute("INSERT INTO bare VALUES ($1, 1, $2)", &[&id, &value]).await.unwrap();
    }

    /// The bare minimum: no log, no write id, no truth about a conflict.
    async fn bare_update(&self, id: &str, version: i64, value: &[u8]) -> bool {
        let client = self.pool.get().await.unwrap();
        let text = "UPDATE bare SET version = version + 1, value = $3 WHERE id = $1 AND version = $2";
        let statement = client.prepare_cached(text).await.unwrap();
        client.execute(&statement, &[&id, &version, &value]).await.unwrap() == 1
    }

    async fn bare_read(&self, id: &str) -> (i64, Vec<u8>) {
        let client = self.pool.get().await.unwrap();
        let statement = client.prepare_cached("SELECT version, value FROM bare WHERE id = $1").await.unwrap();
        let row = client.query_one(&statement, &[&id]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

pub fn run() {
    let server = Server::postgres();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let store = loop {
        // It accepts connections before it takes logins.
        match runtime.block_on(Postgres::options().namespace("bench").connect(&url)) {
            Ok(store) => break Arc::new(store),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let hand = runtime.block_on(Hand::new(&url, "bench"));

    show(&read(&runtime, &store, &hand));
    show(&compare_and_swap(&runtime, &store, &hand));
    show(&listing(&*store));
    for round in 0..5 {
        hot_id(&runtime, &store, &hand, round);
    }
    // While there is a runtime: what is dropped later can't close its connections.
    drop((store, hand));
}

async fn create(store: &Postgres, id: &str) -> Version {
    let entry = Entry::put(id, Expected::Absent, VALUE.into());
    store.commit(Commit::one(entry)).await.unwrap().version().unwrap()
}

fn read(runtime: &Runtime, store: &Postgres, hand: &Hand) -> Measured {
    runtime.block_on(create(store, "read"));
    let ours = Contender::timed("Postgres::get", |operations| {
        timed(runtime, operations, async || assert!(store.get("read").await.unwrap().is_some()))
    });
    let by_hand = Contender::timed("the same statement by hand", |operations| {
        timed(runtime, operations, async || assert!(!hand.read("read").await.1.is_empty()))
    });
    measure("read", ROUNDS, SLICE, vec![ours, by_hand])
}

fn compare_and_swap(runtime: &Runtime, store: &Postgres, hand: &Hand) -> Measured {
    let mut version = runtime.block_on(create(store, "swap"));
    let ours = Contender::timed("Postgres::commit under a write id", |operations| {
        timed(runtime, operations, async || {
            let put = Entry::put("swap", version, VALUE.into());
            let committed =
                store.commit(Commit::one(put).with_write(WriteId::after(Some(version)))).await.unwrap();
            version = committed.version().unwrap();
        })
    });
    let mut current = runtime.block_on(create(store, "same")).to_bits().get() as i64;
    let same = Contender::timed("the same function by hand", |operations| {
        timed(runtime, operations, async || current = hand.swap("same", current).await)
    });
    runtime.block_on(hand.bare_create("bare", &VALUE));
    let mut last = 1;
    let bare = Contender::timed("a bare UPDATE", |operations| {
        timed(runtime, operations, async || {
            assert!(hand.bare_update("bare", last, &VALUE).await);
            last += 1;
        })
    });
    measure("compare and swap", ROUNDS, SLICE, vec![ours, same, bare])
}

/// A value of 250 bytes, and as many of JSON.
fn numbered(number: u64) -> String {
    format!("{number:0248}")
}

/// 16 tasks that add one to the same number: through `Collection::modify`, and as one writes it on the bare driver.
fn hot_id(runtime: &Runtime, store: &Arc<Postgres>, hand: &Hand, round: usize) {
    const EACH: u64 = 50;
    let id = format!("hot-{round}");
    let attempts = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&attempts);
    let retry = Retry::default().attempts(10_000).deadline(Duration::from_secs(120)).report(move |report| {
        seen.fetch_add(u64::from(report.attempts), Ordering::Relaxed);
    });
    let texts = Collection::<String>::json(Arc::clone(store)).with_retry(retry);
    let ours = runtime.block_on(async {
        texts.create(&*id, numbered(0)).await.unwrap();
        attempts.store(0, Ordering::Relaxed);
        let change = |text: &mut String| *text = numbered(text.parse::<u64>().unwrap() + 1);
        let took = together(async || drop(texts.modify(&*id, change).await.unwrap()), EACH).await;
        assert_eq!(*texts.fetch(&*id).await.unwrap().value, numbered(WRITERS * EACH));
        took
    });

    let tried = AtomicU64::new(0);
    let bare = runtime.block_on(async {
        hand.bare_create(&id, numbered(0).as_bytes()).await;
        let once = async || {
            loop {
                tried.fetch_add(1, Ordering::Relaxed);
                let (version, text) = hand.bare_read(&id).await;
                let number: u64 = String::from_utf8(text).unwrap().parse().unwrap();
                if hand.bare_update(&id, version, numbered(number + 1).as_bytes()).await {
                    break;
                }
            }
        };
        let took = together(once, EACH).await;
        assert_eq!(hand.bare_read(&id).await.1, numbered(WRITERS * EACH).as_bytes());
        took
    });
    HotId {
        changes: WRITERS * EACH,
        gated: Writers { took: ours, attempts: attempts.load(Ordering::Relaxed) },
        bare: Writers { took: bare, attempts: tried.load(Ordering::Relaxed) },
    }
    .show();
}

/// How long it takes until every writer has done it so many times.
async fn together(once: impl AsyncFn(), times: u64) -> Duration {
    let writer = async || {
        for _ in 0..times {
            once().await;
        }
    };
    let begin = Instant::now();
    let mut all: Vec<_> = (0..WRITERS).map(|_| Box::pin(writer())).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|writer| writer.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    begin.elapsed()
}
