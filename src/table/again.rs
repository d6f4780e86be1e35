//! [`Retry::again`], the policy for trying again around a transaction of the program's own.

use std::future::{Future, ready};

use crate::collection::{Call, Retry};
use crate::store::{Error, block_on};
use crate::table::contention::Contention;

/// An error that says whether the transaction that met it may be tried again: what [`Retry::again`] asks.
///
/// For the program's own error type. A [`Conflict`](crate::Conflict) is as a rule not contention: what the caller believed
/// is stale, and stays so. It is one where the transaction itself read the version that it then expected, and a program says
/// so with a variant of its own:
///
/// ```
/// use ifmatch::table::{Contended, Contention};
///
/// enum Failed {
///     /// With the SQLSTATE.
///     Database(String),
///     Ifmatch(ifmatch::Error),
///     /// Somebody changed what this transaction had read: it reads again.
///     Overtaken(ifmatch::Error),
/// }
///
/// impl Contended for Failed {
///     fn contention(&self) -> Option<Contention> {
///         match self {
///             Self::Database(code) => Contention::of_sqlstate(code),
///             Self::Ifmatch(_) => None,
///             Self::Overtaken(_) => Some(Contention::Serialization),
///         }
///     }
/// }
/// ```
pub trait Contended {
    /// What it says; `None` where others were not in the way.
    fn contention(&self) -> Option<Contention>;
}

/// None of ours is contention for a transaction of the program's own: what it expected came from its caller.
impl Contended for Error {
    fn contention(&self) -> Option<Contention> {
        None
    }
}

impl Retry {
    /// Runs a whole transaction of the program's own, and again from its beginning while it fails by contention: as often,
    /// for as long and after such waits as this policy says.
    ///
    /// `work` begins a transaction, reads, judges, writes and commits. It must begin it anew each time, from a pool or a
    /// shared client: a `&mut` client from outside can't be lent to one try after the other, and does not compile. It may
    /// run several times, so it has no other effects. No try is given up half way: the deadline is looked at between them.
    ///
    /// # Errors
    ///
    /// The last error of `work` as it is: at once where it is not [contention](Contended) that may be tried again, so also
    /// where the answer to a commit was lost, else once the policy allows no more tries.
    ///
    /// ```
    /// use ifmatch::table::{Contended, Contention};
    /// use ifmatch::{Error, Retry};
    ///
    /// #[derive(Debug)]
    /// struct Sqlstate(&'static str);
    ///
    /// impl Contended for Sqlstate {
    ///     fn contention(&self) -> Option<Contention> {
    ///         Contention::of_sqlstate(self.0)
    ///     }
    /// }
    ///
    /// # async fn demo() -> Result<(), Sqlstate> {
    /// let tries = std::sync::atomic::AtomicU32::new(0);
    /// let tries = &tries;
    /// let saved = Retry::default()
    ///     .again(|| async move {
    ///         // let mut tx = pool.begin().await?; …; tx.commit().await.map_err(Failed::Commit)?;
    ///         match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
    ///             0 => Err(Sqlstate("40001")),
    ///             _ => Ok("saved"),
    ///         }
    ///     })
    ///     .await?;
    /// assert_eq!(saved, "saved");
    /// # Ok(())
    /// # }
    /// # ifmatch::Reply::<()>::pending(async { demo().await.unwrap(); Ok(()) }).wait()?;
    /// # Ok::<_, Error>(())
    /// ```
    pub async fn again<A, E, F, Fut>(&self, mut work: F) -> Result<A, E>
    where
        E: Contended,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<A, E>>,
    {
        let mut call = Call::new(self);
        loop {
            call.begin_try();
            let error = match work().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let retryable = error.contention().is_some_and(Contention::is_retryable);
            if !retryable || !call.pause().await {
                return Err(error);
            }
        }
    }

