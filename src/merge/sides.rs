//! [`Sides`], the three values of a place.

use serde_json::Value;

/// The three values of a place: what both started from, and what each made of it. `None` where there is nothing, which is not
/// `null`.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Sides<'v> {
    /// What both started from.
    pub base: Option<&'v Value>,
    /// What the one who merges made of it.
    pub mine: Option<&'v Value>,
    /// What the other made of it.
    pub theirs: Option<&'v Value>,
}

impl<'v> Sides<'v> {
    pub(super) fn of(base: &'v Value, mine: &'v Value, theirs: &'v Value) -> Self {
        Self { base: Some(base), mine: Some(mine), theirs: Some(theirs) }
    }

    /// Those of a place below.
    pub(super) fn below(&self, step: impl Fn(&'v Value) -> Option<&'v Value>) -> Self {
        let Self { base, mine, theirs } = *self;
        Self { base: base.and_then(&step), mine: mine.and_then(&step), theirs: theirs.and_then(&step) }
    }
}

// Hand-written: the derived impl would print the user's values.
impl std::fmt::Debug for Sides<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sides").finish_non_exhaustive()
    }
}
