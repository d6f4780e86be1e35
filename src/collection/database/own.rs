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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::memory::Memory;
    use crate::store::{Commit, Entry, Expected, Start, Store};

    #[test]
    fn a_feed_that_rests_among_the_changes_of_others_is_not_idle_and_loses_nothing() {
        let memory = Memory::<u64>::new();
        let put =
            |id| drop(memory.commit(Commit::one(Entry::put(id, Expected::Any, 1.into()))).wait().unwrap());
        let began = memory.watch(Start::Now).wait().unwrap();
        let mut own = Own::of(began, &Name::new("own").unwrap());
        let start = own.cursor().clone();
        (0..=STRIDE).for_each(|_| put("other/a"));
        put("own/a");

        let mut context = Context::from_waker(Waker::noop());
        assert!(own.poll_next(&mut context).is_pending());
        assert!(!own.is_idle(), "there is more");
        assert_ne!(own.cursor(), &start, "the others are passed");
        let Poll::Ready(Ok(batch)) = own.poll_next(&mut context) else { panic!("its own change is next") };

        assert_eq!(&*batch.changes[0].id, "a");
        assert!(own.poll_next(&mut context).is_pending() && own.is_idle());
    }
}
