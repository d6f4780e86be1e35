//! The feed of a namespace to one watcher.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio::time::sleep;
use tokio_postgres::Row;

use super::cursor::{Mark, Snapshot, Spot, mark_of, numbers, spot_of};
use super::news;
use super::session::{Budget, Parameter};
use super::shared::{EMPTIED, Shared};
use super::sql::Statement;
use super::stored::{Stored, version};
use super::trouble::Trouble;
use super::watchers::relay;
use crate::backend::engine::RuntimeEnded;
use crate::store::{Batch, Change, ChangeKind, Changes, Error, Expired, Feed, Start};

/// How long a watcher waits before it asks again an engine that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one look at the log found.
pub(super) enum Look {
    /// The commit that comes next, where there is one that changed something, and the place after it.
    Commit(Option<Batch<[u8]>>, Spot),
    /// What came next has left the log, or the place is one of another history.
    Overtaken(Expired),
}

/// A look that is under way.
type Looking = JoinHandle<Result<Look, Error>>;

/// The feed of a namespace to one watcher. It keeps its place, what it has read and not told, and nothing in the engine.
struct Watch {
    shared: Arc<Shared>,
    key: u64,
    place: Spot,
    /// A look at the log that is under way. It goes on when a `next` is dropped, in a task of its own, so that it keeps no
    /// connection from others.
    looking: Option<Looking>,
    /// Which news were there at the last look that found nothing; `None` where there may be more.
    known: Option<u64>,
    ended: Option<Ended>,
}

/// How a feed ended, for those who ask again.
enum Ended {
    Expired(Expired),
    Failed,
}

/// Begins to watch.
pub(super) async fn watch(shared: &Arc<Shared>, from: Start) -> Result<Changes<[u8]>, Error> {
    let (place, cursor) = match from {
        Start::Now => {
            let budget = Budget::new(shared.deadlines.read);
            let place = edge(shared, budget, &shared.sql.newest).await;
            let place = place.map_err(|trouble| shared.read_failure(trouble))?;
            let place = place.ok_or_else(|| shared.failure(EMPTIED))?;
            let cursor = place.cursor();
            let cursor =
                cursor.ok_or_else(|| shared.failure("too many transactions are open to watch from now"))?;
            (place, cursor)
        }
        Start::After(cursor) => {
            let place = Spot::parse(&cursor)?;
            let look = look(shared, &place).await.map_err(|trouble| shared.read_failure(trouble))?;
            match look {
                // What comes next is looked at anew when it is told: its values may have gone by then.
                Look::Commit(..) => (place, cursor),
                Look::Overtaken(expired) => return Err(expired.into()),
            }
        }
    };
    let key = news::enter(shared);
    let shared = Arc::clone(shared);
    let watch = Watch { shared: Arc::clone(&shared), key, place, looking: None, known: None, ended: None };
    Ok(shared.runtime.changes(cursor, watch))
}

