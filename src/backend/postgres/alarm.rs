//! [`Alarms`], the timers of calls.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

/// How far ahead an alarm is set at most. So each call sets it later than the one before, whatever their deadlines.
const AHEAD: Duration = Duration::from_secs(1);

/// The timers of calls, each used again and again.
///
/// A new timer is entered into the runtime under a lock and wakes the thread that waits for sockets, which costs as much as
/// the rest of what a read does here. One that is only set later costs an atomic operation.
#[derive(Default)]
pub(super) struct Alarms(Mutex<Vec<Pin<Box<Sleep>>>>);

impl Alarms {
    /// What comes of a future; `None` where nothing does in that time. There are as many timers as such calls at once.
    pub(super) async fn within<F: Future>(&self, patience: Duration, future: F) -> Option<F::Output> {
        let end = Instant::now() + patience;
        let next = || end.min(Instant::now() + AHEAD);
        let spare = self.0.lock().pop();
        let mut alarm = spare.unwrap_or_else(|| Box::pin(sleep_until(next())));
        alarm.as_mut().reset(next());
        let mut future = pin!(future);
        let answer = poll_fn(|context| {
            if let Poll::Ready(answer) = future.as_mut().poll(context) {
                return Poll::Ready(Some(answer));
            }
            while alarm.as_mut().poll(context).is_ready() {
                if Instant::now() >= end {
                    return Poll::Ready(None);
                }
                alarm.as_mut().reset(next());
            }
            Poll::Pending
        })
        .await;
        // It has the waker of this call no longer.
        let _ = alarm.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.0.lock().push(alarm);
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_future_that_takes_too_long_is_given_up_in_its_time() {
        let alarms = Alarms::default();
        for patience in [1, 1_050, 20].map(Duration::from_millis) {
            let began = Instant::now();
            assert_eq!(alarms.within(patience, pending::<()>()).await, None);
            assert!(began.elapsed() >= patience);
        }
        assert_eq!(alarms.within(Duration::ZERO, ready(7)).await, Some(7));
        assert_eq!(alarms.0.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_timer_keeps_no_waker_of_a_call_that_has_ended() {
        let (alarms, task) = (Alarms::default(), Arc::new(Task));
        let waker = Waker::from(Arc::clone(&task));
        let mut polled = 0;
        let twice = poll_fn(|_| {
            polled += 1;
            if polled == 2 { Poll::Ready(()) } else { Poll::Pending }
        });
        {
            let mut call = pin!(alarms.within(Duration::from_secs(60), twice));
            while call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {}
        }
        drop(waker);

        assert_eq!((alarms.0.lock().len(), Arc::strong_count(&task)), (1, 1));
    }

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }
}
