//! What holds for any three documents. Each check is made by other means than the merge itself, and broken merges fail it.

use std::collections::{BTreeMap, BTreeSet};

use ifmatch::merge::Merge;
use ifmatch::merge::Strategy::{Counter, Keyed, Lines, Max, Set};
use serde_json::{Map, Value, json};

use crate::dice::Dice;
use crate::merge::triples::{Made, declared, triple};

const TRIPLES: u64 = 100_000;

/// What a merge makes of three documents: the merged one, or a place and what the three have there, for each overlap.
type Merged = Result<Value, Vec<(String, [Option<Value>; 3])>>;

fn with(merge: &Merge, [base, mine, theirs]: &[Value; 3]) -> Merged {
    merge.values(base, mine, theirs).map_err(|overlaps| {
        let overlaps = overlaps.list().iter();
        overlaps
            .map(|it| (it.pointer.clone(), [it.base.clone(), it.mine.clone(), it.theirs.clone()]))
            .collect()
    })
}

fn swapped([base, mine, theirs]: &[Value; 3]) -> [Value; 3] {
    [base, theirs, mine].map(Value::clone)
}

/// All that holds for a merge without rules. `None` where it does.
fn broken(merge: &dyn Fn(&[Value; 3]) -> Merged, triple: &[Value; 3]) -> Option<&'static str> {
    let [base, mine, theirs] = triple;
    if merge(&[base.clone(), base.clone(), theirs.clone()]).as_ref() != Ok(theirs) {
        return Some("what only they changed is theirs");
    }
    if merge(&[base.clone(), mine.clone(), base.clone()]).as_ref() != Ok(mine) {
        return Some("what only I changed is mine");
    }
    if merge(&[base.clone(), mine.clone(), mine.clone()]).as_ref() != Ok(mine) {
        return Some("equal changes are one");
    }
    let merged = merge(triple);
    let other_way = merge(&swapped(triple)).map_err(|overlaps| {
        overlaps.into_iter().map(|(at, [base, mine, theirs])| (at, [base, theirs, mine])).collect()
    });
    if merged != other_way {
        return Some("it does not matter who merges");
    }
    let overlaps = match &merged {
        Ok(merged) => {
            let merged = leaves(merged);
            let [mine, theirs] = [mine, theirs].map(leaves);
            let known =
                |(at, leaf): (&String, &Value)| mine.get(at) == Some(leaf) || theirs.get(at) == Some(leaf);
            let objects = |(_, leaf): &(&String, &Value)| **leaf != json!({});
            if !merged.iter().filter(objects).all(known) {
                return Some("what is merged is mine or theirs");
            }
            if !edits(base, triple).iter().all(|(at, leaf)| merged.get(at) == leaf.as_ref()) {
                return Some("no edit is lost");
            }
            return None;
        }
        Err(overlaps) => overlaps,
    };
    let places: Vec<&String> = overlaps.iter().map(|(at, _)| at).collect();
    if places.iter().any(|at| places.iter().any(|other| other.starts_with(&format!("{at}/")))) {
        return Some("no overlap is inside another");
    }
    for (at, sides) in overlaps {
        if *sides != [base, mine, theirs].map(|side| side.pointer(at).cloned()) {
            return Some("an overlap shows what is there");
        }
        let [base, mine, theirs] = sides;
        let objects =
            mine.as_ref().is_some_and(Value::is_object) && theirs.as_ref().is_some_and(Value::is_object);
        if mine == base || theirs == base || mine == theirs || objects {
            return Some("an overlap is one, and as small as can be");
        }
    }
    None
}

/// The edits of both sides: each leaf that is new or another one, and each that is gone.
fn edits(base: &Value, [_, mine, theirs]: &[Value; 3]) -> Vec<(String, Option<Value>)> {
    let base = leaves(base);
    let mut edits = Vec::new();
    for side in [mine, theirs].map(leaves) {
        for at in base.keys().chain(side.keys()) {
            // That an object is empty is seen by what was taken out of it.
            if base.get(at) != side.get(at) && side.get(at) != Some(&json!({})) {
                edits.push((at.clone(), side.get(at).cloned()));
            }
        }
    }
    edits
}

