//! `transact`, the loop around a transaction: work, commit, and again where that lost a race for what the work had read.

use std::future::Future;
use std::sync::Arc;

use crate::collection::call::Call;
use crate::collection::collection::Collection;
use crate::collection::lines::{Lines, Place};
use crate::collection::retry::{Effect, Retry};
use crate::collection::slots::{Seen, changed_since};
use crate::collection::transaction::Transaction;
use crate::store::{Committed, Conflict, Error, Mismatch, Reply, Resource};

/// Where transactions come from that can be tried again.
pub(super) trait Transactional: Sync {
    type Transaction: Tried;

    fn retry(&self) -> &Retry;

    fn begin(&self) -> Self::Transaction;

    /// The conflict of a commit that checks what a transaction has read.
    fn changed_since(
        &self,
        seen: &Seen,
        call: &mut Call<'_>,
    ) -> impl Future<Output = Option<Conflict>> + Send;

    /// The lines in which those stand who lost a race for what was lost here.
    fn places(&self, conflict: &Conflict) -> Vec<Place>;
}

/// A transaction, as its loop sees it.
pub(super) trait Tried: Send {
    /// What it has read, also once it is gone.
    fn seen(&self) -> Seen;

    fn send(&mut self, call: &mut Call<'_>) -> impl Future<Output = Result<Committed, Error>> + Send;

    fn writes(&self) -> bool;

    /// Whether the work can come to another end where it reads again.
    fn may_mend(&self, conflict: &Conflict) -> bool;
}

/// Does the work in a transaction of `source` and commits it, until that is done or can't be.
pub(super) fn transact<'a, S, R, E, F, Fut>(source: &'a S, mut work: F) -> Reply<'a, R, E>
where
    S: Transactional,
    R: Send + 'a,
    E: From<Error> + Send + 'a,
    F: FnMut(S::Transaction) -> Fut + Send + 'a,
    Fut: Future<Output = Result<(S::Transaction, R), E>> + Send,
{
    Reply::pending(async move {
        let mut call = Call::new(source.retry());
        let mut lines = Lines::default();
        let error = 'lines: loop {
            let Some(turns) = lines.stand(&call).await else { break call.too_late() };
            let mut beaten = false;
            let more = loop {
                let transaction = source.begin();
                let seen = transaction.seen();
                let Some(done) = call.bound(work(transaction)).await else { break 'lines call.too_late() };
                let conflict = match done {
                    Ok((mut transaction, answer)) => match transaction.send(&mut call).await {
                        Ok(_) => {
                            let effect =
                                if transaction.writes() { Effect::Applied } else { Effect::Unchanged };
                            call.report(None, effect);
                            return Ok(answer);
                        }
                        Err(Error::Conflict(conflict)) if transaction.may_mend(&conflict) => conflict,
                        Err(error) => break 'lines error,
                    },
                    Err(error) => match source.changed_since(&seen, &mut call).await {
                        Some(conflict) => conflict,
                        None => {
                            call.report(None, Effect::Refused);
                            return Err(error);
                        }
                    },
                };
                if !call.may_try() {
                    break 'lines conflict.exhausted(call.attempts()).into();
                }
                // Where it stands in all lines already, whoever was faster is not in them: once may be chance.
                if let Some(more) = lines.with(source.places(&conflict)) {
                    break more;
                }
                if (lines.is_empty() || std::mem::replace(&mut beaten, true)) && !call.pause().await {
                    break 'lines conflict.exhausted(call.attempts()).into();
                }
            };
            drop(turns);
            lines = more;
        };
        call.report(None, Effect::Failed(&error));
        Err(error.into())
    })
}

