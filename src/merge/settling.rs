//! [`Settling`], what comes of overlaps that somebody decides, question by question.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::codec;
use crate::merge::overlaps::{Overlap, Overlaps, put, unescaped};
use crate::merge::rules::{Rule, Rules};
use crate::merge::strategy::Strategy;
use crate::merge::typed::{Unmerged, back};

/// How often what somebody decided may lead to a new question.
const MOST_TURNS: usize = 16;

impl Overlaps {
    /// [`settle`](Self::settle) as a value of the type. Where the type can't hold together what was chosen, as a member of one
    /// variant under the tag of another, `choose` is asked about that too. A place around others that were decided already is
    /// shown with those decisions in both sides, wherever the type can hold them there.
    ///
    /// # Errors
    ///
    /// What is left where the type does not hold what was chosen at the end.
    pub fn settle_as<T>(&self, mut choose: impl FnMut(&Overlap) -> Option<Value>) -> Result<T, Unmerged>
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let mut settling = Settling { document: Value::Null, decided: Vec::new() };
        settling.settle(self, &mut choose);
        let mut turns = 0;
        loop {
            let left = match back::<T>(self.merge(), &settling.document, || Arc::clone(self.documents())) {
                Ok(value) => return Ok(value),
                Err(left) => settling.with_decisions::<T>(left),
            };
            turns += 1;
            if !settling.settle(&left, &mut choose) || turns == MOST_TURNS {
                return Err(left.into());
            }
        }
    }
}

/// A document on its way to a value, and what was decided for it.
struct Settling {
    document: Value,
    /// By the places that the document has now, the oldest first: the last word counts.
    decided: Vec<(String, Decision)>,
}

/// What was decided for a place.
enum Decision {
    /// This; `None` is that nothing is there.
    Is(Option<Value>),
    /// That the array has no element whose member of this name is this.
    Without(&'static str, Value),
}

impl Settling {
    /// Takes what is chosen for each overlap. Whether that makes another document of it.
    fn settle(&mut self, overlaps: &Overlaps, choose: &mut dyn FnMut(&Overlap) -> Option<Value>) -> bool {
        let chosen: Vec<Option<Value>> = overlaps.list().iter().map(choose).collect();
        let before = std::mem::replace(&mut self.document, overlaps.merged().clone());
        // From the end, so that an element that is taken out leaves the others at their places.
        for (overlap, chosen) in overlaps.list().iter().zip(chosen).rev() {
            let place = &overlap.pointer;
            match element(overlaps.merge().rules(), &self.document, place).filter(|_| chosen.is_none()) {
                Some((list, index, key)) => {
                    put(&mut self.document, place, None);
                    self.move_up(&list, index);
                    self.decided.extend(key.map(|(member, key)| (list, Decision::Without(member, key))));
                }
                None => {
                    put(&mut self.document, place, chosen.clone());
                    self.decided.push((place.clone(), Decision::Is(chosen)));
                }
            }
        }
        self.document != before
    }

    /// Moves what was decided behind an element that was taken out, and forgets what was decided inside.
    fn move_up(&mut self, list: &str, index: usize) {
        self.decided.retain_mut(|(place, _)| {
            let below = place.strip_prefix(list).and_then(|below| below.strip_prefix('/'));
            let Some((at, rest)) = below.map(|below| below.split_at(below.find('/').unwrap_or(below.len())))
            else {
                return true;
            };
            match at.parse::<usize>() {
                Ok(at) if at > index => *place = format!("{list}/{}{rest}", at - 1),
                Ok(at) if at == index => return false,
                _ => {}
            }
            true
        });
    }

    /// The same overlaps, with what was decided inside their places in both sides.
    fn with_decisions<T>(&self, left: Overlaps) -> Overlaps
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let is_asked = |(place, decision): &&(String, Decision)| {
            let of_itself = |asked| matches!(decision, Decision::Without(..)) && place == asked;
            left.pointers().any(|asked| is_below(place, asked) || of_itself(asked))
        };
        let inside: Vec<_> = self.decided.iter().filter(is_asked).collect();
        if inside.is_empty() {
            return left;
        }
        let mine = self.side::<T>(&left, &inside, |overlap| overlap.mine.as_ref());
        let theirs = self.side::<T>(&left, &inside, |overlap| overlap.theirs.as_ref());
        let list = left.list().iter().map(|overlap| {
            let of = |side: &Option<Value>, document: &Value| {
                side.as_ref().and_then(|_| document.pointer(&overlap.pointer).cloned())
            };
            Overlap {
                mine: of(&overlap.mine, &mine),
                theirs: of(&overlap.theirs, &theirs),
                ..overlap.clone()
            }
        });
        Overlaps::new(list.collect(), mine.clone(), Arc::clone(left.documents()), left.merge().clone())
    }

