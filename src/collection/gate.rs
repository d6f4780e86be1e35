//! [`Gate`], the lines of writers that wait for a hot id.

use std::collections::HashMap;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::base::{AtomicUsize, Mutex, wake};
use crate::collection::line::Line;
use crate::collection::timer::{Sleep, Timer};
use crate::store::{ON_ITS_WAY, Versioned, WriteId};

/// The lines of writers that wait for a hot id, one line an id.
///
/// The first writer that loses a round on an id opens its line; those who lose a round later, or come while there is
/// a line, join its end. The one at the head commits, and hands the value it knows to the next, who starts from it.
/// So each of the writers commits once, where without a line each round had one winner and the rest for losers.
///
/// Where turns are short, as those before whose commits are answered, whoever comes may cut in before those who are woken
/// and do not run yet: else the line would go at the pace at which threads wake up.
///
/// It is advice, not a lock: a writer outside the line does no harm, as every commit checks its version. That lets a
/// wait end: a line that does not move for the stall time is left by those who wait in it.
pub(crate) struct Gate<T: ?Sized> {
    lines: Mutex<HashMap<Box<str>, Line<T>>>,
    /// How many lines there are, to be read without the lock. A writer that misses a line that was just opened only
    /// risks a lost round.
    open: AtomicUsize,
    timer: Arc<dyn Timer>,
    stall: Option<Duration>,
}

/// A place in a line. Dropping it leaves the line; where it was at the head, the turn passes on.
#[must_use = "a ticket that is dropped is a place lost"]
pub(crate) struct Ticket<'a, T: ?Sized> {
    gate: &'a Gate<T>,
    id: &'a str,
    number: u64,
    /// How long the line may stand still before this one leaves it.
    stall: Duration,
    /// What the next one is to start from: the newest value this one knows.
    pub(crate) known: Option<Versioned<T>>,
    /// The write id of what it starts from, where that is on its way to the store.
    pub(crate) behind: Option<WriteId>,
    /// Once it has passed its turn on before it had an answer: how many such had failed by then.
    passed: Option<u64>,
}

/// What waiting in line came to.
pub(crate) enum Called<T: ?Sized> {
    /// It is this one's turn, and this is what the one before it knew.
    Turn(Option<Versioned<T>>),
    /// The line does not move: go on without a turn.
    Stalled,
}

enum Rank<T: ?Sized> {
    Head(Option<Versioned<T>>, Option<WriteId>),
    Behind { moved: Instant },
}

impl<T: ?Sized> Gate<T> {
    /// A gate where nobody waits; without a stall time, one that is never closed.
    pub(crate) fn new(timer: Arc<dyn Timer>, stall: Option<Duration>) -> Self {
        Self { lines: Mutex::default(), open: AtomicUsize::new(0), timer, stall }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.stall.is_some()
    }

    /// Whether there is no line at all: one relaxed load.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Whether there is a line for `id`.
    #[inline]
    pub(crate) fn has_line(&self, id: &str) -> bool {
        !self.is_quiet() && self.lines.lock().contains_key(id)
    }

    /// Joins the line of `id` if there is one.
    pub(crate) fn follow<'a>(&'a self, id: &'a str) -> Option<Ticket<'a, T>> {
        if self.is_quiet() {
            return None;
        }
        let number = self.lines.lock().get_mut(id)?.draw();
        Some(self.ticket(id, number))
    }

    /// Joins the line of `id`, or opens it. `known` is what the first one starts from if this opens it, and is not used
    /// otherwise: those in front know better.
    pub(crate) fn join<'a>(&'a self, id: &'a str, known: Option<Versioned<T>>) -> Ticket<'a, T> {
        let moved = self.timer.now();
        let mut unused = None;
        let number = {
            let mut lines = self.lines.lock();
            match lines.get_mut(id) {
                Some(line) => {
                    unused = known;
                    line.draw()
                }
                None => self.begin(&mut lines, id, moved, known).draw(),
            }
        };
        let ticket = self.ticket(id, number);
        // The last handle of a value may run its drop: never under the lock, and only once there is a ticket to give back,
        // should it panic.
        drop(unused);
        ticket
    }

