//! What a store says whose runtime has ended: that it has, in an error, to whoever calls, waits or watches.

use std::error::Error as _;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use ifmatch::engine::RuntimeEnded;
use ifmatch::store::{Outcome, Scan};
use ifmatch::{Commit, Entry, Error, Expected, Start, Store};

use crate::faults::{Drawn, newest};

/// How long what must not hang may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many runtimes end.
const ROUNDS: u64 = 12;

fn put(id: &str, seen: Drawn) -> Commit<'_, [u8]> {
    Commit::one(Entry::put(id, Expected::Any, (*b"x").into())).with_write(seen.write())
}

fn assert_ended(error: &Error, outcome: Outcome) {
    assert!(error.source().is_some_and(|source| source.is::<RuntimeEnded>()), "{error:?}");
    assert_eq!(error.outcome(), outcome);
}

/// Opens stores in runtimes that end while threads outside call the store, wait for its watchers, or hold both.
pub(crate) fn whoever_outlives_the_runtime_of_a_store_is_told<F>(open: impl Fn() -> F)
where
    F: Future<Output = Arc<dyn Store<[u8]>>>,
{
    for round in 0..ROUNDS {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = runtime.block_on(open());
        let seen = newest(&store).unwrap();
        store.commit(put("a", seen)).wait().unwrap();
        let (tell, told) = mpsc::channel();
        let mut begun = Vec::new();

        // Without any, the watchers are idle when the end comes.
        let writers = 2 * (round % 2);
        for _ in 0..writers {
            let (store, tell) = (Arc::clone(&store), tell.clone());
            thread::spawn(move || {
                let error = loop {
                    let write = seen.write();
                    let put = Entry::put("a", Expected::Any, (*b"x").into());
                    if let Err(error) = store.commit(Commit::one(put).with_write(write)).wait() {
                        if let (Error::Failed(failure), Outcome::Unknown) = (&error, error.outcome()) {
                            assert_eq!(failure.write(), Some(write));
                        }
                        break error;
                    }
                    if let Err(error) = store.get("a").wait() {
                        break error;
                    }
                };
                // The first to fail may have been told by its connection.
                assert!(matches!(error, Error::Failed(_)), "{error:?}");
                tell.send(()).unwrap();
            });
        }
        for reads in [false, true] {
            let mut changes = store.watch(Start::Now).wait().unwrap();
            let tell = tell.clone();
            let (begin, has_begun) = mpsc::channel();
            begun.push(has_begun);
            thread::spawn(move || {
                if reads {
                    changes.next().wait().unwrap();
                }
                begin.send(()).unwrap();
                let error = loop {
                    if let Err(error) = changes.next().wait() {
                        break error;
                    }
                };
                assert_ended(&error, Outcome::NotApplied);
                assert_ended(&changes.next().wait().unwrap_err(), Outcome::NotApplied);
                tell.send(()).unwrap();
            });
        }
        store.commit(put("a", seen)).wait().unwrap();
        for begun in begun {
            begun.recv().unwrap();
        }
        // Asked once, and then left alone until the end.
        let mut context = Context::from_waker(Waker::noop());
        let mut left = store.watch(Start::Now).wait().unwrap();
        let _ = pin!(left.next()).poll(&mut context);
        let mut read = store.get("a");
        let is_under_way = pin!(&mut read).poll(&mut context).is_pending();

        if round / 2 % 2 == 0 {
            drop(runtime);
        } else {
            runtime.shutdown_background();
        }

        for _ in 0..2 + writers {
            told.recv_timeout(PATIENCE)
                .expect("somebody waits for a runtime that has ended, or has panicked");
        }
        if is_under_way {
            let _ = read.wait();
        }
        assert_ended(&left.next().wait().unwrap_err(), Outcome::NotApplied);
        assert_ended(&store.get("a").wait().unwrap_err(), Outcome::NotApplied);
        assert_ended(&store.commit(put("a", seen)).wait().unwrap_err(), Outcome::NotApplied);
        assert_ended(&store.scan(Scan::new("", 10)).wait().unwrap_err(), Outcome::NotApplied);
        assert_ended(&store.resolve(seen.write()).wait().unwrap_err(), Outcome::NotApplied);
        assert_ended(&store.watch(Start::Now).wait().unwrap_err(), Outcome::NotApplied);
    }
}
