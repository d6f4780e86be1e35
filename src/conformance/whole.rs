//! Promises 8, 9 and 12: user code, dropped replies and many threads leave the store whole, and nothing leaks.

use std::error::Error as StdError;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::conformance::ground::Ground;
use crate::conformance::race::PATIENCE;
use crate::conformance::sample::Sample;
use crate::store::{
    Changes, Commit, Entry, Expected, MAX_ID_BYTES, Reply, Scan, Start, Store, WriteId, block_on,
};

/// A task's waker may call the store, watch it included: it is not woken under a lock.
pub async fn a_waker_may_call_the_store<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_waker_may_call_the_store", store);
    if !ground.abilities().watch {
        return;
    }
    let mut changes =
        store.watch(Start::Now).await.unwrap_or_else(|error| panic!("{}: {error}", ground.prefix()));
    let (called, calls) = mpsc::channel();
    let caller = Caller { ground: ground.clone(), woken: AtomicBool::new(false), called: Mutex::new(called) };
    wait_for_the_next(&mut changes, &Waker::from(Arc::new(caller)));

    ground.race(1, |ground, _| block_on(ground.put(&ground.id("a"), Expected::Any, 1)));

    let answered = calls.recv_timeout(PATIENCE);
    assert!(
        answered.is_ok(),
        "{}: the waker was not called, or its calls of the store did not return",
        ground.prefix()
    );
    ground.clear().await;
}

/// A panic in a task's waker leaves the store usable.
pub async fn a_panicking_waker_leaves_the_store_whole<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_panicking_waker_leaves_the_store_whole", store);
    if !ground.abilities().watch {
        return;
    }
    let mut changes =
        store.watch(Start::Now).await.unwrap_or_else(|error| panic!("{}: {error}", ground.prefix()));
    wait_for_the_next(&mut changes, &Waker::from(Arc::new(Panics)));

    ground.race(1, |ground, _| {
        // The panic may reach the committer: either way the commit was applied or it was not.
        let put = || block_on(ground.try_put(&ground.id("a"), Expected::Any, 1));
        let _ = catch_unwind(AssertUnwindSafe(put));
    });

    let use_it = || {
        ground.race(2, |ground, thread| {
            let id = ground.id(thread);
            let version = block_on(ground.put(&id, Expected::Any, 2));
            block_on(ground.read(&id)) == Some((version, 2))
        })
    };
    let used = catch_unwind(AssertUnwindSafe(use_it)).unwrap_or_default();
    assert_eq!(used, [true, true], "{}: writes and reads after a waker's panic", ground.prefix());
    ground.clear().await;
}

/// Dropping the reply of a commit after any number of polls leaves the old state or the new one of all its ids.
pub async fn a_dropped_commit_leaves_old_or_new<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_dropped_commit_leaves_old_or_new", store);
    let several = ground.abilities().entries > 1;
    for polls in 0..8 {
        let ids = ["a", "b"].map(|name| ground.id(format_args!("{polls}{name}")));
        let of_a = ground.put(&ids[0], Expected::Absent, 1).await;
        let of_b = ground.put(&ids[1], Expected::Absent, 1).await;
        let commit = Commit::one(Entry::put(&ids[0], of_a, T::sample(2))).with_write(ground.write_id().await);
        let commit = if several { commit.and(Entry::put(&ids[1], of_b, T::sample(2))) } else { commit };
        dropped_after(polls, store.commit(commit));

        if several {
            // A commit that is still under way may apply between two reads, but no half of it alone.
            let mut numbers = [None; 3];
            for (number, id) in numbers.iter_mut().zip([&ids[0], &ids[1], &ids[0]]) {
                *number = ground.read(id).await.map(|(_, number)| number);
            }
            let [first, second, third] = numbers;
            let torn = (first == Some(2) && second != Some(2)) || (second == Some(2) && third != Some(2));
            assert!(
                !torn,
                "`{}`: a commit dropped after {polls} polls was applied to one id of two",
                ground.prefix()
            );
        }
        ground.race(2, move |ground, thread| {
            block_on(ground.put(&ids[thread], Expected::Any, 3));
            let number = block_on(ground.read(&ids[thread])).map(|(_, number)| number);
            // A commit that is still under way fails then: the version it expects is gone.
            assert_eq!(number, Some(3), "`{}` after a commit was dropped", ids[thread]);
        });
    }
    ground.clear().await;
}