    /// The document with one side at each place that is asked, and in it whatever the type can hold of what was decided.
    fn side<'o, T>(
        &self,
        left: &'o Overlaps,
        inside: &[&(String, Decision)],
        side: impl Fn(&'o Overlap) -> Option<&'o Value>,
    ) -> Value
    where
        T: Serialize + DeserializeOwned + PartialEq,
    {
        let mut document = left.merged().clone();
        for overlap in left.list() {
            if let Some(value) = side(overlap) {
                put(&mut document, &overlap.pointer, Some(value.clone()));
            }
        }
        for (place, decided) in inside {
            let Some(there) = same_place(left.merge().rules(), &self.document, &document, place) else {
                continue;
            };
            let mut other = document.clone();
            match decided {
                Decision::Is(value) => put(&mut other, &there, value.clone()),
                Decision::Without(member, key) => {
                    if let Some(Value::Array(list)) = other.pointer_mut(&there) {
                        list.retain(|element| element.get(member) != Some(key));
                    }
                }
            }
            if codec::value::<T>(&other).is_ok() {
                document = other;
            }
        }
        document
    }
}

fn is_below(place: &str, above: &str) -> bool {
    place.strip_prefix(above).is_some_and(|below| below.starts_with('/'))
}

/// An array, the index of one of its elements, and what tells that from the others: the name of a member and its value.
type Element = (String, usize, Option<(&'static str, Value)>);

/// The place as an element of an array.
fn element(rules: &Rules, document: &Value, place: &str) -> Option<Element> {
    let (list, name) = place.rsplit_once('/')?;
    let index: usize = name.parse().ok()?;
    let element = document.pointer(list)?.as_array()?.get(index)?;
    let key = key_of(rules_at(rules, document, list))
        .and_then(|member| Some((member, element.get(member)?.clone())));
    Some((list.to_owned(), index, key))
}

/// The rules of a place of the document.
fn rules_at<'r>(rules: &'r Rules, document: &Value, place: &str) -> Option<&'r Rules> {
    let (mut rules, mut above) = (Some(rules), String::new());
    for step in place.split('/').skip(1) {
        let in_array = document.pointer(&above).is_some_and(Value::is_array);
        rules =
            rules.and_then(|rules| if in_array { rules.element() } else { rules.member(&unescaped(step)) });
        above.push('/');
        above.push_str(step);
    }
    rules
}

/// The member that tells the elements of an array from each other.
fn key_of(rules: Option<&Rules>) -> Option<&'static str> {
    match rules.and_then(Rules::rule) {
        Some(Rule::Strategy(Strategy::Keyed(member))) => Some(*member),
        _ => None,
    }
}

