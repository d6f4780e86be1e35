//! Opening any bytes as a file, and using it if it opens: no panic gets out. Half of the inputs are patches to a good
//! file, since hardly any others get past the first look.
//!
//! A damaged page number can make the engine ask for a page of any size it knows, up to 4 GiB of zeros, before it finds
//! that the file ends earlier. Nothing is ever written there: run it with `-rss_limit_mb=512`, and under an allocator
//! that gives zeros without writing them.
//!
//! About one input in a million makes the engine panic in a destructor while it unwinds, which ends the run: a list of free
//! pages names a page of a size that there is not.

#![no_main]

use std::sync::OnceLock;

use ifmatch::fuzzed;
use libfuzzer_sys::fuzz_target;
static GOOD: OnceLock<Vec<u8>> = OnceLock::new();

fuzz_target!(
    init: {
        // The engine panics on some damaged files. Those panics are caught, and need not be printed; one that gets out
        // still ends the run. `LOUD` shows them, to look at a failing input.
        match std::env::var_os("LOUD") {
            None => std::panic::set_hook(Box::new(|_| ())),
            Some(_) => std::panic::set_hook(Box::new(|panic| {
                eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            })),
        }
        GOOD.get_or_init(fuzzed::image);
    },
    |bytes: &[u8]| {
        let Some((kind, rest)) = bytes.split_first() else { return };
        let image = match kind % 2 {
            0 => rest.to_vec(),
            _ => patched(rest),
        };
        // Using it costs a hundred times as much.
        match kind % 16 {
            1 => fuzzed::open_and_use(image),
            _ => fuzzed::open(image),
        }
    }
);

/// A good file with patches: two bytes that say where, one for how long, then what; where nothing is left, it is cut.
fn patched(patches: &[u8]) -> Vec<u8> {
    let mut image = GOOD.get().cloned().unwrap_or_default();
    let mut rest = patches;
    while let Some((&[high, low, length], after)) = rest.split_first_chunk() {
        // The pages that matter are the first ones: half of all places are in the header.
        let place = usize::from(high) << 8 | usize::from(low);
        let place = if high & 1 == 0 { place % 512 } else { place * 7 % image.len() };
        let (what, after) = after.split_at(usize::from(length).min(after.len()));
        if what.is_empty() {
            image.truncate(place);
            break;
        }
        let end = (place + what.len()).min(image.len());
        image[place..end].copy_from_slice(&what[..end - place]);
        rest = after;
    }
    image
}
