//! The feed of a namespace to one watcher.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Row;

use super::cursor::{Mark, Snapshot, Spot, mark_of, numbers, spot_of};
use super::news;
use super::session::{Budget, Parameter};
use super::shared::Shared;
use super::stored::{Stored, version};
use super::trouble::Trouble;
use super::watchers::relay;
use crate::store::{Batch, Change, ChangeKind, Changes, Error, Expired, Feed, Start};

/// How many commits a watcher reads at once, at most.
const READ: usize = 32;

/// How long a watcher waits before it asks again an engine that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one look at the log found.
pub(super) enum Look {
    /// The commits that come next, each with the place after it, and the place after all of them.
    Commits(Vec<Batch<[u8]>>, Spot),
    /// What came next has left the log, or the place is one of another history.
    Overtaken(Expired),
}

/// A look that is under way, and how many commits the next one may read.
type Looking = Pin<Box<dyn Future<Output = (Result<Look, Error>, usize)> + Send>>;

/// The feed of a namespace to one watcher. It keeps its place, what it has read and not told, and nothing in the engine.
struct Watch {
    shared: Arc<Shared>,
    key: u64,
    place: Spot,
    /// Read and not told yet.
    ready: VecDeque<Batch<[u8]>>,
    /// A look at the log that is under way. It goes on when a `next` is dropped.
    looking: Option<Looking>,
    /// How many commits a look may read.
    most: usize,
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
    // Few at first: large values must not keep a watch from beginning.
    let most = 1;
    let (place, cursor, ready) = match from {
        Start::Now => {
            let budget = Budget::new(shared.deadlines.read);
            let place = newest(shared, budget).await?;
            let cursor = place.cursor();
            let cursor =
                cursor.ok_or_else(|| shared.failure("too many transactions are open to watch from now"))?;
            (place, cursor, VecDeque::new())
        }
        Start::After(cursor) => {
            let place = Spot::parse(&cursor)?;
            let look = look(shared, &place, most).await.map_err(|trouble| shared.read_failure(trouble))?;
            match look {
                Look::Commits(commits, place) => (place, cursor, commits.into()),
                Look::Overtaken(expired) => return Err(expired.into()),
            }
        }
    };
    let key = news::enter(shared);
    let shared = Arc::clone(shared);
    let watch = Watch {
        shared: Arc::clone(&shared),
        key,
        place,
        ready,
        looking: None,
        most,
        known: None,
        ended: None,
    };
    Ok(shared.runtime.changes(cursor, watch))
}

/// The place after the newest commit.
async fn newest(shared: &Shared, budget: Budget) -> Result<Spot, Error> {
    let running: Vec<String> = Vec::new();
    let rows = shared.engine.ask(budget, &shared.sql.newest, &[&shared.place.namespace, &running]).await;
    let rows = rows.map_err(|trouble| shared.read_failure(trouble))?;
    let row = rows.first().ok_or_else(|| shared.failure(super::shared::EMPTIED))?;
    spot_of(row).map_err(|error| shared.failure(error.to_string()))
}

