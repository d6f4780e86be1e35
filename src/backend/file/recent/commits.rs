//! [`Commits`] that are kept whole, with their values: those of one turn, and the recent ones, which are not settled.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::log::{LogDamage, Logged, pieces, push};
use crate::store::WriteId;

/// Commits in order, and what each id came to by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commits {
    ids: BTreeMap<Arc<str>, Vec<AfterImage>>,
    list: Vec<Arc<Logged>>,
    /// The write ids that were closed.
    closed: Vec<WriteId>,
    /// How many bytes they take up in the journal.
    bytes: usize,
    /// How much of the log's limit they take up.
    weight: usize,
}

/// What a commit made of an id.
#[derive(Debug, Clone)]
pub(crate) struct AfterImage {
    pub(crate) position: u64,
    /// The [`Record`](crate::backend::record::Record); `None` where the id was deleted.
    pub(crate) record: Option<Arc<[u8]>>,
}

impl Commits {
    /// Adds a commit after all others, with a record for each of its puts, in their order.
    pub(crate) fn add(&mut self, logged: Logged, records: Vec<Arc<[u8]>>, bytes: usize) {
        let mut records = records.into_iter();
        for (id, deleted) in logged.changes() {
            let record = if deleted { None } else { records.next() };
            let state = AfterImage { position: logged.position.get(), record };
            match self.ids.get_mut(&**id) {
                Some(states) => states.push(state),
                None => _ = self.ids.insert(Arc::clone(id), vec![state]),
            }
        }
        self.weight += logged.weight();
        self.bytes += bytes;
        self.list.push(Arc::new(logged));
    }

    /// Adds commits after all others.
    pub(crate) fn append(&mut self, later: Self) {
        for (id, states) in later.ids {
            self.ids.entry(id).or_default().extend(states);
        }
        self.list.extend(later.list);
        self.closed.extend(later.closed);
        self.bytes += later.bytes;
        self.weight += later.weight;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.closed.is_empty()
    }

    /// Closes a write id.
    pub(crate) fn close(&mut self, write: WriteId) {
        self.closed.push(write);
    }

    /// The write ids that were closed.
    pub(crate) fn closed(&self) -> &[WriteId] {
        &self.closed
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// All commits, oldest first.
    pub(crate) fn list(&self) -> &[Arc<Logged>] {
        &self.list
    }

    /// The position of the newest, where there is one.
    pub(crate) fn last(&self) -> Option<u64> {
        self.list.last().map(|logged| logged.position.get())
    }

    /// The commits after a position.
    pub(crate) fn after(&self, position: u64) -> &[Arc<Logged>] {
        let first = self.list.partition_point(|logged| logged.position.get() <= position);
        &self.list[first..]
    }

    /// The commit at a position.
    pub(crate) fn at(&self, position: u64) -> Option<&Arc<Logged>> {
        let found = self.list.binary_search_by_key(&position, |logged| logged.position.get());
        found.ok().map(|place| &self.list[place])
    }

    /// What an id had come to by the commit at `last`, where one up to then touched it.
    pub(crate) fn find(&self, id: &str, last: u64) -> Option<&AfterImage> {
        by(self.ids.get(id)?, last)
    }

    /// What every id from a bound on had come to by the commit at `last`, in order.
    pub(crate) fn range<'c>(
        &'c self,
        from: Bound<&str>,
        last: u64,
    ) -> impl Iterator<Item = (&'c Arc<str>, &'c AfterImage)> + use<'c> {
        let ids = self.ids.range::<str, _>((from, Bound::Unbounded));
        ids.filter_map(move |(id, states)| Some((id, by(states, last)?)))
    }
}

/// The state by the commit at `last`. Most ask for the newest.
fn by(states: &[AfterImage], last: u64) -> Option<&AfterImage> {
    states.iter().rev().find(|state| state.position <= last)
}

/// Adds a commit to a row: the commit, then the record of each put, as pieces.
pub(crate) fn encode(row: &mut Vec<u8>, logged: &Logged, records: &[Arc<[u8]>]) {
    push(row, &logged.encode());
    for record in records {
        push(row, record);
    }
}

/// What a frame of the journal holds: how many write ids are closed (4 bytes, big-endian) and those, then a row of commits.
pub(crate) fn encode_frame(closed: &[WriteId], row: &[u8]) -> Vec<u8> {
    let count = u32::try_from(closed.len()).expect("a turn has at most 1024 calls");
    let mut body = Vec::with_capacity(4 + closed.len() * 16 + row.len());
    body.extend(count.to_be_bytes());
    closed.iter().for_each(|write| body.extend(write.to_bits().to_be_bytes()));
    body.extend(row);
    body
}

