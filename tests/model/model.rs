//! Random sequences of calls on a memory store, and on collections over one, each answer held against what a plain map
//! says.

mod collection;
mod reference;
mod subject;
mod verbs;

use ifmatch::Memory;
use ifmatch::store::Origin;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use reference::{Answer, Belief, Deed, FEED_LIMIT, IDS, Operation, Place, Reference, Step};
use subject::Subject;

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn memory_answers_each_call_as_a_map_does(sequential 1..120 => Stores);
}

/// A thousand sequences, or four times what `PROPTEST_CASES` says.
pub(crate) fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases * 4, failure_persistence: None, ..config }
}

/// The map, and what it last answered.
#[derive(Debug, Clone, Default)]
struct Maps {
    reference: Reference,
    answer: Option<Answer>,
}

impl ReferenceStateMachine for Maps {
    type State = Self;
    type Transition = Operation;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self::default()).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Operation> {
        operations(&state.reference)
    }

    fn preconditions(state: &Self, operation: &Operation) -> bool {
        makes_sense(&state.reference, operation)
    }

    fn apply(mut state: Self, operation: &Operation) -> Self {
        state.answer = Some(state.reference.apply(operation));
        state
    }
}

pub(crate) fn operations(reference: &Reference) -> BoxedStrategy<Operation> {
    let (watchers, cursors) = (reference.watchers(), reference.cursors());
    let place = prop_oneof![
        6 => Just(Place::Now),
        1 => Just(Place::Elsewhere),
        1 => Just(Place::Garbled),
    ];
    let mut choices = vec![
        (12, commits(reference)),
        (2, (0..IDS.len()).prop_map(Operation::Get).boxed()),
        (1, (0..8u8).prop_map(Operation::Resolve).boxed()),
        (2, scans()),
    ];
    if watchers < 4 {
        choices.push((1, place.prop_map(Operation::Watch).boxed()));
    }
    if watchers < 4 && cursors > 0 {
        choices.push((1, (0..cursors).prop_map(Place::Cursor).prop_map(Operation::Watch).boxed()));
    }
    if watchers > 0 {
        choices.push((8, (0..watchers).prop_map(Operation::Next).boxed()));
        choices.push((1, (0..watchers).prop_map(Operation::Leave).boxed()));
    }
    proptest::strategy::Union::new_weighted(choices).boxed()
}

/// Whether a call makes sense: where shrinking takes a watcher away, what it was to do goes with it.
pub(crate) fn makes_sense(reference: &Reference, operation: &Operation) -> bool {
    match operation {
        Operation::Next(watcher) | Operation::Leave(watcher) => *watcher < reference.watchers(),
        Operation::Watch(Place::Cursor(number)) => *number < reference.cursors(),
        Operation::Commit { steps, .. } => steps.iter().all(|step| match step.belief {
            Belief::Version(mark) => mark <= reference.last(),
            _ => true,
        }),
        _ => true,
    }
}

/// An id, and something to believe of it.
pub(crate) fn beliefs(reference: &Reference) -> BoxedStrategy<(usize, Belief)> {
    let marks: Vec<_> = (0..IDS.len()).map(|id| reference.mark(id)).collect();
    let last = reference.last();
    ids()
        .prop_flat_map(move |id| {
            let belief = prop_oneof![
                3 => Just(Belief::Any),
                2 => Just(Belief::Absent),
                2 => Just(Belief::Present),
                4 => Just(Belief::Version(marks[id])),
                1 => (0..=last).prop_map(Belief::Version),
            ];
            (Just(id), belief)
        })
        .boxed()
}

/// Any id; the last one is refused, which ends most commits it is in.
pub(crate) fn ids() -> BoxedStrategy<usize> {
    prop_oneof![20 => 0..IDS.len() - 1, 1 => Just(IDS.len() - 1)].boxed()
}

fn commits(reference: &Reference) -> BoxedStrategy<Operation> {
    let deed = prop_oneof![
        1 => Just(Deed::Check),
        4 => any::<u32>().prop_map(Deed::Put),
        2 => Just(Deed::Delete),
    ];
    let origin = select(vec![Origin::Argument, Origin::Protocol]);
    let step = (beliefs(reference), origin, deed);
    let step = step.prop_map(|((id, belief), origin, deed)| Step { id, belief, origin, deed });
    let write = prop_oneof![3 => Just(None), 1 => (0..8u8).prop_map(Some)];
    let steps = proptest::collection::vec(step, 0..=4);
    (steps, write).prop_map(|(steps, write)| Operation::Commit { steps, write }).boxed()
}

fn scans() -> BoxedStrategy<Operation> {
    let prefix = select(vec!["", "a", "a/", "b/", "b/ü", "x"]);
    let after = proptest::option::of(select(vec!["", "a", "a/1", "a/9", "ab", "b/ü", "zz"]));
    (prefix, after, 0..6usize, any::<bool>())
        .prop_map(|(prefix, after, limit, values)| Operation::Scan { prefix, after, limit, values })
        .boxed()
}

struct Stores;

impl StateMachineTest for Stores {
    type SystemUnderTest = Subject;
    type Reference = Maps;

    fn init_test(_: &Maps) -> Subject {
        Subject::new(Memory::starting_at("1000".parse().unwrap()).with_feed_limit(FEED_LIMIT))
    }

    fn apply(mut subject: Subject, state: &Maps, operation: Operation) -> Subject {
        let answer = subject.apply(&operation);

        assert_eq!(Some(&answer), state.answer.as_ref(), "{operation:?}");
        assert_eq!(subject.woken(), state.reference.woken, "wakers, after {operation:?}");
        subject
    }

    fn check_invariants(subject: &Subject, state: &Maps) {
        assert_eq!(subject.values(), state.reference.values());
    }
}
