//! Promise 2: versions of an id strictly increase, are never reused, and link into one chain.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::conformance::ground::Ground;
use crate::conformance::sample::Sample;
use crate::store::{Entry, Expected, Receipt, Store, Version, block_on};

/// The versions of an id strictly increase over puts, deletions and re-creations.
pub async fn versions_strictly_increase<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("versions_strictly_increase", store);
    let id = ground.id("a");
    let mut versions = Vec::new();
    for round in 0..20 {
        versions.push(ground.put(&id, Expected::Absent, round).await);
        for number in 0..round % 4 {
            versions.push(ground.put(&id, Expected::Present, number).await);
        }
        versions.push(ground.delete(&id, Expected::Present).await);
    }

    for pair in versions.windows(2) {
        let [earlier, later] = [pair[0], pair[1]];
        assert!(earlier.to_bits() < later.to_bits(), "`{id}`: version {later} came after {earlier}");
    }
    ground.clear().await;
}

/// Putting a value equal to the stored one makes a new version.
pub async fn an_equal_value_is_a_new_version<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_equal_value_is_a_new_version", store);
    let id = ground.id("a");
    let first = ground.put(&id, Expected::Absent, 1).await;
    let second = ground.put(&id, first, 1).await;

    assert_ne!(first, second, "`{id}`: two puts of equal values are two states");
    ground.conflict(ground.try_put(&id, first, 1).await, "a put that expects the version before");
    ground.assert_state(&id, Some((second, 1)), "a stale put of an equal value").await;
    ground.clear().await;
}

/// A version from before a deletion does not match after the id was created again with an equal value.
pub async fn an_old_version_does_not_match_a_recreation<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_old_version_does_not_match_a_recreation", store);
    for deletions in 1..5 {
        let id = ground.id(deletions);
        let mut old = vec![ground.put(&id, Expected::Absent, 1).await];
        for _ in 0..deletions {
            ground.delete(&id, Expected::Present).await;
            old.push(ground.put(&id, Expected::Absent, 1).await);
        }
        let current = old.pop().expect("there is a put after each deletion");

        for old in old {
            ground.conflict(ground.try_put(&id, old, 2).await, "a put that expects a deleted version");
            ground.conflict(
                ground.send(Entry::delete(&id, old)).await,
                "a delete that expects a deleted version",
            );
        }
        ground.assert_state(&id, Some((current, 1)), "writes that expected a deleted version").await;
    }
    ground.clear().await;
}

/// A version of a value does not match after the value was changed and changed back.
pub async fn an_old_version_does_not_match_a_value_put_back<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("an_old_version_does_not_match_a_value_put_back", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 1).await;
    ground.put(&id, Expected::Present, 2).await;
    let current = ground.put(&id, Expected::Present, 1).await;

    ground.conflict(ground.try_put(&id, old, 3).await, "a put that expects the value's earlier version");

    ground.assert_state(&id, Some((current, 1)), "a stale put").await;
    ground.clear().await;
}

/// The version of a deletion matches nothing: neither the absence it left nor a later value.
pub async fn the_version_of_a_deletion_matches_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("the_version_of_a_deletion_matches_nothing", store);
    let id = ground.id("a");
    ground.put(&id, Expected::Absent, 1).await;
    let deletion = ground.delete(&id, Expected::Present).await;

    ground.conflict(ground.try_put(&id, deletion, 2).await, "a put that expects the deletion's version");
    ground.assert_state(&id, None, "a put that expected the deletion's version").await;

    let again = ground.put(&id, Expected::Absent, 3).await;
    ground.conflict(ground.try_put(&id, deletion, 4).await, "a put that expects the deletion's version");
    ground.assert_state(&id, Some((again, 3)), "a put that expected the deletion's version").await;
    ground.clear().await;
}

/// A version of one id does not match another id's value.
pub async fn a_version_belongs_to_its_id<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_version_belongs_to_its_id", store);
    let [a, b] = ["a", "b"].map(|name| ground.id(name));
    let of_a = ground.put(&a, Expected::Absent, 1).await;
    let mut of_b = ground.put(&b, Expected::Absent, 1).await;
    // A store may number each id by itself: then equal numbers say nothing, and there is nothing to tell.
    if of_a == of_b {
        of_b = ground.put(&b, of_b, 2).await;
    }

    ground.conflict(ground.try_put(&b, of_a, 3).await, "a put that expects another id's version");

    assert_eq!(ground.read(&b).await.map(|(version, _)| version), Some(of_b), "`{b}`");
    ground.clear().await;
}

