//! [`Place`], what a collection in etcd says of itself.

use crate::backend::engine::{ConnectError, Token};
use crate::backend::record::{Damage, Record};
use crate::base::random;
use crate::store::{Version, WriteId};

/// The format of a collection: of its keys and of all that lies there.
const FORMAT: u8 = 1;

/// The id that the record of a place is sealed with.
const ID: &str = ":place";

/// What a collection in etcd says of itself, under one key. Every commit compares it whole: where it was changed, or is
/// gone, nothing is applied that was judged by an older one.
///
/// It is the value of a [`Record`]: the format (1 byte), the epoch (8 bytes), and the floor of the write ids (16 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Drawn when the place was made. After a wipe, or in a new cluster, it is another.
    pub(super) epoch: u64,
    /// The highest write id whose commit was forgotten. Of what is not above it nothing is known: see
    /// [`Window`](crate::store::Window).
    pub(super) floor: WriteId,
    /// What is stored.
    pub(super) bytes: Vec<u8>,
}

impl Place {
    /// A new place with an epoch of its own. Its floor keeps nothing out: the ids of another history carry another tag.
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
                    parts.ok_or_else(|| foreign("a description that is cut short".to_owned()))?;
                Ok(Self { epoch, floor: WriteId::from_bits(floor), bytes: stored.to_vec() })
            }
            Some((&format, _)) => Err(foreign(later(format))),
            None => Err(foreign("a description without a format".to_owned())),
        }
    }

    /// The version of what was stored in this revision of etcd's; `None` where that is past the last.
    pub(super) fn version(&self, revision: i64) -> Option<Version> {
        let counter = u64::try_from(revision).ok()?;
        Token { counter, tag: self.tag() }.version()
    }

    /// The revision that a version names, where it is one of this place.
    pub(super) fn revision(&self, version: Version) -> Option<i64> {
        let token = Token::from(version);
        // Revision 0 is what etcd says of a key that is not there.
        let ours = token.tag == self.tag() && token.counter > 0;
        i64::try_from(token.counter).ok().filter(|_| ours)
    }

    /// Whether a write id that is not remembered is none that could be applied now: it may be a forgotten one, was drawn in
    /// another history, or is from ahead of `newest`, the newest revision.
    pub(super) fn is_outside(&self, write: WriteId, newest: i64) -> bool {
        write <= self.floor || !self.has_drawn(write, newest)
    }

    /// Whether a write id was drawn in this history, at this revision or before.
    pub(super) fn has_drawn(&self, write: WriteId, upto: i64) -> bool {
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
    fn places_of_every_format_are_read_for_ever() {
        let place = Place::new(0x0123_4567_89ab_cdef, WriteId::from_bits(7));
        let hex: String = place.bytes.iter().map(|byte| format!("{byte:02x}")).collect();

        assert_eq!(hex, "01021559cd53010123456789abcdef00000000000000000000000000000007");
        assert_eq!(Place::decode(&place.bytes).unwrap(), place);
    }

    #[test]
    fn a_later_format_and_foreign_bytes_are_refused() {
        let mut value = vec![2];
        value.extend([0; 24]);
        let later = Record::encode_unnumbered(ID, &value);
        let later_record = [&[2][..], &Place::draw().bytes[1..]].concat();

        for bytes in [&later[..], &later_record, b"", b"hello", &Place::draw().bytes[..20]] {
            assert!(matches!(Place::decode(bytes), Err(ConnectError::Foreign { .. })));
        }
        for bytes in [later, later_record] {
            assert!(Place::decode(&bytes).unwrap_err().to_string().contains("format 2"));
        }
    }

    #[test]
    fn a_version_of_another_place_names_no_revision() {
        let [place, other] = [1, 2].map(|epoch| Place::new(epoch, WriteId::from_bits(0)));
        let version = place.version(7).unwrap();

        assert_eq!((place.revision(version), other.revision(version)), (Some(7), None));
        assert_eq!((place.version(0), place.version(-1), place.version(i64::MAX)), (None, None, None));
        let absent = Version::from_bits(u64::from(place.tag()).try_into().unwrap());
        assert_eq!(place.revision(absent), None);
    }

    #[test]
    fn outside_is_what_is_not_above_the_floor_is_ahead_or_is_of_another_history() {
        let drawn = |place: &Place, revision| WriteId::after(place.version(revision));
        let place = Place::draw();
        let (floor, other) = (drawn(&place, 5), Place::new(place.epoch ^ 1, WriteId::from_bits(0)));
        let place = Place::new(place.epoch, floor);
        let outside = |write| place.is_outside(write, 9);

        assert!(outside(floor) && outside(drawn(&place, 4)) && outside(drawn(&place, 10)));
        assert!(outside(drawn(&other, 7)) && outside(WriteId::after(None)));
        assert!(!outside(drawn(&place, 6)) && !outside(drawn(&place, 9)));
    }
}