impl<T: Resource + ?Sized> Collection<T> {
    /// Does `work` in a transaction and commits it, and again where the commit lost a race for what the work had read.
    ///
    /// `work` may run more than once: keep it free of other effects. It gives the transaction back with its answer. Write it
    /// as an async closure, which borrows what it uses from outside. A transaction is one of this collection alone.
    ///
    /// The versions that were written are not told. Where a response has to carry one, as an `ETag`, take
    /// [`transaction`](Self::transaction) and the receipts of its commit: a read afterwards may find the next writer's.
    ///
    /// Only what is read through the transaction is checked. A [`list`](Self::list) is not, so it decides nothing here: see
    /// [`Transaction`] for what no two may have.
    ///
    /// What it expects on its own account, by [`check`](Transaction::check), [`create`](Transaction::create) or
    /// [`save`](Transaction::save), is not tried again when it fails.
    ///
    /// # Errors
    ///
    /// The work's own error as it is, with nothing committed. Where a check shows that what the work had read has
    /// changed since, or never stood there at one instant, the work decides again instead. The last conflict once
    /// [`Retry`](crate::Retry) allows no more tries.
    ///
    /// ```
    /// use ifmatch::{Collection, Error};
    ///
    /// let accounts = Collection::<i64>::in_memory();
    /// accounts.create("ann", 100).wait()?;
    ///
    /// let (from, to) = ("ann".to_string(), "bob".to_string());
    /// let left = accounts
    ///     .transact(async |mut transfer| {
    ///         let giver = transfer.get(&from).await?.map_or(0, |giver| *giver);
    ///         transfer.put(&from, giver - 30);
    ///         // Only now: where both are the same account, it sees what was just put.
    ///         let taker = transfer.get(&to).await?.map_or(0, |taker| *taker);
    ///         transfer.put(&to, taker + 30);
    ///         Ok::<_, Error>((transfer, giver - 30)) // the error type must be named somewhere
    ///     })
    ///     .wait()?;
    /// assert_eq!(left, 70);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn transact<'a, R, E, F, Fut>(&'a self, work: F) -> Reply<'a, R, E>
    where
        R: Send + 'a,
        E: From<Error> + Send + 'a,
        F: FnMut(Transaction<T>) -> Fut + Send + 'a,
        Fut: Future<Output = Result<(Transaction<T>, R), E>> + Send,
    {
        transact(self, work)
    }
}

impl<T: Resource + ?Sized> Transactional for Collection<T> {
    type Transaction = Transaction<T>;

    fn retry(&self) -> &Retry {
        self.retry()
    }

    fn begin(&self) -> Transaction<T> {
        self.transaction()
    }

    async fn changed_since(&self, seen: &Seen, call: &mut Call<'_>) -> Option<Conflict> {
        changed_since(seen, &**self.store(), self.stamps(), call).await
    }

    fn places(&self, conflict: &Conflict) -> Vec<Place> {
        let collection: Arc<str> = "".into();
        let place = |mismatch: &Mismatch| Place {
            collection: Arc::clone(&collection),
            id: mismatch.id().into(),
            line: Arc::new(self.clone()),
        };
        conflict.mismatches().iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Waker};
    use std::thread;

    use super::*;
    use crate::collection::retry::Retry;
    use crate::collection::testing::{Jumping, Pace, Scripted};
    use crate::store::{Commit, Condition, Entry, Expected, Refusal};

    fn numbers() -> Collection<u64> {
        let numbers = Collection::in_memory();
        numbers.create("a", 1).wait().unwrap();
        numbers.create("b", 2).wait().unwrap();
        numbers
    }

