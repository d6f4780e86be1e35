//! [`Home`], the tokio runtime that a store lives in, as its calls and its watchers need it.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

use tokio::runtime::{Handle, RuntimeFlavor, worker_index};
use tokio::sync::watch;
use tokio::task::block_in_place;

use super::error::RuntimeEnded;
use crate::store::{Batch, Changes, Cursor, Error, Failure, Feed, Outcome, Reply, WriteId, park_by};

/// The tokio runtime that a store lives in. Calls and watchers are polled in it from anywhere, and are told when it has
/// ended: a program may drop its runtime before the store.
pub(crate) struct Home {
    handle: Handle,
    /// The sender is kept by a task, and is gone with the runtime.
    alive: watch::Receiver<()>,
}

impl Home {
    pub(super) fn in_runtime(handle: Handle) -> Arc<Self> {
        let (sender, alive) = watch::channel(());
        // Ends by itself once nobody asks any more.
        handle.spawn(async move { sender.closed().await });
        Arc::new(Self { handle, alive })
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The answer of a future that needs tokio's timers and sockets.
    ///
    /// Not a task of its own: a dropped reply stops at its next wait, and a caller on the runtime itself pays no switch.
    pub(crate) fn reply<'a, T, E: From<RuntimeEnded> + 'a>(
        self: &Arc<Self>,
        future: impl Future<Output = Result<T, E>> + Send + 'a,
    ) -> Reply<'a, T, E> {
        self.run(future, |_| RuntimeEnded.into())
    }

    /// The same for a commit: where the runtime ends before its answer has come, it may have been applied.
    pub(crate) fn commit<'a, T>(
        self: &Arc<Self>,
        write: Option<WriteId>,
        future: impl Future<Output = Result<T, Error>> + Send + 'a,
    ) -> Reply<'a, T> {
        self.run(future, move |outcome| {
            let failure = Failure::new(outcome, RuntimeEnded);
            match write.filter(|_| outcome == Outcome::Unknown) {
                Some(write) => failure.with_write(write).into(),
                None => failure.into(),
            }
        })
    }

    fn run<'a, T, E>(
        self: &Arc<Self>,
        future: impl Future<Output = Result<T, E>> + Send + 'a,
        ended: impl FnOnce(Outcome) -> E + Send + 'a,
    ) -> Reply<'a, T, E> {
        let home = Arc::clone(self);
        Reply::pending(async move {
            let mut future = pin!(future);
            let mut outcome = Outcome::NotApplied;
            // Each call has a deadline, and when a runtime ends its timers wake who waits for them.
            let answer = poll_fn(|context| {
                home.poll(|| {
                    outcome = Outcome::Unknown;
                    future.as_mut().poll(context)
                })
            });
            match answer.await {
                Ok(answer) => answer,
                Err(RuntimeEnded) => Err(ended(outcome)),
            }
        })
    }

    /// The changes of a feed that needs the runtime, and that ends with it.
    pub(crate) fn changes<T: ?Sized + 'static>(
        self: &Arc<Self>,
        cursor: Cursor,
        feed: impl Feed<T> + 'static,
    ) -> Changes<T> {
        let (home, mut alive) = (Arc::clone(self), self.alive.clone());
        let ending = Box::pin(async move { while alive.changed().await.is_ok() {} });
        Changes::new(cursor, Resident { home, feed, ending })
    }

    /// Polls in the runtime.
    fn poll<T>(&self, poll: impl FnOnce() -> Poll<T>) -> Poll<Result<T, RuntimeEnded>> {
        if self.has_ended() {
            return Poll::Ready(Err(RuntimeEnded));
        }
        park_by(park);
        let _entered = self.handle.enter();
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => polled.map(Ok),
            // It has ended in between, and then tokio's timers panic.
            Err(_) if self.has_ended() => Poll::Ready(Err(RuntimeEnded)),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn has_ended(&self) -> bool {
        self.alive.has_changed().is_err()
    }
}

/// Parks a thread that waits for a call. Where it is a worker of a runtime, this may be the very one that the answer comes
/// by: another thread takes over what the worker has to do.
fn park() {
    let is_worker = worker_index().is_some();
    if is_worker && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        block_in_place(thread::park);
    } else {
        thread::park();
    }
}

