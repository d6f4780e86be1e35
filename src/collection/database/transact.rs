//! `transaction` and `transact` of a [`Database`].

use std::future::Future;

use crate::collection::call::Call;
use crate::collection::database::database::Database;
use crate::collection::database::transaction::DatabaseTransaction;
use crate::collection::lines::Place;
use crate::collection::retry::Retry;
use crate::collection::slots::{Seen, changed_since};
use crate::collection::transact::{Transactional, transact};
use crate::store::{Conflict, Error, Reply};

impl Database {
    /// A new [`DatabaseTransaction`], with nothing read or written yet.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// # use ifmatch::Database;
    /// let office = Database::in_memory();
    /// let tasks = office.collection::<u32>("tasks")?;
    ///
    /// let mut transaction = office.transaction();
    /// transaction.create(&tasks, "t1", 3)?;
    /// transaction.commit().wait()?;
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn transaction(&self) -> DatabaseTransaction {
        DatabaseTransaction::new(self.clone())
    }

    /// Does `work` in a transaction over any of the collections and commits it, and again where the commit lost a race for
    /// what the work had read through it; a list is not checked. As [`Collection::transact`](crate::Collection::transact),
    /// which says more.
    ///
    /// # Errors
    ///
    /// The work's own error as it is, with nothing committed. Those of [`commit`](DatabaseTransaction::commit), and the last
    /// conflict once [`Retry`] allows no more tries.
    ///
    /// ```
    /// # #[cfg(feature = "json")] {
    /// use ifmatch::{Database, Error};
    ///
    /// let office = Database::in_memory();
    /// let notes = office.collection::<String>("notes")?;
    /// let counts = office.collection::<usize>("counts")?;
    ///
    /// office
    ///     .transact(async |mut tx| {
    ///         let count = tx.get(&counts, "all").await?.map_or(0, |count| *count);
    ///         tx.create(&notes, &format!("n{count}"), "hello".to_string())?;
    ///         tx.put(&counts, "all", count + 1);
    ///         Ok::<_, Error>((tx, ()))
    ///     })
    ///     .wait()?;
    ///
    /// assert_eq!(*notes.fetch("n0").wait()?.value, "hello");
    /// # }
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn transact<'a, R, E, F, Fut>(&'a self, work: F) -> Reply<'a, R, E>
    where
        R: Send + 'a,
        E: From<Error> + Send + 'a,
        F: FnMut(DatabaseTransaction) -> Fut + Send + 'a,
        Fut: Future<Output = Result<(DatabaseTransaction, R), E>> + Send,
    {
        transact(self, work)
    }
}

impl Transactional for Database {
    type Transaction = DatabaseTransaction;

    fn retry(&self) -> &Retry {
        self.retry()
    }

    fn begin(&self) -> DatabaseTransaction {
        self.transaction()
    }

    async fn changed_since(&self, seen: &Seen, call: &mut Call<'_>) -> Option<Conflict> {
        let joint = self.joint(seen.lock().iter().map(|(id, _)| &**id));
        changed_since(seen, &joint, self.stamps(), call).await
    }

