//! [`Rounds`], the loop behind `modify` and its kin: read, let the closure decide, commit, and again where the commit lost
//! a race.

use std::future::{Future, Ready};
use std::sync::Arc;

use crate::collection::call::{Call, Sent, missing_in, own_in};
use crate::collection::collection::Collection;
use crate::collection::gate::{Called, Ticket};
use crate::collection::retry::Effect;
use crate::store::{
    Commit, Committed, Conflict, Entry, Error, Expected, Kind, NotFound, Reply, Resource, Versioned,
};

/// A change of one resource by a closure that decides on its value.
pub(crate) struct Rounds<'a, T: Resource, F, M = fn() -> T> {
    collection: &'a Collection<T>,
    id: &'a str,
    /// What to start from where there is nothing. Without it, that is an error.
    first: Option<M>,
    /// Whether a state may be changed at all.
    judge: Option<Judge<'a, T>>,
    decide: F,
}

/// What a request says about the state that it is to change.
type Judge<'a, T> = Box<dyn FnMut(&Versioned<T>) -> Result<(), Error> + Send + 'a>;

/// What the closure made of a value.
enum Decision<T, E> {
    Write(Arc<T>),
    /// It left the value as it was: this one.
    Keep(Versioned<T>),
    Refuse(E),
}

/// A commit of what was decided on the state that is named first; `None` of one where nothing was.
type Round<'a, T, E> = (Option<Versioned<T>>, Decision<T, E>, Reply<'a, Committed>);

/// How far the first round came without waiting.
enum Begun<'a, T, E> {
    No,
    Read(Reply<'a, Option<Versioned<T>>>),
    Sent(Round<'a, T, E>),
}

/// Why there is no answer: the closure's own error, or one of ours.
enum Stop<E> {
    Own(E),
    Error(Error),
}

/// The value now, and whether it was changed.
type Ended<T, E> = Result<(Versioned<T>, bool), Stop<E>>;

/// How the call goes about the line of its id.
enum Stand<'a, T> {
    Out,
    In(Ticket<'a, T>),
    /// Without a gate, or after the line stalled.
    Ungated,
}

impl<'a, T: Resource, F> Rounds<'a, T, F> {
    pub(crate) fn of(collection: &'a Collection<T>, id: &'a str, decide: F) -> Self {
        Self { collection, id, first: None, judge: None, decide }
    }

    /// The same change of a state that `judge` admits; else its error is the answer. It is asked anew in each round.
    pub(crate) fn judged(self, judge: impl FnMut(&Versioned<T>) -> Result<(), Error> + Send + 'a) -> Self {
        Self { judge: Some(Box::new(judge)), ..self }
    }

    /// The same change, of `first()` where there is nothing.
    pub(crate) fn or<M: FnMut() -> T>(self, first: M) -> Rounds<'a, T, F, M> {
        let Self { collection, id, judge, decide, .. } = self;
        Rounds { collection, id, first: Some(first), judge, decide }
    }
}

