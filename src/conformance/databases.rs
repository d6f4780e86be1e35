//! The promises of a [`Database`]: several typed collections, one commit, and nothing that goes past what a collection
//! was given.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::random;
use crate::collection::{Along, Collection, Database, Exit, Part, Retry, Step};
use crate::conformance::race::{race, within};
use crate::store::{Action, Commit, Committed, Entry, Error, Expected, Kind, Refusal, Scan, Start, block_on};

pub use crate::conformance::leases::*;
#[cfg(feature = "merge")]
#[cfg_attr(docsrs, doc(cfg(feature = "merge")))]
pub use crate::conformance::merged::*;
pub use crate::conformance::past::*;

/// How long the threads of one law may take as a whole.
const BUDGET: Duration = Duration::from_secs(120);

/// One run of a law on a database.
pub type DatabaseTrial<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Names of collections that nobody else uses.
struct Names(u64);

impl Names {
    fn new() -> Self {
        Self(random())
    }

    fn name(&self, of: &str) -> String {
        format!("law-{:016x}-{of}", self.0)
    }

    fn numbers(&self, database: &Database) -> Collection<u64> {
        database.collection(&self.name("numbers")).expect("a new name can be opened")
    }

    fn texts(&self, database: &Database) -> Collection<String> {
        database.collection(&self.name("texts")).expect("a new name can be opened")
    }
}

fn good<A>(answer: Result<A, Error>, what: &str) -> A {
    answer.unwrap_or_else(|error| panic!("{what} failed: {error}"))
}

async fn clear<T: crate::store::Resource>(collection: &Collection<T>) {
    while let Some(page) = Some(good(collection.scan_ids("", None, 100).await, "a scan")) {
        for (id, _) in &page.items {
            good(collection.delete(id, Expected::Any).await, "a deletion");
        }
        if !page.more {
            return;
        }
    }
}

/// Refuses the odd numbers.
struct Even;

impl Step<u64> for Even {
    fn enter(&self, part: &Part<'_, u64>, _: &mut Along<'_>) -> Result<Exit, Error> {
        let odd = part
            .entries()
            .iter()
            .find(|entry| matches!(&entry.action, Action::Put(number) if **number % 2 == 1));
        match odd {
            Some(entry) => Err(Refusal::NotAllowed { id: entry.id.into() }.into()),
            None => Ok(Exit::silent()),
        }
    }
}

/// Puts the text of each number beside it.
struct Spelled(Collection<String>);

impl Step<u64> for Spelled {
    fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
        for entry in part.entries() {
            match &entry.action {
                Action::Put(number) => {
                    along.add(&self.0, Entry::put(entry.id, Expected::Any, number.to_string().into()))?;
                }
                Action::Delete => along.add(&self.0, Entry::delete(entry.id, Expected::Any))?,
                Action::Check => {}
            }
        }
        Ok(Exit::silent())
    }
}

/// Hears how every commit ended.
#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Vec<Result<usize, String>>>>);

impl Step<u64> for Hears {
    fn enter(&self, _: &Part<'_, u64>, _: &mut Along<'_>) -> Result<Exit, Error> {
        let heard = Arc::clone(&self.0);
        Ok(Exit::then(move |outcome: Result<&Committed, &Error>| {
            heard
                .lock()
                .push(outcome.map(|committed| committed.receipts().len()).map_err(ToString::to_string));
        }))
    }
}

