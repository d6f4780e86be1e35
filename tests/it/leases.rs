//! Leases among holders that crash, pause and have clocks of their own, in a world where a seed decides everything.
//!
//! A failing seed is printed. `IFMATCH_SEED=7 cargo test --test it leases -- --nocapture` runs that one again.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::collection::{Sleep, Timer};
use ifmatch::conformance::simulation::{Simulated, Simulation};
use ifmatch::lease::{Ended, Lease, Leases};
use ifmatch::store::{
    Abilities, Changes, Committed, Failure, Listed, Outcome, Page, Reply, Resolution, Scan, WriteId,
};
use ifmatch::{Collection, Commit, Database, Error, Expected, Kind, Memory, Retry, Start, Store, Versioned};
use parking_lot::Mutex;

use crate::file::Directory;

/// How many schedules a run of the tests covers, of each kind.
const SCHEDULES: u64 = 10_000;

const HOLDERS: u64 = 8;

/// How many stand in line where all is calm.
const CALM_HOLDERS: u64 = 16;

/// How often a clock goes wrong in one schedule.
const STEPS: u64 = 6;

const ROUNDS: u64 = 3;

const LASTS: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3_600);

/// Long enough for everybody to have had the lease, and to have died with it.
const LONG: Duration = Duration::from_secs(1_000_000);

/// How a schedule goes about things.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// Nobody crashes or pauses, the clocks are right, and no message is lost.
    Calm,
    /// The same, but for clocks that are an hour apart, and whoever waits takes over by the time that the holder wrote down: what
    /// waiting must not be.
    ByItsClock,
    /// Everything goes wrong.
    Wild,
    /// The same but for the clocks, and holders look whether they are still named before they write, and write then: what a lease must not be.
    ByName,
}

/// The clock of one process: that of the world, but that it may step ahead or back, or stand still.
#[derive(Clone)]
struct Own {
    world: Simulation,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    ahead: Duration,
    back: Duration,
    /// Where it stands still.
    still: Option<Instant>,
}

impl Own {
    fn new(world: &Simulation) -> Self {
        Self { world: world.clone(), kept: Arc::default() }
    }

    /// Goes wrong now and then, whatever is going on meanwhile, and is right in the end: whoever waits by a clock that stands
    /// still waits for ever.
    async fn go_wrong(&self) {
        // Who waits when its clock steps back looks again and again until it has caught up: an hour now and then will do.
        let back = if self.world.below(20) == 0 { HOUR } else { LASTS };
        for _ in 0..STEPS {
            self.world.sleep(Duration::from_millis(self.world.below(60_000))).await;
            let now = self.now();
            let mut kept = self.kept.lock();
            match self.world.below(4) {
                0 => kept.ahead += HOUR,
                1 => kept.back += back,
                2 => kept.still = Some(now),
                _ => kept.still = None,
            }
        }
        self.kept.lock().still = None;
    }
}

impl Timer for Own {
    fn now(&self) -> Instant {
        let kept = self.kept.lock();
        kept.still.unwrap_or_else(|| self.world.now() + kept.ahead - kept.back)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.world.sleep(duration)
    }
}

/// What a run knows.
#[derive(Debug, Default)]
struct Notes {
    /// The token that each acknowledged write was made under, by its version.
    written: BTreeMap<u64, u64>,
    holders: BTreeMap<u64, u64>,
    acquired: u64,
    refused: u64,
    failed: u64,
    taken_over: u64,
}

impl Notes {
    fn add(&mut self, other: &Self) {
        self.acquired += other.acquired;
        self.refused += other.refused;
        self.failed += other.failed;
        self.taken_over += other.taken_over;
        self.holders.extend(other.holders.keys().map(|token| (*token, 0)));
    }
}

#[derive(Clone)]
struct Parts {
    world: Simulation,
    mode: Mode,
    leases: Leases,
    /// What the holders write, each with the token of its lease.
    work: Collection<(u64, u64)>,
    clock: Own,
    /// When the holder lived last, by its own clock.
    lived: Arc<Mutex<Option<Instant>>>,
    notes: Arc<Mutex<Notes>>,
}

/// Runs one schedule. `Err` tells what was broken.
fn run(seed: u64, mode: Mode) -> Result<Notes, String> {
    let world = Simulation::new(seed);
    let retry = Retry::default().timer(world.clone()).random(world.randomness());
    let database = match mode {
        Mode::Calm | Mode::ByItsClock => Database::new(Memory::<[u8]>::new()),
        _ => Database::new(Simulated::new(&world, Memory::<[u8]>::new())),
    };
    let database = database.with_retry(retry);
    let notes = Arc::new(Mutex::new(Notes::default()));
    let work = database.collection("work").unwrap();
    let process = |clock: &Own| Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(clock.clone());
    let clock = Own::new(&world);
    let (shared, lived) = ((process(&clock), clock), Arc::default());
    for holder in 0..mode.holders() {
        // Half of them as in one process, the others as in processes of their own.
        let (leases, clock) = match holder % 2 {
            0 => shared.clone(),
            _ => {
                let clock = Own::new(&world);
                (process(&clock), clock)
            }
        };
        match mode {
            Mode::Calm | Mode::ByName => {}
            Mode::ByItsClock => clock.kept.lock().ahead = HOUR * u32::from(holder == 1),
            // Of the shared one too: it has one who lets it go wrong.
            Mode::Wild if holder % 2 == 0 && holder > 0 => {}
            Mode::Wild => {
                let clock = clock.clone();
                world.spawn(async move { clock.go_wrong().await });
            }
        }
        let parts = Parts {
            world: world.clone(),
            mode,
            leases,
            work: work.clone(),
            clock,
            lived: Arc::clone(&lived),
            notes: Arc::clone(&notes),
        };
        world.spawn(async move {
            for round in 0..ROUNDS {
                parts.hold(holder, round).await;
            }
        });
    }
    world.run();
    let ((trail, _), told) = (shared, Arc::clone(&notes));
    world.spawn(async move {
        let ended = loop {
            if let Ok(ended) = trail.trail("job", None, 1_000).await {
                break ended.items.len() as u64;
            }
        };
        told.lock().taken_over = ended;
    });
    world.run();
    drop(world);

    let notes = std::mem::take(&mut *notes.lock());
    let mut newest = 0;
    for (version, token) in &notes.written {
        if *token < newest {
            return Err(format!("a write under {token} was accepted at {version}, after one under {newest}"));
        }
        newest = *token;
    }
    let calm = matches!(mode, Mode::Calm | Mode::ByItsClock);
    if calm && (notes.acquired != mode.holders() * ROUNDS || notes.taken_over > 0 || notes.refused > 0) {
        return Err(format!("holders that lived were taken over, or somebody was forgotten: {notes:?}"));
    }
    Ok(notes)
}