    fn places(&self, conflict: &Conflict) -> Vec<Place> {
        let place = |mismatch: &crate::store::Mismatch| {
            let (collection, line) = self.line(mismatch.collection()?)?;
            Some(Place { collection, id: mismatch.id().into(), line })
        };
        conflict.mismatches().iter().filter_map(place).collect()
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::collection::Collection;
    use crate::collection::database::along::Along;
    use crate::collection::database::part::Part;
    use crate::collection::database::step::{Exit, Step};
    use crate::collection::testing::{Fault, Jumping, Scripted};
    use crate::layer::guarded::Guarded;
    use crate::store::{Action, Commit, Entry, Expected, Kind, Refusal, Store};

    /// Notes each number beside it, and wants that nobody holds its lock.
    struct Noted {
        notes: Collection<String>,
        locks: Collection<String>,
    }

    impl Step<u64> for Noted {
        fn enter(&self, part: &Part<'_, u64>, along: &mut Along<'_>) -> Result<Exit, Error> {
            for entry in part.entries() {
                along.add(&self.locks, Entry::check("lock", Expected::Absent))?;
                if let Action::Put(number) = &entry.action {
                    let note = Arc::new(number.to_string());
                    along.add(&self.notes, Entry::put(entry.id, Expected::Any, note))?;
                }
            }
            Ok(Exit::silent())
        }
    }

    struct Shop {
        database: Database,
        numbers: Collection<u64>,
        notes: Collection<String>,
        locks: Collection<String>,
    }

    fn shop(database: Database) -> Shop {
        let database = database.with_retry(Retry::default().timer(Jumping::new()));
        let [notes, locks] = ["notes", "locks"].map(|name| database.collection(name).unwrap());
        let noted = Noted { notes: notes.clone(), locks: locks.clone() };
        let numbers = database.define("numbers").unwrap().step(noted).open().unwrap();
        Shop { database, numbers, notes, locks }
    }

    #[test]
    fn a_commit_with_riders_whose_answer_was_lost_is_a_success() {
        for faults in [[Fault::LoseAnswer; 3], [Fault::None, Fault::LoseAnswer, Fault::LoseAnswer]] {
            let Shop { database, numbers, notes, .. } = shop(Database::new(Scripted::losing(&faults)));

            let mut both = database.transaction();
            both.put(&numbers, "a", 1);
            both.put(&notes, "b", "two".to_string());
            let committed = both.commit().wait().unwrap();
            let puts =
                [("c", 3), ("d", 4)].map(|(id, number)| Entry::put(id, Expected::Any, Arc::new(number)));
            let two = numbers.commit(puts.into_iter().collect()).wait().unwrap();

            assert_eq!((committed.receipts().len(), two.receipts().len()), (2, 2));
            assert_eq!(*notes.fetch("d").wait().unwrap().value, "4");
        }
    }

    #[test]
    fn checks_of_one_id_join_and_two_writes_of_one_are_refused() {
        let Shop { database, numbers, notes, locks } = shop(Database::in_memory());

        let mut both = database.transaction();
        assert!(both.get(&locks, "lock").wait().unwrap().is_none());
        both.get(&notes, "a").wait().unwrap();
        both.put(&numbers, "a", 1);
        both.put(&numbers, "b", 2);
        both.commit().wait().unwrap();
        assert_eq!(*notes.fetch("b").wait().unwrap().value, "2");

        let mut twice = database.transaction();
        twice.put(&numbers, "a", 3);
        twice.put(&notes, "a", "three".to_string());
        let refused = twice.commit().wait();
        assert!(matches!(refused, Err(Error::Refused(Refusal::Duplicate { id })) if &*id == "a"));

        locks.create("lock", "ann".to_string()).wait().unwrap();
        let Err(Error::Conflict(conflict)) = numbers.put("c", 1).wait() else { panic!("it is locked") };
        assert_eq!(
            (conflict.collection(), conflict.id(), conflict.kind()),
            (Some("locks"), "lock", &Kind::Exists)
        );
    }

    #[test]
    fn a_draft_is_saved_where_it_was_opened() {
        let database = Database::in_memory();
        let [left, right] = ["left", "right"].map(|name| database.collection::<u64>(name).unwrap());
        let mut both = database.transaction();
        both.put(&left, "a", 1);
        both.put(&right, "a", 100);
        both.commit().wait().unwrap();

        let mut draft = left.edit("a").wait().unwrap();
        *draft += 1;
        let mut transaction = database.transaction();
        transaction.save(&mut draft).unwrap();
        transaction.commit().wait().unwrap();

        assert_eq!(
            (*left.fetch("a").wait().unwrap().value, *right.fetch("a").wait().unwrap().value),
            (2, 100)
        );
        let other = Database::in_memory().collection::<u64>("left").unwrap();
        let mut foreign = other.create("a", 1).and_then(|_| other.edit("a")).wait().unwrap();
        assert!(database.transaction().save(&mut foreign).is_err());
    }

    #[test]
    fn what_a_step_refuses_is_told_with_its_collection_and_not_tried_again() {
        struct Closed;

        impl Step<String> for Closed {
            fn enter(&self, part: &Part<'_, String>, _: &mut Along<'_>) -> Result<Exit, Error> {
                let id = part.entries()[0].id;
                Err(Conflict::state(id, "closed", "it is closed").into())
            }
        }

        let database = Database::in_memory();
        let notes = database.define("notes").unwrap().step(Closed).open().unwrap();
        let locks = database.collection("locks").unwrap();
        let noted = Noted { notes: notes.clone(), locks };
        let numbers = database.define::<u64>("numbers").unwrap().step(noted).open().unwrap();

        let mut runs = 0;
        let refused = database.transact(|mut tx| {
            runs += 1;
            let (numbers, notes) = (&numbers, &notes);
            async move {
                tx.get(notes, "a").await?;
                tx.put(numbers, "a", 1);
                Ok::<_, Error>((tx, ()))
            }
        });
        let Err(Error::Conflict(conflict)) = refused.wait() else { panic!("a step refuses it") };

        assert_eq!((conflict.collection(), conflict.id(), runs), (Some("notes"), "a", 1));
    }

    #[test]
    fn a_message_of_a_transaction_names_no_inner_id() {
        let Shop { database, numbers, .. } = shop(Database::in_memory());
        let mut transaction = database.transaction();
        transaction.put(&numbers, "a", 7);

        let shown = format!("{transaction:?}");

        assert!(shown.contains("\"a\" of numbers") && !shown.contains("numbers/a"), "{shown}");
    }

    #[test]
    fn a_layer_commits_nothing_past_the_steps() {
        let store: Arc<parking_lot::Mutex<Option<Arc<dyn Store<u64>>>>> = Arc::default();
        let below = Arc::clone(&store);
        let database = Database::in_memory();
        let numbers = database.define::<u64>("numbers").unwrap().layer(|store| {
            *below.lock() = Some(Arc::clone(&store));
            Guarded::new(store).require_expectation()
        });
        let numbers = numbers.open().unwrap();

        let below = store.lock().take().unwrap();
        let past = below.commit(Commit::one(Entry::put("a", Expected::Any, Arc::new(1)))).wait();

        assert!(matches!(past, Err(Error::Refused(Refusal::Unsupported { .. }))), "{past:?}");
        assert!(numbers.get("a").wait().unwrap().is_none());
    }
}
