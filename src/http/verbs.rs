//! The verbs of HTTP on a [`Collection`]: one call for each, with the preconditions of the request.

use std::future::ready;
use std::sync::Arc;

use crate::collection::{Collection, Rounds, missing_in, own_in};
use crate::http::answer::Answer;
use crate::http::path;
use crate::http::precondition::Preconditions;
use crate::store::{Commit, Committed, Entry, Error, Intent, Kind, Receipt, Reply, Resource, Versioned};

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
        self.fetch(id).then(move |found| request.respond(id, found?).map_err(|error| self.told(error)))
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
        let known = path::check(id).and_then(|()| request.check_kept_by(self));
        let known = known.and_then(|()| request.known(Intent::Put));
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
        let checked = path::check(id).and_then(|()| request.check_kept_by(self));
        match checked.and_then(|()| request.check_creation(id)) {
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
        let receipt = match request.check_kept_by(self).and_then(|()| request.known(Intent::Delete)) {
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
                (Err(error), _) => return Err(self.told(error)),
            };
            let entry = match value {
                Some(value) => Entry::put(id, condition, Arc::clone(value)),
                None => Entry::delete(id, condition),
            };
            let conflict = match self.commit(Commit::one(entry)).await {
                Err(Error::Conflict(conflict)) => conflict,
                answer => return receipt(answer),
            };
            let Some(own) = own_in(&conflict, self.name(), id) else { return Err(conflict.into()) };
            found = own.current();
            let known = match own.kind() {
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
            request.check_kept_by(self)?;
            let condition = request.admit(id, Intent::Put, Some(&base)).map_err(|error| self.told(error))?;
            let changed = change(&base.value)?;
            let now = self.replace(id, condition, changed).await;
            let now = now.map_err(|error| missing_in(error, self.name(), id))?;
            Ok(Answer::changed(now))
        })
    }
}

impl<T: Resource + Clone + PartialEq> Collection<T> {
    /// `PATCH` by a closure: [`modify`](Self::modify) of a value that the request admits. Lost races are run again, as long
    /// as the request admits what is there then: so parallel changes of one resource are all kept with `If-Match: *` and
    /// without a header, and with tags one of them is, and the others hear 412. That is so of what `change` makes of the value
    /// it is given, as a count that it adds to. What the client computed from its own copy (a text, an array, the index of an
    /// element) needs the tag of that copy, so [`Required`](crate::http::Required) preconditions: else it is written over what
    /// came since.
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
        .judged(move |base| {
            request.check_kept_by(self)?;
            request.admit(id, Intent::Put, Some(base)).map(drop)
        })
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::collection::Retry;
    use crate::collection::testing::{Jumping, Pace, Scripted};
    use crate::http::{reason, retry_after, status};
    use crate::layer::Operation;
    use crate::store::Expected;
    use crate::{Memory, Observed};

    /// Stores that answer at once, and later, and under write ids.
    fn every() -> [Collection<u64>; 3] {
        let later = Pace::Pending(Duration::from_micros(10));
        [(Pace::Ready, false), (later, false), (later, true)].map(|(pace, unknown)| {
            let counters = Collection::new(Scripted::new(pace, unknown));
            counters.create("a", 1).wait().unwrap();
            counters
        })
    }

    fn request(header: Option<(&str, &str)>) -> Preconditions {
        Preconditions::from_headers(header)
    }

    fn now(counters: &Collection<u64>) -> (u64, String) {
        let now = counters.fetch("a").wait().unwrap();
        (*now.value, format!("\"{}\"", now.version))
    }

    fn told<A>(answer: Result<A, Error>) -> (u16, &'static str) {
        let Err(error) = answer else { panic!("it succeeded") };
        (status(&error), reason(&error))
    }

    #[test]
    fn a_race_lost_by_the_call_that_runs_once_is_412_under_a_header_and_409_without() {
        for counters in every() {
            for (name, lost) in [("Accept", 409), ("If-Match", 412)] {
                for star in [true, false] {
                    let tag = now(&counters).1;
                    let request = request(Some((name, if star { "*" } else { &tag })));

                    let patched = counters.patch_if("a", &request, |count| {
                        counters.put("a", 10).wait().unwrap();
                        Ok::<_, Error>(count + 1)
                    });

                    assert_eq!(told(patched.wait()), (lost, "stale"));
                    assert_eq!(now(&counters).0, 10, "somebody else's");
                }
            }
        }
    }

    #[test]
    fn what_is_deleted_under_a_patch_is_not_found_whatever_the_header() {
        for header in [None, Some(("If-Match", "*"))] {
            for counters in every() {
                let request = request(header);
                let gone = || assert!(counters.delete("a", Expected::Present).wait().unwrap().changed());

                let once = counters.patch_if("a", &request, |count| {
                    gone();
                    Ok::<_, Error>(count + 1)
                });
                assert_eq!(told(once.wait()), (410, "deleted"));

                counters.create("a", 1).wait().unwrap();
                let modified = counters.modify_if("a", &request, |count| {
                    gone();
                    *count += 1;
                });
                assert_eq!(told(modified.wait()), (410, "deleted"));
            }
        }
    }

