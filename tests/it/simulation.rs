//! Collections over a store behind an unreliable network, in a world where a seed decides everything.
//!
//! A failing seed is printed. `IFMATCH_SEED=7 cargo test --test it simulation -- --nocapture` runs that one again.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ifmatch::conformance::history::{Numbering, Recorded};
use ifmatch::conformance::simulation::{Network, Simulated, Simulation};
use ifmatch::store::{Changes, Outcome, Resolution};
use ifmatch::{Collection, Error, Memory, Retry, Start, Store, Transaction, Version};
use parking_lot::Mutex;

/// How many seeds a run of the tests covers.
const SEEDS: u64 = 100_000;

/// What each increment leaves in a counter: its own number, so that one that counts twice or not at all shows.
type Counter = Vec<u32>;

const COUNTERS: [&str; 2] = ["counter/a", "counter/b"];

/// Stored when all writers are done.
const END: &str = "end";

#[test]
fn every_increment_counts_once_or_is_unknown_and_resolved_truthfully() {
    let totals = Mutex::new(Totals::default());
    if let Ok(seed) = env::var("IFMATCH_SEED") {
        let seed = seed.parse().expect("IFMATCH_SEED is a number");
        println!("{:?}", run(seed));
        return;
    }

    let threads = thread::available_parallelism().map_or(2, |threads| threads.get() as u64);
    thread::scope(|scope| {
        for thread in 0..threads {
            let totals = &totals;
            scope.spawn(move || {
                for seed in (thread..SEEDS).step_by(threads as usize) {
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(run) => totals.lock().add(&run),
                        Err(panic) => {
                            println!("IFMATCH_SEED={seed} makes this run again");
                            resume_unwind(panic);
                        }
                    }
                }
            });
        }
    });

    let totals = totals.into_inner();
    println!("{totals:?}");
    assert_eq!(totals.seeds, SEEDS);
    // The network was unreliable enough to be worth it.
    assert!(totals.unknown > SEEDS / 20 && totals.resolved_applied > 0 && totals.resolved_not_applied > 0);
    assert!(totals.cuts > SEEDS / 10 && totals.expired > SEEDS / 50);
}

/// What happened in all runs.
#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    applied: u64,
    failed: u64,
    unknown: u64,
    resolved_applied: u64,
    resolved_not_applied: u64,
    batches: u64,
    cuts: u64,
    expired: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.applied += other.applied;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.resolved_applied += other.resolved_applied;
        self.resolved_not_applied += other.resolved_not_applied;
        self.batches += other.batches;
        self.cuts += other.cuts;
        self.expired += other.expired;
    }
}

