//! The loop behind `modify` and its kin: read, let the closure decide, commit, and again where the commit lost a race.

use std::future::{Future, Ready, ready};
use std::sync::Arc;

use crate::collection::call::{Call, Sent, missing_in};
use crate::collection::collection::Collection;
use crate::collection::gate::{Called, Place};
use crate::collection::retry::Effect;
use crate::store::{Commit, Committed, Conflict, Entry, Error, Kind, Reply, Resource, Versioned};

impl<T: Resource + Clone + PartialEq> Collection<T> {
    /// Reads a resource, changes a copy of it by `change`, and commits that if nobody else was faster; else again,
    /// from the value the other one left. Gives the state now.
    ///
    /// `change` may run more than once, with nothing locked: keep it free of other effects. A value that it leaves
    /// as it was, by the type's own `==`, is not written: there is no new version, and no feed event. Each try costs a
    /// clone of the value and a commit, and the first one a read.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where there is nothing to change. The last [`Conflict`](crate::Conflict) once [`Retry`](crate::Retry)
    /// allows no more tries: 409, and worth trying later.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let counters = Collection::<u64>::in_memory();
    /// counters.create("visits", 0).wait()?;
    /// let visits = counters.modify("visits", |count| *count += 1).wait()?;
    /// assert_eq!(*visits.value, 1);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn modify<'a>(
        &'a self,
        id: &'a str,
        mut change: impl FnMut(&mut T) + Send + 'a,
    ) -> Reply<'a, Versioned<T>> {
        at_once(self, id, move |mut value| {
            change(&mut value);
            ready(Ok(value))
        })
    }

    /// [`modify`](Self::modify) by a closure that may refuse, with an error of the program's own or with
    /// [`Conflict::state`](crate::Conflict::state).
    ///
    /// # Errors
    ///
    /// The closure's error as it is. It is returned only once a check has shown that the value it was decided on is
    /// still the stored one; else the closure decides again.
    ///
    /// ```
    /// use ifmatch::{Collection, Error};
    ///
    /// #[derive(Debug)]
    /// enum Withdrawal {
    ///     TooMuch,
    ///     Store(Error),
    /// }
    ///
    /// impl From<Error> for Withdrawal {
    ///     fn from(error: Error) -> Self {
    ///         Self::Store(error)
    ///     }
    /// }
    ///
    /// let accounts = Collection::<u64>::in_memory();
    /// accounts.create("ann", 20).wait()?;
    /// let refused = accounts
    ///     .try_modify("ann", |balance| {
    ///         *balance = balance.checked_sub(30).ok_or(Withdrawal::TooMuch)?;
    ///         Ok(())
    ///     })
    ///     .wait();
    /// assert!(matches!(refused, Err(Withdrawal::TooMuch)));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_modify<'a, E: From<Error> + Send + 'a>(
        &'a self,
        id: &'a str,
        mut change: impl FnMut(&mut T) -> Result<(), E> + Send + 'a,
    ) -> Reply<'a, Versioned<T>, E> {
        at_once(self, id, move |mut value| {
            let changed = change(&mut value);
            ready(changed.map(|()| value))
        })
    }

    /// [`try_modify`](Self::try_modify) by a future: `change` takes the copy and gives the changed value back.
    ///
    /// The deadline of the [`Retry`](crate::Retry) bounds the future too.
    ///
    /// ```
    /// # use ifmatch::{Collection, Error};
    /// # async fn price() -> u64 { 7 }
    /// let prices = Collection::<u64>::in_memory();
    /// prices.create("tea", 5).wait()?;
    /// let tea = prices.modify_async("tea", |old| async move { Ok::<_, Error>(old.max(price().await)) }).wait()?;
    /// assert_eq!(*tea.value, 7);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn modify_async<'a, E, F, Fut>(&'a self, id: &'a str, change: F) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
        F: FnMut(T) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        in_time(self, id, change)
    }
}

/// What the closure made of a value.
enum Verdict<T, E> {
    Change(Arc<T>),
    Same,
    Refuse(E),
}

