//! A whole resource whose writes have keys, over real connections.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use ifmatch::http::{Keys, Problem, Terms};
use ifmatch::web::resource;
use ifmatch::web::resource::Routes;
use ifmatch::{Collection, Database, Error};
use serde_json::{Value, json};

use crate::serving::{Client, Serving, Told};

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

struct Served {
    notes: Collection<Value>,
    _serving: Serving,
    client: Client,
}

impl Served {
    fn new() -> Self {
        Self::of(|routes| routes)
    }

    fn of(set: impl FnOnce(Routes<Value>) -> Routes<Value>) -> Self {
        let office = Database::in_memory();
        let (keys, notes) = (Keys::new(&office, "keys").unwrap(), office.collection("notes").unwrap());
        let routes = set(resource("/notes", notes.clone()).terms(Terms::new()));
        let caller = |headers: &axum::http::HeaderMap| {
            headers.get("x-user").map_or(String::new(), |user| user.to_str().unwrap().to_owned())
        };
        let routes = routes.idempotent(&keys, move |call| caller(call.headers())).unwrap();
        let serving = Serving::new(Router::new().nest_service("/notes", routes));
        let client = serving.client();
        Self { notes, _serving: serving, client }
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Told {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.client.ask(method, &format!("/notes{path}"), &headers, &body)
    }
}

fn key(key: &str) -> (&str, &str) {
    ("idempotency-key", key)
}

/// What two answers have to have in common.
fn alike(told: &Told) -> (u16, [Option<String>; 2], String) {
    (
        told.status,
        ["etag", "location"].map(|name| told.header(name).map(ToOwned::to_owned)),
        told.body.clone(),
    )
}

#[test]
fn a_repeated_post_creates_nothing_and_tells_the_id_of_the_first() {
    let mut served = Served::new();
    let post = |served: &mut Served, text: &str| served.ask("POST", "", &[JSON, key("\"k1\"")], &json!(text));

    let first = post(&mut served, "hello");
    let again = post(&mut served, "hello");
    let other = post(&mut served, "other");

    assert_eq!(first.status, 201);
    assert!(first.header("location").unwrap().len() > "/notes/".len());
    assert_eq!(alike(&again), alike(&first));
    assert_eq!((other.status, &*other.reason()), (422, "key-reused"));
    assert_eq!(served.notes.scan_ids("", None, 10).wait().unwrap().items.len(), 1);
}

#[test]
fn what_is_answered_again_is_not_judged_again() {
    // Room for one.
    let left = AtomicI64::new(1);
    let full = move |_: &str, _: &Value| match left.fetch_sub(1, Ordering::Relaxed) {
        1.. => Ok(()),
        _ => Err(Problem::of(409, "full", "there is no room left")),
    };
    let mut served = Served::of(|routes| routes.check(full));
    let post = |served: &mut Served, name: &str| served.ask("POST", "", &[JSON, key(name)], &json!("hello"));

    let first = post(&mut served, "k1");
    assert_eq!((first.status, alike(&post(&mut served, "k1"))), (201, alike(&first)));
    assert_eq!(post(&mut served, "k2").status, 409);
}

#[test]
fn each_method_is_applied_once_and_answered_alike() {
    let mut served = Served::new();
    let first = served.ask("PUT", "/a", &[JSON, key("k1")], &json!({"n": 1}));
    let tag = first.header("etag").unwrap().to_owned();
    served.notes.put("a", json!({"n": 2})).wait().unwrap();
    let again = served.ask("PUT", "/a", &[JSON, key("k1"), ("if-match", "\"7\"")], &json!({"n": 1}));
    assert_eq!((first.status, alike(&again)), (201, alike(&first)));
    assert_eq!(served.ask("PUT", "/a", &[JSON, ("if-match", &tag)], &json!(1)).status, 412, "no key");

    let patch = json!({"m": 1});
    let first = served.ask("PATCH", "/a", &[MERGE, key("k1")], &patch);
    served.notes.put("a", json!({"n": 3})).wait().unwrap();
    let again = served.ask("PATCH", "/a", &[MERGE, key("k1")], &patch);
    assert_eq!((first.status, alike(&again)), (200, alike(&first)));
    assert_eq!(served.ask("PATCH", "/a", &[MERGE, key("k1")], &json!({"m": 2})).status, 422);
    let kind = ("content-type", "application/json-patch+json");
    assert_ne!(served.ask("PATCH", "/a", &[kind, key("k1")], &json!([])).status, 200, "another type");

    // Whoever sends it again may have read another state since.
    let tag = format!("\"{}\"", served.notes.fetch("a").wait().unwrap().version);
    let headers = [MERGE, key("k3"), ("if-match", &tag), ("prefer", "return=minimal")];
    let told = [(); 2].map(|()| served.ask("PATCH", "/a", &headers, &patch));
    assert_eq!(told.map(|told| (told.status, told.header("etag").is_some())), [(204, true), (204, false)]);

    let first = served.ask("DELETE", "/a", &[key("k1")], &Value::Null);
    let again = served.ask("DELETE", "/a", &[key("k1")], &Value::Null);
    assert_eq!((first.status, alike(&again)), (204, alike(&first)), "and not 404");
    assert_eq!(served.ask("DELETE", "/a", &[key("k2")], &Value::Null).status, 410);
}

#[test]
fn a_key_is_that_of_a_caller_a_method_and_a_path() {
    let mut served = Served::new();
    let mut put = |path: &str, user: &str| {
        served.ask("PUT", path, &[JSON, key("k1"), ("x-user", user)], &json!(user)).status
    };

    assert_eq!([put("/a", "ann"), put("/a", "bob"), put("/b", "ann")], [201, 200, 201]);
    assert_eq!([put("/a", "ann"), put("/a", "bob"), put("/b", "ann")], [201, 200, 201]);
}

#[test]
fn a_key_that_can_not_be_read_or_kept_is_refused_and_no_read_minds() {
    let mut served = Served::new();
    let bad = served.ask("PUT", "/a", &[JSON, key("a b")], &json!(1));
    assert_eq!((bad.status, &*bad.reason()), (400, "malformed-precondition"));
    assert_eq!(served.ask("GET", "", &[key("a b")], &Value::Null).status, 200);

    let notes = Collection::<Value>::in_memory();
    let serving =
        Serving::new(Router::new().nest_service("/notes", resource("/notes", notes).terms(Terms::new())));
    let mut plain = Served { client: serving.client(), _serving: serving, ..served };
    for (method, path) in [("PUT", "/a"), ("POST", "")] {
        let told = plain.ask(method, path, &[JSON, key("k1")], &json!(1));
        assert_eq!((told.status, &*told.reason()), (501, "key-not-kept"), "{method}");
    }
    assert_eq!(plain.ask("GET", "/a", &[key("k1")], &Value::Null).status, 404);
}

#[test]
fn a_question_what_became_of_a_write_takes_no_key() {
    let mut served = Served::new();
    let write = served.notes.write_id();
    drop(served.notes.create("a", json!(1)).wait().unwrap());
    let path = format!("?resolve={write}");

    let refused = served.ask("POST", &path, &[key("k1")], &Value::Null);
    assert_eq!((refused.status, &*refused.reason()), (501, "key-not-kept"));
    assert_eq!(served.ask("POST", &path, &[key("k 1")], &Value::Null).status, 400);
    assert_eq!(served.ask("POST", &path, &[], &Value::Null).status, 200);
}

#[test]
fn keys_of_another_database_are_refused_before_anything_is_served() {
    let keys = Keys::new(&Database::in_memory(), "keys").unwrap();
    let [alone, other] =
        [Collection::<Value>::in_memory(), Database::in_memory().collection("notes").unwrap()];

    for notes in [alone, other] {
        let refused = resource("/notes", notes).idempotent(&keys, |_| String::new());
        assert!(matches!(refused, Err(Error::Refused(_))));
    }
}
