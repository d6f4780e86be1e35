//! What the settings of a Redis server say about what it keeps.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, RedisError, Value};

use super::keys::Keys;
use super::link::Link;
use super::script::Request;
use super::trouble::Trouble;
use crate::backend::engine::ConnectError;
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

/// What a server is asked before it is trusted.
pub(super) fn question() -> Cmd {
    let mut question = Cmd::new();
    question.arg("INFO").arg("memory").arg("replication");
    question
}

/// Refuses a server that can't be a store at all, by its answer: one that may drop our keys when memory runs out, a replica,
/// also one that takes writes of its own, and one that does not tell.
pub(super) fn fit(answer: Result<Value, RedisError>) -> Result<(), Trouble> {
    let told = match answer {
        Ok(Value::VerbatimString { text, .. }) => text,
        Ok(Value::BulkString(bytes)) => String::from_utf8(bytes).unwrap_or_default(),
        Ok(_) => return Err(Trouble::Unexpected),
        Err(error) => {
            return Err(match Trouble::of(&error) {
                Trouble::Answered { code, .. } if !Trouble::code_passes(&code) => Trouble::Untold { code },
                trouble => trouble,
            });
        }
    };
    let facts = || told.lines().filter_map(|line| line.split_once(':'));
    let fact = |name: &str| facts().find(|fact| fact.0 == name).map(|fact| fact.1);
    if fact("role") != Some("master") {
        return Err(Trouble::replica());
    }
    match fact("maxmemory_policy") {
        Some(policy) if policy == "noeviction" || policy.starts_with("volatile") => Ok(()),
        Some(_) if fact("maxmemory") == Some("0") => Ok(()),
        Some(policy) => Err(Trouble::evicts(policy)),
        None => Err(Trouble::evicts("not told")),
    }
}

/// Goes to the node of a cluster that keeps the namespace: the settings of another one say nothing.
pub(super) async fn reach(link: &Arc<Link>, keys: &Keys, limit: Duration) -> Result<(), ConnectError> {
    let mut look = Cmd::new();
    look.arg("HGET").arg(&keys.meta).arg("format");
    match link.call(&Request::reading(look), limit).await {
        Err(undone) if !matches!(undone.trouble, Trouble::Answered { .. }) || undone.trouble.passes() => {
            Err(undone.trouble.of_opening("tell of the namespace", &link.endpoint()))
        }
        // What else may be wrong with the key or with the rights to it, opening tells better.
        _ => Ok(()),
    }
}

/// Which acknowledged commits survive a crash, by the settings of the server.
pub(super) async fn durability(link: &Arc<Link>, limit: Duration) -> Result<Durability, ConnectError> {
    let mut command = Cmd::new();
    command.arg("CONFIG").arg("GET").arg(&NAMES);
    let settings = match link.call(&Request::reading(command), limit).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<(), Trouble> {
        fit(Ok(Value::BulkString(text.replace(' ', "\r\n").into_bytes())))
    }

    #[test]
    fn a_server_is_fit_that_says_that_it_is_a_primary_and_drops_no_key_of_ours() {
        for good in [
            "role:master maxmemory:1 maxmemory_policy:noeviction",
            "role:master maxmemory:1 maxmemory_policy:volatile-ttl",
            "role:master maxmemory:0 maxmemory_policy:allkeys-lru",
        ] {
            assert_eq!(told(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("role:slave maxmemory:1 maxmemory_policy:noeviction", Trouble::replica()),
            ("maxmemory:1 maxmemory_policy:noeviction", Trouble::replica()),
            ("role:master maxmemory:1 maxmemory_policy:allkeys-lru", Trouble::evicts("allkeys-lru")),
            ("role:master maxmemory_policy:allkeys-lru", Trouble::evicts("allkeys-lru")),
            ("role:master maxmemory:1", Trouble::evicts("not told")),
        ] {
            assert_eq!(told(bad), Err(why), "{bad}");
        }
    }
}
