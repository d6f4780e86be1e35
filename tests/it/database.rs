//! Several typed collections in one store.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use ifmatch::codec::Codec;
use ifmatch::collection::{Along, Exit, Part, Step};
use ifmatch::conformance::laws;
use ifmatch::http::Preconditions;
use ifmatch::layer::Event;
use ifmatch::store::Refusal;
use ifmatch::{
    Cached, Collection, Commit, Database, Entry, Error, Expected, Guarded, Json, Memory, Observed, Schema,
    Store, Version, database_conformance,
};

/// The laws that need ids longer than a collection's name leaves room for.
const OF_LONG_IDS: [&str; 3] =
    ["ids_of_1_and_512_bytes_work", "an_impossible_id_cannot_be_created", "an_impossible_id_names_nothing"];

fn every_law_of_a_store_holds_in(database: impl Fn() -> Database + Send + Sync + 'static) {
    for law in laws::<u64>().into_iter().filter(|law| !OF_LONG_IDS.contains(&law.name())) {
        let numbers: Collection<u64> = database().collection("numbers").unwrap();
        law.check(Arc::clone(numbers.store()));
    }
}

#[test]
fn every_law_of_a_store_holds_for_a_collection_in_memory() {
    every_law_of_a_store_holds_in(Database::in_memory);
}

#[test]
fn every_law_of_a_store_holds_for_a_collection_over_bytes() {
    every_law_of_a_store_holds_in(|| Database::new(Memory::<[u8]>::new()));
}

database_conformance!(in_memory, Database::in_memory());
database_conformance!(over_bytes, Database::new(Memory::<[u8]>::new()));
database_conformance!(
    over_a_small_store,
    Database::new(crate::later::Later { store: Memory::<[u8]>::new(), entries: 64 })
);
database_conformance!(
    over_layers,
    Database::new(Observed::new(Guarded::new(Cached::new(Memory::<[u8]>::new())), |_: &Event<'_>| {}))
);

fn watched() -> (Arc<Mutex<Vec<String>>>, impl Fn(&Event<'_>) + Send + Sync + 'static) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    (seen, move |event: &Event<'_>| shown.lock().unwrap().push(format!("{event:?}")))
}

#[test]
fn guards_caches_and_observers_hear_of_every_way_to_commit() {
    let shop = Database::new(Memory::<[u8]>::new());
    let (seen, hook) = watched();
    let stock = shop
        .define::<u32>("stock")
        .unwrap()
        .layer(Cached::new)
        .layer(|store| Guarded::new(store).require_expectation().max_bytes(1_000, |count| *count as usize))
        .layer(|store| Observed::new(store, hook))
        .open()
        .unwrap();
    let orders: Collection<String> = shop.collection("orders").unwrap();
    let apples = stock.create("apples", 5).wait().unwrap();
    assert_eq!(*stock.fetch("apples").wait().unwrap().value, 5, "it is cached");
    assert!(matches!(
        stock.put("apples", 1).wait(),
        Err(Error::Refused(Refusal::ExpectationRequired { .. }))
    ));

    // Over several collections, past no layer.
    let mut order = shop.transaction();
    order.check(&stock, "apples", apples.version).unwrap();
    order.put(&stock, "apples", 4);
    order.create(&orders, "apples", "one".to_owned()).unwrap();
    order.commit().wait().unwrap();
    assert_eq!(*stock.fetch("apples").wait().unwrap().value, 4, "the cache has heard of it");
    let mut large = shop.transaction();
    large.create(&stock, "pears", 5_000).unwrap();
    large.put(&orders, "pears", "many".to_owned());
    assert!(matches!(large.commit().wait(), Err(Error::Refused(Refusal::TooLarge { .. }))));
    assert!(orders.get("pears").wait().unwrap().is_none());

    // A conflict in another collection under the same id tells the cache nothing about its own.
    let mut late = shop.transaction();
    late.check(&orders, "apples", Expected::Absent).unwrap();
    late.check(&stock, "apples", Expected::Present).unwrap();
    late.put(&stock, "apples", 1);
    assert!(late.commit().wait().is_err());
    assert_eq!(*stock.fetch("apples").wait().unwrap().value, 4);

    let seen = seen.lock().unwrap().join("\n");
    assert!(!seen.contains("stock/"), "{seen}");
    assert_eq!(seen.matches("Commit").count(), 5, "{seen}");
}

#[test]
fn a_writer_beside_a_cached_collection_is_seen_at_once() {
    let shop = Database::in_memory();
    let left = shop.define::<u64>("left").unwrap().layer(Cached::new).open().unwrap();
    let right = shop.define::<u64>("right").unwrap().layer(Cached::new).layer(Guarded::new).open().unwrap();
    left.create("a", 1_000).wait().unwrap();
    right.create("a", 1_000).wait().unwrap();

    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (shop, left, right) = (&shop, &left, &right);
            scope.spawn(move || {
                for _ in 0..200 {
                    let moved = shop.transact(async |mut tx| {
                        let (one, other) = (*tx.fetch(left, "a").await?, *tx.fetch(right, "a").await?);
                        let amount = thread % 2;
                        tx.put(left, "a", one - amount);
                        tx.put(right, "a", other + amount);
                        Ok::<_, Error>((tx, ()))
                    });
                    moved.wait().unwrap();
                    let sum = shop.transact(async |mut tx| {
                        let sum = *tx.fetch(left, "a").await? + *tx.fetch(right, "a").await?;
                        Ok::<_, Error>((tx, sum))
                    });
                    assert_eq!(sum.wait().unwrap(), 2_000);
                }
            });
        }
    });
    assert_eq!(*left.fetch("a").wait().unwrap().value, 1_000 - 2 * 200);
}

