//! Merging values of a type, with the way back: what the merged document says, the type must hold.

use std::error::Error as StdError;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec::{self, Unkept, escaped};
use crate::merge::merge::Merge;
use crate::merge::overlaps::{Documents, Overlap, Overlaps, put, unescaped};
use crate::merge::rules::{Rule, Rules};
use crate::merge::sides::Sides;
use crate::merge::strategy::Strategy;
use crate::store::{Condition, Error, Refusal, Resource, Versioned};

/// How often a document that the type does not hold is read again to find out why.
const MOST_READS: usize = 64;

/// Why values of a type were not merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unmerged {
    /// What both sides changed, or what the type can't hold together.
    #[error("the changes of both sides do not go together")]
    Overlaps(#[from] Overlaps),
    /// A value does not survive its own way through JSON, so that a part of it would be lost.
    #[error("a value that is to be merged would not read back from its JSON")]
    Unfaithful(#[source] Box<dyn StdError + Send + Sync>),
}

impl Unmerged {
    /// What whoever merged is told: overlaps are a conflict with what stands at `id` now.
    pub(crate) fn into_error<T: Resource + ?Sized>(
        self,
        id: &str,
        condition: Condition,
        theirs: &Versioned<T>,
    ) -> Error {
        match self {
            Self::Overlaps(overlaps) => overlaps.into_conflict(id, condition, theirs).into(),
            Self::Unfaithful(source) => Refusal::Encode { id: id.into(), source }.into(),
        }
    }
}

impl Merge {
    /// [`values`](Self::values) of a type: their JSON is merged, and read as the type again.
    ///
    /// On the way back nothing is lost in silence: a member that the type would drop is an overlap, and so is the smallest place
    /// that it can't hold, as where one side made another variant of a tagged enum, and the other side changed the old one. `null`
    /// for an `Option` and whatever else the type leaves out by itself is fine.
    ///
    /// It goes through the values' JSON text, so that an `f32` stays what it is, and costs some eleven times what it costs to
    /// parse that: all three are looked at for what would be lost.
    ///
    /// # Errors
    ///
    /// What overlaps. [`Unmerged::Unfaithful`] for a value that does not survive its own way through JSON: with a field under
    /// `#[serde(skip)]` that is not at its default, `Some(None)`, a float that is no number, an integer past 64 bits; and for
    /// one that nests deeper than 64 levels, or has more than 100,000 values in it.
    ///
    /// ```
    /// use ifmatch::merge::{Merge, Unmerged};
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// #[serde(tag = "by", rename_all = "lowercase")]
    /// enum Sent {
    ///     Post { street: String, floor: Option<u8> },
    ///     Mail { address: String },
    /// }
    ///
    /// let post = |floor| Sent::Post { street: "Main Street".to_string(), floor };
    /// let mail = Sent::Mail { address: "ann@example.org".to_string() };
    ///
    /// // Serde alone would read the merged document as mail, and drop the floor.
    /// let Err(Unmerged::Overlaps(overlaps)) = Merge::new().typed(&post(None), &mail, &post(Some(3))) else {
    ///     unreachable!()
    /// };
    /// assert!(overlaps.pointers().eq(["/floor"]));
    /// assert_eq!(overlaps.settle_as::<Sent>(|floor| floor.mine.clone())?, mail);
    /// # Ok::<_, Unmerged>(())
    /// ```
    pub fn typed<T>(&self, base: &T, mine: &T, theirs: &T) -> Result<T, Unmerged>
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let document = |value| codec::document(value).map_err(Unmerged::Unfaithful);
        let documents = Documents { base: document(base)?, mine: document(mine)?, theirs: document(theirs)? };
        match self.merged(documents.sides()) {
            Ok(merged) => Ok(back(self, &merged, || Arc::new(documents))?),
            Err((overlaps, merged)) => {
                Err(Overlaps::new(overlaps, merged, Arc::new(documents), self.clone()).into())
            }
        }
    }
}

impl Merge {
    /// Whether what was merged would be changed once more, were the same change to come again, as lines that are equal could.
    pub(crate) fn changes_more<T>(&self, base: &T, mine: &T, merged: &T) -> bool
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        // What would be refused changes nothing.
        self.typed(base, mine, merged).is_ok_and(|again| again != *merged)
    }
}

