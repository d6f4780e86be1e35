//! [`Queue`], where calls wait to be served.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::promise::Promise;
use crate::store::{Action, Commit, Committed, Condition, Resolution, WriteId};

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
    calls: VecDeque<Request>,
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

/// Work on the whole file, for which it is not served from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upkeep {
    /// Gives unused space back.
    Compact,
    /// Looks whether all of it can be read.
    Verify,
}

/// A call that waits.
pub(super) enum Request {
    Commit { commit: OwnedCommit, promise: Promise<Committed> },
    Resolve { write: WriteId, promise: Promise<Resolution> },
    Sync { promise: Promise<()> },
    Upkeep { work: Upkeep, promise: Promise<bool> },
}

/// A commit that owns its ids.
pub(super) struct OwnedCommit {
    pub(super) entries: Vec<OwnedEntry>,
    pub(super) write: Option<WriteId>,
    pub(super) fingerprint: u64,
    /// The write id of the commit whose version [`ON_ITS_WAY`](crate::store::ON_ITS_WAY) stands for.
    pub(super) behind: Option<WriteId>,
}

#[derive(Clone)]
pub(super) struct OwnedEntry {
    pub(super) id: Box<str>,
    pub(super) condition: Condition,
    pub(super) action: Action<[u8]>,
}

/// Why a call can't wait.
pub(super) enum Full {
    Busy,
    Closed,
}

