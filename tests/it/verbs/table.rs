//! Each case through `http` alone and through axum. Whatever is answered: what is refused changes nothing, and a tag that is
//! told is that of the state that stands there then.

use axum::Extension;
use axum::extract::{Json, Path, State};
use axum::middleware::map_response;
use axum::routing::{Router, get, patch, post};
use ifmatch::http::{self, Answer, Preconditions, Problem, Terms};
use ifmatch::web::axum::problems;
use ifmatch::{Collection, Error, Expected, Version};

use super::cases::{Case, Met, NAMED, all};
use crate::serving::{Client, Serving, Told};

type Notes = Collection<String>;
type Answered = Result<Answer<String>, Error>;

async fn read(notes: State<Notes>, id: Path<String>, known: Preconditions) -> Answered {
    notes.get_if(&id, &known).await
}

async fn replace(
    notes: State<Notes>,
    id: Path<String>,
    known: Preconditions,
    text: Json<String>,
) -> Answered {
    Ok(notes.put_if(&id, &known, text.0).await?.at("/notes"))
}

async fn create(notes: State<Notes>, id: Path<String>, known: Preconditions, text: Json<String>) -> Answered {
    Ok(notes.create_if(&id, &known, text.0).await?.at("/notes"))
}

async fn change(notes: State<Notes>, id: Path<String>, known: Preconditions, text: Json<String>) -> Answered {
    notes.modify_if(&id, &known, |note| note.clone_from(&text)).await
}

async fn once(notes: State<Notes>, id: Path<String>, known: Preconditions, text: Json<String>) -> Answered {
    notes.patch_if(&id, &known, |_| Ok(text.0)).await
}

async fn delete(notes: State<Notes>, id: Path<String>, known: Preconditions) -> Answered {
    notes.delete_if(&id, &known).await
}

fn service(notes: &Notes) -> Router {
    let routes = || {
        Router::new()
            .route("/notes/{id}", get(read).put(replace).patch(change).delete(delete))
            .route("/once/{id}", patch(once))
            .route("/new/{id}", post(create))
    };
    let on_terms = |router: Router<Notes>, (name, terms): (&str, Terms)| {
        router.nest(&format!("/{name}"), routes().layer(Extension(terms)))
    };
    NAMED.into_iter().fold(Router::new(), on_terms).layer(map_response(problems)).with_state(notes.clone())
}

/// What is there for a case: the version that stands, and one from before.
fn meet(notes: &Notes, id: &str, met: Met) -> (Option<Version>, Option<Version>) {
    if met == Met::Nothing {
        return (None, None);
    }
    let first = notes.create(id, "first".to_owned()).wait().unwrap().version;
    match met {
        Met::Deleted => {
            notes.delete(id, Expected::Present).wait().unwrap();
            (None, Some(first))
        }
        _ => (Some(notes.replace(id, first, "second".to_owned()).wait().unwrap().version), Some(first)),
    }
}

fn headers(case: &Case, now: Option<Version>, old: Option<Version>) -> Vec<(&'static str, String)> {
    let text = |version: Option<Version>| version.map(|version| version.to_string()).unwrap_or_default();
    let filled = |value: &str| {
        let many = vec![format!("\"{}\"", text(now)); 65].join(", ");
        value.replace("{v}", &text(now)).replace("{old}", &text(old)).replace("{65}", &many)
    };
    case.headers.iter().map(|(name, value)| (*name, filled(value))).collect()
}

