//! What each route answers beyond the table of preconditions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use ifmatch::history::History;
use ifmatch::http::{Expose, Problem, Terms};
use ifmatch::merge::{Merge, Strategy};
use ifmatch::store::{
    Abilities, Changes, Committed, Failure, Listed, Outcome, Page, Resolution, Scan, WriteId,
};
use ifmatch::web::resource;
use ifmatch::web::resource::Routes;
use ifmatch::{Collection, Commit, Database, Memory, Reply, Retry, Start, Store, Version, Versioned};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::serving::{Client, Serving, Told};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default)]
    stars: f32,
}

const HELLO: &str = r#"{"title":"Hello","stars":0.0}"#;

struct Notes {
    notes: Collection<Note>,
    _serving: Serving,
    client: Client,
}

impl Notes {
    fn new(set: impl FnOnce(Routes<Note>) -> Routes<Note>) -> Self {
        let notes = Collection::in_memory();
        let routes = set(resource("/api/v1/notes", notes.clone()).terms(Terms::new()));
        let nested = Router::new().nest_service("/notes", routes);
        let serving = Serving::new(Router::new().nest("/api/v1", nested));
        let client = serving.client();
        Self { notes, _serving: serving, client }
    }

    fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Told {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        self.client.ask(method, &format!("/api/v1/notes{path}"), &headers, body)
    }

