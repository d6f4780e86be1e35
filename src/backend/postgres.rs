//! [`Postgres`], a store in a PostgreSQL database.

mod alarm;
mod connecting;
mod cursor;
mod ending;
mod functions;
mod laying;
mod news;
mod open;
mod options;
mod parameters;
mod place;
mod session;
mod shared;
mod sql;
mod stored;
#[cfg(feature = "postgres-tls")]
mod tls;
mod trim;
mod trouble;
mod watch;
mod watchers;

use std::fmt;
use std::sync::Arc;

use crate::backend::engine::ConnectError;
use crate::store::{
    Abilities, Changes, Commit, Committed, Listed, Page, Refusal, Reply, Resolution, Scan, Start, Store,
    Versioned, WriteId, check_id,
};
use parameters::only_checks;
use shared::{ENTRIES, Shared};

pub use options::Options;

/// A store in a PostgreSQL database, 13 or later.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. Any number of
/// processes may have the same namespace open. It makes its own tables; see [`options`](Self::options) for their names,
/// for several namespaces in one place, and for limits.
///
/// # Cost
///
/// A read, a commit of any size, and a conflict with the value that stood there are one round trip each. A commit calls
/// a function that takes its locks first, so that each of its statements sees what was committed before: no retries, no
/// open transaction that somebody may leave behind, and the conflict tells the truth. A conflict writes nothing. A page is
/// one statement, and one without values reads none of those that stand outside of their rows.
///
/// A commit writes its row, and a row of the log for the feed and its write id. Calls under way have a connection each.
/// While somebody watches, the store asks the server for commits of other processes every 20 to 50 milliseconds, once
/// for all watchers; its own commits reach them at once. To tell a commit costs a watcher a round trip.
///
/// # Versions
///
/// One sequence serves all namespaces of a place, and starts at a random number. A version has 24 random bits of its commit
/// beside it, so that a number that is issued again, after the server lost its newest commits or was restored from a
/// backup, matches an old version with a chance of one in 16 million. All entries of a commit share a version.
///
/// # Limits
///
/// - Ids have 1 to 512 bytes and no U+0000. Values have at most 1 MiB, see [`Options::value_limit`]; a commit at most 1,000
///   entries and 64 MiB.
/// - The feed, write ids and deletions reach back 100,000 commits, see [`Options::history`]. A cursor from before that
///   is [`Expired`](crate::store::Expired), and a write id from before that is refused, and [`Resolution::Unknown`]. Of the
///   ids that were resolved as not applied it keeps as many; while these are not yet outdated, further ones are
///   [`Resolution::Unknown`].
/// - A record whose format is unknown gives way only to a write that names its version. One whose bytes are damaged and
///   whose columns are whole is told to whoever reads it, and gives way to a put or a delete that expects
///   [`Any`](crate::Expected::Any) or [`Present`](crate::Expected::Present) too: before release 18 a server has no function
///   for our checksum, and to have the client compare it first would be another round trip of each such write. The
///   server's own `data_checksums` finds damage on its disk before that.
/// - A commit of more than 32 entries, checks among them, locks parts of the namespace, of 64 in all, so that many at once leave
///   the server room: others that write there wait until it has ended.
/// - A transaction of anybody that stays open for long keeps the log from being trimmed, as it keeps PostgreSQL from
///   cleaning up its tables. Where the server refuses to trim it at all, 16 times in a row, commits are refused and say why.
/// - Each transaction must see the latest state: the default isolation level has to be `read committed`, which
///   connections of our own set by themselves, and replicas are refused.
/// - A proxy that pools transactions, as PgBouncer does, needs [`Options::unprepared`]; without it, opening fails.
///
/// # Durability
///
/// The settings of the server are read once, when the store is opened. With `fsync`, `full_page_writes` and
/// `synchronous_commit` on, as they are by default, an acknowledged commit survives a crash of the server and of its
/// machine. A failover to a replica that is not synchronous (`synchronous_standby_names`) may lose the newest commits;
/// what was lost then is lost, and no old version or cursor matches what is written in its place.
///
/// Where the rows are carried into another cluster, by a dump or by replication of their contents, also while the store is
/// open, the next commit and the next look of a watcher find out, and begin a new history: cursors from before are
/// [`Expired`](crate::store::Expired), applied write ids from before are [`Resolution::Unknown`], and versions go on above those
/// that came along. For that the server must have `pg_control_system`, as PostgreSQL's own does. A sequence that gives a version which is not above the one that stands there is refused, and nothing is changed.
///
/// # Failures
///
/// A commit whose connection broke is sent again under its write id, which the store recognises, until its deadline
/// passes; then it comes back with [`Outcome::Unknown`](crate::store::Outcome::Unknown), and [`resolve`](Store::resolve)
/// tells what became of it. Without a write id it is unknown at once. So is one whose id was outdated when it was sent again, or that conflicted then and
/// whose id could not be closed. A commit that waits too long for the locks of others, and one that the server refuses,
/// come back with [`Outcome::NotApplied`](crate::store::Outcome::NotApplied). Connections are made anew as they are needed, and
/// go on being made behind a call whose time is over. A read that is given up is cancelled in the server.
///
/// ```no_run
/// use ifmatch::{Collection, Postgres};
///
/// let store = Postgres::connect("postgres://app@localhost/app").wait()?;
/// let notes = Collection::<String>::json(store);
/// notes.create("readme", "hello".to_string()).wait()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Postgres {
    shared: Arc<Shared>,
}

impl Postgres {
    /// Opens the namespace `default` in the database of this URL, with the options that nothing else was said for.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows neither the URL nor the login.
    pub fn connect(url: &str) -> Reply<'static, Self, ConnectError> {
        Self::options().connect(url)
    }

    /// The options to open a store with.
    ///
    /// ```no_run
    /// use ifmatch::Postgres;
    ///
    /// let store = Postgres::options().namespace("drafts").connect("postgres://app@localhost/app").wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn options() -> Options {
        Options::new()
    }
}

impl From<Shared> for Postgres {
    fn from(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("place", &self.shared.place).finish_non_exhaustive()
    }
}

impl Store<[u8]> for Postgres {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        // What can't be there need not be asked for.
        if check_id(id).is_err() {
            return Reply::ready(Ok(None));
        }
        self.shared.runtime.reply(self.shared.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        if let Err(refusal) = self.shared.admit(&commit) {
            return Reply::ready(Err(refusal.into()));
        }
        if commit.entries().is_empty() {
            return Reply::ready(Ok(Committed::from_iter([])));
        }
        self.shared.runtime.commit(commit.remembered_write(), async move {
            match only_checks(&commit) {
                true => self.shared.check(&commit).await,
                false => self.shared.commit(&commit).await,
            }
        })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.shared.runtime.reply(self.shared.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        if scan.limit == 0 {
            return Reply::ready(Err(Refusal::EmptyPage.into()));
        }
        self.shared.runtime.reply(self.shared.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.shared.runtime.reply(watch::watch(&self.shared, from))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            entries: ENTRIES,
            watch: true,
            tombstones: true,
            durability: self.shared.durability,
            window: self.shared.trimming.history(),
            may_lose_answers: true,
            detects_restore: true,
            queues: false,
        }
    }
}
