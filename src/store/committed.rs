//! [`Committed`], the answer to a commit: a receipt for each entry.

use crate::base::OneOrMany;
use crate::store::error::{Failure, Outcome};
use crate::store::version::Version;

/// The answer to a [`Commit`](crate::Commit) that was applied: one [`Receipt`] an entry, in the order of the entries.
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

    /// The receipts of the first entries alone.
    pub(crate) fn first(self, entries: usize) -> Self {
        match self.receipts().len() > entries {
            true => self.receipts()[..entries].iter().copied().collect(),
            false => self,
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