/// How far the first round came without waiting.
enum Begun<'a, T, E> {
    No,
    Read(Reply<'a, Option<Versioned<T>>>),
    Sent(Versioned<T>, Verdict<T, E>, Reply<'a, Committed>),
}

/// Why there is no answer: the closure's own error, or one of ours.
enum Stop<E> {
    Own(E),
    Error(Error),
}

/// How the call goes about the line of its id.
enum Stand<'a, T> {
    Out,
    In(Place<'a, T>),
    /// Without a gate, or after the line stalled.
    Ungated,
}

impl<E: From<Error>> Stop<E> {
    fn into_own(self) -> E {
        match self {
            Self::Own(error) => error,
            Self::Error(error) => error.into(),
        }
    }
}

impl<E> From<Error> for Stop<E> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Changes `id` by a closure that decides at once. Where the store answers at once too and there is no race, so does
/// this, without a future.
fn at_once<'a, T, E, F>(
    collection: &'a Collection<T>,
    id: &'a str,
    mut decide: F,
) -> Reply<'a, Versioned<T>, E>
where
    T: Resource + Clone + PartialEq,
    E: From<Error> + Send + 'a,
    F: FnMut(T) -> Ready<Result<T, E>> + Send + 'a,
{
    let short =
        !collection.stamps().needed() && !collection.retry().reports() && !collection.gate().has_line(id);
    let begun = if short { first_round(collection, id, &mut decide) } else { Begun::No };
    match begun {
        Begun::Sent(base, verdict, reply) => match reply.into_ready() {
            Ok(Ok(committed)) => Reply::ready(verdict.conclude(base, &committed).map_err(Stop::into_own)),
            Ok(answer) => later(collection, id, decide, Begun::Sent(base, verdict, Reply::ready(answer))),
            Err(reply) => later(collection, id, decide, Begun::Sent(base, verdict, reply)),
        },
        begun => later(collection, id, decide, begun),
    }
}

/// Changes `id` by a closure that decides later.
fn in_time<'a, T, E, F, Fut>(
    collection: &'a Collection<T>,
    id: &'a str,
    decide: F,
) -> Reply<'a, Versioned<T>, E>
where
    T: Resource + Clone + PartialEq,
    E: From<Error> + Send + 'a,
    F: FnMut(T) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send,
{
    later(collection, id, decide, Begun::No)
}

fn first_round<'a, T, E, F>(collection: &'a Collection<T>, id: &'a str, decide: &mut F) -> Begun<'a, T, E>
where
    T: Resource + Clone + PartialEq,
    F: FnMut(T) -> Ready<Result<T, E>>,
{
    let base = match collection.store().get(id).into_ready() {
        Ok(Ok(Some(base))) => base,
        Ok(answer) => return Begun::Read(Reply::ready(answer)),
        Err(reply) => return Begun::Read(reply),
    };
    let verdict = Verdict::of(decide(T::clone(&base.value)).into_inner(), &base);
    let reply = collection.store().commit(verdict.commit(id, &base));
    Begun::Sent(base, verdict, reply)
}

#[cold]
fn later<'a, T, E, F, Fut>(
    collection: &'a Collection<T>,
    id: &'a str,
    decide: F,
    begun: Begun<'a, T, E>,
) -> Reply<'a, Versioned<T>, E>
where
    T: Resource + Clone + PartialEq,
    E: From<Error> + Send + 'a,
    F: FnMut(T) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send,
{
    Reply::pending(async move {
        let mut call = Call::new(collection.retry());
        let answer = rounds(collection, id, &mut call, decide, begun).await;
        call.report(
            Some(id),
            match &answer {
                Ok((_, true)) => Effect::Applied,
                Ok((_, false)) => Effect::Unchanged,
                Err(Stop::Own(_)) => Effect::Refused,
                Err(Stop::Error(error)) => Effect::Failed(error),
            },
        );
        answer.map(|(now, _)| now).map_err(Stop::into_own)
    })
}

/// The value now, and whether it was changed.
type Answer<T, E> = Result<(Versioned<T>, bool), Stop<E>>;

