//! The service on a file of its own.

use trial::sqlite::Database;
use trial::{Basis, race};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_answers_as_the_preconditions_say() {
    let database = Database::new();
    let service = service(database.file().to_str().unwrap()).unwrap();
    trial::life_of_an_item(&service, |sql| database.run(sql)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_of_four_rows_lose_no_update() {
    let database = Database::new();
    let service = service(database.file().to_str().unwrap()).unwrap();
    database.log();
    race(&service, Basis::Header, || database.logged()).await;
}
