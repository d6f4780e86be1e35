//! The verbs of HTTP on a [`Collection`]: one call for each, with the preconditions of the request.

use std::future::ready;
use std::sync::Arc;

use crate::collection::{Collection, Rounds};
use crate::http::answer::Answer;
use crate::http::path;
use crate::http::precondition::Preconditions;
use crate::store::{
    Commit, Committed, Entry, Error, Intent, Kind, NotFound, Receipt, Reply, Resource, Versioned,
};

/// The verbs of HTTP. Each takes what was extracted from the request, judges it on the very value that it reads or
/// replaces, and answers what HTTP has for what came of it; [`http`](crate::http) has the table.
impl<T: Resource + ?Sized> Collection<T> {
    /// `GET` and `HEAD`: the value (200), or 304 where the caller has it already.
    ///
    /// A malformed `If-None-Match` or `If-Match` is as if absent: the worst that comes of it is an answer in full.
    ///
    /// # Errors
    ///
    /// 404 or 410 where there is nothing, whatever the preconditions say; 412 where `If-Match` does not hold.
    ///
    /// ```
    /// use ifmatch::Collection;
    /// use ifmatch::http::Preconditions;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// let first = notes.create("readme", "hello".to_string()).wait()?;
    ///
    /// let cached = Preconditions::from_headers([("If-None-Match", format!("\"{}\"", first.version))]);
    /// assert_eq!(notes.get_if("readme", &cached).wait()?.status(), 304);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn get_if<'a>(&'a self, id: &'a str, request: &'a Preconditions) -> Reply<'a, Answer<T>> {
        self.fetch(id).then(move |found| request.respond(id, found?))
    }

    /// `PUT`: replaces the value (200), or creates it (201). Without a precondition it does so whatever is there: take
    /// [`Terms::required`](crate::http::Terms::required) where that may not be.
    ///
    /// Where the request names one state, this is one commit, and no read. A list of states is read first, and the one that
    /// was found is what is replaced; after a lost race another one of the list is.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict), 412, where the preconditions do not hold; 400 where one can't be read, and 428 where
    /// one is required. `.` and `..` are no ids here: no browser could ask for them.
    ///
    /// ```
    /// use ifmatch::{Collection, http};
    /// use ifmatch::http::Preconditions;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// let new = Preconditions::from_headers([("If-None-Match", "*")]);
    /// assert_eq!(notes.put_if("readme", &new, "hello".to_string()).wait()?.status(), 201);
    ///
    /// let late = notes.put_if("readme", &new, "mine".to_string()).wait().unwrap_err();
    /// assert_eq!(http::status(&late), 412);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn put_if<'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        value: impl Into<Arc<T>>,
    ) -> Reply<'a, Answer<T>> {
        let value = value.into();
        let known = path::check(id).and_then(|()| request.known(id, Intent::Put));
        let receipt = match known {
            Ok(Some(condition)) => {
                self.commit(Commit::one(Entry::put(id, condition, Arc::clone(&value)))).then(receipt)
            }
            Ok(None) => {
                let value = Arc::clone(&value);
                Reply::pending(async move {
                    let found = self.get(id).await?;
                    self.write_found(id, request, Some(&value), found).await
                })
            }
            Err(error) => Reply::ready(Err(error)),
        };
        receipt.then(move |receipt| put(id, receipt?, value))
    }

    /// `POST` of a new resource, by an id that the client or the program chose: 201. [`Answer::at`] adds its `Location`.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict), 409, where the id is taken: what the request is about is the collection, so it is no
    /// precondition of the request that failed, also where `If-None-Match: *` said the same. The collection has no entity
    /// tag, so an `If-Match` with tags does not hold: 412. 400 as in [`put_if`](Self::put_if).
    ///
    /// ```
    /// # use ifmatch::{Collection, http};
    /// # use ifmatch::http::Preconditions;
    /// # let notes = Collection::<String>::in_memory();
    /// let request = Preconditions::none();
    /// assert_eq!(notes.create_if("readme", &request, "hello".to_string()).wait()?.status(), 201);
    ///
    /// let taken = notes.create_if("readme", &request, "mine".to_string()).wait().unwrap_err();
    /// assert_eq!(http::status(&taken), 409);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn create_if<'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        value: impl Into<Arc<T>>,
    ) -> Reply<'a, Answer<T>> {
        match path::check(id).and_then(|()| request.check_creation(id)) {
            Ok(()) => self.create(id, value).map(move |created| Answer::created(id, created)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// `DELETE`: 204. Without a precondition it deletes whatever is there.
    ///
    /// # Errors
    ///
    /// 404 or 410 where there is nothing, whatever the preconditions say. Else as [`put_if`](Self::put_if).
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # use ifmatch::http::Preconditions;
    /// # let notes = Collection::<String>::in_memory();
    /// let first = notes.create("readme", "hello".to_string()).wait()?;
    /// let request = Preconditions::from_headers([("If-Match", format!("\"{}\"", first.version))]);
    /// assert_eq!(notes.delete_if("readme", &request).wait()?.status(), 204);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn delete_if<'a>(&'a self, id: &'a str, request: &'a Preconditions) -> Reply<'a, Answer<T>> {
        let receipt = match request.known(id, Intent::Delete) {
            Ok(Some(condition)) => self.delete(id, condition),
            Ok(None) => Reply::pending(async move {
                let found = self.fetch(id).await?;
                self.write_found(id, request, None, Some(found)).await
            }),
            // What is not there goes first.
            Err(error) => self.fetch(id).then(|found| found.and(Err(error))),
        };
        receipt.map(|_| Answer::deleted())
    }

    /// Puts a value, or deletes it where there is none to put, over the state that was found, if the request admits that;
    /// after a lost race over the state that is there then, if it admits that one too.
    async fn write_found(
        &self,
        id: &str,
        request: &Preconditions,
        value: Option<&Arc<T>>,
        mut found: Option<Versioned<T>>,
    ) -> Result<Receipt, Error> {
        let intent = if value.is_some() { Intent::Put } else { Intent::Delete };
        let mut tries = 1;
        loop {
            let condition = match (request.admit(id, intent, found.as_ref()), request.named()) {
                (Ok(condition), _) => condition,
                // The store refuses it too, and may remember a deletion.
                (Err(Error::Conflict(_)), Some(named)) if found.is_none() => named,
                (Err(error), _) => return Err(error),
            };
            let entry = match value {
                Some(value) => Entry::put(id, condition, Arc::clone(value)),
                None => Entry::delete(id, condition),
            };
            let conflict = match self.commit(Commit::one(entry)).await {
                Err(Error::Conflict(conflict)) => conflict,
                answer => return receipt(answer),
            };
            found = conflict.current();
            let known = match conflict.kind() {
                Kind::Stale | Kind::Exists => found.is_some(),
                Kind::Missing | Kind::Deleted => true,
                _ => false,
            };
            if !known || request.admit(id, intent, found.as_ref()).is_err() {
                return Err(conflict.into());
            }
            if tries == self.retry().most_attempts() {
                return Err(conflict.exhausted(tries).into());
            }
            tries += 1;
        }
    }
}