    /// Joins the line of `id`, or opens it, and cuts in where it may. For those who [pass](Ticket::pass) their turn on.
    pub(crate) fn cut_in<'a>(&'a self, id: &'a str) -> Ticket<'a, T> {
        let moved = self.timer.now();
        let number = {
            let mut lines = self.lines.lock();
            match lines.get_mut(id) {
                Some(line) => line.cut_in(),
                None => self.begin(&mut lines, id, moved, None).cut_in(),
            }
        };
        self.ticket(id, number)
    }

    /// A line where there is none.
    fn begin<'l>(
        &self,
        lines: &'l mut HashMap<Box<str>, Line<T>>,
        id: &str,
        moved: Instant,
        handed: Option<Versioned<T>>,
    ) -> &'l mut Line<T> {
        self.open.fetch_add(1, Ordering::Relaxed);
        lines.entry(id.into()).or_insert_with(|| Line::opened(moved, handed))
    }

    fn ticket<'a>(&'a self, id: &'a str, number: u64) -> Ticket<'a, T> {
        let stall = self.stall.unwrap_or_default();
        Ticket { gate: self, id, number, stall, known: None, behind: None, passed: None }
    }

    /// Whether the ticket with this number is at the head; if not, `waker` is woken when it is.
    fn look(&self, id: &str, number: u64, waker: Waker) -> Rank<T> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(id).expect("a line stays while somebody is in it");
        if line.is_head(number) {
            let unused = line.take_turn(number);
            let (handed, behind) = (line.handed.take(), line.behind.take());
            drop(lines);
            drop((waker, unused));
            return Rank::Head(handed, behind);
        }
        let replaced = line.wait(number, waker);
        let moved = line.moved;
        drop(lines);
        drop(replaced);
        Rank::Behind { moved }
    }

    fn leave(&self, id: &str, number: u64, known: Option<Versioned<T>>) {
        let now = self.timer.now();
        let mut unused = known;
        let mut next = None;
        let mut closed = None;
        let waker = {
            let mut lines = self.lines.lock();
            let line = lines.get_mut(id).expect("a line stays while somebody is in it");
            let head = line.is_head(number);
            let waker = line.remove(number);
            if line.is_over() {
                closed = lines.remove_entry(id);
                self.open.fetch_sub(1, Ordering::Relaxed);
            } else if head {
                line.moved = now;
                // One that leaves as soon as it is called has not taken what was handed to it: the next one does.
                if unused.is_some() {
                    mem::swap(&mut line.handed, &mut unused);
                    line.behind = None;
                }
                next = line.next();
            }
            waker
        };
        // Wakers and values are the caller's code, their drop included: never under the lock. The next one first, who
        // must hear of it also where a drop panics.
        if let Some(next) = next {
            wake(next);
        }
        drop((unused, closed, waker));
    }
}

impl<T: ?Sized> Gate<T> {
    /// Passes the turn on with what is on its way to the store, and leaves the line open. Notes in `passed` how many such have
    /// failed so far.
    fn pass(&self, id: &str, number: u64, value: Arc<T>, write: WriteId, passed: &mut Option<u64>) {
        let now = self.timer.now();
        let mut handed = Some(Versioned { version: ON_ITS_WAY, value });
        let mut lines = self.lines.lock();
        let line = lines.get_mut(id).expect("a line stays while somebody is in it");
        let waker = line.remove(number);
        line.on_their_way += 1;
        line.moved = now;
        mem::swap(&mut line.handed, &mut handed);
        line.behind = Some(write);
        // From here on the line counts on an answer, whatever panics below.
        *passed = Some(line.failures);
        let next = line.next();
        drop(lines);
        // The caller's code, as below.
        if let Some(next) = next {
            wake(next);
        }
        drop((handed, waker));
    }

