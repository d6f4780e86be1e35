//! [`View`], what is committed, as readers see it: what is settled in the file, and the recent commits in memory.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Peekable;
use std::ops::{Bound, Deref};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use redb::{
    AccessGuard, Database, Range, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    WriteTransaction,
};

use super::added::Added;
use super::commits::{self, AfterImage, Commits};
use super::log::{LogDamage, Logged, commits_in};
use super::schema::{self, CLOSED, DELETED, Facts, LOG, Origin, RESOURCES};
use super::settle::{self, Settled};
use crate::store::WriteId;

/// What is committed by one commit, for ever the same.
///
/// The recent commits are shared with the views before and after it, so a new view costs no copy of them; each view sees
/// those up to its own last one.
#[derive(Clone)]
pub(crate) struct View {
    snapshot: Arc<Snapshot>,
    /// The recent commits that are being settled: no more are added.
    settling: Option<Arc<RwLock<Commits>>>,
    /// Those after them.
    recent: Arc<RwLock<Commits>>,
    /// The position of the newest commit.
    pub(crate) last: u64,
    /// The position of the last commit that has left the log.
    pub(crate) floor: u64,
    /// The position of the newest commit that is settled.
    settled: u64,
}

/// What is settled, at one moment.
pub(crate) struct Snapshot {
    transaction: ReadTransaction,
    /// Opened where it is asked for.
    resources: OnceLock<Resources>,
}

type Resources = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// What stands under an id.
pub(crate) enum Stored {
    Nothing,
    /// It was deleted lately, by the commit at this position.
    Deleted(u64),
    Recent(Arc<[u8]>),
    Settled(AccessGuard<'static, &'static [u8]>),
}

impl Stored {
    /// The [`Record`](crate::backend::record::Record), where there is one.
    pub(crate) fn record(&self) -> Option<&[u8]> {
        match self {
            Self::Nothing | Self::Deleted(_) => None,
            Self::Recent(record) => Some(record),
            Self::Settled(record) => Some(record.value()),
        }
    }
}

impl From<&AfterImage> for Stored {
    fn from(state: &AfterImage) -> Self {
        match &state.record {
            Some(record) => Self::Recent(Arc::clone(record)),
            None => Self::Deleted(state.position),
        }
    }
}

impl Snapshot {
    pub(super) fn of(transaction: ReadTransaction) -> Self {
        Self { transaction, resources: OnceLock::new() }
    }

    fn resources(&self) -> Result<&Resources, redb::Error> {
        if let Some(resources) = self.resources.get() {
            return Ok(resources);
        }
        let opened = self.transaction.open_table(RESOURCES)?;
        Ok(self.resources.get_or_init(|| opened))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

impl View {
    /// What is settled in a file, and what frames of its journal hold.
    pub(crate) fn load(database: &Database, frames: &[Vec<u8>]) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let floor = schema::facts(&transaction)?.floor;
        let settled = settle::newest(&transaction, floor)?;
        let mut recent = Commits::default();
        for frame in frames {
            commits::decode_frame(frame, &mut recent).map_err(corrupted)?;
        }
        if recent.list().first().is_some_and(|first| first.position.get() <= settled) {
            return Err(redb::Error::Corrupted("the log has a commit that is not settled".to_owned()));
        }
        let last = recent.last().unwrap_or(settled);
        let (snapshot, recent) = (Arc::new(Snapshot::of(transaction)), Arc::new(RwLock::new(recent)));
        Ok(Self { snapshot, settling: None, recent, last, floor, settled })
    }

    /// The view after commits that were added to the recent ones.
    pub(crate) fn followed(&self, added: Added) -> Self {
        let last = added.commits().last().unwrap_or(self.last);
        // Views before it don't see them.
        self.recent.write().append(added.commits);
        Self { last, ..self.clone() }
    }

    /// The view in which the recent commits are those that are being settled.
    pub(crate) fn begun(&self) -> Self {
        Self { settling: Some(Arc::clone(&self.recent)), recent: Arc::default(), ..self.clone() }
    }

    /// The view once those are settled.
    pub(crate) fn settled(&self, settled: Settled) -> Self {
        let last = self.settling().and_then(|settling| settling.last());
        Self {
            snapshot: Arc::new(settled.snapshot),
            settling: None,
            floor: settled.floor,
            settled: last.unwrap_or(self.settled),
            ..self.clone()
        }
    }

    /// The view once all recent commits were settled together with others.
    pub(crate) fn settled_with(&self, added: &Added, settled: Settled) -> Self {
        let last = added.commits().last().unwrap_or(self.last);
        let (snapshot, floor) = (Arc::new(settled.snapshot), settled.floor);
        Self { snapshot, settling: None, recent: Arc::default(), last, floor, settled: last }
    }

    /// Whether every commit is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.recent.read().is_empty() && self.settling.is_none()
    }

