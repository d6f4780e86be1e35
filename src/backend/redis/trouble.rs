//! [`Trouble`], what may go wrong between the store and Redis.

use std::time::Duration;

use ::redis::{ErrorKind, RedisError};

use crate::backend::engine::ConnectError;
use crate::store::{Error, Failure, Outcome};

/// What went wrong between the store and Redis, without a word that may be a credential, an id or a value: the server's
/// own texts quote arguments and user names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// No connection could be made: nothing was sent.
    #[error("cannot connect to {endpoint}: {problem}")]
    Unreachable { endpoint: String, problem: String },
    /// The login failed: nothing was sent.
    #[error("redis refused the login")]
    Login,
    /// No answer in time.
    #[error("no answer from redis within {0:?}")]
    Late(Duration),
    /// The connection broke while the answer was awaited.
    #[error("the connection to redis was lost: {0}")]
    Lost(String),
    /// Redis answered with an error.
    #[error("redis answered {code}: {meaning}")]
    Answered { code: String, meaning: String },
    /// A script met a key that has left this node of a cluster.
    #[error("the namespace is moving to another node of the cluster")]
    Moving,
    /// It may drop keys that are not its own to drop.
    #[error(
        "maxmemory-policy is {policy}, which drops keys where memory runs out: it must be noeviction or volatile-*"
    )]
    Evicts { policy: String },
    /// Redis does not say what must be known of it.
    #[error(
        "redis answered {code} to INFO, which tells whether it is a primary and drops no keys: the user needs `+info`"
    )]
    Untold { code: String },
    /// An answer that no release of this store gives.
    #[error("redis gave an answer that the store does not understand")]
    Unexpected,
    /// There is no namespace any more, or one of a later format.
    #[error("the namespace is in format `{0}`, which this release does not know")]
    Format(String),
}

/// Errors that Redis gives instead of running a command or a script, and what they mean.
const REFUSALS: [(&str, &str); 15] = [
    ("OOM", "it is out of memory, and takes no writes before there is room or `maxmemory` is raised"),
    ("READONLY", "it is a replica: writes belong to its primary"),
    ("LOADING", "it is still loading its data"),
    ("BUSY", "it is busy with a script of another client"),
    ("MOVED", "another node of the cluster has the namespace"),
    ("ASK", "the namespace is moving to another node of the cluster"),
    ("TRYAGAIN", "the namespace is moving to another node of the cluster"),
    ("CLUSTERDOWN", "the cluster does not serve the namespace at the moment"),
    ("CROSSSLOT", "the keys of the namespace are on several nodes"),
    ("MASTERDOWN", "it is a replica without its primary"),
    ("NOREPLICAS", "it has fewer good replicas than it must have to take writes"),
    ("MISCONF", "it can't write to its disk, and takes no writes"),
    ("NOSCRIPT", "it does not keep scripts"),
    ("NOPERM", "the user may not do that"),
    ("NOAUTH", "it wants a login"),
];

/// Those of them that pass by themselves, or with another connection.
const PASSING: [&str; 11] = [
    "OOM",
    "READONLY",
    "LOADING",
    "BUSY",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOREPLICAS",
    "MISCONF",
];

/// Those that say that it takes no writes.
const NO_WRITES: [&str; 4] = ["OOM", "READONLY", "NOREPLICAS", "MISCONF"];

/// What a script is told of a key that has left this node of a cluster.
const NOT_HERE: &str = "Script attempted to access a non local key";

/// What ends the text of an error that stopped a script.
const WITHIN: &str = ", on @user_script:";

