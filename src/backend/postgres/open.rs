//! Opening a store: the connections, the tables, and what the settings of the server promise.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::config::{Config, Host, TargetSessionAttrs};
use tokio_postgres::{NoTls, Row};

use super::Postgres;
use super::options::Options;
use super::session::{Budget, Engine, Parameter};
use super::shared::{Shared, lock_patience};
use super::sql::{FORMAT, SERVER, Sql, Statement};
use super::trouble::{Cause, POOLED, Trouble, passes};
use crate::backend::engine::{ConnectError, Runtime};
use crate::base::random;
use crate::store::{Durability, Reply};

/// The oldest release that has all that is used here: 13, with its 64-bit transaction numbers.
const OLDEST: i32 = 130_000;

/// What connections of our own begin with, unless the URL says otherwise: the functions demand this isolation level, and
/// a plan made while a table was small must not read all of it once it is large. The last one is read back, to find out
/// whether they reach the server.
const SETTINGS: &str = r"-c default_transaction_isolation=read\ committed -c enable_seqscan=off -c jit=off -c search_path=pg_catalog -c ifmatch.settings=reached";

impl Options {
    /// Opens the store in the database of this URL, `postgres://user:password@host:port/database`, or of a list of
    /// `key=value` pairs, as libpq has them. Several hosts may be named; only one that takes writes is used.
    ///
    /// Makes its tables and functions where they are missing. Two processes may do so at once.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows neither the URL nor the login.
    pub fn connect(&self, url: &str) -> Reply<'static, Postgres, ConnectError> {
        let (pool, endpoint) = match own_pool(self, url) {
            Ok(own) => own,
            Err(error) => return Reply::ready(Err(error)),
        };
        let settings = if self.prepares { Settings::Sent } else { Settings::NotSent };
        open(self.clone(), pool, endpoint, settings)
    }

    /// Opens the store with the connections of a pool that there is already.
    ///
    /// Its connections must be of one primary server, have `read committed` as their default isolation level, and go to
    /// it directly, or through a proxy that keeps prepared statements (PgBouncer from 1.21 on, with
    /// `max_prepared_statements`), unless [`unprepared`](Self::unprepared) is set. [`connections`](Self::connections) has no
    /// effect. Calls that are given up are not cancelled in the server: see [`unprepared`](Self::unprepared). Operators in a schema
    /// that is searched before PostgreSQL's own would be used.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// ```no_run
    /// # fn pool() -> deadpool_postgres::Pool { unreachable!() }
    /// let store = ifmatch::Postgres::options().with_pool(pool()).wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn with_pool(&self, pool: Pool) -> Reply<'static, Postgres, ConnectError> {
        open(self.clone(), pool, "the server of the pool".to_owned(), Settings::NotSent)
    }
}

/// Whether connections began with [`SETTINGS`].
#[derive(PartialEq)]
enum Settings {
    Sent,
    NotSent,
}

fn own_pool(options: &Options, url: &str) -> Result<(Pool, String), ConnectError> {
    // What the parser says may have a part of the text, and that may be a password.
    let mut config = Config::from_str(url).map_err(|_| ConnectError::Usage {
        what: "URL",
        problem:
            "it is neither `postgres://user:password@host:port/database` nor a list of `key=value` pairs"
                .to_owned(),
    })?;
    if config.get_hosts().is_empty() {
        let problem = "it names no host".to_owned();
        return Err(ConnectError::Usage { what: "URL", problem });
    }
    if config.get_application_name().is_none() {
        config.application_name("ifmatch");
    }
    if options.prepares {
        let mut settings = SETTINGS.to_owned();
        // A read that is given up, and can't be cancelled, waits no longer than this for a table that somebody locked.
        let _ = write!(settings, " -c lock_timeout={}", lock_patience(options.deadlines.read));
        if let Some(given) = config.get_options() {
            let _ = write!(settings, " {given}");
        }
        config.options(settings);
    }
    config
        .target_session_attrs(TargetSessionAttrs::ReadWrite)
        .connect_timeout(options.deadlines.connect)
        .keepalives_idle(Duration::from_secs(30));
    #[cfg(target_os = "linux")]
    config.tcp_user_timeout(options.deadlines.commit);
    let endpoint = endpoint(&config);
    let manager = manager(options, config);
    let pool = Pool::builder(manager)
        .max_size(options.connections)
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .build();
    let pool =
        pool.map_err(|error| ConnectError::Refused { action: "make connections", source: error.into() })?;
    Ok((pool, endpoint))
}

fn manager(options: &Options, config: Config) -> Manager {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    #[cfg(feature = "postgres-tls")]
    if let Some(tls) = &options.tls {
        return Manager::from_config(config, tls.connector(), recycling);
    }
    let _ = options;
    Manager::from_config(config, NoTls, recycling)
}

fn endpoint(config: &Config) -> String {
    let host = match config.get_hosts().last() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "no host".to_owned(),
    };
    let port = config.get_ports().last().copied().unwrap_or(5432);
    format!("{host}:{port}")
}

