//! Random sequences of calls on a collection: over a memory store, over one whose answers may be lost, and over one of
//! bytes.

use std::sync::Mutex;

use ifmatch::store::{
    Abilities, Action, Changes, Committed, Listed, Page, Receipt, Resolution, Scan, WriteId,
};
use ifmatch::{
    Collection, Commit, Draft, Error, Memory, Reply, Start, Store, Transaction, Version, Versioned,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

use super::reference::{Answer, Belief, FEED_LIMIT, IDS};
use super::subject::{Subject, refused};
use super::verbs::{Act, Copied, Ending, Rival, Style, Told, Verb, Verbs};
use super::{beliefs, config, ids, makes_sense, operations};

prop_state_machine! {
    #![proptest_config(config())]

    #[test]
    fn a_collection_answers_each_call_as_a_map_does(sequential 1..120 => Collections);
}

/// What a collection is made of.
#[derive(Debug, Clone, Copy)]
enum Below {
    Memory,
    /// It says that answers can be lost, so that each commit has a write id.
    Doubtful,
    Bytes,
}

/// The map, and what it last answered.
#[derive(Debug, Clone)]
struct Maps {
    below: Below,
    verbs: Verbs,
    told: Option<Told>,
}

impl ReferenceStateMachine for Maps {
    type State = Self;
    type Transition = Verb;

    fn init_state() -> BoxedStrategy<Self> {
        select(vec![Below::Memory, Below::Doubtful, Below::Bytes])
            .prop_map(|below| Self { below, verbs: Verbs::default(), told: None })
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Verb> {
        let Verbs { reference, drafts } = &state.verbs;
        let drafts = drafts.len();
        let add = || prop_oneof![1 => Just(0), 3 => 1..9u32];
        let style = select(vec![Style::Plain, Style::Try, Style::Async]);
        let rival = prop_oneof![2 => (0..9u32).prop_map(Rival::Put), 1 => Just(Rival::Delete)];
        let modify = (ids(), style, add(), proptest::option::of(rival));
        let ending = prop_oneof![
            4 => Just(Ending::Commit),
            1 => (0..IDS.len() - 1).prop_map(Ending::Late),
            1 => Just(Ending::Drop),
        ];
        let acts = proptest::collection::vec(acts(state), 0..7);
        let mut choices = vec![
            (8, operations(reference).prop_map(Verb::Plain).boxed()),
            (2, ids().prop_map(Verb::Fetch).boxed()),
            (3, (ids(), any::<u32>()).prop_map(|(id, value)| Verb::Create(id, value)).boxed()),
            (2, (ids(), 0..9u32).prop_map(|(id, value)| Verb::Put(id, value)).boxed()),
            (2, beliefs(reference).prop_map(|(id, belief)| Verb::Delete(id, belief)).boxed()),
            (
                3,
                (beliefs(reference), any::<u32>())
                    .prop_map(|((id, belief), value)| Verb::Replace(id, belief, value))
                    .boxed(),
            ),
            (
                1,
                (select(vec!["", "a", "b/"]), 1..4usize)
                    .prop_map(|(prefix, size)| Verb::List { prefix, size })
                    .boxed(),
            ),
            (6, modify.prop_map(|(id, style, add, rival)| Verb::Modify { id, style, add, rival }).boxed()),
            (6, (acts, ending).prop_map(|(acts, ending)| Verb::Transaction { acts, ending }).boxed()),
        ];
        if drafts < 4 {
            choices.push((3, ids().prop_map(Verb::Edit).boxed()));
        }
        if drafts > 0 {
            let draft = 0..drafts;
            choices.push((
                4,
                (draft.clone(), 0..9u32).prop_map(|(draft, value)| Verb::Write(draft, value)).boxed(),
            ));
            choices.push((3, draft.clone().prop_map(Verb::Save).boxed()));
            choices.push((1, draft.clone().prop_map(Verb::Rebase).boxed()));
            choices.push((1, draft.prop_map(Verb::Discard).boxed()));
        }
        proptest::strategy::Union::new_weighted(choices).boxed()
    }

    fn preconditions(state: &Self, verb: &Verb) -> bool {
        let Verbs { reference, drafts } = &state.verbs;
        let known = |belief: &Belief| match belief {
            Belief::Version(mark) => *mark <= reference.last(),
            _ => true,
        };
        match verb {
            Verb::Plain(operation) => makes_sense(reference, operation),
            Verb::Replace(_, belief, _) | Verb::Delete(_, belief) => known(belief),
            Verb::Write(draft, _) | Verb::Save(draft) | Verb::Rebase(draft) | Verb::Discard(draft) => {
                *draft < drafts.len()
            }
            Verb::Transaction { acts, .. } => acts.iter().all(|act| match act {
                Act::Save(draft) => *draft < drafts.len(),
                Act::Check(_, belief) => known(belief),
                _ => true,
            }),
            _ => true,
        }
    }

    fn apply(mut state: Self, verb: &Verb) -> Self {
        state.told = Some(state.verbs.apply(verb));
        state
    }
}

fn acts(state: &Maps) -> BoxedStrategy<Act> {
    let Verbs { reference, drafts } = &state.verbs;
    let mut choices = vec![
        (4, ids().prop_map(Act::Get).boxed()),
        (2, beliefs(reference).prop_map(|(id, belief)| Act::Check(id, belief)).boxed()),
        (4, (ids(), 0..9u32).prop_map(|(id, value)| Act::Put(id, value)).boxed()),
        (2, (ids(), 0..9u32).prop_map(|(id, value)| Act::Create(id, value)).boxed()),
        (1, ids().prop_map(Act::Delete).boxed()),
    ];
    if !drafts.is_empty() {
        choices.push((3, (0..drafts.len()).prop_map(Act::Save).boxed()));
    }
    proptest::strategy::Union::new_weighted(choices).boxed()
}

/// A memory store that says its answers can be lost.
struct Doubtful(Memory<u32>);

/// The verbs of a collection that go through to its store.
struct Through(Collection<u32>);

impl Store<u32> for Doubtful {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u32>>> {
        self.0.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u32>) -> Reply<'a, Committed> {
        let checks = commit.entries().iter().all(|entry| matches!(entry.action, Action::Check));
        assert!(commit.write().is_some() || checks);
        self.0.commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.0.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<u32>>> {
        self.0.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u32>> {
        self.0.watch(from)
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = self.0.abilities();
        abilities.may_lose_answers = true;
        abilities
    }
}

impl Store<u32> for Through {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<u32>>> {
        self.0.get(id)
    }

    fn commit<'a>(&'a self, commit: Commit<'a, u32>) -> Reply<'a, Committed> {
        self.0.commit(commit)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.0.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<u32>>> {
        let Scan { prefix, after, limit, values, .. } = scan;
        match values {
            true => self.0.scan(prefix, after, limit).map(|page| page.map(Listed::from)),
            false => self.0.scan_ids(prefix, after, limit).map(|page| page.map(Listed::from)),
        }
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<u32>> {
        self.0.watch(from)
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

/// A real collection, and its open drafts.
struct World {
    collection: Collection<u32>,
    subject: Subject,
    drafts: Vec<(usize, Draft<u32>)>,
}

/// What the closure of a `modify` fails with.
enum Fault {
    Own,
    Store(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl World {
    fn new(below: Below) -> Self {
        let first = "1000".parse().unwrap();
        let collection = match below {
            Below::Memory => Collection::new(Memory::starting_at(first).with_feed_limit(FEED_LIMIT)),
            Below::Doubtful => {
                Collection::new(Doubtful(Memory::starting_at(first).with_feed_limit(FEED_LIMIT)))
            }
            Below::Bytes => Collection::json(Memory::starting_at(first).with_feed_limit(FEED_LIMIT)),
        };
        Self { subject: Subject::new(Through(collection.clone())), collection, drafts: Vec::new() }
    }

    fn apply(&mut self, verb: &Verb) -> Told {
        let collection = self.collection.clone();
        let expected = |subject: &Subject, belief| subject.expected(belief);
        match verb {
            Verb::Plain(operation) => Told::Answer(self.subject.apply(operation)),
            Verb::Fetch(id) => self.value(collection.fetch(IDS[*id]).wait()),
            Verb::Create(id, value) => self.value(collection.create(IDS[*id], *value).wait()),
            Verb::Put(id, value) => self.value(collection.put(IDS[*id], *value).wait()),
            Verb::Replace(id, belief, value) => {
                let expected = expected(&self.subject, *belief);
                self.value(collection.replace(IDS[*id], expected, *value).wait())
            }
            Verb::Delete(id, belief) => {
                let expected = expected(&self.subject, *belief);
                match collection.delete(IDS[*id], expected).wait() {
                    Ok(receipt) => Told::Receipt(self.receipt(receipt)),
                    Err(error) => self.error(error),
                }
            }
            Verb::List { prefix, size } => {
                let mut pages = collection.list(prefix).page_size(*size);
                let mut items = Vec::new();
                while let Some(page) = pages.next().wait().unwrap() {
                    assert!(page.items.len() <= *size);
                    items.extend(page.items);
                }
                let items = items.iter().map(|(id, found)| (id.to_string(), self.subject.held(found)));
                Told::List(items.collect())
            }
            Verb::Edit(id) => match collection.edit(IDS[*id]).wait() {
                Ok(draft) => {
                    let base = self.subject.held(draft.base());
                    self.drafts.push((*id, draft));
                    Told::Value(base)
                }
                Err(error) => self.error(error),
            },
            Verb::Write(draft, value) => {
                *self.drafts[*draft].1 = *value;
                Told::Nothing
            }
            Verb::Save(draft) => {
                let saved = self.drafts[*draft].1.commit().wait();
                self.value(saved)
            }
            Verb::Rebase(draft) => {
                let (id, draft) = &mut self.drafts[*draft];
                if let Some(now) = collection.get(IDS[*id]).wait().unwrap() {
                    draft.rebase(now);
                }
                Told::Value(self.subject.held(draft.base()))
            }
            Verb::Discard(draft) => {
                drop(self.drafts.remove(*draft));
                Told::Nothing
            }
            Verb::Modify { id, style, add, rival } => self.modify(IDS[*id], *style, *add, *rival),
            Verb::Transaction { acts, ending } => self.transaction(acts, *ending),
        }
    }

    fn value(&mut self, answer: Result<Versioned<u32>, Error>) -> Told {
        match answer {
            Ok(found) => {
                self.subject.learn_version(found.version);
                Told::Value(self.subject.held(&found))
            }
            Err(error) => self.error(error),
        }
    }

    fn receipt(&mut self, receipt: Receipt) -> super::reference::Receipt {
        if let Some(version) = receipt.version {
            self.subject.learn_version(version);
        }
        (
            receipt.version.map(|version| self.subject.mark(version)),
            receipt.replaced.map(|version| self.subject.mark(version)),
        )
    }

    fn error(&self, error: Error) -> Told {
        match error {
            Error::NotFound(missing) => Told::Missing { deleted: missing.is_deleted() },
            Error::Conflict(conflict) => Told::Answer(self.subject.conflict(&conflict)),
            error => Told::Answer(refused(error)),
        }
    }

    fn modify(&mut self, id: &str, style: Style, add: u32, rival: Option<Rival>) -> Told {
        let collection = self.collection.clone();
        let (rival, issued) = (Mutex::new(rival), Mutex::new(None::<Version>));
        let act = || {
            let version = match rival.lock().unwrap().take() {
                Some(Rival::Put(value)) => Some(collection.put(id, value).wait().unwrap().version),
                Some(Rival::Delete) => collection.delete(id, ifmatch::Expected::Any).wait().unwrap().version,
                None => return,
            };
            *issued.lock().unwrap() = version;
        };
        let answer = match style {
            Style::Plain => collection
                .modify(id, |value| {
                    act();
                    *value = value.wrapping_add(add);
                })
                .wait()
                .map_err(Fault::Store),
            Style::Try => collection
                .try_modify(id, |value| {
                    act();
                    if value.is_multiple_of(3) {
                        return Err(Fault::Own);
                    }
                    *value = value.wrapping_add(add);
                    Ok(())
                })
                .wait(),
            Style::Async => {
                let act = &act;
                let change = |value: u32| async move {
                    act();
                    Ok::<_, Fault>(value.wrapping_add(add))
                };
                collection.modify_async(id, change).wait()
            }
        };
        if let Some(version) = issued.into_inner().unwrap() {
            self.subject.learn_version(version);
        }
        match answer {
            Ok(found) => self.value(Ok(found)),
            Err(Fault::Own) => Told::Own,
            Err(Fault::Store(error)) => self.error(error),
        }
    }

    fn transaction(&mut self, acts: &[Act], ending: Ending) -> Told {
        let mut transaction = self.collection.transaction();
        let mut steps = Vec::new();
        for act in acts {
            let told = self.act(&mut transaction, *act);
            steps.push(told);
        }
        let late = match ending {
            Ending::Drop => return Told::Steps(steps),
            Ending::Commit => Told::Nothing,
            Ending::Late(id) => self.value(self.collection.put(IDS[id], 77).wait()),
        };
        steps.push(late);
        steps.push(match transaction.commit().wait() {
            Ok(committed) => {
                for version in committed.receipts().iter().filter_map(|receipt| receipt.version) {
                    self.subject.learn_version(version);
                }
                Told::Answer(Answer::Committed(self.subject.receipts(&committed)))
            }
            Err(error) => self.error(error),
        });
        Told::Steps(steps)
    }

    fn act(&mut self, transaction: &mut Transaction<u32>, act: Act) -> Told {
        let done = match act {
            Act::Get(id) => match transaction.get(IDS[id]).wait() {
                Ok(found) => return Told::Read(found.map(|found| *found)),
                Err(error) => Err(error),
            },
            Act::Check(id, belief) => transaction.check(IDS[id], self.subject.expected(belief)),
            Act::Put(id, value) => {
                transaction.put(IDS[id], value);
                Ok(())
            }
            Act::Create(id, value) => transaction.create(IDS[id], value),
            Act::Delete(id) => {
                transaction.delete(IDS[id]);
                Ok(())
            }
            Act::Save(draft) => transaction.save(&mut self.drafts[draft].1),
        };
        match done {
            Ok(()) => Told::Nothing,
            Err(error) => self.error(error),
        }
    }

    fn drafts(&self) -> Vec<Copied> {
        let copied = |(id, draft): &(usize, Draft<u32>)| Copied {
            id: *id,
            base: self.subject.held(draft.base()),
            value: **draft,
            touched: false,
        };
        self.drafts.iter().map(copied).collect()
    }
}

struct Collections;

impl StateMachineTest for Collections {
    type SystemUnderTest = World;
    type Reference = Maps;

    fn init_test(state: &Maps) -> World {
        World::new(state.below)
    }

    fn apply(mut world: World, state: &Maps, verb: Verb) -> World {
        let told = world.apply(&verb);

        assert_eq!(Some(&told), state.told.as_ref(), "{verb:?}");
        assert_eq!(world.subject.woken(), state.verbs.reference.woken, "wakers, after {verb:?}");
        world
    }

    fn check_invariants(world: &World, state: &Maps) {
        assert_eq!(world.subject.values(), state.verbs.reference.values());
        assert_eq!(world.drafts(), state.verbs.drafts);
    }
}
