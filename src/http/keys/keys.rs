//! [`Keys`], the answers to requests that are to apply once.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "resource")]
use crate::collection::Exit;
use crate::collection::{Collection, Database, DatabaseTransaction, Escort, ThreadTimer, Timer};
use crate::http::answer::Answer;
use crate::http::keys::marks::Marks;
use crate::http::keys::record::Record;
use crate::http::keys::request::KeyedRequest;
use crate::http::keys::ride::{Fate, Ride};
use crate::store::{Error, Reply, Resource, Versioned};

/// How many answers are kept that nobody says more of.
const MOST: usize = 100_000;

/// How many of one caller.
const EACH: usize = 10_000;

/// How long an answer is kept that nobody says more of.
const LASTS: Duration = Duration::from_secs(24 * 3_600);

/// The answers to requests that are to apply once, by their [`Idempotency-Key`](crate::http::Key): a handle, which clones share.
/// Feature `idempotency`.
///
/// What it takes to answer again is an entry that rides along with the commit of the write, and expects that there is none yet. So
/// of two requests with one key one is applied, and both get its answer; a request that was cut off anywhere has either applied and
/// is answered, or has not and can be sent again; and no key is ever "in progress". A refusal is not kept: a request that was
/// refused may be sent again under its key, corrected or not.
///
/// An answer is kept in the collection of the name given. It has the value, as JSON, so that a value has to leave room for it in
/// what the store takes as one.
///
/// The answers are forgotten when they are [too old](Self::lasting), [too many](Self::keeping), or
/// [too many of one caller](Self::keeping_each), the oldest first: now and then after one was kept, in commits of their own. Which is
/// the oldest is told by their versions, which the stores of this crate give in the order of their commits, whatever any clock says.
/// How old it is tells a clock that runs in this process and can't be set; [`lasting`](Self::lasting) has more. So a step of the clock of
/// the wall makes nothing old.
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
    pub(super) database: Database,
    pub(super) records: Collection<Record>,
    pub(super) most: usize,
    pub(super) each: usize,
    pub(super) lasts: Duration,
    pub(super) timer: Arc<dyn Timer>,
    pub(super) marks: Arc<Mutex<Marks>>,
}

impl Keys {
    /// The answers that are kept under this name.
    ///
    /// # Errors
    ///
    /// [`Refusal::Collection`](crate::store::Refusal::Collection) where the name can't be that of a collection, or that is open with
    /// another type.
    ///
    /// ```
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn new(database: &Database, name: &str) -> Result<Self, Error> {
        Ok(Self {
            records: database.collection(name)?,
            database: database.clone(),
            most: MOST,
            each: EACH,
            lasts: LASTS,
            timer: Arc::new(ThreadTimer),
            marks: Arc::default(),
        })
    }

    /// The same, which keep at most this many answers of all callers together. Default: 100,000. They are counted by chance, after one
    /// of as many answers as an eighth of this: about so many more there are before some are forgotten, however many processes write.
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

