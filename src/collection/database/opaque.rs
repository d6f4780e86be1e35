//! [`Opaque`], a value whose type only its collection knows.

use std::any::Any;
use std::sync::Arc;

use crate::store::{Action, Entry, Refusal, Resource, Versioned};

/// A value whose type only its collection knows.
pub(super) type Opaque = dyn Any + Send + Sync;

/// The value, with its type forgotten: nothing is copied.
pub(super) fn pack<T: Resource>(found: Versioned<T>) -> Versioned<Opaque> {
    Versioned { version: found.version, value: found.value }
}

/// The value again, or `None` where it is of another type.
pub(super) fn unpack<T: Resource>(found: Versioned<Opaque>) -> Option<Versioned<T>> {
    Some(Versioned { version: found.version, value: downcast(found.value)? })
}

pub(super) fn downcast<T: Resource>(value: Arc<Opaque>) -> Option<Arc<T>> {
    value.downcast().ok()
}

/// A value that is not what its collection holds. Nobody but a collection of that type can have put it.
#[derive(Debug, thiserror::Error)]
#[error("it is of another type than its collection")]
pub(super) struct OfAnotherType;

/// The entry as the store below knows it.
#[inline]
pub(super) fn packed<'f, T: Resource>(entry: Entry<'_, T>, full_id: &'f str) -> Entry<'f, Opaque> {
    let action = match entry.action {
        Action::Check => Action::Check,
        Action::Put(value) => Action::Put(value as Arc<Opaque>),
        Action::Delete => Action::Delete,
    };
    Entry { id: full_id, condition: entry.condition, action }
}

/// The entry with its type.
pub(super) fn typed<T: Resource>(entry: Entry<'_, Opaque>) -> Result<Entry<'_, T>, Refusal> {
    let Entry { id, condition, action } = entry;
    let action = match action {
        Action::Check => Action::Check,
        Action::Put(value) => match downcast(value) {
            Some(value) => Action::Put(value),
            None => return Err(Refusal::Encode { id: id.into(), source: OfAnotherType.into() }),
        },
        Action::Delete => Action::Delete,
    };
    Ok(Entry { id, condition, action })
}