/// No collection sees what is in another one, whatever ids look like.
pub async fn collections_see_their_own_alone(database: &Database) {
    let names = Names::new();
    let base = names.name("a");
    let near = [base.clone(), format!("{base}2"), format!("{base}."), format!("{base}-b")];
    let ids = [&format!("{base}/x"), "/", "//", "../x", "x", "x/y", "%2F", "ü", "\n", &"i".repeat(400)];
    let mut collections = Vec::new();
    for name in &near {
        collections.push(good(database.collection::<String>(name), "opening a new collection"));
    }

    for (collection, name) in collections.iter().zip(&near) {
        for id in ids {
            let created = collection.create(id, format!("{name}:{id}")).await;
            good(created, "creating what only other collections have");
        }
    }

    let mut sorted = ids.to_vec();
    sorted.sort_unstable();
    for (collection, name) in collections.iter().zip(&near) {
        for id in ids {
            let found = good(collection.fetch(id).await, "a read of what was created");
            assert_eq!(*found.value, format!("{name}:{id}"), "`{id}` of `{name}`");
        }
        let all = good(collection.scan("", None, 100).await, "a scan");
        let listed: Vec<&str> = all.items.iter().map(|(id, _)| &**id).collect();
        assert_eq!(listed, sorted, "`{name}` lists its own ids, in order");
        assert!(all.items.iter().all(|(id, found)| *found.value == format!("{name}:{id}")), "`{name}`");
        for (prefix, count) in [(&*base, 1), ("/", 2), ("x", 2), (near[1].as_str(), 0)] {
            let page = good(collection.scan_ids(prefix, None, 100).await, "a scan of a prefix");
            assert_eq!(page.items.len(), count, "`{name}` below `{prefix}`");
        }
        let after = good(collection.scan_ids("", Some("x"), 100).await, "a scan after an id");
        assert!(after.items.iter().all(|(id, _)| &**id > "x"), "`{name}` after `x`");
    }
    for collection in &collections {
        clear(collection).await;
        assert!(good(collection.get("x").await, "a read").is_none());
    }
}

/// A commit over several collections applies all or nothing, whichever part fails, and names the collection, the id and the
/// typed value of what failed.
pub async fn a_commit_over_collections_is_all_or_nothing(database: &Database) {
    let names = Names::new();
    let (numbers, texts) = (names.numbers(database), names.texts(database));
    let number = good(numbers.create("same", 1).await, "a creation");
    let text = good(texts.create("same", "one".to_string()).await, "a creation");

    for fails in ["numbers", "texts"] {
        let mut transaction = database.transaction();
        good(transaction.check(&numbers, "same", number.version), "a check");
        good(transaction.check(&texts, "same", text.version), "a check");
        transaction.put(&numbers, "same", 2);
        transaction.put(&texts, "same", "two".to_string());
        good(transaction.create(&texts, "new", "new".to_string()), "a creation in a transaction");
        match fails {
            "numbers" => drop(good(numbers.put("same", 7).await, "a put")),
            _ => drop(good(texts.put("same", "seven".to_string()).await, "a put")),
        }

        let Err(Error::Conflict(conflict)) = transaction.commit().await else {
            panic!("a commit whose part of `{fails}` is stale was not a conflict")
        };
        assert_eq!(conflict.mismatches().len(), if fails == "numbers" { 1 } else { 2 }, "{conflict}");
        let named = conflict.mismatches().iter().find(|one| one.collection() == Some(&*names.name(fails)));
        let named = named.unwrap_or_else(|| panic!("no mismatch names `{fails}`: {conflict}"));
        assert_eq!((named.id(), named.kind()), ("same", &Kind::Stale));
        assert!(!conflict.to_string().contains(&format!("{}/", names.name(fails))), "{conflict}");
        match fails {
            "numbers" => assert_eq!(named.current::<u64>().map(|found| *found.value), Some(7)),
            _ => assert_eq!(
                named.current::<String>().map(|found| found.value.to_string()),
                Some("seven".into())
            ),
        }
        assert_ne!(*good(numbers.fetch("same").await, "a read").value, 2, "the commit that failed wrote");
        assert_ne!(*good(texts.fetch("same").await, "a read").value, "two", "the commit that failed wrote");
        assert!(good(texts.get("new").await, "a read").is_none(), "the commit that failed created");
    }

    let mut both = database.transaction();
    both.put(&numbers, "same", 9);
    both.delete(&texts, "same");
    let committed = good(both.commit().await, "a commit that expects nothing");
    let [put, deleted] = committed.receipts() else { panic!("two entries have two receipts") };
    assert_eq!(put.version, deleted.version, "all writes of a commit share one version");
    assert_eq!(Some(good(numbers.fetch("same").await, "a read").version), put.version);
    assert!(good(texts.get("same").await, "a read").is_none());
    clear(&numbers).await;
}

