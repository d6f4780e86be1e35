//! A complete service: articles that several people edit at once, and nobody's change is lost.
//!
//! Run with `cargo run --features axum --example articles`. Options: `--port 3000` (0 picks a free port) and
//! `--store memory`, or with the feature of each `--store file:PATH`, `postgres://…`, `etcd://…`, `redis://…`.
//! `src/docs/dialogue.md` shows a dialogue with it.

use std::error::Error as StdError;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response;
use axum::routing::{Router, get, post};
use ifmatch::http::{Answer, Preconditions, Problem, Required};
use ifmatch::lease::{Ended, Held, Lease, Leases};
use ifmatch::store::{Intent, NotFound, Page, Refusal};
use ifmatch::web::axum::problems;
use ifmatch::{Collection, Database, Error, Version, Versioned};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// The largest body of a request.
const LARGEST_BODY: usize = 64 * 1024;

/// The longest page of the list.
const LONGEST_PAGE: usize = 100;

/// How long an article stays reserved for an editor who says nothing.
const RESERVED: Duration = Duration::from_secs(30);

/// The longest that a request waits for a lease: as long as it takes to find out that its holder is gone, and some more.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Article {
    title: String,
    text: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    published: bool,
}

/// What a handler of one article answers.
type Answered = Result<Answer<Article>, Error>;

/// What all handlers share.
#[derive(Clone)]
struct Office {
    articles: Collection<Article>,
    leases: Leases,
}

impl Office {
    fn open(database: &Database) -> Result<Self, Error> {
        let leases = Leases::new(database, "leases")?.lasting(RESERVED);
        let renamed = |old: &Article, new: &Article| old.published && old.title != new.title;
        let articles = database
            .define("articles")?
            .leased(&leases)
            .rule("published-keeps-its-title", "a published article is not renamed", move |old, new| {
                !old.zip(new).is_some_and(|(old, new)| renamed(old, new))
            })
            .open()?;
        Ok(Self { articles, leases })
    }

    /// The articles as whoever sent this request may write them: under the lease whose token it names in `Lease-Token`.
    async fn under(&self, id: &str, headers: &HeaderMap) -> Result<Collection<Article>, Error> {
        match headers.contains_key(LEASE_TOKEN) {
            true => self.articles.under(&self.lease(id, headers).await?),
            false => Ok(self.articles.clone()),
        }
    }

    /// The lease whose token a request names, renewed: an editor who writes is there.
    async fn lease(&self, id: &str, headers: &HeaderMap) -> Result<Lease, Error> {
        let token =
            headers.get(LEASE_TOKEN).and_then(|tag| tag.to_str().ok()?.trim_matches('"').parse().ok());
        let none =
            || Refusal::MalformedCondition { name: "Lease-Token", problem: "not the tag of a lease".into() };
        self.leases.resume(id, token.ok_or_else(none)?).await
    }
}

/// The header in which a client sends back the token of its lease.
const LEASE_TOKEN: &str = "lease-token";

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let database = match options.store.as_str() {
        "memory" => Database::in_memory(),
        #[cfg(feature = "file")]
        store if store.starts_with("file:") => Database::new(ifmatch::File::open(&store["file:".len()..])?),
        #[cfg(feature = "postgres")]
        store if store.starts_with("postgres://") => Database::new(ifmatch::Postgres::connect(store).await?),
        #[cfg(feature = "etcd")]
        store if store.starts_with("etcd://") => Database::new(ifmatch::Etcd::connect(store).await?),
        #[cfg(feature = "redis")]
        store if store.starts_with("redis") => Database::new(ifmatch::Redis::connect(store).await?),
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

    let office = Office::open(&database)?;
    tokio::spawn(sweep(office.leases.clone()));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, service(office)).with_graceful_shutdown(interrupted()).await?;
    Ok(())
}

