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
    postgres::race_at_every_level(Basis::Header, on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_is_answered_is_true_when_its_server_is_killed() {
    trial::killed_in_the_middle(on).await;
}
