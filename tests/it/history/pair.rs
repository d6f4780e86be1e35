//! Two typed collections of a database, recorded as one store.

use std::sync::Arc;

use ifmatch::conformance::history::{Checked, Numbering, Recorded, Workload};
use ifmatch::store::{
    Abilities, Action, Changes, Committed, Listed, Page, Refusal, Resolution, Scan, WriteId,
};
use ifmatch::{Collection, Commit, Conflict, Database, Error, Memory, Reply, Start, Store, Versioned};

/// Ids that begin with `n/` are those of a collection of numbers, the others those of one of texts.
struct Pair {
    database: Database,
    numbers: Collection<u64>,
    texts: Collection<String>,
}

/// Which collection an id is in, and its id there.
fn placed(id: &str) -> (bool, &str) {
    match id.strip_prefix("n/") {
        Some(id) => (true, id),
        None => (false, id.strip_prefix("t/").unwrap_or(id)),
    }
}

fn number(text: &Versioned<String>) -> Versioned<u64> {
    Versioned::new(text.version, text.value.parse::<u64>().unwrap())
}

impl Pair {
    fn new(database: Database) -> Self {
        let numbers = database.collection("numbers").unwrap();
        let texts = database.collection("texts").unwrap();
        Self { database, numbers, texts }
    }

    async fn send(&self, commit: Commit<'_, u64>) -> Result<Committed, Error> {
        let mut transaction = self.database.transaction();
        for entry in commit.entries() {
            match (placed(entry.id), &entry.action) {
                ((true, id), action) => {
                    transaction.check(&self.numbers, id, entry.condition)?;
                    match action {
                        Action::Check => {}
                        Action::Put(value) => transaction.put(&self.numbers, id, Arc::clone(value)),
                        Action::Delete => transaction.delete(&self.numbers, id),
                    }
                }
                ((false, id), action) => {
                    transaction.check(&self.texts, id, entry.condition)?;
                    match action {
                        Action::Check => {}
                        Action::Put(value) => transaction.put(&self.texts, id, value.to_string()),
                        Action::Delete => transaction.delete(&self.texts, id),
                    }
                }
            }
        }
        transaction.commit().await.map_err(|error| match error {
            Error::Conflict(conflict) => renamed(conflict).into(),
            other => other,
        })
    }
}

/// The conflict with the ids of the pair.
fn renamed(conflict: Conflict) -> Conflict {
    conflict.map(|mismatch| {
        let prefix = if mismatch.collection() == Some("numbers") { "n" } else { "t" };
        let id = format!("{prefix}/{}", mismatch.id());
        mismatch.with_id(&id).map_current(|text: Versioned<String>| Some(number(&text)))
    })
}

impl Store<u64> for Pair {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u64>>> {
        match placed(id) {
            (true, id) => self.numbers.get(id),
            (false, id) => self.texts.get(id).map(|found| found.as_ref().map(number)),
        }
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u64>) -> Reply<'a, Committed> {
        // A transaction draws its own.
        match commit.write() {
            Some(_) => Reply::ready(Err(Refusal::Unsupported { what: "write ids" }.into())),
            None => Reply::pending(self.send(commit)),
        }
    }

    fn resolve<'a>(&'a self, _: WriteId) -> Reply<'a, Resolution> {
        Reply::ready(Ok(Resolution::Unknown))
    }

    fn scan<'a>(&'a self, mut scan: Scan<'a>) -> Reply<'a, Page<Listed<u64>>> {
        (_, scan.prefix) = placed(scan.prefix);
        Reply::pending(async move {
            let page = self.numbers.store().scan(scan).await?;
            let items = page.items.into_iter().map(|(id, found)| (format!("n/{id}").into(), found));
            Ok(Page { items: items.collect(), more: page.more })
        })
    }

    fn watch<'a>(&'a self, _: Start) -> Reply<'a, Changes<u64>> {
        Reply::ready(Err(Refusal::Unsupported { what: "watching" }.into()))
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.database.abilities();
        abilities.watch = false;
        abilities
    }
}

#[test]
fn a_million_calls_to_two_typed_collections_have_an_order_that_explains_them() {
    const CALLS: u64 = 1_080_000;
    const ROUNDS: u64 = 6;
    let mut total = Checked::default();

    for seed in 1..=ROUNDS {
        let database = match seed % 2 {
            0 => Database::in_memory(),
            _ => Database::new(Memory::<[u8]>::new()),
        };
        let store = Recorded::new(Pair::new(database));
        let ids = ["n/a", "t/a", "n/b", "t/b"].map(str::to_owned).into();
        Workload { threads: 4, calls: CALLS / ROUNDS / 4, ids, ..Workload::new(seed) }.run(&store, Arc::new);

        let checked = store.history(Numbering::StoreWide).with_seed(seed).check();
        let checked = checked.unwrap_or_else(|violation| panic!("round {seed}: {violation}"));
        total.operations += checked.operations;
        total.conflicts += checked.conflicts;
    }

    println!("checked {total:?}");
    assert!(total.operations >= 900_000 && total.conflicts > 10_000, "{total:?}");
}
