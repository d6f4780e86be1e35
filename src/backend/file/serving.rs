//! [`Serving`], how a call comes to its answer: its caller serves it, or the store's own thread does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, ThreadId};

use parking_lot::Mutex;

use super::committer::Committer;
use super::promise::Promised;
use super::queue::{Full, Request};
use super::shared::Shared;
use super::trouble::Cause;
use crate::store::{Error, Reply, is_blocking};

/// Who serves the calls that wait.
pub(super) struct Serving {
    pub(super) shared: Arc<Shared>,
    pub(super) committer: Mutex<Committer>,
    /// The thread that commits.
    thread: OnceLock<ThreadId>,
}

impl Serving {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, Error> {
        let committer = Mutex::new(Committer::new(&shared)?);
        Ok(Self { shared, committer, thread: OnceLock::new() })
    }

    /// What the store's own thread does: it serves until the store is closed.
    pub(super) fn run(&self) -> Result<(), Error> {
        self.thread.get_or_init(|| thread::current().id());
        Committer::run(&self.shared, &self.committer)
    }

    /// Whether this is the thread that commits.
    pub(super) fn is_committing(&self) -> bool {
        self.thread.get() == Some(&thread::current().id())
    }

    pub(super) fn send<T: Send + 'static>(
        self: &Arc<Self>,
        call: Request,
        answer: Promised<T>,
    ) -> Reply<'static, T> {
        if let Err(forked) = self.shared.handle.check_process() {
            return Reply::ready(Err(forked));
        }
        match self.shared.queue.push(call) {
            Ok(()) => Reply::pending(Waiting { serving: Arc::clone(self), answer, rung: false }),
            Err((Full::Busy, _)) => Reply::ready(Err(self.shared.handle.refusal(Cause::Busy))),
            Err((Full::Closed, _)) => Reply::ready(Err(self.shared.handle.refusal(Cause::Closed))),
        }
    }

    /// Serves the calls that wait on this thread, if that is the thing to do.
    fn serve_here(&self) -> bool {
        if self.is_committing() {
            // A waker that waits for an answer on the thread that gives it has to see to it itself. It never sleeps:
            // who serves meanwhile may itself have to wait for a call that is left to this thread.
            if Committer::serve(&self.shared, self.committer.lock(), None) == 0 {
                thread::yield_now();
            }
            return true;
        }
        if !is_blocking() || self.shared.queue.is_crowded() {
            return false;
        }
        let Some(committer) = self.committer.try_lock() else { return false };
        let due = committer.deadline();
        let served = Committer::serve(&self.shared, committer, None);
        if due.is_none() && self.shared.is_eventual() {
            self.shared.queue.nudge();
        }
        // Where there was none, the answer is just being given by somebody else.
        served > 0
    }
}

/// A call that waits for its answer.
///
/// A caller that blocks its thread and is alone serves itself, which saves two changes of threads. A task must not hold
/// up its executor for as long as a sync takes, so it leaves its call to the store's own thread.
struct Waiting<T> {
    serving: Arc<Serving>,
    answer: Promised<T>,
    /// Whether the store's own thread was called.
    rung: bool,
}

impl<T> Waiting<T> {
    fn ring(&mut self) {
        if !std::mem::replace(&mut self.rung, true) {
            self.serving.shared.queue.ring();
        }
    }
}

impl<T> Future for Waiting<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.serving.shared.handle.check_process()?;
        while !self.answer.is_here() && self.serving.serve_here() {}
        let polled = Pin::new(&mut self.answer).poll(context);
        if polled.is_pending() {
            self.ring();
        }
        polled
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        // Nobody waits for it any more; it is applied all the same.
        if !self.serving.shared.handle.is_forked() && !self.answer.is_here() {
            self.ring();
        }
    }
}
