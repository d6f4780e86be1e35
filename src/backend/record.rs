//! [`Record`], the one envelope in which stores of bytes keep a value.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the format: 1 or 2 |
//! | 1 | flags: bit 0 where there is a write id, bit 1 where there is no version |
//! | 8 or none | the version, big-endian |
//! | 16 or none | the id of the write, big-endian |
//! | 4 | CRC-32C of the id, then all of the above, then the value; big-endian |
//! | the rest | the value |
//!
//! The checksum covers the id, so that a record that turns up under another id is found out.
//!
//! Engines number their states themselves, when the checksum is long computed. One that tells the version with every read
//! keeps records without it. One that composes the record in the step that numbers it keeps format 2, whose checksum leaves
//! out the number, the first five bytes of the version.

#[cfg(any(feature = "file", feature = "redis", test))]
use std::num::NonZeroU64;

use crate::backend::checksum::Checksum;
use crate::store::{Version, WriteId};

/// The format written here.
const FORMAT: u8 = 1;

/// The format that an engine composes.
const COMPOSED: u8 = 2;

/// Where the number stands in a record that an engine composes.
const NUMBER: std::ops::Range<usize> = 2..7;

/// How many bytes tell the version.
#[cfg(any(feature = "file", feature = "redis", test))]
pub(super) const HEAD: usize = 10;

/// The flag of a record with a write id.
const WRITE: u8 = 1;

/// The flag of a record whose version the engine tells.
#[cfg(any(feature = "etcd", feature = "file", test))]
const UNNUMBERED: u8 = 2;

/// A value, its version and the write that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record<'b> {
    pub(super) version: Version,
    pub(super) write: Option<WriteId>,
    pub(super) value: &'b [u8],
}

/// Why bytes are not a record. The text shows none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("a record cut short: {bytes} bytes")]
    Short { bytes: usize },
    #[error("a record of format {format}, and this release reads 1 and 2")]
    Format { format: u8 },
    #[error("a record with unknown flags {flags:#x}")]
    Flags { flags: u8 },
    #[cfg(any(feature = "file", feature = "redis", test))]
    #[error("a record of version 0")]
    Version,
    #[error("a record whose checksum is {stored:08x} and should be {computed:08x}")]
    Checksum { stored: u32, computed: u32 },
}

impl<'b> Record<'b> {
    /// The bytes to store under `id`.
    #[cfg(any(feature = "file", test))]
    pub(super) fn encode(&self, id: &str) -> Vec<u8> {
        seal(id, Some(self.version), self.write, self.value)
    }

    /// The bytes to store under `id` in an engine that will number them.
    #[cfg(any(feature = "etcd", test))]
    pub(super) fn encode_unnumbered(id: &str, value: &[u8]) -> Vec<u8> {
        seal(id, None, None, value)
    }