    /// Leaves the line after the turn was passed on. Where what went on from there was not applied, nobody is to start from it.
    fn arrive(&self, id: &str, failures: u64, applied: bool) {
        let (mut unused, mut closed) = (None, None);
        let mut lines = self.lines.lock();
        let line = lines.get_mut(id).expect("a line stays while somebody is on its way");
        line.on_their_way -= 1;
        // Of several that fail behind one another the first one to come says so: what is handed on then is new.
        if !applied && line.failures == failures {
            line.failures += 1;
            unused = line.behind.take().and_then(|_| line.handed.take());
        }
        if line.is_over() {
            closed = lines.remove_entry(id);
            self.open.fetch_sub(1, Ordering::Relaxed);
        }
        drop(lines);
        drop((unused, closed));
    }
}

impl<'a, T: ?Sized> Ticket<'a, T> {
    /// Passes the turn on before there is an answer: the next one starts from this value, which is on its way to the store
    /// under this write id. Only of the one at the head.
    pub(crate) fn pass(&mut self, value: Arc<T>, write: WriteId) {
        self.gate.pass(self.id, self.number, value, write, &mut self.passed);
    }

    /// Whether it has passed its turn on.
    pub(crate) fn has_passed(&self) -> bool {
        self.passed.is_some()
    }

    /// Leaves the line with the answer to what was passed on, if it was.
    pub(crate) fn arrive(mut self, applied: bool) {
        if let Some(failures) = self.passed.take() {
            // It has no place any more, also where the drop of a value panics below.
            self.number = 0;
            self.gate.arrive(self.id, failures, applied);
        }
    }
}

impl<T: ?Sized> Ticket<'_, T> {
    /// The same, in a line that may stand still for as long as this.
    #[cfg(feature = "json")]
    pub(crate) fn stalling(mut self, stall: Duration) -> Self {
        self.stall = stall;
        self
    }

    /// Tells those behind that this one is at work, and will tell again within this time: the line does not stand still
    /// until then.
    #[cfg(feature = "json")]
    pub(crate) fn works(&self, time: Duration) {
        let now = self.gate.timer.now();
        if let Some(line) = self.gate.lines.lock().get_mut(self.id) {
            line.moved = now.checked_add(time).unwrap_or(now);
        }
    }

    /// Waits for this one's turn, or until the line has not moved for the stall time.
    pub(crate) async fn called(&mut self) -> Called<T> {
        let mut sleep = None;
        poll_fn(|context| self.poll_called(&mut sleep, context)).await
    }

    fn poll_called(&mut self, sleep: &mut Option<Sleep>, context: &mut Context<'_>) -> Poll<Called<T>> {
        loop {
            let moved = match self.gate.look(self.id, self.number, context.waker().clone()) {
                Rank::Head(handed, behind) => {
                    self.behind = behind;
                    return Poll::Ready(Called::Turn(handed));
                }
                Rank::Behind { moved } => moved,
            };
            let stood = self.gate.timer.now().saturating_duration_since(moved);
            if stood >= self.stall {
                return Poll::Ready(Called::Stalled);
            }
            // One sleep serves while the line moves: it is set again only when it is over.
            let alarm = sleep.get_or_insert_with(|| self.gate.timer.sleep(self.stall - stood));
            std::task::ready!(alarm.as_mut().poll(context));
            *sleep = None;
        }
    }
}

