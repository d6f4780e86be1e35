//! What is left of a process that was killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ifmatch::history::History;
use ifmatch::store::{Resolution, WriteId};
use ifmatch::{Collection, Commit, Database, Entry, Error, Expected, File, Store};

use crate::file::Directory;

/// How many children are killed, unless the variable `IFMATCH_KILLS` says otherwise.
const KILLS: u64 = 300;

const WRITERS: usize = 4;

/// The variable that makes a test process the child of the harness.
const CHILD: &str = "IFMATCH_CRASH_CHILD";

fn put<'a>(id: &'a str, number: u64) -> Entry<'a, [u8]> {
    Entry::put(id, Expected::Any, number.to_string().as_bytes().into())
}

fn number(store: &File, id: &str) -> Option<u64> {
    let found = store.get(id).wait().unwrap()?;
    Some(str::from_utf8(&found.value).unwrap().parse().unwrap())
}

/// The ids a writer writes: two in step, and one that is there after even numbers only.
fn ids(writer: usize) -> [String; 3] {
    ["left", "right", "guest"].map(|name| format!("{name}/{writer}"))
}

/// A history that is short enough for commits to be settled every few milliseconds.
fn open(path: &Path) -> File {
    File::options().history(8_192).open(path).unwrap()
}

/// Commits under load for ever, and tells of each commit before it and after it.
fn commit_for_ever(path: &Path) {
    let store = open(path);
    let write_on = |writer: usize| {
        let [left, right, guest] = ids(writer);
        let mut seen = store.get(&left).wait().unwrap().map(|found| found.version);
        for next in number(&store, &left).unwrap_or(0) + 1.. {
            let write = WriteId::after(seen);
            println!("begins {writer} {next} {write} .");
            let guest = match next % 2 {
                0 => put(&guest, next),
                _ => Entry::delete(&guest, Expected::Any),
            };
            let commit = Commit::one(put(&left, next)).and(put(&right, next)).and(guest);
            let version = store.commit(commit.with_write(write)).wait().unwrap().version().unwrap();
            println!("ends {writer} {next} {version} .");
            seen = Some(version);
        }
    };
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let write_on = &write_on;
            scope.spawn(move || write_on(writer));
        }
    });
}

/// Not a test of its own: what the harness below starts and kills.
#[test]
fn the_child_of_the_harness() {
    if let Some(path) = std::env::var_os(CHILD) {
        commit_for_ever(Path::new(&path));
    }
}

/// What a child told.
#[derive(Default)]
struct Told {
    begun: HashMap<(usize, u64), WriteId>,
    /// The last number of each writer that was acknowledged.
    ended: HashMap<usize, u64>,
    lowest: Option<u64>,
    highest: u64,
}

