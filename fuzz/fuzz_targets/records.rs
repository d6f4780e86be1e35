//! The record in which stores of bytes keep a value: no panic on any bytes, each record has one form only, and every
//! flipped bit is found. And the rows in which a file keeps many: no panic.

#![no_main]

use std::num::NonZeroU64;

use ifmatch::fuzzed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8], NonZeroU64, Option<u128>, usize)| {
    let (id, bytes, version, write, bit) = input;
    fuzzed::record(id, bytes);
    // As good as a fuzzer that knows the format: past the first look.
    let mut likely = vec![1, bytes.first().copied().unwrap_or(0) & 1];
    likely.extend(bytes);
    fuzzed::record(id, &likely);
    fuzzed::rows(bytes);
    let mut row = (bytes.len() as u32).to_be_bytes().to_vec();
    row.extend(bytes);
    fuzzed::rows(&row);
    fuzzed::round_trip(id, version, write, bytes, bit);
});
