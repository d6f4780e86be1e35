//! What a forked child may do with a file that its parent has open. A binary of its own: the process is copied.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::{error, fs, process};

use fork::Fork;
use ifmatch::store::{Scan, WriteId};
use ifmatch::{Commit, Entry, Expected, File, Start, Store};

fn put(id: &str) -> Commit<'_, [u8]> {
    Commit::one(Entry::put(id, Expected::Any, b"1".as_slice().into()))
}

/// A place where no file is, also after a run that failed.
fn place() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("forked.ifmatch");
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn a_forked_child_is_refused_and_does_no_harm() {
    let path = place();
    let store = File::open(&path).unwrap();
    let mut changes = store.watch(Start::Now).wait().unwrap();
    for number in 0..50 {
        store.commit(put(&format!("before/{number}"))).wait().unwrap();
    }

    match fork::fork().unwrap() {
        Fork::Child => {
            let refused = [
                store.get("before/1").wait().is_err(),
                store.commit(put("child")).wait().is_err(),
                store.commit(Commit::one(Entry::check("a", Expected::Absent))).wait().is_err(),
                store.scan(Scan::new("", 1)).wait().is_err(),
                store.resolve(WriteId::after(None)).wait().is_err(),
                store.watch(Start::Now).wait().is_err(),
                changes.next().wait().is_err(),
                store.sync().wait().is_err(),
                store.compact().wait().is_err(),
                store.backup(path.with_extension("copy")).is_err(),
            ];
            let refusal = store.get("a").wait().unwrap_err();
            let names = error::Error::source(&refusal).unwrap().to_string().contains("forked");
            let lasts = matches!(&refusal, ifmatch::Error::Failed(failure) if failure.is_lasting());
            drop(store);
            process::exit(if refused == [true; 10] && names && lasts { 0 } else { 1 });
        }
        Fork::Parent(child) => assert_eq!(fork::waitpid(child).unwrap(), 0),
    }

    assert!(File::open(&path).is_err(), "the child gave up its parent's lock");
    for number in 0..50 {
        store.commit(put(&format!("after/{number}"))).wait().unwrap();
    }
    drop((changes, store));
    let store = File::open(&path).unwrap();
    assert_eq!(store.scan(Scan::new("", 1000)).wait().unwrap().items.len(), 100);
}
