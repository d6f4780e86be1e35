//! The line for hot ids.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use shuttle::future::block_on;
use shuttle::thread;

use super::{explore, put_all, store};
use crate::base::AtomicUsize;
use crate::collection::testing::Jumping;
use crate::collection::{Called, Collection, Gate, Retry, Sleep, Timer};
use crate::store::WriteId;

/// A clock that stands still: who waits for it waits for ever, so that a turn that gets lost is a deadlock.
#[derive(Clone)]
struct Frozen(Instant);

impl Timer for Frozen {
    fn now(&self) -> Instant {
        self.0
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(pending())
    }
}

fn frozen() -> Frozen {
    Frozen(Instant::now())
}

/// Three counters' worth of contention: a collection with `a` at 0.
fn counters(timer: impl Timer) -> Collection<u64> {
    let store = store();
    put_all(&store, &["a"], 0);
    Collection::new(store).with_retry(Retry::default().attempts(u32::MAX).timer(timer).random(|| 0))
}

fn add_twice(counters: &Collection<u64>) {
    for _ in 0..2 {
        block_on(counters.modify("a", |count| *count += 1)).unwrap();
    }
}

#[test]
fn every_increment_counts_and_no_turn_is_lost() {
    explore(|| {
        let counters = counters(frozen());
        let writers = [(); 3].map(|()| {
            let counters = counters.clone();
            thread::spawn(move || add_twice(&counters))
        });

        for writer in writers {
            writer.join().unwrap();
        }

        assert_eq!(*block_on(counters.fetch("a")).unwrap().value, 6);
        assert!(counters.gate().is_quiet());
    });
}

#[test]
fn every_increment_counts_where_every_wait_in_line_stalls() {
    explore(|| {
        let counters = counters(Jumping::new());
        let writers = [(); 3].map(|()| {
            let counters = counters.clone();
            thread::spawn(move || add_twice(&counters))
        });

        for writer in writers {
            writer.join().unwrap();
        }

        assert_eq!(*block_on(counters.fetch("a")).unwrap().value, 6);
        assert!(counters.gate().is_quiet());
    });
}

#[test]
fn who_gives_up_at_any_place_of_the_line_passes_the_turn_on() {
    explore(|| {
        let counters = counters(frozen());
        let writers = [(); 2].map(|()| {
            let counters = counters.clone();
            thread::spawn(move || add_twice(&counters))
        });
        let quitter = {
            let counters = counters.clone();
            thread::spawn(move || {
                let mut reply = counters.modify("a", |count| *count += 1);
                if reply.is_pending() {
                    let _ = Future::poll(Pin::new(&mut reply), &mut Context::from_waker(Waker::noop()));
                }
            })
        };

        for writer in writers {
            writer.join().unwrap();
        }
        quitter.join().unwrap();

        assert!((4..=5).contains(&*block_on(counters.fetch("a")).unwrap().value));
        assert!(counters.gate().is_quiet());
    });
}

#[test]
fn one_at_a_time_is_at_the_head() {
    explore(|| {
        let gate = Arc::new(Gate::<u64>::new(Arc::new(frozen()), Some(Duration::from_secs(1))));
        let inside = Arc::new(AtomicUsize::new(0));
        let writers = [(); 3].map(|()| {
            let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
            thread::spawn(move || {
                let mut place = gate.join("a", None);
                assert!(matches!(block_on(place.called()), Called::Turn(_)));
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                inside.fetch_sub(1, Ordering::SeqCst);
            })
        });

        for writer in writers {
            writer.join().unwrap();
        }

        assert!(gate.is_quiet());
    });
}

#[test]
fn who_cuts_in_takes_nobodys_turn_away() {
    explore(|| {
        let gate = Arc::new(Gate::<u64>::new(Arc::new(frozen()), Some(Duration::from_secs(1))));
        let inside = Arc::new(AtomicUsize::new(0));
        let writers = [true, true, false].map(|cuts_in| {
            let (gate, inside) = (Arc::clone(&gate), Arc::clone(&inside));
            thread::spawn(move || {
                for passes in [cuts_in, false] {
                    let mut place = if cuts_in { gate.cut_in("a") } else { gate.join("a", None) };
                    assert!(matches!(block_on(place.called()), Called::Turn(_)));
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    if passes {
                        place.pass(Arc::new(0), WriteId::after(None));
                        place.arrive(true);
                    }
                }
            })
        });

        for writer in writers {
            writer.join().unwrap();
        }

        assert!(gate.is_quiet());
    });
}
