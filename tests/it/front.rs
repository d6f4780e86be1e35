//! Layers in front of a service: what they refuse, and what they count of a run that is known.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use axum::routing::put;
use ifmatch::http::{Exchange, Keys, Outcome, Tally};
use ifmatch::store::{
    Abilities, Changes, Committed, Failure, Listed, Outcome as StoreOutcome, Page, Resolution, Scan, WriteId,
};
use ifmatch::web::resource;
use ifmatch::web::tower::{Basis, Monitor, Problems, Require};
use ifmatch::{Collection, Commit, Database, Error, Memory, Observed, Reply, Retry, Start, Store, Versioned};
use parking_lot::Mutex;
use tower_layer::Layer;
use tower_service::Service;

use crate::serving::{Client, Serving};

/// A service of no framework, whose handler looks at no header. It counts the requests that come to it.
#[derive(Clone, Default)]
struct Bare {
    asked: Arc<AtomicUsize>,
    status: StatusCode,
}

impl Service<Request<()>> for Bare {
    type Response = Response<Vec<u8>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Vec<u8>>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut response = Response::new(b"plain".to_vec());
        *response.status_mut() = self.status;
        for (name, value) in [("retry-after", "7"), ("set-cookie", "a=b"), ("content-length", "5")] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        ready(Ok(response))
    }
}

/// Method, headers, status, reason.
type Row = (&'static str, &'static [(&'static str, &'static str)], u16, &'static str);

/// The answer to a request with these headers.
fn ask<S>(service: &mut S, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, HeaderMap)
where
    S: Service<Request<()>, Response = Response<Vec<u8>>, Error = Infallible>,
    S::Future: Unpin,
{
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = service.call(request.body(()).unwrap());
    let Poll::Ready(Ok(response)) =
        std::pin::Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it is ready")
    };
    let (head, body) = response.into_parts();
    (head.status.as_u16(), String::from_utf8(body).unwrap(), head.headers)
}

#[test]
fn what_a_request_has_to_say_is_required_of_handlers_that_never_look() {
    let bare = Bare::default();
    let mut service = Require::new().layer(bare.clone());
    let rows: [Row; 17] = [
        ("PUT", &[], 428, "expectation-required"),
        ("PATCH", &[("if-none-match", "\"7\"")], 428, "expectation-required"),
        ("DELETE", &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 428, "expectation-required"),
        ("PUT", &[("if-match", "7")], 400, "malformed-precondition"),
        ("POST", &[("if-match", "\"1\"")], 412, "foreign-tag"),
        ("POST", &[("if-match", "1")], 400, "malformed-precondition"),
        ("PUT", &[("if-match", "\"7\"")], 200, ""),
        ("PUT", &[("if-match", "*")], 200, ""),
        ("PUT", &[("if-none-match", "*")], 200, ""),
        ("POST", &[], 200, ""),
        ("POST", &[("if-match", "*")], 200, ""),
        ("GET", &[("if-match", "7")], 200, ""),
        ("POST", &[("idempotency-key", "k1")], 501, "key-not-kept"),
        ("PUT", &[("idempotency-key", "\"k1\""), ("if-match", "\"7\"")], 501, "key-not-kept"),
        ("LOCK", &[("idempotency-key", "k1")], 501, "key-not-kept"),
        ("POST", &[("idempotency-key", "k 1")], 400, "malformed-precondition"),
        ("GET", &[("idempotency-key", "k 1")], 200, ""),
    ];

    for (method, headers, status, reason) in rows {
        let before = bare.asked.load(Ordering::Relaxed);
        let (told, body, sent) = ask(&mut service, method, "/", headers);
        assert_eq!(told, status, "{method} {headers:?}: {body}");
        assert_eq!(
            bare.asked.load(Ordering::Relaxed) - before,
            usize::from(status == 200),
            "{method} {headers:?}"
        );
        if status != 200 {
            assert!(body.contains(&format!("\"reason\":\"{reason}\"")), "{body}");
            assert_eq!(sent["content-type"], "application/problem+json");
        }
    }
}