impl<'a, T: Resource + Clone + PartialEq, F, M: FnMut() -> T + Send + 'a> Rounds<'a, T, F, M> {
    /// By a closure that decides at once. Where the store answers at once too and there is no race, so does this, without
    /// a future.
    pub(crate) fn at_once<E>(mut self) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
        F: FnMut(T) -> Ready<Result<T, E>> + Send + 'a,
    {
        let collection = self.collection;
        let short = self.judge.is_none()
            && !collection.stamps().needed()
            && !collection.retry().reports()
            && !collection.gate().has_line(self.id);
        let begun = if short { self.first_round() } else { Begun::No };
        match begun {
            Begun::Sent((base, decision, reply)) => match reply.into_ready() {
                Ok(Ok(committed)) => Reply::ready(decision.conclude(&committed).map_err(Stop::into_own)),
                Ok(answer) => self.later(Begun::Sent((base, decision, Reply::ready(answer)))),
                Err(reply) => self.later(Begun::Sent((base, decision, reply))),
            },
            begun => self.later(begun),
        }
    }

    /// By a closure that decides later.
    pub(crate) fn in_time<E, Fut>(self) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
        F: FnMut(T) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        self.later(Begun::No)
    }

    fn first_round<E>(&mut self) -> Begun<'a, T, E>
    where
        F: FnMut(T) -> Ready<Result<T, E>>,
    {
        let store = self.collection.store();
        let base = match store.get(self.id).into_ready() {
            Ok(Ok(Some(base))) => base,
            Ok(answer) => return Begun::Read(Reply::ready(answer)),
            Err(reply) => return Begun::Read(reply),
        };
        let decided = (self.decide)(T::clone(&base.value)).into_inner();
        let base = Some(base);
        let decision = Decision::of(decided, base.as_ref());
        let reply = store.commit(decision.commit(self.id, base.as_ref()));
        Begun::Sent((base, decision, reply))
    }

    #[cold]
    fn later<E, Fut>(mut self, begun: Begun<'a, T, E>) -> Reply<'a, Versioned<T>, E>
    where
        E: From<Error> + Send + 'a,
        F: FnMut(T) -> Fut + Send + 'a,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        Reply::pending(async move {
            let mut call = Call::new(self.collection.retry()).within(self.collection.name());
            let ended = self.rounds(&mut call, begun).await;
            call.report(
                Some(self.id),
                match &ended {
                    Ok((_, true)) => Effect::Applied,
                    Ok((_, false)) => Effect::Unchanged,
                    Err(Stop::Own(_)) => Effect::Refused,
                    Err(Stop::Error(error)) => Effect::Failed(error),
                },
            );
            ended.map(|(now, _)| now).map_err(Stop::into_own)
        })
    }

    async fn rounds<E, Fut>(&mut self, call: &mut Call<'_>, begun: Begun<'a, T, E>) -> Ended<T, E>
    where
        F: FnMut(T) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (collection, id) = (self.collection, self.id);
        let gate = collection.gate();
        let mut stand = if gate.is_on() { Stand::Out } else { Stand::Ungated };
        let mut beaten = false;
        // What the next round begins with: a state that is known already, a read that is on its way, or a whole round.
        let (mut known, mut reading, mut sent) = (None, None, None);
        match begun {
            Begun::Read(reply) => reading = Some(reply),
            Begun::Sent((base, decision, reply)) => {
                sent = Some((base, decision, Sent { reply, write: None }));
            }
            // There may be a line: join it before reading, as what is read now would be stale when the turn comes.
            Begun::No => {
                if let Some(ticket) = gate.follow(id) {
                    let Some(called) = stand_in(call, ticket).await else {
                        return Err(call.too_late().into());
                    };
                    (stand, known) = called;
                }
            }
        }

        loop {
            let (base, decision, first) = match sent.take() {
                Some((base, decision, sent)) => (base, decision, Some(sent)),
                None => {
                    let base = match known.take() {
                        Some(known) => Some(known),
                        None => self.read(call, reading.take()).await?,
                    };
                    stand.knows(base.as_ref());
                    if let Some(base) = &base {
                        collection.stamps().saw(base.version);
                        self.judge(base)?;
                    }
                    let value = self.copy(base.as_ref())?;
                    let Some(decided) = call.bound((self.decide)(value)).await else {
                        return Err(call.too_late().into());
                    };
                    let decision = Decision::of(decided, base.as_ref());
                    (base, decision, None)
                }
            };
            // A refusal is committed too, as a check: it is the closure's answer only if it was decided on what is stored.
            let commit = decision.commit(id, base.as_ref());
            let error = match call.commit(&**collection.store(), collection.stamps(), &commit, first).await {
                Ok(committed) => {
                    drop(commit);
                    let changed = matches!(decision, Decision::Write(_));
                    let now = decision.conclude(&committed)?;
                    stand.knows(Some(&now));
                    // The base may be the last handle of its value, whose drop may take its time: the next in line is
                    // called first.
                    drop(stand);
                    drop(base);
                    return Ok((now, changed));
                }
                Err(error) => error,
            };
            let Error::Conflict(conflict) = error else { return Err(error.into()) };
            let own = own_in(&conflict, collection.name(), id);
            let Some(own) = own.filter(|own| self.lost_a_race(own.kind(), base.is_some())) else {
                return Err(missing_in(conflict.into(), collection.name(), id).into());
            };
            known = own.current::<T>();
            if let Some(known) = &known {
                // At once, and not when its turn in line comes.
                self.judge(known)?;
            }
            if !call.may_try() {
                return Err(gave_up(conflict, call).into());
            }
            stand = match stand {
                // The turn is kept, and the next try needs no read. Whoever was faster is not in this line: once may be
                // chance, but lines of other processes would beat one another for ever if none of them waited.
                Stand::In(ticket) => {
                    if std::mem::replace(&mut beaten, true) && !call.pause().await {
                        return Err(gave_up(conflict, call).into());
                    }
                    Stand::In(ticket)
                }
                Stand::Ungated if call.pause().await => Stand::Ungated,
                Stand::Ungated => return Err(gave_up(conflict, call).into()),
                Stand::Out => {
                    let ticket = gate.join(id, known.take());
                    let Some((stand, handed)) = stand_in(call, ticket).await else {
                        return Err(gave_up(conflict, call).into());
                    };
                    known = handed;
                    stand
                }
            };
        }
    }

    /// Takes itself mutably, as a future that keeps it shared would not be `Send`.
    async fn read(
        &mut self,
        call: &mut Call<'_>,
        reading: Option<Reply<'a, Option<Versioned<T>>>>,
    ) -> Result<Option<Versioned<T>>, Error> {
        let (store, id) = (&**self.collection.store(), self.id);
        match self.first {
            Some(_) => call.read(reading, || store.get(id)).await,
            None => call
                .fetch(store, self.collection.stamps(), self.collection.name(), id, reading)
                .await
                .map(Some),
        }
    }

    fn judge(&mut self, base: &Versioned<T>) -> Result<(), Error> {
        let judged = self.judge.as_mut().map_or(Ok(()), |judge| judge(base));
        judged.map_err(|error| self.collection.told(error))
    }

    /// What the closure is to change.
    fn copy(&mut self, base: Option<&Versioned<T>>) -> Result<T, Error> {
        match (base, &mut self.first) {
            (Some(base), _) => Ok(T::clone(&base.value)),
            (None, Some(first)) => Ok(first()),
            (None, None) => Err(self.collection.told(NotFound::new(self.id).into())),
        }
    }

    /// Whether a refused commit may be decided anew: all else is for the caller.
    fn lost_a_race(&self, kind: &Kind, had_base: bool) -> bool {
        match kind {
            Kind::Stale => true,
            Kind::Exists => !had_base,
            Kind::Missing | Kind::Deleted => self.first.is_some(),
            Kind::Locked { .. } | Kind::State { .. } => false,
        }
    }
}

