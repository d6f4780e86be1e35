//! The durable store.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::file::{File, OpenError, Options, Persistence};
use ifmatch::store::{
    Abilities, ChangeKind, Changes, Committed, Listed, Outcome, Page, Refusal, Resolution, Scan, WriteId,
};
use ifmatch::{Collection, Commit, Entry, Error, Expected, Kind, Reply, Start, Store, Version, Versioned};

/// A directory of its own for each test, gone at its end.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ifmatch-it-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("store.ifmatch")
    }

    pub(crate) fn open(&self) -> File {
        File::open(self.file()).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A store in a directory of its own, which is gone with it.
pub(crate) struct Kept {
    // Closed before its directory goes.
    store: File,
    _directory: Directory,
}

impl Kept {
    pub(crate) fn open(options: &Options) -> Self {
        let directory = Directory::new();
        Self { store: options.open(directory.file()).unwrap(), _directory: directory }
    }
}

impl Store<[u8]> for Kept {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.store.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        self.store.commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.store.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

pub(crate) fn put<'a>(id: &'a str, expected: impl Into<Expected>, value: &str) -> Entry<'a, [u8]> {
    Entry::put(id, expected.into(), value.as_bytes().into())
}

/// Waits until something holds: the store settles behind the commits.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
    }
}

pub(crate) fn commit(store: &File, entry: Entry<'_, [u8]>) -> Result<Committed, Error> {
    store.commit(Commit::one(entry)).wait()
}

pub(crate) fn text(store: &File, id: &str) -> Option<(Version, String)> {
    let found = store.get(id).wait().unwrap()?;
    Some((found.version, String::from_utf8(found.value.to_vec()).unwrap()))
}

fn kind(error: &Error) -> Kind {
    error.conflict().expect("a conflict").kind().clone()
}

#[test]
fn what_was_acknowledged_is_there_after_the_file_is_opened_again() {
    let directory = Directory::new();
    let store = directory.open();
    let first = commit(&store, put("a", Expected::Absent, "one")).unwrap().version().unwrap();
    let both = Commit::one(put("a", first, "two")).and(put("b", Expected::Absent, "bee"));
    let both = store.commit(both).wait().unwrap();
    commit(&store, put("c", Expected::Any, "gone")).unwrap();
    commit(&store, Entry::delete("c", Expected::Present)).unwrap();
    store.close().unwrap();

    let store = directory.open();

    assert_eq!(text(&store, "a"), Some((both.version().unwrap(), "two".into())));
    assert_eq!(text(&store, "b"), Some((both.version().unwrap(), "bee".into())));
    assert_eq!(text(&store, "c"), None);
    assert_eq!(kind(&commit(&store, put("a", first, "late")).unwrap_err()), Kind::Stale);
    assert_eq!(kind(&commit(&store, put("c", Expected::Present, "late")).unwrap_err()), Kind::Deleted);
    assert_eq!(kind(&commit(&store, put("d", Expected::Present, "late")).unwrap_err()), Kind::Missing);
    let next = commit(&store, put("a", both.version().unwrap(), "three")).unwrap().version().unwrap();
    assert!(next.to_bits() > both.version().unwrap().to_bits());
}

