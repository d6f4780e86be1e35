//! [`Follower`], which keeps a cache as new as the feed of its store.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::shelf::Shelf;
use crate::feed::{Changes, Start};
use crate::reply::Reply;
use crate::resource::Resource;
use crate::store::Store;

/// How many batches one `get` takes from the feed at most; past that it asks the store.
const BATCHES: usize = 256;

/// Keeps a cache as new as the feed of its store, with no thread of its own: whoever reads looks first whether the feed
/// has called, and if so takes from it what there is.
pub(super) struct Follower<T: Resource + ?Sized> {
    bell: Arc<Bell>,
    feed: Mutex<Feed<T>>,
}

/// The waker that the feed calls.
struct Bell(AtomicU8);

/// The feed has something that was not taken from it.
const NEWS: u8 = 0;
/// Somebody is taking.
const TAKING: u8 = 1;
/// All was taken.
const SILENT: u8 = 2;

enum Feed<T: ?Sized> {
    Away,
    Coming(Reply<'static, Changes<T>>),
    Here(Changes<T>),
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(NEWS, Ordering::SeqCst);
    }
}

impl<T: Resource + ?Sized> Default for Follower<T> {
    fn default() -> Self {
        let bell = Arc::new(Bell(AtomicU8::new(NEWS)));
        Self { bell, feed: Mutex::new(Feed::Away) }
    }
}

impl<T: Resource + ?Sized> Follower<T> {
    /// Whether the cache has all that was announced.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        self.bell.0.load(Ordering::SeqCst) == SILENT
    }

    /// Takes from the feed what there is; whether the cache has all of it now. Waits for nobody: while another reader
    /// is at it, or the feed itself reads through the cache, the store has to be asked.
    pub(super) fn catch_up<S: Store<T>>(&self, store: &Arc<S>, shelf: &Shelf<T>) -> bool {
        let Some(mut feed) = self.feed.try_lock() else { return false };
        let waker = Waker::from(Arc::clone(&self.bell));
        let mut context = Context::from_waker(&waker);
        for _ in 0..BATCHES {
            self.bell.0.store(TAKING, Ordering::SeqCst);
            match &mut *feed {
                Feed::Away => {
                    let store = Arc::clone(store);
                    *feed = Feed::Coming(Reply::pending(async move { store.watch(Start::Now).await }));
                }
                Feed::Coming(reply) => match Pin::new(reply).poll(&mut context) {
                    Poll::Ready(Ok(changes)) => {
                        // What was read before may have changed before the feed began.
                        shelf.clear();
                        *feed = Feed::Here(changes);
                    }
                    Poll::Ready(Err(_)) => {
                        *feed = Feed::Away;
                        break;
                    }
                    Poll::Pending => break,
                },
                Feed::Here(changes) => match changes.poll_next(&mut context) {
                    Poll::Ready(Ok(batch)) => batch.changes.iter().for_each(|change| shelf.forget(change)),
                    Poll::Ready(Err(_)) => *feed = Feed::Away,
                    // What was announced since the look has rung again.
                    Poll::Pending => {
                        let taken =
                            self.bell.0.compare_exchange(TAKING, SILENT, Ordering::SeqCst, Ordering::SeqCst);
                        if taken.is_ok() {
                            return true;
                        }
                    }
                },
            }
        }
        self.bell.0.store(NEWS, Ordering::SeqCst);
        false
    }
}