impl<T: ?Sized> Drop for Ticket<'_, T> {
    fn drop(&mut self) {
        match (self.passed, self.number) {
            // Nobody waits for the answer any more: those behind it will meet what became of it.
            (Some(failures), _) => self.gate.arrive(self.id, failures, true),
            (None, 0) => {}
            (None, number) => self.gate.leave(self.id, number, self.known.take()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    use super::*;
    use crate::collection::collection::Collection;
    use crate::collection::line::MOST_OVERTAKE;
    use crate::collection::retry::{Effect, Retry};
    use crate::collection::testing::{Pace, Scripted};
    use crate::collection::timer::ThreadTimer;
    use crate::store::{Error, Refusal};

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Counts how often it is woken.
    struct Count(AtomicU32);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// No stall, however slow the machine.
    fn patient() -> Retry {
        let long = Duration::from_secs(600);
        Retry::default().stall(long).deadline(long).attempts(u32::MAX)
    }

    fn counter(store: &Arc<Scripted<u64>>, retry: Retry) -> Collection<u64> {
        let counters = Collection::new(Arc::clone(store)).with_retry(retry);
        counters.create("a", 0).wait().unwrap();
        counters
    }

    /// Attempts a write of 64 threads that write `times` each, at once, to one id.
    fn contend(pace: Pace, retry: Retry, times: u32) -> f64 {
        let store = Arc::new(Scripted::new(pace, false));
        let counters = counter(&store, retry);
        let start = Barrier::new(64);
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..times {
                        counters.modify("a", |count| *count += 1).wait().unwrap();
                    }
                });
            }
        });
        assert_eq!(*counters.fetch("a").wait().unwrap().value, u64::from(64 * times));
        assert!(counters.gate().is_quiet());
        f64::from(store.sent() - 1) / f64::from(64 * times)
    }

    #[test]
    fn sixty_four_writers_of_one_id_need_two_attempts_each() {
        for pace in [Pace::Pending(MILLISECOND), Pace::Parked(MILLISECOND)] {
            let attempts = contend(pace, patient(), 1);

            assert!(attempts <= 2.0, "{attempts} attempts a write, {pace:?}");
        }
    }

    #[test]
    fn writers_who_come_back_need_hardly_more_than_one() {
        for pace in [Pace::Pending(MILLISECOND), Pace::Parked(MILLISECOND)] {
            let attempts = contend(pace, patient(), 10);

            assert!(attempts <= 1.2, "{attempts} attempts a write, {pace:?}");
        }
    }

    #[test]
    fn lines_that_do_not_know_of_one_another_wear_nobody_out() {
        let store = Arc::new(Scripted::new(Pace::Pending(MILLISECOND), false));
        counter(&store, patient());
        thread::scope(|scope| {
            for _ in 0..16 {
                // As in another process: the same store, and a line of its own.
                let counters = Collection::new(Arc::clone(&store)).with_retry(patient().attempts(100));
                for _ in 0..4 {
                    let counters = counters.clone();
                    scope.spawn(move || {
                        for _ in 0..5 {
                            counters.modify("a", |count| *count += 1).wait().unwrap();
                        }
                    });
                }
            }
        });

        let attempts = f64::from(store.sent() - 1) / 320.0;

        assert!(attempts <= 5.0, "{attempts} attempts a write");
    }

    #[test]
    fn the_sum_is_the_same_with_the_gate_off() {
        let backoff = Duration::from_micros(50);

        let attempts = contend(Pace::Ready, patient().without_gate().backoff(backoff, backoff), 20);

        assert!(attempts >= 1.0);
    }

    #[test]
    fn writers_that_stall_panic_or_are_dropped_lose_no_count_and_leave_no_line() {
        let store = Arc::new(Scripted::new(Pace::Yields, true));
        let retry = patient().stall(Duration::from_micros(20)).backoff(Duration::ZERO, Duration::ZERO);
        let counters = counter(&store, retry);
        let [done, dropped] = [(); 2].map(|()| AtomicU32::new(0));
        thread::scope(|scope| {
            for writer in 0..8 {
                let (counters, done, dropped) = (&counters, &done, &dropped);
                scope.spawn(move || {
                    for round in 0..200 {
                        let panics = (round + writer) % 23 == 0;
                        let mut reply = counters.modify("a", |count| {
                            *count += 1;
                            if panics {
                                std::panic::resume_unwind(Box::new("no message for the console"));
                            }
                        });
                        if (round + writer) % 7 == 0 && !panics {
                            let mut context = Context::from_waker(Waker::noop());
                            let ready =
                                (0..round % 9).any(|_| pin!(&mut reply).poll_once(&mut context).is_ready());
                            let count = if ready { done } else { dropped };
                            count.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        let wait = std::panic::AssertUnwindSafe(|| reply.wait().unwrap());
                        if std::panic::catch_unwind(wait).is_ok() {
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });

        let [done, dropped] = [done, dropped].map(|count| u64::from(count.into_inner()));
        let sum = *counters.fetch("a").wait().unwrap().value;
        assert!((done..=done + dropped).contains(&sum), "{done} done, {dropped} dropped, {sum} counted");
        assert!(dropped > 0 && counters.gate().is_quiet());
    }

    #[test]
    fn the_line_is_served_in_the_order_of_arrival_and_each_starts_from_the_one_before() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let value = |number| Versioned::new("1".parse().unwrap(), number);
        let mut context = Context::from_waker(Waker::noop());
        assert!(gate.follow("a").is_none());

        let mut places: Vec<_> = (0..4).map(|number| gate.join("a", Some(value(number)))).collect();
        assert!(gate.follow("b").is_none());
        places.push(gate.follow("a").unwrap());

        for (number, mut place) in (0..).zip(places) {
            let Poll::Ready(Called::Turn(Some(handed))) = pin!(place.called()).poll_once(&mut context) else {
                panic!("place {number} was not called");
            };
            assert_eq!(*handed.value, number);
            let mut late = gate.follow("a").unwrap();
            assert!(pin!(late.called()).poll_once(&mut context).is_pending());
            place.known = Some(value(number + 1));
            drop(late);
        }

        assert!(gate.is_quiet() && gate.lines.lock().is_empty());
    }

    trait PollOnce: Future {
        fn poll_once(self, context: &mut Context<'_>) -> Poll<Self::Output>;
    }

    impl<F: Future> PollOnce for F {
        fn poll_once(self, context: &mut Context<'_>) -> Poll<F::Output> {
            pin!(self).poll(context)
        }
    }

    #[test]
    fn whoever_leaves_the_line_does_not_hold_it_up() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let value = Versioned::new("1".parse().unwrap(), 7);
        let mut context = Context::from_waker(Waker::noop());
        let head = gate.join("a", Some(value.clone()));
        let [waiting, called, mut last] = [(); 3].map(|()| gate.join("a", None));

        drop(waiting);
        drop(head);
        // It has its turn by now, and never took it: what was handed to it goes on to the next.
        drop(called);

        let Poll::Ready(Called::Turn(Some(handed))) = pin!(last.called()).poll_once(&mut context) else {
            panic!("the turn was lost");
        };
        assert_eq!(handed, value);
    }

    #[test]
    fn whoever_cuts_in_goes_before_one_who_is_woken_and_not_before_one_who_has_a_turn() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let mut context = Context::from_waker(Waker::noop());
        let write = WriteId::after(None);
        let [mut head, mut called] = [(); 2].map(|()| gate.join("a", None));
        assert!(pin!(head.called()).poll_once(&mut context).is_ready());
        assert!(pin!(called.called()).poll_once(&mut context).is_pending());

        let mut waits = gate.cut_in("a");
        assert!(pin!(waits.called()).poll_once(&mut context).is_pending(), "two have a turn");
        head.pass(Arc::new(1), write);
        let mut cuts_in = gate.cut_in("a");
        assert!(pin!(called.called()).poll_once(&mut context).is_pending(), "two have a turn");
        let Poll::Ready(Called::Turn(Some(handed))) = pin!(cuts_in.called()).poll_once(&mut context) else {
            panic!("it was not let in");
        };
        assert_eq!((*handed.value, cuts_in.behind), (1, Some(write)));
        cuts_in.pass(Arc::new(2), write);

        for (mut place, starts_from) in [(called, 2), (waits, 3)] {
            let Poll::Ready(Called::Turn(Some(handed))) = pin!(place.called()).poll_once(&mut context) else {
                panic!("the turn was lost");
            };
            assert_eq!(*handed.value, starts_from);
            place.pass(Arc::new(starts_from + 1), write);
            place.arrive(true);
        }
        [head, cuts_in].into_iter().for_each(|ahead| ahead.arrive(true));
        assert!(gate.is_quiet() && gate.lines.lock().is_empty());
    }

    #[test]
    fn whoever_is_woken_is_overtaken_a_few_times_only() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let mut context = Context::from_waker(Waker::noop());
        let mut is_called =
            |place: &mut Ticket<'_, u64>| pin!(place.called()).poll_once(&mut context).is_ready();
        let mut on_their_way = Vec::new();
        fn passed(mut place: Ticket<'_, u64>) -> Ticket<'_, u64> {
            place.pass(Arc::new(1), WriteId::after(None));
            place
        }

        // Those before whom nobody waits overtake nobody.
        for _ in 0..=MOST_OVERTAKE {
            let mut place = gate.cut_in("a");
            assert!(is_called(&mut place));
            on_their_way.push(passed(place));
        }
        let head = gate.cut_in("a");
        let waiting = [(); 4].map(|()| gate.join("a", None));
        on_their_way.push(passed(head));
        for (nth, mut waits) in waiting.into_iter().enumerate() {
            for _ in 0..MOST_OVERTAKE {
                let mut place = gate.cut_in("a");
                assert!(is_called(&mut place) && !is_called(&mut waits));
                on_their_way.push(passed(place));
            }
            assert!(!is_called(&mut gate.cut_in("a")));
            if nth % 2 == 0 {
                assert!(is_called(&mut waits));
                on_their_way.push(passed(waits));
            }
        }
        on_their_way.into_iter().for_each(|place| place.arrive(true));
        assert!(gate.is_quiet());
    }

    #[test]
    fn nobody_cuts_in_behind_one_who_kept_its_turn() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let mut context = Context::from_waker(Waker::noop());
        let mut is_called =
            |place: &mut Ticket<'_, u64>| pin!(place.called()).poll_once(&mut context).is_ready();
        let mut head = gate.cut_in("a");
        let mut waits = gate.cut_in("a");
        assert!(is_called(&mut head) && !is_called(&mut waits), "two have a turn");

        // As one does whom a rule refuses, and who comes again at once.
        drop(head);
        let mut again = gate.cut_in("a");

        assert!(!is_called(&mut again));
        assert!(is_called(&mut waits));
    }

    #[test]
    fn whoever_cuts_in_calls_the_next_when_it_goes() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        for passes in [true, false] {
            let count = Arc::new(Count(AtomicU32::new(0)));
            let waker = Waker::from(Arc::clone(&count));
            let mut cuts_in = gate.cut_in("a");
            let mut next = gate.join("a", None);
            assert!(pin!(next.called()).poll_once(&mut Context::from_waker(&waker)).is_pending());

            // Else it is dropped before it was ever polled.
            if passes {
                cuts_in.pass(Arc::new(1), WriteId::after(None));
            }
            let cuts_in = passes.then_some(cuts_in);

            assert_eq!(count.0.load(Ordering::Relaxed), 1);
            assert!(pin!(next.called()).poll_once(&mut Context::from_waker(&waker)).is_ready());
            drop((next, cuts_in));
            assert!(gate.is_quiet());
        }
    }

    #[test]
    fn the_next_in_line_is_woken() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 600_000));
        let head = gate.join("a", None);
        let joined = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                let mut place = gate.join("a", None);
                let joined = &joined;
                scope.spawn(move || {
                    joined.fetch_add(1, Ordering::Relaxed);
                    crate::store::block_on(place.called());
                });
            }
            while joined.load(Ordering::Relaxed) < 3 {
                thread::yield_now();
            }
            drop(head);
        });

        assert!(gate.is_quiet());
    }

    #[test]
    fn values_and_wakers_are_dropped_and_woken_outside_the_lock() {
        struct Probe(Arc<Gate<Probe>>, Arc<AtomicU32>);

        impl Probe {
            fn touch(&self) {
                assert!(!self.0.lines.is_locked(), "called under the lock");
                self.1.fetch_add(1, Ordering::Relaxed);
            }
        }

        impl Drop for Probe {
            fn drop(&mut self) {
                self.touch();
            }
        }

        impl std::task::Wake for Probe {
            fn wake(self: Arc<Self>) {
                self.touch();
            }
        }

        let gate = Arc::new(Gate::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000)));
        let touched = Arc::new(AtomicU32::new(0));
        let probe = || Probe(Arc::clone(&gate), Arc::clone(&touched));
        let value = || Some(Versioned::new("1".parse().unwrap(), probe()));
        let poll = |place: &mut Ticket<'_, Probe>| {
            let waker = Waker::from(Arc::new(probe()));
            pin!(place.called()).poll_once(&mut Context::from_waker(&waker)).is_ready()
        };

        let mut head = gate.join("a", value());
        let [mut second, mut third] = [value(), value()].map(|value| gate.join("a", value));
        assert!(poll(&mut head) && !poll(&mut second) && !poll(&mut second) && !poll(&mut third));
        head.known = value();
        drop(head);
        third.known = value();
        drop(third);
        drop(second);

        assert!(gate.is_quiet());
        // Five values; four wakers dropped, and one woken.
        assert_eq!(touched.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn the_next_is_called_also_where_a_value_panics_as_it_is_dropped() {
        struct Fragile(bool);

        impl Drop for Fragile {
            fn drop(&mut self) {
                assert!(!self.0, "a drop that panics");
            }
        }

        let gate = Gate::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let value = |fragile| Some(Versioned::new("1".parse().unwrap(), Fragile(fragile)));
        let mut head = gate.join("a", value(true));
        let mut next = gate.join("a", None);
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        assert!(pin!(next.called()).poll_once(&mut Context::from_waker(&waker)).is_pending());

        head.known = value(false);
        // What was handed to the head, and never taken, gives way to what it knows.
        let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(head)));

        assert!(left.is_err());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_value_that_panics_as_it_is_dropped_leaves_no_line_behind() {
        struct Fragile;

        impl Drop for Fragile {
            fn drop(&mut self) {
                panic!("a drop that panics");
            }
        }

        let gate = Gate::new(Arc::new(ThreadTimer), Some(MILLISECOND * 60_000));
        let left = |part: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(part));

        // Nobody has taken what was passed on, and it was not applied.
        let mut ahead = gate.join("a", None);
        ahead.pass(Arc::new(Fragile), WriteId::after(None));
        let mut ahead = Some(ahead);
        assert!(left(&mut || ahead.take().into_iter().for_each(|ahead| ahead.arrive(false))).is_err());
        assert!(gate.is_quiet());

        // What was handed to the head, and never taken, gives way to what it passes on.
        let mut head = gate.join("a", Some(Versioned::new("1".parse().unwrap(), Fragile)));
        let safe = Arc::new(Fragile);
        assert!(left(&mut || head.pass(Arc::clone(&safe), WriteId::after(None))).is_err());
        head.arrive(true);
        assert!(gate.is_quiet());
        std::mem::forget(safe);
    }

    #[test]
    fn a_line_that_does_not_move_is_left() {
        let gate = Gate::<u64>::new(Arc::new(ThreadTimer), Some(MILLISECOND * 5));
        let head = gate.join("a", None);

        for _ in 0..2 {
            let mut place = gate.join("a", None);
            assert!(matches!(crate::store::block_on(place.called()), Called::Stalled));
        }
        drop(head);

        assert!(gate.is_quiet());
    }

    #[test]
    fn the_stall_is_counted_from_when_the_line_last_moved() {
        #[derive(Clone)]
        struct Still(Instant, Arc<Mutex<Duration>>);

        impl Timer for Still {
            fn now(&self) -> Instant {
                self.0 + *self.1.lock()
            }

            fn sleep(&self, _: Duration) -> Sleep {
                Box::pin(std::future::pending())
            }
        }

        let clock = Still(Instant::now(), Arc::default());
        let gate = Gate::<u64>::new(Arc::new(clock.clone()), Some(MILLISECOND * 10));
        let mut context = Context::from_waker(Waker::noop());
        let [first, _second, mut last] = [(); 3].map(|()| gate.join("a", None));
        *clock.1.lock() = MILLISECOND * 8;
        drop(first);

        *clock.1.lock() = MILLISECOND * 17;
        assert!(pin!(last.called()).poll_once(&mut context).is_pending());
        *clock.1.lock() = MILLISECOND * 18;
        assert!(matches!(pin!(last.called()).poll_once(&mut context), Poll::Ready(Called::Stalled)));
    }

    #[test]
    fn a_nested_modify_of_the_same_id_comes_through() {
        let store = Arc::new(Scripted::new(Pace::Ready, false));
        let counters = counter(&store, Retry::default().stall(MILLISECOND * 5));
        let mut runs = 0;

        counters
            .modify("a", |count| {
                runs += 1;
                // The first run loses, which puts the call at the head of a line; the second nests behind it.
                if runs <= 2 {
                    counters.modify("a", |count| *count += 10).wait().unwrap();
                }
                *count += 1;
            })
            .wait()
            .unwrap();

        assert_eq!(*counters.fetch("a").wait().unwrap().value, 21);
        assert!(counters.gate().is_quiet());
    }

    #[test]
    fn a_closure_that_panics_frees_the_line() {
        let store = Arc::new(Scripted::new(Pace::Ready, false));
        let counters = counter(&store, patient());
        let mut runs = 0;

        let panicked = thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let change = |_: &mut u64| {
                    runs += 1;
                    assert_eq!(runs, 1, "panics at the head of the line");
                    counters.put("a", 5).wait().unwrap();
                };
                // Not equal to what was put, so that the first round is lost.
                counters.modify("a", change).wait()
            });
            panics.join().is_err()
        });

        assert!(panicked && counters.gate().is_quiet());
        assert_eq!(*counters.modify("a", |count| *count += 1).wait().unwrap().value, 6);
    }

    #[test]
    fn a_cancelled_writer_passes_its_turn_on() {
        let store = Arc::new(Scripted::new(Pace::Pending(MILLISECOND), false));
        let counters = counter(&store, patient());
        let mut context = Context::from_waker(Waker::noop());
        let head = counters.gate().join("a", None);

        let mut waits = counters.modify("a", |count| *count += 1);
        assert!(pin!(&mut waits).poll_once(&mut context).is_pending());
        let mut behind = counters.gate().follow("a").unwrap();
        drop(head);
        drop(waits);

        assert!(matches!(pin!(behind.called()).poll_once(&mut context), Poll::Ready(Called::Turn(None))));
        drop(behind);
        assert_eq!(*counters.fetch("a").wait().unwrap().value, 0);
    }

    #[test]
    fn one_that_follows_a_line_starts_from_what_it_is_handed_without_a_read() {
        let store = Arc::new(Scripted::new(Pace::Ready, false));
        let counters = counter(&store, patient());
        let stale = counters.fetch("a").wait().unwrap();
        let head = counters.gate().join("a", None);
        let reads = store.read();
        let mut context = Context::from_waker(Waker::noop());

        let mut follows = counters.modify("a", |count| *count += 1);
        assert!(pin!(&mut follows).poll_once(&mut context).is_pending());
        // What is handed on is stale by now: a writer outside the line has written.
        counters.put("a", 10).wait().unwrap();
        let mut head = head;
        head.known = Some(stale);
        drop(head);

        assert_eq!(*follows.wait().unwrap().value, 11);
        assert_eq!(store.read(), reads);
    }

    #[test]
    fn one_that_refuses_hands_on_what_it_read() {
        let store = Arc::new(Scripted::new(Pace::Ready, false));
        let counters = counter(&store, patient());
        let head = counters.gate().join("a", None);
        let reads = store.read();
        let mut context = Context::from_waker(Waker::noop());
        let refusal = |_: &mut u64| Err(Error::from(Refusal::EmptyPage));
        let mut refuses = counters.try_modify("a", refusal);
        assert!(pin!(&mut refuses).poll_once(&mut context).is_pending());
        let mut follows = counters.modify("a", |count| *count += 1);
        assert!(pin!(&mut follows).poll_once(&mut context).is_pending());

        drop(head);
        refuses.wait().unwrap_err();
        follows.wait().unwrap();

        assert_eq!(store.read() - reads, 1);
    }

    #[test]
    fn a_deadline_also_ends_a_wait_in_line() {
        let store = Arc::new(Scripted::new(Pace::Ready, false));
        let ends = Arc::new(AtomicU32::new(0));
        let ended = Arc::clone(&ends);
        let retry =
            Retry::default().stall(MILLISECOND * 60_000).deadline(MILLISECOND * 5).report(move |report| {
                if matches!(report.effect, Effect::Failed(Error::Failed(_))) && report.attempts == 0 {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        let counters = counter(&store, retry);
        let head = counters.gate().join("a", None);

        let answer = counters.modify("a", |count| *count += 1).wait();

        assert!(matches!(answer, Err(Error::Failed(_))));
        assert_eq!(ends.load(Ordering::Relaxed), 1);
        drop(head);
        assert!(counters.gate().is_quiet());
    }
}