impl Mode {
    fn holders(self) -> u64 {
        if self == Self::Calm { CALM_HOLDERS } else { HOLDERS }
    }
}

impl Parts {
    /// Waits until the holder has been silent for the time of a lease, by the time that it wrote down itself.
    async fn acquire_by_its_clock(&self, owner: &str) -> Result<Lease, Error> {
        loop {
            match self.leases.acquire("job", owner).await {
                Err(Error::Conflict(_)) => {}
                answer => return answer,
            }
            let lived = *self.lived.lock();
            if lived.is_some_and(|lived| self.clock.now().saturating_duration_since(lived) > LASTS) {
                // It may have ended by itself meanwhile.
                let _ = self.leases.force_release("job", Expected::Present, owner, "silent").await;
            }
            self.world.sleep(Duration::from_secs(1)).await;
        }
    }

    async fn hold(&self, holder: u64, round: u64) {
        self.world.sleep(Duration::from_secs(self.world.below(60))).await;
        let owner = format!("holder-{holder}");
        let at_once = match self.mode {
            Mode::Wild if self.world.below(4) == 0 => self.leases.acquire("job", &owner).await.ok(),
            _ => None,
        };
        let acquired = match (self.mode, at_once) {
            (_, Some(lease)) => Ok(lease),
            (Mode::ByItsClock, None) => self.acquire_by_its_clock(&owner).await,
            _ => self.leases.acquire_within("job", &owner, LONG).await,
        };
        let mut lease = match acquired {
            Ok(lease) => lease,
            Err(Error::Failed(_)) => return self.notes.lock().failed += 1,
            Err(error) => panic!("who waits this long gets it: {error}"),
        };
        let token = lease.token().to_bits().get();
        {
            let mut notes = self.notes.lock();
            notes.acquired += 1;
            assert!(notes.holders.insert(token, holder).is_none(), "two holders have one token");
        }
        if matches!(self.mode, Mode::Calm | Mode::ByItsClock) {
            // Longer than it lasts, again and again.
            let work = async {
                for number in 0..4 {
                    for _ in 0..9 {
                        *self.lived.lock() = Some(self.clock.now());
                        self.world.sleep(LASTS / 6).await;
                    }
                    self.write(&lease, &owner, round * 100 + number).await;
                }
                Ok::<_, Error>(())
            };
            let lived = lease.during(work).await.is_ok() && lease.release().await.is_ok();
            *self.lived.lock() = None;
            self.notes.lock().refused += u64::from(!lived);
            return;
        }
        for number in 0..4 {
            match self.world.below(13) {
                // Stopped, for longer than the lease lasts or not.
                0..3 => self.world.sleep(Duration::from_secs(self.world.below(90))).await,
                3 => drop(self.leases.force_release("job", Expected::Present, &owner, "by chance").await),
                4..8 => match lease.renew().await {
                    Ok(()) => {}
                    Err(Error::Conflict(_)) => self.notes.lock().refused += 1,
                    Err(_) => self.notes.lock().failed += 1,
                },
                8 => drop(self.leases.sweep("the sweeper").await),
                9 => match self.leases.resume("job", lease.token()).await {
                    Ok(resumed) => lease = resumed,
                    Err(Error::Conflict(_)) => self.notes.lock().refused += 1,
                    Err(_) => self.notes.lock().failed += 1,
                },
                10 => {
                    let work = async {
                        self.world.sleep(Duration::from_secs(self.world.below(90))).await;
                        self.write(&lease, &owner, round * 100 + number).await;
                        Ok::<_, Error>(())
                    };
                    let _ = lease.during(work).await;
                }
                _ => {}
            }
            self.write(&lease, &owner, round * 100 + number).await;
        }
        // The others crash.
        if self.world.below(2) == 0 {
            let _ = lease.release().await;
        }
    }

    async fn write(&self, lease: &Lease, owner: &str, number: u64) {
        let token = lease.token().to_bits().get();
        let answer = match self.mode {
            Mode::ByName => match self.leases.holder("job").await {
                Ok(Some(held)) if held.owner == owner => self.work.put("x", (token, number)).await,
                Ok(_) => return self.notes.lock().refused += 1,
                Err(error) => Err(error),
            },
            _ => self.work.under(lease).expect("it is of this database").put("x", (token, number)).await,
        };
        let mut notes = self.notes.lock();
        match answer {
            Ok(written) => drop(notes.written.insert(written.version.to_bits().get(), token)),
            Err(Error::Conflict(conflict)) => {
                let lost = matches!(conflict.kind(), Kind::State { rule, .. } if rule == "lease-lost");
                assert!(lost, "a blind put under a lease is refused by it alone: {conflict}");
                notes.refused += 1;
            }
            Err(Error::Failed(_)) => notes.failed += 1,
            Err(error) => panic!("a write under a lease: {error}"),
        }
    }
}

/// Runs schedules until one breaks something, which it gives.
fn broken(mode: Mode, schedules: u64) -> (Option<(u64, String)>, Notes) {
    let seeds = match env::var("IFMATCH_SEED") {
        Ok(seed) => vec![seed.parse().expect("IFMATCH_SEED is a number")],
        Err(_) => (0..schedules).collect::<Vec<u64>>(),
    };
    let (found, totals) = (Mutex::new(None), Mutex::new(Notes::default()));
    let threads = thread::available_parallelism().map_or(2, |threads| threads.get());
    thread::scope(|scope| {
        for thread in 0..threads {
            let (seeds, found, totals) = (&seeds, &found, &totals);
            scope.spawn(move || {
                for seed in seeds.iter().skip(thread).step_by(threads) {
                    match catch_unwind(AssertUnwindSafe(|| run(*seed, mode))) {
                        Ok(Ok(notes)) => totals.lock().add(&notes),
                        Ok(Err(broken)) => {
                            found.lock().get_or_insert((*seed, broken));
                        }
                        Err(panic) => {
                            println!("IFMATCH_SEED={seed} makes this run again, {mode:?}");
                            resume_unwind(panic);
                        }
                    }
                    if found.lock().is_some() {
                        return;
                    }
                }
            });
        }
    });
    (found.into_inner(), totals.into_inner())
}

