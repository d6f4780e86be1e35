//! [`Promise`] and [`Promised`]: the two ends of a reply that another thread gives.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::base::wake;
use crate::store::{Error, Failure, Outcome};

/// The end that gives. Dropped without an answer, it answers that the outcome is unknown.
pub(super) struct Promise<T>(Option<Arc<Mutex<Slot<T>>>>);

/// The end that waits. It may be dropped at any time.
pub(super) struct Promised<T>(Arc<Mutex<Slot<T>>>);

enum Slot<T> {
    Waiting(Option<Waker>),
    Given(Result<T, Error>),
    Taken,
}

/// The two ends of one reply.
pub(super) fn promise<T>() -> (Promise<T>, Promised<T>) {
    let state = Arc::new(Mutex::new(Slot::Waiting(None)));
    (Promise(Some(Arc::clone(&state))), Promised(state))
}

impl<T> Promise<T> {
    /// Gives the answer; the waker is of who waits for it.
    #[must_use = "who waits has to be woken"]
    pub(super) fn give(mut self, answer: Result<T, Error>) -> Option<Waker> {
        self.set(answer)
    }

    fn set(&mut self, answer: Result<T, Error>) -> Option<Waker> {
        let state = self.0.take()?;
        let before = std::mem::replace(&mut *state.lock(), Slot::Given(answer));
        match before {
            Slot::Waiting(waker) => waker,
            Slot::Given(_) | Slot::Taken => None,
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let ended = Failure::new(Outcome::Unknown, "the committing thread ended without an answer");
        if let Some(waker) = self.set(Err(ended.into())) {
            wake(waker);
        }
    }
}

impl<T> Promised<T> {
    /// Whether the answer was given.
    pub(super) fn is_here(&self) -> bool {
        !matches!(*self.0.lock(), Slot::Waiting(_))
    }
}

impl<T> Future for Promised<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Wakers are the program's code, their clones and drops included: neither happens under the lock.
        let waker = context.waker().clone();
        let mut state = self.0.lock();
        match &mut *state {
            Slot::Waiting(waiting) => {
                let replaced = waiting.replace(waker);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
            given => {
                let Slot::Given(answer) = std::mem::replace(given, Slot::Taken) else {
                    unreachable!("a reply that has given its answer is not polled again")
                };
                drop(state);
                Poll::Ready(answer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::store::block_on;

    #[test]
    fn an_answer_reaches_the_one_who_waits_on_another_thread() {
        for round in 0..1000 {
            let (promise, answer) = promise();
            let giver =
                thread::spawn(move || wake(promise.give(Ok(round)).unwrap_or_else(|| Waker::noop().clone())));
            assert_eq!(block_on(answer).unwrap(), round);
            giver.join().unwrap();
        }
    }

    #[test]
    fn a_promise_that_is_dropped_answers_that_nobody_knows() {
        let (promise, answer) = promise::<()>();
        drop(promise);

        assert_eq!(block_on(answer).unwrap_err().outcome(), Outcome::Unknown);
    }

    #[test]
    fn nobody_need_wait() {
        let (promise, answer) = promise();
        drop(answer);
        assert!(promise.give(Ok(1)).is_none());
    }
}
