//! Races over real connections, each through every call. Nothing that was acknowledged is lost, and no more than was
//! acknowledged is there.

use std::collections::BTreeMap;
use std::thread;

use axum::extract::{Json, Path, State};
use axum::routing::{Router, get, patch, post};
use ifmatch::http::{Answer, Preconditions};
use ifmatch::{Collection, Error};

use crate::serving::{Client, Serving, Told};

/// A document whose members the clients change, each its own.
type Document = BTreeMap<String, u64>;
type Documents = Collection<Document>;
type Answered = Result<Answer<Document>, Error>;

async fn read(documents: State<Documents>, id: Path<String>, known: Preconditions) -> Answered {
    documents.get_if(&id, &known).await
}

async fn replace(
    documents: State<Documents>,
    id: Path<String>,
    known: Preconditions,
    whole: Json<Document>,
) -> Answered {
    documents.put_if(&id, &known, whole.0).await
}

async fn create(
    documents: State<Documents>,
    id: Path<String>,
    known: Preconditions,
    whole: Json<Document>,
) -> Answered {
    documents.create_if(&id, &known, whole.0).await
}

/// Adds what was sent to the members, and leaves time for others to be faster.
fn add(document: &mut Document, sent: &Document) {
    (0..50).for_each(|_| thread::yield_now());
    for (name, more) in sent {
        *document.entry(name.clone()).or_default() += more;
    }
}

async fn change(
    documents: State<Documents>,
    id: Path<String>,
    known: Preconditions,
    sent: Json<Document>,
) -> Answered {
    documents.modify_if(&id, &known, |document| add(document, &sent)).await
}

async fn try_change(
    documents: State<Documents>,
    id: Path<String>,
    known: Preconditions,
    sent: Json<Document>,
) -> Answered {
    documents
        .try_modify_if(&id, &known, |document| {
            add(document, &sent);
            Ok::<_, Error>(())
        })
        .await
}

async fn once(
    documents: State<Documents>,
    id: Path<String>,
    known: Preconditions,
    sent: Json<Document>,
) -> Answered {
    let changed = |document: &Document| {
        let mut document = document.clone();
        add(&mut document, &sent);
        Ok(document)
    };
    documents.patch_if(&id, &known, changed).await
}

/// Fetched, judged and committed by hand.
async fn by_hand(
    documents: State<Documents>,
    id: Path<String>,
    known: Preconditions,
    sent: Json<Document>,
) -> Result<ifmatch::Versioned<Document>, Error> {
    let found = documents.fetch(&id).await?;
    let condition = known.admit(&id, ifmatch::store::Intent::Put, Some(&found))?;
    let mut document = Document::clone(&found.value);
    add(&mut document, &sent);
    documents.replace(&id, condition, document).await
}

async fn delete(documents: State<Documents>, id: Path<String>, known: Preconditions) -> Answered {
    documents.delete_if(&id, &known).await
}

/// The ways to change a part.
const PATCHES: [&str; 4] = ["/modify/a", "/try/a", "/once/a", "/hand/a"];

fn serve(documents: &Documents) -> Serving {
    let router = Router::new()
        .route("/whole/{id}", get(read).put(replace).delete(delete))
        .route("/new/{id}", post(create))
        .route("/modify/{id}", patch(change))
        .route("/try/{id}", patch(try_change))
        .route("/once/{id}", patch(once))
        .route("/hand/{id}", patch(by_hand));
    Serving::new(router.with_state(documents.clone()))
}

/// A collection with one empty document.
fn documents() -> Documents {
    let documents = Documents::in_memory();
    documents.create("a", Document::new()).wait().unwrap();
    documents
}

