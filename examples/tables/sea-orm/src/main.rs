//! Items in a table of PostgreSQL, through SeaORM.
//!
//! Run with `cargo run -p items-on-sea-orm -- postgres://localhost/test`; the table is `schema/postgres.sql`. `POST /items`
//! creates. `PUT /items/{id}` replaces what `If-Match` names, or creates with `If-None-Match: *`.

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
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;
use sea_orm::error::SqlxError;
use sea_orm::{ConnectOptions, Database, QuerySelect, RuntimeErr, TransactionTrait, TryInsertResult};
use serde::{Deserialize, Serialize};

use row::{ActiveModel, Entity, Model};

/// The table.
mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "items")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub version: i64,
        pub name: String,
        pub count: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

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
    let url = std::env::args().nth(1).ok_or("the URL of a database is missing")?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 3000)).await?;
    axum::serve(listener, service(&url).await?).await?;
    Ok(())
}

async fn service(url: &str) -> Result<Router, Box<dyn StdError>> {
    let mut options = ConnectOptions::new(url);
    // While the server is down a caller waits that long for a connection.
    options.acquire_timeout(Duration::from_secs(3)).sqlx_logging(false);
    let database = Database::connect(options).await?;
    database.execute_unprepared(include_str!("../../schema/postgres.sql")).await?;
    let item = get(read).put(save).delete(delete);
    Ok(Router::new().route("/items", post(create)).route("/items/{id}", item).with_state(database))
}

async fn read(
    State(database): State<DatabaseConnection>,
    Path(id): Path<String>,
    known: Preconditions,
) -> Result<Answer<Item>, Failed> {
    let work = || async { Ok::<_, Failed>(Entity::find_by_id(&id).one(&database).await?) };
    let current = Retry::default().again(work).await?.ok_or_else(|| Error::from(NotFound::new(&id)))?;
    Ok(known.respond(&id, item(current)?)?)
}

/// Creates with one statement, which is a transaction of its own, and looks only where it created nothing.
async fn create(
    State(database): State<DatabaseConnection>,
    Json(New { id, item: new }): Json<New>,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        if let Some(created) = insert(&database, &id, &new).await.map_err(Failed::Commit)? {
            return Ok(Answer::created(&id, item(created)?).at("/items"));
        }
        let found = Entity::find_by_id(&id).one(&database).await?.map(item).transpose()?;
        Err(Condition::from(Expected::Absent).explain(&id, Intent::Put, found).into())
    };
    Retry::default().again(work).await
}

/// Creates or replaces: reads the row with its lock, judges, writes.
async fn save(
    State(database): State<DatabaseConnection>,
    Path(id): Path<String>,
    Required(basis): Required,
    Json(new): Json<Item>,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let tx = database.begin().await?;
        let found = Entity::find_by_id(&id).lock_exclusive().one(&tx).await?.map(item).transpose()?;
        basis.admit_row(&id, Intent::Put, &found)?;

        let saved = match found {
            Some(_) => row(&id, &new).update(&tx).await?,
            None => insert(&tx, &id, &new).await?.ok_or(Failed::Overtaken)?,
        };
        let saved = item(saved)?.moved(&id, &found)?;
        tx.commit().await.map_err(Failed::Commit)?;
        Ok(match found {
            Some(_) => Answer::changed(saved),
            None => Answer::created(&id, saved).at("/items"),
        })
    };
    Retry::default().again(work).await
}

async fn delete(
    State(database): State<DatabaseConnection>,
    Path(id): Path<String>,
    Required(basis): Required,
) -> Result<Answer<Item>, Failed> {
    let work = || async {
        let tx = database.begin().await?;
        let found = Entity::find_by_id(&id).lock_exclusive().one(&tx).await?.map(item).transpose()?;
        basis.admit_row(&id, Intent::Delete, &found)?;

        Entity::delete_by_id(&id).exec(&tx).await?;
        tx.commit().await.map_err(Failed::Commit)?;
        Ok(Answer::deleted())
    };
    Retry::default().again(work).await
}

/// Nothing where there is one already.
async fn insert(connection: &impl ConnectionTrait, id: &str, new: &Item) -> Result<Option<Model>, DbErr> {
    // `exec_with_returning`, for one row, takes it for an error that none was inserted.
    let insert = Entity::insert(row(id, new)).on_conflict_do_nothing().exec_with_returning_many(connection);
    Ok(match insert.await? {
        TryInsertResult::Inserted(mut created) => created.pop(),
        TryInsertResult::Empty | TryInsertResult::Conflicted => None,
    })
}

/// What is written. A trigger sets the version.
fn row(id: &str, new: &Item) -> ActiveModel {
    ActiveModel {
        id: Set(id.to_owned()),
        version: NotSet,
        name: Set(new.name.clone()),
        count: Set(new.count),
    }
}

fn item(row: Model) -> Result<Versioned<Item>, Error> {
    let version = Version::from_column(row.version)?;
    Ok(Versioned::new(version, Item { name: row.name, count: row.count }))
}

/// What a handler fails with.
#[derive(Debug)]
enum Failed {
    Ifmatch(Error),
    /// Somebody created the item after this transaction had seen that there is none.
    Overtaken,
    /// Before the commit: nothing was applied.
    Database(DbErr),
    Commit(DbErr),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Ifmatch(error)
    }
}

impl From<DbErr> for Failed {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

/// The error of the driver is two enums deep.
fn driver(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

fn contention(error: &DbErr) -> Option<Contention> {
    Contention::of_sqlstate(&driver(error)?.as_database_error()?.code()?)
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
fn is_lost(error: &DbErr) -> bool {
    let unanswered = driver(error).is_some_and(|error| error.as_database_error().is_none());
    unanswered || contention(error) == Some(Contention::Unknown)
}

#[cfg(test)]
mod tests;
