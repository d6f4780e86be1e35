//! Promises 1 and 3: no update is lost, and no path drops an expectation.

use std::sync::Arc;

use crate::conformance::ground::{Ground, Stored};
use crate::conformance::sample::Sample;
use crate::store::{Commit, Entry, Error, Expected, Intent, Receipt, Scan, Store, block_on};

const WRITERS: usize = 6;
const ROUNDS: u64 = 20;

/// Of writers that replace the same version exactly one wins, and the others conflict.
pub async fn of_n_writers_exactly_one_wins<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("of_n_writers_exactly_one_wins", store);
    for round in 0..ROUNDS {
        let id = ground.id(round);
        let base = ground.put(&id, Expected::Absent, 0).await;

        let target = id.clone();
        let answers = ground
            .race(WRITERS, move |ground, writer| block_on(ground.try_put(&target, base, 1 + writer as u64)));

        let (winner, receipt) = one_winner(&ground, &id, answers);
        let state = receipt.version.map(|version| (version, 1 + winner as u64));
        ground.assert_state(&id, state, "a race of writers").await;
    }
    ground.clear().await;
}

/// Of writers that create the same id exactly one wins, and the others conflict.
pub async fn of_n_creators_exactly_one_wins<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("of_n_creators_exactly_one_wins", store);
    for round in 0..ROUNDS {
        let id = ground.id(round);

        let target = id.clone();
        let answers = ground.race(WRITERS, move |ground, writer| {
            block_on(ground.try_put(&target, Expected::Absent, writer as u64))
        });

        let (winner, receipt) = one_winner(&ground, &id, answers);
        let state = receipt.version.map(|version| (version, winner as u64));
        ground.assert_state(&id, state, "a race of creators").await;
    }
    ground.clear().await;
}

/// Of writers that delete the same version exactly one wins, and the others conflict.
pub async fn of_n_deleters_exactly_one_wins<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("of_n_deleters_exactly_one_wins", store);
    for round in 0..ROUNDS {
        let id = ground.id(round);
        let base = ground.put(&id, Expected::Absent, 0).await;

        let target = id.clone();
        let answers =
            ground.race(WRITERS, move |ground, _| block_on(ground.send(Entry::delete(&target, base))));

        one_winner(&ground, &id, answers);
        ground.assert_state(&id, None, "a race of deleters").await;
    }
    ground.clear().await;
}

/// N writers that each add one M times by read and compare-and-swap add exactly N × M.
pub async fn increments_are_all_counted<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    const EACH: u64 = 25;
    let ground = Ground::new("increments_are_all_counted", store);
    let id = ground.id("counter");
    ground.put(&id, Expected::Absent, 0).await;

    let target = id.clone();
    ground.race(WRITERS, move |ground, _| {
        for _ in 0..EACH {
            block_on(ground.modify(&target, |number| number + 1));
        }
    });

    let counted = ground.read(&id).await.map(|(_, number)| number);
    assert_eq!(counted, Some(WRITERS as u64 * EACH), "`{id}`: an increment was lost or counted twice");
    ground.clear().await;
}

/// A writer that is alone on its id is never refused, whatever others do to other ids.
pub async fn a_writer_alone_is_never_refused<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_writer_alone_is_never_refused", store);
    ground.race(WRITERS, |ground, writer| {
        let id = ground.id(writer);
        let mut version = block_on(ground.put(&id, Expected::Absent, 0));
        for number in 1..50 {
            version = block_on(ground.put(&id, version, number));
        }
        block_on(ground.delete(&id, version));
    });
    ground.clear().await;
}

/// A put that conflicts leaves the version, the value and the listing as they were.
pub async fn a_loser_changes_nothing<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_loser_changes_nothing", store);
    let id = ground.id("a");
    let old = ground.put(&id, Expected::Absent, 1).await;
    let current = ground.put(&id, old, 2).await;

    for number in 3..10 {
        ground.conflict(ground.try_put(&id, old, number).await, "a stale put");
        ground.conflict(ground.try_put(&id, Expected::Absent, number).await, "a create of what exists");
        ground.conflict(ground.send(Entry::delete(&id, old)).await, "a stale delete");
    }

    ground.assert_state(&id, Some((current, 2)), "writes that lost").await;
    let page = store.scan(Scan::new(&id, 10)).await.unwrap_or_else(|error| panic!("{id}: {error}"));
    let page = page.with_values().unwrap_or_else(|error| panic!("{id}: {error}"));
    let listed: Vec<_> =
        page.items.iter().map(|(id, current)| (&**id, current.version, current.value.number())).collect();
    assert_eq!(listed, [(&*id, current, 2)], "the listing of `{id}` after writes that lost");
    ground.clear().await;
}

