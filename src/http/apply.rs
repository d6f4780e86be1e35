//! `PATCH` by a [`Patch`], a body of a format of its own.

use std::future::ready;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::{Collection, Rounds};
use crate::http::answer::Answer;
use crate::http::patch::Patch;
use crate::http::precondition::Preconditions;
use crate::http::seen::Seen;
use crate::store::{Error, Intent, Reply, Resource};

impl<T> Collection<T>
where
    T: Resource + Clone + PartialEq + Serialize + DeserializeOwned,
{
    /// `PATCH` by a merge patch or a JSON Patch: [`modify_if`](Self::modify_if) of the value's JSON. Lost races are run again
    /// on what is there then, so that parallel patches of different members are all kept; a patch that leaves the value equal
    /// by `==` writes nothing. Feature `patch`.
    ///
    /// What a client computed from its own copy (a text, an array, the index of an element) needs the tag of that copy: under
    /// `If-Match: *` or without a header it is written over what came since, and an index may mean another element by then. So
    /// take [`Required`](crate::http::Required) preconditions. A JSON Patch may also say itself what it builds on, by a `test`
    /// before all else.
    ///
    /// # Errors
    ///
    /// As [`modify_if`](Self::modify_if), and those that [`Patch`] lists. A `test` that does not hold is a
    /// [`Conflict`](crate::Conflict) with the value that it was held against.
    ///
    /// ```
    /// use ifmatch::Collection;
    /// use ifmatch::http::{Patch, Preconditions};
    ///
    /// let tags = Collection::<Vec<String>>::in_memory();
    /// tags.create("readme", vec!["new".to_string()]).wait()?;
    ///
    /// let body = br#"[{"op": "add", "path": "/-", "value": "short"}]"#;
    /// let patch = Patch::parse(Some("application/json-patch+json"), body).unwrap();
    /// let answer = tags.apply_if("readme", &Preconditions::none(), &patch).wait()?;
    /// assert_eq!(answer.body().unwrap(), &["new", "short"]);
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn apply_if<'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        patch: &'a Patch,
    ) -> Reply<'a, Answer<T>> {
        self.try_apply_if(id, request, patch, |_| Ok(()))
    }

    /// [`apply_if`](Self::apply_if) with a check of the patched value, which may refuse it with an error of the program's own or
    /// with [`Conflict::state`](crate::Conflict::state). It runs as often as the patch does.
    ///
    /// ```
    /// use ifmatch::{Collection, Conflict, Error, http};
    /// use ifmatch::http::{Patch, Preconditions};
    ///
    /// let stock = Collection::<i64>::in_memory();
    /// stock.create("tea", 1).wait()?;
    ///
    /// let patch = Patch::parse(Some("application/merge-patch+json"), b"-1").unwrap();
    /// let owed = |left: &i64| match left {
    ///     0.. => Ok(()),
    ///     _ => Err(Error::from(Conflict::state("tea", "sold-out", "there is none left"))),
    /// };
    /// let refused = stock.try_apply_if("tea", &Preconditions::none(), &patch, owed).wait().unwrap_err();
    /// assert_eq!(http::status(&refused), 409);
    /// # Ok::<_, Error>(())
    /// ```
    pub fn try_apply_if<'a, E: From<Error> + Send + 'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        patch: &'a Patch,
        mut check: impl FnMut(&T) -> Result<(), E> + Send + 'a,
    ) -> Reply<'a, Answer<T>, E> {
        // What the patch is being applied to.
        let base = Seen::new();
        let seen = base.clone();
        Rounds::of(self, id, move |value: T| {
            let patched =
                patch.apply(id, &value).map_err(|error| E::from(self.told(held_against(error, &base))));
            ready(patched.and_then(|patched| check(&patched).map(|()| patched)))
        })
        .judged(move |now| {
            request.check_kept_by(self)?;
            request.admit(id, Intent::Put, Some(now)).map(drop)?;
            seen.note(now);
            Ok(())
        })
        .at_once()
        .map(Answer::changed)
    }
}

