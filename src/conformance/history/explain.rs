//! Finds the writers of versions that were seen but acknowledged to nobody, among the commits whose fate is unknown.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::chain::{Came, Chain, Link, bits};
use super::event::{Deed, Numbering, Seen, Step};
use super::gather::{Facts, Fate, Part};
use super::violation::Violation;
use crate::store::{Expected, Version};

/// Which of several writes that fit is taken; of those it leaves, the one called first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preference {
    /// The one whose expectation fits nothing else.
    Fit,
    /// The one with the fewest entries.
    Fewest,
    /// The one called first.
    First,
}

impl Preference {
    pub(super) const ALL: [Self; 3] = [Self::Fit, Self::Fewest, Self::First];

    /// The smaller, the better.
    fn rank(self, fit: Fit, entries: usize) -> (Option<Fit>, usize) {
        match self {
            Self::Fit => (Some(fit), entries),
            Self::Fewest => (None, entries),
            Self::First => (None, 0),
        }
    }
}

/// Gives every version that was seen and that no receipt tells of a writer of its own, and links it in.
///
/// A writer must have been called before the version was last seen, must write what was seen, and must expect what
/// stood there. Where values differ from write to write, only deletions and values that nobody saw leave a choice.
pub(super) fn explain(
    facts: &mut Facts<'_>,
    chains: &mut [Chain],
    preference: Preference,
) -> Result<(), Violation> {
    let mut claims = claims(facts, chains);
    let mut unknown = Unknown::of(facts, &claims, preference);
    let mut strongest_first: Vec<Claim> = claims.values().copied().collect();
    strongest_first.sort_by_key(|claim| (claim.state, bits(claim.version)));
    for claim in strongest_first {
        if unknown.explained.contains(&(claim.id, bits(claim.version))) {
            continue;
        }
        let Some(writer) = unknown.writer(facts, chains, &claims, claim) else {
            return Err(no_writer(facts, &chains[claim.id], claim));
        };
        unknown.link(facts, &mut claims, writer, claim);
    }
    for (id, link) in unknown.links.drain(..) {
        chains[id].links.push(link);
    }
    for (id, chain) in chains.iter_mut().enumerate() {
        chain.sort();
        forget_empty_deletions(chain, id, &claims);
    }
    unknown.delete_unseen(facts, chains);
    Ok(())
}

/// A version that was seen and that no receipt tells of.
#[derive(Clone, Copy)]
struct Claim {
    id: usize,
    version: Version,
    state: Claimed,
    /// The first event that saw it.
    event: usize,
    /// When the last moment ends at which it can have been written.
    deadline: u64,
}

/// What is known of the state with a claimed version, the most telling first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claimed {
    /// A value with this fingerprint.
    Value(u64),
    /// A deletion.
    Deleted,
    /// A value that was replaced, or not shown.
    Hidden,
}

/// The claims, by id and version.
type Claims = BTreeMap<(usize, u64), Claim>;

fn claims(facts: &Facts<'_>, chains: &[Chain]) -> Claims {
    let mut claims = Claims::new();
    let mut claim = |id: usize, version, state, moment: usize| {
        if chains[id].find(version).is_some() {
            return;
        }
        let moment = &facts.moments[moment];
        let (event, deadline) = (moment.event, moment.returned);
        let new = Claim { id, version, state, event, deadline };
        let claim = claims.entry((id, bits(version))).or_insert(new);
        claim.state = claim.state.min(state);
        claim.event = claim.event.min(event);
        claim.deadline = claim.deadline.min(deadline);
    };
    for Part { moment, id, seen } in facts.parts.iter().copied() {
        match seen {
            Seen::Nothing => {}
            Seen::Deleted { version } => claim(id, version, Claimed::Deleted, moment),
            Seen::Value { version, fingerprint } => {
                claim(id, version, fingerprint.map_or(Claimed::Hidden, Claimed::Value), moment);
            }
        }
    }
    for (id, chain) in chains.iter().enumerate() {
        for link in &chain.links {
            if let Came::From(Some(replaced)) = link.came {
                claim(id, replaced, Claimed::Hidden, link.moment);
            }
        }
    }
    claims
}