/// Versions made by racing writers are distinct, and the value that stays is the one with the greatest.
pub async fn racing_versions_are_distinct_and_the_greatest_stays<T: Sample + ?Sized>(
    store: &Arc<dyn Store<T>>,
) {
    const EACH: u64 = 30;
    let ground = Ground::new("racing_versions_are_distinct_and_the_greatest_stays", store);
    let id = ground.id("a");
    let target = id.clone();
    let acknowledged = ground.race(4, move |ground, writer| {
        let numbers = (0..EACH).map(|nth| writer as u64 * EACH + nth);
        numbers
            .map(|number| (block_on(ground.put(&target, Expected::Any, number)), number))
            .collect::<Vec<_>>()
    });

    for own in &acknowledged {
        let rising = own.windows(2).all(|pair| pair[0].0.to_bits() < pair[1].0.to_bits());
        assert!(rising, "`{id}`: a later put of one writer has a smaller version");
    }
    let all: Vec<(Version, u64)> = acknowledged.into_iter().flatten().collect();
    let distinct: HashSet<Version> = all.iter().map(|(version, _)| *version).collect();
    assert_eq!(distinct.len(), all.len(), "`{id}`: two puts were given the same version");
    let greatest = all.into_iter().max_by_key(|(version, _)| version.to_bits());
    ground.assert_state(&id, greatest, "a race of blind puts").await;
    ground.clear().await;
}

/// A read never goes back to a smaller version of its id.
pub async fn reads_never_go_back<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("reads_never_go_back", store);
    let id = ground.id("a");
    ground.put(&id, Expected::Absent, 0).await;
    let target = id.clone();
    ground.race(4, move |ground, thread| {
        let mut seen = 0;
        for number in 0..100 {
            if thread < 2 {
                seen = seen.max(block_on(ground.put(&target, Expected::Any, number)).to_bits().get());
            }
            let bits = block_on(ground.read(&target)).map_or(0, |(version, _)| version.to_bits().get());
            assert!(bits >= seen, "`{target}`: read version {bits} after version {seen}");
            seen = bits;
        }
    });
    ground.clear().await;
}

/// A receipt tells the version made and the version of the value it replaced.
pub async fn a_receipt_tells_what_was_replaced<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_receipt_tells_what_was_replaced", store);
    let id = ground.id("a");
    let receipt = async |entry| {
        let receipt = ground.send(entry).await;
        receipt.unwrap_or_else(|error| panic!("`{id}`: {error}"))
    };

    let created = receipt(Entry::put(&id, Expected::Absent, T::sample(1))).await;
    assert_eq!(created.replaced, None, "`{id}`: a creation replaces nothing");
    assert_eq!(ground.read(&id).await, created.version.map(|version| (version, 1)), "`{id}`");

    let replaced = receipt(Entry::put(&id, Expected::Any, T::sample(2))).await;
    assert_eq!(replaced.replaced, created.version, "`{id}`: a put replaces the value that stood there");
    assert_eq!(ground.read(&id).await, replaced.version.map(|version| (version, 2)), "`{id}`");

    let checked = receipt(Entry::check(&id, Expected::Present)).await;
    let found = Receipt { version: replaced.version, replaced: replaced.version };
    assert_eq!(checked, found, "`{id}`: a check tells the version found, which stands before and after it");

    let deleted = receipt(Entry::delete(&id, Expected::Present)).await;
    assert_eq!(deleted.replaced, replaced.version, "`{id}`: a delete replaces the value that stood there");
    assert!(deleted.version.is_some(), "`{id}`: a deletion has a version");

    let again = receipt(Entry::put(&id, Expected::Absent, T::sample(3))).await;
    assert_eq!(again.replaced, None, "`{id}`: where a value was deleted there is none to replace");
    ground.clear().await;
}

/// The receipts of racing writers of one id link into one chain from its creation to what stands there now.
pub async fn receipts_link_into_one_chain<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const EACH: u64 = 25;
    let ground = Ground::new("receipts_link_into_one_chain", store);
    let id = ground.id("a");
    let target = id.clone();
    let receipts = ground.race(4, move |ground, _| {
        let receipts = (0..EACH).map(|number| block_on(ground.try_put(&target, Expected::Any, number)));
        receipts.collect::<Result<Vec<Receipt>, _>>().unwrap_or_else(|error| panic!("`{target}`: {error}"))
    });

    let receipts: Vec<Receipt> = receipts.into_iter().flatten().collect();
    let next: HashMap<Option<Version>, Option<Version>> =
        receipts.iter().map(|receipt| (receipt.replaced, receipt.version)).collect();
    assert_eq!(next.len(), receipts.len(), "`{id}`: two puts replaced the same version");
    let (mut last, mut length) = (None, 0);
    while let Some(version) = next.get(&last).filter(|_| length <= receipts.len()) {
        (last, length) = (*version, length + 1);
    }
    assert_eq!(length, receipts.len(), "`{id}`: the chain of receipts is broken after {last:?}");
    let current = ground.read(&id).await.map(|(version, _)| version);
    assert_eq!(current, last, "`{id}`: the chain of receipts ends at another version than the stored one");
    ground.clear().await;
}
