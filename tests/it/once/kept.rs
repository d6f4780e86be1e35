//! How many answers are kept and for how long, and what is told of one that can't be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::collection::{Sleep, ThreadTimer, Timer};
use ifmatch::http::{self, Answer, KeyedRequest, Keys, Preconditions, Problem};
use ifmatch::layer::Operation;
use ifmatch::store::Scan;
use ifmatch::{Collection, Database, Error, Memory, Observed, Store};
use parking_lot::Mutex;

/// A clock that stands until it is set forward.
#[derive(Clone)]
struct Clock(Arc<Mutex<Instant>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn pass(&self, seconds: u64) {
        *self.0.lock() += Duration::from_secs(seconds);
    }
}

impl Timer for Clock {
    fn now(&self) -> Instant {
        *self.0.lock()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        ThreadTimer.sleep(duration)
    }
}

struct Office {
    memory: Arc<Memory<[u8]>>,
    office: Database,
    notes: Collection<u64>,
}

impl Office {
    fn new() -> Self {
        let memory = Arc::new(Memory::new());
        let office = Database::new(Arc::clone(&memory));
        Self { notes: office.collection("notes").unwrap(), memory, office }
    }

    fn keys(&self) -> Keys {
        Keys::new(&self.office, "keys").unwrap()
    }

    /// The ids of what is kept, as the store has them.
    fn kept(&self) -> Vec<Box<str>> {
        let page = self.memory.scan(Scan::new("keys/", 100_000).without_values()).wait().unwrap();
        page.items.iter().map(|(id, _)| (&**id).into()).collect()
    }

    /// Puts a note under this key.
    fn put(&self, keys: &Keys, caller: &str, number: u64) -> Result<Answer<u64>, Error> {
        let (mut request, key) = request(caller, number);
        _ = request.take_key();
        let put = |notes: Collection<u64>| async move { notes.put_if("a", &request, number).await };
        keys.once(Some(key), &self.notes, put).wait()
    }

    /// Puts notes under as many keys.
    fn put_many(&self, keys: &Keys, caller: &str, numbers: std::ops::Range<u64>) {
        numbers.for_each(|number| drop(self.put(keys, caller, number).unwrap()));
    }

    /// Whether it is known that the note was put under this key. Where not, it is kept from now on.
    fn knows(&self, keys: &Keys, caller: &str, number: u64) -> bool {
        self.put(keys, caller, number).unwrap().is_replayed()
    }
}

fn request(caller: &str, number: u64) -> (Preconditions, KeyedRequest) {
    let request = Preconditions::from_headers([("Idempotency-Key", format!("k{number}"))]);
    let key = request.clone().take_key().unwrap().unwrap();
    (request, key.request(caller, "PUT", "/a", &number.to_le_bytes()))
}

/// More than a look is ever late, but for one time in a billion: it is the tries of a chance of 8 in the bound.
fn late(bound: usize) -> usize {
    bound / 8 * 21 + 21
}

#[test]
fn answers_are_bounded_in_number_and_the_oldest_go_first() {
    let office = Office::new();
    let keys = office.keys().keeping(50);

    office.put_many(&keys, "ann", 0..500);

    let kept = office.kept().len();
    assert!((50..=50 + late(50)).contains(&kept), "{kept} are left");
    assert!((450..500).all(|number| office.knows(&keys, "ann", number)), "the newest");
    assert!(!(0..250).any(|number| office.knows(&keys.clone().keeping(10_000), "ann", number)), "the oldest");
}

#[test]
fn a_caller_pushes_out_its_own_answers_and_nobody_elses() {
    let office = Office::new();
    let keys = office.keys().keeping_each(50);
    office.put_many(&keys, "bob", 0..40);

    office.put_many(&keys, "ann", 0..1_000);

    assert!((0..40).all(|number| office.knows(&keys, "bob", number)), "they are the oldest of all");
    assert!((950..1_000).all(|number| office.knows(&keys, "ann", number)));
    let kept = office.kept().len() - 40;
    assert!((50..=50 + late(50)).contains(&kept), "{kept} of ann's are left");
}

#[test]
fn an_answer_is_kept_for_as_long_as_it_lasts_by_a_clock_that_nobody_sets() {
    let (office, clock) = (Office::new(), Clock::new());
    let keys = office.keys().lasting(Duration::from_secs(160)).timer(clock.clone());

    office.put_many(&keys, "ann", 0..10);
    clock.pass(100);
    office.put_many(&keys, "ann", 10..20);
    clock.pass(59);
    office.put_many(&keys, "ann", 20..30);
    assert_eq!(office.kept().len(), 30, "the oldest are a second too young");

    // The first mark is of the first answer, and the next one of those 10 s later or more.
    clock.pass(1);
    office.put_many(&keys, "ann", 30..31);
    assert_eq!(office.kept().len(), 30);
    clock.pass(100);
    office.put_many(&keys, "ann", 31..32);
    assert!((11..32).all(|number| office.knows(&keys, "ann", number)), "those are younger");
    assert_eq!(office.kept().len(), 21);

    // A day of a clock that was set forward would be no other than this one: it is of this process.
    let again = office.keys().lasting(Duration::from_secs(160)).timer(Clock::new());
    office.put_many(&again, "ann", 40..50);
    assert_eq!(office.kept().len(), 31, "a process that has just begun has seen none of them for long");
}

