//! Three documents of any bytes, merged by rules of every kind: no panic, the laws of a merge hold, and what overlaps is there.

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

// The bytes are one JSON array of three documents: what is no such thing says nothing.
fuzz_target!(|bytes: &[u8]| {
    let Ok(Value::Array(documents)) = serde_json::from_slice(bytes) else { return };
    let Ok([base, mine, theirs]): Result<[Value; 3], _> = documents.try_into() else { return };
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
    if let (Ok(merged), Ok(typed)) = (merge.values(&base, &mine, &theirs), merge.typed(&base, &mine, &theirs)) {
        assert_eq!(merged, typed);
    }
});
