//! What resources were, kept in the commit of each change: all of it, in order, and no more than was asked for.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use ifmatch::history::{Ended, History};
use ifmatch::http::Patch;
use ifmatch::store::{Version, Versioned};
use ifmatch::{Collection, Database, Error, Expected, Kind, Memory, Retry};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dice::Dice;

fn notes(database: &Database) -> (Collection<String>, History<String>) {
    let history = History::new(database, "notes.history").unwrap();
    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    (notes, history)
}

/// Versions that are over, the oldest first.
type Over = Vec<(Version, String, Ended)>;

/// What is kept of an id.
fn past(history: &History<String>, id: &str) -> Over {
    let versions = history.of(id).wait().unwrap();
    let mut past: Vec<_> = versions
        .versions()
        .map(|past| (past.version(), past.value().unwrap().to_string(), past.ended()))
        .collect();
    past.reverse();
    past
}

fn put(notes: &Collection<String>, id: &str, text: &str) -> Version {
    notes.put(id, text.to_owned()).wait().unwrap().version
}

#[test]
fn every_way_to_change_a_resource_keeps_what_it_was() {
    for database in [Database::in_memory(), Database::new(Memory::<[u8]>::new())] {
        let (notes, history) = notes(&database);
        let mut versions = vec![notes.create("a", "0".to_owned()).wait().unwrap().version];
        versions.push(put(&notes, "a", "1"));
        versions.push(notes.replace("a", versions[1], "2".to_owned()).wait().unwrap().version);
        versions.push(notes.modify("a", |text| *text = "3".to_owned()).wait().unwrap().version);
        let mut draft = notes.edit("a").wait().unwrap();
        *draft = "4".to_owned();
        versions.push(draft.commit().wait().unwrap().version);
        let mut transaction = database.transaction();
        transaction.put(&notes, "a", "5".to_owned());
        transaction.put(&notes, "b", "beside".to_owned());
        transaction.commit().wait().unwrap();
        versions.push(notes.fetch("a").wait().unwrap().version);
        notes.delete("a", Expected::Present).wait().unwrap();
        put(&notes, "a", "again");

        let ended = |at: usize| if at == 5 { Ended::Deleted } else { Ended::Replaced };
        let expected: Vec<_> =
            versions.iter().enumerate().map(|(at, version)| (*version, at.to_string(), ended(at))).collect();
        assert_eq!(past(&history, "a"), expected);
        assert_eq!((past(&history, "b"), past(&history, "c")), (Vec::new(), Vec::new()));
    }
}

#[test]
fn what_is_not_applied_keeps_nothing() {
    let database = Database::in_memory();
    let history = History::new(&database, "notes.history").unwrap();
    let notes = database.define::<String>("notes").unwrap().recorded(&history);
    let notes =
        notes.rule("short", "it is too long", |_, new| new.is_none_or(|new| new.len() < 9)).open().unwrap();
    let first = put(&notes, "a", "0");
    let second = put(&notes, "a", "1");

    assert!(notes.replace("a", first, "late".to_owned()).wait().is_err());
    assert!(notes.put("a", "far too long".to_owned()).wait().is_err());
    assert!(notes.delete("b", Expected::Present).wait().is_err());
    assert!(notes.delete("b", Expected::Any).wait().is_ok());
    let mut half = database.transaction();
    half.put(&notes, "a", "2".to_owned());
    half.check(&notes, "b", Expected::Present).unwrap();
    assert!(half.commit().wait().is_err());

    assert_eq!(past(&history, "a"), [(first, "0".to_owned(), Ended::Replaced)]);
    assert_eq!(notes.fetch("a").wait().unwrap().version, second);
    assert!(past(&history, "b").is_empty());
}

