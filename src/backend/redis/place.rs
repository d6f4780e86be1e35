//! [`Place`], a place in the feed of a namespace.

use super::answer::ScriptAnswer;
use super::trouble::Trouble;
use crate::store::{Cursor, Expired, Refusal};

/// A place in the feed of a namespace.
///
/// The epoch names the namespace: one that was wiped and begun again has another. The tag is that of the commit at the
/// position: one that a failover has taken back may have been followed by another with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) epoch: String,
    pub(super) position: u64,
    pub(super) tag: [u8; 3],
}

impl Place {
    /// The next three parts of an answer.
    pub(super) fn read(answer: &mut ScriptAnswer) -> Result<Self, Trouble> {
        let epoch = answer.text()?;
        Self::within(epoch, answer)
    }

    /// The next two, of a place in this epoch.
    pub(super) fn within(epoch: String, answer: &mut ScriptAnswer) -> Result<Self, Trouble> {
        let position = answer.text()?.parse().map_err(|_| Trouble::Unexpected)?;
        let tag = answer.bytes()?.try_into().map_err(|_| Trouble::Unexpected)?;
        Ok(Self { epoch, position, tag })
    }

    pub(super) fn cursor(&self) -> Cursor {
        let [a, b, c] = self.tag;
        let text = format!("r{}.{}.{a:02x}{b:02x}{c:02x}", self.epoch, self.position);
        text.parse().expect("an epoch has hexadecimal digits, and the rest are digits and full stops")
    }

    /// The end of a watch from a place that is gone; the answer may tell where one can still begin.
    pub(super) fn expired(answer: &mut ScriptAnswer) -> Expired {
        Expired { oldest: Self::read(answer).ok().map(|oldest| oldest.cursor()) }
    }
}

impl TryFrom<&Cursor> for Place {
    type Error = Refusal;

    fn try_from(cursor: &Cursor) -> Result<Self, Refusal> {
        let parsed = || {
            let mut parts = cursor.as_str().strip_prefix('r')?.split('.');
            let (epoch, position, tag) = (parts.next()?, parts.next()?, parts.next()?);
            let tag = u32::from_str_radix(tag, 16).ok()?.to_be_bytes();
            let place = Self {
                epoch: format!("{:016x}", u64::from_str_radix(epoch, 16).ok()?),
                position: position.parse().ok()?,
                tag: [tag[1], tag[2], tag[3]],
            };
            // One place has one text: what reads the same and looks different is not ours.
            (place.cursor() == *cursor).then_some(place)
        };
        parsed().ok_or(Refusal::Cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text_and_other_text_is_refused() {
        let place = Place { epoch: "00000000000000ff".to_owned(), position: 1 << 39, tag: [0, 1, 255] };

        let cursor = place.cursor();
        assert_eq!(cursor.as_str(), "r00000000000000ff.549755813888.0001ff");
        assert_eq!(Place::try_from(&cursor).unwrap(), place);
        for text in
            ["r", "rff.1.000000", "r00000000000000ff.+1.0001ff", "r00000000000000ff.1.0001FF", "x.1.2"]
        {
            assert!(Place::try_from(&text.parse::<Cursor>().unwrap()).is_err(), "{text}");
        }
    }
}
