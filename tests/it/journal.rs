//! The journal beside the durable store's file, on real files.

use std::fs;
use std::path::{Path, PathBuf};

use ifmatch::file::{File, OpenError};
use ifmatch::store::{Committed, Outcome};
use ifmatch::{Commit, Entry, Error, Expected, Store};

use crate::file::{Directory, assert_displaced, commit, put, text};

/// The name of the journal of the file at a path.
fn journal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".journal");
    name.into()
}

/// What a crash of the program leaves, under another name.
fn crashed(path: &Path, to: &Path) {
    fs::copy(path, to).unwrap();
    fs::copy(journal(path), journal(to)).unwrap();
}

/// Settles what was committed: a commit that is too large for the journal takes all before it along.
fn settle(store: &File) {
    commit_large(store).unwrap();
}

fn commit_large(store: &File) -> Result<Committed, Error> {
    let half = || vec![b'x'; 600_000].into();
    let large = Commit::one(Entry::put("large", Expected::Any, half()));
    store.commit(large.and(Entry::put("larger", Expected::Any, half()))).wait()
}

/// An open store whose next commit needs a journal: the first one did without.
fn begun(directory: &Directory) -> File {
    let store = directory.open();
    commit(&store, put("first", Expected::Any, "")).unwrap();
    store
}

/// The journal of another store that was kept under another name.
fn kept(directory: &Directory) -> PathBuf {
    let names = fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".journal.")).collect();
    let [one] = &kept[..] else { panic!("{kept:?}") };
    one.clone()
}

#[test]
fn a_store_that_is_closed_is_one_file_and_one_that_crashed_is_two() {
    let directory = Directory::new();
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    let copy = directory.0.join("copy.ifmatch");
    crashed(&directory.file(), &copy);

    store.close().unwrap();
    assert!(!journal(&directory.file()).exists());
    assert_eq!(text(&directory.open(), "a").map(|found| found.1).as_deref(), Some("one"));

    let aside = directory.0.join("aside");
    fs::rename(journal(&copy), &aside).unwrap();
    let refused = File::open(&copy).unwrap_err();
    assert!(
        matches!(refused, OpenError::Corrupt { .. }) && refused.to_string().contains("journal"),
        "{refused}"
    );
    fs::rename(&aside, journal(&copy)).unwrap();
    let opened = File::open(&copy).unwrap();
    assert_eq!(text(&opened, "a").map(|found| found.1).as_deref(), Some("one"));
    opened.close().unwrap();
    assert!(!journal(&copy).exists());
}

/// For who commits once a journal would cost more than it saves.
#[test]
fn the_first_commit_after_an_opening_needs_no_journal() {
    let directory = Directory::new();
    for round in 0..2 {
        let store = directory.open();
        for has_journal in [false, true] {
            commit(&store, put("a", Expected::Any, "one")).unwrap();
            assert_eq!(journal(&directory.file()).exists(), has_journal, "round {round}");
        }
        store.compact().wait().unwrap();
        commit(&store, put("a", Expected::Any, "one")).unwrap();
        assert!(!journal(&directory.file()).exists());
        store.close().unwrap();
    }
}

/// Neither the store holds it open, nor a watcher that outlives it.
#[cfg(target_os = "linux")]
#[test]
fn a_journal_that_was_removed_takes_up_no_space() {
    let directory = Directory::new();
    let directory_name = directory.0.file_name().unwrap().to_str().unwrap().to_owned();
    let held = || {
        let names =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.contains(&directory_name) && name.contains(".journal")).count()
    };
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    assert!(held() > 0);

    store.compact().wait().unwrap();
    assert_eq!(held(), 0, "compacted");

    for value in ["two", "three"] {
        commit(&store, put("a", Expected::Any, value)).unwrap();
    }
    let watcher = store.watch(ifmatch::Start::Now).wait().unwrap();
    store.close().unwrap();
    assert_eq!(held(), 0, "closed");
    drop(watcher);
}

#[test]
fn a_file_of_somebody_else_where_the_journal_goes_is_left_alone() {
    let directory = Directory::new();
    fs::write(journal(&directory.file()), "dear diary").unwrap();
    let store = begun(&directory);

    let refused = commit(&store, put("a", Expected::Any, "one")).unwrap_err();

    assert_eq!(refused.outcome(), Outcome::NotApplied);
    assert_eq!(fs::read_to_string(journal(&directory.file())).unwrap(), "dear diary");
    fs::remove_file(journal(&directory.file())).unwrap();
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    store.close().unwrap();
    assert_eq!(text(&directory.open(), "a").map(|found| found.1).as_deref(), Some("one"));
}

