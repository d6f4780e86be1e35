//! [`Walk`], the way through three documents at once.

use std::fmt::Write;

use serde_json::{Map, Value};
use similar::{MergeResolution, TextMerge};

use crate::codec::escaped;
use crate::merge::arrays::{Keyed, united};
use crate::merge::numbers::{compared, counted};
use crate::merge::overlaps::Overlap;
use crate::merge::rules::{Rule, Rules};
use crate::merge::sides::Sides;
use crate::merge::strategy::Strategy;

/// How many levels down a document is taken apart: as deep as any JSON here may nest. What is below is one value.
const DEEPEST: usize = 64;

/// A way through three documents at once. Each place is looked at once on the way down, where all three are objects.
#[derive(Default)]
pub(super) struct Walk<'v> {
    path: Vec<Step<'v>>,
    found: Vec<(Vec<Step<'v>>, Overlap)>,
}

/// One step down. Their order is that of overlaps: names by their bytes, indexes by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step<'v> {
    Member(&'v str),
    /// Of the merged array.
    Element(usize),
}

/// What a rule makes of a place that both sides changed.
enum Outcome {
    /// This; `None` is that nothing is there.
    Merged(Option<Value>),
    Overlap,
    /// The rule is for something else than what is there.
    Unfit,
}

impl<'v> Walk<'v> {
    /// What is at the place, where both sides may have changed something. What overlaps is noted, and mine stands there, or
    /// theirs where mine has nothing.
    pub(super) fn place(&mut self, rules: Option<&Rules>, sides: Sides<'v>) -> Option<Value> {
        let Sides { base, mine, theirs } = sides;
        let rule = rules.and_then(Rules::rule);
        // Without a rule it does not matter whether the objects are equal, so they are not compared: each of their members is.
        if rule.is_none()
            && let Some(merged) = self.members(rules, sides)
        {
            return Some(merged);
        }
        if mine == base {
            return theirs.cloned();
        }
        // That theirs is the base again does not say that nobody changed it.
        if let Some(Rule::Undecided) = rule {
            return self.overlap(sides);
        }
        if theirs == base {
            return mine.cloned();
        }
        let outcome = rule.map_or(Outcome::Unfit, |rule| self.apply(rule, rules, sides));
        match outcome {
            Outcome::Merged(merged) => merged,
            Outcome::Overlap => self.overlap(sides),
            Outcome::Unfit if mine == theirs => mine.cloned(),
            Outcome::Unfit => self.members(rules, sides).or_else(|| self.overlap(sides)),
        }
    }

    /// Two objects by their members, whatever the base is: where it is no object, both made theirs of nothing.
    fn members(&mut self, rules: Option<&Rules>, sides: Sides<'v>) -> Option<Value> {
        let (Some(Value::Object(mine)), Some(Value::Object(theirs))) = (sides.mine, sides.theirs) else {
            return None;
        };
        if self.path.len() == DEEPEST {
            return None;
        }
        let base = sides.base.and_then(Value::as_object);
        let mut merged = Map::new();
        let added = theirs.keys().filter(|name| !mine.contains_key(*name));
        for name in mine.keys().chain(added) {
            let member = Sides {
                base: base.and_then(|base| base.get(name)),
                mine: mine.get(name),
                theirs: theirs.get(name),
            };
            let rules = rules.and_then(|rules| rules.member(name));
            if let Some(value) = self.below(Step::Member(name), |walk| walk.place(rules, member)) {
                merged.insert(name.clone(), value);
            }
        }
        Some(Value::Object(merged))
    }

    fn apply(&mut self, rule: &Rule, rules: Option<&Rules>, sides: Sides<'v>) -> Outcome {
        let strategy = match rule {
            Rule::By(closure) => {
                return closure(sides).map_or(Outcome::Overlap, |value| Outcome::Merged(Some(value)));
            }
            // It was looked at before.
            Rule::Undecided => return Outcome::Overlap,
            Rule::Strategy(Strategy::Mine) => return Outcome::Merged(sides.mine.cloned()),
            Rule::Strategy(Strategy::Theirs) => return Outcome::Merged(sides.theirs.cloned()),
            Rule::Strategy(strategy) => strategy,
        };
        let (Some(mine), Some(theirs)) = (sides.mine, sides.theirs) else { return Outcome::Unfit };
        match strategy {
            Strategy::Counter => match counted(sides.base, mine, theirs) {
                Some(Some(sum)) => Outcome::Merged(Some(sum)),
                Some(None) => Outcome::Overlap,
                None => Outcome::Unfit,
            },
            Strategy::Max | Strategy::Min => match compared(mine, theirs) {
                Some(order) if order.is_lt() == (*strategy == Strategy::Max) => {
                    Outcome::Merged(Some(theirs.clone()))
                }
                Some(_) => Outcome::Merged(Some(mine.clone())),
                None => Outcome::Unfit,
            },
            Strategy::Lines => lines(sides.base, mine, theirs),
            Strategy::Set => {
                let lists = arrays(sides.base, mine, theirs);
                match lists.and_then(|[base, mine, theirs]| united(base, mine, theirs)) {
                    Some(united) => Outcome::Merged(Some(united.into())),
                    None => Outcome::Unfit,
                }
            }
            Strategy::Keyed(member) => match arrays(sides.base, mine, theirs) {
                Some(lists) if self.path.len() < DEEPEST => self.elements(rules, lists, member),
                _ => Outcome::Unfit,
            },
            Strategy::Mine | Strategy::Theirs => Outcome::Unfit,
        }
    }

