//! A sequence of calls on a memory store, each answer held against what a plain map says.

#![no_main]

#[path = "../../tests/model/reference.rs"]
mod reference;
#[path = "../../tests/model/subject.rs"]
mod subject;

use ifmatch::Memory;
use ifmatch::store::Origin;
use libfuzzer_sys::fuzz_target;

use reference::{Belief, Deed, FEED_LIMIT, IDS, Operation, Place, Reference, Step};
use subject::Subject;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.iter().copied();
    let mut reference = Reference::default();
    let first = "1000".parse().expect("it is a version");
    let mut subject = Subject::new(Memory::starting_at(first).with_feed_limit(FEED_LIMIT));

    while let Some(operation) = operation(&reference, &mut bytes) {
        let expected = reference.apply(&operation);
        let answer = subject.apply(&operation);

        assert_eq!(answer, expected, "{operation:?}");
        assert_eq!(subject.woken(), reference.woken, "wakers, after {operation:?}");
    }
    assert_eq!(subject.values(), reference.values());
});

/// The next call that the bytes spell, `None` at their end.
fn operation(reference: &Reference, bytes: &mut impl Iterator<Item = u8>) -> Option<Operation> {
    const PREFIXES: [&str; 6] = ["", "a", "a/", "b/", "b/ü", "x"];
    const AFTERS: [Option<&str>; 8] =
        [None, Some(""), Some("a"), Some("a/1"), Some("a/9"), Some("ab"), Some("b/ü"), Some("zz")];

    let byte = bytes.next()?;
    let number = usize::from(byte >> 3);
    let (watchers, cursors) = (reference.watchers(), reference.cursors());
    Some(match byte % 8 {
        0 => Operation::Get(number % IDS.len()),
        1 => Operation::Resolve(byte >> 3),
        2 => {
            let more = usize::from(bytes.next()?);
            let (prefix, after) = (PREFIXES[number % PREFIXES.len()], AFTERS[more % AFTERS.len()]);
            let values = number / PREFIXES.len() % 2 == 0;
            Operation::Scan { prefix, after, limit: more / AFTERS.len() % 6, values }
        }
        3 if watchers < 4 => Operation::Watch(match number {
            0 => Place::Garbled,
            1 => Place::Elsewhere,
            number if number % 2 == 0 && cursors > 0 => Place::Cursor(number * 7 % cursors),
            _ => Place::Now,
        }),
        3 => Operation::Leave(number % watchers),
        4 if watchers > 0 => Operation::Next(number % watchers),
        _ => {
            let write = (number >= 24).then_some(byte >> 3);
            let steps = (0..number % 5).map(|_| step(reference, bytes)).collect::<Option<_>>()?;
            Operation::Commit { steps, write }
        }
    })
}

fn step(reference: &Reference, bytes: &mut impl Iterator<Item = u8>) -> Option<Step> {
    let (what, which) = (bytes.next()?, bytes.next()?);
    let id = usize::from(what) % IDS.len();
    let belief = match which % 8 {
        0 | 1 => Belief::Any,
        2 => Belief::Absent,
        3 => Belief::Present,
        4 => Belief::Version(u32::from(which >> 3) % (reference.last() + 1)),
        _ => Belief::Version(reference.mark(id)),
    };
    let deed = match what >> 6 {
        0 => Deed::Check,
        1 => Deed::Delete,
        _ => Deed::Put(u32::from(which)),
    };
    let origin = if what & 8 == 0 { Origin::Argument } else { Origin::Protocol };
    Some(Step { id, belief, origin, deed })
}
