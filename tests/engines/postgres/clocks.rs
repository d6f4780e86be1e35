//! No clock matters: what holds while that of the server is set by hours, in both directions.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ifmatch::conformance::history::{Numbering, Workload};
use ifmatch::store::Resolution;
use ifmatch::{Commit, Entry, Expected, Store};

use super::{ELSEWHERE, open, options, server_run_by};
use crate::faults::{self, newest, patiently};
use crate::server::program;

/// Where Debian's package puts the library that a program is told the time by.
const LIBRARIES: [&str; 2] = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime"];

#[test]
fn no_answer_is_wrong_while_the_clock_of_the_server_is_set() {
    let library = program("libfaketime.so.1", &LIBRARIES, "faketime");
    let postgres = program("postgres", &ELSEWHERE, "postgresql");
    let run = format!(
        "FAKETIME_NO_CACHE=1 FAKETIME_TIMESTAMP_FILE=$PWD/clock LD_PRELOAD={} exec {} \"$@\"",
        library.display(),
        postgres.display()
    );
    let put = || Commit::one(Entry::put("a", Expected::Any, (*b"v").into()));
    // At once: a server that reads half of it ends.
    let set = |directory: &std::path::Path, step: &str| {
        fs::write(directory.join("next"), step).unwrap();
        fs::rename(directory.join("next"), directory.join("clock")).unwrap();
    };
    let server = server_run_by(PathBuf::from("/bin/sh"), &["-c", &run, "sh"], &["fsync=off"]);
    let store: Arc<dyn Store<[u8]>> = Arc::new(open(&options(), server.port));
    let asked = open(&options().history(64), server.port);
    let mut workload = Workload::new(11);
    workload.ids = (0..5).map(|id| format!("clock/{id}")).collect();
    (workload.threads, workload.calls) = (8, 400);
    let (mut steps, mut fresh) = (0, 0);

    let run = faults::run(store, &workload, Numbering::PerId, |done| {
        while !done.load(Ordering::SeqCst) {
            for step in ["+3600", "-3600", "+31536000", "+0"] {
                set(server.directory(), step);
                steps += 1;
                // More questions than the history holds, and none of them shuts out a commit.
                let write = patiently(|| newest(&asked)).write();
                patiently(|| asked.commit(put().with_write(write)).wait());
                for _ in 0..70 {
                    let other = patiently(|| newest(&asked)).write();
                    let resolved = patiently(|| asked.resolve(other).wait());
                    assert!(matches!(resolved, Resolution::NotApplied | Resolution::Unknown), "{resolved:?}");
                }
                let kept = patiently(|| asked.resolve(write).wait());
                assert!(matches!(kept, Resolution::Applied(_)), "{kept:?}");
                fresh += 1;
            }
        }
        set(server.directory(), "+0");
    });

    println!("{run:?}, {steps} steps of the clock, {fresh} fresh commits and none refused");
    assert!(run.operations > 3_000 && steps >= 4 && fresh == steps, "{run:?}, {steps} steps");
}