/// The verbs that compute the new value from the one that is there.
impl<T: Resource> Collection<T> {
    /// `PATCH` by a closure that runs exactly once: it is given the value, and the new one is written if the value is still
    /// the stored one then. For changes with effects of their own; [`modify_if`](Self::modify_if) tries again by itself.
    ///
    /// # Errors
    ///
    /// 404 or 410 where there is nothing, whatever the preconditions say. A [`Conflict`](crate::Conflict) where they do not
    /// hold, or where somebody was faster: 412, or 409 without a precondition. What the closure fails with. 400 and 428 as
    /// in [`put_if`](Self::put_if).
    ///
    /// ```
    /// use ifmatch::{Collection, Error};
    /// use ifmatch::http::Preconditions;
    ///
    /// let notes = Collection::<String>::in_memory();
    /// notes.create("readme", "hello".to_string()).wait()?;
    ///
    /// let request = Preconditions::from_headers([("If-Match", "*")]);
    /// let longer = |note: &String| Ok::<_, Error>(format!("{note}, world"));
    /// assert_eq!(notes.patch_if("readme", &request, longer).wait()?.body().unwrap(), "hello, world");
    /// # Ok::<_, Error>(())
    /// ```
    pub fn patch_if<'a, E: From<Error> + Send + 'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        change: impl FnOnce(&T) -> Result<T, E> + Send + 'a,
    ) -> Reply<'a, Answer<T>, E> {
        Reply::pending(async move {
            let base = self.fetch(id).await?;
            let condition = request.admit(id, Intent::Put, Some(&base))?;
            let changed = change(&base.value)?;
            let now = self.replace(id, condition, changed).await.map_err(missing)?;
            Ok(Answer::changed(now))
        })
    }
}