/// Transfers between two collections of two types keep the sum, at every instant that a transaction sees.
pub async fn transfers_between_collections_keep_the_sum(database: &Database) {
    const ACCOUNTS: usize = 2;
    const EACH: u64 = 100;
    const TRANSFERS: u64 = 20;
    let names = Names::new();
    let (numbers, texts) = (names.numbers(database), names.texts(database));
    for account in 0..ACCOUNTS {
        good(numbers.create(&account.to_string(), EACH).await, "a creation");
        good(texts.create(&account.to_string(), EACH.to_string()).await, "a creation");
    }
    let done = Arc::new(AtomicUsize::new(0));
    let database = database.clone().with_retry(Retry::default().attempts(10_000).deadline(BUDGET));

    let (shop, of_numbers, of_texts, ended) =
        (database.clone(), numbers.clone(), texts.clone(), Arc::clone(&done));
    race("transfers", BUDGET, 5, move |thread| {
        let transfer = async |number: u64| {
            // Not all threads over the same two accounts at once: then one half may apply where the other one cannot.
            let at = number + thread as u64;
            let (from, to) = ((at % 2).to_string(), (at / 2 % 2).to_string());
            let amount = number % 3 + 1;
            let moved = shop
                .transact(async |mut tx| {
                    let left = *tx.fetch(&of_numbers, &from).await?;
                    let right: u64 = tx.fetch(&of_texts, &to).await?.parse().unwrap_or(u64::MAX);
                    // All go one way, so that two halves never make up for each other.
                    let left = left.checked_sub(amount).expect("no more is taken than is there");
                    tx.put(&of_numbers, &from, left);
                    tx.put(&of_texts, &to, (right + amount).to_string());
                    Ok::<_, Error>((tx, ()))
                })
                .await;
            good(moved, "a transfer");
        };
        let audit = async || {
            let sum = shop.transact(async |mut tx| {
                let mut sum = 0;
                for account in 0..ACCOUNTS {
                    let id = account.to_string();
                    sum += *tx.fetch(&of_numbers, &id).await?;
                    sum += tx.fetch(&of_texts, &id).await?.parse::<u64>().unwrap_or(u64::MAX / 8);
                }
                Ok::<_, Error>((tx, sum))
            });
            assert_eq!(good(sum.await, "an audit"), 2 * ACCOUNTS as u64 * EACH, "the sum of one instant");
        };
        match thread {
            4 => loop {
                let last = ended.load(Ordering::Acquire) == 4;
                block_on(audit());
                if last {
                    return;
                }
            },
            _ => {
                for number in 0..TRANSFERS {
                    block_on(transfer(number));
                }
                ended.fetch_add(1, Ordering::Release);
            }
        }
    });
    clear(&numbers).await;
    clear(&texts).await;
}

/// What a transaction read in one collection is checked when it writes to another one, absences included.
pub async fn reads_in_other_collections_are_checked(database: &Database) {
    let names = Names::new();
    let (numbers, texts) = (names.numbers(database), names.texts(database));

    for there in [false, true] {
        let id = if there { "there" } else { "absent" };
        if there {
            good(texts.create(id, "one".to_string()).await, "a creation");
        }
        let mut transaction = database.transaction();
        good(transaction.get(&texts, id).await, "a read in a transaction");
        transaction.put(&numbers, id, 1);
        good(texts.put(id, "other".to_string()).await, "a put");

        let refused = transaction.commit().await;
        let Err(Error::Conflict(conflict)) = refused else {
            panic!("a stale read of `{id}` was committed on")
        };
        assert_eq!((conflict.collection(), conflict.id()), (Some(&*names.name("texts")), id));
        assert!(good(numbers.get(id).await, "a read").is_none(), "`{id}` was written on a stale read");
    }
    clear(&texts).await;
}

