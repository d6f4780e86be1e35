//! [`Queue`], where calls wait for the committing thread.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::answer::Promise;
use crate::commit::{Action, Commit, Committed};
use crate::expected::Expectation;
use crate::store::Resolution;
use crate::write_id::WriteId;

/// How many calls may wait.
const CALLS: usize = 65_536;

/// How many bytes of values may wait.
const BYTES: usize = 256 << 20;

/// How many calls share a transaction, and so a sync.
const SHARED: usize = 1024;

/// How many bytes of values share a transaction, unless one commit alone has more.
const SHARED_BYTES: usize = 16 << 20;

/// Where calls wait for the committing thread: first come, first served, bounded in calls and bytes.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    bytes: usize,
    closing: bool,
}

/// A call that waits.
pub(super) enum Call {
    Commit { order: Order, promise: Promise<Committed> },
    Resolve { write: WriteId, promise: Promise<Resolution> },
    Sync { promise: Promise<()> },
    Compact { promise: Promise<bool> },
}

/// A commit that owns its ids.
pub(super) struct Order {
    pub(super) entries: Vec<OrderEntry>,
    pub(super) write: Option<WriteId>,
}

pub(super) struct OrderEntry {
    pub(super) id: Box<str>,
    pub(super) expectation: Expectation,
    pub(super) action: Action<[u8]>,
}

/// Why a call can't wait.
pub(super) enum Full {
    Busy,
    Closed,
}

impl Queue {
    /// Adds a call; where there is no room, gives it back.
    pub(super) fn push(&self, call: Call) -> Result<(), (Full, Call)> {
        let bytes = call.bytes();
        let mut waiting = self.waiting.lock();
        if waiting.closing {
            return Err((Full::Closed, call));
        }
        let full = waiting.calls.len() >= CALLS || waiting.bytes + bytes > BYTES;
        if full && !waiting.calls.is_empty() {
            return Err((Full::Busy, call));
        }
        waiting.bytes += bytes;
        waiting.calls.push_back(call);
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// The calls that share the next transaction, in the order in which they came. Waits for the first one, until
    /// `deadline` if there is one: then the list may be empty. `None` once the queue is closed and served.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Vec<Call>> {
        let mut waiting = self.waiting.lock();
        while waiting.calls.is_empty() {
            if waiting.closing {
                return None;
            }
            match deadline {
                None => self.arrived.wait(&mut waiting),
                Some(deadline) => {
                    if self.arrived.wait_until(&mut waiting, deadline).timed_out() {
                        return Some(Vec::new());
                    }
                }
            }
        }
        let mut taken = Vec::with_capacity(waiting.calls.len().min(SHARED));
        let mut bytes = 0;
        while let Some(call) = waiting.calls.front() {
            let size = call.bytes();
            if taken.len() == SHARED || (!taken.is_empty() && bytes + size > SHARED_BYTES) {
                break;
            }
            bytes += size;
            taken.extend(waiting.calls.pop_front());
        }
        waiting.bytes -= bytes;
        Some(taken)
    }

    /// Takes no more calls; those that wait are still served.
    pub(super) fn close(&self) {
        self.waiting.lock().closing = true;
        self.arrived.notify_one();
    }
}

impl Call {
    fn bytes(&self) -> usize {
        match self {
            Self::Commit { order, .. } => order.bytes(),
            Self::Resolve { .. } | Self::Sync { .. } | Self::Compact { .. } => 0,
        }
    }
}

impl Order {
    pub(super) fn bytes(&self) -> usize {
        let value = |entry: &OrderEntry| match &entry.action {
            Action::Put(value) => value.len(),
            Action::Check | Action::Delete => 0,
        };
        self.entries.iter().map(value).sum()
    }
}

impl From<Commit<'_, [u8]>> for Order {
    fn from(commit: Commit<'_, [u8]>) -> Self {
        let write = commit.write();
        let own = |entry: crate::commit::Entry<'_, [u8]>| OrderEntry {
            id: entry.id.into(),
            expectation: entry.expectation,
            action: entry.action,
        };
        let entries = match commit.into_one() {
            Ok(entry) => vec![own(entry)],
            Err(commit) => commit.into_entries().into_iter().map(own).collect(),
        };
        Self { entries, write }
    }
}
