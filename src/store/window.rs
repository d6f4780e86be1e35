//! [`Window`], the write ids that a store remembers.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::store::committed::Committed;
use crate::store::error::Refusal;
use crate::store::store::Resolution;
use crate::store::version::Version;
use crate::store::write_id::WriteId;

/// The write ids that a store remembers, each with the answer its commit was given, and those of which it was promised
/// that their commits never apply. For authors of stores that keep them in memory.
///
/// # The rules
///
/// A write id carries a place: the newest version that whoever drew it had seen. A commit lands after its place, because a
/// store issues its versions in order. The window forgets its oldest commits, and keeps the highest id it ever forgot: the
/// floor. An id that is not remembered is then one of four:
///
/// - **above the floor**, its place not ahead of the store's newest version: it was never applied, since all that were
///   applied above the floor are remembered. It may be applied now.
/// - **at or below the floor**: it may have been applied and forgotten. It is not applied again, and what became of it is
///   unknown.
/// - **ahead of the store**, as an id of another store, or of a state that was lost: not ours to judge. It is refused, and
///   not closed, as the store will come to that place.
/// - **closed**: somebody asked what became of it, and was told that it was not applied. It never is.
///
/// So asking after ids, whatever they are, shuts out no other id, and no clock takes part. Three conditions come with it: a
/// commit that is remembered takes a version of its own, also where it changed nothing, so that ids drawn after it lie above
/// it; the floor is kept as durably as the commits are; and the record, the floor and the versions are looked at in one
/// step with the commit that they decide on.
///
/// Closed ids have a bounded set of their own, which an id leaves once the floor has passed it. While it is full, asking
/// closes nothing and tells nothing.
///
/// ```
/// use ifmatch::store::{Asked, Window, WriteId};
/// use ifmatch::Version;
///
/// let mut window = Window::new(100);
/// let newest: Version = "7".parse()?;
/// let [sent, never] = [(); 2].map(|()| WriteId::after(Some(newest)));
///
/// assert_eq!(window.recall(sent, 1, Some(newest))?, None); // to be applied
/// window.remember(sent, 1, "its answer");
///
/// assert_eq!(window.recall(sent, 1, Some(newest))?, Some(&"its answer")); // sent again
/// assert!(window.recall(sent, 2, Some(newest)).is_err()); // another commit under the same id
/// assert_eq!(window.ask(never, Some(newest)), Asked::Closed);
/// assert!(window.recall(never, 1, Some(newest)).is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Window<A> {
    /// How many commits it remembers; `None` where the store itself says which are forgotten.
    limit: Option<usize>,
    /// How many closed ids it keeps.
    room: usize,
    applied: HashMap<WriteId, Applied<A>>,
    /// The applied ones in the order in which they came.
    order: VecDeque<WriteId>,
    closed: BTreeSet<WriteId>,
    floor: Option<WriteId>,
}

/// A commit that was applied.
#[derive(Debug, Clone)]
pub(crate) struct Applied<A> {
    pub(crate) fingerprint: u64,
    pub(crate) answer: A,
}

/// What is known of a write id.
pub(crate) enum Known<'w, A> {
    Applied(&'w Applied<A>),
    Closed,
    /// It may have been applied and forgotten, or is from ahead of the store.
    Outside,
    /// It was never applied.
    Unseen,
}

/// What [`Window::ask`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<A> {
    /// It was applied, with this answer.
    Applied(A),
    /// It was not applied, and is closed: it never will be.
    Closed,
    /// Nobody can tell.
    Unknown,
}

impl From<Asked<Committed>> for Resolution {
    fn from(asked: Asked<Committed>) -> Self {
        match asked {
            Asked::Applied(committed) => Self::Applied(committed),
            Asked::Closed => Self::NotApplied,
            Asked::Unknown => Self::Unknown,
        }
    }
}

/// Remembers 100,000 commits.
impl<A> Default for Window<A> {
    fn default() -> Self {
        Self::new(100_000)
    }
}