/// A feed shows the changes of its own collection, each once and without a gap, and its cursor moves past those of others.
pub async fn a_feed_shows_its_own_collection(database: &Database) {
    let names = Names::new();
    let (numbers, texts) = (names.numbers(database), names.texts(database));
    if !database.abilities().watch {
        assert!(numbers.watch(Start::Now).await.is_err(), "a store without a feed refuses to be watched");
        return;
    }
    let mut changes = good(numbers.watch(Start::Now).await, "a watch");
    let began = changes.cursor().clone();

    let mut expected = Vec::new();
    for round in 0..20_u64 {
        good(texts.put("same", round.to_string()).await, "a put");
        if round % 3 == 0 {
            let mut both = database.transaction();
            both.put(&texts, "other", round.to_string());
            both.put(&numbers, "same", round);
            let committed = good(both.commit().await, "a commit over both");
            expected.push(committed.receipts()[1].version);
        }
    }

    for start in [None, Some(began)] {
        let mut again = match start {
            Some(cursor) => good(numbers.watch(Start::After(cursor)).await, "a watch from a cursor"),
            None => std::mem::replace(&mut changes, good(numbers.watch(Start::Now).await, "a watch")),
        };
        for (at, version) in expected.iter().enumerate() {
            let batch = good(within("a feed", again.next()).await, "the next batch");
            let [change] = &batch.changes[..] else {
                panic!("a batch has another collection's changes: {batch:?}")
            };
            assert_eq!((&*change.id, Some(change.version)), ("same", *version), "change {at}");
            let value = change.value().map(|value| **value);
            assert!(value.is_none() || value == Some((at as u64) * 3), "change {at} is {value:?}");
        }
    }

    // Others' changes alone move the cursor: what comes after it is not lost.
    let mut idle = good(numbers.watch(Start::Now).await, "a watch");
    for round in 0..10_u64 {
        good(texts.put("same", round.to_string()).await, "a put");
    }
    let last = good(numbers.put("last", 7).await, "a put");
    let batch = good(within("a feed", idle.next()).await, "the next batch");
    assert_eq!(batch.changes[0].version, last.version);
    let mut resumed = good(numbers.watch(Start::After(idle.cursor().clone())).await, "a watch from a cursor");
    let next = good(numbers.put("next", 8).await, "a put");
    let batch = good(within("a feed", resumed.next()).await, "the next batch");
    assert_eq!(batch.changes[0].version, next.version, "a feed goes on after its cursor");
    clear(&numbers).await;
    clear(&texts).await;
}

/// What a step refuses is refused alone, in a transaction over several collections, and where it rides along; nothing is
/// written.
pub async fn a_refusal_of_one_part_writes_nothing(database: &Database) {
    let names = Names::new();
    let even = good(database.define::<u64>(&names.name("even")), "a definition").step(Even).open();
    let even = good(even, "opening a new collection");
    /// Puts the length of each text among the even numbers.
    struct Length(Collection<u64>);
    impl Step<String> for Length {
        fn enter(&self, part: &Part<'_, String>, along: &mut Along<'_>) -> Result<Exit, Error> {
            for entry in part.entries() {
                if let Action::Put(text) = &entry.action {
                    along.add(&self.0, Entry::put(entry.id, Expected::Any, Arc::new(text.len() as u64)))?;
                }
            }
            Ok(Exit::silent())
        }
    }
    let texts = good(database.define::<String>(&names.name("texts")), "a definition")
        .step(Length(even.clone()))
        .open();
    let texts = good(texts, "opening a new collection");
    let numbers = names.numbers(database);
    let refused = |answer: Result<(), Error>, what: &str| {
        assert!(
            matches!(&answer, Err(Error::Refused(Refusal::NotAllowed { id })) if &**id == "a"),
            "{what} goes past a step: {answer:?}"
        );
    };

    refused(even.put("a", 1).await.map(drop), "a put");
    refused(even.create("a", 1).await.map(drop), "a creation");
    let handle: Collection<u64> = good(database.collection(&names.name("even")), "opening it again");
    refused(handle.put("a", 1).await.map(drop), "a put through another handle");
    let commit = Commit::one(Entry::put("b", Expected::Any, Arc::new(2))).and(Entry::put(
        "a",
        Expected::Any,
        Arc::new(1),
    ));
    refused(even.commit(commit).await.map(drop), "a commit");
    let mut transaction = even.transaction();
    transaction.put("a", 1);
    refused(transaction.commit().await.map(drop), "a transaction of the collection");
    let mut both = database.transaction();
    both.put(&numbers, "b", 3);
    both.put(&even, "a", 1);
    refused(both.commit().await.map(drop), "a transaction of the database");
    refused(texts.put("a", "odd".to_string()).await.map(drop), "an entry that rides along");

    for id in ["a", "b"] {
        assert!(good(even.get(id).await, "a read").is_none(), "`{id}` was written past a step");
        assert!(good(numbers.get(id).await, "a read").is_none(), "`{id}` was written beside a refusal");
        assert!(good(texts.get(id).await, "a read").is_none(), "`{id}` was written beside a refusal");
    }
    good(texts.put("a", "even".to_string()).await, "a put that all steps let pass");
    assert_eq!(*good(even.fetch("a").await, "a read").value, 4);
    clear(&texts).await;
    clear(&even).await;
}