#[test]
fn one_of_many_writers_with_the_same_expectation_wins() {
    let directory = Directory::new();
    let store = Arc::new(directory.open());
    let mut base = commit(&store, put("a", Expected::Absent, "0")).unwrap().version().unwrap();

    for round in 0..20 {
        let start = Barrier::new(8);
        let won: Vec<Version> = thread::scope(|scope| {
            let write = |writer: usize| {
                start.wait();
                match commit(&store, put("a", base, &format!("{round} {writer}"))) {
                    Ok(committed) => committed.version(),
                    Err(error) => {
                        assert_eq!(kind(&error), Kind::Stale);
                        assert!(error.conflict().unwrap().current::<[u8]>().unwrap().version != base);
                        None
                    }
                }
            };
            let writers: Vec<_> = (0..8).map(|writer| scope.spawn(move || write(writer))).collect();
            writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1);
        base = won[0];
    }
}

#[test]
fn callers_that_arrive_together_each_get_their_own_verdict() {
    let directory = Directory::new();
    let store = directory.open();

    // None is waited for before all have arrived, so most share a transaction.
    let replies: Vec<_> = (0..100)
        .map(|number| match number % 4 {
            0 => store.commit(Commit::one(put("a", Expected::Any, "written"))),
            1 => store.commit(Commit::one(put("a", Expected::Absent, "never"))),
            2 => store.commit(Commit::one(Entry::delete("a", Expected::Present))),
            _ => store.commit(Commit::one(put("", Expected::Any, "never"))),
        })
        .collect();

    for (number, reply) in replies.into_iter().enumerate() {
        let answer = reply.wait();
        match number % 4 {
            0 | 2 => assert!(answer.is_ok(), "{number}: {answer:?}"),
            1 => assert_eq!(kind(&answer.unwrap_err()), Kind::Exists),
            _ => assert!(matches!(answer, Err(Error::Refused(Refusal::Id { .. })))),
        }
    }
    assert_eq!(text(&store, "a"), None);
}

#[test]
fn who_loses_in_a_shared_transaction_is_told_what_stands_at_its_end() {
    let directory = Directory::new();
    let store = directory.open();
    let first = commit(&store, put("a", Expected::Absent, "first")).unwrap().version().unwrap();

    // Nobody serves them before one is waited for.
    let loser = store.commit(Commit::one(put("a", Expected::Absent, "never")));
    let winner = store.commit(Commit::one(put("a", first, "newest")));
    let lost = loser.wait().unwrap_err();
    let won = winner.wait().unwrap();

    // Told the first version, it would come with that, and lose to all who know the newest.
    let conflict = lost.conflict().unwrap();
    assert_eq!(conflict.found(), won.version());
    assert_eq!(*conflict.current::<[u8]>().unwrap().value, *b"newest");
}

#[test]
fn a_reply_that_is_dropped_leaves_the_store_whole() {
    let directory = Directory::new();
    let store = directory.open();
    for number in 0..100 {
        let both = Commit::one(put("a", Expected::Any, &number.to_string())).and(put(
            "b",
            Expected::Any,
            &number.to_string(),
        ));
        drop(store.commit(both));
    }
    store.close().unwrap();

    let store = directory.open();
    let (a, b) = (text(&store, "a").unwrap(), text(&store, "b").unwrap());
    assert_eq!(a, b);
    assert_eq!(a.1, "99");
}

#[test]
fn a_write_is_recognised_and_resolved_across_restarts() {
    let directory = Directory::new();
    let [write, other, late] = [WriteId::after(None), WriteId::after(None), WriteId::after(None)];
    let send = |store: &File, write| {
        let both = Commit::one(put("a", Expected::Absent, "one")).and(Entry::check("b", Expected::Absent));
        store.commit(both.with_write(write)).wait()
    };
    let store = directory.open();
    let first = send(&store, write).unwrap();
    assert_eq!(send(&store, write).unwrap(), first);
    assert_eq!(store.resolve(other).wait().unwrap(), Resolution::NotApplied);
    drop(store);

    let store = directory.open();

    assert_eq!(send(&store, write).unwrap(), first);
    assert_eq!(store.resolve(write).wait().unwrap(), Resolution::Applied(first));
    assert!(matches!(send(&store, other), Err(Error::Refused(Refusal::Closed { .. }))));
    assert_eq!(store.resolve(other).wait().unwrap(), Resolution::NotApplied);
    assert_eq!(kind(&send(&store, late).unwrap_err()), Kind::Exists);
}

#[test]
fn outside_the_window_a_write_is_unknown_and_a_closed_one_stays_out() {
    let directory = Directory::new();
    let open = || File::options().history(64).open(directory.file()).unwrap();
    let [below, applied, above] = [1, 2, 3].map(WriteId::from_bits);
    let store = open();
    store.commit(Commit::one(put("a", Expected::Any, "")).with_write(applied)).wait().unwrap();
    for closed in [below, above] {
        assert_eq!(store.resolve(closed).wait().unwrap(), Resolution::NotApplied);
    }
    let has_left = || {
        commit(&store, put("b", Expected::Any, "")).unwrap();
        store.resolve(applied).wait().unwrap() == Resolution::Unknown
    };
    until("the oldest commit never leaves the log", has_left);

    let check = |store: File| {
        let late = |closed| store.commit(Commit::one(put("a", Expected::Any, "")).with_write(closed)).wait();
        // An id that the floor has passed is shut out by that, and its own record is gone.
        assert_eq!(store.resolve(below).wait().unwrap(), Resolution::Unknown);
        assert!(matches!(late(below), Err(Error::Refused(Refusal::Outside { .. }))));
        assert_eq!(store.resolve(above).wait().unwrap(), Resolution::NotApplied);
        assert!(matches!(late(above), Err(Error::Refused(Refusal::Closed { .. }))));
        assert!(matches!(late(applied), Err(Error::Refused(Refusal::Outside { .. }))));
        assert_eq!(store.resolve(WriteId::after(None)).wait().unwrap(), Resolution::NotApplied);
    };
    check(store);
    check(open());
}

#[test]
fn the_feed_goes_on_after_a_restart_and_tells_when_it_cannot() {
    let directory = Directory::new();
    let open = || File::options().history(64).open(directory.file()).unwrap();
    let store = open();
    let before = store.watch(Start::Now).wait().unwrap().cursor().clone();
    let both = Commit::one(put("a", Expected::Any, "one")).and(put("b", Expected::Any, "bee"));
    store.commit(both).wait().unwrap();
    store.resolve(WriteId::after(None)).wait().unwrap();
    commit(&store, put("a", Expected::Any, "two")).unwrap();
    commit(&store, Entry::delete("b", Expected::Any)).unwrap();
    drop(store);

    let store = open();
    let mut changes = store.watch(before.clone().into()).wait().unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let batch = changes.next().wait().unwrap();
        let shown = batch.changes.iter().map(|change| match &change.kind {
            ChangeKind::Put(value) => {
                format!(
                    "{}={}",
                    change.id,
                    value.as_ref().map_or("?", |value| str::from_utf8(value).unwrap())
                )
            }
            ChangeKind::Delete => format!("-{}", change.id),
        });
        seen.push(shown.collect::<Vec<_>>().join(" "));
    }
    assert_eq!(seen, ["a=? b=?", "a=two", "-b"]);

    let has_left = || {
        commit(&store, put("c", Expected::Any, "")).unwrap();
        store.watch(changes.cursor().clone().into()).wait().is_err()
    };
    until("the oldest commit never leaves the log", has_left);
    assert!(matches!(changes.next().wait(), Err(Error::Expired(_))));
    drop(store);

    // Now nothing is settled any more meanwhile.
    let store = open();
    let Err(Error::Expired(expired)) = store.watch(before.clone().into()).wait() else {
        panic!("not expired")
    };
    let Err(Error::Expired(again)) = store.watch(before.into()).wait() else { panic!("not expired") };
    assert_eq!(expired, again);
    let mut resumed = store.watch(expired.oldest.unwrap().into()).wait().unwrap();
    assert_eq!(&*resumed.next().wait().unwrap().changes[0].id, "c");
    for text in ["x", "f", "f1", "f1.", "f.1", "f1.z"] {
        let refused = store.watch(Start::After(text.parse().unwrap())).wait();
        assert!(matches!(refused, Err(Error::Refused(Refusal::Cursor))), "{text}");
    }
}

