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
mod trouble;
mod watch;
mod watching;
mod window;
mod written;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, KvClient, ResponseHeader, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::backend::engine::{ConnectError, Deadlines, Runtime, Token};
use crate::base::random;
use crate::store::{
    Abilities, Changes, Commit, Committed, Durability, Error, Failure, Listed, Outcome, Page, Refusal, Reply,
    Resolution, Scan, Start, Store, Versioned, WriteId, check_id,
};
use keys::Keys;
use manifest::Manifest;
use nodes::{Nodes, Purpose};
use plan::{Answered, Plan};
use recent::Recent;
use trouble::Trouble;

pub use options::Options;

/// A larger page is read in parts, of which the first has so many resources.
const FIRST_PART: usize = 64;

/// About so many bytes, and at most so many resources, are read in each further part.
const PART_BYTES: usize = 4 << 20;
const PART: usize = 1_000;

/// So many revisions before the last that makes a version, nothing is written any more.
const LEFT: u64 = 1 << 20;

/// A store in a cluster of etcd, release 3.4 or later.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. Several programs may
/// use one collection at once. The store lives in the tokio runtime it was opened in, or else in one of its own; its calls
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
/// The revision of the whole of etcd in which a value was written, beside 24 bits of a number drawn when the collection was
/// laid: the epoch. All entries of one commit share a version. Every commit and every read compares the epoch, so that after
/// a wipe, and in a new cluster at the same address, no old token matches or is told, and old cursors are
/// [`Expired`](crate::store::Expired). A collection has room for a trillion revisions.
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
///   that of a collection in which nothing happened since. In releases of before 2025 a compaction at the very revision of a
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
/// [`Strict`](Durability::Strict): etcd answers once a majority has synced its log, and a failover loses nothing. A
/// cluster of one node of a release before 3.4.21 or 3.5.5 answers a little earlier, learners beside it or not; that is
/// read when the collection is opened, and is [`Relaxed`](Durability::Relaxed), as is a release that can't be read. A node
/// that was started with `--unsafe-no-fsync` does not sync at all, and nothing tells a client.
///
/// A restore from a backup is not told: it brings back the epoch, and etcd issues the same revisions again. Tokens from
/// after the backup may then match what is written anew. Lay the collection anew after a restore, by deleting the key
/// `PREFIX/COLLECTION:manifest`: then no old token matches.
///
/// # Failures
///
/// One node is asked until it fails; then it is the next one's turn. Reads are asked again, commits only where they
/// certainly were not sent, as when the connection was refused or the node has no leader. Any other loss of an answer is
/// [`Outcome::Unknown`](crate::store::Outcome::Unknown). A watcher goes on from where it was, on another node, by itself; while no
/// node answers it waits.
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

/// What the calls, the watchers and the tasks of a store share.
struct Shared {
    nodes: Nodes,
    runtime: Runtime,
    keys: Keys,
    manifest: RwLock<Arc<Manifest>>,
    deadlines: Deadlines,
    history: usize,
    value_limit: usize,
    request_limit: usize,
    /// The newest revision that an answer has shown.
    newest: AtomicI64,
    /// How many closed write ids there were when that was last told.
    closings: AtomicI64,
    /// How many commits were noted since the oldest last left.
    noted: AtomicUsize,
    trimming: AtomicBool,
    recent: Mutex<Recent>,
    durability: RwLock<Durability>,
}

impl Etcd {
    /// Opens the collection `default` in the cluster that a URL names, and lays it where there is none:
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

    /// How to open a collection otherwise than [`connect`](Self::connect) does.
    ///
    /// ```
    /// use ifmatch::Etcd;
    ///
    /// let options = Etcd::options().collection("notes").value_limit(64 * 1024);
    /// ```
    pub fn options() -> Options {
        Options::new()
    }

    /// Compacts etcd up to `keep` revisions before the newest, and tells up to which.
    ///
    /// Everything in etcd has one history: this is for all collections, and for whoever else uses the cluster. Watchers
    /// further back end with [`Expired`](crate::store::Expired). It is only for clusters that do not compact themselves.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where etcd did not answer, or does not let this user do so.
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

impl Shared {
    fn new(nodes: Nodes, runtime: Runtime, keys: Keys, options: &Options) -> Self {
        let &Options { deadlines, history, value_limit, request_limit, .. } = options;
        Self {
            nodes,
            runtime,
            keys,
            manifest: RwLock::new(Arc::new(Manifest::draw())),
            deadlines,
            history,
            value_limit,
            request_limit,
            newest: AtomicI64::new(0),
            closings: AtomicI64::new(0),
            // Programs that run for a few commits only take their turn too.
            noted: AtomicUsize::new(random() as usize % window::slack(history)),
            trimming: AtomicBool::new(false),
            recent: Mutex::default(),
            durability: RwLock::new(Durability::Strict),
        }
    }

