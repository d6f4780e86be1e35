//! [`Options`], how to open a store in a database.

use std::fmt;

use super::place::Place;
use crate::backend::engine::Deadlines;

/// How to open a store in a PostgreSQL database.
///
/// ```no_run
/// use ifmatch::Postgres;
///
/// let store = Postgres::options()
///     .namespace("articles")
///     .history(10_000)
///     .connect("postgres://app@db.example/app")
///     .wait()?;
/// # Ok::<_, ifmatch::engine::ConnectError>(())
/// ```
#[derive(Clone)]
#[must_use = "options open nothing by themselves"]
pub struct Options {
    pub(super) place: Place,
    pub(super) deadlines: Deadlines,
    pub(super) strict: bool,
    pub(super) history: usize,
    pub(super) value_limit: usize,
    pub(super) connections: usize,
    pub(super) prepares: bool,
    #[cfg(feature = "postgres-tls")]
    pub(super) tls: Option<super::tls::Tls>,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            place: Place::default(),
            deadlines: Deadlines::default(),
            strict: false,
            history: 100_000,
            value_limit: 1 << 20,
            connections: 16,
            prepares: true,
            #[cfg(feature = "postgres-tls")]
            tls: None,
        }
    }

    /// Which namespace of the tables the store is. Default: `default`. Any text of 1 to 128 bytes.
    ///
    /// Collections share tables and connections' cost, and see nothing of each other.
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.place.namespace = name.into();
        self
    }

    /// What the names of the tables begin with. Default: `ifmatch`.
    ///
    /// 1 to 48 characters of `a-z`, `0-9` and `_`, not beginning with a digit.
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.place.table = name.into();
        self
    }

    /// The schema the tables are in. Default: `public`. The same rule as for [`table`](Self::table). It is
    /// created where it is missing.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.place.schema = name.into();
        self
    }

    /// How long a call may take.
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines: deadlines.bounded(), ..self }
    }

    /// Refuses a server whose settings let a crash lose acknowledged commits, with [`ConnectError::Relaxed`](crate::engine::ConnectError::Relaxed).
    pub fn require_strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// How many commits the feed, write ids and deletions reach back, and how many write ids that were resolved as not applied
    /// are kept at most. Default: 100,000, and at least 64.
    ///
    /// A row each, of about 200 bytes with its indexes. Each store that writes trims now and then, not with each
    /// commit, so there may be a tenth more. Commits are also kept while a transaction that began before them is open.
    pub fn history(self, commits: usize) -> Self {
        Self { history: commits.max(64), ..self }
    }

    /// The most bytes a value may have. Default: 1 MiB. PostgreSQL takes up to a gigabyte.
    pub fn value_limit(self, bytes: usize) -> Self {
        Self { value_limit: bytes, ..self }
    }

    /// The most connections at once. Default: 16, and at least one. Each call under way has one of its own.
    ///
    /// The server has no more of them while it answers: a read that is given up, or dropped for longer than 200 milliseconds, is
    /// cancelled there, a write ends by itself, and the place of either is free once that is done. Of a server that is silent
    /// it is free after 2 seconds.
    pub fn connections(self, most: usize) -> Self {
        Self { connections: most.max(1), ..self }
    }

    /// Prepares no statements and sets nothing for a connection, as a proxy demands that gives each transaction another
    /// one, such as PgBouncer in transaction mode.
    ///
    /// Without this, opening a store there fails with [`ConnectError::Refused`](crate::engine::ConnectError::Refused), whose source names this option. A read costs
    /// about a third more of the server's time with it. Such a proxy must leave the default isolation level at
    /// `read committed`.
    ///
    /// Nor are calls that are given up cancelled in the server, which ends some releases of such proxies: their connections
    /// are kept until they are answered, for 10 seconds at most. So give the role a `lock_timeout` there.
    pub fn unprepared(self) -> Self {
        Self { prepares: false, ..self }
    }

    /// Encrypts connections as this configuration of rustls says: which certificates are trusted, and who we are.
    ///
    /// Whether encryption is demanded, the URL says: `sslmode=require`; else an unencrypted server is accepted too.
    #[cfg(feature = "postgres-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "postgres-tls")))]
    pub fn tls(self, configuration: rustls::ClientConfig) -> Self {
        Self { tls: Some(super::tls::Tls::new(configuration)), ..self }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("place", &self.place)
            .field("deadlines", &self.deadlines)
            .field("history", &self.history)
            .field("value_limit", &self.value_limit)
            .finish_non_exhaustive()
    }
}
