//! Every call is dropped after each of its polls: what is stored is a state from before it or after it, and nothing is
//! held on to.

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ifmatch::collection::{Sleep, Timer};
use ifmatch::store::{Abilities, Changes, Committed, Listed, Page, Resolution, Resource, Scan, WriteId};
use ifmatch::{
    Collection, Commit, Encoded, Entry, Error, Expected, Guarded, Json, Memory, Observed, Reply, Retry,
    Start, Store, Versioned,
};

/// Far more polls than any call here takes.
const ENDLESS: usize = 2_000;

/// A store over another one whose every answer takes some polls before it is applied and some after.
struct Slow<T: Resource + ?Sized> {
    inner: Arc<Memory<T>>,
    before: usize,
    after: usize,
    /// How many of the next commits are preceded by one of a rival, and what the rival puts at `a`.
    rivals: Arc<AtomicUsize>,
    rival: fn(usize) -> Arc<T>,
    unknown: bool,
}

/// Is pending that many times.
async fn pass(polls: usize) {
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<T: Resource + ?Sized> Slow<T> {
    fn slowly<'a, A: Send + 'a>(&'a self, call: impl FnOnce() -> Reply<'a, A> + Send + 'a) -> Reply<'a, A> {
        Reply::pending(async move {
            pass(self.before).await;
            let answer = call().await;
            pass(self.after).await;
            answer
        })
    }
}

impl<T: Resource + ?Sized> Store<T> for Slow<T> {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<T>>> {
        self.slowly(move || self.inner.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, T>) -> Reply<'a, Committed> {
        self.slowly(move || {
            let rivals = self.rivals.load(Ordering::Relaxed);
            if rivals > 0 {
                self.rivals.store(rivals - 1, Ordering::Relaxed);
                let put = Entry::put("a", Expected::Any, (self.rival)(rivals));
                self.inner.commit(Commit::one(put)).wait().unwrap();
            }
            self.inner.commit(commit)
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.slowly(move || self.inner.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<T>>> {
        self.slowly(move || self.inner.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<T>> {
        self.slowly(move || self.inner.watch(from))
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Store::<T>::abilities(&*self.inner);
        abilities.may_lose_answers = self.unknown;
        abilities
    }
}

/// A clock that stands still, and counts who sleeps by it.
#[derive(Clone)]
struct Frozen {
    start: Instant,
    sleepers: Arc<AtomicUsize>,
}

impl Timer for Frozen {
    fn now(&self) -> Instant {
        self.start
    }

    fn sleep(&self, _: Duration) -> Sleep {
        struct Sleeper(Arc<AtomicUsize>);

        impl Drop for Sleeper {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }

        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let sleeper = Sleeper(Arc::clone(&self.sleepers));
        Box::pin(async move {
            pending::<()>().await;
            drop(sleeper);
        })
    }
}

/// What a collection under test is made of.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    /// Its store says that answers can be lost, so that every commit has a write id.
    Stamped,
    /// Values become JSON, in three layers.
    Layered,
}

/// A collection of `a` at 1 and `b` at 2 over a slow store, and what is to be seen past it.
struct World {
    slow: Collection<u64>,
    /// The same resources, without delay.
    fast: Collection<u64>,
    rivals: Arc<AtomicUsize>,
    sleepers: Arc<AtomicUsize>,
}

type State = Vec<(String, String, u64)>;

impl World {
    fn new(kind: Kind, (before, after): (usize, usize), rivals: usize) -> Self {
        let first = "1000".parse().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let (slow, fast) = match kind {
            Kind::Plain | Kind::Stamped => {
                let inner = Arc::new(Memory::<u64>::starting_at(first));
                let fast = Collection::new(Arc::clone(&inner));
                let (unknown, rivals) = (matches!(kind, Kind::Stamped), Arc::clone(&count));
                let rival = |number| Arc::new(100 * number as u64);
                (Collection::new(Slow { inner, before, after, rivals, rival, unknown }), fast)
            }
            Kind::Layered => {
                let inner = Arc::new(Memory::<[u8]>::starting_at(first));
                let fast = Collection::json(Arc::clone(&inner));
                let rivals = Arc::clone(&count);
                let rival = |number: usize| (100 * number).to_string().into_bytes().into();
                let slow = Slow { inner, before, after, rivals, rival, unknown: true };
                let slow = Collection::new(Encoded::new(slow, Json));
                (slow.layer(Guarded::new).layer(|store| Observed::new(store, |_: &_| {})), fast)
            }
        };
        let timer = Frozen { start: Instant::now(), sleepers: Arc::default() };
        let sleepers = Arc::clone(&timer.sleepers);
        let retry = Retry::default().attempts(10).timer(timer).random(|| 0);
        for (id, value) in [("a", 1), ("b", 2)] {
            fast.create(id, value).wait().unwrap();
        }
        count.store(rivals, Ordering::Relaxed);
        Self { slow: slow.with_retry(retry), fast, rivals: count, sleepers }
    }

    /// The ids with their versions, which are the same in each run, and values.
    fn state(&self) -> State {
        let page = self.fast.scan("", None, 99).wait().unwrap();
        let told = |(id, found): (Arc<str>, Versioned<u64>)| {
            (id.to_string(), found.version.to_string(), *found.value)
        };
        page.items.into_iter().map(told).collect()
    }

    /// Whether nothing that was dropped holds anything up.
    fn works(&self, what: &str) {
        assert_eq!(self.sleepers.load(Ordering::Relaxed), 0, "a sleep is left of {what}");
        self.rivals.store(0, Ordering::Relaxed);
        let before = *self.fast.fetch("a").wait().unwrap().value;
        let finishes = async {
            self.slow.modify("a", |count| *count += 1).await?;
            self.slow.put("b", 9).await?;
            self.slow.fetch("a").await
        };
        let found = finish(finishes).unwrap_or_else(|| panic!("a call does not end after {what}"));
        assert_eq!(*found.unwrap().value, before + 1, "after {what}");
        assert_eq!(self.sleepers.load(Ordering::Relaxed), 0);
    }
}

/// Polls up to `polls` times, and drops the future.
fn poll_for<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_more(future.as_mut(), polls)
}

fn poll_more<F: Future + ?Sized>(mut future: Pin<&mut F>, polls: usize) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

fn finish<F: Future>(future: F) -> Option<F::Output> {
    poll_for(future, ENDLESS)
}

type Call = for<'a> fn(&'a World) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Each call with the number of commits it makes, one state after each.
const CALLS: &[(&str, usize, Call)] = &[
    ("get", 0, |world| Box::pin(async { assert_eq!(*world.slow.get("a").await.unwrap().unwrap().value, 1) })),
    ("fetch", 0, |world| Box::pin(async { assert_eq!(*world.slow.fetch("a").await.unwrap().value, 1) })),
    ("fetch of what is missing", 0, |world| {
        Box::pin(async { assert!(matches!(world.slow.fetch("c").await, Err(Error::NotFound(_)))) })
    }),
    ("create", 1, |world| Box::pin(async { drop(world.slow.create("c", 3).await.unwrap()) })),
    ("a refused create", 0, |world| Box::pin(async { drop(world.slow.create("a", 3).await.unwrap_err()) })),
    ("replace", 1, |world| {
        Box::pin(async { drop(world.slow.replace("a", Expected::Present, 3).await.unwrap()) })
    }),
    ("put", 1, |world| Box::pin(async { drop(world.slow.put("a", 3).await.unwrap()) })),
    ("delete", 1, |world| {
        Box::pin(async {
            assert!(world.slow.delete("b", Expected::Present).await.unwrap().replaced.is_some())
        })
    }),
    ("commit", 1, |world| {
        Box::pin(async {
            let both = ["a", "b"].map(|id| Entry::put(id, Expected::Present, Arc::new(7)));
            world.slow.commit(both.into_iter().collect()).await.unwrap();
        })
    }),
    ("a commit with a write id, and its resolution", 1, |world| {
        Box::pin(async {
            let write = WriteId::from_bits(7);
            let commit = Commit::one(Entry::put("a", Expected::Any, Arc::new(7))).with_write(write);
            let committed = world.slow.commit(commit).await.unwrap();
            assert_eq!(world.slow.resolve(write).await.unwrap(), Resolution::Applied(committed));
        })
    }),
    ("scan", 0, |world| {
        Box::pin(async { assert_eq!(world.slow.scan("", None, 9).await.unwrap().items.len(), 2) })
    }),
    ("list", 0, |world| {
        Box::pin(async {
            let mut pages = world.slow.list("").page_size(1);
            for id in ["a", "b"] {
                // A page that was given up is read again.
                let page = match poll_for(pages.next(), 1) {
                    Some(page) => page,
                    None => pages.next().await,
                };
                assert_eq!(&*page.unwrap().unwrap().items[0].0, id);
            }
            assert!(pages.next().await.unwrap().is_none());
        })
    }),
    ("watch", 1, |world| {
        Box::pin(async {
            let mut changes = world.slow.watch(Start::Now).await.unwrap();
            // A batch that was given up comes again.
            assert!(poll_for(changes.next(), 1).is_none());
            world.slow.put("a", 7).await.unwrap();
            assert_eq!(changes.next().await.unwrap().changes.len(), 1);
        })
    }),
    ("edit, and the commit of a draft", 1, |world| {
        Box::pin(async {
            let mut draft = world.slow.edit("a").await.unwrap();
            *draft += 10;
            let base = draft.base().clone();
            // Once given up before anything was sent: the draft is as it was.
            drop(poll_for(draft.commit(), 0));
            assert_eq!((draft.base(), *draft), (&base, 11));
            assert_eq!(*draft.commit().await.unwrap().value, 11);
        })
    }),
    ("transaction", 1, |world| {
        Box::pin(async {
            let mut draft = world.slow.edit("a").await.unwrap();
            *draft += 10;
            let mut transaction = world.slow.transaction();
            assert_eq!(transaction.get("b").await.unwrap().as_deref(), Some(&2));
            assert_eq!(transaction.get("c").await.unwrap(), None);
            transaction.put("b", 20);
            transaction.create("c", 30).unwrap();
            transaction.save(&mut draft).unwrap();
            transaction.commit().await.unwrap();
            assert_eq!(*draft.base().value, 11);
        })
    }),
    ("transact", 1, |world| Box::pin(transact(world))),
    ("modify", 1, |world| {
        Box::pin(async { drop(world.slow.modify("a", |count| *count += 1).await.unwrap()) })
    }),
    ("a modify that changes nothing", 0, |world| {
        Box::pin(async { drop(world.slow.modify("a", |_| ()).await.unwrap()) })
    }),
    ("a try_modify that refuses", 0, |world| {
        Box::pin(async { drop(world.slow.try_modify("a", |_| Err(refusal())).await.unwrap_err()) })
    }),
    ("modify_async", 1, |world| Box::pin(modify_async(world))),
];

/// Those that try again, by one each.
const RETRIED: &[(&str, Call)] = &[
    ("modify", |world| Box::pin(async { drop(world.slow.modify("a", |count| *count += 1).await.unwrap()) })),
    ("modify_async", |world| Box::pin(modify_async(world))),
    ("transact", |world| Box::pin(transact(world))),
];

async fn transact(world: &World) {
    let sum = world.slow.transact(|mut work| async move {
        let sum = work.get("a").await?.map_or(0, |a| *a) + 1;
        pass(1).await;
        work.put("a", sum);
        work.put("c", sum);
        Ok::<_, Error>((work, sum))
    });
    sum.await.unwrap();
}

async fn modify_async(world: &World) {
    let change = |count: u64| async move {
        pass(2).await;
        Ok::<_, Error>(count + 1)
    };
    world.slow.modify_async("a", change).await.unwrap();
}

fn refusal() -> Error {
    ifmatch::store::Refusal::NotAllowed { id: "a".into() }.into()
}

const KINDS: [Kind; 3] = [Kind::Plain, Kind::Stamped, Kind::Layered];
const PACES: [(usize, usize); 4] = [(0, 0), (1, 0), (0, 1), (2, 2)];

/// Every state that is there after one of the polls, and how many polls the call takes.
fn run(world: &World, call: Call) -> (BTreeSet<State>, usize) {
    let mut states = BTreeSet::from([world.state()]);
    let mut future = call(world);
    for polls in 1..ENDLESS {
        let ended = poll_more(future.as_mut(), 1).is_some();
        states.insert(world.state());
        if ended {
            return (states, polls);
        }
    }
    panic!("the call does not end");
}

/// Drops a call after each of its polls; how many times.
fn sweep(name: &str, kind: Kind, pace: (usize, usize), rivals: usize, commits: usize, call: Call) -> usize {
    let what = format!("`{name}` of {kind:?} at {pace:?} among {rivals} rivals");
    let (states, polls) = run(&World::new(kind, pace, rivals), call);
    // Where no poll is pending between two commits, the state between them is not to be seen.
    assert!(states.len() == 1 + commits || pace == (0, 0), "{what}");

    for dropped in 0..polls {
        let world = World::new(kind, pace, rivals);

        assert!(poll_for(call(&world), dropped).is_none(), "{what} ended early");

        assert!(states.contains(&world.state()), "{what}, dropped after {dropped} polls");
        world.works(&format!("{what}, dropped after {dropped} polls"));
    }
    polls
}

#[test]
fn a_call_that_is_dropped_at_any_await_leaves_the_old_state_or_the_new_and_nothing_locked() {
    let mut drops = 0;
    for kind in KINDS {
        for pace in PACES {
            for (name, commits, call) in CALLS {
                drops += sweep(name, kind, pace, 0, *commits, *call);
            }
        }
    }
    assert!(drops > 500, "{drops}");
}

#[test]
fn so_does_a_call_that_lost_races_before() {
    for kind in KINDS {
        for pace in PACES {
            for rivals in [1, 2] {
                for (name, call) in RETRIED {
                    sweep(name, kind, pace, rivals, rivals + 1, *call);
                }
            }
        }
    }
}

#[test]
fn whoever_is_dropped_in_the_line_for_a_hot_id_holds_up_nobody() {
    let add = |world: &World| {
        let slow = world.slow.clone();
        async move { *slow.modify("a", |count| *count += 1).await.unwrap().value }
    };
    for kind in KINDS {
        for pace in [(1, 0), (1, 1)] {
            for (first_polls, second_polls) in (0..16).flat_map(|one| (0..16).map(move |other| (one, other)))
            {
                for first_is_dropped in [true, false] {
                    let world = World::new(kind, pace, 1);
                    let (mut first, mut second) = (Box::pin(add(&world)), Box::pin(add(&world)));
                    let first_done = poll_more(first.as_mut(), first_polls).is_some();
                    let second_done = poll_more(second.as_mut(), second_polls).is_some();
                    let (dropped, (mut stays, done)) = match first_is_dropped {
                        true => (first, (second, second_done)),
                        false => (second, (first, first_done)),
                    };

                    drop(dropped);

                    let what = format!("{kind:?} {pace:?} {first_polls} {second_polls} {first_is_dropped}");
                    let ended = done || poll_more(stays.as_mut(), ENDLESS).is_some();
                    assert!(ended, "the other waits for ever: {what}");
                    drop(stays);
                    world.works(&what);
                }
            }
        }
    }
}
