//! Promise 7: a watch begins and resumes without a gap, wakes who waits, and ends with a word where it must.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Wake, Waker};

use crate::conformance::ground::Ground;
use crate::conformance::race::PATIENCE;
use crate::conformance::sample::Sample;
use crate::conformance::watcher::{Watcher, watched, write_alone};
use crate::store::{Cursor, Entry, Error, Expected, Refusal, Scan, Start, Store, Version, block_on};

/// A watch from now on reports nothing from before.
pub async fn a_watch_from_now_reports_nothing_earlier<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_watch_from_now_reports_nothing_earlier", store) else { return };
    let [earlier, later] = ["earlier", "later"].map(|name| ground.id(name));
    // A first watch, for stores that record only what somebody watches.
    let _first = Watcher::now(&ground).await;
    ground.put(&earlier, Expected::Absent, 1).await;

    let mut watcher = Watcher::now(&ground).await;
    let version = ground.put(&later, Expected::Absent, 2).await;

    let seen = watcher.next().await;
    assert_eq!((&seen[0].id, seen[0].version), (&later, version), "the first change of a watch from now on");
    ground.clear().await;
}

/// A watch that begins again after any cursor gets exactly what came after it.
pub async fn a_watch_resumes_after_any_cursor<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_watch_resumes_after_any_cursor", store) else { return };
    let mut watcher = Watcher::now(&ground).await;
    let mut versions = Vec::new();
    for number in 0..12 {
        versions.push(ground.put(&ground.id("a"), Expected::Any, number).await);
    }
    let mut cursors = vec![watcher.cursor()];
    for version in &versions {
        assert_eq!(watcher.next().await[0].version, *version, "{}: the changes in order", ground.prefix());
        cursors.push(watcher.cursor());
    }

    for (delivered, cursor) in cursors.into_iter().enumerate().take(versions.len()) {
        // Through its text, as a program keeps it.
        let cursor: Cursor = cursor.as_str().parse().expect("a cursor survives its text");
        let mut resumed = Watcher::start(&ground, Start::After(cursor.clone())).await;
        assert_eq!(resumed.cursor(), cursor, "{}: a watch begins at its cursor", ground.prefix());
        for version in &versions[delivered..] {
            let seen = resumed.next().await;
            assert_eq!(seen[0].version, *version, "{}: what came after {cursor}", ground.prefix());
        }
    }
    ground.clear().await;
}

/// A watcher that reconnects at every batch, while others write, gets each change once.
pub async fn a_watch_that_reconnects_misses_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_watch_that_reconnects_misses_nothing", store) else { return };
    let mut watcher = Watcher::now(&ground).await;
    let running = Arc::new(AtomicUsize::new(2));

    let sides = ground.race(3, {
        let first = watcher.cursor();
        move |ground, thread| {
            if thread > 0 {
                let written = write_alone(ground, thread, 60);
                if running.fetch_sub(1, Ordering::SeqCst) == 1 {
                    block_on(ground.put(&ground.id("end"), Expected::Absent, 0));
                }
                return written;
            }
            let (mut cursor, mut seen) = (first.clone(), Vec::new());
            loop {
                let mut watcher = block_on(Watcher::start(ground, Start::After(cursor)));
                let batch = block_on(watcher.next());
                if batch[0].id.ends_with("/end") {
                    return seen;
                }
                seen.extend(batch.into_iter().map(|seen| (seen.id, seen.version)));
                cursor = watcher.cursor();
            }
        }
    });

    let mut seen = sides[0].clone();
    let mut written = sides[1..].concat();
    seen.sort_unstable_by_key(|(id, version)| (id.clone(), version.to_bits()));
    written.sort_unstable_by_key(|(id, version)| (id.clone(), version.to_bits()));
    assert_eq!(seen, written, "{}: what a watcher that reconnects saw", ground.prefix());
    assert_eq!(watcher.next().await.len(), 1, "{}: the first watcher still works", ground.prefix());
    ground.clear().await;
}

