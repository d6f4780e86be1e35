//! [`Written`], what etcd remembers of a commit that was applied, under its write id.

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::backend::engine::Token;
use crate::backend::record::{Damage, Record};
use crate::store::{Committed, Receipt, Version, WriteId};

/// What a commit did, entry by entry.
///
/// It is the value of a [`Record`] under the text of the write id: the tag of its versions (4 bytes), the fingerprint of the
/// commit (8 bytes), then for each entry a byte that says what was done and what is known of the state before, and either the
/// version before or 0 (8 bytes), or the length of the id (2 bytes) and the id. Numbers are big-endian. The revision of the
/// commit is that of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) tag: u32,
    /// Tells the commit from another under the same write id.
    pub(super) fingerprint: u64,
    pub(super) entries: Vec<WrittenEntry>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenEntry {
    pub(super) deed: Deed,
    pub(super) before: Before,
}

/// What an entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Check,
    Put,
    Delete,
}

/// What stood there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Before {
    /// This version, or nothing: the expectation said so.
    Known(Option<Version>),
    /// What etcd's history has of the id, in the revision before.
    Ask(Arc<str>),
}

/// Why bytes are none of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrittenDamage {
    #[error("a write id has {0}")]
    Record(#[from] Damage),
    #[error("a write id has a list of entries that does not decode")]
    Entries,
}

impl Written {
    pub(super) fn encode(&self, write: WriteId) -> Vec<u8> {
        let mut bytes = self.tag.to_be_bytes().to_vec();
        bytes.extend(self.fingerprint.to_be_bytes());
        for entry in &self.entries {
            let deed = match entry.deed {
                Deed::Check => 0,
                Deed::Put => 1,
                Deed::Delete => 2,
            };
            match &entry.before {
                Before::Known(version) => {
                    bytes.push(deed);
                    bytes.extend(version.map_or(0, |version| version.to_bits().get()).to_be_bytes());
                }
                Before::Ask(id) => {
                    bytes.push(deed | 4);
                    // A check or a deletion may name an id of any length.
                    let length = u16::try_from(id.len()).expect("a request has room for no longer id");
                    bytes.extend(length.to_be_bytes());
                    bytes.extend(id.as_bytes());
                }
            }
        }
        Record::encode_unnumbered(&write.to_string(), &bytes)
    }

    /// Reads what is stored. Allocates in proportion to the bytes.
    pub(super) fn decode(write: WriteId, stored: &[u8]) -> Result<Self, WrittenDamage> {
        let value = Record::decode_unnumbered(&write.to_string(), stored)?;
        decode_entries(value).ok_or(WrittenDamage::Entries)
    }

    /// The ids whose state before has to be asked for, in order.
    pub(super) fn asked(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.iter().filter_map(|entry| match &entry.before {
            Before::Ask(id) => Some(id),
            Before::Known(_) => None,
        })
    }

    /// The answer the commit was given, where `revision` is that of the record and `history` tells in which revisions
    /// the ids that were [`asked`](Self::asked) for stood before.
    pub(super) fn committed(&self, revision: i64, history: &[Option<i64>]) -> Option<Committed> {
        let version = |revision: i64| {
            let counter = u64::try_from(revision).ok()?;
            Token { counter, tag: self.tag }.version()
        };
        let now = version(revision)?;
        let mut history = history.iter();
        let receipt = |entry: &WrittenEntry| {
            let replaced = match entry.before {
                Before::Known(replaced) => replaced,
                Before::Ask(_) => history.next()?.and_then(version),
            };
            let version = match entry.deed {
                Deed::Check => replaced,
                Deed::Put => Some(now),
                Deed::Delete => replaced.map(|_| now),
            };
            Some(Receipt { version, replaced })
        };
        self.entries.iter().map(receipt).collect()
    }
}

fn decode_entries(bytes: &[u8]) -> Option<Written> {
    let (tag, rest) = bytes.split_first_chunk()?;
    let (fingerprint, mut rest) = rest.split_first_chunk()?;
    let mut entries = Vec::new();
    while let Some((&code, after)) = rest.split_first() {
        let deed = match code & 3 {
            0 => Deed::Check,
            1 => Deed::Put,
            2 => Deed::Delete,
            _ => return None,
        };
        let (before, after) = match code & !3 {
            0 => {
                let (bits, after) = after.split_first_chunk()?;
                let version = NonZeroU64::new(u64::from_be_bytes(*bits)).map(Version::from_bits);
                (Before::Known(version), after)
            }
            4 => {
                let (length, after) = after.split_first_chunk()?;
                let (id, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                (Before::Ask(str::from_utf8(id).ok()?.into()), after)
            }
            _ => return None,
        };
        entries.push(WrittenEntry { deed, before });
        rest = after;
    }
    let (tag, fingerprint) = (u32::from_be_bytes(*tag), u64::from_be_bytes(*fingerprint));
    Some(Written { tag, fingerprint, entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    fn version(revision: u64) -> Version {
        Token { counter: revision, tag: 5 }.version().unwrap()
    }

    fn written() -> Written {
        let entry = |deed, before| WrittenEntry { deed, before };
        Written {
            tag: 5,
            fingerprint: 0x0123_4567_89ab_cdef,
            entries: vec![
                entry(Deed::Put, Before::Known(Some(version(7)))),
                entry(Deed::Delete, Before::Ask("b".into())),
                entry(Deed::Delete, Before::Ask("gone".into())),
                entry(Deed::Check, Before::Known(None)),
            ],
        }
    }

    /// These bytes are in engines: add to the list, never change it.
    #[test]
    fn writes_of_every_format_are_read_for_ever() {
        let write = WriteId::from_bits(3);
        let stored = written().encode(write);
        let hex: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();

        assert_eq!(
            hex,
            "010295acfdd7000000050123456789abcdef01000000000700000506000162060004676f6e65000000000000000000"
        );
        assert_eq!(Written::decode(write, &stored), Ok(written()));
        assert!(Written::decode(WriteId::from_bits(4), &stored).is_err());
    }

    #[test]
    fn the_answer_is_the_one_that_was_given() {
        let committed = written().committed(9, &[Some(8), None]).unwrap();

        let receipts = committed.receipts().iter().map(|receipt| (receipt.version, receipt.replaced));
        let [seven, eight, nine] = [7, 8, 9].map(|revision| Some(version(revision)));
        assert_eq!(receipts.collect::<Vec<_>>(), [(nine, seven), (nine, eight), (None, None), (None, None)]);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic() {
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random() as usize % 40).map(|_| random() as u8 & 7).collect();
            if let Some(written) = decode_entries(&bytes) {
                let _ = written.committed(9, &[]);
            }
        }
    }
}
