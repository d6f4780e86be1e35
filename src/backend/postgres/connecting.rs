//! [`Connecting`], a connection on its way to a call, and [`Ahead`], what is prepared on it before the call has it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::join;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ending::Ending;
use super::sql::Statement;
use super::trouble::{Cause, Trouble};

/// A connection on its way to a call. It goes on behind a call that has no time for it, or that is dropped: the next one
/// finds the connection made. So deadlines may be shorter than it takes to connect.
pub(super) struct Connecting {
    way: Option<Way>,
    behind: Behind,
}

type Way = Pin<Box<dyn Future<Output = Result<Object, Trouble>> + Send>>;

/// Where connections go on whose calls have ended: as many at once as the pool may have.
#[derive(Clone)]
pub(super) struct Behind {
    handle: Handle,
    room: Arc<Semaphore>,
}

impl Behind {
    pub(super) fn new(handle: Handle, pool: &Pool) -> Self {
        Self { handle, room: Arc::new(Semaphore::new(pool.status().max_size)) }
    }
}

impl Connecting {
    /// Begins to obtain a connection, from the pool or a new one, which may take its own `longest`.
    pub(super) fn new(
        pool: &Pool,
        ahead: &Arc<Ahead>,
        longest: Duration,
        behind: &Behind,
        ending: &Ending,
    ) -> Self {
        let (pool, ahead, ending) = (pool.clone(), Arc::clone(ahead), ending.clone());
        let way = async move {
            let obtained = timeout(longest, async {
                let connection = pool.get().await.map_err(|error| Trouble::of_pool(&error))?;
                let mut preparing = Preparing { connection: Some(connection), ending };
                if let Some(connection) = &preparing.connection {
                    ahead.prepare(connection).await;
                }
                preparing.connection.take().ok_or_else(|| Trouble::NotSent(Cause::new("no connection")))
            });
            let late = |_| Err(Trouble::NotSent(Cause::new(format!("no connection within {longest:?}"))));
            obtained.await.unwrap_or_else(late)
        };
        Self { way: Some(Box::pin(way)), behind: behind.clone() }
    }
}

impl Future for Connecting {
    type Output = Result<Object, Trouble>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let way = self.way.as_mut().expect("nobody polls what has ended");
        let obtained = way.as_mut().poll(context);
        if obtained.is_ready() {
            self.way = None;
        }
        obtained
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        let Some(way) = self.way.take() else { return };
        if let Ok(room) = Arc::clone(&self.behind.room).try_acquire_owned() {
            self.behind.handle.spawn(async move {
                // What is obtained goes back to the pool.
                drop(way.await);
                drop(room);
            });
        }
    }
}

/// A connection on which statements are prepared. That waits for tables that somebody locked, and may be dropped meanwhile.
struct Preparing {
    connection: Option<Object>,
    ending: Ending,
}

impl Drop for Preparing {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.ending.dropped(connection, true);
        }
    }
}

/// The statements that are prepared on a connection before a call has it, so that none of them takes the time of a call.
#[derive(Default)]
pub(super) struct Ahead(OnceLock<[(String, Vec<tokio_postgres::types::Type>); 3]>);

impl Ahead {
    /// From now on, these.
    pub(super) fn set(&self, statements: [&Statement; 3]) {
        let _ = self.0.set(statements.map(|statement| (statement.text.clone(), statement.types.clone())));
    }

    async fn prepare(&self, connection: &Object) {
        let Some([first, second, third]) = self.0.get() else { return };
        if connection.statement_cache.size() > 0 {
            return;
        }
        let prepare = |statement: &'_ (String, Vec<_>)| {
            let (text, types) = (statement.0.clone(), statement.1.clone());
            async move { connection.prepare_typed_cached(&text, &types).await }
        };
        // One that can't be prepared is told to the call that sends it.
        let _ = join!(prepare(first), prepare(second), prepare(third));
    }
}