/// An entry that rides along is applied or refused with its commit, never alone, and has no receipt.
pub async fn what_rides_along_is_never_applied_alone(database: &Database) {
    let names = Names::new();
    let texts = names.texts(database);
    let spelled = good(database.define::<u64>(&names.name("spelled")), "a definition");
    let spelled = good(spelled.step(Spelled(texts.clone())).open(), "opening a new collection");

    let created = good(spelled.create("a", 1).await, "a creation");
    let beside = good(texts.fetch("a").await, "a read of what rode along");
    assert_eq!((&**beside.value, beside.version), ("1", created.version), "one commit has one version");
    let late = spelled.create("a", 2).await;
    assert!(matches!(late, Err(Error::Conflict(_))), "the id exists");
    assert_eq!(
        *good(texts.fetch("a").await, "a read").value,
        "1",
        "what rode along with a conflict was applied"
    );
    let receipt = good(spelled.delete("a", created.version).await, "a deletion");
    assert_eq!(receipt.replaced, Some(created.version));
    assert!(good(texts.get("a").await, "a read").is_none(), "what rode along was not applied");
    let two = ["a", "b"].into_iter().map(|id| Entry::put(id, Expected::Absent, Arc::new(5)));
    let committed = good(spelled.commit(two.collect()).await, "a commit of two");
    assert_eq!(committed.receipts().len(), 2, "what rides along has no receipt");

    // Its own expectation counts too.
    struct Once(Collection<String>);
    impl Step<u64> for Once {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            let puts = part.entries().iter().filter(|entry| matches!(entry.action, Action::Put(_)));
            for entry in puts {
                along.add(&self.0, Entry::put(entry.id, Expected::Absent, Arc::new(String::new())))?;
            }
            Ok(Exit::silent())
        }
    }
    let once =
        good(database.define::<u64>(&names.name("once")), "a definition").step(Once(texts.clone())).open();
    let once = good(once, "opening a new collection");
    good(once.put("c", 1).await, "a first put");
    let Err(Error::Conflict(conflict)) = once.put("c", 2).await else {
        panic!("an entry that failed was left out")
    };
    assert_eq!((conflict.collection(), conflict.id()), (Some(&*names.name("texts")), "c"));
    assert_eq!(*good(once.fetch("c").await, "a read").value, 1);
    for collection in [&spelled, &once] {
        clear(collection).await;
    }
    clear(&texts).await;
}

/// A step hears of every commit once: alone, over several collections, refused and in conflict.
pub async fn a_step_hears_of_every_commit(database: &Database) {
    let names = Names::new();
    let hears = Hears::default();
    let heard =
        good(database.define::<u64>(&names.name("heard")), "a definition").step(Even).step(hears.clone());
    let heard = good(heard.open(), "opening a new collection");
    let texts = names.texts(database);
    // Where a store remembers write ids, the first one may be drawn anew: each sending passes the step.
    let mut first = database.transaction();
    first.put(&heard, "first", 2);
    good(first.commit().await, "a first commit");
    good(heard.put("first", 4).await, "a first put");
    hears.0.lock().clear();
    let told = |what: &str| {
        let told = std::mem::take(&mut *hears.0.lock());
        let [told] = &told[..] else { panic!("a step heard {told:?} of {what}") };
        told.clone()
    };

    good(heard.create("a", 2).await, "a creation");
    assert_eq!(told("a creation"), Ok(1));
    assert!(heard.create("a", 4).await.is_err());
    assert!(told("a conflict").is_err());
    assert!(heard.put("a", 1).await.is_err());
    assert!(told("a refusal by a later step").is_err());
    let mut both = database.transaction();
    both.put(&heard, "b", 6);
    both.put(&texts, "a", "one".to_string());
    both.put(&heard, "c", 8);
    good(both.commit().await, "a commit over both");
    assert_eq!(told("a commit over several collections"), Ok(2));
    good(heard.modify("a", |number| *number += 2).await, "a change");
    assert_eq!(told("a change"), Ok(1));
    let mut other = database.transaction();
    other.put(&heard, "b", 10);
    good(other.check(&texts, "a", Expected::Absent), "a check");
    assert!(other.commit().await.is_err());
    assert!(told("a conflict in another collection").is_err());
    clear(&heard).await;
    clear(&texts).await;
}

