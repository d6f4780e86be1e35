//! The journal of a file: no panic and no memory beyond its size on any bytes, frames are read back, and no flipped bit
//! makes one vanish.

#![no_main]

use ifmatch::fuzzed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<&[u8]>, u64, u32, u64, usize)| {
    let (bodies, number, checksum, end, bit) = input;
    fuzzed::journal(&bodies.concat(), number, checksum, end);
    fuzzed::journal_of(&bodies, bit);
});
