//! [`Lease`], what a holder has.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::collection::Collection;
use crate::lease::guard::{LOST, lost};
use crate::lease::leases::Leases;
use crate::lease::record::{Heartbeat, Ownership};
use crate::store::{Conflict, Error, Kind, Mismatch, Outcome, Reply, Version};

/// A lease that was acquired from [`Leases`]. It is held until it is released or taken over, and not until this is dropped:
/// a holder that is gone without a release costs whoever comes next the time that it lasts.
///
/// Write through [`Collection::under`](crate::Collection::under). Keep it by [`during`](Self::during), by
/// [`keep`](Self::keep), or by one's own calls of [`renew`](Self::renew).
#[must_use = "it is held until it is released, or for as long as it lasts"]
pub struct Lease {
    leases: Leases,
    id: String,
    owner: String,
    lasts: Duration,
    token: Version,
    /// When the last renewal that came through was begun, by the holder's own clock.
    renewed: Mutex<Instant>,
    /// Whether a release was sent, and nobody knows what came of it.
    leaving: AtomicBool,
}

impl Lease {
    pub(super) fn new(leases: Leases, id: &str, owner: &str, token: Version, begun: Instant) -> Self {
        let (id, owner, lasts) = (id.to_owned(), owner.to_owned(), leases.lasts());
        let (renewed, leaving) = (Mutex::new(begun), AtomicBool::new(false));
        Self { leases, id, owner, lasts, token, renewed, leaving }
    }

    /// The id of the lease.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Who holds it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The fencing token: the version of the holder's record. Its [bits](Version::to_bits) are greater than those of every
    /// holder before, so that another system that is given it can refuse smaller ones.
    pub fn token(&self) -> Version {
        self.token
    }