/// The value that a merged document stands for, if the type holds all of it.
pub(super) fn back<T>(
    merge: &Merge,
    merged: &Value,
    documents: impl FnOnce() -> Arc<Documents>,
) -> Result<T, Overlaps>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let unkept = match codec::value(merged) {
        Ok(value) => return Ok(value),
        Err(unkept) => unkept,
    };
    let documents = documents();
    let sides = |pointer: &str| sides_at(merge.rules(), documents.sides(), merged, pointer);
    let pointers = match unkept {
        Unkept::Dropped(pointers) => {
            let mut places: Vec<String> =
                pointers.iter().map(|pointer| whole(merge.rules(), merged, pointer)).collect();
            places.dedup();
            places
        }
        Unkept::Misfit(_) | Unkept::Unreadable(_) => {
            vec![whole(merge.rules(), merged, &culprit::<T>(merged, &sides))]
        }
    };
    let mut standing = merged.clone();
    let list: Vec<Overlap> = pointers
        .into_iter()
        .map(|pointer| {
            let sides = sides(&pointer);
            if let Some(stands) = sides.mine.or(sides.theirs) {
                put(&mut standing, &pointer, Some(stands.clone()));
            }
            Overlap::of(pointer, sides)
        })
        .collect();
    Err(Overlaps::new(list, standing, documents, merge.clone()))
}

/// The smallest place of a document that came of both sides and that the type can't hold: with theirs there, it could.
fn culprit<'v, T>(merged: &Value, sides: &dyn Fn(&str) -> Sides<'v>) -> String
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    let mut place = String::new();
    let mut reads = 0;
    // Theirs is a value of the type, so with that as a whole it can.
    'down: loop {
        for below in below(merged, &place) {
            let Sides { mine, theirs, .. } = sides(&below);
            let now = merged.pointer(&below);
            if now == mine || now == theirs {
                continue;
            }
            if reads == MOST_READS {
                break 'down;
            }
            reads += 1;
            let mut other = merged.clone();
            put(&mut other, &below, theirs.cloned());
            if !matches!(codec::value::<T>(&other), Err(Unkept::Misfit(_) | Unkept::Unreadable(_))) {
                place = below;
                continue 'down;
            }
        }
        break;
    }
    place
}

/// The place, or the array around it whose elements nothing tells apart: of an index of the merged one no side knows.
fn whole(rules: &Rules, merged: &Value, pointer: &str) -> String {
    let (mut rules, mut merged, mut place) = (Some(rules), Some(merged), String::new());
    for step in pointer.split('/').skip(1) {
        let name = unescaped(step);
        (rules, merged) = match merged {
            Some(Value::Array(list)) => {
                let keyed = rules.and_then(Rules::rule);
                if !matches!(keyed, Some(Rule::Strategy(Strategy::Keyed(_)))) {
                    break;
                }
                (rules.and_then(Rules::element), name.parse::<usize>().ok().and_then(|index| list.get(index)))
            }
            _ => (rules.and_then(|rules| rules.member(&name)), merged.and_then(|merged| merged.get(&name))),
        };
        place.push('/');
        place.push_str(step);
    }
    place
}

/// The places right below one.
fn below(document: &Value, place: &str) -> Vec<String> {
    match document.pointer(place) {
        Some(Value::Object(members)) => {
            members.keys().map(|name| format!("{place}/{}", escaped(name))).collect()
        }
        Some(Value::Array(list)) => (0..list.len()).map(|index| format!("{place}/{index}")).collect(),
        _ => Vec::new(),
    }
}

