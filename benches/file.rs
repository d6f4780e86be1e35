//! What a commit to the file costs, beside plain redb and the limit of the disk. `cargo bench --bench file --features file`.
//!
//! Rounds are interleaved: each measures every subject once, for 1, 8 and 64 callers, so that a slow moment of the
//! machine falls on all alike. The median of the rounds is printed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::{Cached, Commit, Entry, Expected, File, Memory, Store};
use parking_lot::{Condvar, Mutex};
use redb::{Database, TableDefinition};

const TABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("resources");
const IDS: usize = 1_000;
const HISTORY: usize = 1_000;
const VALUE: [u8; 250] = [b'v'; 250];

/// One way to make a write durable. `write` returns once it is.
trait Subject: Sync {
    fn write(&self, id: &str);
}

impl Subject for File {
    fn write(&self, id: &str) {
        self.commit(Commit::one(Entry::put(id, Expected::Any, VALUE.into()))).wait().unwrap();
    }
}

/// One transaction a write.
impl Subject for Database {
    fn write(&self, id: &str) {
        let transaction = self.begin_write().unwrap();
        transaction.open_table(TABLE).unwrap().insert(id, VALUE.as_slice()).unwrap();
        transaction.commit().unwrap();
    }
}

/// The limit: a record appended and synced, one after another.
struct Append(Mutex<fs::File>);

impl Subject for Append {
    fn write(&self, _: &str) {
        let mut file = self.0.lock();
        file.write_all(&VALUE).unwrap();
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
    fn write(&self, _: &str) {
        let mut state = self.state.lock();
        state.waiting.extend(VALUE);
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

/// Writes every id twice, and the history full.
fn fill(subject: &dyn Subject) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 2 * HISTORY {
                        break;
                    }
                    subject.write(&format!("resource-{}", number % IDS));
                }
            });
        }
    });
}

/// The time a write took on average, `callers` writing at once for a while.
fn measure(subject: &dyn Subject, callers: usize) -> Duration {
    let writes = (callers * 40).max(300);
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
                    subject.write(&format!("resource-{}", number * 7919 % IDS));
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
        // A short history, so that it is full from the start, as it is in a store that has been running for a while: the
        // file grows until then, and a sync that makes a file longer costs more.
        ("File", Box::new(File::options().history(HISTORY).open(directory.join("file")).unwrap())),
        ("plain redb", Box::new(Database::create(directory.join("redb")).unwrap())),
        ("append + fdatasync", Box::new(Append(Mutex::new(create("append"))))),
        ("append, grouped", Box::new(grouped)),
    ]
}

fn main() {
    let rounds = std::env::var("ROUNDS").map_or(9, |rounds| rounds.parse().unwrap());
    let directory = directory();
    let subjects = subjects(&directory);
    for (_, subject) in &subjects {
        fill(&**subject);
    }
    let callers = [1, 8, 64];
    let mut times = vec![vec![Vec::new(); callers.len()]; subjects.len()];
    for _ in 0..rounds {
        for (column, callers) in callers.into_iter().enumerate() {
            for (row, (_, subject)) in subjects.iter().enumerate() {
                times[row][column].push(measure(&**subject, callers));
            }
        }
    }
    println!("microseconds a commit, median of {rounds} rounds\n");
    println!("{:<20} {:>10} {:>10} {:>10}", "callers", callers[0], callers[1], callers[2]);
    for ((name, _), columns) in subjects.iter().zip(&mut times) {
        let medians = columns.iter_mut().map(|times| {
            times.sort_unstable();
            format!("{:>10.1}", times[times.len() / 2].as_secs_f64() * 1e6)
        });
        println!("{name:<20} {}", medians.collect::<Vec<_>>().join(" "));
    }
    drop(subjects);
    size_and_opening(&directory);
    reads(&directory);
    fs::remove_dir_all(directory).unwrap();
}

/// What a resource takes on the disk, and how long a file takes to open, small and large.
fn size_and_opening(directory: &Path) {
    println!("\n{:<20} {:>10} {:>14} {:>14} {:>14}", "resources", "", "bytes each", "redb's", "open, ms");
    for resources in [1_000, 100_000, 1_000_000] {
        let ids: Vec<String> = (0..resources).map(|number| format!("resource-{number:07}")).collect();
        let (file, plain) = (directory.join(format!("file-{resources}")), directory.join("plain"));
        let store = File::open(&file).unwrap();
        let database = Database::create(&plain).unwrap();
        for ids in ids.chunks(10_000) {
            let entries = ids.iter().map(|id| Entry::put(id, Expected::Any, VALUE.into()));
            store.commit(entries.collect()).wait().unwrap();
            let transaction = database.begin_write().unwrap();
            {
                let mut table = transaction.open_table(TABLE).unwrap();
                for id in ids {
                    table.insert(id.as_str(), VALUE.as_slice()).unwrap();
                }
            }
            transaction.commit().unwrap();
        }
        store.close().unwrap();
        drop(database);
        let each = |path: &Path| fs::metadata(path).unwrap().len() as f64 / resources as f64;
        let (ours, theirs) = (each(&file), each(&plain));
        let start = Instant::now();
        let store = File::open(&file).unwrap();
        let opened = start.elapsed();
        drop(store);
        println!(
            "{resources:<20} {:>10} {ours:>14.1} {theirs:>14.1} {:>14.1}",
            "",
            opened.as_secs_f64() * 1e3
        );
        fs::remove_file(plain).unwrap();
    }
}

type Named = (&'static str, Box<dyn Store<[u8]>>);

/// What a read costs: of the file, of the memory store, and of a cache over either.
fn reads(directory: &Path) {
    let ids: Vec<String> = (0..IDS).map(|number| format!("resource-{number}")).collect();
    let stores: Vec<Named> = vec![
        ("File", Box::new(File::open(directory.join("reads")).unwrap())),
        ("Memory", Box::new(Memory::<[u8]>::new())),
        ("Cached over File", Box::new(Cached::new(File::open(directory.join("cached")).unwrap()))),
        (
            "Cached, following",
            Box::new(Cached::following(File::open(directory.join("follow")).unwrap()).unwrap()),
        ),
    ];
    for (_, store) in &stores {
        let entries = ids.iter().map(|id| Entry::put(id, Expected::Any, VALUE.into()));
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
