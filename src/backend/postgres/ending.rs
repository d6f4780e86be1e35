//! [`Ending`], what becomes of connections whose statements nobody waits for.

use std::time::Duration;

use deadpool_postgres::{Object, Pool, Timeouts};
use tokio::pin;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, NoTls};

/// How long a statement may go on whose caller went away, before it is cancelled.
const GRACE: Duration = Duration::from_millis(200);

/// How long a server may take to end a statement that was cancelled.
const DRAIN: Duration = Duration::from_secs(2);

/// How long the place of a statement is kept that can't be cancelled.
const HELD: Duration = Duration::from_secs(30);

/// How long until a server is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// The last statement of a connection: with its answer the server has let go of it.
const LAST: &str = "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";

/// How long an idle connection may take to answer that it lives.
const SOUND: Duration = Duration::from_millis(500);

/// What becomes of connections whose statements nobody waits for.
///
/// A statement goes on in the server when its caller is gone, and waits there for the locks of others: were its connection
/// only closed, and another made, the server would soon have no room left for anybody. So it is cancelled, and its place in
/// the pool is not free before that.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) handle: Handle,
    /// Whether statements are cancelled. A proxy that pools transactions may end altogether where somebody does (PgBouncer
    /// 1.18), so behind one their end is waited for.
    pub(super) cancels: bool,
    #[cfg(feature = "postgres-tls")]
    pub(super) tls: Option<super::tls::Tls>,
}

impl Ending {
    /// Of a call that was dropped. What is answered soon keeps its connection.
    pub(super) fn dropped(&self, connection: Object) {
        let ending = self.clone();
        self.handle.spawn(async move {
            // Answered after everything that was sent before it.
            let answered = timeout(GRACE, connection.simple_query("")).await;
            if !matches!(answered, Ok(Ok(_))) {
                ending.end(connection).await;
            }
        });
    }

    /// Of a call whose answer did not come in its time, or whose connection broke.
    pub(super) fn given_up(&self, connection: Object) {
        let ending = self.clone();
        self.handle.spawn(async move { ending.end(connection).await });
    }

    /// Has the server end what it is at, and closes the connection. It can't serve another call: a cancellation may come
    /// late, and would meet that.
    async fn end(&self, connection: Object) {
        if !self.cancels {
            if !matches!(timeout(HELD, connection.simple_query("")).await, Ok(Ok(_))) {
                drop(Object::take(connection));
            }
            return;
        }
        let token = connection.cancel_token();
        let ended = timeout(DRAIN, async {
            // One that the cancellation meets itself is sent again.
            while !connection.is_closed() {
                let last = connection.simple_query(LAST);
                pin!(last);
                let _ = self.cancel(token.clone()).await;
                // A server that can't be asked to ends the statement by its own `lock_timeout`.
                while timeout(AGAIN, &mut last).await.is_err() {
                    let _ = self.cancel(token.clone()).await;
                }
            }
        });
        let _ = ended.await;
        drop(Object::take(connection));
    }

    async fn cancel(&self, token: CancelToken) -> Result<(), tokio_postgres::Error> {
        #[cfg(feature = "postgres-tls")]
        if let Some(tls) = &self.tls {
            return token.cancel_query(tls.connector()).await;
        }
        token.cancel_query(NoTls).await
    }

    /// Asks all connections that are idle whether they live: what one of them could not reach, the others may not either,
    /// and each would cost a call its time.
    pub(super) fn sound(&self, pool: &Pool) {
        let none = Timeouts { wait: Some(Duration::ZERO), create: Some(Duration::ZERO), recycle: None };
        for _ in 0..pool.status().available {
            let pool = pool.clone();
            self.handle.spawn(async move {
                let Ok(connection) = pool.timeout_get(&none).await else { return };
                if !matches!(timeout(SOUND, connection.simple_query("")).await, Ok(Ok(_))) {
                    drop(Object::take(connection));
                }
            });
        }
    }
}
