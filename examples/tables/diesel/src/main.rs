//! Items in a table of SQLite, through Diesel and its pool.
//!
//! Run with `cargo run -p items-on-diesel -- items.db`; the table is `schema/sqlite.sql`. `POST /items` creates.
//! `PUT /items/{id}` replaces what `If-Match` names, or creates with `If-None-Match: *`.

use std::error::Error as StdError;
use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get, post};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, PoolError};
use diesel::result::Error as DieselError;
use ifmatch::http::{Answer, Preconditions, Problem, Required};
use ifmatch::store::{Condition, Failure, Intent, NotFound, Outcome};
use ifmatch::table::{Contended, Contention};
use ifmatch::{Error, Expected, Retry, Version, Versioned};
use serde::{Deserialize, Serialize};
use tokio::task::block_in_place;

type Pool = diesel::r2d2::Pool<ConnectionManager<SqliteConnection>>;

diesel::table! {
    items (id) {
        id -> Text,
        version -> BigInt,
        name -> Text,
        count -> BigInt,
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Queryable, Selectable, AsChangeset, Insertable)]
#[diesel(table_name = items)]
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
    let file = std::env::args().nth(1).ok_or("the path of a database is missing")?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await?;
    axum::serve(listener, service(&file)?).await?;
    Ok(())
}

fn service(file: &str) -> Result<Router, Box<dyn StdError>> {
    let pool =
        Pool::builder().connection_customizer(Box::new(Patience)).build(ConnectionManager::new(file))?;
    pool.get()?.batch_execute(include_str!("../../schema/sqlite.sql"))?;
    let item = get(read).put(save).delete(delete);
    Ok(Router::new().route("/items", post(create)).route("/items/{id}", item).with_state(pool))
}

/// Each connection waits for the one that writes.
#[derive(Debug)]
struct Patience;

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Patience {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        connection.batch_execute("PRAGMA busy_timeout = 5000").map_err(diesel::r2d2::Error::QueryError)
    }
}

async fn read(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    known: Preconditions,
) -> Result<Answer<Item>, Failed> {
    let found = block_in_place(|| {
        let mut connection = pool.get()?;
        find(&mut connection, &id)
    });
    let current = found?.ok_or_else(|| Error::from(NotFound::new(&id)))?;
    Ok(known.respond(&id, current)?)
}

async fn create(State(pool): State<Pool>, Json(New { id, item }): Json<New>) -> Result<Answer<Item>, Failed> {
    let work = |connection: &mut SqliteConnection| {
        let found = find(connection, &id)?;
        Condition::from(Expected::Absent).admit(&id, Intent::Put, &found)?;
        Ok(Answer::created(&id, insert(connection, &id, &item)?).at("/items"))
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
    let work = |connection: &mut SqliteConnection| {
        let found = find(connection, &id)?;
        basis.admit_row(&id, Intent::Put, &found)?;
        Ok(match found {
            Some(_) => Answer::changed(update(connection, &id, &new)?.moved(&id, &found)?),
            None => Answer::created(&id, insert(connection, &id, &new)?).at("/items"),
        })
    };
    immediate(&pool, work)
}

async fn delete(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    Required(basis): Required,
) -> Result<Answer<Item>, Failed> {
    let work = |connection: &mut SqliteConnection| {
        let found = find(connection, &id)?;
        basis.admit_row(&id, Intent::Delete, &found)?;
        diesel::delete(items::table.find(&id)).execute(connection)?;
        Ok(Answer::deleted())
    };
    immediate(&pool, work)
}

/// Runs a transaction that writes, and again where others were in its way.
///
/// It takes the lock of the file when it begins: one that reads first, and takes it when it writes, is refused once somebody
/// else wrote in between. The thread blocks meanwhile, and the runtime has others.
fn immediate<A>(pool: &Pool, work: impl Fn(&mut SqliteConnection) -> Result<A, Failed>) -> Result<A, Failed> {
    let once = || pool.get()?.immediate_transaction(&work);
    block_in_place(|| Retry::default().again_blocking(once))
}

fn insert(connection: &mut SqliteConnection, id: &str, new: &Item) -> Result<Versioned<Item>, Failed> {
    diesel::insert_into(items::table).values((items::id.eq(id), new)).execute(connection)?;
    written(connection, id)
}

fn update(connection: &mut SqliteConnection, id: &str, new: &Item) -> Result<Versioned<Item>, Failed> {
    diesel::update(items::table.find(id)).set(new).execute(connection)?;
    written(connection, id)
}

/// The item with the version that a trigger gave it.
fn written(connection: &mut SqliteConnection, id: &str) -> Result<Versioned<Item>, Failed> {
    find(connection, id)?.ok_or(Failed::Database(DieselError::NotFound))
}

fn find(connection: &mut SqliteConnection, id: &str) -> Result<Option<Versioned<Item>>, Failed> {
    let row =
        items::table.find(id).select((items::version, Item::as_select())).first(connection).optional()?;
    let Some((version, item)) = row else { return Ok(None) };
    Ok(Some(Versioned::new(Version::from_column(version)?, item)))
}

/// What a handler fails with.
#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    Database(DieselError),
    /// No connection in time.
    Pool(PoolError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ifmatch(error)
    }
}

impl From<DieselError> for Failed {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl From<PoolError> for Failed {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

/// By SQLite's messages: Diesel gives out no code, and has no kind for these. On PostgreSQL its kind
/// `SerializationFailure` is [`Contention::Serialization`], and a deadlock has the message `deadlock detected`.
fn contention(error: &DieselError) -> Option<Contention> {
    let DieselError::DatabaseError(_, said) = error else { return None };
    match said.message() {
        "database is locked" | "database table is locked" => Some(Contention::LockTimeout),
        "disk I/O error" => Some(Contention::Unknown),
        _ => None,
    }
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