    /// [`again`](Self::again) for drivers that block, such as rusqlite and Diesel: this thread runs each try, and sleeps
    /// between them.
    ///
    /// A `&mut` connection from outside may be lent to one try after the other. In a task of a runtime call it where a thread
    /// may block, as in tokio's `block_in_place` and `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// As [`again`](Self::again).
    ///
    /// ```
    /// use ifmatch::Retry;
    /// use ifmatch::table::{Contended, Contention};
    ///
    /// #[derive(Debug)]
    /// struct Busy;
    ///
    /// impl Contended for Busy {
    ///     fn contention(&self) -> Option<Contention> {
    ///         Contention::of_sqlite(5)
    ///     }
    /// }
    ///
    /// struct Connection {
    ///     others: u32,
    /// }
    ///
    /// fn save(connection: &mut Connection) -> Result<&'static str, Busy> {
    ///     match connection.others {
    ///         0 => Ok("saved"),
    ///         _ => {
    ///             connection.others -= 1;
    ///             Err(Busy)
    ///         }
    ///     }
    /// }
    ///
    /// let mut connection = Connection { others: 2 };
    /// assert_eq!(Retry::default().again_blocking(|| save(&mut connection))?, "saved");
    /// # Ok::<_, Busy>(())
    /// ```
    pub fn again_blocking<A, E: Contended>(&self, mut work: impl FnMut() -> Result<A, E>) -> Result<A, E> {
        block_on(self.again(|| ready(work())))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::collection::testing::Jumping;
    use crate::store::Conflict;

    impl Contended for Contention {
        fn contention(&self) -> Option<Contention> {
            Some(*self)
        }
    }

    fn tries(retry: &Retry, error: Contention, failing: u32) -> (bool, u32) {
        let tries = Cell::new(0);
        let answer = block_on(retry.again(|| async {
            tries.set(tries.get() + 1);
            if tries.get() <= failing { Err(error) } else { Ok(()) }
        }));
        (answer.is_ok(), tries.get())
    }

    #[test]
    fn contention_is_tried_again_as_often_as_allowed_and_after_growing_waits() {
        let timer = Jumping::new();
        let retry = Retry::default().timer(timer.clone()).attempts(4).random(|| u64::MAX);

        assert_eq!(tries(&retry, Contention::Deadlock, 3), (true, 4));
        assert_eq!(timer.slept(), [1, 2, 4].map(Duration::from_millis));
        assert_eq!(tries(&retry, Contention::Serialization, 9), (false, 4));
        assert_eq!(tries(&retry, Contention::LockTimeout, 0), (true, 1));
    }

    #[test]
    fn what_may_have_been_applied_and_what_can_never_be_is_not_tried_again() {
        let retry = Retry::default().timer(Jumping::new());

        for error in [Contention::Unknown, Contention::Exists] {
            assert_eq!(tries(&retry, error, 9), (false, 1));
        }
    }

    #[test]
    fn a_conflict_is_tried_again_only_where_the_program_calls_it_its_own() {
        enum Failed {
            Ifmatch(Error),
            Overtaken(Error),
        }
        impl Contended for Failed {
            fn contention(&self) -> Option<Contention> {
                match self {
                    Self::Ifmatch(error) => error.contention(),
                    Self::Overtaken(_) => Some(Contention::Serialization),
                }
            }
        }
        let tries = |failed: fn(Error) -> Failed| {
            let tries = Cell::new(0);
            let answer = block_on(Retry::default().timer(Jumping::new()).attempts(3).again(|| async {
                tries.set(tries.get() + 1);
                Err::<(), _>(failed(Conflict::state("a", "odd", "it is odd").into()))
            }));
            let (Failed::Ifmatch(error) | Failed::Overtaken(error)) = answer.unwrap_err();
            assert!(error.conflict().is_some());
            tries.get()
        };

        assert_eq!([tries(Failed::Ifmatch), tries(Failed::Overtaken)], [1, 3]);
    }

    #[test]
    fn a_driver_that_blocks_lends_one_connection_to_all_tries() {
        let timer = Jumping::new();
        let mut connection = Vec::new();

        let answer = Retry::default().timer(timer.clone()).random(|| u64::MAX).again_blocking(|| {
            connection.push("try");
            if connection.len() < 3 { Err(Contention::LockTimeout) } else { Ok("saved") }
        });

        assert_eq!((answer, connection.len()), (Ok("saved"), 3));
        assert_eq!(timer.slept(), [1, 2].map(Duration::from_millis));
    }

    #[test]
    fn the_deadline_ends_the_tries() {
        let retry =
            Retry::default().timer(Jumping::new()).deadline(Duration::from_millis(5)).random(|| u64::MAX);

        assert_eq!(tries(&retry, Contention::Deadlock, u32::MAX), (false, 3));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn it_works_in_a_spawned_task_with_captures_by_reference() {
        let task = tokio::spawn(async {
            let (pool, id) = (vec![1, 2], "a".to_owned());
            Retry::default()
                .again(|| async {
                    tokio::task::yield_now().await;
                    Ok::<_, Error>(pool.len() + id.len())
                })
                .await
        });

        assert_eq!(task.await.unwrap().unwrap(), 3);
    }
}
