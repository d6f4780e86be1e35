//! [`Narrowed`], a commit whose blind writes expect exactly what was seen to decode.

use std::collections::HashMap;
use std::num::NonZeroU64;

use crate::store::{
    Action, Commit, Condition, Conflict, Corrupt, Entry, Error, Expected, Kind, Mismatch, Version, Versioned,
};

/// How often a commit is sent again because others wrote the same ids in between.
const ROUNDS: u32 = 256;

/// A version that no value has. A write that expects it is refused in the store's own critical section, with what is
/// there, unless the store recognises the write id: then it was applied before.
const NEVER: Expected = Expected::Version(Version::from_bits(NonZeroU64::MAX));

/// A commit with blind writes (puts and deletes that expect anything, or any value), and what each of them has to
/// expect instead, so that bytes that do not decode are not overwritten unseen.
pub(super) struct Narrowed<'a> {
    /// As the caller gave it.
    commit: Commit<'a, [u8]>,
    /// What to expect instead, an entry each; `None` where that is not known yet.
    expected: Vec<Option<Expected>>,
    rounds: u32,
}

impl<'a> Narrowed<'a> {
    /// The commit to narrow, or the commit again where it has no blind writes.
    pub(super) fn new(commit: Commit<'a, [u8]>) -> Result<Self, Commit<'a, [u8]>> {
        if !commit.entries().iter().any(is_blind) {
            return Err(commit);
        }
        let expected = commit
            .entries()
            .iter()
            .map(|entry| (!is_blind(entry)).then_some(entry.condition.expected))
            .collect();
        Ok(Self { commit, expected, rounds: 0 })
    }

    /// The first entry from `start` on that must be read, and its id.
    pub(super) fn unread(&self, start: usize) -> Option<(usize, &'a str)> {
        let place = (start..self.expected.len()).find(|place| self.expected[*place].is_none())?;
        Some((place, self.commit.entries()[place].id))
    }

    /// Notes what was read for an entry.
    ///
    /// # Errors
    ///
    /// What `decode` says, unless the commit has a write id that the store was not asked about yet: it may be this
    /// very commit, applied before, and the bytes somebody else's since.
    pub(super) fn read(
        &mut self,
        place: usize,
        found: Option<Versioned<[u8]>>,
        decode: impl Fn(&str, &Versioned<[u8]>) -> Result<(), Corrupt>,
    ) -> Result<(), Error> {
        let entry = &self.commit.entries()[place];
        let expected = match found {
            Some(stored) => match decode(entry.id, &stored) {
                Ok(()) => Expected::Version(stored.version),
                Err(_) if self.commit.write().is_some() && self.rounds == 0 => NEVER,
                Err(corrupt) => return Err(corrupt.into()),
            },
            None => without_value(entry),
        };
        self.expected[place] = Some(expected);
        Ok(())
    }

    /// The commit to send.
    pub(super) fn commit(&self) -> Commit<'a, [u8]> {
        let narrow = |(entry, expected): (&Entry<'a, [u8]>, &Option<Expected>)| {
            let mut entry = entry.clone();
            entry.condition.expected = expected.unwrap_or(NEVER);
            entry
        };
        let narrowed =
            self.commit.entries().iter().zip(&self.expected).map(narrow).collect::<Commit<'a, [u8]>>();
        match self.commit.write() {
            Some(write) => narrowed.with_write(write),
            None => narrowed,
        }
    }

