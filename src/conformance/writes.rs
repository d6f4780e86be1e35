//! Promise 5: a store recognises its own earlier write, and tells what became of it.

use std::sync::Arc;

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::store::{Commit, Entry, Error, Expected, Refusal, Resolution, Store, WriteId, block_on};

/// A write that is sent again is answered as it was then, and applied once.
pub async fn a_write_sent_again_is_answered_as_before<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_sent_again_is_answered_as_before", store);
    let id = ground.id("a");
    let base = ground.put(&id, Expected::Absent, 1).await;

    for entry in [Entry::put(&id, base, T::sample(2)), Entry::delete(&id, Expected::Present)] {
        let commit = Commit::one(entry).with_write(WriteId::new());
        let first = ground.commit(commit.clone()).await;
        let first = first.unwrap_or_else(|error| panic!("`{id}`: a write with an id failed: {error}"));
        let state = ground.read(&id).await;
        for _ in 0..3 {
            let again = ground.commit(commit.clone()).await;
            let again =
                again.unwrap_or_else(|error| panic!("`{id}`: a write that was applied was refused: {error}"));
            assert_eq!(again, first, "`{id}`: the answer to a write that is sent again");
        }
        ground.assert_state(&id, state, "a write that was sent again").await;
    }
    ground.clear().await;
}

/// A write that is sent again after others have written leaves what they wrote.
pub async fn a_write_sent_again_undoes_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_sent_again_undoes_nothing", store);
    let id = ground.id("a");
    let commit = Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(WriteId::new());
    let first = ground.commit(commit.clone()).await;
    let first = first.unwrap_or_else(|error| panic!("`{id}`: a write with an id failed: {error}"));
    let later = ground.put(&id, Expected::Present, 2).await;

    let again = ground.commit(commit).await;

    let again = again.unwrap_or_else(|error| panic!("`{id}`: a write that was applied was refused: {error}"));
    assert_eq!(again, first, "`{id}`: the answer to a write that is sent again");
    ground.assert_state(&id, Some((later, 2)), "an earlier write was sent again").await;
    ground.clear().await;
}

/// A write that arrives several times at once is applied once, and every sender gets the same answer.
pub async fn a_write_sent_twice_at_once_is_applied_once<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_sent_twice_at_once_is_applied_once", store);
    let id = ground.id("a");
    let mut last = ground.put(&id, Expected::Absent, 0).await;
    for number in 1..30 {
        let (target, write) = (id.clone(), WriteId::new());
        let answers = ground.race(3, move |ground, _| {
            let commit = Commit::one(Entry::put(&target, Expected::Any, T::sample(number))).with_write(write);
            let answer = block_on(ground.commit(commit));
            answer.unwrap_or_else(|error| panic!("`{target}`: a write that was applied was refused: {error}"))
        });

        let receipt = answers[0].receipts()[0];
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "`{id}`: one write has several answers: {answers:?}"
        );
        assert_eq!(receipt.replaced, Some(last), "`{id}`: the write was applied more than once");
        ground
            .assert_state(&id, receipt.version.map(|version| (version, number)), "a write sent thrice")
            .await;
        last = receipt.version.unwrap_or(last);
    }
    ground.clear().await;
}

/// A write over several ids is recognised as a whole.
pub async fn a_write_over_several_ids_is_recognised<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_over_several_ids_is_recognised", store);
    if ground.abilities().entries < 3 {
        return;
    }
    let [a, b, c] = ["a", "b", "c"].map(|name| ground.id(name));
    ground.put(&b, Expected::Absent, 1).await;
    let write = WriteId::new();
    let commit = Commit::one(Entry::put(&c, Expected::Absent, T::sample(2)))
        .and(Entry::delete(&b, Expected::Present))
        .and(Entry::check(&a, Expected::Absent))
        .with_write(write);

    let first = ground.commit(commit.clone()).await;
    let again = ground.commit(commit).await;
    let resolved = store.resolve(write).await;

    let first = first.unwrap_or_else(|error| panic!("{}: a write failed: {error}", ground.prefix()));
    let again = again
        .unwrap_or_else(|error| panic!("{}: a write that was applied was refused: {error}", ground.prefix()));
    assert_eq!(again, first, "{}: the answer to a write that is sent again", ground.prefix());
    assert!(
        matches!(&resolved, Ok(Resolution::Applied(committed)) if *committed == first),
        "{}: an applied write resolves to its receipts, not to {resolved:?}",
        ground.prefix()
    );
    ground.clear().await;
}

