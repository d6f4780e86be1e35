//! [`Stored`], a value as it stands in a row, and how versions and write ids stand there.

use std::num::NonZeroU64;

use tokio_postgres::Row;

use super::sql::FORMAT;
use crate::backend::checksum::Checksum;
use crate::store::{Corrupt, Version, Versioned, WriteId};

/// A value as it stands in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored<'r> {
    pub(super) version: i64,
    pub(super) format: i16,
    pub(super) checksum: i32,
    pub(super) value: &'r [u8],
}

/// What a row tells without its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    version: i64,
    format: i16,
}

/// Why a row is not a value. The text shows none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("a value of format {format}, and this release reads 1")]
    Format { format: i16 },
    #[error("a value whose checksum is {stored:08x} and should be {computed:08x}")]
    Checksum { stored: i32, computed: i32 },
}

impl<'r> Stored<'r> {
    /// What begins at a column of a row: version, format, checksum and value. `None` where they are null.
    pub(super) fn at(row: &'r Row, column: usize) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some(version) = row.try_get(column)? else { return Ok(None) };
        let (format, checksum) = (row.try_get(column + 1)?, row.try_get(column + 2)?);
        let value = row.try_get::<_, Option<&[u8]>>(column + 3)?.unwrap_or_default();
        Ok(Some(Self { version, format, checksum, value }))
    }

    pub(super) fn version(self) -> Version {
        version(self.version)
    }

    /// The value of `id`, if it is intact.
    pub(super) fn decode(self, namespace: &str, id: &str) -> Result<Versioned<[u8]>, Corrupt> {
        let version = Head { version: self.version, format: self.format }.decode(id)?;
        let computed = checksum(namespace, id, self.value);
        if computed != self.checksum {
            return Err(Corrupt::new(id, version, Damage::Checksum { stored: self.checksum, computed }));
        }
        Ok(Versioned::new(version, self.value))
    }
}

impl Head {
    /// What begins at a column of a row: version and format. `None` where they are null.
    pub(super) fn at(row: &Row, column: usize) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some(version) = row.try_get(column)? else { return Ok(None) };
        Ok(Some(Self { version, format: row.try_get(column + 1)? }))
    }

    /// The version of `id`. The checksum is of the value, so that only the format can be looked at.
    pub(super) fn decode(self, id: &str) -> Result<Version, Corrupt> {
        let version = version(self.version);
        match self.format {
            FORMAT => Ok(version),
            format => Err(Corrupt::new(id, version, Damage::Format { format })),
        }
    }
}

/// Of a value and of where it belongs, so that one that turns up elsewhere is found out.
pub(super) fn checksum(namespace: &str, id: &str, value: &[u8]) -> i32 {
    let place = Checksum::new().add(namespace.as_bytes()).add(&[0]).add(id.as_bytes()).add(&[0]);
    place.add(value).finish() as i32
}

/// A version from its column. No row has 0 unless somebody else wrote it: then it is known by 1.
pub(super) fn version(column: i64) -> Version {
    Version::from_bits(NonZeroU64::new(column as u64).unwrap_or(NonZeroU64::MIN))
}

/// A version as its column. One that no store here issues is negative, which no row has.
pub(super) fn column(version: Version) -> i64 {
    version.to_bits().get() as i64
}

/// A write id as its column: its order is that of the ids.
pub(super) fn bytes(write: WriteId) -> [u8; 16] {
    write.to_bits().to_be_bytes()
}

/// The lock that a commit and the question what became of it both take.
pub(super) fn key(write: WriteId) -> i64 {
    write.to_bits() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_values_are_found_out_and_keep_their_version() {
        let good = Stored { version: 7, format: 1, checksum: checksum("c", "a", b"value"), value: b"value" };

        assert_eq!(&*good.decode("c", "a").unwrap().value, b"value");
        let damaged = [
            (Stored { value: b"valuf", ..good }, "c", "a"),
            (Stored { format: 2, ..good }, "c", "a"),
            (Stored { checksum: 0, ..good }, "c", "a"),
            (good, "c", "b"),
            (good, "d", "a"),
        ];
        for (stored, namespace, id) in damaged {
            let corrupt = stored.decode(namespace, id).unwrap_err();
            assert_eq!((corrupt.id(), corrupt.version().to_bits().get()), (id, 7));
        }
    }

    /// A release that computes another one can't read what is there.
    #[test]
    fn these_checksums_are_in_databases() {
        assert_eq!(checksum("default", "readme", b"hello"), -1549720271);
    }

    #[test]
    fn versions_and_write_ids_survive_their_columns() {
        for bits in [1, 7, 1 << 62, u64::MAX] {
            let token = Version::from_bits(NonZeroU64::new(bits).unwrap());
            assert_eq!(version(column(token)), token);
        }
        assert!(bytes(WriteId::from_bits(1)) < bytes(WriteId::from_bits(1 << 100)));
    }
}