    /// Takes the store's conflict into account: `Ok` where the caller's own expectations were met and only the
    /// narrowed ones were not, so that the commit is to be sent again.
    ///
    /// # Errors
    ///
    /// Bytes that do not decode; else the mismatches of what the caller itself expected; else, after many rounds, the
    /// last conflict.
    pub(super) fn refused(
        &mut self,
        conflict: Conflict,
        decode: impl Fn(&str, &Versioned<[u8]>) -> Result<(), Corrupt>,
    ) -> Result<(), Error> {
        self.rounds += 1;
        let places: HashMap<&str, usize> =
            self.commit.entries().iter().enumerate().map(|(place, entry)| (entry.id, place)).collect();
        let mut genuine = Vec::new();
        let mut outrun = Vec::new();
        for mismatch in conflict.into_mismatches() {
            let blind = places
                .get(mismatch.id())
                .map(|place| (*place, &self.commit.entries()[*place]))
                .filter(|(_, entry)| is_blind(entry));
            let Some((place, entry)) = blind else {
                genuine.push(mismatch);
                continue;
            };
            if meant_by_caller(entry.condition, &mismatch) {
                genuine.push(mismatch.with_condition(entry.condition));
                continue;
            }
            // Nothing known yet where a store tells no value with its conflicts: it must be read again.
            self.expected[place] = match mismatch.current::<[u8]>() {
                Some(stored) => {
                    decode(entry.id, &stored)?;
                    Some(Expected::Version(stored.version))
                }
                None if matches!(mismatch.kind(), Kind::Missing | Kind::Deleted) => {
                    Some(without_value(entry))
                }
                None => None,
            };
            outrun.push(mismatch);
        }
        if let Some(conflict) = Conflict::new(genuine) {
            return Err(conflict.into());
        }
        match Conflict::new(outrun) {
            Some(conflict) if self.rounds == ROUNDS => Err(conflict.exhausted(self.rounds).into()),
            _ => Ok(()),
        }
    }
}

/// Whether the entry would overwrite or delete a value nobody has looked at.
fn is_blind(entry: &Entry<'_, [u8]>) -> bool {
    let weak = matches!(entry.condition.expected, Expected::Any | Expected::Present);
    weak && !matches!(entry.action, Action::Check)
}

/// What a blind write expects where there is no value.
fn without_value(entry: &Entry<'_, [u8]>) -> Expected {
    match entry.condition.expected {
        Expected::Present => NEVER,
        _ => Expected::Absent,
    }
}

/// Whether the mismatch of a narrowed expectation is one of the caller's own expectation too.
fn meant_by_caller(caller: Condition, mismatch: &Mismatch) -> bool {
    match mismatch.kind() {
        Kind::Stale | Kind::Exists => false,
        Kind::Missing | Kind::Deleted => caller.expected == Expected::Present,
        // A lease or a rule refuses whatever is expected.
        Kind::Locked { .. } | Kind::State { .. } => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decodes(_: &str, _: &Versioned<[u8]>) -> Result<(), Corrupt> {
        Ok(())
    }

    fn stored() -> Versioned<[u8]> {
        Versioned::new("7".parse().unwrap(), *b"7")
    }

    #[test]
    fn a_commit_without_blind_writes_comes_back() {
        let exact = Commit::one(Entry::delete("a", Expected::Absent)).and(Entry::check("b", Expected::Any));

        assert_eq!(Narrowed::new(exact).err().map(|commit| commit.entries().len()), Some(2));
    }

    #[test]
    fn a_rule_of_the_store_refuses_a_blind_write_as_any_other() {
        let Ok(mut narrowed) = Narrowed::new(Commit::one(Entry::delete("a", Expected::Any))) else {
            panic!("a blind write")
        };
        narrowed.read(0, Some(stored()), decodes).unwrap();

        let refused = narrowed
            .refused(Conflict::state("a", "archived", "it is archived").with_current(&stored()), decodes);

        let Err(Error::Conflict(conflict)) = refused else { panic!("{refused:?}") };
        assert!(matches!(conflict.kind(), Kind::State { .. }));
        assert_eq!(conflict.expected(), Expected::Any);
    }

    #[test]
    fn what_was_not_read_cannot_be_overwritten() {
        let Ok(narrowed) = Narrowed::new(Commit::one(Entry::delete("a", Expected::Any))) else {
            panic!("a blind write")
        };

        assert_eq!(narrowed.unread(0), Some((0, "a")));
        assert_eq!(narrowed.commit().entries()[0].condition.expected, NEVER);
    }
}