/// A put happens exactly where its expectation holds, alone and beside another entry.
pub async fn put_enforces_every_expectation<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("put_enforces_every_expectation", store);
    every_expectation(&ground, Intent::Put).await;
    ground.clear().await;
}

/// A delete happens exactly where its expectation holds, alone and beside another entry.
pub async fn delete_enforces_every_expectation<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("delete_enforces_every_expectation", store);
    every_expectation(&ground, Intent::Delete).await;
    ground.clear().await;
}

/// A check holds exactly where its expectation does, alone and beside another entry, and never changes anything.
pub async fn check_enforces_every_expectation<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("check_enforces_every_expectation", store);
    every_expectation(&ground, Intent::Check).await;
    ground.clear().await;
}

/// A read that begins after a write was acknowledged sees that write or a later one, on every thread.
pub async fn a_read_follows_its_acknowledgement<T: Sample + ?Sized>(store: &Arc<dyn Store<T>>) {
    let ground = Ground::new("a_read_follows_its_acknowledgement", store);
    let id = ground.id("a");
    ground.put(&id, Expected::Absent, 0).await;

    let target = id.clone();
    ground.observe_writes(
        move |ground, number| {
            block_on(ground.put(&id, Expected::Present, number));
        },
        move |ground, _| block_on(ground.read(&target)).map_or(0, |(_, number)| number),
    );
    ground.clear().await;
}

/// The one answer that is not a conflict, and who got it.
fn one_winner<T: Sample + ?Sized>(
    ground: &Ground<T>,
    id: &str,
    answers: Vec<Result<Receipt, Error>>,
) -> (usize, Receipt) {
    let mut winners = Vec::new();
    for (writer, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(receipt) => winners.push((writer, receipt)),
            lost => drop(ground.conflict(lost, "a write that lost a race")),
        }
    }
    assert_eq!(winners.len(), 1, "`{id}`: exactly one of the writers wins");
    winners[0]
}

/// What stands at an id before an expectation is tried on it.
#[derive(Debug, Clone, Copy)]
enum Before {
    Nothing,
    Deletion,
    Value,
}

async fn every_expectation<T: Sample + ?Sized>(ground: &Ground<T>, intent: Intent) {
    let several = ground.abilities().entries > 1;
    for before in [Before::Nothing, Before::Deletion, Before::Value] {
        for which in 0..6 {
            for beside in [false, true].into_iter().filter(|beside| several || !beside) {
                one_expectation(ground, intent, before, which, beside).await;
            }
        }
    }
}

async fn one_expectation<T: Sample + ?Sized>(
    ground: &Ground<T>,
    intent: Intent,
    before: Before,
    which: usize,
    beside: bool,
) {
    let id = ground.id(format_args!("{before:?}-{which}-{beside}"));
    let other = ground.id(format_args!("other-{before:?}-{which}"));
    let first = ground.put(&ground.id("first"), Expected::Any, 0).await;
    let (mut past, mut state): (_, Stored) = (first, None);
    if !matches!(before, Before::Nothing) {
        past = ground.put(&id, Expected::Absent, 1).await;
        state = Some((ground.put(&id, past, 2).await, 2));
    }
    if matches!(before, Before::Deletion) {
        past = ground.delete(&id, Expected::Present).await;
        state = None;
    }
    let stored = state.map(|(version, _)| version);
    let expected = match which {
        0 => Expected::Any,
        1 => Expected::Absent,
        2 => Expected::Present,
        3 => Expected::Version(stored.unwrap_or(past)),
        4 => Expected::Version(past),
        _ => Expected::Version(first),
    };

    let entry = match intent {
        Intent::Check => Entry::check(&id, expected),
        Intent::Put => Entry::put(&id, expected, T::sample(3)),
        Intent::Delete => Entry::delete(&id, expected),
    };
    let commit = match beside {
        false => Commit::one(entry),
        true => Commit::one(Entry::put(&other, Expected::Absent, T::sample(4))).and(entry),
    };
    let answer = ground.commit(commit).await;

    let what = format!("{intent:?} of `{id}` expecting {expected} where {state:?} stands");
    let after = ground.read(&id).await;
    if !expected.admits(stored) {
        ground.conflict(answer, &what);
        assert_eq!(after, state, "{what} conflicted and changed something");
        ground.assert_state(&other, None, "a conflict on the entry beside it").await;
        return;
    }
    let committed = answer.unwrap_or_else(|error| panic!("{what} must be applied, but failed: {error}"));
    let receipt = committed.receipts()[usize::from(beside)];
    match intent {
        Intent::Check => assert_eq!(after, state, "{what} changed something"),
        Intent::Put => assert_eq!(after, receipt.version.map(|version| (version, 3)), "{what}"),
        Intent::Delete => assert_eq!(after, None, "{what}"),
    }
}
