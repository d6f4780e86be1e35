//! [`Call`], one call of a user on a collection: what it has tried, when it must end, and how it speaks to the store.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::collection::retry::{Effect, Report, Retry};
use crate::collection::stamps::Stamps;
use crate::store::{
    Commit, Committed, Conflict, Entry, Error, Expected, Failure, Mismatch, NotFound, Outcome, Refusal,
    Reply, Resolution, Resource, Store, Versioned, WriteId,
};

/// One call of a user on a collection, and the only place that sends again.
pub(crate) struct Call<'a> {
    retry: &'a Retry,
    /// The name of the collection, for the report.
    collection: Option<&'a str>,
    began: Instant,
    attempts: u32,
    conflicts: u32,
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
        Self { retry, collection: None, began: retry.clock().now(), attempts: 0, conflicts: 0, waits: 0 }
    }

    /// The same in the collection of this name.
    pub(crate) fn within(self, collection: Option<&'a str>) -> Self {
        Self { collection, ..self }
    }

    /// How many commits were sent and reads failed so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Counts a try of the program's own.
    pub(crate) fn begin_try(&mut self) {
        self.attempts += 1;
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

    pub(crate) fn report(&self, id: Option<&str>, effect: Effect<'_>) {
        if self.retry.reports() {
            let Self { collection, attempts, conflicts, .. } = *self;
            let report = Report { id, collection, attempts, conflicts, elapsed: self.elapsed(), effect };
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
            if failure.is_lasting() || !self.pause().await {
                return Err(failure.into());
            }
            reply = read();
        }
    }

    /// Reads what must exist. Where it doesn't, a commit that checks tells whether it was deleted, if the store
    /// remembers that.
    pub(crate) async fn fetch<'s, T: Resource + ?Sized>(
        &mut self,
        store: &'s dyn Store<T>,
        stamps: &Stamps,
        collection: Option<&str>,
        id: &'s str,
        mut first: Option<Reply<'s, Option<Versioned<T>>>>,
    ) -> Result<Versioned<T>, Error> {
        let missing = || match collection {
            Some(name) => NotFound::new(id).in_collection(name),
            None => NotFound::new(id),
        };
        loop {
            if let Some(found) = self.read(first.take(), || store.get(id)).await? {
                stamps.saw(found.version);
                return Ok(found);
            }
            if !store.abilities().tombstones {
                return Err(missing().into());
            }
            let check = Commit::one(Entry::check(id, Expected::Present));
            match self.commit(store, stamps, &check, None).await {
                // It appeared in between.
                Ok(_) if self.pause().await => {}
                Ok(_) => return Err(missing().into()),
                Err(error) => return Err(missing_in(error, collection, id)),
            }
        }
    }

    /// Commits, under a fresh write id each time where the store's answers can be lost. A lost answer is settled with
    /// the store; what is known not to have been applied is sent again, and so is a commit of checks alone. `first` is
    /// one that is on its way already.
    pub(crate) async fn commit<'s, T: Resource + ?Sized>(
        &mut self,
        store: &'s dyn Store<T>,
        stamps: &Stamps,
        commit: &Commit<'s, T>,
        first: Option<Sent<'s>>,
    ) -> Result<Committed, Error> {
        let mut sent = first.unwrap_or_else(|| send(store, stamps, commit));
        loop {
            self.attempts += 1;
            let answer = self.bound(sent.reply).await;
            answer.iter().for_each(|answer| stamps.note(answer));
            let failure = match answer {
                Some(Err(Error::Failed(failure))) => failure,
                // The id was drawn for this sending alone, so nothing was applied under it. The next one is drawn at the
                // version that the refusal told. A database sends again what lost a race that only it knows of: under an id
                // that the store may have closed with the first one.
                Some(Err(Error::Refused(Refusal::Outside { .. } | Refusal::Closed { .. })))
                    if commit.write().is_none() && self.may_try() =>
                {
                    sent = send(store, stamps, commit);
                    continue;
                }
                Some(answer) => {
                    self.conflicts += u32::from(matches!(answer, Err(Error::Conflict(_))));
                    return answer;
                }
                None => Failure::new(Outcome::Unknown, TooLate(self.retry.longest())),
            };
            let failure = match commit.applies_nothing() {
                true => failure.not_applied(),
                false => match self.settle(store, sent.write, failure).await {
                    // Where steps of a database's collection added entries, the store remembers those too: they come last.
                    Ok(committed) => return Ok(committed.first(commit.entries().len())),
                    Err(failure) => failure,
                },
            };
            // Where answers can't be lost the store is in this process: what failed there will not mend itself.
            let waits = failure.outcome() == Outcome::NotApplied && !failure.is_lasting();
            let again = stamps.needed() && waits;
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
                Some(Err(Error::Failed(failure))) if !failure.is_lasting() && self.sleep(asked).await => {}
                _ => break,
            }
        }
        Resolution::Unknown
    }
}

