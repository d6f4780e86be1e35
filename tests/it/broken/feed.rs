//! The feed of a [`Broken`](super::store::Broken) store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ifmatch::store::{Batch, Change, ChangeKind, Changes, Expired, Feed, Refusal};
use ifmatch::{Cursor, Error, Start};

use super::fault::Fault;
use super::store::{Logged, State};

pub(super) struct Watching {
    fault: Fault,
    state: Arc<Mutex<State>>,
    next: usize,
    begun: bool,
    waiting: Option<Waker>,
    repeat: bool,
}

pub(super) fn watch(fault: Fault, state: &Arc<Mutex<State>>, from: &Start) -> Result<Changes<u64>, Error> {
    let end = lock(state).log.len();
    let next = match from {
        Start::Now if fault == Fault::WatchFromStart => 0,
        Start::Now => end,
        Start::After(cursor) => match place(cursor) {
            Some(_) if fault == Fault::ResumeFromNow => end,
            Some(next) if fault == Fault::ResumeIsInclusive => next.saturating_sub(1),
            Some(next) if next <= end => next,
            Some(_) => return Err(Expired { oldest: Some(cursor_at(0)) }.into()),
            None if fault == Fault::CursorsTaken => 0,
            None => return Err(Refusal::Cursor.into()),
        },
    };
    let cursor = match from {
        Start::After(cursor) => cursor.clone(),
        Start::Now => cursor_at(next),
    };
    let feed = Watching { fault, state: Arc::clone(state), next, begun: false, waiting: None, repeat: false };
    Ok(Changes::new(cursor, feed))
}

impl Feed<u64> for Watching {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<u64>, Error>> {
        let mut state = lock(&self.state);
        let end = state.log.len();
        if self.fault == Fault::WatchBeginsLate && !self.begun {
            self.next = end;
        }
        self.begun = true;
        if self.fault == Fault::WatchForgets {
            self.next = self.next.max(end.saturating_sub(100));
        }
        if self.fault == Fault::WatchGap && self.next % 7 == 6 {
            self.next += 1;
        }
        let dropped = self.waiting.take().is_some_and(|waiting| !waiting.will_wake(context.waker()));
        if self.fault == Fault::WatchLosesDropped && dropped && self.next < end {
            self.next += 1;
        }
        if self.next >= end {
            state.wakers.push(context.waker().clone());
            self.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let changes = state.log[self.next].iter().map(|logged| change(self.fault, &state, logged)).collect();
        self.repeat = self.fault == Fault::WatchDuplicate && self.next % 5 == 4 && !self.repeat;
        self.next += usize::from(!self.repeat);
        Poll::Ready(Ok(Batch { cursor: cursor_at(self.next), changes }))
    }

    fn is_idle(&self) -> bool {
        true
    }
}

fn change(fault: Fault, state: &State, logged: &Logged) -> Change<u64> {
    let Logged { id, version, value } = logged;
    let stored =
        state.slots.get(&**id).filter(|slot| slot.version == *version).and_then(|slot| slot.value.clone());
    let kind = match value {
        Some(value) if fault == Fault::WatchReplaysValues => ChangeKind::Put(Some(Arc::clone(value))),
        Some(_) => ChangeKind::Put(stored),
        None if fault == Fault::WatchDeletesAsPuts => ChangeKind::Put(None),
        None => ChangeKind::Delete,
    };
    Change { id: Arc::clone(id), version: *version, kind }
}

fn cursor_at(place: usize) -> Cursor {
    format!("broken-{place}").parse().unwrap()
}

fn place(cursor: &Cursor) -> Option<usize> {
    cursor.as_str().strip_prefix("broken-")?.parse().ok()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
