//! [`Keys`], the answers to requests that are to apply once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::{Along, Collection, Database, DatabaseTransaction, Exit};
use crate::http::answer::Answer;
use crate::http::keys::age;
use crate::http::keys::record::Record;
use crate::http::keys::request::KeyedRequest;
use crate::store::{Action, Entry, Error, Expected, Outcome, Refusal, Reply, Resource, Version, Versioned};

/// How many answers are kept that nobody says more of.
const MOST: usize = 100_000;

/// How long an answer is kept that nobody says more of.
const LASTS: Duration = Duration::from_secs(24 * 3_600);

/// How many answers are forgotten in one commit: two entries each, and an engine takes 128.
const FORGOTTEN: usize = 32;

/// The answers to requests that are to apply once, by their [`Idempotency-Key`](crate::http::Key): a handle, which clones share.
/// Feature `idempotency`.
///
/// What it takes to answer again is an entry that rides along with the commit of the write, and expects that there is none yet. So
/// of two requests with one key one is applied, and both get its answer; a request that was cut off anywhere has either applied and
/// is answered, or has not and can be sent again; and no key is ever "in progress". A refusal is not kept: a request that was
/// refused may be sent again under its key, corrected or not.
///
/// An answer is kept in two collections of the database, that of the name given and one whose name begins with it. It has the
/// value, as JSON, so that a value has to leave room for it in what the store takes as one.
///
/// The answers are forgotten when they are [too old](Self::lasting) or [too many](Self::keeping), the oldest first: a few with
/// every 16th write that is kept, in a commit of their own.
///
/// ```
/// use ifmatch::http::{Keys, Preconditions};
/// use ifmatch::Database;
///
/// let office = Database::in_memory();
/// let keys = Keys::new(&office, "keys")?;
/// let notes = office.collection::<String>("notes")?;
///
/// let put = |text: &str| {
///     let mut request = Preconditions::from_headers([("If-None-Match", "*"), ("Idempotency-Key", "\"8e03978e\"")]);
///     let key = request.take_key()?.map(|key| key.request("ann", "PUT", "/notes/a1", text.as_bytes()));
///     let text = text.to_string();
///     keys.once(key, &notes, |notes| async move { notes.put_if("a1", &request, text).await }).wait()
/// };
///
/// let first = put("hello")?;
/// let again = put("hello")?; // and not 412
/// assert_eq!((again.status(), again.headers()), (201, first.headers()));
/// assert_eq!(ifmatch::http::status(&put("other").unwrap_err()), 422);
/// # Ok::<_, ifmatch::Error>(())
/// ```
#[derive(Clone)]
pub struct Keys {
    database: Database,
    records: Collection<Record>,
    /// Since when there is which of them.
    ages: Collection<()>,
    most: usize,
    lasts: Duration,
    kept: Arc<Mutex<Kept>>,
}

/// How many answers are kept, as far as this handle and its clones know.
#[derive(Default)]
struct Kept {
    /// `None` until they were counted.
    answers: Option<usize>,
    /// Those since the last look for what may be forgotten.
    since: usize,
    /// Those since the last count.
    counted: usize,
}

/// What rides along with the write of a request.
struct Ride {
    request: KeyedRequest,
    age: String,
    records: Collection<Record>,
    ages: Collection<()>,
    /// Whether the answer is kept.
    recorded: AtomicBool,
    /// Whether the store lost the answer to the last write.
    in_doubt: AtomicBool,
}

impl Keys {
    /// The answers that are kept under this name.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the name can't be that of a collection, or is longer
    /// than 59 bytes, or one of the collections is open with another type.
    ///
    /// ```
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn new(database: &Database, name: &str) -> Result<Self, Error> {
        Ok(Self {
            records: database.collection(name)?,
            ages: database.collection(&format!("{name}.ages"))?,
            database: database.clone(),
            most: MOST,
            lasts: LASTS,
            kept: Arc::default(),
        })
    }