    /// The commits that are being settled.
    pub(crate) fn settling(&self) -> Option<impl Deref<Target = Commits>> {
        self.settling.as_ref().map(|settling| settling.read())
    }

    /// The recent commits that are not being settled; for who holds
    /// [`writing`](crate::backend::file::handle::Handle::writing), since those of later views are among them.
    pub(crate) fn recent(&self) -> impl Deref<Target = Commits> {
        self.recent.read()
    }

    /// Both, the older ones first.
    pub(super) fn unsettled(&self) -> impl DoubleEndedIterator<Item = &RwLock<Commits>> {
        self.settling.iter().chain([&self.recent]).map(Arc::as_ref)
    }

    /// Puts what is not settled in its place in a copy. Commits go on meanwhile, however long that takes.
    pub(super) fn put(&self, to: &WriteTransaction) -> Result<(), redb::Error> {
        self.unsettled().try_for_each(|commits| {
            let commits = commits.read().clone();
            settle::put(to, &commits, self.last)
        })
    }

    /// The random number that names the file in its cursors.
    pub(crate) fn identity(&self) -> Result<u64, redb::Error> {
        Ok(self.origin()?.identity)
    }

    /// What a copy of the file begins with.
    pub(crate) fn origin(&self) -> Result<Origin, redb::Error> {
        let facts = self.facts()?;
        Ok(Origin { identity: facts.identity, floor: facts.floor })
    }

    /// What the file knows of itself.
    pub(crate) fn facts(&self) -> Result<Facts, redb::Error> {
        schema::facts(self.snapshot())
    }

    /// The write ids that were resolved as not applied; for who holds
    /// [`writing`](crate::backend::file::handle::Handle::writing).
    pub(crate) fn closed(&self) -> Result<Vec<WriteId>, redb::Error> {
        let closed = self.snapshot().open_table(CLOSED)?;
        let bits = closed.iter()?.map(|row| Ok(WriteId::from_bits(row?.0.value())));
        let mut closed: Vec<_> = bits.collect::<Result<_, redb::Error>>()?;
        self.unsettled().for_each(|commits| closed.extend(commits.read().closed()));
        Ok(closed)
    }

    pub(crate) fn snapshot(&self) -> &ReadTransaction {
        &self.snapshot.transaction
    }

    /// What stands under an id.
    pub(crate) fn find(&self, id: &str) -> Result<Stored, redb::Error> {
        for commits in self.unsettled().rev() {
            if let Some(state) = commits.read().find(id, self.last) {
                return Ok(state.into());
            }
        }
        Ok(self.snapshot.resources()?.get(id.as_bytes())?.map_or(Stored::Nothing, Stored::Settled))
    }

    /// The position of the commit that deleted an id, as far as that is settled and the log reaches back. The id may have
    /// been created again since.
    pub(crate) fn buried(&self, id: &str) -> Result<Option<u64>, redb::Error> {
        Ok(self.snapshot().open_table(DELETED)?.get(id.as_bytes())?.map(|position| position.value()))
    }

