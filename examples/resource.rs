//! Three collections of one database, each served in one line: all verbs, pages, patches, and the changes as they come.
//!
//! Run with `cargo run --features axum,resource --example resource`; `--port 3000` (0 picks a free port).
//! `curl -N -H 'Accept: text/event-stream' localhost:3000/articles` shows the changes.

use std::error::Error as StdError;
use std::net::Ipv4Addr;

use axum::Router;
use ifmatch::Database;
use ifmatch::http::{Expose, Problem};
use ifmatch::web::resource;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Article {
    title: String,
    text: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Author {
    name: String,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Comment {
    article: String,
    text: String,
}

fn titled(_: &str, article: &Article) -> Result<(), Problem> {
    match article.title.as_str() {
        "" => Err(Problem::of(422, "untitled", "an article has a title")),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = match std::env::args().nth(2) {
        Some(port) => port.parse()?,
        None => 3000,
    };
    let blog = Database::in_memory();
    // Whoever writes here may read too: a conflict is answered with the value that won.
    let articles =
        resource("/articles", blog.collection::<Article>("articles")?).check(titled).expose(Expose::Full);
    let app = Router::new()
        .nest_service("/articles", articles)
        .nest_service("/authors", resource("/authors", blog.collection::<Author>("authors")?))
        .nest_service("/comments", resource("/comments", blog.collection::<Comment>("comments")?));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
