//! [`Leases`], who holds what in a database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::collection::{Collection, Database, Gate, ThreadTimer, Timer};
use crate::lease::lease::Lease;
use crate::lease::record::{Ended, Heartbeat, Held, Ownership};
use crate::lease::waiting::Waiting;
use crate::lease::watched::Watched;
use crate::store::{Condition, Conflict, Error, Found, Intent, Mismatch, NotFound, Page, Reply, Version};

/// How long a lease lasts that nobody says more of.
const LASTS: Duration = Duration::from_secs(30);

/// How many leases a sweep reads at once.
const SWEPT: usize = 100;

/// Who holds what in a [`Database`]: a handle, which clones share.
///
/// A lease has an id, which may be that of a resource or any other name, and an owner, who names itself. It is held until it
/// is released, and taken over by one who waits once its holder has not renewed it for as long as it
/// [lasts](Self::lasting): see the [module](crate::lease) for how, and for what that costs.
///
/// Its records are in three collections of the database: that of the name given, and two whose names begin with it.
pub struct Leases {
    database: Database,
    owners: Collection<Ownership>,
    beats: Collection<Heartbeat>,
    trail: Collection<Ended>,
    lasts: Duration,
    timer: Arc<dyn Timer>,
    /// Those who wait in this process, in the order in which they came.
    waiting: Arc<Gate<Ownership>>,
    /// What those who looked have seen of holders.
    watched: Arc<Watched>,
}