/// Taking a cursor, then listing, then watching on misses nothing, also while others write.
pub async fn a_cursor_then_a_listing_misses_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_cursor_then_a_listing_misses_nothing", store) else { return };
    for round in 0..8 {
        let views = ground.race(3, move |ground, thread| {
            if thread > 0 {
                for number in 0..40 {
                    let id = ground.id(format_args!("{round}/{}", (number + thread as u64) % 7));
                    match number % 3 {
                        0 => drop(block_on(ground.send(Entry::delete(&id, Expected::Any)))),
                        _ => drop(block_on(ground.put(&id, Expected::Any, number))),
                    }
                }
                return None;
            }
            let watcher = block_on(Watcher::now(ground));
            let page = ground.store().scan(Scan::new(&ground.id(format_args!("{round}/")), 100)).wait();
            let page = page.unwrap_or_else(|error| panic!("{}: {error}", ground.prefix()));
            let listed = page.items.iter().map(|(id, current)| (id.to_string(), current.version));
            Some((watcher, listed.collect::<BTreeMap<String, Version>>()))
        });
        let (mut watcher, mut view) = views.into_iter().flatten().next().expect("the first thread lists");
        let end = ground.id(format_args!("end-{round}"));
        ground.put(&end, Expected::Absent, 0).await;

        // A change that the listing already shows comes again: versions tell which of the two is later.
        let mut deletions = BTreeMap::<String, Version>::new();
        for seen in watcher.until(&end).await.into_iter().flatten().filter(|seen| seen.id != end) {
            let known = view.get(&seen.id).or(deletions.get(&seen.id));
            if known.is_some_and(|known| known.to_bits() >= seen.version.to_bits()) {
                continue;
            }
            let (into, from) =
                if seen.deleted { (&mut deletions, &mut view) } else { (&mut view, &mut deletions) };
            from.remove(&seen.id);
            into.insert(seen.id, seen.version);
        }
        for name in 0..7 {
            let id = ground.id(format_args!("{round}/{name}"));
            let stored = ground.read(&id).await.map(|(version, _)| version);
            assert_eq!(view.get(&id).copied(), stored, "`{id}`: a listing and the feed after its cursor");
        }
    }
    ground.clear().await;
}

/// Dropping the reply of a pending `next` loses nothing.
pub async fn a_dropped_next_loses_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_dropped_next_loses_nothing", store) else { return };
    let id = ground.id("a");
    let mut watcher = Watcher::now(&ground).await;
    let (mut written, mut seen) = (Vec::new(), Vec::new());
    for number in 0..40 {
        // Polled once, then dropped: what it gave counts, and what it did not give must come later.
        if let Poll::Ready(Some(batch)) = watcher.poll_own(Waker::noop()) {
            seen.extend(batch.into_iter().map(|seen| seen.version));
        }
        written.push(ground.put(&id, Expected::Any, number).await);
        if number % 2 == 0 {
            seen.extend(watcher.next().await.into_iter().map(|seen| seen.version));
        }
    }
    while seen.len() < written.len() {
        seen.extend(watcher.next().await.into_iter().map(|seen| seen.version));
    }

    assert_eq!(seen, written, "`{id}`: changes seen by a watcher that drops its replies");
    ground.clear().await;
}

/// Watchers that wait are each woken by a commit, again and again.
pub async fn waiting_watchers_are_woken<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("waiting_watchers_are_woken", store) else { return };
    let id = ground.id("a");
    let mut watchers = Vec::new();
    for _ in 0..3 {
        let (bell, rung) = mpsc::channel();
        watchers.push((Watcher::now(&ground).await, Waker::from(Arc::new(Bell(Mutex::new(bell)))), rung));
    }
    for number in 0..10 {
        for (watcher, waker, _) in &mut watchers {
            while watcher.poll_own(waker).is_ready() {}
        }

        let target = id.clone();
        let version =
            ground.race(1, move |ground, _| block_on(ground.put(&target, Expected::Any, number)))[0];

        for (watcher, waker, rung) in &mut watchers {
            // Others may ring too: then there is nothing of ours yet, and maybe something of theirs.
            let seen = loop {
                let bell = rung.recv_timeout(PATIENCE);
                assert!(bell.is_ok(), "`{id}`: a watcher that waits was not woken");
                // Until it is pending nobody need ring again.
                let mut polled = watcher.poll_own(waker);
                while let Poll::Ready(None) = polled {
                    polled = watcher.poll_own(waker);
                }
                if let Poll::Ready(Some(seen)) = polled {
                    break seen;
                }
            };
            assert_eq!(seen[0].version, version, "`{id}`: what a watcher was woken for");
        }
    }
    ground.clear().await;
}

