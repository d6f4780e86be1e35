//! [`Overlaps`], what a merge could not decide.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::merge::merge::Merge;
use crate::merge::sides::Sides;
use crate::store::{Condition, Conflict, Found, Intent, Mismatch, Resource, Versioned, conflict_in, shown};

/// What a merge could not decide: the places that both sides changed, and what each made of them.
///
/// Everything else is merged already: [`settle`](Self::settle) puts what somebody decided in its place. `Debug` and `Display` show
/// no value.
///
/// ```
/// use ifmatch::merge::Merge;
/// use serde_json::json;
///
/// let [base, mine, theirs] = [json!({"a": 1, "b": 1}), json!({"a": 2, "b": 1}), json!({"a": 3, "b": 3})];
/// let overlaps = Merge::new().values(&base, &mine, &theirs).unwrap_err();
///
/// let [overlap] = overlaps.list() else { unreachable!() };
/// assert_eq!((&*overlap.pointer, &overlap.mine, &overlap.theirs), ("/a", &Some(json!(2)), &Some(json!(3))));
/// assert_eq!(overlaps.to_string(), "both sides changed `/a`");
/// assert_eq!(overlaps.settle(|overlap| overlap.mine.clone()), json!({"a": 2, "b": 3}));
/// ```
pub struct Overlaps(Box<Inner>);

struct Inner {
    list: Vec<Overlap>,
    /// With mine at each place that overlaps, or theirs where mine has nothing.
    merged: Value,
    documents: Arc<Documents>,
    merge: Merge,
}

/// A place that both sides changed, and what each made of it. `None` where there is nothing, which is not `null`.
#[derive(Clone, PartialEq, Serialize)]
pub struct Overlap {
    /// Where it is, as a JSON pointer into the merged value: an index counts what that has.
    pub pointer: String,
    /// What both started from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Value>,
    /// What the one who merges made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mine: Option<Value>,
    /// What the other made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub theirs: Option<Value>,
}

/// What was merged.
pub(super) struct Documents {
    pub(super) base: Value,
    pub(super) mine: Value,
    pub(super) theirs: Value,
}

impl Documents {
    pub(super) fn sides(&self) -> Sides<'_> {
        Sides::of(&self.base, &self.mine, &self.theirs)
    }
}

impl Overlap {
    pub(super) fn of(pointer: String, sides: Sides<'_>) -> Self {
        Self { pointer, base: sides.base.cloned(), mine: sides.mine.cloned(), theirs: sides.theirs.cloned() }
    }
}

impl Overlaps {
    pub(super) fn new(list: Vec<Overlap>, merged: Value, documents: Arc<Documents>, merge: Merge) -> Self {
        Self(Box::new(Inner { list, merged, documents, merge }))
    }

    /// What an error knows of overlaps, behind [`Error`](crate::Error), `anyhow` or a program's own types.
    ///
    /// ```
    /// use ifmatch::merge::{Merge, Overlaps};
    /// use ifmatch::{Collection, Error};
    ///
    /// let titles = Collection::<String>::in_memory();
    /// titles.create("a", "first".to_string()).wait()?;
    /// let mut draft = titles.edit("a").wait()?;
    /// draft.push_str(" of mine");
    /// titles.put("a", "another".to_string()).wait()?;
    ///
    /// let error = draft.commit_or_merge(&Merge::new(), |_| Ok::<_, Error>(())).wait().unwrap_err();
    /// let overlaps = Overlaps::of(&error).unwrap();
    /// assert_eq!(overlaps.list()[0].theirs, Some("another".into()));
    /// # Ok::<_, Error>(())
    /// ```
    pub fn of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = conflict_in(error).map_or(Some(error), |conflict| conflict.source());
        while let Some(error) = next {
            if let Some(overlaps) = error.downcast_ref() {
                return Some(overlaps);
            }
            next = error.source();
        }
        None
    }

    /// The places, by name and by number. At least one, and none inside another.
    pub fn list(&self) -> &[Overlap] {
        &self.0.list
    }

    /// The same places, as JSON pointers.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.0.list.iter().map(|overlap| &*overlap.pointer)
    }

    /// The merged value with what `choose` gives for each place, in their order. Where that is `None`, nothing is there.
    pub fn settle(&self, choose: impl FnMut(&Overlap) -> Option<Value>) -> Value {
        let chosen: Vec<Option<Value>> = self.0.list.iter().map(choose).collect();
        let mut settled = self.0.merged.clone();
        // From the end, so that an element that is taken out leaves the others at their places.
        for (overlap, chosen) in self.0.list.iter().zip(chosen).rev() {
            put(&mut settled, &overlap.pointer, chosen);
        }
        settled
    }

    /// The conflict that this comes to, for programs that merge by themselves: a write of `id` expected a state, and found
    /// another one that it could not be merged with. The advice is [`Advice::Merge`](crate::store::Advice::Merge), and the
    /// conflict's `source` is this.
    ///
    /// ```
    /// use ifmatch::merge::Merge;
    /// use ifmatch::store::Condition;
    /// use ifmatch::{Version, Versioned, http};
    ///
    /// let found = Versioned::<u64>::new("8".parse()?, 3);
    /// let overlaps = Merge::new().values(&1.into(), &2.into(), &3.into()).unwrap_err();
    ///
    /// let condition = Condition::from_protocol("7".parse::<Version>()?);
    /// let conflict = overlaps.into_conflict("visits", condition, &found);
    /// assert_eq!(http::status(&conflict.into()), 412);
    /// # Ok::<_, ifmatch::store::ParseError>(())
    /// ```
    pub fn into_conflict<T: Resource + ?Sized>(
        self,
        id: &str,
        condition: impl Into<Condition>,
        found: &Versioned<T>,
    ) -> Conflict {
        let paths: Vec<Box<str>> = self.pointers().map(Box::from).collect();
        let found = Found::Value(found.clone());
        Mismatch::new(id, condition.into(), Intent::Put, found).with_overlap(paths, self).into()
    }

    /// What was merged, with mine at the places that overlap, or theirs where mine has nothing: each pointer names its place.
    pub(crate) fn merged(&self) -> &Value {
        &self.0.merged
    }

    pub(super) fn documents(&self) -> &Arc<Documents> {
        &self.0.documents
    }

    pub(super) fn merge(&self) -> &Merge {
        &self.0.merge
    }
}

