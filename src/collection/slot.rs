//! [`Slot`], what a transaction knows of one id.

use std::sync::Arc;

use crate::store::{
    Action, Condition, Conflict, Entry, Error, Expected, Found, Intent, Mismatch, Origin, Refusal, Resource,
    Versioned,
};

/// What a transaction knows of one id.
pub(super) struct Slot<T: ?Sized> {
    pub(super) id: Arc<str>,
    /// What the first read found.
    pub(super) read: Option<Option<Versioned<T>>>,
    /// What the caller expects, where it said so.
    pub(super) given: Option<Condition>,
    pub(super) action: Action<T>,
}

impl<T: Resource + ?Sized> Slot<T> {
    /// The value as the transaction sees it, as far as that is known already.
    pub(super) fn value(&self) -> Option<Option<Arc<T>>> {
        match &self.action {
            Action::Put(value) => Some(Some(Arc::clone(value))),
            Action::Delete => Some(None),
            Action::Check => self.read.as_ref().map(|read| read.as_ref().map(|read| Arc::clone(&read.value))),
        }
    }

    pub(super) fn entry(&self) -> Entry<'_, T> {
        let read = self.read.as_ref().map(as_read);
        let given = self.given.unwrap_or(Expected::Any.into());
        // What was read met what was given, and says more.
        let condition = Condition { expected: read.unwrap_or(given.expected), origin: given.origin };
        Entry { id: &self.id, condition, action: self.action.clone() }
    }

    /// Takes one more expectation: the stricter of two that can both hold.
    pub(super) fn expect(&mut self, wanted: Condition) -> Result<(), Error> {
        if let Some(read) = &self.read {
            self.meets(Some(wanted), read)?;
        }
        let both = match self.given {
            Some(given) => Condition {
                expected: stricter(given.expected, wanted.expected)
                    .ok_or_else(|| Refusal::Duplicate { id: (&*self.id).into() })?,
                // As the status speaks of the header where one failed.
                origin: if given.origin == Origin::Protocol { Origin::Protocol } else { wanted.origin },
            },
            None => wanted,
        };
        self.given = Some(both);
        Ok(())
    }

    pub(super) fn meets(&self, given: Option<Condition>, found: &Option<Versioned<T>>) -> Result<(), Error> {
        let Some(condition) = given else { return Ok(()) };
        let found = found.clone().map_or(Found::Nothing, Found::Value);
        let entry = Entry { id: &self.id, condition, action: self.action.clone() };
        entry.judge(found).map_err(|mismatch| {
            // What will be done there is not known yet, and may be a put: then it is the header that failed.
            let by_header = condition.origin == Origin::Protocol && mismatch.intent() == Intent::Check;
            let mismatch = if by_header { mismatch.with_intent(Intent::Put) } else { mismatch };
            Conflict::from(mismatch).into()
        })
    }

    /// The refusal to create what the transaction itself has written.
    pub(super) fn exists(&self) -> Error {
        let absent = Expected::Absent.into();
        Conflict::from(Mismatch::new::<T>(&self.id, absent, Intent::Put, Found::Nothing)).into()
    }
}

/// What holds as long as a read would find the same.
pub(super) fn as_read<T: ?Sized>(read: &Option<Versioned<T>>) -> Expected {
    read.as_ref().map_or(Expected::Absent, Expected::from)
}

/// The one of two expectations that says more, if both can hold.
pub(super) fn stricter(one: Expected, other: Expected) -> Option<Expected> {
    match (one, other) {
        (Expected::Any, said) | (said, Expected::Any) => Some(said),
        (Expected::Present, said @ Expected::Version(_))
        | (said @ Expected::Version(_), Expected::Present) => Some(said),
        (one, other) => (one == other).then_some(one),
    }
}