    /// Three arrays by their elements, each merged with its counterparts.
    fn elements(&mut self, rules: Option<&Rules>, lists: [&'v [Value]; 3], member: &str) -> Outcome {
        let [base, mine, theirs] = lists;
        let Some(keyed) = Keyed::of(base, mine, theirs, member) else { return Outcome::Unfit };
        let Some(order) = keyed.order() else { return Outcome::Overlap };
        let rules = rules.and_then(Rules::element);
        let mut merged = Vec::with_capacity(order.len());
        for key in order {
            // What is removed takes no index, so that a pointer is one into what is merged.
            let step = Step::Element(merged.len());
            merged.extend(self.below(step, |walk| walk.place(rules, keyed.element(key))));
        }
        Outcome::Merged(Some(Value::Array(merged)))
    }

    fn below(&mut self, step: Step<'v>, look: impl FnOnce(&mut Self) -> Option<Value>) -> Option<Value> {
        self.path.push(step);
        let value = look(self);
        self.path.pop();
        value
    }

    fn overlap(&mut self, sides: Sides<'v>) -> Option<Value> {
        let mut pointer = String::new();
        for step in &self.path {
            // Writing to a `String` can't fail.
            let _ = match step {
                Step::Member(name) => write!(pointer, "/{}", escaped(name)),
                Step::Element(index) => write!(pointer, "/{index}"),
            };
        }
        let overlap = Overlap::of(pointer, sides);
        self.found.push((self.path.clone(), overlap));
        sides.mine.or(sides.theirs).cloned()
    }

    /// What overlaps, in the order of its places.
    pub(super) fn into_overlaps(mut self) -> Vec<Overlap> {
        self.found.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.found.into_iter().map(|(_, overlap)| overlap).collect()
    }
}

/// Two arrays and their base, which may have been nothing yet.
fn arrays<'v>(base: Option<&'v Value>, mine: &'v Value, theirs: &'v Value) -> Option<[&'v [Value]; 3]> {
    let base = match base {
        None | Some(Value::Null) => &[],
        Some(base) => base.as_array()?.as_slice(),
    };
    Some([base, mine.as_array()?, theirs.as_array()?])
}

fn lines(base: Option<&Value>, mine: &Value, theirs: &Value) -> Outcome {
    let (Some(mine), Some(theirs)) = (mine.as_str(), theirs.as_str()) else { return Outcome::Unfit };
    let base = base.and_then(Value::as_str).unwrap_or_default();
    let merge = TextMerge::from_lines(base, mine, theirs);
    if merge.is_conflicted() {
        return Outcome::Unfit;
    }
    let mut merged = String::with_capacity(mine.len().max(theirs.len()));
    for region in merge.regions() {
        match region.resolution() {
            MergeResolution::Theirs => {
                merged.extend(region.theirs_range().filter_map(|at| merge.theirs_line(at)))
            }
            _ => merged.extend(region.ours_range().filter_map(|at| merge.ours_line(at))),
        }
    }
    Outcome::Merged(Some(merged.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::merge::Merge;

    #[test]
    fn what_is_deeper_than_any_json_here_is_one_value() {
        let nested = |value: Value| (0..1000).fold(value, |value, _| json!({"a": value}));
        let [base, mine, theirs] = [json!({}), json!({"b": 1}), json!({"c": 1})].map(nested);

        let overlaps = Merge::new().values(&base, &mine, &theirs).unwrap_err();

        assert!(overlaps.pointers().eq(["/a".repeat(64)]));
        assert_eq!(Merge::new().values(&base, &base, &theirs).unwrap(), theirs);
    }

    #[test]
    fn overlaps_stand_in_the_order_of_their_places() {
        let list = |side: u8| -> Value {
            (0..12)
                .map(|at| json!({"k": at, "n": if [2, 10, 11].contains(&at) { side } else { 0 }}))
                .collect()
        };
        let [base, mine, theirs] =
            [0, 1, 2].map(|side| json!({"b": list(side), "a~/": side, "c": {"d": side}}));

        let merge = Merge::new().at("/b", Strategy::Keyed("k"));
        let overlaps = merge.values(&base, &mine, &theirs).unwrap_err();

        assert!(overlaps.pointers().eq(["/a~0~1", "/b/2/n", "/b/10/n", "/b/11/n", "/c/d"]), "{overlaps:?}");
    }
}
