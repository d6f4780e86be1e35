//! A complete service: articles that several people edit at once, and nobody's change is lost.
//!
//! Run with `cargo run --features axum --example articles`. Options: `--port 3000` (0 picks a free port) and
//! `--store memory`, or with the feature of each `--store file:PATH`, `postgres://…`, `etcd://…`, `redis://…`.
//! `src/docs/dialogue.md` shows a dialogue with it.

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Query, Request, State};
use axum::http::header::LOCATION;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{Router, get};
use ifmatch::http::{Preconditions, Problem};
use ifmatch::store::Intent;
use ifmatch::web::axum::Required;
use ifmatch::{Collection, Error, Expected, Version, Versioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// The largest body of a request.
const LARGEST_BODY: usize = 64 * 1024;

/// The longest page of the list.
const LONGEST_PAGE: usize = 100;

#[derive(Serialize, Deserialize)]
struct Article {
    title: String,
    text: String,
}

type Articles = Collection<Article>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let articles = match options.store.as_str() {
        "memory" => Articles::in_memory(),
        #[cfg(feature = "file")]
        store if store.starts_with("file:") => Articles::json(ifmatch::File::open(&store["file:".len()..])?),
        #[cfg(feature = "postgres")]
        store if store.starts_with("postgres://") => Articles::json(ifmatch::Postgres::connect(store).await?),
        #[cfg(feature = "etcd")]
        store if store.starts_with("etcd://") => Articles::json(ifmatch::Etcd::connect(store).await?),
        #[cfg(feature = "redis")]
        store if store.starts_with("redis") => Articles::json(ifmatch::Redis::connect(store).await?),
        other => {
            // Without what may be a password.
            let other = other.split(':').next().unwrap_or_default();
            return Err(format!(
                "unknown store `{other}`: there is `memory`, and with the feature of each `file:PATH`, \
                 `postgres://USER@HOST/DATABASE`, `etcd://HOST:PORT` and `redis://HOST`"
            )
            .into());
        }
    };

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, service(articles)).with_graceful_shutdown(interrupted()).await?;
    Ok(())
}

fn service(articles: Articles) -> Router {
    Router::new()
        .route("/articles", get(list).post(create))
        .route("/articles/{id}", get(read).put(replace).delete(delete))
        .fallback(|uri: Uri| async move {
            Problem::of(404, "no-route", "there is nothing here").with_instance(uri.path())
        })
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(articles)
}

#[derive(Deserialize)]
struct NewArticle {
    id: String,
    #[serde(flatten)]
    article: Article,
}

/// `POST /articles`: 201, or 409 where the id is taken.
async fn create(State(articles): State<Articles>, Body(new): Body<NewArticle>) -> Result<Response, Problem> {
    let NewArticle { id, article } = new;
    let created = articles.create(&id, article).await?;
    Ok((StatusCode::CREATED, [(LOCATION, location(&id))], created).into_response())
}

/// `GET /articles/{id}`: 200 with the `ETag`, or 304 for who has it already.
async fn read(
    State(articles): State<Articles>,
    Path(id): Path<String>,
    preconditions: Preconditions,
) -> Result<Response, Error> {
    preconditions.respond(&id, articles.fetch(&id).await?)
}

/// `PUT /articles/{id}`: replaces the state that `If-Match` names (200), or creates with `If-None-Match: *` (201);
/// 412 where somebody was faster, 428 without either header.
async fn replace(
    State(articles): State<Articles>,
    Path(id): Path<String>,
    Required(preconditions): Required,
    Body(article): Body<Article>,
) -> Result<Response, Problem> {
    let condition = preconditions.condition(Intent::Put, &id, || articles.get(&id)).await?;
    let saved = articles.replace(&id, condition, article).await?;
    match condition.expected {
        Expected::Absent => Ok((StatusCode::CREATED, [(LOCATION, location(&id))], saved).into_response()),
        _ => Ok(saved.into_response()),
    }
}

/// `DELETE /articles/{id}`: deletes the state that `If-Match` names.
async fn delete(
    State(articles): State<Articles>,
    Path(id): Path<String>,
    Required(preconditions): Required,
) -> Result<StatusCode, Error> {
    let condition = preconditions.condition(Intent::Delete, &id, || articles.get(&id)).await?;
    articles.delete(&id, condition).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Range {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct List {
    articles: Vec<Listed>,
    /// What to pass as `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    id: String,
    version: Version,
    title: String,
}

/// `GET /articles?after=…&limit=…`: one page of the list, in the order of the ids.
async fn list(
    State(articles): State<Articles>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Json<List>, Problem> {
    let Query(range) =
        range.map_err(|_| Problem::of(400, "bad-query", "`limit` is a number, `after` an id"))?;
    let limit = range.limit.unwrap_or(LONGEST_PAGE).min(LONGEST_PAGE);
    let page = articles.scan("", range.after.as_deref(), limit).await?;
    let next = page.next().map(str::to_owned);
    let listed = |(id, article): &(Arc<str>, Versioned<Article>)| Listed {
        id: id.to_string(),
        version: article.version,
        title: article.value.title.clone(),
    };
    Ok(Json(List { articles: page.items.iter().map(listed).collect(), next }))
}

/// The body as JSON; what is wrong with it is a problem like all others.
struct Body<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            // Its status, and not its text, which may quote the body.
            Err(rejection) => {
                Err(Problem::of(rejection.status().as_u16(), "bad-body", what_is_wrong(&rejection)))
            }
        }
    }
}

fn what_is_wrong(rejection: &JsonRejection) -> &'static str {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => "send the body with `Content-Type: application/json`",
        JsonRejection::JsonSyntaxError(_) => "the body is not JSON",
        JsonRejection::JsonDataError(_) => "the body lacks a field, or has one of another type",
        _ => "the body cannot be read, or is longer than 64 KiB",
    }
}

/// The path of an article, with what a path can't hold escaped.
fn location(id: &str) -> String {
    let mut path = "/articles/".to_owned();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => path.push(byte.into()),
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

struct Options {
    port: u16,
    store: String,
}

impl Options {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { port: 3000, store: "memory".to_owned() };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("`{name}` needs a value"))?;
            match name.as_str() {
                "--port" => options.port = value.parse().map_err(|_| format!("`{value}` is not a port"))?,
                "--store" => options.store = value,
                _ => return Err(format!("unknown option `{name}`: there are `--port` and `--store`")),
            }
        }
        Ok(options)
    }
}

async fn interrupted() {
    // Where the signal can't be heard, the service runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
