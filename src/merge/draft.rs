//! Drafts that are merged with what came in between.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec;
use crate::collection::{Call, Called, Collection, Draft, Effect, Ticket, own_in};
use crate::merge::merge::Merge;
use crate::merge::overlaps::{Overlap, Overlaps};
use crate::merge::typed::Unmerged;
use crate::store::{
    Commit, Conflict, Entry, Error, Kind, Outcome, Refusal, Reply, Resource, Versioned, shown,
};

impl<T> Draft<T>
where
    T: Resource + Clone + PartialEq + Serialize + DeserializeOwned,
{
    /// [`commit`](Self::commit)s the draft, and where somebody else was faster, merges it with what they left and commits that:
    /// as often as [`Retry`](crate::Retry) allows, and in the line for hot ids. Afterwards the draft is what was saved.
    ///
    /// `validate` sees each value before it is written, and may refuse it by an error of the program's own: two changes that are
    /// both fine may not be so together. It may run more than once, with nothing locked. A refusal is returned only once a check
    /// has shown that the other side's value is still the stored one.
    ///
    /// A draft that was not touched writes nothing, and takes over what is stored. A resource that was deleted and created again is
    /// another state of the same one, and merged with.
    ///
    /// Where the outcome is unknown, or this is dropped before its end, the draft stays as it was, and its changes may have been
    /// applied, and so it is after a transaction that [saved](crate::collection::DatabaseTransaction::save) it. To commit it again is safe:
    /// what gives the same when it is merged twice merges, and what may not, as with
    /// [`Counter`](crate::merge::Strategy::Counter), a closure of one's own or equal lines, is the conflict of
    /// [`commit`](Self::commit) unless the base is still the stored state. Open another draft then.
    ///
    /// # Errors
    ///
    /// - A [`Conflict`] whose advice is [`Advice::Merge`](crate::store::Advice::Merge) where both sides changed the same
    ///   place. [`Overlaps::of`] finds what each made of it, and [`settle`](Self::settle) takes the answer; its problem body has
    ///   the `conflicting_paths`. Nothing was written, and the draft is as it was.
    /// - The conflict of [`commit`](Self::commit) where the resource was deleted, which is never undone by a merge, and where
    ///   there is a lock or a rule in the way. The last one once [`Retry`](crate::Retry) allows no more tries.
    /// - [`Refusal::Encode`] for a value that does not survive its own way through JSON; see [`Merge::typed`].
    ///
    /// ```
    /// use ifmatch::merge::Merge;
    /// use ifmatch::{Collection, Error};
    ///
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// # struct Settings { theme: String, volume: u8 }
    /// let settings = Collection::<Settings>::in_memory();
    /// settings.create("ann", Settings { theme: "light".to_string(), volume: 3 }).wait()?;
    ///
    /// let mut draft = settings.edit("ann").wait()?;
    /// draft.theme = "dark".to_string();
    /// settings.modify("ann", |settings| settings.volume = 5).wait()?; // somebody else was faster
    ///
    /// let saved = draft.commit_or_merge(&Merge::new(), |_| Ok::<_, Error>(())).wait()?;
    /// assert_eq!((&*saved.value.theme, saved.value.volume), ("dark", 5));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn commit_or_merge<'a, E>(
        &'a mut self,
        merge: &'a Merge,
        validate: impl FnMut(&T) -> Result<(), E> + Send + 'a,
    ) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
    {
        Reply::pending(async move {
            let Some(mine) = self.touched() else { return Ok(self.catch_up().await?) };
            let doubted_before = self.send();
            let collection = self.collection().clone();
            let mut call = Call::new(collection.retry());
            let mut rounds = Rounds {
                collection: &collection,
                id: self.id(),
                base: self.base(),
                mine,
                merge,
                in_doubt: doubted_before,
                validate,
                stand: Stand::Out,
                beaten: false,
            };
            let ended = rounds.run(&mut call).await;
            drop(rounds);
            call.report(
                Some(self.id()),
                match &ended {
                    Ok(_) => Effect::Applied,
                    Err(Stop::Own(_)) => Effect::Refused,
                    Err(Stop::Error(error)) => Effect::Failed(error),
                },
            );
            if !matches!(&ended, Err(Stop::Error(error)) if error.outcome() == Outcome::Unknown) {
                self.heard(doubted_before);
            }
            match ended {
                Ok(saved) => {
                    self.take_over(saved.clone());
                    Ok(saved)
                }
                Err(Stop::Own(error)) => Err(error),
                Err(Stop::Error(error)) => Err(error.into()),
            }
        })
    }

    /// What is stored, for a draft with nothing of its own.
    async fn catch_up(&mut self) -> Result<Versioned<T>, Error> {
        let conflict = match self.commit().await {
            Err(Error::Conflict(conflict)) => conflict,
            answer => return answer,
        };
        match stale(&conflict, self.collection(), self.id()) {
            Some(theirs) => {
                self.take_over(theirs.clone());
                Ok(theirs)
            }
            None => Err(conflict.into()),
        }
    }

    /// Settles what [`commit_or_merge`](Self::commit_or_merge) could not decide: the draft is based on what the other side left
    /// from then on, with all of both sides' changes that did not overlap, and what `choose` gives for each place that did. Where
    /// that is `None`, nothing is there. What the type can't hold together after that is asked too; see
    /// [`Overlaps::settle_as`]. Nothing is written; commit the draft again.
    ///
    /// # Errors
    ///
    /// The conflict as it is where it is no overlap of this draft, as it is now: the draft was changed since, or is another one.
    /// Commit it again. [`Refusal::Unfit`] where the type does not hold
    /// what was chosen: the draft stays as it was.
    ///
    /// ```
    /// use ifmatch::merge::Merge;
    /// use ifmatch::{Collection, Error};
    ///
    /// let titles = Collection::<String>::in_memory();
    /// titles.create("a", "first".to_string()).wait()?;
    /// let mut draft = titles.edit("a").wait()?;
    /// draft.push_str(" of mine");
    /// titles.put("a", "another".to_string()).wait()?;
    ///
    /// let merge = Merge::new();
    /// while let Err(error) = draft.commit_or_merge(&merge, |_| Ok::<_, Error>(())).wait() {
    ///     let Error::Conflict(conflict) = error else { return Err(error) };
    ///     // "Somebody else has changed this. Yours, or theirs?"
    ///     draft.settle(conflict, |overlap| overlap.mine.clone())?;
    /// }
    /// assert_eq!(*titles.fetch("a").wait()?.value, "first of mine");
    /// # Ok::<_, Error>(())
    /// ```
    pub fn settle(
        &mut self,
        conflict: Conflict,
        choose: impl FnMut(&Overlap) -> Option<Value>,
    ) -> Result<(), Error> {
        let theirs = stale::<T>(&conflict, self.collection(), self.id());
        let (Some(theirs), Some(overlaps)) = (theirs, Overlaps::of(&conflict)) else {
            return Err(conflict.into());
        };
        // What was changed since is in no overlap, and another draft's changes are not this one's.
        let [base, mine] = [&*self.base().value, &**self].map(|value| codec::document(value).ok());
        if (base.as_ref(), mine.as_ref())
            != (Some(&overlaps.documents().base), Some(&overlaps.documents().mine))
        {
            return Err(conflict.into());
        }
        let value = overlaps.settle_as::<T>(choose).map_err(|left| unfit(self.id(), &left))?;
        self.bring_over(theirs, value);
        Ok(())
    }
}