#[test]
fn no_write_is_accepted_under_an_older_token_whatever_holders_and_clocks_do() {
    let (broken, totals) = broken(Mode::Wild, SCHEDULES);

    assert_eq!(broken, None, "IFMATCH_SEED makes it run again");
    println!(
        "{} acquired, {} refused, {} failed, {} taken over",
        totals.acquired, totals.refused, totals.failed, totals.taken_over
    );
    // It was wild enough to be worth it.
    assert!(totals.taken_over > SCHEDULES && totals.refused > SCHEDULES && totals.failed > SCHEDULES / 100);
}

#[test]
fn a_holder_that_lives_is_never_taken_over_and_nobody_is_forgotten() {
    let (broken, totals) = broken(Mode::Calm, SCHEDULES / 25);

    assert_eq!(broken, None, "IFMATCH_SEED makes it run again");
    assert_eq!(totals.acquired, SCHEDULES / 25 * CALM_HOLDERS * ROUNDS);
}

#[test]
fn a_takeover_that_trusts_the_clock_of_the_holder_is_caught() {
    let (broken, _) = broken(Mode::ByItsClock, 100);

    assert!(broken.is_some(), "the check finds nothing");
}

#[test]
fn a_lease_that_only_checks_the_name_is_caught() {
    let (broken, _) = broken(Mode::ByName, 1_000);

    assert!(broken.is_some(), "the check finds nothing");
}

#[test]
fn whoever_waits_too_short_a_time_hears_who_holds_it() {
    let world = Simulation::new(1);
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(world.clone());
    world.spawn(async move {
        let lease = leases.acquire("job", "ann").await.unwrap();

        let refused = leases.acquire_within("job", "bob", LASTS / 2).await.unwrap_err();

        let Error::Conflict(conflict) = refused else { panic!("{refused}") };
        assert!(matches!(conflict.kind(), Kind::Locked { holder, .. } if &**holder == "ann"));
        lease.renew().await.unwrap();
    });
    world.run();
}

#[test]
fn a_waiter_that_is_given_up_leaves_its_place() {
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap();
    let lease = leases.acquire("job", "ann").wait().unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..3 {
        let mut first = leases.acquire_within("job", "bob", LONG);
        let mut second = leases.acquire_within("job", "eve", LONG);
        assert!(std::pin::Pin::new(&mut first).poll(&mut context).is_pending());
        assert!(std::pin::Pin::new(&mut second).poll(&mut context).is_pending());
    }

    lease.release().wait().unwrap();

    let next = leases.acquire_within("job", "dan", LONG).wait().unwrap();
    assert_eq!(next.owner(), "dan");
}

#[test]
fn work_under_a_lease_that_is_lost_is_dropped() {
    struct Dropped(Arc<Mutex<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.0.lock() = true;
        }
    }
    let world = Simulation::new(1);
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(world.clone());
    let dropped = Arc::new(Mutex::new(false));
    let (told, clock) = (Arc::clone(&dropped), world.clone());
    world.spawn(async move {
        let lease = leases.acquire("job", "ann").await.unwrap();
        let work = async {
            let _held = Dropped(Arc::clone(&told));
            clock.sleep(LASTS * 2).await;
            leases.force_release("job", lease.token(), "bob", "it hangs").await?;
            clock.sleep(LONG).await;
            Ok::<_, Error>(())
        };

        let ended = lease.during(work).await.unwrap_err();

        assert!(matches!(ended.conflict().unwrap().kind(), Kind::State { rule, .. } if rule == "lease-lost"));
        assert!(*told.lock());
    });
    world.run();
    assert!(*dropped.lock());
}

