//! [`Rules`], which strategy is for which place.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::merge::sides::Sides;
use crate::merge::strategy::Strategy;

/// The rule of a place, and those of what is below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    rule: Option<Rule>,
    named: BTreeMap<Box<str>, Rules>,
    /// Of whatever else is below. What is named has these too, where they were there first.
    any: Option<Box<Rules>>,
}

/// How a place is merged.
#[derive(Clone)]
pub(super) enum Rule {
    Strategy(Strategy),
    /// By a closure of the program's own.
    By(Arc<Closure>),
    /// Not at all: what mine changes overlaps.
    Undecided,
}

pub(super) type Closure = dyn Fn(Sides<'_>) -> Option<Value> + Send + Sync;

impl Rules {
    /// Sets the rule of every place that the pattern names. Of two patterns for one place, the later one counts.
    pub(super) fn set(&mut self, pattern: &str, rule: Rule) {
        let pattern = pattern.strip_prefix('/').or((!pattern.is_empty()).then_some(pattern));
        let steps: Vec<&str> = pattern.map_or_else(Vec::new, |steps| steps.split('/').collect());
        self.set_below(&steps, &rule);
    }

    fn set_below(&mut self, steps: &[&str], rule: &Rule) {
        let Some((first, rest)) = steps.split_first() else {
            self.rule = Some(rule.clone());
            return;
        };
        if *first == "*" {
            self.named.values_mut().for_each(|named| named.set_below(rest, rule));
            self.any.get_or_insert_default().set_below(rest, rule);
            return;
        }
        // RFC 6901 §4: in this order.
        let name = first.replace("~1", "/").replace("~0", "~");
        let any = &self.any;
        let named = self.named.entry(name.into());
        named.or_insert_with(|| any.as_deref().cloned().unwrap_or_default()).set_below(rest, rule);
    }

    /// Whether some place is merged to another value when the same change is merged a second time.
    pub(super) fn adds_up(&self) -> bool {
        self.rule.as_ref().is_some_and(Rule::adds_up)
            || self.named.values().chain(self.any.as_deref()).any(Self::adds_up)
    }

    /// The same, but that what would [add up](Self::adds_up) is left undecided.
    pub(super) fn without_sums(&self) -> Self {
        let rule = self.rule.clone().map(|rule| if rule.adds_up() { Rule::Undecided } else { rule });
        let below = self.named.iter().map(|(name, rules)| (name.clone(), rules.without_sums()));
        Self { rule, named: below.collect(), any: self.any.as_ref().map(|any| Box::new(any.without_sums())) }
    }

    pub(super) fn rule(&self) -> Option<&Rule> {
        self.rule.as_ref()
    }

    /// Those of the member of this name.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        self.named.get(name).or(self.any.as_deref())
    }

    /// Those of an element of an array, whose index means nothing.
    pub(super) fn element(&self) -> Option<&Self> {
        self.any.as_deref()
    }
}

impl Rule {
    fn adds_up(&self) -> bool {
        matches!(self, Self::Strategy(Strategy::Counter) | Self::By(_))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strategy(strategy) => strategy.fmt(f),
            Self::By(_) => f.write_str("By(..)"),
            Self::Undecided => f.write_str("Undecided"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::strategy::Strategy::{Counter, Lines, Max, Mine};

    fn found<'r>(rules: &'r Rules, path: &[&str]) -> Option<&'r Strategy> {
        let rules = path.iter().try_fold(rules, |rules, name| rules.member(name))?;
        match rules.rule()? {
            Rule::Strategy(strategy) => Some(strategy),
            Rule::By(_) | Rule::Undecided => None,
        }
    }

    #[test]
    fn a_pattern_names_places_and_the_later_one_counts() {
        let mut rules = Rules::default();
        for (pattern, strategy) in
            [("/*/a", Counter), ("/x/b", Lines), ("/*/b", Max), ("/*/c/d", Max), ("/x/c/*", Mine)]
        {
            rules.set(pattern, Rule::Strategy(strategy));
        }

        for (path, strategy) in [
            (&["y", "a"], Some(&Counter)),
            (&["x", "a"], Some(&Counter)),
            (&["x", "b"], Some(&Max)),
            (&["y", "b"], Some(&Max)),
            (&["x", "z"], None),
        ] {
            assert_eq!(found(&rules, path), strategy, "{path:?}");
        }
        assert_eq!(found(&rules, &["x", "c", "d"]), Some(&Mine));
        assert_eq!(found(&rules, &["y", "c", "d"]), Some(&Max));
    }

    #[test]
    fn names_are_escaped_as_in_a_pointer_and_the_first_slash_may_be_left_out() {
        let mut rules = Rules::default();
        rules.set("/a~1b/~0", Rule::Strategy(Counter));
        rules.set("c", Rule::Strategy(Max));
        rules.set("/", Rule::Strategy(Lines));
        rules.set("", Rule::Strategy(Mine));

        assert_eq!(found(&rules, &["a/b", "~"]), Some(&Counter));
        assert_eq!(found(&rules, &["c"]), Some(&Max));
        assert_eq!(found(&rules, &[""]), Some(&Lines));
        assert_eq!(found(&rules, &[]), Some(&Mine));
    }
}
