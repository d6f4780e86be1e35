//! [`Simulation`]: tasks and time that depend on nothing but a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::collection::{Sleep, Timer};

/// Tasks on one thread under a clock of their own.
///
/// Of the tasks that can go on, the seed picks the next one. Where none can, the clock jumps to the next time that one
/// waits for. It is the [`Timer`] of its world; clones share it.
///
/// ```
/// use std::time::Duration;
/// use ifmatch::collection::Timer;
/// use ifmatch::conformance::simulation::Simulation;
///
/// let world = Simulation::new(1);
/// let began = world.now();
/// let clock = world.clone();
/// world.spawn(async move { clock.sleep(Duration::from_secs(3_600)).await });
/// world.run();
/// assert_eq!(world.now() - began, Duration::from_secs(3_600));
/// ```
#[derive(Clone)]
pub struct Simulation(Arc<World>);

struct World {
    began: Instant,
    state: Mutex<Scheduler>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Scheduler {
    elapsed: Duration,
    dice: u64,
    /// The tasks; `None` while one runs and after it is done.
    tasks: Vec<Option<Task>>,
    unfinished: usize,
    ready: BTreeSet<usize>,
    /// Who waits for when. The second number keeps those of the same time apart.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    drawn: u64,
}

impl Simulation {
    /// A world in which nothing has happened.
    pub fn new(seed: u64) -> Self {
        let state = Scheduler {
            elapsed: Duration::ZERO,
            dice: seed,
            tasks: Vec::new(),
            unfinished: 0,
            ready: BTreeSet::new(),
            sleepers: BTreeMap::new(),
            drawn: 0,
        };
        Self(Arc::new(World { began: Instant::now(), state: Mutex::new(state) }))
    }

    /// Adds a task, also from within another one. What it returns is dropped: a test asserts inside.
    pub fn spawn<O: 'static>(&self, task: impl Future<Output = O> + Send + 'static) {
        let task: Task = Box::pin(async move { drop(task.await) });
        let mut state = self.0.state.lock();
        let number = state.tasks.len();
        state.tasks.push(Some(task));
        state.unfinished += 1;
        state.ready.insert(number);
    }

    /// Runs until all tasks are done.
    ///
    /// # Panics
    ///
    /// Where a task panics, and where those that are left wait for nothing that could still happen.
    pub fn run(&self) {
        while let Some((number, mut task)) = self.next() {
            let waker = Waker::from(Arc::new(Awake { world: self.clone(), number }));
            let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
            let mut state = self.0.state.lock();
            match polled {
                Poll::Pending => state.tasks[number] = Some(task),
                Poll::Ready(()) => state.unfinished -= 1,
            }
        }
    }

    /// A number below `limit`, from the seed.
    ///
    /// ```
    /// # use ifmatch::conformance::simulation::Simulation;
    /// assert!(Simulation::new(7).below(6) < 6);
    /// ```
    pub fn below(&self, limit: u64) -> u64 {
        self.0.state.lock().number() % limit
    }

    /// The numbers of the seed, for [`Retry::random`](crate::Retry::random).
    pub fn randomness(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let world = self.clone();
        move || world.0.state.lock().number()
    }

    /// The next task to go on, `None` once all are done.
    fn next(&self) -> Option<(usize, Task)> {
        loop {
            let mut state = self.0.state.lock();
            if state.unfinished == 0 {
                return None;
            }
            let many = state.ready.len() as u64;
            if many > 0 {
                let pick = (state.number() % many) as usize;
                let number = *state.ready.iter().nth(pick).expect("the pick is below the count");
                state.ready.remove(&number);
                // A task can be woken after it is done.
                let Some(task) = state.tasks[number].take() else { continue };
                return Some((number, task));
            }
            let due = state.sleepers.keys().next().map(|(due, _)| *due);
            let now = due.expect("the tasks that are left wait for nothing that could still happen");
            state.elapsed = now;
            let later = state.sleepers.split_off(&(now, u64::MAX));
            let woken = mem::replace(&mut state.sleepers, later);
            drop(state);
            woken.into_values().for_each(Waker::wake);
        }
    }
}

impl Scheduler {
    /// splitmix64.
    fn number(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl Timer for Simulation {
    fn now(&self) -> Instant {
        self.0.began + self.0.state.lock().elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let mut state = self.0.state.lock();
        state.drawn += 1;
        Box::pin(Sleeper { world: self.clone(), place: (state.elapsed + duration, state.drawn) })
    }
}

struct Awake {
    world: Simulation,
    number: usize,
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.world.0.state.lock().ready.insert(self.number);
    }
}

struct Sleeper {
    world: Simulation,
    place: (Duration, u64),
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.0.state.lock();
        if state.elapsed >= self.place.0 {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.world.0.state.lock().sleepers.remove(&self.place);
    }
}
