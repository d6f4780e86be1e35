//! `web::resource` beside the same routes by hand over a `Mutex<HashMap>`, both behind axum and real sockets.
//!
//! `resource` prints the time of a request for both, as the median over interleaved rounds, and the ratio; `resource soak
//! SECONDS` keeps the service busy for that time, and prints what was lost and how much memory it took. In both 256 connections
//! read, and one request in ten is a write by `If-Match`, a part of which conflict.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ifmatch::Collection;
use ifmatch::web::resource;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 256;
const IDS: usize = 64;
const ROUNDS: usize = 15;
const EACH: usize = 80;

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Page {
    text: String,
    count: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match arguments.next().as_deref() {
        Some("soak") => {
            let seconds = arguments.next().and_then(|text| text.parse().ok()).expect("seconds");
            runtime.block_on(soak(Duration::from_secs(seconds)));
        }
        _ => runtime.block_on(compare()),
    }
}

async fn compare() {
    let routers = [
        ("by hand", by_hand("/pages/{id}")),
        // As `resource` is mounted: what that costs is axum's.
        ("by hand, nested", Router::new().nest_service("/pages", by_hand("/{id}"))),
        ("resource", of_collection()),
    ];
    let mut services = Vec::new();
    for (name, router) in routers {
        services.push((name, Load::new(serve(router).await).await, Vec::new()));
    }
    for round in 0..=ROUNDS {
        let count = services.len();
        for turn in 0..count {
            let (_, load, times) = &mut services[(round + turn) % count];
            let time = load.run(EACH).await;
            // The first round warms up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    let base = services[0].2.clone();
    for (name, load, times) in &mut services {
        let mut ratios: Vec<f64> = times.iter().zip(&base).map(|(time, base)| time / base).collect();
        println!("{name:16} {:8.2} µs   {:.3}", median(times), median(&mut ratios));
        load.assert_exact().await;
    }
}

async fn soak(time: Duration) {
    let mut load = Load::new(serve(of_collection()).await).await;
    load.run(EACH).await;
    let (begun, before) = (Instant::now(), resident());
    let mut most = before;
    let mut requests = 0;
    while begun.elapsed() < time {
        load.run(EACH).await;
        requests += EACH * CONNECTIONS;
        most = most.max(resident());
    }
    let (applied, refused) = (load.applied.load(Ordering::Relaxed), load.refused.load(Ordering::Relaxed));
    println!("{requests} requests, {applied} writes applied and {refused} refused");
    println!("resident: {before} KiB after the first round, {most} KiB at most");
    load.assert_exact().await;
    println!("no update was lost");
}

fn of_collection() -> Router {
    let pages = Collection::<Page>::in_memory();
    for id in 0..IDS {
        pages.create(&id.to_string(), new()).wait().expect("an empty collection");
    }
    Router::new().nest_service("/pages", resource("/pages", pages))
}

fn new() -> Page {
    Page { text: "x".repeat(100), count: 0 }
}

type Pages = Arc<Mutex<HashMap<String, (u64, Arc<Page>)>>>;

fn by_hand(path: &str) -> Router {
    let pages: HashMap<_, _> = (0..IDS).map(|id| (id.to_string(), (1, Arc::new(new())))).collect();
    Router::new().route(path, get(read).put(write)).with_state(Arc::new(Mutex::new(pages)))
}

async fn read(pages: State<Pages>, Path(id): Path<String>) -> Response {
    let found = pages.lock().get(&id).cloned();
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(version, page)| shown(version, &page))
}

async fn write(pages: State<Pages>, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(basis) =
        headers.get(IF_MATCH).and_then(|tag| tag.to_str().ok()?.trim_matches('"').parse::<u64>().ok())
    else {
        return StatusCode::PRECONDITION_REQUIRED.into_response();
    };
    let Ok(page) = serde_json::from_slice::<Page>(&body) else {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    };
    let page = Arc::new(page);
    let mut pages = pages.lock();
    let Some(found) = pages.get_mut(&id) else { return StatusCode::NOT_FOUND.into_response() };
    if found.0 != basis {
        let (version, _) = *found;
        drop(pages);
        let problem = format!(r#"{{"status":412,"current_version":"{version}"}}"#);
        let headers =
            [(CONTENT_TYPE, "application/problem+json".to_owned()), (ETAG, format!("\"{version}\""))];
        return (StatusCode::PRECONDITION_FAILED, headers, problem).into_response();
    }
    *found = (basis + 1, Arc::clone(&page));
    drop(pages);
    shown(basis + 1, &page)
}

fn shown(version: u64, page: &Page) -> Response {
    let text = serde_json::to_vec(page).expect("a page is JSON");
    ([(CONTENT_TYPE, "application/json".to_owned()), (ETAG, format!("\"{version}\""))], text).into_response()
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// 256 clients of one service.
struct Load {
    clients: Vec<Client>,
    applied: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
}

impl Load {
    async fn new(address: SocketAddr) -> Self {
        let mut clients = Vec::new();
        for at in 0..CONNECTIONS {
            clients.push(Client::new(address, at).await.expect("it listens"));
        }
        Self { clients, applied: Arc::default(), refused: Arc::default(), failed: Arc::default() }
    }

    /// Microseconds a request, all clients together.
    async fn run(&mut self, requests: usize) -> f64 {
        let begun = Instant::now();
        let mut running = Vec::new();
        for mut client in self.clients.drain(..) {
            let (applied, refused, failed) =
                (Arc::clone(&self.applied), Arc::clone(&self.refused), Arc::clone(&self.failed));
            running.push(tokio::spawn(async move {
                if client.work(requests, &applied, &refused).await.is_err() {
                    failed.store(true, Ordering::Relaxed);
                }
                client
            }));
        }
        for client in running {
            self.clients.push(client.await.expect("a client does not panic"));
        }
        assert!(!self.failed.load(Ordering::Relaxed), "a request failed");
        begun.elapsed().as_secs_f64() * 1e6 / (requests * CONNECTIONS) as f64
    }

    /// Each write that was applied has added one.
    async fn assert_exact(&mut self) {
        let mut sum = 0;
        for id in 0..IDS {
            let (_, _, body) =
                self.clients[0].ask(&format!("GET /pages/{id}"), "", "").await.expect("it answers");
            sum += serde_json::from_slice::<Page>(&body).expect("a page").count;
        }
        assert_eq!(sum, self.applied.load(Ordering::Relaxed), "an update was lost");
    }
}

struct Client {
    stream: BufReader<TcpStream>,
    /// Where it is in its walk over the ids.
    at: usize,
    sent: String,
}

impl Client {
    async fn new(address: SocketAddr, at: usize) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), at, sent: String::new() })
    }

    /// Nine reads and one write, which adds one to what the last of them read.
    async fn work(&mut self, requests: usize, applied: &AtomicU64, refused: &AtomicU64) -> Result<(), Error> {
        let mut last: Option<(usize, String, Vec<u8>)> = None;
        for turn in 0..requests {
            if let Some((id, tag, body)) = last.take().filter(|_| turn % 10 == 9) {
                let mut page: Page = serde_json::from_slice::<Page>(&body)?;
                page.count += 1;
                let text = serde_json::to_string(&page)?;
                let (status, ..) = self.ask(&format!("PUT /pages/{id}"), &tag, &text).await?;
                match status {
                    200 => applied.fetch_add(1, Ordering::Relaxed),
                    412 => refused.fetch_add(1, Ordering::Relaxed),
                    _ => return Err(ErrorKind::InvalidData.into()),
                };
                continue;
            }
            // The writes of many meet at few ids.
            self.at = self.at.wrapping_mul(25).wrapping_add(13);
            let id = if turn % 10 == 8 { self.at % 4 } else { self.at % IDS };
            let (status, tag, body) = self.ask(&format!("GET /pages/{id}"), "", "").await?;
            if status != 200 {
                return Err(ErrorKind::InvalidData.into());
            }
            last = Some((id, tag, body));
        }
        Ok(())
    }

    async fn ask(&mut self, line: &str, tag: &str, body: &str) -> Result<(u16, String, Vec<u8>), Error> {
        let mut request = format!("{line} HTTP/1.1\r\nhost: localhost\r\n");
        if !body.is_empty() {
            let length = body.len();
            request +=
                &format!("if-match: {tag}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
        }
        request += "\r\n";
        request += body;
        self.stream.write_all(request.as_bytes()).await?;
        let (mut status, mut length, mut etag) = (0, 0, String::new());
        loop {
            self.sent.clear();
            if self.stream.read_line(&mut self.sent).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let line = self.sent.trim_end();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().unwrap_or_default();
            } else if let Some(tag) = line.strip_prefix("etag: ") {
                etag = tag.to_owned();
            } else if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.parse().unwrap_or_default();
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok((status, etag, body))
    }
}

/// The memory of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