    /// How long the lease lasts if it is not renewed, by this program's clock: zero where somebody may have taken it over. A
    /// machine that was suspended may not have counted that time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let lease = leases.acquire("a1", "ann").wait()?;
    /// assert!(lease.remaining() > Duration::from_secs(1));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn remaining(&self) -> Duration {
        let passed = self.leases.clock().now().saturating_duration_since(*self.renewed.lock());
        self.lasts.saturating_sub(passed)
    }

    /// Tells that the holder lives. To be called several times in the time that the lease lasts.
    ///
    /// # Errors
    ///
    /// A [`Conflict`] of [`Kind::State`] with the rule `lease-lost` where the lease is lost, whoever holds it by now; HTTP status
    /// 409. Any other error loses nothing: renew again while there is time [remaining](Self::remaining).
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let lease = leases.acquire("a1", "ann").wait()?;
    /// lease.renew().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn renew(&self) -> Reply<'_, ()> {
        Reply::pending(async move {
            let begun = self.leases.clock().now();
            let mut transaction = self.leases.database().transaction();
            transaction.check(self.owners(), &self.id, self.token)?;
            transaction.put(self.leases.beats(), &self.id, Heartbeat {});
            transaction.commit().await.map_err(|error| self.told(error))?;
            let mut renewed = self.renewed.lock();
            *renewed = begun.max(*renewed);
            Ok(())
        })
    }

    /// Renews the lease until it is lost or can't be renewed, which is the only answer: an error.
    ///
    /// It renews after a third of the time that the lease lasts, and what fails in passing again at once, until a tenth of
    /// the time is left; beside a renewal that takes long it sends another one each fifth of the time. Dropping it ends the
    /// renewing, and leaves the lease held.
    ///
    /// # Errors
    ///
    /// Those of [`renew`](Self::renew) that tell of a loss, or that will not pass, as of a full disk, at once; a conflict with
    /// the rule `lease-lost` where no renewal came through in time.
    pub fn keep(&self) -> Reply<'_, Infallible> {
        Reply::pending(async move {
            let clock = self.leases.clock();
            loop {
                let before = *self.renewed.lock();
                let due = (self.lasts / 3).saturating_sub(self.lasts - self.remaining());
                clock.sleep(due).await;
                // Not by the time that is left: a clock that stands still, or has stepped back, tells of no end.
                if *self.renewed.lock() != before {
                    continue;
                }
                // One that hangs must not keep another one from coming through, and may do so itself yet.
                let mut renewing = Vec::new();
                loop {
                    let spare = self.remaining().saturating_sub(self.lasts / 10);
                    if spare.is_zero() {
                        return Err(self.silent());
                    }
                    renewing.push(self.renew());
                    match first_of(any_of(&mut renewing), clock.sleep(spare.min(self.lasts / 5))).await {
                        Some(Ok(())) => break,
                        Some(Err(Error::Failed(failure))) if !failure.is_lasting() => {
                            clock.sleep(spare.min(self.lasts / 20)).await;
                        }
                        Some(Err(error)) => return Err(error),
                        None => {}
                    }
                }
            }
        })
    }

    /// Does `work` while the lease is renewed; as soon as the lease is lost, the work is dropped where it is. What it had
    /// written under the lease by then stands, and nothing is released. Both run as one task: work that blocks its thread is
    /// neither renewed nor stopped meanwhile.
    ///
    /// # Errors
    ///
    /// The work's own, and those of [`keep`](Self::keep).
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::{Database, Error};
    /// # let office = Database::in_memory();
    /// let leases = Leases::new(&office, "leases")?;
    /// let lease = leases.acquire("nightly", "worker-1").wait()?;
    /// let sum = lease.during(async { Ok::<_, Error>(1 + 1) }).wait()?;
    /// assert_eq!(sum, 2);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn during<'a, R, E>(&'a self, work: impl Future<Output = Result<R, E>> + Send + 'a) -> Reply<'a, R, E>
    where
        R: Send + 'a,
        E: From<Error> + Send + 'a,
    {
        Reply::pending(async move {
            let (mut work, mut keep) = (pin!(work), self.keep());
            poll_fn(|context| {
                if let Poll::Ready(done) = work.as_mut().poll(context) {
                    return Poll::Ready(done);
                }
                let lost = std::task::ready!(pin!(&mut keep).poll(context));
                Poll::Ready(lost.map(|never| match never {}).map_err(E::from))
            })
            .await
        })
    }

    /// Ends the lease, so that another one can acquire it at once.
    ///
    /// # Errors
    ///
    /// As [`renew`](Self::renew). Where it is a failure, release it again: else the lease may be held until it is taken
    /// over. That it is held by nobody then is no error: it may be so by the first release.
    pub fn release(&self) -> Reply<'_, ()> {
        Reply::pending(async move {
            let mut transaction = self.leases.database().transaction();
            transaction.check(self.owners(), &self.id, self.token)?;
            transaction.delete(self.owners(), &self.id);
            transaction.delete(self.leases.beats(), &self.id);
            // So it stays where the answer is lost, or never taken.
            let again = self.leaving.swap(true, Ordering::Relaxed);
            let answer = transaction.commit().await;
            if !again && answer.as_ref().is_err_and(|error| error.outcome() != Outcome::Unknown) {
                self.leaving.store(false, Ordering::Relaxed);
            }
            match answer {
                Err(Error::Conflict(conflict)) if again && self.is_nobodys(&conflict) => {}
                answer => drop(answer.map_err(|error| self.told(error))?),
            }
            self.leases.watched().forget(&self.id);
            Ok(())
        })
    }

    pub(super) fn owners(&self) -> &Collection<Ownership> {
        self.leases.owners()
    }

    /// What a conflict over the holder's record means to the holder.
    fn told(&self, error: Error) -> Error {
        let Error::Conflict(conflict) = error else { return error };
        let owners = self.owners().name();
        let told = |mismatch: Mismatch| {
            // Any other one, as a rule of the trail, says for itself what it means.
            if mismatch.collection() != owners {
                return mismatch;
            }
            lost(&self.id, &mismatch).in_collection(owners.unwrap_or_default())
        };
        conflict.map(told).into()
    }

    /// Whether nobody holds it.
    fn is_nobodys(&self, conflict: &Conflict) -> bool {
        let of_owners = |mismatch: &Mismatch| mismatch.collection() == self.owners().name();
        let mut mismatches = conflict.mismatches().iter();
        mismatches.any(|one| of_owners(one) && matches!(one.kind(), Kind::Missing | Kind::Deleted))
    }

    fn silent(&self) -> Error {
        let owners = self.owners().name().unwrap_or_default();
        let refused = Mismatch::state(&self.id, LOST, "its lease could not be renewed in time");
        Conflict::from(refused.in_collection(owners)).into()
    }
}

/// What the first of these to be done gives, which is taken out.
async fn any_of<A, E>(replies: &mut Vec<Reply<'_, A, E>>) -> Result<A, E> {
    poll_fn(|context| {
        for at in 0..replies.len() {
            if let Poll::Ready(answer) = pin!(&mut replies[at]).poll(context) {
                drop(replies.swap_remove(at));
                return Poll::Ready(answer);
            }
        }
        Poll::Pending
    })
    .await
}

/// What the future gives, or `None` where the time is over before.
pub(super) async fn first_of<F: Future>(future: F, time: impl Future<Output = ()>) -> Option<F::Output> {
    let (mut future, mut time) = (pin!(future), pin!(time));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        time.as_mut().poll(context).map(|()| None)
    })
    .await
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id)
            .field("owner", &self.owner)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
