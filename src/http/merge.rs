//! `PUT` of a value that is merged with what others made of its base, where the client asks for that.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collection::{Collection, Rounds};
use crate::history::{Ended, History};
use crate::http::answer::Answer;
use crate::http::precondition::Preconditions;
use crate::merge::Merge;
use crate::store::{
    Condition, Conflict, Error, Found, Intent, Mismatch, NotFound, Reply, Resource, Version, Versioned,
};

impl<T> Collection<T>
where
    T: Resource + Clone + PartialEq + Serialize + DeserializeOwned,
{
    /// `PUT` of a value that may be merged: [`put_if`](Self::put_if), unless the client names in `Merge-Base`, in the form of
    /// `If-Match` with one tag and without any precondition, the state that its value was made of. Where another one is there by
    /// now, the base is taken from `history`, and what both made of it is merged by `merge` and written, if that is still the
    /// stored state then; else again. Feature `merge`.
    ///
    /// The [`Answer`] to a merge is 200 with the merged value, its tag, and `Merged: ?1`. **The client has to take that value
    /// over**: were it to go on from its own under the new tag, the next merge would undo what others did.
    ///
    /// A client that lost the answer may send the same again: changes that are there already are merged to the same. Those that
    /// would be counted twice, at places that are merged by [`Counter`](crate::merge::Strategy::Counter) or a closure, are
    /// overlaps here wherever the client changed them, and what would not be merged to the same for another reason is refused.
    ///
    /// # Errors
    ///
    /// 404 or 410 where there is nothing to merge with. A [`Conflict`], 409, with the places that both changed
    /// ([`Overlaps`](crate::merge::Overlaps)), or without where the history no longer has the base, has not recorded
    /// the last write, or the resource was deleted since: the client starts from what is there now. 400 where `Merge-Base` can't be read, names several states, or stands beside a precondition, for which RFC 9110
    /// §13.1.1 has another answer. [`Refusal::Collection`](crate::store::Refusal::Collection) where the history is that of
    /// another collection. Else as [`modify`](Self::modify); what leaves the stored value equal by `==` is not written, as there.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use ifmatch::Database;
    /// use ifmatch::history::History;
    /// use ifmatch::http::Preconditions;
    /// use ifmatch::merge::Merge;
    ///
    /// let office = Database::in_memory();
    /// let history = History::new(&office, "notes.history")?;
    /// let notes = office.define::<BTreeMap<String, String>>("notes")?.recorded(&history).open()?;
    /// let note = |title: &str, text: &str| {
    ///     BTreeMap::from([("title", title), ("text", text)].map(|(name, value)| (name.to_string(), value.to_string())))
    /// };
    /// let base = notes.create("a", note("draft", "")).wait()?;
    /// notes.put("a", note("plan", "")).wait()?; // somebody else
    ///
    /// let request = Preconditions::from_headers([("Merge-Base", format!("\"{}\"", base.version))]);
    /// let answer = notes.merge_if("a", &request, note("draft", "hello"), &Merge::new(), &history).wait()?;
    /// assert!(answer.is_merged());
    /// assert_eq!(answer.body(), Some(&note("plan", "hello")));
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn merge_if<'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        value: impl Into<Arc<T>>,
        merge: &'a Merge,
        history: &'a History<T>,
    ) -> Reply<'a, Answer<T>> {
        self.try_merge_if(id, request, value, merge, history, |_| Ok(()))
    }

    /// [`merge_if`](Self::merge_if) with a check of the value that is to be written, merged or not, which may refuse it with an
    /// error of the program's own or with [`Conflict::state`]. It runs as often as something is merged.
    pub fn try_merge_if<'a, E: From<Error> + Send + 'a>(
        &'a self,
        id: &'a str,
        request: &'a Preconditions,
        value: impl Into<Arc<T>>,
        merge: &'a Merge,
        history: &'a History<T>,
        mut check: impl FnMut(&T) -> Result<(), E> + Send + 'a,
    ) -> Reply<'a, Answer<T>, E> {
        let mine = value.into();
        let named = match (request.merge_base(), history.check_of(self)) {
            (Ok(None), _) => {
                return match check(&mine) {
                    Ok(()) => self.put_if(id, request, mine).then(|answer| answer.map_err(E::from)),
                    Err(error) => Reply::ready(Err(error)),
                };
            }
            (Ok(Some(named)), Ok(())) => named,
            (Err(error), _) | (_, Err(error)) => return Reply::ready(Err(error.into())),
        };
        if let Err(error) = request.check_kept_by(self) {
            return Reply::ready(Err(error.into()));
        }
        let merge = merge.repeatable();
        let turn = Mutex::new(Turn { theirs: None, check: Some(check) });
        let merging = Arc::new(Merging { collection: self, id, named, mine, merge, history, turn });
        let (told, ended) = (Arc::clone(&merging), Arc::clone(&merging));
        Rounds::of(self, id, move |_: T| {
            let merging = Arc::clone(&merging);
            async move { merging.decide().await }
        })
        .judged(move |now| {
            let before = told.turn.lock().theirs.replace(now.clone());
            // Not under the lock, where it is the last handle of the value.
            drop(before);
            Ok(())
        })
        .in_time()
        .map(move |now| ended.answer(now))
    }
}

