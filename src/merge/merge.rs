//! [`Merge`], how two changes of one value become one.

use std::sync::Arc;

use serde_json::Value;

use crate::merge::overlaps::{Documents, Overlap, Overlaps};
use crate::merge::rules::{Rule, Rules};
use crate::merge::sides::Sides;
use crate::merge::strategy::Strategy;
use crate::merge::walk::Walk;

/// How two changes of one value become one: by these rules, whatever the values.
///
/// Of a place that only one side changed, the change is kept; what both changed to the same is one change. Objects are merged by
/// their members; all else is one value, which overlaps where the two sides differ, unless a rule says better. That one side
/// removed what the other changed is an overlap too, and `null` is something else than nothing.
///
/// It is cheap to clone and may be made once, for all values of a type.
///
/// ```
/// use ifmatch::merge::Merge;
/// use ifmatch::merge::Strategy::{Counter, Keyed, Lines, Set};
///
/// let merge = Merge::new()
///     .at("/visits", Counter)
///     .at("/text", Lines)
///     .at("/tags", Set)
///     .at("/items", Keyed("sku"))
///     .at("/items/*/quantity", Counter);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a merge does nothing until it is given values"]
pub struct Merge {
    rules: Arc<Rules>,
}

impl Merge {
    /// Objects by their members, and everything else as a whole.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a strategy for every place that the pattern names.
    ///
    /// A pattern is a JSON pointer (RFC 6901) in which `*` stands for any one member, and for the elements of an array that is
    /// [`Keyed`](Strategy::Keyed); other arrays are not looked into. `""` is the value itself. Where two patterns name one place,
    /// the later one counts.
    ///
    /// ```
    /// use ifmatch::merge::{Merge, Strategy};
    /// use serde_json::json;
    ///
    /// let merge = Merge::new().at("/*/seen", Strategy::Max);
    /// let merged = merge.values(
    ///     &json!({"ann": {"seen": 1}, "bob": {"seen": 1}}),
    ///     &json!({"ann": {"seen": 5}, "bob": {"seen": 1}}),
    ///     &json!({"ann": {"seen": 4}, "bob": {"seen": 2}}),
    /// );
    /// assert_eq!(merged.unwrap(), json!({"ann": {"seen": 5}, "bob": {"seen": 2}}));
    /// ```
    pub fn at(mut self, pattern: &str, strategy: Strategy) -> Self {
        Arc::make_mut(&mut self.rules).set(pattern, Rule::Strategy(strategy));
        self
    }

    /// The same with a closure of the program's own for every place that the pattern names: what it gives is there, and where
    /// it gives nothing, the place is an overlap.
    ///
    /// It is called where both sides changed the place, also to the same. It may run more than once; keep it pure.
    ///
    /// ```
    /// use ifmatch::merge::Merge;
    /// use serde_json::json;
    ///
    /// // Whoever says no is believed.
    /// let merge = Merge::new().by("/agreed", |sides| {
    ///     let no = |value: &&serde_json::Value| **value == json!(false);
    ///     sides.mine.filter(no).or(sides.theirs.filter(no)).cloned()
    /// });
    /// let merged = merge.values(&json!({}), &json!({"agreed": true}), &json!({"agreed": false}));
    /// assert_eq!(merged.unwrap(), json!({"agreed": false}));
    /// ```
    pub fn by(
        mut self,
        pattern: &str,
        decide: impl Fn(Sides<'_>) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.rules).set(pattern, Rule::By(Arc::new(decide)));
        self
    }

    /// What mine and theirs are together, of the base that both started from.
    ///
    /// It costs about as much as to parse one of the three. Documents are taken apart 64 levels deep; what is below is one
    /// value.
    ///
    /// # Errors
    ///
    /// What overlaps, each place once, and nothing else.
    ///
    /// ```
    /// use ifmatch::merge::Merge;
    /// use serde_json::json;
    ///
    /// let base = json!({"title": "Hello", "text": "First words."});
    /// let mine = json!({"title": "Hello!", "text": "First words."});
    /// let theirs = json!({"title": "Hello", "text": "Other words."});
    ///
    /// let merged = Merge::new().values(&base, &mine, &theirs).unwrap();
    /// assert_eq!(merged, json!({"title": "Hello!", "text": "Other words."}));
    ///
    /// let overlaps = Merge::new().values(&base, &mine, &json!({"title": "Hi"})).unwrap_err();
    /// assert!(overlaps.pointers().eq(["/title"]));
    /// ```
    pub fn values(&self, base: &Value, mine: &Value, theirs: &Value) -> Result<Value, Overlaps> {
        self.merged(Sides::of(base, mine, theirs)).map_err(|(overlaps, merged)| {
            let documents = Documents { base: base.clone(), mine: mine.clone(), theirs: theirs.clone() };
            Overlaps::new(overlaps, merged, Arc::new(documents), self.clone())
        })
    }

    /// The same; where something overlaps, with what stands there for the time being.
    pub(super) fn merged(&self, sides: Sides<'_>) -> Result<Value, (Vec<Overlap>, Value)> {
        let mut walk = Walk::default();
        // Three values are there, so something is left.
        let merged = walk.place(Some(&self.rules), sides).unwrap_or_default();
        let overlaps = walk.into_overlaps();
        if overlaps.is_empty() { Ok(merged) } else { Err((overlaps, merged)) }
    }

    /// The same for changes that may be merged a second time: what is counted by mine, or decided by a closure, overlaps.
    pub(crate) fn repeatable(&self) -> Self {
        match self.rules.adds_up() {
            true => Self { rules: Arc::new(self.rules.without_sums()) },
            false => self.clone(),
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }
}