/// What can't be part of a commit is refused by name, and nothing is sent: a collection of another database, one that is a
/// whole store, and one with a layer that would be gone around.
pub async fn what_would_be_gone_around_is_refused(database: &Database) {
    let names = Names::new();
    let numbers = names.numbers(database);
    let elsewhere: Collection<u64> =
        good(Database::in_memory().collection(&names.name("numbers")), "opening");
    let layered = numbers.clone().layer(|store| store);
    let alone = Collection::<u64>::in_memory();

    for (foreign, named) in [(&elsewhere, true), (&layered, true), (&alone, false)] {
        let mut transaction = database.transaction();
        transaction.put(&numbers, "a", 1);
        transaction.put(foreign, "b", 2);
        let refused = transaction.commit().await;
        let Err(Error::Refused(Refusal::Collection { name, .. })) = &refused else {
            panic!("a commit with a part that it can't have: {refused:?}")
        };
        assert_eq!(&**name, if named { names.name("numbers") } else { String::new() });
        assert!(database.transaction().get(foreign, "a").await.is_err());
        assert!(database.transaction().check(foreign, "a", Expected::Absent).is_err());
        assert!(good(numbers.get("a").await, "a read").is_none(), "a commit that was refused wrote");
    }
    good(layered.put("a", 1).await, "a layered collection alone");
    let other_type = database.collection::<String>(&names.name("numbers")).map(drop);
    assert!(matches!(other_type, Err(Error::Refused(Refusal::Collection { .. }))), "a name with two types");
    let late =
        good(database.define::<u64>(&names.name("numbers")), "a definition").step(Even).open().map(drop);
    assert!(
        matches!(late, Err(Error::Refused(Refusal::Collection { .. }))),
        "a collection was changed under its users"
    );
    clear(&numbers).await;
}

/// No error of a collection shows the id that the store below knows.
pub async fn no_message_shows_an_inner_id(database: &Database) {
    let names = Names::new();
    let numbers = names.numbers(database);
    good(numbers.create("a", 1).await, "a creation");
    let twice = Commit::from_iter(["a", "a"].map(|id| Entry::delete(id, Expected::Any)));
    let limit = 512 - names.name("numbers").len() - 1;
    let (longest, too_long) = ("i".repeat(limit), "i".repeat(limit + 1));

    let errors = [
        numbers.create("a", 2).await.map(drop),
        numbers.replace("b", Expected::Present, 2).await.map(drop),
        numbers.fetch("b").await.map(drop),
        numbers.commit(twice).await.map(drop),
        numbers.create("", 1).await.map(drop),
        numbers.create("a\0b", 1).await.map(drop),
        numbers.create(&too_long, 1).await.map(drop),
        numbers.store().scan(Scan::new("", 0)).await.map(drop),
        {
            let mut transaction = database.transaction();
            transaction.put(&numbers, &too_long, 1);
            transaction.commit().await.map(drop)
        },
        database.transaction().fetch(&numbers, "b").await.map(drop),
    ];

    for (at, answer) in errors.into_iter().enumerate() {
        let Err(error) = answer else { panic!("call {at} is not an error") };
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(&format!("{}/", names.name("numbers"))), "call {at}: {shown}");
    }
    good(numbers.create(&longest, 1).await, "a creation with the longest id");
    assert_eq!(*good(numbers.fetch(&longest).await, "a read").value, 1);
    clear(&numbers).await;
}

/// Writers of one id through `modify`, and through transactions over it and another collection, all count.
pub async fn transactions_stand_in_line_with_other_writers(database: &Database) {
    const EACH: u64 = 15;
    let names = Names::new();
    let database = database.clone().with_retry(Retry::default().attempts(10_000).deadline(BUDGET));
    let (numbers, texts) = (names.numbers(&database), names.texts(&database));
    good(numbers.create("hot", 0).await, "a creation");
    let runs = Arc::new(AtomicU64::new(0));

    let (shop, hot, beside, ran) = (database.clone(), numbers.clone(), texts.clone(), Arc::clone(&runs));
    race("writers of a hot id", BUDGET, 6, move |thread| {
        for number in 0..EACH {
            let own = format!("{thread}-{number}");
            let written = match thread % 2 {
                0 => block_on(hot.modify("hot", |count| *count += 1)).map(drop),
                _ => block_on(shop.transact(async |mut tx| {
                    ran.fetch_add(1, Ordering::Relaxed);
                    let count = *tx.fetch(&hot, "hot").await?;
                    tx.put(&hot, "hot", count + 1);
                    tx.create(&beside, &own, count.to_string())?;
                    Ok::<_, Error>((tx, ()))
                })),
            };
            good(written, "a write of a hot id");
        }
    });

    assert_eq!(*good(numbers.fetch("hot").await, "a read").value, 6 * EACH);
    let beside = good(texts.scan("", None, 1_000).await, "a scan").items;
    let counts: std::collections::BTreeSet<String> =
        beside.iter().map(|(_, text)| text.value.to_string()).collect();
    assert_eq!(counts.len() as u64, 3 * EACH, "no two transactions wrote on the same count");
    clear(&numbers).await;
    clear(&texts).await;
}