#[test]
fn where_no_journal_can_be_created_a_commit_says_so() {
    let directory = Directory::new();
    fs::create_dir(journal(&directory.file())).unwrap();
    let store = begun(&directory);

    let refused = commit(&store, put("a", Expected::Any, "one")).unwrap_err();

    assert_eq!(refused.outcome(), Outcome::NotApplied);
    let causes = std::iter::successors(Some(&refused as &dyn std::error::Error), |cause| cause.source());
    let told: Vec<_> = causes.map(ToString::to_string).collect();
    assert!(told.iter().any(|cause| cause.contains("no journal can be created beside it")), "{told:?}");
    fs::remove_dir(journal(&directory.file())).unwrap();
    commit(&store, put("a", Expected::Any, "one")).unwrap();
}

/// What was acknowledged is in memory still, and settled before it is given up, or in the file already.
#[cfg(unix)]
#[test]
fn a_journal_that_was_removed_or_replaced_takes_no_commit_with_it() {
    for (replaced, is_settled) in [(false, false), (false, true), (true, false), (true, true)] {
        let what = format!("replaced: {replaced}, settled: {is_settled}");
        let directory = Directory::new();
        let store = begun(&directory);
        commit(&store, put("a", Expected::Any, "one")).unwrap();
        if is_settled {
            settle(&store);
        }
        let (place, aside) = (journal(&directory.file()), directory.0.join("aside"));
        fs::rename(&place, &aside).unwrap();
        if replaced {
            fs::copy(&aside, &place).unwrap();
        }
        assert_displaced(&store);

        // The second one has a new journal.
        for _ in 0..2 {
            commit(&store, put("b", Expected::Any, "two")).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        for id in ["a", "b"] {
            assert!(text(&store, id).is_some(), "{id}, {what}");
        }
        let copy = directory.0.join("copy.ifmatch");
        crashed(&directory.file(), &copy);
        let copy = File::open(&copy).unwrap();
        assert_eq!(["a", "b", "late"].map(|id| text(&copy, id).is_some()), [true, true, false], "{what}");
        store.close().unwrap();
        assert_eq!(text(&directory.open(), "a").map(|found| found.1).as_deref(), Some("one"));
    }
}

/// What goes past the journal goes into a file that tells of it.
#[test]
fn a_journal_that_was_removed_is_missed_by_a_large_commit_too() {
    let directory = Directory::new();
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    settle(&store);
    fs::remove_file(journal(&directory.file())).unwrap();

    let refused = commit_large(&store);

    assert!(refused.is_err(), "{refused:?}");
    settle(&store);
    let copy = directory.0.join("copy.ifmatch");
    fs::copy(directory.file(), &copy).unwrap();
    let copy = File::open(&copy).unwrap();
    assert_eq!(["a", "large"].map(|id| text(&copy, id).is_some()), [true; 2]);
    store.close().unwrap();
}

/// Also where the file itself was gone when that was found out.
#[cfg(unix)]
#[test]
fn commits_are_kept_in_memory_until_their_file_is_back_without_its_journal() {
    let directory = Directory::new();
    let (path, aside) = (directory.file(), directory.0.join("aside"));
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    fs::rename(&path, &aside).unwrap();
    fs::remove_file(journal(&path)).unwrap();
    assert_displaced(&store);
    assert_displaced(&store);
    fs::rename(&aside, &path).unwrap();

    commit(&store, put("b", Expected::Any, "two")).unwrap();

    store.close().unwrap();
    let store = directory.open();
    assert_eq!(["a", "b"].map(|id| text(&store, id).unwrap().1), ["one", "two"]);

    // Who closes meanwhile is told that they may be lost.
    for value in ["three", "four"] {
        commit(&store, put("a", Expected::Any, value)).unwrap();
    }
    fs::rename(&path, &aside).unwrap();
    fs::remove_file(journal(&path)).unwrap();
    assert_displaced(&store);
    assert_eq!(store.close().unwrap_err().outcome(), Outcome::Unknown);
}

#[cfg(unix)]
#[test]
fn closing_where_the_journal_was_removed_loses_nothing() {
    let directory = Directory::new();
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    fs::remove_file(journal(&directory.file())).unwrap();

    store.close().unwrap();

    assert_eq!(text(&directory.open(), "a").map(|found| found.1).as_deref(), Some("one"));
}

/// Also where it takes a while until the file can be opened anew.
#[cfg(unix)]
#[test]
fn a_journal_that_is_back_is_gone_on_with() {
    let directory = Directory::new();
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    let aside = ["file", "journal"].map(|name| directory.0.join(name));
    let places = [directory.file(), journal(&directory.file())];
    fs::rename(&places[1], &aside[1]).unwrap();
    fs::rename(&places[0], &aside[0]).unwrap();
    assert_displaced(&store);
    fs::rename(&aside[1], &places[1]).unwrap();
    fs::rename(&aside[0], &places[0]).unwrap();

    commit(&store, put("b", Expected::Any, "two")).unwrap();

    assert_eq!(["a", "b"].map(|id| text(&store, id).unwrap().1), ["one", "two"]);
    assert!(places[1].exists());
}

#[cfg(unix)]
#[test]
fn a_commit_that_waits_for_no_sync_is_refused_too_where_the_file_is_gone() {
    let directory = Directory::new();
    let store =
        File::options().persistence(ifmatch::file::Persistence::Eventual).open(directory.file()).unwrap();
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    fs::remove_file(directory.file()).unwrap();

    assert_displaced(&store);
}

#[cfg(unix)]
#[test]
fn two_openings_never_share_a_journal() {
    let directory = Directory::new();
    let (path, copy) = (directory.file(), directory.0.join("copy.ifmatch"));
    for has_journal in [true, false] {
        let first = begun(&directory);
        commit(&first, put("a", Expected::Any, "one")).unwrap();
        if !has_journal {
            first.compact().wait().unwrap();
            commit(&first, put("a", Expected::Any, "one")).unwrap();
        }
        // Another file, which the engine finds unlocked, beside the journal of the first.
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();

        let second = match File::open(&path) {
            Err(refused) => {
                assert!(has_journal && matches!(refused, OpenError::AlreadyOpen { .. }), "{refused}");
                drop(first);
                continue;
            }
            Ok(second) => second,
        };
        for _ in 0..2 {
            commit(&second, put("b", Expected::Any, "two")).unwrap();
        }
        assert_eq!(
            commit(&first, put("a", Expected::Any, "three")).unwrap_err().outcome(),
            Outcome::NotApplied
        );

        crashed(&path, &copy);
        let crashed = File::open(&copy).unwrap();
        assert_eq!(["a", "b"].map(|id| text(&crashed, id).unwrap().1), ["one", "two"]);
    }
}

/// Also where its own file was moved away, and another store is at its path.
#[cfg(unix)]
#[test]
fn a_journal_that_is_open_makes_no_way() {
    let directory = Directory::new();
    let (path, aside) = (directory.file(), directory.0.join("aside"));
    let first = begun(&directory);
    commit(&first, put("a", Expected::Any, "one")).unwrap();
    fs::rename(&path, &aside).unwrap();
    let second = begun(&directory);

    let refused = commit(&second, put("b", Expected::Any, "two")).unwrap_err();

    assert_eq!(refused.outcome(), Outcome::NotApplied, "{refused}");
    fs::rename(&aside, &path).unwrap();
    commit(&first, put("c", Expected::Any, "three")).unwrap();
    assert_eq!(["a", "c"].map(|id| text(&first, id).unwrap().1), ["one", "three"]);
    assert!(journal(&path).exists());
}

#[test]
fn a_journal_with_commits_of_another_store_is_kept_under_another_name() {
    let directory = Directory::new();
    let (path, old) = (directory.file(), directory.0.join("old.ifmatch"));
    let (backup, crash) = (directory.0.join("backup.ifmatch"), directory.0.join("crash.ifmatch"));
    let store = begun(&directory);
    store.backup(&backup).unwrap();
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    crashed(&path, &crash);
    store.close().unwrap();
    fs::rename(journal(&crash), journal(&path)).unwrap();
    fs::rename(&crash, &old).unwrap();
    fs::rename(&backup, &path).unwrap();

    let store = begun(&directory);
    commit(&store, put("b", Expected::Any, "two")).unwrap();
    drop(store);

    fs::rename(kept(&directory), journal(&old)).unwrap();
    assert_eq!(text(&File::open(&old).unwrap(), "a").map(|found| found.1).as_deref(), Some("one"));
}

/// As a crash leaves it between the note that there is no journal and its end.
#[test]
fn a_journal_of_the_same_store_that_is_left_over_is_removed() {
    let directory = Directory::new();
    let aside = directory.0.join("aside");
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    fs::copy(journal(&directory.file()), &aside).unwrap();
    store.close().unwrap();
    fs::rename(&aside, journal(&directory.file())).unwrap();

    let store = directory.open();
    assert!(!journal(&directory.file()).exists());
    commit(&store, put("a", Expected::Any, "two")).unwrap();
    store.close().unwrap();

    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    assert_eq!(text(&directory.open(), "a").map(|found| found.1).as_deref(), Some("two"));
}

/// As a crash leaves it between its creation and the note that it is there.
#[test]
fn a_journal_that_was_created_and_never_used_is_removed() {
    let directory = Directory::new();
    let (path, before, unused) = (directory.file(), directory.0.join("before"), directory.0.join("unused"));
    let store = directory.open();
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    store.close().unwrap();
    fs::copy(&path, &before).unwrap();
    let store = directory.open();
    for value in ["two", "three"] {
        commit(&store, put("a", Expected::Any, value)).unwrap();
    }
    let used = fs::read(journal(&path)).unwrap();
    fs::write(&unused, &used[..4096]).unwrap();
    fs::OpenOptions::new().write(true).open(&unused).unwrap().set_len(used.len() as u64).unwrap();
    store.close().unwrap();

    for has_commits in [false, true] {
        let left =
            if has_commits { fs::write(journal(&path), &used) } else { fs::rename(&unused, journal(&path)) };
        left.unwrap();
        fs::copy(&before, &path).unwrap();
        let store = directory.open();
        assert_eq!(journal(&path).exists(), has_commits);
        for value in ["two", "three"] {
            commit(&store, put("a", Expected::Any, value)).unwrap();
        }
        store.close().unwrap();

        let left = fs::read_dir(&directory.0).unwrap().count();
        assert_eq!(left, if has_commits { 3 } else { 2 }, "beside the copy, with commits: {has_commits}");
    }
    assert_eq!(fs::read(kept(&directory)).unwrap(), used);
}

/// Between the note that there is a journal and its first frame.
#[test]
fn a_journal_without_commits_of_another_file_is_kept_too() {
    let directory = Directory::new();
    let (path, old) = (directory.file(), directory.0.join("old.ifmatch"));
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    let file = fs::read(&path).unwrap();
    let mut blank = fs::read(journal(&path)).unwrap();
    blank[4096..].fill(0);
    store.close().unwrap();
    fs::write(&old, file).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(journal(&path), blank).unwrap();

    let store = begun(&directory);
    commit(&store, put("b", Expected::Any, "two")).unwrap();
    drop(store);

    fs::rename(kept(&directory), journal(&old)).unwrap();
    assert_eq!(text(&File::open(&old).unwrap(), "a"), None);
}

#[cfg(unix)]
#[test]
fn a_journal_has_the_owner_of_its_file() {
    use std::os::unix::fs::{MetadataExt, chown};

    let directory = Directory::new();
    drop(directory.open());
    // Where the test may give files away.
    let _ = chown(directory.file(), Some(1234), Some(1234));
    let store = begun(&directory);

    commit(&store, put("a", Expected::Any, "one")).unwrap();

    let owner = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!(owner(&journal(&directory.file())), owner(&directory.file()));
}

#[cfg(unix)]
#[test]
fn a_journal_may_be_read_by_whom_the_file_may_be_read() {
    use std::os::unix::fs::PermissionsExt;

    let directory = Directory::new();
    drop(directory.open());
    fs::set_permissions(directory.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let store = begun(&directory);

    commit(&store, put("a", Expected::Any, "one")).unwrap();

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&journal(&directory.file())), 0o600);
}

#[test]
fn what_a_crash_left_of_a_creation_is_removed_at_the_next() {
    let directory = Directory::new();
    let stray = |name: &str| directory.0.join(format!("store.ifmatch.journal.{name}"));
    let (left, kept) = (stray("new"), stray("notes.new"));
    fs::write(&left, "half").unwrap();
    fs::write(&kept, "dear diary").unwrap();
    let store = begun(&directory);

    commit(&store, put("a", Expected::Any, "one")).unwrap();

    assert_eq!([left.exists(), kept.exists()], [false, true]);
}

#[cfg(unix)]
#[test]
fn by_a_link_a_file_has_the_same_journal() {
    let directory = Directory::new();
    let store = begun(&directory);
    commit(&store, put("a", Expected::Any, "one")).unwrap();
    let (copy, link) = (directory.0.join("copy.ifmatch"), directory.0.join("link"));
    crashed(&directory.file(), &copy);
    std::os::unix::fs::symlink(&copy, &link).unwrap();

    assert_eq!(text(&File::open(&link).unwrap(), "a").map(|found| found.1).as_deref(), Some("one"));
}