#[test]
fn a_rule_by_path_may_refuse_the_star_and_may_only_report() {
    let by_path = |head: &axum::http::request::Parts| match head.uri.path() {
        "/ledger" => Some(Basis::Required),
        "/notes" => Some(Basis::Optional),
        _ => None,
    };
    let mut strict = Require::new().by(by_path).without_star().layer(Bare::default());
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let report = Require::new().by(by_path).report_only(move |head, problem| {
        kept.lock().push(format!("{} {} {}", head.method, head.uri, problem.reason()));
    });
    let mut reporting = report.layer(Bare::default());

    assert_eq!(ask(&mut strict, "PUT", "/ledger", &[("if-match", "*")]).0, 428);
    assert_eq!(ask(&mut strict, "PUT", "/ledger", &[("if-match", "\"7\"")]).0, 200);
    assert_eq!(ask(&mut strict, "GET", "/ledger", &[("if-none-match", "7")]).0, 200);
    assert_eq!(ask(&mut strict, "PUT", "/notes", &[]).0, 200);
    assert_eq!(ask(&mut strict, "PUT", "/elsewhere", &[]).0, 428);
    assert_eq!(ask(&mut reporting, "PUT", "/ledger", &[]).0, 200);
    assert_eq!(ask(&mut reporting, "PUT", "/notes", &[]).0, 200);
    assert_eq!(*told.lock(), ["PUT /ledger expectation-required"]);
}

#[test]
fn a_key_passes_to_what_keeps_it_and_the_rest_is_asked_for_all_the_same() {
    let mut service = Require::new().keyed().layer(Bare::default());
    let key = ("idempotency-key", "k1");

    assert_eq!(ask(&mut service, "POST", "/", &[key]).0, 200);
    assert_eq!(ask(&mut service, "PUT", "/", &[key, ("if-match", "*")]).0, 200);
    assert_eq!(ask(&mut service, "PUT", "/", &[key]).0, 428);
    assert_eq!(ask(&mut service, "POST", "/", &[key, ("if-match", "\"7\"")]).0, 412);
}

#[test]
fn a_bare_refusal_gets_a_body_and_keeps_what_a_client_acts_on() {
    for (status, reason) in
        [(409, "conflict"), (412, "precondition-failed"), (423, "locked"), (428, "precondition-required")]
    {
        let mut service =
            Problems::new().layer(Bare { status: StatusCode::from_u16(status).unwrap(), ..Bare::default() });
        let (told, body, headers) = ask(&mut service, "PUT", "/", &[]);
        assert_eq!((told, &headers["content-type"]), (status, &"application/problem+json".parse().unwrap()));
        assert_eq!(
            (&headers["retry-after"], &headers["set-cookie"]),
            (&"7".parse().unwrap(), &"a=b".parse().unwrap())
        );
        assert!(!headers.contains_key("content-length"));
        assert!(body.contains(&format!("\"reason\":\"{reason}\"")), "{body}");
        let retry = if status == 423 { "wait" } else { "refetch" };
        assert!(body.contains(&format!("\"retry\":\"{retry}\"")), "{body}");
    }
    for status in [200, 400, 404, 500] {
        let mut service =
            Problems::new().layer(Bare { status: StatusCode::from_u16(status).unwrap(), ..Bare::default() });
        assert_eq!(ask(&mut service, "PUT", "/", &[]).1, "plain", "{status}");
    }
}

#[test]
fn a_resource_takes_the_layers_without_a_framework_between() {
    let notes = resource("/notes", Collection::<String>::in_memory());
    let mut service = Require::new().without_star().layer(Problems::new().layer(notes));
    let request =
        Request::builder().method("PUT").uri("/a").header("if-match", "*").body(axum::body::Body::empty());
    let mut answer = service.call(request.unwrap());

    let answer = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));

    let Poll::Ready(Ok(response)) = answer else { panic!("it is ready") };
    assert_eq!(response.status(), 428);
}

/// A store whose first read fails.
struct Stumbling {
    store: Memory<u64>,
    stumbled: AtomicBool,
}

