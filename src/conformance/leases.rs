//! The promises of leases and of rules: part of those of a [`Database`].

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::base::random;
use crate::collection::{Collection, Database, Retry, Sleep, Timer};
use crate::conformance::race::race;
use crate::lease::{Lease, Leases};
use crate::store::{Commit, Conflict, Entry, Error, Expected, Kind, Receipt, block_on};

const BUDGET: Duration = Duration::from_secs(120);

/// How long the leases of a law last, by the clock of the law.
const LASTS: Duration = Duration::from_secs(60);

/// A clock that goes on only when it is told to.
#[derive(Clone)]
struct Hand(Arc<HandInner>);

struct HandInner {
    start: Instant,
    elapsed: Mutex<(Duration, Vec<Waker>)>,
}

impl Hand {
    fn new() -> Self {
        Self(Arc::new(HandInner { start: Instant::now(), elapsed: Mutex::default() }))
    }

    fn advance(&self, by: Duration) {
        let woken = {
            let mut elapsed = self.0.elapsed.lock();
            elapsed.0 += by;
            std::mem::take(&mut elapsed.1)
        };
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Timer for Hand {
    fn now(&self) -> Instant {
        self.0.start + self.0.elapsed.lock().0
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let due = self.0.elapsed.lock().0.saturating_add(duration);
        Box::pin(Rest { clock: self.clone(), due })
    }
}

struct Rest {
    clock: Hand,
    due: Duration,
}

impl Future for Rest {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut elapsed = self.clock.0.elapsed.lock();
        if elapsed.0 >= self.due {
            return Poll::Ready(());
        }
        elapsed.1.push(context.waker().clone());
        Poll::Pending
    }
}

/// Leases and collections that nobody else uses.
struct Room {
    database: Database,
    leases: Leases,
    clock: Hand,
    /// Refuses what is held by others.
    leased: Collection<u64>,
    plain: Collection<u64>,
}

impl Room {
    fn new(database: &Database) -> Self {
        let database = database.clone().with_retry(Retry::default().attempts(10_000).deadline(BUDGET));
        let name = |of: &str| format!("law-{:016x}-{of}", random());
        let clock = Hand::new();
        let leases =
            good(Leases::new(&database, &name("leases")), "new leases").lasting(LASTS).timer(clock.clone());
        let leased = good(database.define::<u64>(&name("leased")), "a definition").leased(&leases).open();
        let plain = good(database.collection::<u64>(&name("plain")), "opening a new collection");
        Self { leased: good(leased, "opening a new collection"), plain, database, leases, clock }
    }

