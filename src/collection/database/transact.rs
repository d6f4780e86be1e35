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
    /// what the work had read. As [`Collection::transact`](crate::Collection::transact), which says more.
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