fn kills() -> u64 {
    std::env::var("IFMATCH_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

/// Starts a child, kills it after a while, and gives what it told.
fn kill_a_child(test: &str, path: &Path, after: Duration) -> Told {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Told::default();
    thread::scope(|scope| {
        let (working, works) = mpsc::channel();
        scope.spawn(move || {
            // Also where it never said that it works: then the lines have ended.
            let _ = works.recv();
            thread::sleep(after);
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in lines {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            // The last line may have been cut.
            match words[..] {
                ["begins", writer, number, write, "."] => {
                    let key = (writer.parse().unwrap(), number.parse().unwrap());
                    told.begun.insert(key, write.parse().unwrap());
                }
                ["ends", writer, number, version, "."] => {
                    let version: u64 = version.parse().unwrap();
                    told.ended.insert(writer.parse().unwrap(), number.parse().unwrap());
                    told.lowest = Some(told.lowest.map_or(version, |lowest| lowest.min(version)));
                    told.highest = told.highest.max(version);
                    let _ = working.send(());
                }
                _ => {}
            }
        }
    });
    told
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there_and_nothing_in_part() {
    let kills = kills();
    let directory = Directory::new();
    let path = directory.file();
    let mut newest = 0;
    let mut acknowledged = 0;
    let mut in_doubt = 0;
    for kill in 0..kills {
        // From the first commit on, and also during those after it.
        let told = kill_a_child(
            "crash::the_child_of_the_harness",
            &path,
            Duration::from_micros(kill * 7919 % 30_000),
        );
        if let Some(lowest) = told.lowest {
            assert!(lowest > newest, "a version was issued again");
        }
        newest = newest.max(told.highest);

        let store = open(&path);
        for writer in 0..WRITERS {
            let [left, right, guest] = ids(writer).map(|id| number(&store, &id));
            assert_eq!(left, right, "half a commit");
            let there = left.unwrap_or(0);
            assert_eq!(guest, left.filter(|number| number.is_multiple_of(2)), "a part of a commit");
            let ended = told.ended.get(&writer).copied().unwrap_or(0);
            assert!(there >= ended, "commit {ended} was acknowledged, and {there} is there");
            for ((_, begun), write) in told.begun.iter().filter(|((other, _), _)| *other == writer) {
                if *begun + 2 < there {
                    continue;
                }
                match store.resolve(*write).wait().unwrap() {
                    Resolution::Applied(_) => assert!(*begun <= there),
                    Resolution::NotApplied => assert!(*begun > there),
                    Resolution::Unknown => panic!("the store forgot"),
                }
                in_doubt += u64::from(*begun > ended);
            }
        }
        acknowledged += told.begun.len();
        let version = store.commit(Commit::one(put("parent", kill))).wait().unwrap().version().unwrap();
        assert!(version.to_bits().get() > newest, "a version was issued again");
        newest = version.to_bits().get();
    }
    println!("{kills} kills, {acknowledged} commits begun, {in_doubt} in doubt and resolved");
    assert!(in_doubt > 0 || kills < 10, "no child was killed in the middle of a commit");
}

/// Two collections of a database in the file.
/// How many versions of each count are kept.
const KEPT: u64 = 6;

fn counters(path: &Path) -> (Database, Collection<u64>, Collection<String>, History<u64>) {
    let database = Database::new(open(path));
    let history = History::new(&database, "counts.history").unwrap().keeping(KEPT as usize);
    let counts = database.define("counts").unwrap().recorded(&history).open().unwrap();
    let texts = database.collection("texts").unwrap();
    (database, counts, texts, history)
}

/// Commits over both collections for ever, and tells of each commit after it.
fn commit_over_collections_for_ever(path: &Path) {
    let (database, counts, texts, _history) = counters(path);
    let write_on = |writer: usize| {
        let id = writer.to_string();
        loop {
            let counted = database.transact(async |mut tx| {
                let next = tx.get(&counts, &id).await?.map_or(1, |count| *count + 1);
                tx.put(&counts, &id, next);
                match next % 5 {
                    0 => tx.delete(&texts, &id),
                    _ => tx.put(&texts, &id, next.to_string()),
                }
                Ok::<_, Error>((tx, next))
            });
            let next = counted.wait().unwrap();
            println!("ends {writer} {next} 1 .");
        }
    };
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let write_on = &write_on;
            scope.spawn(move || write_on(writer));
        }
    });
}

/// Not a test of its own: what the next one starts and kills.
#[test]
fn the_child_with_two_collections() {
    if let Some(path) = std::env::var_os(CHILD) {
        commit_over_collections_for_ever(Path::new(&path));
    }
}

#[test]
fn a_commit_over_two_collections_of_a_killed_process_is_there_as_a_whole_with_its_past_or_not_at_all() {
    let directory = Directory::new();
    let path = directory.file();
    let mut acknowledged = 0;
    for kill in 0..kills() {
        let after = Duration::from_micros(kill * 7919 % 30_000);
        let told = kill_a_child("crash::the_child_with_two_collections", &path, after);

        let (_database, counts, texts, history) = counters(&path);
        for writer in 0..WRITERS {
            let id = writer.to_string();
            let count = counts.get(&id).wait().unwrap();
            let text = texts.get(&id).wait().unwrap();
            let there = count.as_ref().map_or(0, |count| *count.value);
            let beside = count.as_ref().filter(|count| !count.value.is_multiple_of(5));
            assert_eq!(
                text.as_ref().map(|text| text.value.to_string()),
                beside.map(|count| count.value.to_string())
            );
            assert_eq!(text.map(|text| text.version), beside.map(|count| count.version), "half a commit");
            // What it was before is there too: no version without its past, and no past of what was not applied.
            let past = history.of(&id).wait().unwrap();
            let kept: Vec<u64> = past.versions().map(|past| *past.value().unwrap()).collect();
            let before: Vec<u64> = (1..there).rev().take(KEPT as usize).collect();
            assert_eq!(kept, before, "of {there}");
            let ended = told.ended.get(&writer).copied().unwrap_or(0);
            assert!(there >= ended, "commit {ended} was acknowledged, and {there} is there");
            acknowledged += u64::from(ended > 0);
        }
    }
    println!("{} kills, {acknowledged} writers that had committed", kills());
    assert!(acknowledged > 0);
}
