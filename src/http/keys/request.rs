//! [`KeyedRequest`], a request that is to be applied once.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::http::key::Key;
use crate::store::Version;

/// How many digits of the hash of a caller an id begins with.
const CALLER: usize = 16;

/// A request that is to be applied once, by its [`Key`]. Who sent it, how and where to is the scope of the key; what it asks for has
/// to be the same each time.
///
/// Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// The id of its record.
    pub(super) id: String,
    /// Of what it asks for.
    pub(super) fingerprint: String,
    pub(super) merge_base: Option<Version>,
}

impl Key {
    /// The request that it is the key of. Two callers, methods or paths never meet in one key; two payloads under one are refused.
    /// The caller is whoever the service knows the request to be from, as the name of a user: with one word for all, whoever learns
    /// a key may be told what it was answered.
    ///
    /// ```
    /// use ifmatch::http::Preconditions;
    ///
    /// let mut request = Preconditions::from_headers([("Idempotency-Key", "\"8e03978e\"")]);
    /// let key = request.take_key()?.expect("it has one");
    /// let keyed = key.request("ann", "PUT", "/notes/a1", b"hello");
    /// # drop(keyed);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn request(self, caller: &str, method: &str, path: &str, payload: &[u8]) -> KeyedRequest {
        self.request_of(caller, method, path, &[payload])
    }

    /// The same for a payload of several parts.
    pub(crate) fn request_of(
        self,
        caller: &str,
        method: &str,
        path: &str,
        payload: &[&[u8]],
    ) -> KeyedRequest {
        let scope = [caller, method, path, &self.text].map(str::as_bytes);
        // What is kept for one caller stands together, so that it can be counted.
        let id = format!("{}.{}", &hash(&[caller.as_bytes()])[..CALLER], hash(&scope));
        KeyedRequest { id, fingerprint: hash(payload), merge_base: self.merge_base }
    }
}

impl KeyedRequest {
    /// The same of one collection alone.
    pub(super) fn within(self, collection: &str) -> Self {
        let id = format!("{}{}", self.caller(), hash(&[self.id.as_bytes(), collection.as_bytes()]));
        Self { id, ..self }
    }

    /// What the ids of all records of its caller begin with.
    pub(super) fn caller(&self) -> &str {
        caller_of(&self.id)
    }
}

/// What the ids of all records of one caller begin with.
pub(super) fn caller_of(id: &str) -> &str {
    id.split_inclusive('.').next().unwrap_or(id)
}

/// Of a list of texts, each behind its length: no two lists run into the same bytes.
fn hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    hash.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl fmt::Debug for KeyedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRequest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(scope: [&str; 4], payload: &str) -> KeyedRequest {
        let [caller, method, path, key] = scope;
        Key::parse(&[key]).unwrap().unwrap().request(caller, method, path, payload.as_bytes())
    }

    #[test]
    fn caller_method_path_and_key_are_the_scope_and_the_payload_is_not() {
        let first = request(["ann", "PUT", "/a", "k"], "1");
        for scope in [
            ["bob", "PUT", "/a", "k"],
            ["ann", "POST", "/a", "k"],
            ["ann", "PUT", "/b", "k"],
            ["ann", "PUT", "/a", "l"],
            ["annP", "UT", "/a", "k"],
        ] {
            assert_ne!(request(scope, "1").id, first.id, "{scope:?}");
        }
        let other = request(["ann", "PUT", "/a", "k"], "2");
        assert_eq!(other.id, first.id);
        assert_ne!(other.fingerprint, first.fingerprint);
        assert!(!format!("{first:?}").contains(&first.id));
    }

    #[test]
    fn the_records_of_one_caller_stand_together_and_no_others_among_them() {
        let caller = |scope, collection| request(scope, "1").within(collection).caller().to_owned();
        let ann = caller(["ann", "PUT", "/a", "k"], "notes");

        assert_eq!((ann.len(), &ann[CALLER..]), (CALLER + 1, "."));
        assert_eq!(caller(["ann", "POST", "/b", "l"], "others"), ann);
        assert_ne!(caller(["bob", "PUT", "/a", "k"], "notes"), ann);
    }
}
