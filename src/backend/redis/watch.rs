//! [`Watch`], the feed of a namespace to one watcher.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::answer::ScriptAnswer;
use super::hub::Hub;
use super::order;
use super::place::Place;
use super::script::{NEXT, WATCH};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::backend::engine::Token;
use crate::base::wake;
use crate::store::{Batch, Change, ChangeKind, Changes, Error, Expired, Feed, Start};

/// How long a watcher trusts the hub to ring before it looks for itself.
const TRUST: Duration = Duration::from_secs(5);

/// How long to wait before another try where Redis could not be read, at least and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Shared {
    /// The feed from a place on.
    pub(super) async fn watch(self: &Arc<Self>, from: Start) -> Result<Changes<[u8]>, Error> {
        let mut call = WATCH.call(&[&self.keys.meta, &self.keys.log], 64).repeatable();
        if let Start::After(cursor) = &from {
            let place = Place::try_from(cursor)?;
            call = call.argument(&place.epoch).argument(place.position.to_string()).argument(place.tag);
        }
        let mut answer = self.read(&call).await?;
        match answer.word() {
            "from" => {
                let place = Place::read(&mut answer).map_err(Trouble::of_read)?;
                let cursor = place.cursor();
                Ok(self.runtime.changes(cursor, Watch::new(Arc::clone(self), self.hub(), place)))
            }
            "expired" => Err(Place::expired(&mut answer).into()),
            _ => Err(Trouble::Unexpected.of_read()),
        }
    }
}

/// The feed of a namespace to one watcher. It keeps a place and nothing else: a slow one costs no memory anywhere.
///
/// Each batch is fetched only once it is asked for, since its values must be those that are stored by then.
pub(super) struct Watch {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    place: Place,
    seat: Arc<Seat>,
    fetching: Option<AbortHandle>,
    ended: Option<Ending>,
}

/// Where a fetch leaves its batch, and the waker of who waits for it.
#[derive(Default)]
struct Seat(Mutex<(Option<Fetched>, Option<Waker>)>);

type Fetched = Result<(Place, Vec<Change<[u8]>>), Ending>;

/// Why a feed ends. It tells so again whenever it is asked.
#[derive(Debug, Clone)]
enum Ending {
    Expired(Expired),
    Trouble(Trouble),
}

impl From<Ending> for Error {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Expired(expired) => expired.into(),
            Ending::Trouble(trouble) => trouble.of_read(),
        }
    }
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, hub: Arc<Hub>, place: Place) -> Self {
        Self { shared, hub, place, seat: Arc::default(), fetching: None, ended: None }
    }

    fn fetch(&self) -> AbortHandle {
        let (handle, seat) = (self.shared.runtime.handle().clone(), Arc::clone(&self.seat));
        let (shared, place, bell) = (Arc::clone(&self.shared), self.place.clone(), self.hub.listen());
        let fetching = async move {
            let fetched = next(&shared, place, bell).await;
            drop(shared);
            seat.leave(fetched, &handle);
        };
        self.shared.runtime.handle().spawn(fetching).abort_handle()
    }
}

impl Feed<[u8]> for Watch {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<[u8]>, Error>> {
        if let Some(ending) = &self.ended {
            return Poll::Ready(Err(ending.clone().into()));
        }
        // Wakers are the program's code, their clones and drops included: neither happens under the lock.
        let waker = context.waker().clone();
        let mut seat = self.seat.0.lock();
        let Some(fetched) = seat.0.take() else {
            let replaced = seat.1.replace(waker);
            drop(seat);
            drop(replaced);
            if self.fetching.is_none() {
                self.fetching = Some(self.fetch());
            }
            return Poll::Pending;
        };
        drop(seat);
        self.fetching = None;
        match fetched {
            Ok((place, changes)) => {
                self.place = place;
                Poll::Ready(Ok(Batch { cursor: self.place.cursor(), changes }))
            }
            Err(ending) => {
                self.ended = Some(ending.clone());
                Poll::Ready(Err(ending.into()))
            }
        }
    }

