//! Items in a table of PostgreSQL, through sqlx.
//!
//! Run with `cargo run -p items-on-sqlx -- postgres://localhost/test`; the table is `schema/postgres.sql`. `POST /items`
//! creates. `PUT /items/{id}` replaces what `If-Match` names, or creates with `If-None-Match: *`. `PATCH /items/{id}` changes
//! the count with a statement that compares the version itself, and takes the version in the body.

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get, post};
use ifmatch::http::{Answer, Preconditions, Problem, Required};
use ifmatch::store::{Condition, Failure, Intent, NotFound, Outcome};
use ifmatch::table::{Contended, Contention};
use ifmatch::{Error, Expected, Retry, Version, Versioned};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::{PgPool, PgPoolOptions, PgRow};

const SELECT: &str = "SELECT version, name, count FROM items WHERE id = $1";
const SELECT_FOR_UPDATE: &str = "SELECT version, name, count FROM items WHERE id = $1 FOR UPDATE";
const INSERT: &str = "INSERT INTO items (id, name, count) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO NOTHING RETURNING version, name, count";
const UPDATE: &str = "UPDATE items SET name = $2, count = $3 WHERE id = $1 RETURNING version, name, count";
const COUNT: &str =
    "UPDATE items SET count = $3 WHERE id = $1 AND version = $2 RETURNING version, name, count";
const DELETE: &str = "DELETE FROM items WHERE id = $1";

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
    // While the server is down a caller waits that long for a connection.
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(3)).connect(url).await?;
    sqlx::raw_sql(include_str!("../../schema/postgres.sql")).execute(&pool).await?;
    let item = get(read).put(save).patch(count).delete(delete);
    Ok(Router::new().route("/items", post(create)).route("/items/{id}", item).with_state(pool))
}

async fn read(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
    known: Preconditions,
) -> Result<Answer<Item>, Failed> {
    let work = || async { item(sqlx::query(SELECT).bind(&id).fetch_optional(&pool).await?) };
    let current = Retry::default().again(work).await?.ok_or_else(|| Error::from(NotFound::new(&id)))?;
    Ok(known.respond(&id, current)?)
}

/// Creates with one statement, which is a transaction of its own, and looks only where it created nothing.
async fn create(State(pool): State<PgPool>, Json(new): Json<New>) -> Result<Answer<Item>, Failed> {
    let New { id, item: Item { name, count } } = &new;
    let work = || async {
        let mut connection = pool.acquire().await?;
        let insert = sqlx::query(INSERT).bind(id).bind(name).bind(count);
        let row = insert.fetch_optional(&mut *connection).await.map_err(Failed::Commit)?;
        if let Some(created) = item(row)? {
            return Ok(Answer::created(id, created).at("/items"));
        }
        let found = item(sqlx::query(SELECT).bind(id).fetch_optional(&mut *connection).await?)?;
        Err(Condition::from(Expected::Absent).explain(id, Intent::Put, found).into())
    };
    Retry::default().again(work).await
}

/// Creates or replaces: reads the row with its lock, judges, writes.
async fn save(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
    Required(basis): Required,
    Json(new): Json<Item>,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let mut tx = pool.begin().await?;
        let found = item(sqlx::query(SELECT_FOR_UPDATE).bind(&id).fetch_optional(&mut *tx).await?)?;
        basis.admit_row(&id, Intent::Put, &found)?;

        let statement = if found.is_some() { UPDATE } else { INSERT };
        let write = sqlx::query(statement).bind(&id).bind(&new.name).bind(new.count);
        let row = write.fetch_optional(&mut *tx).await?;
        let saved = item(row)?.ok_or(Failed::Overtaken)?.moved(&id, &found)?;
        tx.commit().await.map_err(Failed::Commit)?;
        Ok(match found {
            Some(_) => Answer::changed(saved),
            None => Answer::created(&id, saved).at("/items"),
        })
    };
    Retry::default().again(work).await
}

/// Changes the count with one statement, and looks only where it changed nothing. At REPEATABLE READ and above a statement
/// that loses fails instead, and is tried again.
async fn count(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
    Json(new): Json<Count>,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let mut connection = pool.acquire().await?;
        let update = sqlx::query(COUNT).bind(&id).bind(new.version.to_column()).bind(new.count);
        let row = update.fetch_optional(&mut *connection).await.map_err(Failed::Commit)?;
        if let Some(saved) = item(row)? {
            return Ok(Answer::changed(saved.moved(&id, Some(new.version))?));
        }
        let found = item(sqlx::query(SELECT).bind(&id).fetch_optional(&mut *connection).await?)?;
        Err(Condition::from(new.version).explain(&id, Intent::Put, found).into())
    };
    Retry::default().again(work).await
}

async fn delete(
    State(pool): State<PgPool>,
    Path(id): Path<String>,
    Required(basis): Required,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let mut tx = pool.begin().await?;
        let found = item(sqlx::query(SELECT_FOR_UPDATE).bind(&id).fetch_optional(&mut *tx).await?)?;
        basis.admit_row(&id, Intent::Delete, &found)?;

        sqlx::query(DELETE).bind(&id).execute(&mut *tx).await?;
        tx.commit().await.map_err(Failed::Commit)?;
        Ok(Answer::deleted())
    };
    Retry::default().again(work).await
}

fn item(row: Option<PgRow>) -> Result<Option<Versioned<Item>>, Failed> {
    let Some(row) = row else { return Ok(None) };
    let version = Version::from_column(row.try_get("version")?)?;
    let item = Item { name: row.try_get("name")?, count: row.try_get("count")? };
    Ok(Some(Versioned::new(version, item)))
}

/// What a handler fails with.
#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    /// Somebody created the item after this transaction had seen that there is none.
    Overtaken,
    /// Before the commit: nothing was applied.
    Database(sqlx::Error),
    Commit(sqlx::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ifmatch(error)
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn contention(error: &sqlx::Error) -> Option<Contention> {
    Contention::of_sqlstate(&error.as_database_error()?.code()?)
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
fn is_lost(error: &sqlx::Error) -> bool {
    error.as_database_error().is_none() || contention(error) == Some(Contention::Unknown)
}

#[cfg(test)]
mod tests;
