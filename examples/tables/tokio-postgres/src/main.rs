//! Items in a table of PostgreSQL, through tokio-postgres and a pool.
//!
//! Run with `cargo run -p items-on-tokio-postgres -- postgres://localhost/test`; the table is `schema/postgres.sql`.
//! `POST /items` creates. `PUT /items/{id}` replaces what `If-Match` names, or creates with `If-None-Match: *`.
//! `PATCH /items/{id}` changes the count with a statement that reports what it saw, and takes the version in the body.

use std::error::Error as StdError;
use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get, post};
use deadpool_postgres::{Manager, Pool, PoolError};
use ifmatch::http::{Answer, Preconditions, Problem, Required};
use ifmatch::store::{Condition, Failure, Intent, NotFound, Outcome};
use ifmatch::table::{Contended, Contention};
use ifmatch::{Error, Expected, Retry, Version, Versioned};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

const SELECT: &str = "SELECT version, name, count FROM items WHERE id = $1";
const SELECT_FOR_UPDATE: &str = "SELECT version, name, count FROM items WHERE id = $1 FOR UPDATE";
const INSERT: &str = "INSERT INTO items (id, name, count) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO NOTHING RETURNING version, name, count";
const UPDATE: &str = "UPDATE items SET name = $2, count = $3 WHERE id = $1 RETURNING version, name, count";
const DELETE: &str = "DELETE FROM items WHERE id = $1";

/// Changes the row and reports what it saw, in one statement. Without `FOR UPDATE` it compares the version of its snapshot,
/// and at READ COMMITTED an update is lost.
const COUNT: &str = "
    WITH seen AS MATERIALIZED (SELECT id, version, name, count FROM items WHERE id = $1 FOR UPDATE),
         changed AS (
             UPDATE items SET count = $3 FROM seen
             WHERE items.id = seen.id AND seen.version = $2 RETURNING items.version, items.name, items.count)
    SELECT version, name, count, true AS is_changed FROM changed
    UNION ALL
    SELECT version, name, count, false FROM seen WHERE NOT EXISTS (SELECT FROM changed)";

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

/// The body of a `PATCH`: the count, and the version of the item that it was made of.
#[derive(Deserialize)]
struct Count {
    version: Version,
    count: i64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let url = std::env::args().nth(1).ok_or("the URL of a database is missing")?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await?;
    axum::serve(listener, service(&url).await?).await?;
    Ok(())
}

async fn service(url: &str) -> Result<Router, Box<dyn StdError>> {
    let pool = Pool::builder(Manager::new(url.parse()?, NoTls)).build()?;
    pool.get().await?.batch_execute(include_str!("../../schema/postgres.sql")).await?;
    let item = get(read).put(save).patch(count).delete(delete);
    Ok(Router::new().route("/items", post(create)).route("/items/{id}", item).with_state(pool))
}

async fn read(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    known: Preconditions,
) -> Result<Answer<Item>, Failed> {
    let work = || async { Ok::<_, Failed>(item(pool.get().await?.query_opt(SELECT, &[&id]).await?)?) };
    let current = Retry::default().again(work).await?.ok_or_else(|| Error::from(NotFound::new(&id)))?;
    Ok(known.respond(&id, current)?)
}

/// Creates with one statement, which is a transaction of its own, and looks only where it created nothing.
async fn create(State(pool): State<Pool>, Json(new): Json<New>) -> Result<Answer<Item>, Failed> {
    let New { id, item: Item { name, count } } = &new;
    let work = || async {
        let client = pool.get().await?;
        let row = client.query_opt(INSERT, &[id, name, count]).await.map_err(Failed::Commit)?;
        if let Some(created) = item(row)? {
            return Ok(Answer::created(id, created).at("/items"));
        }
        let found = item(client.query_opt(SELECT, &[id]).await?)?;
        Err(Condition::from(Expected::Absent).explain(id, Intent::Put, found).into())
    };
    Retry::default().again(work).await
}

/// Creates or replaces: reads the row with its lock, judges, writes.
async fn save(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    Required(basis): Required,
    Json(new): Json<Item>,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let mut client = pool.get().await?;
        let tx = client.transaction().await?;
        let found = item(tx.query_opt(SELECT_FOR_UPDATE, &[&id]).await?)?;
        basis.admit_row(&id, Intent::Put, &found)?;

        let statement = if found.is_some() { UPDATE } else { INSERT };
        let row = tx.query_opt(statement, &[&id, &new.name, &new.count]).await?;
        let saved = item(row)?.ok_or(Failed::Overtaken)?.moved(&id, &found)?;
        tx.commit().await.map_err(Failed::Commit)?;
        Ok(match found {
            Some(_) => Answer::changed(saved),
            None => Answer::created(&id, saved).at("/items"),
        })
    };
    Retry::default().again(work).await
}

/// Changes the count with one statement, which is a transaction of its own.
async fn count(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    Json(new): Json<Count>,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let client = pool.get().await?;
        let parameters: [&(dyn ToSql + Sync); 3] = [&id, &new.version.to_column(), &new.count];
        let row = client.query_opt(COUNT, &parameters).await.map_err(Failed::Commit)?;
        let is_changed = row.as_ref().is_some_and(|row| row.get("is_changed"));
        match item(row)? {
            Some(saved) if is_changed => Ok(Answer::changed(saved.moved(&id, Some(new.version))?)),
            found => Err(Condition::from(new.version).explain(&id, Intent::Put, found).into()),
        }
    };
    Retry::default().again(work).await
}

async fn delete(
    State(pool): State<Pool>,
    Path(id): Path<String>,
    Required(basis): Required,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let mut client = pool.get().await?;
        let tx = client.transaction().await?;
        let found = item(tx.query_opt(SELECT_FOR_UPDATE, &[&id]).await?)?;
        basis.admit_row(&id, Intent::Delete, &found)?;

        tx.execute(DELETE, &[&id]).await?;
        tx.commit().await.map_err(Failed::Commit)?;
        Ok(Answer::deleted())
    };
    Retry::default().again(work).await
}

fn item(row: Option<Row>) -> Result<Option<Versioned<Item>>, Error> {
    let Some(row) = row else { return Ok(None) };
    let version = Version::from_column(row.get("version"))?;
    Ok(Some(Versioned::new(version, Item { name: row.get("name"), count: row.get("count") })))
}

/// What a handler fails with.
#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    /// Somebody created the item after this transaction had seen that there is none.
    Overtaken,
    /// Before the commit: nothing was applied.
    Database(tokio_postgres::Error),
    Commit(tokio_postgres::Error),
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

fn contention(error: &tokio_postgres::Error) -> Option<Contention> {
    Contention::of_sqlstate(error.code()?.code())
}

impl Contended for Failed {
    fn contention(&self) -> Option<Contention> {
        match self {
            Self::Overtaken => Some(Contention::Serialization),
            Self::Database(error) | Self::Commit(error) => contention(error),
            Self::Ifmatch(_) => None,
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Ifmatch(error) => error,
            Self::Commit(error) if is_lost(&error) => Failure::new(Outcome::Unknown, error).into(),
            Self::Database(error) | Self::Commit(error) => Failure::new(Outcome::NotApplied, error).into(),
            Self::Overtaken => {
                Failure::new(Outcome::NotApplied, "others created and deleted the item").into()
            }
        };
        // Whoever may write an item may read it: a conflict shows the one that won.
        Problem::new(error).with_current::<Item>().into_response()
    }
}

/// Whether a commit failed without an answer of the server: then it may have been applied.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.code().is_none() || contention(error) == Some(Contention::Unknown)
}

#[cfg(test)]
mod tests;
