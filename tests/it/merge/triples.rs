//! Three documents by chance: a base, and what two people made of it.

use serde_json::{Map, Value, json};

use crate::dice::Dice;

const NAMES: [&str; 6] = ["a", "b", "c", "d/e", "~", ""];

/// What documents are made of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Made {
    /// Of anything that JSON has.
    OfAnything,
    /// Of anything but `null`, which a merge patch (RFC 7396) can't say.
    WithoutNull,
}

/// A base, and what two people made of it: mostly a few edits each, and sometimes something else.
pub(super) fn triple(dice: &mut Dice, made: Made) -> [Value; 3] {
    let base = match dice.below(20) {
        0 => value(dice, made, 3),
        _ => object(dice, made, 3),
    };
    let mut side = || {
        if dice.below(20) == 0 {
            return value(dice, made, 3);
        }
        let mut side = base.clone();
        for _ in 0..dice.below(4) {
            edit(dice, made, &mut side, 3);
        }
        side
    };
    let [mine, theirs] = [side(), side()];
    [base, mine, theirs]
}

fn value(dice: &mut Dice, made: Made, depth: u64) -> Value {
    match dice.below(6 + depth) {
        0 if made == Made::OfAnything => json!(null),
        0 | 1 => json!(dice.below(2) == 0),
        2 | 3 => json!(dice.below(3)),
        4 => json!(["x", "y", ""][dice.below(3) as usize]),
        5 => (0..dice.below(3)).map(|_| value(dice, made, depth.saturating_sub(1))).collect(),
        _ => object(dice, made, depth - 1),
    }
}

fn object(dice: &mut Dice, made: Made, depth: u64) -> Value {
    let mut members = Map::new();
    for _ in 0..dice.below(5) {
        members.insert(name(dice), value(dice, made, depth));
    }
    members.into()
}

fn name(dice: &mut Dice) -> String {
    NAMES[dice.below(NAMES.len() as u64) as usize].to_owned()
}

fn edit(dice: &mut Dice, made: Made, place: &mut Value, depth: u64) {
    match place {
        Value::Object(members) => {
            let name = name(dice);
            match members.get_mut(&name) {
                Some(member) if dice.below(2) == 0 && depth > 0 => edit(dice, made, member, depth - 1),
                Some(_) if dice.below(3) == 0 => drop(members.remove(&name)),
                _ => drop(members.insert(name, value(dice, made, depth))),
            }
        }
        other => *other = value(dice, made, depth),
    }
}

/// A base and two sides with everything that a rule can be for: see the rules in `properties`.
pub(super) fn declared(dice: &mut Dice) -> [Value; 3] {
    let base = json!({
        "items": keyed(dice, 5),
        "tags": tags(dice),
        "count": dice.below(5),
        "most": dice.below(5),
        "text": text(dice, ""),
    });
    let mut side = || {
        let mut side = base.clone();
        if dice.below(2) == 0 {
            side["tags"] = tags(dice);
        }
        if dice.below(2) == 0 {
            side["count"] = json!(dice.below(9));
        }
        if dice.below(2) == 0 {
            side["most"] = json!(dice.below(9));
        }
        if dice.below(2) == 0 {
            side["text"] = text(dice, base["text"].as_str().unwrap_or_default()).into();
        }
        let Some(Value::Array(items)) = side.get_mut("items") else { unreachable!() };
        for _ in 0..dice.below(4) {
            edit_items(dice, items);
        }
        side
    };
    let [mine, theirs] = [side(), side()];
    [base, mine, theirs]
}

fn keyed(dice: &mut Dice, most: u64) -> Value {
    (0..dice.below(most)).map(|sku| json!({"sku": sku, "n": dice.below(3), "m": dice.below(3)})).collect()
}

fn edit_items(dice: &mut Dice, items: &mut Vec<Value>) {
    let at = dice.below(items.len() as u64 + 1) as usize;
    match dice.below(5) {
        0 | 1 if at < items.len() => items[at][["n", "m"][dice.below(2) as usize]] = json!(dice.below(3)),
        2 if at < items.len() => drop(items.remove(at)),
        3 if at < items.len() => {
            let item = items.remove(at);
            items.insert(dice.below(items.len() as u64 + 1) as usize, item);
        }
        _ => {
            let sku = json!(dice.below(9));
            if items.iter().all(|item| item["sku"] != sku) {
                items.insert(at, json!({"sku": sku, "n": dice.below(3), "m": 0}));
            }
        }
    }
}

fn tags(dice: &mut Dice) -> Value {
    let tags = ["p", "q", "r", "s"];
    tags.into_iter().filter(|_| dice.below(2) == 0).map(Value::from).collect()
}

/// A text with a line more or less.
fn text(dice: &mut Dice, base: &str) -> String {
    let mut lines: Vec<&str> = base.lines().collect();
    if base.is_empty() {
        lines = vec!["one", "two", "three", "four", "five", "six"];
    }
    let at = dice.below(lines.len() as u64 + 1) as usize;
    match dice.below(2) {
        0 if at < lines.len() => drop(lines.remove(at)),
        _ => lines.insert(at, ["x", "y", "z"][dice.below(3) as usize]),
    }
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}
