//! The contenders: what a program would use instead of a collection, each at its best.

use std::collections::HashMap;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;
use ifmatch::{Collection, Database, Version};
use moka::ops::compute::{CompResult, Op};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

use crate::article::{Article, number};

/// A map that can read, and replace what it holds if nobody was faster.
pub trait Peer: Sync {
    const NAME: &'static str;
    type Id: Sync;
    type Stamp: Clone + Send;
    type Value: Clone + Send;

    fn new() -> Self;
    fn id(text: &str) -> Self::Id;
    fn value(article: &Arc<Article>) -> Self::Value;

    fn create(&self, id: &Self::Id, value: Self::Value) -> Self::Stamp;
    fn read(&self, id: &Self::Id) -> (Self::Stamp, Self::Value);
    /// The new stamp, `None` where the expected one is stale.
    fn swap(&self, id: &Self::Id, expected: &Self::Stamp, value: Self::Value) -> Option<Self::Stamp>;
    fn delete(&self, id: &Self::Id, expected: &Self::Stamp);

    /// Ends what the peer still has to do about earlier calls.
    fn settle(&self) {}

    /// Reads `count` values, each the one that the value before it names, and says where it got to.
    fn follow(&self, ids: &[Self::Id], from: usize, count: usize) -> usize;
}

/// Follows a chain of articles by the text of their ids.
fn follow<'a>(from: usize, count: usize, read: impl Fn(&str) -> Arc<Article> + 'a) -> usize {
    let mut next = read(&crate::article::id(from));
    for _ in 0..count {
        next = read(&next.next);
    }
    number(&next.next)
}

/// A collection in memory, as a program uses it.
pub struct Ours(pub Collection<Article>);

impl Peer for Ours {
    const NAME: &'static str = "ifmatch";
    type Id = String;
    type Stamp = Version;
    type Value = Arc<Article>;

    fn new() -> Self {
        Self(Collection::in_memory())
    }

    fn id(text: &str) -> String {
        text.to_owned()
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Arc::clone(article)
    }

    #[inline]
    fn create(&self, id: &String, value: Arc<Article>) -> Version {
        self.0.create(id, value).wait().expect("it was absent").version
    }

    #[inline]
    fn read(&self, id: &String) -> (Version, Arc<Article>) {
        let found = self.0.get(id).wait().expect("memory does not fail").expect("it is there");
        (found.version, found.value)
    }

    #[inline]
    fn swap(&self, id: &String, expected: &Version, value: Arc<Article>) -> Option<Version> {
        Some(self.0.replace(id, *expected, value).wait().ok()?.version)
    }

    #[inline]
    fn delete(&self, id: &String, expected: &Version) {
        self.0.delete(id, *expected).wait().expect("it is as expected");
    }

    fn follow(&self, _: &[String], from: usize, count: usize) -> usize {
        follow(from, count, |id| {
            self.0.get(id).wait().expect("memory does not fail").expect("it is there").value
        })
    }
}

/// A collection of a database in memory.
pub struct InDatabase(pub Ours);

impl Peer for InDatabase {
    const NAME: &'static str = "ifmatch-database";
    type Id = String;
    type Stamp = Version;
    type Value = Arc<Article>;

    fn new() -> Self {
        let articles =
            Database::in_memory().define("articles").and_then(|articles| articles.open_in_memory());
        Self(Ours(articles.expect("a good name")))
    }

    fn id(text: &str) -> String {
        Ours::id(text)
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Ours::value(article)
    }

    #[inline]
    fn create(&self, id: &String, value: Arc<Article>) -> Version {
        self.0.create(id, value)
    }

    #[inline]
    fn read(&self, id: &String) -> (Version, Arc<Article>) {
        self.0.read(id)
    }

    #[inline]
    fn swap(&self, id: &String, expected: &Version, value: Arc<Article>) -> Option<Version> {
        self.0.swap(id, expected, value)
    }

