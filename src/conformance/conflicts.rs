//! Promise 4: a conflict tells the truth.

use std::collections::HashMap;
use std::sync::Arc;

use crate::conformance::ground::{Ground, Stored};
use crate::conformance::sample::Sample;
use crate::store::{
    Commit, Condition, Conflict, Entry, Expected, Intent, Kind, Origin, Store, Version, block_on,
};

/// A conflict names its id, what was expected, what was found, and what was about to be done.
pub async fn a_conflict_names_what_was_expected_and_found<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_names_what_was_expected_and_found", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 1).await;
    let current = ground.put(&id, Expected::Any, 2).await;

    let cases = [
        (Entry::put(&id, old, T::sample(3)), Expected::Version(old), Intent::Put),
        (Entry::put(&id, Expected::Absent, T::sample(3)), Expected::Absent, Intent::Put),
        (Entry::delete(&id, old), Expected::Version(old), Intent::Delete),
        (Entry::check(&id, old), Expected::Version(old), Intent::Check),
    ];
    for (entry, expected, intent) in cases {
        let conflict = ground.conflict(ground.send(entry).await, "a stale entry");
        let mismatch = &conflict.mismatches()[0];
        assert_eq!(conflict.mismatches().len(), 1, "`{id}`: one entry has one mismatch");
        assert_eq!(mismatch.id(), id, "the conflict names another id");
        assert_eq!(mismatch.expected(), expected, "`{id}`: the conflict names another expectation");
        assert_eq!(mismatch.found(), Some(current), "`{id}`: the conflict names another version");
        assert_eq!(mismatch.intent(), intent, "`{id}`: the conflict names another intent");
    }
    ground.clear().await;
}

/// A conflict says why: stale, exists already, or missing.
pub async fn a_conflict_says_why<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_says_why", store);
    let [id, missing] = ["a", "missing"].map(|name| ground.id(name));
    let old = ground.put(&id, Expected::Absent, 1).await;
    ground.put(&id, old, 2).await;

    let stale = ground.conflict(ground.try_put(&id, old, 3).await, "a stale put");
    let exists = ground.conflict(ground.try_put(&id, Expected::Absent, 3).await, "a create of what exists");
    let gone = ground.conflict(ground.try_put(&missing, old, 3).await, "a put of what is missing");
    let none =
        ground.conflict(ground.send(Entry::delete(&missing, Expected::Present)).await, "a delete of nothing");

    assert_eq!(stale.kind(), &Kind::Stale, "`{id}`");
    assert_eq!(exists.kind(), &Kind::Exists, "`{id}`");
    assert_eq!(gone.kind(), &Kind::Missing, "`{missing}`");
    assert_eq!(none.kind(), &Kind::Missing, "`{missing}`");
    assert_eq!(none.found(), None, "`{missing}` was found in a version");
    ground.clear().await;
}

/// Deleted and missing are told apart exactly where the abilities say so.
pub async fn deleted_and_missing_are_told_apart_as_declared<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("deleted_and_missing_are_told_apart_as_declared", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 1).await;
    let deletion = ground.delete(&id, old).await;

    for expected in [Expected::Present, Expected::Version(old)] {
        let conflict = ground.conflict(ground.try_put(&id, expected, 2).await, "a put of what was deleted");
        if ground.abilities().tombstones {
            assert_eq!(
                conflict.kind(),
                &Kind::Deleted,
                "`{id}` was deleted, and the store says it remembers that"
            );
            assert_eq!(conflict.found(), Some(deletion), "`{id}`: the version of the deletion");
        } else {
            assert_eq!(
                conflict.kind(),
                &Kind::Missing,
                "`{id}`: the store says it does not remember deletions"
            );
            assert_eq!(conflict.found(), None, "`{id}`: the store says it does not remember deletions");
        }
        assert!(conflict.current::<T>().is_none(), "`{id}` was deleted: there is no current value");
    }
    ground.clear().await;
}

/// A conflict keeps where each expectation came from, an argument or a header.
pub async fn a_conflict_keeps_the_origin<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_keeps_the_origin", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 1).await;
    ground.put(&id, old, 2).await;

    for origin in [Origin::Argument, Origin::Protocol] {
        for expected in [Expected::Absent, Expected::Version(old)] {
            let condition = Condition { expected, origin };
            let conflict = ground.conflict(ground.try_put(&id, condition, 3).await, "a stale put");
            assert_eq!(conflict.origin(), origin, "`{id}`: the origin of {expected}");
        }
    }
    ground.clear().await;
}

/// A conflict carries the value that stood there, with its version.
pub async fn a_conflict_carries_the_current_value<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_carries_the_current_value", store);
    let [id, missing] = ["a", "missing"].map(|name| ground.id(name));
    let old = ground.put(&id, Expected::Absent, 1).await;
    let current = ground.put(&id, old, 2).await;

    let stale = ground.conflict(ground.try_put(&id, old, 3).await, "a stale put");
    let exists = ground.conflict(ground.try_put(&id, Expected::Absent, 3).await, "a create of what exists");
    let gone =
        ground.conflict(ground.try_put(&missing, Expected::Present, 3).await, "a put of what is missing");

    assert_eq!(shown::<T>(&stale), Some((current, 2)), "`{id}`: the value in a conflict of a stale put");
    assert_eq!(shown::<T>(&exists), Some((current, 2)), "`{id}`: the value in a conflict of a create");
    assert_eq!(shown::<T>(&gone), None, "`{missing}`: a value where there is none");
    ground.clear().await;
}