/// Runs one law on a thread of its own. What [`database_conformance!`](crate::database_conformance!) expands to.
#[doc(hidden)]
pub fn check(name: &'static str, database: Database, run: for<'a> fn(&'a Database) -> DatabaseTrial<'a>) {
    race(name, BUDGET, 1, move |_| block_on(run(&database)));
}

/// Turns all laws of databases into one `#[test]` each, in a module of the given name. The expression gives the database
/// for one test. Those of drafts that are merged are among them where this crate has its feature `merge`.
///
/// ```
/// ifmatch::database_conformance!(in_memory, ifmatch::Database::in_memory());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! database_conformance {
    ($name:ident, $database:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "a database named by its whole path needs none of them")]
            use super::*;

            $crate::__database_laws!(@tests ($database));
        }
    };
}

/// The one list of them.
#[doc(hidden)]
#[macro_export]
macro_rules! __database_laws {
    ($($what:tt)+) => {
        $crate::__with_merge_laws! {
            $($what)+
            collections_see_their_own_alone
            a_commit_over_collections_is_all_or_nothing
            transfers_between_collections_keep_the_sum
            reads_in_other_collections_are_checked
            a_feed_shows_its_own_collection
            a_refusal_of_one_part_writes_nothing
            what_rides_along_is_never_applied_alone
            a_step_hears_of_every_commit
            what_would_be_gone_around_is_refused
            no_message_shows_an_inner_id
            transactions_stand_in_line_with_other_writers
            a_lease_keeps_everybody_else_out
            a_lost_lease_writes_nothing
            a_silent_holder_is_taken_over_and_a_live_one_is_not
            of_many_who_wait_each_has_the_lease_alone
            a_rule_holds_between_any_two_values
            all_that_stands_in_the_way_is_told_at_once
            a_predecessor_is_kept_with_its_change_or_not_at_all
            the_versions_of_a_deleted_resource_are_kept
            a_past_is_bounded_in_number_and_bytes
            a_restored_value_is_a_new_version
            of_8_writers_each_predecessor_is_kept_once
        }
    };
}

/// The same list with those that need the feature `merge` of this crate, and not of the one that runs them.
#[cfg(feature = "merge")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_merge_laws {
    ($($what:tt)+) => {
        $crate::__run_database_laws! {
            $($what)+
            no_disjoint_edit_is_lost_by_a_merge
            an_overlap_is_told_and_writes_nothing
            a_merge_is_made_of_what_it_replaces
        }
    };
}

#[cfg(not(feature = "merge"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_merge_laws {
    ($($what:tt)+) => {
        $crate::__run_database_laws! { $($what)+ }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __run_database_laws {
    (@tests ($database:expr) $($law:ident)+) => {
        $(
            #[test]
            fn $law() {
                $crate::conformance::databases::check(stringify!($law), $database, |database| {
                    ::std::boxed::Box::pin($crate::conformance::databases::$law(database))
                });
            }
        )+
    };
    (@table $($law:ident)+) => {
        vec![$(DatabaseLaw {
            name: stringify!($law),
            run: |database| Box::pin($crate::conformance::databases::$law(database)),
        },)+]
    };
}

/// One law of databases, for those who run them by other means than a macro.
#[derive(Clone, Copy)]
pub struct DatabaseLaw {
    name: &'static str,
    run: for<'a> fn(&'a Database) -> DatabaseTrial<'a>,
}

impl DatabaseLaw {
    /// The name of its function, and of its test.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the law on a thread of its own, and waits for it.
    ///
    /// # Panics
    ///
    /// Where the database breaks the law, or is stuck.
    pub fn check(&self, database: Database) {
        check(self.name, database, self.run);
    }
}

impl std::fmt::Debug for DatabaseLaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DatabaseLaw({})", self.name)
    }
}

/// All laws of databases.
///
/// ```
/// assert!(ifmatch::conformance::databases::laws().len() >= 10);
/// ```
pub fn laws() -> Vec<DatabaseLaw> {
    crate::__database_laws!(@table)
}