/// Ends the leases of editors who went without a word, in a while from when they were last heard of.
async fn sweep(leases: Leases) {
    loop {
        tokio::time::sleep(RESERVED / 3).await;
        if let Err(error) = leases.sweep("the service").await {
            eprintln!("leases were not looked at: {error}");
        }
    }
}

fn service(office: Office) -> Router {
    Router::new()
        .route("/articles", get(list).post(create))
        .route("/articles/{id}", get(read).put(replace).delete(delete))
        .route("/articles/{id}/lease", get(holder).post(reserve).put(renew).delete(release))
        .route("/articles/{id}/lease/force", post(force))
        .route("/articles/{id}/lease/trail", get(trail))
        .route("/leases", get(leases))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        // What axum refuses by itself is a problem like all others.
        .layer(map_response(problems))
        .with_state(office)
}

#[derive(Deserialize)]
struct NewArticle {
    id: String,
    #[serde(flatten)]
    article: Article,
}

/// `POST /articles`: 201, or 409 where the id is taken, 423 where it is reserved for another editor.
async fn create(
    office: State<Office>,
    known: Preconditions,
    headers: HeaderMap,
    Json(new): Json<NewArticle>,
) -> Result<Answer<Article>, Problem> {
    let articles = office.under(&new.id, &headers).await?;
    let created = articles.create_if(&new.id, &known, new.article).await;
    created.map(|created| created.at("/articles")).map_err(|error| Problem::new(error).at("/articles"))
}

/// `GET /articles/{id}`: 200 with the `ETag`, or 304 for who has it already.
async fn read(office: State<Office>, id: Path<String>, known: Preconditions) -> Answered {
    office.articles.get_if(&id, &known).await
}

/// `PUT /articles/{id}`: replaces the state that `If-Match` names (200), or creates with `If-None-Match: *` (201);
/// 412 where somebody was faster, 428 without either header, 423 where it is reserved for another editor, 409 where it is
/// published and gets another title.
async fn replace(
    office: State<Office>,
    id: Path<String>,
    basis: Required,
    headers: HeaderMap,
    article: Json<Article>,
) -> Answered {
    let articles = office.under(&id, &headers).await?;
    Ok(articles.put_if(&id, &basis, article.0).await?.at("/articles"))
}

/// `DELETE /articles/{id}`: deletes the state that `If-Match` names.
async fn delete(office: State<Office>, id: Path<String>, basis: Required, headers: HeaderMap) -> Answered {
    office.under(&id, &headers).await?.delete_if(&id, &basis).await
}

#[derive(Deserialize)]
struct Range {
    after: Option<String>,
    limit: Option<usize>,
}

impl Range {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(LONGEST_PAGE).min(LONGEST_PAGE)
    }
}

/// One page of a list.
#[derive(Serialize)]
struct Paged<T> {
    items: Vec<T>,
    /// What to pass as `after` for the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T> Paged<T> {
    fn of<F>(page: Page<F>, shown: impl Fn(Arc<str>, F) -> T) -> Json<Self> {
        let next = page.next().map(str::to_owned);
        Json(Self { items: page.items.into_iter().map(|(id, found)| shown(id, found)).collect(), next })
    }
}

#[derive(Serialize)]
struct Listed {
    id: Arc<str>,
    version: Version,
    title: String,
}

/// `GET /articles?after=…&limit=…`: one page of the list, in the order of the ids.
async fn list(office: State<Office>, Query(range): Query<Range>) -> Result<Json<Paged<Listed>>, Error> {
    let page = office.articles.scan("", range.after.as_deref(), range.limit()).await?;
    Ok(Paged::of(page, |id, found| Listed { id, version: found.version, title: found.value.title.clone() }))
}

#[derive(Deserialize)]
struct Editor {
    owner: String,
    /// Seconds to wait for it.
    #[serde(default)]
    wait: u64,
}

/// Who holds a lease. The holder is told its token as the `ETag`, and sends that back in `Lease-Token`.
#[derive(Serialize)]
struct Holder {
    id: String,
    owner: String,
    /// Seconds since 1970, by the clock of the service that gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// Seconds, from one renewal to the next.
    lasts: u64,
}

