//! Rules among writers that race: no two values that follow one another break one.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Instant;

use ifmatch::collection::{Along, Exit, Part, Step};
use ifmatch::layer::{Ending, Event};
use ifmatch::store::{
    Abilities, Action, Changes, Committed, Listed, Page, Refusal, Resolution, Scan, WriteId,
};
use ifmatch::{
    Collection, Commit, Conflict, Database, Entry, Error, Expected, File, Kind, Memory, Observed, Reply,
    Retry, Start, Store, Version, Versioned,
};

/// How many threads write, and how often each.
const THREADS: u64 = 8;
const EACH: u64 = 25_000;

/// Even and odd alternate, and what is deleted was odd.
fn allows(old: Option<&u64>, new: Option<&u64>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old % 2 != new % 2,
        (Some(old), None) => old % 2 == 1,
        (None, _) => true,
    }
}

/// What was written under each version of one id; `None` for a deletion.
type Log = Arc<Mutex<BTreeMap<u64, Option<u64>>>>;

/// Writes in every way from many threads, and gives what was accepted, and how many were refused.
fn race(numbers: &Collection<u64>, database: &Database, threads: u64, each: u64) -> (Log, u64) {
    let log = Log::default();
    let refused: u64 = thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let log = Arc::clone(&log);
                    move || {
                        (0..each).filter(|round| !write(numbers, database, &log, thread, *round)).count()
                            as u64
                    }
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    (log, refused)
}