/// A draft on its way into the store, round after round.
struct Rounds<'a, T: Resource, V> {
    collection: &'a Collection<T>,
    id: &'a str,
    base: &'a Versioned<T>,
    mine: Arc<T>,
    merge: &'a Merge,
    /// Whether what is stored may be its own earlier commit, which is not to be counted twice.
    in_doubt: bool,
    validate: V,
    stand: Stand<'a, T>,
    /// Whether it lost a race in its turn.
    beaten: bool,
}

/// How it goes about the line of its id.
enum Stand<'a, T> {
    Out,
    In(Ticket<'a, T>),
    /// After the line stalled.
    Ungated,
}

/// Why there is no answer: the program's own error, or one of ours.
enum Stop<E> {
    Own(E),
    Error(Error),
}

impl<T, E, V> Rounds<'_, T, V>
where
    T: Resource + Clone + PartialEq + Serialize + DeserializeOwned,
    V: FnMut(&T) -> Result<(), E>,
{
    async fn run(&mut self, call: &mut Call<'_>) -> Result<Versioned<T>, Stop<E>> {
        // The state that a value was made for: what it is to replace.
        let (mut for_state, mut value) = (self.base.version, Arc::clone(&self.mine));
        loop {
            let refused = (self.validate)(&value).err();
            let entry = match &refused {
                None => Entry::put(self.id, for_state, Arc::clone(&value)),
                // It is the answer only if it was decided on what is stored.
                Some(_) => Entry::check(self.id, for_state),
            };
            let commit = Commit::one(entry);
            let (store, stamps) = (&**self.collection.store(), self.collection.stamps());
            let conflict = match (call.commit(store, stamps, &commit, None).await, refused) {
                (Ok(_), Some(refused)) => return Err(Stop::Own(refused)),
                (Ok(committed), None) => {
                    let version = committed.put_version(0).map_err(Error::from)?;
                    let saved = Versioned { version, value };
                    self.knows(&saved);
                    return Ok(saved);
                }
                (Err(Error::Conflict(conflict)), _) => conflict,
                (Err(error), _) => return Err(error.into()),
            };
            let may_merge = !(self.in_doubt && self.merge.rules().adds_up());
            let theirs = stale(&conflict, self.collection, self.id).filter(|_| may_merge);
            let Some(theirs) = theirs else {
                return Err(Error::from(conflict).into());
            };
            let Some(theirs) = self.take_turn(call, theirs).await else {
                return Err(Error::from(conflict.exhausted(call.attempts())).into());
            };
            // Whatever comes of it, the next in line starts from here.
            self.knows(&theirs);
            let merged = self.merge.typed(&*self.base.value, &*self.mine, &*theirs.value);
            value = Arc::new(merged.map_err(|unmerged| self.refusal(unmerged, &theirs))?);
            if self.in_doubt && self.merge.changes_more(&*self.base.value, &*self.mine, &*value) {
                return Err(Error::from(conflict).into());
            }
            for_state = theirs.version;
        }
    }

    /// Waits before another round, and tells what that is to be based on. `None` where there is none.
    async fn take_turn(&mut self, call: &mut Call<'_>, theirs: Versioned<T>) -> Option<Versioned<T>> {
        if !call.may_try() {
            return None;
        }
        let gate = self.collection.gate();
        match self.stand {
            // Whoever was faster is not in this line: once may be chance.
            Stand::In(_) => {
                let beaten = std::mem::replace(&mut self.beaten, true);
                (!beaten || call.pause().await).then_some(theirs)
            }
            Stand::Out if gate.is_on() => {
                let mut ticket = gate.join(self.id, Some(theirs.clone()));
                let called = call.bound(ticket.called()).await?;
                let handed = match called {
                    Called::Turn(handed) => {
                        self.stand = Stand::In(ticket);
                        handed
                    }
                    Called::Stalled => {
                        self.stand = Stand::Ungated;
                        None
                    }
                };
                Some(handed.unwrap_or(theirs))
            }
            Stand::Out | Stand::Ungated => call.pause().await.then_some(theirs),
        }
    }

    /// What the next in line is to start from.
    fn knows(&mut self, now: &Versioned<T>) {
        if let Stand::In(ticket) = &mut self.stand {
            ticket.known = Some(now.clone());
        }
    }

    fn refusal(&self, unmerged: Unmerged, theirs: &Versioned<T>) -> Error {
        self.collection.told(unmerged.into_error(self.id, self.base.into(), theirs))
    }
}