    /// What has a value, in order, from a bound on: all that begins with `prefix`, or the first `limit` of it, and then
    /// more.
    pub(crate) fn range(&self, from: Bound<&str>, prefix: &str, limit: usize) -> Result<Merged, redb::Error> {
        let mut puts = 0;
        let mut recent = Vec::new();
        let settling = self.settling.as_ref().map(|settling| settling.read());
        let settling = settling.iter().flat_map(|settling| settling.range(from, self.last));
        let newer = self.recent.read();
        let (mut settling, mut newer) = (settling.peekable(), newer.range(from, self.last).peekable());
        loop {
            let order = match (settling.peek(), newer.peek()) {
                (Some((older, _)), Some((newer, _))) => older.cmp(newer),
                (Some(_), None) => Ordering::Less,
                (None, _) => Ordering::Greater,
            };
            if order == Ordering::Equal {
                // What is newer replaces it.
                settling.next();
            }
            let next = if order == Ordering::Less { settling.next() } else { newer.next() };
            let Some((id, state)) = next.filter(|(id, _)| puts < limit && id.starts_with(prefix)) else {
                break;
            };
            puts += usize::from(state.record.is_some());
            recent.push((Arc::clone(id), state.clone()));
        }
        let bound = from.map(str::as_bytes);
        let settled = self.snapshot.resources()?.range::<&[u8]>((bound, Bound::Unbounded))?;
        Ok(Merged { settled: settled.peekable(), recent: recent.into_iter().peekable() })
    }

    /// The commit at a position, where the log has one.
    pub(crate) fn at(&self, position: u64) -> Result<Option<Arc<Logged>>, redb::Error> {
        let Some(before) = position.checked_sub(1) else { return Ok(None) };
        let next = self.next(before, |_| true)?;
        Ok(next.filter(|logged| logged.position.get() == position))
    }

    /// The first commit after a position that is of a kind.
    pub(crate) fn next(
        &self,
        position: u64,
        is_wanted: impl Fn(&Logged) -> bool,
    ) -> Result<Option<Arc<Logged>>, redb::Error> {
        if position < self.settled {
            for row in self.snapshot().open_table(LOG)?.range(position + 1..)? {
                let (last, row) = row?;
                for logged in commits_in(last.value(), row.value(), position) {
                    let logged = logged.map_err(corrupted)?;
                    if is_wanted(&logged) {
                        return Ok(Some(Arc::new(logged)));
                    }
                }
            }
        }
        for commits in self.unsettled() {
            let commits = commits.read();
            let mut later =
                commits.after(position).iter().take_while(|logged| logged.position.get() <= self.last);
            if let Some(next) = later.find(|logged| is_wanted(logged)) {
                return Ok(Some(Arc::clone(next)));
            }
        }
        Ok(None)
    }

    /// Every commit that is in the log or recent, oldest first; for who holds
    /// [`writing`](crate::backend::file::handle::Handle::writing).
    pub(crate) fn each_commit(&self, mut see: impl FnMut(&Logged)) -> Result<(), redb::Error> {
        for row in self.snapshot().open_table(LOG)?.iter()? {
            let (last, row) = row?;
            for logged in commits_in(last.value(), row.value(), 0) {
                see(&logged.map_err(corrupted)?);
            }
        }
        for commits in self.unsettled() {
            commits.read().list().iter().for_each(|logged| see(logged));
        }
        Ok(())
    }
}

fn corrupted(damage: LogDamage) -> redb::Error {
    redb::Error::Corrupted(damage.to_string())
}

/// Ids and what stands under them, in order.
pub(crate) struct Merged {
    settled: Peekable<Range<'static, &'static [u8], &'static [u8]>>,
    recent: Peekable<std::vec::IntoIter<(Arc<str>, AfterImage)>>,
}

#[cfg(test)]
impl Merged {
    /// How many recent ids it looks at.
    pub(crate) fn recent(&self) -> usize {
        self.recent.len()
    }
}

