//! Arrays that are more than a list: sets, and elements that are told apart by a member.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::merge::sides::Sides;

/// What is in theirs and was not removed by me, and then what I added. `None` where a list has an element twice, and so is no set.
pub(super) fn united(base: &[Value], mine: &[Value], theirs: &[Value]) -> Option<Vec<Value>> {
    let sides = [base, mine, theirs];
    let [in_base, in_mine, in_theirs] = sides.map(|list| list.iter().collect::<HashSet<_>>());
    if [&in_base, &in_mine, &in_theirs].iter().zip(sides).any(|(set, list)| set.len() < list.len()) {
        return None;
    }
    let kept = theirs.iter().filter(|element| in_mine.contains(element) || !in_base.contains(element));
    let added = mine.iter().filter(|element| !in_theirs.contains(element) && !in_base.contains(element));
    Some(kept.chain(added).cloned().collect())
}

/// The elements of an array, each with what tells it apart.
pub(super) struct Elements<'v> {
    order: Vec<&'v Value>,
    by_key: HashMap<&'v Value, &'v Value>,
}

impl<'v> Elements<'v> {
    /// `None` where an element has no such member, or two have the same.
    pub(super) fn of(list: &'v [Value], member: &str) -> Option<Self> {
        let mut elements = Self { order: Vec::with_capacity(list.len()), by_key: HashMap::new() };
        for element in list {
            let key = element.get(member).filter(|key| key.is_string() || key.is_number())?;
            if elements.by_key.insert(key, element).is_some() {
                return None;
            }
            elements.order.push(key);
        }
        Some(elements)
    }

    fn has(&self, key: &Value) -> bool {
        self.by_key.contains_key(key)
    }

    fn get(&self, key: &Value) -> Option<&'v Value> {
        self.by_key.get(key).copied()
    }
}

/// The three sides of an array whose elements are told apart by a member.
pub(super) struct Keyed<'v> {
    base: Elements<'v>,
    mine: Elements<'v>,
    theirs: Elements<'v>,
}

impl<'v> Keyed<'v> {
    pub(super) fn of(
        base: &'v [Value],
        mine: &'v [Value],
        theirs: &'v [Value],
        member: &str,
    ) -> Option<Self> {
        let elements = |list| Elements::of(list, member);
        Some(Self { base: elements(base)?, mine: elements(mine)?, theirs: elements(theirs)? })
    }

    /// The three sides of one element.
    pub(super) fn element(&self, key: &Value) -> Sides<'v> {
        Sides { base: self.base.get(key), mine: self.mine.get(key), theirs: self.theirs.get(key) }
    }

    /// All keys of mine and theirs, each once, in an order that has the moves and additions of both. `None` where both sides
    /// moved what was there, to other orders.
    pub(super) fn order(&self) -> Option<Vec<&'v Value>> {
        let in_all = |key: &&&Value| self.base.has(key) && self.mine.has(key) && self.theirs.has(key);
        let [base, mine, theirs] =
            [&self.base, &self.mine, &self.theirs].map(|side| side.order.iter().filter(in_all));
        if mine.clone().eq(base.clone()) || mine.clone().eq(theirs.clone()) {
            Some(laid_out(&self.theirs, &self.mine))
        } else if theirs.eq(base) {
            Some(laid_out(&self.mine, &self.theirs))
        } else {
            None
        }
    }
}

/// The order of one side, with what only the other has, each after the element that stands before it there.
fn laid_out<'v>(frame: &Elements<'v>, other: &Elements<'v>) -> Vec<&'v Value> {
    let mut after: HashMap<Option<&Value>, Vec<&'v Value>> = HashMap::new();
    let mut before = None;
    for key in &other.order {
        match frame.has(key) {
            true => before = Some(*key),
            false => after.entry(before).or_default().push(key),
        }
    }
    let mut order = Vec::with_capacity(frame.order.len());
    let mut waiting = after.remove(&None).unwrap_or_default();
    for key in &frame.order {
        // What both added in one place stands side by side, and not one inside the other.
        if other.has(key) {
            order.append(&mut waiting);
            waiting = after.remove(&Some(*key)).unwrap_or_default();
        }
        order.push(*key);
    }
    order.append(&mut waiting);
    order
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order(base: &str, mine: &str, theirs: &str) -> Option<String> {
        let lists = [base, mine, theirs]
            .map(|keys| -> Vec<Value> { keys.chars().map(|key| json!({"k": key.to_string()})).collect() });
        let [base, mine, theirs] = &lists;
        let keyed = Keyed::of(base, mine, theirs, "k").unwrap();
        Some(keyed.order()?.iter().map(|key| key.as_str().unwrap()).collect())
    }

    #[test]
    fn moves_and_additions_of_both_sides_are_kept() {
        for (base, mine, theirs, merged) in [
            ("abc", "abc", "abc", "abc"),
            ("abc", "cab", "abc", "cab"),
            ("abc", "abc", "cab", "cab"),
            ("abc", "cab", "cab", "cab"),
            ("ab", "axb", "aby", "axby"),
            ("ab", "xab", "yab", "yxab"),
            ("ab", "abxy", "abz", "abzxy"),
            ("ab", "axb", "ba", "bax"),
            ("ab", "ab", "b", "ab"),
            ("", "xy", "yx", "yx"),
            ("a", "axy", "yxa", "yxa"),
        ] {
            assert_eq!(order(base, mine, theirs).as_deref(), Some(merged), "{base} {mine} {theirs}");
        }
    }

    #[test]
    fn two_orders_of_one_array_are_none() {
        assert_eq!(order("abc", "bac", "acb"), None);
        assert_eq!(order("abc", "bacx", "acb"), None);
        assert_eq!(order("abcd", "ba", "abcd").as_deref(), Some("bcda"), "what is left of it has one order");
    }

    #[test]
    fn elements_that_can_not_be_told_apart_are_none() {
        for list in [
            json!([{"k": 1}, {"k": 1}]),
            json!([{"k": 1}, {}]),
            json!([{"k": null}]),
            json!([{"k": [1]}]),
            json!([1]),
        ] {
            assert!(Elements::of(list.as_array().unwrap(), "k").is_none(), "{list}");
        }
        assert!(Elements::of(&[json!({"k": 1}), json!({"k": "1"})], "k").is_some());
    }

    #[test]
    fn a_set_has_what_either_side_added_and_nothing_that_one_removed() {
        let list = |text: &str| -> Vec<Value> { text.chars().map(|one| json!(one.to_string())).collect() };
        let united = |base: &str, mine: &str, theirs: &str| united(&list(base), &list(mine), &list(theirs));

        assert_eq!(united("abc", "abcx", "bcy"), Some(list("bcyx")));
        assert_eq!(united("ab", "b", "a"), Some(list("")));
        for [base, mine, theirs] in [["a", "ab", "aa"], ["aa", "ab", "a"], ["", "xx", "x"]] {
            assert_eq!(united(base, mine, theirs), None, "an element twice");
        }
    }
}
