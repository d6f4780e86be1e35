//! [`Etcd`], a store in a cluster of etcd.

mod address;
mod durability;
mod keys;
mod manifest;
mod nodes;
mod open;
mod options;
mod plan;
mod recent;
mod shared;
mod trouble;
mod watch;
mod watching;
mod window;
mod written;

use std::fmt;
use std::sync::Arc;

use crate::backend::engine::ConnectError;
use crate::store::{
    Abilities, Changes, Commit, Committed, Listed, Page, Reply, Resolution, Scan, Start, Store, Versioned,
    WriteId,
};
use plan::Plan;
use shared::Shared;

pub use options::Options;

/// A store in a cluster of etcd, release 3.4 or later.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. Several programs may
/// use one namespace at once. The store lives in the tokio runtime it was opened in, or else in one of its own; its calls
/// can be awaited, or waited for, anywhere. Once a runtime that it was opened in has ended, calls and watchers fail with
/// [`RuntimeEnded`](crate::engine::RuntimeEnded).
///
/// # Cost
///
/// A read is one round trip, and so is a commit, over however many ids, and a conflict with its current values: etcd
/// compares, writes or reads in one transaction. A commit syncs the disks of a majority of the nodes. A blind write, one
/// that expects [`Any`](crate::Expected::Any) or [`Present`](crate::Expected::Present), also brings the old value over the
/// network, to tell what it replaced. After each eighth of the history the oldest write ids are forgotten, and the next call
/// of each store takes two round trips. A page is one round trip for each 4 MiB of values or 1,000 keys, and one without
/// values asks for keys only. A batch of the feed that has puts costs its watcher one read, and a watcher that waits
/// has a connection of its own.
///
/// # Versions
///
/// The revision of the whole of etcd in which a value was written, beside 24 bits of a number drawn when the namespace was
/// laid: the epoch. All entries of one commit share a version. Every commit and every read compares the epoch, so that after
/// a wipe, and in a new cluster at the same address, no old token matches or is told, and old cursors are
/// [`Expired`](crate::store::Expired). A namespace has room for a trillion revisions.
///
/// # Limits
///
/// - Ids have 1 to 512 bytes and no U+0000. Values have at most 1 MiB, see [`Options::value_limit`]. A commit has at most
///   125 entries, since etcd takes 128 operations in a transaction, and 1.5 MiB, see [`Options::request_limit`].
/// - A deleted id is a missing one: etcd does not tell them apart.
/// - A blind write overwrites also a damaged record; a write that expects a version does not. Etcd compares values, but
///   computes no checksum: to see the damage first, each blind write would have to read, and to try again whenever
///   another one came between.
/// - The feed reaches back until etcd was last compacted. That is for its operator to do, for one by
///   `--auto-compaction-retention`, and without it etcd grows until it refuses writes. A cursor from before is `Expired`; also
///   that of a namespace in which nothing happened since. In releases of before 2025 a compaction at the very revision of a
///   deletion that a watcher is catching up with can hide that deletion from it.
/// - Write ids reach back 100,000 commits, see [`Options::history`]. One from before that is refused, and
///   [`Resolution::Unknown`]; so is one from before a wipe. What a blind write replaced is asked of etcd's history: where
///   that was compacted, its write id is [`Resolution::Unknown`] as well.
/// - Of the ids that were resolved as not applied it keeps about as many: it learns how many there are from each question, so
///   that those asked at the same moment, and the first one of each store, may be too many. While these are not yet outdated,
///   further ones are [`Resolution::Unknown`].
///
/// # Durability
///
/// [`Strict`](crate::store::Durability::Strict): etcd answers once a majority has synced its log, and a failover loses
/// nothing. A cluster of one node of a release before 3.4.21 or 3.5.5 answers a little earlier, learners beside it or not;
/// that is read when the namespace is opened, and is [`Relaxed`](crate::store::Durability::Relaxed), as is a release that
/// can't be read. A node that was started with `--unsafe-no-fsync` does not sync at all, and nothing tells a client.
///
/// A restore from a backup is not told: it brings back the epoch, and etcd issues the same revisions again. Tokens from
/// after the backup may then match what is written anew, and a watcher that goes on from before it may be told a change that
/// was lost, where etcd is as far again before anybody has asked it. Lay the namespace anew after a restore, by deleting the key
/// `PREFIX/NAMESPACE:manifest`: then no old token matches.
///
/// # Failures
///
/// One node is asked until it fails; then it is the next one's turn. Reads are asked again, commits only where they
/// certainly were not sent, as when the connection was refused or the node has no leader. Any other loss of an answer is
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown). A watcher goes on from where it was, on another node, by itself; while no
/// node answers it waits. Connecting has a deadline of its own, and goes on where a call's own passes first: the next call
/// finds the connection. Where there are several nodes, a read gives each a third of its deadline, or half.
///
/// Without a majority of the nodes nothing is written or read. TLS is for a client of the program's own:
/// [`Options::with_client`].
///
/// ```no_run
/// use ifmatch::{Collection, Etcd};
///
/// let notes = Collection::<String>::json(Etcd::connect("etcd://localhost:2379").wait()?);
/// notes.create("readme", "hello".to_string()).wait()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Etcd {
    shared: Arc<Shared>,
}