fn send(
    client: &mut Client,
    method: &str,
    path: &str,
    condition: Option<(&'static str, String)>,
    body: &str,
) -> Told {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    headers.extend(condition);
    client.ask(method, path, &headers, body)
}

/// What each of so many clients, on connections of their own, gives for its number.
fn race<A: Send>(serving: &Serving, clients: usize, run: impl Fn(&mut Client, usize) -> A + Sync) -> Vec<A> {
    thread::scope(|scope| {
        let run = &run;
        let racing: Vec<_> =
            (0..clients).map(|number| scope.spawn(move || run(&mut serving.client(), number))).collect();
        racing.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

fn total(documents: &Documents) -> u64 {
    documents.fetch("a").wait().unwrap().value.values().sum()
}

#[test]
fn two_hundred_writers_of_one_id_lose_no_count_by_put() {
    let documents = documents();
    let serving = serve(&documents);

    race(&serving, 200, |client, _| {
        loop {
            let read = send(client, "GET", "/whole/a", None, "");
            let mut document: Document = serde_json::from_str(&read.body).unwrap();
            *document.entry("n".to_owned()).or_default() += 1;
            let condition = ("if-match", read.header("etag").unwrap().to_owned());
            let put =
                send(client, "PUT", "/whole/a", Some(condition), &serde_json::to_string(&document).unwrap());
            match put.status {
                200 => return,
                status => assert_eq!((status, &*put.reason()), (412, "stale")),
            }
        }
    });

    assert_eq!(total(&documents), 200);
}

#[test]
fn two_hundred_writers_of_one_id_lose_no_count_by_patch() {
    for path in PATCHES {
        let documents = documents();
        let serving = serve(&documents);

        race(&serving, 200, |client, _| {
            loop {
                let read = send(client, "GET", "/whole/a", None, "");
                let condition = ("if-match", read.header("etag").unwrap().to_owned());
                match send(client, "PATCH", path, Some(condition), "{\"n\":1}") {
                    told if told.status == 200 => return,
                    told => assert_eq!((told.status, &*told.reason()), (412, "stale"), "{path}"),
                }
            }
        });

        assert_eq!(total(&documents), 200, "{path}");
    }
}

/// Each patches a member of its own, under the same header. What was acknowledged is kept; the calls that try again by
/// themselves acknowledge all of it, at the first request.
#[test]
fn fifty_parallel_patches_of_different_members_are_all_kept_whatever_the_header() {
    for path in PATCHES {
        let again_by_itself = ["/modify/a", "/try/a"].contains(&path);
        for header in ["none", "*", "list"] {
            let documents = documents();
            let serving = serve(&documents);

            race(&serving, 50, |client, number| {
                loop {
                    let condition = match header {
                        "none" => None,
                        "*" => Some(("if-match", "*".to_owned())),
                        _ => {
                            let read = send(client, "GET", "/whole/a", None, "");
                            Some(("if-match", format!("\"7\", {}", read.header("etag").unwrap())))
                        }
                    };
                    let lost = if header == "none" { 409 } else { 412 };
                    match send(client, "PATCH", path, condition, &format!("{{\"{number}\":1}}")) {
                        told if told.status == 200 => return,
                        told => {
                            assert_eq!((told.status, &*told.reason()), (lost, "stale"), "{path} {header}");
                            assert!(!again_by_itself || header == "list", "{path} gave up with {header}");
                        }
                    }
                }
            });

            let document = documents.fetch("a").wait().unwrap();
            assert_eq!(document.value.len(), 50, "{path} {header}");
            assert!(document.value.values().all(|count| *count == 1), "{path} {header}");
        }
    }
}

#[test]
fn of_fifty_creators_one_creates() {
    for (method, path, condition, lost) in [
        ("PUT", "/whole/b", Some("*"), 412),
        ("POST", "/new/b", None, 409),
        ("POST", "/new/b", Some("*"), 409),
    ] {
        let documents = documents();
        let serving = serve(&documents);

        let statuses = race(&serving, 50, |client, number| {
            let condition = condition.map(|value| ("if-none-match", value.to_owned()));
            send(client, method, path, condition, &format!("{{\"{number}\":1}}")).status
        });

        let winners: Vec<usize> = (0..50).filter(|number| statuses[*number] == 201).collect();
        let [winner] = winners[..] else { panic!("{method}: {statuses:?}") };
        assert_eq!(statuses.iter().filter(|status| **status == lost).count(), 49, "{method}: {statuses:?}");
        let document = documents.fetch("b").wait().unwrap();
        assert!(document.value.contains_key(&winner.to_string()), "{method}: it is not the winner's");
    }
}

#[test]
fn puts_over_whatever_is_there_create_once_and_replace_from_then_on() {
    let documents = documents();
    let serving = serve(&documents);

    let statuses = race(&serving, 50, |client, _| send(client, "PUT", "/whole/b", None, "{}").status);

    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 49, "{statuses:?}");
}

/// Each names both versions that there can be: the race between look and commit is run again, and all are written.
#[test]
fn a_put_that_names_a_list_is_refused_by_what_is_not_in_it_alone() {
    let documents = documents();
    let serving = serve(&documents);
    let first = documents.fetch("a").wait().unwrap().version;

    let statuses = race(&serving, 50, |client, _| {
        let condition = ("if-match", format!("\"{first}\", \"7\""));
        send(client, "PUT", "/whole/a", Some(condition), "{}").status
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");

    // None of these is ever the version that stands there.
    let statuses = race(&serving, 50, |client, _| {
        let condition = ("if-none-match", format!("\"{first}\", \"7\""));
        send(client, "PUT", "/whole/a", Some(condition), "{}").status
    });
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
}

#[test]
fn of_fifty_who_delete_one_state_one_does() {
    let documents = documents();
    let serving = serve(&documents);
    let tag = format!("\"{}\"", documents.fetch("a").wait().unwrap().version);

    let statuses = race(&serving, 50, |client, number| {
        let list = if number % 2 == 0 { tag.clone() } else { format!("\"7\", {tag}") };
        send(client, "DELETE", "/whole/a", Some(("if-match", list)), "").status
    });

    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 410).count(), 49, "{statuses:?}");
}