/// A cursor that this store never gave is refused or expired, never taken for a place in the feed.
pub async fn a_foreign_cursor_is_refused<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_foreign_cursor_is_refused", store) else { return };
    let own = Watcher::now(&ground).await.cursor();
    let foreign =
        ["not-a-cursor", "~", "\"", "-1", "1e9", &"x".repeat(1024), &format!("{own}~"), &format!("~{own}")];
    for text in foreign {
        let Ok(cursor) = text.parse::<Cursor>() else { continue };
        match store.watch(Start::After(cursor)).await {
            Err(Error::Expired(_) | Error::Refused(Refusal::Cursor)) => {}
            Err(error) => panic!("{}: the cursor `{text}` failed otherwise: {error}", ground.prefix()),
            Ok(_) => panic!("{}: the cursor `{text}` was taken for one of this store", ground.prefix()),
        }
    }
    ground.clear().await;
}

/// A watcher that does not read for a while then gets every change, or is told that it expired: never a gap.
pub async fn a_slow_watcher_misses_nothing_or_expires<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_slow_watcher_misses_nothing_or_expires", store) else { return };
    left_behind(&ground, 300).await;
    ground.clear().await;
}

/// A watcher that does not read while so many commits happen is told that it expired, and so is its old cursor.
///
/// Not in the list of laws: only the author of a store knows how much its feed remembers. Pass more commits than that.
pub async fn a_watcher_left_behind_expires<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>, commits: u64) {
    let Some(ground) = watched("a_watcher_left_behind_expires", store) else { return };
    let first = Watcher::now(&ground).await.cursor();
    let expired = left_behind(&ground, commits).await;
    assert!(expired, "{}: a watcher {commits} commits behind did not expire", ground.prefix());

    // A store may still be at work to forget what it need not remember: then it tells a newer one.
    let mut cursor = first.clone();
    for _ in 0..100 {
        match store.watch(Start::After(cursor.clone())).await {
            Err(Error::Expired(told)) => {
                cursor =
                    told.oldest.unwrap_or_else(|| panic!("{}: no oldest cursor is told", ground.prefix()));
            }
            Ok(_) if cursor != first => return ground.clear().await,
            other => {
                panic!("{}: an old cursor must be expired, not answered with {other:?}", ground.prefix())
            }
        }
    }
    panic!("{}: the oldest cursor told is itself expired, again and again", ground.prefix());
}

/// Whether a watcher that reads nothing during so many commits expired.
async fn left_behind<T: Sample + ?Sized>(ground: &Ground<T>, commits: u64) -> bool {
    let id = ground.id("a");
    let mut watcher = Watcher::now(ground).await;
    let mut written = Vec::new();
    for number in 0..commits {
        written.push(ground.put(&id, Expected::Any, number).await);
    }
    for version in &written {
        match watcher.try_next().await {
            Ok(seen) => assert_eq!(seen[0].version, *version, "`{id}`: a slow watcher has a gap"),
            Err(Error::Expired(_)) => {
                let again = watcher.try_next().await;
                assert!(
                    matches!(again, Err(Error::Expired(_))),
                    "`{id}`: a feed that ended went on: {again:?}"
                );
                return true;
            }
            Err(error) => panic!("`{id}`: the feed ended otherwise: {error}"),
        }
    }
    false
}

struct Bell(Mutex<Sender<()>>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let bell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The law may have ended: then nobody listens.
        let _ = bell.send(());
    }
}
