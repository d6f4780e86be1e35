//! What a lease does to commits: it refuses the writes of everybody else, and those of a holder that is none any more.

use std::sync::Arc;
use std::time::Duration;

use crate::collection::{Collection, Definition, Escort, Guard, Guarded, Tell};
use crate::lease::lease::Lease;
use crate::lease::leases::Leases;
use crate::lease::record::Ownership;
use crate::store::{Error, Mismatch, Resource, shown};

/// The rule that refuses what is written under a lease that is lost.
pub(super) const LOST: &str = "lease-lost";

/// The refusal of a write by whoever holds the lease.
fn held(leases: &Leases) -> Tell {
    // Nothing that holds the database: the collection it is told for is one of that.
    let (watched, clock) = (Arc::clone(leases.watched()), Arc::clone(leases.clock()));
    Arc::new(move |written, of_lease| {
        let refused = match of_lease.current::<Ownership>() {
            Some(held) => {
                let silent = watched.silence(written.id, held.version, clock.now());
                Mismatch::locked(written.id, &*held.value.owner, held.value.left(silent))
            }
            // A record of a later format.
            None => Mismatch::locked(written.id, "somebody", Duration::from_secs(1)),
        };
        of_entry(&written, refused)
    })
}

/// That the lease is lost which something was to be written under, told of that.
pub(super) fn lost(id: &str, of_lease: &Mismatch) -> Mismatch {
    let now = match of_lease.current::<Ownership>() {
        Some(held) => format!(", and `{}` holds it", shown(&held.value.owner)),
        None => String::new(),
    };
    Mismatch::state(id, LOST, format!("its lease {} is lost{now}", of_lease.name()))
}

/// As the mismatch of the entry that was to be written.
fn of_entry(written: &Guarded<'_>, refused: Mismatch) -> Mismatch {
    refused.in_collection(Arc::clone(written.collection)).with_intent(written.intent)
}

impl<T: Resource> Definition<T> {
    /// Refuses the writes of every id that somebody holds the lease of the same id of, but for those of the holder: see
    /// [`Collection::under`]. The refusal is a [`Conflict`](crate::Conflict) of
    /// [`Kind::Locked`](crate::Kind::Locked), HTTP status 423. A write does not look when the lease was last renewed: the time
    /// that it tells is all that the lease lasts, and less only where another one has looked, as one who waits or a
    /// [sweep](Leases::sweep). **Whoever is only refused never takes over.**
    ///
    /// It costs one more entry, a check, for each that writes. Opening the collection fails where the leases are of another
    /// database.
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
        self.guarded_by(leases.owners(), held(leases))
    }
}

impl<T: Resource> Collection<T> {
    /// The collection of one who holds this lease: each of its writes applies only while the lease is held, and is let pass
    /// where the collection is [leased](Definition::leased). Its ids need not be that of the lease. Reads are those of the
    /// collection.
    ///
    /// A write under a lease that was lost is a [`Conflict`](crate::Conflict) of [`Kind::State`](crate::Kind::State) with the
    /// rule `lease-lost`, whoever holds it by now: HTTP status 409, and no wait helps.
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
    /// leases.force_release("nightly", lease.token(), "ann", "it hangs").wait()?;
    /// assert!(reports.put("today", "all is well".to_string()).wait().is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn under(&self, lease: &Lease) -> Result<Self, Error> {
        let lost: Tell = Arc::new(|written, of_lease| of_entry(&written, lost(written.id, &of_lease)));
        let guard = Guard::unchanged(lease.owners(), lease.id(), lease.token(), lost);
        self.escorted(Escort::Guard(Arc::new(guard)), lease.owners())
    }
}