impl Etcd {
    /// Opens the namespace `default` in the cluster that a URL names, and lays it where there is none:
    /// `etcd://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/PREFIX]`. See [`Options::connect`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`], which shows no part of the login.
    ///
    /// ```no_run
    /// use ifmatch::Etcd;
    ///
    /// let store = Etcd::connect("etcd://one.example,two.example,three.example/app").wait()?;
    /// # Ok::<_, ifmatch::engine::ConnectError>(())
    /// ```
    pub fn connect(url: &str) -> Reply<'static, Self, ConnectError> {
        Options::new().connect(url)
    }

    /// How to open a namespace otherwise than [`connect`](Self::connect) does.
    ///
    /// ```
    /// use ifmatch::Etcd;
    ///
    /// let options = Etcd::options().namespace("notes").value_limit(64 * 1024);
    /// ```
    pub fn options() -> Options {
        Options::new()
    }

    /// Compacts etcd up to `keep` revisions before the newest, and tells up to which.
    ///
    /// Everything in etcd has one history: this is for all namespaces, and for whoever else uses the cluster. Watchers
    /// further back end with [`Expired`](crate::store::Expired). It is only for clusters that do not compact themselves.
    ///
    /// # Errors
    ///
    /// A [`Failure`](crate::store::Failure) where etcd did not answer, or does not let this user do so.
    ///
    /// ```no_run
    /// # let store = ifmatch::Etcd::connect("etcd://localhost").wait().unwrap();
    /// store.compact(100_000).wait()?;
    /// # Ok::<_, ifmatch::Error>(())
    /// ```
    pub fn compact(&self, keep: u64) -> Reply<'_, u64> {
        self.shared.runtime.reply(self.shared.compact(keep))
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("keys", &self.shared.keys).finish_non_exhaustive()
    }
}

impl Store<[u8]> for Etcd {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        self.shared.runtime.reply(self.shared.get(id))
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        let shared = &self.shared;
        let commit = commit.with_what_is_remembered();
        if let Err(refusal) = Plan::admit(&commit, shared.value_limit, shared.request_limit) {
            return Reply::ready(Err(refusal.into()));
        }
        if commit.entries().is_empty() && commit.write().is_none() {
            return Reply::ready(Ok(Committed::from_iter([])));
        }
        shared.runtime.commit(commit.write(), async move { shared.commit(&commit).await })
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.shared.runtime.reply(self.shared.resolve(write))
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.shared.runtime.reply(self.shared.scan(scan))
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        self.shared.runtime.reply(watching::watch(&self.shared, from))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            entries: plan::ENTRIES,
            watch: true,
            tombstones: false,
            durability: *self.shared.durability.read(),
            window: self.shared.history,
            may_lose_answers: true,
            detects_restore: false,
            queues: false,
        }
    }
}
