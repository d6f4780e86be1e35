//! [`Draft`], a private copy of a resource that is changed at leisure and then committed.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::collection::collection::Collection;
use crate::store::{Commit, Entry, Outcome, Reply, Resource, Version, Versioned};

/// A private copy of a resource, from [`Collection::edit`], that is changed at leisure and then committed.
///
/// It derefs to the value. The copy is made by the first mutable use, and what was used so is written, whether it differs
/// or not. Nothing is locked while it is open: if somebody else changes the resource in the meantime,
/// [`commit`](Self::commit) is a conflict, and the draft stays as it is.
///
/// So it is for whoever holds it while somebody edits. In a handler that opens it, fills it from a `PUT` and commits it checks
/// its own milliseconds, and not what the client has seen: that is [`put_if`](Collection::put_if).
///
/// ```
/// use ifmatch::{Collection, Error};
///
/// let notes = Collection::<String>::in_memory();
/// notes.create("readme", "hello".to_string()).wait()?;
///
/// let mut draft = notes.edit("readme").wait()?;
/// draft.push_str(", world");
/// notes.modify("readme", |note| note.push('!')).wait()?;
///
/// let Err(Error::Conflict(conflict)) = draft.commit().wait() else { unreachable!() };
/// assert_eq!(*draft, "hello, world");
/// // Somebody decided that the draft is to win.
/// draft.rebase(conflict.current().expect("it was not deleted"));
/// let saved = draft.commit().wait()?;
/// assert_eq!(draft.base(), &saved);
/// # Ok::<_, Error>(())
/// ```
#[must_use = "a draft changes nothing until it is committed"]
pub struct Draft<T: Resource> {
    collection: Collection<T>,
    id: Arc<str>,
    base: Versioned<T>,
    /// The base's own until the first mutable use.
    value: Arc<T>,
    /// Whether it was based on another state since it was last committed: it is written then, also where the value of that
    /// state is the very same one.
    rebased: bool,
    /// Where a transaction puts the new base once it has committed.
    saved: Option<Arc<Saved<T>>>,
    /// Whether a commit of it was sent, and nobody knows what came of it: what is stored may have its changes already.
    in_doubt: bool,
}

/// The place for what a transaction made of a draft.
pub(crate) struct Saved<T> {
    value: Arc<T>,
    now: OnceLock<Versioned<T>>,
    /// From when it is sent until it is known what came of it.
    in_doubt: AtomicBool,
}

/// How far a transaction is with a draft that it saves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Saving {
    Sent,
    /// What was sent was not applied.
    Refused,
    Committed(Version),
}

impl<T> Saved<T> {
    pub(crate) fn note(&self, saving: Saving) {
        if let Saving::Committed(version) = saving {
            // Each save has a place of its own, so it can't be taken.
            let _ = self.now.set(Versioned { version, value: Arc::clone(&self.value) });
        }
        self.in_doubt.store(matches!(saving, Saving::Sent), Ordering::Release);
    }
}

impl<T: Resource + Clone> Collection<T> {
    /// Opens a private copy of a resource, to be changed and then committed. A client's `PUT` is [`put_if`](Self::put_if).
    ///
    /// ```
    /// # use ifmatch::Collection;
    /// # let notes = Collection::<String>::in_memory();
    /// # notes.create("readme", "hello".to_string()).wait()?;
    /// let mut draft = notes.edit("readme").wait()?;
    /// draft.push_str(", world");
    /// draft.commit().wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`](crate::Error::NotFound) where there is nothing to edit.
    pub fn edit<'a>(&'a self, id: &'a str) -> Reply<'a, Draft<T>> {
        self.fetch(id).map(|base| Draft::new(self.clone(), id, base))
    }
}

impl<T: Resource> Draft<T> {
    fn new(collection: Collection<T>, id: &str, base: Versioned<T>) -> Self {
        let value = Arc::clone(&base.value);
        Self { collection, id: id.into(), base, value, rebased: false, saved: None, in_doubt: false }
    }

    /// The id of the resource.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The state the draft is based on: the one it was opened with, or last committed as.
    pub fn base(&self) -> &Versioned<T> {
        self.saved.as_ref().and_then(|saved| saved.now.get()).unwrap_or(&self.base)
    }

    /// Bases the draft on another state, whose value it then replaces when it is committed. The draft's own value
    /// stays as it is: what of the other value is to be kept must be brought over before.
    ///
    /// [`Conflict::current`](crate::Conflict::current) of a refused commit is the state to pass.
    pub fn rebase(&mut self, base: Versioned<T>) {
        self.take_saved();
        // The state it has already leaves it as it is: untouched, if it was.
        if self.base.version != base.version {
            self.base = base;
            self.rebased = true;
            self.in_doubt = false;
        }
    }
}

