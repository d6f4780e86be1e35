//! `modify` and its kin: the verbs that change a resource by a closure, whatever its value is.

use std::future::{Future, ready};

use crate::collection::collection::Collection;
use crate::collection::rounds::Rounds;
use crate::store::{Error, Reply, Resource, Versioned};

impl<T: Resource + Clone + PartialEq> Collection<T> {
    /// Reads a resource, changes a copy of it by `change`, and commits that if nobody else was faster; else again,
    /// from the value the other one left. Gives the state now.
    ///
    /// `change` may run more than once, with nothing locked: keep it free of other effects, and compute the new value from
    /// the one it is given. A value that was read before the call, or that a client sent, is old by then, and assigning it
    /// writes over what came in between. If it modifies the same id
    /// itself, it makes its own try stale each time, and is applied as often as [`Retry`](crate::Retry) allows tries: do
    /// both changes in one closure. Each try costs a clone of the value and a commit, and the first one a read.
    ///
    /// **What `change` leaves equal by the type's own `==` is not written**: there is no new version, and no feed event.
    /// So `==` must compare all that is to be kept. A type that compares its ids alone loses every other change here:
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// #[derive(Clone)]
    /// struct User { id: u64, name: String }
    ///
    /// impl PartialEq for User {
    ///     fn eq(&self, other: &Self) -> bool {
    ///         self.id == other.id // the name counts for nothing
    ///     }
    /// }
    ///
    /// let users = Collection::<User>::in_memory();
    /// users.create("7", User { id: 7, name: "Ann".to_string() }).wait()?;
    /// users.modify("7", |user| user.name.push('a')).wait()?;
    /// assert_eq!(users.fetch("7").wait()?.value.name, "Ann"); // lost!
    ///
    /// // A draft goes by what was touched, and asks no `==`.
    /// let mut user = users.edit("7").wait()?;
    /// user.name.push('a');
    /// user.commit().wait()?;
    /// assert_eq!(users.fetch("7").wait()?.value.name, "Anna");
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
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
        Rounds::of(self, id, move |mut value| {
            change(&mut value);
            ready(Ok(value))
        })
        .at_once()
    }

    /// [`modify`](Self::modify) of what there is, or of `first()` where there is nothing: in one call, and on the same
    /// line for hot ids. What is created is `first()` as `change` left it, even where it left it as it was.
    ///
    /// `first` and `change` may run more than once. As with `modify`, **what `change` leaves equal by `==` is not written**.
    /// Also where the resource is deleted meanwhile, it is created anew.
    ///
    /// # Errors
    ///
    /// The last [`Conflict`](crate::Conflict) once [`Retry`](crate::Retry) allows no more tries: 409, and worth trying
    /// later.
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// let visits = Collection::<u64>::in_memory();
    /// for _ in 0..2 {
    ///     visits.modify_or_create("home", || 0, |count| *count += 1).wait()?;
    /// }
    /// assert_eq!(*visits.fetch("home").wait()?.value, 2);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn modify_or_create<'a>(
        &'a self,
        id: &'a str,
        first: impl FnMut() -> T + Send + 'a,
        mut change: impl FnMut(&mut T) + Send + 'a,
    ) -> Reply<'a, Versioned<T>> {
        Rounds::of(self, id, move |mut value| {
            change(&mut value);
            ready(Ok(value))
        })
        .or(first)
        .at_once()
    }

    /// [`modify`](Self::modify) by a closure that may refuse, with an error of the program's own or with
    /// [`Conflict::state`](crate::Conflict::state). As there, **what it leaves equal by `==` is not written**.
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
        Rounds::of(self, id, move |mut value| {
            let changed = change(&mut value);
            ready(changed.map(|()| value))
        })
        .at_once()
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
    /// let tea = prices.modify_async("tea", async |old| Ok::<_, Error>(old.max(price().await))).wait()?;
    /// assert_eq!(*tea.value, 7);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn modify_async<'a, E, F, Fut>(&'a self, id: &'a str, change: F) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
        F: FnMut(T) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        Rounds::of(self, id, change).in_time()
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
    fn what_is_missing_is_created_in_the_same_call() {
        for (store, counters) in every() {
            let sent = store.sent();

            let created = counters.modify_or_create("b", || 5, |count| *count += 1).wait().unwrap();
            let changed = counters.modify_or_create("b", || 5, |count| *count += 1).wait().unwrap();
            let same = counters.modify_or_create("c", || 5, |_| ()).wait().unwrap();

            assert_eq!((*created.value, *changed.value, *same.value), (6, 7, 5));
            assert_eq!(counters.fetch("b").wait().unwrap(), changed);
            assert_eq!(
                counters.fetch("c").wait().unwrap(),
                same,
                "what the closure left alone is created too"
            );
            assert_eq!(store.sent() - sent, 3);
        }
    }

    #[test]
    fn what_appears_or_goes_under_a_creation_is_decided_anew() {
        for (_, counters) in every() {
            let mut runs = 0;
            let now = counters
                .modify_or_create(
                    "b",
                    || 100,
                    |count| {
                        runs += 1;
                        match runs {
                            1 => drop(counters.create("b", 1).wait().unwrap()),
                            2 => drop(counters.delete("b", Expected::Present).wait().unwrap()),
                            _ => {}
                        }
                        *count += 1;
                    },
                )
                .wait()
                .unwrap();

            assert_eq!((runs, *now.value), (3, 101));
            assert_eq!(counters.fetch("b").wait().unwrap(), now);
        }
    }

    #[test]
    fn writers_who_create_one_id_at_once_lose_no_count_and_stand_in_line() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Pending(Duration::from_millis(1)), false));
        let long = Duration::from_secs(600);
        let counters =
            Collection::new(Arc::clone(&store)).with_retry(Retry::default().stall(long).deadline(long));

        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for _ in 0..10 {
                        counters.modify_or_create("a", || 0, |count| *count += 1).wait().unwrap();
                    }
                });
            }
        });

        assert_eq!(*counters.fetch("a").wait().unwrap().value, 640);
        assert!(store.sent() <= 640 + 128, "{} attempts for 640 calls", store.sent());
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