/// Two writes with equal contents and different ids are two writes.
pub async fn two_write_ids_are_two_writes<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("two_write_ids_are_two_writes", store);
    let id = ground.id("a");
    let mut versions = Vec::new();
    for _ in 0..3 {
        let commit = Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(WriteId::new());
        let answer = ground.commit(commit).await;
        versions.push(answer.unwrap_or_else(|error| panic!("`{id}`: a write failed: {error}")).version());
    }

    assert!(
        versions[0] != versions[1] && versions[1] != versions[2],
        "`{id}`: a write was taken for another one"
    );
    ground.clear().await;
}

/// A write that was applied resolves to the receipts it was answered with.
pub async fn an_applied_write_resolves_to_its_receipts<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_applied_write_resolves_to_its_receipts", store);
    let id = ground.id("a");
    let entries = [
        Entry::put(&id, Expected::Absent, T::sample(1)),
        Entry::put(&id, Expected::Present, T::sample(2)),
        Entry::delete(&id, Expected::Present),
    ];
    let mut writes = Vec::new();
    for entry in entries {
        let write = WriteId::new();
        let answer = ground.commit(Commit::one(entry).with_write(write)).await;
        writes.push((write, answer.unwrap_or_else(|error| panic!("`{id}`: a write failed: {error}"))));
    }

    for (write, committed) in writes {
        let resolved = store.resolve(write).await;
        let resolved = resolved.unwrap_or_else(|error| panic!("`{id}`: {write} can't be resolved: {error}"));
        assert_eq!(resolved, Resolution::Applied(committed), "`{id}`: what became of {write}");
    }
    ground.clear().await;
}

/// A write id that was never sent does not resolve as applied, and once it resolved as not applied it never is.
pub async fn a_write_resolved_as_not_applied_is_closed<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_resolved_as_not_applied_is_closed", store);
    let id = ground.id("a");
    let write = WriteId::new();

    let resolved = store.resolve(write).await;
    let resolved = resolved.unwrap_or_else(|error| panic!("`{id}`: {write} can't be resolved: {error}"));
    let late = Commit::one(Entry::put(&id, Expected::Absent, T::sample(1))).with_write(write);
    match resolved {
        Resolution::Applied(_) => panic!("`{id}`: {write} was never sent, and resolved as applied"),
        Resolution::NotApplied => {
            for _ in 0..2 {
                match ground.commit(late.clone()).await {
                    Err(Error::Refused(Refusal::Closed { write: named })) => {
                        assert_eq!(named, write, "`{id}`")
                    }
                    other => panic!(
                        "`{id}`: {write} resolved as not applied, and was not refused later: {other:?}"
                    ),
                }
            }
            ground.assert_state(&id, None, "a write arrived that had been resolved as not applied").await;
            let again = store.resolve(write).await;
            assert!(
                matches!(again, Ok(Resolution::NotApplied)),
                "`{id}`: {write} resolved otherwise: {again:?}"
            );
        }
        Resolution::Unknown => {}
    }
    ground.clear().await;
}

/// A write that conflicted does not resolve as applied.
pub async fn a_conflicted_write_does_not_resolve_as_applied<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflicted_write_does_not_resolve_as_applied", store);
    let id = ground.id("a");
    let write = WriteId::new();
    let commit = Commit::one(Entry::put(&id, Expected::Present, T::sample(1))).with_write(write);
    ground.conflict(ground.commit(commit).await, "a put of what is missing");

    let resolved = store.resolve(write).await;

    assert!(
        matches!(resolved, Ok(Resolution::NotApplied | Resolution::Unknown)),
        "`{id}`: {write} conflicted, and resolved as {resolved:?}"
    );
    ground.assert_state(&id, None, "a write that conflicted").await;
    ground.clear().await;
}

/// Where a write and the question what became of it race, their answers agree.
pub async fn a_write_and_its_resolution_agree<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_and_its_resolution_agree", store);
    for round in 0..40 {
        let id = ground.id(round);
        let (target, write) = (id.clone(), WriteId::new());
        let mut answers = ground.race(2, move |ground, thread| {
            if thread == 0 {
                let commit =
                    Commit::one(Entry::put(&target, Expected::Absent, T::sample(1))).with_write(write);
                (Some(block_on(ground.commit(commit))), None)
            } else {
                (None, Some(ground.store().resolve(write).wait()))
            }
        });

        let resolved = answers.remove(1).1.expect("the second thread resolves");
        let committed = answers.remove(0).0.expect("the first thread commits");
        let state = ground.read(&id).await;
        match (&committed, &resolved) {
            (Ok(committed), Ok(Resolution::Applied(told))) => assert_eq!(committed, told, "`{id}`"),
            (Ok(_), Ok(Resolution::Unknown)) => {}
            (Err(Error::Refused(Refusal::Closed { .. })), Ok(Resolution::NotApplied)) => {
                assert_eq!(state, None, "`{id}`: the write was refused and applied");
            }
            other => panic!("`{id}`: a write and its resolution disagree: {other:?}"),
        }
    }
    ground.clear().await;
}
