//! The service against a private server.

use trial::postgres::database;
use trial::{Basis, postgres};

use super::*;

async fn on(url: String) -> Router {
    service(&url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_answers_as_the_preconditions_say() {
    let database = database("read committed");
    trial::life_of_an_item(&on(database.url()).await, |sql| drop(database.run(sql))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_of_four_rows_lose_no_update_at_any_level() {
    for basis in [Basis::Header, Basis::Body] {
        postgres::race_at_every_level(basis, on).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_is_answered_is_true_when_its_server_is_killed() {
    trial::killed_in_the_middle(on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_statement_lost_at_repeatable_read_is_told_by_a_look_in_a_new_transaction() {
    const UPDATE: &str = "UPDATE items SET count = 2 WHERE id = $1 AND version = $2";
    let database = database("repeatable read");
    database.run(include_str!("../../schema/postgres.sql"));
    database.run("INSERT INTO items (id, name, count) VALUES ('a', 'apples', 0)");
    let pool = Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).build().unwrap();
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction().await.unwrap();
    let known = item(tx.query_opt(SELECT, &[&"a"]).await.unwrap()).unwrap().unwrap().version;
    database.run("UPDATE items SET count = 1 WHERE id = 'a'");

    let lost = tx.execute(UPDATE, &[&"a", &known.to_column()]).await.unwrap_err();
    let look = tx.query_opt(SELECT, &[&"a"]).await.unwrap_err();
    tx.rollback().await.unwrap();
    let found = item(client.query_opt(SELECT, &[&"a"]).await.unwrap()).unwrap();
    let error = Condition::from(known).explain("a", Intent::Put, found);

    assert_eq!([&lost, &look].map(|error| error.code().unwrap().code()), ["40001", "25P02"]);
    assert_eq!([&lost, &look].map(contention), [Some(Contention::Serialization), None]);
    let conflict = error.conflict().expect("somebody was faster");
    assert_eq!(conflict.current::<Item>().unwrap().value.count, 1);
}