/// Sends a commit, under a fresh write id if the store needs one and it has none. What applies nothing needs none.
pub(crate) fn send<'s, T: Resource + ?Sized>(
    store: &'s dyn Store<T>,
    stamps: &Stamps,
    commit: &Commit<'s, T>,
) -> Sent<'s> {
    let stamped = stamps.needed() && !commit.applies_nothing();
    let write = commit.write().or_else(|| stamped.then(|| stamps.draw()));
    let sent = commit.clone();
    let commit = match (write, commit.write()) {
        (Some(write), None) => sent.with_fresh_write(write),
        _ => sent,
    };
    Sent { reply: store.commit(commit), write }
}

/// What a conflict says of the id that a call is about: steps of a database's collection add entries of others, under any
/// id. A rule that was broken beside a lost race was decided on a value that was computed from what is gone: the race goes
/// first.
pub(crate) fn own_in<'c>(conflict: &'c Conflict, collection: Option<&str>, id: &str) -> Option<&'c Mismatch> {
    let own = |mismatch: &&Mismatch| mismatch.id() == id && mismatch.collection() == collection;
    let mut own = conflict.mismatches().iter().filter(own);
    let first = own.next()?;
    Some(match first.kind().is_refusal() {
        true => own.find(|mismatch| !mismatch.kind().is_refusal()).unwrap_or(first),
        false => first,
    })
}