/// Looks once for what comes after a place.
async fn look(shared: &Shared, place: &Spot, most: usize) -> Result<Look, Trouble> {
    let namespace = &shared.place.namespace;
    let budget = || Budget::new(shared.deadlines.read);
    let (last, running) = (place.last.xid.to_string(), numbers(&place.running));
    let most = most as i64;
    let parameters: [Parameter<'_>; 5] = [namespace, &last, &place.last.version, &running, &most];
    let rows = shared.engine.ask(budget(), &shared.sql.read, &parameters).await?;
    if let Some(found) = read(namespace, place, &rows).map_err(|error| Trouble::of_answer(&error))? {
        return Ok(found);
    }
    let rows = shared.engine.ask(budget(), &shared.sql.oldest, &[namespace]).await?;
    let oldest = rows.first().map(spot_of).transpose().map_err(|error| Trouble::of_answer(&error))?;
    Ok(Look::Overtaken(Expired { oldest: oldest.and_then(|oldest| oldest.cursor()) }))
}

/// What the rows of a look say: nothing where the log no longer has what comes after the place.
fn read(namespace: &str, place: &Spot, rows: &[Row]) -> Result<Option<Look>, tokio_postgres::Error> {
    let Some(first) = rows.first() else { return Ok(None) };
    let epoch: i64 = first.try_get(0)?;
    let floor: u64 = first.try_get::<_, &str>(1)?.parse().unwrap_or_default();
    let is_there = if place.last == Mark::default() { floor == 0 } else { first.try_get(3)? };
    if epoch != place.epoch || !is_there || place.running.iter().any(|xid| *xid <= floor) {
        return Ok(None);
    }
    let snapshot = Snapshot::parse(first.try_get(2)?).unwrap_or_default();
    let mut here = place.clone();
    let mut commits = Vec::new();
    let mut at = 0;
    while let Some(mark) = rows.get(at).map(|row| mark_of(row, 4)).transpose()?.flatten() {
        let length = rows[at..].iter().take_while(|row| same(row, mark.xid)).count().max(1);
        let changes: Vec<_> = rows[at..at + length]
            .iter()
            .filter_map(|row| change(namespace, mark, row).transpose())
            .collect::<Result<_, _>>()?;
        at += length;
        let before = here.clone();
        if mark.xid <= here.last.xid {
            // One that was under way before.
            here.running.retain(|xid| *xid != mark.xid);
        } else {
            here = Spot::new(epoch, mark, &snapshot);
        }
        // Past this one a cursor would be too long: the rest is told once some of those transactions have ended.
        let Some(cursor) = here.cursor() else {
            return Ok(Some(Look::Commits(commits, before)));
        };
        if !changes.is_empty() {
            commits.push(Batch { cursor, changes });
        }
    }
    Ok(Some(Look::Commits(commits, here)))
}

fn same(row: &Row, xid: u64) -> bool {
    matches!(mark_of(row, 4), Ok(Some(mark)) if mark.xid == xid)
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

/// Looks until the engine answers: for fewer commits each time, since their values may be so large that no look at many
/// ends in its time. After one that does, for more again.
async fn look_patiently(shared: Arc<Shared>, place: Spot, mut most: usize) -> (Result<Look, Error>, usize) {
    let mut pause = Duration::from_millis(20);
    loop {
        match look(&shared, &place, most).await {
            Ok(look) => return (Ok(look), (most * 2).min(READ)),
            Err(trouble @ Trouble::Refused(..)) if !trouble.passes() => {
                return (Err(shared.read_failure(trouble)), most);
            }
            Err(_) => most = (most / 2).max(1),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Watch {
    /// Takes in what a look found.
    fn take(&mut self, found: Result<Look, Error>, news: u64) -> Result<(), Error> {
        match found {
            Ok(Look::Commits(commits, place)) => {
                // One more look after one that found something: it may not have found all.
                self.known = (commits.is_empty() && place == self.place).then_some(news);
                self.ready = commits.into();
                self.place = place;
                Ok(())
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
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Ok(batch));
            }
            if self.looking.is_none() {
                if self.known == Some(news) {
                    return Poll::Pending;
                }
                self.known = Some(news);
                let look = look_patiently(Arc::clone(&self.shared), self.place.clone(), self.most);
                self.looking = Some(Box::pin(look));
            }
            let looking = self.looking.as_mut().expect("a look is under way");
            let handle = self.shared.runtime.handle();
            let _entered = handle.enter();
            let waker = relay(handle, context.waker());
            let Poll::Ready((found, most)) = looking.as_mut().poll(&mut Context::from_waker(&waker)) else {
                return Poll::Pending;
            };
            self.looking = None;
            self.most = most;
            let news = self.known.unwrap_or_default();
            if let Err(error) = self.take(found, news) {
                return Poll::Ready(Err(error));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.looking.is_none() && self.ready.is_empty()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // What was under way ends in the runtime: it may be all that keeps a connection.
        let _entered = self.shared.runtime.handle().enter();
        drop(self.looking.take());
        self.shared.watchers.leave(self.key);
    }
}