async fn rounds<'a, T, E, F, Fut>(
    collection: &'a Collection<T>,
    id: &'a str,
    call: &mut Call<'_>,
    mut decide: F,
    begun: Begun<'a, T, E>,
) -> Answer<T, E>
where
    T: Resource + Clone + PartialEq,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let store = &**collection.store();
    let stamps = collection.stamps();
    let gate = collection.gate();
    let mut stand = if gate.is_on() { Stand::Out } else { Stand::Ungated };
    let mut beaten = false;
    let (mut known, mut reading, mut sent) = (None, None, None);
    match begun {
        Begun::Read(reply) => reading = Some(reply),
        Begun::Sent(base, verdict, reply) => sent = Some((base, verdict, Sent { reply, write: None })),
        // There may be a line: join it before reading, as what is read now would be stale when the turn comes.
        Begun::No => {
            if let Some(place) = gate.follow(id) {
                let Some(called) = stand_in(call, place).await else { return Err(call.too_late().into()) };
                (stand, known) = called;
            }
        }
    }

    loop {
        let (base, verdict, first) = match sent.take() {
            Some((base, verdict, sent)) => (base, verdict, Some(sent)),
            None => {
                let base = match known.take() {
                    Some(known) => known,
                    None => call.fetch(store, stamps, id, reading.take()).await?,
                };
                stand.knows(&base);
                let Some(decided) = call.bound(decide(T::clone(&base.value))).await else {
                    return Err(call.too_late().into());
                };
                let verdict = Verdict::of(decided, &base);
                (base, verdict, None)
            }
        };
        let error = match call.commit(store, stamps, &verdict.commit(id, &base), first).await {
            Ok(committed) => {
                let changed = matches!(verdict, Verdict::Change(_));
                // This may be its last handle, whose drop may take its time: the next in line is called first.
                let replaced = Arc::clone(&base.value);
                let now = verdict.conclude(base, &committed)?;
                stand.knows(&now);
                drop(stand);
                drop(replaced);
                return Ok((now, changed));
            }
            Err(error) => missing_in(error),
        };
        let Error::Conflict(conflict) = error else { return Err(error.into()) };
        if *conflict.kind() != Kind::Stale {
            return Err(Error::from(conflict).into());
        }
        known = conflict.current::<T>();
        if !call.may_try() {
            return Err(gave_up(conflict, call).into());
        }
        stand = match stand {
            // The turn is kept, and the next try needs no read. Whoever was faster is not in this line: once may be
            // chance, but lines of other processes would beat one another for ever if none of them waited.
            Stand::In(place) => {
                if std::mem::replace(&mut beaten, true) && !call.pause().await {
                    return Err(gave_up(conflict, call).into());
                }
                Stand::In(place)
            }
            Stand::Ungated if call.pause().await => Stand::Ungated,
            Stand::Ungated => return Err(gave_up(conflict, call).into()),
            Stand::Out => {
                let place = gate.join(id, known.take());
                let Some((stand, handed)) = stand_in(call, place).await else {
                    return Err(gave_up(conflict, call).into());
                };
                known = handed;
                stand
            }
        };
    }
}

/// Waits in line. `None` where the deadline passes there.
async fn stand_in<'a, T: Resource>(
    call: &Call<'_>,
    mut place: Place<'a, T>,
) -> Option<(Stand<'a, T>, Option<Versioned<T>>)> {
    Some(match call.bound(place.called()).await? {
        Called::Turn(handed) => (Stand::In(place), handed),
        Called::Stalled => (Stand::Ungated, None),
    })
}

fn gave_up(conflict: Conflict, call: &Call<'_>) -> Error {
    conflict.exhausted(call.attempts()).into()
}

impl<T: Resource> Stand<'_, T> {
    /// What the next in line is to start from.
    fn knows(&mut self, now: &Versioned<T>) {
        if let Self::In(place) = self {
            place.known = Some(now.clone());
        }
    }
}

impl<T: Resource + PartialEq, E> Verdict<T, E> {
    fn of(decided: Result<T, E>, base: &Versioned<T>) -> Self {
        match decided {
            Ok(value) if value == *base.value => Self::Same,
            Ok(value) => Self::Change(Arc::new(value)),
            Err(error) => Self::Refuse(error),
        }
    }

