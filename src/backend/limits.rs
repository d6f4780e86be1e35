//! [`Limits`], what a store takes in one commit.

use crate::store::{Action, Commit, Refusal};

/// What a store takes in one commit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most entries.
    pub(super) entries: usize,
    /// The most bytes of one value.
    pub(super) value: usize,
    /// The most bytes of all values, unless a single one may have more.
    pub(super) commit: usize,
}

impl Limits {
    /// Refuses what goes past a limit, and ids that stand twice, before anything is sent.
    pub(super) fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        commit.check_ids()?;
        let entries = commit.entries();
        if entries.len() > self.entries {
            return Err(Refusal::TooMany { entries: entries.len(), limit: self.entries });
        }
        let most = self.commit.max(self.value);
        let mut total = 0;
        for entry in entries {
            let Action::Put(value) = &entry.action else { continue };
            total += value.len();
            let over = [(value.len(), self.value), (total, most)];
            if let Some((bytes, limit)) = over.into_iter().find(|(bytes, limit)| bytes > limit) {
                return Err(Refusal::TooLarge { id: entry.id.into(), bytes, limit });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::{Entry, Expected};

    const LIMITS: Limits = Limits { entries: 3, value: 10, commit: 15 };

    /// Puts of so many bytes.
    fn admitted(limits: Limits, sizes: &[usize]) -> Result<(), Refusal> {
        let put = |(id, size): (&'static str, &usize)| {
            Entry::put(id, Expected::Any, Arc::<[u8]>::from(vec![0; *size]))
        };
        limits.admit(&["a", "b", "c", "d"].into_iter().zip(sizes).map(put).collect())
    }

    #[test]
    fn what_reaches_a_limit_is_admitted_and_what_passes_it_is_told_with_that_limit() {
        for sizes in [&[10][..], &[10, 5], &[5, 5, 5], &[]] {
            admitted(LIMITS, sizes).unwrap();
        }
        for (sizes, past, most) in [(&[11][..], 11, 10), (&[10, 6], 16, 15), (&[5, 5, 6], 16, 15)] {
            let refused = admitted(LIMITS, sizes);
            let Err(Refusal::TooLarge { bytes, limit, .. }) = refused else { panic!("{refused:?}") };
            assert_eq!((bytes, limit), (past, most));
        }
        assert!(matches!(admitted(LIMITS, &[0; 4]), Err(Refusal::TooMany { entries: 4, limit: 3 })));
    }

    #[test]
    fn a_value_that_may_be_larger_than_a_commit_makes_room_for_itself() {
        let limits = Limits { value: 20, ..LIMITS };

        admitted(limits, &[20]).unwrap();
        let refused = admitted(limits, &[20, 1]);
        assert!(matches!(refused, Err(Refusal::TooLarge { bytes: 21, limit: 20, .. })), "{refused:?}");
    }
}