    #[test]
    fn a_modification_is_run_again_on_what_the_request_still_admits() {
        for counters in every() {
            let first = now(&counters).1;
            let raced = |header: Option<(&str, &str)>| {
                let (request, mut runs) = (request(header), 0);
                let modified = counters.modify_if("a", &request, |count| {
                    runs += 1;
                    if runs == 1 {
                        counters.put("a", 10).wait().unwrap();
                    }
                    *count += 1;
                });
                let answer = modified.wait();
                (answer, runs)
            };

            let (by_tag, runs) = raced(Some(("If-Match", &first)));
            assert_eq!((told(by_tag), runs, now(&counters).0), ((412, "stale"), 1, 10));
            for header in [None, Some(("If-Match", "*")), Some(("If-None-Match", &*first))] {
                let (answer, runs) = raced(header);
                assert_eq!((answer.unwrap().body(), runs, now(&counters).0), (Some(&11), 2, 11));
            }
        }
    }

    #[test]
    fn who_is_beaten_for_ever_hears_409_and_when_to_come_again() {
        let retry = Retry::default().timer(Jumping::new()).attempts(3);
        let counters = Collection::<u64>::in_memory().with_retry(retry);
        counters.create("a", 1).wait().unwrap();
        let request = request(Some(("If-Match", "*")));

        let beaten = counters.modify_if("a", &request, |count| {
            counters.put("a", *count + 1).wait().unwrap();
            *count = 0;
        });

        let error = beaten.wait().unwrap_err();
        assert_eq!((status(&error), reason(&error)), (409, "stale"), "the header held each time");
        assert_eq!(retry_after(&error), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_refusal_of_the_closure_goes_out_as_it_is_and_changes_nothing() {
        #[derive(Debug)]
        enum Own {
            Full,
            Store(Error),
        }
        impl From<Error> for Own {
            fn from(error: Error) -> Self {
                Self::Store(error)
            }
        }

        for counters in every() {
            let before = now(&counters);
            let request = request(Some(("If-Match", "*")));

            let once = counters.patch_if("a", &request, |_| Err(Own::Full)).wait();
            let again = counters.try_modify_if("a", &request, |count| {
                *count = 7;
                Err(Own::Full)
            });

            assert!(matches!((once, again.wait()), (Err(Own::Full), Err(Own::Full))));
            let missing = counters.patch_if("b", &request, |count| Ok::<_, Own>(*count)).wait();
            assert!(matches!(missing, Err(Own::Store(Error::NotFound(_)))));
            assert_eq!(now(&counters), before);
        }
    }

    #[test]
    fn a_put_tells_created_from_replaced_over_every_store() {
        for counters in every() {
            let any = request(None);
            let list = request(Some(("If-None-Match", "\"7\", \"8\"")));
            for (id, request) in [("b", &any), ("c", &list)] {
                let [first, second] = [1, 2].map(|count| counters.put_if(id, request, count).wait().unwrap());
                assert_eq!((first.status(), second.status()), (201, 200), "{id}");
                assert_eq!(counters.fetch(id).wait().unwrap(), *second.now().unwrap());
            }
            assert_eq!(told(counters.put_if("..", &any, 1).wait()), (400, "bad-id"));
            assert_eq!(told(counters.create_if(".", &any, 1).wait()), (400, "bad-id"));
        }
    }

    /// A collection over a store in which somebody else writes after the first read of a call.
    fn raced() -> (Collection<u64>, String) {
        let memory = Arc::new(Memory::new());
        let others = Collection::new(Arc::clone(&memory));
        let first = others.create("a", 1).wait().unwrap().version;
        let once = AtomicBool::new(false);
        let observed = Observed::new(memory, move |event| {
            if matches!(event.operation, Operation::Get { .. }) && !once.swap(true, Ordering::Relaxed) {
                others.put("a", 10).wait().unwrap();
            }
        });
        (Collection::new(observed), format!("\"7\", \"{first}\""))
    }

    #[test]
    fn what_still_holds_after_a_race_between_look_and_commit_is_written_and_nothing_else_is() {
        let put = |header: &str| {
            let (counters, list) = raced();
            let answer = counters.put_if("a", &request(Some((header, &list))), 2).wait();
            (answer.map(|answer| answer.status()).map_err(|error| status(&error)), now(&counters).0)
        };
        let delete = |header: &str| {
            let (counters, list) = raced();
            let answer = counters.delete_if("a", &request(Some((header, &list)))).wait();
            (
                answer.map(|answer| answer.status()).map_err(|error| status(&error)),
                counters.get("a").wait().unwrap(),
            )
        };

        assert_eq!(put("If-Match"), (Err(412), 10));
        let (deleted, left) = delete("If-Match");
        assert_eq!((deleted, left.map(|now| *now.value)), (Err(412), Some(10)));

        // What came in between is none of these either.
        let none = request(Some(("If-None-Match", "\"7\", \"8\"")));
        let (counters, _) = raced();
        assert_eq!(counters.put_if("a", &none, 2).wait().unwrap().status(), 200);
        assert_eq!(now(&counters).0, 2);
        let (counters, _) = raced();
        assert_eq!(counters.delete_if("a", &none).wait().unwrap().status(), 204);
        assert!(counters.get("a").wait().unwrap().is_none());
    }
}
