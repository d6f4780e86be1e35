//! [`Commit`], the one form that every write takes.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU64;
use std::slice;

use crate::base::OneOrMany;
use crate::store::entry::{Action, Entry};
use crate::store::error::Refusal;
use crate::store::version::Version;
use crate::store::write_id::WriteId;

/// One atomic set of checks, puts and deletes, each with its expectation: the only way to write.
///
/// At one instant all expectations hold and all writes apply, or nothing changes. An empty commit succeeds and does
/// nothing. A commit of checks alone changes nothing and succeeds only if they all hold at one instant; its answer
/// tells the versions found. An id may appear once.
///
/// A commit of one entry allocates nothing for its list.
///
/// ```
/// use ifmatch::{Commit, Entry, Expected, Memory, Store};
///
/// let store = Memory::<str>::new();
/// let both = Commit::one(Entry::put("a", Expected::Absent, "one".into()))
///     .and(Entry::put("b", Expected::Absent, "two".into()));
///
/// let committed = store.commit(both).wait()?;
/// assert_eq!(committed.receipts().len(), 2);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[must_use = "a commit does nothing until a store applies it"]
pub struct Commit<'a, T: ?Sized> {
    entries: OneOrMany<Entry<'a, T>>,
    write: Option<WriteId>,
    /// Whether it stands for a write of what was there already.
    unchanged: bool,
    /// Whether nothing was ever sent under its write id before.
    fresh: bool,
    behind: Option<WriteId>,
}

/// The largest version of all, which no store issues: what expects it is applied nowhere, and only answered where the store
/// knows its write id already.
pub(crate) const NEVER: Version = Version::from_bits(NonZeroU64::MAX);

/// The version of what is on its way to the store: no store issues it. See [`Commit::behind`].
pub(crate) const ON_ITS_WAY: Version = Version::from_bits(match NonZeroU64::new(u64::MAX - 1) {
    Some(bits) => bits,
    None => NonZeroU64::MAX,
});

impl<'a, T: ?Sized> Commit<'a, T> {
    /// A commit of one entry, without an allocation.
    #[inline]
    pub fn one(entry: Entry<'a, T>) -> Self {
        Self { entries: OneOrMany::One(entry), write: None, unchanged: false, fresh: false, behind: None }
    }

    /// The same commit with another entry.
    pub fn and(self, entry: Entry<'a, T>) -> Self {
        let entries = match self.entries {
            OneOrMany::One(first) => Vec::from([first, entry]),
            OneOrMany::Many(mut entries) => {
                entries.push(entry);
                entries
            }
        };
        Self { entries: OneOrMany::Many(entries), ..self }
    }

    /// The same commit under a write id, so that a store recognises it when it is sent again, and
    /// [`resolve`](crate::Store::resolve) can tell what became of it.
    ///
    /// ```
    /// use ifmatch::{Collection, Commit, Entry, Expected};
    /// use ifmatch::store::WriteId;
    ///
    /// let notes = Collection::<str>::in_memory();
    /// let put = Entry::put("readme", Expected::Absent, "hello".into());
    /// let commit = Commit::one(put).with_write(notes.write_id());
    ///
    /// let first = notes.commit(commit.clone()).wait()?;
    /// assert_eq!(notes.commit(commit).wait()?, first); // recognised, so no conflict
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn with_write(self, write: WriteId) -> Self {
        Self { write: Some(write), fresh: false, ..self }
    }

    /// The same under a write id that was drawn for this sending alone.
    pub(crate) fn with_fresh_write(self, write: WriteId) -> Self {
        Self { write: Some(write), fresh: true, ..self }
    }

    /// The write id, where nothing was ever sent under it before.
    pub(crate) fn fresh_write(&self) -> Option<WriteId> {
        self.write.filter(|_| self.fresh)
    }

    /// The same where what expects the version [`ON_ITS_WAY`] expects what the commit of that write id has put. A store that
    /// does not know of it refuses the commit.
    pub(crate) fn with_behind(self, behind: Option<WriteId>) -> Self {
        Self { behind, ..self }
    }

    /// The write id of the commit that this one was decided on.
    #[cfg(feature = "file")]
    pub(crate) fn behind(&self) -> Option<WriteId> {
        self.behind
    }

    /// The check that stands for a write of what was there already. Nothing has to be written, unless the value is kept
    /// in an old schema: a put in its place, which the answer tells of, brings it up to date.
    pub(crate) fn unchanged(entry: Entry<'a, T>) -> Self {
        Self { unchanged: true, ..Self::one(entry) }
    }