#[test]
fn steps_that_add_for_ever_are_refused() {
    struct Echo(Arc<OnceLock<Collection<u64>>>);

    impl Step<u64> for Echo {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            for entry in part.entries() {
                let next = format!("{}'", entry.id);
                along.add(self.0.get().unwrap(), Entry::put(&next, Expected::Any, Arc::new(1)))?;
            }
            Ok(Exit::silent())
        }
    }

    let shop = Database::in_memory();
    let own = Arc::new(OnceLock::new());
    let numbers = shop.define::<u64>("numbers").unwrap().step(Echo(Arc::clone(&own))).open().unwrap();
    own.set(numbers.clone()).unwrap();

    let error = numbers.put("a", 1).wait().unwrap_err();

    assert!(
        matches!(&error, Error::Refused(Refusal::Collection { name, .. }) if &**name == "numbers"),
        "{error}"
    );
    assert!(numbers.scan_ids("", None, 10).wait().unwrap().items.is_empty());
}

#[test]
fn nothing_is_written_along_with_a_commit_that_only_checks() {
    struct Notes(Collection<String>);

    impl Step<u64> for Notes {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            for entry in part.entries() {
                along.add(&self.0, Entry::put(entry.id, Expected::Any, Arc::new("seen".to_owned())))?;
            }
            Ok(Exit::silent())
        }
    }

    let shop = Database::in_memory();
    let notes: Collection<String> = shop.collection("notes").unwrap();
    let numbers = shop.define::<u64>("numbers").unwrap().step(Notes(notes.clone())).open().unwrap();
    numbers.create("a", 1).wait().unwrap();

    let checked = numbers.commit(Commit::one(Entry::check("a", Expected::Present))).wait();

    assert!(matches!(checked, Err(Error::Refused(Refusal::Collection { .. }))), "{checked:?}");
}

#[test]
fn the_three_types_that_destroyed_each_other_live_side_by_side() {
    let shop = Database::new(Memory::<[u8]>::new());
    let users: Collection<String> = shop.collection("users").unwrap();
    let projects: Collection<Vec<u32>> = shop.collection("projects").unwrap();
    let tasks: Collection<u64> = shop.collection("tasks").unwrap();
    users.create("1", "ann".to_owned()).wait().unwrap();
    projects.create("1", vec![1, 2]).wait().unwrap();
    tasks.create("1", 7).wait().unwrap();

    users.modify("1", |name| name.push('a')).wait().unwrap();

    assert_eq!(*projects.fetch("1").wait().unwrap().value, [1, 2]);
    assert_eq!(tasks.list("").next().wait().unwrap().unwrap().items.len(), 1);
}

#[test]
fn a_value_in_an_old_schema_is_brought_up_to_date_as_anywhere() {
    let bytes = Arc::new(Memory::<[u8]>::new());
    let before = Database::new(Arc::clone(&bytes)).collection::<String>("notes").unwrap();
    let first = before.create("a", "text".to_owned()).wait().unwrap();
    let schema = Schema::new(1, Json, |_, bytes| Json.decode(bytes));
    let notes =
        Database::new(Arc::clone(&bytes)).define::<String>("notes").unwrap().open_with(schema).unwrap();

    let rewritten = notes.modify("a", |_| ()).wait().unwrap();

    assert_ne!(rewritten.version, first.version);
    assert_eq!(bytes.get("notes/a").wait().unwrap().unwrap().value[0], 1, "it begins with its schema");
    assert_eq!(notes.modify("a", |_| ()).wait().unwrap(), rewritten);
}

