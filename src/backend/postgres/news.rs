//! The task that finds out that others have committed, for all watchers of a store together.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::cursor::{Spot, numbers, spot_of};
use super::session::Budget;
use super::shared::Shared;

/// How often the engine is asked for commits of other processes while there are some.
const BUSY: Duration = Duration::from_millis(20);

/// The same after a while without any.
const QUIET: Duration = Duration::from_millis(50);

/// How many times in vain until it is quiet.
const PATIENCE: u32 = 50;

/// The least time between two times of waking everybody, so that a busy writer does not make readers of all of us.
const BREATH: Duration = Duration::from_millis(1);

/// One more feed; its key among the watchers. The first one begins the task.
pub(super) fn enter(shared: &Arc<Shared>) -> u64 {
    let (key, begins) = shared.watchers.enter();
    if begins {
        shared.runtime.handle().spawn(ask(Arc::downgrade(shared)));
    }
    key
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
    let asked = shared.engine.ask(budget, &shared.sql.newest, &[&shared.place.namespace, &running]).await;
    // Whoever looks for itself finds out what is wrong.
    let Ok(rows) = asked else { return true };
    let Some((now, late)) = rows.first().and_then(|row| Some((spot_of(row).ok()??, row.try_get(4).ok()?)))
    else {
        return true;
    };
    let news = late || place.as_ref().is_none_or(|place| place.last != now.last || place.epoch != now.epoch);
    *place = Some(now);
    news
}