    #[inline]
    fn delete(&self, id: &String, expected: &Version) {
        self.0.delete(id, expected);
    }

    fn follow(&self, ids: &[String], from: usize, count: usize) -> usize {
        self.0.follow(ids, from, count)
    }
}

/// `RwLock<HashMap>` of the standard library with a counter.
pub struct Locked(RwLock<HashMap<String, Row>>, AtomicU64);

/// A value beside its revision.
#[derive(Clone)]
pub struct Row {
    pub revision: u64,
    pub value: Arc<Article>,
}

fn tick(clock: &AtomicU64) -> u64 {
    clock.fetch_add(1, Ordering::Relaxed) + 1
}

impl Peer for Locked {
    const NAME: &'static str = "RwLock<HashMap>";
    type Id = String;
    type Stamp = u64;
    type Value = Arc<Article>;

    fn new() -> Self {
        Self(RwLock::default(), AtomicU64::new(0))
    }

    fn id(text: &str) -> String {
        text.to_owned()
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Arc::clone(article)
    }

    fn create(&self, id: &String, value: Arc<Article>) -> u64 {
        let revision = tick(&self.1);
        self.0.write().unwrap().insert(id.clone(), Row { revision, value });
        revision
    }

    #[inline]
    fn read(&self, id: &String) -> (u64, Arc<Article>) {
        let rows = self.0.read().unwrap();
        let row = &rows[id];
        (row.revision, Arc::clone(&row.value))
    }

    #[inline]
    fn swap(&self, id: &String, expected: &u64, value: Arc<Article>) -> Option<u64> {
        let mut rows = self.0.write().unwrap();
        let row = rows.get_mut(id).filter(|row| row.revision == *expected)?;
        let revision = tick(&self.1);
        let old = std::mem::replace(row, Row { revision, value });
        drop(rows);
        drop(old);
        Some(revision)
    }

    fn delete(&self, id: &String, _: &u64) {
        self.0.write().unwrap().remove(id);
    }

    fn follow(&self, _: &[String], from: usize, count: usize) -> usize {
        follow(from, count, |id| Arc::clone(&self.0.read().unwrap()[id].value))
    }
}

/// `HashMap` of the standard library, of one thread: what a look-up costs where nothing is shared.
pub struct Bare(pub HashMap<String, Arc<Article>>);

impl Bare {
    pub fn follow(&self, from: usize, count: usize) -> usize {
        follow(from, count, |id| Arc::clone(&self.0[id]))
    }
}

/// The values in the order of their numbers: following a chain of them costs no look-up, only what each contender pays
/// for the values themselves.
pub struct List(Vec<Arc<Article>>);

impl List {
    pub fn new(articles: &[(String, Arc<Article>)]) -> Self {
        let mut sorted: Vec<_> = articles.iter().collect();
        sorted.sort_by_key(|(id, _)| number(id));
        Self(sorted.into_iter().map(|(_, article)| Arc::clone(article)).collect())
    }

    pub fn follow(&self, from: usize, count: usize) -> usize {
        follow(from, count, |id| Arc::clone(&self.0[number(id)]))
    }
}

/// `dashmap` with its defaults, which has no revisions: a replacement replaces whatever is there.
pub struct Raw(pub DashMap<String, Arc<Article>>);

impl Peer for Raw {
    const NAME: &'static str = "dashmap (no versions)";
    type Id = String;
    type Stamp = ();
    type Value = Arc<Article>;

    fn new() -> Self {
        Self(DashMap::new())
    }

    fn id(text: &str) -> String {
        text.to_owned()
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Arc::clone(article)
    }

    fn create(&self, id: &String, value: Arc<Article>) {
        self.0.insert(id.clone(), value);
    }

    #[inline]
    fn read(&self, id: &String) -> ((), Arc<Article>) {
        ((), Arc::clone(&self.0.get(id).expect("it is there")))
    }

