//! What is over, as the codec of its collection has it, and what is missing in it.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};

use ifmatch::codec::Codec;
use ifmatch::history::{Ended, History};
use ifmatch::store::{Abilities, Changes, Committed, Listed, Page, Resolution, Scan, WriteId};
use ifmatch::{
    Collection, Commit, Database, Entry, Error, Expected, Json, Memory, Reply, Schema, Start, Store,
    Versioned,
};
use serde::{Deserialize, Serialize};

type Fault = Box<dyn StdError + Send + Sync>;

/// Hides what it encodes, in bytes that are no text.
struct Hidden;

impl Codec<String> for Hidden {
    fn encode(&self, value: &String) -> Result<Vec<u8>, Fault> {
        Ok(value.bytes().map(|byte| !byte).collect())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, Fault> {
        let bytes = bytes.iter().map(|byte| !byte).collect();
        Ok(String::from_utf8(bytes).map_err(|_| "no text")?)
    }
}

fn recorded(database: &Database) -> (Collection<String>, History<String>) {
    let history = History::new(database, "notes.history").unwrap();
    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    (notes, history)
}

fn put(notes: &Collection<String>, text: &str) {
    notes.put("a", text.to_owned()).wait().unwrap();
}

/// The values of `a` that are over, the oldest first, and which of them come after a gap.
fn past(history: &History<String>) -> Vec<(String, bool)> {
    let versions = history.of("a").wait().unwrap();
    let past = versions.versions().map(|past| (past.value().unwrap().to_string(), past.is_after_gap()));
    let mut past: Vec<_> = past.collect();
    past.reverse();
    past
}

fn seamless(texts: &[&str]) -> Vec<(String, bool)> {
    texts.iter().map(|text| ((*text).to_owned(), false)).collect()
}

#[test]
fn what_a_codec_hides_is_hidden_in_the_past_too() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let database = Database::new(Arc::clone(&bytes));
    let history = History::new(&database, "notes.history").unwrap();
    let notes = database.define::<String>("notes").unwrap().recorded(&history).open_with(Hidden).unwrap();

    put(&notes, "s3cr3t");
    put(&notes, "s3cr3t, and more");
    notes.delete("a", Expected::Present).wait().unwrap();

    assert_eq!(past(&history), seamless(&["s3cr3t", "s3cr3t, and more"]));
    let stored = bytes.get("notes.history/a").wait().unwrap().unwrap().value;
    assert!(!String::from_utf8(stored.to_vec()).unwrap().contains("s3cr3t"));
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
fn a_past_of_earlier_releases_is_read_by_the_schema_of_today() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let old = Database::new(Arc::clone(&bytes));
    let history = History::new(&old, "notes.history").unwrap();
    let notes = old.define::<Old>("notes").unwrap().recorded(&history).open().unwrap();
    let first = notes.create("a", Old { title: "0".to_owned() }).wait().unwrap();
    notes.put("a", Old { title: "1".to_owned() }).wait().unwrap();

    let new = Database::new(bytes);
    let history = History::new(&new, "notes.history").unwrap();
    let schema = Schema::new(1, Json, |_, bytes| {
        let Old { title } = Json.decode(bytes)?;
        Ok(New { title, stars: 3 })
    });
    let notes = new.define::<New>("notes").unwrap().recorded(&history).open_with(schema).unwrap();
    notes.modify("a", |note| note.stars = 5).wait().unwrap();
    notes.modify("a", |note| note.stars = 4).wait().unwrap();

    let versions = history.of("a").wait().unwrap();
    let values: Vec<_> = versions.versions().map(|past| past.value().unwrap()).collect();
    let note = |title: &str, stars| New { title: title.to_owned(), stars };
    let [last, before, oldest] = &values[..] else { panic!("{versions:?}") };
    assert_eq!((&**last, &**before, &**oldest), (&note("1", 5), &note("1", 3), &note("0", 3)));
    let now = notes.fetch("a").wait().unwrap().version;
    let restored = history.restore(&notes, "a", first.version, now).wait().unwrap();
    assert_eq!(*restored.value, note("0", 3));
}

#[test]
fn before_its_collection_is_open_a_past_has_versions_and_no_values() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let (notes, _) = recorded(&Database::new(Arc::clone(&bytes)));
    put(&notes, "0");
    put(&notes, "1");

    let database = Database::new(bytes);
    let history = History::<String>::new(&database, "notes.history").unwrap();
    let closed = history.of("a").wait().unwrap();
    let last = closed.versions().next().unwrap();
    assert_eq!(last.ended(), Ended::Replaced);
    let refused = last.value().unwrap_err().to_string();
    assert_eq!(refused, "collection `notes.history` keeps the history of a collection that is not open");

    let notes = database.define::<String>("notes").unwrap().recorded(&history).open().unwrap();
    assert_eq!(past(&history), seamless(&["0"]));
    put(&notes, "2");
    assert_eq!(past(&history), seamless(&["0", "1"]));
}

#[test]
fn in_memory_the_past_is_the_values_themselves() {
    /// What JSON can't read back.
    #[derive(Serialize)]
    struct Job(u8);

    let database = Database::in_memory();
    let history = History::new(&database, "jobs.history").unwrap();
    let jobs = database.define::<Job>("jobs").unwrap().recorded(&history).open_in_memory().unwrap();
    let first = jobs.create("a", Job(7)).wait().unwrap();
    jobs.put("a", Job(8)).wait().unwrap();

    let versions = history.of("a").wait().unwrap();
    assert!(Arc::ptr_eq(&versions.at(first.version).unwrap().value().unwrap(), &first.value));
}

