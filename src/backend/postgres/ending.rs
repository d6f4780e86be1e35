//! [`Ending`], what becomes of connections whose statements nobody waits for.

use std::time::Duration;

use deadpool_postgres::{Object, Pool, Timeouts};
use tokio::pin;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, NoTls};

/// How long a statement may go on whose caller went away, before it is cancelled.
const GRACE: Duration = Duration::from_millis(200);

/// How long a server may take to end a statement that was cancelled.
const DRAIN: Duration = Duration::from_secs(2);

/// How long the place of a statement is kept that can't be cancelled.
const HELD: Duration = Duration::from_secs(10);

/// How long until a server is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// The last statement of a connection: with its answer the server has let go of it.
const LAST: &str = "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())";

/// How long an idle connection may take to answer that it lives.
const SOUND: Duration = Duration::from_millis(500);

/// What becomes of connections whose statements nobody waits for.
///
/// A statement goes on in the server when its caller is gone, and waits there for the locks of others: were its connection
/// only closed, and another made, the server would soon have no room left for anybody. So a read is cancelled, a write ends by
/// its own patience, and the place of either in the pool is not free before that.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) handle: Handle,
    /// Whether the connections are our own, and go to the server directly. A proxy that pools transactions may end altogether
    /// where somebody cancels (PgBouncer 1.18), and connections of others are not ours to end.
    pub(super) own: bool,
    #[cfg(feature = "postgres-tls")]
    pub(super) tls: Option<super::tls::Tls>,
}

impl Ending {
    /// Of a call that was dropped. What is answered soon keeps its connection.
    pub(super) fn dropped(&self, connection: Object, cancels: bool) {
        let ending = self.clone();
        self.handle.spawn(async move {
            // Answered after everything that was sent before it.
            let answered = timeout(GRACE, connection.simple_query("")).await;
            if !matches!(answered, Ok(Ok(_))) {
                ending.end(connection, cancels).await;
            }
        });
    }

    /// Of a call whose answer did not come in its time, or whose connection broke.
    pub(super) fn given_up(&self, connection: Object, cancels: bool) {
        let ending = self.clone();
        self.handle.spawn(async move { ending.end(connection, cancels).await });
    }

    async fn end(&self, connection: Object, cancels: bool) {
        if !self.own || !cancels {
            // What writes gives up waiting for locks before its caller does.
            let longest = if self.own { DRAIN } else { HELD };
            if !matches!(timeout(longest, connection.simple_query("")).await, Ok(Ok(_))) {
                drop(Object::take(connection));
            }
            return;
        }
        let _ = timeout(DRAIN, self.cancel_and_close(&connection)).await;
        drop(Object::take(connection));
    }

    /// Has the server end what it is at, and then let go of the connection. It can't serve another call: a cancellation may
    /// come late, and would meet that.
    async fn cancel_and_close(&self, connection: &Object) {
        let token = connection.cancel_token();
        // A server that can't be asked to ends a read by its own `lock_timeout`. One may not know yet that a connection broke.
        let _ = self.cancel(token.clone()).await;
        loop {
            let last = connection.simple_query(LAST);
            pin!(last);
            let answer = loop {
                match timeout(AGAIN, &mut last).await {
                    Ok(answer) => break answer,
                    Err(_) => _ = self.cancel(token.clone()).await,
                }
            };
            // One that the cancellation met itself is sent again.
            if !answer.is_err_and(|error| error.code() == Some(&SqlState::QUERY_CANCELED)) {
                return;
            }
        }
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
        if !self.own {
            return;
        }
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
