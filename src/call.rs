//! [`Call`], one call of a user on a collection: what it has tried, when it must end, and how it speaks to the store.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::commit::{Commit, Committed, Entry};
use crate::error::{Error, Failure, NotFound, Outcome};
use crate::expected::Expected;
use crate::reply::Reply;
use crate::resource::Resource;
use crate::retry::{Ending, Report, Retry};
use crate::store::{Resolution, Store};
use crate::version::Versioned;
use crate::write_id::WriteId;

/// One call of a user on a collection, and the only place that sends again.
pub(crate) struct Call<'a> {
    retry: &'a Retry,
    began: Instant,
    attempts: u32,
    waits: u32,
}

/// A commit that is on its way: its reply, and the write id it went under.
pub(crate) struct Sent<'a> {
    pub(crate) reply: Reply<'a, Committed>,
    pub(crate) write: Option<WriteId>,
}

/// The deadline of the call has passed. The cause of a [`Failure`].
#[derive(Debug, thiserror::Error)]
#[error("no answer within {0:?}")]
struct TooLate(Duration);

impl<'a> Call<'a> {
    pub(crate) fn new(retry: &'a Retry) -> Self {
        Self { retry, began: retry.clock().now(), attempts: 0, waits: 0 }
    }

    /// How many commits were sent and reads failed so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether one more may be sent.
    pub(crate) fn may_try(&self) -> bool {
        self.attempts < self.retry.most_attempts()
    }

    fn elapsed(&self) -> Duration {
        self.retry.clock().now().saturating_duration_since(self.began)
    }

    fn remaining(&self) -> Duration {
        self.retry.longest().saturating_sub(self.elapsed())
    }

    pub(crate) fn report(&self, id: Option<&str>, ending: Ending<'_>) {
        if self.retry.reports() {
            let report = Report { id, attempts: self.attempts, elapsed: self.elapsed(), ending };
            self.retry.tell(&report);
        }
    }

    /// Nothing was sent in time.
    pub(crate) fn too_late(&self) -> Error {
        Failure::new(Outcome::NotApplied, TooLate(self.retry.longest())).into()
    }