    #[test]
    fn a_race_for_what_was_read_is_run_again_while_what_the_caller_expects_holds() {
        for (goes, expected) in [(false, Some(3)), (true, None)] {
            let numbers = Collection::<u64>::in_memory();
            numbers.create("a", 1).wait().unwrap();
            let runs = AtomicU32::new(0);

            let answer = numbers
                .transact(async |mut transaction| {
                    transaction.check("a", Condition::from_protocol(Expected::Present))?;
                    let read = *transaction.get("a").await?.unwrap();
                    if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                        match goes {
                            true => drop(numbers.delete("a", Expected::Present).await?),
                            false => drop(numbers.put("a", 2).await?),
                        }
                    }
                    transaction.put("a", read + 1);
                    Ok::<_, Error>((transaction, read + 1))
                })
                .wait();

            assert_eq!(answer.ok(), expected, "only what the caller expected is told as its failure");
        }
    }

    #[test]
    fn transact_tries_again_for_what_it_read_and_not_for_what_it_was_told() {
        let numbers = numbers().with_retry(Retry::default().timer(Jumping::new()).attempts(3));
        let runs = AtomicU32::new(0);
        let (runs, numbers) = (&runs, &numbers);
        let race = |id: &'static str, times: u32| {
            if runs.fetch_add(1, Ordering::Relaxed) < times {
                numbers.put(id, 100).wait().unwrap();
            }
        };

        let sum = numbers.transact(|mut work| async move {
            let sum = work.get("a").await?.map_or(0, |a| *a) + work.get("b").await?.map_or(0, |b| *b);
            race("a", 1);
            work.put("c", sum);
            Ok::<_, Error>((work, sum))
        });
        assert_eq!(sum.wait().unwrap(), 102);
        assert_eq!(runs.swap(0, Ordering::Relaxed), 2);

        let for_ever = numbers.transact(|mut work| async move {
            work.get("a").await?;
            race("a", u32::MAX);
            work.put("c", 1);
            Ok::<_, Error>((work, ()))
        });
        let Err(Error::Conflict(conflict)) = for_ever.wait() else { panic!("it did not give up") };
        assert_eq!((conflict.attempts(), runs.swap(0, Ordering::Relaxed)), (3, 3));

        let told = numbers.transact(|mut work| async move {
            race("none", 0);
            work.create("b", 1)?;
            Ok::<_, Error>((work, ()))
        });
        let Err(Error::Conflict(conflict)) = told.wait() else { panic!("b is there") };
        assert_eq!((conflict.attempts(), runs.swap(0, Ordering::Relaxed)), (1, 1));

        let own = numbers.transact(|mut work| async move {
            race("none", 0);
            work.put("c", 77);
            Err::<(Transaction<u64>, ()), _>(numbers.create("b", 1).await.unwrap_err())
        });
        assert!(matches!(own.wait(), Err(Error::Conflict(_))));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(*numbers.fetch("c").wait().unwrap().value, 102);
    }

    #[test]
    fn an_error_of_the_work_stands_only_on_what_was_there_at_one_instant() {
        let numbers = numbers().with_retry(Retry::default().timer(Jumping::new()));
        let runs = AtomicU32::new(0);
        let (runs, numbers) = (&runs, &numbers);

        // The sum is 3 throughout; between its reads a transfer is seen in half.
        let answer = numbers.transact(|mut work| async move {
            let a = *work.get("a").await?.unwrap();
            if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                let both = Commit::one(Entry::put("a", Expected::Any, Arc::new(0)));
                numbers.commit(both.and(Entry::put("b", Expected::Any, Arc::new(3)))).await?;
            }
            let b = *work.get("b").await?.unwrap();
            if a + b != 3 { Err(Error::from(Refusal::EmptyPage)) } else { Ok((work, a)) }
        });
        assert_eq!(answer.wait().unwrap(), 0);
        assert_eq!(runs.load(Ordering::Relaxed), 2);

        let refused = numbers.transact(|mut work| async move {
            work.get("a").await?;
            runs.fetch_add(1, Ordering::Relaxed);
            Err::<(Transaction<u64>, ()), Error>(Refusal::EmptyPage.into())
        });
        assert!(matches!(refused.wait(), Err(Error::Refused(Refusal::EmptyPage))));
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_error_of_the_work_on_what_had_changed_is_not_returned_when_the_tries_end() {
        let numbers = numbers().with_retry(Retry::default().timer(Jumping::new()).attempts(3));
        let numbers = &numbers;

        let answer = numbers.transact(|mut work| async move {
            let a = *work.get("a").await?.unwrap();
            numbers.put("a", a + 1).await?;
            Err::<(Transaction<u64>, ()), Error>(Refusal::EmptyPage.into())
        });

        let Err(Error::Conflict(conflict)) = answer.wait() else { panic!("decided on what had changed") };
        assert_eq!((conflict.id(), conflict.attempts()), ("a", 3));
    }

    #[test]
    fn a_transfer_that_is_dropped_at_any_await_moved_all_or_nothing() {
        let mut context = Context::from_waker(Waker::noop());
        let mut ends = [0, 0];
        for (unknown, polls) in
            [false, true].into_iter().flat_map(|unknown| (0..20).map(move |n| (unknown, n)))
        {
            let numbers = Collection::new(Scripted::<u64>::new(Pace::Yields, unknown));
            for id in ["a", "b"] {
                numbers.create(id, 10).wait().unwrap();
            }
            let transfer = || {
                numbers.transact(|mut work| async move {
                    let [a, b] = [work.get("a").await?.unwrap(), work.get("b").await?.unwrap()];
                    work.put("a", *a - 1);
                    work.put("b", *b + 1);
                    Ok::<_, Error>((work, ()))
                })
            };
            let value = |id| *numbers.fetch(id).wait().unwrap().value;

            let mut dropped = transfer();
            (0..polls).any(|_| Pin::new(&mut dropped).poll(&mut context).is_ready());
            drop(dropped);

            let moved = 10 - value("a");
            assert_eq!(value("b"), 10 + moved);
            ends[moved as usize] += 1;
            transfer().wait().unwrap();
            assert_eq!((value("a"), value("b")), (9 - moved, 11 + moved));
        }

        assert!(ends.iter().all(|times| *times > 2), "{ends:?}");
    }

    #[test]
    fn transfers_keep_the_sum_and_checks_stop_write_skew() {
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, false));
        let doctors = Collection::new(store);
        for id in ["a", "b", "on-duty-a", "on-duty-b"] {
            doctors.create(id, if id.len() == 1 { 1_000 } else { 1 }).wait().unwrap();
        }
        thread::scope(|scope| {
            for (from, to) in [("a", "b"), ("b", "a"), ("a", "b")] {
                let doctors = &doctors;
                scope.spawn(move || {
                    for _ in 0..50 {
                        let transfer = doctors.transact(|mut work| async move {
                            let [source, target] = [work.get(from).await?, work.get(to).await?];
                            work.put(from, *source.unwrap() - 1);
                            work.put(to, *target.unwrap() + 1);
                            Ok::<_, Error>((work, ()))
                        });
                        transfer.wait().unwrap();
                    }
                });
            }
            for (own, other) in [("on-duty-a", "on-duty-b"), ("on-duty-b", "on-duty-a")] {
                let doctors = &doctors;
                scope.spawn(move || {
                    let leave = doctors.transact(|mut work| async move {
                        if work.get(other).await?.as_deref() == Some(&1) {
                            work.put(own, 0);
                        }
                        Ok::<_, Error>((work, ()))
                    });
                    leave.wait().unwrap();
                });
            }
        });

        let value = |id| *doctors.fetch(id).wait().unwrap().value;
        assert_eq!(value("a") + value("b"), 2_000);
        assert_eq!(value("on-duty-a") + value("on-duty-b"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn transact_works_in_a_spawned_task() {
        let numbers = numbers();
        let task = tokio::spawn(async move {
            let (id, step) = ("a".to_owned(), 5);
            let (id, step) = (&*id, &step);
            numbers
                .transact(|mut work| async move {
                    let before = work.get(id).await?.map_or(0, |found| *found);
                    work.put(id, before + step);
                    Ok::<_, Error>((work, before))
                })
                .await
        });

        assert_eq!(task.await.unwrap().unwrap(), 1);
    }
}