#[test]
fn a_watcher_wakes_on_a_commit_and_ends_with_the_store() {
    let directory = Directory::new();
    let store = directory.open();
    let mut changes = store.watch(Start::Now).wait().unwrap();

    thread::scope(|scope| {
        let (woken, first) = std::sync::mpsc::channel();
        let watcher = scope.spawn(move || {
            woken.send(changes.next().wait().unwrap().changes[0].id.to_string()).unwrap();
            changes.next().wait()
        });
        commit(&store, put("a", Expected::Any, "one")).unwrap();
        assert_eq!(first.recv().unwrap(), "a");
        drop(store);
        assert!(matches!(watcher.join().unwrap(), Err(Error::Failed(_))));
    });
}

#[test]
fn pages_are_in_order_and_complete() {
    let directory = Directory::new();
    let store = directory.open();
    let ids: Vec<String> = (0..250).map(|number| format!("a/{number:03}")).collect();
    let all: Commit<'_, [u8]> = ids
        .iter()
        .map(String::as_str)
        .chain(["a", "b", "a0"])
        .map(|id| put(id, Expected::Any, "v"))
        .collect();
    store.commit(all).wait().unwrap();

    let mut seen: Vec<String> = Vec::new();
    loop {
        let page = store.scan(Scan::new("a/", 100).after(seen.last().map(String::as_str))).wait().unwrap();
        seen.extend(page.items.iter().map(|(id, _)| id.to_string()));
        if !page.more {
            break;
        }
    }

    assert_eq!(seen, ids);
    assert!(matches!(store.scan(Scan::new("", 0)).wait(), Err(Error::Refused(Refusal::EmptyPage))));
    assert!(!store.scan(Scan::new("a/249", 1)).wait().unwrap().more);
    assert!(store.scan(Scan::new("a/", 1).after(Some("b"))).wait().unwrap().items.is_empty());
}

