//! [`Seen`], the state that a change is decided on.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::{Resource, Versioned};

/// The state that a change is decided on, for a closure that is given its value alone.
pub(super) struct Seen<T: Resource>(Arc<Mutex<Option<Versioned<T>>>>);

impl<T: Resource> Seen<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    pub(super) fn note(&self, now: &Versioned<T>) {
        let before = self.0.lock().replace(now.clone());
        // Not under the lock, where it is the last handle of the value.
        drop(before);
    }

    pub(super) fn get(&self) -> Option<Versioned<T>> {
        self.0.lock().clone()
    }
}

// Hand-written: the derived impl would ask for a value that can be cloned.
impl<T: Resource> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