#[test]
fn a_record_stays_within_its_bounds_however_often_a_resource_is_changed() {
    let database = Database::in_memory();
    let history = History::<String>::new(&database, "notes.history").unwrap().keeping(8).within(1_000);
    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    let writes: u64 = 100_000;
    for number in 0..writes {
        put(&notes, "a", &"x".repeat((number % 40) as usize));
        if number % 997 == 0 {
            let kept = history.of("a").wait().unwrap();
            let bytes: usize = kept.versions().map(|past| 200 + past.value().unwrap().len() + 2).sum();
            assert!(kept.versions().count() <= 8 && bytes <= 1_000, "{kept:?}");
            assert!(number < 3 || kept.versions().count() >= 3, "{kept:?}");
            assert_eq!(kept.versions().count() as u64 + kept.expired(), number);
        }
    }
    // One that is too long by itself is not kept, and drives out what is before it.
    put(&notes, "a", &"x".repeat(1_001));
    put(&notes, "a", "short");
    assert_eq!(history.of("a").wait().unwrap().versions().count(), 0);

    let brief = History::<String>::new(&database, "brief.history").unwrap().lasting(Duration::ZERO);
    let notes = database.define::<String>("brief").unwrap().recorded(&brief).open().unwrap();
    for number in 0..3 {
        put(&notes, "a", &number.to_string());
        thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(past(&brief, "a").len(), 1, "what ended before the last change is too old");
}

#[test]
fn what_is_over_can_be_restored_and_that_undone() {
    let database = Database::in_memory();
    let (notes, history) = notes(&database);
    let first = put(&notes, "a", "0");
    let second = put(&notes, "a", "1");

    let restored = history.restore(&notes, "a", first, second).wait().unwrap();
    assert_eq!(*restored.value, "0");
    let undone = history.restore(&notes, "a", second, restored.version).wait().unwrap();
    assert_eq!(*undone.value, "1");
    notes.delete("a", undone.version).wait().unwrap();
    let back = history.restore(&notes, "a", undone.version, Expected::Absent).wait().unwrap();
    assert_eq!(*back.value, "1");

    let stale = history.restore(&notes, "a", first, second).wait().unwrap_err();
    assert_eq!(stale.conflict().map(|conflict| conflict.kind().clone()), Some(Kind::Stale));
    let rule = |error: Error| match error.conflict().map(|conflict| conflict.kind().clone()) {
        Some(Kind::State { rule, .. }) => rule.into_owned(),
        other => panic!("{other:?}"),
    };
    let standing = history.restore(&notes, "a", back.version, Expected::Any).wait().unwrap_err();
    assert_eq!(rule(standing), "no-such-version");
    for number in 0..40 {
        put(&notes, "a", &number.to_string());
    }
    assert_eq!(rule(history.restore(&notes, "a", first, Expected::Any).wait().unwrap_err()), "expired");
}

/// Writes from eight threads, some of which restore. Gives what was written, by version, and what stands at the end.
fn raced(write: impl Fn(u64, u64) -> Versioned<String> + Sync) -> BTreeMap<u64, String> {
    let written = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for writer in 0..8 {
            let (written, write) = (&written, &write);
            scope.spawn(move || {
                for round in 0..100 {
                    let now = write(writer, round);
                    written.lock().unwrap().insert(now.version.to_bits().get(), (*now.value).clone());
                }
            });
        }
    });
    written.into_inner().unwrap()
}

fn patient() -> Retry {
    Retry::default().attempts(u32::MAX).deadline(Duration::from_secs(600))
}