/// What another one left at the id, where that is all that was in the way of it.
fn stale<T: Resource>(conflict: &Conflict, collection: &Collection<T>, id: &str) -> Option<Versioned<T>> {
    own_in(conflict, collection.name(), id).filter(|own| *own.kind() == Kind::Stale)?.current()
}

fn unfit(id: &str, left: &Unmerged) -> Error {
    let problem = match left {
        Unmerged::Overlaps(left) => {
            let places: Vec<String> =
                left.pointers().take(3).map(|place| format!("`{}`", shown(place))).collect();
            format!("what was chosen does not go together at {}", places.join(", "))
        }
        Unmerged::Unfaithful(_) => left.to_string(),
    };
    Refusal::Unfit { id: id.into(), problem: problem.into() }.into()
}

impl<E> From<Error> for Stop<E> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::collection::Database;
    use crate::collection::testing::{Fault, Pace, Scripted};
    use crate::merge::strategy::Strategy;

    #[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
    struct Pair {
        x: u8,
        y: u8,
    }

    fn pair(x: u8, y: u8) -> Pair {
        Pair { x, y }
    }

    /// A draft of mine, and a store where somebody else was faster.
    fn raced(store: Scripted<Pair>) -> (Arc<Scripted<Pair>>, Collection<Pair>, Draft<Pair>) {
        let store = Arc::new(store);
        let pairs = Collection::new(Arc::clone(&store));
        pairs.create("a", pair(0, 0)).wait().unwrap();
        let mut draft = pairs.edit("a").wait().unwrap();
        draft.x = 1;
        pairs.put("a", pair(0, 1)).wait().unwrap();
        (store, pairs, draft)
    }

    fn fine(_: &Pair) -> Result<(), Error> {
        Ok(())
    }

    #[test]
    fn a_lost_answer_is_settled_and_never_merged_with_itself() {
        for fault in [Fault::None, Fault::LoseAnswer, Fault::LoseRequest, Fault::Fail] {
            for pace in [Pace::Ready, Pace::Yields] {
                let store = Scripted::new(pace, true);
                // The creation, theirs, and mine, which is too late.
                store.commit_faults.lock().extend([Fault::None, Fault::None, Fault::None, fault]);
                let (_, pairs, mut draft) = raced(store);
                let merge = Merge::new();

                let saved = draft.commit_or_merge(&merge, fine).wait().unwrap();

                assert_eq!((*saved.value, &saved), (pair(1, 1), draft.base()), "{fault:?}");
                assert_eq!(pairs.fetch("a").wait().unwrap(), saved);
                assert!(pairs.gate().is_quiet());
            }
        }
    }

    #[test]
    fn a_write_that_nobody_can_tell_of_leaves_the_draft_as_it_was() {
        let mut store = Scripted::losing(&[Fault::None, Fault::None, Fault::None, Fault::LoseAnswer]);
        store.forgets = true;
        let (_, pairs, mut draft) = raced(store);
        let base = draft.base().clone();
        let merge = Merge::new();

        let error = draft.commit_or_merge(&merge, fine).wait().unwrap_err();

        assert_eq!(error.outcome(), Outcome::Unknown);
        assert_eq!((draft.base(), *draft), (&base, pair(1, 0)));
        // It was applied: the next try finds both edits there, and adds nothing.
        assert_eq!(*draft.commit_or_merge(&merge, fine).wait().unwrap().value, pair(1, 1));
        assert!(pairs.gate().is_quiet());
    }

    #[test]
    fn a_commit_that_is_dropped_leaves_the_draft_as_it_was_and_nobody_in_line() {
        let (_, pairs, mut draft) =
            raced(Scripted::losing(&[Fault::None, Fault::None, Fault::None, Fault::Hang]));
        let base = draft.base().clone();
        let merge = Merge::new();

        let mut reply = draft.commit_or_merge(&merge, fine);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::Pin::new(&mut reply).poll(&mut context).is_pending());
        assert!(!pairs.gate().is_quiet(), "it stands in line");
        drop(reply);

        assert_eq!((draft.base(), *draft), (&base, pair(1, 0)));
        assert!(pairs.gate().is_quiet());
        assert_eq!(*draft.commit_or_merge(&merge, fine).wait().unwrap().value, pair(1, 1));
    }

    #[test]
    fn a_change_that_may_have_been_counted_is_not_counted_again() {
        for (fault, dropped) in [(Fault::LoseAnswer, false), (Fault::HangApplied, true)] {
            for by_commit in [false, true] {
                let mut store = Scripted::losing(&[Fault::None, fault]);
                store.forgets = true;
                let counts = Collection::new(Arc::new(store));
                counts.create("a", 5u64).wait().unwrap();
                let mut draft = counts.edit("a").wait().unwrap();
                *draft += 1;
                let merge = Merge::new().at("", Strategy::Counter);

                let mut reply = match by_commit {
                    true => draft.commit(),
                    false => draft.commit_or_merge(&merge, |_| Ok::<_, Error>(())),
                };
                if dropped {
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    assert!(std::pin::Pin::new(&mut reply).poll(&mut context).is_pending());
                    drop(reply);
                } else {
                    assert_eq!(reply.wait().unwrap_err().outcome(), Outcome::Unknown);
                }
                for _ in 0..2 {
                    let again = draft.commit_or_merge(&merge, |_| Ok::<_, Error>(())).wait().unwrap_err();
                    assert_eq!(again.conflict().unwrap().kind(), &Kind::Stale, "{fault:?}");
                }

                assert_eq!(*counts.fetch("a").wait().unwrap().value, 6);
                let mut anew = counts.edit("a").wait().unwrap();
                *anew += 1;
                counts.put("a", 9).wait().unwrap();
                assert_eq!(*anew.commit_or_merge(&merge, |_| Ok::<_, Error>(())).wait().unwrap().value, 10);
            }
        }
    }

    /// Takes the reply's end: nobody can tell, or it is dropped.
    fn lose<A>(mut reply: Reply<'_, A>, dropped: bool) {
        if dropped {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::pin::Pin::new(&mut reply).poll(&mut context).is_pending());
        } else {
            assert_eq!(reply.wait().map(drop).unwrap_err().outcome(), Outcome::Unknown);
        }
    }

    #[test]
    fn a_change_that_a_transaction_may_have_counted_is_not_counted_again() {
        let merge = Merge::new().at("", Strategy::Counter);
        let fine = |_: &u64| Ok::<_, Error>(());
        for (fault, dropped) in [(Fault::LoseAnswer, false), (Fault::HangApplied, true)] {
            let mut store = Scripted::<[u8]>::losing(&[Fault::None, fault]);
            store.forgets = true;
            let office = Database::new(store);
            let counts = office.collection::<u64>("counts").unwrap();
            counts.create("a", 5).wait().unwrap();
            let mut draft = counts.edit("a").wait().unwrap();
            *draft += 1;
            let mut transaction = office.transaction();
            transaction.save(&mut draft).unwrap();
            lose(transaction.commit(), dropped);

            for _ in 0..2 {
                let again = draft.commit_or_merge(&merge, fine).wait().unwrap_err();
                assert_eq!(again.conflict().unwrap().kind(), &Kind::Stale, "{fault:?}");
            }
            assert_eq!(*counts.fetch("a").wait().unwrap().value, 6);
        }
    }

    #[test]
    fn a_draft_that_a_transaction_has_not_saved_is_merged() {
        let merge = Merge::new().at("", Strategy::Counter);
        let office = Database::new(Scripted::<[u8]>::losing(&[]));
        let counts = office.collection::<u64>("counts").unwrap();
        counts.create("a", 5).wait().unwrap();
        for refused in [true, false] {
            let mut draft = counts.edit("a").wait().unwrap();
            let base = *draft;
            *draft += 1;
            let mut transaction = office.transaction();
            transaction.save(&mut draft).unwrap();
            if refused {
                transaction.create(&counts, "b", 1).unwrap();
                counts.put("b", 2).wait().unwrap();
                assert!(matches!(transaction.commit().wait(), Err(Error::Conflict(_))));
            } else {
                // It was never sent.
                drop(transaction.commit());
            }
            counts.put("a", base + 10).wait().unwrap();

            let saved = draft.commit_or_merge(&merge, |_| Ok::<_, Error>(())).wait().unwrap();

            assert_eq!(*saved.value, base + 11);
        }
    }

    #[test]
    fn lines_that_may_have_been_added_are_not_added_again() {
        let text = |lines: &str| lines.replace(' ', "\n");
        let fine = |_: &String| Ok::<_, Error>(());
        let mut store = Scripted::losing(&[Fault::None, Fault::None, Fault::None, Fault::LoseAnswer]);
        store.forgets = true;
        let notes = Collection::new(Arc::new(store));
        notes.create("a", text("a a ")).wait().unwrap();
        let mut draft = notes.edit("a").wait().unwrap();
        *draft = text("a b a a ");
        notes.put("a", text("c a a ")).wait().unwrap();
        let merge = Merge::new().at("", Strategy::Lines);
        let lost = draft.commit_or_merge(&merge, fine).wait().unwrap_err();
        assert_eq!(lost.outcome(), Outcome::Unknown);
        let both = notes.fetch("a").wait().unwrap();

        let again = draft.commit_or_merge(&merge, fine).wait().unwrap_err();

        assert_eq!(again.conflict().unwrap().kind(), &Kind::Stale);
        assert!(Overlaps::of(&again).is_none());
        assert_eq!(notes.fetch("a").wait().unwrap(), both);
    }

    #[test]
    fn an_overlap_writes_nothing_more() {
        let (store, pairs, mut draft) = raced(Scripted::new(Pace::Ready, false));
        draft.y = 7;
        let merge = Merge::new();
        let sent = store.sent();

        let error = draft.commit_or_merge(&merge, fine).wait().unwrap_err();

        assert!(Overlaps::of(&error).is_some());
        assert_eq!((store.sent() - sent, *pairs.fetch("a").wait().unwrap().value), (1, pair(0, 1)));
    }
}
