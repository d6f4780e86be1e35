//! [`Own`], the changes of one collection among those of a database.

use std::marker::PhantomData;
use std::task::{Context, Poll, ready};

use crate::collection::database::name::Name;
use crate::collection::database::opaque::{Opaque, downcast};
use crate::store::{Batch, Change, ChangeKind, Changes, Cursor, Error, Feed, Resource};

/// How many batches of others are passed over in one poll, before others get their turn on the thread.
const STRIDE: usize = 256;

/// The changes of one collection: those of others are left out, and batches that have no other.
pub(super) struct Own<T: ?Sized> {
    changes: Changes<T>,
    name: Name,
    /// Whether the last poll ended only to let others have their turn.
    resting: bool,
}

impl<T: Resource + ?Sized> Own<T> {
    pub(super) fn of(changes: Changes<T>, name: &Name) -> Changes<T> {
        Changes::new(changes.cursor().clone(), Self { changes, name: name.clone(), resting: false })
    }
}

impl<T: Resource + ?Sized> Feed<T> for Own<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        self.resting = false;
        for _ in 0..STRIDE {
            let Batch { cursor, changes } = ready!(self.changes.poll_next(context))?;
            let own = |change: Change<T>| {
                let id = self.name.id_of(&change.id)?.into();
                Some(Change { id, ..change })
            };
            let changes: Vec<_> = changes.into_iter().filter_map(own).collect();
            if !changes.is_empty() {
                return Poll::Ready(Ok(Batch { cursor, changes }));
            }
        }
        self.resting = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_idle(&self) -> bool {
        !self.resting && self.changes.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        Some(self.changes.cursor())
    }
}

/// The same changes, with their type.
pub(super) struct Typed<T> {
    changes: Changes<Opaque>,
    values: PhantomData<fn() -> T>,
}

impl<T: Resource> Typed<T> {
    pub(super) fn of(changes: Changes<Opaque>) -> Changes<T> {
        Changes::new(changes.cursor().clone(), Self { changes, values: PhantomData })
    }
}

impl<T: Resource> Feed<T> for Typed<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        let Batch { cursor, changes } = ready!(self.changes.poll_next(context))?;
        let typed = |Change { id, version, kind }| {
            let kind = match kind {
                ChangeKind::Put(value) => ChangeKind::Put(value.and_then(downcast)),
                ChangeKind::Delete => ChangeKind::Delete,
            };
            Change { id, version, kind }
        };
        Poll::Ready(Ok(Batch { cursor, changes: changes.into_iter().map(typed).collect() }))
    }

    fn is_idle(&self) -> bool {
        self.changes.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        Some(self.changes.cursor())
    }
}
