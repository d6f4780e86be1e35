//! [`Waiting`], one who wants a lease.

use std::time::{Duration, Instant};

use crate::collection::DatabaseTransaction;
use crate::lease::lease::{Lease, first_of};
use crate::lease::leases::{Leases, trail_of};
use crate::lease::record::{Ended, Heartbeat, Ownership};
use crate::lease::watched::Beat;
use crate::store::{
    Changes, Committed, Conflict, Error, Expected, IdProblem, MAX_ID_BYTES, Outcome, Refusal, Resolution,
    Start, Version, Versioned, WriteId, shortened,
};

/// The longest name of an owner.
const MAX_OWNER_BYTES: usize = 512;

/// How often one who acquires at once may find that it changed hands while it looked.
const MOST_TRIES: u32 = 16;

/// How often the first in line looks, in the time that the lease lasts.
const LOOKS: u32 = 10;

/// What part of that time the line may stand still beyond the next look before those in it look by themselves.
const STALLS: u32 = 3;

/// The shortest time between two such looks.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// The longest one where nobody tells of a release.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// One who wants a lease.
pub(super) struct Waiting<'a> {
    leases: &'a Leases,
    id: &'a str,
    owner: &'a str,
    /// Not only looks, or acquires at once.
    waits: bool,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(leases: &'a Leases, id: &'a str, owner: &'a str) -> Self {
        Self { leases, id, owner, waits: false }
    }

    pub(super) async fn at_once(self) -> Result<Lease, Error> {
        self.check_names()?;
        let mut tried = 0;
        loop {
            match self.look().await? {
                Looked::Acquired(lease) => return Ok(*lease),
                Looked::Held(held, silent) => return Err(self.locked(&held, silent)),
                Looked::Outrun(conflict) => {
                    tried += 1;
                    if tried == MOST_TRIES {
                        return Err(conflict.exhausted(tried).into());
                    }
                    // It may be over already.
                    self.leases.clock().sleep(SHORTEST_LOOK).await;
                }
            }
        }
    }

    pub(super) async fn within(mut self, within: Duration) -> Result<Lease, Error> {
        self.check_names()?;
        self.waits = true;
        let clock = self.leases.clock();
        let begun = clock.now();
        let left = || within.saturating_sub(clock.now().saturating_duration_since(begun));
        let mut ticket = self.leases.waiting().join(self.id, None).stalling(self.leases.lasts() / STALLS);
        if first_of(ticket.called(), clock.sleep(within)).await.is_none() {
            drop(ticket);
            return self.at_once().await;
        }
        let mut changes = None::<Changes<Ownership>>;
        // What it sent, and heard nothing of.
        let mut doubt = None::<(WriteId, Instant)>;
        loop {
            // Told of changes from before it looks: none is missed. Without them it looks now and then.
            if changes.is_none() && self.leases.database().abilities().watch {
                changes = self.leases.owners().watch(Start::Now).await.ok();
            }
            let settled = match doubt {
                Some((write, begun)) => self.settle(write, begun).await,
                None => Ok(None),
            };
            let looked = match settled {
                Ok(Some(lease)) => return Ok(lease),
                Ok(None) => {
                    let begun = clock.now();
                    let looked = self.look().await;
                    doubt = in_doubt(&looked).map(|write| (write, begun));
                    looked
                }
                Err(error) => Err(error),
            };
            let (error, rest) = match looked {
                Ok(Looked::Acquired(lease)) => return Ok(*lease),
                // It changed hands in between.
                Ok(Looked::Outrun(_)) if !left().is_zero() => {
                    clock.sleep(SHORTEST_LOOK.min(left())).await;
                    continue;
                }
                Ok(Looked::Outrun(_)) => return self.at_once().await,
                Ok(Looked::Held(held, silent)) => {
                    let lasts = held.value.lasts();
                    let look = look(lasts, changes.is_some());
                    let due = lasts.saturating_sub(silent);
                    (self.locked(&held, silent), if due.is_zero() { look } else { look.min(due) })
                }
                // It may pass.
                Err(error @ (Error::Failed(_) | Error::Corrupt(_))) => {
                    changes = None;
                    (error, look(self.leases.lasts(), false))
                }
                Err(error) => return Err(error),
            };
            let lasting = matches!(&error, Error::Failed(failure) if failure.is_lasting());
            let left = left();
            if left.is_zero() || lasting {
                return Err(error);
            }
            let rest = rest.min(left);
            ticket.works(rest);
            self.rest(&mut changes, rest).await;
        }
    }

    /// Acquires it where nobody holds it, or where its holder was silent for long enough.
    async fn look(&self) -> Result<Looked, Error> {
        let Some(held) = self.leases.owners().get(self.id).await? else {
            return self.create().await;
        };
        let (beat, silent) = self.silent(&held).await?;
        if silent < held.value.lasts() || !held.value.is_understood() {
            return Ok(Looked::Held(held, silent));
        }
        self.take_over(&held, beat).await
    }

    /// What became of an acquisition that was begun then, and whose answer was lost: the lease, if it is still held. While
    /// that can't be asked it is an error: a look would find its own lease to be another one's.
    async fn settle(&self, write: WriteId, begun: Instant) -> Result<Option<Lease>, Error> {
        let Resolution::Applied(committed) = self.leases.owners().resolve(write).await? else {
            return Ok(None);
        };
        let lease = self.lease(&committed, begun)?;
        match lease.renew().await {
            Ok(()) => Ok(Some(lease)),
            // It was taken over meanwhile.
            Err(Error::Conflict(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Ends the lease where its holder was silent for long enough, and acquires nothing. Whether it did.
    pub(super) async fn end_silent(&self, held: &Versioned<Ownership>) -> Result<bool, Error> {
        let (beat, silent) = self.silent(held).await?;
        if silent < held.value.lasts() || !held.value.is_understood() {
            return Ok(false);
        }
        let mut transaction = self.takeover(held, beat)?;
        transaction.delete(self.leases.owners(), self.id);
        transaction.delete(self.leases.beats(), self.id);
        match transaction.commit().await {
            Ok(_) => {
                self.leases.watched().forget(self.id);
                Ok(true)
            }
            // Its holder lives, or somebody was faster.
            Err(Error::Conflict(conflict)) if self.is_outrun(&conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The heartbeat of the holder, and for how long it has been this one as far as is known.
    async fn silent(&self, held: &Versioned<Ownership>) -> Result<(Option<Version>, Duration), Error> {
        let beat = self.leases.beats().get(self.id).await?.map(|beat| beat.version);
        // Not before the answer: what is counted has to be less than the time that truly passed.
        let now = self.leases.clock().now();
        let seen = Beat { token: held.version, beat, lasts: held.value.lasts() };
        let since = self.leases.watched().since(self.id, seen, self.waits, now);
        Ok((beat, now.saturating_duration_since(since)))
    }

    /// What ends the holder's lease, if the holder is as silent as it was, and keeps why.
    fn takeover(
        &self,
        held: &Versioned<Ownership>,
        beat: Option<Version>,
    ) -> Result<DatabaseTransaction, Error> {
        let mut transaction = self.leases.database().transaction();
        transaction.check(self.leases.owners(), self.id, held.version)?;
        transaction.check(self.leases.beats(), self.id, beat.map_or(Expected::Absent, Expected::from))?;
        let reason = format!("its holder was silent for {:?}", held.value.lasts());
        let ended = Ended::new(&held.value.owner, self.owner, &reason);
        transaction.create(self.leases.trails(), &self.leases.trail_id(self.id, held.version), ended)?;
        Ok(transaction)
    }

    /// Waits until something happens to the lease, and no longer than this.
    async fn rest(&self, changes: &mut Option<Changes<Ownership>>, time: Duration) {
        let clock = self.leases.clock();
        let Some(feed) = changes else { return clock.sleep(time).await };
        let told = async {
            loop {
                let batch = feed.next().await?;
                if batch.changes.iter().any(|change| &*change.id == self.id) {
                    return Ok::<_, Error>(());
                }
            }
        };
        if let Some(Err(_)) = first_of(told, clock.sleep(time)).await {
            // It is opened anew for the next look. One that fails at once must not make a loop that never rests.
            *changes = None;
            clock.sleep(time).await;
        }
    }

    /// Takes what nobody holds.
    async fn create(&self) -> Result<Looked, Error> {
        let begun = self.leases.clock().now();
        let mut transaction = self.leases.database().transaction();
        transaction.create(self.leases.owners(), self.id, self.ownership())?;
        transaction.put(self.leases.beats(), self.id, Heartbeat {});
        self.acquired(transaction.commit().await, begun)
    }

    /// Takes it from a holder whose heartbeat has been this one for long enough: only if it still is.
    async fn take_over(&self, held: &Versioned<Ownership>, beat: Option<Version>) -> Result<Looked, Error> {
        let begun = self.leases.clock().now();
        let mut transaction = self.takeover(held, beat)?;
        transaction.put(self.leases.owners(), self.id, self.ownership());
        transaction.put(self.leases.beats(), self.id, Heartbeat {});
        self.acquired(transaction.commit().await, begun)
    }

    fn ownership(&self) -> Ownership {
        Ownership::new(self.owner, self.leases.lasts())
    }

    fn acquired(&self, answer: Result<Committed, Error>, begun: Instant) -> Result<Looked, Error> {
        match answer {
            Ok(committed) => Ok(Looked::Acquired(Box::new(self.lease(&committed, begun)?))),
            Err(Error::Conflict(conflict)) if self.is_outrun(&conflict) => Ok(Looked::Outrun(conflict)),
            Err(error) => Err(error),
        }
    }

    fn lease(&self, committed: &Committed, begun: Instant) -> Result<Lease, Error> {
        let token = committed.put_version(0)?;
        self.leases.watched().forget(self.id);
        Ok(Lease::new(self.leases.clone(), self.id, self.owner, token, begun))
    }

    /// Whether somebody was faster. Any other conflict is one of the program's own making, such as a rule of the trail, and
    /// would come again.
    fn is_outrun(&self, conflict: &Conflict) -> bool {
        let records = [self.leases.owners().name(), self.leases.beats().name()];
        conflict.mismatches().iter().any(|mismatch| records.contains(&mismatch.collection()))
    }

    fn locked(&self, held: &Versioned<Ownership>, silent: Duration) -> Error {
        let conflict = Conflict::locked(self.id, &*held.value.owner, held.value.left(silent));
        let collection = self.leases.owners().name().unwrap_or_default().to_owned();
        conflict.map(|mismatch| mismatch.in_collection(&*collection)).into()
    }

    /// Refuses what a takeover would have no place for in the trail.
    fn check_names(&self) -> Result<(), Refusal> {
        if self.owner.len() > MAX_OWNER_BYTES {
            let problem = format!("the name of its owner is longer than {MAX_OWNER_BYTES} bytes").into();
            return Err(Refusal::Unfit { id: shortened(self.id).into(), problem });
        }
        let name = self.leases.trails().name().unwrap_or_default();
        let around = name.len() + "/".len() + trail_of(self.id).len() - self.id.len() + 20;
        let limit = MAX_ID_BYTES - around;
        match self.id.len() > limit {
            true => Err(Refusal::Id { id: shortened(self.id).into(), problem: IdProblem::TooLong { limit } }),
            false => Ok(()),
        }
    }
}

/// How long it is to the next look.
fn look(lasts: Duration, is_told: bool) -> Duration {
    let look = (lasts / LOOKS).max(SHORTEST_LOOK);
    if is_told { look } else { look.min(LONGEST_LOOK) }
}

/// What a look has sent, where nobody knows what came of it.
fn in_doubt(looked: &Result<Looked, Error>) -> Option<WriteId> {
    let Err(Error::Failed(failure)) = looked else { return None };
    failure.write().filter(|_| failure.outcome() == Outcome::Unknown)
}

/// What a look came to.
enum Looked {
    Acquired(Box<Lease>),
    /// Somebody holds it, and has been silent for so long as far as is known.
    Held(Versioned<Ownership>, Duration),
    /// Somebody was faster.
    Outrun(Conflict),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::collection::testing::{Fault, Jumping, Scripted};
    use crate::collection::{Database, Retry, Timer};

    const LASTS: Duration = Duration::from_secs(30);

    #[test]
    fn whoever_hears_late_what_it_acquired_does_not_wait_for_itself() {
        for (fault, forgets) in
            [(Fault::LoseAnswer, false), (Fault::LoseRequest, false), (Fault::LoseAnswer, true)]
        {
            let clock = Jumping::new();
            let mut store = Scripted::<[u8]>::losing(&[fault]);
            store.resolve_faults.lock().extend([Fault::Fail; 2]);
            store.forgets = forgets;
            let retry = Retry::default().timer(clock.clone()).attempts(1);
            let office = Database::new(Arc::new(store)).with_retry(retry);
            let leases = Leases::new(&office, "leases").unwrap().lasting(LASTS).timer(clock.clone());
            let begun = clock.now();

            let lease = leases.acquire_within("a", "ann", LASTS * 3).wait().unwrap();

            lease.renew().wait().unwrap();
            let trail = leases.trail("a", None, 9).wait().unwrap().items.len();
            // Where the store can't tell, it is held by somebody, as far as anybody knows.
            assert_eq!((clock.now() - begun > LASTS, trail), (forgets, usize::from(forgets)), "{fault:?}");
        }
    }

    #[test]
    fn a_release_that_may_have_come_through_is_none_that_is_lost() {
        for (fault, elsewhere) in
            [(Fault::LoseAnswer, false), (Fault::LoseRequest, false), (Fault::LoseAnswer, true)]
        {
            let mut store = Scripted::<[u8]>::losing(&[Fault::None, fault]);
            store.forgets = true;
            let office = Database::new(Arc::new(store));
            let leases = Leases::new(&office, "leases").unwrap();
            let lease = leases.acquire("a", "ann").wait().unwrap();
            assert_eq!(lease.release().wait().unwrap_err().outcome(), Outcome::Unknown);
            let other = elsewhere.then(|| leases.acquire("a", "bob").wait().unwrap());

            let again = lease.release().wait();

            assert_eq!(again.is_ok(), other.is_none(), "{again:?}");
            assert_eq!(leases.holder("a").wait().unwrap().is_some(), other.is_some());
        }
        let leases = Leases::new(&Database::in_memory(), "leases").unwrap();
        let lease = leases.acquire("a", "ann").wait().unwrap();
        leases.force_release("a", lease.token(), "bob", "it hangs").wait().unwrap();
        for _ in 0..2 {
            assert!(lease.release().wait().is_err());
        }
    }
}
