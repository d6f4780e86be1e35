//! A complete service: articles that several people edit at once, and nobody's change is lost.
//!
//! Run with `cargo run --features axum --example articles`. Options: `--port 3000` (0 picks a free port) and
//! `--store memory`, or with the feature of each `--store file:PATH`, `postgres://…`, `etcd://…`, `redis://…`.
//! `src/docs/dialogue.md` shows a dialogue with it.

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::middleware::map_response;
use axum::routing::{Router, get};
use ifmatch::http::{Answer, Preconditions, Problem};
use ifmatch::web::axum::{Required, problems};
use ifmatch::{Collection, Error, Version, Versioned};
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

/// What a handler of one article answers.
type Answered = Result<Answer<Article>, Error>;

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
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        // What axum refuses by itself is a problem like all others.
        .layer(map_response(problems))
        .with_state(articles)
}

#[derive(Deserialize)]
struct NewArticle {
    id: String,
    #[serde(flatten)]
    article: Article,
}

/// `POST /articles`: 201, or 409 where the id is taken.
async fn create(
    articles: State<Articles>,
    known: Preconditions,
    Json(new): Json<NewArticle>,
) -> Result<Answer<Article>, Problem> {
    let created = articles.create_if(&new.id, &known, new.article).await;
    created.map(|created| created.at("/articles")).map_err(|error| Problem::new(error).at("/articles"))
}

/// `GET /articles/{id}`: 200 with the `ETag`, or 304 for who has it already.
async fn read(articles: State<Articles>, id: Path<String>, known: Preconditions) -> Answered {
    articles.get_if(&id, &known).await
}

/// `PUT /articles/{id}`: replaces the state that `If-Match` names (200), or creates with `If-None-Match: *` (201);
/// 412 where somebody was faster, 428 without either header.
async fn replace(
    articles: State<Articles>,
    id: Path<String>,
    basis: Required,
    article: Json<Article>,
) -> Answered {
    Ok(articles.put_if(&id, &basis, article.0).await?.at("/articles"))
}

/// `DELETE /articles/{id}`: deletes the state that `If-Match` names.
async fn delete(articles: State<Articles>, id: Path<String>, basis: Required) -> Answered {
    articles.delete_if(&id, &basis).await
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
async fn list(articles: State<Articles>, Query(range): Query<Range>) -> Result<Json<List>, Error> {
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