#[test]
fn a_record_of_a_later_format_is_not_taken_over() {
    let world = Simulation::new(1);
    let store = Arc::new(Memory::<[u8]>::new());
    let database = Database::new(Arc::clone(&store));
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(world.clone());
    let raw = Collection::<serde_json::Value>::json(Arc::clone(&store));
    let later = serde_json::json!({"format": 2, "owner": "ann", "lasts": 1_000,
        "since": {"secs_since_epoch": 1, "nanos_since_epoch": 1}, "shared": true});
    raw.put("leases/job", later.clone()).wait().unwrap();
    world.spawn(async move {
        let refused = leases.acquire_within("job", "bob", LASTS * 100).await.unwrap_err();
        let Kind::Locked { holder, remaining, .. } = refused.conflict().unwrap().kind() else {
            panic!("{refused}")
        };
        // Not at once: however long it was silent, it is not over.
        assert_eq!((&**holder, *remaining), ("ann", Duration::from_secs(1)));
        assert_eq!(*raw.fetch("leases/job").await.unwrap().value, later);
        raw.delete("leases/job", Expected::Present).await.unwrap();
        leases.acquire("job", "bob").await.unwrap().release().await.unwrap();
    });
    world.run();
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_left_alone() {
    let world = Simulation::new(1);
    let store = Arc::new(Memory::<[u8]>::new());
    let database = Database::new(Arc::clone(&store));
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(world.clone());
    let articles = database.define::<String>("articles").unwrap().leased(&leases).open().unwrap();
    let raw = Collection::<serde_json::Value>::json(Arc::clone(&store));
    let later = raw.put("leases/job", serde_json::json!({"format": 7, "holders": ["ann"]})).wait().unwrap();
    world.spawn(async move {
        assert!(matches!(leases.acquire("job", "bob").await, Err(Error::Corrupt(_))));
        let waited = leases.acquire_within("job", "bob", LASTS * 3).await;
        assert!(matches!(waited, Err(Error::Corrupt(_))), "{waited:?}");
        let held = articles.put("job", "bob's".to_string()).await.unwrap_err();
        assert!(matches!(held.conflict().unwrap().kind(), Kind::Locked { .. }), "{held}");
        assert_eq!(raw.fetch("leases/job").await.unwrap().version, later.version);
    });
    world.run();
}

#[cfg(feature = "file")]
#[test]
fn a_database_with_leases_is_closed_with_its_last_handle() {
    let path = env::temp_dir().join(format!("ifmatch-leased-{}.ifmatch", std::process::id()));
    for _ in 0..2 {
        let database = Database::new(ifmatch::File::open(&path).unwrap());
        let leases = Leases::new(&database, "leases").unwrap();
        let articles = database.define::<String>("articles").unwrap().leased(&leases).open().unwrap();
        let lease = leases.acquire("a", "ann").wait().unwrap();
        articles.under(&lease).unwrap().put("a", "text".to_string()).wait().unwrap();
        lease.release().wait().unwrap();
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_a_step_adds_comes_under_the_lease_too() {
    use ifmatch::collection::{Along, Exit, Part, Step};
    use ifmatch::store::Action;

    /// Puts the title of each book among the articles.
    struct Titled(Collection<String>);
    impl Step<String> for Titled {
        fn enter(&self, part: &Part<'_, String>, along: &mut Along<'_>) -> Result<Exit, Error> {
            for entry in part.entries() {
                if let Action::Put(title) = &entry.action {
                    along.add(&self.0, ifmatch::Entry::put("a", Expected::Any, Arc::clone(title)))?;
                }
            }
            Ok(Exit::silent())
        }
    }
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap();
    let articles = database.define::<String>("articles").unwrap().leased(&leases).open().unwrap();
    let books = database.define::<String>("books").unwrap().step(Titled(articles.clone())).open().unwrap();
    let lease = leases.acquire("a", "ann").wait().unwrap();

    let refused = books.put("b", "one".to_string()).wait().unwrap_err();
    books.under(&lease).unwrap().put("b", "two".to_string()).wait().unwrap();

    let conflict = refused.conflict().unwrap();
    assert_eq!((conflict.id(), conflict.collection()), ("a", Some("articles")));
    assert_eq!(*articles.fetch("a").wait().unwrap().value, "two");
}

#[test]
fn a_dead_holder_costs_its_time_once_also_for_those_who_wait_behind_others() {
    let world = Simulation::new(1);
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(world.clone());
    let began = world.now();
    let dead = leases.acquire("job", "dead").wait().unwrap();
    let clock = world.clone();
    let (first, second) = (leases.clone(), leases);
    world.spawn(async move {
        clock.sleep(Duration::from_secs(1)).await;
        // As late as can be after somebody's look.
        dead.renew().await.unwrap();
    });
    world.spawn(async move { first.acquire_within("job", "short", LASTS * 9 / 10).await.unwrap_err() });
    let clock = world.clone();
    world.spawn(async move {
        clock.sleep(Duration::from_millis(1)).await;
        let _held = second.acquire_within("job", "long", LASTS * 2).await.unwrap();
        let waited = clock.now() - began;
        assert!(waited <= LASTS * 6 / 5, "it waited for {waited:?}");
    });
    world.run();
}

#[test]
fn a_large_commit_is_guarded_entry_by_entry() {
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap();
    let articles = database.define::<u64>("articles").unwrap().leased(&leases).open().unwrap();
    let put_all = |to: &Collection<u64>, more: u64| {
        let mut transaction = database.transaction();
        (0..40).for_each(|number| transaction.put(to, &number.to_string(), number + more));
        transaction.commit().wait()
    };
    put_all(&articles, 0).unwrap();
    let lease = leases.acquire("7", "ann").wait().unwrap();

    let refused = put_all(&articles, 1).unwrap_err();
    put_all(&articles.under(&lease).unwrap(), 2).unwrap();

    let conflict = refused.conflict().unwrap();
    assert_eq!((conflict.id(), conflict.mismatches().len()), ("7", 1));
    assert_eq!(*articles.fetch("39").wait().unwrap().value, 41);
}

/// A clock on which sleeping takes no time. The holder renews its lease just when it seems to have been silent for too long:
/// after the waiter has seen its heartbeat.
#[derive(Clone)]
struct Sly {
    start: Instant,
    kept: Arc<Mutex<(Duration, Option<Lease>)>>,
}

impl Timer for Sly {
    fn now(&self) -> Instant {
        let (elapsed, holder) = {
            let mut kept = self.kept.lock();
            let due = kept.0 >= LASTS;
            (kept.0, kept.1.take_if(|_| due))
        };
        if let Some(holder) = holder {
            holder.renew().wait().unwrap();
        }
        self.start + elapsed
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let kept = Arc::clone(&self.kept);
        Box::pin(async move { kept.lock().0 += duration })
    }
}

#[test]
fn a_renewal_at_the_last_moment_defeats_the_takeover() {
    let database = Database::in_memory();
    let leases = || Leases::new(&database, "leases").unwrap().lasting(LASTS);
    let holder = leases().acquire("job", "ann").wait().unwrap();
    let clock = Sly { start: Instant::now(), kept: Arc::new(Mutex::new((Duration::ZERO, Some(holder)))) };

    leases()
        .timer(clock.clone())
        .acquire_within("job", "bob", LASTS * 5)
        .wait()
        .unwrap()
        .release()
        .wait()
        .unwrap();

    let kept = clock.kept.lock();
    assert!(kept.1.is_none(), "it was not renewed");
    assert!(kept.0 >= LASTS * 2, "it was taken over after {:?}", kept.0);
}

#[test]
fn a_lease_is_resumed_by_its_token_and_by_no_other() -> Result<(), Error> {
    let office = Database::in_memory();
    let leases = Leases::new(&office, "leases")?.lasting(HOUR);
    let articles = office.define::<String>("articles")?.leased(&leases).open()?;
    let first = leases.acquire("a1", "ann").wait()?;
    leases.force_release("a1", first.token(), "carl", "she is away").wait()?;
    let second = leases.acquire("a1", "ann").wait()?;

    // The handle of another process, which lasts as long as was agreed on when it was acquired.
    let elsewhere = Leases::new(&office, "leases")?.lasting(LASTS);
    let resumed = elsewhere.resume("a1", second.token()).wait()?;
    let stale = elsewhere.resume("a1", first.token()).wait().unwrap_err();
    let never = elsewhere.resume("a2", first.token()).wait().unwrap_err();

    assert_eq!((resumed.owner(), resumed.token()), ("ann", second.token()));
    assert!(resumed.remaining() > LASTS);
    articles.under(&resumed)?.put("a1", "text".to_string()).wait()?;
    assert_eq!(
        stale.to_string(),
        "conflict on `a1` of `leases`: its lease `a1` of `leases` is lost, and `ann` holds it"
    );
    assert!(matches!(never.conflict().unwrap().kind(), Kind::State { rule, .. } if rule == "lease-lost"));
    Ok(())
}

/// The clock of a test, set forward by hand.
#[derive(Clone)]
struct ByHand(Arc<Mutex<Instant>>);

impl ByHand {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn pass(&self, time: Duration) {
        *self.0.lock() += time;
    }
}

impl Timer for ByHand {
    fn now(&self) -> Instant {
        *self.0.lock()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        self.pass(time);
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn who_acquires_at_once_again_and_again_gets_what_a_dead_holder_had() -> Result<(), Error> {
    let (office, clock) = (Database::in_memory(), ByHand::new());
    let leases = Leases::new(&office, "leases")?.lasting(LASTS).timer(clock.clone());
    let _dead = leases.acquire("a", "ann").wait()?;

    let first = leases.acquire("a", "bob").wait().unwrap_err();
    clock.pass(LASTS - Duration::from_secs(1));
    let second = leases.clone().acquire("a", "bob").wait().unwrap_err();
    clock.pass(Duration::from_secs(1));
    let third = leases.acquire("a", "bob").wait()?;

    let remaining = |error: &Error| match error.conflict().unwrap().kind() {
        Kind::Locked { remaining, .. } => *remaining,
        other => panic!("{other:?}"),
    };
    assert_eq!((remaining(&first), remaining(&second)), (LASTS, Duration::from_secs(1)));
    assert_eq!(third.owner(), "bob");
    assert_eq!(leases.trail("a", None, 9).wait()?.items.len(), 1);
    Ok(())
}

#[test]
fn a_refused_write_tells_what_those_have_seen_who_look() -> Result<(), Error> {
    let (office, clock) = (Database::in_memory(), ByHand::new());
    let leases = Leases::new(&office, "leases")?.lasting(LASTS).timer(clock.clone());
    let articles = office.define::<String>("articles")?.leased(&leases).open()?;
    let lease = leases.acquire("a", "ann").wait()?;
    let told = || match articles.put("a", "bob's".to_string()).wait().unwrap_err().conflict().unwrap().kind()
    {
        Kind::Locked { remaining, .. } => *remaining,
        other => panic!("{other:?}"),
    };

    assert_eq!(told(), LASTS);
    leases.sweep("the sweeper").wait()?;
    clock.pass(LASTS / 3);
    assert_eq!(told(), LASTS - LASTS / 3);
    leases.sweep("the sweeper").wait()?;
    clock.pass(LASTS / 3);
    assert_eq!(told(), LASTS / 3);
    // She may have been heard of since.
    clock.pass(Duration::from_secs(1));
    assert_eq!(told(), LASTS);
    lease.renew().wait()?;
    leases.sweep("the sweeper").wait()?;
    assert_eq!(told(), LASTS);
    Ok(())
}

#[test]
fn a_lease_is_ended_by_force_of_the_holder_that_was_seen_and_of_no_other() -> Result<(), Error> {
    let leases = Leases::new(&Database::in_memory(), "leases")?;
    let seen = leases.acquire("a", "ann").wait()?;
    seen.release().wait()?;
    let next = leases.acquire("a", "bob").wait()?;

    let refused = leases.force_release("a", seen.token(), "carl", "ann is away").wait().unwrap_err();

    assert_eq!(*refused.conflict().unwrap().kind(), Kind::Stale);
    next.renew().wait()?;
    assert!(leases.trail("a", None, 9).wait()?.items.is_empty());
    next.release().wait()?;
    for token in [Expected::Present, Expected::Version(next.token())] {
        let nobody = leases.force_release("a", token, "carl", "ann is away").wait();
        assert!(matches!(nobody, Err(Error::NotFound(missing)) if !missing.is_deleted()));
    }
    Ok(())
}

#[test]
fn an_owner_has_a_name_that_whoever_ends_the_lease_can_keep() -> Result<(), Error> {
    let leases = Leases::new(&Database::in_memory(), "leases")?;

    let refused = leases.acquire("a", &"x".repeat(513)).wait().unwrap_err();

    let told = "the change of `a` does not fit: the name of its owner is longer than 512 bytes";
    assert_eq!(refused.to_string(), told);
    assert!(leases.holder("a").wait()?.is_none());
    drop(leases.acquire("a", &"x".repeat(512)).wait()?);
    leases.force_release("a", Expected::Present, "ann", "it hangs").wait()
}

#[test]
fn who_renews_between_two_looks_is_not_taken_over_at_once() -> Result<(), Error> {
    let (office, clock) = (Database::in_memory(), ByHand::new());
    let leases = Leases::new(&office, "leases")?.lasting(LASTS).timer(clock.clone());
    let lease = leases.acquire("a", "ann").wait()?;

    for _ in 0..5 {
        assert!(leases.acquire("a", "bob").wait().is_err());
        assert_eq!(leases.sweep("sweeper").wait()?, 0);
        clock.pass(LASTS / 2);
        lease.renew().wait()?;
        clock.pass(LASTS / 2);
    }
    assert_eq!(leases.holder("a").wait()?.unwrap().owner, "ann");
    Ok(())
}

#[test]
fn a_sweep_ends_what_dead_holders_had_and_nothing_else() -> Result<(), Error> {
    let (office, clock) = (Database::in_memory(), ByHand::new());
    let leases = Leases::new(&office, "leases")?.lasting(LASTS).timer(clock.clone());
    let articles = office.define::<String>("articles")?.leased(&leases).open()?;
    let dead: Vec<_> =
        (0..250).map(|id| leases.acquire(&id.to_string(), "ann").wait()).collect::<Result<_, _>>()?;
    let lives = leases.acquire("lives", "bob").wait()?;

    assert_eq!(leases.sweep("sweeper").wait()?, 0);
    clock.pass(LASTS);
    lives.renew().wait()?;
    assert_eq!(leases.sweep("sweeper").wait()?, 250);
    assert_eq!(leases.sweep("sweeper").wait()?, 0);

    articles.create("7", "text".to_string()).wait()?;
    assert!(articles.create("lives", "text".to_string()).wait().is_err());
    assert!(dead[7].renew().wait().is_err());
    assert_eq!(leases.trail("7", None, 9).wait()?.items[0].1.by, "sweeper");
    assert_eq!(leases.list(None, 9).wait()?.items.len(), 1);
    Ok(())
}

#[test]
fn leases_of_another_database_are_refused_when_the_collection_is_opened() -> Result<(), Error> {
    let leases = Leases::new(&Database::in_memory(), "leases")?;

    let refused = Database::in_memory().define::<String>("articles")?.leased(&leases).open().unwrap_err();

    assert_eq!(refused.to_string(), "collection `leases` is one of another database");
    Ok(())
}

#[test]
fn a_record_that_cannot_be_read_keeps_no_sweep_from_what_comes_behind_it() {
    let (store, clock) = (Arc::new(Memory::<[u8]>::new()), ByHand::new());
    let database = Database::new(Arc::clone(&store));
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(clock.clone());
    let raw = Collection::<serde_json::Value>::json(store);
    raw.put("leases/b", serde_json::json!({"format": 7, "holders": ["ann"]})).wait().unwrap();
    for id in ["a", "c"] {
        drop(leases.acquire(id, "ann").wait().unwrap());
    }

    for _ in 0..2 {
        assert!(
            matches!(leases.sweep("sweeper").wait(), Err(Error::Corrupt(corrupt)) if corrupt.id() == "b")
        );
        clock.pass(LASTS);
    }

    assert_eq!(leases.holder("a").wait().unwrap(), None);
    assert_eq!(leases.holder("c").wait().unwrap(), None);
    assert!(raw.get("leases/b").wait().unwrap().is_some());
}

/// A clock that a test sets forward, and by which leases are swept whenever somebody waits.
#[derive(Clone)]
struct Sweeping {
    clock: ByHand,
    leases: Arc<OnceLock<Leases>>,
}

impl Timer for Sweeping {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep(&self, time: Duration) -> Sleep {
        let Self { clock, leases } = self.clone();
        Box::pin(async move {
            if let Some(leases) = leases.get() {
                leases.sweep("sweeper").await.unwrap();
            }
            clock.pass(time);
        })
    }
}

#[test]
fn more_leases_than_can_be_watched_keep_nobody_who_waits_from_counting() -> Result<(), Error> {
    let sweeping = Sweeping { clock: ByHand::new(), leases: Arc::default() };
    // Those that others hold last for longer than anybody waits.
    let office = Database::in_memory();
    let many = Leases::new(&office, "leases")?.lasting(HOUR).timer(sweeping.clone());
    for id in 0..16_400 {
        drop(many.acquire(&id.to_string(), "ann").wait()?);
    }
    let leases = many.clone().lasting(LASTS);
    let dead = leases.acquire("z", "ann").wait()?;
    sweeping.leases.set(many).unwrap();

    let lease = leases.acquire_within("z", "bob", LASTS * 3).wait()?;

    assert!(lease.token().to_bits() > dead.token().to_bits());
    Ok(())
}

#[test]
fn leases_that_are_over_keep_no_sweep_from_ending_others() -> Result<(), Error> {
    let (office, clock) = (Database::in_memory(), ByHand::new());
    let leases = Leases::new(&office, "leases")?.lasting(LASTS).timer(clock.clone());
    // Those of another process end where nobody is told here.
    let elsewhere = Leases::new(&office, "leases")?.lasting(LASTS);
    for id in 0..16_400 {
        let lease = elsewhere.acquire(&id.to_string(), "ann").wait()?;
        assert!(leases.acquire(lease.id(), "bob").wait().is_err());
        lease.release().wait()?;
    }
    clock.pass(LASTS);
    let _dead = elsewhere.acquire("z", "ann").wait()?;

    assert_eq!(leases.sweep("sweeper").wait()?, 0);
    clock.pass(LASTS);
    assert_eq!(leases.sweep("sweeper").wait()?, 1);
    Ok(())
}

/// What `work` gives, which must not take for ever.
fn in_time<A: Send + 'static>(work: impl FnOnce() -> A + Send + 'static) -> A {
    let (give, given) = std::sync::mpsc::channel();
    thread::spawn(move || give.send(work()));
    given.recv_timeout(Duration::from_secs(60)).expect("it never comes to an end")
}

#[test]
fn a_takeover_that_a_rule_refuses_is_told() -> Result<(), Error> {
    let office = Database::in_memory();
    let by_admins =
        |_: Option<&Ended>, new: Option<&Ended>| new.is_none_or(|ended| ended.by.starts_with("admin:"));
    let _trail = office.define::<Ended>("leases.trail")?.rule("admins", "admins only", by_admins).open()?;
    let leases = Leases::new(&office, "leases")?.lasting(Duration::from_millis(20));
    let _dead = leases.acquire("a", "ann").wait()?;

    let waits = leases.clone();
    let waited = in_time(move || waits.acquire_within("a", "bob", HOUR).wait().map(drop));
    let (at_once, swept) =
        (leases.acquire("a", "bob").wait().map(drop), leases.sweep("bob").wait().map(drop));

    for refused in [waited, at_once, swept] {
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused.conflict().unwrap().kind(), Kind::State { rule, .. } if rule == "admins"),
            "{refused}"
        );
    }
    assert_eq!(leases.sweep("admin:eve").wait()?, 1);
    Ok(())
}

/// A clock by which somebody else acquires a lease whenever it is looked at, and releases it whenever somebody waits.
#[derive(Clone)]
struct Rival {
    leases: Leases,
    lease: Arc<Mutex<Option<Lease>>>,
}

impl Timer for Rival {
    fn now(&self) -> Instant {
        self.lease.lock().get_or_insert_with(|| self.leases.acquire("a", "ann").wait().unwrap());
        Instant::now()
    }

    fn sleep(&self, _: Duration) -> Sleep {
        if let Some(lease) = self.lease.lock().take() {
            lease.release().wait().unwrap();
        }
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn who_is_outrun_again_and_again_is_told_so_in_the_end() -> Result<(), Error> {
    let office = Database::in_memory();
    let rival = Rival { leases: Leases::new(&office, "leases")?, lease: Arc::default() };
    let leases = Leases::new(&office, "leases")?.timer(rival);

    let outrun = in_time(move || leases.acquire("a", "bob").wait().unwrap_err());

    assert!(outrun.conflict().unwrap().is_exhausted(), "{outrun}");
    Ok(())
}

#[test]
fn a_record_that_cannot_be_read_is_ended_by_force() -> Result<(), Error> {
    let store = Arc::new(Memory::<[u8]>::new());
    let office = Database::new(Arc::clone(&store));
    let leases = Leases::new(&office, "leases")?;
    let articles = office.define::<String>("articles")?.leased(&leases).open()?;
    Collection::<serde_json::Value>::json(store).put("leases/a", serde_json::json!("damaged")).wait()?;
    assert!(articles.put("a", "text".to_string()).wait().is_err());

    leases.force_release("a", Expected::Present, "ann", "it is damaged").wait()?;

    articles.put("a", "text".to_string()).wait()?;
    let ended = leases.trail("a", None, 9).wait()?.items.remove(0).1;
    assert_eq!((&*ended.from, &*ended.by, &*ended.reason), ("somebody", "ann", "it is damaged"));
    Ok(())
}

#[test]
fn one_who_waits_and_is_not_polled_holds_up_nobody_for_long() {
    let world = Simulation::new(1);
    let leases = Leases::new(&Database::in_memory(), "leases").unwrap().lasting(LASTS).timer(world.clone());
    let clock = world.clone();
    let done = Arc::new(Mutex::new(false));
    let told = Arc::clone(&done);
    world.spawn(async move {
        let lease = leases.acquire("job", "ann").await.unwrap();
        let mut stuck = leases.acquire_within("job", "bob", HOUR);
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut stuck).poll(context).is_pending())
        });
        assert!(polled.await);
        lease.release().await.unwrap();
        let begun = clock.now();

        let lease = leases.acquire_within("job", "cy", HOUR).await.unwrap();

        let waited = clock.now() - begun;
        assert!(waited <= LASTS, "{waited:?}");
        lease.release().await.unwrap();
        *told.lock() = true;
    });
    world.run();
    assert!(*done.lock());
}

