//! [`Sector`], the unit in which a disk writes: each has a checksum of its own, so that one which was damaged is told
//! from one that was never written.

use crate::backend::checksum::Checksum;

/// How many bytes a disk writes as a whole, at least.
pub(super) const SECTOR: usize = 512;

/// What a sector begins with: its checksum, and its place in its frame, 4 bytes each, big-endian.
const HEAD: usize = 8;

/// How many bytes of a frame one sector holds.
pub(super) const ROOM: usize = SECTOR - HEAD;

/// What is found in a sector.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sector<'b> {
    /// It was never written.
    Blank,
    /// It was written, for this frame or another.
    Written { index: u32, bytes: &'b [u8] },
    /// No write leaves it like this, not even one that was cut off.
    Damaged,
}

impl<'b> Sector<'b> {
    pub(super) fn read(sector: &'b [u8]) -> Self {
        if sector.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        let (Some((checksum, checked)), SECTOR) = (sector.split_first_chunk(), sector.len()) else {
            return Self::Damaged;
        };
        match checked.split_first_chunk() {
            Some((index, bytes))
                if u32::from_be_bytes(*checksum) == Checksum::new().add(checked).finish() =>
            {
                Self::Written { index: u32::from_be_bytes(*index), bytes }
            }
            _ => Self::Damaged,
        }
    }
}

/// Spreads the bytes of a frame over sectors, the last one filled with zeros.
pub(super) fn spread(frame: &[u8]) -> Vec<u8> {
    let mut sectors = Vec::with_capacity(frame.len().div_ceil(ROOM) * SECTOR);
    for (index, bytes) in (0_u32..).zip(frame.chunks(ROOM)) {
        let start = sectors.len();
        sectors.extend([0; 4]);
        sectors.extend(index.to_be_bytes());
        sectors.extend(bytes);
        sectors.resize(start + SECTOR, 0);
        let checksum = Checksum::new().add(&sectors[start + 4..]).finish();
        sectors[start..start + 4].copy_from_slice(&checksum.to_be_bytes());
    }
    sectors
}