    fn is_idle(&self) -> bool {
        // A task of its own looks, whether or not anybody polls.
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let left = self.seat.0.lock().1.take();
        drop(left);
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
    }
}

impl Seat {
    fn leave(&self, fetched: Fetched, handle: &Handle) {
        let waker = {
            let mut seat = self.0.lock();
            seat.0 = Some(fetched);
            seat.1.take()
        };
        if let Some(waker) = waker {
            // A waker may call the store and wait for it, which the threads that serve the store must not do.
            let ring = Ring(Some(waker));
            handle.spawn_blocking(|| drop(ring));
        }
    }
}

/// Wakes when it is dropped: a runtime that ends drops what it was given and did not come to run.
struct Ring(Option<Waker>);

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(wake);
    }
}

/// The next batch after a place, as soon as there is one. Broken connections are waited out.
async fn next(shared: &Shared, mut place: Place, mut bell: watch::Receiver<()>) -> Fetched {
    let mut pause = PAUSES.0;
    loop {
        bell.mark_unchanged();
        match look(shared, &place).await {
            Ok(Look::Batch(after, changes)) => return Ok((after, changes)),
            Ok(Look::Idle(after)) => place = after,
            Ok(Look::Nothing) => {
                pause = PAUSES.0;
                let _rung = timeout(TRUST, bell.changed()).await;
            }
            Ok(Look::Expired(expired)) => return Err(Ending::Expired(expired)),
            Err(trouble) if trouble.passes() => {
                sleep(pause).await;
                pause = PAUSES.1.min(2 * pause);
            }
            Err(trouble) => return Err(Ending::Trouble(trouble)),
        }
    }
}

/// What a look at the log finds.
enum Look {
    Batch(Place, Vec<Change<[u8]>>),
    /// Only commits that changed nothing, up to this place.
    Idle(Place),
    Nothing,
    Expired(Expired),
}

async fn look(shared: &Shared, place: &Place) -> Result<Look, Trouble> {
    let keys = [&shared.keys.meta, &shared.keys.log];
    let call = NEXT
        .call(&keys, 64)
        .argument(&place.epoch)
        .argument(place.position.to_string())
        .argument(place.tag)
        .repeatable();
    let answer = shared.link.call(&call, shared.deadlines.read).await.map_err(|undone| undone.trouble)?;
    let mut answer = ScriptAnswer::new(answer)?;
    match answer.word() {
        "nothing" => Ok(Look::Nothing),
        "idle" => Ok(Look::Idle(Place::within(place.epoch.clone(), &mut answer)?)),
        "expired" => Ok(Look::Expired(Place::expired(&mut answer))),
        "batch" => {
            let after = Place::within(place.epoch.clone(), &mut answer)?;
            let changes = changes(&after, answer.list()?)?;
            Ok(Look::Batch(after, changes))
        }
        _ => Err(answer.trouble()),
    }
}

fn changes(place: &Place, mut listed: ScriptAnswer) -> Result<Vec<Change<[u8]>>, Trouble> {
    let [a, b, c] = place.tag;
    let token = Token { counter: place.position, tag: u32::from_be_bytes([0, a, b, c]) };
    let version = token.version().ok_or(Trouble::Unexpected)?;
    let mut changes = Vec::new();
    while !listed.is_empty() {
        let (action, id, stored) = (listed.bytes()?, listed.text()?, listed.bytes()?);
        let kind = match &action[..] {
            b"d" => ChangeKind::Delete,
            _ => {
                // Bytes that do not decode are told of by who reads them.
                let current = order::value(&id, &stored).ok().flatten();
                ChangeKind::Put(current.map(|current| current.value))
            }
        };
        changes.push(Change { id: id.into(), version, kind });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_waits_is_woken_also_where_the_runtime_ended_with_the_batch_at_hand() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (flag, seat) = (Arc::new(Flag::default()), Arc::new(Seat::default()));
        seat.0.lock().1 = Some(Waker::from(Arc::clone(&flag)));
        let handle = runtime.handle().clone();

        drop(runtime);
        seat.leave(Err(Ending::Trouble(Trouble::Unexpected)), &handle);

        assert!(flag.0.load(Ordering::SeqCst));
    }
}