#[test]
fn limits_are_refused_before_anything_is_sent() {
    let directory = Directory::new();
    let store = File::options().value_limit(10).open(directory.file()).unwrap();
    let ids: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    let many: Commit<'_, [u8]> = ids.iter().map(|id| put(id, Expected::Any, "")).collect();

    assert!(commit(&store, put("a", Expected::Any, "0123456789")).is_ok());
    let long = commit(&store, put("a", Expected::Any, "0123456789a"));
    assert!(matches!(long, Err(Error::Refused(Refusal::TooLarge { bytes: 11, limit: 10, .. }))));
    assert!(matches!(store.commit(many).wait(), Err(Error::Refused(Refusal::TooMany { .. }))));
    let twice = Commit::one(put("a", Expected::Any, "")).and(put("a", Expected::Any, ""));
    assert!(matches!(store.commit(twice).wait(), Err(Error::Refused(Refusal::Duplicate { .. }))));
}

#[test]
fn a_second_opening_is_refused_and_names_the_path() {
    let directory = Directory::new();
    let store = directory.open();

    let refused = File::open(directory.file()).unwrap_err();

    assert!(matches!(refused, OpenError::AlreadyOpen { .. }), "{refused:?}");
    assert!(refused.to_string().contains(directory.file().to_str().unwrap()));
    drop(store);
    directory.open();
}

/// Asserts that a commit is refused for good, and that the cause says why.
#[cfg(unix)]
pub(crate) fn assert_displaced(store: &File) {
    let Err(Error::Failed(failure)) = commit(store, put("late", Expected::Any, "late")) else {
        panic!("acknowledged in a file that nobody finds again")
    };
    assert!(failure.is_lasting());
    let mut causes = std::iter::successors(std::error::Error::source(&failure), |cause| cause.source());
    assert!(causes.any(|cause| cause.to_string().contains("not the file any more")
        || cause.to_string().contains("was removed, or another one")));
}

#[cfg(unix)]
#[test]
fn no_commit_is_acknowledged_once_the_file_was_removed() {
    let directory = Directory::new();
    let store = directory.open();
    commit(&store, put("a", Expected::Any, "one")).unwrap();

    fs::remove_file(directory.file()).unwrap();

    assert_displaced(&store);
    let other = directory.open();
    assert_displaced(&store);
    assert_eq!(text(&other, "a"), None);
    commit(&other, put("a", Expected::Any, "other")).unwrap();
}

