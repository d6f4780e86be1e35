//! Races over real connections, through the routes. Nothing that was acknowledged is lost, and no more than was acknowledged is
//! there.

use std::collections::BTreeMap;
use std::thread;

use axum::Router;
use ifmatch::Collection;
use ifmatch::http::Terms;
use ifmatch::web::resource;

use crate::serving::{Client, Serving, Told};

type Counts = BTreeMap<String, u64>;

fn serve() -> (Collection<Counts>, Serving) {
    let counts = Collection::<Counts>::in_memory();
    counts.create("a", Counts::new()).wait().unwrap();
    let routes = resource("/counts", counts.clone()).terms(Terms::new());
    (counts, Serving::new(Router::new().nest_service("/counts", routes)))
}

fn send(
    client: &mut Client,
    method: &str,
    path: &str,
    header: Option<(&'static str, String)>,
    body: &str,
) -> Told {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let mut headers = vec![("content-type", kind.to_owned())];
    headers.extend(header);
    client.ask(method, &format!("/counts{path}"), &headers, body)
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

#[test]
fn two_hundred_writers_of_one_id_lose_no_count_by_put_or_by_patch() {
    for method in ["PUT", "PATCH"] {
        let (counts, serving) = serve();

        race(&serving, 200, |client, _| {
            loop {
                let read = send(client, "GET", "/a", None, "");
                let now: Counts = serde_json::from_str(&read.body).unwrap();
                let next = format!("{{\"n\":{}}}", now.get("n").copied().unwrap_or_default() + 1);
                let condition = ("if-match", read.header("etag").unwrap().to_owned());
                match send(client, method, "/a", Some(condition), &next) {
                    told if told.status == 200 => return,
                    told => assert_eq!((told.status, &*told.reason()), (412, "stale"), "{method}"),
                }
            }
        });

        assert_eq!(counts.fetch("a").wait().unwrap().value["n"], 200, "{method}");
    }
}

#[test]
fn fifty_parallel_patches_of_different_members_are_all_kept_whatever_the_header() {
    for header in ["none", "*", "list"] {
        for operations in [false, true] {
            let (counts, serving) = serve();

            race(&serving, 50, |client, number| {
                loop {
                    let condition = match header {
                        "none" => None,
                        "*" => Some(("if-match", "*".to_owned())),
                        _ => {
                            let read = send(client, "GET", "/a", None, "");
                            Some(("if-match", format!("\"7\", {}", read.header("etag").unwrap())))
                        }
                    };
                    let told = match operations {
                        false => send(client, "PATCH", "/a", condition, &format!("{{\"{number}\":1}}")),
                        true => {
                            let mut headers =
                                vec![("content-type", "application/json-patch+json".to_owned())];
                            headers.extend(condition);
                            let body = format!("[{{\"op\":\"add\",\"path\":\"/{number}\",\"value\":1}}]");
                            client.ask("PATCH", "/counts/a", &headers, &body)
                        }
                    };
                    if told.status == 200 {
                        return;
                    }
                    assert_eq!(
                        (header, told.status, &*told.reason()),
                        ("list", 412, "stale"),
                        "{}",
                        told.body
                    );
                }
            });

            let kept = counts.fetch("a").wait().unwrap();
            assert_eq!(kept.value.len(), 50, "{header}");
            assert!(kept.value.values().all(|count| *count == 1), "{header}");
        }
    }
}

#[test]
fn of_fifty_creators_one_creates() {
    for (method, path, condition, lost) in
        [("PUT", "/b", Some("*"), 412), ("POST", "?id=b", None, 409), ("POST", "?id=b", Some("*"), 409)]
    {
        let (counts, serving) = serve();

        let statuses = race(&serving, 50, |client, number| {
            let condition = condition.map(|value| ("if-none-match", value.to_owned()));
            send(client, method, path, condition, &format!("{{\"{number}\":1}}")).status
        });

        let winners: Vec<usize> = (0..50).filter(|number| statuses[*number] == 201).collect();
        let [winner] = winners[..] else { panic!("{method}: {statuses:?}") };
        assert_eq!(statuses.iter().filter(|status| **status == lost).count(), 49, "{method}: {statuses:?}");
        assert!(counts.fetch("b").wait().unwrap().value.contains_key(&winner.to_string()), "{method}");
    }
}

/// Each takes one of what is left, by a patch that tests what it saw: no test may hold for two.
#[test]
fn a_test_holds_for_one_of_those_who_saw_the_same() {
    let (counts, serving) = serve();
    counts.put("a", Counts::from([("left".to_owned(), 100)])).wait().unwrap();

    let taken = race(&serving, 50, |client, _| {
        let mut taken = 0;
        loop {
            let read = send(client, "GET", "/a", None, "");
            let left = serde_json::from_str::<Counts>(&read.body).unwrap()["left"];
            let Some(less) = left.checked_sub(1) else { return taken };
            let body = format!(
                r#"[{{"op":"test","path":"/left","value":{left}}},{{"op":"replace","path":"/left","value":{less}}}]"#
            );
            let headers = [("content-type", "application/json-patch+json".to_owned())];
            match client.ask("PATCH", "/counts/a", &headers, &body) {
                told if told.status == 200 => taken += 1,
                told => assert_eq!((told.status, &*told.reason()), (409, "state"), "{}", told.body),
            }
        }
    });

    assert_eq!(taken.iter().sum::<u64>(), 100);
}
