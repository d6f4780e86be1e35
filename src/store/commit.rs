//! [`Commit`], one atomic set of checks, puts and deletes, and [`Committed`], its answer.

use std::collections::HashSet;
use std::fmt;
use std::slice;
use std::sync::Arc;

use crate::store::conflict::{Intent, Kind, Mismatch};
use crate::store::error::{Failure, NotFound, Outcome, Refusal};
use crate::store::expected::Condition;
use crate::store::resource::Resource;
use crate::store::version::{Version, Versioned};
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
}

/// One id in a [`Commit`]: what is expected of it and what is to be done with it.
///
/// ```
/// use ifmatch::{Collection, Commit, Entry, Expected};
/// use ifmatch::store::Intent;
///
/// let put = Entry::put("a", Expected::Absent, "one".into());
/// let check = Entry::check("b", Expected::Absent);
/// let delete = Entry::delete("c", Expected::Any);
/// assert_eq!(delete.intent(), Intent::Delete);
///
/// Collection::<str>::in_memory().commit(Commit::from_iter([put, check, delete])).wait()?;
/// # Ok::<_, ifmatch::Error>(())
/// ```
pub struct Entry<'a, T: ?Sized> {
    /// Which resource.
    pub id: &'a str,
    /// What is believed of it.
    pub condition: Condition,
    /// What is to be done.
    pub action: Action<T>,
}

/// What an [`Entry`] does once the expectations of its whole commit hold.
///
/// ```
/// use ifmatch::{Entry, Expected};
/// use ifmatch::store::Action;
///
/// let entry = Entry::put("a", Expected::Absent, "one".into());
/// assert!(matches!(&entry.action, Action::<str>::Put(text) if &**text == "one"));
/// ```
pub enum Action<T: ?Sized> {
    /// Nothing: the expectation of an id that was read and is not written.
    Check,
    /// Store this value, as a new version.
    Put(Arc<T>),
    /// Remove the value. Where there is none and none was required, nothing happens.
    Delete,
}

/// What a store found at the id of an [`Entry`], for [`Entry::judge`].
///
/// ```
/// use ifmatch::{Entry, Expected, Versioned};
/// use ifmatch::store::Found;
///
/// let found = Found::Value(Versioned::<str>::new("7".parse()?, "text"));
/// assert!(Entry::check("a", Expected::Present).judge(found).is_ok());
/// assert!(Entry::<str>::check("a", Expected::Present).judge(Found::Deleted("8".parse()?)).is_err());
/// # Ok::<_, ifmatch::store::ParseError>(())
/// ```
pub enum Found<T: ?Sized> {
    /// A value.
    Value(Versioned<T>),
    /// The memory of a deletion, and its version.
    Deleted(Version),
    /// Nothing.
    Nothing,
}

/// The answer to a [`Commit`] that was applied: one [`Receipt`] an entry, in the order of the entries.
///
/// ```
/// use ifmatch::{Collection, Commit, Entry, Expected};
///
/// let notes = Collection::<str>::in_memory();
/// let committed = notes.commit(Commit::one(Entry::put("a", Expected::Absent, "one".into()))).wait()?;
/// assert_eq!(committed.version(), Some(notes.fetch("a").wait()?.version));
/// assert_eq!(committed.receipts().len(), 1);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed(OneOrMany<Receipt>);

/// What a commit did to one id.
///
/// ```
/// use ifmatch::{Collection, Expected};
///
/// let notes = Collection::<String>::in_memory();
/// let readme = notes.create("readme", "hello".to_string()).wait()?;
/// let deletion = notes.delete("readme", &readme).wait()?;
/// assert_eq!(deletion.replaced, Some(readme.version));
/// assert!(deletion.version.is_some());
///
/// let nothing = notes.delete("readme", Expected::Any).wait()?;
/// assert_eq!((nothing.version, nothing.replaced), (None, None));
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// The version the id has now: of the value put, of the deletion, or, for a check, of the value found. `None`
    /// where there is no value and nothing was deleted.
    pub version: Option<Version>,
    /// The version of the value that stood there before; `None` where there was none. Linked together, the receipts
    /// of an id are its whole chain of states.
    pub replaced: Option<Version>,
}

impl Receipt {
    /// Whether the id changed: a check leaves the version that it found, and a deletion of nothing leaves nothing.
    pub fn changed(&self) -> bool {
        self.version.is_some() && self.version != self.replaced
    }
}
/// A store broke its contract. The cause of a [`Failure`].
#[derive(Debug, thiserror::Error)]
#[error("the store did not tell what it did with each entry of the commit")]
struct NoReceipt;

