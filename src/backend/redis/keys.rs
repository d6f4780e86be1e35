//! [`Keys`], what the keys of a namespace are called.

use crate::backend::engine::ConnectError;

/// The longest name of a namespace, and of what stands before it.
const LONGEST: usize = 64;

/// The keys of one namespace, all of one cluster node: the braces around its name make that so.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// A hash: the format, the epoch, the newest version, where the log begins, and the highest write id that was forgotten.
    pub(super) meta: String,
    /// A sorted set with scores of 0: the ids that have a value.
    pub(super) ids: String,
    /// A hash: id to the version of its deletion.
    pub(super) deleted: String,
    /// A stream: the latest commits.
    pub(super) log: String,
    /// A hash: write id to the fingerprint of its commit and its place in the log.
    pub(super) writes: String,
    /// A sorted set with scores of 0: the write ids of which it was told that they were not applied.
    pub(super) closed: String,
    /// What the key of a value begins with; the id follows.
    values: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, namespace: &str) -> Result<Self, ConnectError> {
        check("key prefix", prefix)?;
        check("namespace name", namespace)?;
        let key = |name: &str| format!("{prefix}:{{{namespace}}}:{name}");
        Ok(Self {
            meta: key("meta"),
            ids: key("ids"),
            deleted: key("deleted"),
            log: key("log"),
            writes: key("writes"),
            closed: key("closed"),
            values: key("v:"),
        })
    }

    /// The key of a value.
    pub(super) fn value(&self, id: &str) -> Vec<u8> {
        [self.values.as_bytes(), id.as_bytes()].concat()
    }
}

/// Braces would move the hash tag, and colons let two names meet.
fn check(what: &'static str, name: &str) -> Result<(), ConnectError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=LONGEST).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    let problem = format!("it needs 1 to {LONGEST} characters, each an ASCII letter, digit, `_`, `-` or `.`");
    Err(ConnectError::Usage { what, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_namespace_share_a_hash_tag() {
        let keys = Keys::new("ifmatch", "articles").unwrap();

        assert_eq!(keys.meta, "ifmatch:{articles}:meta");
        assert_eq!(keys.value("{x}:y"), b"ifmatch:{articles}:v:{x}:y");
    }

    #[test]
    fn names_that_would_leave_their_place_are_refused() {
        for name in ["", "a{b}", "a:b", "a b", "*", "a\0", "a\nb", "ä", &"x".repeat(65)] {
            assert!(Keys::new("ifmatch", name).is_err(), "{name:?}");
            assert!(Keys::new(name, "articles").is_err(), "{name:?}");
        }
        assert!(Keys::new("my-app_1.0", &"x".repeat(64)).is_ok());
    }
}