#[test]
fn beside_writers_and_restorers_each_version_is_kept_once_and_in_order() {
    let database = Database::in_memory().with_retry(patient());
    let history = History::<String>::new(&database, "notes.history").unwrap().keeping(10_000).within(1 << 20);
    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    let first = put(&notes, "a", "first");

    let mut written = raced(|writer, round| match (writer + round) % 3 {
        0 => history.restore(&notes, "a", first, Expected::Any).wait().unwrap_or_else(|error| {
            // The very first write may not be over yet.
            assert!(error.conflict().is_some(), "{error}");
            notes.put("a", "first".to_owned()).wait().unwrap()
        }),
        1 => notes.put("a", format!("{writer}/{round}")).wait().unwrap(),
        _ => notes.modify("a", |text| *text = format!("{writer}:{round}")).wait().unwrap(),
    });

    written.insert(first.to_bits().get(), "first".to_owned());
    let standing = notes.fetch("a").wait().unwrap();
    assert_eq!(written.remove(&standing.version.to_bits().get()).as_ref(), Some(&*standing.value));
    let kept: Vec<(u64, String)> =
        past(&history, "a").into_iter().map(|(version, text, _)| (version.to_bits().get(), text)).collect();
    assert_eq!(kept, written.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_program_that_keeps_what_it_read_before_it_writes_misses_versions() {
    let notes = Collection::<String>::in_memory();
    let kept = Mutex::new(BTreeMap::new());
    let first = put(&notes, "a", "first");

    let mut written = raced(|writer, round| {
        let before = notes.fetch("a").wait().unwrap();
        thread::yield_now();
        let now = notes.put("a", format!("{writer}/{round}")).wait().unwrap();
        kept.lock().unwrap().insert(before.version.to_bits().get(), (*before.value).clone());
        now
    });

    written.insert(first.to_bits().get(), "first".to_owned());
    written.remove(&notes.fetch("a").wait().unwrap().version.to_bits().get());
    assert_ne!(kept.into_inner().unwrap(), written);
}

#[test]
fn random_changes_leave_the_past_that_a_plain_list_has() {
    for seed in 0..50 {
        let mut dice = Dice::new(seed);
        let most = 1 + dice.below(6) as usize;
        let database = match seed % 2 {
            0 => Database::in_memory(),
            _ => Database::new(Memory::<[u8]>::new()),
        };
        let history = History::<String>::new(&database, "notes.history").unwrap().keeping(most);
        let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
        let ids = ["a", "b", "c"];
        type Standing = Option<(Version, String)>;
        let mut model: BTreeMap<&str, (Standing, Over)> =
            ids.into_iter().map(|id| (id, (None, Over::new()))).collect();
        for round in 0..200 {
            let id = ids[dice.below(3) as usize];
            let (now, over) = model.get_mut(id).unwrap();
            let (next, ended) = match dice.below(5) {
                0 => {
                    notes.delete(id, Expected::Any).wait().unwrap();
                    (None, Ended::Deleted)
                }
                1 if !over.is_empty() && over.len() <= most => {
                    let (version, text, _) = over[dice.below(over.len() as u64) as usize].clone();
                    let restored = history.restore(&notes, id, version, Expected::Any).wait().unwrap();
                    assert_eq!(*restored.value, text);
                    (Some((restored.version, text)), Ended::Replaced)
                }
                _ => {
                    let text = round.to_string();
                    (Some((put(&notes, id, &text), text)), Ended::Replaced)
                }
            };
            if let Some((version, text)) = std::mem::replace(now, next) {
                over.push((version, text, ended));
            }

            let from = over.len().saturating_sub(most);
            assert_eq!(past(&history, id), over[from..], "seed {seed}, round {round}");
            assert_eq!(history.of(id).wait().unwrap().expired(), from as u64);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Old {
    title: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct New {
    title: String,
    stars: u8,
}

#[test]
fn a_past_that_the_type_no_longer_reads_is_in_nobodys_way() {
    let store = std::sync::Arc::new(Memory::<[u8]>::new());
    let database = Database::new(std::sync::Arc::clone(&store));
    let history = History::<Old>::new(&database, "notes.history").unwrap();
    let notes = database.define::<Old>("notes").unwrap().recorded(&history).open().unwrap();
    let old = |title: &str| Old { title: title.to_owned() };
    notes.create("a", old("0")).wait().unwrap();
    notes.put("a", old("1")).wait().unwrap();
    notes.delete("a", Expected::Any).wait().unwrap();

    let database = Database::new(store);
    let history = History::<New>::new(&database, "notes.history").unwrap();
    let notes = database.define::<New>("notes").unwrap().recorded(&history).open().unwrap();
    let new = |stars| New { title: "2".to_owned(), stars };
    notes.create("a", new(1)).wait().unwrap();
    notes.put("a", new(2)).wait().unwrap();

    let past = history.of("a").wait().unwrap();
    let values: Vec<_> = past.versions().map(|past| past.value()).collect();
    assert!(
        matches!(&values[..], [Ok(kept), Err(Error::Corrupt(_)), Err(Error::Corrupt(_))] if **kept == new(1))
    );
}

#[test]
fn a_value_as_deep_as_may_be_has_a_past_and_no_text_shows_it() {
    let database = Database::new(Memory::<[u8]>::new());
    let history = History::<Value>::new(&database, "notes.history").unwrap().by(|_| Some("ann".to_owned()));
    let notes = database.define::<Value>("notes").unwrap().recorded(&history).open().unwrap();
    let deep = (0..63).fold(json!("s3cr3t"), |value, _| json!([value]));
    notes.create("a", deep.clone()).wait().unwrap();
    notes.put("a", json!(1)).wait().unwrap();

    let past = history.of("a").wait().unwrap();
    let last = past.versions().next().unwrap();
    assert_eq!((&*last.value().unwrap(), last.by()), (&deep, Some("ann")));
    assert!(!format!("{past:?} {last:?} {history:?}").contains("s3cr3t"));
}

#[test]
fn a_history_of_another_database_is_refused_when_the_collection_is_opened() {
    let history = History::<String>::new(&Database::in_memory(), "notes.history").unwrap();

    let refused = Database::in_memory().define::<String>("notes").unwrap().recorded(&history).open();

    assert_eq!(refused.unwrap_err().to_string(), "collection `notes.history` is one of another database");
}

#[test]
fn a_definition_that_is_never_opened_keeps_no_history_from_others() {
    let database = Database::in_memory();
    let history = History::<String>::new(&database, "notes.history").unwrap();
    drop(database.define::<String>("others").unwrap().recorded(&history));

    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    put(&notes, "a", "1");
    put(&notes, "a", "2");

    assert_eq!(history.of("a").wait().unwrap().versions().count(), 1);
}

#[test]
fn what_is_forgotten_is_gone_and_known_to_have_been_there() {
    let database = Database::in_memory();
    let (notes, history) = notes(&database);
    let first = put(&notes, "a", "s3cr3t");
    put(&notes, "a", "1");

    history.forget("a").wait().unwrap();
    history.forget("nobody").wait().unwrap();

    assert!(history.of("a").wait().unwrap().at(first).unwrap_err().to_string().contains("no longer has"));
    put(&notes, "a", "2");
    assert_eq!(past(&history, "a").len(), 1);
    assert_eq!(history.of("a").wait().unwrap().expired(), 1);
}

#[test]
fn the_difference_of_two_versions_makes_one_of_the_other() {
    let database = Database::in_memory();
    let history = History::<Value>::new(&database, "history").unwrap();
    let values = database.define::<Value>("values").unwrap().recorded(&history).open().unwrap();
    let mut dice = Dice::new(7);
    let mut before = json!({});
    values.create("a", before.clone()).wait().unwrap();
    for _ in 0..200 {
        let name = ["x", "y/", "~z", "l"][dice.below(4) as usize];
        let next = match dice.below(4) {
            0 => json!(dice.below(3)),
            1 => json!({"in": dice.below(3), "null": null}),
            2 => json!((0..dice.below(4)).collect::<Vec<_>>()),
            _ => json!(null),
        };
        let mut now = before.clone();
        now[name] = next;
        values.put("a", now.clone()).wait().unwrap();

        let past = history.of("a").wait().unwrap();
        let difference = past.versions().next().unwrap().difference(&now).unwrap();
        let patch =
            Patch::parse(Some("application/json-patch+json"), difference.to_string().as_bytes()).unwrap();
        assert_eq!(patch.apply("a", &before).unwrap(), now, "{difference}");
        before = now;
    }
}

#[test]
fn a_history_is_that_of_one_collection() {
    let database = Database::in_memory();
    let (notes, history) = notes(&database);
    let first = put(&notes, "a", "0");

    let others = database.define::<String>("others").unwrap().recorded(&history).open();
    let refused = others.unwrap_err().to_string();
    assert_eq!(refused, "collection `notes.history` keeps the history of another collection");

    // Nor does another handle of the same name.
    let again = History::<String>::new(&database, "notes.history").unwrap();
    assert!(database.define::<String>("others").unwrap().recorded(&again).open().is_err());
    // Whatever its name is, a collection of another database is another one.
    let elsewhere = Database::in_memory();
    let (twin, _) = self::notes(&elsewhere);
    assert!(history.restore(&twin, "a", first, Expected::Any).wait().is_err());

    put(&notes, "a", "1");
    let others = database.collection::<String>("others").unwrap();
    let refused = history.restore(&others, "a", first, Expected::Any).wait().unwrap_err();
    assert_eq!(refused.to_string(), "collection `notes.history` keeps no history of this collection");
    assert_eq!(others.get("a").wait().unwrap(), None);
}

#[test]
fn who_made_a_version_is_shown_to_those_who_ask_and_to_no_log() {
    let database = Database::in_memory();
    let history = History::new(&database, "notes.history").unwrap().by(|note: &String| Some(note.clone()));
    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    put(&notes, "a", "s3cr3t");
    put(&notes, "a", "other");

    let past = history.of("a").wait().unwrap();

    assert_eq!(past.versions().next().unwrap().by(), Some("s3cr3t"));
    assert!(!format!("{past:?} {:?}", past.versions().collect::<Vec<_>>()).contains("s3cr3t"));
}
