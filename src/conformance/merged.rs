//! The promises of drafts that are merged: part of those of a [`Database`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::base::random;
use crate::collection::{Collection, Database, Retry};
use crate::conformance::race::race;
use crate::merge::{Merge, Overlaps};
use crate::store::{Advice, Error, Expected, block_on};

const BUDGET: Duration = Duration::from_secs(120);

type Counts = BTreeMap<String, u64>;

fn good<A>(answer: Result<A, Error>, what: &str) -> A {
    answer.unwrap_or_else(|error| panic!("{what} failed: {error}"))
}

fn counts(database: &Database) -> Collection<Counts> {
    let name = format!("law-{:016x}-counts", random());
    database.collection(&name).expect("a new name can be opened")
}

fn fine(_: &Counts) -> Result<(), Error> {
    Ok(())
}

/// Of eight threads that each edit a member of their own in one resource, no edit is lost.
pub async fn no_disjoint_edit_is_lost_by_a_merge(database: &Database) {
    const THREADS: usize = 8;
    const EACH: u64 = 8;
    let database = database.clone().with_retry(Retry::default().attempts(10_000).deadline(BUDGET));
    let counts = counts(&database);
    good(counts.create("a", Counts::new()).await, "a creation");

    let editing = counts.clone();
    race("editors of one resource", BUDGET, THREADS, move |thread| {
        let merge = Merge::new();
        let mut draft = good(block_on(editing.edit("a")), "to open a draft");
        for round in 0..EACH {
            // Every other time on what it saw last, which the others have changed since.
            if round % 2 == 0 {
                draft = good(block_on(editing.edit("a")), "to open a draft");
            }
            *draft.entry(thread.to_string()).or_default() += 1;
            let saved = good(block_on(draft.commit_or_merge(&merge, fine)), "a disjoint edit");
            let own = saved.value.get(&thread.to_string());
            assert_eq!(own, Some(&(round + 1)), "an edit is in what was saved");
        }
    });

    let all: Counts = (0..THREADS).map(|thread| (thread.to_string(), EACH)).collect();
    assert_eq!(*good(counts.fetch("a").await, "a read").value, all);
    good(counts.delete("a", Expected::Any).await, "a deletion");
}

/// What both sides changed is a conflict that names each place and nothing else, and writes nothing; once that is settled,
/// the draft is saved with what both sides made of the rest.
pub async fn an_overlap_is_told_and_writes_nothing(database: &Database) {
    let counts = counts(database);
    let of = |members: &[(&str, u64)]| -> Counts {
        members.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    good(counts.create("a", of(&[("both", 0), ("mine", 0), ("theirs", 0)])).await, "a creation");
    let mut draft = good(counts.edit("a").await, "to open a draft");
    *draft = of(&[("both", 1), ("mine", 1), ("theirs", 0)]);
    let theirs = counts.put("a", of(&[("both", 2), ("mine", 0), ("theirs", 2)])).await;
    let theirs = good(theirs, "a put");

    let answer = draft.commit_or_merge(&Merge::new(), fine).await;
    let Err(Error::Conflict(conflict)) = answer else { panic!("an overlap was saved: {answer:?}") };
    assert_eq!(conflict.retry(), Advice::Merge);
    let overlaps = Overlaps::of(&conflict).expect("a conflict of a merge has its overlaps");
    let [overlap] = overlaps.list() else { panic!("not one place overlaps: {overlaps:?}") };
    let sides = (&overlap.base, &overlap.mine, &overlap.theirs);
    assert_eq!((&*overlap.pointer, sides), ("/both", (&Some(json!(0)), &Some(json!(1)), &Some(json!(2)))));
    assert_eq!(good(counts.fetch("a").await, "a read"), theirs, "an overlap was written");

    good(draft.settle(conflict, |overlap| overlap.mine.clone()), "to settle an overlap");
    let saved = good(draft.commit_or_merge(&Merge::new(), fine).await, "what is settled");
    assert_eq!(*saved.value, of(&[("both", 1), ("mine", 1), ("theirs", 2)]));
    assert_eq!(good(counts.fetch("a").await, "a read"), saved);
    good(counts.delete("a", Expected::Any).await, "a deletion");
}

/// What came in between is merged with in each round: the merge is made of what is replaced, and of nothing older.
pub async fn a_merge_is_made_of_what_it_replaces(database: &Database) {
    let counts = counts(database);
    good(counts.create("a", Counts::new()).await, "a creation");
    let mut draft = good(counts.edit("a").await, "to open a draft");
    draft.insert("mine".to_owned(), 1);

    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (others, noted) = (counts.clone(), Arc::clone(&seen));
    let interfering = move |value: &Counts| {
        noted.lock().push(value.clone());
        let round = noted.lock().len();
        if round <= 3 {
            block_on(others.modify("a", |counts| counts.extend([(format!("theirs {round}"), 1)])))?;
        }
        Ok::<_, Error>(())
    };
    let saved = good(draft.commit_or_merge(&Merge::new(), interfering).await, "a disjoint edit");

    let expected = |others: usize| -> Counts {
        let others = (1..=others).map(|round| (format!("theirs {round}"), 1));
        others.chain([("mine".to_owned(), 1)]).collect()
    };
    assert_eq!(*seen.lock(), (0..=3).map(expected).collect::<Vec<_>>());
    assert_eq!(*saved.value, expected(3));
    assert_eq!(good(counts.fetch("a").await, "a read"), saved);
    good(counts.delete("a", Expected::Any).await, "a deletion");
}