impl Trouble {
    /// What a command that was sent came back with.
    pub(super) fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => Self::Login,
            (ErrorKind::UnexpectedReturnType, _) => Self::Unexpected,
            (_, Some(_)) if error.detail().is_some_and(|detail| detail.contains(NOT_HERE)) => Self::Moving,
            (_, Some(code)) => {
                // A script that was stopped by the same may have written before.
                let within = code == "NOPERM" && error.detail().is_some_and(|detail| detail.contains(WITHIN));
                let code = if within { "ERR" } else { code };
                let known = REFUSALS.iter().find(|(known, _)| *known == code);
                let meaning = match known {
                    Some((_, meaning)) => (*meaning).to_owned(),
                    None => said(error.detail().unwrap_or_default()),
                };
                Self::Answered { code: code.escape_debug().to_string(), meaning }
            }
            _ => Self::Lost(error.to_string()),
        }
    }

    /// What a replica says, or would have to.
    pub(super) fn replica() -> Self {
        let (code, meaning) =
            ("READONLY".to_owned(), "it is a replica: writes belong to its primary".to_owned());
        Self::Answered { code, meaning }
    }

    /// A server may drop keys of ours, by its policy.
    pub(super) fn evicts(policy: &str) -> Self {
        Self::Evicts { policy: policy.escape_debug().to_string() }
    }

    /// Nobody was reached, for a reason.
    pub(super) fn unreachable(endpoint: String, problem: impl Into<String>) -> Self {
        Self::Unreachable { endpoint, problem: problem.into() }
    }

    /// Why no connection could be made.
    pub(super) fn connecting(endpoint: &str, error: &RedisError) -> Self {
        match Self::of(error) {
            Self::Lost(problem) => Self::unreachable(endpoint.to_owned(), problem),
            other => other,
        }
    }

    /// Whether what was sent certainly was not and will not be done.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Unreachable { .. }
            | Self::Login
            | Self::Format(_)
            | Self::Evicts { .. }
            | Self::Untold { .. } => Outcome::NotApplied,
            Self::Answered { code, .. } if REFUSALS.iter().any(|(known, _)| known == code) => {
                Outcome::NotApplied
            }
            Self::Late(_) | Self::Lost(_) | Self::Answered { .. } | Self::Moving | Self::Unexpected => {
                Outcome::Unknown
            }
        }
    }

    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Answered { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the connection is of no more use.
    pub(super) fn breaks_connection(&self) -> bool {
        match self {
            // A replica: behind the same name there may be a primary now.
            Self::Answered { code, .. } => code == "READONLY",
            Self::Lost(_) | Self::Late(_) | Self::Login => true,
            _ => false,
        }
    }

    /// Whether the same call may do better after a while.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Late(_) | Self::Lost(_) | Self::Moving => true,
            // What its operator has set, its operator mends: what is stored is there.
            Self::Evicts { .. } => true,
            Self::Answered { code, .. } => Self::code_passes(code),
            Self::Login | Self::Unexpected | Self::Format(_) | Self::Untold { .. } => false,
        }
    }

    /// Whether an error that Redis gave passes by itself.
    pub(super) fn code_passes(code: &str) -> bool {
        PASSING.contains(&code)
    }

    /// The error of a call that can't have changed anything.
    pub(super) fn of_read(self) -> Error {
        Failure::new(Outcome::NotApplied, self).into()
    }

    /// Why a store can't be opened.
    pub(super) fn of_opening(self, action: &'static str, endpoint: &str) -> ConnectError {
        match &self {
            Self::Unreachable { endpoint, problem } => {
                let (endpoint, problem) = (endpoint.clone(), problem.clone());
                ConnectError::Unreachable { endpoint, source: problem.into() }
            }
            Self::Login => ConnectError::Refused { action: "let the user in", source: self.into() },
            Self::Format(found) => ConnectError::Foreign { found: format!("format `{found}`") },
            Self::Answered { code, .. } if NO_WRITES.contains(&code.as_str()) => {
                ConnectError::Refused { action: "take writes", source: self.into() }
            }
            Self::Evicts { .. } => ConnectError::Refused { action: "keep every key", source: self.into() },
            Self::Untold { .. } => ConnectError::Refused { action: "run INFO", source: self.into() },
            _ if self.passes() => {
                ConnectError::Unreachable { endpoint: endpoint.to_owned(), source: self.into() }
            }
            _ => ConnectError::Refused { action, source: self.into() },
        }
    }
}

/// What the server said, up to where it begins to quote.
fn said(detail: &str) -> String {
    let plain = detail.split(", with args").next().unwrap_or_default();
    let plain = plain.split(['\'', '"']).next().unwrap_or_default();
    plain.chars().take(120).collect::<String>().trim_end().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str) -> Trouble {
        let (code, detail) = text.split_once(' ').unwrap();
        let error = ::redis::make_extension_error(code.to_owned(), Some(detail.to_owned()));
        Trouble::of(&error)
    }

    #[test]
    fn texts_of_the_server_are_cut_before_they_quote() {
        let texts = [
            "ERR unknown command 'EVALSHA', with args beginning with: 's3cr3t' ",
            "NOPERM User s3cr3t has no permissions to run the 'get' command",
            "WRONGPASS s3cr3t",
            "ERR \"s3cr3t\" is odd",
        ];
        for text in texts {
            let trouble = answered(text);
            assert!(!format!("{trouble} {trouble:?}").contains("s3cr3t"), "{trouble:?}");
        }
    }

    #[test]
    fn what_redis_refuses_to_run_is_not_applied_and_all_else_is_unknown() {
        for (code, _) in REFUSALS {
            assert_eq!(answered(&format!("{code} whatever")).outcome(), Outcome::NotApplied, "{code}");
        }
        assert_eq!(answered("ERR whatever").outcome(), Outcome::Unknown);
        let within = "NOPERM ACL failure in script: no `xtrim` script: 0a1b, on @user_script:7.";
        assert_eq!(answered(within).outcome(), Outcome::Unknown);
        assert_eq!(Trouble::Lost("reset".to_owned()).outcome(), Outcome::Unknown);
    }
}