impl Queue {
    /// Adds a call; where there is no room, gives it back. Nobody is woken: whoever added it serves it himself or rings.
    pub(super) fn push(&self, call: Request) -> Result<(), (Full, Request)> {
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

    /// How many callers were there when calls were last served.
    pub(super) fn company(&self) -> usize {
        self.waiting.lock().company
    }

    /// Whether there are more calls to share a transaction with `taken` ones. Where nobody waits, sleeps until all who
    /// were there when calls were last served do, or until `deadline`.
    ///
    /// Those who were answered together come back together, a moment after the first of them. Who came meanwhile is
    /// counted too: else two groups would go on taking turns, each with a sync of its own.
    pub(super) fn gather(&self, taken: usize, deadline: Instant) -> bool {
        let mut waiting = self.waiting.lock();
        let missing = waiting.company.min(SHARED).saturating_sub(taken);
        if missing > 0 && waiting.calls.is_empty() {
            waiting.wanted = missing;
            while waiting.calls.len() < missing && !waiting.closing {
                if self.bell.wait_until(&mut waiting, deadline).timed_out() {
                    break;
                }
            }
            waiting.wanted = 0;
        }
        missing > 0 && !waiting.calls.is_empty()
    }

    /// Takes the calls that share a transaction with those that were taken already, in the order in which they came; how
    /// many those are. Upkeep shares it with nobody.
    pub(super) fn take(&self, taken: &mut Vec<Request>) -> usize {
        let before = taken.len();
        let mut bytes: usize = taken.iter().map(Request::bytes).sum();
        let mut waiting = self.waiting.lock();
        while let Some(call) = waiting.calls.front() {
            let size = call.bytes();
            let alone = matches!(call, Request::Upkeep { .. })
                || matches!(taken.first(), Some(Request::Upkeep { .. }))
                || bytes + size > SHARED_BYTES;
            if taken.len() == SHARED || (alone && !taken.is_empty()) {
                break;
            }
            bytes += size;
            waiting.bytes -= size;
            taken.extend(waiting.calls.pop_front());
        }
        taken.len() - before
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.lock().calls.len()
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

impl Request {
    fn bytes(&self) -> usize {
        match self {
            Self::Commit { commit, .. } => commit.bytes(),
            Self::Resolve { .. } | Self::Sync { .. } | Self::Upkeep { .. } => 0,
        }
    }
}

impl OwnedCommit {
    /// How much memory it keeps while it waits.
    fn bytes(&self) -> usize {
        let kept = |entry: &OwnedEntry| {
            let value = match &entry.action {
                Action::Put(value) => value.len(),
                Action::Check | Action::Delete => 0,
            };
            size_of::<OwnedEntry>() + entry.id.len() + value
        };
        self.entries.iter().map(kept).sum()
    }
}

impl From<Commit<'_, [u8]>> for OwnedCommit {
    fn from(commit: Commit<'_, [u8]>) -> Self {
        let (write, behind) = (commit.remembered_write(), commit.behind());
        let fingerprint = write.map_or(0, |_| commit.fingerprint());
        let own = |entry: crate::store::Entry<'_, [u8]>| OwnedEntry {
            id: entry.id.into(),
            condition: entry.condition,
            action: entry.action,
        };
        let entries = match commit.into_one() {
            Ok(entry) => vec![own(entry)],
            Err(commit) => commit.into_entries().into_iter().map(own).collect(),
        };
        Self { entries, write, fingerprint, behind }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::backend::file::promise::promise;
    use crate::store::Expected;

    fn call() -> Request {
        Request::Sync { promise: promise().0 }
    }

    fn queue(waiting: usize) -> Queue {
        let queue = Queue::default();
        for _ in 0..waiting {
            assert!(queue.push(call()).is_ok());
        }
        queue
    }

    fn take(queue: &Queue) -> usize {
        queue.take(&mut Vec::new())
    }

    #[test]
    fn for_a_caller_that_is_alone_nobody_waits() {
        let queue = queue(1);

        queue.served(take(&queue));

        assert!(!queue.is_crowded());
    }

    #[test]
    fn those_who_were_served_and_those_who_came_meanwhile_are_waited_for_together() {
        let queue = queue(2);
        let served = take(&queue);
        assert!(queue.push(call()).is_ok());
        queue.served(served);
        assert!(queue.is_crowded());
        let mut taken = Vec::new();
        assert_eq!(queue.take(&mut taken), 1);

        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..served {
                    assert!(queue.push(call()).is_ok());
                    queue.ring();
                }
            });
            while queue.gather(taken.len(), Instant::now() + Duration::from_secs(600)) {
                queue.take(&mut taken);
            }
        });

        assert_eq!(taken.len(), 3);
    }

    #[test]
    fn whoever_does_not_come_back_is_waited_for_until_the_deadline_alone() {
        let queue = queue(4);
        queue.served(take(&queue));

        assert!(!queue.gather(0, Instant::now()));
        assert!(queue.push(call()).is_ok());
        assert!(queue.gather(0, Instant::now()), "who is here is served before anybody is waited for");
        assert_eq!(take(&queue), 1);
    }

    #[test]
    fn after_waiting_in_vain_any_call_wakes_the_thread() {
        let queue = queue(4);
        queue.served(take(&queue));

        assert!(!queue.gather(0, Instant::now()));

        assert_eq!(queue.waiting.lock().wanted, 0);
    }

    #[test]
    fn once_all_have_come_those_behind_them_have_the_next_turn() {
        let queue = queue(2);
        let served = take(&queue);
        assert!(queue.push(call()).is_ok());
        queue.served(served);
        assert_eq!(queue.company(), 3);

        assert!(!queue.gather(3, Instant::now()));
        queue.served(2 * SHARED);
        assert!(!queue.gather(SHARED, Instant::now()), "no more share a transaction");
    }

    #[test]
    fn a_turn_is_bounded_also_where_it_is_taken_bit_by_bit() {
        let large = || {
            let action = Action::Put(vec![0; SHARED_BYTES / 2 + 1].into());
            let entry = OwnedEntry { id: "a".into(), condition: Expected::Any.into(), action };
            Request::Commit {
                commit: OwnedCommit { entries: vec![entry], write: None, fingerprint: 0, behind: None },
                promise: promise().0,
            }
        };
        let (many, bytes) = (queue(SHARED + 1), queue(0));
        let mut taken = Vec::new();
        assert_eq!([many.take(&mut taken), many.take(&mut taken)], [SHARED, 0]);
        taken.clear();
        for expected in [1, 0] {
            assert!(bytes.push(large()).is_ok());
            assert_eq!(bytes.take(&mut taken), expected);
        }
    }

    #[test]
    fn a_commit_of_checks_takes_up_room_too() {
        let check = || {
            let id = "x".repeat(512).into();
            let entry = OwnedEntry { id, condition: Expected::Any.into(), action: Action::Check };
            let commit = OwnedCommit { entries: vec![entry], write: None, fingerprint: 0, behind: None };
            Request::Commit { commit, promise: promise().0 }
        };
        let queue = queue(1);
        queue.waiting.lock().bytes = BYTES - 1024;

        assert!(queue.push(check()).is_ok());
        assert!(matches!(queue.push(check()), Err((Full::Busy, _))));
    }

    #[test]
    fn upkeep_shares_its_turn_with_nobody() {
        let queue = queue(2);
        let compact = Request::Upkeep { work: Upkeep::Compact, promise: promise().0 };
        assert!(queue.push(compact).is_ok());
        assert!(queue.push(call()).is_ok());

        assert_eq!([take(&queue), take(&queue), take(&queue), take(&queue)], [2, 1, 1, 0]);
    }
}
