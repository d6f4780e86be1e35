//! [`Engine`], the connections of a store, and [`Session`], one of them while a call has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Object, Pool};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::alarm::Alarms;
use super::connecting::{Ahead, Behind, Connecting};
use super::ending::Ending;
use super::options::Options;
use super::sql::Statement;
use super::trouble::{Cause, Trouble};

/// How often a statement that could not be sent is tried again.
const UNSENT: u32 = 2;

/// A parameter of a statement.
pub(super) type Parameter<'p> = &'p (dyn ToSql + Sync);

/// The connections of a store.
pub(super) struct Engine {
    pool: Pool,
    /// Whether statements are prepared once a connection, which a proxy that pools transactions gets mixed up.
    prepares: bool,
    connecting: Duration,
    ahead: Arc<Ahead>,
    behind: Behind,
    ending: Ending,
    alarms: Alarms,
}

/// What is left of the time that a call has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    end: Instant,
}

impl Budget {
    pub(super) fn new(longest: Duration) -> Self {
        Self { end: Instant::now() + longest }
    }

    pub(super) fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// For one try: half of what is left, so that a connection that went silent costs no more than that.
    pub(super) fn share(self) -> Duration {
        let left = self.left();
        if left > Duration::from_millis(500) { left / 2 } else { left }
    }

    /// Waits a little before another try; `false` where there is no time for one.
    pub(super) async fn pause(self, tried: u32) -> bool {
        let wait = Duration::from_millis(5 << tried.min(6));
        if wait >= self.left() {
            return false;
        }
        sleep(wait).await;
        true
    }
}

impl Engine {
    /// `own` where the connections are of nobody else, and go to the server directly.
    pub(super) fn new(options: &Options, pool: Pool, own: bool, handle: Handle) -> Self {
        let behind = Behind::new(handle.clone(), &pool);
        let ending = Ending {
            handle,
            own,
            #[cfg(feature = "postgres-tls")]
            tls: options.tls.clone(),
        };
        Self {
            pool,
            prepares: options.prepares,
            connecting: options.deadlines.connect,
            ahead: Arc::default(),
            behind,
            ending,
            alarms: Alarms::default(),
        }
    }

    /// Has these statements prepared on each connection before a call has it.
    pub(super) fn prepare_ahead(&self, statements: [&Statement; 3]) {
        if self.prepares {
            self.ahead.set(statements);
        }
    }

    /// Sends a statement that may be sent any number of times, until it is answered or the time is over.
    pub(super) async fn ask(
        &self,
        budget: Budget,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Trouble> {
        let (mut tried, mut unsent) = (0, 0);
        loop {
            let trouble = match self.send(budget.share(), statement, parameters).await {
                Ok(rows) => return Ok(rows),
                Err(trouble) => trouble,
            };
            let again = match &trouble {
                Trouble::NotSent(_) => {
                    unsent += 1;
                    unsent <= UNSENT
                }
                Trouble::Starting(_) | Trouble::Lost(_) => true,
                Trouble::Refused(..) => trouble.is_collision() || trouble.is_wait(),
            };
            if !again || !budget.pause(tried).await {
                return Err(trouble);
            }
            tried += 1;
        }
    }

    /// Sends a statement once.
    pub(super) async fn send(
        &self,
        patience: Duration,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Trouble> {
        let began = Instant::now();
        let mut session = self.session(patience).await?;
        let left = patience.saturating_sub(began.elapsed());
        // The time of the server for locks is counted from the whole of it.
        if left < patience / 4 {
            return Err(Trouble::NotSent(Cause::new("a connection came too late")));
        }
        session.query(self.prepares, left, statement, parameters).await
    }

    /// Sends statements that bring no rows.
    pub(super) async fn run(&self, patience: Duration, statements: &str) -> Result<(), Trouble> {
        let mut session = self.session(patience).await?;
        session.busy = true;
        let client = session.client();
        let ran = timeout(patience, client.batch_execute(statements)).await;
        session.busy = false;
        match ran {
            Ok(ran) => ran.map_err(|error| Trouble::of_answer(&error)),
            Err(_) => Err(session.give_up(false)),
        }
    }

    async fn session(&self, patience: Duration) -> Result<Session<'_>, Trouble> {
        let connecting =
            Connecting::new(&self.pool, &self.ahead, self.connecting, &self.behind, &self.ending);
        match timeout(patience, connecting).await {
            Ok(obtained) => {
                Ok(Session { engine: self, connection: Some(obtained?), busy: false, cancels: false })
            }
            Err(_) => Err(Trouble::NotSent(Cause::new(format!("no connection within {patience:?}")))),
        }
    }
}

/// One connection while a call has it.
///
/// A call may be dropped at any moment, and its statement goes on in the engine: see [`Ending`].
struct Session<'e> {
    engine: &'e Engine,
    connection: Option<Object>,
    /// Whether a statement was sent and not answered.
    busy: bool,
    /// Whether it may be cancelled.
    cancels: bool,
}

impl Session<'_> {
    fn client(&self) -> &Object {
        self.connection.as_ref().expect("a session has its connection until it gives up")
    }

    async fn query(
        &mut self,
        prepares: bool,
        patience: Duration,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, Trouble> {
        (self.busy, self.cancels) = (true, statement.cancels);
        let client = self.client();
        let answer = self.engine.alarms.within(patience, async {
            if !prepares {
                let typed: Vec<(Parameter<'_>, Type)> =
                    parameters.iter().copied().zip(statement.types.iter().cloned()).collect();
                return client.query_typed(&statement.text, &typed).await.map_err(|e| Trouble::of_answer(&e));
            }
            let prepared = client
                .prepare_typed_cached(&statement.text, &statement.types)
                .await
                .map_err(|error| Trouble::of_preparation(&error))?;
            client.query(&prepared, parameters).await.map_err(|error| Trouble::of_answer(&error))
        });
        let answer = answer.await;
        self.busy = false;
        match answer {
            Some(Err(trouble @ (Trouble::Lost(_) | Trouble::NotSent(_)))) => {
                // Others may have broken with it: better to find out here than one call each.
                self.engine.pool.retain(|client, _| !client.is_closed());
                self.part(statement.cancels);
                Err(trouble)
            }
            Some(answer) => answer,
            None => Err(self.give_up(statement.cancels)),
        }
    }

    /// Gives up a connection that does not answer.
    fn give_up(&mut self, cancels: bool) -> Trouble {
        self.part(cancels);
        self.engine.ending.sound(&self.engine.pool);
        Trouble::Lost(Cause::new("no answer in time"))
    }

    fn part(&mut self, cancels: bool) {
        if let Some(connection) = self.connection.take() {
            self.engine.ending.given_up(connection, cancels);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.busy) {
            self.engine.ending.dropped(connection, self.cancels);
        }
    }
}
