//! Three documents of any bytes, merged by rules of every kind: no panic, the laws of a merge hold, and what overlaps is there.
//!
//! Bytes that are a JSON array of three are these; all others choose a base and the edits of two sides.

#![no_main]

use ifmatch::merge::Merge;
use ifmatch::merge::Strategy::{Counter, Keyed, Lines, Max, Min, Mine, Set, Theirs};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fn rules() -> Merge {
    Merge::new()
        .at("/a", Keyed("k"))
        .at("/a/*/n", Counter)
        .at("/a/*/l", Keyed("k"))
        .at("/b", Set)
        .at("/c", Counter)
        .at("/d", Lines)
        .at("/e", Max)
        .at("/f", Min)
        .at("/g", Mine)
        .at("/h", Theirs)
        .at("/i/*/*", Set)
        .by("/j", |sides| sides.mine.or(sides.theirs).cloned())
}

fn documents(bytes: &[u8]) -> [Value; 3] {
    if let Ok(Value::Array(documents)) = serde_json::from_slice(bytes)
        && let Ok(documents) = documents.try_into()
    {
        return documents;
    }
    let mut bytes = bytes.iter().copied();
    let base = made(&mut bytes, 3);
    let [mut mine, mut theirs] = [base.clone(), base.clone()];
    while let Some(byte) = bytes.next() {
        edit(&mut bytes, if byte % 2 == 0 { &mut mine } else { &mut theirs });
    }
    [base, mine, theirs]
}

fn made(bytes: &mut impl Iterator<Item = u8>, depth: u8) -> Value {
    let Some(byte) = bytes.next() else { return Value::Null };
    match byte % 10 {
        0 => Value::Null,
        1 => json!(byte > 100),
        2 => json!(byte / 60),
        3 => json!(f32::from(byte) / 4.0),
        4 => json!([u64::MAX, 1 << 63, 0][usize::from(byte % 3)]),
        5 => (0..byte / 50)
            .map(|line| ["a", "b", "a\n", "b\n", ""][usize::from((byte ^ line) % 5)])
            .collect::<String>()
            .into(),
        _ if depth == 0 => json!("x"),
        6 => (0..byte / 60).map(|_| made(bytes, depth - 1)).collect(),
        // Elements with an identity, mostly.
        7 => (0..byte / 60).map(|at| json!({"k": at, "n": byte, "l": made(bytes, depth - 1)})).collect(),
        _ => (0..byte / 40).map(|_| (name(bytes), made(bytes, depth - 1))).collect(),
    }
}

fn name(bytes: &mut impl Iterator<Item = u8>) -> String {
    let byte = bytes.next().unwrap_or_default();
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "n", "l", "/", "~"][usize::from(byte % 15)]
        .to_owned()
}

fn edit(bytes: &mut impl Iterator<Item = u8>, place: &mut Value) {
    let byte = bytes.next().unwrap_or_default();
    match place {
        Value::Object(members) => {
            let name = name(bytes);
            match members.get_mut(&name) {
                Some(member) if byte % 4 > 1 => edit(bytes, member),
                Some(_) if byte % 4 == 1 => drop(members.remove(&name)),
                _ => drop(members.insert(name, made(bytes, 2))),
            }
        }
        Value::Array(list) if !list.is_empty() && byte % 8 > 0 => {
            let at = usize::from(byte) % list.len();
            match byte % 5 {
                0 => drop(list.remove(at)),
                1 => list.swap(at, 0),
                2 => list.insert(at, json!({"k": byte, "n": 0})),
                _ => edit(bytes, &mut list[at]),
            }
        }
        other => *other = made(bytes, 2),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [base, mine, theirs] = documents(bytes);
    for merge in [Merge::new(), rules()] {
        assert_eq!(merge.values(&base, &base, &theirs).unwrap(), theirs);
        assert_eq!(merge.values(&base, &mine, &base).unwrap(), mine);
        match merge.values(&base, &mine, &theirs) {
            // What is merged already changes nothing any more.
            Ok(merged) => assert_eq!(merge.values(&merged, &merged, &merged).unwrap(), merged),
            Err(overlaps) => {
                assert!(!overlaps.list().is_empty());
                let mut pointers: Vec<&str> = overlaps.pointers().collect();
                let count = pointers.len();
                pointers.sort_unstable();
                pointers.dedup();
                assert_eq!(pointers.len(), count, "each place once");
                let settled = overlaps.settle(|overlap| {
                    assert!(overlap.mine != overlap.theirs || overlap.mine != overlap.base);
                    Some(json!("settled"))
                });
                assert!(overlaps.pointers().all(|at| settled.pointer(at) == Some(&json!("settled"))));
                overlaps.settle(|_| None);
            }
        }
    }
    // The way back, into a type that holds anything: nothing is dropped.
    let merge = Merge::new();
    if let (Ok(merged), Ok(typed)) = (merge.values(&base, &mine, &theirs), merge.typed(&base, &mine, &theirs))
    {
        assert_eq!(merged, typed);
    }
});