/// One step of a write, by the moment of the write and the place of the step.
type Candidate = (usize, usize);

fn step<'h>(facts: &Facts<'h>, (moment, at): Candidate) -> &'h Step {
    &facts.writes[moment].steps[at]
}

/// The writes whose fate is unknown, and what they have been found to explain.
struct Unknown {
    /// The steps that write an id, in the order in which they were called.
    by_id: HashMap<usize, Vec<Candidate>>,
    spent: HashSet<Candidate>,
    explained: HashSet<(usize, u64)>,
    /// What it made, for the chains.
    links: Vec<(usize, Link)>,
    /// The ids on which a number was claimed.
    numbers: HashMap<u64, Vec<usize>>,
    /// Whether a commit has one number.
    whole: bool,
    preference: Preference,
}

impl Unknown {
    fn of(facts: &mut Facts<'_>, claims: &Claims, preference: Preference) -> Self {
        let mut by_id: HashMap<usize, Vec<Candidate>> = HashMap::new();
        for moment in 0..facts.writes.len() {
            if facts.writes[moment].fate != Fate::Unknown {
                continue;
            }
            for (at, step) in facts.writes[moment].steps.iter().enumerate() {
                if step.deed != Deed::Check {
                    by_id.entry(facts.place(&step.id)).or_default().push((moment, at));
                }
            }
        }
        let whole = facts.history.numbering == Numbering::StoreWide;
        let mut numbers: HashMap<u64, Vec<usize>> = HashMap::new();
        for (id, number) in claims.keys() {
            numbers.entry(*number).or_default().push(*id);
        }
        Self {
            by_id,
            spent: HashSet::new(),
            explained: HashSet::new(),
            links: Vec::new(),
            numbers,
            whole,
            preference,
        }
    }

    /// The first called of the writes that can have made the claimed version.
    fn writer(
        &self,
        facts: &Facts<'_>,
        chains: &[Chain],
        claims: &Claims,
        claim: Claim,
    ) -> Option<Candidate> {
        let stood = stood(chains, claims, claim);
        let fits = |candidate: &Candidate| {
            let step = step(facts, *candidate);
            let empty_deletion = step.deed == Deed::Delete && stood.is_none();
            let expected_that = fit(step.expected, stood).is_some() && !empty_deletion;
            facts.moments[candidate.0].call <= claim.deadline
                && wrote(step, claim.state)
                && (expected_that || self.put_before(facts, claim.id, *candidate))
                && (!self.whole || self.wrote_all(facts, chains, claims, (candidate.0, claim.version)))
        };
        self.free(claim.id).filter(fits).min_by_key(|candidate| {
            let fit = fit(step(facts, *candidate).expected, stood).unwrap_or(Fit::AfterPut);
            self.preference.rank(fit, facts.writes[candidate.0].steps.len())
        })
    }

    /// Whether one commit can have made all that was seen with this number, where a commit has one number.
    fn wrote_all(
        &self,
        facts: &Facts<'_>,
        chains: &[Chain],
        claims: &Claims,
        (moment, version): (usize, Version),
    ) -> bool {
        let steps = facts.writes[moment].steps;
        let on = |id: usize| steps.iter().find(|step| facts.known_place(&step.id) == id);
        let claimed = self.numbers[&bits(version)].iter().map(|id| &claims[&(*id, bits(version))]);
        claimed.into_iter().all(|claim| on(claim.id).is_some_and(|step| wrote(step, claim.state)))
            && steps.iter().all(|step| chains[facts.known_place(&step.id)].find(version).is_none())
    }