/// A list that needs no allocation for one element.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OneOrMany<E> {
    One(E),
    Many(Vec<E>),
}

impl<E> OneOrMany<E> {
    #[inline]
    fn as_slice(&self) -> &[E] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }

    fn into_vec(self) -> Vec<E> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

impl<E> FromIterator<E> for OneOrMany<E> {
    fn from_iter<I: IntoIterator<Item = E>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        match (elements.next(), elements.next()) {
            (Some(one), None) => Self::One(one),
            (None, _) => Self::Many(Vec::new()),
            (Some(first), Some(second)) => {
                let mut many = Vec::with_capacity(2 + elements.size_hint().0);
                many.push(first);
                many.push(second);
                many.extend(elements);
                Self::Many(many)
            }
        }
    }
}

impl<'a, T: ?Sized> Commit<'a, T> {
    /// A commit of one entry, without an allocation.
    #[inline]
    pub fn one(entry: Entry<'a, T>) -> Self {
        Self { entries: OneOrMany::One(entry), write: None, unchanged: false }
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
        Self { write: Some(write), ..self }
    }

    /// The check that stands for a write of what was there already. Nothing has to be written, unless the value is kept
    /// in an old schema: a put in its place, which the answer tells of, brings it up to date.
    pub(crate) fn unchanged(entry: Entry<'a, T>) -> Self {
        Self { unchanged: true, ..Self::one(entry) }
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
    #[cfg(any(feature = "etcd", feature = "postgres"))]
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

    /// The same commit with each entry changed: how a layer translates values.
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
    pub fn try_map<U: ?Sized, E>(
        self,
        change: impl FnMut(Entry<'a, T>) -> Result<Entry<'a, U>, E>,
    ) -> Result<Commit<'a, U>, E> {
        let mut change = change;
        let entries = match self.entries {
            OneOrMany::One(entry) => OneOrMany::One(change(entry)?),
            OneOrMany::Many(entries) => {
                OneOrMany::Many(entries.into_iter().map(change).collect::<Result<_, _>>()?)
            }
        };
        Ok(Commit { entries, write: self.write, unchanged: self.unchanged })
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
        Self { entries: entries.into_iter().collect(), write: None, unchanged: false }
    }
}

impl<T: ?Sized> Clone for Commit<'_, T> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), ..*self }
    }
}

impl<'a, T: ?Sized> Entry<'a, T> {
    /// Holds only if the expectation does, and changes nothing.
    pub fn check(id: &'a str, condition: impl Into<Condition>) -> Self {
        Self { id, condition: condition.into(), action: Action::Check }
    }

    /// Puts a value.
    #[inline]
    pub fn put(id: &'a str, condition: impl Into<Condition>, value: Arc<T>) -> Self {
        Self { id, condition: condition.into(), action: Action::Put(value) }
    }

    /// Deletes the value.
    pub fn delete(id: &'a str, condition: impl Into<Condition>) -> Self {
        Self { id, condition: condition.into(), action: Action::Delete }
    }

    /// What the entry is about to do.
    pub fn intent(&self) -> Intent {
        match self.action {
            Action::Check => Intent::Check,
            Action::Put(_) => Intent::Put,
            Action::Delete => Intent::Delete,
        }
    }

    /// Judges the expectation against what the store found, inside the critical section that applies the write or
    /// with values taken in it.
    ///
    /// # Errors
    ///
    /// The [`Mismatch`] to make a [`Conflict`](crate::Conflict) of.
    ///
    /// ```
    /// use ifmatch::{Entry, Expected, Kind};
    /// use ifmatch::store::Found;
    ///
    /// let entry = Entry::<str>::delete("a", Expected::Present);
    /// let mismatch = entry.judge(Found::Nothing).unwrap_err();
    /// assert!(matches!(mismatch.kind(), Kind::Missing));
    /// ```
    pub fn judge(&self, found: Found<T>) -> Result<(), Mismatch>
    where
        T: Resource,
    {
        let version = match &found {
            Found::Value(current) => Some(current.version),
            Found::Deleted(_) | Found::Nothing => None,
        };
        match self.condition.expected.admits(version) {
            true => Ok(()),
            false => Err(Mismatch::new(self.id, self.condition, self.intent(), found)),
        }
    }
}

impl<T: ?Sized> Clone for Entry<'_, T> {
    fn clone(&self) -> Self {
        Self { id: self.id, condition: self.condition, action: self.action.clone() }
    }
}