impl Leases {
    /// The leases that are kept under this name. Two handles of one name are about the same leases; whoever waits is served
    /// in order only among those who wait on clones of one handle. **Keep it, and clone it**: what its looks have seen of
    /// holders is its own, so one that is made for each call ends the lease of no holder that died.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the name can't be that of a collection, or is longer
    /// than 58 bytes, or one of the collections is open with another type.
    ///
    /// ```
    /// use ifmatch::lease::Leases;
    /// use ifmatch::Database;
    ///
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// assert!(leases.holder("a1").wait()?.is_none());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn new(database: &Database, name: &str) -> Result<Self, Error> {
        let timer: Arc<dyn Timer> = Arc::new(ThreadTimer);
        Ok(Self {
            owners: database.collection(name)?,
            beats: database.collection(&format!("{name}.beats"))?,
            trail: database.collection(&format!("{name}.trail"))?,
            database: database.clone(),
            lasts: LASTS,
            waiting: Self::line(&timer),
            watched: Arc::default(),
            timer,
        })
    }

    /// The same leases, which last as long as this from one renewal to the next instead of 30 s: at least a millisecond. Of
    /// those that are held it changes nothing.
    ///
    /// A short one frees soon what a dead holder had; a long one bears a holder that is slow.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?.lasting(Duration::from_secs(5));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn lasting(self, lasts: Duration) -> Self {
        Self { lasts: lasts.max(Duration::from_millis(1)), ..self }
    }

    /// The same leases on another clock, as for tests. Those who wait on other handles are not in its line.
    ///
    /// ```
    /// # use ifmatch::collection::ThreadTimer;
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?.timer(ThreadTimer);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn timer(self, timer: impl Timer) -> Self {
        let timer: Arc<dyn Timer> = Arc::new(timer);
        Self { waiting: Self::line(&timer), watched: Arc::default(), timer, ..self }
    }

    fn line(timer: &Arc<dyn Timer>) -> Arc<Gate<Ownership>> {
        Arc::new(Gate::new(Arc::clone(timer), Some(LASTS)))
    }

    /// Acquires a lease at once. From a holder that died it takes over only where a look through this handle, or a clone of it,
    /// found that one silent a lease's time ago, and nothing was heard of it since; [`acquire_within`](Self::acquire_within) waits
    /// for that. It may come before those who wait.
    ///
    /// Where the answer is lost, or this is dropped before it is there, the lease may be held without anybody knowing, until
    /// somebody who waits takes it over.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) of [`Kind::Locked`](crate::Kind::Locked) where it is held, by the same owner too;
    /// HTTP status 423. One that is [exhausted](crate::Conflict::is_exhausted) where it changed hands at each of many looks, and
    /// what a rule of the trail refuses. [`Refusal::Unfit`](crate::store::Refusal::Unfit), 422, for an owner whose name has more
    /// than 512 bytes.
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::{Database, Error};
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let lease = leases.acquire("a1", "ann").wait()?;
    ///
    /// let Err(Error::Conflict(conflict)) = leases.acquire("a1", "bob").wait() else { unreachable!() };
    /// assert_eq!(conflict.to_string(), "`a1` of `leases` is locked by `ann` for another 30 s");
    /// # drop(lease);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn acquire<'a>(&'a self, id: &'a str, owner: &'a str) -> Reply<'a, Lease> {
        Reply::pending(Waiting::new(self, id, owner).at_once())
    }

    /// Acquires a lease, and waits for it as long as this. It is taken over where its holder does not renew it for as long as
    /// it lasts, which is counted from the first look: who would wait less than that waits in vain for a holder that died.
    ///
    /// Those who wait on clones of one handle are served in the order in which they came, and what one of them has seen of
    /// the holder counts for the next. Others, in other processes too, are told of a release by the store's feed, and race
    /// for it: one near to the store that releases and acquires in a loop may keep those farther away out for long, unless it
    /// pauses in between. The first in line looks at the store ten times in the time that the lease lasts, and where the store
    /// has no feed at least once a second. One in line that nobody polls holds the others up for half of that time at most. A
    /// store that fails in passing is asked again while there is time.
    ///
    /// Where the answer to an acquisition is lost, the store is asked what became of it before anything else, so that nobody
    /// waits for itself; unless it can't tell any more. The time bounds the waiting, and no answer of the store, which has
    /// the limits of [`Retry`](crate::Retry).
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) of [`Kind::Locked`](crate::Kind::Locked) where it is held for all that time;
    /// [`Error::Corrupt`](crate::Error::Corrupt) where the record of its holder can't be read, as one of a later release;
    /// [`Refusal::Unfit`](crate::store::Refusal::Unfit) as above.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?.lasting(Duration::from_millis(20));
    /// let dead = leases.acquire("nightly", "worker-1").wait()?;
    ///
    /// let lease = leases.acquire_within("nightly", "worker-2", Duration::from_secs(60)).wait()?;
    /// assert!(lease.token().to_bits() > dead.token().to_bits());
    /// assert_eq!(leases.trail("nightly", None, 1).wait()?.items[0].1.from, "worker-1");
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn acquire_within<'a>(&'a self, id: &'a str, owner: &'a str, within: Duration) -> Reply<'a, Lease> {
        Reply::pending(Waiting::new(self, id, owner).within(within))
    }

    /// The lease of this token again, renewed: for a service whose clients hold leases, and send back the
    /// [token](Lease::token) with each request. Whoever has the token is taken for the holder. It is a version, and no secret: where
    /// callers may not be trusted, look first whether the [holder](Self::holder) is the one who asks.
    ///
    /// # Errors
    ///
    /// As [`Lease::renew`]: a [`Conflict`](crate::Conflict) where the lease is lost, or never was.
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let token = leases.acquire("a1", "ann").wait()?.token();
    ///
    /// let lease = leases.resume("a1", token).wait()?;
    /// assert_eq!(lease.owner(), "ann");
    /// lease.release().wait()?;
    /// assert!(leases.resume("a1", token).wait().is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn resume<'a>(&'a self, id: &'a str, token: Version) -> Reply<'a, Lease> {
        Reply::pending(async move {
            let begun = self.clock().now();
            let (owner, lasts) = match self.owners.get(id).await? {
                Some(held) if held.version == token => (held.value.owner.clone(), held.value.lasts()),
                // It is lost, and the renewal says to whom.
                _ => (String::new(), self.lasts),
            };
            let lease = Lease::new(self.clone().lasting(lasts), id, &owner, token, begun);
            lease.renew().await?;
            Ok(lease)
        })
    }

    /// Ends the leases whose holders died: those that looks through this handle, or a clone of it, have found silent for as long as
    /// they last. It gives the number of those.
    ///
    /// It looks at all, also where something fails, and then gives the first error.
    ///
    /// A single call ends nothing that nobody has looked at before. A service whose clients take leases and may go without a
    /// word calls it now and then, as each time that a third of a lease has passed: else what they held refuses the writes of
    /// everybody until somebody acquires or waits. The trail has `by` for who ended them. It costs two reads for each lease that is
    /// held; of more than 16,384 it may end none.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?.lasting(Duration::from_millis(10));
    /// let dead = leases.acquire("a1", "ann").wait()?;
    ///
    /// while leases.sweep("the sweeper").wait()? == 0 {
    ///     std::thread::sleep(Duration::from_millis(5));
    /// }
    /// assert!(leases.holder("a1").wait()?.is_none());
    /// assert!(dead.renew().wait().is_err());
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn sweep<'a>(&'a self, by: &'a str) -> Reply<'a, usize> {
        Reply::pending(async move {
            let (mut ended, mut after, mut fault) = (0, None::<Arc<str>>, None);
            loop {
                let page = match self.owners.scan("", after.as_deref(), SWEPT).await {
                    Ok(page) => page,
                    // A record that can't be read is left alone, and keeps nobody from what comes behind it.
                    Err(Error::Corrupt(corrupt))
                        if after.as_deref().is_none_or(|after| after < corrupt.id()) =>
                    {
                        after = Some(corrupt.id().into());
                        fault.get_or_insert(Error::Corrupt(corrupt));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for (id, held) in &page.items {
                    match Waiting::new(self, id, by).end_silent(held).await {
                        Ok(was_silent) => ended += usize::from(was_silent),
                        Err(error) => drop(fault.get_or_insert(error)),
                    }
                }
                match (page.items.last().filter(|_| page.more), fault) {
                    (Some((id, _)), rest) => (after, fault) = (Some(Arc::clone(id)), rest),
                    (None, None) => return Ok(ended),
                    (None, Some(fault)) => return Err(fault),
                }
            }
        })
    }

    /// Ends the lease of this holder, and keeps in the same commit who did that and why: what the holder writes under it from
    /// then on is refused. The holder is named by its [token](Held::token), as [`holder`](Self::holder) and [`list`](Self::list)
    /// tell it: whoever has come to hold it since is left alone. [`Expected::Present`](crate::Expected::Present) ends it
    /// whoever holds it.
    /// A record that can't be read, damaged or of a later release, is ended too: the trail says that `somebody` held it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) where nobody holds it; a [`Conflict`](crate::Conflict) where another one does.
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let lease = leases.acquire("nightly", "worker-1").wait()?;
    ///
    /// let held = leases.holder("nightly").wait()?.expect("it hangs");
    /// leases.force_release("nightly", held.token, "ann", "it hangs").wait()?;
    /// assert!(lease.renew().wait().is_err());
    /// let ended = &leases.trail("nightly", None, 1).wait()?.items[0].1;
    /// assert_eq!((&*ended.from, &*ended.by, &*ended.reason), ("worker-1", "ann", "it hangs"));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn force_release<'a>(
        &'a self,
        id: &'a str,
        holder: impl Into<Condition>,
        by: &'a str,
        reason: &'a str,
    ) -> Reply<'a, ()> {
        let holder = holder.into();
        Reply::pending(async move {
            let (token, owner) = match self.owners.fetch(id).await {
                Ok(held) => (held.version, held.value.owner.clone()),
                // Whoever it was: it gives way to nobody else.
                Err(Error::Corrupt(corrupt)) => (corrupt.version(), "somebody".to_owned()),
                // That it was held before is nobody's resource that is gone.
                Err(Error::NotFound(missing)) => {
                    let owners = missing.collection().unwrap_or_default();
                    return Err(NotFound::new(id).in_collection(owners).into());
                }
                Err(error) => return Err(error),
            };
            if !holder.expected.admits(Some(token)) {
                let other = Mismatch::new(id, holder, Intent::Delete, Found::<Ownership>::Unread(token));
                return Err(
                    Conflict::from(other.in_collection(self.owners.name().unwrap_or_default())).into()
                );
            }
            let mut transaction = self.database.transaction();
            transaction.check(&self.owners, id, Condition { expected: token.into(), ..holder })?;
            transaction.delete(&self.owners, id);
            transaction.delete(&self.beats, id);
            let ended = Ended::new(&owner, by, reason);
            transaction.create(&self.trail, &self.trail_id(id, token), ended)?;
            transaction.commit().await?;
            self.watched.forget(id);
            Ok(())
        })
    }

    /// Who holds a lease, if anybody does.
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let lease = leases.acquire("a1", "ann").wait()?;
    /// assert_eq!(leases.holder("a1").wait()?.unwrap().owner, "ann");
    /// # drop(lease);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn holder<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Held>> {
        self.owners.get(id).map(move |found| found.map(|found| Held::of(&found)))
    }

    /// Some of the leases that are held, in the order of their ids: those after `after`, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] where the record of one can't be read: it names the id, which
    /// [`force_release`](Self::force_release) takes, or to go on after.
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// let lease = leases.acquire("a1", "ann").wait()?;
    /// assert_eq!(leases.list(None, 100).wait()?.items[0].1.owner, "ann");
    /// # drop(lease);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn list<'a>(&'a self, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<Held>> {
        self.owners.scan("", after, limit).map(|page| Page {
            items: page.items.into_iter().map(|(id, found)| (id, Held::of(&found))).collect(),
            more: page.more,
        })
    }

    /// How a lease was ended by others than its holders, the first time first: those after `after`, which is what the last
    /// page gave as [`next`](Page::next), at most `limit`. It is kept for ever, or until the program deletes it from the
    /// collection whose name ends with `.trail`.
    ///
    /// ```
    /// # use ifmatch::lease::Leases;
    /// # use ifmatch::Database;
    /// let leases = Leases::new(&Database::in_memory(), "leases")?;
    /// for owner in ["worker-1", "worker-2"] {
    ///     let token = leases.acquire("nightly", owner).wait()?.token();
    ///     leases.force_release("nightly", token, "ann", "it hangs").wait()?;
    /// }
    ///
    /// let first = leases.trail("nightly", None, 1).wait()?;
    /// let second = leases.trail("nightly", first.next(), 1).wait()?;
    /// assert_eq!((&*first.items[0].1.from, &*second.items[0].1.from), ("worker-1", "worker-2"));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn trail<'a>(&'a self, id: &'a str, after: Option<&'a str>, limit: usize) -> Reply<'a, Page<Ended>> {
        Reply::pending(async move {
            let page = self.trail.scan(&trail_of(id), after, limit).await?;
            let items = page.items.into_iter().map(|(at, found)| (at, Ended::clone(&found.value)));
            Ok(Page { items: items.collect(), more: page.more })
        })
    }

    /// The id of what ended the ownership of this version: in the order of versions.
    pub(super) fn trail_id(&self, id: &str, token: Version) -> String {
        format!("{}{token:020}", trail_of(id))
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) fn owners(&self) -> &Collection<Ownership> {
        &self.owners
    }

    pub(super) fn beats(&self) -> &Collection<Heartbeat> {
        &self.beats
    }

    pub(super) fn trails(&self) -> &Collection<Ended> {
        &self.trail
    }

    pub(super) fn lasts(&self) -> Duration {
        self.lasts
    }

    pub(super) fn clock(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(super) fn waiting(&self) -> &Gate<Ownership> {
        &self.waiting
    }

    pub(super) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }
}

/// What the trail of a lease begins with. Its length first: no other one's begins so.
pub(super) fn trail_of(id: &str) -> String {
    format!("{}:{id}/", id.len())
}

impl Clone for Leases {
    fn clone(&self) -> Self {
        Self {
            database: self.database.clone(),
            owners: self.owners.clone(),
            beats: self.beats.clone(),
            trail: self.trail.clone(),
            lasts: self.lasts,
            timer: Arc::clone(&self.timer),
            waiting: Arc::clone(&self.waiting),
            watched: Arc::clone(&self.watched),
        }
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("lasts", &self.lasts).finish_non_exhaustive()
    }
}
