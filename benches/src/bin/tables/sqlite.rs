//! rusqlite, on a file as a service has it, and in memory, where what the protocol itself costs shows most.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, process};

use ifmatch::store::{Condition, Intent};
use ifmatch::table::{Contended, Contention};
use ifmatch::{Error, Retry, Version, Versioned};
use ifmatch_benches::rounds::{Contender, Measured, measure};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::{Item, TEXT, show};

const ROUNDS: usize = 101;
const SLICE: Duration = Duration::from_millis(20);

const SELECT: &str = "SELECT version, name, count FROM items WHERE id = ?1";
const UPDATE: &str = "UPDATE items SET version = version + 1, name = ?2, count = ?3 WHERE id = ?1 RETURNING version, name, count";
const UPDATE_IF: &str = "UPDATE items SET version = version + 1, name = ?3, count = ?4
    WHERE id = ?1 AND version = ?2 RETURNING version, name, count";

#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    Database(rusqlite::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ifmatch(error)
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Contended for Failed {
    fn contention(&self) -> Option<Contention> {
        match self {
            Self::Database(error) => Contention::of_sqlite(error.sqlite_error()?.extended_code),
            Self::Ifmatch(_) => None,
        }
    }
}

/// What somebody who writes it by hand tells of a write that lost: the row.
#[derive(Debug)]
#[expect(dead_code, reason = "it is what a caller would be shown")]
enum ByHand {
    Stale(i64, Item),
    Missing,
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for ByHand {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

struct Table {
    connection: Connection,
    retry: Retry,
}

impl Table {
    fn new(directory: Option<&Path>, name: &str) -> Self {
        let connection = match directory {
            Some(directory) => Connection::open(directory.join(name)).unwrap(),
            None => Connection::open_in_memory().unwrap(),
        };
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL").unwrap();
        let table = "CREATE TABLE items (id text PRIMARY KEY, version integer, name text, count integer)";
        connection.execute_batch(table).unwrap();
        connection.execute("INSERT INTO items VALUES ('a', 1, ?1, 0)", [TEXT]).unwrap();
        Self { connection, retry: Retry::default() }
    }

    fn save(&mut self, basis: Condition, count: i64) -> Result<Versioned<Item>, Failed> {
        let Self { connection, retry } = self;
        let work = || {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = versioned(read(&tx, "a")?)?;
            basis.admit("a", Intent::Put, &found)?;
            let saved =
                versioned(Some(update(&tx, "a", count)?))?.expect("it was written").moved("a", &found)?;
            tx.commit()?;
            Ok(saved)
        };
        retry.again_blocking(work)
    }

    fn save_by_hand(&mut self, known: i64, count: i64) -> Result<(i64, Item), ByHand> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (version, item) = read(&tx, "a")?.ok_or(ByHand::Missing)?;
        if version != known {
            return Err(ByHand::Stale(version, item));
        }
        let saved = update(&tx, "a", count)?;
        tx.commit()?;
        Ok(saved)
    }

    fn save_at_once(&mut self, basis: Version, count: i64) -> Result<Versioned<Item>, Failed> {
        let Self { connection, retry } = self;
        let work = || {
            if let Some(saved) = versioned(update_if(connection, "a", basis.to_column(), count)?)? {
                return Ok(saved.moved("a", Some(basis))?);
            }
            let found = versioned(read(connection, "a")?)?;
            Err(Condition::from(basis).explain("a", Intent::Put, found).into())
        };
        retry.again_blocking(work)
    }

    fn save_at_once_by_hand(&mut self, known: i64, count: i64) -> Result<(i64, Item), ByHand> {
        if let Some(saved) = update_if(&self.connection, "a", Some(known), count)? {
            return Ok(saved);
        }
        let (version, item) = read(&self.connection, "a")?.ok_or(ByHand::Missing)?;
        Err(ByHand::Stale(version, item))
    }
}

fn versioned(row: Option<(i64, Item)>) -> Result<Option<Versioned<Item>>, Error> {
    let Some((version, item)) = row else { return Ok(None) };
    Ok(Some(Versioned::new(Version::from_column(version)?, item)))
}

fn row(row: &Row<'_>) -> rusqlite::Result<(i64, Item)> {
    Ok((row.get(0)?, Item { name: row.get(1)?, count: row.get(2)? }))
}

fn read(connection: &Connection, id: &str) -> rusqlite::Result<Option<(i64, Item)>> {
    connection.prepare_cached(SELECT)?.query_row([id], row).optional()
}

fn update(tx: &Transaction<'_>, id: &str, count: i64) -> rusqlite::Result<(i64, Item)> {
    tx.prepare_cached(UPDATE)?.query_row(params![id, TEXT, count], row)
}

fn update_if(
    connection: &Connection,
    id: &str,
    version: Option<i64>,
    count: i64,
) -> rusqlite::Result<Option<(i64, Item)>> {
    connection.prepare_cached(UPDATE_IF)?.query_row(params![id, version, TEXT, count], row).optional()
}

pub fn run() {
    let base = env::var_os("IFMATCH_BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from);
    let directory = base.join(format!("ifmatch-bench-tables-{}", process::id()));
    for (name, directory) in [("rusqlite, a file", Some(&*directory)), ("rusqlite, in memory", None)] {
        for measured in [read_look_write, one_statement, refused] {
            directory.map(|directory| fs::create_dir(directory).unwrap());
            show(name, &measured(directory));
            directory.map(|directory| fs::remove_dir_all(directory).unwrap());
        }
    }
}

fn read_look_write(directory: Option<&Path>) -> Measured {
    let [mut ours, mut hand] = ["ours", "hand"].map(|name| Table::new(directory, name));
    let mut version = Version::from_column(1).unwrap();
    let mut known = 1;
    let ours = Contender::new("protocol", move |operations| {
        for count in 0..operations {
            version = ours.save(version.into(), count as i64).unwrap().version;
        }
    });
    let hand = Contender::new("by hand", move |operations| {
        for count in 0..operations {
            known = hand.save_by_hand(known, count as i64).unwrap().0;
        }
    });
    measure("a transaction that reads, judges and writes", ROUNDS, SLICE, vec![ours, hand])
}

fn one_statement(directory: Option<&Path>) -> Measured {
    let [mut ours, mut hand] = ["ours", "hand"].map(|name| Table::new(directory, name));
    let mut version = Version::from_column(1).unwrap();
    let mut known = 1;
    let ours = Contender::new("protocol", move |operations| {
        for count in 0..operations {
            version = ours.save_at_once(version, count as i64).unwrap().version;
        }
    });
    let hand = Contender::new("by hand", move |operations| {
        for count in 0..operations {
            known = hand.save_at_once_by_hand(known, count as i64).unwrap().0;
        }
    });
    measure("one statement that compares", ROUNDS, SLICE, vec![ours, hand])
}

fn refused(directory: Option<&Path>) -> Measured {
    let [mut ours, mut hand] = ["ours", "hand"].map(|name| Table::new(directory, name));
    let stale = Condition::from(Version::from_column(7).unwrap());
    let ours = Contender::new("protocol", move |operations| {
        for count in 0..operations {
            let Failed::Ifmatch(error) = ours.save(stale, count as i64).unwrap_err() else { panic!() };
            assert_eq!(error.conflict().unwrap().current::<Item>().unwrap().value.count, 0);
        }
    });
    let hand = Contender::new("by hand", move |operations| {
        for count in 0..operations {
            assert!(matches!(
                hand.save_by_hand(7, count as i64),
                Err(ByHand::Stale(1, Item { count: 0, .. }))
            ));
        }
    });
    measure("a transaction that is refused", ROUNDS, SLICE, vec![ours, hand])
}
