//! [`Watchers`], who waits for the next commit, and what finds out that there is one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::cursor::Spot;
use super::session::Budget;
use super::watch::{numbers, spot_of};

/// How often the engine is asked for commits of other processes while there are some.
const BUSY: Duration = Duration::from_millis(20);

/// The same after a while without any.
const QUIET: Duration = Duration::from_millis(50);

/// How many times in vain until it is quiet.
const PATIENCE: u32 = 50;

/// The least time between two times of waking everybody, so that a busy writer does not make readers of all of us.
const BREATH: Duration = Duration::from_millis(1);

/// Who waits for the next commit.
///
/// While somebody watches, one task for all of them asks the engine whether there is news; a commit of this store says so
/// by itself. Whoever is woken looks for itself, from its own place.
#[derive(Default)]
pub(super) struct Watchers {
    waiting: Mutex<HashMap<u64, Waker>>,
    issued: AtomicU64,
    /// How many feeds there are.
    pub(super) live: AtomicUsize,
    /// How often there was news.
    news: AtomicU64,
    hint: Notify,
    asking: AtomicBool,
}

impl Watchers {
    /// One more feed.
    pub(super) fn enter(&self, shared: &Arc<Shared>) -> u64 {
        self.live.fetch_add(1, Ordering::SeqCst);
        if !self.asking.swap(true, Ordering::SeqCst) {
            shared.runtime.handle().spawn(ask(Arc::downgrade(shared)));
        }
        self.issued.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn leave(&self, key: u64) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        let left = self.waiting.lock().remove(&key);
        drop(left);
    }

    /// Has this waker called at the next news. Tells how often there was news before.
    pub(super) fn wait(&self, key: u64, waker: Waker) -> u64 {
        let replaced = self.waiting.lock().insert(key, waker);
        drop(replaced);
        self.news.load(Ordering::SeqCst)
    }

    /// A commit of this store was applied.
    pub(super) fn hint(&self) {
        if self.live.load(Ordering::SeqCst) > 0 {
            self.hint.notify_one();
        }
    }

    fn wake(&self, handle: &Handle) {
        self.news.fetch_add(1, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for waker in waiting.into_values() {
            wake_elsewhere(handle, waker);
        }
    }
}

/// Wakes a task on a thread that may block: its waker is the program's code, may call the store, and would wait here for
/// connections that this very thread serves.
fn wake_elsewhere(handle: &Handle, waker: Waker) {
    handle.spawn_blocking(move || waker.wake());
}

/// A waker that wakes another one where that may block.
pub(super) fn relay(handle: &Handle, waker: &Waker) -> Waker {
    struct Relay(Handle, Waker);

    impl Wake for Relay {
        fn wake(self: Arc<Self>) {
            wake_elsewhere(&self.0, self.1.clone());
        }
    }

    Waker::from(Arc::new(Relay(handle.clone(), waker.clone())))
}

/// Asks the engine for news as long as somebody watches.
async fn ask(shared: Weak<Shared>) {
    let mut place: Option<Spot> = None;
    let mut in_vain = 0;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let watchers = &shared.watchers;
        if watchers.live.load(Ordering::SeqCst) == 0 {
            watchers.asking.store(false, Ordering::SeqCst);
            // Somebody may have come in between, and found that a task asks already.
            if watchers.live.load(Ordering::SeqCst) == 0 || watchers.asking.swap(true, Ordering::SeqCst) {
                return;
            }
        }
        let wait = if in_vain < PATIENCE { BUSY } else { QUIET };
        let hinted = timeout(wait, watchers.hint.notified()).await.is_ok();
        let news = hinted || is_news(&shared, &mut place).await;
        in_vain = if news { 0 } else { in_vain + 1 };
        // Now and then without a reason, for whoever could not be told all there was.
        let news = news || in_vain % PATIENCE == PATIENCE - 1;
        if news {
            watchers.wake(shared.runtime.handle());
            drop(shared);
            sleep(BREATH).await;
        }
    }
}

/// Whether there is a commit that was not there when this was asked last.
async fn is_news(shared: &Shared, place: &mut Option<Spot>) -> bool {
    let running = place.as_ref().map(|place| numbers(&place.running)).unwrap_or_default();
    let budget = Budget::new(shared.deadlines.read);
    let asked = shared.engine.ask(budget, &shared.sql.newest, &[&shared.place.collection, &running]).await;
    // Whoever looks for itself finds out what is wrong.
    let Ok(rows) = asked else { return true };
    let Some((now, late)) = rows.first().and_then(|row| Some((spot_of(row).ok()?, row.try_get(4).ok()?)))
    else {
        return true;
    };
    let news = late || place.as_ref().is_none_or(|place| place.last != now.last || place.epoch != now.epoch);
    *place = Some(now);
    news
}
