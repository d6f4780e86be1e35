//! [`Shared`], what a [`Etcd`](super::Etcd), its calls and its watchers have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, KvClient, ResponseHeader, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::keys::Keys;
use super::manifest::Manifest;
use super::nodes::{Nodes, Purpose};
use super::options::Options;
use super::plan::{Answered, Plan};
use super::recent::Recent;
use super::trouble::Trouble;
use super::{durability, plan};
use crate::backend::engine::{ConnectError, Deadlines, Runtime, Token};
use crate::base::random;
use crate::store::{
    Commit, Committed, Durability, Error, Failure, Listed, Outcome, Page, Refusal, Scan, Versioned, WriteId,
    check_id,
};

/// A larger page is read in parts, of which the first has so many resources.
const FIRST_PART: usize = 64;

/// About so many bytes, and at most so many resources, are read in each further part.
const PART_BYTES: usize = 4 << 20;

const PART: usize = 1_000;

/// So many revisions before the last that makes a version, nothing is written any more.
const LEFT: u64 = 1 << 20;

/// What the calls, the watchers and the tasks of a store share.
pub(super) struct Shared {
    pub(super) nodes: Nodes,
    pub(super) runtime: Runtime,
    pub(super) keys: Keys,
    pub(super) manifest: RwLock<Arc<Manifest>>,
    pub(super) deadlines: Deadlines,
    pub(super) history: usize,
    pub(super) value_limit: usize,
    pub(super) request_limit: usize,
    /// The newest revision that an answer has shown.
    pub(super) newest: AtomicI64,
    /// How many closed write ids there were when that was last told.
    pub(super) closings: AtomicI64,
    /// How many commits were noted since the oldest last left.
    pub(super) noted: AtomicUsize,
    pub(super) trimming: AtomicBool,
    pub(super) recent: Mutex<Recent>,
    pub(super) durability: RwLock<Durability>,
}

impl Shared {
    pub(super) fn new(nodes: Nodes, runtime: Runtime, keys: Keys, options: &Options) -> Self {
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
            noted: AtomicUsize::new(random() as usize % slack(history)),
            trimming: AtomicBool::new(false),
            recent: Mutex::default(),
            durability: RwLock::new(Durability::Strict),
        }
    }

    /// Reads what the engine tells of its durability, then finds the namespace or lays it.
    pub(super) async fn open(&self, require_strict: bool) -> Result<(), ConnectError> {
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

    pub(super) fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.read())
    }

    pub(super) fn set_manifest(&self, manifest: Manifest) {
        *self.manifest.write() = Arc::new(manifest);
    }

    /// Goes on with another manifest: this one, or else the one that stands there, or a new one.
    pub(super) async fn follow(&self, stands: Option<Manifest>) -> Result<(), Error> {
        let manifest = match stands {
            Some(manifest) => manifest,
            None => self.lay_within(self.deadlines.read).await?,
        };
        self.set_manifest(manifest);
        Ok(())
    }

    /// The newest revision that an answer has shown.
    pub(super) fn newest(&self) -> i64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Takes note of the revision of an answer, where `before` was the newest when it was asked for. Etcd that answers from
    /// before that has lost what came since, or is another one: what was known of it holds no more.
    pub(super) fn saw(&self, before: i64, answer: &TxnResponse) {
        let revision = revision(answer);
        if revision < before {
            self.newest.store(revision, Ordering::Release);
            let mut recent = self.recent.lock();
            let line = recent.line();
            recent.forget(line);
        } else {
            self.newest.fetch_max(revision, Ordering::AcqRel);
        }
    }

    /// That a manifest is the one there is.
    pub(super) fn stands(&self, manifest: &Manifest) -> Compare {
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
    pub(super) async fn read(&self, gets: Vec<TxnOp>) -> Result<(Arc<Manifest>, TxnResponse), Error> {
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

    pub(super) async fn get(&self, id: &str) -> Result<Option<Versioned<[u8]>>, Error> {
        if check_id(id).is_err() {
            return Ok(None);
        }
        let (manifest, answer) = self.read(vec![TxnOp::get(self.keys.resource(id), None)]).await?;
        let found = answer.op_responses();
        let stored = found.first().and_then(plan::found);
        stored.map(|stored| plan::decode(&manifest, id, stored)).transpose()
    }

    pub(super) async fn commit(self: &Arc<Self>, commit: &Commit<'_, [u8]>) -> Result<Committed, Error> {
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

    pub(super) async fn scan(&self, scan: Scan<'_>) -> Result<Page<Listed<[u8]>>, Error> {
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

    pub(super) async fn compact(&self, keep: u64) -> Result<u64, Error> {
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
pub(super) fn forgotten(write: WriteId) -> Error {
    unknown("it was applied, and etcd has compacted away what it replaced", write)
}

pub(super) fn unknown(source: impl Into<Box<dyn std::error::Error + Send + Sync>>, write: WriteId) -> Error {
    Failure::new(Outcome::Unknown, source).with_write(write).into()
}

/// The revision that the engine was in when it answered.
pub(super) fn revision(answer: &TxnResponse) -> i64 {
    answer.header().map_or(0, ResponseHeader::revision)
}

/// After how many commits the oldest leave together: etcd reads all of them to find these.
pub(super) fn slack(history: usize) -> usize {
    (history / 8).clamp(1, 16_384)
}
