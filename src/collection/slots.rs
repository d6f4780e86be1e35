//! [`Slots`], what a transaction knows of all its ids.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::collection::call::Call;
use crate::collection::draft::Saving;
use crate::collection::slot::{Slot, as_read};
use crate::collection::stamps::Stamps;
use crate::store::{
    Action, Commit, Committed, Condition, Conflict, Error, Expected, Kind, Mismatch, Outcome, Receipt,
    Refusal, Resource, Store, Versioned,
};

/// What a transaction knows of all its ids.
pub(super) struct Slots<T: ?Sized> {
    /// In the order in which the ids were first named.
    slots: Vec<Slot<T>>,
    by_id: HashMap<Arc<str>, usize>,
    /// The values that drafts were saved with, and who is told what becomes of them.
    saved: Vec<(usize, Arc<T>, Tell)>,
    seen: Seen,
}

/// Told how far the transaction is with a draft that it saves.
type Tell = Box<dyn Fn(Saving) + Send + Sync>;

/// What a transaction has read, shared with `transact`, which has to know it where the work fails and the transaction
/// is gone.
pub(super) type Seen = Arc<Mutex<Vec<(Arc<str>, Expected)>>>;

impl<T: Resource + ?Sized> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), by_id: HashMap::new(), saved: Vec::new(), seen: Seen::default() }
    }

    /// The slot of an id, a new one where there is none.
    pub(super) fn of(&mut self, id: &str) -> &mut Slot<T> {
        let at = self.place(id);
        &mut self.slots[at]
    }

    fn place(&mut self, id: &str) -> usize {
        if let Some(at) = self.by_id.get(id) {
            return *at;
        }
        let id: Arc<str> = id.into();
        self.by_id.insert(Arc::clone(&id), self.slots.len());
        self.slots.push(Slot { id, read: None, given: None, action: Action::Check });
        self.slots.len() - 1
    }

    /// The value of an id as the transaction sees it, as far as that is known already.
    pub(super) fn value(&self, id: &str) -> Option<Option<Arc<T>>> {
        self.by_id.get(id).and_then(|at| self.slots[*at].value())
    }

    /// Takes what the first read of an id found.
    pub(super) fn read(&mut self, id: &str, found: Option<Versioned<T>>) -> Result<Option<Arc<T>>, Error> {
        let at = self.place(id);
        let slot = &mut self.slots[at];
        slot.meets(slot.given, &found)?;
        let value = found.as_ref().map(|found| Arc::clone(&found.value));
        self.seen.lock().push((Arc::clone(&slot.id), as_read(&found)));
        slot.read = Some(found);
        Ok(value)
    }

    pub(super) fn check(&mut self, id: &str, condition: Condition) -> Result<(), Error> {
        self.of(id).expect(condition)
    }

    pub(super) fn put(&mut self, id: &str, value: Arc<T>) {
        self.of(id).action = Action::Put(value);
    }

    pub(super) fn create(&mut self, id: &str, value: Arc<T>) -> Result<(), Error> {
        let slot = self.of(id);
        match slot.action {
            Action::Put(_) => return Err(slot.exists()),
            // What stood there before is gone in this transaction, and its expectation was noted.
            Action::Delete => {}
            Action::Check => slot.expect(Expected::Absent.into())?,
        }
        slot.action = Action::Put(value);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: &str) {
        self.of(id).action = Action::Delete;
    }

    /// Expects the base of a draft. Refuses one that would go over what the transaction has written.
    pub(super) fn expect_base(&mut self, id: &str, base: Condition) -> Result<(), Error> {
        let slot = self.of(id);
        if !matches!(slot.action, Action::Check) {
            return Err(Refusal::Duplicate { id: id.into() }.into());
        }
        slot.expect(base)
    }

    /// Puts a draft's value, and has `tell` told what becomes of it.
    pub(super) fn save(&mut self, id: &str, value: Arc<T>, tell: impl Fn(Saving) + Send + Sync + 'static) {
        let at = self.place(id);
        self.slots[at].action = Action::Put(Arc::clone(&value));
        self.saved.push((at, value, Box::new(tell)));
    }

    /// Sends everything as one commit, if there is anything to be sent.
    pub(super) async fn send(
        &mut self,
        store: &dyn Store<T>,
        stamps: &Stamps,
        call: &mut Call<'_>,
    ) -> Result<Committed, Error> {
        if let Some(committed) = self.stands_as_read() {
            return Ok(committed);
        }
        let commit: Commit<'_, T> = self.slots.iter().map(Slot::entry).collect();
        // What was saved may have been written over, or deleted, later in the transaction.
        let slots = &self.slots;
        let stands = |at: usize, value: &Arc<T>| matches!(&slots[at].action, Action::Put(last) if Arc::ptr_eq(last, value));
        self.saved.retain(|(at, value, _)| stands(*at, value));
        // So it stays where the answer is never taken.
        self.saved.iter().for_each(|(_, _, tell)| tell(Saving::Sent));
        let answer = call.commit(store, stamps, &commit, None).await;
        let committed = match answer.and_then(|committed| Ok(committed.complete(self.slots.len())?)) {
            Ok(committed) => committed,
            Err(error) => {
                if error.outcome() != Outcome::Unknown {
                    self.saved.iter().for_each(|(_, _, tell)| tell(Saving::Refused));
                }
                return Err(error);
            }
        };
        for (at, _, tell) in self.saved.drain(..) {
            if let Some(version) = committed.receipt(at)?.version {
                tell(Saving::Committed(version));
            }
        }
        Ok(committed)
    }

    /// The answer that takes no commit: nothing is to be written, and no two reads have to hold at one instant.
    fn stands_as_read(&self) -> Option<Committed> {
        match &self.slots[..] {
            [] => Some(Committed::from_iter([])),
            [Slot { read: Some(read), given: None, action: Action::Check, .. }] => {
                let version = read.as_ref().map(|read| read.version);
                Some(Committed::from_iter([Receipt { version, replaced: version }]))
            }
            _ => None,
        }
    }

    pub(super) fn writes(&self) -> bool {
        self.slots.iter().any(|slot| !matches!(slot.action, Action::Check))
    }

    /// Whether the work can come to another end where it reads again: what failed was read, and what the caller expects on
    /// his own account still holds. To read again mends no lock and no rule; but beside a race that was lost, a rule was
    /// decided on what was computed from a value that is gone.
    pub(super) fn may_mend(&self, conflict: &Conflict, full_id: impl Fn(&Mismatch) -> String) -> bool {
        let mut races =
            conflict.mismatches().iter().filter(|mismatch| !mismatch.kind().is_refusal()).peekable();
        races.peek().is_some() && races.all(|mismatch| self.may_mend_one(&full_id(mismatch), mismatch))
    }

    fn may_mend_one(&self, id: &str, mismatch: &Mismatch) -> bool {
        let there = match mismatch.kind() {
            Kind::Missing | Kind::Deleted => None,
            _ => mismatch.found(),
        };
        let slot = self.by_id.get(id).map(|at| &self.slots[*at]);
        slot.is_some_and(|slot| {
            slot.read.is_some() && slot.given.is_none_or(|given| given.expected.admits(there))
        })
    }

    pub(super) fn seen(&self) -> Seen {
        Arc::clone(&self.seen)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot<T>> {
        self.slots.iter()
    }
}

/// Whether what a transaction has read was changed since, or never was there at one instant: the conflict of a commit that
/// checks it.
pub(super) async fn changed_since<T: Resource + ?Sized>(
    seen: &Seen,
    store: &dyn Store<T>,
    stamps: &Stamps,
    call: &mut Call<'_>,
) -> Option<Conflict> {
    let seen = std::mem::take(&mut *seen.lock());
    let checks: Commit<'_, T> = seen.iter().map(|(id, read)| crate::store::Entry::check(id, *read)).collect();
    let checked = match checks.entries() {
        [] => return None,
        _ => call.commit(store, stamps, &checks, None).await,
    };
    match checked {
        Err(Error::Conflict(conflict)) => Some(conflict),
        _ => None,
    }
}
