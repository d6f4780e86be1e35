//! [`Frame`], what one turn adds to the journal.

use super::sector::{ROOM, SECTOR, Sector, spread};
use crate::backend::checksum::Checksum;

/// What each frame begins with.
const MAGIC: [u8; 4] = *b"ifmj";

/// How many bytes the head takes up, the checksum included.
const HEAD: usize = 40;

/// Where the checksum of the whole frame stands: at the end of the head.
const CHECKSUM: usize = HEAD - 4;

/// The end of the frames up to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// The number of that frame.
    pub(crate) number: u64,
    /// Its checksum.
    pub(crate) checksum: u32,
    /// Where it ends in the file.
    pub(crate) end: u64,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) number: u64,
    /// The checksum of the frame before it: one that a crash has cut off fits none that was written since.
    pub(super) before: u32,
    /// Drawn at each opening, so that no two frames are the same.
    pub(super) opening: u64,
    /// All frames up to this number were synced or settled when it was written, and may have been acknowledged.
    pub(super) confirmed: u64,
}

/// What is found where a frame may stand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The frame that is looked for: its checksum, what it holds, and how many bytes it takes up.
    Frame { checksum: u32, body: Vec<u8>, size: u64 },
    /// None, or one that a crash cut off.
    Nothing,
    /// Bytes that no crash leaves.
    Damage,
}

/// How many bytes a frame takes up.
pub(super) fn size(body: usize) -> u64 {
    (HEAD as u64 + body as u64).div_ceil(ROOM as u64) * SECTOR as u64
}

/// The bytes of a frame, and its checksum.
pub(super) fn encode(head: &Head, body: &[u8]) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend(MAGIC);
    bytes.extend(head.number.to_be_bytes());
    bytes.extend(head.before.to_be_bytes());
    bytes.extend(head.opening.to_be_bytes());
    bytes.extend(head.confirmed.to_be_bytes());
    bytes.extend(u32::try_from(body.len()).expect("a frame fits a segment").to_be_bytes());
    let checksum = Checksum::new().add(&bytes).add(body).finish();
    bytes.extend(checksum.to_be_bytes());
    bytes.extend(body);
    (spread(&bytes), checksum)
}

/// The head in a sector, how many bytes the body has, and the checksum of both.
pub(super) fn head(sector: &[u8]) -> Option<(Head, usize, u32)> {
    let Sector::Written { index: 0, bytes } = Sector::read(sector) else { return None };
    let (magic, bytes) = bytes.split_first_chunk()?;
    let (number, bytes) = bytes.split_first_chunk()?;
    let (before, bytes) = bytes.split_first_chunk()?;
    let (opening, bytes) = bytes.split_first_chunk()?;
    let (confirmed, bytes) = bytes.split_first_chunk()?;
    let (length, bytes) = bytes.split_first_chunk()?;
    let (checksum, _) = bytes.split_first_chunk()?;
    let head = Head {
        number: u64::from_be_bytes(*number),
        before: u32::from_be_bytes(*before),
        opening: u64::from_be_bytes(*opening),
        confirmed: u64::from_be_bytes(*confirmed),
    };
    let (length, checksum) = (u32::from_be_bytes(*length), u32::from_be_bytes(*checksum));
    (*magic == MAGIC).then_some((head, length as usize, checksum))
}

/// Looks for the frame after a mark at the beginning of `bytes`.
///
/// A write that was cut off leaves each sector as it was or as it was to be. So a frame that lacks some of its sectors is
/// none; one with a sector that was never written like this is damaged.
pub(super) fn read(bytes: &[u8], after: Mark) -> Found {
    let mut sectors = bytes.chunks(SECTOR);
    let Some(first) = sectors.next() else { return Found::Nothing };
    if Sector::read(first) == Sector::Damaged {
        return Found::Damage;
    }
    let Some((head, length, _)) = head(first) else { return Found::Nothing };
    let follows = Some(head.number) == after.number.checked_add(1) && head.before == after.checksum;
    if !follows || size(length) > bytes.len() as u64 {
        return Found::Nothing;
    }
    let size = size(length);
    let mut frame = Vec::with_capacity(size as usize);
    let mut is_whole = true;
    for (index, sector) in (0..).zip(bytes[..size as usize].chunks(SECTOR)) {
        match Sector::read(sector) {
            Sector::Written { index: found, bytes } => {
                is_whole &= found == index;
                frame.extend(bytes);
            }
            Sector::Blank => is_whole = false,
            Sector::Damaged => return Found::Damage,
        }
    }
    let (Some((head, body)), true) = (frame.split_at_checked(HEAD), is_whole) else { return Found::Nothing };
    let body = &body[..length];
    let checksum = Checksum::new().add(&head[..CHECKSUM]).add(body).finish();
    if head[CHECKSUM..] != checksum.to_be_bytes() {
        return Found::Nothing;
    }
    Found::Frame { checksum, body: body.to_vec(), size }
}