#[test]
fn a_lease_that_is_held_for_long_is_served_in_the_order_in_which_they_came() {
    let world = Simulation::new(1);
    let leases = Leases::new(&Database::in_memory(), "leases").unwrap().lasting(LASTS).timer(world.clone());
    let served = Arc::new(Mutex::new(Vec::new()));
    let held = leases.acquire("job", "ann").wait().unwrap();
    for waiter in 0..5 {
        let (leases, world, served) = (leases.clone(), world.clone(), Arc::clone(&served));
        world.clone().spawn(async move {
            world.sleep(Duration::from_secs(waiter)).await;
            let lease = leases.acquire_within("job", &waiter.to_string(), HOUR).await.unwrap();
            served.lock().push(waiter);
            lease.release().await.unwrap();
        });
    }
    let clock = world.clone();
    world.spawn(async move {
        for _ in 0..30 {
            clock.sleep(LASTS / 2).await;
            held.renew().await.unwrap();
        }
        held.release().await.unwrap();
    });
    world.run();

    assert_eq!(*served.lock(), [0, 1, 2, 3, 4]);
}

#[test]
fn whoever_ends_a_lease_that_is_over_is_told_of_the_lease_alone() -> Result<(), Error> {
    let office = Database::in_memory();
    let by_admins =
        |_: Option<&Ended>, new: Option<&Ended>| new.is_none_or(|ended| ended.by.starts_with("admin:"));
    let _trail = office.define::<Ended>("leases.trail")?.rule("admins", "admins only", by_admins).open()?;
    let leases = Leases::new(&office, "leases")?;
    let lease = leases.acquire("a", "ann").wait()?;

    let refused = leases.force_release("a", lease.token(), "bob", "no admin").wait().unwrap_err();
    assert!(
        matches!(refused.conflict().unwrap().kind(), Kind::State { rule, .. } if rule == "admins"),
        "{refused}"
    );
    leases.force_release("a", lease.token(), "admin:eve", "it hangs").wait()?;

    for lost in [lease.renew().wait(), lease.release().wait()] {
        assert_eq!(
            lost.unwrap_err().to_string(),
            "conflict on `a` of `leases`: its lease `a` of `leases` is lost"
        );
    }
    Ok(())
}