/// What the three sides have at a place of the merged document: an element of a keyed array stands at other indexes there.
fn sides_at<'v>(rules: &Rules, mut sides: Sides<'v>, merged: &Value, pointer: &str) -> Sides<'v> {
    let (mut rules, mut merged) = (Some(rules), Some(merged));
    for step in pointer.split('/').skip(1) {
        let name = unescaped(step);
        if let Some(Value::Array(list)) = merged {
            let index = name.parse().unwrap_or(usize::MAX);
            let element = list.get(index);
            let member = match rules.and_then(Rules::rule) {
                Some(Rule::Strategy(Strategy::Keyed(member))) => Some(*member),
                _ => None,
            };
            let key = member.and_then(|member| Some((member, element?.get(member)?)));
            sides = sides.below(|side| match key {
                Some((member, key)) => side.as_array()?.iter().find(|other| other.get(member) == Some(key)),
                None => side.as_array()?.get(index),
            });
            (rules, merged) = (rules.and_then(Rules::element), element);
        } else {
            sides = sides.below(|side| side.get(&name));
            (rules, merged) =
                (rules.and_then(|rules| rules.member(&name)), merged.and_then(|merged| merged.get(&name)));
        }
    }
    sides
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::merge::Strategy::{Counter, Keyed};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Order {
        lines: Vec<Line>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        weight: f32,
        paid: BTreeMap<String, Paid>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Line {
        sku: u32,
        count: u8,
        sent: Sent,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "by")]
    enum Sent {
        Post { street: String, floor: Option<u8> },
        Mail { address: String },
        Courier { company: String },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Paid {
        Card { number: u32 },
        Cash,
        Later(u8),
    }

    fn post(floor: Option<u8>) -> Sent {
        Sent::Post { street: "s".to_owned(), floor }
    }

    fn mail() -> Sent {
        Sent::Mail { address: "a".to_owned() }
    }

    fn order() -> Order {
        let line = |sku| Line { sku, count: 1, sent: post(None) };
        Order { lines: vec![line(1), line(2)], notes: Vec::new(), weight: 0.1, paid: BTreeMap::new() }
    }

    fn changed(change: impl FnOnce(&mut Order)) -> Order {
        let mut order = order();
        change(&mut order);
        order
    }

    fn merge() -> Merge {
        Merge::new().at("/lines", Keyed("sku")).at("/lines/*/count", Counter)
    }

    fn overlaps(base: &Order, mine: &Order, theirs: &Order) -> Overlaps {
        match merge().typed(base, mine, theirs) {
            Err(Unmerged::Overlaps(overlaps)) => overlaps,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn disjoint_changes_of_a_typed_value_are_both_kept() {
        let mine = changed(|order| (order.weight, order.lines[1].count) = (0.3, 3));
        let theirs = changed(|order| {
            order.lines.swap(0, 1);
            order.lines[0].count = 2;
            order.notes.push("n".to_owned());
        });

        let merged = merge().typed(&order(), &mine, &theirs).unwrap();

        let expected = changed(|order| {
            order.lines.swap(0, 1);
            order.lines[0].count = 4;
            order.notes.push("n".to_owned());
            order.weight = 0.3;
        });
        assert_eq!(merged, expected);
    }

    #[test]
    fn a_member_that_the_type_would_drop_is_an_overlap_where_it_is() {
        // In theirs the line stands elsewhere than in the merged array.
        let mine = changed(|order| {
            order.lines[1].sent = mail();
            order.lines.insert(0, Line { sku: 9, count: 1, sent: mail() });
        });
        let theirs = changed(|order| order.lines[1].sent = post(Some(3)));

        let overlaps = overlaps(&order(), &mine, &theirs);

        let [overlap] = overlaps.list() else { panic!("{overlaps:?}") };
        assert_eq!(overlap.pointer, "/lines/2/sent/floor");
        assert_eq!(
            (&overlap.base, &overlap.mine, &overlap.theirs),
            (&Some(json!(null)), &None, &Some(json!(3)))
        );
        assert_eq!(overlaps.settle_as::<Order>(|_| None).unwrap(), mine);
        assert!(matches!(overlaps.settle_as::<Order>(|_| Some(json!(4))), Err(Unmerged::Overlaps(_))));
    }

    #[test]
    fn the_smallest_place_that_the_type_can_not_hold_is_an_overlap() {
        let base = changed(|order| order.paid.extend([("ann".to_owned(), Paid::Cash)]));
        let with = |paid: Paid| {
            let mut order = base.clone();
            order.paid.insert("bob".to_owned(), paid);
            order
        };
        // Two variants at once.
        let both = overlaps(&base, &with(Paid::Card { number: 1 }), &with(Paid::Later(3)));
        assert!(both.pointers().eq(["/paid/bob"]), "{both:?}");
        assert_eq!(both.list()[0].theirs, Some(json!({"Later": 3})));
        assert_eq!(both.settle_as::<Order>(|bob| bob.theirs.clone()).unwrap(), with(Paid::Later(3)));

        // A sum that is no `u8`.
        let count = |count| changed(|order| order.lines[0].count = count);
        let sum = overlaps(&order(), &count(200), &count(100));
        assert!(sum.pointers().eq(["/lines/0/count"]), "{sum:?}");
        assert_eq!(sum.settle_as::<Order>(|_| Some(json!(255))).unwrap(), count(255));
    }

    #[test]
    fn what_follows_from_a_decision_is_asked_too() {
        let mine = changed(|order| order.lines[0].sent = mail());
        let theirs = changed(|order| {
            order.lines[0].sent = Sent::Courier { company: "c".to_owned() };
            order.lines[0].count = 7;
        });

        let overlaps = overlaps(&order(), &mine, &theirs);
        assert!(overlaps.pointers().eq(["/lines/0/sent/by"]), "{overlaps:?}");
        let mut asked = Vec::new();
        let settled = overlaps.settle_as::<Order>(|overlap| {
            asked.push((overlap.pointer.clone(), overlap.theirs.clone()));
            overlap.mine.clone()
        });

        // A company has no place in a mail, and does not go without a word.
        let place = |name: &str| format!("/lines/0/sent/{name}");
        assert_eq!(asked, [(place("by"), Some(json!("Courier"))), (place("company"), Some(json!("c")))]);
        assert_eq!(settled.unwrap().lines[0], Line { count: 7, ..mine.lines[0].clone() });
    }

    #[test]
    fn a_value_that_does_not_survive_its_own_way_is_not_merged() {
        let odd = changed(|order| order.weight = f32::NAN);

        for [base, mine, theirs] in
            [[odd.clone(), order(), order()], [order(), odd.clone(), order()], [order(), order(), odd]]
        {
            let refused = merge().typed(&base, &mine, &theirs);
            assert!(matches!(refused, Err(Unmerged::Unfaithful(_))), "{refused:?}");
        }
    }
}
