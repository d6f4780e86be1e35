//! The promises of a [`History`]: part of those of a [`Database`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::random;
use crate::collection::{Collection, Database, Retry};
use crate::conformance::race::race;
use crate::history::{Ended, History};
use crate::store::{Commit, Entry, Error, Expected, Kind, Version, Versioned, block_on};

const BUDGET: Duration = Duration::from_secs(120);

/// A collection that nobody else uses, and its history.
struct Notes {
    notes: Collection<String>,
    history: History<String>,
}

/// A version that is over: what it was, and how it ended.
type Over = (Version, String, Ended);

impl Notes {
    fn new(database: &Database, bounded: impl FnOnce(History<String>) -> History<String>) -> Self {
        let name = format!("law-{:016x}", random());
        let history = good(History::new(database, &format!("{name}.past")), "a new history");
        let history = bounded(history);
        let defined = good(database.define::<String>(&name), "a definition").recorded(&history);
        Self { notes: good(defined.open(), "opening a new collection"), history }
    }

    /// What is kept of an id, the oldest first.
    async fn past(&self, id: &str) -> Vec<Over> {
        let versions = good(self.history.of(id).await, "a read of what was");
        let over = versions.versions().map(|past| {
            (past.version(), good(past.value(), "a value that is over").to_string(), past.ended())
        });
        let mut past: Vec<Over> = over.collect();
        past.reverse();
        past
    }

    async fn expired(&self, id: &str) -> u64 {
        good(self.history.of(id).await, "a read of what was").expired()
    }

    async fn put(&self, id: &str, text: impl Into<String>) -> Version {
        good(self.notes.put(id, text.into()).await, "a put").version
    }

    async fn clear(&self, ids: &[&str]) {
        for id in ids {
            good(self.notes.delete(id, Expected::Any).await, "a deletion");
            good(self.history.forget(id).await, "to forget");
        }
    }
}

fn good<A>(answer: Result<A, Error>, what: &str) -> A {
    answer.unwrap_or_else(|error| panic!("{what} failed: {error}"))
}

fn is_later(version: Version, than: Version) -> bool {
    version.to_bits() > than.to_bits()
}

fn replaced(version: Version, text: &str) -> Over {
    (version, text.to_owned(), Ended::Replaced)
}

/// What a change writes over is kept once the change is applied, by whichever call, and what is refused keeps nothing.
pub async fn a_predecessor_is_kept_with_its_change_or_not_at_all(database: &Database) {
    let kept = Notes::new(database, |history| history);
    let notes = &kept.notes;

    let first = good(notes.create("a", "0".to_owned()).await, "a creation").version;
    assert_eq!(kept.past("a").await, [], "what is new has no past");
    let second = good(notes.replace("a", first, "1".to_owned()).await, "a replacement").version;
    let mut over = vec![replaced(first, "0")];
    assert_eq!(kept.past("a").await, over);
    let third = good(notes.modify("a", |text| text.push('!')).await, "a change").version;
    over.push(replaced(second, "1"));
    assert_eq!(kept.past("a").await, over);
    let mut both = database.transaction();
    both.put(notes, "a", "2".to_owned());
    both.put(notes, "b", "beside".to_owned());
    good(both.commit().await, "a transaction");
    over.push(replaced(third, "1!"));
    assert_eq!(kept.past("a").await, over);
    assert_eq!(kept.past("b").await, []);

    let late = notes.replace("a", first, "late".to_owned()).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "a stale replacement: {late:?}");
    let late = notes.delete("a", first).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "a stale deletion: {late:?}");
    let half = Commit::one(Entry::put("a", Expected::Any, Arc::new("half".to_owned())))
        .and(Entry::check("c", Expected::Present));
    let half = notes.commit(half).await;
    assert!(matches!(half, Err(Error::Conflict(_))), "a commit whose check fails: {half:?}");
    assert_eq!(*good(notes.fetch("a").await, "a read").value, "2", "what was refused was written");
    assert_eq!(kept.past("a").await, over, "what was refused was kept");

    let standing = good(notes.fetch("a").await, "a read").version;
    good(notes.modify("a", |_| ()).await, "a change that changes nothing");
    assert_eq!(good(notes.fetch("a").await, "a read").version, standing);
    assert_eq!(kept.past("a").await, over, "what was not written was kept");
    kept.clear(&["a", "b"]).await;
}

/// A resource that is deleted has a past, also once another one stands under its id.
pub async fn the_versions_of_a_deleted_resource_are_kept(database: &Database) {
    let kept = Notes::new(database, |history| history);
    let first = kept.put("a", "0").await;
    let second = kept.put("a", "1").await;

    good(kept.notes.delete("a", second).await, "a deletion");
    let over = [replaced(first, "0"), (second, "1".to_owned(), Ended::Deleted)];
    assert_eq!(kept.past("a").await, over, "the past of what is deleted");
    good(kept.notes.delete("a", Expected::Any).await, "a deletion of nothing");
    assert_eq!(kept.past("a").await, over, "a deletion of nothing was kept");

    let third = kept.put("a", "2").await;
    assert_eq!(kept.past("a").await, over, "a resource that is created anew");
    kept.put("a", "3").await;
    assert_eq!(kept.past("a").await, [&over[..], &[replaced(third, "2")]].concat());
    kept.clear(&["a"]).await;
}