    /// A record that an engine completes, with zeros where it puts the number.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn encode_to_compose(id: &str, tag: u32, value: &[u8]) -> Vec<u8> {
        let tag = &tag.to_be_bytes()[1..];
        let mut bytes = Vec::with_capacity(14 + value.len());
        bytes.extend([COMPOSED, 0, 0, 0, 0, 0, 0]);
        bytes.extend(tag);
        let checksum = Checksum::new().add(id.as_bytes()).add(&[COMPOSED, 0]).add(tag).add(value);
        bytes.extend(checksum.finish().to_be_bytes());
        bytes.extend(value);
        bytes
    }

    /// Reads what is stored under `id`. Allocates nothing.
    #[cfg(any(feature = "file", feature = "redis", test))]
    pub(super) fn decode(id: &str, stored: &'b [u8]) -> Result<Self, Damage> {
        let version = Self::version_of(stored)?;
        let short = Damage::Short { bytes: stored.len() };
        let (head, rest) = stored.split_at(HEAD);
        let (write, rest) = match head[1] & WRITE {
            0 => (None, rest),
            _ => {
                let (write, rest) = rest.split_first_chunk().ok_or(short)?;
                (Some(WriteId::from_bits(u128::from_be_bytes(*write))), rest)
            }
        };
        let value = unseal(id, stored, rest)?;
        Ok(Self { version, write, value })
    }

    /// Reads the version of a record from its first [`HEAD`] bytes. The checksum is of the value too, so that it can't be
    /// held against this part alone.
    #[cfg(any(feature = "file", feature = "redis", test))]
    pub(super) fn version_of(stored: &[u8]) -> Result<Version, Damage> {
        flags(stored, &[FORMAT, COMPOSED], WRITE)?;
        let version = stored[2..].first_chunk().ok_or(Damage::Short { bytes: stored.len() })?;
        let version = NonZeroU64::new(u64::from_be_bytes(*version)).ok_or(Damage::Version)?;
        Ok(Version::from_bits(version))
    }

    /// Reads the value of a record that an engine has numbered. Allocates nothing.
    #[cfg(any(feature = "etcd", test))]
    pub(super) fn decode_unnumbered(id: &str, stored: &'b [u8]) -> Result<&'b [u8], Damage> {
        match flags(stored, &[FORMAT], UNNUMBERED)? {
            UNNUMBERED => unseal(id, stored, &stored[2..]),
            flags => Err(Damage::Flags { flags }),
        }
    }

    /// The version that bytes which are not a record are known by: what stands at its place, or 1 where that can't be
    /// one. Whoever expects it may overwrite or delete them.
    #[cfg(any(feature = "file", feature = "redis", test))]
    pub(super) fn claimed_version(stored: &[u8]) -> Version {
        let bits = stored.get(2..10).and_then(|bits| bits.try_into().ok()).map_or(0, u64::from_be_bytes);
        Version::from_bits(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }
}

#[cfg(any(feature = "etcd", feature = "file", test))]
fn seal(id: &str, version: Option<Version>, write: Option<WriteId>, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(30 + value.len());
    let numbered = if version.is_some() { 0 } else { UNNUMBERED };
    bytes.push(FORMAT);
    bytes.push(if write.is_some() { WRITE } else { 0 } | numbered);
    bytes.extend(version.into_iter().flat_map(|version| version.to_bits().get().to_be_bytes()));
    bytes.extend(write.into_iter().flat_map(|write| write.to_bits().to_be_bytes()));
    let checksum = Checksum::new().add(id.as_bytes()).add(&bytes).add(value);
    bytes.extend(checksum.finish().to_be_bytes());
    bytes.extend(value);
    bytes
}

/// The flags, where the format is among `formats` and they are among `known`.
fn flags(stored: &[u8], formats: &[u8], known: u8) -> Result<u8, Damage> {
    let &[format, flags, ..] = stored else { return Err(Damage::Short { bytes: stored.len() }) };
    if !formats.contains(&format) {
        return Err(Damage::Format { format });
    }
    if flags & !known != 0 {
        return Err(Damage::Flags { flags });
    }
    Ok(flags)
}

/// The value that ends `stored`, where `rest` begins with a checksum that is right.
fn unseal<'b>(id: &str, stored: &[u8], rest: &'b [u8]) -> Result<&'b [u8], Damage> {
    let (checksum, value) = rest.split_first_chunk().ok_or(Damage::Short { bytes: stored.len() })?;
    let head = &stored[..stored.len() - rest.len()];
    let computed = match (stored[0], Checksum::new().add(id.as_bytes())) {
        (COMPOSED, computed) => computed.add(&head[..NUMBER.start]).add(&head[NUMBER.end..]),
        (_, computed) => computed.add(head),
    };
    let computed = computed.add(value).finish();
    match u32::from_be_bytes(*checksum) {
        stored if stored == computed => Ok(value),
        stored => Err(Damage::Checksum { stored, computed }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random;

    fn version(bits: u64) -> Version {
        Version::from_bits(NonZeroU64::new(bits).unwrap())
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// These bytes are on disks. A release that can't read them loses data: add to the list, never change it.
    #[test]
    fn records_of_every_format_are_read_for_ever() {
        let write = Some(WriteId::from_bits(0x0123_4567_89ab_cdef_0011_2233_4455_6677));
        let golden = [
            ("readme", version(7), None, &b"hello"[..], "01000000000000000007cbe6153d68656c6c6f"),
            (
                "a/\u{fc}",
                version(u64::MAX),
                write,
                b"",
                "0101ffffffffffffffff0123456789abcdef0011223344556677346f6875",
            ),
        ];

        for (id, version, write, value, bytes) in golden {
            let record = Record { version, write, value };
            assert_eq!(hex(&record.encode(id)), bytes);
            assert_eq!(Record::decode(id, &record.encode(id)), Ok(record));
        }
    }

    /// The same for what an engine completes.
    #[test]
    fn composed_records_are_read_for_ever() {
        let version = version(0x0102_0304_05ab_cdef);
        let mut stored = Record::encode_to_compose("readme", 0xab_cdef, b"hello");
        stored[NUMBER].copy_from_slice(&[1, 2, 3, 4, 5]);

        assert_eq!(hex(&stored), "02000102030405abcdefa3aa6b3d68656c6c6f");
        assert_eq!(Record::decode("readme", &stored), Ok(Record { version, write: None, value: b"hello" }));
        for bit in (0..stored.len() * 8).filter(|bit| !NUMBER.contains(&(bit / 8))) {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode("readme", &damaged).is_err(), "bit {bit}");
        }
    }

    /// These bytes are in engines: add to the list, never change it.
    #[test]
    fn unnumbered_records_of_every_format_are_read_for_ever() {
        let golden = [("readme", &b"hello"[..], "010293392fab68656c6c6f"), ("a/\u{fc}", b"", "010290a07614")];

        for (id, value, bytes) in golden {
            let stored = Record::encode_unnumbered(id, value);
            assert_eq!(hex(&stored), bytes);
            assert_eq!(Record::decode_unnumbered(id, &stored), Ok(value));
        }
    }

    #[test]
    fn a_record_is_not_read_as_one_of_the_other_kind() {
        let numbered = Record { version: version(7), write: None, value: b"v" }.encode("a");
        let unnumbered = Record::encode_unnumbered("a", b"v");

        assert_eq!(Record::decode_unnumbered("a", &numbered), Err(Damage::Flags { flags: 0 }));
        assert_eq!(Record::decode("a", &unnumbered), Err(Damage::Flags { flags: 2 }));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_an_unnumbered_record_is_found() {
        let stored = Record::encode_unnumbered("readme", b"the value");

        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode_unnumbered("readme", &damaged).is_err(), "bit {bit}");
        }
        for cut in 0..stored.len() {
            assert!(Record::decode_unnumbered("readme", &stored[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let write = Some(WriteId::from_bits(5));
        let stored = Record { version: version(7), write, value: b"the value" }.encode("readme");

        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode("readme", &damaged).is_err(), "bit {bit}");
        }
        for cut in 0..stored.len() {
            assert!(Record::decode("readme", &stored[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_record_under_another_id_is_found_out() {
        let stored = Record { version: version(7), write: None, value: b"v" }.encode("a");

        assert!(matches!(Record::decode("b", &stored), Err(Damage::Checksum { .. })));
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic() {
        for _ in 0..100_000 {
            let length = random() as usize % 64;
            let mut bytes: Vec<u8> = (0..length).map(|_| random() as u8).collect();
            if let Some(format) = bytes.first_mut() {
                *format &= 3;
            }
            let _ = Record::decode("a", &bytes);
            let _ = Record::decode_unnumbered("a", &bytes);
            let _ = Record::claimed_version(&bytes);
        }
    }
}