    /// The same commit; of one that stands for a write of what was there already, the plain check that it is. So nothing is
    /// brought up to date.
    pub(crate) fn without_renewal(self) -> Self {
        match self.unchanged {
            true => Self { unchanged: false, ..self.without_write() },
            false => self,
        }
    }

    /// Whether it stands for a write of what was there already.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.unchanged
    }

    /// Whether it changes nothing wherever it goes: it only checks, and stands for no write. Of no entries nothing is
    /// known.
    pub(crate) fn applies_nothing(&self) -> bool {
        !self.unchanged && !self.entries().is_empty() && self.only_checks()
    }

    /// The same commit under no write id.
    pub(crate) fn without_write(self) -> Self {
        Self { write: None, ..self }
    }

    /// The write id, if it has one.
    #[inline]
    pub fn write(&self) -> Option<WriteId> {
        self.write
    }

    /// The same commit, under no write id if it only checks: see [`remembered_write`](Self::remembered_write).
    #[cfg(feature = "etcd")]
    pub(crate) fn with_what_is_remembered(self) -> Self {
        Self { write: self.remembered_write(), ..self }
    }

    /// The write id that a store has to remember: none where all entries are checks. Those apply nothing, so there is
    /// nothing to be recognised, and nothing is lost when they are judged again.
    #[inline]
    pub fn remembered_write(&self) -> Option<WriteId> {
        self.write.filter(|_| !self.only_checks())
    }

    #[inline]
    fn only_checks(&self) -> bool {
        self.entries().iter().all(|entry| matches!(entry.action, Action::Check))
    }

    /// What tells this commit from another under the same write id: a hash of its ids and actions, in order. Neither
    /// expectations nor values count: a store in memory can't compare values, and a map encodes otherwise each time.
    ///
    /// The same on every machine and in every release, so that a store may keep it: FNV-1a, 64 bits.
    ///
    /// ```
    /// use ifmatch::{Commit, Entry, Expected};
    ///
    /// let put = |id, text: &str| Commit::<str>::one(Entry::put(id, Expected::Any, text.into()));
    /// assert_eq!(put("a", "one").fingerprint(), put("a", "two").fingerprint());
    /// assert_ne!(put("a", "one").fingerprint(), put("b", "one").fingerprint());
    /// ```
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        for entry in self.entries() {
            add(match entry.action {
                Action::Check => 0,
                Action::Put(_) => 1,
                Action::Delete => 2,
            });
            // The length first: no other list of ids has the same bytes.
            (entry.id.len() as u64).to_le_bytes().into_iter().for_each(&mut add);
            entry.id.bytes().for_each(&mut add);
        }
        hash
    }

    /// The entries, in order.
    #[inline]
    pub fn entries(&self) -> &[Entry<'a, T>] {
        self.entries.as_slice()
    }

    /// The entries, to be changed where they lie.
    #[inline]
    pub(crate) fn entries_mut(&mut self) -> &mut [Entry<'a, T>] {
        match &mut self.entries {
            OneOrMany::One(one) => slice::from_mut(one),
            OneOrMany::Many(many) => many,
        }
    }

    /// The one entry of a commit of one, else the commit again. For stores with a short way for the common case.
    ///
    /// The write id is lost on the way: ask [`write`](Self::write) first.
    ///
    /// ```
    /// # use ifmatch::{Commit, Entry, Expected};
    /// let commit = Commit::<str>::one(Entry::delete("a", Expected::Present));
    /// assert_eq!(commit.into_one().unwrap().id, "a");
    /// ```
    #[inline]
    pub fn into_one(self) -> Result<Entry<'a, T>, Self> {
        match self.entries {
            OneOrMany::One(entry) => Ok(entry),
            entries => Err(Self { entries, ..self }),
        }
    }

    /// The entries, to take the values out. Allocates for a commit of one: see [`into_one`](Self::into_one).
    pub fn into_entries(self) -> Vec<Entry<'a, T>> {
        self.entries.into_vec()
    }

    /// The same commit with each entry changed: how a layer translates values, or names resources otherwise.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ifmatch::{Commit, Entry, Expected};
    /// use ifmatch::store::{Action, Refusal};
    ///
    /// let texts = Commit::<str>::one(Entry::put("a", Expected::Absent, "one".into()));
    /// let lengths = texts.try_map(|entry| {
    ///     let action = match entry.action {
    ///         Action::Check => Action::Check,
    ///         Action::Put(text) => Action::Put(Arc::new(text.len())),
    ///         Action::Delete => Action::Delete,
    ///     };
    ///     Ok::<_, Refusal>(Entry { id: entry.id, condition: entry.condition, action })
    /// })?;
    /// assert!(matches!(&lengths.entries()[0].action, Action::Put(length) if **length == 3));
    /// # Ok::<_, Refusal>(())
    /// ```
    pub fn try_map<'b, U: ?Sized, E>(
        self,
        change: impl FnMut(Entry<'a, T>) -> Result<Entry<'b, U>, E>,
    ) -> Result<Commit<'b, U>, E> {
        let mut change = change;
        let entries = match self.entries {
            OneOrMany::One(entry) => OneOrMany::One(change(entry)?),
            OneOrMany::Many(entries) => {
                OneOrMany::Many(entries.into_iter().map(change).collect::<Result<_, _>>()?)
            }
        };
        let Self { write, unchanged, fresh, behind, .. } = self;
        Ok(Commit { entries, write, unchanged, fresh, behind })
    }

    /// Refuses a commit that names an id twice. Every store calls it before it does anything else.
    ///
    /// # Errors
    ///
    /// [`Refusal::Duplicate`] with the id.
    ///
    /// ```
    /// # use ifmatch::{Commit, Entry, Expected};
    /// let twice = Commit::<str>::one(Entry::check("a", Expected::Present)).and(Entry::delete("a", Expected::Any));
    /// assert_eq!(twice.check_ids().unwrap_err().to_string(), "`a` appears twice in one commit");
    /// ```
    pub fn check_ids(&self) -> Result<(), Refusal> {
        let OneOrMany::Many(entries) = &self.entries else { return Ok(()) };
        let repeated = match entries.len() {
            // Comparing a few ids is cheaper than hashing them.
            0..=16 => entries.iter().enumerate().find_map(|(at, entry)| {
                entries[..at].iter().any(|earlier| earlier.id == entry.id).then_some(entry)
            }),
            many => {
                let mut seen = HashSet::with_capacity(many);
                entries.iter().find(|entry| !seen.insert(entry.id))
            }
        };
        match repeated {
            Some(entry) => Err(Refusal::Duplicate { id: entry.id.into() }),
            None => Ok(()),
        }
    }
}