/// However often a resource is changed, no more is kept than the history was told, the newest of it, and what went is counted.
pub async fn a_past_is_bounded_in_number_and_bytes(database: &Database) {
    const BYTES: usize = 1_500;
    let kept = Notes::new(database, |history| history.keeping(4).within(BYTES));
    let mut over = Vec::new();
    let mut standing: Option<(Version, String)> = None;

    for number in 0..60_usize {
        // One of them is longer than all that is kept: it drives out what was before it, and is not kept itself.
        let length = if number == 40 { BYTES + 1 } else { number * 7 % 300 };
        let text = number.to_string() + &"x".repeat(length);
        let version = kept.put("a", &*text).await;
        if let Some((version, text)) = standing.replace((version, text)) {
            over.push(replaced(version, &text));
        }

        let past = kept.past("a").await;
        let bytes: usize = past.iter().map(|(_, text, _)| text.len()).sum();
        assert!(past.len() <= 4 && bytes <= BYTES, "{} versions of {bytes} bytes", past.len());
        assert_eq!(past, over[over.len() - past.len()..], "put {number}: not the newest are kept");
        assert_eq!(past.len() as u64 + kept.expired("a").await, over.len() as u64, "put {number}");
        let short = over.iter().rev().take(4).map(|(_, text, _)| text.len() + 250).sum::<usize>() <= BYTES;
        assert!(!short || past.len() == over.len().min(4), "put {number}: too few are kept");
    }
    kept.clear(&["a"]).await;
}

/// To restore is to write: under a new version, on the condition that the caller names, and with a past of its own.
pub async fn a_restored_value_is_a_new_version(database: &Database) {
    let kept = Notes::new(database, |history| history);
    let (notes, history) = (&kept.notes, &kept.history);
    let first = kept.put("a", "0").await;
    let second = kept.put("a", "1").await;

    let restored = good(history.restore(notes, "a", first, second).await, "to restore");
    assert_eq!(*restored.value, "0");
    assert!(
        is_later(restored.version, second),
        "a restored value has version {} after {second}",
        restored.version
    );
    assert_eq!(good(notes.fetch("a").await, "a read"), restored);
    assert_eq!(kept.past("a").await, [replaced(first, "0"), replaced(second, "1")]);

    let stale = history.restore(notes, "a", first, second).await;
    let Err(Error::Conflict(conflict)) = stale else { panic!("restored over another state: {stale:?}") };
    assert_eq!(*conflict.kind(), Kind::Stale);
    assert_eq!(good(notes.fetch("a").await, "a read"), restored, "what was refused was restored");

    let undone = good(history.restore(notes, "a", second, restored.version).await, "to undo");
    assert_eq!((&**undone.value, is_later(undone.version, restored.version)), ("1", true));
    good(notes.delete("a", undone.version).await, "a deletion");
    let back = good(history.restore(notes, "a", undone.version, Expected::Absent).await, "to bring back");
    assert_eq!((&**back.value, is_later(back.version, undone.version)), ("1", true));
    assert_eq!(kept.past("a").await.len(), 4, "each state that is over is kept once");
    kept.clear(&["a"]).await;
}

/// Beside eight writers, the predecessor of each write that was applied is kept once and in order, and nothing else is.
pub async fn of_8_writers_each_predecessor_is_kept_once(database: &Database) {
    const EACH: usize = 12;
    let database = database.clone().with_retry(Retry::default().attempts(10_000).deadline(BUDGET));
    let kept = Arc::new(Notes::new(&database, |history| history.keeping(10_000).within(1 << 20)));
    let first = kept.put("a", "first").await;

    let writing = Arc::clone(&kept);
    let written = race("writers with a history", BUDGET, 8, move |writer| {
        let mut applied: Vec<Versioned<String>> = Vec::new();
        for round in 0..EACH {
            let (text, notes) = (format!("{writer}/{round}"), &writing.notes);
            match (writer + round) % 3 {
                0 => applied.push(good(block_on(notes.put("a", text)), "a put")),
                1 => {
                    let changed = block_on(notes.modify("a", move |now| *now = text.clone()));
                    applied.push(good(changed, "a change"));
                }
                // It may be too late, and is not written then.
                _ => {
                    let now = good(block_on(notes.fetch("a")), "a read").version;
                    match block_on(notes.replace("a", now, text)) {
                        Ok(now) => applied.push(now),
                        Err(Error::Conflict(_)) => {}
                        Err(error) => panic!("a replacement failed: {error}"),
                    }
                }
            }
        }
        applied
    });

    let applied = written.into_iter().flatten().map(|now| (now.version, now.value.to_string()));
    let applied = applied.chain([(first, "first".to_owned())]);
    let mut states: BTreeMap<_, Over> =
        applied.map(|(version, text)| (version.to_bits(), replaced(version, &text))).collect();
    let standing = good(kept.notes.fetch("a").await, "a read");
    let last = states.remove(&standing.version.to_bits());
    assert_eq!(
        last,
        Some(replaced(standing.version, &standing.value)),
        "what stands is what was written last"
    );
    assert_eq!(kept.past("a").await, states.into_values().collect::<Vec<_>>());
    kept.clear(&["a"]).await;
}
