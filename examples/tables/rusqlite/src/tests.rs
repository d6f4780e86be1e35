//! The service on a file of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use trial::sqlite::Database;
use trial::{Basis, race};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_answers_as_the_preconditions_say() {
    let database = Database::new();
    let service = service(&database.file()).unwrap();
    trial::life_of_an_item(&service, |sql| database.run(sql)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_of_four_rows_lose_no_update() {
    let database = Database::new();
    let service = service(&database.file()).unwrap();
    database.log();
    race(&service, Basis::Header, || database.logged()).await;
}

#[test]
fn a_transaction_that_takes_the_lock_before_it_reads_never_runs_twice() {
    const WRITERS: u32 = 8;
    const EACH: u32 = 50;
    let database = Database::new();
    let pool = pool(&database.file()).unwrap();
    database.run("INSERT INTO items (id, name, count) VALUES ('a', 'apples', 0)");
    let runs = AtomicU32::new(0);
    let count_up = |tx: &Transaction<'_>| {
        runs.fetch_add(1, Ordering::Relaxed);
        let found = find(tx, "a")?.expect("it is there").value;
        let next = Item { name: found.name.clone(), count: found.count + 1 };
        write(tx, UPDATE, "a", &next)
    };

    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| (0..EACH).for_each(|_| drop(immediate(&pool, count_up).unwrap())));
        }
    });

    let counted = find(&pool.get().unwrap(), "a").unwrap().unwrap().value.count;
    assert_eq!((counted, runs.into_inner()), (i64::from(WRITERS * EACH), WRITERS * EACH));
}