fn open(
    options: Options,
    pool: Pool,
    endpoint: String,
    settings: Settings,
) -> Reply<'static, Postgres, ConnectError> {
    if let Err(error) = options.place.check() {
        return Reply::ready(Err(error));
    }
    let runtime = match Runtime::current_or_own() {
        Ok(runtime) => runtime,
        Err(source) => {
            return Reply::ready(Err(ConnectError::Refused {
                action: "start a thread for connections",
                source: source.into(),
            }));
        }
    };
    let home = Arc::clone(runtime.home());
    let engine = Engine::new(&options, pool, settings == Settings::Sent, runtime.handle().clone());
    let opened = async move {
        let budget = Budget::new(options.deadlines.connect);
        let opening = Opening { engine: &engine, budget, endpoint, settings };
        let sql = Sql::new(&options.place);
        let server = opening.server().await?;
        let persistent = opening.tables(&sql).await?;
        let durability = if persistent { server } else { Durability::Relaxed { may_lose: UNLOGGED } };
        if let (true, Durability::Relaxed { may_lose }) = (options.strict, durability) {
            return Err(ConnectError::Relaxed { may_lose });
        }
        opening.ask(&sql.enter, &[&options.place.namespace, &(random() as i64)]).await?;
        drop(opening);
        engine.prepare_ahead([&sql.get, &sql.commit_one, &sql.commit_many]);
        Ok(Postgres::from(Shared::new(options, engine, sql, durability, runtime)))
    };
    home.reply(opened)
}

const UNLOGGED: &str = "everything, in a crash of the server: a table, or the sequence, is unlogged";

/// What opening a store needs.
struct Opening<'e> {
    engine: &'e Engine,
    budget: Budget,
    endpoint: String,
    settings: Settings,
}

impl Opening<'_> {
    /// Asks the server whether it can keep a store, and what its settings promise.
    async fn server(&self) -> Result<Durability, ConnectError> {
        let statement = Statement { text: SERVER.to_owned(), types: Vec::new(), cancels: true };
        let rows = self.ask(&statement, &[]).await?;
        let row = &rows[0];
        let refuse =
            |action, found: String| Err(ConnectError::Refused { action, source: Cause::new(found).into() });
        if self.settings == Settings::Sent && !self.read::<bool>(row, 7)? {
            return refuse("take the settings of a connection", POOLED.to_owned());
        }
        let version: i32 = self.read(row, 0)?;
        if version < OLDEST {
            return refuse("keep the store", format!("it is release {}, and 13 is needed", version / 10_000));
        }
        if self.read(row, 1)? {
            return refuse("take writes", "it is a replica".to_owned());
        }
        let isolation: String = self.read(row, 5)?;
        if isolation != "read committed" {
            let found =
                format!("the default isolation level is `{isolation}`, and `read committed` is needed");
            return refuse("commit", found);
        }
        let encoding: String = self.read(row, 6)?;
        if encoding != "UTF8" {
            return refuse("keep Unicode text", format!("the encoding of the database is {encoding}"));
        }
        let [syncs, whole_pages, waits] = [self.read(row, 2)?, self.read(row, 3)?, self.read(row, 4)?];
        Ok(durability(syncs, whole_pages, waits))
    }

    /// Makes what is missing, unless what is there is not ours. Tells whether the tables outlive a crash.
    async fn tables(&self, sql: &Sql) -> Result<bool, ConnectError> {
        let survey = self.ask(&sql.survey, &[]).await?;
        let [resources, places, complete] =
            [self.read(&survey[0], 0)?, self.read(&survey[0], 1)?, self.read(&survey[0], 2)?];
        if resources && !places {
            let found = "there is a table of that name, without the others that belong to it".to_owned();
            return Err(ConnectError::Foreign { found });
        }
        if places {
            let format: Option<i16> = self.read(&self.ask(&sql.format, &[]).await?[0], 0)?;
            if let Some(format) = format.filter(|format| *format > FORMAT) {
                let found = format!("it has format {format}, and this release reads {FORMAT}");
                return Err(ConnectError::Foreign { found });
            }
        }
        if !complete {
            let laid = self.engine.run(self.budget.left(), &sql.lay).await;
            laid.map_err(|trouble| self.refusal("create its tables", trouble))?;
        }
        let survey = self.ask(&sql.survey, &[]).await?;
        if self.read::<Option<bool>>(&survey[0], 4)? != Some(true) {
            let found =
                "the sequence of its versions has a cache, begins anew at its end, or counts down".to_owned();
            return Err(ConnectError::Foreign { found });
        }
        let lacks: Option<String> = self.read(&self.ask(&sql.rights, &[]).await?[0], 0)?;
        if let Some(lacks) = lacks {
            let source = Cause::new(format!("the login lacks {lacks}")).into();
            return Err(ConnectError::Refused { action: "grant the use of its tables", source });
        }
        self.read(&survey[0], 3)
    }

    async fn ask(
        &self,
        statement: &Statement,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, ConnectError> {
        let rows = self.engine.ask(self.budget, statement, parameters).await;
        rows.map_err(|trouble| self.refusal("answer", trouble))
    }

    fn read<'r, T: tokio_postgres::types::FromSql<'r>>(
        &self,
        row: &'r Row,
        column: usize,
    ) -> Result<T, ConnectError> {
        row.try_get(column)
            .map_err(|error| ConnectError::Foreign { found: format!("an answer of another kind: {error}") })
    }

    fn refusal(&self, action: &'static str, trouble: Trouble) -> ConnectError {
        match trouble {
            Trouble::Refused(code, cause) if !passes(&code) => {
                ConnectError::Refused { action, source: cause.into() }
            }
            trouble => ConnectError::Unreachable {
                endpoint: self.endpoint.clone(),
                source: trouble.into_cause().into(),
            },
        }
    }
}

fn durability(syncs: bool, whole_pages: bool, waits: bool) -> Durability {
    let may_lose = match (syncs, whole_pages, waits) {
        (true, true, true) => return Durability::Strict,
        (false, ..) => "anything, where the machine loses power: `fsync` is off",
        (_, false, _) => {
            "anything, where a page is half written as the machine loses power: `full_page_writes` is off"
        }
        (_, _, false) => {
            "the commits of about the last second, where the server crashes: `synchronous_commit` is off"
        }
    };
    Durability::Relaxed { may_lose }
}
