//! A service that tells how its conflicts go: in front of it required preconditions and counts, behind it the commits.
//!
//! Run with `cargo run --features axum,resource,tower --example monitored`, and ask
//! `curl localhost:3000/metrics`, which is for Prometheus, and `curl localhost:3000/busiest`, which is not for everybody. Option:
//! `--port 3000`; 0 picks a free port.

use std::error::Error as StdError;
use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::State;
use axum::routing::{Router, get};
use ifmatch::http::Tally;
use ifmatch::web::resource;
use ifmatch::web::tower::{Monitor, Problems, Require};
use ifmatch::{Collection, Memory, Observed, Retry};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
    #[serde(default)]
    stars: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut arguments = std::env::args().skip(1);
    let port = match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => 3000,
        (Some("--port"), Some(port)) => port.parse()?,
        _ => return Err("the only option is `--port PORT`".into()),
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, service(&Tally::new())).await?;
    Ok(())
}

fn service(tally: &Tally) -> Router {
    let (requests, calls, commits) = (tally.clone(), tally.clone(), tally.clone());
    let notes = Collection::<Note>::new(Observed::new(Memory::new(), move |event| commits.event(event)))
        .with_retry(Retry::default().report(move |report| calls.call(report)));

    Router::new()
        .nest_service("/notes", resource("/notes", notes))
        .layer(Require::new())
        .layer(Problems::new())
        .layer(Monitor::new(move |exchange| requests.request(exchange)))
        // Behind these no request is counted.
        .route("/metrics", get(metrics))
        .route("/busiest", get(busiest))
        .with_state(tally.clone())
}

async fn metrics(tally: State<Tally>) -> String {
    tally.to_string()
}

#[derive(Serialize)]
struct Busy {
    id: Box<str>,
    conflicts: u64,
}

async fn busiest(tally: State<Tally>) -> Json<Vec<Busy>> {
    let busy = |busy: ifmatch::http::Busy| Busy { id: busy.id, conflicts: busy.conflicts };
    Json(tally.busiest().into_iter().map(busy).collect())
}