/// Waits in line. `None` where the deadline passes there.
async fn stand_in<'a, T: Resource>(
    call: &Call<'_>,
    mut ticket: Ticket<'a, T>,
) -> Option<(Stand<'a, T>, Option<Versioned<T>>)> {
    Some(match call.bound(ticket.called()).await? {
        Called::Turn(handed) => (Stand::In(ticket), handed),
        Called::Stalled => (Stand::Ungated, None),
    })
}

fn gave_up(conflict: Conflict, call: &Call<'_>) -> Error {
    conflict.exhausted(call.attempts()).into()
}

impl<T: Resource> Stand<'_, T> {
    /// What the next in line is to start from.
    fn knows(&mut self, now: Option<&Versioned<T>>) {
        if let (Self::In(ticket), Some(now)) = (self, now) {
            ticket.known = Some(now.clone());
        }
    }
}

impl<T: Resource + PartialEq, E> Decision<T, E> {
    fn of(decided: Result<T, E>, base: Option<&Versioned<T>>) -> Self {
        match (decided, base) {
            (Ok(value), Some(base)) if value == *base.value => Self::Keep(base.clone()),
            (Ok(value), _) => Self::Write(Arc::new(value)),
            (Err(error), _) => Self::Refuse(error),
        }
    }

    /// What makes the decision true: the change, or a check that what it was decided on still stands.
    fn commit<'a>(&self, id: &'a str, base: Option<&Versioned<T>>) -> Commit<'a, T> {
        let expected = base.map_or(Expected::Absent, Expected::from);
        match self {
            Self::Write(value) => Commit::one(Entry::put(id, expected, Arc::clone(value))),
            Self::Keep(_) => Commit::unchanged(Entry::check(id, expected)),
            Self::Refuse(_) => Commit::one(Entry::check(id, expected)),
        }
    }

    fn conclude(self, committed: &Committed) -> Result<Versioned<T>, Stop<E>> {
        match self {
            Self::Write(value) => {
                let version = committed.put_version(0).map_err(Error::from)?;
                Ok(Versioned { version, value })
            }
            // Another version where the value was rewritten in a newer schema.
            Self::Keep(base) => {
                Ok(Versioned { version: committed.version().unwrap_or(base.version), ..base })
            }
            Self::Refuse(error) => Err(Stop::Own(error)),
        }
    }
}

impl<E: From<Error>> Stop<E> {
    fn into_own(self) -> E {
        match self {
            Self::Own(error) => error,
            Self::Error(error) => error.into(),
        }
    }
}

impl<E> From<Error> for Stop<E> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}