    /// What `future` gives, or `None` where the deadline passes before. What is here at once is never too late, and
    /// asks no clock.
    pub(crate) async fn bound<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut end = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            let end = end.get_or_insert_with(|| self.retry.clock().sleep(self.remaining()));
            end.as_mut().poll(context).map(|()| None)
        })
        .await
    }

    /// Waits before another try. `false` where there is none: too many were made, or the wait would outlast the call.
    pub(crate) async fn pause(&mut self) -> bool {
        if !self.may_try() {
            return false;
        }
        self.waits += 1;
        self.sleep(self.waits - 1).await
    }

    async fn sleep(&self, waited: u32) -> bool {
        let wait = self.retry.wait_after(waited);
        if wait >= self.remaining() {
            return false;
        }
        if !wait.is_zero() {
            self.retry.clock().sleep(wait).await;
        }
        true
    }

    /// Reads, again where the store failed. `first` is a read that is on its way already.
    pub(crate) async fn read<'s, A>(
        &mut self,
        first: Option<Reply<'s, A>>,
        read: impl Fn() -> Reply<'s, A>,
    ) -> Result<A, Error> {
        let mut reply = first.unwrap_or_else(&read);
        loop {
            let failure = match self.bound(reply).await {
                Some(Err(Error::Failed(failure))) => failure,
                Some(answer) => return answer,
                None => return Err(self.too_late()),
            };
            self.attempts += 1;
            if !self.pause().await {
                return Err(failure.into());
            }
            reply = read();
        }
    }

    /// Reads what must exist. Where it doesn't, a commit that checks tells whether it was deleted.
    pub(crate) async fn fetch<'s, T: Resource + ?Sized>(
        &mut self,
        store: &'s dyn Store<T>,
        stamps: bool,
        id: &'s str,
        mut first: Option<Reply<'s, Option<Versioned<T>>>>,
    ) -> Result<Versioned<T>, Error> {
        loop {
            if let Some(found) = self.read(first.take(), || store.get(id)).await? {
                return Ok(found);
            }
            let check = Commit::one(Entry::check(id, Expected::Present));
            match self.commit(store, stamps, &check, None).await {
                // It appeared in between.
                Ok(_) if self.pause().await => {}
                Ok(_) => return Err(NotFound::new(id).into()),
                Err(error) => return Err(missing_in(error)),
            }
        }
    }

    /// Commits, under a fresh write id each time where the store's answers can be lost. A lost answer is settled with
    /// the store; what is known not to have been applied is sent again. `first` is a commit that is on its way already.
    pub(crate) async fn commit<'s, T: Resource + ?Sized>(
        &mut self,
        store: &'s dyn Store<T>,
        stamps: bool,
        commit: &Commit<'s, T>,
        first: Option<Sent<'s>>,
    ) -> Result<Committed, Error> {
        let mut sent = first.unwrap_or_else(|| send(store, stamps, commit));
        loop {
            self.attempts += 1;
            let failure = match self.bound(sent.reply).await {
                Some(Err(Error::Failed(failure))) => failure,
                Some(answer) => return answer,
                None => Failure::new(Outcome::Unknown, TooLate(self.retry.longest())),
            };
            let failure = self.settle(store, sent.write, failure).await;
            let failure = match failure {
                Ok(committed) => return Ok(committed),
                Err(failure) => failure,
            };
            // Where answers can't be lost the store is in this process: what failed there will not mend itself.
            let again = stamps && failure.outcome() == Outcome::NotApplied;
            // The store closed an id of the caller's: the next try needs one that only the caller can give.
            let closed = commit.write().is_some() && failure.write().is_some();
            if !again || closed || !self.pause().await {
                return Err(failure.into());
            }
            sent = send(store, stamps, commit);
        }
    }

    /// Asks what became of a commit whose answer was lost.
    async fn settle<T: Resource + ?Sized>(
        &self,
        store: &dyn Store<T>,
        write: Option<WriteId>,
        failure: Failure,
    ) -> Result<Committed, Failure> {
        let Some(write) = write.filter(|_| failure.outcome() == Outcome::Unknown) else {
            return Err(failure);
        };
        match self.resolve(store, write).await {
            Resolution::Applied(committed) => Ok(committed),
            Resolution::NotApplied => Err(failure.not_applied().with_write(write)),
            Resolution::Unknown => Err(failure.with_write(write)),
        }
    }

    async fn resolve<T: Resource + ?Sized>(&self, store: &dyn Store<T>, write: WriteId) -> Resolution {
        for asked in 0..self.retry.most_attempts() {
            if self.remaining().is_zero() {
                break;
            }
            match self.bound(store.resolve(write)).await {
                Some(Ok(resolution)) => return resolution,
                Some(Err(Error::Failed(_))) if self.sleep(asked).await => {}
                _ => break,
            }
        }
        Resolution::Unknown
    }
}

/// Sends a commit, under a fresh write id if the store needs one and it has none.
pub(crate) fn send<'s, T: Resource + ?Sized>(
    store: &'s dyn Store<T>,
    stamps: bool,
    commit: &Commit<'s, T>,
) -> Sent<'s> {
    let write = commit.write().or_else(|| stamps.then(WriteId::new));
    let commit = commit.clone();
    let commit = match write {
        Some(write) => commit.with_write(write),
        None => commit,
    };
    Sent { reply: store.commit(commit), write }
}

/// The error of a commit of one, where that a resource is not there is no conflict but an answer.
pub(crate) fn missing_in(error: Error) -> Error {
    let missing = error.conflict().and_then(|conflict| NotFound::from_mismatch(&conflict.mismatches()[0]));
    missing.map_or(error, Error::from)
}