/// What a run knows of its increments and of the feed.
#[derive(Default)]
struct Notes {
    totals: Totals,
    writers: u32,
    /// The increments that counted, by counter.
    counted: BTreeSet<(&'static str, u32)>,
    /// The versions that writers were told of.
    acknowledged: BTreeSet<u64>,
    watched: Watched,
}

/// What a watcher knows.
#[derive(Default)]
struct Watched {
    /// What it believes to be stored.
    stored: BTreeMap<String, u64>,
    /// The versions it was told of since its first list, and the newest of that list.
    told: BTreeSet<u64>,
    since: Option<u64>,
}

/// The parts of one run.
#[derive(Clone)]
struct Parts {
    world: Simulation,
    counters: Collection<Counter>,
    notes: Arc<Mutex<Notes>>,
}

/// One run: writers that increment, a watcher that follows, and the reckoning.
fn run(seed: u64) -> Totals {
    let world = Simulation::new(seed);
    let memory = Arc::new(Memory::<Counter>::new().with_feed_limit(1 << world.below(7)));
    let network = if world.below(4) == 0 { Network::calm() } else { Network::rough() };
    let simulated = Simulated::new(&world, Arc::clone(&memory)).with_network(network);
    let recorded = Arc::new(Recorded::new(simulated));
    let counters = Collection::new(Arc::clone(&recorded)).with_retry(retry(&world));
    let parts = Parts { world: world.clone(), counters, notes: Arc::default() };

    let setup = parts.clone();
    world.spawn(async move {
        for id in COUNTERS {
            setup.store_surely(id).await;
        }
    });
    world.run();
    let writers = 2 + world.below(3) as u32;
    parts.notes.lock().writers = writers;
    world.spawn(parts.clone().watch());
    for writer in 0..writers {
        world.spawn(parts.clone().write(writer));
    }
    world.run();

    let mut notes = parts.notes.lock();
    reckon(&memory, &notes);
    recorded.history(Numbering::StoreWide).with_seed(seed).check().unwrap();
    notes.totals.seeds = 1;
    std::mem::take(&mut notes.totals)
}

fn retry(world: &Simulation) -> Retry {
    let retry = Retry::default().timer(world.clone()).random(world.randomness());
    let retry = match world.below(3) {
        0 => retry.without_gate(),
        _ => retry,
    };
    match world.below(2) {
        0 => retry.attempts(1 + world.below(4) as u32).deadline(Duration::from_millis(20)),
        _ => retry,
    }
}

/// Holds what is stored against what the writers were told and what the watcher saw.
fn reckon(memory: &Memory<Counter>, notes: &Notes) {
    let Watched { stored, told, since } = &notes.watched;
    for id in COUNTERS {
        let counter = memory.get(id).wait().unwrap().expect("counters are never deleted");
        let mut counted = counter.value.to_vec();
        counted.sort_unstable();
        let expected: Vec<u32> =
            notes.counted.iter().filter(|(of, _)| *of == id).map(|(_, number)| *number).collect();
        assert_eq!(counted, expected, "`{id}` counted other increments than its writers were told");
        assert_eq!(
            stored.get(id),
            Some(&bits(counter.version)),
            "the watcher missed the last change of `{id}`"
        );
    }
    if notes.totals.expired == 0 {
        let since = since.expect("the watcher listed once");
        let missed: Vec<_> =
            notes.acknowledged.range(since + 1..).filter(|version| !told.contains(version)).collect();
        assert!(missed.is_empty(), "the watcher was not told of {missed:?}");
    }
}

fn bits(version: Version) -> u64 {
    version.to_bits().get()
}

impl Parts {
    /// Makes a counter, however often that fails.
    async fn store_surely(&self, id: &str) {
        loop {
            if let Ok(Some(_)) = self.counters.get(id).await {
                return;
            }
            let _ = self.counters.create(id, Vec::new()).await;
        }
    }

    async fn write(self, writer: u32) {
        for round in 0..1 + self.world.below(4) as u32 {
            self.increment(writer * 100 + round).await;
        }
        let last = {
            let mut notes = self.notes.lock();
            notes.writers -= 1;
            notes.writers == 0
        };
        if last {
            self.store_surely(END).await;
        }
    }

    /// Counts once in one counter or in both, and settles what became of it.
    async fn increment(&self, number: u32) {
        let id = COUNTERS[self.world.below(2) as usize];
        let (ids, answer) = match self.world.below(5) {
            0 => (COUNTERS.to_vec(), self.count_in_both(number).await),
            1 => (vec![id], self.count_in_draft(id, number).await),
            _ => (
                vec![id],
                self.counters.modify(id, |counter| counter.push(number)).await.map(|counted| {
                    self.notes.lock().acknowledged.insert(bits(counted.version));
                }),
            ),
        };
        let applied = match answer {
            Ok(()) => true,
            Err(error) => self.settle(&error).await,
        };
        let mut notes = self.notes.lock();
        match applied {
            true => {
                notes.totals.applied += 1;
                notes.counted.extend(ids.iter().map(|id| (*id, number)));
            }
            false => notes.totals.failed += 1,
        }
    }