impl<'a, T: ?Sized> FromIterator<Entry<'a, T>> for Commit<'a, T> {
    fn from_iter<I: IntoIterator<Item = Entry<'a, T>>>(entries: I) -> Self {
        Self {
            entries: entries.into_iter().collect(),
            write: None,
            unchanged: false,
            fresh: false,
            behind: None,
        }
    }
}

impl<T: ?Sized> Clone for Commit<'_, T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), ..*self }
    }
}

// Hand-written: the derived impl would reach for the user's value.
impl<T: ?Sized> fmt::Debug for Commit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("entries", &self.entries()).field("write", &self.write).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::expected::Expected;
    use crate::store::found::Found;
    use crate::store::version::Versioned;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn a_repeated_id_is_named() {
        let twice: Commit<'_, str> =
            ["a", "b", "a"].map(|id| Entry::delete(id, Expected::Any)).into_iter().collect();

        assert!(matches!(twice.check_ids(), Err(Refusal::Duplicate { id }) if &*id == "a"));
        assert!(Commit::<str>::from_iter([]).check_ids().is_ok());
    }

    #[test]
    fn a_repeated_id_is_named_among_many() {
        let ids: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let many = || ids.iter().map(|id| Entry::<str>::check(id, Expected::Any));

        let twice: Commit<'_, str> = many().chain([Entry::check("39", Expected::Any)]).collect();

        assert!(Commit::from_iter(many()).check_ids().is_ok());
        assert!(matches!(twice.check_ids(), Err(Refusal::Duplicate { id }) if &*id == "39"));
    }

    #[test]
    fn debug_shows_what_is_to_be_done_and_no_value() {
        let seven = Versioned::<str>::new(version("7"), "s3cr3t");
        let put = Entry::<str>::put("a", Expected::Any, "s3cr3t".into());
        let commit = Commit::one(put).and(Entry::check("b", version("7"))).and(Entry::delete("c", &seven));

        let text = format!("{commit:?}");

        assert!(text.starts_with("Commit { entries: [Entry { id: \"a\", "), "{text}");
        for action in ["Put(..)", "Check", "Delete"] {
            assert!(text.contains(&format!("action: {action} }}")), "{text}");
        }
        assert!(!text.contains("s3cr3t"), "{text}");
        let found = [Found::Value(seven), Found::Deleted(version("8")), Found::Nothing];
        assert_eq!(format!("{found:?}"), "[Value(Version(7)), Deleted(Version(8)), Nothing]");
    }
}
