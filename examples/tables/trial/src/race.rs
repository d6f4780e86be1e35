//! [`race`], 16 writers of 4 rows.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::answer::{Answer, call};

const WRITERS: usize = 16;
const ROWS: usize = 4;
/// How often each writer has to win.
const WINS: usize = 20;

/// A state that a row was in, as a trigger of the database saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Logged {
    pub id: String,
    pub version: u64,
    pub count: i64,
}

/// How a writer says which version his write is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// `PUT` with `If-Match`.
    Header,
    /// `PATCH` with the version in the body.
    Body,
}

/// Lets 16 writers count up 4 rows, each from what it was last answered, and judges what they were answered by the log of a
/// trigger: no update is lost, no status is anything but 200, and 412 or 409, and whoever lost is shown a state that the row was in
/// after the one that he knew.
pub async fn race(service: &Router, basis: Basis, log: impl FnOnce() -> Vec<Logged>) {
    for row in 0..ROWS {
        let body = json!({"name": "apples", "count": 0});
        let created = call(service, &format!("PUT /items/{row}"), &[("If-None-Match", "*")], body).await;
        assert_eq!(created.status, 201, "{created:?}");
    }

    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(service.clone(), basis, writer % ROWS));
    }
    let lost: Vec<Lost> = writers.join_all().await.into_iter().flatten().collect();

    let mut sum = 0;
    for row in 0..ROWS {
        sum += call(service, &format!("GET /items/{row}"), &[], Value::Null).await.body["count"]
            .as_i64()
            .unwrap();
    }
    assert_eq!(sum, (WRITERS * WINS) as i64, "an update was lost");

    let log = log();
    let states: BTreeSet<&Logged> = log.iter().collect();
    assert_eq!(
        states.len(),
        ROWS * (1 + WRITERS / ROWS * WINS),
        "every write is in the log, under a version of its own"
    );
    let mut last: BTreeMap<&str, &Logged> = BTreeMap::new();
    for state in &states {
        if let Some(before) = last.insert(&state.id, state) {
            assert_eq!(before.count + 1, state.count, "{state:?} was not made of {before:?}");
        }
    }
    println!("{sum} writes, and {} answers to losers", lost.len());
    assert!(!lost.is_empty(), "nobody was in anybody's way");
    for Lost { known, shown } in &lost {
        assert!(states.contains(shown), "{shown:?} never was: {states:?}");
        assert!(shown.version > *known, "{shown:?} is what the loser knew already, {known}");
    }
}

struct Lost {
    known: u64,
    shown: Logged,
}

/// Counts the row up until it has done so often enough. Gives what it was shown where it lost.
async fn write(service: Router, basis: Basis, row: usize) -> Vec<Lost> {
    let request = format!("/items/{row}");
    let mut lost = Vec::new();
    let mut current = call(&service, &format!("GET {request}"), &[], Value::Null).await;
    for _ in 0..WINS {
        current = loop {
            let count = current.body["count"].as_i64().unwrap() + 1;
            let known = version(&current.etag);
            let answer = match basis {
                Basis::Header => {
                    let body = json!({"name": "apples", "count": count});
                    call(&service, &format!("PUT {request}"), &[("If-Match", &current.etag)], body).await
                }
                Basis::Body => {
                    let body = json!({"version": known.to_string(), "count": count});
                    call(&service, &format!("PATCH {request}"), &[], body).await
                }
            };
            match (answer.status, basis) {
                (200, _) => {
                    assert_eq!(answer.body, json!({"name": "apples", "count": count}));
                    break answer;
                }
                (412, Basis::Header) | (409, Basis::Body) => {
                    let shown = answer.body["current"].clone();
                    current = Answer { body: shown, ..answer };
                    lost.push(Lost {
                        known,
                        shown: Logged {
                            id: row.to_string(),
                            version: version(&current.etag),
                            count: current.body["count"].as_i64().expect("the row that won"),
                        },
                    });
                }
                _ => panic!("{answer:?}"),
            }
        };
    }
    lost
}

fn version(etag: &str) -> u64 {
    etag.trim_matches('"').parse().unwrap_or_else(|_| panic!("`{etag}` is no tag of ours"))
}