/// Status, reason and entity tag, as `http` alone answers.
fn alone(notes: &Notes, id: &str, case: &Case, headers: &[(&str, String)]) -> (u16, String, Option<String>) {
    let terms = NAMED.iter().find(|(name, _)| *name == case.terms).unwrap().1;
    let known = Preconditions::from_headers(headers.iter().map(|(name, value)| (name, value))).under(terms);
    let text = || "third".to_owned();
    let answered = match case.method {
        "GET" | "HEAD" => notes.get_if(id, &known).wait(),
        "PUT" => notes.put_if(id, &known, text()).wait(),
        "POST" => notes.create_if(id, &known, text()).wait(),
        "PATCH" => notes.modify_if(id, &known, |note| *note = text()).wait(),
        "PATCH once" => notes.patch_if(id, &known, |_| Ok(text())).wait(),
        "DELETE" => notes.delete_if(id, &known).wait(),
        other => panic!("{other}"),
    };
    let (status, reason, headers) = match answered {
        Ok(answer) => (answer.status(), String::new(), answer.headers()),
        Err(error) => {
            let told = (http::status(&error), http::reason(&error).to_owned());
            (told.0, told.1, Problem::new(error).headers())
        }
    };
    let tag = headers.into_iter().find(|(name, _)| *name == "etag").map(|(_, tag)| tag);
    (status, reason, tag)
}

