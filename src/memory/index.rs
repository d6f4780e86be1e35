//! The ids of a memory store, in order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// The ids of all values, in byte order.
#[derive(Default)]
pub(super) struct Index(BTreeSet<Key>);

/// An id with its first bytes beside the pointer, so that most comparisons need not follow it.
struct Key {
    head: u128,
    id: Arc<str>,
}

impl Key {
    fn new(id: Arc<str>) -> Self {
        let mut head = [0; 16];
        let length = id.len().min(head.len());
        head[..length].copy_from_slice(&id.as_bytes()[..length]);
        Self { head: u128::from_be_bytes(head), id }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Big-endian numbers compare as their bytes do; an id has no NUL, so the padding sorts before any byte of one.
        self.head.cmp(&other.head).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl Index {
    pub(super) fn insert(&mut self, id: Arc<str>) {
        self.0.insert(Key::new(id));
    }

    pub(super) fn remove(&mut self, id: &Arc<str>) {
        self.0.remove(&Key::new(Arc::clone(id)));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first `limit` ids that start with `prefix` and sort after `after`.
    pub(super) fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Arc<str>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(Key::new(after.into())),
            _ => Bound::Included(Key::new(prefix.into())),
        };
        let following = self.0.range((start, Bound::Unbounded));
        following
            .take_while(|key| key.id.starts_with(prefix))
            .take(limit)
            .map(|key| Arc::clone(&key.id))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_bytes() {
        let mut ids = [
            "a",
            "a/",
            "a/b",
            "ab",
            "b",
            "ü",
            "\u{1}",
            "\u{1}\u{1}",
            "0123456789abcdef",
            "0123456789abcdef0",
            "0123456789abcdefg",
            "0123456789abcde",
            "zzzzzzzzzzzzzzzz",
            "zzzzzzzzzzzzzzzzz",
            "\u{10ffff}",
        ];
        let mut index = Index::default();
        for id in ids {
            index.insert(id.into());
        }

        ids.sort_unstable();

        let found = index.page("", None, usize::MAX);
        assert_eq!(found.iter().map(|id| &**id).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn a_page_keeps_to_its_prefix_its_start_and_its_limit() {
        let mut index = Index::default();
        for id in ["a", "b/1", "b/2", "b/3", "b0", "c"] {
            index.insert(id.into());
        }
        let page = |prefix, after, limit| index.page(prefix, after, limit).join(" ");

        assert_eq!(page("b/", None, 2), "b/1 b/2");
        assert_eq!(page("b/", Some("b/2"), 9), "b/3");
        assert_eq!(page("b/", Some("a"), 9), "b/1 b/2 b/3");
        assert_eq!(page("b/", Some("b/9"), 9), "");
        assert_eq!(page("", Some("b0"), 9), "c");
    }
}