/// Under racing writers the version found, and the value beside it, are always a pair that was acknowledged.
pub async fn a_conflicts_value_belongs_to_its_version<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const EACH: u64 = 80;
    let ground = Ground::new("a_conflicts_value_belongs_to_its_version", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 0).await;
    let first = ground.put(&id, old, 1).await;

    let target = id.clone();
    let pairs = ground.race(4, move |ground, thread| {
        let (mut written, mut found) = (Vec::new(), Vec::new());
        for nth in 0..EACH {
            if thread < 2 {
                let number = 2 + thread as u64 * EACH + nth;
                written.push((block_on(ground.put(&target, Expected::Any, number)), number));
            } else {
                let conflict = ground.conflict(block_on(ground.try_put(&target, old, 0)), "a stale put");
                found.push((conflict.found(), shown::<T>(&conflict)));
            }
        }
        (written, found)
    });

    let (written, found): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let mut written: HashMap<Version, u64> = written.into_iter().flatten().collect();
    written.insert(first, 1);
    for (version, current) in found.into_iter().flatten() {
        let (current, number) = current.unwrap_or_else(|| panic!("`{id}`: a conflict without the value"));
        assert_eq!(
            Some(current),
            version,
            "`{id}`: the value in a conflict is of another version than the one found"
        );
        assert_eq!(
            written.get(&current),
            Some(&number),
            "`{id}`: version {current} was never given to this value"
        );
    }
    ground.clear().await;
}

/// What a conflict shows stood there at some instant between the call and its answer.
pub async fn a_conflict_was_true_during_the_call<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_was_true_during_the_call", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 0).await;
    ground.put(&id, old, 0).await;

    let target = id.clone();
    ground.observe_writes(
        move |ground, number| {
            block_on(ground.put(&id, Expected::Present, number));
        },
        move |ground, _| {
            let conflict = ground.conflict(block_on(ground.try_put(&target, old, 0)), "a stale put");
            shown::<T>(&conflict).map_or(0, |(_, number)| number)
        },
    );
    ground.clear().await;
}

/// A conflict over several ids names every id that failed, in the order of the commit, and no other.
pub async fn a_conflict_names_every_failing_id_in_order<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_names_every_failing_id_in_order", store);
    if ground.abilities().entries < 5 {
        return;
    }
    // Not in byte order, so that a store that sorts for its locks is seen to sort back.
    let [e, b, d, a, c] = ["e", "b", "d", "a", "c"].map(|name| ground.id(name));
    let old = ground.put(&e, Expected::Absent, 1).await;
    let of_e = ground.put(&e, old, 2).await;
    let of_d = ground.put(&d, Expected::Absent, 3).await;

    let commit = Commit::one(Entry::put(&e, old, T::sample(9)))
        .and(Entry::put(&b, Expected::Absent, T::sample(9)))
        .and(Entry::check(&d, Expected::Absent))
        .and(Entry::delete(&a, Expected::Present))
        .and(Entry::check(&c, Expected::Absent));
    let conflict = ground.conflict(ground.commit(commit).await, "a commit with three failing entries");

    let named: Vec<_> =
        conflict.mismatches().iter().map(|one| (one.id(), one.found(), one.kind().clone())).collect();
    let failing =
        [(&*e, Some(of_e), Kind::Stale), (&*d, Some(of_d), Kind::Exists), (&*a, None, Kind::Missing)];
    assert_eq!(named, failing, "{}: the failing ids", ground.prefix());
    let values: Vec<Stored> = conflict
        .mismatches()
        .iter()
        .map(|one| one.current::<T>().map(|current| (current.version, current.value.number())))
        .collect();
    assert_eq!(values, [Some((of_e, 2)), Some((of_d, 3)), None], "{}: their values", ground.prefix());
    ground.clear().await;
}

/// The values that a conflict over several ids shows stood there at one instant.
pub async fn a_conflict_over_several_ids_is_of_one_instant<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_conflict_over_several_ids_is_of_one_instant", store);
    if ground.abilities().entries < 2 {
        return;
    }
    let ids = Arc::new(["a", "b"].map(|name| ground.id(name)));
    for id in &*ids {
        ground.put(id, Expected::Absent, 0).await;
    }

    let targets = Arc::clone(&ids);
    ground.observe_writes(
        move |ground, number| {
            let both = ids.iter().map(|id| Entry::put(id, Expected::Any, T::sample(number)));
            let answer = block_on(ground.commit(both.collect()));
            assert!(answer.is_ok(), "{}: a blind commit failed: {answer:?}", ground.prefix());
        },
        move |ground, _| {
            let both = targets.iter().map(|id| Entry::put(id, Expected::Absent, T::sample(0)));
            let conflict = ground.conflict(block_on(ground.commit(both.collect())), "a create");
            let values = conflict.mismatches().iter().filter_map(|one| one.current::<T>());
            let numbers: Vec<u64> = values.map(|current| current.value.number()).collect();
            assert!(
                matches!(*numbers, [of_a, of_b] if of_a == of_b),
                "{}: two ids that are always equal are {numbers:?} in a conflict",
                ground.prefix()
            );
            numbers[0]
        },
    );
    ground.clear().await;
}

fn shown<T: Sample + ?Sized>(conflict: &Conflict) -> Stored {
    conflict.current::<T>().map(|current| (current.version, current.value.number()))
}
