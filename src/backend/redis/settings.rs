//! What the settings of a Redis server say about what it keeps.

use ::redis::{Cmd, Value};

use super::link::Link;
use super::script::Call;
use super::trouble::Trouble;
use crate::backend::engine::{ConnectError, Deadlines};
use crate::store::Durability;

/// The settings that decide what is kept.
const NAMES: [&str; 5] =
    ["appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy"];

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

/// Which acknowledged commits survive a crash, by the settings of the server.
///
/// A server that may drop our keys when memory runs out can't be a store at all.
pub(super) async fn durability(link: &Link, deadlines: &Deadlines) -> Result<Durability, ConnectError> {
    let mut command = Cmd::new();
    command.arg("CONFIG").arg("GET").arg(&NAMES);
    let settings = match link.call(&Call::reading(command), deadlines.read).await {
        Ok(answer) => pairs(answer),
        // It may be forbidden, or the service may not have it.
        Err(undone) if matches!(undone.trouble, Trouble::Answered { .. }) && !undone.trouble.passes() => {
            Vec::new()
        }
        Err(undone) => return Err(undone.trouble.of_opening("tell its settings", &link.endpoint())),
    };
    let setting =
        |name: &str| settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    if let Some(policy) = setting("maxmemory-policy").filter(|policy| policy.starts_with("allkeys"))
        && setting("maxmemory") != Some("0")
    {
        let source = Evicts { policy: policy.escape_debug().to_string() };
        return Err(ConnectError::Refused { action: "keep every key", source: source.into() });
    }
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
