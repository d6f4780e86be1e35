//! [`Logged`], one commit as the file remembers it: for the feed, for a write that is sent again, and for deletions. Many
//! share a row, as [`pieces`] of it.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::backend::record::{Damage, Record};
use crate::store::{Committed, Receipt, Version, WriteId};

/// What the first byte of a logged commit says.
const PLAIN: u8 = 0;
const UNDER_AN_ID: u8 = 1;

/// One commit as the file remembers it.
///
/// In the file it is the value of a [`Record`] under no id: a byte that says whether it has a write id, then its
/// fingerprint (8 bytes) if it has one, then for each entry a byte for what was done, the version replaced or 0 (8 bytes), and for a put and a delete the length
/// of the id (2 bytes) and the id. Numbers are big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    /// The place in the log, and the version of all that the commit changed.
    pub(crate) position: NonZeroU64,
    pub(crate) write: Option<WriteId>,
    /// The commit's [fingerprint](crate::Commit::fingerprint); 0 without a write id.
    pub(crate) fingerprint: u64,
    pub(crate) entries: Vec<LoggedEntry>,
}

/// One entry of a logged commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedEntry {
    pub(crate) done: Done,
    pub(crate) replaced: Option<Version>,
}

/// What an entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// It only checked.
    Checked,
    /// There was nothing to delete.
    Nothing,
    Put(Arc<str>),
    Deleted(Arc<str>),
}

/// Why bytes are not a logged commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogDamage {
    #[error("the log has {0}")]
    Record(#[from] Damage),
    #[error("the log has a commit in the row of {row} that says it is at {claimed}")]
    Misplaced { row: u64, claimed: u64 },
    #[error("the log has a commit at {position} that does not decode")]
    Entries { position: u64 },
    #[error("the log has a row cut short")]
    Row,
}

/// Adds a piece to a row: its length (4 bytes, big-endian) and its bytes.
pub(crate) fn push(row: &mut Vec<u8>, piece: &[u8]) {
    let length = u32::try_from(piece.len()).expect("a commit has at most 64 MiB of values");
    row.extend(length.to_be_bytes());
    row.extend(piece);
}

/// The pieces of a row. Allocates nothing.
pub(crate) fn pieces(row: &[u8]) -> impl Iterator<Item = Result<&[u8], LogDamage>> {
    let mut rest = row;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_first_chunk().and_then(|(length, after)| {
            after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        let (piece, after) = piece.unzip();
        rest = after.unwrap_or_default();
        Some(piece.ok_or(LogDamage::Row))
    })
}

/// The commits after a position in the row of the log that ends with the one at `last`.
pub(crate) fn commits_in(
    last: u64,
    row: &[u8],
    after: u64,
) -> impl Iterator<Item = Result<Logged, LogDamage>> {
    let is_later = move |piece: &Result<&[u8], _>| {
        piece.as_ref().map_or(true, |piece| Record::claimed_version(piece).to_bits().get() > after)
    };
    pieces(row).filter(is_later).map(move |piece| {
        let logged = Logged::decode(piece?)?;
        match logged.position.get() {
            claimed if claimed > last => Err(LogDamage::Misplaced { row: last, claimed }),
            _ => Ok(logged),
        }
    })
}

impl Logged {
    pub(crate) fn encode(&self) -> Vec<u8> {
        /// The most bytes of an entry beside its id.
        const ENTRY: usize = 11;

        let ids: usize = self.changes().map(|(id, _)| id.len()).sum();
        let mut bytes = Vec::with_capacity(9 + self.entries.len() * ENTRY + ids);
        match self.write {
            None => bytes.push(PLAIN),
            Some(_) => {
                bytes.push(UNDER_AN_ID);
                bytes.extend(self.fingerprint.to_be_bytes());
            }
        }
        for entry in &self.entries {
            let (code, id) = match &entry.done {
                Done::Checked => (0, None),
                Done::Nothing => (1, None),
                Done::Put(id) => (2, Some(id)),
                Done::Deleted(id) => (3, Some(id)),
            };
            bytes.push(code);
            bytes.extend(entry.replaced.map_or(0, |version| version.to_bits().get()).to_be_bytes());
            if let Some(id) = id {
                let length = u16::try_from(id.len()).expect("an id has at most 512 bytes");
                bytes.extend(length.to_be_bytes());
                bytes.extend(id.as_bytes());
            }
        }
        Record { version: Version::from_bits(self.position), write: self.write, value: &bytes }.encode("")
    }

    /// Reads one commit. Allocates in proportion to the bytes.
    pub(crate) fn decode(stored: &[u8]) -> Result<Self, LogDamage> {
        let record = Record::decode("", stored)?;
        let position = record.version.to_bits();
        let damage = LogDamage::Entries { position: position.get() };
        let (fingerprint, entries) = match (record.value.split_first(), record.write) {
            (Some((&PLAIN, entries)), None) => (0, entries),
            (Some((&UNDER_AN_ID, rest)), Some(_)) => {
                let (fingerprint, entries) = rest.split_first_chunk().ok_or(damage)?;
                (u64::from_be_bytes(*fingerprint), entries)
            }
            _ => return Err(damage),
        };
        let entries = decode_entries(entries).ok_or(damage)?;
        Ok(Self { position, write: record.write, fingerprint, entries })
    }