#[test]
fn who_changes_nothing_writes_nothing_past_a_lease_or_a_history() -> Result<(), Error> {
    use ifmatch::history::History;
    use ifmatch::{Json, Schema};

    let store = Arc::new(Memory::<[u8]>::new());
    let old = Schema::new(1, Json, |_, _| Err("there was none before".into()));
    Database::new(Arc::clone(&store)).define::<u64>("notes")?.open_with(old)?.put("a", 7).wait()?;
    let database = Database::new(store);
    let (leases, history) = (Leases::new(&database, "leases")?, History::new(&database, "notes-history")?);
    let new = Schema::new(2, Json, |_, bytes: &[u8]| Ok(serde_json::from_slice(bytes)?));
    let notes = database.define::<u64>("notes")?.leased(&leases).recorded(&history).open_with(new)?;
    let lease = leases.acquire("a", "ann").wait()?;
    let anns = notes.under(&lease)?;
    let seen = anns.fetch("a").wait()?;

    let same = [
        notes.modify("a", |_| ()).wait()?,
        notes.edit("a").wait()?.commit().wait()?,
        anns.modify("a", |_| ()).wait()?,
    ];

    for now in same {
        assert_eq!((now.version, *now.value), (seen.version, 7), "nobody has written");
    }
    let mine = anns.replace("a", seen.version, 8).wait()?;
    assert_eq!(*mine.value, 8);
    Ok(())
}