/// Whether it was accepted.
fn write(numbers: &Collection<u64>, database: &Database, log: &Log, thread: u64, round: u64) -> bool {
    let number = thread * EACH + round;
    let note = |committed: &Committed, value: Option<u64>| {
        if let Some(version) = committed.receipts()[0].version {
            log.lock().unwrap().insert(version.to_bits().get(), value);
        }
    };
    let blind = |entry| numbers.commit(Commit::one(entry)).wait();
    let answer = match thread % 4 {
        0 | 3 if round.is_multiple_of(5) => {
            blind(Entry::delete("hot", Expected::Any)).map(|committed| note(&committed, None))
        }
        0 => blind(Entry::put("hot", Expected::Any, Arc::new(number)))
            .map(|committed| note(&committed, Some(number))),
        1 => numbers.modify_or_create("hot", || 0, |now| *now += 1).wait().map(|now| {
            log.lock().unwrap().insert(now.version.to_bits().get(), Some(*now.value));
        }),
        2 => {
            let mut transaction = database.transaction();
            transaction.put(numbers, "hot", number);
            transaction.put(numbers, &format!("cold-{thread}"), number);
            match transaction.commit().wait() {
                Ok(committed) => {
                    note(&committed, Some(number));
                    Ok(())
                }
                Err(error) => Err(error),
            }
        }
        _ => match numbers.get("hot").wait() {
            Ok(Some(now)) => {
                let put = Entry::put("hot", now.version, Arc::new(number));
                blind(put).map(|committed| note(&committed, Some(number)))
            }
            other => other.map(drop),
        },
    };
    match answer {
        Ok(()) => true,
        Err(Error::Conflict(conflict)) => {
            let expected = match conflict.kind() {
                Kind::State { rule, .. } => rule == "alternates",
                // Of those alone that said what they expect.
                _ => thread % 4 == 3,
            };
            assert!(expected, "{conflict}");
            // A refusal speaks of what stands, not of what was on its way.
            assert!(conflict.found().is_none_or(|found| found.to_bits().get() < 1 << 63), "{conflict}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// The first two values that follow one another and break the rule.
fn broken(log: &Log) -> Option<[Option<u64>; 2]> {
    let values: Vec<Option<u64>> = log.lock().unwrap().values().copied().collect();
    let pairs = values.windows(2).map(|pair| [pair[0], pair[1]]);
    pairs.into_iter().find(|[old, new]| !allows(old.as_ref(), new.as_ref()))
}

/// Retries that nobody wears out.
fn patient(database: Database) -> Database {
    database.with_retry(Retry::default().attempts(u32::MAX).deadline(std::time::Duration::from_secs(600)))
}

#[test]
fn no_write_slips_by_a_rule() {
    let database = patient(Database::in_memory());
    let numbers = database.define::<u64>("numbers").unwrap();
    let numbers = numbers.rule("alternates", "even and odd alternate", allows);
    let numbers = numbers.open().unwrap();

    let (log, refused) = race(&numbers, &database, THREADS, EACH);

    assert_eq!(broken(&log), None);
    let accepted = log.lock().unwrap().len() as u64;
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > EACH / 2 && refused > EACH / 2, "{accepted} accepted, {refused} refused");
}

/// What a rule must not be: it decides on what stands there when it looks.
struct OnceTrue(Mutex<Option<Collection<u64>>>);

impl Step<u64> for OnceTrue {
    fn enter(&self, part: &Part<'_, u64>, _: &mut Along<'_>) -> Result<Exit, Error> {
        let Some(numbers) = self.0.lock().unwrap().clone() else { return Ok(Exit::silent()) };
        for entry in part.entries() {
            let new = match &entry.action {
                Action::Put(new) => Some(**new),
                Action::Delete => None,
                Action::Check => continue,
            };
            let old = numbers.get(entry.id).wait()?.map(|old| *old.value);
            thread::yield_now();
            if !allows(old.as_ref(), new.as_ref()) && (old, new) != (None, None) {
                return Err(Conflict::state(entry.id, "alternates", "even and odd alternate").into());
            }
        }
        Ok(Exit::silent())
    }
}

#[test]
fn a_rule_that_is_decided_on_a_stale_value_is_caught() {
    let database = patient(Database::in_memory());
    let looked = Database::clone(&database);
    let step = Arc::new(OnceTrue(Mutex::default()));
    let numbers = database.define::<u64>("numbers").unwrap().step(Shared(Arc::clone(&step))).open().unwrap();
    *step.0.lock().unwrap() = Some(numbers.clone());

    let (log, _) = race(&numbers, &looked, THREADS, EACH);

    assert!(broken(&log).is_some(), "the check finds nothing");
    // It holds its own collection.
    step.0.lock().unwrap().take();
}

struct Shared(Arc<OnceTrue>);

impl Step<u64> for Shared {
    fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
        self.0.enter(part, along)
    }
}

/// A counter that never goes down.
fn growing(database: &Database) -> Collection<u64> {
    let grows =
        |old: Option<&u64>, new: Option<&u64>| old.is_none_or(|old| new.is_some_and(|new| new >= old));
    database.define::<u64>("growing").unwrap().rule("grows", "it never goes down", grows).open().unwrap()
}

#[test]
fn a_change_that_lost_a_race_is_computed_anew_before_the_rule_speaks() {
    let database = patient(Database::in_memory());
    let counters = growing(&database);
    counters.put("a", 5).wait().unwrap();
    counters.put("b", 5).wait().unwrap();
    let mut runs = 0;

    let changed = counters.modify("a", |count| {
        runs += 1;
        if runs == 1 {
            counters.put("a", 10).wait().unwrap();
        }
        *count += 1;
    });
    assert_eq!(*changed.wait().unwrap().value, 11);

    let runs = Mutex::new(0);
    let worked = database.transact(async |mut tx| {
        let count = *tx.fetch(&counters, "b").await?;
        let first = {
            let mut runs = runs.lock().unwrap();
            *runs += 1;
            *runs == 1
        };
        if first {
            counters.put("b", 10).await?;
        }
        tx.put(&counters, "b", count + 1);
        Ok::<_, Error>((tx, count + 1))
    });
    assert_eq!(worked.wait().unwrap(), 11);
}

#[test]
fn a_verdict_on_a_value_that_is_gone_reaches_nobody() {
    let database = patient(Database::in_memory());
    let outrun: Arc<Mutex<Option<Collection<u64>>>> = Arc::default();
    let taken = Arc::clone(&outrun);
    // Somebody else writes while it is decided.
    let small = move |_: Option<&u64>, new: Option<&u64>| {
        let outrun = taken.lock().unwrap().take();
        if let Some(numbers) = outrun {
            numbers.put("a", 8).wait().unwrap();
        }
        new.is_none_or(|new| *new < 10)
    };
    let numbers = database.define::<u64>("numbers").unwrap().layer(ifmatch::Cached::new);
    let numbers = numbers.rule("small", "it is below 10", small).open().unwrap();
    let first = numbers.put("a", 7).wait().unwrap();
    numbers.put("a", 7).wait().unwrap();

    for stale in [false, true] {
        *outrun.lock().unwrap() = Some(numbers.clone());
        let late = if stale { numbers.replace("a", first.version, 11) } else { numbers.put("a", 11) };

        let Err(Error::Conflict(conflict)) = late.wait() else { panic!("it is 11") };

        assert!(
            conflict.mismatches().iter().all(|one| *one.current::<u64>().unwrap().value == 8),
            "{conflict}"
        );
        assert_eq!(conflict.mismatches().len(), 1 + usize::from(stale));
        assert_eq!(*numbers.fetch("a").wait().unwrap().value, 8, "the cache has what was decided on");
        numbers.put("a", 7).wait().unwrap();
    }
}

/// Writes each number into another collection too.
struct Copied(Collection<u64>);

impl Step<u64> for Copied {
    fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
        for entry in part.entries() {
            if let Action::Put(number) = &entry.action {
                along.add(&self.0, Entry::put("sum", Expected::Any, Arc::clone(number)))?;
            }
        }
        Ok(Exit::silent())
    }
}

#[test]
fn what_was_read_and_is_decided_on_beside_may_race_and_is_run_again() {
    let database = patient(Database::in_memory());
    let counters = growing(&database);
    let copied = database.define::<u64>("copied").unwrap().step(Copied(counters.clone())).open().unwrap();
    counters.put("sum", 1).wait().unwrap();
    let runs = Mutex::new(0);

    let worked = database.transact(async |mut tx| {
        let sum = *tx.fetch(&counters, "sum").await?;
        let first = {
            let mut runs = runs.lock().unwrap();
            *runs += 1;
            *runs == 1
        };
        if first {
            counters.put("sum", 10).await?;
        }
        tx.put(&copied, "c", sum + 1);
        Ok::<_, Error>((tx, ()))
    });

    worked.wait().unwrap();
    assert_eq!(*counters.fetch("sum").wait().unwrap().value, 11);
}

#[test]
fn an_unchanged_value_in_an_old_schema_is_left_as_it_is_under_a_step_and_a_put_renews_it() {
    use ifmatch::{Guarded, Json, Schema};

    let store = Arc::new(Memory::<[u8]>::new());
    let old = Schema::new(1, Json, |_, _| Err("there was none before".into()));
    let first = Database::new(Arc::clone(&store)).define::<u64>("numbers").unwrap().open_with(old).unwrap();
    let before = first.put("a", 7).wait().unwrap();
    let new = Schema::new(2, Json, |_, bytes: &[u8]| Ok(serde_json::from_slice(bytes)?));
    let numbers =
        Database::new(store).define::<u64>("numbers").unwrap().layer(Guarded::new).open_with(new).unwrap();

    let same = numbers.modify("a", |_| ()).wait().unwrap();

    assert_eq!(
        (same.version, *same.value),
        (before.version, 7),
        "a step sees a check, and lets no write pass"
    );
    assert_eq!(numbers.fetch("a").wait().unwrap(), same);
    assert_eq!(first.fetch("a").wait().unwrap().version, before.version);

    // A put of what was read is a write, and passes: its reader of before finds it newer.
    numbers.replace("a", same.version, *same.value).wait().unwrap();
    assert!(matches!(first.fetch("a").wait(), Err(Error::Corrupt(_))));
}

#[test]
fn no_write_slips_by_a_rule_that_is_decided_on_what_is_on_its_way() {
    let directory = tempdir("ahead");
    let database = patient(Database::new(File::open(directory.join("ruled.ifmatch")).unwrap()));
    let numbers = database.define::<u64>("numbers").unwrap();
    let numbers = numbers.rule("alternates", "even and odd alternate", allows).open().unwrap();
    // Its transactions stand in other lines, and so come in between.
    let outside = patient(database.clone());

    let (log, refused) = race(&numbers, &outside, 4 * THREADS, 60);

    assert_eq!(broken(&log), None);
    let accepted = log.lock().unwrap().len() as u64;
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
    let last = log.lock().unwrap().last_key_value().map(|(version, value)| (*version, *value)).unwrap();
    let now = numbers.get("hot").wait().unwrap();
    assert_eq!(now.as_ref().map(|now| *now.value), last.1, "what was accepted last stands");
    if let Some(now) = now {
        assert_eq!(now.version.to_bits().get(), last.0);
    }
    drop((numbers, outside, database));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn blind_puts_that_were_decided_ahead_have_receipts_that_link_into_one_chain() {
    let directory = tempdir("chain");
    let database = patient(Database::new(File::open(directory.join("ruled.ifmatch")).unwrap()));
    let numbers = database.define::<u64>("numbers").unwrap();
    let numbers = numbers.rule("any", "anything goes", |_, _| true).open().unwrap();
    let receipts = Mutex::new(BTreeMap::new());

    thread::scope(|scope| {
        for thread in 0..64_u64 {
            let (numbers, receipts) = (&numbers, &receipts);
            scope.spawn(move || {
                for round in 0..8 {
                    let put = Entry::put("hot", Expected::Any, Arc::new(thread * 8 + round));
                    let committed = numbers.commit(Commit::one(put)).wait().unwrap();
                    let receipt = committed.receipts()[0];
                    receipts.lock().unwrap().insert(receipt.version.unwrap().to_bits(), receipt.replaced);
                }
            });
        }
    });

    let receipts = receipts.into_inner().unwrap();
    assert_eq!(receipts.len(), 64 * 8, "each has a version of its own");
    let mut before = None;
    for (version, replaced) in receipts {
        assert_eq!(replaced.map(|version| version.to_bits()), before);
        before = Some(version);
    }
    drop((numbers, database));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_thousand_blind_puts_under_a_rule_all_succeed() {
    let directory = tempdir("thousand");
    let database = Database::new(File::open(directory.join("ruled.ifmatch")).unwrap());
    let plain = database.collection::<u64>("plain").unwrap();
    let ruled = database.define::<u64>("ruled").unwrap();
    let ruled = ruled.rule("any", "anything goes", |_, _| true).open().unwrap();

    let took = [&plain, &ruled].map(|to| {
        let began = Instant::now();
        thread::scope(|scope| {
            for thread in 0..200_u64 {
                scope.spawn(move || {
                    for round in 0..5 {
                        to.put("hot", thread * 5 + round).wait().expect("a blind put that the rule allows");
                    }
                });
            }
        });
        began.elapsed()
    });

    println!("one id, without a rule {:?}, under one {:?}", took[0], took[1]);
    drop((plain, ruled, database));
    std::fs::remove_dir_all(directory).unwrap();
}

fn tempdir(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("ifmatch-rules-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// A store that says these errors before it applies anything.
struct Saying(Memory<[u8]>, Mutex<Vec<Error>>);

impl Store<[u8]> for Saying {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.0.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        match self.1.lock().unwrap().pop() {
            Some(error) => Reply::ready(Err(error)),
            None => self.0.commit(commit),
        }
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.0.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.0.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.0.watch(from)
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.0.abilities();
        abilities.may_lose_answers = true;
        abilities
    }
}

#[test]
fn what_the_store_below_refuses_is_no_lost_race() {
    let closed = Conflict::state("growing/a", "maintenance", "the store is read-only").into();
    let database = Database::new(Saying(Memory::new(), Mutex::new(vec![closed])));
    let counters = growing(&database);

    let refused = counters.put("a", 1).wait();

    let Err(Error::Conflict(conflict)) = refused else { panic!("{refused:?}") };
    assert_eq!((conflict.id(), conflict.collection()), ("a", Some("growing")));
    assert!(matches!(conflict.kind(), Kind::State { rule, .. } if rule == "maintenance"), "{conflict}");
}

#[test]
fn a_blind_put_under_an_id_that_was_closed_is_sent_under_another() {
    let closed = Refusal::Closed { write: WriteId::after(None) }.into();
    let counters = growing(&Database::new(Saying(Memory::new(), Mutex::new(vec![closed]))));

    counters.put("a", 1).wait().unwrap();
}

/// Asked once: whether there is an answer already.
fn is_ready<F: Future>(call: Pin<&mut F>) -> bool {
    call.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn no_version_that_a_client_sends_is_that_of_what_is_on_its_way() {
    let directory = tempdir("forged");
    let database = Database::new(File::open(directory.join("ruled.ifmatch")).unwrap());
    let numbers = database.define::<u64>("numbers").unwrap();
    let numbers = numbers.rule("any", "anything goes", |_, _| true).open().unwrap();
    for forged in [u64::MAX, u64::MAX - 1, u64::MAX - 2] {
        let forged: Version = forged.to_string().parse().unwrap();
        for entry in [Entry::put("hot", forged, Arc::new(11)), Entry::delete("hot", forged)] {
            numbers.put("hot", 1).wait().unwrap();
            let mut ahead = Box::pin(async { numbers.put("hot", 10).await });
            assert!(!is_ready(ahead.as_mut()), "it is on its way, and the line open");

            let refused = numbers.commit(Commit::one(entry)).wait().unwrap_err();

            let conflict = refused.conflict().unwrap();
            assert_eq!((conflict.kind(), conflict.expected()), (&Kind::Stale, forged.into()));
            assert_eq!(*numbers.fetch("hot").wait().unwrap().value, 10);
        }
    }
    drop((numbers, database));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_is_decided_anew_leaves_nobody_beside_in_the_dark() {
    let directory = tempdir("beside");
    let database = Database::new(File::open(directory.join("ruled.ifmatch")).unwrap());
    let numbers = growing(&database);
    let heard = Arc::new(AtomicUsize::new(0));
    let dark = Arc::new(AtomicUsize::new(0));
    let counts = [Arc::clone(&heard), Arc::clone(&dark)];
    let seen = database.define::<u64>("seen").unwrap().layer(move |store| {
        Observed::new(store, move |event: &Event<'_>| {
            let is_dark = matches!(event.ending, Ending::Dropped);
            counts[usize::from(is_dark)].fetch_add(1, Ordering::Relaxed);
        })
    });
    let seen = seen.open().unwrap();
    numbers.put("hot", 1).wait().unwrap();
    let mut ahead = Box::pin(async { numbers.put("hot", 10).await });
    assert!(!is_ready(ahead.as_mut()), "it is on its way, and the line open");

    let mut transaction = database.transaction();
    transaction.put(&numbers, "hot", 5);
    transaction.put(&seen, "a", 1);
    let refused = transaction.commit().wait().unwrap_err();

    assert!(matches!(refused.conflict().unwrap().kind(), Kind::State { .. }), "{refused}");
    assert!(heard.load(Ordering::Relaxed) > 0);
    assert_eq!(dark.load(Ordering::Relaxed), 0, "it was told nothing of a commit that was not applied");
    drop(ahead);
    drop((numbers, seen, database));
    std::fs::remove_dir_all(directory).unwrap();
}

/// A store that makes each commit anew of its entries and its write id, as a layer of somebody's own may.
struct Rebuilding(File, Arc<AtomicUsize>);

impl Store<[u8]> for Rebuilding {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.0.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let write = commit.write();
        let anew: Commit<'a, [u8]> = commit.into_entries().into_iter().collect();
        self.0.commit(write.into_iter().fold(anew, Commit::with_write))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.0.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.0.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.0.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

#[test]
fn a_store_that_knows_nothing_of_what_is_on_its_way_costs_a_few_lost_races_each() {
    const WRITERS: usize = 128;
    let directory = tempdir("rebuilding");
    let sent = Arc::new(AtomicUsize::new(0));
    let file = File::open(directory.join("ruled.ifmatch")).unwrap();
    let database = patient(Database::new(Rebuilding(file, Arc::clone(&sent))));
    let numbers = database.define::<u64>("numbers").unwrap();
    let numbers = numbers.rule("any", "anything goes", |_, _| true).open().unwrap();

    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let numbers = &numbers;
            scope.spawn(move || numbers.put("hot", writer as u64).wait().unwrap());
        }
    });

    let sent = sent.load(Ordering::Relaxed);
    println!("{sent} commits for {WRITERS} puts");
    assert!(sent <= 5 * WRITERS, "{sent} commits for {WRITERS} puts");
    drop((numbers, database));
    std::fs::remove_dir_all(directory).unwrap();
}

/// Writes down which version a commit says that it expects of what it writes.
#[derive(Default)]
struct Asking {
    numbers: Mutex<Option<Collection<u64>>>,
    told: Mutex<Vec<Option<Version>>>,
}

struct Asked(Arc<Asking>);

impl Step<u64> for Asked {
    fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
        let Some(numbers) = self.0.numbers.lock().unwrap().clone() else { return Ok(Exit::silent()) };
        for entry in part.entries() {
            self.0.told.lock().unwrap().push(along.expects(&numbers, entry.id)?);
        }
        Ok(Exit::silent())
    }
}

#[test]
fn a_step_hears_what_the_caller_expects_alone_as_in_a_transaction() {
    let directory = tempdir("expects");
    let file = File::open(directory.join("ruled.ifmatch")).unwrap();
    for database in [Database::in_memory(), Database::new(file)] {
        let asking = Arc::new(Asking::default());
        let numbers = database.define::<u64>("numbers").unwrap().rule("any", "anything goes", |_, _| true);
        let numbers = numbers.step(Asked(Arc::clone(&asking))).open().unwrap();
        let first = numbers.put("a", 1).wait().unwrap().version;
        *asking.numbers.lock().unwrap() = Some(numbers.clone());
        let take = || std::mem::take(&mut *asking.told.lock().unwrap());

        let known = numbers.replace("a", first, 2).wait().unwrap().version;
        assert_eq!(take(), [Some(first)]);
        numbers.put("a", 3).wait().unwrap();
        numbers.replace("a", Expected::Present, 4).wait().unwrap();
        numbers.delete("a", Expected::Any).wait().unwrap();
        numbers.create("a", 5).wait().unwrap();
        assert_eq!(take(), [None; 4], "it expects no version, such as {known}");
        let mut transaction = database.transaction();
        transaction.put(&numbers, "a", 6);
        transaction.commit().wait().unwrap();
        assert_eq!(take(), [None]);
        // It holds its own collection.
        asking.numbers.lock().unwrap().take();
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_cache_beside_a_rule_answers_nothing_that_was_deleted_while_it_was_decided() {
    let database = patient(Database::in_memory());
    let beside: Arc<Mutex<Option<Collection<u64>>>> = Arc::default();
    let read = Arc::new(Mutex::new(Vec::new()));
    let (taken, reads) = (Arc::clone(&beside), Arc::clone(&read));
    // Somebody else deletes while it is decided, and reads while it is decided anew.
    let any = move |old: Option<&u64>, new: Option<&u64>| {
        let numbers = taken.lock().unwrap().clone().filter(|_| new == Some(&8));
        if let Some(numbers) = numbers {
            match old {
                Some(_) => drop(numbers.delete("a", Expected::Present).wait().unwrap()),
                None => reads.lock().unwrap().push(numbers.get("a").wait().unwrap()),
            }
        }
        true
    };
    // What was given last is asked first: the cache hears of the write only then.
    let numbers = database.define::<u64>("numbers").unwrap().layer(ifmatch::Cached::new);
    let numbers = numbers.rule("any", "anything goes", any).open().unwrap();
    numbers.put("a", 7).wait().unwrap();
    *beside.lock().unwrap() = Some(numbers.clone());

    numbers.create("a", 8).wait().unwrap();

    assert_eq!(*read.lock().unwrap(), [None], "the cache has what was deleted");
    assert_eq!(*numbers.fetch("a").wait().unwrap().value, 8);
    // It holds its own collection.
    beside.lock().unwrap().take();
}