impl Holder {
    fn of(lease: &Lease) -> Versioned<Self> {
        let (id, owner) = (lease.id().to_owned(), lease.owner().to_owned());
        Versioned::new(lease.token(), Self { id, owner, since: None, lasts: RESERVED.as_secs() })
    }

    fn known(id: &str, held: Held) -> Self {
        let (since, lasts) = (Some(seconds(held.since)), held.lasts.as_secs());
        Self { id: id.to_owned(), owner: held.owner, since, lasts }
    }
}

/// A time as seconds since 1970.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `POST /articles/{id}/lease`: reserves the article for the editor who is named, 201; 423 where it is reserved for another
/// one, and still is after the time to wait.
async fn reserve(
    office: State<Office>,
    id: Path<String>,
    editor: Json<Editor>,
) -> Result<(StatusCode, Versioned<Holder>), Error> {
    let wait = Duration::from_secs(editor.wait).min(LONGEST_WAIT);
    let lease = office.leases.acquire_within(&id, &editor.owner, wait).await?;
    Ok((StatusCode::CREATED, Holder::of(&lease)))
}

/// `PUT /articles/{id}/lease` with `Lease-Token`: renews it, 200; 423 or 409 where it was lost.
async fn renew(
    office: State<Office>,
    id: Path<String>,
    headers: HeaderMap,
) -> Result<Versioned<Holder>, Error> {
    let lease = office.lease(&id, &headers).await?;
    Ok(Holder::of(&lease))
}

/// `DELETE /articles/{id}/lease` with `Lease-Token`: gives it back, 204.
async fn release(office: State<Office>, id: Path<String>, headers: HeaderMap) -> Result<StatusCode, Error> {
    office.lease(&id, &headers).await?.release().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Force {
    by: String,
    reason: String,
}

/// `POST /articles/{id}/lease/force`: ends the lease that `If-Match` names, and keeps who did that and why; 412 where
/// somebody else holds it by now.
async fn force(
    office: State<Office>,
    id: Path<String>,
    basis: Required,
    force: Json<Force>,
) -> Result<StatusCode, Error> {
    let held = match office.leases.holder(&id).await {
        // A record that can't be read is ended too.
        Err(Error::Corrupt(corrupt)) => Some(corrupt.version()),
        held => held?.map(|held| held.token),
    };
    let holder = basis.admit(&id, Intent::Delete, held)?;
    office.leases.force_release(&id, holder, &force.by, &force.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /articles/{id}/lease`: who holds it, with the token as the `ETag`; 404 where nobody does.
async fn holder(office: State<Office>, Path(id): Path<String>) -> Result<Versioned<Holder>, Error> {
    let held = office.leases.holder(&id).await?.ok_or_else(|| NotFound::new(&id))?;
    Ok(Versioned::new(held.token, Holder::known(&id, held)))
}

/// `GET /leases`: all that are held, in pages like the list.
async fn leases(office: State<Office>, Query(range): Query<Range>) -> Result<Json<Paged<Holder>>, Error> {
    let page = office.leases.list(range.after.as_deref(), range.limit()).await?;
    Ok(Paged::of(page, |id, held| Holder::known(&id, held)))
}

/// How a lease was ended by somebody else than its holder.
#[derive(Serialize)]
struct Taken {
    from: String,
    by: String,
    reason: String,
    /// Seconds since 1970.
    at: u64,
}

/// `GET /articles/{id}/lease/trail`: how leases were ended by others than their holders, the first time first.
async fn trail(
    office: State<Office>,
    id: Path<String>,
    Query(range): Query<Range>,
) -> Result<Json<Paged<Taken>>, Error> {
    let page = office.leases.trail(&id, range.after.as_deref(), range.limit()).await?;
    let taken = |Ended { from, by, reason, at, .. }| Taken { from, by, reason, at: seconds(at) };
    Ok(Paged::of(page, |_, ended| taken(ended)))
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
