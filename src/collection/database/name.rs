//! [`Name`], what tells the resources of one collection from those of others in the same store.

use std::fmt;
use std::sync::Arc;

use crate::store::{Error, IdProblem, MAX_ID_BYTES, Refusal, shortened};

/// The longest name of a collection, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// What stands between a name and an id. No name has it, so the first one in a text ends the name, whatever the id is.
pub(super) const SEPARATOR: u8 = b'/';

/// The name of a collection. In the store its resources have their *full ids*: the name, a slash, and the id.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    name: Arc<str>,
    /// The name and what separates it.
    prefix: Arc<str>,
}

impl Name {
    /// # Errors
    ///
    /// [`Refusal::Collection`] where this can't be one.
    pub(super) fn new(name: &str) -> Result<Self, Error> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(good) {
            let problem = "must be named by 1 to 64 letters and digits of ASCII, `_`, `-` and `.`";
            return Err(Refusal::Collection { name: shortened(name).into(), problem: problem.into() }.into());
        }
        Ok(Self { name: name.into(), prefix: [name, "/"].concat().into() })
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.name
    }

    /// What the full ids of the collection begin with.
    pub(super) fn prefix(&self) -> &Arc<str> {
        &self.prefix
    }

    /// The full id.
    pub(super) fn full(&self, id: &str) -> String {
        let mut full = String::with_capacity(self.prefix.len() + id.len());
        full.push_str(&self.prefix);
        full.push_str(id);
        full
    }

    /// The id of a full id of this collection.
    #[inline]
    pub(super) fn id_of<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&**self.prefix())
    }

    /// The name that a full id begins with.
    pub(super) fn of_full(full: &str) -> &str {
        full.split_once(char::from(SEPARATOR)).map_or(full, |(name, _)| name)
    }

    /// Refuses what the store could not: an empty id is a good one with a name before it, and one that is too long has
    /// other limits.
    #[inline]
    pub(super) fn check_id(&self, id: &str) -> Result<(), Refusal> {
        let limit = MAX_ID_BYTES - self.prefix.len();
        let problem = match id.len() {
            0 => IdProblem::Empty,
            length if length > limit => IdProblem::TooLong { limit },
            _ => return Ok(()),
        };
        Err(Refusal::Id { id: shortened(id).into(), problem })
    }

    /// The same error, with the ids of this collection for its full ids.
    #[cold]
    pub(super) fn shown(&self, error: Error) -> Error {
        error.map_ids(|full| self.id_of(full).unwrap_or(full).into())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_hold_nothing_that_an_id_could_be_taken_for() {
        for good in ["a", "orders", "Orders-2.v_1", &"x".repeat(64)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "/", "a b", "ä", "a\0", "a\n", "a%2Fb", &"x".repeat(65), &"x".repeat(9999)] {
            let error = Name::new(bad).unwrap_err();
            assert!(matches!(&error, Error::Refused(Refusal::Collection { .. })), "{error}");
            assert!(error.to_string().len() < 300);
        }
    }

    #[test]
    fn an_id_is_what_follows_the_first_separator() {
        let orders = Name::new("orders").unwrap();

        for id in ["o7", "/o7", "orders/o7", "../stock/apples", "ü"] {
            let full = orders.full(id);
            assert_eq!((Name::of_full(&full), orders.id_of(&full)), ("orders", Some(id)));
        }
        assert_eq!(orders.id_of("orders2/o7"), None);
        assert_eq!(orders.id_of("orders"), None);
    }

    #[test]
    fn ids_keep_at_least_440_bytes_and_are_told_their_limit() {
        let longest = Name::new(&"x".repeat(MAX_NAME_BYTES)).unwrap();

        assert!(longest.check_id(&"i".repeat(440)).is_ok());
        let refusal = longest.check_id(&"i".repeat(448)).unwrap_err();
        assert!(refusal.to_string().ends_with("is longer than 447 bytes"), "{refusal}");
        assert!(longest.check_id("").is_err());
    }
}