/// Puts a value at a place that is there, or takes out what is there. Of the whole only `null` can be left.
pub(super) fn put(document: &mut Value, pointer: &str, value: Option<Value>) {
    let Some(value) = value else { return take_out(document, pointer) };
    if let Some(place) = document.pointer_mut(pointer) {
        *place = value;
        return;
    }
    // A member that is not there yet.
    if let Some((above, name)) = pointer.rsplit_once('/')
        && let Some(Value::Object(members)) = document.pointer_mut(above)
    {
        members.insert(unescaped(name), value);
    }
}

fn take_out(document: &mut Value, pointer: &str) {
    let Some((above, name)) = pointer.rsplit_once('/') else {
        *document = Value::Null;
        return;
    };
    match document.pointer_mut(above) {
        Some(Value::Object(members)) => drop(members.remove(&unescaped(name))),
        Some(Value::Array(list)) => {
            if let Some(index) = name.parse().ok().filter(|index| *index < list.len()) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

pub(super) fn unescaped(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}

impl fmt::Display for Overlaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 3;
        f.write_str("both sides changed ")?;
        for (at, pointer) in self.pointers().take(MOST).enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}`{}`", shown(pointer))?;
        }
        match self.list().len().saturating_sub(MOST) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

// Hand-written: the derived impls would print the user's values.
impl fmt::Debug for Overlaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}

impl fmt::Debug for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlap").field("pointer", &self.pointer).finish_non_exhaustive()
    }
}

impl StdError for Overlaps {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::merge::Strategy::Keyed;
    use crate::merge::Unmerged;

    #[test]
    fn what_is_settled_stands_where_it_was_decided() {
        let base = json!({"l": [{"k": 1, "n": 0}, {"k": 2, "n": 0}, {"k": 3, "n": 0}], "a/": 0, "~": 0});
        let mine = json!({"l": [{"k": 1, "n": 1}, {"k": 3, "n": 1}], "a/": 1});
        let theirs = json!({"l": [{"k": 1, "n": 2}, {"k": 2, "n": 2}], "a/": 2, "~": 2});
        let overlaps = Merge::new().at("/l", Keyed("k")).values(&base, &mine, &theirs).unwrap_err();
        assert!(overlaps.pointers().eq(["/a~1", "/l/0/n", "/l/1", "/l/2", "/~0"]), "{overlaps:?}");

        assert_eq!(overlaps.settle(|overlap| overlap.mine.clone()), mine);
        assert_eq!(overlaps.settle(|overlap| overlap.theirs.clone()), theirs);
        assert_eq!(
            overlaps.settle(|overlap| overlap.base.clone()),
            json!({"l": [{"k": 1, "n": 0}, {"k": 2, "n": 0}, {"k": 3, "n": 0}], "a/": 0, "~": 0})
        );
    }

    #[test]
    fn the_whole_can_be_settled_too() {
        let overlaps = Merge::new().values(&json!(1), &json!(2), &json!(3)).unwrap_err();

        assert_eq!(overlaps.settle(|_| Some(json!("x"))), json!("x"));
        assert_eq!(overlaps.settle(|_| None), json!(null));
    }

    #[test]
    fn no_text_shows_a_value_and_none_is_endless() {
        let many = |value: &str| -> Value { (0..9).map(|at| (at.to_string(), json!(value))).collect() };
        let overlaps = Merge::new().values(&many("s3"), &many("s3cr3t"), &many("s3cr3t!")).unwrap_err();

        let typed = Unmerged::from(overlaps);
        let overlaps = Overlaps::of(&typed).unwrap();
        let texts = format!("{typed} {typed:?} {overlaps} {overlaps:?} {:?}", overlaps.list()[0]);
        assert!(!texts.contains("s3cr3t"), "{texts}");
        assert_eq!(overlaps.to_string(), "both sides changed `/0`, `/1`, `/2` and 6 more");
    }
}