    #[inline]
    fn swap(&self, id: &String, (): &(), value: Arc<Article>) -> Option<()> {
        let mut row = self.0.get_mut(id)?;
        let old = std::mem::replace(&mut *row, value);
        drop(row);
        drop(old);
        Some(())
    }

    fn delete(&self, id: &String, (): &()) {
        self.0.remove(id);
    }

    fn follow(&self, _: &[String], from: usize, count: usize) -> usize {
        follow(from, count, |id| Arc::clone(&self.0.get(id).expect("it is there")))
    }
}

/// Compare-and-swap by hand: `dashmap` with our hasher, revisions from a counter, and `Arc<Versioned>` as its values.
pub struct ByHand(DashMap<String, Arc<Row>, foldhash::fast::RandomState>, AtomicU64);

impl Peer for ByHand {
    const NAME: &'static str = "dashmap + Arc<Versioned> by hand";
    type Id = String;
    type Stamp = u64;
    type Value = Arc<Article>;

    fn new() -> Self {
        Self(DashMap::default(), AtomicU64::new(0))
    }

    fn id(text: &str) -> String {
        text.to_owned()
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Arc::clone(article)
    }

    fn create(&self, id: &String, value: Arc<Article>) -> u64 {
        let revision = tick(&self.1);
        self.0.insert(id.clone(), Arc::new(Row { revision, value }));
        revision
    }

    #[inline]
    fn read(&self, id: &String) -> (u64, Arc<Article>) {
        let row = Arc::clone(&self.0.get(id).expect("it is there"));
        (row.revision, Arc::clone(&row.value))
    }

    #[inline]
    fn swap(&self, id: &String, expected: &u64, value: Arc<Article>) -> Option<u64> {
        let mut row = self.0.get_mut(id).filter(|row| row.revision == *expected)?;
        let revision = tick(&self.1);
        let old = std::mem::replace(&mut *row, Arc::new(Row { revision, value }));
        drop(row);
        drop(old);
        Some(revision)
    }

    fn delete(&self, id: &String, _: &u64) {
        self.0.remove(id);
    }

    fn follow(&self, _: &[String], from: usize, count: usize) -> usize {
        let mut next = Arc::clone(&self.0.get(&crate::article::id(from)).expect("it is there"));
        for _ in 0..count {
            next = Arc::clone(&self.0.get(&next.value.next).expect("it is there"));
        }
        number(&next.value.next)
    }
}

/// The same with the revision beside the value in the table's own row: no block for the pair.
pub struct InRow(DashMap<String, Row, foldhash::fast::RandomState>, AtomicU64);

impl Peer for InRow {
    const NAME: &'static str = "dashmap + revision in the row by hand";
    type Id = String;
    type Stamp = u64;
    type Value = Arc<Article>;

    fn new() -> Self {
        Self(DashMap::default(), AtomicU64::new(0))
    }

    fn id(text: &str) -> String {
        text.to_owned()
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Arc::clone(article)
    }

    fn create(&self, id: &String, value: Arc<Article>) -> u64 {
        let revision = tick(&self.1);
        self.0.insert(id.clone(), Row { revision, value });
        revision
    }

    #[inline]
    fn read(&self, id: &String) -> (u64, Arc<Article>) {
        let row = self.0.get(id).expect("it is there");
        (row.revision, Arc::clone(&row.value))
    }

    #[inline]
    fn swap(&self, id: &String, expected: &u64, value: Arc<Article>) -> Option<u64> {
        let mut row = self.0.get_mut(id).filter(|row| row.revision == *expected)?;
        let revision = tick(&self.1);
        let old = std::mem::replace(&mut *row, Row { revision, value });
        drop(row);
        drop(old);
        Some(revision)
    }

    fn delete(&self, id: &String, _: &u64) {
        self.0.remove(id);
    }

    fn follow(&self, _: &[String], from: usize, count: usize) -> usize {
        follow(from, count, |id| Arc::clone(&self.0.get(id).expect("it is there").value))
    }
}