impl<T: ?Sized> Action<T> {
    /// The value to be put, if there is one. A check is left.
    pub(crate) fn take_value(&mut self) -> Option<Arc<T>> {
        match std::mem::replace(self, Self::Check) {
            Self::Put(value) => Some(value),
            Self::Check | Self::Delete => None,
        }
    }
}

impl<T: ?Sized> Clone for Action<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Check => Self::Check,
            Self::Put(value) => Self::Put(Arc::clone(value)),
            Self::Delete => Self::Delete,
        }
    }
}

impl Committed {
    /// The answer to a commit of one entry, without an allocation.
    #[inline]
    pub fn one(receipt: Receipt) -> Self {
        Self(OneOrMany::One(receipt))
    }

    /// One receipt an entry, in the order of the entries.
    #[inline]
    pub fn receipts(&self) -> &[Receipt] {
        self.0.as_slice()
    }

    /// The answer again, where it has a receipt for each of so many entries.
    ///
    /// # Errors
    ///
    /// Where it has not: what the store did is unknown.
    pub(crate) fn complete(self, entries: usize) -> Result<Self, Failure> {
        match self.receipts().len() == entries {
            true => Ok(self),
            false => Err(Failure::new(Outcome::Unknown, NoReceipt)),
        }
    }

    /// The receipt of the entry at this place.
    ///
    /// # Errors
    ///
    /// Where the store gave fewer receipts than it was sent entries: what it did is unknown.
    pub(crate) fn receipt(&self, at: usize) -> Result<Receipt, Failure> {
        self.receipts().get(at).copied().ok_or_else(|| Failure::new(Outcome::Unknown, NoReceipt))
    }

    /// The version of the value that the entry at this place put.
    ///
    /// # Errors
    ///
    /// As [`receipt`](Self::receipt), and where the receipt tells no version.
    #[inline]
    pub(crate) fn put_version(&self, at: usize) -> Result<Version, Failure> {
        match self.receipts().get(at) {
            Some(Receipt { version: Some(version), .. }) => Ok(*version),
            _ => Err(Failure::new(Outcome::Unknown, NoReceipt)),
        }
    }

    /// The version of the first entry's value now, which is the whole answer to a commit of one put.
    #[inline]
    pub fn version(&self) -> Option<Version> {
        self.receipts().first()?.version
    }
}

impl FromIterator<Receipt> for Committed {
    fn from_iter<I: IntoIterator<Item = Receipt>>(receipts: I) -> Self {
        Self(receipts.into_iter().collect())
    }
}

impl NotFound {
    /// What `mismatch` says, where all it says is that the resource does not exist.
    pub(crate) fn from_mismatch(mismatch: &Mismatch) -> Option<Self> {
        match mismatch.kind() {
            Kind::Missing => Some(Self::new(mismatch.id())),
            Kind::Deleted => Some(Self::deleted(mismatch.id())),
            _ => None,
        }
    }
}

// Hand-written, as the next two: the derived impls would reach for the user's value.
impl<T: ?Sized> fmt::Debug for Action<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "Check",
            Self::Put(_) => "Put(..)",
            Self::Delete => "Delete",
        })
    }
}

impl<T: ?Sized> fmt::Debug for Entry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("expectation", &self.condition)
            .field("action", &self.action)
            .finish()
    }
}

impl<T: ?Sized> fmt::Debug for Commit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("entries", &self.entries()).field("write", &self.write).finish()
    }
}

impl<T: ?Sized> fmt::Debug for Found<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(current) => f.debug_tuple("Value").field(&current.version).finish(),
            Self::Deleted(version) => f.debug_tuple("Deleted").field(version).finish(),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::expected::Expected;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn judging_tells_the_five_kinds_apart() {
        let value = || Found::Value(Versioned::<str>::new(version("2"), "v"));
        let judged = |expected: Expected, found: Found<str>| {
            Entry::<str>::check("a", expected).judge(found).map_err(|mismatch| mismatch.kind().clone())
        };

        assert_eq!(judged(version("1").into(), value()), Err(Kind::Stale));
        assert_eq!(judged(Expected::Absent, value()), Err(Kind::Exists));
        assert_eq!(judged(Expected::Present, Found::Nothing), Err(Kind::Missing));
        assert_eq!(judged(version("2").into(), Found::Deleted(version("2"))), Err(Kind::Deleted));
        assert_eq!(judged(Expected::Absent, Found::Deleted(version("2"))), Ok(()));
        assert_eq!(judged(version("2").into(), value()), Ok(()));
        assert_eq!(judged(Expected::Any, Found::Nothing), Ok(()));
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
