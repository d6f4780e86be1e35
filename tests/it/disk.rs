//! The durable store on a disk that is really full, and on one that is read-only: a small one in memory, mounted where
//! only the test sees it.

use std::error::Error as StdError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use ifmatch::file::{File, OpenError};
use ifmatch::store::Outcome;
use ifmatch::{Commit, Entry, Error, Expected, Store};

use crate::file::Directory;

/// The variable that makes a test process one that runs on the small disk.
const DISK: &str = "IFMATCH_SMALL_DISK";

/// What every shell has, after the mount. `$1` is the directory, `$2` this program.
const MOUNT: &str = "mount -t tmpfs -o size=24m,mode=777 tmpfs \"$1\"";

/// Runs a script in which the disk is mounted, and then tests of this program by name.
fn run(script: &str) {
    let directory = Directory::new();
    let place = directory.file();
    fs::create_dir(&place).unwrap();
    let program = std::env::current_exe().unwrap();
    // A user who may not mount becomes one who may, in a name space of its own, where the system allows that.
    let unshare = |flags: &[&str]| {
        let child = Command::new("unshare")
            .args(flags)
            .args(["sh", "-ec", script, "sh"])
            .args([&place, &program])
            .env(DISK, &place)
            .output();
        child.unwrap_or_else(|error| {
            panic!("this test needs the program `unshare`, from the package util-linux: {error}")
        })
    };
    let mountable = |flags: &[&str]| {
        let probe = Command::new("unshare").args(flags).args(["sh", "-ec", MOUNT, "sh"]).arg(&place).output();
        probe.is_ok_and(|probe| probe.status.success())
    };
    let ways: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
    let Some(flags) = ways.into_iter().find(|flags| mountable(flags)) else {
        unshare(ways[0]);
        panic!(
            "this test has to mount a tmpfs, for which it must run as root (in a container, with CAP_SYS_ADMIN) or be \
             allowed user name spaces (sysctl kernel.unprivileged_userns_clone=1), with `mount` from util-linux"
        );
    };
    let child = unshare(flags);
    let told = [child.stdout, child.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
    assert!(child.status.success(), "{}\n{}", told[0], told[1]);
    // A name that fits no test would pass.
    assert!(told[0].contains("1 passed"), "{}", told[0]);
}

/// The directory on the small disk, in a process that has one.
fn small_disk() -> Option<PathBuf> {
    std::env::var_os(DISK).map(PathBuf::from)
}

fn put(id: &str, length: usize) -> Commit<'_, [u8]> {
    Commit::one(Entry::put(id, Expected::Any, vec![b'x'; length].into()))
}

/// What the system said, wherever in the chain of causes.
fn said(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(said) = error.downcast_ref::<io::Error>() {
            return Some(said.kind());
        }
        next = error.source();
    }
    None
}