impl<T: Resource> Draft<T> {
    /// Writes the draft if it was touched, by any mutable use or by a [`rebase`](Self::rebase), and if its base is still the
    /// stored state; the new state is the base from then on. If it was not touched, the commit only checks that the base is
    /// still the stored state.
    ///
    /// A commit that is dropped while it is pending leaves the draft as it was.
    ///
    /// # Errors
    ///
    /// A [`Conflict`](crate::Conflict) if somebody else changed or deleted the resource: nothing was written, and the
    /// draft is as it was. See [`rebase`](Self::rebase).
    pub fn commit(&mut self) -> Reply<'_, Versioned<T>> {
        self.take_saved();
        let touched = self.is_touched();
        let Self { collection, id, base, value, rebased, in_doubt, .. } = self;
        // So it stays where the reply is dropped.
        let doubted_before = std::mem::replace(in_doubt, *in_doubt || touched);
        let commit = match touched {
            true => Commit::one(Entry::put(id, &*base, Arc::clone(value))),
            false => Commit::unchanged(Entry::check(id, &*base)),
        };
        collection.commit(commit).then(move |committed| {
            let unknown = committed.as_ref().is_err_and(|error| error.outcome() == Outcome::Unknown);
            *in_doubt = (doubted_before || unknown && touched) && committed.is_err();
            let committed = committed?;
            if touched {
                *base = Versioned { version: committed.put_version(0)?, value: Arc::clone(value) };
                *rebased = false;
            } else {
                // Another one where the value was rewritten in a newer schema.
                base.version = committed.version().unwrap_or(base.version);
            }
            Ok(base.clone())
        })
    }

    /// For a transaction: the value, if it was touched, and where what becomes of it is to be noted.
    pub(crate) fn save(&mut self) -> Option<(Arc<T>, Arc<Saved<T>>)> {
        let value = self.touched()?;
        let saved =
            Saved { value: Arc::clone(&value), now: OnceLock::new(), in_doubt: AtomicBool::new(false) };
        let saved = Arc::clone(self.saved.insert(Arc::new(saved)));
        Some((value, saved))
    }

    /// The value, if it was touched.
    pub(crate) fn touched(&mut self) -> Option<Arc<T>> {
        self.take_saved();
        self.is_touched().then(|| Arc::clone(&self.value))
    }

    /// Takes over a state that stands in the store, value and all.
    #[cfg(feature = "merge")]
    pub(crate) fn take_over(&mut self, now: Versioned<T>) {
        self.take_saved();
        self.value = Arc::clone(&now.value);
        self.base = now;
        self.rebased = false;
        self.in_doubt = false;
    }

    /// Bases the draft on another state, with a value in which that one's was brought over.
    #[cfg(feature = "merge")]
    pub(crate) fn bring_over(&mut self, base: Versioned<T>, value: T) {
        self.take_saved();
        self.value = Arc::new(value);
        self.base = base;
        self.in_doubt = false;
    }

    /// Tells whether what became of an earlier commit is in doubt, and puts this one in doubt until it is known.
    #[cfg(feature = "merge")]
    pub(crate) fn send(&mut self) -> bool {
        std::mem::replace(&mut self.in_doubt, true)
    }

    /// What became of a commit that was sent is known.
    #[cfg(feature = "merge")]
    pub(crate) fn heard(&mut self, doubted_before: bool) {
        self.in_doubt = doubted_before;
    }
}

impl<T: Resource> Draft<T> {
    /// Where it was opened, and will be committed.
    pub(crate) fn collection(&self) -> &Collection<T> {
        &self.collection
    }

    /// Not by `==`, which may compare less than there is: a type with the `==` of its ids would lose what was changed.
    fn is_touched(&self) -> bool {
        self.rebased || !Arc::ptr_eq(&self.value, &self.base.value)
    }

    fn take_saved(&mut self) {
        let Some(saved) = self.saved.take() else { return };
        // First: where it is no longer in doubt, there is the new base.
        let in_doubt = saved.in_doubt.load(Ordering::Acquire);
        match saved.now.get() {
            Some(now) => {
                self.base = now.clone();
                self.rebased = false;
                self.in_doubt = false;
            }
            None => self.in_doubt |= in_doubt,
        }
    }
}

impl<T: Resource> Deref for Draft<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Resource + Clone> DerefMut for Draft<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.value)
    }
}

