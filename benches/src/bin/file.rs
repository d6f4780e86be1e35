//! What a durable commit costs, beside plain redb, SQLite, fjall and the limit of the disk; and what a read, a resource
//! on the disk and an opening cost.
//!
//! Rounds are interleaved: each measures every subject once, for 1, 8 and 64 callers, so that a slow moment of the
//! machine falls on all alike. The medians of the rounds are printed, and the medians of the ratios to plain redb within
//! a round. `file commits`, `file tails`, `file sizes`, `file reads` and `file listing` run a part; `ROUNDS` and
//! `IFMATCH_BENCH_DIR`
//! change how often and where.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Config, Keyspace, PartitionCreateOptions, PartitionHandle, PersistMode};
use ifmatch::{Cached, Commit, Entry, Expected, File, Memory, Store};
use ifmatch_benches::listing::listing;
use parking_lot::{Condvar, Mutex};
use redb::{Database, ReadableDatabase, TableDefinition};
use rusqlite::Connection;

const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("resources");
const IDS: usize = 1_000;

/// How many changes a file remembers unless told otherwise.
const HISTORY: usize = 100_000;

/// How many writes are timed at once: enough that the store settles its recent commits twice.
const WRITES: usize = 1_600;

type Value = [u8; 250];

/// A value of its own for each number: SQLite does not write what is there already.
fn value(number: usize) -> Value {
    let mut value = [b'v'; 250];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

/// One way to make a write durable. `write` returns once it is.
trait Subject: Sync {
    fn write(&self, id: &str, value: &Value);
}

impl Subject for File {
    fn write(&self, id: &str, value: &Value) {
        self.commit(Commit::one(Entry::put(id, Expected::Any, (*value).into()))).wait().unwrap();
    }
}

/// One transaction a write.
impl Subject for Database {
    fn write(&self, id: &str, value: &Value) {
        let transaction = self.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(id, value.as_slice()).unwrap();
        transaction.commit().unwrap();
    }
}

/// SQLite with a write-ahead log that is synced at each commit.
struct Sqlite(Mutex<Connection>);

impl Sqlite {
    fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("pragma journal_mode = wal; pragma synchronous = full").unwrap();
        let synchronous: u8 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "it would not sync at each commit");
        connection
            .execute_batch("create table resources (id text primary key, value blob not null) without rowid")
            .unwrap();
        Self(Mutex::new(connection))
    }
}

impl Subject for Sqlite {
    fn write(&self, id: &str, value: &Value) {
        let connection = self.0.lock();
        let mut insert =
            connection.prepare_cached("insert or replace into resources values (?1, ?2)").unwrap();
        insert.execute((id, value.as_slice())).unwrap();
    }
}

/// A log-structured store, its journal synced at each write.
struct Fjall {
    keyspace: Keyspace,
    partition: PartitionHandle,
}

impl Fjall {
    fn open(path: &Path) -> Self {
        let keyspace = Config::new(path).open().unwrap();
        let partition = keyspace.open_partition("resources", PartitionCreateOptions::default()).unwrap();
        Self { keyspace, partition }
    }
}

impl Subject for Fjall {
    fn write(&self, id: &str, value: &Value) {
        self.partition.insert(id, value.as_slice()).unwrap();
        self.keyspace.persist(PersistMode::SyncData).unwrap();
    }
}

/// The limit: a record appended and synced, one after another.
struct Append(Mutex<fs::File>);

impl Subject for Append {
    fn write(&self, _: &str, value: &Value) {
        let mut file = self.0.lock();
        file.write_all(value).unwrap();
        file.sync_data().unwrap();
    }
}

/// The limit with group commit: who arrives during a sync shares the next one.
struct Grouped {
    file: fs::File,
    state: Mutex<Group>,
    turn: Condvar,
}

#[derive(Default)]
struct Group {
    waiting: Vec<u8>,
    round: u64,
    synced: u64,
    leading: bool,
}

impl Subject for Grouped {
    fn write(&self, _: &str, value: &Value) {
        let mut state = self.state.lock();
        state.waiting.extend(value);
        let mine = state.round + 1;
        loop {
            if state.synced >= mine {
                return;
            }
            if state.leading {
                self.turn.wait(&mut state);
                continue;
            }
            state.leading = true;
            state.round += 1;
            let round = state.round;
            let bytes = std::mem::take(&mut state.waiting);
            drop(state);
            (&self.file).write_all(&bytes).unwrap();
            self.file.sync_data().unwrap();
            state = self.state.lock();
            state.synced = round;
            state.leading = false;
            self.turn.notify_all();
        }
    }
}

/// Writes some ids again and again.
fn fill(subject: &dyn Subject, writes: usize) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= writes {
                        break;
                    }
                    subject.write(&format!("resource-{}", number % IDS), &value(number));
                }
            });
        }
    });
}