impl Iterator for Merged {
    type Item = Result<(Arc<str>, Stored), redb::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let recent = self.recent.peek().map(|(id, _)| id.as_bytes());
            let is_settled = match (self.settled.peek(), recent) {
                (Some(Ok((id, _))), Some(recent)) if id.value() == recent => {
                    // What is recent replaces it.
                    self.settled.next();
                    false
                }
                (Some(Ok((id, _))), Some(recent)) => id.value() < recent,
                (settled, _) => settled.is_some(),
            };
            if is_settled {
                return Some(self.settled.next()?.map_err(redb::Error::from).and_then(|(id, record)| {
                    let id = str::from_utf8(id.value())
                        .map_err(|_| redb::Error::Corrupted("an id that is not UTF-8".to_owned()))?;
                    Ok((Arc::from(id), Stored::Settled(record)))
                }));
            }
            let (id, state) = self.recent.next()?;
            if state.record.is_some() {
                return Some(Ok((id, Stored::from(&state))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::num::NonZeroU64;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::super::log::{Done, LoggedEntry, push};
    use super::*;

    /// What a copy is written to, which looks whether who commits could go on.
    #[derive(Debug)]
    struct Looking {
        storage: InMemoryBackend,
        unsettled: Vec<Arc<RwLock<Commits>>>,
        looks: Arc<AtomicUsize>,
    }

    impl Looking {
        fn look(&self) {
            assert!(self.unsettled.iter().all(|commits| commits.try_write().is_some()), "commits wait");
            self.looks.fetch_add(1, Relaxed);
        }
    }

    impl StorageBackend for Looking {
        fn len(&self) -> io::Result<u64> {
            self.storage.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.look();
            self.storage.read(offset, out)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.look();
            self.storage.set_len(length)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.storage.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.look();
            self.storage.write(offset, data)
        }
    }

    #[test]
    fn a_copy_that_takes_long_holds_up_no_commit() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        schema::lay(&database, Origin { identity: 1, floor: 7 }).unwrap();
        let add = |view: &View, position: u64| {
            let position = NonZeroU64::new(position).unwrap();
            let entries = vec![LoggedEntry { done: Done::Put(position.to_string().into()), replaced: None }];
            let mut added = Added::default();
            added.add(
                Logged { position, write: None, fingerprint: 0, entries },
                vec![vec![0; 4 << 20].into()],
            );
            view.followed(added)
        };
        let view = add(&View::load(&database, &[]).unwrap(), 8);
        let view = add(&view.begun(), 9);
        let looks = Arc::new(AtomicUsize::new(0));
        let unsettled = view.settling.iter().chain([&view.recent]).map(Arc::clone).collect();
        let storage = Looking { storage: InMemoryBackend::new(), unsettled, looks: Arc::clone(&looks) };
        let copy = Database::builder().set_cache_size(0).create_with_backend(storage).unwrap();
        schema::lay(&copy, Origin { identity: 1, floor: 7 }).unwrap();
        let transaction = copy.begin_write().unwrap();
        let before = looks.load(Relaxed);

        view.put(&transaction).unwrap();

        assert!(looks.load(Relaxed) > before);
        transaction.commit().unwrap();
    }

    #[test]
    fn a_commit_that_is_recent_and_in_the_log_as_well_is_damage() {
        for (recent, is_fine) in [(8, false), (9, false), (10, true)] {
            let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            schema::lay(&database, Origin { identity: 1, floor: 7 }).unwrap();
            let row = |position| {
                let position = NonZeroU64::new(position).unwrap();
                let mut row = Vec::new();
                push(&mut row, &Logged { position, write: None, fingerprint: 0, entries: vec![] }.encode());
                row
            };
            let transaction = database.begin_write().unwrap();
            transaction.open_table(LOG).unwrap().insert(9, row(9).as_slice()).unwrap();
            transaction.commit().unwrap();
            let frame = commits::encode_frame(&[], &row(recent));

            assert_eq!(View::load(&database, &[frame]).is_ok(), is_fine, "{recent}");
        }
    }
}