    async fn acquire(&self, id: &str, owner: &str) -> Lease {
        good(self.leases.acquire(id, owner).await, "acquiring what nobody holds")
    }
}

fn good<A>(answer: Result<A, Error>, what: &str) -> A {
    answer.unwrap_or_else(|error| panic!("{what} failed: {error}"))
}

fn conflict<A>(answer: Result<A, Error>, what: &str) -> Conflict {
    match answer {
        Err(Error::Conflict(conflict)) => conflict,
        Err(error) => panic!("{what} failed otherwise: {error}"),
        Ok(_) => panic!("{what} was let pass"),
    }
}

/// Every way in which a program may write one id.
async fn every_write(
    database: &Database,
    to: &Collection<u64>,
    id: &str,
) -> Vec<(&'static str, Result<(), Error>)> {
    let mut own = to.transaction();
    own.put(id, 91);
    let mut both = database.transaction();
    both.put(to, id, 92);
    let mut gone = database.transaction();
    gone.delete(to, id);
    let mut answers = vec![
        ("a put", to.put(id, 93).await.map(drop)),
        ("a commit", to.commit(Commit::one(Entry::put(id, Expected::Any, Arc::new(94)))).await.map(drop)),
        ("a transaction", own.commit().await.map(drop)),
        ("a transaction of the database", both.commit().await.map(drop)),
        ("a deletion in a transaction", gone.commit().await.map(drop)),
        ("a deletion", to.delete(id, Expected::Any).await.map(drop)),
    ];
    let worked = database.transact(async |mut tx| {
        tx.put(to, id, 95);
        Ok::<_, Error>((tx, ()))
    });
    answers.push(("transact", worked.await));
    if let Ok(Some(now)) = to.get(id).await {
        answers.push(("a replacement", to.replace(id, now.version, 96).await.map(drop)));
        answers.push(("a change", to.modify(id, |number| *number += 1).await.map(drop)));
        if let Ok(mut draft) = to.edit(id).await {
            *draft += 1;
            answers.push(("a draft", draft.commit().await.map(drop)));
        }
    }
    answers
}

/// What is held is written by its holder alone, whichever way a write comes, and is free again after the release.
pub async fn a_lease_keeps_everybody_else_out(database: &Database) {
    let room = Room::new(database);
    let before = good(room.leased.put("a", 1).await, "a write of what nobody holds");
    let lease = room.acquire("a", "ann").await;

    for (what, answer) in every_write(&room.database, &room.leased, "a").await {
        let refused = conflict(answer, what);
        let Kind::Locked { holder, remaining } = refused.kind() else {
            panic!("{what} of what is held is refused as {:?}", refused.kind())
        };
        assert_eq!((&**holder, *remaining), ("ann", LASTS), "{what}");
        assert_eq!((refused.id(), refused.collection()), ("a", room.leased.name()), "{what}");
    }
    assert_eq!(good(room.leased.fetch("a").await, "a read"), before, "a refused write changed something");
    good(room.leased.put("b", 1).await, "a write of what is not held");
    let second = conflict(room.leases.acquire("a", "ann").await, "acquiring what is held");
    assert!(matches!(second.kind(), Kind::Locked { holder, .. } if &**holder == "ann"), "{second}");

    let under = good(room.leased.under(&lease), "writing under a lease");
    for (what, answer) in every_write(&room.database, &under, "a").await {
        good(answer, what);
    }
    let mut transfer = room.database.transaction();
    transfer.put(&under, "a", 7);
    transfer.put(&room.plain, "a", 8);
    good(transfer.commit().await, "a transaction that writes under a lease");

    good(lease.release().await, "a release");
    good(room.leased.put("a", 9).await, "a write after the release");
    assert!(good(room.leases.holder("a").await, "a look").is_none());
    conflict(under.put("a", 10).await, "a write under a lease that was released");
}

/// A holder whose lease somebody else ended, or has by now, writes nothing any more: neither what is leased, nor what it
/// wrote under the lease.
pub async fn a_lost_lease_writes_nothing(database: &Database) {
    let room = Room::new(database);
    let lease = room.acquire("a", "ann").await;
    let under = [&room.leased, &room.plain].map(|to| good(to.under(&lease), "writing under a lease"));
    good(under[0].put("a", 1).await, "a write under a lease");
    good(under[1].put("other", 1).await, "a write of another id under a lease");

    let version = good(room.plain.put("another", 1).await, "a put").version;
    conflict(
        room.leases.force_release("a", version, "bob", "of another").await,
        "a release of another holder",
    );
    good(lease.renew().await, "a renewal after another holder was to be released");
    let ended = room.leases.force_release("a", lease.token(), "bob", "she is on holiday");
    good(ended.await, "a release by force");
    for (to, id) in under.iter().zip(["a", "other"]) {
        for (what, answer) in every_write(&room.database, to, id).await {
            let refused = conflict(answer, what);
            assert!(
                matches!(refused.kind(), Kind::State { rule, .. } if rule == "lease-lost"),
                "{what}: {refused}"
            );
            assert_eq!((refused.id(), refused.collection()), (id, to.name()), "{what}");
        }
    }
    let next = room.acquire("a", "bob").await;
    assert!(next.token().to_bits() > lease.token().to_bits(), "a token is greater than those before");
    for (to, id) in under.iter().zip(["a", "other"]) {
        for (what, answer) in every_write(&room.database, to, id).await {
            let refused = conflict(answer, what);
            assert!(
                matches!(refused.kind(), Kind::State { rule, reason } if rule == "lease-lost" && reason.contains("`bob`")),
                "{what}: {refused}"
            );
        }
    }
    conflict(lease.renew().await, "the renewal of a lost lease");
    conflict(lease.release().await, "the release of a lost lease");
    assert_eq!(*good(room.leased.fetch("a").await, "a read").value, 1);
    let trail = good(room.leases.trail("a", None, 10).await, "the trail").items;
    let ended: Vec<_> = trail.iter().map(|(_, one)| (&*one.from, &*one.by, &*one.reason)).collect();
    assert_eq!(ended, [("ann", "bob", "she is on holiday")]);
    good(next.renew().await, "the renewal of the lease that is held");
}

/// Whoever waits takes over from a holder that is silent for as long as its lease lasts, and not from one that renews, however
/// often the waiter looks.
pub async fn a_silent_holder_is_taken_over_and_a_live_one_is_not(database: &Database) {
    let room = Arc::new(Room::new(database));
    let lease = room.acquire("a", "ann").await;
    let under = good(room.plain.under(&lease), "writing under a lease");
    let taken = Arc::new(AtomicBool::new(false));
    let (waits, told) = (Arc::clone(&room), Arc::clone(&taken));
    let waiter = thread::spawn(move || {
        let lease = block_on(waits.leases.acquire_within("a", "bob", LASTS * 1_000));
        told.store(true, Ordering::Release);
        lease
    });

    for _ in 0..20 {
        room.clock.advance(LASTS * 2 / 3);
        good(lease.renew().await, "a renewal in time");
        thread::yield_now();
    }
    good(under.put("x", 1).await, "a write under a lease that is renewed");
    assert!(!taken.load(Ordering::Acquire), "a holder that renews in time was taken over");

    let began = Instant::now();
    while !taken.load(Ordering::Acquire) {
        assert!(began.elapsed() < BUDGET, "nobody takes over from a holder that is silent");
        room.clock.advance(LASTS / 4);
        // Real time for the waiter, which looks at the store.
        thread::sleep(Duration::from_millis(1));
    }
    let next = good(waiter.join().expect("no panic"), "taking over");
    assert!(next.token().to_bits() > lease.token().to_bits());
    let late = conflict(under.put("x", 2).await, "a write of who was taken over");
    assert!(matches!(late.kind(), Kind::State { rule, .. } if rule == "lease-lost"), "{late}");
    let trail = good(room.leases.trail("a", None, 10).await, "the trail").items;
    assert_eq!((&*trail[0].1.from, &*trail[0].1.by, trail.len()), ("ann", "bob", 1));
    assert_eq!(*good(room.plain.fetch("x").await, "a read").value, 1);
}

/// Of many who wait for a lease one has it at a time, all get it, and what they write under it blindly is not lost.
pub async fn of_many_who_wait_each_has_the_lease_alone(database: &Database) {
    const THREADS: usize = 4;
    const EACH: u64 = 4;
    let room = Arc::new(Room::new(database));
    good(room.plain.create("sum", 0).await, "a creation");

    let shared = Arc::clone(&room);
    race("those who wait for a lease", BUDGET, THREADS, move |thread| {
        let owner = format!("worker-{thread}");
        for _ in 0..EACH {
            block_on(async {
                let lease = good(shared.leases.acquire_within("job", &owner, LASTS).await, "waiting");
                let sums = good(shared.plain.under(&lease), "writing under a lease");
                // What a lease is for: read, and write blindly.
                let sum = *good(sums.fetch("sum").await, "a read").value;
                good(sums.put("sum", sum + 1).await, "a write under a lease");
                good(lease.release().await, "a release");
            });
        }
    });

    assert_eq!(*good(room.plain.fetch("sum").await, "a read").value, THREADS as u64 * EACH);
    assert!(good(room.leases.list(None, 10).await, "a list").items.is_empty());
}

/// A rule holds between each value and the next, whichever way writes come and race; blind puts that it allows never conflict.
pub async fn a_rule_holds_between_any_two_values(database: &Database) {
    const THREADS: usize = 5;
    const EACH: u64 = 25;
    let database = database.clone().with_retry(Retry::default().attempts(10_000).deadline(BUDGET));
    // From even to odd and back, whatever is created or deleted: blind puts can't know, and must not slip by.
    let allows = |old: Option<&u64>, new: Option<&u64>| match (old, new) {
        (Some(old), Some(new)) => old % 2 != new % 2 || *new >= 1_000,
        _ => true,
    };
    let name = format!("law-{:016x}-ruled", random());
    let ruled = good(database.define::<u64>(&name), "a definition");
    let ruled =
        good(ruled.rule("alternates", "even and odd alternate", allows).open(), "opening a new collection");
    let written: Arc<Mutex<BTreeMap<NonZeroU64, Option<u64>>>> = Arc::default();

    let (shop, numbers, log) = (database.clone(), ruled.clone(), Arc::clone(&written));
    race("writers under a rule", BUDGET, THREADS, move |thread| {
        let note = |receipt: Option<&Receipt>, value: Option<u64>| {
            if let Some(Receipt { version: Some(version), .. }) = receipt {
                assert!(log.lock().insert(version.to_bits(), value).is_none(), "two writes have one version");
            }
        };
        for round in 0..EACH {
            let number = round % 7;
            let answer = match thread {
                0 => {
                    block_on(numbers.commit(Commit::one(Entry::put("hot", Expected::Any, Arc::new(number)))))
                        .map(|committed| note(committed.receipts().first(), Some(number)))
                }
                1 => block_on(numbers.commit(Commit::one(Entry::delete("hot", Expected::Any))))
                    .map(|committed| note(committed.receipts().first(), None)),
                // Allowed from what it was computed from: a lost race is run again.
                2 => {
                    let changed =
                        block_on(numbers.modify_or_create("hot", || 0, |now| *now = (*now + 1) % 1_000));
                    let now = good(changed, "a change that the rule allows");
                    log.lock().insert(now.version.to_bits(), Some(*now.value));
                    Ok(())
                }
                3 => {
                    let mut both = shop.transaction();
                    both.put(&numbers, "hot", number);
                    both.put(&numbers, "cold", 1_000 + number);
                    block_on(both.commit()).map(|committed| note(committed.receipts().first(), Some(number)))
                }
                // Allowed from any value: blind, and never a conflict.
                _ => {
                    let put = Commit::one(Entry::put("hot", Expected::Any, Arc::new(1_000 + round)));
                    let committed = good(block_on(numbers.commit(put)), "a blind put that the rule allows");
                    note(committed.receipts().first(), Some(1_000 + round));
                    Ok(())
                }
            };
            match answer {
                Ok(()) => {}
                Err(Error::Conflict(conflict)) => {
                    assert!(
                        matches!(conflict.kind(), Kind::State { rule, .. } if rule == "alternates"),
                        "{conflict}"
                    );
                }
                Err(error) => panic!("a write under a rule failed: {error}"),
            }
        }
    });

    let values: Vec<Option<u64>> = written.lock().values().copied().collect();
    for pair in values.windows(2) {
        assert!(allows(pair[0].as_ref(), pair[1].as_ref()), "a write slipped by the rule: {pair:?}");
    }
    let last = good(ruled.get("hot").await, "a read").map(|now| *now.value);
    assert_eq!(values.last().copied().flatten(), last, "the last write stands");
}

/// What several reasons refuse is one conflict that names them all, and writes nothing.
pub async fn all_that_stands_in_the_way_is_told_at_once(database: &Database) {
    let room = Room::new(database);
    let name = format!("law-{:016x}-both", random());
    let both = good(room.database.define::<u64>(&name), "a definition")
        .rule("small", "it is below 10", |_, new| new.is_none_or(|new| *new < 10))
        .leased(&room.leases)
        .open();
    let both = good(both, "opening a new collection");
    let first = good(both.put("a", 1).await, "a put");
    let second = good(both.put("a", 2).await, "a put");
    let lease = room.acquire("a", "ann").await;

    let refused = conflict(both.replace("a", first.version, 11).await, "a write with three faults");

    let kinds: Vec<&Kind> = refused.mismatches().iter().map(|mismatch| mismatch.kind()).collect();
    assert_eq!(kinds.len(), 3, "{refused}");
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::Locked { .. })), "{refused}");
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::State { .. })), "{refused}");
    assert!(kinds.iter().any(|kind| matches!(kind, Kind::Stale)), "{refused}");
    assert!(
        matches!(refused.kind(), Kind::Locked { .. }),
        "what helps least speaks, and last a rule that was decided on what the writer has not seen: {refused}"
    );
    assert!(
        refused.mismatches().iter().all(|one| (one.id(), one.collection()) == ("a", both.name())),
        "{refused}"
    );
    assert_eq!(good(both.fetch("a").await, "a read"), second);
    good(lease.release().await, "a release");
}
