//! [`Timer`], the clock that retries and deadlines run on, and [`ThreadTimer`], the one used where none is given.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::process;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::base::wake;

/// A future that is done once its time has passed. Dropping it forgets it.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The clock that retries and deadlines run on.
///
/// [`ThreadTimer`] is the default and needs no runtime. A program on tokio may plug in tokio's clock, which saves a
/// thread and lets tests pause time:
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use ifmatch::{Collection, Retry};
/// use ifmatch::collection::{Sleep, Timer};
///
/// struct Tokio;
///
/// impl Timer for Tokio {
///     fn now(&self) -> Instant {
///         tokio::time::Instant::now().into_std()
///     }
///
///     fn sleep(&self, duration: Duration) -> Sleep {
///         Box::pin(tokio::time::sleep(duration))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), ifmatch::Error> {
/// let notes = Collection::<String>::in_memory().with_retry(Retry::default().timer(Tokio));
/// notes.create("readme", "hello".to_string()).await?;
/// # Ok(())
/// # }
/// ```
pub trait Timer: Send + Sync + 'static {
    /// The time now. It never goes back, and shows what the sleeps of this timer have passed.
    fn now(&self) -> Instant;

    /// A future that is done after `duration`, and that may be dropped before.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The timer of programs that give none: one thread for the whole process, started by the first sleep that has to
/// wait, and parked while nobody sleeps.
///
/// It holds one entry for each sleep that was polled and is neither done nor dropped. A sleep of any length takes
/// O(log n) to start and to drop.
///
/// ```
/// use std::time::Duration;
///
/// use ifmatch::{Error, Reply};
/// use ifmatch::collection::{ThreadTimer, Timer};
///
/// let before = ThreadTimer.now();
/// let slept: Reply<'_, ()> = Reply::pending(async {
///     ThreadTimer.sleep(Duration::from_millis(2)).await;
///     Ok(())
/// });
/// slept.wait()?;
/// assert!(ThreadTimer.now() - before >= Duration::from_millis(2));
/// # Ok::<_, Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ThreadTimer;

impl Timer for ThreadTimer {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        // No end: further away than the clock can tell.
        let end = Instant::now().checked_add(duration);
        Box::pin(Alarm { end, key: None })
    }
}

/// When an alarm is due, and a number to tell those of one instant apart.
type Key = (Instant, u64);

struct Alarm {
    end: Option<Instant>,
    key: Option<Key>,
}

struct Alarms {
    state: Mutex<Schedule>,
    /// Told when the first alarm became an earlier one.
    earlier: Condvar,
}

struct Schedule {
    wakers: BTreeMap<Key, Waker>,
    drawn: u64,
    /// The process whose thread serves the alarms: a forked child has this state, but not the thread.
    process: Option<u32>,
}

static ALARMS: Alarms = Alarms {
    state: Mutex::new(Schedule { wakers: BTreeMap::new(), drawn: 0, process: None }),
    earlier: Condvar::new(),
};

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else { return Poll::Pending };
        if Instant::now() >= end {
            ALARMS.cancel(self.key.take());
            return Poll::Ready(());
        }
        self.key = Some(ALARMS.set(self.key, end, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        ALARMS.cancel(self.key.take());
    }
}

impl Alarms {
    fn set(&'static self, key: Option<Key>, end: Instant, waker: Waker) -> Key {
        let mut state = self.state.lock();
        let key = key.unwrap_or_else(|| {
            state.drawn += 1;
            (end, state.drawn)
        });
        let replaced = state.wakers.insert(key, waker);
        let first = state.wakers.first_key_value().is_some_and(|(first, _)| *first == key);
        let starts = state.process.replace(process::id()) != Some(process::id());
        drop(state);
        // A waker is the caller's code, its drop included: never under the lock.
        drop(replaced);
        if starts {
            let thread = thread::Builder::new().name("ifmatch-timer".to_owned());
            if let Err(error) = thread.spawn(|| self.run()) {
                // The next sleep tries again.
                self.state.lock().process = None;
                panic!("no thread for the timer: {error}");
            }
        } else if first {
            self.earlier.notify_one();
        }
        key
    }

    fn cancel(&self, key: Option<Key>) {
        let Some(key) = key else { return };
        let waker = self.state.lock().wakers.remove(&key);
        drop(waker);
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            let due = state.take_due(Instant::now());
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(wake);
                state = self.state.lock();
                continue;
            }
            match state.wakers.first_key_value() {
                Some((&(end, _), _)) => drop(self.earlier.wait_until(&mut state, end)),
                None => self.earlier.wait(&mut state),
            }
        }
    }
}

impl Schedule {
    // One at a time: `BTreeMap::split_off` counts what it leaves behind.
    fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.wakers.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::block_on;

    fn held(end: Instant) -> bool {
        ALARMS.state.lock().wakers.keys().any(|(at, _)| *at == end)
    }

    #[test]
    fn sleeps_end_in_their_own_order() {
        let start = Instant::now();
        let mut long = ThreadTimer.sleep(Duration::from_millis(30));
        let mut short = ThreadTimer.sleep(Duration::from_millis(3));

        // The longer one is set first, so the thread has to hear of the earlier one.
        block_on(std::future::poll_fn(|context| {
            assert!(long.as_mut().poll(context).is_pending());
            short.as_mut().poll(context)
        }));
        block_on(long);

        assert!(start.elapsed() >= Duration::from_millis(30));
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let end = Instant::now() + Duration::from_secs(3600);
        let mut alarm = Alarm { end: Some(end), key: None };
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(Pin::new(&mut alarm).poll(&mut context).is_pending());
        }
        assert!(held(end));

        drop(alarm);

        assert!(!held(end));
    }

    #[test]
    fn a_panicking_waker_ends_nobody_elses_sleep() {
        struct Panics;

        impl std::task::Wake for Panics {
            fn wake(self: std::sync::Arc<Self>) {
                panic!("woken");
            }
        }

        let waker = Waker::from(std::sync::Arc::new(Panics));
        let mut first = ThreadTimer.sleep(Duration::from_millis(1));
        assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());

        block_on(ThreadTimer.sleep(Duration::from_millis(20)));
        block_on(ThreadTimer.sleep(Duration::from_millis(1)));
    }

    #[test]
    fn a_sleep_past_the_end_of_the_clock_is_taken() {
        let mut sleep = ThreadTimer.sleep(Duration::MAX);

        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}
