//! Negative controls: a store broken on purpose in one way at a time, and the law that catches it in every run.

mod commit;
mod database;
mod fault;
mod feed;
mod store;

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, Once};
use std::thread;

use ifmatch::conformance;
use ifmatch::conformance::{Law, laws};

use fault::{CAUGHT, Fault};
use store::Broken;

/// The name of threads whose panics are expected, and not printed.
const QUIET: &str = "a store broken on purpose";

conformance!(sound, Broken::new(Fault::None));

#[test]
fn each_fault_is_caught_by_its_laws() {
    silence();
    let cases = CAUGHT.iter().flat_map(|(fault, names)| names.iter().map(|name| (*fault, law(name))));
    let cases = Arc::new(Mutex::new(cases.collect::<Vec<_>>().into_iter()));
    let missed = Arc::new(Mutex::new(Vec::new()));
    // Many threads: a law that finds a store stuck only waits.
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (cases, missed) = (Arc::clone(&cases), Arc::clone(&missed));
            let work = move || {
                loop {
                    let next = cases.lock().unwrap().next();
                    let Some((fault, law)) = next else { return };
                    if let Err(why) = caught(fault, law) {
                        missed.lock().unwrap().push(why);
                    }
                }
            };
            thread::Builder::new().name(QUIET.to_owned()).spawn(work).unwrap()
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }

    let missed = missed.lock().unwrap();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn each_law_was_seen_to_fail() {
    let seen: BTreeSet<&str> = CAUGHT.iter().flat_map(|(_, laws)| laws.iter().copied()).collect();
    let all: BTreeSet<&str> = laws::<u64>().iter().map(Law::name).collect();

    assert_eq!(seen, all);
}

/// Whether the law panics on a store with the fault, and says that it was this law.
fn caught(fault: Fault, law: Law<u64>) -> Result<(), String> {
    let name = law.name();
    let run = panic::catch_unwind(AssertUnwindSafe(|| law.check(Arc::new(Broken::new(fault)))));
    let Err(payload) = run else { return Err(format!("{fault:?} was not caught by {name}")) };
    let message = payload.downcast_ref::<String>().cloned();
    let message =
        message.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
    match message.contains(name) {
        true => Ok(()),
        false => Err(format!("{fault:?} was caught by {name}, which does not say so: {message}")),
    }
}

fn law(name: &str) -> Law<u64> {
    let found = laws::<u64>().into_iter().find(|law| law.name() == name);
    found.unwrap_or_else(|| panic!("there is no law {name}"))
}

/// Keeps panics on the threads of these tests, and of the laws they run, off the terminal.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name() != Some(QUIET) {
                before(info);
            }
        }));
    });
}
