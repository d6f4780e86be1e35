//! The loop behind `modify` and its kin: read, let the closure decide, commit, and again where the commit lost a race.

use std::future::{Future, Ready};
use std::sync::Arc;

use crate::call::{Call, Sent, missing_in};
use crate::collection::Collection;
use crate::commit::{Commit, Committed, Entry};
use crate::conflict::{Conflict, Kind};
use crate::error::Error;
use crate::gate::{Called, Place};
use crate::reply::Reply;
use crate::resource::Resource;
use crate::retry::Ending;
use crate::version::Versioned;

/// What the closure made of a value.
enum Verdict<T, E> {
    Change(Arc<T>),
    Same,
    Refuse(E),
}

/// How far the first round came without waiting.
enum Begun<'a, T, E> {
    No,
    Read(Reply<'a, Option<Versioned<T>>>),
    Sent(Versioned<T>, Verdict<T, E>, Reply<'a, Committed>),
}

/// Why there is no answer: the closure's own error, or one of ours.
enum Stop<E> {
    Own(E),
    Error(Error),
}

/// How the call goes about the line of its id.
enum Stand<'a, T> {
    Out,
    In(Place<'a, T>),
    /// Without a gate, or after the line stalled.
    Ungated,
}

impl<E> From<Error> for Stop<E> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Changes `id` by a closure that decides at once. Where the store answers at once too and there is no race, so does
/// this, without a future.
pub(crate) fn at_once<'a, T, E, F>(
    collection: &'a Collection<T>,
    id: &'a str,
    mut decide: F,
) -> Reply<'a, Versioned<T>, E>
where
    T: Resource + Clone + PartialEq,
    E: From<Error> + Send + 'a,
    F: FnMut(T) -> Ready<Result<T, E>> + Send + 'a,
{
    let short = collection.gate().is_quiet() && !collection.stamps() && !collection.retry().reports();
    let begun = if short { first_round(collection, id, &mut decide) } else { Begun::No };
    match begun {
        Begun::Sent(base, verdict, reply) => match reply.into_ready() {
            Ok(Ok(committed)) => Reply::ready(verdict.conclude(base, &committed)),
            Ok(answer) => later(collection, id, decide, Begun::Sent(base, verdict, Reply::ready(answer))),
            Err(reply) => later(collection, id, decide, Begun::Sent(base, verdict, reply)),
        },
        begun => later(collection, id, decide, begun),
    }
}

/// Changes `id` by a closure that decides later.
pub(crate) fn in_time<'a, T, E, F, Fut>(
    collection: &'a Collection<T>,
    id: &'a str,
    decide: F,
) -> Reply<'a, Versioned<T>, E>
where
    T: Resource + Clone + PartialEq,
    E: From<Error> + Send + 'a,
    F: FnMut(T) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send,
{
    later(collection, id, decide, Begun::No)
}

fn first_round<'a, T, E, F>(collection: &'a Collection<T>, id: &'a str, decide: &mut F) -> Begun<'a, T, E>
where
    T: Resource + Clone + PartialEq,
    F: FnMut(T) -> Ready<Result<T, E>>,
{
    let base = match collection.store().get(id).into_ready() {
        Ok(Ok(Some(base))) => base,
        Ok(answer) => return Begun::Read(Reply::ready(answer)),
        Err(reply) => return Begun::Read(reply),
    };
    let verdict = Verdict::of(decide(T::clone(&base.value)).into_inner(), &base);
    let reply = collection.store().commit(verdict.commit(id, &base));
    Begun::Sent(base, verdict, reply)
}

#[cold]
fn later<'a, T, E, F, Fut>(
    collection: &'a Collection<T>,
    id: &'a str,
    decide: F,
    begun: Begun<'a, T, E>,
) -> Reply<'a, Versioned<T>, E>
where
    T: Resource + Clone + PartialEq,
    E: From<Error> + Send + 'a,
    F: FnMut(T) -> Fut + Send + 'a,
    Fut: Future<Output = Result<T, E>> + Send,
{
    Reply::pending(async move {
        let mut call = Call::new(collection.retry());
        let answer = rounds(collection, id, &mut call, decide, begun).await;
        call.report(
            Some(id),
            match &answer {
                Ok((_, true)) => Ending::Applied,
                Ok((_, false)) => Ending::Unchanged,
                Err(Stop::Own(_)) => Ending::Refused,
                Err(Stop::Error(error)) => Ending::Failed(error),
            },
        );
        match answer {
            Ok((now, _)) => Ok(now),
            Err(Stop::Own(error)) => Err(error),
            Err(Stop::Error(error)) => Err(error.into()),
        }
    })
}

/// The value now, and whether it was changed.
type Answer<T, E> = Result<(Versioned<T>, bool), Stop<E>>;