/// `moka`, a cache, with `and_compute_with`.
pub struct Moka(moka::sync::Cache<String, Row>, AtomicU64);

impl Peer for Moka {
    const NAME: &'static str = "moka";
    type Id = String;
    type Stamp = u64;
    type Value = Arc<Article>;

    fn new() -> Self {
        Self(moka::sync::Cache::builder().build(), AtomicU64::new(0))
    }

    fn id(text: &str) -> String {
        text.to_owned()
    }

    fn value(article: &Arc<Article>) -> Arc<Article> {
        Arc::clone(article)
    }

    fn create(&self, id: &String, value: Arc<Article>) -> u64 {
        let revision = tick(&self.1);
        self.0.insert(id.clone(), Row { revision, value });
        revision
    }

    #[inline]
    fn read(&self, id: &String) -> (u64, Arc<Article>) {
        let row = self.0.get(id).expect("it is there");
        (row.revision, row.value)
    }

    #[inline]
    fn swap(&self, id: &String, expected: &u64, value: Arc<Article>) -> Option<u64> {
        let swapped = self.0.entry_by_ref(id).and_compute_with(|row| match row {
            Some(row) if row.value().revision == *expected => Op::Put(Row { revision: tick(&self.1), value }),
            _ => Op::Nop,
        });
        match swapped {
            CompResult::ReplacedWith(row) => Some(row.value().revision),
            _ => None,
        }
    }

    fn delete(&self, id: &String, _: &u64) {
        self.0.invalidate(id);
    }

    fn settle(&self) {
        self.0.run_pending_tasks();
    }

    fn follow(&self, _: &[String], from: usize, count: usize) -> usize {
        follow(from, count, |id| self.0.get(id).expect("it is there").value)
    }
}

/// `object_store`'s memory store with `PutMode::Update`. Its values are bytes: what it would cost to decode them is
/// not counted.
pub struct Objects(InMemory);

/// Nothing in memory is ever pending.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("a store in memory answers at once"),
    }
}

impl Objects {
    fn put(&self, id: &Path, value: PutPayload, mode: PutMode) -> Option<UpdateVersion> {
        let options = PutOptions { mode, ..PutOptions::default() };
        now(self.0.put_opts(id, value, options)).ok().map(UpdateVersion::from)
    }
}

impl Peer for Objects {
    const NAME: &'static str = "object_store";
    type Id = Path;
    type Stamp = UpdateVersion;
    type Value = PutPayload;

    fn new() -> Self {
        Self(InMemory::new())
    }

    fn id(text: &str) -> Path {
        Path::from(text)
    }

    fn value(article: &Arc<Article>) -> PutPayload {
        format!("{}{}{}{}", article.next, article.title, article.author, article.body).into_bytes().into()
    }

    fn create(&self, id: &Path, value: PutPayload) -> UpdateVersion {
        self.put(id, value, PutMode::Create).expect("it was absent")
    }

    fn read(&self, id: &Path) -> (UpdateVersion, PutPayload) {
        let found = now(self.0.get(id)).expect("it is there");
        let stamp = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        (stamp, now(found.bytes()).expect("it is in memory").into())
    }

    fn swap(&self, id: &Path, expected: &UpdateVersion, value: PutPayload) -> Option<UpdateVersion> {
        self.put(id, value, PutMode::Update(expected.clone()))
    }

    fn delete(&self, id: &Path, _: &UpdateVersion) {
        now(self.0.delete(id)).expect("it is there");
    }

    fn follow(&self, ids: &[Path], from: usize, count: usize) -> usize {
        let mut at = from;
        for _ in 0..count {
            let bytes = now(async { self.0.get(&ids[at]).await?.bytes().await }).expect("it is there");
            at = number(std::str::from_utf8(&bytes[..16]).expect("ids are text"));
        }
        black_box(at)
    }
}