    async fn count_in_draft(&self, id: &str, number: u32) -> Result<(), Error> {
        let mut draft = self.counters.edit(id).await?;
        draft.push(number);
        draft.commit().await.map(drop)
    }

    async fn count_in_both(&self, number: u32) -> Result<(), Error> {
        let work = |mut both: Transaction<Counter>| async move {
            for id in COUNTERS {
                let mut counter = both.get(id).await?.map_or_else(Vec::new, |counter| counter.to_vec());
                counter.push(number);
                both.put(id, counter);
            }
            Ok::<_, Error>((both, ()))
        };
        self.counters.transact(work).await
    }

    /// Whether an increment that came back as an error was applied.
    async fn settle(&self, error: &Error) -> bool {
        if error.outcome() == Outcome::NotApplied {
            return false;
        }
        let Error::Failed(failure) = error else { unreachable!("only failures are unknown") };
        let write = failure.write().expect("a collection stamps its commits");
        self.notes.lock().totals.unknown += 1;
        loop {
            match self.counters.resolve(write).await {
                Ok(Resolution::Applied(_)) => {
                    self.notes.lock().totals.resolved_applied += 1;
                    return true;
                }
                Ok(Resolution::NotApplied) => {
                    self.notes.lock().totals.resolved_not_applied += 1;
                    return false;
                }
                Ok(Resolution::Unknown) => panic!("the store remembers more writes than there are"),
                Err(_) => {}
            }
        }
    }

    /// Follows the feed until the end is stored: over cuts from the last cursor, over gaps by another list.
    async fn watch(self) {
        loop {
            let mut changes = self.watch_from(Start::Now).await.expect("there is always a now");
            let Ok(listed) = self.list().await else { continue };
            if self.saw_list(&listed) {
                return;
            }
            loop {
                match changes.next().await {
                    Ok(batch) => {
                        let told = batch.changes.iter().map(|change| (&*change.id, bits(change.version)));
                        if self.saw(told.collect()) {
                            return;
                        }
                    }
                    Err(Error::Failed(_)) => {
                        self.notes.lock().totals.cuts += 1;
                        match self.watch_from(Start::After(changes.cursor().clone())).await {
                            Some(resumed) => changes = resumed,
                            None => break,
                        }
                    }
                    Err(Error::Expired(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            self.notes.lock().totals.expired += 1;
        }
    }

    /// Watches, however often that fails; `None` where the feed does not reach back so far.
    async fn watch_from(&self, start: Start) -> Option<Changes<Counter>> {
        loop {
            match self.counters.watch(start.clone()).await {
                Ok(changes) => return Some(changes),
                Err(Error::Expired(_)) => return None,
                Err(_) => {}
            }
        }
    }

    async fn list(&self) -> Result<BTreeMap<String, u64>, Error> {
        let mut listed = BTreeMap::new();
        let mut pages = self.counters.list("").page_size(2);
        while let Some(page) = pages.next().await? {
            listed.extend(page.items.iter().map(|(id, found)| (id.to_string(), bits(found.version))));
        }
        Ok(listed)
    }

    /// Takes in a list; whether the end was in it.
    fn saw_list(&self, listed: &BTreeMap<String, u64>) -> bool {
        let watched = &mut self.notes.lock().watched;
        watched.since.get_or_insert(listed.values().copied().max().unwrap_or(0));
        watched.stored = listed.clone();
        listed.contains_key(END)
    }

    /// Takes in a batch; whether the end was in it.
    fn saw(&self, told: Vec<(&str, u64)>) -> bool {
        let notes = &mut *self.notes.lock();
        notes.totals.batches += 1;
        for (id, version) in &told {
            // What was listed can be newer than what the feed tells first.
            let stored = notes.watched.stored.entry((*id).to_owned()).or_insert(*version);
            *stored = (*stored).max(*version);
            let new = notes.watched.told.insert(*version) || told.len() > 1;
            assert!(new, "version {version} of `{id}` was told twice");
        }
        told.iter().any(|(id, _)| *id == END)
    }
}