/// All that is no object with something in it, by its place.
fn leaves(document: &Value) -> BTreeMap<String, Value> {
    fn below(at: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, member) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    below(&format!("{at}/{name}"), member, leaves);
                }
            }
            leaf => drop(leaves.insert(at.to_owned(), leaf.clone())),
        }
    }
    let mut leaves = BTreeMap::new();
    below("", document, &mut leaves);
    leaves
}

#[test]
fn any_three_documents_merge_without_loss_or_overlap_exactly() {
    let merge = Merge::new();
    let mut dice = Dice::new(1);
    let mut outcomes = [0; 2];
    for number in 0..TRIPLES {
        let triple = triple(&mut dice, Made::OfAnything);
        let found = broken(&|triple| with(&merge, triple), &triple);
        assert_eq!(found, None, "{number}: {triple:?}");
        outcomes[usize::from(with(&merge, &triple).is_err())] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > TRIPLES / 10), "{outcomes:?}");
}

#[test]
fn a_merge_that_loses_invents_or_shows_too_much_is_found() {
    type Broken = fn(&[Value; 3]) -> Merged;
    let whole = |[base, mine, theirs]: &[Value; 3]| match () {
        () if mine == base => Ok(theirs.clone()),
        () if theirs == base || mine == theirs => Ok(mine.clone()),
        () => Err(vec![(String::new(), [base, mine, theirs].map(|side| Some(side.clone())))]),
    };
    let controls: [(&str, Broken); 4] = [
        ("the last one wins", |[_, _, theirs]| Ok(theirs.clone())),
        ("all is one value", whole),
        ("patch upon patch", |[base, mine, theirs]| {
            let first = patched(base.clone(), &patch(base, mine));
            Ok(patched(first, &patch(base, theirs)))
        }),
        ("null is nothing", |triple| with(&Merge::new(), &triple.clone().map(without_null))),
    ];
    for (name, control) in controls {
        let mut dice = Dice::new(2);
        let found = (0..TRIPLES).find(|_| broken(&control, &triple(&mut dice, Made::OfAnything)).is_some());
        assert!(found.is_some_and(|at| at < 1_000), "{name}: {found:?}");
    }
}

/// A merge patch from one document to another (RFC 7396).
fn patch(from: &Value, to: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (name, value) in after {
        match before.get(name) {
            Some(same) if same == value => {}
            before => drop(patch.insert(name.clone(), self::patch(before.unwrap_or(&Value::Null), value))),
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    patch.extend(gone.map(|name| (name.clone(), Value::Null)));
    patch.into()
}

/// RFC 7396 §2.
fn patched(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut members = match target {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, value) in patch {
        let before = members.remove(name);
        if !value.is_null() {
            members.insert(name.clone(), patched(before.unwrap_or_default(), value));
        }
    }
    members.into()
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, member)| !member.is_null());
            kept.map(|(name, member)| (name, without_null(member))).collect()
        }
        other => other,
    }
}

#[test]
fn where_merge_patches_can_say_it_a_merge_is_one_patch_upon_the_other() {
    let merge = Merge::new();
    let mut dice = Dice::new(3);
    let mut merged = 0;
    for number in 0..TRIPLES {
        let triple = triple(&mut dice, Made::WithoutNull);
        // Of what is no object a patch says all, also where nothing was changed.
        if !triple.iter().all(Value::is_object) {
            continue;
        }
        let Ok(both) = with(&merge, &triple) else { continue };
        let [base, mine, theirs] = &triple;
        for [first, second] in [[mine, theirs], [theirs, mine]] {
            let one = patched(base.clone(), &patch(base, first));
            assert_eq!(patched(one, &patch(base, second)), both, "{number}: {triple:?}");
        }
        merged += 1;
    }
    assert!(merged > TRIPLES / 4, "{merged}");
}

fn rules() -> Merge {
    Merge::new()
        .at("/items", Keyed("sku"))
        .at("/items/*/m", Counter)
        .at("/tags", Set)
        .at("/count", Counter)
        .at("/most", Max)
        .at("/text", Lines)
}

