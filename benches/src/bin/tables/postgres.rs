//! tokio-postgres and a pool, on a server of its own with the settings that PostgreSQL comes with.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod};
use ifmatch::store::{Condition, Failure, Intent, Outcome};
use ifmatch::table::{Contended, Contention};
use ifmatch::{Error, Retry, Version, Versioned};
use ifmatch_benches::rounds::{Contender, Measured, measure, timed};
use ifmatch_benches::server::Server;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{NoTls, Row};

use crate::{Item, TEXT, show};

const ROUNDS: usize = 61;
const SLICE: Duration = Duration::from_millis(60);

const TABLE: &str = "CREATE SEQUENCE versions;
    CREATE TABLE items (id text PRIMARY KEY, version bigint NOT NULL, name text NOT NULL, count bigint NOT NULL)";
const INSERT: &str =
    "INSERT INTO items VALUES ($1, nextval('versions'), $2, 0) RETURNING version, name, count";
const SELECT: &str = "SELECT version, name, count FROM items WHERE id = $1";
const SELECT_FOR_UPDATE: &str = "SELECT version, name, count FROM items WHERE id = $1 FOR UPDATE";
const UPDATE: &str = "UPDATE items SET version = nextval('versions'), name = $2, count = $3
    WHERE id = $1 RETURNING version, name, count";
const UPDATE_IF: &str = "UPDATE items SET version = nextval('versions'), name = $3, count = $4
    WHERE id = $1 AND version = $2 RETURNING version, name, count";

#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    Database(tokio_postgres::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ifmatch(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Failed {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Database(error),
            other => Self::Ifmatch(Failure::new(Outcome::NotApplied, other).into()),
        }
    }
}

impl Contended for Failed {
    fn contention(&self) -> Option<Contention> {
        match self {
            Self::Database(error) => Contention::of_sqlstate(error.code()?.code()),
            Self::Ifmatch(_) => None,
        }
    }
}

/// What somebody who writes it by hand tells of a write that lost.
#[derive(Debug)]
#[expect(dead_code, reason = "it is what a caller would be shown")]
enum ByHand {
    Stale(i64, Item),
    Missing,
    Database(tokio_postgres::Error),
    Pool(PoolError),
}

impl From<tokio_postgres::Error> for ByHand {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for ByHand {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

struct Table {
    pool: Pool,
    retry: Retry,
}

impl Table {
    async fn create(&self, id: &str) -> i64 {
        let client = self.pool.get().await.unwrap();
        client.query_one(INSERT, &[&id, &TEXT]).await.unwrap().get(0)
    }

    async fn save(&self, id: &str, basis: Condition, count: i64) -> Result<Versioned<Item>, Failed> {
        let work = || async {
            let mut client = self.pool.get().await?;
            let tx = client.transaction().await?;
            let select = tx.prepare_cached(SELECT_FOR_UPDATE).await?;
            let found = versioned(tx.query_opt(&select, &[&id]).await?)?;
            basis.admit(id, Intent::Put, &found)?;

            let update = tx.prepare_cached(UPDATE).await?;
            let row = tx.query_one(&update, &[&id, &TEXT, &count]).await?;
            let saved = versioned(Some(row))?.expect("there is a row").moved(id, &found)?;
            tx.commit().await?;
            Ok(saved)
        };
        self.retry.again(work).await
    }

    async fn save_by_hand(&self, id: &str, known: i64, count: i64) -> Result<(i64, Item), ByHand> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let select = tx.prepare_cached(SELECT_FOR_UPDATE).await?;
        let found = tx.query_opt(&select, &[&id]).await?;
        let (version, item) = found.map(row).ok_or(ByHand::Missing)?;
        if version != known {
            return Err(ByHand::Stale(version, item));
        }
        let update = tx.prepare_cached(UPDATE).await?;
        let saved = tx.query_one(&update, &[&id, &TEXT, &count]).await?;
        tx.commit().await?;
        Ok(row(saved))
    }

    async fn save_at_once(&self, id: &str, basis: Version, count: i64) -> Result<Versioned<Item>, Failed> {
        let work = || async {
            let client = self.pool.get().await?;
            let update = client.prepare_cached(UPDATE_IF).await?;
            let row = client.query_opt(&update, &[&id, &basis.to_column(), &TEXT, &count]).await?;
            if let Some(saved) = versioned(row)? {
                return Ok(saved.moved(id, Some(basis))?);
            }
            let select = client.prepare_cached(SELECT).await?;
            let found = versioned(client.query_opt(&select, &[&id]).await?)?;
            Err(Condition::from(basis).explain(id, Intent::Put, found).into())
        };
        self.retry.again(work).await
    }