/// Looks once for what comes after a place.
async fn look(shared: &Shared, place: &Spot) -> Result<Look, Trouble> {
    let namespace = &shared.place.namespace;
    let budget = || Budget::new(shared.deadlines.read);
    let (last, running) = (place.last.xid.to_string(), numbers(&place.running));
    let parameters: [Parameter<'_>; 4] = [namespace, &last, &place.last.version, &running];
    let rows = shared.engine.ask(budget(), &shared.sql.read, &parameters).await?;
    if let Some(found) = read(namespace, place, &rows).map_err(|error| Trouble::of_answer(&error))? {
        return Ok(found);
    }
    let oldest = edge(shared, budget(), &shared.sql.oldest).await?;
    Ok(Look::Overtaken(Expired { oldest: oldest.and_then(|oldest| oldest.cursor()) }))
}

/// The place after the newest commit, or the oldest; none where the row of the namespace is gone.
async fn edge(shared: &Shared, budget: Budget, statement: &Statement) -> Result<Option<Spot>, Trouble> {
    let running: Vec<String> = Vec::new();
    let all: [Parameter<'_>; 2] = [&shared.place.namespace, &running];
    loop {
        let rows = shared.engine.ask(budget, statement, &all[..statement.types.len()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        match spot_of(row).map_err(|error| Trouble::of_answer(&error))? {
            Some(spot) => return Ok(Some(spot)),
            // It was carried here from another cluster, whose transactions these are not.
            None => shared.enter(budget).await?,
        }
    }
}

/// What the rows of a look say: nothing where the log no longer has what comes after the place.
fn read(namespace: &str, place: &Spot, rows: &[Row]) -> Result<Option<Look>, tokio_postgres::Error> {
    let Some(first) = rows.first() else { return Ok(None) };
    let epoch: Option<i64> = first.try_get(0)?;
    let floor: u64 = first.try_get::<_, &str>(1)?.parse().unwrap_or_default();
    let is_there = if place.last == Mark::default() { floor == 0 } else { first.try_get(3)? };
    if epoch != Some(place.epoch) || !is_there || place.running.iter().any(|xid| *xid <= floor) {
        return Ok(None);
    }
    let Some(mark) = mark_of(first, 4)? else { return Ok(Some(Look::Commit(None, place.clone()))) };
    let changes: Vec<_> =
        rows.iter().filter_map(|row| change(namespace, mark, row).transpose()).collect::<Result<_, _>>()?;
    let mut here = place.clone();
    if mark.xid <= place.last.xid {
        // One that was under way before.
        here.running.retain(|xid| *xid != mark.xid);
    } else {
        let snapshot = Snapshot::parse(first.try_get(2)?).unwrap_or_default();
        here = Spot::new(place.epoch, mark, &snapshot);
    }
    // Past this one a cursor would be too long: it is told once some of those transactions have ended.
    let Some(cursor) = here.cursor() else { return Ok(Some(Look::Commit(None, place.clone()))) };
    let batch = (!changes.is_empty()).then_some(Batch { cursor, changes });
    Ok(Some(Look::Commit(batch, here)))
}

fn change(namespace: &str, mark: Mark, row: &Row) -> Result<Option<Change<[u8]>>, tokio_postgres::Error> {
    let Some(id) = row.try_get::<_, Option<&str>>(7)? else { return Ok(None) };
    let deleted = row.try_get::<_, i8>(8)? as u8 == b'd';
    let stored = row.try_get::<_, Option<i16>>(9)?.map(|format| {
        Ok::<_, tokio_postgres::Error>(Stored {
            version: mark.version,
            format,
            checksum: row.try_get(10)?,
            value: row.try_get(11)?,
        })
    });
    // A value that is damaged is for who reads it.
    let value = stored.transpose()?.and_then(|stored| stored.decode(namespace, id).ok());
    let kind = if deleted { ChangeKind::Delete } else { ChangeKind::Put(value.map(|found| found.value)) };
    Ok(Some(Change { id: id.into(), version: version(mark.version), kind }))
}

/// Looks until the engine answers.
async fn look_patiently(shared: Arc<Shared>, place: Spot) -> Result<Look, Error> {
    let mut pause = Duration::from_millis(20);
    loop {
        match look(&shared, &place).await {
            Ok(look) => return Ok(look),
            Err(trouble) if !trouble.passes() && !trouble.is_missing() => {
                return Err(shared.read_failure(trouble));
            }
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Watch {
    /// Takes in what a look found.
    fn take(&mut self, found: Result<Look, Error>, news: u64) -> Result<Option<Batch<[u8]>>, Error> {
        match found {
            Ok(Look::Commit(batch, place)) => {
                // One more look after one that found something: there may be more.
                self.known = (batch.is_none() && place == self.place).then_some(news);
                self.place = place;
                Ok(batch)
            }
            Ok(Look::Overtaken(expired)) => {
                self.ended = Some(Ended::Expired(expired.clone()));
                Err(expired.into())
            }
            Err(error) => {
                self.ended = Some(Ended::Failed);
                Err(error)
            }
        }
    }
}

impl Feed<[u8]> for Watch {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<[u8]>, Error>> {
        match &self.ended {
            Some(Ended::Expired(expired)) => return Poll::Ready(Err(expired.clone().into())),
            Some(Ended::Failed) => return Poll::Ready(Err(self.shared.failure("the feed has ended"))),
            None => {}
        }
        loop {
            // Before the look: news in between wake this waker.
            let news = self.shared.watchers.wait(self.key, context.waker().clone());
            if self.looking.is_none() {
                if self.known == Some(news) {
                    return Poll::Pending;
                }
                self.known = Some(news);
                let look = look_patiently(Arc::clone(&self.shared), self.place.clone());
                self.looking = Some(self.shared.runtime.handle().spawn(look));
            }
            let looking = self.looking.as_mut().expect("a look is under way");
            let handle = self.shared.runtime.handle();
            let _entered = handle.enter();
            let waker = relay(handle, context.waker());
            let Poll::Ready(found) = Pin::new(looking).poll(&mut Context::from_waker(&waker)) else {
                return Poll::Pending;
            };
            self.looking = None;
            let found = match found.map_err(JoinError::try_into_panic) {
                Ok(found) => found,
                Err(Ok(panic)) => resume_unwind(panic),
                Err(Err(_)) => return Poll::Ready(Err(RuntimeEnded.into())),
            };
            let news = self.known.unwrap_or_default();
            if let Some(told) = self.take(found, news).transpose() {
                return Poll::Ready(told);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.looking.is_none()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(looking) = self.looking.take() {
            looking.abort();
        }
        self.shared.watchers.leave(self.key);
    }
}
