//! [`Expectations`], which versions a commit expects so far.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::collection::database::along::Own;
use crate::collection::database::name::Name;
use crate::collection::database::rider::Rider;
use crate::store::{Expected, Version};

/// Up to so many entries, comparing ids is cheaper than hashing them.
const FEW: usize = 16;

/// Which versions a commit expects so far, by full ids, once there are many entries to look through: each is looked at once,
/// however often steps ask.
#[derive(Default)]
pub(super) struct Expectations(Mutex<Option<Box<Seen>>>);

#[derive(Default)]
struct Seen {
    versions: HashMap<Box<str>, Version>,
    own: usize,
    riders: usize,
}

impl Expectations {
    /// The version that the commit expects of this id, if it says one: as its own entry, or else as the first of the riders that
    /// does. Of those there are only ever more.
    pub(super) fn find(&self, name: &Name, id: &str, own: Own<'_>, riders: [&[Rider]; 2]) -> Option<Version> {
        let [before, added] = riders;
        let riders = || before.iter().chain(added);
        if own.entries.len() + before.len() + added.len() <= FEW {
            let own = own.find(name, id).and_then(|entry| version(entry.condition.expected));
            let is_it = |rider: &&Rider| name.id_of(&rider.full_id) == Some(id);
            return own
                .or_else(|| riders().filter(is_it).find_map(|rider| version(rider.condition.expected)));
        }
        let mut seen = self.0.lock();
        let seen = seen.get_or_insert_default();
        let Seen { versions, own: seen_own, riders: seen_riders } = &mut **seen;
        let mut note = |full_id: Box<str>, expected| {
            if let Some(version) = version(expected) {
                versions.entry(full_id).or_insert(version);
            }
        };
        for entry in &own.entries[seen_of(own.entries.len(), seen_own)..] {
            let full_id = own.of.map_or_else(|| entry.id.into(), |of| of.full(entry.id).into());
            note(full_id, entry.condition.expected);
        }
        let count = before.len() + added.len();
        for rider in riders().skip(seen_of(count, seen_riders)) {
            note(rider.full_id.as_str().into(), rider.condition.expected);
        }
        versions.get(&*name.full(id)).copied()
    }
}

/// How many were seen before, now that this many are.
fn seen_of(count: usize, seen: &mut usize) -> usize {
    std::mem::replace(seen, count).min(count)
}

fn version(expected: Expected) -> Option<Version> {
    match expected {
        Expected::Version(version) => Some(version),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collection::database::opaque::Opaque;
    use crate::store::Entry;

    #[test]
    fn among_many_entries_as_among_few_the_first_version_of_an_id_is_found() {
        let names = ["a", "b"].map(|name| Name::new(name).unwrap());
        let version = |number: u64| Version::from_bits(number.try_into().unwrap());
        for count in [3, FEW as u64 + 1, 40] {
            let ids: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
            let entries: Vec<Entry<'_, Opaque>> = ids
                .iter()
                .zip(1..)
                .map(|(id, number)| match number % 3 {
                    0 => Entry::check(id, Expected::Present),
                    _ => Entry::check(id, version(number)),
                })
                .collect();
            let own = Own { entries: &entries, of: Some(&names[0]) };
            let expectations = Expectations::default();
            let find = |name: &Name, id: &str| expectations.find(name, id, own, [&[], &[]]);

            for (id, number) in ids.iter().zip(1..) {
                assert_eq!(find(&names[0], id), (number % 3 > 0).then(|| version(number)), "{id} of {count}");
                assert_eq!(find(&names[1], id), None);
            }
            assert_eq!(find(&names[0], "0"), None);
        }
    }
}
