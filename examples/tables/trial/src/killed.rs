//! [`killed_in_the_middle`], a server that is killed while a service commits.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use axum::Router;
use serde_json::{Value, json};
use tokio::task::{JoinSet, block_in_place};

use crate::answer::{Answer, call};
use crate::postgres::Server;

const COMMITS: usize = 200;
/// In the first half. In the second each commit has a client of its own, so that those who wait for a connection to a server
/// that is gone do so at the same time.
const CLIENTS: usize = 8;
/// How many of them wait for their commits when it is killed, at least: a pool may have fewer connections than there are
/// clients.
const WAITING: usize = 4;

/// Kills the server in the middle of 200 commits, starts it again, and asks whether what each was answered is true.
///
/// From the middle on the server answers no commit any more, since it waits for a standby that there is not: such a commit is
/// applied, and its answer is lost with the server.
pub async fn killed_in_the_middle(service: impl AsyncFn(String) -> Router) {
    let mut server = Server::start();
    let database = server.database("read committed");
    let router = service(database.url()).await;

    let mut answers = clients(&router, CLIENTS, 0..COMMITS / 2).join_all().await;
    server.answer_no_commit();
    let late = clients(&router, COMMITS / 2, COMMITS / 2..COMMITS);
    let waiting = || {
        let waiting = database.run("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
        waiting.parse::<usize>().unwrap()
    };
    until(|| waiting() >= WAITING).await;
    server.kill();
    answers.extend(late.join_all().await);
    server.answer_commits();
    server.start_again();

    let router = service(database.url()).await;
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for (commit, answer) in answers.iter().flatten() {
        let now = call(&router, &format!("GET /items/{commit}"), &[], Value::Null).await;
        let applied = now.status == 200;
        let outcome = match (answer.status, answer.body["reason"].as_str()) {
            (201, _) => {
                assert!(applied && now.etag == answer.etag, "{commit} was acknowledged, and is {now:?}");
                "applied"
            }
            (503, Some("unavailable")) => {
                assert!(!applied, "{commit} was said not to be applied, and is {now:?}: {answer:?}");
                "not applied"
            }
            (503, Some("unknown-outcome")) => "unknown",
            _ => panic!("{commit}: {answer:?}"),
        };
        *told.entry(outcome).or_default() += 1;
    }
    println!("{told:?}");
    assert_eq!(told.values().sum::<usize>(), COMMITS);
    assert!(told["applied"] >= COMMITS / 2 && told["unknown"] >= WAITING, "{told:?}");
    assert!(told["not applied"] > 0, "{told:?}");
}

/// Clients that share these commits.
fn clients(router: &Router, number: usize, commits: Range<usize>) -> JoinSet<Vec<(usize, Answer)>> {
    let mut clients = JoinSet::new();
    for client in 0..number {
        let (router, own) = (router.clone(), commits.clone().skip(client).step_by(number));
        clients.spawn(async move {
            let mut answers = Vec::new();
            for commit in own {
                let body = json!({"name": "apples", "count": commit});
                let put = format!("PUT /items/{commit}");
                answers.push((commit, call(&router, &put, &[("If-None-Match", "*")], body).await));
            }
            answers
        });
    }
    clients
}

async fn until(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !block_in_place(&mut holds) {
        assert!(Instant::now() < end, "it does not come to that");
    }
}
