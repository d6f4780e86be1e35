//! What a lease does to commits: it refuses the writes of everybody else, and those of a holder that is none any more.

use std::sync::Arc;
use std::time::Duration;

use crate::collection::{Collection, Definition, Escort, Guard, Guarded};
use crate::lease::lease::Lease;
use crate::lease::leases::Leases;
use crate::lease::record::Ownership;
use crate::store::{Error, Mismatch, Resource};

/// The refusal of a write by whoever holds the lease.
fn held(written: Guarded<'_>, of_lease: Mismatch) -> Mismatch {
    let refused = match of_lease.current::<Ownership>() {
        Some(held) => Mismatch::locked(written.id, &*held.value.owner, held.value.lasts()),
        // A record of a later format.
        None => Mismatch::locked(written.id, "somebody", Duration::from_secs(1)),
    };
    refused.in_collection(Arc::clone(written.collection)).with_intent(written.intent)
}

/// The refusal of a write under a lease that is lost.
pub(super) fn lost(id: &str, of_lease: Mismatch) -> Mismatch {
    match of_lease.current::<Ownership>() {
        Some(held) => Mismatch::locked(id, &*held.value.owner, held.value.lasts()),
        None => Mismatch::state(id, "lease-lost", "the lease it was to be written under is no longer held"),
    }
}

/// The same of the entry that was to be written.
fn lost_by(written: Guarded<'_>, of_lease: Mismatch) -> Mismatch {
    lost(written.id, of_lease).in_collection(Arc::clone(written.collection))
}

impl<T: Resource> Definition<T> {
    /// Refuses the writes of every id that somebody holds the lease of the same id of, but for those of the holder: see
    /// [`Collection::under`]. The refusal is a [`Conflict`](crate::Conflict) of
    /// [`Kind::Locked`](crate::Kind::Locked), HTTP status 423. It costs one more entry, a check, for each that writes. Opening the
    /// collection fails where the leases are of another database.
    ///
    /// ```
    /// use ifmatch::lease::Leases;
    /// use ifmatch::Database;
    ///
    /// let office = Database::in_memory();
    /// let leases = Leases::new(&office, "leases")?;
    /// let articles = office.define::<String>("articles")?.leased(&leases).open()?;
    ///
    /// let lease = leases.acquire("a1", "ann").wait()?;
    /// assert!(articles.create("a1", "text".to_string()).wait().is_err());
    /// # drop(lease);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn leased(self, leases: &Leases) -> Self {
        self.guarded_by(leases.owners(), held)
    }
}

impl<T: Resource> Collection<T> {
    /// The collection of one who holds this lease: each of its writes applies only while the lease is held, and is let pass
    /// where the collection is [leased](Definition::leased). Its ids need not be that of the lease. Reads are those of the
    /// collection.
    ///
    /// A write under a lease that was lost is a [`Conflict`](crate::Conflict): of
    /// [`Kind::Locked`](crate::Kind::Locked) where another one holds it, HTTP status 423, else of
    /// [`Kind::State`](crate::Kind::State) with the rule `lease-lost`, 409.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the collection and the lease are not of the same
    /// database.
    ///
    /// ```
    /// use ifmatch::lease::Leases;
    /// use ifmatch::Database;
    ///
    /// let office = Database::in_memory();
    /// let leases = Leases::new(&office, "leases")?;
    /// let reports = office.collection::<String>("reports")?;
    ///
    /// let lease = leases.acquire("nightly", "worker-1").wait()?;
    /// let reports = reports.under(&lease)?;
    /// leases.force_release("nightly", "ann", "it hangs").wait()?;
    /// assert!(reports.put("today", "all is well".to_string()).wait().is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn under(&self, lease: &Lease) -> Result<Self, Error> {
        let guard = Guard::unchanged(lease.owners(), lease.id(), lease.token(), lost_by);
        self.escorted(Escort::Guard(Arc::new(guard)), lease.owners())
    }
}