#[test]
fn a_step_can_add_no_write_through_a_handle_whose_lease_would_be_lost_on_the_way() {
    use ifmatch::collection::{Along, Exit, Part, Step};
    use ifmatch::store::{Action, Entry, Refusal};

    /// Reports each job, through a handle under a lease.
    struct Reported {
        reports: Collection<u64>,
        how: fn(&mut Along<'_>, &Collection<u64>, u64) -> Result<(), Error>,
    }
    impl Step<u64> for Reported {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            for entry in part.entries() {
                if let Action::Put(value) = &entry.action {
                    (self.how)(along, &self.reports, **value)?;
                }
            }
            Ok(Exit::silent())
        }
    }
    let database = Database::in_memory();
    let leases = Leases::new(&database, "leases").unwrap();
    let reports = database.collection::<u64>("reports").unwrap();
    let lease = leases.acquire("nightly", "ann").wait().unwrap();
    let step = |how| Reported { reports: reports.under(&lease).unwrap(), how };
    let put = step(|along, to, value| along.add(to, Entry::put("x", Expected::Any, value.into())));
    let delete = step(|along, to, _| along.add(to, Entry::delete("x", Expected::Any)));
    let change = step(|along, to, value| along.modify(to, "x", move |_| value));
    let check = step(|along, to, _| along.add(to, Entry::check("x", Expected::Absent)));

    for (name, step) in [("put", put), ("delete", delete), ("change", change)] {
        let jobs = database.define::<u64>(name).unwrap().step(step).open().unwrap();
        let refused = jobs.put("j", 1).wait().unwrap_err();

        let Error::Refused(Refusal::Collection { name, problem }) = &refused else { panic!("{refused}") };
        assert!(&**name == "reports" && problem.contains("lease"), "{refused}");
        assert_eq!(jobs.get("j").wait().unwrap(), None);
    }
    let jobs = database.define::<u64>("check").unwrap().step(check).open().unwrap();
    jobs.put("j", 1).wait().unwrap();
    assert_eq!(reports.get("x").wait().unwrap(), None);
}