    fn put(&mut self, id: &str, body: &str) -> Told {
        self.ask("PUT", &format!("/{id}"), &[JSON], body)
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const PATCH: (&str, &str) = ("content-type", "application/json-patch+json");

fn body(told: &Told) -> Value {
    serde_json::from_str(&told.body).unwrap_or_else(|error| panic!("{error}: {}", told.body))
}

#[test]
fn a_resource_is_created_read_changed_and_deleted() {
    let mut notes = Notes::new(|routes| routes);

    let created = notes.put("a%2Fb", HELLO);
    assert_eq!((created.status, created.header("location")), (201, Some("/api/v1/notes/a%2Fb")));
    let tag = created.header("etag").unwrap().to_owned();

    let read = notes.ask("GET", "/a%2Fb", &[], "");
    assert_eq!((read.status, &*read.body, read.header("etag")), (200, HELLO, Some(&*tag)));
    let head = notes.ask("HEAD", "/a%2Fb", &[], "");
    assert_eq!((head.status, head.header("etag")), (200, Some(&*tag)));
    assert_eq!(head.header("content-length"), Some(&*HELLO.len().to_string()));
    assert_eq!(notes.ask("GET", "/a%2Fb", &[("if-none-match", &tag)], "").status, 304);

    let merged = notes.ask("PATCH", "/a%2Fb", &[MERGE, ("if-match", &tag)], r#"{"text":"t","stars":1}"#);
    assert_eq!((merged.status, body(&merged)), (200, json!({"title": "Hello", "text": "t", "stars": 1.0})));
    let steps = r#"[{"op":"test","path":"/stars","value":1},{"op":"remove","path":"/text"}]"#;
    let patched = notes.ask("PATCH", "/a%2Fb", &[PATCH], steps);
    assert_eq!((patched.status, body(&patched)), (200, json!({"title": "Hello", "stars": 1.0})));

    let late = notes.ask("DELETE", "/a%2Fb", &[("if-match", &tag)], "");
    assert_eq!((late.status, &*late.reason()), (412, "stale"));
    assert_eq!(body(&late)["resource_url"], "/api/v1/notes/a%2Fb");
    assert_eq!(notes.ask("DELETE", "/a%2Fb", &[], "").status, 204);
    assert_eq!(notes.ask("GET", "/a%2Fb", &[], "").status, 410);
}

#[test]
fn a_post_takes_the_clients_id_the_values_or_one_that_is_drawn() {
    let mut notes = Notes::new(|routes| routes);
    let named = notes.ask("POST", "?id=a%20b", &[JSON], HELLO);
    assert_eq!((named.status, named.header("location")), (201, Some("/api/v1/notes/a%20b")));
    let taken = notes.ask("POST", "/?id=a%20b", &[JSON], HELLO);
    assert_eq!((taken.status, taken.header("etag")), (409, None));
    assert_eq!(body(&taken)["resource_url"], "/api/v1/notes/a%20b");
    assert_eq!(notes.ask("POST", "?id=..", &[JSON], HELLO).reason(), "bad-id");

    let mut drawn: Vec<String> = (0..50)
        .map(|_| notes.ask("POST", "", &[JSON], HELLO).header("location").unwrap().to_owned())
        .collect();
    for location in &drawn {
        let below = location.strip_prefix("/api/v1/notes").unwrap().to_owned();
        assert_eq!(notes.ask("GET", &below, &[], "").status, 200);
    }
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 50);

    let mut notes = Notes::new(|routes| routes.name(|note| note.title.to_lowercase()));
    let created = notes.ask("POST", "", &[JSON], HELLO);
    assert_eq!(created.header("location"), Some("/api/v1/notes/hello"));
    assert_eq!(notes.ask("POST", "", &[JSON], HELLO).status, 409);
}

#[test]
fn a_client_is_spared_the_body_where_it_prefers_that() {
    let mut notes = Notes::new(|routes| routes);
    let minimal = ("prefer", "return=minimal");
    let rows = [
        ("PUT", "/a", JSON, HELLO, 201),
        ("PUT", "/a", JSON, HELLO, 204),
        ("PATCH", "/a", MERGE, r#"{"text":"t"}"#, 204),
        ("POST", "?id=b", JSON, HELLO, 201),
    ];
    for (method, path, kind, body, status) in rows {
        let told = notes.ask(method, path, &[kind, minimal], body);
        assert_eq!((told.status, &*told.body), (status, ""), "{method}");
        assert_eq!(told.header("preference-applied"), Some("return=minimal"));
        assert_eq!(told.header("content-type"), None);
        let stands = notes.notes.fetch(if path == "?id=b" { "b" } else { "a" }).wait().unwrap().version;
        let tag = format!("\"{stands}\"");
        assert_eq!(
            told.header("etag"),
            (method != "PATCH").then_some(&*tag),
            "it has seen what it sent alone"
        );
        assert_eq!(told.header("location").is_some(), status == 201);
    }
    let whole = notes.ask("PUT", "/a", &[JSON, ("prefer", "return=representation")], HELLO);
    assert_eq!((&*whole.body, whole.header("preference-applied")), (HELLO, Some("return=representation")));
    let refused = notes.ask("PUT", "/a", &[JSON, minimal, ("if-match", "\"7\"")], HELLO);
    assert_eq!((refused.status, &*refused.reason()), (412, "stale"), "a problem is always told");
    assert_eq!(refused.header("preference-applied"), None);
}

#[test]
fn a_patch_that_is_answered_without_its_value_tells_a_tag_to_who_has_named_what_it_patched() {
    let minimal = ("prefer", "return=minimal");
    let rows: [(Expose, &[(&str, &str)]); 2] =
        [(Expose::Version, &[MERGE, minimal]), (Expose::Nothing, &[MERGE])];
    for (expose, headers) in rows {
        let mut notes = Notes::new(|routes| {
            let at = |note: &Note| {
                std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(note.stars as u64)
            };
            routes.expose(expose).modified(at)
        });
        let first = notes.put("a", HELLO).header("etag").unwrap().to_owned();
        notes.put("a", r#"{"title":"Hello","text":"bob's"}"#);
        let mut patch = |known: Option<&str>, body: &str| {
            let known = known.map(|tags| ("if-match", tags));
            let headers: Vec<_> = headers.iter().copied().chain(known).collect();
            let told = notes.ask("PATCH", "/a", &headers, body);
            assert_eq!((told.status, &*told.body), (204, ""), "{known:?}");
            assert_eq!(told.header("last-modified").is_some(), told.header("etag").is_some());
            let stands = format!("\"{}\"", notes.notes.fetch("a").wait().unwrap().version);
            assert!(told.header("etag").is_none_or(|tag| tag == stands));
            (told.header("etag").is_some(), stands)
        };

        // Ann has the first state, and would undo what Bob wrote under a tag of what her patch made of that.
        let (told, _) = patch(None, r#"{"title":"ann's"}"#);
        assert!(!told);
        let (told, now) = patch(Some("*"), r#"{"stars":1}"#);
        assert!(!told);
        let (told, now) = patch(Some(&format!("{first}, {now}")), r#"{"stars":2}"#);
        assert!(!told, "she may have either");
        let (told, now) = patch(Some(&now), r#"{"stars":3}"#);
        assert!(told);
        assert!(patch(Some(&format!("\"abc\", {now}")), r#"{"stars":4}"#).0, "the other is no state");
    }
}

#[test]
fn a_list_comes_in_pages_with_a_link_to_the_next_and_with_ids_only() {
    let mut notes = Notes::new(|routes| routes.longest_page(3));
    for id in ["a%2F1", "a%2F2", "a%2F3", "a%2F4", "b"] {
        notes.put(id, HELLO);
    }
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };

    let mut seen = Vec::new();
    let mut path = "?limit=2&prefix=a%2F".to_owned();
    loop {
        let told = notes.ask("GET", &path, &[], "");
        let page = body(&told);
        assert_eq!(page["items"][0]["value"], json!({"title": "Hello", "stars": 0.0}));
        seen.extend(ids(&page));
        let Some(link) = told.header("link") else {
            assert_eq!(page["next"], Value::Null);
            break;
        };
        let url = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
        path = url.strip_prefix("/api/v1/notes").unwrap().to_owned();
    }
    assert_eq!(seen, ["a/1", "a/2", "a/3", "a/4"]);

    let told = notes.ask("GET", "/?only=ids&limit=99", &[], "");
    let page = body(&told);
    assert_eq!((ids(&page).len(), &page["next"]), (3, &json!("a/3")), "the longest page holds");
    let first = &page["items"][0];
    let stands = notes.notes.fetch("a/1").wait().unwrap().version;
    assert_eq!((first.get("value"), &first["etag"]), (None, &json!(format!("\"{stands}\""))));
    assert!(told.header("link").unwrap().contains("&only=ids>"));
    assert_eq!(told.header("vary"), Some("accept"));

    for (query, reason) in
        [("?limit=0", "empty-page"), ("?limit=x", "bad-request"), ("?only=values", "bad-request")]
    {
        let refused = notes.ask("GET", query, &[], "");
        assert_eq!((refused.status, &*refused.reason()), (400, reason), "{query}");
    }
    let head = notes.ask("HEAD", "?limit=1", &[], "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
}

/// Method, path, headers and body; status and reason.
type Asked =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, u16, &'static str);

#[test]
fn what_cannot_be_asked_is_a_problem_with_its_way_out() {
    let mut notes = Notes::new(|routes| routes.largest_body(64));
    notes.put("a", HELLO);
    const LONG: &str = r#"{"title":"0123456789012345678901234567890123456789012345678901234567890123"}"#;
    let rows: [Asked; 19] = [
        ("PUT", "", &[JSON], HELLO, 405, "method-not-allowed"),
        ("DELETE", "/", &[], "", 405, "method-not-allowed"),
        ("POST", "/a", &[JSON], HELLO, 405, "method-not-allowed"),
        ("TRACE", "/a", &[], "", 405, "method-not-allowed"),
        ("BREW", "/a", &[], "", 501, "not-implemented"),
        ("GET", "/", &[("if-match", "\"7\"")], "", 412, "foreign-tag"),
        ("GET", "/a/b", &[], "", 404, "no-route"),
        ("GET", "/%FF", &[("if-match", "7")], "", 400, "bad-request"),
        (
            "PUT",
            "/a",
            &[("content-type", "text/plain"), ("if-match", "7")],
            HELLO,
            415,
            "unsupported-media-type",
        ),
        ("PUT", "/a", &[MERGE], HELLO, 415, "unsupported-media-type"),
        ("PUT", "/a", &[], HELLO, 415, "unsupported-media-type"),
        ("PATCH", "/a", &[JSON, ("if-match", "7")], "{", 415, "unsupported-media-type"),
        ("PUT", "/a", &[JSON], "{", 400, "bad-request"),
        ("PUT", "/a", &[JSON], r#"{"title":7}"#, 422, "unprocessable-content"),
        ("PUT", "/a", &[JSON], LONG, 413, "too-large"),
        ("PATCH", "/a", &[MERGE], LONG, 413, "too-large"),
        ("PATCH", "/a", &[MERGE], "{", 400, "malformed-patch"),
        ("PATCH", "/a", &[MERGE], r#"{"tilte":"x"}"#, 422, "unfit-change"),
        ("PATCH", "/a", &[PATCH], r#"[{"op":"remove","path":"/text"}]"#, 409, "state"),
    ];
    for (method, path, headers, sent, status, reason) in rows {
        let told = notes.ask(method, path, headers, sent);
        assert_eq!((told.status, &*told.reason()), (status, reason), "{method} {path} {sent}: {}", told.body);
        assert_eq!(told.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert_eq!(told.header("allow").is_some(), status == 405, "{method} {path}");
        let patch = status == 415 && method == "PATCH";
        assert_eq!(told.header("accept-patch").is_some(), patch, "{method} {path}");
    }
    assert_eq!(notes.ask("GET", "/a", &[], "").body, HELLO);
}

#[test]
fn a_value_has_the_same_bounds_whichever_way_it_comes() {
    let notes = Collection::<Value>::in_memory();
    let serving = Serving::new(Router::new().nest_service("/notes", resource("/notes", notes.clone())));
    let mut client = serving.client();
    let mut put = |kind: &str, method: &str, body: String| {
        let headers = [("content-type", kind.to_owned()), ("if-match", "*".to_owned())];
        let told = client.ask(method, "/notes/a", &headers, &body);
        (told.status, told.reason().to_owned())
    };
    notes.create("a", json!({})).wait().unwrap();
    let deep = "[".repeat(65) + &"]".repeat(65);
    let many = format!("[0{}]", ",0".repeat(100_000));

    for body in [&deep, &many] {
        assert_eq!(put("application/json", "PUT", body.clone()), (400, "bad-request".to_owned()));
        assert_eq!(put(MERGE.1, "PATCH", body.clone()), (400, "malformed-patch".to_owned()));
    }
    assert_eq!(notes.fetch("a").wait().unwrap().value, json!({}).into());
}

#[test]
fn a_value_does_not_grow_past_what_could_be_put_by_many_patches() {
    let mut notes = Notes::new(|routes| routes.largest_body(200));
    notes.put("a", HELLO);
    let half = "x".repeat(120);

    let first = notes.ask("PATCH", "/a", &[MERGE], &json!({"text": half}).to_string());
    let second = notes.ask("PATCH", "/a", &[MERGE], &json!({"title": half}).to_string());

    assert_eq!((first.status, second.status, &*second.reason()), (200, 413, "too-large"));
    assert_eq!(notes.notes.fetch("a").wait().unwrap().value.title, "Hello");
}

#[test]
fn a_page_is_no_larger_than_it_may_be_and_leads_to_all() {
    let mut notes = Notes::new(|routes| routes.largest_page(250));
    let long = json!({"title": "x".repeat(300)}).to_string();
    for id in ["a", "b", "c", "d"] {
        let body = if id == "b" { &long } else { HELLO };
        assert_eq!(notes.put(id, body).status, 201);
    }

    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let told = notes.ask("GET", &format!("?after={after}"), &[], "");
        let page = body(&told);
        let ids: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert!(told.body.len() <= 300 || ids.len() == 1, "{}", told.body);
        seen.extend(ids);
        assert_eq!(told.header("link").is_some(), !page["next"].is_null());
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(seen, ["a", "b", "c", "d"]);
}

#[test]
fn a_tag_with_a_put_is_that_of_what_was_sent_where_that_is_wanted() {
    let mut notes = Notes::new(Routes::exact_etags);

    let same = notes.put("a", HELLO);
    let spaced = notes.put("a", &HELLO.replace(':', ": "));
    let left_out = notes.put("a", r#"{"title":"Hello","stars":0.0,"unknown":1}"#);

    assert!(same.header("etag").is_some());
    assert_eq!((spaced.status, spaced.header("etag")), (200, None));
    assert_eq!((left_out.status, left_out.header("etag")), (200, None));
    assert!(notes.ask("GET", "/a", &[], "").header("etag").is_some());
}

#[test]
fn a_value_that_knows_its_date_is_read_by_date_and_not_written_by_it() {
    use std::time::{Duration, SystemTime};
    let mut notes = Notes::new(|routes| {
        routes.modified(|note| SystemTime::UNIX_EPOCH + Duration::from_secs(note.stars as u64))
    });
    notes.put("a", r#"{"title":"Hello","stars":86400}"#);
    let (date, before) = ("Fri, 02 Jan 1970 00:00:00 GMT", "Thu, 01 Jan 1970 23:59:59 GMT");

    let read = notes.ask("GET", "/a", &[], "");
    let same = notes.ask("GET", "/a", &[("if-modified-since", date)], "");
    let newer = notes.ask("GET", "/a", &[("if-modified-since", before)], "");
    let written = notes.ask("PUT", "/a", &[JSON, ("if-unmodified-since", date)], HELLO);

    assert_eq!(read.header("last-modified"), Some(date));
    assert_eq!((same.status, newer.status), (304, 200));
    // From the date a cache would guess for how long the state is good.
    for told in [&read, &same, &newer] {
        assert_eq!(told.header("cache-control"), Some("no-cache"));
    }
    assert_eq!(notes.put("b", HELLO).header("cache-control"), None, "no cache keeps it");
    assert_eq!((written.status, &*written.reason()), (428, "expectation-required"));
}

#[test]
fn a_handler_says_itself_how_long_a_read_that_tells_its_date_is_good() {
    use axum::response::IntoResponse;

    let notes = Collection::<u64>::in_memory();
    notes.create("a", 7).wait().unwrap();
    let answer = notes.get_if("a", &ifmatch::http::Preconditions::none()).wait().unwrap();
    let answer = answer.modified(|_| std::time::SystemTime::UNIX_EPOCH);

    let response = ([("cache-control", "max-age=5")], answer).into_response();

    let told: Vec<_> = response.headers().get_all("cache-control").iter().collect();
    assert_eq!(told, ["max-age=5"]);
}

#[test]
fn options_tell_what_can_be_done() {
    let mut notes = Notes::new(|routes| routes.allow(|_| Err(Problem::of_status(403))));

    let whole = notes.ask("OPTIONS", "/", &[], "");
    assert_eq!((whole.status, whole.header("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    let item = notes.ask("OPTIONS", "/a", &[], "");
    assert_eq!((item.status, item.header("allow")), (204, Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS")));
    assert_eq!(
        item.header("accept-patch"),
        Some("application/merge-patch+json, application/json-patch+json")
    );
}

#[test]
fn hooks_are_asked_before_anything_is_done() {
    let allow = |call: &resource::Call<'_>| match call.headers().get("x-user") {
        Some(user) if user == "ann" || !call.writes() => Ok(()),
        Some(_) => Err(Problem::of_status(403)),
        None => Err(Problem::of_status(401).with_header("www-authenticate", "Bearer")),
    };
    let check = |id: &str, note: &Note| match note.title.as_str() {
        "" => Err(Problem::of(422, "untitled", format!("`{id}` has no title"))),
        _ => Ok(()),
    };
    let mut notes = Notes::new(|routes| routes.allow(allow).check(check));
    let (ann, bob) = (("x-user", "ann"), ("x-user", "bob"));

    let nobody = notes.ask("PUT", "/a", &[("content-type", "text/plain")], "");
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(notes.ask("PUT", "/a", &[JSON, bob], HELLO).status, 403);
    assert_eq!(notes.ask("POST", "?resolve=x", &[bob], "").status, 403);
    assert_eq!(notes.ask("PUT", "/a", &[JSON, ann], HELLO).status, 201);
    assert_eq!(notes.ask("GET", "/a", &[bob], "").status, 200);

    let untitled = r#"{"title":""}"#;
    for (method, path, kind) in [("PUT", "/a", JSON), ("PATCH", "/a", MERGE), ("POST", "?id=b", JSON)] {
        let told = notes.ask(method, path, &[kind, ann], untitled);
        assert_eq!((told.status, &*told.reason()), (422, "untitled"), "{method}: {}", told.body);
    }
    assert_eq!(notes.notes.fetch("a").wait().unwrap().value.title, "Hello");
    assert!(notes.notes.get("b").wait().unwrap().is_none());
}

#[test]
fn a_conflict_shows_the_value_that_won_only_where_it_may() {
    for (level, shown) in [(Expose::Nothing, 0), (Expose::Version, 1), (Expose::Full, 2)] {
        let mut notes = Notes::new(|routes| routes.expose(level));
        notes.put("a", HELLO);

        let late = notes.ask("PUT", "/a", &[JSON, ("if-match", "\"7\"")], HELLO);

        let told = body(&late);
        assert_eq!((late.status, told["reason"].as_str()), (412, Some("stale")));
        assert_eq!(told.get("current_version").is_some(), shown >= 1, "{told}");
        assert_eq!(told.get("current").is_some(), shown == 2, "{told}");
        assert_eq!(late.header("etag").is_some(), shown >= 1);
    }
}

#[test]
fn a_resource_wants_to_hear_what_a_write_is_based_on() {
    let notes = Collection::<Note>::in_memory();
    let serving = Serving::new(Router::new().nest_service("/notes", resource("/notes", notes)));
    let mut client = serving.client();
    let json = ("content-type", "application/json".to_owned());

    let blind = client.ask("PUT", "/notes/a", std::slice::from_ref(&json), HELLO);
    assert_eq!((blind.status, &*blind.reason()), (428, "expectation-required"));
    let created = client.ask("PUT", "/notes/a", &[json, ("if-none-match", "*".to_owned())], HELLO);
    assert_eq!(created.status, 201);
}

#[test]
fn what_became_of_a_write_can_be_asked() {
    let mut notes = Notes::new(|routes| routes);
    let write = notes.notes.write_id();
    let note = Note { title: "t".to_owned(), text: None, stars: 0.0 };
    let put = ifmatch::Entry::put("a", ifmatch::Expected::Absent, note.clone().into());
    let commit = ifmatch::Commit::one(put);
    let committed = notes.notes.commit(commit.with_write(write)).wait().unwrap();
    let version: Version = committed.version().unwrap();

    let applied = notes.ask("POST", &format!("?resolve={write}"), &[], "");
    assert_eq!(
        (applied.status, body(&applied)),
        (200, json!({"outcome": "applied", "etag": format!("\"{version}\"")}))
    );

    // One that replaced what the client may not have seen, as a patch does.
    let created = write;
    let write = notes.notes.write_id();
    let put = ifmatch::Entry::put("a", ifmatch::Expected::Present, note.into());
    let patched = notes.notes.commit(ifmatch::Commit::one(put).with_write(write)).wait().unwrap();
    let [version, patched] = [version, patched.version().unwrap()].map(|version| format!("\"{version}\""));
    for (basis, told) in
        [(None, false), (Some("*"), false), (Some(&*patched), false), (Some(&*version), true)]
    {
        let basis: Vec<_> = basis.map(|tag| ("if-match", tag)).into_iter().collect();
        let applied = body(&notes.ask("POST", &format!("?resolve={write}"), &basis, ""));
        assert_eq!(
            (applied["outcome"].as_str(), applied.get("etag").is_some()),
            (Some("applied"), told),
            "{basis:?}"
        );
    }
    let routes = resource("/exact", notes.notes.clone()).exact_etags();
    let exact = Serving::new(Router::new().nest_service("/exact", routes));
    let told = exact.client().ask("POST", &format!("/exact?resolve={created}"), &[], "");
    assert_eq!(body(&told), json!({"outcome": "applied"}), "nobody knows what was sent");
    let never = notes.notes.write_id();
    let told = notes.ask("POST", &format!("/?resolve={never}"), &[], "");
    assert_eq!(body(&told), json!({"outcome": "not-applied"}));
    assert_eq!(told.header("cache-control"), Some("no-store"));
    assert_eq!(notes.ask("POST", "?resolve=x", &[], "").status, 400);
}

/// A store that applies what it is sent and answers that it can't tell, until it is asked to talk.
struct Silent {
    store: Memory<Note>,
    talks: Arc<AtomicBool>,
}

impl Store<Note> for Silent {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<Note>>> {
        self.store.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, Note>) -> Reply<'a, Committed> {
        let write = commit.write().expect("a store that may lose answers gets a write id");
        self.store
            .commit(commit)
            .then(move |_| Err(Failure::new(Outcome::Unknown, "lost").with_write(write).into()))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        match self.talks.load(Ordering::Relaxed) {
            true => self.store.resolve(write),
            false => Reply::ready(Ok(Resolution::Unknown)),
        }
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<Note>>> {
        self.store.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<Note>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.store.abilities();
        abilities.may_lose_answers = true;
        abilities
    }
}

#[test]
fn an_unknown_outcome_tells_where_to_ask() {
    let talks = Arc::new(AtomicBool::new(false));
    let store = Silent { store: Memory::new(), talks: Arc::clone(&talks) };
    let notes = Collection::<Note>::new(store).with_retry(Retry::default().attempts(1));
    let serving = Serving::new(Router::new().nest_service("/notes", resource("/notes", notes)));
    let mut client = serving.client();
    let headers = [("content-type", JSON.1.to_owned()), ("if-none-match", "*".to_owned())];

    let lost = client.ask("PUT", "/notes/a", &headers, HELLO);
    assert_eq!((lost.status, &*lost.reason()), (503, "unknown-outcome"), "{}", lost.body);
    let url = body(&lost)["resolve_url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("/notes?resolve="), "{url}");

    talks.store(true, Ordering::Relaxed);
    let told = client.ask("POST", &url, &[], "");
    let read = client.ask("GET", "/notes/a", &[], "");
    assert_eq!(body(&told), json!({"outcome": "applied", "etag": read.header("etag").unwrap()}));
}

#[test]
fn a_creation_is_allowed_by_the_id_that_it_is_to_have() {
    let of_bob = |call: &resource::Call<'_>| match call.id() {
        Some(id) if !id.starts_with("bob/") => Err(Problem::of_status(403)),
        _ => Ok(()),
    };
    let mut notes = Notes::new(|routes| routes.allow(of_bob).name(|note| note.title.clone()));

    assert_eq!(notes.ask("POST", "?id=ann%2Fx", &[JSON], HELLO).status, 403);
    assert_eq!(notes.ask("POST", "", &[JSON], HELLO).status, 403, "its title is its id");
    assert_eq!(notes.ask("POST", "?id=bob%2Fx", &[JSON], HELLO).status, 201);
    assert_eq!(notes.ask("POST", "", &[JSON], r#"{"title":"bob/y"}"#).status, 201);
    assert_eq!(notes.notes.scan_ids("", None, 9).wait().unwrap().items.len(), 2);
}

#[test]
fn who_may_write_and_not_read_is_shown_no_value() {
    let mut notes = Notes::new(|routes| routes.expose(Expose::Nothing));

    let created = notes.put("a", HELLO);
    let patched = notes.ask("PATCH", "/a", &[MERGE, ("prefer", "return=representation")], r#"{"stars":1}"#);

    assert_eq!((created.status, &*created.body), (201, ""));
    assert_eq!((patched.status, &*patched.body, patched.header("preference-applied")), (204, "", None));
}

#[test]
fn a_layer_for_all_routes_takes_no_requirement_away() {
    use axum::Extension;

    let notes = Collection::<Note>::in_memory();
    let routes = Router::new().nest_service("/notes", resource("/notes", notes));
    let serving = Serving::new(routes.layer(Extension(Terms::new().lenient())));
    let json = ("content-type", "application/json".to_owned());

    let blind = serving.client().ask("PUT", "/notes/a", &[json], HELLO);

    assert_eq!((blind.status, &*blind.reason()), (428, "expectation-required"));
}

#[test]
fn a_part_of_a_value_is_not_put_in_the_place_of_the_whole() {
    let mut notes = Notes::new(|routes| routes);
    notes.put("a", HELLO);

    let part = notes.ask("PUT", "/a", &[JSON, ("content-range", "bytes 0-9/99")], r#"{"title":"x"}"#);

    assert_eq!(part.status, 400);
    assert_eq!(notes.notes.fetch("a").wait().unwrap().value.title, "Hello");
}

#[test]
fn who_takes_json_too_is_given_a_page() {
    let mut notes = Notes::new(|routes| routes);

    for accept in ["application/json, text/event-stream", "*/*", "text/event-stream;q=0"] {
        let page = notes.ask("GET", "", &[("accept", accept)], "");
        assert_eq!((page.status, page.header("content-type")), (200, Some("application/json")), "{accept}");
    }
}

#[test]
fn a_put_that_asks_for_a_merge_gets_the_whole_document_back() {
    let office = Database::in_memory();
    let history = History::new(&office, "history").unwrap();
    let notes = office.define::<Note>("notes").unwrap().recorded(&history).open().unwrap();
    let routes = |set: fn(Routes<Note>) -> Routes<Note>| {
        set(resource("/notes", notes.clone()).merging(Merge::new(), &history).largest_body(120))
    };
    let app = Router::new()
        .nest_service("/notes", routes(|routes| routes.expose(Expose::Full)))
        .nest_service("/hidden", routes(|routes| routes.expose(Expose::Nothing)))
        .nest_service("/exact", routes(Routes::exact_etags));
    let serving = Serving::new(app);
    let mut client = serving.client();
    let mut put = |path: &str, headers: &[(&str, &str)], body: Value| {
        let headers = headers.iter().chain(&[JSON]).map(|(name, value)| (*name, (*value).to_owned()));
        client.ask("PUT", path, &headers.collect::<Vec<_>>(), &body.to_string())
    };
    let base = notes.create("a", serde_json::from_str::<Note>(HELLO).unwrap()).wait().unwrap();
    notes.modify("a", |note| note.stars = 3.0).wait().unwrap();
    let base = format!("\"{}\"", base.version);
    let base = ("merge-base", &*base);

    let mine = json!({"title": "Hello, world"});
    let merged = put("/notes/a", &[base, ("prefer", "return=minimal")], mine.clone());
    assert_eq!((merged.status, body(&merged)), (200, json!({"title": "Hello, world", "stars": 3.0})));
    assert_eq!((merged.header("merged"), merged.header("content-location")), (Some("?1"), Some("/notes/a")));
    assert_eq!(merged.header("etag"), Some(&*format!("\"{}\"", notes.fetch("a").wait().unwrap().version)));

    // Where the client gets no document, or does not go by tags of what it has not sent, there is none to go on from.
    let hidden = put("/hidden/a", &[base], mine.clone());
    assert_eq!((hidden.status, &*hidden.body, hidden.header("etag")), (204, "", None));
    assert_eq!(hidden.header("merged"), Some("?1"));
    let exact = put("/exact/a", &[base], mine);
    assert_eq!((exact.status, exact.header("etag"), exact.header("merged")), (200, None, Some("?1")));

    let late = put("/notes/a", &[base], json!({"title": "Hi", "text": "t"}));
    let told = body(&late);
    assert_eq!(
        (late.status, &told["retry"], &told["conflicting_paths"]),
        (409, &json!("merge"), &json!(["/title"]))
    );
    let overlap = json!({"pointer": "/title", "base": "Hello", "mine": "Hi", "theirs": "Hello, world"});
    assert_eq!(told["overlaps"], json!([overlap]));
    assert_eq!(told["merged"], json!({"title": "Hi", "text": "t", "stars": 3.0}));
    let settled =
        put("/notes/a", &[("if-match", told["current_etag"].as_str().unwrap())], told["merged"].clone());
    assert_eq!((settled.status, settled.header("merged")), (200, None));
    let late = put("/exact/a", &[base], json!({"title": "Ho"}));
    assert!(
        late.status == 409 && !late.body.contains("overlaps") && !late.body.contains("Hello"),
        "{}",
        late.body
    );

    // Each is short enough, and both together are not.
    let long = |text: &str| json!({"title": text.repeat(50)});
    notes.put("b", Note { title: "t".to_owned(), text: None, stars: 0.0 }).wait().unwrap();
    let base = format!("\"{}\"", notes.fetch("b").wait().unwrap().version);
    notes.modify("b", |note| note.text = Some("x".repeat(60))).wait().unwrap();
    assert_eq!(put("/notes/b", &[("merge-base", &base)], long("y")).status, 413);
}

#[test]
fn each_overlap_is_in_the_merged_document_where_its_pointer_says() {
    let office = Database::in_memory();
    let history = History::new(&office, "history").unwrap();
    let lists = office.define::<Value>("lists").unwrap().recorded(&history).open().unwrap();
    let routes = resource("/lists", lists.clone()).expose(Expose::Full);
    let routes = routes.merging(Merge::new().at("/l", Strategy::Keyed("k")), &history);
    let serving = Serving::new(Router::new().nest_service("/lists", routes));
    let list =
        |of: &[(u8, u8)]| json!({"l": of.iter().map(|(k, n)| json!({"k": k, "n": n})).collect::<Vec<_>>()});
    let base = lists.create("a", list(&[(1, 0), (2, 0), (3, 0)])).wait().unwrap();
    lists.put("a", list(&[(1, 0), (2, 9), (3, 0)])).wait().unwrap();

    let headers =
        [("content-type", "application/json".to_owned()), ("merge-base", format!("\"{}\"", base.version))];
    let told = serving.client().ask("PUT", "/lists/a", &headers, &list(&[(1, 5), (3, 0)]).to_string());

    let problem = body(&told);
    assert_eq!(problem["conflicting_paths"], json!(["/l/1"]));
    assert_eq!(problem["merged"], list(&[(1, 5), (2, 9), (3, 0)]));
    assert_eq!(problem["merged"].pointer("/l/1"), problem["overlaps"][0].get("theirs"));
}

#[test]
fn a_put_that_asks_for_a_merge_where_nothing_is_merged_writes_nothing() {
    let mut notes = Notes::new(|routes| routes);
    let tag = notes.put("a", HELLO).header("etag").unwrap().to_owned();

    let refused = notes.ask("PUT", "/a", &[JSON, ("merge-base", &tag)], r#"{"title":"mine"}"#);

    assert_eq!((refused.status, &*refused.reason()), (400, "malformed-precondition"));
    assert_eq!(notes.ask("GET", "/a", &[], "").body, HELLO);
}
