//! [`Step`], what every commit of a collection passes, and [`Exit`], where it hears how that ended.

use std::fmt;

use crate::collection::database::along::Along;
use crate::collection::database::part::Part;
use crate::store::{Committed, Error, Resource};

/// What every commit of a [`Database`](crate::Database)'s collection passes, whichever way it comes: alone, as part of a
/// transaction over several collections, or as an entry that rides along with the commit of another one.
///
/// It may refuse, and it may add entries for other collections, which are applied with the commit or not at all: an
/// outbox, an audit trail, the check of a lease. A layer that wraps a store sees one store's commits only; what has
/// to hold for a collection of a database is a step. [`Guarded`](crate::Guarded), [`Cached`](crate::Cached) and
/// [`Observed`](crate::Observed) are both.
///
/// A commit may be sent more than once, each time through all steps, and one commit may pass a step more than once: with
/// the entries of the caller, and with those that another step added. Checks pass too, those of reads among them: look at
/// the action. Where an answer was lost, an [`Exit`] hears that, also if the commit turns out to have been applied. A step
/// that holds its database, or its own collection, keeps the store open for ever. Steps run before anything is sent and hold up the
/// caller: they must not block.
///
/// ```
/// use ifmatch::collection::{Along, Exit, Part, Step};
/// use ifmatch::store::Action;
/// use ifmatch::{Collection, Database, Entry, Error, Expected};
///
/// /// Writes down each new state of an order.
/// struct Audit {
///     trail: Collection<String>,
/// }
///
/// impl Step<u32> for Audit {
///     fn enter(&self, part: &Part<'_, u32>, along: &mut Along<'_>) -> Result<Exit, Error> {
///         for entry in part.entries() {
///             if let Action::Put(count) = &entry.action {
///                 along.add(&self.trail, Entry::put(entry.id, Expected::Any, format!("now {count}").into()))?;
///             }
///         }
///         Ok(Exit::silent())
///     }
/// }
///
/// # #[cfg(feature = "json")] {
/// let shop = Database::in_memory();
/// let trail = shop.collection::<String>("trail")?;
/// let orders = shop.define::<u32>("orders")?.step(Audit { trail: trail.clone() }).open()?;
///
/// orders.create("o7", 3).wait()?;
/// assert_eq!(*trail.fetch("o7").wait()?.value, "now 3");
/// # }
/// # Ok::<_, Error>(())
/// ```
pub trait Step<T: Resource + ?Sized>: Send + Sync + 'static {
    /// Whether it decides on what a commit would write over: then [`Part::base`] shows it. Default: no.
    ///
    /// It is read once for all steps that ask, and costs a read for each entry that writes. The commit then applies only to
    /// what was read. Where somebody else changed it in between, and the caller's own expectation still holds, all steps are
    /// asked again: so a put that expects nothing still never conflicts. Whoever lost such a race stands in a line with the
    /// others who did, as for [`modify`](crate::Collection::modify). A value that can't be read can't be written over.
    fn wants_base(&self) -> bool {
        false
    }

    /// Looks at the part of a commit that is of this collection, before anything is sent.
    ///
    /// # Errors
    ///
    /// Any error refuses the whole commit: nothing is written, and the caller gets this error. A conflict is joined by those
    /// of the other steps and of the commit's own expectations, so that the caller hears of all at once: for that the commit
    /// is sent as checks alone.
    fn enter(&self, part: &Part<'_, T>, along: &mut Along<'_>) -> Result<Exit, Error>;
}

/// Where a [`Step`] hears how a commit ended that it let pass.
///
/// ```
/// use ifmatch::collection::Exit;
///
/// let exit = Exit::then(|outcome| match outcome {
///     Ok(committed) => println!("applied: {:?}", committed.receipts()),
///     Err(error) => println!("not applied, or not for sure: {error}"),
/// });
/// # drop(exit);
/// ```
#[must_use = "what ends with a commit has to be given to it"]
pub struct Exit(Option<Box<Hear>>);

type Hear = dyn FnOnce(Result<&Committed, &Error>) + Send;

impl Exit {
    /// Hears nothing.
    pub fn silent() -> Self {
        Self(None)
    }

    /// Runs `hear` with the receipts of the part, in the order of its entries, or with what became of the whole commit. It
    /// is dropped without a call where nobody waits for the answer any more, which leaves the outcome unknown.
    pub fn then(hear: impl FnOnce(Result<&Committed, &Error>) + Send + 'static) -> Self {
        Self(Some(Box::new(hear)))
    }

    pub(super) fn is_silent(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn end(self, outcome: Result<&Committed, &Error>) {
        if let Some(hear) = self.0 {
            hear(outcome);
        }
    }
}

impl fmt::Debug for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_silent() { "Exit(silent)" } else { "Exit(..)" })
    }
}
