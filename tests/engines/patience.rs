//! How long tests wait: none waits for ever, and one that hangs is named.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use std::{mem, process};

/// Far longer than any test takes on a slow machine.
const LONGEST: Duration = Duration::from_secs(900);

/// The tests under way, by the threads that the harness runs them in and names after them.
static UNDER_WAY: LazyLock<Mutex<HashMap<ThreadId, (String, Instant)>>> = LazyLock::new(|| {
    thread::spawn(end_what_hangs);
    Mutex::default()
});

fn under_way() -> MutexGuard<'static, HashMap<ThreadId, (String, Instant)>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

thread_local! {
    static TEST: Test = Test::begin();
}

/// A test under way: it ends with its thread.
struct Test;

impl Test {
    fn begin() -> Self {
        let thread = thread::current();
        // Threads that tests start have no name.
        if let Some(name) = thread.name().filter(|name| *name != "main") {
            under_way().insert(thread.id(), (name.to_owned(), Instant::now()));
        }
        Self
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        under_way().remove(&thread::current().id());
    }
}

/// Has the test of this thread watched from now on.
pub(crate) fn watch() {
    TEST.with(|_| ());
}

fn end_what_hangs() {
    loop {
        thread::sleep(Duration::from_secs(5));
        let tests = under_way();
        let hang: Vec<&str> =
            tests.values().filter(|test| test.1.elapsed() > LONGEST).map(|test| &*test.0).collect();
        if !hang.is_empty() {
            // Past the harness, which would keep it for itself. Servers end with the process.
            let _ =
                writeln!(io::stderr(), "after {} s still under way: {}", LONGEST.as_secs(), hang.join(", "));
            process::exit(101);
        }
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Tells other threads to end, also where this one panics: a scope waits for all of its threads.
pub(crate) struct Ending<'a>(&'a AtomicBool);

impl<'a> Ending<'a> {
    /// Sets the flag once it is dropped.
    pub(crate) fn new(done: &'a AtomicBool) -> Self {
        Self(done)
    }

    /// Sets it now.
    pub(crate) fn now(self) {
        mem::drop(self);
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