    /// What makes the verdict true: the change, or a check that what it was passed on still stands.
    fn commit<'a>(&self, id: &'a str, base: &Versioned<T>) -> Commit<'a, T> {
        match self {
            Self::Change(value) => Commit::one(Entry::put(id, base, Arc::clone(value))),
            Self::Same => Commit::unchanged(Entry::check(id, base)),
            Self::Refuse(_) => Commit::one(Entry::check(id, base)),
        }
    }

    fn conclude(self, base: Versioned<T>, committed: &Committed) -> Result<Versioned<T>, Stop<E>> {
        match self {
            Self::Change(value) => {
                let version = committed.put_version(0).map_err(Error::from)?;
                Ok(Versioned { version, value })
            }
            // Another version where the value was rewritten in a newer schema.
            Self::Same => Ok(Versioned { version: committed.version().unwrap_or(base.version), ..base }),
            Self::Refuse(error) => Err(Stop::Own(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Waker};
    use std::time::Duration;

    use parking_lot::Mutex;

    use crate::collection::collection::Collection;
    use crate::collection::retry::{Effect, Retry};
    use crate::collection::testing::{Fault, Jumping, Pace, Scripted};
    use crate::store::{Advice, Conflict, Error, Expected, Kind, NotFound, conflict_in};

    #[derive(Debug, thiserror::Error)]
    enum Own {
        #[error("too much")]
        TooMuch(u64),
        #[error(transparent)]
        Store(#[from] Error),
    }

    fn counter(store: Scripted<u64>) -> (Arc<Scripted<u64>>, Collection<u64>) {
        let store = Arc::new(store);
        let backoff = Duration::from_micros(10);
        let retry = Retry::default().backoff(backoff, backoff).without_gate();
        let counters = Collection::new(Arc::clone(&store)).with_retry(retry);
        counters.create("a", 1).wait().unwrap();
        (store, counters)
    }

    fn ready() -> (Arc<Scripted<u64>>, Collection<u64>) {
        counter(Scripted::new(Pace::Ready, false))
    }

    /// All the ways a store may answer.
    fn every() -> [(Arc<Scripted<u64>>, Collection<u64>); 4] {
        let pending = Pace::Pending(Duration::from_micros(10));
        [(Pace::Ready, false), (Pace::Ready, true), (pending, false), (pending, true)]
            .map(|(pace, unknown)| counter(Scripted::new(pace, unknown)))
    }

    #[test]
    fn a_change_over_a_store_that_answers_at_once_is_done_at_once() {
        let (_, counters) = ready();

        let reply = counters.modify("a", |count| *count += 1);

        assert_eq!(*reply.into_ready().unwrap().unwrap().value, 2);
    }

    #[test]
    fn a_lost_round_starts_again_from_the_conflicts_own_value() {
        for (store, counters) in every() {
            let reads = store.read();
            let mut seen = Vec::new();

            let now = counters
                .modify("a", |count| {
                    seen.push(*count);
                    if seen.len() < 3 {
                        counters.put("a", 10 * seen.len() as u64).wait().unwrap();
                    }
                    *count += 1;
                })
                .wait()
                .unwrap();

            assert_eq!(*now.value, 21);
            assert_eq!(counters.fetch("a").wait().unwrap(), now);
            assert_eq!(seen, [1, 10, 20]);
            assert_eq!(store.read() - reads, 2, "the first round's, and this test's own");
        }
    }

    #[test]
    fn a_change_that_loses_for_ever_gives_up_with_the_last_conflict() {
        for gate in [true, false] {
            let store = Arc::new(Scripted::<u64>::new(Pace::Ready, false));
            let retry = Retry::default().timer(Jumping::new()).attempts(3);
            let retry = if gate { retry } else { retry.without_gate() };
            let counters = Collection::new(Arc::clone(&store)).with_retry(retry);
            counters.create("a", 1).wait().unwrap();

            let answer = counters
                .modify("a", |count| {
                    counters.put("a", *count + 1).wait().unwrap();
                    *count = 0;
                })
                .wait();

            let Err(Error::Conflict(conflict)) = answer else { panic!("it did not give up") };
            assert_eq!((conflict.attempts(), conflict.retry()), (3, Advice::Wait));
            assert_eq!(*conflict.current::<u64>().unwrap().value, 4);
        }
    }

    #[test]
    fn what_is_missing_or_deleted_is_told_apart() {
        for (_, counters) in every() {
            let missing = counters.modify("b", |count| *count += 1).wait();
            assert!(matches!(missing, Err(Error::NotFound(found)) if found == NotFound::new("b")));

            // Once by the read, and once by the commit.
            for _ in 0..2 {
                let deleted = counters
                    .modify("a", |count| {
                        counters.delete("a", Expected::Any).wait().unwrap();
                        *count += 1;
                    })
                    .wait();
                assert!(matches!(deleted, Err(Error::NotFound(found)) if found == NotFound::deleted("a")));
            }
        }
    }

    #[test]
    fn an_unchanged_value_is_not_written_and_is_the_live_one() {
        for (_, counters) in every() {
            let before = counters.fetch("a").wait().unwrap();
            assert_eq!(counters.modify("a", |_| ()).wait().unwrap(), before);
            assert_eq!(counters.fetch("a").wait().unwrap(), before);

            let mut raced = false;
            let now = counters
                .modify("a", |count| {
                    if !std::mem::replace(&mut raced, true) {
                        counters.put("a", 9).wait().unwrap();
                    }
                    *count = (*count).max(1);
                })
                .wait()
                .unwrap();
            assert_eq!(*now.value, 9);
        }
    }

    #[test]
    fn a_refusal_goes_out_as_it_is_once_it_was_decided_on_the_live_value() {
        for (_, counters) in every() {
            let limit = |count: &mut u64| {
                *count += 1;
                if *count > 6 { Err(Own::TooMuch(*count)) } else { Ok(()) }
            };
            counters.put("a", 7).wait().unwrap();
            assert!(matches!(counters.try_modify("a", limit).wait(), Err(Own::TooMuch(8))));

            let mut raced = false;
            let now = counters
                .try_modify("a", |count| {
                    let refused = limit(count);
                    if !std::mem::replace(&mut raced, true) {
                        counters.put("a", 2).wait().unwrap();
                    }
                    refused
                })
                .wait();
            assert_eq!(*now.unwrap().value, 3);

            let deleted = counters.try_modify("a", |_| {
                counters.delete("a", Expected::Any).wait().unwrap();
                Err(Own::TooMuch(0))
            });
            assert!(matches!(deleted.wait(), Err(Own::Store(Error::NotFound(_)))));
        }
    }

    #[test]
    fn an_error_of_the_closure_is_not_taken_for_a_lost_round() {
        let (store, counters) = ready();
        counters.create("b", 1).wait().unwrap();
        let sent = store.sent();
        let mut runs = 0;

        let answer = counters
            .try_modify("a", |_| {
                runs += 1;
                counters.create("b", 2).wait().map(drop)
            })
            .wait();

        assert!(matches!(answer, Err(Error::Conflict(conflict)) if conflict.id() == "b"));
        assert_eq!((runs, store.sent() - sent), (1, 2));
    }

    #[test]
    fn a_rule_of_the_program_refuses_with_a_conflict_that_is_found_again() {
        for (_, counters) in every() {
            let current = counters.fetch("a").wait().unwrap();

            let answer = counters
                .try_modify("a", |_| {
                    let conflict = Conflict::state("a", "full", "it is full").with_current(&current);
                    Err(Own::from(Error::from(conflict)))
                })
                .wait();

            let error: Box<dyn std::error::Error> = answer.unwrap_err().into();
            let conflict = conflict_in(&*error).unwrap();
            assert_eq!(*conflict.kind(), Kind::State { rule: "full".into(), reason: "it is full".into() });
            assert_eq!((conflict.attempts(), conflict.retry()), (1, Advice::Never));
        }
    }

    #[test]
    fn a_lock_is_not_taken_for_a_lost_round() {
        for (store, counters) in every() {
            store.commit_faults.lock().push_back(Fault::Lock);
            let sent = store.sent();

            let answer = counters.modify("a", |count| *count += 1).wait();

            let Err(Error::Conflict(conflict)) = answer else { panic!("it was locked") };
            assert_eq!((conflict.attempts(), conflict.retry()), (1, Advice::Wait));
            assert_eq!(store.sent() - sent, 1);
        }
    }

    #[test]
    fn a_value_that_panics_when_cloned_or_compared_stays_as_it_was_and_holds_no_line() {
        #[derive(Clone, Copy, PartialEq)]
        enum At {
            Nothing,
            Clone,
            Compare,
        }

        struct Touchy(u64, Arc<Mutex<At>>);

        impl Clone for Touchy {
            fn clone(&self) -> Self {
                assert!(*self.1.lock() != At::Clone);
                Self(self.0, Arc::clone(&self.1))
            }
        }

        impl PartialEq for Touchy {
            fn eq(&self, other: &Self) -> bool {
                assert!(*self.1.lock() != At::Compare);
                self.0 == other.0
            }
        }

        let mut context = Context::from_waker(Waker::noop());
        for (at, in_line) in
            [(At::Clone, false), (At::Clone, true), (At::Compare, false), (At::Compare, true)]
        {
            let when = Arc::new(Mutex::new(At::Nothing));
            let counters = Collection::in_memory();
            let first = counters.create("a", Touchy(1, Arc::clone(&when))).wait().unwrap();
            let head = in_line.then(|| counters.gate().join("a", None));
            let counts = || counters.modify("a", |count| count.0 += 1);

            let panicked = catch_unwind(AssertUnwindSafe(|| {
                *when.lock() = if in_line { At::Nothing } else { at };
                let mut reply = counts();
                assert!(pin!(&mut reply).poll(&mut context).is_pending());
                *when.lock() = at;
                drop(head);
                reply.wait()
            }));
            *when.lock() = At::Nothing;

            assert!(panicked.is_err() && counters.gate().is_quiet());
            assert_eq!(counters.get("a").wait().unwrap().unwrap().version, first.version);
            assert_eq!(counts().wait().unwrap().value.0, 2);
        }
    }

    #[test]
    fn a_change_that_is_dropped_at_any_await_was_made_or_was_not_and_holds_no_line() {
        for (unknown, change) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
            for polls in 0.. {
                let store = Arc::new(Scripted::<u64>::new(Pace::Yields, unknown));
                let counters = Collection::new(Arc::clone(&store));
                counters.create("a", 1).wait().unwrap();
                let mut raced = false;
                let mut reply = counters.modify("a", |count| {
                    // A lost round, so that the sweep goes through the line too.
                    if !std::mem::replace(&mut raced, true) {
                        counters.put("a", 1).wait().unwrap();
                    }
                    *count += change;
                });
                let mut context = Context::from_waker(Waker::noop());
                let done = (0..polls).any(|_| pin!(&mut reply).poll(&mut context).is_ready());
                drop(reply);

                assert!(counters.gate().is_quiet());
                let now = *counters.fetch("a").wait().unwrap().value;
                assert!(if done { now == 1 + change } else { now == 1 || now == 1 + change });
                assert_eq!(*counters.modify("a", |count| *count += 10).wait().unwrap().value, now + 10);
                if done {
                    assert_eq!(polls, 7, "a read and two commits, each pending twice");
                    break;
                }
            }
        }
    }

    #[test]
    fn the_report_tells_how_each_call_ended() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let retry = Retry::default().timer(Jumping::new()).attempts(2).report(move |report| {
            let effect = match report.effect {
                Effect::Applied => "applied",
                Effect::Unchanged => "unchanged",
                Effect::Refused => "refused",
                Effect::Failed(_) => "failed",
            };
            tell.lock().push((report.id.map(str::to_owned), report.attempts, effect));
        });
        let counters = Collection::<u64>::in_memory().with_retry(retry);
        counters.create("a", 1).wait().unwrap();

        counters.modify("a", |count| *count += 1).wait().unwrap();
        counters.modify("a", |_| ()).wait().unwrap();
        counters.try_modify("a", |_| Err(Own::TooMuch(0))).wait().unwrap_err();
        let race = |count: &mut u64| *count = *counters.put("a", *count + 1).wait().unwrap().value + 1;
        counters.modify("a", race).wait().unwrap_err();

        let expected = [(1, "applied"), (1, "unchanged"), (1, "refused"), (2, "failed")];
        assert_eq!(*told.lock(), expected.map(|(attempts, effect)| (Some("a".to_owned()), attempts, effect)));
    }

    #[test]
    fn every_increment_counts_once_where_answers_are_lost() {
        let faults = [Fault::None, Fault::LoseAnswer, Fault::LoseRequest, Fault::Fail, Fault::None];
        let (store, counters) = counter(Scripted::new(Pace::Ready, true));
        store.commit_faults.lock().extend(faults.iter().cycle().take(400));

        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        counters.modify("a", |count| *count += 1).wait().unwrap();
                    }
                });
            }
        });

        assert_eq!(*counters.fetch("a").wait().unwrap().value, 201);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_forms_work_in_a_spawned_task_with_captures_by_reference() {
        for (_, counters) in every() {
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let counters = counters.clone();
                    tokio::spawn(async move {
                        let (step, runs, id) = (1, AtomicU32::new(0), "a".to_owned());
                        let (step, runs) = (&step, &runs);
                        counters.modify(&id, |count| *count += step).await?;
                        counters
                            .try_modify(&id, |count| {
                                runs.fetch_add(1, Ordering::Relaxed);
                                *count = count.checked_add(*step).ok_or(Own::TooMuch(*count))?;
                                Ok::<_, Own>(())
                            })
                            .await?;
                        counters
                            .modify_async(&id, |count| async move {
                                tokio::task::yield_now().await;
                                runs.fetch_add(1, Ordering::Relaxed);
                                Ok::<_, Own>(count + step)
                            })
                            .await
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }

            assert_eq!(*counters.fetch("a").await.unwrap().value, 13);
        }
    }

    #[test]
    fn a_deadline_ends_the_closures_future_too() {
        let (store, counters) = ready();
        let counters = counters.with_retry(Retry::default().timer(Jumping::new()));

        let answer = counters.modify_async("a", |_| std::future::pending::<Result<u64, Error>>()).wait();

        assert!(matches!(answer, Err(Error::Failed(_))));
        assert_eq!(store.sent(), 1);
    }
}
