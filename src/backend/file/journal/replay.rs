//! [`replay`], which reads the frames that are not settled.

use super::Shape;
use super::frame::{self, Found, Head, Mark};
use super::sector::SECTOR;

/// Reads the frames after a mark from all segments: what they hold, in order, and the mark of the last.
///
/// They end where a crash has cut one off. A frame that may have been acknowledged is never skipped: each later one says
/// how far the journal was confirmed when it was written. And the frame of the mark is there: it is on the disk before the
/// file tells of it, and written over only once the file tells of a later one.
pub(crate) fn replay(area: &[u8], shape: Shape, settled: Mark) -> Result<(Vec<Vec<u8>>, Mark), &'static str> {
    if area.len() as u64 != shape.area() || settled.end > shape.area() {
        return Err("its journal has a wrong length");
    }
    let mut heads = area.chunks(SECTOR).filter_map(frame::head);
    let is_marked = |(head, _, checksum): (Head, usize, u32)| {
        Mark { number: head.number, checksum, end: settled.end } == settled
    };
    if settled.number > 0 && !heads.any(is_marked) {
        return Err("its journal is older than the file, or was emptied");
    }
    let mut bodies = Vec::new();
    let mut mark = settled;
    while let Some((body, next)) = next(area, shape, mark)? {
        bodies.push(body);
        mark = next;
    }
    let later = area.chunks(SECTOR).filter_map(frame::head).any(|(head, ..)| head.confirmed > mark.number);
    if later {
        return Err("its journal lacks a commit that was acknowledged");
    }
    Ok((bodies, mark))
}

/// The frame after a mark: behind it, or at the beginning of the next segment.
fn next(area: &[u8], shape: Shape, mark: Mark) -> Result<Option<(Vec<u8>, Mark)>, &'static str> {
    let behind = mark.end % shape.area();
    let over = mark.end.next_multiple_of(shape.segment) % shape.area();
    for place in [behind, over] {
        let end = place + shape.segment - place % shape.segment;
        match frame::read(&area[place as usize..end as usize], mark) {
            Found::Frame { checksum, body, size } => {
                let next = Mark { number: mark.number + 1, checksum, end: place + size };
                return Ok(Some((body, next)));
            }
            Found::Nothing => {}
            Found::Damage => return Err("its journal is damaged"),
        }
    }
    Ok(None)
}