    /// The same, which keep at most this many answers, of all callers together, and some dozens more for a moment. Default: 100,000.
    /// Where several processes write to one store, each counts its own, and all anew at its first write and whenever it has kept a
    /// 16th of this many: so much more there may be for each of them.
    ///
    /// ```
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?.keeping(1_000_000);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use]
    pub fn keeping(self, answers: usize) -> Self {
        Self { most: answers.max(1), ..self }
    }

    /// The same, which keep an answer for as long as this, if it does not have to give way earlier. Default: 24 hours. A client
    /// that sends a request again after that applies it again; the age of an answer is told by the clock of whoever kept it.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?.lasting(Duration::from_secs(600));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use]
    pub fn lasting(self, lasts: Duration) -> Self {
        Self { lasts, ..self }
    }

    /// Makes a write once: `call` gets the collection as a handle whose write keeps its answer, and does one call of
    /// [`http`](crate::http) on it that writes. Where the answer to this key is kept already, nothing is applied, and that is the
    /// answer, whatever stands there now and whatever the preconditions say. Without a key it is just `call`. A call of `http` with the
    /// request on any other handle is refused with 501.
    ///
    /// What the answer says is that of the write alone: [`at`](Answer::at) and its kin are for the answer to this.
    /// For a request that was answered before, `call` runs again, and what it commits is refused: it should have no other effects.
    /// A second write of it is refused too. A put without a precondition reads first.
    ///
    /// It costs a hash of the request, the value as JSON once more, and two more entries in the commit.
    ///
    /// # Errors
    ///
    /// 422 where the key was that of a request that asked for something else
    /// ([`Refusal::KeyReused`](crate::store::Refusal::KeyReused)). [`Refusal::Collection`](crate::store::Refusal::Collection) where
    /// the collection is of another database. [`Refusal::Encode`](crate::store::Refusal::Encode) where the value would not read
    /// back from its JSON. Those of `call`, with nothing kept.
    pub fn once<'a, T, E, Fut>(
        &'a self,
        request: Option<KeyedRequest>,
        on: &'a Collection<T>,
        call: impl FnOnce(Collection<T>) -> Fut + Send + 'a,
    ) -> Reply<'a, Answer<T>, E>
    where
        T: Resource + Serialize + DeserializeOwned,
        E: From<Error> + Send + 'a,
        Fut: Future<Output = Result<Answer<T>, E>> + Send + 'a,
    {
        Reply::pending(async move {
            let Some(request) = request else { return call(on.clone()).await.map(Answer::bare) };
            // Under one path there may be another collection, by the name of a host or a tenant.
            let ride = Arc::new(self.ride(request.within(on.name().unwrap_or_default())));
            let rides = Arc::clone(&ride);
            let escort = Arc::new(move |id: &str, along: &mut Along<'_>| rides.along::<T>(id, along));
            let answered = call(on.keyed(escort, &self.records)?).await;
            match answered {
                Ok(answer) if ride.recorded.load(Ordering::Acquire) => {
                    self.tidy().await;
                    Ok(answer.bare())
                }
                // Nothing had to be written: but if the same came again later, it might have to be.
                Ok(answer) => Ok(self.keep(&ride, answer.bare()).await?),
                // It may be that the key is known, or that the write was applied and the store did not say so. Where that can't be
                // told, what the call was refused for may be no more than that it was applied.
                Err(error) => match self.recorded(&ride.request).await {
                    Ok(Some(record)) => Ok(record.value.answer(record.version)?),
                    // What a look failed with says nothing of the write.
                    Ok(None) | Err(Error::Failed(_)) => Err(error),
                    Err(other) => Err(other.into()),
                },
            }
        })
    }

    /// Has the transaction keep `answer` for this request: where an answer to its key is kept already, the commit is a
    /// [`Conflict`](crate::Conflict), and [`answered`](Self::answered) has that answer.
    ///
    /// # Errors
    ///
    /// [`Refusal::Encode`](crate::store::Refusal::Encode) where the answer would not read back from its JSON, and those of
    /// [`DatabaseTransaction::create`].
    ///
    /// ```
    /// use ifmatch::http::{Keys, Preconditions};
    /// use ifmatch::{Database, Error};
    ///
    /// let bank = Database::in_memory();
    /// let keys = Keys::new(&bank, "keys")?;
    /// let accounts = bank.collection::<i64>("accounts")?;
    ///
    /// let transfer = async |amount: i64| {
    ///     let mut request = Preconditions::from_headers([("Idempotency-Key", "8e03978e")]);
    ///     let key = request.take_key()?.expect("it has one");
    ///     let key = key.request("ann", "POST", "/transfers", amount.to_string().as_bytes());
    ///     let done = bank
    ///         .transact(async |mut tx| {
    ///             let left = tx.get(&accounts, "ann").await?.map_or(0, |left| *left) - amount;
    ///             tx.put(&accounts, "ann", left);
    ///             keys.keep_in(&mut tx, &key, &left)?;
    ///             Ok::<_, Error>((tx, left))
    ///         })
    ///         .await;
    ///     match done {
    ///         Ok(left) => Ok(left),
    ///         // Only what is known to be there goes before the error of the transaction.
    ///         Err(error) => match keys.answered(&key).await {
    ///             Ok(Some(answer)) => Ok(*answer.value),
    ///             Err(reused @ Error::Refused(_)) => Err(reused),
    ///             _ => Err::<_, Error>(error),
    ///         },
    ///     }
    /// };
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// assert_eq!(transfer(30).await?, -30);
    /// assert_eq!(transfer(30).await?, -30); // once
    /// assert!(transfer(40).await.is_err());
    /// # Ok::<_, Error>(())
    /// # })?;
    /// # Ok::<_, Error>(())
    /// ```
    pub fn keep_in<A: Serialize + DeserializeOwned>(
        &self,
        transaction: &mut DatabaseTransaction,
        request: &KeyedRequest,
        answer: &A,
    ) -> Result<(), Error> {
        self.write_in(transaction, &self.ride(request.clone()), Record::of_transaction(request, answer)?)
    }

    /// The answer that a transaction has kept for this request, with the version of what it wrote.
    ///
    /// # Errors
    ///
    /// 422 where the key was that of a request that asked for something else;
    /// [`Error::Corrupt`] where the answer is of another type.
    pub fn answered<'a, A: Resource + Serialize + DeserializeOwned>(
        &'a self,
        request: &'a KeyedRequest,
    ) -> Reply<'a, Option<Versioned<A>>> {
        Reply::pending(async move {
            let Some(found) = self.recorded(request).await? else { return Ok(None) };
            Ok(Some(Versioned::new(found.version, found.value.value::<A>(found.version)?)))
        })
    }

    /// Whether a write of this collection can keep its answer here.
    #[cfg(feature = "resource")]
    pub(crate) fn check_beside<T: Resource>(&self, collection: &Collection<T>) -> Result<(), Error> {
        collection
            .escorted(Arc::new(|_: &str, _: &mut Along<'_>| Ok(Exit::silent())), &self.records)
            .map(drop)
    }

    fn ride(&self, request: KeyedRequest) -> Ride {
        Ride {
            age: age::of(&request.id, SystemTime::now()),
            request,
            records: self.records.clone(),
            ages: self.ages.clone(),
            recorded: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
        }
    }

    /// The record of the same request.
    async fn recorded(&self, request: &KeyedRequest) -> Result<Option<Versioned<Record>>, Error> {
        let found = self.records.get(&request.id).await?;
        found.as_ref().map_or(Ok(()), |found| found.value.check(request))?;
        Ok(found)
    }

    /// Keeps the answer to a request that wrote nothing, and gives the one that is kept.
    async fn keep<T>(&self, ride: &Ride, answer: Answer<T>) -> Result<Answer<T>, Error>
    where
        T: Resource + Serialize + DeserializeOwned,
    {
        let mut transaction = self.database.transaction();
        self.write_in(&mut transaction, ride, Record::of_answer(&ride.request, &answer)?)?;
        let Err(error) = transaction.commit().await else {
            self.tidy().await;
            return Ok(answer);
        };
        match self.recorded(&ride.request).await {
            Ok(Some(found)) => found.value.answer(found.version),
            // The store lost the answer to the write, and has told since that it was applied: with its record.
            Err(Error::Failed(_)) if ride.in_doubt.load(Ordering::Acquire) => Ok(answer),
            Ok(None) => Err(error),
            Err(other) => Err(other),
        }
    }

    fn write_in(
        &self,
        transaction: &mut DatabaseTransaction,
        ride: &Ride,
        record: Record,
    ) -> Result<(), Error> {
        transaction.create(&self.records, &ride.request.id, record)?;
        transaction.put(&self.ages, &ride.age, ());
        Ok(())
    }

    /// Forgets what is due, with every 16th answer. What fails here is left to the next time: the answer is kept.
    async fn tidy(&self) {
        let Some(answers) = self.due() else { return };
        let left = self.forget(answers).await;
        // Another process forgets too, or somebody has written here: all are counted again.
        self.kept.lock().answers = left.ok().flatten();
    }

    /// How many answers are kept as far as is known, where it is time to look for what may be forgotten.
    fn due(&self) -> Option<Option<usize>> {
        let every = (FORGOTTEN / 2).min(self.most);
        let mut kept = self.kept.lock();
        kept.since += 1;
        kept.counted += 1;
        kept.answers = kept.answers.map(|answers| answers + 1);
        if kept.since < every && kept.answers.is_some() {
            return None;
        }
        kept.since = 0;
        // What other processes keep and forget shows in a count alone: each costs 16 ids for each answer that was kept since.
        if kept.counted >= every.max(self.most / 16) {
            kept.answers = None;
        }
        if kept.answers.is_none() {
            kept.counted = 0;
        }
        // One counts, and for the others it is as if there were few.
        let answers = kept.answers;
        kept.answers = Some(answers.unwrap_or(0));
        Some(answers)
    }

    /// Forgets what is due, and tells how many are left; `None` where nobody knows.
    async fn forget(&self, counted: Option<usize>) -> Result<Option<usize>, Error> {
        let answers = match counted {
            Some(answers) => answers,
            None => self.count().await?,
        };
        let page = self.ages.scan_ids("", None, FORGOTTEN).await?;
        let (now, excess) = (SystemTime::now(), answers.saturating_sub(self.most));
        let is_due = |at: usize, id: &str| {
            // A clock that was set back makes nothing old.
            let age = age::read(id).map(|(_, since)| now.duration_since(since).unwrap_or_default());
            at < excess || age.is_none_or(|age| age > self.lasts)
        };
        let due: Vec<(&str, Version)> = page
            .items
            .iter()
            .map(|(id, version)| (&**id, *version))
            .enumerate()
            .filter_map(|(at, item)| is_due(at, item.0).then_some(item))
            .collect();
        match self.forget_all(&due).await {
            Ok(()) => Ok(Some(answers.saturating_sub(due.len()))),
            // What can go does.
            Err(Error::Conflict(_)) => {
                for one in &due {
                    self.forget_one(*one).await?;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Forgets one that may have been forgotten by others, in whole or in part.
    async fn forget_one(&self, (id, version): (&str, Version)) -> Result<(), Error> {
        let forgotten = match self.forget_all(&[(id, version)]).await {
            Err(Error::Conflict(_)) => self.ages.delete(id, version).await.map(drop),
            done => done,
        };
        match forgotten {
            Err(Error::Conflict(_)) => Ok(()),
            done => done,
        }
    }

    async fn forget_all(&self, ages: &[(&str, Version)]) -> Result<(), Error> {
        let mut transaction = self.database.transaction();
        for (id, version) in ages {
            transaction.check(&self.ages, id, *version)?;
            transaction.delete(&self.ages, id);
            if let Some((record, _)) = age::read(id) {
                transaction.check(&self.records, record, *version)?;
                transaction.delete(&self.records, record);
            }
        }
        transaction.commit().await.map(drop)
    }

    async fn count(&self) -> Result<usize, Error> {
        let (mut pages, mut answers) = (self.ages.list_ids("").page_size(1_000), 0);
        while let Some(page) = pages.next().await? {
            answers += page.items.len();
        }
        Ok(answers)
    }
}

impl Ride {
    /// Adds the answer to a write to its commit.
    fn along<T: Resource + Serialize + DeserializeOwned>(
        self: &Arc<Self>,
        id: &str,
        along: &mut Along<'_>,
    ) -> Result<Exit, Error> {
        let what = "to keep the key of a write that is not at hand";
        let entry = along.own::<T>(id).ok_or(Refusal::Unsupported { what })?;
        debug_assert!(!matches!(entry.action, Action::Check), "what only checks has no escort");
        let record = Record::of_entry(&self.request, &entry)?;
        along.add(&self.records, Entry::put(&self.request.id, Expected::Absent, record.into()))?;
        along.add(&self.ages, Entry::put(&self.age, Expected::Any, Arc::new(())))?;
        let ride = Arc::clone(self);
        Ok(Exit::then(move |outcome| {
            ride.recorded.store(outcome.is_ok(), Ordering::Release);
            let in_doubt = outcome.is_err_and(|error| error.outcome() == Outcome::Unknown);
            ride.in_doubt.store(in_doubt, Ordering::Release);
        }))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("name", &self.records.name())
            .field("most", &self.most)
            .field("lasts", &self.lasts)
            .finish_non_exhaustive()
    }
}
