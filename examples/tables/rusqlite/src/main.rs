//! Items in a table of SQLite, through rusqlite and a pool.
//!
//! Run with `cargo run -p items-on-rusqlite -- items.db`; the table is `schema/sqlite.sql`. `POST /items` creates.
//! `PUT /items/{id}` replaces what `If-Match` names, or creates with `If-None-Match: *`.

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::path::Path as File;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get, post};
use ifmatch::http::{Answer, Preconditions, Problem, Required};
use ifmatch::store::{Condition, Failure, Intent, NotFound, Outcome};
use ifmatch::table::{Contended, Contention};
use ifmatch::{Error, Expected, Retry, Version, Versioned};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

type Pool = r2d2::Pool<SqliteConnectionManager>;

const SELECT: &str = "SELECT version, name, count FROM items WHERE id = ?1";
const INSERT: &str = "INSERT INTO items (id, name, count) VALUES (?1, ?2, ?3)";
const UPDATE: &str = "UPDATE items SET name = ?2, count = ?3 WHERE id = ?1";
const DELETE: &str = "DELETE FROM items WHERE id = ?1";

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    name: String,
    count: i64,
}

/// The body of a `POST`.
#[derive(Deserialize)]
struct New {
    id: String,
    #[serde(flatten)]
    item: Item,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let file = std::env::args_os().nth(1).ok_or("the path of a database is missing")?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await?;
    axum::serve(listener, service(File::new(&file))?).await?;
    Ok(())
}

fn service(file: &File) -> Result<Router, Box<dyn StdError>> {
    let pool = pool(file)?;
    let item = get(read).put(save).delete(delete);
    Ok(Router::new().route("/items", post(create)).route("/items/{id}", item).with_state(pool))
}

/// Each connection waits 5 s for the one that writes: that is rusqlite's default.
fn pool(file: &File) -> Result<Pool, Box<dyn StdError>> {
    let pool = Pool::new(SqliteConnectionManager::file(file))?;
    pool.get()?.execute_batch(include_str!("../../schema/sqlite.sql"))?;
    Ok(pool)
}

async fn read(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    known: Preconditions,
) -> Result<Answer<Item>, Failed> {
    let found = block_in_place(|| {
        let connection = pool.get()?;
        find(&connection, &id)
    });
    let current = found?.ok_or_else(|| Error::from(NotFound::new(&id)))?;
    Ok(known.respond(&id, current)?)
}

async fn create(State(pool): State<Pool>, Json(New { id, item }): Json<New>) -> Result<Answer<Item>, Failed> {
    let work = |tx: &Transaction<'_>| {
        let found = find(tx, &id)?;
        Condition::from(Expected::Absent).admit(&id, Intent::Put, &found)?;
        Ok(Answer::created(&id, write(tx, INSERT, &id, &item)?).at("/items"))
    };
    immediate(&pool, work)
}

/// Creates or replaces: reads the row, judges, writes.
async fn save(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    Required(basis): Required,
    Json(new): Json<Item>,
) -> Result<Answer<Item>, Failed> {
    let work = |tx: &Transaction<'_>| {
        let found = find(tx, &id)?;
        basis.admit_row(&id, Intent::Put, &found)?;
        Ok(match found {
            Some(_) => Answer::changed(write(tx, UPDATE, &id, &new)?.moved(&id, &found)?),
            None => Answer::created(&id, write(tx, INSERT, &id, &new)?).at("/items"),
        })
    };
    immediate(&pool, work)
}

async fn delete(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    Required(basis): Required,
) -> Result<Answer<Item>, Failed> {
    let work = |tx: &Transaction<'_>| {
        let found = find(tx, &id)?;
        basis.admit_row(&id, Intent::Delete, &found)?;
        tx.execute(DELETE, [&id])?;
        Ok(Answer::deleted())
    };
    immediate(&pool, work)
}

/// Runs a transaction that writes, and again where others were in its way.
///
/// It takes the lock of the file when it begins: one that reads first, and takes it when it writes, is refused once somebody
/// else wrote in between. The thread blocks meanwhile, and the runtime has others.
fn immediate<A>(pool: &Pool, work: impl Fn(&Transaction<'_>) -> Result<A, Failed>) -> Result<A, Failed> {
    let once = || {
        let mut connection = pool.get()?;
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = work(&tx)?;
        tx.commit()?;
        Ok(answer)
    };
    block_in_place(|| Retry::default().again_blocking(once))
}

/// Writes the item, and reads the version that a trigger gave it.
fn write(tx: &Transaction<'_>, statement: &str, id: &str, new: &Item) -> Result<Versioned<Item>, Failed> {
    tx.execute(statement, params![id, new.name, new.count])?;
    find(tx, id)?.ok_or_else(|| rusqlite::Error::QueryReturnedNoRows.into())
}

fn find(connection: &Connection, id: &str) -> Result<Option<Versioned<Item>>, Failed> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get("version")?, Item { name: row.get("name")?, count: row.get("count")? }))
    };
    let Some((version, item)) = connection.prepare_cached(SELECT)?.query_row([id], read).optional()? else {
        return Ok(None);
    };
    Ok(Some(Versioned::new(Version::from_column(version)?, item)))
}

/// What a handler fails with.
#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    Database(rusqlite::Error),
    /// No connection in time.
    Pool(r2d2::Error),
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

impl From<r2d2::Error> for Failed {
    fn from(error: r2d2::Error) -> Self {
        Self::Pool(error)
    }
}

fn contention(error: &rusqlite::Error) -> Option<Contention> {
    Contention::of_sqlite(error.sqlite_error()?.extended_code)
}

impl Contended for Failed {
    fn contention(&self) -> Option<Contention> {
        match self {
            Self::Database(error) => contention(error),
            Self::Ifmatch(_) | Self::Pool(_) => None,
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Ifmatch(error) => error,
            // A commit that the disk failed may be found applied after a crash.
            Self::Database(error) if contention(&error) == Some(Contention::Unknown) => {
                Failure::new(Outcome::Unknown, error).into()
            }
            Self::Database(error) => Failure::new(Outcome::NotApplied, error).into(),
            Self::Pool(error) => Failure::new(Outcome::NotApplied, error).into(),
        };
        // Whoever may write an item may read it: a conflict shows the one that won.
        Problem::new(error).with_current::<Item>().into_response()
    }
}

#[cfg(test)]
mod tests;