fn ask(client: &mut Client, id: &str, case: &Case, headers: &[(&'static str, String)]) -> Told {
    let (method, route) = match case.method {
        "PATCH once" => ("PATCH", "once"),
        "POST" => ("POST", "new"),
        other => (other, "notes"),
    };
    let mut headers = headers.to_vec();
    headers.push(("content-type", "application/json".to_owned()));
    client.ask(method, &format!("/{}/{route}/{id}", case.terms), &headers, "\"third\"")
}

/// Runs a case, and holds what came of it against what was told.
fn hold(
    notes: &Notes,
    at: usize,
    case: &Case,
    answer: impl FnOnce(&str, &[(&'static str, String)]) -> (u16, String, Option<String>),
) {
    let id = format!("case-{at}");
    let (now, old) = meet(notes, &id, case.met);
    let headers = headers(case, now, old);

    let (status, reason, tag) = answer(&id, &headers);

    let shown =
        format!("§{} {} {:?} {headers:?} on {} terms", case.section, case.method, case.met, case.terms);
    let stands = notes.get(&id).wait().unwrap().map(|note| note.version);
    // `HEAD` has no body to tell its reason in.
    let expected = if case.method == "HEAD" && reason.is_empty() { "" } else { case.reason };
    assert_eq!((status, &*reason), (case.status, expected), "{shown}");
    let writes = !matches!(case.method, "GET" | "HEAD") && status < 300;
    assert_eq!(stands != now, writes, "{shown}: {now:?} became {stands:?}");
    let another = case.method == "POST" && status >= 400;
    if let Some(tag) = tag {
        assert!(!another, "{shown} tells the tag of another resource than the collection");
        assert_eq!(Some(tag), stands.map(|version| format!("\"{version}\"")), "{shown}");
    } else {
        assert!(status >= 400 || status == 204, "{shown} tells no tag");
    }
}

#[test]
fn every_case_is_answered_as_the_rfc_wants_by_http_alone() {
    let cases = all();
    assert!(cases.len() >= 120, "{}", cases.len());
    let notes = Notes::in_memory();

    for (at, case) in cases.iter().enumerate() {
        hold(&notes, at, case, |id, headers| alone(&notes, id, case, headers));
    }
}

#[test]
fn every_case_is_answered_in_the_same_way_through_axum() {
    let notes = Notes::in_memory();
    let serving = Serving::new(service(&notes));
    let mut client = serving.client();

    for (at, case) in all().iter().enumerate() {
        hold(&notes, at, case, |id, headers| {
            let told = ask(&mut client, id, case, headers);
            if told.status >= 400 {
                assert_eq!(told.header("content-type"), Some("application/problem+json"));
                assert_eq!(told.header("cache-control"), Some("no-store"));
            }
            let length = told.header("content-length");
            assert!(
                told.status != 304 || length.is_none(),
                "a 304 says that the value has no bytes: {length:?}"
            );
            assert_eq!(told.header("location").is_some(), told.status == 201);
            (told.status, told.reason(), told.header("etag").map(str::to_owned))
        });
    }
}

/// The same table through a whole resource, whose `PATCH` takes a merge patch, and whose `POST` an id in its query.
#[cfg(feature = "resource")]
#[test]
fn every_case_is_answered_in_the_same_way_by_a_resource() {
    use ifmatch::web::resource;

    let notes = Notes::in_memory();
    let mount = |router: Router, (name, terms): (&str, Terms)| {
        let path = format!("/{name}/notes");
        router.nest_service(&path, resource(&path, notes.clone()).terms(terms))
    };
    let serving = Serving::new(NAMED.into_iter().fold(Router::new(), mount));
    let mut client = serving.client();

    for (at, case) in all().iter().enumerate().filter(|(_, case)| case.method != "PATCH once") {
        hold(&notes, at, case, |id, headers| {
            let mut headers = headers.to_vec();
            let kind = if case.method == "PATCH" { "merge-patch+json" } else { "json" };
            headers.push(("content-type", format!("application/{kind}")));
            let between = if case.method == "POST" { "?id=" } else { "/" };
            let path = format!("/{}/notes{between}{id}", case.terms);
            let told = client.ask(case.method, &path, &headers, "\"third\"");
            if told.status >= 400 {
                assert_eq!(told.header("content-type"), Some("application/problem+json"));
                assert_eq!(told.header("cache-control"), Some("no-store"));
            }
            assert!(told.status != 304 || told.header("content-length").is_none());
            let location = (told.status == 201).then(|| format!("/{}/notes/{id}", case.terms));
            assert_eq!(told.header("location"), location.as_deref());
            (told.status, told.reason(), told.header("etag").map(str::to_owned))
        });
    }
}

/// What goes first: the route, the method, the path and the body, whatever the preconditions are (RFC 9110 §13.2.1).
#[test]
fn what_goes_before_preconditions_does_and_is_a_problem() {
    let notes = Notes::in_memory();
    notes.create("a", "first".to_owned()).wait().unwrap();
    let serving = Serving::new(service(&notes));
    let mut client = serving.client();
    let malformed = || ("if-match", "7".to_owned());
    let json = || ("content-type", "application/json".to_owned());
    let text = || ("content-type", "text/plain".to_owned());

    for (method, path, headers, body, status, reason) in [
        ("PUT", "/elsewhere", vec![malformed(), json()], "\"x\"", 404, "no-route"),
        ("POST", "/plain/notes/a", vec![malformed(), json()], "\"x\"", 405, "method-not-allowed"),
        ("GET", "/plain/notes/%FF", vec![malformed()], "", 400, "bad-request"),
        ("PUT", "/required/notes/a", vec![text()], "\"x\"", 415, "unsupported-media-type"),
        ("PUT", "/plain/notes/a", vec![malformed(), text()], "\"x\"", 415, "unsupported-media-type"),
        (
            "PUT",
            "/plain/notes/a",
            vec![("if-match", "\"1\"".to_owned())],
            "\"x\"",
            415,
            "unsupported-media-type",
        ),
        ("PATCH", "/plain/notes/a", vec![malformed(), text()], "\"x\"", 415, "unsupported-media-type"),
        ("PUT", "/required/notes/a", vec![json()], "\"x", 400, "bad-request"),
        ("PUT", "/required/notes/a", vec![json()], "7", 422, "unprocessable-content"),
        ("PUT", "/plain/notes/..%2F", vec![malformed(), json()], "\"x\"", 400, "malformed-precondition"),
        ("PUT", "/plain/notes/%2E%2E", vec![json()], "\"x\"", 400, "bad-id"),
        ("POST", "/plain/new/%2E", vec![json()], "\"x\"", 400, "bad-id"),
        ("PUT", "/plain/notes/a%00", vec![json()], "\"x\"", 400, "bad-id"),
    ] {
        let told = client.ask(method, path, &headers, body);
        assert_eq!(
            (told.status, &*told.reason()),
            (status, reason),
            "{method} {path} {headers:?} {}",
            told.body
        );
        assert_eq!(told.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert_eq!(told.header("allow").is_some(), status == 405, "{method} {path}");
    }
    assert_eq!(*notes.fetch("a").wait().unwrap().value, "first");
}
