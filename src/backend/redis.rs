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
mod trouble;
mod watch;

use std::fmt;
use std::sync::{Arc, Weak};

use ::redis::{Cmd, Value};
use parking_lot::Mutex;

use crate::backend::engine::{ConnectError, Deadlines, Runtime};
use crate::backend::limits::Limits;
use crate::store::{
    Abilities, Action, Changes, Commit, Committed, Durability, Error, Failure, Listed, Outcome, Page,
    Refusal, Reply, Resolution, Scan, Start, Store, Versioned, WriteId, check_id,
};
use answer::ScriptAnswer;
use begin::begin;
use hub::Hub;
use keys::Keys;
use link::Link;
use order::Verdict;
use place::Place;
use script::{RESOLVE, Request, WATCH};
use trouble::Trouble;

pub use options::Options;

/// The most entries one commit may have.
const ENTRIES: usize = 1_000;

/// The most bytes the values of one commit may have, unless a single one may have more.
const COMMIT_BYTES: usize = 64 << 20;

/// A store on a Redis server, release 7 or later.
///
/// A store of bytes: [`Collection::json`](crate::Collection::json) keeps a program's own types in it. Several programs
/// may use one collection at the same time.
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
/// share. A page is one script, and one without values sends 10 bytes of each record. A watcher costs one script a batch; all watchers of a store share one more connection,
/// which waits for new commits. Redis runs one script at a time: a commit of one small value takes it some 12 µs, one of
/// 1,000 entries a few milliseconds, and each MiB of values a millisecond more.
///
/// # Versions
///
/// One counter serves the collection, and each version also carries 24 random bits of its commit; both are compared. A
/// number that is issued again, after Redis lost its latest commits or was restored from a backup, matches an old version
/// by a chance of one in 16 million. A collection begins at a random number, so that one that was wiped and begun again
/// tells its versions from those before. All entries of one commit share a version.
///
/// # Durability
///
/// The server's settings decide, and are read once, when the store is opened: with `appendonly yes` and `appendfsync
/// always` a crash loses nothing that was acknowledged. Otherwise [`Abilities::durability`] tells what it may lose;
/// [`Options::require_strict`] refuses such a server, and one that does not tell (`CONFIG GET` may be forbidden). A server
/// that drops keys when its memory is full is refused in any case.
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
/// - A blind write overwrites also a record of which the value alone is damaged; a write that expects a version does not.
///   The script looks at the head of a record, and computes no checksum of its value: Lua would take half a millisecond for each KiB.
/// - A collection lives on one node of a cluster: all of its keys have the hash tag `{collection}`. The store follows the
///   cluster's hints to that node; while the collection moves to another one, calls fail and may be tried again.
/// - Everything is in the memory of Redis. Where that is full, commits that put values fail with
///   [`Outcome::NotApplied`]; reads and deletions go on.
/// - Past version 2^40 - 2 the collection takes no more commits.
/// - The keys begin with `ifmatch:{collection}:`. A user with an ACL needs `~ifmatch:{collection}:*`, `INFO` (opening asks
///   whether the server is a replica, and which keys it drops), the commands of hashes,
///   strings, sorted sets and streams, and `EVALSHA` and `EVAL`; a permission that is missing is told of when the store is
///   opened.
///
/// # Failures
///
/// A commit that was sent and not answered, because the connection broke or a deadline passed, comes back with
/// [`Outcome::Unknown`], and [`resolve`](Store::resolve) tells what became of it; [`Collection`](crate::Collection) does so
/// by itself. What Redis refuses to run, because it is loading, a replica, full or busy, is [`Outcome::NotApplied`]. A
/// broken connection is made anew by the next call, and watchers resume by themselves.
///
/// A server that takes no writes, as a replica or for want of replicas or of a disk, is not read either: a read must not
/// show less than was acknowledged, and Redis keeps its replicas apart only for writes.
pub struct Redis {
    shared: Arc<Shared>,
}

/// What the store and its watchers share.
struct Shared {
    link: Arc<Link>,
    keys: Keys,
    deadlines: Deadlines,
    history: usize,
    value_limit: usize,
    durability: Durability,
    /// There while somebody watches.
    hub: Mutex<Weak<Hub>>,
    // The last field: the runtime ends after all that lives in it.
    runtime: Runtime,
}

impl Redis {
    /// Opens the collection `default` on the server at `url`, or begins it where there is nothing.
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

    /// How to open a collection otherwise than [`connect`](Self::connect) does.
    ///
    /// ```
    /// use ifmatch::Redis;
    ///
    /// let options = Redis::options().collection("articles").history(1_000_000);
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

impl Shared {
    /// Runs a script that changes nothing, and gives its answer. A collection that was wiped is begun anew.
    async fn read(&self, call: &Request) -> Result<ScriptAnswer, Error> {
        let mut begun = false;
        loop {
            let answer = self.link.call(call, self.deadlines.read).await;
            let answer = answer.map_err(|undone| undone.trouble).and_then(ScriptAnswer::new);
            let answer = answer.map_err(Trouble::of_read)?;
            if answer.word() != "place" {
                return Ok(answer);
            }
            match answer.trouble() {
                Trouble::Format(format) if format.is_empty() && !begun => self.begin_anew().await?,
                trouble => return Err(trouble.of_read()),
            }
            begun = true;
        }
    }