impl<T: Resource + Clone + PartialEq> Collection<T> {
    /// `PATCH` by a closure: [`modify`](Self::modify) of a value that the request admits. Lost races are run again, as long
    /// as the request admits what is there then: so parallel changes of one resource are all kept with `If-Match: *` and
    /// without a header, and with tags one of them is, and the others hear 412.
    ///
    /// `change` may run more than once, and **what it leaves equal by `==` is not written**.
    ///
    /// # Errors
    ///
    /// 404 or 410 where there is nothing, whatever the preconditions say. A [`Conflict`](crate::Conflict), 412, where they do
    /// not hold for the value that is there; 409 with `Retry-After` once [`Retry`](crate::Retry) allows no more tries. 400
    /// and 428 as in [`put_if`](Self::put_if).
    ///
    /// ```
    /// use ifmatch::Collection;
    /// use ifmatch::http::Preconditions;
    ///
    /// let visits = Collection::<u64>::in_memory();
    /// visits.create("home", 0).wait()?;
    ///
    /// let request = Preconditions::from_headers([("If-Match", "*")]);
    /// assert_eq!(visits.modify_if("home", &request, |count| *count += 1).wait()?.body(), Some(&1));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn modify_if<'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        mut change: impl FnMut(&mut T) + Send + 'a,
    ) -> Reply<'a, Answer<T>> {
        self.try_modify_if(id, request, move |value| {
            change(value);
            Ok(())
        })
    }

    /// [`modify_if`](Self::modify_if) by a closure that may refuse, with an error of the program's own or with
    /// [`Conflict::state`](crate::Conflict::state): [`try_modify`](Self::try_modify) of a value that the request admits.
    ///
    /// ```
    /// use ifmatch::{Collection, Conflict, Error, http};
    /// use ifmatch::http::Preconditions;
    ///
    /// let stock = Collection::<u32>::in_memory();
    /// stock.create("tea", 0).wait()?;
    ///
    /// let take = |left: &mut u32| {
    ///     *left = left.checked_sub(1).ok_or_else(|| Conflict::state("tea", "sold-out", "there is none left"))?;
    ///     Ok::<_, Error>(())
    /// };
    /// let refused = stock.try_modify_if("tea", &Preconditions::none(), take).wait().unwrap_err();
    /// assert_eq!(http::status(&refused), 409);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_modify_if<'a, E: From<Error> + Send + 'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        mut change: impl FnMut(&mut T) -> Result<(), E> + Send + 'a,
    ) -> Reply<'a, Answer<T>, E> {
        Rounds::of(self, id, move |mut value| {
            let changed = change(&mut value);
            ready(changed.map(|()| value))
        })
        .judged(move |base| request.admit(id, Intent::Put, Some(base)).map(drop))
        .at_once()
        .map(Answer::changed)
    }
}

/// What was done to the only id of a commit.
fn receipt(committed: Result<Committed, Error>) -> Result<Receipt, Error> {
    Ok(committed?.receipt(0)?)
}

/// What a put did, by what it replaced.
fn put<T: ?Sized>(id: &str, receipt: Receipt, value: Arc<T>) -> Result<Answer<T>, Error> {
    let version = Committed::one(receipt).put_version(0)?;
    let now = Versioned { version, value };
    Ok(match receipt.replaced {
        None => Answer::created(id, now),
        Some(_) => Answer::changed(now),
    })
}

/// The error of a method that can't create: what is not there is not found, whatever the request expected of it.
fn missing(error: Error) -> Error {
    let missing = error.conflict().and_then(|conflict| NotFound::from_mismatch(conflict.decisive()));
    missing.map_or(error, Error::from)
}