/// Dropping the replies of reads, listings, watches and questions after any number of polls leaves nothing locked.
pub async fn a_dropped_read_leaves_nothing_locked<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_dropped_read_leaves_nothing_locked", store);
    let id = ground.id("a");
    ground.put(&id, Expected::Absent, 1).await;
    for polls in 0..4 {
        dropped_after(polls, store.get(&id));
        dropped_after(polls, store.scan(Scan::new(ground.prefix(), 10)));
        dropped_after(polls, store.scan(Scan::new(ground.prefix(), 10).without_values()));
        dropped_after(polls, store.watch(Start::Now));
        dropped_after(polls, store.resolve(WriteId::after(None)));
        dropped_after(polls, store.commit(Commit::one(Entry::check(&id, Expected::Present))));

        let target = id.clone();
        ground.race(2, move |ground, _| block_on(ground.put(&target, Expected::Any, 2)));
        assert_eq!(ground.read(&id).await.map(|(_, number)| number), Some(2), "`{id}` after dropped reads");
    }
    ground.clear().await;
}

/// All calls at once, on few ids and from several threads, all return, and the store still counts right.
pub async fn all_calls_at_once_return<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const EACH: u64 = 60;
    let ground = Ground::new("all_calls_at_once_return", store);
    let id = ground.id("counter");
    ground.put(&id, Expected::Absent, 0).await;

    let target = id.clone();
    ground.race(6, move |ground, thread| {
        let store = ground.store();
        for number in 0..EACH {
            let other = ground.id((number + thread as u64) % 3);
            match thread {
                0 | 1 => drop(block_on(ground.modify(&target, |number| number + 1))),
                2 => {
                    drop(store.scan(Scan::new(ground.prefix(), 10)).wait());
                    drop(store.scan(Scan::new(ground.prefix(), 10).without_values()).wait());
                }
                3 => drop(store.watch(Start::Now).wait()),
                4 => {
                    drop(store.resolve(WriteId::after(None)).wait());
                    drop(block_on(ground.send(Entry::delete(&other, Expected::Any))));
                }
                _ => {
                    let commit = Commit::one(Entry::put(&other, Expected::Any, T::sample(number)));
                    drop(store.commit(commit.and(Entry::check(&target, Expected::Present))).wait());
                }
            }
        }
    });

    assert_eq!(
        ground.read(&id).await.map(|(_, number)| number),
        Some(2 * EACH),
        "`{id}` after all calls at once"
    );
    ground.clear().await;
}

/// No error, and nothing that a call returns, shows a value in its `Debug` or `Display` text.
pub async fn no_message_shows_a_value<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const SECRET: u64 = 7_274_727_676_787_371;
    let ground = Ground::new("no_message_shows_a_value", store);
    let [id, other] = ["a", "b"].map(|name| ground.id(name));
    let watch = if ground.abilities().watch { Some(store.watch(Start::Now).await) } else { None };
    let old = ground.put(&id, Expected::Absent, SECRET).await;
    ground.put(&id, old, SECRET).await;

    let put = |id, expected: Expected| Entry::put(id, expected, T::sample(SECRET));
    let long = ground.id("x".repeat(MAX_ID_BYTES));
    let mut failing = vec![
        Commit::one(put(&id, old.into())),
        Commit::one(put(&id, Expected::Absent)),
        Commit::one(put(&other, Expected::Present)),
        Commit::one(Entry::delete(&id, old)),
        Commit::one(Entry::check(&id, old)),
        Commit::one(put(&id, Expected::Any)).and(put(&id, Expected::Any)),
        Commit::one(put("", Expected::Any)),
        Commit::one(put("\0", Expected::Any)),
        Commit::one(put(&long, Expected::Any)),
    ];
    failing.push((0..300).map(|_| put(&id, Expected::Any)).collect());
    let mut texts = Vec::new();
    for commit in failing {
        texts.push(format!("{commit:?}"));
        let Err(error) = store.commit(commit).await else {
            panic!("`{id}`: a commit that must fail was applied")
        };
        texts.push(format!("{error:?}"));
        let mut cause: Option<&dyn StdError> = Some(&error);
        while let Some(error) = cause {
            texts.push(error.to_string());
            cause = error.source();
        }
    }
    texts.push(format!("{:?}", store.get(&id).await));
    texts.push(format!("{:?}", store.scan(Scan::new(ground.prefix(), 10)).await));
    if let Some(Ok(mut changes)) = watch {
        texts.push(format!("{:?} {changes:?}", dropped_after(1, changes.next())));
    }

    let digits = SECRET.to_string();
    let bytes = format!("{:?}", digits.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']);
    let leak = texts.iter().position(|text| text.contains(&digits) || text.contains(bytes));
    assert_eq!(leak, None, "`{id}`: a message shows the value (the place of the message in the law's list)");
    ground.clear().await;
}