/// The same with objects in the place of what has an identity: nothing is left of its order.
fn by_identity(document: &Value) -> Value {
    let mut document = document.clone();
    let items = document["items"].as_array().expect("items").iter();
    document["items"] = items.map(|item| (item["sku"].to_string(), item.clone())).collect();
    let tags = document["tags"].as_array().expect("tags").iter();
    document["tags"] = tags.map(|tag| (tag.to_string(), json!(true))).collect();
    document
}

#[test]
fn with_rules_nothing_is_lost_and_nothing_there_twice() {
    let (merge, plain) = (rules(), rules().at("/items/*", ifmatch::merge::Strategy::Mine));
    // For what has become objects; the pattern of the elements says nothing of whole objects.
    let objects =
        Merge::new().at("/items/*/m", Counter).at("/count", Counter).at("/most", Max).at("/text", Lines);
    let mut dice = Dice::new(4);
    let [mut merged, mut overlapped, mut reordered, mut found] = [0; 4];
    for number in 0..TRIPLES {
        let triple = declared(&mut dice);
        let [base, mine, theirs] = &triple;
        assert_eq!(merge.values(base, base, theirs).unwrap(), *theirs, "{number}");
        assert_eq!(merge.values(base, mine, base).unwrap(), *mine, "{number}");

        let expected = with(&objects, &triple.clone().map(|side| by_identity(&side)));
        let both = with(&merge, &triple);
        let other_way = with(&merge, &swapped(&triple));
        match (&both, &expected) {
            (Ok(both), Ok(expected)) => {
                assert_eq!(by_identity(both), *expected, "{number}: {triple:?}");
                assert_eq!(by_identity(&other_way.unwrap()), *expected, "{number}: {triple:?}");
                let skus: BTreeSet<u64> = skus(both).collect();
                assert_eq!(skus.len(), self::skus(both).count(), "{number}: {both}");
                assert!(keeps_order(&triple, both), "{number}: {triple:?} {both}");
                merged += 1;
            }
            (Err(overlaps), _) if overlaps.iter().any(|(at, _)| at == "/items") => {
                assert!(moved(base, mine) && moved(base, theirs), "{number}: {triple:?}");
                reordered += 1;
            }
            (Err(overlaps), Err(expected)) => {
                let values = |overlaps: &[(String, [Option<Value>; 3])]| -> BTreeSet<String> {
                    overlaps.iter().map(|(_, sides)| format!("{sides:?}")).collect()
                };
                assert_eq!(values(overlaps), values(expected), "{number}: {triple:?}");
                overlapped += 1;
            }
            _ => panic!("{number}: {triple:?}: {both:?}, expected {expected:?}"),
        }
        // The control: one that takes the elements whole.
        if let (Ok(lossy), Ok(expected)) = (with(&plain, &triple), expected) {
            found += u64::from(by_identity(&lossy) != expected);
        }
    }
    let counts = [merged, overlapped, reordered, found];
    assert!(counts.iter().all(|count| *count > TRIPLES / 250), "{counts:?}");
}

fn skus(document: &Value) -> impl Iterator<Item = u64> {
    document["items"].as_array().into_iter().flatten().filter_map(|item| item["sku"].as_u64())
}

/// Whether a side has elements of the base in another order.
fn moved(base: &Value, side: &Value) -> bool {
    let [of_base, of_side]: [BTreeSet<u64>; 2] = [base, side].map(|document| skus(document).collect());
    !skus(base).filter(|sku| of_side.contains(sku)).eq(skus(side).filter(|sku| of_base.contains(sku)))
}

/// Whether what all have is in the order of the side that moved it.
fn keeps_order([base, mine, theirs]: &[Value; 3], merged: &Value) -> bool {
    let all: Vec<BTreeSet<u64>> = [base, mine, theirs].map(|document| skus(document).collect()).into();
    let common = |document: &Value| -> Vec<u64> {
        skus(document).filter(|sku| all.iter().all(|side| side.contains(sku))).collect()
    };
    let order = if common(mine) == common(base) { common(theirs) } else { common(mine) };
    common(merged) == order
}
