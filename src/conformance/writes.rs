//! Promise 5: a store recognises its own earlier write, and tells what became of it.

use std::sync::Arc;

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::store::{Commit, Entry, Error, Expected, Refusal, Resolution, Store, Version, WriteId, block_on};

/// A write that is sent again is answered as it was then, and applied once.
pub async fn a_write_sent_again_is_answered_as_before<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_sent_again_is_answered_as_before", store);
    let id = ground.id("a");
    let base = ground.put(&id, Expected::Absent, 1).await;

    for entry in [Entry::put(&id, base, T::sample(2)), Entry::delete(&id, Expected::Present)] {
        let commit = Commit::one(entry).with_write(ground.write_id().await);
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
    let commit =
        Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(ground.write_id().await);
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
        let (target, write) = (id.clone(), ground.write_id().await);
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
    let write = ground.write_id().await;
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
        let commit =
            Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(ground.write_id().await);
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
        let write = ground.write_id().await;
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
    let write = ground.write_id().await;

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
    let write = ground.write_id().await;
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
        let (target, write) = (id.clone(), ground.write_id().await);
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

/// One write id names one commit: another one under it is refused by name, and nothing of it is applied.
pub async fn a_write_id_names_one_commit<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_id_names_one_commit", store);
    let [id, other] = ["a", "b"].map(|name| ground.id(name));
    let write = ground.write_id().await;
    let first = Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(write);
    let first = ground.commit(first).await.unwrap_or_else(|error| panic!("`{id}`: a write failed: {error}"));
    let state = ground.read(&id).await;

    // Expectations and values are not compared: the same commit may be encoded otherwise, and in memory can't be compared.
    let again = Commit::one(Entry::put(&id, Expected::Present, T::sample(2))).with_write(write);
    let again = ground.commit(again).await;
    assert_eq!(again.ok(), Some(first), "`{id}`: a write that is sent again with another value");

    let others = [
        Commit::one(Entry::put(&other, Expected::Any, T::sample(3))),
        Commit::one(Entry::delete(&id, Expected::Any)),
        Commit::one(Entry::put(&id, Expected::Any, T::sample(3))).and(Entry::check(&other, Expected::Any)),
    ];
    let several = ground.abilities().entries > 1;
    for commit in others.into_iter().filter(|commit| several || commit.entries().len() == 1) {
        match ground.commit(commit.with_write(write)).await {
            Err(Error::Refused(Refusal::Reused { write: named })) => assert_eq!(named, write, "`{id}`"),
            answer => panic!("`{id}`: another commit under a used write id came back as {answer:?}"),
        }
        ground.assert_state(&id, state, "another commit under a used write id").await;
        ground.assert_state(&other, None, "another commit under a used write id").await;
    }
    ground.clear().await;
}

/// A deletion that finds nothing is remembered: sent again, it deletes nothing that came since.
pub async fn a_deletion_of_nothing_is_remembered<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_deletion_of_nothing_is_remembered", store);
    let id = ground.id("a");
    let write = ground.write_id().await;
    let commit = Commit::one(Entry::delete(&id, Expected::Any)).with_write(write);
    let first = ground.commit(commit.clone()).await;
    let first = first.unwrap_or_else(|error| panic!("`{id}`: a deletion of nothing failed: {error}"));
    let version = ground.put(&id, Expected::Absent, 1).await;

    let again = ground.commit(commit).await;

    assert_eq!(again.ok(), Some(first.clone()), "`{id}`: the answer to a deletion that is sent again");
    ground.assert_state(&id, Some((version, 1)), "a deletion of nothing that was sent again").await;
    let resolved = store.resolve(write).await.ok();
    assert_eq!(resolved, Some(Resolution::Applied(first)), "`{id}`: what became of a deletion of nothing");
    ground.clear().await;
}

/// Checks are judged anew each time, whatever their write id: they apply nothing that could be recognised.
pub async fn checks_are_judged_whatever_their_write_id<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("checks_are_judged_whatever_their_write_id", store);
    let id = ground.id("a");
    let present = |write| Commit::one(Entry::check(&id, Expected::Present)).with_write(write);
    for write in [ground.write_id().await, WriteId::from_bits(u128::MAX), WriteId::from_bits(0)] {
        ground.conflict(ground.commit(present(write)).await, "a check of what is missing");
        let version = ground.put(&id, Expected::Absent, 1).await;
        for _ in 0..2 {
            let checked = ground.commit(present(write)).await;
            let checked = checked.unwrap_or_else(|error| panic!("`{id}`: a check was refused: {error}"));
            assert_eq!(checked.version(), Some(version), "`{id}`: what a check found");
        }
        ground.delete(&id, version).await;
    }
    ground.clear().await;
}

