//! [`Manifest`], what a namespace in etcd says of itself.

use crate::backend::engine::{ConnectError, Token};
use crate::backend::record::{Damage, Record};
use crate::base::random;
use crate::store::{Version, WriteId};

/// The format of a namespace: of its keys and of all that lies there.
const FORMAT: u8 = 1;

/// The id that the record of a manifest is sealed with.
const ID: &str = ":manifest";

/// What a namespace in etcd says of itself, under one key. Every commit compares it whole: where it was changed, or is
/// gone, nothing is applied that was judged by an older one.
///
/// It is the value of a [`Record`]: the format (1 byte), the epoch (8 bytes), and the floor of the write ids (16 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Drawn when the namespace was laid. After a wipe, or in a new cluster, it is another.
    pub(super) epoch: u64,
    /// The highest write id whose commit was forgotten. Of what is not above it nothing is known: see
    /// [`Window`](crate::store::Window).
    pub(super) floor: WriteId,
    /// What is stored.
    pub(super) bytes: Vec<u8>,
}

impl Manifest {
    /// A new manifest with an epoch of its own. Its floor keeps nothing out: the ids of another history carry another tag.
    pub(super) fn draw() -> Self {
        Self::new(random(), WriteId::from_bits(0))
    }

    pub(super) fn new(epoch: u64, floor: WriteId) -> Self {
        let mut value = vec![FORMAT];
        value.extend(epoch.to_be_bytes());
        value.extend(floor.to_bits().to_be_bytes());
        Self { epoch, floor, bytes: Record::encode_unnumbered(ID, &value) }
    }

    /// Reads what is stored.
    pub(super) fn decode(stored: &[u8]) -> Result<Self, ConnectError> {
        let foreign = |found: String| ConnectError::Foreign { found };
        let value = match Record::decode_unnumbered(ID, stored) {
            Ok(value) => value,
            Err(Damage::Format { format }) => return Err(foreign(later(format))),
            Err(damage) => return Err(foreign(damage.to_string())),
        };
        match value.split_first() {
            Some((&FORMAT, rest)) => {
                let parts = rest.split_first_chunk().and_then(|(epoch, rest)| {
                    Some((u64::from_be_bytes(*epoch), u128::from_be_bytes(rest.try_into().ok()?)))
                });
                let (epoch, floor) =
                    parts.ok_or_else(|| foreign("a manifest that is cut short".to_owned()))?;
                Ok(Self { epoch, floor: WriteId::from_bits(floor), bytes: stored.to_vec() })
            }
            Some((&format, _)) => Err(foreign(later(format))),
            None => Err(foreign("a manifest without a format".to_owned())),
        }
    }

    /// The version of what was stored in this revision of etcd's; `None` where that is past the last.
    pub(super) fn version(&self, revision: i64) -> Option<Version> {
        let counter = u64::try_from(revision).ok()?;
        Token { counter, tag: self.tag() }.version()
    }

    /// The revision that a version names, where it is one of this history.
    pub(super) fn revision(&self, version: Version) -> Option<i64> {
        let token = Token::from(version);
        // Revision 0 is what etcd says of a key that is not there.
        let ours = token.tag == self.tag() && token.counter > 0;
        i64::try_from(token.counter).ok().filter(|_| ours)
    }

    /// Whether a write id that is not remembered is none that could be applied now: it may be a forgotten one, was drawn in
    /// another history, or is from ahead of `newest`, the newest revision.
    pub(super) fn is_outside(&self, write: WriteId, newest: i64) -> bool {
        write <= self.floor || !self.is_ours(write, newest)
    }

    /// Whether a write id was drawn in this history, at this revision or before.
    pub(super) fn is_ours(&self, write: WriteId, upto: i64) -> bool {
        write.place().and_then(|drawn| self.revision(drawn)).is_some_and(|drawn| drawn <= upto)
    }

    pub(super) fn tag(&self) -> u32 {
        (self.epoch & 0xff_ffff) as u32
    }
}

fn later(format: u8) -> String {
    format!("format {format}, and this release reads {FORMAT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These bytes are in engines: add to the list, never change it.
    #[test]
    fn manifests_of_every_format_are_read_for_ever() {
        let manifest = Manifest::new(0x0123_4567_89ab_cdef, WriteId::from_bits(7));
        let hex: String = manifest.bytes.iter().map(|byte| format!("{byte:02x}")).collect();

        assert_eq!(hex, "0102d117d784010123456789abcdef00000000000000000000000000000007");
        assert_eq!(Manifest::decode(&manifest.bytes).unwrap(), manifest);
    }

    #[test]
    fn a_later_format_and_foreign_bytes_are_refused() {
        let mut value = vec![2];
        value.extend([0; 24]);
        let later = Record::encode_unnumbered(ID, &value);
        let later_record = [&[2][..], &Manifest::draw().bytes[1..]].concat();

        for bytes in [&later[..], &later_record, b"", b"hello", &Manifest::draw().bytes[..20]] {
            assert!(matches!(Manifest::decode(bytes), Err(ConnectError::Foreign { .. })));
        }
        for bytes in [later, later_record] {
            assert!(Manifest::decode(&bytes).unwrap_err().to_string().contains("format 2"));
        }
    }

    #[test]
    fn a_version_of_another_history_names_no_revision() {
        let [manifest, other] = [1, 2].map(|epoch| Manifest::new(epoch, WriteId::from_bits(0)));
        let version = manifest.version(7).unwrap();

        assert_eq!((manifest.revision(version), other.revision(version)), (Some(7), None));
        assert_eq!(
            (manifest.version(0), manifest.version(-1), manifest.version(i64::MAX)),
            (None, None, None)
        );
        let absent = Version::from_bits(u64::from(manifest.tag()).try_into().unwrap());
        assert_eq!(manifest.revision(absent), None);
    }

    #[test]
    fn outside_is_what_is_not_above_the_floor_is_ahead_or_is_of_another_history() {
        let drawn = |manifest: &Manifest, revision| WriteId::after(manifest.version(revision));
        let manifest = Manifest::draw();
        let (floor, other) = (drawn(&manifest, 5), Manifest::new(manifest.epoch ^ 1, WriteId::from_bits(0)));
        let manifest = Manifest::new(manifest.epoch, floor);
        let outside = |write| manifest.is_outside(write, 9);

        assert!(outside(floor) && outside(drawn(&manifest, 4)) && outside(drawn(&manifest, 10)));
        assert!(outside(drawn(&other, 7)) && outside(WriteId::after(None)));
        assert!(!outside(drawn(&manifest, 6)) && !outside(drawn(&manifest, 9)));
    }
}
