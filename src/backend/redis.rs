//! [`Redis`], a store on a Redis server.

mod answer;
mod begin;
mod hub;
mod keys;
mod link;
mod list;
mod open;
mod options;
mod order;
mod place;
mod script;
mod settings;
mod shared;
mod trouble;
mod watch;
mod wire;

use std::fmt;
use std::sync::Arc;

use crate::backend::engine::ConnectError;
use crate::store::{
    Abilities, Changes, Commit, Committed, Listed, Page, Refusal, Reply, Resolution, Scan, Start, Store,
    Versioned, WriteId, check_id,
};
use shared::{ENTRIES, Shared};

pub use options::Options;

/// A store on a Redis server, release 7 or later.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. Several programs
/// may use one namespace at the same time.
///
/// ```no_run
/// use ifmatch::{Collection, Redis};
///
/// let articles = Collection::<String>::json(Redis::connect("redis://127.0.0.1").wait()?);
/// articles.create("readme", "hello".to_string()).wait()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
///
/// A read is one `GETEX`, and a commit of any size one script: one round trip each, over one connection that all callers
/// share. A page is one script, and one without values sends 10 bytes of each record. A watcher costs one script a batch; all
/// watchers of a store share one more connection, which waits for new commits. Redis runs one script at a time: a commit of one small value takes it some 14 µs, one of
/// 1,000 entries a few milliseconds, and each MiB of values a millisecond more.
///
/// # Versions
///
/// One counter serves the namespace, and each version also carries 24 random bits of its commit; both are compared. A
/// number that is issued again, after Redis lost its latest commits or was restored from a backup, matches an old version
/// by a chance of one in 16 million. A namespace begins at a random number, so that one that was wiped and begun again
/// tells its versions from those before. All entries of one commit share a version.
///
/// # Durability
///
/// The server's settings decide, and are read once, when the store is opened: with `appendonly yes` and `appendfsync
/// always` a crash loses nothing that was acknowledged. Otherwise [`Abilities::durability`] tells what it may lose;
/// [`Options::require_strict`] refuses such a server, and one that does not tell (`CONFIG GET` may be forbidden).
///
/// A server that drops keys when its memory is full is refused in any case, and so is a replica, also one that takes writes.
/// `INFO` tells both: it is asked with every new connection, and by the scripts themselves. A store that is open when its
/// server becomes a replica acknowledges nothing more, and when its server is told to drop keys at most 15 commits more. What
/// it can't tell: [`get`](Store::get) looks at neither, and over a connection that was made before it reads what such a
/// server has; and what was dropped before the next look is gone.
///
/// **A failover loses acknowledged commits**, whatever the settings: replicas receive them after the acknowledgement. What
/// a lost commit wrote is gone, and nothing tells its writer; but no version from before matches what is written in its
/// place, and a cursor from among the lost commits is [`Expired`](crate::store::Expired). A primary that was cut off and does
/// not know it may also answer reads for a while, until it is back. Where that won't do, use another engine.
///
/// # Limits
///
/// - Ids have 1 to 512 bytes and no U+0000. Values have at most 1 MiB, see [`Options::value_limit`]; a commit at most 1,000
///   entries and 64 MiB. A page has at most 10,000 resources, and ends early after 4 MiB.
/// - The feed, deletions and write ids reach back 100,000 commits, see [`Options::history`]. A cursor from before that is
///   [`Expired`](crate::store::Expired), and a write id from before that is refused, and [`Resolution::Unknown`]. Of the
///   ids that were resolved as not applied it keeps as many; while these are not yet outdated, further ones are
///   [`Resolution::Unknown`].
/// - Where somebody deletes or trims the log by hand, whoever would skip a commit is [`Expired`](crate::store::Expired), and
///   the write ids of its entries are [`Resolution::Unknown`]. These, and deletions of that time, stay for good.
/// - A blind write overwrites also a record of which the value alone is damaged; a write that expects a version does not.
///   The script looks at the head of a record, and computes no checksum of its value: Lua would take half a millisecond for
///   each KiB.
/// - A namespace lives on one node of a cluster: all of its keys have the hash tag `{namespace}`. The store follows the
///   cluster's hints to that node; while the namespace moves to another one, calls fail and may be tried again.
/// - Everything is in the memory of Redis. Where that is full, commits that put values fail with
///   [`Outcome::NotApplied`](crate::store::Outcome::NotApplied); reads and deletions go on.
/// - Past version 2^40 - 2 the namespace takes no more commits.
/// - The keys begin with `ifmatch:{namespace}:`. A user with an ACL needs `~ifmatch:{namespace}:*`, `INFO`, the commands of
///   hashes, strings, sorted sets and streams, and `EVALSHA` and `EVAL`; a permission that is missing is told of when the store
///   is opened. With `SCRIPT LOAD` as well, no call has to send its script first.
///
/// # Failures
///
/// A commit that was sent and not answered, because the connection broke or a deadline passed, comes back with
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown), and [`resolve`](Store::resolve) tells what became of it;
/// [`Collection`](crate::Collection) does so by itself. What Redis refuses to run, because it is loading, a replica, full or
/// busy, is [`Outcome::NotApplied`](crate::store::Outcome::NotApplied). A broken connection is made anew by the next call,
/// and watchers resume by themselves. Connecting has a deadline of its own, and goes on where a call's own passes first: the
/// next call finds the connection.
///
/// A server that takes no writes, as a replica or for want of replicas or of a disk, is not read either: a read must not
/// show less than was acknowledged, and Redis keeps its replicas apart only for writes.
pub struct Redis {
    shared: Arc<Shared>,
}

impl Redis {
    /// Opens the namespace `default` on the server at `url`, or begins it where there is nothing.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows neither the URL nor anything in it but host and port.
    ///
    /// ```no_run
    /// use ifmatch::Redis;
    ///
    /// let store = Redis::connect("redis://127.0.0.1:6379/0").wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn connect(url: impl AsRef<str>) -> Reply<'static, Self, ConnectError> {
        Self::options().connect(url)
    }

    /// How to open a namespace otherwise than [`connect`](Self::connect) does.
    ///
    /// ```
    /// use ifmatch::Redis;
    ///
    /// let options = Redis::options().namespace("articles").history(1_000_000);
    /// ```
    pub fn options() -> Options {
        Options::new()
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("endpoint", &self.shared.link.endpoint())
            .field("durability", &self.shared.durability)
            .finish_non_exhaustive()
    }
}

impl Store<[u8]> for Redis {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
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
        self.shared.runtime.commit(commit.remembered_write(), self.shared.commit(commit))
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.shared.runtime.reply(self.shared.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        if scan.limit == 0 {
            return Reply::ready(Err(Refusal::EmptyPage.into()));
        }
        self.shared.runtime.reply(list::list(&self.shared, scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.shared.runtime.reply(self.shared.watch(from))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            entries: ENTRIES,
            watch: true,
            tombstones: true,
            durability: self.shared.durability,
            window: self.shared.history,
            may_lose_answers: true,
            detects_restore: true,
            queues: false,
        }
    }
}