/// Asking what became of write ids, whatever they are and however many, shuts out no other id.
pub async fn asking_after_write_ids_shuts_out_no_other<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("asking_after_write_ids_shuts_out_no_other", store);
    let id = ground.id("a");
    // More than a small window holds; of a large one, enough to see that none of them is compared by age.
    let many = 2 * ground.abilities().window.clamp(10, 200) + 10;
    let ours = ground.write_id().await;
    for number in 0..many {
        let asked = match number % 4 {
            0 => WriteId::from_bits(u128::MAX - number as u128),
            1 => WriteId::from_bits(number as u128),
            _ => WriteId::after(ours.place()),
        };
        let resolved = store.resolve(asked).await;
        assert!(
            matches!(resolved, Ok(Resolution::NotApplied | Resolution::Unknown)),
            "`{id}`: {asked} was never sent, and resolved as {resolved:?}"
        );
        if number % 8 == 0 {
            let blind = ground.put(&id, Expected::Any, 1).await;
            let drawn = Commit::one(Entry::put(&id, Expected::Any, T::sample(2)));
            let answer = ground.commit(drawn.with_write(WriteId::after(Some(blind)))).await;
            assert!(answer.is_ok(), "`{id}`: after {number} questions a fresh id was refused: {answer:?}");
        }
    }
    ground.clear().await;
}

/// A write id from ahead of the store, as of another store or a lost state, is refused, and asking after it closes nothing.
pub async fn a_write_id_from_ahead_is_not_ours<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_write_id_from_ahead_is_not_ours", store);
    let id = ground.id("a");
    for write in [WriteId::from_bits(u128::MAX), WriteId::from_bits(u128::MAX - (1 << 64))] {
        for _ in 0..2 {
            let late = Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(write);
            match ground.commit(late).await {
                Err(Error::Refused(Refusal::Outside { write: named, .. })) => {
                    assert_eq!(named, write, "`{id}`")
                }
                answer => panic!("`{id}`: a write id from ahead of the store came back as {answer:?}"),
            }
            let resolved = store.resolve(write).await;
            assert!(matches!(resolved, Ok(Resolution::Unknown)), "`{id}`: {write} resolved as {resolved:?}");
        }
        ground.assert_state(&id, None, "a write id from ahead of the store").await;
    }
    ground.clear().await;
}

/// Beyond the window a write is not applied again over newer data, it never resolves as not applied, and who has not
/// written for so long is told where to draw anew. Only for stores with a window of at most 1,000 commits.
pub async fn beyond_the_window_nothing_is_applied_again<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("beyond_the_window_nothing_is_applied_again", store);
    let window = ground.abilities().window;
    if !(1..=1000).contains(&window) {
        return;
    }
    let [id, busy] = ["a", "busy"].map(|name| ground.id(name));
    let (sent, idle) = (ground.write_id().await, ground.write_id().await);
    let put = |write| Commit::one(Entry::put(&id, Expected::Any, T::sample(1))).with_write(write);
    let first =
        ground.commit(put(sent)).await.unwrap_or_else(|error| panic!("`{id}`: a write failed: {error}"));

    let mut place: Option<Version> = sent.place();
    for number in 0..3 * window as u64 + 10 {
        let commit = Commit::one(Entry::put(&busy, Expected::Any, T::sample(number)));
        let committed = ground.commit(commit.with_write(WriteId::after(place))).await;
        let committed =
            committed.unwrap_or_else(|error| panic!("`{busy}`: a fresh write was refused: {error}"));
        place = committed.version();
    }
    let newer = ground.put(&id, Expected::Present, 2).await;

    match ground.commit(put(sent)).await {
        Ok(again) => assert_eq!(again, first, "`{id}`: a write that was sent again"),
        Err(Error::Refused(Refusal::Outside { write, .. })) => assert_eq!(write, sent, "`{id}`"),
        Err(error) => panic!("`{id}`: a write that was sent again came back as {error}"),
    }
    ground.assert_state(&id, Some((newer, 2)), "a write that was sent again long after").await;
    match store.resolve(sent).await {
        Ok(Resolution::Applied(told)) => assert_eq!(told, first, "`{id}`"),
        Ok(Resolution::Unknown) => {}
        other => panic!("`{id}`: {sent} was applied, and resolved as {other:?}"),
    }
    match ground.commit(put(idle)).await {
        Ok(_) => {}
        Err(Error::Refused(Refusal::Outside { newest: Some(newest), .. })) => {
            let fresh = ground.commit(put(WriteId::after(Some(newest)))).await;
            assert!(fresh.is_ok(), "`{id}`: an id drawn where the store said was refused: {fresh:?}");
        }
        Err(error) => panic!("`{id}`: an id drawn long ago came back as {error}"),
    }
    ground.clear().await;
}