    async fn save_at_once_by_hand(&self, id: &str, known: i64, count: i64) -> Result<(i64, Item), ByHand> {
        let client = self.pool.get().await?;
        let update = client.prepare_cached(UPDATE_IF).await?;
        if let Some(saved) = client.query_opt(&update, &[&id, &known, &TEXT, &count]).await? {
            return Ok(row(saved));
        }
        let select = client.prepare_cached(SELECT).await?;
        let found = client.query_opt(&select, &[&id]).await?;
        let (version, item) = found.map(row).ok_or(ByHand::Missing)?;
        Err(ByHand::Stale(version, item))
    }
}

fn versioned(found: Option<Row>) -> Result<Option<Versioned<Item>>, Error> {
    let Some((version, item)) = found.map(row) else { return Ok(None) };
    Ok(Some(Versioned::new(Version::from_column(version)?, item)))
}

fn row(row: Row) -> (i64, Item) {
    (row.get(0), Item { name: row.get(1), count: row.get(2) })
}

pub fn run() {
    let server = Server::postgres();
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port);
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.parse().unwrap(), NoTls, manager);
    let table = Table { pool: Pool::builder(manager).max_size(16).build().unwrap(), retry: Retry::default() };
    let client = loop {
        match runtime.block_on(table.pool.get()) {
            Ok(client) => break client,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    // What is measured is the protocol, and not the disk.
    runtime.block_on(client.batch_execute("ALTER SYSTEM SET synchronous_commit = off")).unwrap();
    runtime.block_on(client.batch_execute("SELECT pg_reload_conf()")).unwrap();
    runtime.block_on(client.batch_execute(TABLE)).unwrap();
    drop(client);

    show("tokio-postgres", &read_look_write(&runtime, &table));
    show("tokio-postgres", &one_statement(&runtime, &table));
    show("tokio-postgres", &refused(&runtime, &table));
    // While there is a runtime: what is dropped later can't close its connections.
    drop(table);
}

fn read_look_write(runtime: &Runtime, table: &Table) -> Measured {
    let mut version = Version::from_column(runtime.block_on(table.create("ours"))).unwrap();
    let ours = Contender::timed("protocol", |operations| {
        timed(runtime, operations, async || {
            version = table.save("ours", version.into(), 1).await.unwrap().version;
        })
    });
    let mut known = runtime.block_on(table.create("hand"));
    let hand = Contender::timed("by hand", |operations| {
        timed(runtime, operations, async || {
            known = table.save_by_hand("hand", known, 1).await.unwrap().0;
        })
    });
    measure("a transaction that reads, judges and writes", ROUNDS, SLICE, vec![ours, hand])
}

fn one_statement(runtime: &Runtime, table: &Table) -> Measured {
    let mut version = Version::from_column(runtime.block_on(table.create("ours at once"))).unwrap();
    let ours = Contender::timed("protocol", |operations| {
        timed(runtime, operations, async || {
            version = table.save_at_once("ours at once", version, 1).await.unwrap().version;
        })
    });
    let mut known = runtime.block_on(table.create("hand at once"));
    let hand = Contender::timed("by hand", |operations| {
        timed(runtime, operations, async || {
            known = table.save_at_once_by_hand("hand at once", known, 1).await.unwrap().0;
        })
    });
    measure("one statement that compares", ROUNDS, SLICE, vec![ours, hand])
}

fn refused(runtime: &Runtime, table: &Table) -> Measured {
    runtime.block_on(table.create("refused"));
    let stale = Version::from_column(i64::MAX).unwrap();
    let ours = Contender::timed("protocol", |operations| {
        timed(runtime, operations, async || {
            let Failed::Ifmatch(error) = table.save("refused", stale.into(), 1).await.unwrap_err() else {
                panic!()
            };
            assert_eq!(error.conflict().unwrap().current::<Item>().unwrap().value.count, 0);
        })
    });
    let hand = Contender::timed("by hand", |operations| {
        timed(runtime, operations, async || {
            let refused = table.save_by_hand("refused", i64::MAX, 1).await;
            assert!(matches!(refused, Err(ByHand::Stale(_, Item { count: 0, .. }))));
        })
    });
    measure("a transaction that is refused", ROUNDS, SLICE, vec![ours, hand])
}