async fn rounds<'a, T, E, F, Fut>(
    collection: &'a Collection<T>,
    id: &'a str,
    call: &mut Call<'_>,
    mut decide: F,
    begun: Begun<'a, T, E>,
) -> Answer<T, E>
where
    T: Resource + Clone + PartialEq,
    F: FnMut(T) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let store = &**collection.store();
    let stamps = collection.stamps();
    let gate = collection.gate();
    let mut stand = if gate.is_on() { Stand::Out } else { Stand::Ungated };
    let (mut known, mut reading, mut sent) = (None, None, None);
    match begun {
        Begun::Read(reply) => reading = Some(reply),
        Begun::Sent(base, verdict, reply) => sent = Some((base, verdict, Sent { reply, write: None })),
        // There may be a line: join it before reading, as what is read now would be stale when the turn comes.
        Begun::No if gate.is_on() => {
            if let Some(place) = gate.follow(id) {
                let Some(called) = stand_in(call, place).await else { return Err(call.too_late().into()) };
                (stand, known) = called;
            }
        }
        Begun::No => {}
    }

    loop {
        let (base, verdict, first) = match sent.take() {
            Some((base, verdict, sent)) => (base, verdict, Some(sent)),
            None => {
                let base = match known.take() {
                    Some(known) => known,
                    None => call.fetch(store, stamps, id, reading.take()).await?,
                };
                stand.knows(&base);
                let Some(decided) = call.bound(decide(T::clone(&base.value))).await else {
                    return Err(call.too_late().into());
                };
                let verdict = Verdict::of(decided, &base);
                (base, verdict, None)
            }
        };
        let error = match call.commit(store, stamps, &verdict.commit(id, &base), first).await {
            Ok(committed) => {
                let changed = matches!(verdict, Verdict::Change(_));
                let now = verdict.conclude(base, &committed).map_err(Stop::Own)?;
                stand.knows(&now);
                return Ok((now, changed));
            }
            Err(error) => missing_in(error),
        };
        let Error::Conflict(conflict) = error else {
            stand.forgets();
            return Err(error.into());
        };
        if *conflict.kind() != Kind::Stale {
            return Err(Error::from(conflict).into());
        }
        known = conflict.current::<T>();
        if !call.may_try() {
            return Err(gave_up(conflict, call).into());
        }
        stand = match stand {
            // The turn is kept: the next try needs neither a wait nor a read.
            Stand::In(place) => Stand::In(place),
            Stand::Ungated if call.pause().await => Stand::Ungated,
            Stand::Ungated => return Err(gave_up(conflict, call).into()),
            Stand::Out => {
                let place = gate.join(id, known.take());
                let Some(called) = stand_in(call, place).await else {
                    return Err(gave_up(conflict, call).into());
                };
                let stand;
                (stand, known) = called;
                stand
            }
        };
    }
}

/// Waits in line. `None` where the deadline passes there.
async fn stand_in<'a, T: Resource>(
    call: &Call<'_>,
    mut place: Place<'a, T>,
) -> Option<(Stand<'a, T>, Option<Versioned<T>>)> {
    Some(match call.bound(place.called()).await? {
        Called::Turn(handed) => (Stand::In(place), handed),
        Called::Stalled => (Stand::Ungated, None),
    })
}

fn gave_up(conflict: Conflict, call: &Call<'_>) -> Error {
    conflict.exhausted(call.attempts()).into()
}

impl<T: Resource> Stand<'_, T> {
    /// What the next in line is to start from.
    fn knows(&mut self, now: &Versioned<T>) {
        if let Self::In(place) = self {
            place.known = Some(now.clone());
        }
    }

    fn forgets(&mut self) {
        if let Self::In(place) = self {
            place.known = None;
        }
    }
}

impl<T: Resource + PartialEq, E> Verdict<T, E> {
    fn of(decided: Result<T, E>, base: &Versioned<T>) -> Self {
        match decided {
            Ok(value) if value == *base.value => Self::Same,
            Ok(value) => Self::Change(Arc::new(value)),
            Err(error) => Self::Refuse(error),
        }
    }

    /// What makes the verdict true: the change, or a check that what it was passed on still stands.
    fn commit<'a>(&self, id: &'a str, base: &Versioned<T>) -> Commit<'a, T> {
        Commit::one(match self {
            Self::Change(value) => Entry::put(id, base, Arc::clone(value)),
            Self::Same | Self::Refuse(_) => Entry::check(id, base),
        })
    }

    fn conclude(self, base: Versioned<T>, committed: &Committed) -> Result<Versioned<T>, E> {
        match self {
            Self::Change(value) => Ok(Versioned { version: put_version(committed), value }),
            Self::Same => Ok(base),
            Self::Refuse(error) => Err(error),
        }
    }
}

/// The version of the value that a commit of one put.
#[inline]
pub(crate) fn put_version(committed: &Committed) -> crate::version::Version {
    committed.version().expect("a store gives a value that was put a version")
}