#[cfg(unix)]
#[test]
fn a_watcher_is_told_when_the_file_is_gone_also_where_nobody_commits_any_more() {
    let directory = Directory::new();
    let store = File::options().persistence(Persistence::Eventual).open(directory.file()).unwrap();
    commit(&store, put("a", Expected::Any, "zero")).unwrap();
    store.sync().wait().unwrap();
    let mut changes = store.watch(Start::Now).wait().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let watches = thread::spawn(move || {
        let error = loop {
            if let Err(error) = changes.next().wait() {
                break error;
            }
        };
        tell.send(error).unwrap();
    });

    // It does not wait for a sync. The one that is made by itself finds that there is no file.
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    fs::remove_file(directory.file()).unwrap();

    let error = told.recv_timeout(Duration::from_secs(60)).expect("it waits for ever");
    assert!(matches!(error, Error::Failed(_) | Error::Expired(_)), "{error}");
    watches.join().unwrap();
}

#[cfg(unix)]
#[test]
fn no_commit_is_acknowledged_once_a_backup_was_put_in_place_of_the_file() {
    let directory = Directory::new();
    let store = directory.open();
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    let copy = directory.0.join("copy.ifmatch");
    store.backup(&copy).unwrap();

    fs::rename(&copy, directory.file()).unwrap();

    assert_displaced(&store);
    assert_displaced(&store);
    drop(store);
    let store = directory.open();
    assert_eq!(text(&store, "a").unwrap().1, "one");
    assert_eq!(text(&store, "late"), None);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_put_back_serves_again() {
    let directory = Directory::new();
    let store = directory.open();
    let aside = directory.0.join("aside");
    fs::rename(directory.file(), &aside).unwrap();
    assert_displaced(&store);

    fs::rename(&aside, directory.file()).unwrap();

    commit(&store, put("a", Expected::Any, "one")).unwrap();
    drop(store);
    assert_eq!(text(&directory.open(), "a").unwrap().1, "one");
}

/// The variable that makes a test process the one that changes its directory.
const ELSEWHERE: &str = "IFMATCH_ELSEWHERE";

#[test]
fn a_relative_path_means_the_file_it_meant_when_it_was_opened() {
    let (here, elsewhere) = (Directory::new(), Directory::new());
    drop(elsewhere.open());

    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "file::after_a_change_of_directory"])
        .current_dir(&here.0)
        .env(ELSEWHERE, &elsewhere.0)
        .output()
        .unwrap();

    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
    assert_eq!(text(&here.open(), "a").unwrap().1, "one");
    assert_eq!(text(&elsewhere.open(), "a"), None);
}

/// Not a test of its own: it changes the directory of its process.
#[test]
fn after_a_change_of_directory() {
    let Some(elsewhere) = std::env::var_os(ELSEWHERE) else { return };
    let store = File::open("store.ifmatch").unwrap();
    std::env::set_current_dir(elsewhere).unwrap();

    commit(&store, put("a", Expected::Any, "one")).unwrap();
}

#[test]
fn a_file_of_something_else_is_refused_and_left_alone() {
    let directory = Directory::new();
    let contents: [&[u8]; 4] = [b"", b"hello", &[0; 4096], &[0xa5; 100_000]];

    for content in contents {
        fs::write(directory.file(), content).unwrap();
        let refused = File::open(directory.file()).unwrap_err();

        assert!(matches!(refused, OpenError::Corrupt { .. }), "{refused:?}");
        assert!(refused.to_string().contains("store.ifmatch"));
        assert_eq!(fs::read(directory.file()).unwrap(), content);
    }
}

#[test]
fn a_path_that_cannot_be_says_why() {
    let directory = Directory::new();
    let io = |path: &Path| match File::open(path).unwrap_err() {
        OpenError::Io { source, path: named, .. } => {
            assert_eq!(named, path);
            source.kind()
        }
        other => panic!("{other:?}"),
    };

    assert_eq!(io(&directory.0.join("missing/store")), std::io::ErrorKind::NotFound);
    assert_eq!(io(&directory.0), std::io::ErrorKind::IsADirectory);
    let as_error = Error::from(File::open(&directory.0).unwrap_err());
    assert_eq!(as_error.outcome(), Outcome::NotApplied);
}