    /// The answer the commit was given.
    pub(crate) fn committed(&self) -> Committed {
        let version = Version::from_bits(self.position);
        let receipt = |entry: &LoggedEntry| {
            let version = match entry.done {
                Done::Checked => entry.replaced,
                Done::Nothing => None,
                Done::Put(_) | Done::Deleted(_) => Some(version),
            };
            Receipt { version, replaced: entry.replaced }
        };
        self.entries.iter().map(receipt).collect()
    }

    /// The ids it changed, and whether they were deleted.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (&Arc<str>, bool)> {
        self.entries.iter().filter_map(|entry| match &entry.done {
            Done::Checked | Done::Nothing => None,
            Done::Put(id) => Some((id, false)),
            Done::Deleted(id) => Some((id, true)),
        })
    }

    /// How much of the log's limit it takes up.
    pub(crate) fn weight(&self) -> usize {
        self.entries.len().max(1)
    }
}

/// `None` where the bytes are no entries.
fn decode_entries(bytes: &[u8]) -> Option<Vec<LoggedEntry>> {
    let mut rest = bytes;
    let mut entries = Vec::new();
    while let Some((&code, after)) = rest.split_first() {
        let (replaced, after) = after.split_first_chunk()?;
        let replaced = NonZeroU64::new(u64::from_be_bytes(*replaced)).map(Version::from_bits);
        let (done, after) = match code {
            0 => (Done::Checked, after),
            1 => (Done::Nothing, after),
            2 | 3 => {
                let (length, after) = after.split_first_chunk()?;
                let (id, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                let id: Arc<str> = str::from_utf8(id).ok()?.into();
                (if code == 2 { Done::Put(id) } else { Done::Deleted(id) }, after)
            }
            _ => return None,
        };
        entries.push(LoggedEntry { done, replaced });
        rest = after;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    fn logged() -> Logged {
        let version = |bits| NonZeroU64::new(bits).map(Version::from_bits);
        Logged {
            position: NonZeroU64::new(9).unwrap(),
            write: Some(WriteId::from_bits(3)),
            fingerprint: 0x0102_0304_0506_0708,
            entries: vec![
                LoggedEntry { done: Done::Put("a".into()), replaced: version(7) },
                LoggedEntry { done: Done::Deleted("b".into()), replaced: version(8) },
                LoggedEntry { done: Done::Checked, replaced: None },
                LoggedEntry { done: Done::Nothing, replaced: None },
            ],
        }
    }

    /// From the first release on these bytes are on disks: add to the list, never change it.
    #[test]
    fn a_commit_is_read_for_ever() {
        let plain = Logged { write: None, fingerprint: 0, ..logged() };
        let golden = [
            (
                logged(),
                "01010000000000000009000000000000000000000000000000037009f4d20101020304050607080200000000000000070001\
                 61030000000000000008000162000000000000000000010000000000000000",
            ),
            (
                plain,
                "0100000000000000000922c7333300020000000000000007000161030000000000000008000162000000000000000000010000\
                 000000000000",
            ),
        ];

        for (logged, bytes) in golden {
            let hex: String = logged.encode().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, bytes);
            assert_eq!(Logged::decode(&logged.encode()), Ok(logged.clone()));
        }
    }

    #[test]
    fn a_row_gives_back_its_commits_after_a_position() {
        let at = |position| Logged { position: NonZeroU64::new(position).unwrap(), ..logged() };
        let mut row = Vec::new();
        for position in [3, 5, 9] {
            push(&mut row, &at(position).encode());
        }

        let positions = |after| -> Vec<_> {
            commits_in(9, &row, after).map(|logged| logged.map(|logged| logged.position.get())).collect()
        };
        assert_eq!(positions(0), [Ok(3), Ok(5), Ok(9)]);
        assert_eq!(positions(3), [Ok(5), Ok(9)]);
        assert_eq!(positions(9), []);
        let misplaced = LogDamage::Misplaced { row: 8, claimed: 9 };
        assert_eq!(commits_in(8, &row, 5).collect::<Vec<_>>(), [Err(misplaced)]);
        let short = &row[..row.len() - 1];
        assert_eq!(commits_in(9, short, 5).collect::<Vec<_>>(), [Err(LogDamage::Row)]);
    }

    #[test]
    fn the_answer_is_the_one_that_was_given() {
        let nine = Some("9".parse().unwrap());
        let committed = logged().committed();

        let versions: Vec<_> = committed.receipts().iter().map(|receipt| receipt.version).collect();
        assert_eq!(versions, [nine, nine, None, None]);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic() {
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random() as usize % 40).map(|_| random() as u8 & 3).collect();
            let _ = decode_entries(&bytes);
            for logged in commits_in(9, &bytes, 0) {
                assert!(logged.is_err());
            }
        }
    }
}