/// Adds what a frame holds to other commits.
pub(crate) fn decode_frame(body: &[u8], into: &mut Commits) -> Result<(), LogDamage> {
    let (count, rest) = body.split_first_chunk().ok_or(LogDamage::Row)?;
    let length = (u32::from_be_bytes(*count) as usize).checked_mul(16);
    let closed = length.and_then(|length| rest.split_at_checked(length));
    let (closed, row) = closed.ok_or(LogDamage::Row)?;
    let closed = closed.as_chunks().0.iter().map(|bits| WriteId::from_bits(u128::from_be_bytes(*bits)));
    into.closed.extend(closed);
    decode(row, into)
}

/// Adds the commits of a row to others.
pub(crate) fn decode(row: &[u8], into: &mut Commits) -> Result<(), LogDamage> {
    let mut pieces = pieces(row);
    while let Some(piece) = pieces.next() {
        let logged = Logged::decode(piece?)?;
        let puts = logged.changes().filter(|(_, deleted)| !deleted).count();
        let records: Result<Vec<Arc<[u8]>>, _> =
            pieces.by_ref().take(puts).map(|record| record.map(Arc::from)).collect();
        let records = records?;
        let position = logged.position.get();
        if records.len() < puts || into.last() >= Some(position) {
            return Err(LogDamage::Row);
        }
        into.add(logged, records, 0);
    }
    into.bytes += row.len();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::super::log::{Done, LoggedEntry};
    use super::*;
    use crate::base::random;

    fn logged(position: u64, done: Vec<Done>) -> Logged {
        let entries = done.into_iter().map(|done| LoggedEntry { done, replaced: None }).collect();
        Logged { position: NonZeroU64::new(position).unwrap(), write: None, fingerprint: 0, entries }
    }

    fn two() -> [(Logged, Vec<Arc<[u8]>>); 2] {
        let first = logged(3, vec![Done::Put("a".into()), Done::Checked, Done::Put("b".into())]);
        let second = logged(5, vec![Done::Deleted("a".into()), Done::Nothing]);
        [(first, vec![Arc::from(*b"one"), Arc::from(*b"two")]), (second, vec![])]
    }

    fn row() -> Vec<u8> {
        let mut row = Vec::new();
        for (logged, records) in two() {
            encode(&mut row, &logged, &records);
        }
        row
    }

    /// From the first release on these bytes are on disks: add to them, never change them.
    #[test]
    fn rows_are_read_for_ever() {
        let hex: String = row().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);

        let mut commits = Commits::default();
        decode(&row(), &mut commits).unwrap();
        let list: Vec<_> = commits.list().iter().map(|logged| Logged::clone(logged)).collect();
        assert_eq!(list, two().map(|(logged, _)| logged));
        assert_eq!(commits.bytes(), row().len());
    }

    const GOLDEN: &str = "0000003001000000000000000003e7ea408a00020000000000000000000161000000000000000000020000000000\
        000000000162000000036f6e650000000374776f00000024010000000000000000058cc8130800030000000000000000\
        000161010000000000000000";

    #[test]
    fn each_reader_sees_the_ids_as_they_were_by_its_last_commit() {
        let mut commits = Commits::default();
        decode(&row(), &mut commits).unwrap();
        let record = |id, last| commits.find(id, last).map(|state| state.record.as_deref());

        assert_eq!(record("a", 2), None);
        assert_eq!(record("a", 4), Some(Some(&b"one"[..])));
        assert_eq!(record("a", 5), Some(None));
        assert_eq!(record("c", 5), None);
        let ids = |from, last| commits.range(from, last).map(|(id, _)| &**id).collect::<Vec<_>>();
        assert_eq!(ids(Bound::Unbounded, 3), ["a", "b"]);
        assert_eq!(ids(Bound::Excluded("a"), 5), ["b"]);
        assert!(ids(Bound::Unbounded, 2).is_empty());
        assert_eq!(commits.after(3).len(), 1);
        assert!(commits.at(5).is_some() && commits.at(4).is_none());
    }

    #[test]
    fn what_is_no_row_is_refused_without_a_panic() {
        let row = row();
        for cut in 1..row.len() {
            let whole = decode(&row[..cut], &mut Commits::default()).is_ok();
            assert_eq!(whole, cut == first_commit(), "cut at {cut}");
        }
        for bit in 0..row.len() * 8 {
            let mut row = row.clone();
            row[bit / 8] ^= 1 << (bit % 8);
            let _ = decode(&row, &mut Commits::default());
        }
        for _ in 0..10_000 {
            let bytes: Vec<u8> = (0..random() as usize % 40).map(|_| random() as u8 & 3).collect();
            let _ = decode(&bytes, &mut Commits::default());
        }
        let mut twice = Commits::default();
        decode(&row, &mut twice).unwrap();
        assert_eq!(decode(&row, &mut twice), Err(LogDamage::Row));
        assert_eq!(decode(&row[first_commit()..], &mut twice), Err(LogDamage::Row));
    }

    /// Where the row may be cut: after its first commit.
    fn first_commit() -> usize {
        let [(logged, records), _] = two();
        let mut row = Vec::new();
        encode(&mut row, &logged, &records);
        row.len()
    }
}