/// A value that is to be merged, round after round.
struct Merging<'a, T: Resource, C> {
    collection: &'a Collection<T>,
    id: &'a str,
    /// The version of the base, as the client says.
    named: Version,
    mine: Arc<T>,
    merge: Merge,
    history: &'a History<T>,
    turn: Mutex<Turn<T, C>>,
}

/// What changes from one round to the next.
struct Turn<T, C> {
    /// What stands there, noted before each round: the one that is applied replaces it.
    theirs: Option<Versioned<T>>,
    check: Option<C>,
}

impl<T: Resource + Clone + PartialEq + Serialize + DeserializeOwned, C> Merging<'_, T, C> {
    /// What is to be written over what stands there.
    async fn decide<E: From<Error>>(&self) -> Result<T, E>
    where
        C: FnMut(&T) -> Result<(), E>,
    {
        let theirs = self.turn.lock().theirs.clone();
        let theirs = theirs.ok_or_else(|| self.collection.told(NotFound::new(self.id).into()))?;
        let value = self.with(&theirs).await.map_err(|error| self.collection.told(error))?;
        // The program's own, and no lock is held meanwhile. Rounds come one after another.
        let check = self.turn.lock().check.take();
        let mut check = check.expect("it is back after each round");
        let checked = check(&value);
        self.turn.lock().check = Some(check);
        checked.map(|()| value)
    }

    /// What the client hears of what stands there now.
    fn answer(&self, now: Versioned<T>) -> Answer<T> {
        let replaced = self.turn.lock().theirs.as_ref().map(|theirs| theirs.version);
        match replaced.is_some_and(|replaced| replaced != self.named) {
            true => Answer::merged(self.id, now),
            false => Answer::changed(now),
        }
    }

    /// What both made of the base.
    async fn with(&self, theirs: &Versioned<T>) -> Result<T, Error> {
        if theirs.version == self.named {
            return Ok(T::clone(&self.mine));
        }
        // Not before theirs was read: what is over by then is there, unless it is kept no longer.
        let past = self.history.of(self.id).await?;
        let Ok(base) = past.at(self.named) else { return Err(self.stale(theirs)) };
        // The last write was not recorded, and nor may a deletion before it be. Where there is another one by now it was a race
        // that is lost: what is merged here is refused, and merged anew.
        if past.written() != Some(theirs.version)
            && self.collection.get(self.id).await?.is_some_and(|now| now.version == theirs.version)
        {
            return Err(self.stale(theirs));
        }
        // What was deleted since, and what stands there now, are two resources.
        for since in past.versions() {
            if since.ended() == Ended::Deleted {
                return Err(self.stale(theirs));
            }
            if since.version() == self.named {
                break;
            }
            // Whether it was deleted in between is not known.
            if since.is_after_gap() {
                return Err(self.stale(theirs));
            }
        }
        // What the type no longer reads is gone as well.
        let Ok(base) = base.value() else { return Err(self.stale(theirs)) };
        let merged = self.merge.typed(&*base, &*self.mine, &*theirs.value);
        let merged =
            merged.map_err(|unmerged| unmerged.into_error(self.id, Condition::from(self.named), theirs))?;
        // The answer may be lost, and the same be sent again: that must not change anything more, as equal lines could.
        match self.merge.changes_more(&*base, &*self.mine, &merged) {
            true => Err(self.stale(theirs)),
            false => Ok(merged),
        }
    }

    fn stale(&self, theirs: &Versioned<T>) -> Error {
        let found = Found::Value(theirs.clone());
        Conflict::from(Mismatch::new(self.id, self.named.into(), Intent::Put, found)).into()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::collection::Database;
    use crate::http::{Terms, reason, status};
    use crate::layer::{Event, Operation};
    use crate::merge::Overlaps;
    use crate::merge::Strategy::{Counter, Lines};
    use crate::store::{Advice, Expected};
    use crate::{Memory, Observed};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Note {
        title: String,
        text: String,
        views: u32,
    }

    fn note(title: &str, text: &str, views: u32) -> Note {
        Note { title: title.to_owned(), text: text.to_owned(), views }
    }

    struct Office {
        office: Database,
        notes: Collection<Note>,
        history: History<Note>,
        merge: Merge,
    }

    impl Office {
        /// With a note that somebody has changed since.
        fn new() -> (Self, Preconditions) {
            let this = Self::in_database(Database::in_memory(), 2);
            let base = this.notes.create("a", note("t", "1\n2\n", 0)).wait().unwrap();
            this.notes.put("a", note("theirs", "1\n2\n", 0)).wait().unwrap();
            (this, asking(base.version))
        }

        fn in_database(office: Database, keeping: usize) -> Self {
            let history = History::new(&office, "history").unwrap().keeping(keeping);
            let notes = office.define("notes").unwrap().recorded(&history).open().unwrap();
            let merge = Merge::new().at("/text", Lines).at("/views", Counter);
            Self { office, notes, history, merge }
        }

        fn merge(&self, request: &Preconditions, mine: Note) -> Result<Answer<Note>, Error> {
            self.notes.merge_if("a", request, mine, &self.merge, &self.history).wait()
        }

        fn told(&self, request: &Preconditions, mine: Note) -> (u16, &'static str) {
            let before = self.notes.get("a").wait().unwrap();
            let error = self.merge(request, mine).unwrap_err();
            assert_eq!(self.notes.get("a").wait().unwrap(), before, "{error}");
            (status(&error), reason(&error))
        }
    }

    fn asking(base: Version) -> Preconditions {
        Preconditions::from_headers([("Merge-Base", format!("\"{base}\""))])
    }

    #[test]
    fn what_others_changed_is_kept_and_the_same_sent_again_changes_nothing_more() {
        let (office, request) = Office::new();

        let answer = office.merge(&request, note("t", "1\n2\n3\n", 0)).unwrap();
        let both = note("theirs", "1\n2\n3\n", 0);
        assert_eq!((answer.status(), answer.is_merged(), answer.body()), (200, true, Some(&both)));
        let again = office.merge(&request, note("t", "1\n2\n3\n", 0)).unwrap();
        assert_eq!((again.is_merged(), again.now()), (true, answer.now()));

        let headers = answer.at("/notes").headers();
        assert!(headers.contains(&("merged", "?1".to_owned())), "{headers:?}");
        assert!(headers.contains(&("content-location", "/notes/a".to_owned())), "{headers:?}");
    }

    #[test]
    fn a_value_of_the_state_that_stands_is_put_as_it_is() {
        let (office, _) = Office::new();
        let now = office.notes.fetch("a").wait().unwrap();

        let answer = office.merge(&asking(now.version), note("mine", "", 7)).unwrap();

        assert_eq!((answer.is_merged(), answer.body()), (false, Some(&note("mine", "", 7))));
        assert!(answer.at("/notes").headers().iter().all(|(name, _)| *name == "etag"));
    }

    #[test]
    fn what_both_changed_is_a_conflict_with_its_places() {
        let (office, request) = Office::new();

        let error = office.merge(&request, note("mine", "1\n", 0)).unwrap_err();

        let conflict = error.conflict().unwrap();
        assert_eq!((status(&error), reason(&error), conflict.retry()), (409, "stale", Advice::Merge));
        let overlaps = Overlaps::of(&error).unwrap();
        assert!(overlaps.pointers().eq(["/title"]));
        assert_eq!(overlaps.list()[0].theirs, Some(json!("theirs")));
        assert_eq!(conflict.decisive().collection(), Some("notes"));
    }

    #[test]
    fn what_is_counted_is_not_merged() {
        let (office, request) = Office::new();
        // Nobody else counted, but it may have been applied, and its answer lost.
        let error = office.merge(&request, note("t", "1\n2\n", 1)).unwrap_err();

        assert!(Overlaps::of(&error).unwrap().pointers().eq(["/views"]));
        assert_eq!(office.notes.fetch("a").wait().unwrap().value.views, 0);
    }

    #[test]
    fn a_count_that_went_and_came_back_is_not_counted_twice_either() {
        let (office, request) = Office::new();
        office.merge(&request, note("t", "1\n2\n", 1)).unwrap_err();
        // As if nobody else had been there: the first time it is the state that stands.
        let now = office.notes.fetch("a").wait().unwrap();
        let request = asking(now.version);
        let mine = note("theirs", "1\n2\n", 1);
        assert!(!office.merge(&request, mine.clone()).unwrap().is_merged());
        office.notes.put("a", note("theirs", "1\n2\n", 0)).wait().unwrap();

        assert_eq!(office.told(&request, mine), (409, "stale"));
    }

    #[test]
    fn lines_that_would_be_added_once_more_each_time_are_refused() {
        let (office, _) = Office::new();
        let text = |lines: &str| note("t", &lines.replace(' ', "\n"), 0);
        let base = office.notes.put("a", text("a a ")).wait().unwrap();
        office.notes.put("a", text("c a a ")).wait().unwrap();

        assert_eq!(office.told(&asking(base.version), text("a b a a ")), (409, "stale"));
    }

    #[test]
    fn a_base_that_is_kept_no_longer_or_was_deleted_is_not_merged_with() {
        let (office, request) = Office::new();
        for number in 0..2 {
            office.notes.put("a", note("t", "", number)).wait().unwrap();
        }
        assert_eq!(office.told(&request, note("t", "1\n2\n", 3)), (409, "stale"));
        assert_eq!(office.told(&asking("1".parse().unwrap()), note("t", "", 3)), (409, "stale"));

        let (office, request) = Office::new();
        office.notes.delete("a", Expected::Present).wait().unwrap();
        let gone = office.merge(&request, note("t", "1\n", 0)).unwrap_err();
        assert_eq!(status(&gone), 410);
        office.notes.create("a", note("another", "1\n2\n", 0)).wait().unwrap();
        assert_eq!(office.told(&request, note("t", "1\n2\n3\n", 0)), (409, "stale"));
    }

    #[test]
    fn a_base_from_before_a_gap_in_the_history_is_not_merged_with() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        let silent = Database::new(Arc::clone(&bytes)).collection::<Note>("notes").unwrap();
        let office = Office::in_database(Database::new(bytes), 9);
        let put = |notes: &Collection<Note>, views| notes.put("a", note("t", "1\n", views)).wait().unwrap();
        let first = put(&office.notes, 0);
        put(&office.notes, 1);
        silent.delete("a", Expected::Present).wait().unwrap();
        put(&silent, 2);
        let second = put(&office.notes, 3);
        put(&office.notes, 4);

        let mine = note("mine", "1\n", 0);
        assert_eq!(office.told(&asking(first.version), mine), (409, "stale"));
        let answer = office.merge(&asking(second.version), note("mine", "1\n", 3)).unwrap();
        assert_eq!(answer.body(), Some(&note("mine", "1\n", 4)));
    }

    #[test]
    fn a_base_from_before_what_was_not_recorded_is_not_merged_with() {
        let bytes = Arc::new(Memory::<[u8]>::new());
        let silent = Database::new(Arc::clone(&bytes)).collection::<Note>("notes").unwrap();
        let office = Office::in_database(Database::new(bytes), 9);
        let put = |notes: &Collection<Note>, views| notes.put("a", note("t", "1\n", views)).wait().unwrap();
        let first = put(&office.notes, 0);
        put(&office.notes, 1);
        silent.delete("a", Expected::Present).wait().unwrap();
        put(&silent, 2);

        assert_eq!(office.told(&asking(first.version), note("mine", "1\n", 0)), (409, "stale"));
    }

    #[test]
    fn what_is_recorded_while_the_history_is_read_is_merged_with_too() {
        let faster = Arc::new(Mutex::new(None::<Collection<Note>>));
        let called = Arc::clone(&faster);
        // Somebody is faster, between the read of what stands there and that of its history.
        let store = Observed::new(Memory::<[u8]>::new(), move |event: &Event<'_>| {
            let is_read = event.operation == (Operation::Get { id: "notes/a" });
            let faster = is_read.then(|| called.lock().take()).flatten();
            if let Some(notes) = faster {
                notes.put("a", note("later", "0\n1\n2\n", 0)).wait().unwrap();
            }
        });
        let office = Office::in_database(Database::new(store), 9);
        let base = office.notes.put("a", note("t", "1\n2\n", 0)).wait().unwrap();
        office.notes.put("a", note("theirs", "1\n2\n", 0)).wait().unwrap();
        *faster.lock() = Some(office.notes.clone());

        let answer = office.merge(&asking(base.version), note("t", "1\n2\n3\n", 0));

        assert!(faster.lock().is_none());
        assert_eq!(answer.unwrap().body(), Some(&note("later", "0\n1\n2\n3\n", 0)));
    }

    #[test]
    fn a_request_says_of_one_state_that_it_is_its_base_and_nothing_else() {
        let (office, _) = Office::new();
        let told = |headers: &[(&str, &str)]| {
            let request = Preconditions::from_headers(headers.iter().copied()).under(Terms::new());
            office.told(&request, note("mine", "", 0))
        };

        for other in [("If-Match", "\"7\""), ("If-None-Match", "*"), ("If-Unmodified-Since", "never")] {
            assert_eq!(told(&[("merge-base", "\"1\""), other]), (400, "malformed-precondition"), "{other:?}");
        }
        for base in ["*", "\"1\", \"2\"", "1", "", "W/\"1\"", "\"abc\""] {
            assert_eq!(told(&[("merge-base", base)]), (400, "malformed-precondition"), "{base}");
        }
    }

    #[test]
    fn where_nothing_is_merged_a_request_that_asks_for_it_writes_nothing() {
        let (office, request) = Office::new();
        let before = office.notes.fetch("a").wait().unwrap();

        let refused = [
            office.notes.put_if("a", &request, note("mine", "", 0)).wait().unwrap_err(),
            office.notes.create_if("b", &request, note("mine", "", 0)).wait().unwrap_err(),
            office.notes.modify_if("a", &request, |note| note.views += 1).wait().unwrap_err(),
            office.notes.patch_if("a", &request, |note| Ok::<_, Error>(note.clone())).wait().unwrap_err(),
            office.notes.delete_if("a", &request).wait().unwrap_err(),
        ];

        for error in &refused {
            assert_eq!((status(error), reason(error)), (400, "malformed-precondition"), "{error}");
        }
        assert_eq!(office.notes.fetch("a").wait().unwrap(), before);
        assert_eq!(office.notes.get("b").wait().unwrap(), None);
    }

    #[test]
    fn the_past_of_another_collection_is_no_base() {
        let (mut office, request) = Office::new();
        for kept in [true, false] {
            office.history = History::new(&office.office, "others.history").unwrap();
            if kept {
                let others = office.office.define::<Note>("others").unwrap().recorded(&office.history);
                drop(others.open().unwrap());
            }
            let error = office.merge(&request, note("t", "1\n", 0)).unwrap_err();
            assert!(error.to_string().contains("keeps no history of this collection"), "{error}");
        }
    }

    #[test]
    fn what_comes_in_between_is_merged_with_too_and_what_the_program_refuses_is_not_written() {
        let (office, request) = Office::new();
        let mut seen = Vec::new();
        let mine = note("t", "1\n2\n3\n", 0);
        let check = |value: &Note| {
            seen.push(value.clone());
            if seen.len() == 1 {
                office.notes.put("a", note("later", "0\n1\n2\n", 0)).wait()?;
            }
            Ok::<_, Error>(())
        };
        let answer =
            office.notes.try_merge_if("a", &request, mine, &office.merge, &office.history, check).wait();
        let both = note("later", "0\n1\n2\n3\n", 0);
        assert_eq!(answer.unwrap().body(), Some(&both));
        assert_eq!(seen, [note("theirs", "1\n2\n3\n", 0), both]);

        let no = |_: &Note| Err(Error::from(Conflict::state("a", "no", "no")));
        let (mine, blind) = (note("mine", "1\n2\n", 0), Preconditions::none());
        let answer = office.notes.try_merge_if("a", &blind, mine, &office.merge, &office.history, no);
        assert_eq!(reason(&answer.wait().unwrap_err()), "state");
        assert_eq!(office.notes.fetch("a").wait().unwrap().value.title, "later");
    }
}