/// Where in another document a place of this one is: an element of a keyed array may stand at another index there.
fn same_place(rules: &Rules, from: &Value, to: &Value, place: &str) -> Option<String> {
    let (mut rules, mut from, mut to) = (Some(rules), Some(from), Some(to));
    let mut there = String::new();
    for step in place.split('/').skip(1) {
        let name = unescaped(step);
        if let Some(Value::Array(list)) = from {
            let Some(Rule::Strategy(Strategy::Keyed(member))) = rules.and_then(Rules::rule) else {
                return None;
            };
            let element = list.get(name.parse::<usize>().ok()?)?;
            let key = element.get(member)?;
            let others = to?.as_array()?;
            let index = others.iter().position(|other| other.get(member) == Some(key))?;
            there.push_str(&format!("/{index}"));
            (rules, from, to) = (rules.and_then(Rules::element), Some(element), others.get(index));
        } else {
            there.push('/');
            there.push_str(step);
            rules = rules.and_then(|rules| rules.member(&name));
            (from, to) = (from.and_then(|from| from.get(&name)), to.and_then(|to| to.get(&name)));
        }
    }
    Some(there)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::merge::Merge;
    use crate::merge::Strategy::Keyed;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Week {
        day: Day,
    }

    /// Its hours go up.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(try_from = "Hours")]
    struct Day {
        #[serde(flatten)]
        hours: Hours,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Hours {
        from: u8,
        noon: u8,
        till: u8,
        talks: Vec<Talk>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Talk {
        id: u8,
        title: String,
    }

    impl TryFrom<Hours> for Day {
        type Error = &'static str;

        fn try_from(hours: Hours) -> Result<Self, Self::Error> {
            let up = hours.from < hours.noon && hours.noon < hours.till;
            if up { Ok(Self { hours }) } else { Err("they go down") }
        }
    }

    fn week([from, noon, till]: [u8; 3], talks: &[(u8, &str)]) -> Week {
        let talks = talks.iter().map(|(id, title)| Talk { id: *id, title: (*title).to_owned() });
        Week { day: Day { hours: Hours { from, noon, till, talks: talks.collect() } } }
    }

    fn overlaps(base: &Week, mine: &Week, theirs: &Week) -> Overlaps {
        match Merge::new().at("/day/talks", Keyed("id")).typed(base, mine, theirs) {
            Err(Unmerged::Overlaps(overlaps)) => overlaps,
            other => panic!("{other:?}"),
        }
    }

    /// Hours that do not go together, so that the whole day is asked. Mine for all else, unless `choose` says.
    fn hours(overlap: &Overlap, choose: impl Fn(&str) -> Option<Option<Value>>) -> Option<Value> {
        match &*overlap.pointer {
            "/day/till" => overlap.theirs.clone(),
            other => choose(other).unwrap_or_else(|| overlap.mine.clone()),
        }
    }

    #[test]
    fn a_decision_is_kept_where_the_place_around_it_is_asked() {
        let base = week([4, 5, 6], &[(1, "a"), (2, "b"), (3, "c")]);
        let mine = week([10, 11, 12], &[(1, "a"), (2, "mine"), (3, "c")]);
        // The same talk stands elsewhere.
        let theirs = week([1, 2, 3], &[(3, "c"), (1, "a"), (2, "theirs")]);
        let chosen = |place: &str| place.ends_with("/title").then(|| Some(json!("chosen")));

        let mut asked = Vec::new();
        let settled = overlaps(&base, &mine, &theirs).settle_as::<Week>(|overlap| {
            asked.push(overlap.clone());
            hours(overlap, chosen)
        });

        let shown = asked.iter().find(|overlap| overlap.pointer == "/day").expect("the day is asked");
        let day = |week: Week| Some(serde_json::to_value(week.day).unwrap());
        let of_mine = settled.unwrap();
        let title = of_mine.day.hours.talks.iter().find(|talk| talk.id == 2).map(|talk| &*talk.title);
        assert_eq!(title, Some("chosen"));
        assert_eq!(shown.mine, day(of_mine.clone()));
        assert_eq!(shown.theirs, day(week([1, 2, 3], &[(3, "c"), (1, "a"), (2, "chosen")])));
        assert_eq!((of_mine.day.hours.from, of_mine.day.hours.till), (10, 12));
    }

    #[test]
    fn what_was_taken_out_stays_out_where_the_place_around_it_is_asked() {
        let base = week([4, 5, 6], &[(1, "a"), (2, "b")]);
        let mine = week([10, 11, 12], &[(1, "mine"), (2, "mine")]);
        let theirs = week([1, 2, 3], &[(2, "theirs")]);
        let chosen = |place: &str| match place {
            "/day/talks/0" => Some(None),
            other => other.ends_with("/title").then(|| Some(json!("chosen"))),
        };

        let settled = overlaps(&base, &mine, &theirs).settle_as::<Week>(|overlap| hours(overlap, chosen));

        assert_eq!(settled.unwrap(), week([10, 11, 12], &[(2, "chosen")]));
    }

    #[test]
    fn what_is_chosen_for_the_place_around_is_the_last_word() {
        let base = week([4, 5, 6], &[(1, "a")]);
        let mine = week([10, 11, 12], &[(1, "mine")]);
        let theirs = week([1, 2, 3], &[(1, "theirs")]);
        let other = week([7, 8, 9], &[(1, "other")]);
        let chosen = |place: &str| match place {
            "/day" => Some(serde_json::to_value(&other.day).ok()),
            _ => None,
        };

        let settled =
            overlaps(&base, &mine, &theirs).settle_as::<Week>(|overlap| hours(overlap, chosen)).unwrap();

        assert_eq!(settled, other);
    }
}