/// Ids are escaped in every message: a line break or a terminal sequence in an id does not reach a log.
pub async fn messages_escape_ids<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("messages_escape_ids", store);
    let id = ground.id("a\n\u{1b}[31mred\r");
    let old = ground.put(&id, Expected::Absent, 1).await;
    ground.put(&id, old, 2).await;
    let put = |expected: Expected| Entry::put(&id, expected, T::sample(3));

    let failing = [
        Commit::one(put(old.into())),
        Commit::one(put(Expected::Absent)),
        Commit::one(Entry::delete(&id, old)),
        Commit::one(put(Expected::Any)).and(put(Expected::Any)),
    ];
    for commit in failing {
        let Err(error) = store.commit(commit).await else {
            panic!("{}: a commit that must fail was applied", ground.prefix())
        };
        let mut cause: Option<&dyn StdError> = Some(&error);
        while let Some(error) = cause {
            for text in [error.to_string(), format!("{error:?}")] {
                let raw = text.contains(['\n', '\r', '\u{1b}']);
                assert!(!raw, "{}: a message holds a raw control character of the id", ground.prefix());
            }
            cause = error.source();
        }
    }
    ground.clear().await;
}

/// The abilities of a store do not change while it is used.
pub async fn abilities_do_not_change<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("abilities_do_not_change", store);
    let before = ground.abilities();
    let id = ground.id("a");
    ground.put(&id, Expected::Absent, 1).await;
    ground.delete(&id, Expected::Present).await;

    assert_eq!(ground.abilities(), before, "{}: the abilities before and after", ground.prefix());
    ground.clear().await;
}

/// Polls a reply so often, unless it answers before, and drops it.
fn dropped_after<R>(polls: usize, mut reply: Reply<'_, R>) -> Option<R> {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(answer) = Pin::new(&mut reply).poll(&mut context) {
            return answer.ok();
        }
    }
    None
}

/// Reads on until the feed is waiting, with this waker, for a commit to come.
fn wait_for_the_next<T: Sample + ?Sized>(changes: &mut Changes<T>, waker: &Waker) {
    let mut context = Context::from_waker(waker);
    while let Poll::Ready(batch) = changes.poll_next(&mut context) {
        assert!(batch.is_ok(), "the feed ended: {batch:?}");
    }
}

/// A waker that calls the store, as an executor that polls inside `wake` does.
struct Caller<T: ?Sized> {
    ground: Ground<T>,
    woken: AtomicBool,
    called: Mutex<Sender<()>>,
}

impl<T: Sample + ?Sized> Wake for Caller<T> {
    fn wake(self: Arc<Self>) {
        if self.woken.swap(true, Ordering::SeqCst) {
            return;
        }
        let (ground, id) = (&self.ground, self.ground.id("from the waker"));
        block_on(ground.put(&id, Expected::Any, 1));
        block_on(ground.read(&id));
        drop(ground.store().scan(Scan::new(ground.prefix(), 10)).wait());
        if let Ok(mut changes) = ground.store().watch(Start::Now).wait() {
            dropped_after(1, changes.next());
        }
        let called = self.called.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = called.send(());
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics, on purpose");
    }
}
