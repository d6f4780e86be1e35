//! [`Follower`], which keeps a cache as new as the feed of its store, and [`Told`], a feed that tells a cache.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::shelf::Shelf;
use crate::base::{AtomicU64, Mutex};
use crate::store::{Batch, Changes, Cursor, Error, Feed, Refusal, Reply, Resource, Start, Store};

use std::sync::atomic::Ordering::SeqCst;

/// How many batches one `get` takes from the feed at most; past that it asks the store.
const BATCHES: usize = 256;

/// Keeps a cache as new as the feed of its store, with no thread of its own: whoever reads looks first whether the feed
/// has called, and if so takes from it what there is.
pub(super) struct Follower<T: Resource + ?Sized> {
    bell: Arc<Bell>,
    /// `None` while somebody takes from it.
    connection: Mutex<Option<Connection<T>>>,
}

/// The waker that the feed calls.
struct Bell(AtomicU64);

/// The feed has something that was not taken from it.
const NEWS: u64 = 0;
/// Somebody is taking.
const TAKING: u64 = 1;
/// All was taken.
const SILENT: u64 = 2;

/// Whether the feed is here.
enum Connection<T: ?Sized> {
    Away,
    Coming(Reply<'static, Changes<T>>),
    Here(Changes<T>),
    /// The store has none.
    Nowhere,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(NEWS, SeqCst);
    }
}

impl<T: Resource + ?Sized> Default for Follower<T> {
    fn default() -> Self {
        let bell = Arc::new(Bell(AtomicU64::new(NEWS)));
        Self { bell, connection: Mutex::new(Some(Connection::Away)) }
    }
}

impl<T: Resource + ?Sized> Follower<T> {
    /// Whether the cache has all that was announced.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.bell.0.load(SeqCst) == SILENT
    }

    /// Takes from the feed what there is; whether the cache has all of it now. Waits for nobody: while another reader
    /// is at it, or the feed itself reads through the cache, the store has to be asked.
    pub(super) fn catch_up<S: Store<T>>(&self, store: &Arc<S>, shelf: &Shelf<T>) -> bool {
        // Taken out, so that neither the store nor the `Drop` of a value runs under the lock.
        let Some(mut connection) = self.connection.lock().take() else { return false };
        let mut taken = Taken { follower: self, connection: Connection::Away };
        let caught_up = self.take(&mut connection, store, shelf);
        taken.connection = connection;
        caught_up
    }

    fn take<S: Store<T>>(&self, connection: &mut Connection<T>, store: &Arc<S>, shelf: &Shelf<T>) -> bool {
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        for _ in 0..BATCHES {
            self.bell.0.store(TAKING, SeqCst);
            match connection {
                Connection::Away => {
                    let store = Arc::clone(store);
                    *connection =
                        Connection::Coming(Reply::pending(async move { store.watch(Start::Now).await }));
                }
                Connection::Coming(reply) => match Pin::new(reply).poll(&mut context) {
                    Poll::Ready(Ok(changes)) => {
                        // What was read before may have changed before the feed began.
                        shelf.clear();
                        *connection = Connection::Here(changes);
                    }
                    Poll::Ready(Err(error)) => {
                        *connection = match error {
                            Error::Refused(Refusal::Unsupported { .. }) => Connection::Nowhere,
                            _ => Connection::Away,
                        };
                        break;
                    }
                    Poll::Pending => break,
                },
                Connection::Nowhere => break,
                Connection::Here(changes) => match changes.poll_next(&mut context) {
                    Poll::Ready(Ok(batch)) => tell(shelf, &batch),
                    Poll::Ready(Err(_)) => *connection = Connection::Away,
                    // It still asks: what it may find by then has to be asked of the store.
                    Poll::Pending if !changes.is_idle() => break,
                    Poll::Pending => {
                        // What was announced since the look has rung again.
                        if self.bell.0.compare_exchange(TAKING, SILENT, SeqCst, SeqCst).is_ok() {
                            return true;
                        }
                    }
                },
            }
        }
        // The next reader goes on.
        self.bell.0.store(NEWS, SeqCst);
        false
    }
}

/// The connection of a follower while somebody takes from the feed. Where the program's own code panics meanwhile, as the
/// `Drop` of a value may, nobody knows what the shelf was told: the feed begins anew, which clears the shelf.
struct Taken<'a, T: Resource + ?Sized> {
    follower: &'a Follower<T>,
    connection: Connection<T>,
}

impl<T: Resource + ?Sized> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        let connection = std::mem::replace(&mut self.connection, Connection::Away);
        *self.follower.connection.lock() = Some(connection);
    }
}

/// A feed on its way to a watcher: the cache hears of a change before the watcher does.
pub(super) struct Told<T: Resource + ?Sized> {
    changes: Changes<T>,
    shelf: Arc<Shelf<T>>,
    /// Not delivered yet: the `Drop` of a value that the shelf lets go of may panic, and must not make a gap.
    batch: Option<Batch<T>>,
}

impl<T: Resource + ?Sized> Told<T> {
    pub(super) fn new(changes: Changes<T>, shelf: Arc<Shelf<T>>) -> Self {
        Self { changes, shelf, batch: None }
    }
}

impl<T: Resource + ?Sized> Feed<T> for Told<T> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<T>, Error>> {
        if self.batch.is_none() {
            match std::task::ready!(self.changes.poll_next(context)) {
                Ok(batch) => self.batch = Some(batch),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.batch.iter().for_each(|batch| tell(&self.shelf, batch));
        Poll::Ready(Ok(self.batch.take().expect("it was put there above")))
    }

    fn is_idle(&self) -> bool {
        self.batch.is_none() && self.changes.is_idle()
    }

    fn passed(&self) -> Option<&Cursor> {
        self.batch.is_none().then(|| self.changes.cursor())
    }
}

fn tell<T: Resource + ?Sized>(shelf: &Shelf<T>, batch: &Batch<T>) {
    for change in &batch.changes {
        shelf.told(&change.id, (!change.is_delete()).then_some(change.version));
    }
}