    /// The same, which keep at most this many answers of one caller, and an eighth more as above. Default: 10,000. So a caller who draws
    /// keys without end pushes out its own answers and nobody else's. Where all callers are one to the service, this is the
    /// number that holds: at 100 writes a second of all of them an answer is kept for 100 seconds. So name each caller.
    ///
    /// ```
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?.keeping_each(1_000);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use]
    pub fn keeping_each(self, answers: usize) -> Self {
        Self { each: answers.max(1), ..self }
    }

    /// The same, which keep an answer for as long as this at least, if it does not have to give way to newer ones. Default: 24
    /// hours, for which a caller may make [10,000 writes](Self::keeping_each), one every 9 seconds, and all of them
    /// [100,000](Self::keeping), or 1.2 a second. A client that sends a request again after that may apply it again.
    ///
    /// It is measured by the [`Timer`] of the process that forgets, from when it has first seen an answer as new as this one. So it may
    /// be longer: by a 16th of the time, until the next answer is kept, and where a process ends before that by the life of the next
    /// one. A program that always ends sooner forgets by number alone. No setting of a clock makes it shorter.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ifmatch::{Database, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?.lasting(Duration::from_secs(600));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use]
    pub fn lasting(self, lasts: Duration) -> Self {
        // What one handle has measured is nothing to one that keeps answers longer.
        Self { lasts, marks: Arc::default(), ..self }
    }

    /// The same answers on another clock, as for tests.
    ///
    /// ```
    /// # use ifmatch::{Database, collection::ThreadTimer, http::Keys};
    /// let keys = Keys::new(&Database::in_memory(), "keys")?.timer(ThreadTimer);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    #[must_use]
    pub fn timer(self, timer: impl Timer) -> Self {
        Self { timer: Arc::new(timer), marks: Arc::default(), ..self }
    }

    /// Makes a write once: `call` gets the collection as a handle whose write keeps its answer, and does one call of
    /// [`http`](crate::http) on it that writes. Where the answer to this key is kept already, nothing is applied, and that is the
    /// answer, whatever stands there now and whatever the preconditions say. Without a key it is just `call`. A call of `http` with the
    /// request on any other handle is refused with 501.
    ///
    /// What the answer says is that of the write alone: [`at`](Answer::at) and its kin are for the answer to this.
    /// For a request that was answered before, `call` runs again, and what it commits is refused: it should have no other effects.
    /// One write keeps the key, so a second one of `call` is refused with 500, a mistake of the program: what changes several
    /// takes a transaction, and [`keep_in`](Self::keep_in). A put without a precondition reads first.
    ///
    /// What may fail when the request is sent again goes into `call`, and not before it: a lease that has ended by then would
    /// refuse the repeat with 409, or 423, where its answer is kept.
    ///
    /// It costs a hash of the request, the value as JSON once more, and one more entry in the commit.
    ///
    /// # Errors
    ///
    /// 422 where the key was that of a request that asked for something else
    /// ([`Refusal::KeyReused`](crate::store::Refusal::KeyReused)). [`Refusal::Collection`](crate::store::Refusal::Collection) where
    /// the collection is of another database. [`Refusal::Encode`](crate::store::Refusal::Encode) where the value would not read
    /// back from its JSON. [`Error::Corrupt`] where what is kept can't be read as this type; it names the collection of the keys, and the
    /// id there. 500 of a write that can't keep the key: a second one, or one that does not say what it expects, as
    /// [`Collection::put`]. Those of `call`: before its write with nothing kept; after it they are told, and a repeat is
    /// answered by the write, as is this call where the store had lost the answer to that.
    ///
    /// ```
    /// use ifmatch::http::{Keys, Preconditions};
    /// use ifmatch::lease::Leases;
    /// use ifmatch::{Database, Error};
    ///
    /// let office = Database::in_memory();
    /// let (keys, leases) = (Keys::new(&office, "keys")?, Leases::new(&office, "leases")?);
    /// let notes = office.define::<String>("notes")?.leased(&leases).open()?;
    /// let token = leases.acquire("a1", "ann").wait()?.token();
    ///
    /// let put = || {
    ///     let mut request = Preconditions::from_headers([("Idempotency-Key", "8e03978e")]);
    ///     let key = request.take_key()?.map(|key| key.request("ann", "PUT", "/notes/a1", b"hello"));
    ///     let leases = &leases;
    ///     keys.once(key, &notes, |notes| async move {
    ///         let notes = notes.under(&leases.resume("a1", token).await?)?;
    ///         notes.put_if("a1", &request, "hello".to_string()).await
    ///     })
    ///     .wait()
    /// };
    ///
    /// assert_eq!(put()?.status(), 201);
    /// leases.resume("a1", token).wait()?.release().wait()?;
    /// assert_eq!(put()?.status(), 201); // and not 409
    /// # Ok::<_, Error>(())
    /// ```
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
            let request = request.within(on.name().unwrap_or_default());
            let ride = Arc::new(Ride::new(request, &self.records));
            let rides = Arc::clone(&ride);
            let escort = Escort::By(Arc::new(move |id, along| rides.along::<T>(id, along)));
            match (call(on.keyed(escort, &self.records)?).await, ride.fate()) {
                (Ok(answer), Fate::Kept(version)) => {
                    self.tidy(&ride.request, version).await;
                    Ok(answer.bare())
                }
                // What is kept is that of this very call, of which the caller is to hear that it went wrong after its write.
                (Err(error), Fate::Kept(version)) => {
                    self.tidy(&ride.request, version).await;
                    Err(error)
                }
                // Nothing had to be written: but if the same came again later, it might have to be.
                (Ok(answer), _) => Ok(self.keep(&ride, answer.bare()).await?),
                // It may be that the key is known, or that the write was applied and the store did not say so. Where that can't be
                // told, what the call was refused for may be no more than that it was applied.
                (Err(error), _) => match self.recorded(&ride.request).await {
                    Ok(Some(record)) => Ok(self.replay(&ride, &record)?),
                    // What a look failed with says nothing of the write.
                    Ok(None) | Err(Error::Failed(_)) => Err(error),
                    Err(other) => Err(other.into()),
                },
            }
        })
    }

    /// Has the transaction keep `answer` for this request: where an answer to its key is kept already, the commit is a
    /// [`Conflict`](crate::Conflict), and [`answered`](Self::answered) has that answer. What is kept so is forgotten with what
    /// [`once`](Self::once) keeps, and by [`sweep`](Self::sweep).
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
        transaction.create(&self.records, &request.id, Record::of_transaction(request, answer)?)
    }

    /// The answer that a transaction has kept for this request, with the version of what it wrote.
    ///
    /// # Errors
    ///
    /// 422 where the key was that of a request that asked for something else;
    /// [`Error::Corrupt`], of the collection of the keys, where the answer is of another type.
    pub fn answered<'a, A: Resource + Serialize + DeserializeOwned>(
        &'a self,
        request: &'a KeyedRequest,
    ) -> Reply<'a, Option<Versioned<A>>> {
        Reply::pending(async move {
            let Some(found) = self.recorded(request).await? else { return Ok(None) };
            let value = found.value.value::<A>(request, found.version);
            Ok(Some(Versioned::new(found.version, value.map_err(|error| self.records.told(error))?)))
        })
    }

    /// Whether a write of this collection can keep its answer here.
    #[cfg(feature = "resource")]
    pub(crate) fn check_beside<T: Resource>(&self, collection: &Collection<T>) -> Result<(), Error> {
        collection.escorted(Escort::By(Arc::new(|_, _| Ok(Exit::silent()))), &self.records).map(drop)
    }

    /// The record of the same request.
    async fn recorded(&self, request: &KeyedRequest) -> Result<Option<Versioned<Record>>, Error> {
        let found = self.records.get(&request.id).await.map_err(|error| self.records.told(error))?;
        found.as_ref().map_or(Ok(()), |found| found.value.check(request))?;
        Ok(found)
    }

    fn replay<T>(&self, ride: &Ride, found: &Versioned<Record>) -> Result<Answer<T>, Error>
    where
        T: Resource + Serialize + DeserializeOwned,
    {
        let answer = found.value.answer(&ride.request, found.version);
        let answer = answer.map_err(|error| self.records.told(error))?;
        // Its own record, as far as anybody knows: the client hears of it for the first time.
        Ok(if ride.fate() == Fate::InDoubt { answer.bare() } else { answer })
    }

    /// Keeps the answer to a request that wrote nothing, and gives the one that is kept.
    async fn keep<T>(&self, ride: &Ride, answer: Answer<T>) -> Result<Answer<T>, Error>
    where
        T: Resource + Serialize + DeserializeOwned,
    {
        let request = &ride.request;
        let error = match self.records.create(&request.id, Record::of_answer(request, &answer)?).await {
            Ok(kept) => {
                self.tidy(request, Some(kept.version)).await;
                return Ok(answer);
            }
            Err(error) => error,
        };
        match self.recorded(request).await {
            Ok(Some(found)) => self.replay(ride, &found),
            // The store lost the answer to the write, and has told since that it was applied: with its record.
            Err(Error::Failed(_)) if ride.fate() == Fate::InDoubt => Ok(answer),
            Ok(None) => Err(error),
            Err(other) => Err(other),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("name", &self.records.name())
            .field("most", &self.most)
            .field("each", &self.each)
            .field("lasts", &self.lasts)
            .finish_non_exhaustive()
    }
}