/// A store that takes its time for each answer, and fails in passing now and then.
struct Slow {
    world: Simulation,
    memory: Memory<[u8]>,
    takes: Duration,
    /// Each commit of so many is not applied, and says so.
    fails: u64,
    commits: AtomicU64,
}

impl Store<[u8]> for Slow {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.memory.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        Reply::pending(async move {
            let number = self.commits.fetch_add(1, Ordering::Relaxed);
            let answer = match number % self.fails {
                1 => Err(Failure::new(Outcome::NotApplied, "a connection broke").into()),
                _ => self.memory.commit(commit).await,
            };
            self.world.sleep(self.takes).await;
            answer
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.memory.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.memory.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.memory.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.memory.abilities()
    }
}

/// How work of ten leases' time ends over a store that is this slow, and fails as often as this.
fn worked(takes: Duration, fails: u64) -> Result<(), Error> {
    let world = Simulation::new(1);
    let store =
        Slow { world: world.clone(), memory: Memory::new(), takes, fails, commits: AtomicU64::new(0) };
    let retry = Retry::default().timer(world.clone()).random(world.randomness()).deadline(LONG);
    let database = Database::new(store).with_retry(retry.attempts(1));
    let leases = Leases::new(&database, "leases").unwrap().lasting(LASTS).timer(world.clone());
    let ended = Arc::new(Mutex::new(None));
    let (told, clock) = (Arc::clone(&ended), world.clone());
    world.spawn(async move {
        let lease = leases.acquire("job", "ann").await.unwrap();
        let work = async {
            clock.sleep(LASTS * 10).await;
            Ok::<_, Error>(())
        };
        *told.lock() = Some(lease.during(work).await);
    });
    world.run();
    let ended = ended.lock().take();
    ended.expect("it ends")
}

#[test]
fn a_lease_is_kept_over_a_store_that_is_slow_or_fails_in_passing() {
    for (takes, fails) in [(1, u64::MAX), (7, u64::MAX), (1, 2), (1, 3), (3, 4)] {
        let worked = worked(Duration::from_secs(takes), fails);

        assert!(worked.is_ok(), "answers after {takes} s, one of {fails} fails: {worked:?}");
    }
}

/// A clock that stands still, and sleeps as the world does.
#[derive(Clone)]
struct Still(Simulation, Instant);

impl Timer for Still {
    fn now(&self) -> Instant {
        self.1
    }

    fn sleep(&self, time: Duration) -> Sleep {
        self.0.sleep(time)
    }
}

#[test]
fn a_lease_is_kept_and_its_loss_told_by_a_clock_that_stands_still() {
    let world = Simulation::new(1);
    let office = Database::in_memory();
    let leases = Leases::new(&office, "leases").unwrap().lasting(LASTS).timer(world.clone());
    let (still, clock) = (Still(world.clone(), world.now()), world.clone());
    let own = Leases::new(&office, "leases").unwrap().lasting(LASTS).timer(still);
    world.spawn(async move {
        let lease = own.acquire("job", "ann").await.unwrap();
        let waits = async {
            let refused = leases.acquire_within("job", "bob", LASTS * 10).await.unwrap_err();
            assert!(matches!(refused.conflict().unwrap().kind(), Kind::Locked { .. }), "{refused}");
            leases.force_release("job", lease.token(), "bob", "it hangs").await?;
            clock.sleep(LONG).await;
            Ok::<_, Error>(())
        };

        let ended = lease.during(waits).await.unwrap_err();

        assert!(matches!(ended.conflict().unwrap().kind(), Kind::State { rule, .. } if rule == "lease-lost"));
    });
    world.run();
}

#[test]
fn a_lease_that_cannot_be_renewed_in_time_is_over() {
    let ended = worked(LASTS, u64::MAX).unwrap_err();

    let conflict = ended.conflict().unwrap();
    assert!(matches!(conflict.kind(), Kind::State { rule, .. } if rule == "lease-lost"), "{conflict}");
}

/// The clock of one who was stopped.
#[derive(Clone)]
struct Stopped(Instant);

impl Timer for Stopped {
    fn now(&self) -> Instant {
        self.0
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_stopped_holder_writes_nothing_more_to_a_file() {
    const SHORT: Duration = Duration::from_millis(20);
    let directory = Directory::new();
    let database = Database::new(directory.open());
    let work = database.collection::<u64>("work").unwrap();
    let others = Leases::new(&database, "leases").unwrap().lasting(SHORT);
    for round in 1..=100 {
        let stopped = Leases::new(&database, "leases").unwrap().lasting(SHORT).timer(Stopped(Instant::now()));
        let lease = stopped.acquire("job", "ann").wait().unwrap();
        let late = work.under(&lease).unwrap();
        late.put("x", 0).wait().unwrap();

        let next = others.acquire_within("job", "bob", LONG).wait().unwrap();
        work.under(&next).unwrap().put("x", round).wait().unwrap();

        // By its own clock it has all of its time.
        assert_eq!(lease.remaining(), SHORT);
        let refused = late.put("x", 0).wait().unwrap_err();
        let now = "conflict on `x` of `work`: its lease `job` of `leases` is lost, and `bob` holds it";
        assert_eq!(refused.to_string(), now);
        next.release().wait().unwrap();
        let refused = late.put("x", 0).wait().unwrap_err();
        let kind = refused.conflict().unwrap().kind();
        assert!(matches!(kind, Kind::State { rule, .. } if rule == "lease-lost"), "{refused}");
        assert_eq!(*work.fetch("x").wait().unwrap().value, round);
    }
}