/// The time a write took on average, `callers` writing at once for a while.
fn measure(subject: &dyn Subject, callers: usize) -> Duration {
    let writes = (callers * 100).max(WRITES);
    static WRITTEN: AtomicUsize = AtomicUsize::new(1 << 32);

    let base = WRITTEN.fetch_add(writes, Ordering::Relaxed);
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= writes {
                        break;
                    }
                    subject.write(&format!("resource-{}", number * 7919 % IDS), &value(base + number));
                }
            });
        }
    });
    start.elapsed() / writes as u32
}

fn directory() -> PathBuf {
    let base = std::env::var_os("IFMATCH_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let path = base.join(format!("ifmatch-bench-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn subjects(directory: &Path) -> Vec<(&'static str, Box<dyn Subject>)> {
    let create = |name: &str| fs::File::create(directory.join(name)).unwrap();
    let grouped = Grouped { file: create("grouped"), state: Mutex::default(), turn: Condvar::new() };
    vec![
        ("File", Box::new(File::open(directory.join("file")).unwrap())),
        ("plain redb", Box::new(Database::create(directory.join("redb")).unwrap())),
        ("SQLite", Box::new(Sqlite::open(&directory.join("sqlite")))),
        ("fjall", Box::new(Fjall::open(&directory.join("fjall")))),
        ("append + fdatasync", Box::new(Append(Mutex::new(create("append"))))),
        ("append, grouped", Box::new(grouped)),
    ]
}

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |part: &str| parts.is_empty() || parts.iter().any(|chosen| chosen == part);
    let directory = directory();
    if chosen("commits") {
        commits(&directory);
    }
    if chosen("tails") {
        tails(&directory);
    }
    if chosen("sizes") {
        sizes(&directory);
    }
    if chosen("reads") {
        reads(&directory);
    }
    if chosen("listing") {
        let listing = listing(&File::open(directory.join("listing")).unwrap());
        println!("\n{}: {:.3} of the time without values", listing.scenario, listing.ratio("with values"));
    }
    fs::remove_dir_all(directory).unwrap();
}

/// What a commit takes, by the number of callers.
fn commits(directory: &Path) {
    /// The subject the others are compared with.
    const PLAIN: usize = 1;

    let rounds = std::env::var("ROUNDS").map_or(9, |rounds| rounds.parse().unwrap());
    let subjects = subjects(directory);
    for (name, subject) in &subjects {
        // Until its history is full, as it is in a store that has been running for a while, a file grows, and a sync that
        // makes a file longer costs more.
        let writes = if *name == "File" { HISTORY + HISTORY / 10 } else { 2 * IDS };
        fill(&**subject, writes);
    }
    let callers = [1, 8, 64];
    let mut times = vec![vec![Vec::new(); callers.len()]; subjects.len()];
    for round in 0..rounds {
        for (column, callers) in callers.into_iter().enumerate() {
            for step in 0..subjects.len() {
                let row = (round + step) % subjects.len();
                times[row][column].push(measure(&*subjects[row].1, callers).as_secs_f64() * 1e6);
            }
        }
    }
    println!("microseconds a commit and its ratio to plain redb's, medians of {rounds} rounds\n");
    println!("{:<20} {:>18} {:>18} {:>18}", "callers", callers[0], callers[1], callers[2]);
    for ((name, _), columns) in subjects.iter().zip(&times) {
        let medians = columns.iter().zip(&times[PLAIN]).map(|(times, plain)| {
            let ratios = times.iter().zip(plain).map(|(ours, plain)| ours / plain);
            format!("{:>10.1} {:>7.3}", median(times.iter().copied()), median(ratios))
        });
        println!("{name:<20} {}", medians.collect::<Vec<_>>().join(" "));
    }
}

/// What single commits of one caller take: most, and the slowest, among few ids and among many that lie apart; and the most
/// that one takes of the caller's processor time.
fn tails(directory: &Path) {
    /// How many commits each makes in turn, and how often.
    const TURN: usize = 100;
    const TURNS: usize = 60;

    println!("\nmicroseconds a commit of one caller\n");
    let head = ["mean", "median", "99 %", "99.9 %", "longest", "processor"];
    println!("{:<24} {}", "ids", head.map(|name| format!("{name:>9}")).join(" "));
    for ids in [IDS, 100 * IDS] {
        let (ours, theirs) = (directory.join("tail"), directory.join("tail-redb"));
        let (store, database) = (File::open(&ours).unwrap(), Database::create(&theirs).unwrap());
        load(&store, &database, ids);
        let subjects: [(&str, &dyn Subject); 2] = [("File", &store), ("plain redb", &database)];
        let mut times = [Vec::new(), Vec::new()];
        let mut busiest = [0.0_f64; 2];
        for turn in 0..TURNS {
            for (((_, subject), times), busiest) in subjects.iter().zip(&mut times).zip(&mut busiest) {
                for number in turn * TURN..(turn + 1) * TURN {
                    let (began, processor) = (Instant::now(), processor_time());
                    subject.write(&format!("resource-{:07}", number * 7919 % ids), &value(number));
                    times.push(began.elapsed().as_secs_f64() * 1e6);
                    *busiest = busiest.max((processor_time() - processor).as_secs_f64() * 1e6);
                }
            }
        }
        for (((name, _), times), busiest) in subjects.iter().zip(&mut times).zip(busiest) {
            times.sort_by(f64::total_cmp);
            let mean = times.iter().sum::<f64>() / times.len() as f64;
            let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
            let figures =
                [mean, at(0.5), at(0.99), at(0.999), at(1.0), busiest].map(|figure| format!("{figure:>9.0}"));
            println!("{:<24} {}", format!("{ids}, {name}"), figures.join(" "));
        }
        drop((store, database));
        for path in [&ours, &theirs] {
            fs::remove_file(path).unwrap();
        }
    }
}

/// The processor time of this thread.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// What a resource takes on the disk, and how long a file takes to open, small and large, closed and crashed.
fn sizes(directory: &Path) {
    println!("\nbytes on the disk a resource, as written and after compaction; milliseconds to open\n");
    let head = ["File", "redb", "compact", "redb's", "open", "redb's", "crashed", "redb's"];
    println!("{:<12} {}", "resources", head.map(|name| format!("{name:>9}")).join(" "));
    for resources in [1_000, 100_000, 1_000_000] {
        let (ours, theirs) = (directory.join("sized"), directory.join("plain"));
        let store = File::open(&ours).unwrap();
        let database = Database::create(&theirs).unwrap();
        load(&store, &database, resources);
        // A copy of an open file is what a crash of the program leaves, and of its journal with the last commits.
        for number in 0..500 {
            store.write(&format!("resource-{:07}", number * 7919 % resources), &value(number));
        }
        let crashed = [&ours, &theirs].map(|path| {
            let copy = path.with_extension("crashed");
            fs::copy(path, &copy).unwrap();
            copy
        });
        fs::copy(ours.with_extension("journal"), crashed[0].with_extension("crashed.journal")).unwrap();
        let mut figures = vec![each(&ours, resources), each(&theirs, resources)];
        store.compact().wait().unwrap();
        store.close().unwrap();
        let mut database = database;
        database.compact().unwrap();
        drop(database);
        figures.extend([each(&ours, resources), each(&theirs, resources)]);
        figures.extend([open_ours(&ours), open_theirs(&theirs)]);
        figures.extend([open_ours(&crashed[0]), open_theirs(&crashed[1])]);
        let figures: Vec<String> = figures.iter().map(|figure| format!("{figure:>9.1}")).collect();
        println!("{resources:<12} {}", figures.join(" "));
        for path in [&ours, &theirs, &crashed[0], &crashed[1]] {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Gives both the same resources.
fn load(store: &File, database: &Database, resources: usize) {
    let ids: Vec<String> = (0..resources).map(|number| format!("resource-{number:07}")).collect();
    for ids in ids.chunks(10_000) {
        let entries = ids.iter().map(|id| Entry::put(id, Expected::Any, value(0).into()));
        store.commit(entries.collect()).wait().unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut table = transaction.open_table(TABLE).unwrap();
            for id in ids {
                table.insert(id.as_str(), value(0).as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

fn each(path: &Path, resources: usize) -> f64 {
    fs::metadata(path).unwrap().len() as f64 / resources as f64
}

/// Milliseconds until the first read is answered.
fn open_ours(path: &Path) -> f64 {
    let start = Instant::now();
    let store = File::open(path).unwrap();
    assert!(store.get("resource-0000007").wait().unwrap().is_some());
    start.elapsed().as_secs_f64() * 1e3
}

fn open_theirs(path: &Path) -> f64 {
    let start = Instant::now();
    let database = Database::open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
    assert!(redb::ReadableTable::get(&table, "resource-0000007").unwrap().is_some());
    start.elapsed().as_secs_f64() * 1e3
}

type Named = (&'static str, Box<dyn Store<[u8]>>);

/// What a read costs: of the file, of the memory store, and of a cache over either.
fn reads(directory: &Path) {
    let ids: Vec<String> = (0..IDS).map(|number| format!("resource-{number}")).collect();
    let stores: Vec<Named> = vec![
        ("File", Box::new(File::open(directory.join("reads")).unwrap())),
        ("Memory", Box::new(Memory::<[u8]>::new())),
        ("Cached, alone", Box::new(Cached::alone(File::open(directory.join("alone")).unwrap()))),
        ("Cached over File", Box::new(Cached::new(File::open(directory.join("cached")).unwrap()))),
    ];
    for (_, store) in &stores {
        let entries = ids.iter().map(|id| Entry::put(id, Expected::Any, value(0).into()));
        store.commit(entries.collect()).wait().unwrap();
    }
    println!("\nnanoseconds a read, median of 9 rounds\n");
    let mut times = vec![Vec::new(); stores.len()];
    for _ in 0..9 {
        for ((_, store), times) in stores.iter().zip(&mut times) {
            let start = Instant::now();
            for number in 0..200_000 {
                let id = &ids[number * 7919 % IDS];
                assert!(std::hint::black_box(store.get(id).wait()).unwrap().is_some());
            }
            times.push(start.elapsed() / 200_000);
        }
    }
    for ((name, _), times) in stores.iter().zip(&mut times) {
        times.sort_unstable();
        println!("{name:<20} {:>10}", times[4].as_nanos());
    }
}