#[test]
fn what_rides_along_is_never_taken_for_the_id_that_is_changed() {
    /// Checks the shadow of each id, at first in a version that it has not.
    struct Shadowed {
        shadows: Collection<u64>,
        expected: Mutex<Vec<Version>>,
    }

    impl Step<u64> for Shadowed {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            if let Some(expected) = self.expected.lock().unwrap().pop() {
                along.add(&self.shadows, Entry::check(part.entries()[0].id, expected))?;
            }
            Ok(Exit::silent())
        }
    }

    let shop = Database::in_memory();
    let shadows: Collection<u64> = shop.collection("shadows").unwrap();
    let old = shadows.create("a", 1).wait().unwrap().version;
    let step = Arc::new(Shadowed { shadows: shadows.clone(), expected: Mutex::default() });
    struct Shared(Arc<Shadowed>);
    impl Step<u64> for Shared {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            self.0.enter(part, along)
        }
    }
    let numbers = shop.define::<u64>("numbers").unwrap().step(Shared(Arc::clone(&step))).open().unwrap();
    // One commit, so one version for both.
    let mut both = shop.transaction();
    both.put(&numbers, "a", 7);
    both.put(&shadows, "a", 100);
    let version = both.commit().wait().unwrap().version().unwrap();

    *step.expected.lock().unwrap() = vec![version, old];
    let changed = numbers.modify("a", |number| *number += 1).wait();

    let Err(Error::Conflict(conflict)) = changed else { panic!("the shadow was not checked: {changed:?}") };
    assert_eq!((conflict.collection(), conflict.attempts()), (Some("shadows"), 1));
    assert_eq!(*numbers.fetch("a").wait().unwrap().value, 7);
    assert_eq!(*numbers.modify("a", |number| *number += 1).wait().unwrap().value, 8);

    *step.expected.lock().unwrap() = vec![version, old];
    let in_transaction = numbers.transact(async |mut tx| {
        let number = tx.get("a").await?.map_or(0, |number| *number);
        tx.put("a", number + 1);
        Ok::<_, Error>((tx, ()))
    });
    assert!(matches!(in_transaction.wait(), Err(Error::Conflict(_))), "no read of its own can mend it");
}

#[test]
fn a_verb_judges_its_request_by_its_own_resource() {
    /// Checks the twin of each id, in a version that it has no longer, as often as it is told to.
    struct Twins {
        twins: Collection<u64>,
        old: Version,
        times: Mutex<u32>,
    }

    impl Step<u64> for Twins {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            let mut times = self.times.lock().unwrap();
            if *times > 0 {
                *times -= 1;
                along.add(&self.twins, Entry::check(part.entries()[0].id, self.old))?;
            }
            Ok(Exit::silent())
        }
    }

    let shop = Database::in_memory();
    let twins: Collection<u64> = shop.collection("twins").unwrap();
    let old = twins.create("a", 1).wait().unwrap().version;
    twins.put("a", 2).wait().unwrap();
    let step = Twins { twins, old, times: Mutex::new(2) };
    let numbers = shop.define::<u64>("numbers").unwrap().step(step).open().unwrap();

    // A list of tags has to look: it is the number that it is about.
    let list = Preconditions::from_headers([("If-None-Match", "\"7\", \"8\"")]);
    let put = numbers.put_if("a", &list, 1).wait();
    let again = numbers.put_if("a", &list, 2).wait();

    for refused in [put, again] {
        let Err(Error::Conflict(conflict)) = refused else { panic!("the twin was not checked") };
        assert_eq!(conflict.collection(), Some("twins"));
    }
    assert!(numbers.get("a").wait().unwrap().is_none());
    assert_eq!(numbers.put_if("a", &list, 3).wait().unwrap().status(), 201);
}

#[test]
fn an_error_names_the_collection_whoever_found_it_out() -> Result<(), Error> {
    use ifmatch::http::{Preconditions, Problem};

    let shop = Database::in_memory();
    let orders = shop.collection::<String>("orders")?;
    orders.create("o7", "apples".to_string()).wait()?;
    let stale = Preconditions::from_headers([("if-match", "\"7\"")]);
    let listed = Preconditions::from_headers([("if-match", "\"7\", \"8\"")]);
    let mut transaction = shop.transaction();

    let errors = [
        orders.get_if("o7", &stale).wait().map(drop).unwrap_err(),
        orders.put_if("o7", &stale, "pears".to_string()).wait().map(drop).unwrap_err(),
        orders.put_if("o7", &listed, "pears".to_string()).wait().map(drop).unwrap_err(),
        orders.modify_if("o7", &stale, |order| order.push('!')).wait().map(drop).unwrap_err(),
        orders.patch_if("o7", &stale, |order| Ok::<_, Error>(order.clone())).wait().map(drop).unwrap_err(),
        orders.delete_if("o7", &listed).wait().map(drop).unwrap_err(),
        orders.fetch("o8").wait().map(drop).unwrap_err(),
        orders.get_if("o8", &stale).wait().map(drop).unwrap_err(),
        orders.modify("o8", |order| order.push('!')).wait().map(drop).unwrap_err(),
        transaction.fetch(&orders, "o8").wait().map(drop).unwrap_err(),
    ];

    for error in errors {
        assert!(error.to_string().contains("` of `orders`"), "{error}");
        assert_eq!(Problem::new(error).collection(), Some("orders"));
    }
    Ok(())
}
