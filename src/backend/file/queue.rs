//! [`Queue`], where calls wait to be served.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Where calls wait to be served: first come, first served, bounded in calls and bytes.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// The committing thread sleeps on it.
    bell: Condvar,
    /// Whether callers have met lately.
    crowded: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    calls: VecDeque<Call>,
    bytes: usize,
    /// How many calls the committing thread wants to see before it is woken.
    wanted: usize,
    /// How many callers were there when calls were last served: those served, and those who waited by then.
    company: usize,
    /// It has to look at its deadline again.
    nudged: bool,
    closing: bool,
}

/// What the committing thread has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Serve who waits, if anybody does.
    Serve,
    /// Close: nobody waits, and nobody will.
    Close,
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
    /// Adds a call; where there is no room, gives it back. Nobody is woken: whoever added it serves it himself or rings.
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
        Ok(())
    }

    /// Wakes the committing thread for the calls that wait.
    pub(super) fn ring(&self) {
        let waiting = self.waiting.lock();
        let enough = waiting.calls.len() >= waiting.wanted;
        drop(waiting);
        if enough {
            self.bell.notify_one();
        }
    }

    /// Has the committing thread look at its deadline again.
    pub(super) fn nudge(&self) {
        self.waiting.lock().nudged = true;
        self.bell.notify_one();
    }

    /// Sleeps until somebody waits, or until `deadline` if there is one.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Turn {
        let mut waiting = self.waiting.lock();
        while waiting.calls.is_empty() && !std::mem::take(&mut waiting.nudged) {
            if waiting.closing {
                return Turn::Close;
            }
            match deadline {
                None => self.bell.wait(&mut waiting),
                Some(deadline) => {
                    if self.bell.wait_until(&mut waiting, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        Turn::Serve
    }

    /// Sleeps until all who were there when calls were last served wait, or until `deadline`; whether most of them came.
    ///
    /// Those who were answered together come back together, a moment after the first of them. Who came meanwhile is
    /// counted too: else two groups would go on taking turns, each with a sync of its own.
    pub(super) fn gather(&self, deadline: Instant) -> bool {
        let mut waiting = self.waiting.lock();
        let company = waiting.company.min(SHARED);
        waiting.wanted = company;
        while waiting.calls.len() < company && !waiting.closing {
            if self.bell.wait_until(&mut waiting, deadline).timed_out() {
                break;
            }
        }
        waiting.wanted = 0;
        waiting.calls.len() * 2 > company
    }

    /// The calls that share the next transaction, in the order in which they came.
    pub(super) fn take(&self) -> Vec<Call> {
        let mut waiting = self.waiting.lock();
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
        taken
    }

    /// Takes note of how many calls were served at once.
    pub(super) fn served(&self, calls: usize) {
        let mut waiting = self.waiting.lock();
        waiting.company = calls + waiting.calls.len();
        self.crowded.store(waiting.company > 1, Ordering::Relaxed);
    }

    /// Whether callers have met lately. Then they leave their calls to the committing thread: a caller that served
    /// itself would always be a step ahead of the others, who would lose every race for an id to it.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Takes no more calls; those that wait are still served.
    pub(super) fn close(&self) {
        self.waiting.lock().closing = true;
        self.bell.notify_one();
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

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::backend::file::answer::promise;

    fn call() -> Call {
        Call::Sync { promise: promise().0 }
    }

    fn queue(waiting: usize) -> Queue {
        let queue = Queue::default();
        for _ in 0..waiting {
            assert!(queue.push(call()).is_ok());
        }
        queue
    }

    #[test]
    fn for_a_caller_that_is_alone_nobody_waits() {
        let queue = queue(1);

        queue.served(queue.take().len());

        assert!(!queue.is_crowded());
    }

    #[test]
    fn those_who_were_served_and_those_who_came_meanwhile_are_waited_for_together() {
        let queue = queue(2);
        let served = queue.take().len();
        assert!(queue.push(call()).is_ok());
        queue.served(served);
        assert!(queue.is_crowded());

        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..served {
                    assert!(queue.push(call()).is_ok());
                    queue.ring();
                }
            });
            assert!(queue.gather(Instant::now() + Duration::from_secs(600)));
        });

        assert_eq!(queue.take().len(), 3);
    }

    #[test]
    fn whoever_does_not_come_back_is_waited_for_until_the_deadline_alone() {
        let queue = queue(4);
        queue.served(queue.take().len());
        assert!(queue.push(call()).is_ok());

        assert!(!queue.gather(Instant::now()));
        assert_eq!(queue.take().len(), 1);
    }
}
