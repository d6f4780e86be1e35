//! [`Keys`], where a namespace lies among the keys of etcd.
//!
//! | key | what |
//! |---|---|
//! | `PREFIX/NAMESPACE:manifest` | the [`Manifest`](super::manifest::Manifest) |
//! | `PREFIX/NAMESPACE:r:ID` | a resource |
//! | `PREFIX/NAMESPACE:w:WRITE` | what the commit with this write id did |
//! | `PREFIX/NAMESPACE:c:WRITE` | nothing: a commit with this write id is refused |
//!
//! Neither a prefix nor the name of a namespace has a colon, so no two namespaces share a key, whatever their ids are.

use crate::backend::engine::ConnectError;
use crate::store::WriteId;

/// The longest prefix, in bytes.
const LONGEST_PREFIX: usize = 200;

/// The longest name of a namespace, in bytes.
const LONGEST_NAMESPACE: usize = 48;

/// The keys of one namespace.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// What they all begin with.
    base: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, namespace: &str) -> Result<Self, ConnectError> {
        check_prefix(prefix)?;
        check_namespace(namespace)?;
        Ok(Self { base: format!("{prefix}/{namespace}:") })
    }

    pub(super) fn manifest(&self) -> Vec<u8> {
        self.key("manifest")
    }

    pub(super) fn resource(&self, id: &str) -> Vec<u8> {
        [&*self.base, "r:", id].concat().into_bytes()
    }

    pub(super) fn write(&self, write: WriteId) -> Vec<u8> {
        self.key(&format!("w:{write}"))
    }

    pub(super) fn closed(&self, write: WriteId) -> Vec<u8> {
        self.key(&format!("c:{write}"))
    }

    /// The id of a resource by its key; `None` where the key is of something else.
    pub(super) fn id<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        let id = key.strip_prefix(self.base.as_bytes())?.strip_prefix(b"r:")?;
        str::from_utf8(id).ok()
    }

    /// The write id of a commit by its key.
    pub(super) fn write_id(&self, key: &[u8]) -> Option<WriteId> {
        let write = key.strip_prefix(self.base.as_bytes())?.strip_prefix(b"w:")?;
        str::from_utf8(write).ok()?.parse().ok()
    }

    /// The first key of the resources after `after` whose ids begin with `prefix`, and the first key behind them.
    pub(super) fn resources(&self, prefix: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
        let first = match after {
            Some(after) if after >= prefix => {
                let mut key = self.resource(after);
                key.push(0);
                key
            }
            _ => self.resource(prefix),
        };
        (first, behind(self.resource(prefix)))
    }

    /// All that a watcher has to see: the manifest and the resources, and nothing that lies between them.
    pub(super) fn watched(&self) -> (Vec<u8>, Vec<u8>) {
        (self.manifest(), behind(self.resource("")))
    }

    /// What all remembered commits did.
    pub(super) fn writes(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key("w:"), behind(self.key("w:")))
    }

    /// All closed write ids.
    pub(super) fn closings(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key("c:"), behind(self.key("c:")))
    }

    /// The closed write ids that are not above this one. Their keys are in the order of the ids: all have 32 digits.
    pub(super) fn closings_up_to(&self, last: WriteId) -> (Vec<u8>, Vec<u8>) {
        let mut behind = self.closed(last);
        behind.push(0);
        (self.key("c:"), behind)
    }

    fn key(&self, name: &str) -> Vec<u8> {
        [&*self.base, name].concat().into_bytes()
    }
}

/// The first key behind all that begin with `key`. No byte of UTF-8 is the largest.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    if let Some(last) = key.last_mut() {
        *last += 1;
    }
    key
}

pub(super) fn check_prefix(prefix: &str) -> Result<(), ConnectError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'/');
    check("prefix", prefix, LONGEST_PREFIX, good, "letters, digits, `.`, `-`, `_`, `~` and `/`")
}

fn check_namespace(name: &str) -> Result<(), ConnectError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    check("name of the namespace", name, LONGEST_NAMESPACE, good, "letters, digits, `-` and `_`")
}

fn check(
    what: &'static str,
    text: &str,
    longest: usize,
    good: impl Fn(u8) -> bool,
    allowed: &str,
) -> Result<(), ConnectError> {
    if (1..=longest).contains(&text.len()) && text.bytes().all(good) {
        return Ok(());
    }
    Err(ConnectError::Usage { what, problem: format!("it takes 1 to {longest} {allowed}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new("app", "notes").unwrap()
    }

    #[test]
    fn an_id_survives_its_key_and_is_found_under_no_other() {
        let keys = keys();
        for id in ["a", "", "r:", "manifest", "\u{10ffff}", "a\0b", "../x"] {
            assert_eq!(keys.id(&keys.resource(id)), Some(id));
        }

        let write = WriteId::from_bits(7);
        for key in [keys.manifest(), keys.write(write), keys.closed(write), b"app/notes".to_vec()] {
            assert_eq!(keys.id(&key), None);
        }
        assert_eq!(keys.write_id(&keys.write(write)), Some(write));
    }

    #[test]
    fn a_watcher_sees_the_manifest_and_every_resource_and_nothing_else() {
        let keys = keys();
        let (first, behind) = keys.watched();
        let seen = |key: Vec<u8>| first <= key && key < behind;

        assert!(
            seen(keys.manifest()) && seen(keys.resource("")) && seen(keys.resource("\u{10ffff}\u{10ffff}"))
        );
        let write = WriteId::from_bits(u128::MAX);
        assert!(!seen(keys.write(write)) && !seen(keys.closed(write)));
    }

    #[test]
    fn the_closed_ids_up_to_one_are_those_that_are_not_above_it() {
        let keys = keys();
        let (first, behind) = keys.closings_up_to(WriteId::from_bits(0xa0));
        let among = |key: Vec<u8>| first <= key && key < behind;

        for bits in [0, 9, 0x9f, 0xa0] {
            assert!(among(keys.closed(WriteId::from_bits(bits))));
        }
        for bits in [0xa1, 0x100, u128::MAX] {
            assert!(!among(keys.closed(WriteId::from_bits(bits))));
        }
        assert!(!among(keys.manifest()) && !among(keys.write(WriteId::from_bits(0))));
    }

    #[test]
    fn a_range_has_what_begins_with_the_prefix_and_comes_after() {
        let keys = keys();
        let listed = |prefix, after, id| {
            let (first, behind) = keys.resources(prefix, after);
            let key = keys.resource(id);
            first <= key && key < behind
        };

        assert!(listed("", None, "a") && listed("a", None, "a") && listed("a", None, "a\u{10ffff}"));
        assert!(
            !listed("a", None, "b") && !listed("a", Some("ab"), "ab") && listed("a", Some("ab"), "ab\u{1}")
        );
        assert!(listed("b", Some("a"), "b") && !listed("a", Some("c"), "a"));
    }

    #[test]
    fn names_that_could_reach_into_another_namespace_are_refused() {
        for prefix in ["", "a:b", "a b", "a\0", "ü", &"x".repeat(201)] {
            assert!(Keys::new(prefix, "notes").is_err(), "{prefix:?}");
        }
        for namespace in ["", "a:b", "a/b", "..", "a\n", "'; --", &"x".repeat(49)] {
            assert!(Keys::new("app", namespace).is_err(), "{namespace:?}");
        }
    }
}
