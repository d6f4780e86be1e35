//! Promise 7: the feed reports every change once, in order, and one batch a commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::conformance::watcher::{Seen, Watcher, watched, write_alone, write_and_delete};
use crate::store::{Commit, Entry, Error, Expected, Refusal, Start, Store, Version};

/// A store can be watched exactly where its abilities say so.
pub async fn a_store_is_watched_as_declared<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_store_is_watched_as_declared", store);
    let answer = store.watch(Start::Now).await;
    match (ground.abilities().watch, &answer) {
        (true, Ok(_)) | (false, Err(Error::Refused(Refusal::Unsupported { .. }))) => {}
        (declared, _) => {
            panic!("{}: `watch` is declared {declared}, and answers {answer:?}", ground.prefix())
        }
    }
}

/// Every commit that is acknowledged is reported once, with the versions of its receipts.
pub async fn every_change_is_reported_once<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("every_change_is_reported_once", store) else { return };
    let mut watcher = Watcher::now(&ground).await;

    let written = write_and_delete(&ground, 3, 40);
    let end = ground.id("end");
    ground.put(&end, Expected::Absent, 0).await;

    let mut reported = BTreeMap::<(String, u64), usize>::new();
    for seen in watcher.until(&end).await.into_iter().flatten().filter(|seen| seen.id != end) {
        *reported.entry((seen.id, seen.version.to_bits().get())).or_default() += 1;
    }
    let expected = written.into_iter().map(|(id, version)| ((id, version.to_bits().get()), 1));
    assert_eq!(reported, expected.collect(), "{}: how often each change was reported", ground.prefix());
    ground.clear().await;
}

/// The changes of one id are reported in the order of their versions.
pub async fn changes_of_an_id_come_in_order<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("changes_of_an_id_come_in_order", store) else { return };
    let mut watcher = Watcher::now(&ground).await;

    write_and_delete(&ground, 3, 40);
    // And some in a row on one id, so that any two that are swapped show it.
    write_alone(&ground, 0, 20);
    let end = ground.id("end");
    ground.put(&end, Expected::Absent, 0).await;

    let mut last = BTreeMap::<String, Version>::new();
    for seen in watcher.until(&end).await.into_iter().flatten() {
        if let Some(before) = last.insert(seen.id.clone(), seen.version) {
            assert!(
                before.to_bits() < seen.version.to_bits(),
                "`{}`: version {} was reported after {before}",
                seen.id,
                seen.version
            );
        }
    }
    ground.clear().await;
}

/// All changes of one commit come in one batch, and no change of another commit with them.
pub async fn a_commit_is_one_batch<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("a_commit_is_one_batch", store) else { return };
    if ground.abilities().entries < 3 {
        return;
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| ground.id(name));
    ground.put(&b, Expected::Absent, 0).await;
    let mut watcher = Watcher::now(&ground).await;

    for number in 1..10 {
        let commit = Commit::one(Entry::put(&c, Expected::Any, T::sample(number)))
            .and(Entry::put(&a, Expected::Any, T::sample(number)))
            .and(Entry::check(&b, Expected::Present));
        let committed =
            ground.commit(commit).await.unwrap_or_else(|error| panic!("{}: {error}", ground.prefix()));
        let mut changes: Vec<_> =
            watcher.next().await.into_iter().map(|seen| (seen.id, Some(seen.version))).collect();
        changes.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let [put_c, put_a, _] = committed.receipts() else { panic!("{}: three receipts", ground.prefix()) };
        let expected = [(a.clone(), put_a.version), (c.clone(), put_c.version)];
        assert_eq!(changes, expected, "{}: the batch of one commit", ground.prefix());
    }
    ground.clear().await;
}

/// A put is reported as a put and a deletion as a deletion, each with the version of its receipt.
pub async fn puts_and_deletions_are_told_apart<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("puts_and_deletions_are_told_apart", store) else { return };
    let id = ground.id("a");
    let mut watcher = Watcher::now(&ground).await;

    for number in 0..5 {
        let put = ground.put(&id, Expected::Absent, number).await;
        let deletion = ground.delete(&id, put).await;
        for (version, deleted) in [(put, false), (deletion, true)] {
            let seen = watcher.next().await;
            let expected = [Seen { id: id.clone(), version, deleted, number: None }];
            assert_eq!(seen, expected, "`{id}`: the put and the deletion, after both");
        }
    }
    ground.clear().await;
}

/// A value in the feed is the one stored: what was overwritten or deleted is reported without its value.
pub async fn the_feed_replays_no_values<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("the_feed_replays_no_values", store) else { return };
    let [kept, changed, deleted] = ["kept", "changed", "deleted"].map(|name| ground.id(name));
    let mut watcher = Watcher::now(&ground).await;
    ground.put(&changed, Expected::Absent, 1).await;
    ground.put(&changed, Expected::Present, 2).await;
    ground.put(&deleted, Expected::Absent, 3).await;
    ground.delete(&deleted, Expected::Present).await;
    ground.put(&kept, Expected::Absent, 4).await;

    let numbers: Vec<Option<u64>> =
        watcher.until(&kept).await.into_iter().flatten().map(|seen| seen.number).collect();

    let [first, second, third, deletion, last] = *numbers else {
        panic!("{}: five changes, not {}", ground.prefix(), numbers.len());
    };
    assert_eq!(first, None, "`{changed}`: a value that is no longer stored was reported");
    assert_eq!((third, deletion), (None, None), "`{deleted}`: a value that is no longer stored was reported");
    assert!(
        second.is_none_or(|number| number == 2),
        "`{changed}`: another value than the stored one was reported"
    );
    assert!(
        last.is_none_or(|number| number == 4),
        "`{kept}`: another value than the stored one was reported"
    );
    ground.clear().await;
}

/// What changes nothing is not reported: checks, deletes of nothing, conflicts, refusals, and writes sent again.
pub async fn what_changes_nothing_is_not_reported<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let Some(ground) = watched("what_changes_nothing_is_not_reported", store) else { return };
    let [id, nothing, end] = ["a", "nothing", "end"].map(|name| ground.id(name));
    let write =
        Commit::one(Entry::put(&id, Expected::Absent, T::sample(1))).with_write(ground.write_id().await);
    let committed = ground.commit(write.clone()).await.unwrap_or_else(|error| panic!("`{id}`: {error}"));
    let mut watcher = Watcher::now(&ground).await;

    let silent = [
        Commit::from_iter([]),
        Commit::one(Entry::check(&id, Expected::Present)),
        Commit::one(Entry::check(&nothing, Expected::Absent)),
        Commit::one(Entry::delete(&nothing, Expected::Any)),
        Commit::one(Entry::delete(&nothing, Expected::Absent)),
        Commit::one(Entry::put(&id, Expected::Absent, T::sample(2))),
        Commit::one(Entry::delete(&nothing, Expected::Present)),
        Commit::one(Entry::put(&id, Expected::Any, T::sample(2))).and(Entry::put(
            &id,
            Expected::Any,
            T::sample(3),
        )),
        write,
    ];
    for commit in silent {
        let _ = ground.commit(commit).await;
    }
    let version = ground.put(&end, Expected::Absent, 4).await;

    let seen = watcher.next().await;
    assert_eq!(
        (&seen[0].id, seen[0].version),
        (&end, version),
        "something was reported that changed nothing"
    );
    assert_eq!(ground.read(&id).await.map(|(version, _)| version), committed.version(), "`{id}`");
    ground.clear().await;
}