#[test]
fn a_collection_needs_one_changed_line() {
    let directory = Directory::new();
    let notes = Collection::<Vec<u32>>::json(directory.open());
    notes.create("squares", vec![1, 4]).wait().unwrap();
    notes.modify("squares", |squares| squares.push(9)).wait().unwrap();
    drop(notes);

    let notes = Collection::<Vec<u32>>::json(directory.open());
    assert_eq!(*notes.fetch("squares").wait().unwrap().value, [1, 4, 9]);
}

#[test]
fn many_writers_lose_no_increment() {
    let directory = Directory::new();
    let notes = Collection::<u64>::json(directory.open());
    notes.create("count", 0).wait().unwrap();

    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    notes.modify("count", |count| *count += 1).wait().unwrap();
                }
            });
        }
    });

    assert_eq!(*notes.fetch("count").wait().unwrap().value, 400);
}

#[test]
fn the_store_may_be_dropped_by_the_task_that_its_answer_wakes() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = Directory::new();
    let store = directory.open();

    runtime.block_on(async move {
        store.commit(Commit::one(put("a", Expected::Any, "one"))).await.unwrap();
        drop(store);
    });

    assert!(text(&directory.open(), "a").is_some());
}

#[test]
fn compaction_gives_space_back_while_the_store_serves() {
    let directory = Directory::new();
    let store = directory.open();
    let ids: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let value = "x".repeat(10_000);
    store.commit(ids.iter().map(|id| put(id, Expected::Any, &value)).collect()).wait().unwrap();
    store.commit(ids.iter().map(|id| Entry::delete(id, Expected::Any)).collect()).wait().unwrap();
    let before = fs::metadata(directory.file()).unwrap().len();

    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20 {
                commit(&store, put("kept", Expected::Any, "v")).unwrap();
                assert!(store.scan(Scan::new("", 10)).wait().unwrap().items.len() <= 1);
            }
        });
        assert!(store.compact().wait().unwrap());
    });

    assert!(fs::metadata(directory.file()).unwrap().len() < before / 4);
    assert!(text(&store, "kept").is_some());
}

#[test]
fn a_backup_is_one_state_taken_while_writes_go_on() {
    let directory = Directory::new();
    let copy = directory.0.join("copy.ifmatch");
    let store = directory.open();
    let both = |number: u32| {
        let value = number.to_string();
        store.commit(Commit::one(put("a", Expected::Any, &value)).and(put("b", Expected::Any, &value))).wait()
    };
    let write = WriteId::after(None);
    let first = store.commit(Commit::one(put("c", Expected::Any, "c")).with_write(write)).wait().unwrap();
    let before = store.watch(Start::Now).wait().unwrap().cursor().clone();
    both(0).unwrap();

    thread::scope(|scope| {
        scope.spawn(|| (1..50).for_each(|number| drop(both(number).unwrap())));
        store.backup(&copy).unwrap();
    });
    let taken = store.backup(&copy).unwrap_err();

    let backup = File::open(&copy).unwrap();
    assert_eq!(text(&backup, "a").unwrap(), text(&backup, "b").unwrap());
    assert_eq!(backup.resolve(write).wait().unwrap(), Resolution::Applied(first));
    assert!(backup.watch(before.into()).wait().unwrap().next().wait().is_ok());
    assert_eq!(taken.outcome(), Outcome::NotApplied);
    // The file, its journal and the backup, which is open and was not written to.
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 3, "a stray file was left");
    let late = both(50).unwrap().version();
    let anew = commit(&backup, put("a", Expected::Any, "other")).unwrap().version();
    assert_ne!(late, anew);
    assert!(backup.watch(store.watch(Start::Now).wait().unwrap().cursor().clone().into()).wait().is_err());
}

