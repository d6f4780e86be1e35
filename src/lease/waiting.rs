//! [`Waiting`], one who wants a lease.

use std::time::{Duration, Instant};

use crate::lease::lease::{Lease, first_of};
use crate::lease::leases::Leases;
use crate::lease::record::{Heartbeat, Ownership, Takeover};
use crate::store::{
    Changes, Committed, Conflict, Error, Expected, Failure, IdProblem, MAX_ID_BYTES, Refusal, Start, Version,
    Versioned, shortened,
};

/// How often one looks who is not told of changes, in the time that the lease lasts.
const LOOKS: u32 = 10;

/// The longest time between two such looks.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// One who wants a lease.
pub(super) struct Waiting<'a> {
    leases: &'a Leases,
    id: &'a str,
    owner: &'a str,
}

/// What an attempt to acquire came to.
enum Tried {
    Acquired(Lease),
    /// Somebody else holds it, as far as the answer tells.
    Held(Option<Versioned<Ownership>>),
}

/// A holder's heartbeat, and since when it has been this one by the clock of whoever looks.
struct Seen {
    token: Version,
    beat: Option<Version>,
    since: Instant,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(leases: &'a Leases, id: &'a str, owner: &'a str) -> Self {
        Self { leases, id, owner }
    }

    pub(super) async fn at_once(self) -> Result<Lease, Error> {
        self.check_id()?;
        loop {
            match self.create().await? {
                Tried::Acquired(lease) => return Ok(lease),
                Tried::Held(Some(held)) => return Err(self.locked(&held)),
                // It was released since.
                Tried::Held(None) => {}
            }
        }
    }

    pub(super) async fn within(self, within: Duration) -> Result<Lease, Error> {
        self.check_id()?;
        let clock = self.leases.clock();
        let begun = clock.now();
        let left = || within.saturating_sub(clock.now().saturating_duration_since(begun));
        let mut ticket = self.leases.gate().join(self.id, None);
        if first_of(ticket.called(), clock.sleep(within)).await.is_none() {
            drop(ticket);
            return self.at_once().await;
        }
        let (mut changes, mut seen) = (None::<Changes<Ownership>>, None::<Seen>);
        loop {
            // Told of changes from before it looks: none is missed.
            if changes.is_none() && self.leases.database().abilities().watch {
                changes = Some(self.leases.owners().watch(Start::Now).await?);
            }
            let held = match self.create().await? {
                Tried::Acquired(lease) => return Ok(lease),
                Tried::Held(Some(held)) => held,
                Tried::Held(None) => continue,
            };
            let beat = self.leases.beats().get(self.id).await?.map(|beat| beat.version);
            // Not before the answer: what is counted has to be less than the time that truly passed.
            let now = clock.now();
            let since = seen
                .filter(|seen| (seen.token, seen.beat) == (held.version, beat))
                .map_or(now, |seen| seen.since);
            seen = Some(Seen { token: held.version, beat, since });
            let silent = now.saturating_duration_since(since);
            let lasts = held.value.lasts();
            if silent >= lasts && held.value.is_understood() {
                match self.take_over(&held, beat).await? {
                    Tried::Acquired(lease) => return Ok(lease),
                    Tried::Held(_) => continue,
                }
            }
            if left().is_zero() {
                return Err(self.locked(&held));
            }
            let until = if silent < lasts { lasts - silent } else { lasts };
            self.rest(&mut changes, until.min(left()), lasts).await;
        }
    }

    /// Waits until something happens to the lease, and no longer than this.
    async fn rest(&self, changes: &mut Option<Changes<Ownership>>, time: Duration, lasts: Duration) {
        let clock = self.leases.clock();
        let Some(feed) = changes else {
            let look = (lasts / LOOKS).clamp(Duration::from_millis(1), LONGEST_LOOK);
            return clock.sleep(time.min(look)).await;
        };
        let told = async {
            loop {
                let batch = feed.next().await?;
                if batch.changes.iter().any(|change| &*change.id == self.id) {
                    return Ok::<_, Error>(());
                }
            }
        };
        if let Some(Err(_)) = first_of(told, clock.sleep(time)).await {
            // A feed that failed is opened anew by the next look. One that can't be had is not worth a loop that never rests.
            *changes = None;
            clock.sleep(time.min(LONGEST_LOOK).min(lasts / LOOKS)).await;
        }
    }

    async fn create(&self) -> Result<Tried, Error> {
        let begun = self.leases.clock().now();
        let mut transaction = self.leases.database().transaction();
        transaction.create(self.leases.owners(), self.id, self.ownership())?;
        transaction.put(self.leases.beats(), self.id, Heartbeat { beats: 0 });
        self.tried(transaction.commit().await, begun)
    }

    /// Takes it from a holder whose heartbeat has been this one for long enough: only if it still is.
    async fn take_over(&self, held: &Versioned<Ownership>, beat: Option<Version>) -> Result<Tried, Error> {
        let begun = self.leases.clock().now();
        let mut transaction = self.leases.database().transaction();
        transaction.check(self.leases.owners(), self.id, held.version)?;
        transaction.check(self.leases.beats(), self.id, beat.map_or(Expected::Absent, Expected::from))?;
        transaction.put(self.leases.owners(), self.id, self.ownership());
        transaction.put(self.leases.beats(), self.id, Heartbeat { beats: 0 });
        let reason = format!("its holder was silent for {:?}", held.value.lasts());
        let ended = Takeover::new(&held.value.owner, self.owner, &reason);
        transaction.create(self.leases.ended(), &self.leases.trail_id(self.id, held.version), ended)?;
        self.tried(transaction.commit().await, begun)
    }

    fn ownership(&self) -> Ownership {
        Ownership::new(self.owner, self.leases.lasts())
    }

    fn tried(&self, answer: Result<Committed, Error>, begun: Instant) -> Result<Tried, Error> {
        match answer {
            Ok(committed) => {
                let token = committed.put_version(0).map_err(Failure::from)?;
                let leases = self.leases.clone();
                Ok(Tried::Acquired(Lease::new(leases, self.id, self.owner, token, begun)))
            }
            Err(Error::Conflict(conflict)) => {
                Ok(Tried::Held(conflict.mismatches().iter().find_map(|mismatch| mismatch.current())))
            }
            Err(error) => Err(error),
        }
    }

    fn locked(&self, held: &Versioned<Ownership>) -> Error {
        let conflict = Conflict::locked(self.id, &*held.value.owner, held.value.lasts());
        let collection = self.leases.owners().name().unwrap_or_default().to_owned();
        conflict.map(|mismatch| mismatch.in_collection(&*collection)).into()
    }

    /// Refuses an id that a takeover would have no place for in the trail.
    fn check_id(&self) -> Result<(), Refusal> {
        let name = self.leases.ended().name().unwrap_or_default();
        let limit = MAX_ID_BYTES - name.len() - "/".len() - "/".len() - 20;
        match self.id.len() > limit {
            true => Err(Refusal::Id { id: shortened(self.id).into(), problem: IdProblem::TooLong { limit } }),
            false => Ok(()),
        }
    }
}
