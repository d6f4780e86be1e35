//! The ids of a memory store, in order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

/// How many of the latest ids are not in order yet. Whoever reads a page sorts them in, and whoever deletes an id
/// looks through them, so they are few.
const RECENT: usize = 32;

/// The ids of all values, in byte order.
///
/// The latest ids wait beside the tree until there are [`RECENT`] of them: an id that is deleted soon after it was
/// created, as those of locks, leases and queued work are, costs no search in the tree.
#[derive(Default)]
pub(super) struct Index {
    tree: BTreeSet<Key>,
    recent: Vec<Arc<str>>,
}

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
        if self.recent.len() == RECENT {
            self.put_in_order();
        }
        self.recent.push(id);
    }

    /// Removes an id: the very `Arc` that was inserted.
    pub(super) fn remove(&mut self, id: &Arc<str>) {
        match self.recent.iter().rposition(|recent| Arc::ptr_eq(recent, id)) {
            Some(at) => drop(self.recent.swap_remove(at)),
            None => drop(self.tree.remove(&Key::new(Arc::clone(id)))),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tree.len() + self.recent.len()
    }

    /// The first `limit` ids that start with `prefix` and sort after `after`, once all are in order.
    pub(super) fn page(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Arc<str>> {
        debug_assert!(self.is_in_order(), "the latest ids are not in the tree yet");
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(Key::new(after.into())),
            _ => Bound::Included(Key::new(prefix.into())),
        };
        let following = self.tree.range((start, Bound::Unbounded));
        // No comparison for no prefix: some processors take longest where there is nothing to compare, as there may be
        // nothing at its address either.
        let in_order =
            following.take_while(|key| prefix.is_empty() || key.id.starts_with(prefix)).take(limit);
        let found: Vec<&Arc<str>> = in_order.map(|key| &key.id).collect();
        // Out of cache each id is a miss. Reads can wait for theirs side by side; the counts of `Arc`s can't.
        found.iter().for_each(|id| _ = std::hint::black_box(Arc::strong_count(id)));
        found.into_iter().cloned().collect()
    }

    /// Whether [`page`](Self::page) finds all ids.
    pub(super) fn is_in_order(&self) -> bool {
        self.recent.is_empty()
    }

    /// Sorts the latest ids in.
    pub(super) fn put_in_order(&mut self) {
        self.tree.extend(self.recent.drain(..).map(Key::new));
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

        for (one, other) in ids.iter().flat_map(|one| ids.iter().map(move |other| (*one, *other))) {
            let [key, other_key] = [one, other].map(|id| Key::new(id.into()));
            assert_eq!(key.partial_cmp(&other_key), one.partial_cmp(other), "{one:?} {other:?}");
            assert_eq!(key == other_key, one == other, "{one:?} {other:?}");
        }
        index.put_in_order();
        let found = index.page("", None, usize::MAX);
        assert_eq!(found.iter().map(|id| &**id).collect::<Vec<_>>(), ids);
    }

    #[test]
    fn ids_are_removed_whether_they_are_in_order_yet_or_not() {
        for count in [1, RECENT, RECENT + 1, 3 * RECENT + 5] {
            for in_order in [false, true] {
                let ids: Vec<Arc<str>> =
                    (0..count).rev().map(|number| format!("{number:04}").into()).collect();
                let mut index = Index::default();
                ids.iter().for_each(|id| index.insert(Arc::clone(id)));
                if in_order {
                    index.put_in_order();
                }

                let (gone, kept) = ids.split_at(count / 2);
                gone.iter().for_each(|id| index.remove(id));

                assert_eq!(index.len(), kept.len());
                index.put_in_order();
                let mut found = index.page("", None, usize::MAX);
                found.reverse();
                assert_eq!(found, kept);
            }
        }
    }

    #[test]
    fn a_page_keeps_to_its_prefix_its_start_and_its_limit() {
        // With that many others before them.
        for others in [0, RECENT] {
            let mut index = Index::default();
            for id in ["a", "b/1", "b/2", "b/3", "b0", "c"] {
                index.insert(id.into());
            }
            (0..others).for_each(|number| index.insert(format!("!{number}").into()));
            index.put_in_order();
            let page = |prefix, after, limit| index.page(prefix, after, limit).join(" ");

            assert_eq!(page("b/", None, 2), "b/1 b/2");
            assert_eq!(page("b/", Some("b/2"), 9), "b/3");
            assert_eq!(page("b/", Some("a"), 9), "b/1 b/2 b/3");
            assert_eq!(page("b/", Some("A"), 9), "b/1 b/2 b/3");
            assert_eq!(page("b/", Some("b/9"), 9), "");
            assert_eq!(page("", Some("b0"), 9), "c");
        }
    }
}