/// A feed that is polled in its runtime, and ends with it.
struct Resident<F> {
    home: Arc<Home>,
    feed: F,
    /// Done when the runtime ends: nothing else may wake an idle watcher then.
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<T: ?Sized, F: Feed<T>> Feed<T> for Resident<F> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        match self.home.poll(|| self.feed.poll_next(context)) {
            Poll::Ready(Ok(next)) => Poll::Ready(next),
            Poll::Ready(Err(ended)) => Poll::Ready(Err(ended.into())),
            Poll::Pending => self.ending.as_mut().poll(context).map(|()| Err(RuntimeEnded.into())),
        }
    }

    fn is_idle(&self) -> bool {
        self.feed.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        self.feed.passed()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::future::pending;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn home(runtime: &tokio::runtime::Runtime) -> Arc<Home> {
        Home::in_runtime(runtime.handle().clone())
    }

    fn assert_ended(error: &Error, outcome: Outcome) {
        assert!(error.source().is_some_and(|source| source.is::<RuntimeEnded>()), "{error:?}");
        assert_eq!(error.outcome(), outcome);
    }

    /// A call that waits until its deadline, and then some.
    async fn call() -> Result<(), Error> {
        let _ = timeout(Duration::from_secs(1_000), pending::<()>()).await;
        sleep(Duration::from_secs(1_000)).await;
        Ok(())
    }

    #[test]
    fn a_call_after_the_end_was_not_applied_and_one_that_was_under_way_may_have_been() {
        let runtime = runtime();
        let home = home(&runtime);
        let write = WriteId::after(None);
        let mut context = Context::from_waker(Waker::noop());
        let mut begun = pin!(home.commit(Some(write), call()));
        assert!(begun.as_mut().poll(&mut context).is_pending());
        let waiting = home.commit(None, call());
        let waits = std::thread::spawn(move || waiting.wait().unwrap_err());

        drop(runtime);

        // Whether it was begun before the end is for the scheduler to say.
        let waited = waits.join().unwrap();
        assert_ended(&waited, waited.outcome());
        let Poll::Ready(Err(Error::Failed(failure))) = begun.poll(&mut context) else { panic!("not ended") };
        assert_eq!((failure.outcome(), failure.write()), (Outcome::Unknown, Some(write)));
        assert_ended(&home.commit(Some(write), call()).wait().unwrap_err(), Outcome::NotApplied);
        assert_ended(&home.reply(call()).wait().unwrap_err(), Outcome::NotApplied);
        let reopened = home.reply(async { Ok::<_, super::super::ConnectError>(()) }).wait().unwrap_err();
        assert_eq!(reopened.to_string(), "cannot use the tokio runtime: it has ended");
    }

    #[test]
    fn the_only_worker_of_a_runtime_can_wait_for_what_comes_by_it() {
        let (tell, told) = std::sync::mpsc::channel();
        let waits = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let runtime = runtime.unwrap();
            let home = home(&runtime);
            let call = |number| async move {
                sleep(Duration::from_millis(1)).await;
                // Where a worker that parks keeps this to itself, nobody ever runs it.
                Ok::<_, Error>(tokio::spawn(async move { number }).await.unwrap())
            };
            let twice = runtime.spawn(async move {
                let first = home.reply(call(1)).wait().unwrap();
                first + home.commit(None, call(2)).wait().unwrap()
            });
            tell.send(runtime.block_on(twice).unwrap()).unwrap();
        });

        assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(3), "it waits for itself");
        waits.join().unwrap();
    }

    /// A feed that nothing ever wakes.
    struct Idle;

    impl Feed<str> for Idle {
        fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Result<Batch<str>, Error>> {
            Poll::Pending
        }

        fn is_idle(&self) -> bool {
            true
        }
    }

    #[test]
    fn the_end_wakes_a_watcher_that_nothing_else_wakes() {
        let runtime = runtime();
        let home = home(&runtime);
        let mut changes = home.changes("start".parse().unwrap(), Idle);
        let waits = std::thread::spawn(move || {
            let first = changes.next().wait().unwrap_err();
            (first, changes.next().wait().unwrap_err())
        });

        drop(runtime);

        let (first, again) = waits.join().unwrap();
        assert_ended(&first, Outcome::NotApplied);
        assert_ended(&again, Outcome::NotApplied);
    }

    #[test]
    fn nothing_stays_in_a_runtime_that_outlives_the_store() {
        let runtime = runtime();
        let home = home(&runtime);
        let changes = home.changes("start".parse().unwrap(), Idle);
        assert_eq!(runtime.metrics().num_alive_tasks(), 1);

        drop((home, changes));

        while runtime.metrics().num_alive_tasks() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    #[should_panic(expected = "of its own")]
    fn another_panic_stays_one() {
        let runtime = runtime();
        let home = home(&runtime);

        let _ = home.reply::<(), Error>(async { panic!("a panic of its own") }).wait();
    }
}