    /// Reads what the engine tells of its durability, then finds the collection or lays it.
    async fn open(&self, require_strict: bool) -> Result<(), ConnectError> {
        let durability = match self.nodes.release(self.deadlines.connect).await {
            Ok((release, nodes)) => durability::durability(&release, nodes),
            // A user who may not ask is told nothing.
            Err(Trouble::Refused { .. }) => durability::UNTOLD,
            Err(trouble) => return Err(trouble.of_opening()),
        };
        match durability {
            Durability::Relaxed { may_lose } if require_strict => {
                return Err(ConnectError::Relaxed { may_lose });
            }
            durability => *self.durability.write() = durability,
        }
        let manifest = self.lay_within(self.deadlines.connect).await?;
        self.set_manifest(manifest);
        Ok(())
    }

    fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.read())
    }

    fn set_manifest(&self, manifest: Manifest) {
        *self.manifest.write() = Arc::new(manifest);
    }

    /// Goes on with another manifest: this one, or else the one that stands there, or a new one.
    async fn follow(&self, stands: Option<Manifest>) -> Result<(), Error> {
        let manifest = match stands {
            Some(manifest) => manifest,
            None => self.lay_within(self.deadlines.read).await?,
        };
        self.set_manifest(manifest);
        Ok(())
    }

    /// The newest revision that an answer has shown.
    fn newest(&self) -> i64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Takes note of the revision of an answer, where `before` was the newest when it was asked for. Etcd that answers from
    /// before that has lost what came since, or is another one: what was known of it holds no more.
    fn saw(&self, before: i64, answer: &TxnResponse) {
        let revision = revision(answer);
        if revision < before {
            self.newest.store(revision, Ordering::Release);
        } else {
            self.newest.fetch_max(revision, Ordering::AcqRel);
        }
    }

    /// That a manifest is the one there is.
    fn stands(&self, manifest: &Manifest) -> Compare {
        Compare::value(self.keys.manifest(), CompareOp::Equal, manifest.bytes.clone())
    }

    /// Finds the manifest, or lays a new one where there is none.
    async fn lay_within(&self, limit: Duration) -> Result<Manifest, ConnectError> {
        let (before, fresh) = (self.newest(), Manifest::draw());
        // Who else lays it at the same time finds this one, and so does this one when it is asked again.
        let answer = self.nodes.call(Purpose::Repeatable, limit, |mut kv: KvClient| {
            let manifest = self.keys.manifest();
            let transaction = Txn::new()
                .when([plan::absent(manifest.clone())])
                .and_then([TxnOp::put(manifest.clone(), fresh.bytes.clone(), None)])
                .or_else([TxnOp::get(manifest, None)]);
            async move { kv.txn(transaction).await }
        });
        let answer = answer.await.map_err(Trouble::of_opening)?;
        self.saw(before, &answer);
        if answer.succeeded() {
            return Ok(fresh);
        }
        let operations = answer.op_responses();
        match operations.first().and_then(plan::found) {
            Some(found) => Manifest::decode(found.value()),
            None => Err(ConnectError::Foreign { found: "an answer that is not etcd's".to_owned() }),
        }
    }

    /// Reads keys, in the same step in which the manifest is seen to be the one that comes back: no answer of another history
    /// is taken for one of this.
    async fn read(&self, gets: Vec<TxnOp>) -> Result<(Arc<Manifest>, TxnResponse), Error> {
        loop {
            let (before, manifest) = (self.newest(), self.manifest());
            let answer = self.nodes.call(Purpose::Repeatable, self.deadlines.read, |mut kv| {
                let stands = TxnOp::get(self.keys.manifest(), None);
                let transaction =
                    Txn::new().when([self.stands(&manifest)]).and_then(gets.clone()).or_else([stands]);
                async move { kv.txn(transaction).await }
            });
            let answer = answer.await.map_err(Trouble::of_read)?;
            self.saw(before, &answer);
            if answer.succeeded() {
                return Ok((manifest, answer));
            }
            let stands = answer.op_responses();
            let stands = stands.first().and_then(plan::found);
            self.follow(stands.map(|stands| Manifest::decode(stands.value())).transpose()?).await?;
        }
    }

    async fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        if check_id(id).is_err() {
            return Ok(None);
        }
        let (manifest, answer) = self.read(vec![TxnOp::get(self.keys.resource(id), None)]).await?;
        let found = answer.op_responses();
        let stored = found.first().and_then(plan::found);
        stored.map(|stored| plan::decode(&manifest, id, stored)).transpose()
    }

    async fn commit(self: &Arc<Self>, commit: &Commit<'_, [u8]>) -> Result<Committed, Error> {
        let write = commit.write();
        let end = Instant::now() + self.deadlines.commit;
        loop {
            let before = self.newest();
            // Before the revisions run out: a commit is only told its own once it is applied.
            if before.unsigned_abs() > Token::LAST - LEFT {
                return Err(Refusal::VersionsExhausted.into());
            }
            let plan = Plan::new(commit, &self.keys, self.manifest(), before);
            let purpose = if plan.writes() { Purpose::Once } else { Purpose::Repeatable };
            let limit = end.saturating_duration_since(Instant::now());
            let answer = self.nodes.call(purpose, limit, |mut kv| {
                let transaction = plan.transaction();
                async move { kv.txn(transaction).await }
            });
            let answer = match answer.await {
                Ok(answer) => answer,
                Err(trouble) if plan.writes() => return Err(trouble.of_write(write)),
                Err(trouble) => return Err(trouble.of_read()),
            };
            self.saw(before, &answer);
            match plan.read(&answer) {
                Answered::Applied(committed) => {
                    if write.is_some() {
                        self.note();
                    }
                    return Ok(committed);
                }
                Answered::Repeated(write, written, revision) => {
                    return match self.recall(write, &written, revision).await {
                        Ok(Some(committed)) => Ok(committed),
                        Ok(None) => Err(forgotten(write)),
                        // It was applied, as far as this call knows.
                        Err(trouble) => Err(unknown(trouble, write)),
                    };
                }
                Answered::Moved(stands) => self.follow(stands).await?,
                Answered::Behind => {}
                Answered::Not(error) => return Err(error),
            }
        }
    }

    async fn scan(&self, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
        let Scan { prefix, after, limit, values } = scan;
        if limit == 0 {
            return Err(Refusal::EmptyPage.into());
        }
        let (mut first, behind) = self.keys.resources(prefix, after);
        let mut page = Page { items: Vec::new(), more: false };
        let (mut part, mut bytes) = (FIRST_PART, 0);
        loop {
            if first >= behind {
                page.more = false;
                return Ok(page);
            }
            let wanted = part.min(limit - page.items.len());
            let options = GetOptions::new().with_range(behind.clone()).with_limit(wanted as i64);
            let options = if values { options } else { options.with_keys_only() };
            let get = TxnOp::get(std::mem::take(&mut first), Some(options));
            let (manifest, answer) = self.read(vec![get]).await?;
            let Some(TxnOpResponse::Get(answer)) = answer.op_responses().pop() else {
                return Err(Failure::new(Outcome::NotApplied, "an answer without what was asked for").into());
            };
            page.more = answer.more();
            for stored in answer.kvs() {
                bytes += stored.value().len();
                let Some(id) = self.keys.id(stored.key()) else {
                    return Err(Failure::new(Outcome::NotApplied, "a key of a resource is not UTF-8").into());
                };
                let listed = match values {
                    true => plan::decode(&manifest, id, stored).map(Listed::from),
                    false => plan::version(&manifest, stored).map(Listed::from).map_err(Error::from),
                };
                if !page.add(id.into(), listed)? {
                    return Ok(page);
                }
            }
            let Some(next) = page.next().filter(|_| page.items.len() < limit) else { return Ok(page) };
            first = self.keys.resources(prefix, Some(next)).0;
            // As many as were about so many bytes until now.
            part = (PART_BYTES * page.items.len() / bytes.max(1)).clamp(1, PART);
        }
    }

    async fn compact(&self, keep: u64) -> Result<u64, Error> {
        let (_, newest) = self.read(Vec::new()).await?;
        let revision = revision(&newest).saturating_sub_unsigned(keep);
        if revision < 1 {
            return Ok(0);
        }
        let compacted = self.nodes.call(Purpose::Repeatable, self.deadlines.commit, |mut kv| async move {
            kv.compact(revision, None).await
        });
        match compacted.await {
            Ok(_) => Ok(revision.unsigned_abs()),
            // Somebody else was faster, or has kept less.
            Err(trouble) if trouble.is_compacted() => Ok(revision.unsigned_abs()),
            Err(trouble) => Err(trouble.of_read()),
        }
    }
}

/// The failure of a commit that was applied, and whose answer nobody knows any more.
fn forgotten(write: WriteId) -> Error {
    unknown("it was applied, and etcd has compacted away what it replaced", write)
}

fn unknown(source: impl Into<Box<dyn std::error::Error + Send + Sync>>, write: WriteId) -> Error {
    Failure::new(Outcome::Unknown, source).with_write(write).into()
}

/// The revision that the engine was in when it answered.
fn revision(answer: &TxnResponse) -> i64 {
    answer.header().map_or(0, ResponseHeader::revision)
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
        }
    }
}