#[test]
fn a_history_of_another_type_is_refused() {
    let database = Database::in_memory();
    let _history = History::<String>::new(&database, "notes.history").unwrap();

    let refused = History::<u64>::new(&database, "notes.history").map(drop);

    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

#[test]
fn a_change_that_is_not_recorded_leaves_a_gap_that_is_told() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let (notes, history) = recorded(&Database::new(Arc::clone(&bytes)));
    // Another program, which does not record.
    let silent = Database::new(bytes).collection::<String>("notes").unwrap();
    put(&notes, "0");
    put(&notes, "1");
    put(&notes, "2");
    assert_eq!(past(&history), seamless(&["0", "1"]));

    put(&silent, "3");
    put(&silent, "4");
    put(&notes, "5");
    put(&notes, "6");

    let expected = [("0", false), ("1", false), ("4", true), ("5", false)];
    let expected = expected.map(|(text, gap)| (text.to_owned(), gap));
    assert_eq!(past(&history), expected);
    // Also where it was deleted and created again.
    silent.delete("a", Expected::Any).wait().unwrap();
    put(&notes, "7");
    put(&notes, "8");
    assert_eq!(past(&history)[4..], [("7".to_owned(), true)]);
}

#[test]
fn what_a_version_took_the_place_of_is_told_or_nothing() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let (notes, history) = recorded(&Database::new(Arc::clone(&bytes)));
    let put = |text: &str| notes.put("a", text.to_owned()).wait().unwrap().version;
    let before = |version| {
        let past = history.of("a").wait().unwrap();
        past.before(version).map(|past| past.value().unwrap().to_string()).ok()
    };
    let [first, second, third] = ["0", "1", "2"].map(put);
    assert_eq!([first, second, third].map(before), [None, Some("0".to_owned()), Some("1".to_owned())]);

    notes.delete("a", Expected::Present).wait().unwrap();
    let [created, after] = ["3", "4"].map(put);
    assert_eq!(
        [third, created, after].map(before),
        [Some("1"), None, Some("3")].map(|text| text.map(str::to_owned))
    );

    let silent = Database::new(bytes).collection::<String>("notes").unwrap();
    let silent = silent.put("a", "5".to_owned()).wait().unwrap().version;
    assert_eq!(before(silent), None);
    let known = put("6");
    assert_eq!([silent, known].map(before), [None, Some("5".to_owned())]);
}

#[test]
fn what_is_recorded_has_no_gap_whatever_happens_to_it() {
    for database in [Database::in_memory(), Database::new(Memory::<[u8]>::new())] {
        let (notes, history) = recorded(&database);
        let others = database.collection::<u64>("others").unwrap();
        put(&notes, "0");
        let first = notes.fetch("a").wait().unwrap().version;
        put(&notes, "1");
        // Other resources, other collections, refusals, and what writes nothing.
        notes.put("b", "b".to_owned()).wait().unwrap();
        others.put("a", 1).wait().unwrap();
        notes.replace("a", first, "late".to_owned()).wait().unwrap_err();
        notes.modify("a", |_| ()).wait().unwrap();
        let mut both = database.transaction();
        both.put(&others, "a", 2);
        both.put(&notes, "a", "2".to_owned());
        both.commit().wait().unwrap();
        history.restore(&notes, "a", first, Expected::Present).wait().unwrap();
        notes.delete("a", Expected::Present).wait().unwrap();
        notes.create("a", "3".to_owned()).wait().unwrap();
        put(&notes, "4");
        assert_eq!(past(&history), seamless(&["0", "1", "2", "0", "3"]));

        history.forget("a").wait().unwrap();
        put(&notes, "5");
        put(&notes, "6");
        assert_eq!(past(&history), seamless(&["4", "5"]));
    }
}

/// Lets somebody come in between right after the next read of `notes/a`.
struct Interrupted {
    store: Memory<[u8]>,
    between: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Whether commits get write ids, as to a store that loses answers.
    stamped: bool,
}

impl Store<[u8]> for Interrupted {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        let found = self.store.get(id).wait();
        let between = if id == "notes/a" { self.between.lock().unwrap().take() } else { None };
        between.into_iter().for_each(|between| between());
        Reply::ready(found)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        self.store.commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.store.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.store.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.store.watch(from)
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.store.abilities();
        abilities.may_lose_answers = self.stamped;
        abilities
    }
}

#[test]
fn a_creation_that_comes_right_after_a_deletion_replaces_nothing() {
    for (ruled, stamped) in [(false, false), (true, false), (false, true), (true, true)] {
        let store = Arc::new(Interrupted { store: Memory::new(), between: Mutex::default(), stamped });
        let database = Database::new(Arc::clone(&store));
        let history = History::new(&database, "notes.history").unwrap();
        let notes = database.define::<String>("notes").unwrap().recorded(&history);
        let never = |old: Option<&String>, _: Option<&String>| old.is_none();
        let notes = if ruled { notes.rule("created-once", "it is not changed", never) } else { notes };
        let notes = notes.open().unwrap();
        put(&notes, "0");

        // Deleted past all rules, after the creation has looked at what it would write over.
        let silent = Arc::clone(&store);
        let delete = move || {
            let delete = Commit::one(Entry::delete("notes/a", Expected::Present));
            silent.store.commit(delete).wait().unwrap();
        };
        *store.between.lock().unwrap() = Some(Box::new(delete));
        let created = notes.create("a", "1".to_owned()).wait();

        assert_eq!(
            created.map(|created| created.value.to_string()).ok().as_deref(),
            Some("1"),
            "{ruled} {stamped}"
        );
        assert_eq!(past(&history), [], "nothing was written over");
    }
}