#[test]
fn a_backup_has_what_is_recent_and_what_is_settled() {
    let directory = Directory::new();
    let copy = directory.0.join("copy.ifmatch");
    let store = directory.open();
    let before = store.watch(Start::Now).wait().unwrap().cursor().clone();
    commit(&store, put("gone", Expected::Any, "settled")).unwrap();
    commit(&store, Entry::delete("gone", Expected::Any)).unwrap();
    store.compact().wait().unwrap();
    let writes = [(); 100].map(|()| WriteId::after(None));
    for (number, write) in writes.iter().enumerate() {
        let id = format!("recent/{number:03}");
        store.commit(Commit::one(put(&id, Expected::Any, &id)).with_write(*write)).wait().unwrap();
    }

    store.backup(&copy).unwrap();

    let backup = File::open(&copy).unwrap();
    let all = |store: &File| store.scan(Scan::new("", 200)).wait().unwrap().items;
    assert_eq!(all(&backup).len(), 100);
    assert_eq!(all(&backup), all(&store));
    assert_eq!(kind(&commit(&backup, put("gone", Expected::Present, "late")).unwrap_err()), Kind::Deleted);
    for write in writes {
        assert_eq!(backup.resolve(write).wait().unwrap(), store.resolve(write).wait().unwrap());
    }
    let mut changes = backup.watch(before.into()).wait().unwrap();
    let ids = [(); 102].map(|()| changes.next().wait().unwrap().changes[0].id.to_string());
    assert_eq!([&*ids[0], &*ids[1], &*ids[2], &*ids[101]], ["gone", "gone", "recent/000", "recent/099"]);
}

#[test]
fn what_is_exported_is_imported_with_its_versions() {
    let directory = Directory::new();
    let store = directory.open();
    let bytes: Vec<u8> = (0..=255).collect();
    commit(&store, put("a\nb", Expected::Any, "one \"two\"\n")).unwrap();
    commit(&store, Entry::put("bytes", Expected::Any, bytes.clone().into())).unwrap();
    let last = commit(&store, Entry::put("gone", Expected::Any, (*b"x").into())).unwrap().version().unwrap();
    commit(&store, Entry::delete("gone", Expected::Any)).unwrap();
    let (mut lines, copy) = (Vec::new(), directory.0.join("copy.ifmatch"));

    assert_eq!(store.export(&mut lines).unwrap(), 2);
    assert_eq!(File::import(&copy, lines.as_slice()).unwrap(), 2);

    let copied = File::open(&copy).unwrap();
    assert_eq!(text(&copied, "a\nb"), text(&store, "a\nb"));
    assert_eq!(copied.get("bytes").wait().unwrap(), store.get("bytes").wait().unwrap());
    assert!(
        commit(&copied, put("gone", Expected::Any, "")).unwrap().version().unwrap().to_bits()
            > last.to_bits()
    );
    assert!(File::import(&copy, lines.as_slice()).is_err());
}

#[test]
fn lines_that_no_export_wrote_create_nothing() {
    let directory = Directory::new();
    let head = r#"{"ifmatch":1,"newest":"7"}"#;
    let lines = [
        "",
        "x",
        r#"{"ifmatch":2,"newest":"7"}"#,
        &format!("{head}\nx"),
        &format!("{head}\n{{\"id\":\"a\",\"version\":\"7\"}}"),
        &format!("{head}\n{{\"id\":\"a\",\"version\":\"8\",\"text\":\"s3cr3t\"}}"),
        &format!("{head}\n{{\"id\":\"\",\"version\":\"7\",\"text\":\"s3cr3t\"}}"),
        &format!("{head}\n{{\"id\":\"a\",\"version\":\"7\",\"hex\":\"abc\"}}"),
        &format!("{head}\n{0}\n{0}", r#"{"id":"a","version":"7","text":"s3cr3t"}"#),
    ];

    for lines in lines {
        let refused = File::import(directory.file(), lines.as_bytes()).unwrap_err();
        assert!(matches!(refused, ifmatch::file::ImportError::Line { .. }), "{lines}: {refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("s3cr3t"));
    }
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0, "a file was left");
}