    /// Whether a write that needs a value can have found one that another write of unknown fate put there.
    fn put_before(&self, facts: &Facts<'_>, id: usize, candidate: Candidate) -> bool {
        let needs_any = matches!(step(facts, candidate).expected, Expected::Present | Expected::Any);
        let puts = |other: &Candidate| {
            let step = step(facts, *other);
            matches!(step.deed, Deed::Put(_)) && step.expected.admits(None)
        };
        needs_any && self.free(id).filter(puts).any(|other| other.0 != candidate.0)
    }

    fn free(&self, id: usize) -> impl Iterator<Item = Candidate> {
        let candidates = self.by_id.get(&id).into_iter().flatten();
        candidates.copied().filter(|candidate| !self.spent.contains(candidate))
    }

    /// Notes that the write was applied with the claimed version.
    fn link(&mut self, facts: &mut Facts<'_>, claims: &mut Claims, (moment, at): Candidate, claim: Claim) {
        for (place, step) in facts.writes[moment].steps.iter().enumerate() {
            let id = facts.place(&step.id);
            let value = match step.deed {
                Deed::Put(fingerprint) => Some(fingerprint),
                Deed::Delete => None,
                Deed::Check => {
                    facts.parts.extend(checked(step.expected).map(|seen| Part { moment, id, seen }));
                    continue;
                }
            };
            if self.whole || place == at {
                self.spent.insert((moment, place));
                self.explained.insert((id, bits(claim.version)));
                // That there was a value, which may have been seen by nobody, has been found possible.
                let expected = match step.expected {
                    Expected::Present => Expected::Any,
                    expected => expected,
                };
                self.links.push((id, Link::new(claim.version, moment, value, Came::As(expected))));
            }
            if let Some(value) = value.filter(|_| self.whole) {
                let seen = Claim { id, state: Claimed::Value(value), ..claim };
                claims.entry((id, bits(claim.version))).or_insert(seen);
            }
        }
    }

    /// Links in the deletions that nobody saw: where something was created although a value stood, and where an
    /// absence that was found may need one.
    fn delete_unseen(&mut self, facts: &Facts<'_>, chains: &mut [Chain]) {
        let nothing = facts.parts.iter().filter(|part| part.seen == Seen::Nothing);
        let found_absent: HashSet<usize> = nothing.map(|part| part.id).collect();
        for need in [Need::Must, Need::May] {
            for id in 0..chains.len() {
                if !self.by_id.contains_key(&id) || (need == Need::May && !found_absent.contains(&id)) {
                    continue;
                }
                for place in (1..=chains[id].links.len()).rev() {
                    let Some(stood) = chains[id].live_before(place) else { continue };
                    let Some(deadline) = need.deadline(facts, chains[id].links.get(place)) else { continue };
                    if let Some(candidate) = self.deleter(facts, chains, (id, stood), deadline) {
                        self.spent.insert(candidate);
                        chains[id].links.insert(place, Link::unseen_deletion(stood, candidate.0));
                    }
                }
            }
        }
    }

    /// A write that can have deleted this version unseen by the deadline, the one that is of least use elsewhere.
    fn deleter(
        &self,
        facts: &Facts<'_>,
        chains: &[Chain],
        (id, stood): (usize, Version),
        deadline: u64,
    ) -> Option<Candidate> {
        let fits = |(moment, at): &Candidate| {
            let steps = facts.writes[*moment].steps;
            facts.moments[*moment].call <= deadline
                && steps[*at].deed == Deed::Delete
                && steps[*at].expected.admits(Some(stood))
                && steps.iter().all(|step| match step.expected {
                    Expected::Version(version) => chains[facts.known_place(&step.id)].find(version).is_some(),
                    _ => true,
                })
        };
        self.free(id).filter(fits).min_by_key(|candidate| {
            let exact = step(facts, *candidate).expected == Expected::Version(stood);
            let fit = if exact { Fit::Exact } else { Fit::Possible };
            self.preference.rank(fit, facts.writes[candidate.0].steps.len())
        })
    }
}

/// Whether a deletion that nobody saw must have been just before a link, or may have been.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Must,
    May,
}