impl Store<u64> for Stumbling {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
        if self.stumbled.swap(true, Ordering::Relaxed) {
            return self.store.get(id);
        }
        Reply::ready(Err(Failure::new(StoreOutcome::NotApplied, "connection refused").into()))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
        self.store.commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        Store::<u64>::resolve(&self.store, write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<u64>>> {
        self.store.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u64>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        Store::<u64>::abilities(&self.store)
    }
}

#[test]
fn a_read_that_failed_is_an_attempt_and_no_conflict() -> Result<(), Error> {
    let tally = Tally::new();
    let calls = tally.clone();
    let store = Stumbling { store: Memory::new(), stumbled: AtomicBool::new(false) };
    let counters =
        Collection::new(store).with_retry(Retry::default().report(move |report| calls.call(report)));
    counters.create("a", 1).wait()?;

    counters.modify("a", |count| *count += 1).wait()?;

    let text = tally.to_string();
    assert_eq!(number(&text, "ifmatch_attempts_total"), 2);
    assert_eq!(number(&text, "ifmatch_absorbed_total"), 0);
    Ok(())
}

#[test]
fn a_refusal_of_ours_passes_with_its_body_and_its_cause() -> Result<(), Error> {
    let notes = Collection::<String>::in_memory();
    notes.create("s3cr3t-id", "s3cr3t".to_string()).wait()?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let monitor = Monitor::new(move |exchange| {
        let id = exchange
            .cause
            .and_then(|cause| cause.error().conflict())
            .map(|conflict| conflict.id().to_owned());
        assert!(!format!("{exchange:?}").contains("s3cr3t"));
        kept.lock().push((exchange.outcome, exchange.blind, id));
    });
    let app = Router::new().nest_service("/notes", resource("/notes", notes));
    let serving = Serving::new(app.layer(Problems::new()).layer(monitor));

    let told = write(&mut serving.client(), "PUT", "/notes/s3cr3t-id", "\"7\"", "\"mine\"");

    assert_eq!((told.0, &*told.1), (412, "stale"));
    assert_eq!(*seen.lock(), [(Outcome::Refused("stale"), false, Some("s3cr3t-id".to_owned()))]);
    Ok(())
}

fn write(client: &mut Client, method: &str, path: &str, tag: &str, body: &str) -> (u16, String) {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if method == "PATCH" {
        headers[0].1 = "application/merge-patch+json".to_owned();
    }
    if !tag.is_empty() {
        headers.push(("if-match", tag.to_owned()));
    }
    let told = client.ask(method, path, &headers, body);
    (told.status, told.reason())
}

/// What a line of the text says.
fn number(text: &str, metric: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {metric} in {text}")).parse().unwrap()
}

#[test]
fn the_numbers_of_a_known_run_are_exact_and_show_no_id_and_no_value() -> Result<(), Error> {
    const APPLIED: u64 = 30;
    const ABSORBED: u64 = 7;
    const ESCAPED: u64 = 11;
    const BLIND: u64 = 5;
    let tally = Tally::new();
    let (requests, calls, commits) = (tally.clone(), tally.clone(), tally.clone());
    let counters = Collection::<u64>::new(Observed::new(Memory::new(), move |event| commits.event(event)))
        .with_retry(Retry::default().report(move |report| calls.call(report)));
    let first = counters.create("s3cr3t", 1).wait()?.version;
    // Somebody else is faster, once for each time that this is set.
    let faster = Arc::new(AtomicBool::new(false));
    let (raced, behind) = (Arc::clone(&faster), counters.clone());
    let race = move |id: &str, value: &u64| {
        if raced.swap(false, Ordering::Relaxed) {
            behind.put(id, value + 1_000).wait()?;
        }
        Ok(())
    };
    let terms = ifmatch::http::Terms::new();
    let routes = resource("/counters", counters.clone()).terms(terms).check(race);
    let app = Router::new()
        .nest_service("/counters", routes)
        .layer(Require::new().by(|head| match head.headers.contains_key("x-strict") {
            true => None,
            false => Some(Basis::Optional),
        }))
        .layer(Monitor::new(move |exchange| requests.request(exchange)));
    let serving = Serving::new(app);
    let mut client = serving.client();
    let path = "/counters/s3cr3t";

    for _ in 0..BLIND {
        assert_eq!(write(&mut client, "PUT", path, "", "2").0, 200);
    }
    for turn in 0..ABSORBED {
        faster.store(true, Ordering::Relaxed);
        assert_eq!(write(&mut client, "PATCH", path, "*", &(turn + 3).to_string()).0, 200);
    }
    for turn in 0..APPLIED - BLIND - ABSORBED {
        let tag = format!("\"{}\"", counters.fetch("s3cr3t").wait()?.version);
        assert_eq!(write(&mut client, "PUT", path, &tag, &(turn + 50).to_string()).0, 200);
    }
    for _ in 0..ESCAPED {
        assert_eq!(write(&mut client, "PUT", path, &format!("\"{first}\""), "8").0, 412);
    }
    for _ in 0..3 {
        let json = [("content-type", "application/json".to_owned()), ("x-strict", "1".to_owned())];
        assert_eq!(client.ask("PUT", path, &json, "8").status, 428);
        assert_eq!(write(&mut client, "PUT", path, "7", "8").0, 400);
        assert_eq!(client.ask("GET", path, &[], "").status, 200);
        assert_eq!(client.ask("GET", "/nowhere", &[], "").status, 404);
    }

    let text = tally.to_string();
    let of = |metric: &str| number(&text, metric);
    assert_eq!(of("ifmatch_requests_total{outcome=\"applied\"}"), APPLIED);
    assert_eq!(of("ifmatch_requests_total{outcome=\"stale\"}"), ESCAPED);
    assert_eq!(of("ifmatch_requests_total{outcome=\"expectation-required\"}"), 3);
    assert_eq!(of("ifmatch_requests_total{outcome=\"malformed-precondition\"}"), 3);
    assert_eq!(of("ifmatch_requests_total{outcome=\"read\"}"), 3);
    assert_eq!(of("ifmatch_requests_total{outcome=\"other\"}"), 3);
    assert_eq!(of("ifmatch_request_seconds_count"), APPLIED + ESCAPED + 12);
    assert_eq!(of("ifmatch_writes_total"), APPLIED + ESCAPED + 6);
    // Those that were refused for it too.
    assert_eq!(of("ifmatch_blind_writes_total"), BLIND + 3);
    assert_eq!(of("ifmatch_absorbed_total"), ABSORBED);
    assert_eq!(of("ifmatch_calls_total{ending=\"applied\"}"), ABSORBED);
    assert_eq!(of("ifmatch_calls_total{ending=\"exhausted\"}"), 0);
    assert_eq!(of("ifmatch_attempts_total"), 2 * ABSORBED);
    // The creation, and what was faster.
    assert_eq!(of("ifmatch_commits_total{ending=\"applied\"}"), APPLIED + 1 + ABSORBED);
    assert_eq!(of("ifmatch_blind_entries_total"), BLIND + ABSORBED);
    assert!(!text.contains("s3cr3t"), "{text}");
    let busiest = tally.busiest();
    assert_eq!((&*busiest[0].id, busiest[0].conflicts), ("s3cr3t", ESCAPED + ABSORBED));
    assert_eq!(busiest.len(), 1);
    // All of them were of the creation, and found what came of all commits since.
    assert_eq!(of("ifmatch_version_lag_sum"), ESCAPED * (APPLIED + ABSORBED));
    assert_eq!(of("ifmatch_version_lag_bucket{le=\"16\"}"), 0);
    assert_eq!(of("ifmatch_version_lag_bucket{le=\"256\"}"), ESCAPED);
    assert_eq!(of("ifmatch_version_lag_count"), ESCAPED);
    Ok(())
}

#[test]
fn what_was_answered_before_and_what_no_error_of_ours_refuses_are_counted_as_what_they_are()
-> Result<(), Error> {
    let tally = Tally::new();
    let (requests, calls) = (tally.clone(), tally.clone());
    let office = Database::in_memory();
    let keys = Keys::new(&office, "keys")?;
    let notes = office
        .collection::<serde_json::Value>("notes")?
        .with_retry(Retry::default().report(move |report| calls.call(report)));
    notes.create("a", serde_json::json!(1)).wait()?;
    let routes = resource("/notes", notes.clone()).terms(ifmatch::http::Terms::new());
    let app = Router::new()
        .nest_service("/notes", routes.idempotent(&keys, |_| String::new())?)
        .layer(Require::new().keyed().by(|head| match head.headers.contains_key("x-strict") {
            true => None,
            false => Some(Basis::Optional),
        }))
        .layer(Monitor::new(move |exchange| requests.request(exchange)));
    let serving = Serving::new(app);
    let mut client = serving.client();
    let json = ("content-type", "application/json".to_owned());
    let key = ("idempotency-key", "k1".to_owned());

    for _ in 0..3 {
        assert_eq!(client.ask("POST", "/notes", &[json.clone(), key.clone()], "1").status, 201);
        let minimal = [json.clone(), key.clone(), ("prefer", "return=minimal".to_owned())];
        assert!(client.ask("PUT", "/notes/a", &minimal, "1").status < 300);
        assert_eq!(client.ask("DELETE", "/notes/a", std::slice::from_ref(&key), "").status, 204);
    }
    assert_eq!(client.ask("POST", "/notes", &[json.clone(), key.clone()], "2").status, 422);
    assert_eq!(client.ask("POST", "/notes?resolve=1-2", std::slice::from_ref(&key), "").status, 501);
    let patch = [("content-type", "application/merge-patch+json".to_owned())];
    assert_eq!(client.ask("PATCH", "/notes/a", &patch, "{").status, 400);
    let tag = ("if-match", "\"7\"".to_owned());
    assert_eq!(client.ask("GET", "/notes", std::slice::from_ref(&tag), "").status, 412);
    assert_eq!(client.ask("POST", "/notes", &[json, tag, ("x-strict", "1".to_owned())], "1").status, 412);
    // A call that makes up for a conflict tells of which collection.
    notes.create("b", serde_json::json!(1)).wait()?;
    let mut raced = false;
    notes
        .modify("b", |note| {
            if !std::mem::replace(&mut raced, true) {
                notes.put("b", serde_json::json!(2)).wait().unwrap();
            }
            *note = serde_json::json!(3);
        })
        .wait()?;

    let text = tally.to_string();
    let of = |outcome: &str| number(&text, &format!("ifmatch_requests_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((of("applied"), of("replayed")), (3, 6));
    assert_eq!((of("key-reused"), of("key-not-kept")), (1, 1));
    assert_eq!((of("malformed-patch"), of("foreign-tag"), of("other")), (1, 2, 0));
    assert_eq!((&*tally.busiest()[0].id, tally.busiest()[0].conflicts), ("notes/b", 1));
    Ok(())
}

#[test]
fn a_client_that_goes_away_is_told_apart() {
    let tally = Tally::new();
    let requests = tally.clone();
    let monitor = Monitor::new(move |exchange: &Exchange<'_>| requests.request(exchange));
    let (tell, told) = std::sync::mpsc::channel();
    let waits = move || {
        let tell = tell.clone();
        async move {
            tell.send(()).unwrap();
            std::future::pending::<()>().await;
        }
    };
    let serving = Serving::new(Router::new().route("/", put(waits)).layer(monitor));

    let mut stream = std::net::TcpStream::connect(serving.address).unwrap();
    std::io::Write::write_all(&mut stream, b"PUT / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    told.recv().unwrap();
    drop(stream);

    let dropped = || number(&tally.to_string(), "ifmatch_requests_total{outcome=\"dropped\"}");
    while dropped() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(dropped(), 1);
}

/// In front of a service of gRPC. That of tonic, over a real connection, is in `examples/frameworks`.
#[cfg(feature = "tonic")]
mod grpc {
    use tonic::{Code, Status};
    use tonic_types::StatusExt;

    use super::*;

    /// Path, metadata, and the code and the reason where it is refused.
    type Row = (&'static str, &'static [(&'static str, &'static str)], Option<(Code, &'static str)>);

    /// The status of gRPC that a service answers with, and the metadata beside it.
    fn call<S>(service: &mut S, path: &str, headers: &[(&str, &str)]) -> (Option<Status>, HeaderMap)
    where
        S: Service<Request<()>, Response = Response<Vec<u8>>, Error = Infallible>,
        S::Future: Unpin,
    {
        let (status, body, headers) = ask(service, "POST", path, headers);
        let told = Status::from_header_map(&headers);
        assert!(told.is_none() || (status, &*body) == (200, ""), "{status} {body}");
        (told, headers)
    }

    fn reason(status: &Status) -> String {
        status.get_error_details().error_info().unwrap().reason.clone()
    }

    #[test]
    fn what_is_required_of_a_call_is_refused_by_its_status() {
        let by_path = |head: &axum::http::request::Parts| match head.uri.path() {
            "/stock/Put" => Some(Basis::Required),
            "/stock/Add" => Some(Basis::Unjudged),
            _ => None,
        };
        let rows: [Row; 9] = [
            ("/stock/Put", &[], Some((Code::InvalidArgument, "expectation-required"))),
            ("/stock/Put", &[("if-match", "7")], Some((Code::InvalidArgument, "malformed-precondition"))),
            ("/stock/Put", &[("if-match", "\"7\"")], None),
            ("/stock/Add", &[("if-match", "\"7\"")], Some((Code::FailedPrecondition, "foreign-tag"))),
            ("/stock/Add", &[], None),
            ("/stock/Get", &[("if-match", "\"7\"")], None),
            ("/stock/Get", &[], None),
            ("/stock/Add", &[("idempotency-key", "k1")], Some((Code::Unimplemented, "key-not-kept"))),
            (
                "/stock/Get",
                &[("idempotency-key", "k 1")],
                Some((Code::InvalidArgument, "malformed-precondition")),
            ),
        ];
        let bare = Bare::default();
        let mut service = Require::new().by(by_path).grpc().layer(bare.clone());

        for (path, headers, refused) in rows {
            let before = bare.asked.load(Ordering::Relaxed);
            let (told, _) = call(&mut service, path, headers);
            assert_eq!(bare.asked.load(Ordering::Relaxed) - before, usize::from(refused.is_none()), "{path}");
            let told = told.map(|status| (status.code(), reason(&status)));
            assert_eq!(told, refused.map(|(code, reason)| (code, reason.to_owned())), "{path} {headers:?}");
        }
    }

    #[test]
    fn a_bare_refusal_becomes_a_status_and_keeps_what_a_client_acts_on() {
        for (status, code, reason_told) in [
            (409, Code::Aborted, "conflict"),
            (412, Code::FailedPrecondition, "precondition-failed"),
            (423, Code::FailedPrecondition, "locked"),
            (428, Code::InvalidArgument, "precondition-required"),
        ] {
            let bare = Bare { status: StatusCode::from_u16(status).unwrap(), ..Bare::default() };
            let (told, headers) = call(&mut Problems::new().grpc().layer(bare), "/stock/Put", &[]);
            let told = told.expect("a status");
            assert_eq!((told.code(), &*reason(&told)), (code, reason_told));
            assert_eq!(headers["content-type"], "application/grpc");
            assert_eq!(
                (&headers["retry-after"], &headers["set-cookie"]),
                (&"7".parse().unwrap(), &"a=b".parse().unwrap())
            );
            assert!(!headers.contains_key("content-length"));
        }
        for status in [200, 404, 503] {
            let bare = Bare { status: StatusCode::from_u16(status).unwrap(), ..Bare::default() };
            assert!(call(&mut Problems::new().grpc().layer(bare), "/stock/Put", &[]).0.is_none(), "{status}");
        }
    }

    #[test]
    fn a_call_that_failed_is_not_counted_as_applied_for_its_status_of_http() {
        #[derive(Clone)]
        struct Fails(Option<Status>);
        impl Service<Request<()>> for Fails {
            type Response = Response<Vec<u8>>;
            type Error = Infallible;
            type Future = Ready<Result<Response<Vec<u8>>, Infallible>>;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, _: Request<()>) -> Self::Future {
                ready(Ok(self.0.clone().map_or_else(Response::default, Status::into_http)))
            }
        }
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        let monitor = Monitor::new(move |exchange| kept.lock().push(exchange.outcome));
        let stale = Error::from(ifmatch::Conflict::state("a1", "archived", "it is archived"));

        for status in [None, Some(Status::not_found("none")), Some(Status::from(stale))] {
            let mut service = monitor.layer(Fails(status));
            let mut answer = service.call(Request::builder().method("POST").body(()).unwrap());
            assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
        }

        assert_eq!(*told.lock(), [Outcome::Applied, Outcome::Other, Outcome::Refused("state")]);
    }
}

#[cfg(feature = "metrics")]
mod meter {
    use std::collections::BTreeMap;
    use std::sync::atomic::AtomicU64;

    use ifmatch::http::meter;
    use metrics::{
        Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit, with_local_recorder,
    };

    use super::*;

    /// Counters by their name and labels. Times are not looked at.
    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let count =
                self.0.lock().entry(format!("{} {}", key.name(), labels.join(","))).or_default().clone();
            Counter::from_arc(count)
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn the_facade_is_told_the_same_numbers_and_no_id() -> Result<(), Error> {
        let kept = Kept::default();

        with_local_recorder(&kept, || {
            let counters = Collection::<u64>::new(Observed::new(Memory::new(), meter::event))
                .with_retry(Retry::default().report(meter::call));
            counters.create("s3cr3t", 1).wait()?;
            let mut raced = false;
            counters
                .modify("s3cr3t", |count| {
                    if !std::mem::replace(&mut raced, true) {
                        counters.put("s3cr3t", 7).wait().unwrap();
                    }
                    *count += 1;
                })
                .wait()?;
            meter::request(&Exchange::new("PUT", 200, None).blind(true));
            meter::request(&Exchange::new("GET", 304, None).blind(true));
            Ok::<_, Error>(())
        })?;

        let kept = kept.0.lock();
        let counts: Vec<_> =
            kept.iter().map(|(name, count)| (name.as_str(), count.load(Ordering::Relaxed))).collect();
        assert_eq!(
            counts,
            [
                ("ifmatch_absorbed_total ", 1),
                ("ifmatch_attempts_total ", 2),
                ("ifmatch_blind_entries_total ", 1),
                ("ifmatch_blind_writes_total ", 1),
                ("ifmatch_calls_total ending=applied", 1),
                ("ifmatch_commits_total ending=applied", 3),
                ("ifmatch_commits_total ending=conflict", 1),
                ("ifmatch_requests_total outcome=applied", 1),
                ("ifmatch_requests_total outcome=read", 1),
                ("ifmatch_writes_total ", 1),
            ]
        );
        Ok(())
    }
}

#[cfg(feature = "tracing")]
mod trace {
    use std::fmt::Write;

    use ifmatch::http::trace;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// All that is said, in one text.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<String>>);

    impl Visit for Said {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0.lock(), " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Said {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "ifmatch"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            write!(self.0.lock(), "\n{}", event.metadata().level()).unwrap();
            event.record(&mut self.clone());
        }
    }

    #[test]
    fn what_happens_is_told_by_its_weight_without_ids_and_values() -> Result<(), Error> {
        let said = Said::default();

        tracing::subscriber::with_default(said.clone(), || {
            let notes = Collection::<String>::new(Observed::new(Memory::new(), trace::event))
                .with_retry(Retry::default().report(trace::call));
            let first = notes.create("s3cr3t", "s3cr3t".to_string()).wait()?;
            notes.modify("s3cr3t", |note| note.push('!')).wait()?;
            let late = notes.replace("s3cr3t", first.version, "late".to_string()).wait().unwrap_err();
            let problem = ifmatch::http::Problem::new(late);
            trace::request(&Exchange::new("PUT", 409, problem.cause()));
            Ok::<_, Error>(())
        })?;

        let said = said.0.lock();
        assert!(said.contains("\nDEBUG message=commit ending=\"applied\" entries=1 blind=0"), "{said}");
        assert!(said.contains("\nDEBUG message=call ending=\"applied\" attempts=1"), "{said}");
        assert!(said.contains("\nINFO message=commit ending=\"conflict\""), "{said}");
        assert!(
            said.contains("\nINFO message=request method=\"PUT\" status=409 outcome=\"stale\""),
            "{said}"
        );
        assert!(!said.contains("s3cr3t"), "{said}");
        Ok(())
    }
}