// Hand-written: the derived impl would print the user's value.
impl<T: Resource> fmt::Debug for Draft<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft")
            .field("id", &self.id)
            .field("base", &self.base.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::collection::collection::Collection;
    use crate::collection::testing::{Fault, Scripted};
    use crate::store::{Error, Expected, Kind};

    fn notes() -> Collection<String> {
        let notes = Collection::in_memory();
        notes.create("a", "one".to_string()).wait().unwrap();
        notes
    }

    #[test]
    fn a_commit_moves_the_base_and_a_second_one_only_checks() {
        let notes = notes();
        let mut draft = notes.edit("a").wait().unwrap();
        draft.push_str(" two");
        assert_eq!(*draft.base().value, "one");

        let saved = draft.commit().wait().unwrap();

        assert_eq!(draft.base(), &saved);
        assert_eq!(notes.fetch("a").wait().unwrap(), saved);
        assert_eq!(draft.commit().wait().unwrap(), saved);
        assert_eq!(notes.fetch("a").wait().unwrap(), saved);
    }

    #[test]
    fn what_was_touched_is_written_whatever_its_equality_compares() {
        #[derive(Clone)]
        struct Entity(u64, String);

        impl PartialEq for Entity {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        let entities = Collection::in_memory();
        entities.create("a", Entity(1, "one".to_string())).wait().unwrap();
        let mut draft = entities.edit("a").wait().unwrap();
        draft.1.push('!');
        draft.commit().wait().unwrap();
        draft.1.push('!');
        let mut transaction = entities.transaction();
        transaction.save(&mut draft).unwrap();
        transaction.commit().wait().unwrap();

        assert_eq!(entities.fetch("a").wait().unwrap().value.1, "one!!");
    }

    #[test]
    fn a_conflict_leaves_the_draft_as_it_was_also_an_unchanged_one() {
        let notes = notes();
        let mut changed = notes.edit("a").wait().unwrap();
        let mut unchanged = notes.edit("a").wait().unwrap();
        changed.push('!');
        let before = changed.base().clone();
        let other = notes.put("a", "other".to_string()).wait().unwrap();

        for draft in [&mut changed, &mut unchanged] {
            let Err(Error::Conflict(conflict)) = draft.commit().wait() else { panic!("the base is stale") };
            assert_eq!(conflict.current::<String>().unwrap(), other);
            assert_eq!(draft.base(), &before);
        }

        assert_eq!(*changed, "one!");
        changed.rebase(other);
        changed.commit().wait().unwrap();
        assert_eq!(*notes.fetch("a").wait().unwrap().value, "one!");
    }

    /// Two copies of one state share its value; the second is based on what the first one wrote.
    #[test]
    fn a_draft_based_on_another_state_is_written_also_where_that_has_the_very_same_value() {
        let notes = notes();
        let mut first = notes.edit("a").wait().unwrap();
        let mut second = notes.edit("a").wait().unwrap();
        first.rebase(notes.put("a", "other".to_string()).wait().unwrap());
        let written = first.commit().wait().unwrap();

        second.rebase(written.clone());
        let saved = second.commit().wait().unwrap();

        assert_ne!(saved.version, written.version);
        assert_eq!(*saved.value, "one");
        assert_eq!(second.commit().wait().unwrap(), saved);
    }

    #[test]
    fn a_draft_of_what_was_deleted_does_not_create_it_again() {
        let notes = notes();
        let mut draft = notes.edit("a").wait().unwrap();
        draft.push('!');
        notes.delete("a", Expected::Present).wait().unwrap();

        let answer = draft.commit().wait();

        assert!(matches!(answer, Err(Error::Conflict(conflict)) if *conflict.kind() == Kind::Deleted));
        assert!(matches!(notes.edit("a").wait(), Err(Error::NotFound(missing)) if missing.is_deleted()));
    }

    #[test]
    fn a_commit_that_is_dropped_leaves_the_draft_as_it_was() {
        let store = Scripted::<String>::losing(&[Fault::None, Fault::HangApplied]);
        let notes = Collection::new(store);
        notes.create("a", "one".to_string()).wait().unwrap();
        let mut draft = notes.edit("a").wait().unwrap();
        draft.push('!');

        drop(draft.commit());

        assert_eq!(*draft.base().value, "one");
        assert_eq!(*draft, "one!");
        assert!(matches!(draft.commit().wait(), Err(Error::Conflict(_))));
    }

    #[test]
    fn debug_shows_the_id_and_the_base_and_no_value() {
        let draft = notes().edit("a").wait().unwrap();

        let base = draft.base().version;
        assert_eq!(format!("{draft:?}"), format!("Draft {{ id: \"a\", base: {base:?}, .. }}"));
    }
}