impl Need {
    /// By when the deletion before `next` must have been called, `None` where there is no such need.
    fn deadline(self, facts: &Facts<'_>, next: Option<&Link>) -> Option<u64> {
        match (self, next) {
            (Self::Must, Some(next)) => match next.came {
                Came::From(None) | Came::As(Expected::Absent) => Some(facts.moments[next.moment].returned),
                _ => None,
            },
            (Self::Must, None) => None,
            // A later deletion could delay what is known to have been.
            (Self::May, Some(next)) => match next.came {
                Came::As(Expected::Any) => Some(facts.moments[next.moment].call),
                _ => None,
            },
            (Self::May, None) => Some(u64::MAX),
        }
    }
}

/// The version of the value just before the claimed state, among all that are known.
fn stood(chains: &[Chain], claims: &Claims, claim: Claim) -> Option<Version> {
    let chain = &chains[claim.id];
    let place = chain.below(claim.version);
    let link = place.checked_sub(1).map(|before| &chain.links[before]);
    let claimed = claims.range((claim.id, 0)..(claim.id, bits(claim.version))).next_back();
    match (link, claimed) {
        (Some(link), Some((key, _))) if link.version.is_some_and(|version| bits(version) > key.1) => {
            link.live()
        }
        (_, Some((_, claimed))) => (claimed.state != Claimed::Deleted).then_some(claimed.version),
        (Some(link), None) => link.live(),
        (None, None) => None,
    }
}

/// How well what a write expected fits what stood there before a claimed version, the best first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    Possible,
    /// Only if what stood there was deleted unseen.
    AfterDeletion,
    /// Only if something was put there unseen.
    AfterPut,
}

fn fit(expected: Expected, stood: Option<Version>) -> Option<Fit> {
    match expected {
        Expected::Absent if stood.is_some() => Some(Fit::AfterDeletion),
        Expected::Version(_) => expected.admits(stood).then_some(Fit::Exact),
        Expected::Any | Expected::Absent | Expected::Present => {
            expected.admits(stood).then_some(Fit::Possible)
        }
    }
}

/// Whether a step can have made a state.
fn wrote(step: &Step, state: Claimed) -> bool {
    match (step.deed, state) {
        (Deed::Put(put), Claimed::Value(seen)) => put == seen,
        (Deed::Put(_), Claimed::Hidden) | (Deed::Delete, Claimed::Deleted) => true,
        _ => false,
    }
}

/// What a check of a commit that was applied must have seen.
fn checked(expected: Expected) -> Option<Seen> {
    match expected {
        Expected::Absent => Some(Seen::Nothing),
        Expected::Version(version) => Some(Seen::Value { version, fingerprint: None }),
        Expected::Any | Expected::Present => None,
    }
}

/// A delete in a commit that was matched by another id did nothing where nothing stood.
fn forget_empty_deletions(chain: &mut Chain, id: usize, claims: &Claims) {
    let mut stood = false;
    chain.links.retain(|link| {
        let empty = link.value.is_none() && matches!(link.came, Came::As(_)) && !stood;
        let claimed = link.version.is_some_and(|version| claims.contains_key(&(id, bits(version))));
        stood = link.value.is_some();
        !empty || claimed
    });
}

/// What to say of a claimed version that no write explains.
fn no_writer(facts: &Facts<'_>, chain: &Chain, claim: Claim) -> Violation {
    let id = Arc::clone(facts.ids[claim.id]);
    let Claimed::Value(fingerprint) = claim.state else {
        return Violation::Unexplained { id, version: claim.version, event: claim.event };
    };
    let mut same = chain.links.iter().filter(|link| link.value == Some(fingerprint));
    match (same.next(), same.next()) {
        (Some(Link { version: Some(version), moment, .. }), None) => Violation::AppliedTwice {
            id,
            versions: [*version, claim.version],
            event: facts.moments[*moment].event,
        },
        _ => Violation::Unexplained { id, version: claim.version, event: claim.event },
    }
}
