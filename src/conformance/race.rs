//! Threads that race and waits that end: what keeps a law from hanging on a broken store.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Barrier};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// How long a law waits for one answer of a store before it calls the store stuck.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` on so many threads that start together, and gives what each returned, in the order of their numbers.
///
/// A panic on one of them goes on here. Threads that do not come back are given up after `patience`, with a panic
/// that begins with `what`.
pub(super) fn race<R: Send + 'static>(
    what: &str,
    patience: Duration,
    threads: usize,
    work: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<R> {
    let work = Arc::new(work);
    let start = Arc::new(Barrier::new(threads));
    let (finished, results) = mpsc::channel();
    for number in 0..threads {
        let (work, start, finished) = (Arc::clone(&work), Arc::clone(&start), finished.clone());
        let thread = move || {
            start.wait();
            let result = catch_unwind(AssertUnwindSafe(|| work(number)));
            // The law may have given up on this thread: then nobody listens.
            let _ = finished.send((number, result));
        };
        // Named as this thread, which the test harness names after the test: a panic message then says which.
        let name = thread::current().name().unwrap_or(what).to_owned();
        thread::Builder::new().name(name).spawn(thread).expect("the system has room for a few threads");
    }
    let deadline = Instant::now() + patience;
    let mut returned = Vec::with_capacity(threads);
    for _ in 0..threads {
        let left = deadline.saturating_duration_since(Instant::now());
        match results.recv_timeout(left) {
            Ok((number, Ok(result))) => returned.push((number, result)),
            Ok((_, Err(panic))) => resume_unwind(panic),
            Err(_) => panic!("{what}: the store is stuck, a call did not return within {patience:?}"),
        }
    }
    returned.sort_by_key(|(number, _)| *number);
    returned.into_iter().map(|(_, result)| result).collect()
}

/// Awaits a future for no longer than [`PATIENCE`], then panics with a message that begins with `what`.
///
/// A thread keeps the time, so that no runtime is needed; it ends with the wait.
pub(super) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    let mut alarm = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(output);
        }
        assert!(Instant::now() < deadline, "{what}: no answer within {PATIENCE:?}");
        if alarm.is_none() {
            alarm = Some(Alarm::set(deadline, context.waker().clone()));
        }
        Poll::Pending
    })
    .await
}

/// Wakes a task at a time, unless it is dropped before.
struct Alarm {
    _cancel: Sender<()>,
}

impl Alarm {
    fn set(at: Instant, waker: Waker) -> Self {
        let (cancel, cancelled) = mpsc::channel::<()>();
        thread::spawn(move || {
            let left = at.saturating_duration_since(Instant::now());
            if cancelled.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                waker.wake();
            }
        });
        Self { _cancel: cancel }
    }
}
