//! What the settings of a Redis server say about what it keeps.

use std::sync::Arc;

use ::redis::{Cmd, Value};

use super::link::Link;
use super::script::Request;
use super::trouble::Trouble;
use crate::backend::engine::{ConnectError, Deadlines};
use crate::store::Durability;

/// The settings that decide what is kept.
const NAMES: [&str; 3] = ["appendonly", "appendfsync", "no-appendfsync-on-rewrite"];

const UNTOLD: &str = "whatever the settings of Redis allow: it does not tell them";
const NO_LOG: &str =
    "all commits since the last snapshot, when the server ends or crashes: appendonly is off";
const NO_SYNC: &str =
    "the commits of the last half minute or so, in a crash of the server's machine: appendfsync is no";
const EVERY_SECOND: &str =
    "the commits of the last second or two, in a crash of the server's machine: appendfsync is everysec";
const NOT_WHILE_REWRITING: &str = "the commits made while the append-only file is rewritten, in a crash of the \
                                   server's machine: no-appendfsync-on-rewrite is yes";

/// Why keys may vanish.
#[derive(Debug, thiserror::Error)]
#[error(
    "maxmemory-policy is {policy}, which drops keys where memory runs out: it must be noeviction or volatile-*"
)]
struct Evicts {
    policy: String,
}

/// Why what is written would be lost, or be written beside what others write.
#[derive(Debug, thiserror::Error)]
#[error("it is a replica: writes belong to its primary")]
struct Replica;

/// Refuses a server that can't be a store at all: one that may drop our keys when memory runs out, a replica that takes
/// writes of its own, and one that does not tell.
pub(super) async fn fit(link: &Arc<Link>, deadlines: &Deadlines) -> Result<(), ConnectError> {
    let mut command = Cmd::new();
    command.arg("INFO").arg("memory").arg("replication");
    let told = match link.call(&Request::reading(command), deadlines.read).await {
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(Value::BulkString(bytes)) => String::from_utf8(bytes).unwrap_or_default(),
        Ok(_) => String::new(),
        Err(undone) => return Err(undone.trouble.of_opening("run INFO", &link.endpoint())),
    };
    let fact = |name: &str| told.lines().filter_map(|line| line.split_once(':')).find(|fact| fact.0 == name);
    let refused = |action, source| Err(ConnectError::Refused { action, source });
    match fact("role") {
        Some((_, "master")) => {}
        _ => return refused("take writes", Replica.into()),
    }
    match fact("maxmemory_policy") {
        Some((_, policy)) if policy == "noeviction" || policy.starts_with("volatile") => Ok(()),
        Some(_) if fact("maxmemory").is_some_and(|(_, limit)| limit == "0") => Ok(()),
        policy => {
            let policy = policy.map_or("not told", |(_, policy)| policy).escape_debug().to_string();
            refused("keep every key", Evicts { policy }.into())
        }
    }
}

/// Which acknowledged commits survive a crash, by the settings of the server.
pub(super) async fn durability(link: &Arc<Link>, deadlines: &Deadlines) -> Result<Durability, ConnectError> {
    let mut command = Cmd::new();
    command.arg("CONFIG").arg("GET").arg(&NAMES);
    let settings = match link.call(&Request::reading(command), deadlines.read).await {
        Ok(answer) => pairs(answer),
        // It may be forbidden, or the service may not have it.
        Err(undone) if matches!(undone.trouble, Trouble::Answered { .. }) && !undone.trouble.passes() => {
            Vec::new()
        }
        Err(undone) => return Err(undone.trouble.of_opening("tell its settings", &link.endpoint())),
    };
    let setting =
        |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let relaxed = |may_lose| Durability::Relaxed { may_lose };
    Ok(match (setting("appendonly"), setting("appendfsync"), setting("no-appendfsync-on-rewrite")) {
        (Some("no"), _, _) => relaxed(NO_LOG),
        (Some("yes"), Some("always"), Some("no")) => Durability::Strict,
        (Some("yes"), Some("always"), Some("yes")) => relaxed(NOT_WHILE_REWRITING),
        (Some("yes"), Some("everysec"), _) => relaxed(EVERY_SECOND),
        (Some("yes"), Some("no"), _) => relaxed(NO_SYNC),
        _ => relaxed(UNTOLD),
    })
}

/// Names and values, whichever protocol they came by.
fn pairs(answer: Value) -> Vec<(String, String)> {
    let text = |value: Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Value::SimpleString(text) => text,
        _ => String::new(),
    };
    match answer {
        Value::Map(pairs) => pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect(),
        Value::Array(flat) => {
            let mut flat = flat.into_iter().map(text);
            std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
        }
        _ => Vec::new(),
    }
}
