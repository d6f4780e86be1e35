//! What the fuzz target of the journal calls. Built for it alone.

use super::frame::{self, Head, Mark};
use super::replay::replay;
use super::sector::spread;
use super::{HEADER, Shape};

const SHAPE: Shape = Shape { segment: 4096, segments: 3 };

/// Reads any bytes as the segments of a journal, and the same as bytes of well-formed sectors.
pub(in crate::backend::file) fn read(bytes: &[u8], settled: Mark) {
    for mut area in [bytes.to_vec(), spread(bytes)] {
        area.resize(SHAPE.length() as usize - HEADER, 0);
        // Hardly any bytes have the frame of a mark.
        for settled in [settled, Mark::default()] {
            if let Ok((frames, _)) = replay(&area, SHAPE, settled) {
                assert!(frames.iter().map(Vec::len).sum::<usize>() <= area.len());
            }
        }
    }
}

/// Reads a journal of frames, as many as fit, which must be read back, and none of them lost by a flipped bit.
pub(in crate::backend::file) fn read_back(bodies: &[&[u8]], bit: usize) {
    let mut area = vec![0; SHAPE.area() as usize];
    let (mut tip, mut written) = (Mark::default(), Vec::new());
    for body in bodies {
        let head = Head { number: tip.number + 1, before: tip.checksum, opening: 1, confirmed: tip.number };
        let (bytes, checksum) = frame::encode(&head, body);
        let place = SHAPE.place(tip.end, bytes.len() as u64);
        let end = place + bytes.len() as u64;
        if bytes.len() as u64 > SHAPE.segment || end <= tip.end {
            break;
        }
        area[place as usize..end as usize].copy_from_slice(&bytes);
        tip = Mark { number: head.number, checksum, end };
        written.push(body.to_vec());
    }
    assert_eq!(replay(&area, SHAPE, Mark::default()), Ok((written.clone(), tip)));
    let bit = bit % (area.len() * 8);
    area[bit / 8] ^= 1 << (bit % 8);
    if let Ok((found, _)) = replay(&area, SHAPE, Mark::default()) {
        assert_eq!(found, written);
    }
}
