//! [`Watching`], a watch as the feed of a store, which may be polled from anywhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use tokio::runtime::Handle;

use super::shared::Shared;
use super::watch::Watch;
use crate::base::wake;
use crate::store::{Batch, Changes, Error, Expired, Feed, Start};

/// Begins a feed.
pub(super) async fn watch(shared: &Arc<Shared>, from: Start) -> Result<Changes<[u8]>, Error> {
    let (start, watch) = Watch::start(shared, from).await?;
    Ok(shared.runtime.changes(start, Watching::new(watch, shared.runtime.handle().clone())))
}

/// The feed: a watch that is idle, or the look for its next batch, which goes on where a dropped reply left it.
struct Watching {
    handle: Handle,
    state: Turn,
    /// Whether the watch waits for etcd to call.
    is_listening: Arc<AtomicBool>,
    expired: Option<Expired>,
}

impl Watching {
    /// The feed of a watch, whose connections live in this runtime.
    fn new(watch: Watch, handle: Handle) -> Self {
        let is_listening = watch.is_listening();
        Self { handle, state: Turn::Idle(Box::new(watch)), is_listening, expired: None }
    }
}

enum Turn {
    Idle(Box<Watch>),
    Looking(Looking),
    /// Only while a look is begun.
    Taken,
}

type Looking = Pin<Box<dyn Future<Output = (Box<Watch>, Result<Batch<[u8]>, Error>)> + Send>>;

impl Feed<[u8]> for Watching {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<[u8]>, Error>> {
        if let Some(expired) = &self.expired {
            return Poll::Ready(Err(expired.clone().into()));
        }
        self.state = match std::mem::replace(&mut self.state, Turn::Taken) {
            Turn::Idle(mut watch) => Turn::Looking(Box::pin(async move {
                let batch = watch.next().await;
                (watch, batch)
            })),
            state => state,
        };
        let Turn::Looking(looking) = &mut self.state else { unreachable!("a look was begun above") };
        let aside =
            Waker::from(Arc::new(Aside { waker: context.waker().clone(), handle: self.handle.clone() }));
        let _entered = self.handle.enter();
        let (watch, batch) = ready!(looking.as_mut().poll(&mut Context::from_waker(&aside)));
        self.state = Turn::Idle(watch);
        if let Err(Error::Expired(expired)) = &batch {
            self.expired = Some(expired.clone());
        }
        Poll::Ready(batch)
    }

    fn is_idle(&self) -> bool {
        self.is_listening.load(Ordering::Relaxed)
    }
}

/// Wakes on a thread where that may block or panic. The one that has the news serves the connection: a program's waker that
/// calls the store there would wait for itself.
struct Aside {
    waker: Waker,
    handle: Handle,
}

impl Wake for Aside {
    fn wake(self: Arc<Self>) {
        let waker = self.waker.clone();
        drop(self.handle.spawn_blocking(move || wake(waker)));
    }
}
