//! [`Part`], what a [`Step`](crate::collection::Step) sees of a commit.

use std::fmt;

use crate::base::OneOrMany;
use crate::store::{Commit, Entry, Refusal, Version, Versioned};

/// The part of a commit that is of one collection, as its [`Step`](crate::collection::Step)s see it.
pub struct Part<'a, T: ?Sized> {
    commit: &'a Commit<'a, T>,
    /// One an entry.
    bases: OneOrMany<Base<T>>,
}

/// What a commit would write over.
pub(super) enum Base<T: ?Sized> {
    /// Nobody asked.
    Unread,
    /// What stands there, which may be nothing.
    Read(Option<Versioned<T>>),
}

impl<'a, T: ?Sized> Part<'a, T> {
    pub(super) fn new(commit: &'a Commit<'a, T>, bases: OneOrMany<Base<T>>) -> Self {
        Self { commit, bases }
    }

    /// What its entries would write over.
    pub(super) fn into_bases(self) -> impl Iterator<Item = Base<T>> {
        self.bases.into_vec().into_iter()
    }

    /// The entries, in the order of the commit. Their expectations are the caller's own.
    pub fn entries(&self) -> &[Entry<'a, T>] {
        self.commit.entries()
    }

    /// The same as a commit.
    pub fn commit(&self) -> &Commit<'a, T> {
        self.commit
    }

    /// What stands where the entry at this place writes, or `None` where nothing does. The commit applies only if it still
    /// stands there: else the step is asked again.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unsupported`] of an entry that only checks, and where no step of the collection has
    /// [asked](crate::collection::Step::wants_base).
    pub fn base(&self, at: usize) -> Result<Option<&Versioned<T>>, Refusal> {
        match self.bases.as_slice().get(at) {
            Some(Base::Read(base)) => Ok(base.as_ref()),
            _ => Err(Refusal::Unsupported { what: "to show a step what stood there: none asked" }),
        }
    }
}

impl<T: ?Sized> Base<T> {
    /// The same, changed by `change`.
    pub(super) fn map<U: ?Sized>(
        &self,
        change: impl FnOnce(Versioned<T>) -> Option<Versioned<U>>,
    ) -> Base<U> {
        self.clone().map_owned(change)
    }

    pub(super) fn map_owned<U: ?Sized>(
        self,
        change: impl FnOnce(Versioned<T>) -> Option<Versioned<U>>,
    ) -> Base<U> {
        match self {
            Self::Unread => Base::Unread,
            Self::Read(base) => Base::Read(base.and_then(change)),
        }
    }
}

impl<T: ?Sized> Base<T> {
    /// Whether something else stands there now.
    pub(super) fn is_not(&self, there: Option<Version>) -> bool {
        matches!(self, Self::Read(base) if base.as_ref().map(|base| base.version) != there)
    }

    /// What stands there, if that was read and is something.
    pub(super) fn known(&self) -> Option<Versioned<T>> {
        match self {
            Self::Unread => None,
            Self::Read(base) => base.clone(),
        }
    }
}

impl<T: ?Sized> Clone for Base<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Unread => Self::Unread,
            Self::Read(base) => Self::Read(base.clone()),
        }
    }
}

// Hand-written: the derived impl would reach for the user's value.
impl<T: ?Sized> fmt::Debug for Part<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("commit", &self.commit).finish_non_exhaustive()
    }
}