impl<A> Window<A> {
    /// An empty window that remembers as many commits as `limit`, and as many closed ids; at least one of each.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: Some(limit.max(1)),
            room: limit.max(1),
            applied: HashMap::new(),
            order: VecDeque::new(),
            closed: BTreeSet::new(),
            floor: None,
        }
    }

    /// A window after what was forgotten, for a store that forgets by a measure of its own.
    #[cfg(feature = "file")]
    pub(crate) fn after(floor: Option<WriteId>, room: usize) -> Self {
        Self { limit: None, floor, ..Self::new(room) }
    }

    /// How many closed ids it keeps, and how many commits it remembers unless the store itself says so.
    pub fn limit(&self) -> usize {
        self.room
    }

    /// What a commit under this id and with this [fingerprint](crate::Commit::fingerprint) meets: the answer it was given
    /// before, or nothing, and then it may be applied. `newest` is the store's newest version.
    ///
    /// # Errors
    ///
    /// [`Refusal::Reused`], [`Refusal::Closed`] and [`Refusal::Outside`].
    pub fn recall(
        &self,
        write: WriteId,
        fingerprint: u64,
        newest: Option<Version>,
    ) -> Result<Option<&A>, Refusal> {
        match self.look(write, newest) {
            Known::Applied(applied) if applied.fingerprint == fingerprint => Ok(Some(&applied.answer)),
            Known::Applied(_) => Err(Refusal::Reused { write }),
            Known::Closed => Err(Refusal::Closed { write }),
            Known::Outside => Err(Refusal::Outside { write, newest }),
            Known::Unseen => Ok(None),
        }
    }

    /// Remembers a commit that was applied, and forgets the oldest where that is one too many.
    pub fn remember(&mut self, write: WriteId, fingerprint: u64, answer: A) {
        self.applied.insert(write, Applied { fingerprint, answer });
        self.order.push_back(write);
        if self.limit.is_some_and(|limit| self.order.len() > limit) {
            self.forget_oldest();
        }
    }

    /// What became of the commit under this id. One that never came is closed by it.
    pub fn ask(&mut self, write: WriteId, newest: Option<Version>) -> Asked<A>
    where
        A: Clone,
    {
        match self.look(write, newest) {
            Known::Applied(applied) => Asked::Applied(applied.answer.clone()),
            Known::Closed => Asked::Closed,
            Known::Outside => Asked::Unknown,
            Known::Unseen if self.room_to_close() == 0 => Asked::Unknown,
            Known::Unseen => {
                self.close(write);
                Asked::Closed
            }
        }
    }

    /// What is known of an id.
    pub(crate) fn look(&self, write: WriteId, newest: Option<Version>) -> Known<'_, A> {
        if let Some(applied) = self.applied.get(&write) {
            return Known::Applied(applied);
        }
        match () {
            () if self.closed.contains(&write) => Known::Closed,
            () if self.is_outside(write, newest) => Known::Outside,
            () => Known::Unseen,
        }
    }

    /// Closes an id that was not seen.
    pub(crate) fn close(&mut self, write: WriteId) {
        self.closed.insert(write);
    }

    /// How many more ids may be closed.
    pub(crate) fn room_to_close(&self) -> usize {
        self.room.saturating_sub(self.closed.len())
    }

    /// Forgets the oldest commit.
    pub(crate) fn forget_oldest(&mut self) {
        let Some(forgotten) = self.order.pop_front() else { return };
        self.applied.remove(&forgotten);
        if Some(forgotten) > self.floor {
            self.floor = Some(forgotten);
            // What is not above the floor is refused anyway.
            self.closed = self.closed.split_off(&forgotten);
            self.closed.remove(&forgotten);
        }
    }

    fn is_outside(&self, write: WriteId, newest: Option<Version>) -> bool {
        let bits = |version: Option<Version>| version.map(|version| version.to_bits());
        Some(write) <= self.floor || bits(write.place()) > bits(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8;

    fn version(number: u64) -> Option<Version> {
        number.try_into().ok().map(Version::from_bits)
    }

    /// A window after so many commits, whose ids were each drawn after the commit before; the ids.
    fn after(commits: u64) -> (Window<u64>, Vec<WriteId>) {
        let mut window = Window::new(LIMIT);
        let commit = |number: u64| {
            let write = WriteId::after(version(number - 1));
            assert_eq!(window.recall(write, 0, version(number - 1)).unwrap(), None);
            window.remember(write, 0, number);
            write
        };
        let writes = (1..=commits).map(commit).collect();
        (window, writes)
    }

    fn outside(answer: Result<Option<&u64>, Refusal>) -> bool {
        matches!(answer, Err(Refusal::Outside { .. }))
    }

    #[test]
    fn what_was_forgotten_is_neither_applied_again_nor_told_as_not_applied() {
        let (mut window, writes) = after(20);

        for (number, write) in (1..).zip(writes) {
            let forgotten = number <= 12;
            assert_eq!(outside(window.recall(write, 0, version(20))), forgotten, "{number}");
            let told = if forgotten { Asked::Unknown } else { Asked::Applied(number) };
            assert_eq!(window.ask(write, version(20)), told);
        }
        assert!(window.applied.len() == LIMIT && window.order.len() == LIMIT);
    }

    #[test]
    fn an_id_drawn_after_what_was_forgotten_is_new() {
        let (window, _) = after(20);

        assert!(window.recall(WriteId::after(version(12)), 0, version(20)).unwrap().is_none());
        assert!(outside(window.recall(WriteId::after(version(3)), 0, version(20))));
    }

    #[test]
    fn asking_after_any_ids_shuts_out_no_other() {
        let (mut window, _) = after(5);
        let drawn = WriteId::after(version(5));
        assert_eq!(window.ask(WriteId::from_bits(u128::MAX), version(5)), Asked::Unknown);
        let asked: Vec<_> =
            (0..3 * LIMIT).map(|_| window.ask(WriteId::after(version(5)), version(5))).collect();

        assert_eq!(asked.iter().filter(|asked| **asked == Asked::Closed).count(), LIMIT);
        assert!(asked[LIMIT..].iter().all(|asked| *asked == Asked::Unknown));
        assert!(window.recall(drawn, 0, version(5)).unwrap().is_none());
    }

    #[test]
    fn a_closed_id_stays_out_and_leaves_room_once_it_is_forgotten() {
        let (mut window, _) = after(5);
        let closed = WriteId::after(version(5));
        assert_eq!(window.ask(closed, version(5)), Asked::Closed);
        assert!(matches!(window.recall(closed, 0, version(5)), Err(Refusal::Closed { .. })));

        for number in 6..30 {
            window.remember(WriteId::after(version(number - 1)), 0, number);
            assert!(window.recall(closed, 0, version(number)).is_err());
        }

        assert!(window.closed.is_empty());
        assert_eq!(window.ask(closed, version(29)), Asked::Unknown);
    }

    #[test]
    fn an_id_from_ahead_is_refused_until_the_store_comes_there() {
        let (mut window, _) = after(5);
        let ahead = WriteId::after(version(9));

        assert!(outside(window.recall(ahead, 0, version(5))));
        assert_eq!(window.ask(ahead, version(5)), Asked::Unknown);
        assert!(window.recall(ahead, 0, version(9)).unwrap().is_none());
    }
}