    /// Somebody wiped the place: begins the collection again.
    async fn begin_anew(&self) -> Result<(), Error> {
        Ok(begin(&self.link, &self.keys, &self.deadlines).await?)
    }

    async fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        let key = self.keys.value(id);
        let mut command = Cmd::with_capacity(2, key.len() + 5);
        // A `GET` that counts as a write: a replica, as a primary may have become, refuses it and does not answer with what
        // may be old.
        command.arg("GETEX").arg(key);
        match self.link.call(&Request::reading(command), self.deadlines.read).await {
            Ok(Value::Nil) => Ok(None),
            Ok(Value::BulkString(stored)) => order::value(id, &stored),
            Ok(_) => Err(Trouble::Unexpected.of_read()),
            Err(undone) => Err(undone.trouble.of_read()),
        }
    }

    async fn commit(&self, commit: Commit<'_, [u8]>) -> Result<Committed, Error> {
        let call = order::call(&self.keys, self.history, &commit);
        let mut begun = false;
        loop {
            let answer = match self.link.call(&call, self.deadlines.commit).await {
                Ok(answer) => answer,
                Err(undone) => return Err(failed(&commit, undone.outcome(), undone.trouble)),
            };
            let verdict = match ScriptAnswer::new(answer) {
                Ok(answer) => order::verdict(&commit, answer),
                Err(trouble) => Err(trouble.into()),
            };
            match verdict {
                Ok(committed) => return Ok(committed),
                Err(Verdict::Refused(error)) => return Err(error),
                Err(Verdict::Gone) if !begun => self.begin_anew().await?,
                Err(Verdict::Gone) => {
                    return Err(failed(&commit, Outcome::NotApplied, Trouble::Format(String::new())));
                }
                Err(Verdict::Trouble(trouble)) => return Err(failed(&commit, trouble.outcome(), trouble)),
            }
            begun = true;
        }
    }

    async fn resolve(&self, write: WriteId) -> Result<Resolution, Error> {
        let keys = [&self.keys.meta, &self.keys.log, &self.keys.writes, &self.keys.closed];
        let call = RESOLVE
            .call(&keys, 64)
            .argument(write.to_bits().to_be_bytes())
            .argument(self.history.to_string())
            .repeatable();
        let mut answer = self.read(&call).await?;
        match answer.word() {
            "applied" => {
                let committed = answer.bytes().and_then(|receipts| order::committed(&receipts));
                Ok(Resolution::Applied(committed.map_err(Trouble::of_read)?))
            }
            "closed" => Ok(Resolution::NotApplied),
            "unknown" => Ok(Resolution::Unknown),
            _ => Err(Trouble::Unexpected.of_read()),
        }
    }

    async fn watch(self: &Arc<Self>, from: Start) -> Result<Changes<[u8]>, Error> {
        let mut call = WATCH.call(&[&self.keys.meta, &self.keys.log], 64).repeatable();
        if let Start::After(cursor) = &from {
            let place = Place::try_from(cursor)?;
            call = call.argument(&place.epoch).argument(place.position.to_string()).argument(place.tag);
        }
        let mut answer = self.read(&call).await?;
        match answer.word() {
            "from" => {
                let place = Place::read(&mut answer).map_err(Trouble::of_read)?;
                let cursor = place.cursor();
                Ok(self.runtime.changes(cursor, watch::Watch::new(Arc::clone(self), self.hub(), place)))
            }
            "expired" => Err(Place::expired(&mut answer).into()),
            _ => Err(Trouble::Unexpected.of_read()),
        }
    }

    /// The hub of all who watch; the first of them starts it.
    fn hub(&self) -> Arc<Hub> {
        let mut current = self.hub.lock();
        current.upgrade().unwrap_or_else(|| {
            let (link, log) = (Arc::clone(&self.link), self.keys.log.clone());
            let hub = Arc::new(Hub::start(link, log, self.deadlines.read, self.runtime.handle()));
            *current = Arc::downgrade(&hub);
            hub
        })
    }

    /// Refuses what Redis can't hold, before anything is sent.
    fn admit(&self, commit: &Commit<'_, [u8]>) -> Result<(), Refusal> {
        Limits { entries: ENTRIES, value: self.value_limit, commit: COMMIT_BYTES }.admit(commit)?;
        let puts = commit.entries().iter().filter(|entry| matches!(entry.action, Action::Put(_)));
        for entry in puts {
            check_id(entry.id)?;
        }
        Ok(())
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
        }
    }
}

/// The error of a commit that came to no verdict.
fn failed(commit: &Commit<'_, [u8]>, outcome: Outcome, trouble: Trouble) -> Error {
    let failure = Failure::new(outcome, trouble);
    match commit.remembered_write() {
        Some(write) if outcome == Outcome::Unknown => failure.with_write(write).into(),
        _ => failure.into(),
    }
}