/// The error of a commit of one, where that a resource is not there is no conflict but an answer.
pub(crate) fn missing_in(error: Error, collection: Option<&str>, id: &str) -> Error {
    let missing = error
        .conflict()
        .filter(|conflict| conflict.mismatches().len() == 1)
        .and_then(|conflict| own_in(conflict, collection, id))
        .and_then(NotFound::from_mismatch);
    missing.map_or(error, Error::from)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::collection::collection::Collection;
    use crate::collection::testing::{Fault, Jumping, Pace, Scripted};

    fn numbers(store: &Arc<Scripted<u64>>) -> Collection<u64> {
        Collection::new(Arc::clone(store))
            .with_retry(Retry::default().timer(Jumping::new()).random(|| u64::MAX))
    }

    fn failure<A>(answer: Result<A, Error>) -> Failure {
        match answer {
            Err(Error::Failed(failure)) => failure,
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("no error"),
        }
    }

    #[test]
    fn a_commit_whose_answer_was_lost_is_a_success_and_never_a_conflict_with_itself() {
        let store = Arc::new(Scripted::losing(&[Fault::LoseAnswer]));
        let numbers = numbers(&store);

        let created = numbers.create("a", 1).wait().unwrap();

        assert_eq!(numbers.fetch("a").wait().unwrap(), created);
        assert_eq!(store.sent(), 1);
    }

    #[test]
    fn a_commit_whose_request_was_lost_is_sent_again_under_another_write_id() {
        let store = Arc::new(Scripted::losing(&[Fault::LoseRequest, Fault::Fail]));

        numbers(&store).create("a", 1).wait().unwrap();

        let writes = store.writes.lock();
        assert_eq!(writes.len(), 3);
        assert!(writes[0] != writes[1] && writes[1] != writes[2] && writes.iter().all(Option::is_some));
    }

    #[test]
    fn a_commit_that_the_store_cannot_tell_of_is_unknown_under_its_write_id() {
        let mut store = Scripted::losing(&[Fault::LoseAnswer]);
        store.forgets = true;
        let store = Arc::new(store);

        let failure = failure(numbers(&store).create("a", 1).wait());

        assert_eq!(failure.outcome(), Outcome::Unknown);
        assert_eq!(failure.write(), store.writes.lock()[0]);
        assert_eq!(store.sent(), 1);
    }

    #[test]
    fn a_check_whose_answer_was_lost_applied_nothing_and_is_sent_again() {
        for (fault, sent) in [(Fault::LoseRequest, 2), (Fault::Hang, 1)] {
            let mut store = Scripted::<u64>::losing(&[fault]);
            store.forgets = true;
            let store = Arc::new(store);

            let answer = numbers(&store).fetch("a").wait();

            match answer {
                Err(Error::NotFound(_)) => assert_ne!(fault, Fault::Hang),
                Err(error) => assert_eq!((fault, error.outcome()), (Fault::Hang, Outcome::NotApplied)),
                Ok(_) => panic!("there is nothing"),
            }
            assert_eq!(store.sent(), sent);
            assert_eq!(store.resolves.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_store_that_remembers_no_deletions_is_not_asked_for_them() {
        let mut store = Scripted::<u64>::new(Pace::Ready, false);
        store.tombstones = false;
        let store = Arc::new(store);

        let answer = numbers(&store).fetch("a").wait();

        assert!(matches!(answer, Err(Error::NotFound(missing)) if missing == NotFound::new("a")));
        assert_eq!((store.read(), store.sent()), (1, 0));
    }

    #[test]
    fn a_resolve_that_fails_is_asked_again_and_not_for_ever() {
        for (failing, resolved) in [(2, true), (3, false)] {
            let store = Arc::new(Scripted::losing(&[Fault::LoseAnswer]));
            store.resolve_faults.lock().extend(vec![Fault::Fail; failing]);
            let retry = Retry::default().timer(Jumping::new()).attempts(3);
            let numbers = Collection::new(Arc::clone(&store)).with_retry(retry);

            let answer = numbers.create("a", 1).wait();

            assert_eq!(answer.is_ok(), resolved);
            assert_eq!(store.resolves.load(Ordering::Relaxed), 3);
            if let Err(error) = answer {
                assert_eq!(error.outcome(), Outcome::Unknown);
            }
        }
    }

    #[test]
    fn a_write_id_of_the_callers_is_kept_and_not_replaced_once_it_is_closed() {
        let write = WriteId::from_bits(7);
        let commit = || Commit::one(Entry::put("a", Expected::Absent, Arc::new(1))).with_write(write);
        let store = Arc::new(Scripted::losing(&[Fault::Fail, Fault::LoseRequest]));

        let failure = failure(numbers(&store).commit(commit()).wait());

        assert_eq!((failure.outcome(), failure.write()), (Outcome::NotApplied, Some(write)));
        assert_eq!(*store.writes.lock(), [Some(write), Some(write)]);
    }

    #[test]
    fn a_failure_is_tried_again_as_often_as_allowed_and_after_growing_waits() {
        let store = Arc::new(Scripted::losing(&[Fault::Fail; 9]));
        let timer = Jumping::new();
        let retry = Retry::default().timer(timer.clone()).attempts(4).random(|| u64::MAX);
        let numbers = Collection::new(Arc::clone(&store)).with_retry(retry);

        let failed = failure(numbers.create("a", 1).wait());

        assert_eq!(failed.outcome(), Outcome::NotApplied);
        assert_eq!(store.sent(), 4);
        assert_eq!(timer.slept(), [1, 2, 4].map(Duration::from_millis));

        store.read_faults.lock().extend([Fault::Fail; 9]);
        assert_eq!(failure(numbers.get("a").wait()).outcome(), Outcome::NotApplied);
        assert_eq!(store.read(), 4);
        numbers.get("a").wait().unwrap_err();
        assert!(numbers.scan("", None, 9).wait().unwrap().items.is_empty());
    }

    #[test]
    fn a_collection_that_was_idle_for_longer_than_the_store_remembers_draws_anew() {
        let store = Arc::new(Scripted::losing(&[]).remembering(4));
        let [busy, idle] = [numbers(&store), numbers(&store)];
        idle.create("idle", 1).wait().unwrap();
        for number in 0..20 {
            busy.put("busy", number).wait().unwrap();
        }
        let sent = store.sent();

        idle.put("idle", 2).wait().unwrap();
        idle.put("idle", 3).wait().unwrap();

        assert_eq!(store.sent() - sent, 3, "one is refused, and tells where to draw the next one");
        let kept =
            Commit::one(Entry::put("idle", Expected::Any, Arc::new(4))).with_write(WriteId::after(None));
        let refused = idle.commit(kept).wait().unwrap_err();
        assert!(matches!(refused, Error::Refused(Refusal::Outside { newest: Some(_), .. })), "{refused}");
        assert_eq!(refused.outcome(), Outcome::Unknown, "a caller's id may have been sent before");
    }

    #[test]
    fn a_collection_that_has_read_writes_in_one_round() {
        let store = Arc::new(Scripted::losing(&[]).remembering(4));
        let [busy, fresh, blind] = [(); 3].map(|()| numbers(&store));
        for number in 0..20 {
            busy.put("busy", number).wait().unwrap();
        }

        let sent = store.sent();
        fresh.modify("busy", |number| *number += 1).wait().unwrap();
        assert_eq!(store.sent() - sent, 1);

        let sent = store.sent();
        blind.put("busy", 7).wait().unwrap();
        assert_eq!(store.sent() - sent, 2, "it knew of no version");
    }

    #[test]
    fn a_collection_that_writes_and_checks_never_falls_behind() {
        let store = Arc::new(Scripted::losing(&[]).remembering(4));
        let numbers = numbers(&store);
        let old = numbers.create("old", 1).wait().unwrap();
        let sent = store.sent();

        for number in 0..20 {
            let put = Entry::put("busy", Expected::Any, Arc::new(number));
            numbers.commit(Commit::one(put).and(Entry::check("old", &old))).wait().unwrap();
        }

        assert_eq!(store.sent() - sent, 20, "the versions of checks are older than the commit's own");
    }

    #[test]
    fn checks_go_without_a_write_id() {
        let store = Arc::new(Scripted::<u64>::losing(&[]));

        numbers(&store).fetch("a").wait().unwrap_err();

        assert_eq!(*store.writes.lock(), [None]);
    }

    #[test]
    fn what_waiting_does_not_mend_fails_at_once() {
        let store = Arc::new(Scripted::losing(&[Fault::FailForLong; 9]));
        store.read_faults.lock().extend([Fault::FailForLong; 9]);

        assert!(failure(numbers(&store).create("a", 1).wait()).is_lasting());
        assert!(failure(numbers(&store).get("a").wait()).is_lasting());

        assert_eq!((store.sent(), store.read()), (1, 1));
    }

    #[test]
    fn a_conflict_and_a_refusal_are_never_sent_again() {
        let store = Arc::new(Scripted::losing(&[]));
        let numbers = numbers(&store);
        numbers.create("a", 1).wait().unwrap();

        assert!(matches!(numbers.create("a", 2).wait(), Err(Error::Conflict(_))));
        let twice = Commit::from_iter(["a", "a"].map(|id| Entry::delete(id, Expected::Any)));
        assert!(matches!(numbers.commit(twice).wait(), Err(Error::Refused(_))));

        assert_eq!(store.sent(), 3);
    }

    #[test]
    fn a_store_that_loses_no_answers_gets_no_write_ids_and_one_try() {
        let store = Arc::new(Scripted::new(Pace::Ready, false));
        store.commit_faults.lock().push_back(Fault::Fail);

        let failure = failure(numbers(&store).create("a", 1).wait());

        assert_eq!(failure.outcome(), Outcome::NotApplied);
        assert_eq!(*store.writes.lock(), [None]);
    }

    #[test]
    fn a_store_that_never_answers_is_given_up_at_the_deadline() {
        for unknown in [true, false] {
            for fault in [Fault::Hang, Fault::HangApplied] {
                let store = Arc::new(Scripted::new(Pace::Ready, unknown));
                store.commit_faults.lock().push_back(fault);
                let numbers = numbers(&store);

                let failure = failure(numbers.put("a", 1).wait());

                assert_eq!(failure.outcome(), Outcome::Unknown);
                assert_eq!(failure.write(), store.writes.lock()[0]);
                assert_eq!(failure.write().is_some(), unknown);
            }
        }
        let store = Arc::new(Scripted::<u64>::new(Pace::Ready, true));
        store.read_faults.lock().extend([Fault::Hang; 3]);
        for answer in [
            numbers(&store).get("a").wait().map(drop),
            numbers(&store).fetch("a").wait().map(drop),
            numbers(&store).modify("a", |_| ()).wait().map(drop),
        ] {
            assert_eq!(failure(answer).outcome(), Outcome::NotApplied);
        }
    }

    #[test]
    fn a_wait_that_would_outlast_the_call_is_not_begun() {
        let store = Arc::new(Scripted::losing(&[Fault::Fail; 9]));
        let timer = Jumping::new();
        let retry =
            Retry::default().timer(timer.clone()).deadline(Duration::from_millis(5)).random(|| u64::MAX);

        failure(Collection::new(Arc::clone(&store)).with_retry(retry).create("a", 1).wait());

        assert_eq!(timer.slept(), [1, 2].map(Duration::from_millis));
    }

    #[test]
    fn a_missing_resource_that_appears_in_between_is_fetched() {
        struct Appears(Arc<Scripted<u64>>);

        impl Store<u64> for Appears {
            fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
                let found = self.0.get(id);
                if self.0.read() == 1 {
                    self.0.commit(Commit::one(Entry::put(id, Expected::Any, Arc::new(7)))).wait().unwrap();
                }
                found
            }

            fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
                self.0.commit(commit)
            }

            fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
                self.0.resolve(write)
            }

            fn scan<'a>(
                &'a self,
                scan: crate::store::Scan<'a>,
            ) -> Reply<'a, crate::store::Page<crate::store::Listed<u64>>> {
                self.0.scan(scan)
            }

            fn watch<'a>(&'a self, from: crate::store::Start) -> Reply<'a, crate::store::Changes<u64>> {
                self.0.watch(from)
            }

            fn abilities(&self) -> crate::store::Abilities {
                self.0.abilities()
            }
        }

        let numbers = Collection::new(Appears(Arc::new(Scripted::new(Pace::Ready, false))));

        assert_eq!(*numbers.fetch("a").wait().unwrap().value, 7);
    }
}