#[test]
fn what_is_kept_in_transactions_is_swept() {
    let (office, clock) = (Office::new(), Clock::new());
    let keys =
        office.keys().keeping(30).keeping_each(20).lasting(Duration::from_secs(60)).timer(clock.clone());
    let keep = |caller: &str, numbers: std::ops::Range<u64>| {
        for number in numbers {
            let mut transaction = office.office.transaction();
            keys.keep_in(&mut transaction, &request(caller, number).1, &number).unwrap();
            drop(transaction.commit().wait().unwrap());
        }
    };
    let known =
        |caller: &str, number| keys.answered::<u64>(&request(caller, number).1).wait().unwrap().is_some();
    keep("bob", 0..15);
    keep("ann", 0..40);

    assert_eq!(keys.sweep().wait().unwrap(), 20 + 5);
    assert!(!known("ann", 19) && known("ann", 20), "the oldest of one caller");
    assert!(!known("bob", 4) && known("bob", 5), "the oldest of all");

    clock.pass(59);
    assert_eq!(keys.sweep().wait().unwrap(), 0);
    keep("bob", 50..52);
    clock.pass(1);
    assert_eq!(keys.sweep().wait().unwrap(), 30);
    assert!(known("bob", 50));
}

#[test]
fn several_may_forget_at_once_and_none_of_them_hears_of_it() {
    let office = Office::new();
    thread::scope(|scope| {
        for thread in 0..4 {
            let office = &office;
            scope.spawn(move || {
                let keys = office.keys().keeping(40).lasting(Duration::ZERO);
                office.put_many(&keys, "ann", thread * 1_000..thread * 1_000 + 200);
                keys.sweep().wait().unwrap();
            });
        }
    });
    assert!(office.kept().len() <= 40);
}

#[test]
fn forgetting_costs_an_answer_a_look_at_few_ids_and_no_commit_of_its_own() {
    let (ids, commits) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (listed, committed) = (Arc::clone(&ids), Arc::clone(&commits));
    let observed = Observed::new(Memory::<[u8]>::new(), move |event| match event.operation {
        Operation::Scan(scan) => _ = listed.fetch_add(scan.limit.min(2_000), Ordering::Relaxed),
        Operation::Commit { .. } => _ = committed.fetch_add(1, Ordering::Relaxed),
        _ => {}
    });
    let office = Database::new(observed);
    let keys = Keys::new(&office, "keys").unwrap().keeping(1_000).keeping_each(800);
    let office = Office { notes: office.collection("notes").unwrap(), memory: Arc::default(), office };

    office.put_many(&keys, "ann", 0..4_000);

    // A look is at one page or two: about one in 100 answers of a caller, and one in 125 of all.
    let ids = ids.load(Ordering::Relaxed) / 4_000;
    assert!(ids < 100, "{ids} ids for each answer");
    let commits = commits.load(Ordering::Relaxed) - 4_000;
    assert!(commits < 800, "{commits} commits for 3,200 answers");
}

#[test]
fn a_record_that_can_not_be_read_is_told_as_one_of_the_keys_and_not_as_the_resource() {
    let office = Office::new();
    drop(office.put(&office.keys(), "ann", 7).unwrap());
    // The next release has another type for them.
    let later = Database::new(Arc::clone(&office.memory));
    let (keys, notes) = (Keys::new(&later, "keys").unwrap(), later.collection::<String>("notes").unwrap());
    let (mut of_later, key) = request("ann", 7);
    _ = of_later.take_key();
    let told = |error: Error| {
        assert_eq!(http::status(&error), 500);
        assert!(error.to_string().contains(" of `keys`, version "), "{error}");
        let Error::Corrupt(corrupt) = &error else { panic!("{error}") };
        let told = (corrupt.collection().map(str::to_owned), corrupt.id().to_owned());
        let body = serde_json::to_value(Problem::new(error)).unwrap();
        assert_eq!((&body["collection"], &body["resource_id"]), (&"keys".into(), &told.1.as_str().into()));
        told
    };

    let put = |notes: Collection<String>| async move { notes.put_if("a", &of_later, "x".to_owned()).await };
    let other = keys.once::<_, Error, _>(Some(key), &notes, put).wait().unwrap_err();
    let id = office.kept()[0].strip_prefix("keys/").unwrap().to_owned();
    assert_eq!(told(other), (Some("keys".to_owned()), id.clone()));

    let raw = Collection::<[u8]>::new(Arc::clone(&office.memory));
    raw.put(&format!("keys/{id}"), *b"{").wait().unwrap();
    let broken = office.put(&office.keys(), "ann", 7).unwrap_err();
    assert_eq!(told(broken), (Some("keys".to_owned()), id));
    assert_eq!(*office.notes.fetch("a").wait().unwrap().value, 7);
}

#[test]
fn a_bound_that_is_none_bounds_nothing() {
    let office = Office::new();
    let keys = office.keys().keeping(usize::MAX).keeping_each(usize::MAX);
    office.put_many(&keys, "ann", 1..2);

    assert_eq!(keys.sweep().wait().unwrap(), 0);
}

/// A clock that asks the keys themselves.
#[derive(Clone)]
struct Asking(Arc<Mutex<Option<Keys>>>);

impl Timer for Asking {
    fn now(&self) -> Instant {
        let keys = self.0.lock().take();
        if let Some(keys) = keys {
            keys.sweep().wait().unwrap();
        }
        Instant::now()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        ThreadTimer.sleep(duration)
    }
}

#[test]
fn a_clock_may_call_the_keys() {
    let office = Office::new();
    let clock = Asking(Arc::default());
    let keys = office.keys().timer(clock.clone());
    office.put_many(&keys, "ann", 1..2);
    *clock.0.lock() = Some(keys.clone());

    let (give, given) = std::sync::mpsc::channel();
    thread::spawn(move || give.send(keys.sweep().wait().unwrap()));

    assert_eq!(given.recv_timeout(Duration::from_secs(60)).expect("it never comes to an end"), 0);
}