fn refused(path: &Path) -> io::ErrorKind {
    match File::open(path).unwrap_err() {
        OpenError::Io { source, path: named, .. } => {
            assert_eq!(named, path);
            source.kind()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_on_a_full_disk_says_so_and_serves_again_once_there_is_space() {
    run(&format!("{MOUNT}; \"$2\" --exact disk::on_a_full_disk --nocapture"));
}

/// Not a test of its own: it runs on the small disk.
#[test]
fn on_a_full_disk() {
    let Some(disk) = small_disk() else { return };
    // What is left is enough for the journal, and for the beginning of the file.
    fs::write(disk.join("ballast"), vec![1; 14 << 20]).unwrap();
    let path = disk.join("store.ifmatch");
    let store = File::open(&path).unwrap();
    let ids: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    let mut kept = 0;

    let error = loop {
        match store.commit(put(&ids[kept], 50_000)).wait() {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };

    assert!(kept > 3, "{kept}");
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert_eq!(said(&error), Some(io::ErrorKind::StorageFull), "{error:?}");
    assert!(matches!(&error, Error::Failed(failure) if failure.is_lasting()), "{error:?}");
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("store.ifmatch")));
    // Reads go on, and so do refusals.
    for id in &ids[..kept] {
        assert_eq!(store.get(id).wait().unwrap().unwrap().value.len(), 50_000);
    }
    for _ in 0..3 {
        let again = store.commit(put(&ids[999], 50_000)).wait().unwrap_err();
        assert!(matches!(&again, Error::Failed(failure) if failure.is_lasting()), "{again:?}");
    }
    assert_eq!(refused(&disk.join("another.ifmatch")), io::ErrorKind::StorageFull);
    let names: Vec<_> = fs::read_dir(&disk).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "something was left: {names:?}");

    fs::remove_file(disk.join("ballast")).unwrap();

    for _ in 0..20 {
        store.commit(put("again", 10_000)).wait().unwrap();
    }
    store.close().unwrap();
    let store = File::open(&path).unwrap();
    for id in ids[..kept].iter().map(String::as_str).chain(["again"]) {
        assert!(store.get(id).wait().unwrap().is_some(), "`{id}` was acknowledged");
    }
    println!("full after {kept} commits");
}

#[test]
fn where_there_is_no_space_for_a_journal_commits_go_on_without_one() {
    run(&format!("{MOUNT}; \"$2\" --exact disk::on_a_disk_without_space_for_a_journal --nocapture"));
}

/// Not a test of its own: it runs on the small disk.
#[test]
fn on_a_disk_without_space_for_a_journal() {
    let Some(disk) = small_disk() else { return };
    let path = disk.join("store.ifmatch");
    let store = File::open(&path).unwrap();
    for id in ["a", "b", "c"] {
        store.commit(put(id, 500_000)).wait().unwrap();
    }
    store.close().unwrap();
    let taken = fs::metadata(&path).unwrap().len();
    fs::write(disk.join("ballast"), vec![1; (18 << 20) - taken as usize]).unwrap();
    let store = File::open(&path).unwrap();

    store.commit(Commit::one(Entry::delete("a", Expected::Present))).wait().unwrap();
    store.commit(put("d", 1_000)).wait().unwrap();

    assert!(!disk.join("store.ifmatch.journal").exists());
    store.close().unwrap();
    let store = File::open(&path).unwrap();
    let there = ["a", "b", "c", "d"].map(|id| store.get(id).wait().unwrap().is_some());
    assert_eq!(there, [false, true, true, true]);
}

#[test]
fn a_journal_that_takes_the_last_space_gives_it_back() {
    run(&format!("{MOUNT}; \"$2\" --exact disk::on_a_disk_with_space_for_a_journal_alone --nocapture"));
}

/// Not a test of its own: it runs on the small disk.
#[test]
fn on_a_disk_with_space_for_a_journal_alone() {
    let Some(disk) = small_disk() else { return };
    let (path, journal) = (disk.join("store.ifmatch"), disk.join("store.ifmatch.journal"));
    let mut without = 0;
    for spare in (0..64 << 10).step_by(4096) {
        drop(File::open(&path).unwrap());
        let ballast = fs::File::create(disk.join("ballast")).unwrap();
        let filled = io::copy(&mut io::repeat(1), &mut &ballast).unwrap_err();
        assert_eq!(filled.kind(), io::ErrorKind::StorageFull);
        // The journal has a header of one block.
        let free = (8 << 20) + 4096 + spare;
        ballast.set_len(ballast.metadata().unwrap().len() - free).unwrap();
        let store = File::open(&path).unwrap();

        for round in 0..4 {
            let put = store.commit(put("a", 10)).wait();
            put.unwrap_or_else(|error| panic!("{spare} bytes to spare, round {round}: {error}"));
        }

        without += usize::from(!journal.exists());
        ballast.set_len(0).unwrap();
        store.close().unwrap();
        assert_eq!(
            fs::read_dir(&disk).unwrap().count(),
            2,
            "a file was left beside the store and the ballast"
        );
        fs::remove_file(&path).unwrap();
    }
    assert!(without > 0);
}

#[test]
fn a_read_only_disk_is_refused_with_a_reason() {
    run(&format!(
        "{MOUNT}; \"$2\" --exact disk::before_it_is_read_only --nocapture; mount -o remount,ro \"$1\"; \
         \"$2\" --exact disk::on_a_read_only_disk --nocapture"
    ));
}

/// Not a test of its own: it runs on the small disk.
#[test]
fn before_it_is_read_only() {
    let Some(disk) = small_disk() else { return };
    File::open(disk.join("store.ifmatch")).unwrap().commit(put("a", 10)).wait().unwrap();
}

/// Not a test of its own: it runs on the small disk.
#[test]
fn on_a_read_only_disk() {
    let Some(disk) = small_disk() else { return };
    assert_eq!(refused(&disk.join("store.ifmatch")), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(refused(&disk.join("another.ifmatch")), io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(Error::from(File::open(disk.join("b")).unwrap_err()).outcome(), Outcome::NotApplied);
}