/// A conflict of the patch, with the value that it was held against.
fn held_against<T: Resource>(error: Error, base: &Seen<T>) -> Error {
    match (error, base.get()) {
        (Error::Conflict(conflict), Some(base)) => conflict.with_current(&base).into(),
        (error, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::http::{reason, status};
    use crate::store::Advice;

    type Counts = BTreeMap<String, u64>;

    fn merge(patch: Value) -> Patch {
        Patch::parse(Some("application/merge-patch+json"), patch.to_string().as_bytes()).unwrap()
    }

    fn counts(members: &[(&str, u64)]) -> Counts {
        members.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn collection() -> Collection<Counts> {
        let collection = Collection::in_memory();
        collection.create("a", counts(&[("x", 1)])).wait().unwrap();
        collection
    }

    #[test]
    fn a_patch_is_applied_again_to_what_somebody_else_made_meanwhile() {
        let collection = collection();
        let first = format!("\"{}\"", collection.fetch("a").wait().unwrap().version);
        let patch = merge(json!({"y": 2}));
        let raced = |header: Option<(&str, &str)>| {
            let request = Preconditions::from_headers(header);
            let mut runs = 0;
            let answer = collection
                .try_apply_if("a", &request, &patch, |_| {
                    runs += 1;
                    if runs == 1 {
                        collection.put("a", counts(&[("z", 3)])).wait()?;
                    }
                    Ok::<_, Error>(())
                })
                .wait();
            (answer, runs)
        };

        let (by_tag, runs) = raced(Some(("If-Match", &first)));
        let error = by_tag.unwrap_err();
        assert_eq!((status(&error), reason(&error), runs), (412, "stale", 1));
        for header in [None, Some(("If-Match", "*"))] {
            let (answer, runs) = raced(header);
            assert_eq!((answer.unwrap().body(), runs), (Some(&counts(&[("y", 2), ("z", 3)])), 2));
        }
    }

    #[test]
    fn a_test_that_fails_shows_the_value_that_it_was_held_against_and_changes_nothing() {
        let collection = collection();
        let before = collection.fetch("a").wait().unwrap();
        let body = br#"[{"op": "add", "path": "/y", "value": 1}, {"op": "test", "path": "/x", "value": 2}]"#;
        let patch = Patch::parse(Some("application/json-patch+json"), body).unwrap();

        let error = collection.apply_if("a", &Preconditions::none(), &patch).wait().unwrap_err();

        let conflict = error.conflict().unwrap();
        assert_eq!((status(&error), conflict.retry()), (409, Advice::Refetch));
        assert_eq!(conflict.current::<Counts>().as_ref(), Some(&before));
        assert_eq!(collection.fetch("a").wait().unwrap(), before);
    }

    #[test]
    fn a_patch_that_changes_nothing_writes_nothing() {
        let collection = collection();
        let before = collection.fetch("a").wait().unwrap();
        let answer =
            collection.apply_if("a", &Preconditions::none(), &merge(json!({"x": 1}))).wait().unwrap();

        assert_eq!((answer.status(), answer.now()), (200, Some(&before)));
    }

    #[test]
    fn what_goes_before_a_patch_does() {
        let collection = collection();
        let patch = merge(json!(7));
        let told = |id: &str, header: (&str, &str)| {
            let request = Preconditions::from_headers([header]);
            let error = collection.apply_if(id, &request, &patch).wait().unwrap_err();
            (status(&error), reason(&error))
        };

        assert_eq!(told("b", ("If-Match", "7")), (404, "not-found"));
        assert_eq!(told("a", ("If-Match", "7")), (400, "malformed-precondition"));
        assert_eq!(told("a", ("If-Match", "\"7\"")), (412, "stale"));
        assert_eq!(told("a", ("If-Match", "*")), (422, "unfit-change"));
    }
}
