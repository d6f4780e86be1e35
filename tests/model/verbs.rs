//! [`Verbs`], what a collection must answer, worked out from a [`Reference`].

use ifmatch::Kind;
use ifmatch::store::{Advice, Intent, Origin};

use super::reference::{Answer, Belief, Deed, Held, IDS, Miss, Operation, Receipt, Reference, Refused, Step};

/// One call on a collection.
#[derive(Debug, Clone)]
pub(crate) enum Verb {
    /// A call that goes through to the store.
    Plain(Operation),
    Fetch(usize),
    Create(usize, u32),
    Replace(usize, Belief, u32),
    Put(usize, u32),
    Delete(usize, Belief),
    List {
        prefix: &'static str,
        size: usize,
    },
    Edit(usize),
    /// Changes one of the drafts.
    Write(usize, u32),
    Save(usize),
    /// Bases one of the drafts on what is stored.
    Rebase(usize),
    Discard(usize),
    /// Adds a number, which may be 0. The closure of a `Try` refuses numbers that 3 divides.
    Modify {
        id: usize,
        style: Style,
        add: u32,
        rival: Option<Rival>,
    },
    Transaction {
        acts: Vec<Act>,
        ending: Ending,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Style {
    Plain,
    Try,
    Async,
}

/// What somebody else does while the closure runs for the first time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rival {
    Put(u32),
    Delete,
}

/// One step of a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Get(usize),
    Check(usize, Belief),
    Put(usize, u32),
    Create(usize, u32),
    Delete(usize),
    /// Saves one of the drafts.
    Save(usize),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    Commit,
    /// Somebody else puts a value at this id, and then it is committed.
    Late(usize),
    Drop,
}

/// What a call must answer, and what it did answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Told {
    Answer(Answer),
    Value(Held),
    Receipt(Receipt),
    Missing {
        deleted: bool,
    },
    /// The closure's own refusal.
    Own,
    /// What a transaction read.
    Read(Option<u32>),
    List(Vec<(String, Held)>),
    Steps(Vec<Told>),
    Nothing,
}

/// An open draft.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copied {
    pub(crate) id: usize,
    pub(crate) base: Held,
    pub(crate) value: u32,
    /// Whether it is written when it is saved. A draft does not tell.
    pub(crate) touched: bool,
}

impl PartialEq for Copied {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.base, self.value) == (other.id, other.base, other.value)
    }
}

/// A collection that is nothing but a map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verbs {
    pub(crate) reference: Reference,
    pub(crate) drafts: Vec<Copied>,
}

/// What a transaction knows of an id.
struct Slot {
    id: usize,
    read: Option<Option<Held>>,
    given: Option<Belief>,
    deed: Deed,
    /// The draft that the deed came from.
    draft: Option<usize>,
}

impl Verbs {
    /// Carries out a call, and tells what the answer is.
    pub(crate) fn apply(&mut self, verb: &Verb) -> Told {
        self.reference.woken = 0;
        match verb {
            Verb::Plain(operation) => Told::Answer(self.reference.apply(operation)),
            Verb::Fetch(id) => self.fetch(*id).map_or_else(|missing| missing, Told::Value),
            Verb::Create(id, value) => self.put(*id, Belief::Absent, *value),
            Verb::Replace(id, belief, value) => self.put(*id, *belief, *value),
            Verb::Put(id, value) => self.put(*id, Belief::Any, *value),
            Verb::Delete(id, belief) => match self.commit(*id, *belief, Deed::Delete) {
                Ok(receipt) => Told::Receipt(receipt),
                Err(told) => told,
            },
            Verb::List { prefix, .. } => {
                let mut values = self.reference.values();
                values.retain(|(id, _)| id.starts_with(prefix));
                Told::List(values)
            }
            Verb::Edit(id) => match self.fetch(*id) {
                Ok(base) => {
                    self.drafts.push(Copied { id: *id, base, value: base.1, touched: false });
                    Told::Value(base)
                }
                Err(missing) => missing,
            },
            Verb::Write(draft, value) => {
                let draft = &mut self.drafts[*draft];
                (draft.value, draft.touched) = (*value, true);
                Told::Nothing
            }
            Verb::Save(draft) => self.save(*draft),
            Verb::Rebase(draft) => {
                let Copied { id, base, touched, .. } = &mut self.drafts[*draft];
                let stored = self.reference.held(IDS[*id]).unwrap_or(*base);
                *touched |= stored.0 != base.0;
                *base = stored;
                Told::Value(*base)
            }
            Verb::Discard(draft) => {
                self.drafts.remove(*draft);
                Told::Nothing
            }
            Verb::Modify { id, style, add, rival } => self.modify(*id, *style, *add, *rival),
            Verb::Transaction { acts, ending } => self.transaction(acts, *ending),
        }
    }

    fn commit(&mut self, id: usize, belief: Belief, deed: Deed) -> Result<Receipt, Told> {
        let step = Step { id, belief, origin: Origin::Argument, deed };
        match self.reference.commit(&[step], None) {
            Answer::Committed(receipts) => Ok(receipts[0]),
            other => Err(Told::Answer(other)),
        }
    }

    fn put(&mut self, id: usize, belief: Belief, value: u32) -> Told {
        match self.commit(id, belief, Deed::Put(value)) {
            Ok((mark, _)) => Told::Value((mark.expect("a put makes a state"), value)),
            Err(told) => told,
        }
    }

    fn fetch(&mut self, id: usize) -> Result<Held, Told> {
        let Some(held) = self.reference.held(IDS[id]) else {
            let refused = self.commit(id, Belief::Present, Deed::Check).expect_err("there is no value");
            return Err(missing(refused));
        };
        Ok(held)
    }

    fn save(&mut self, draft: usize) -> Told {
        let Copied { id, base, value, touched } = self.drafts[draft];
        let deed = if touched { Deed::Put(value) } else { Deed::Check };
        match self.commit(id, Belief::Version(base.0), deed) {
            Ok((mark, _)) => {
                let draft = &mut self.drafts[draft];
                (draft.base, draft.touched) = ((mark.expect("it is there"), value), false);
                Told::Value(draft.base)
            }
            Err(told) => told,
        }
    }

    fn modify(&mut self, id: usize, style: Style, add: u32, mut rival: Option<Rival>) -> Told {
        let mut base = match self.fetch(id) {
            Ok(base) => base,
            Err(missing) => return missing,
        };
        loop {
            match rival.take() {
                Some(Rival::Put(value)) => drop(self.put(id, Belief::Any, value)),
                Some(Rival::Delete) => drop(self.commit(id, Belief::Any, Deed::Delete)),
                None => {}
            }
            let refuses = style == Style::Try && base.1.is_multiple_of(3);
            let value = base.1.wrapping_add(add);
            let changes = !refuses && add != 0;
            let deed = if changes { Deed::Put(value) } else { Deed::Check };
            match self.commit(id, Belief::Version(base.0), deed) {
                Ok(_) if refuses => return Told::Own,
                Ok((mark, _)) => return Told::Value((mark.expect("it is there"), value)),
                Err(told) => match self.reference.held(IDS[id]) {
                    Some(now) => base = now,
                    None => return missing(told),
                },
            }
        }
    }

    fn transaction(&mut self, acts: &[Act], ending: Ending) -> Told {
        let mut slots: Vec<Slot> = Vec::new();
        let mut steps: Vec<Told> = acts.iter().map(|act| self.act(&mut slots, *act)).collect();
        let late = match ending {
            Ending::Drop => return Told::Steps(steps),
            Ending::Commit => Told::Nothing,
            Ending::Late(id) => self.put(id, Belief::Any, 77),
        };
        steps.push(late);
        let entries: Vec<Step> = slots.iter().map(Slot::step).collect();
        let answer = match slots[..] {
            // One read and no more needs no commit: it was right as it was read.
            [Slot { read: Some(read), given: None, deed: Deed::Check, .. }] => {
                let mark = read.map(|(mark, _)| mark);
                Answer::Committed(vec![(mark, mark)])
            }
            _ => self.reference.commit(&entries, None),
        };
        if let Answer::Committed(receipts) = &answer {
            for (slot, (mark, _)) in slots.iter().zip(receipts) {
                if let (Some(draft), Deed::Put(value), Some(mark)) = (slot.draft, slot.deed, mark) {
                    let draft = &mut self.drafts[draft];
                    (draft.base, draft.touched) = ((*mark, value), false);
                }
            }
        }
        steps.push(Told::Answer(answer));
        Told::Steps(steps)
    }

    fn act(&mut self, slots: &mut Vec<Slot>, act: Act) -> Told {
        let id = match act {
            Act::Save(draft) => self.drafts[draft].id,
            Act::Get(id) | Act::Check(id, _) | Act::Put(id, _) | Act::Create(id, _) | Act::Delete(id) => id,
        };
        let at = slots.iter().position(|slot| slot.id == id).unwrap_or_else(|| {
            slots.push(Slot { id, read: None, given: None, deed: Deed::Check, draft: None });
            slots.len() - 1
        });
        let slot = &mut slots[at];
        match act {
            Act::Get(_) => {
                match (slot.deed, slot.read) {
                    (Deed::Put(value), _) => return Told::Read(Some(value)),
                    (Deed::Delete, _) => return Told::Read(None),
                    (Deed::Check, Some(read)) => return Told::Read(read.map(|(_, value)| value)),
                    (Deed::Check, None) => {}
                }
                let held = self.reference.held(IDS[id]);
                if let Some(miss) = slot.given.and_then(|given| slot.miss(given, held)) {
                    return conflict(miss);
                }
                slot.read = Some(held);
                Told::Read(held.map(|(_, value)| value))
            }
            Act::Check(_, belief) => slot.expect(belief).err().unwrap_or(Told::Nothing),
            Act::Put(_, value) => slot.becomes(Deed::Put(value)),
            Act::Delete(_) => slot.becomes(Deed::Delete),
            Act::Create(_, value) => {
                match slot.deed {
                    Deed::Put(_) => {
                        let miss = slot.mismatch(Belief::Absent, Kind::Exists, None);
                        return conflict(Miss { intent: Intent::Put, ..miss });
                    }
                    Deed::Delete => {}
                    Deed::Check => {
                        if let Err(told) = slot.expect(Belief::Absent) {
                            return told;
                        }
                    }
                }
                slot.becomes(Deed::Put(value))
            }
            Act::Save(draft) => {
                if !matches!(slot.deed, Deed::Check) {
                    return duplicate(id);
                }
                let Copied { base, value, touched, .. } = self.drafts[draft];
                if let Err(told) = slot.expect(Belief::Version(base.0)) {
                    return told;
                }
                if touched {
                    slot.becomes(Deed::Put(value));
                    slot.draft = Some(draft);
                }
                Told::Nothing
            }
        }
    }
}

impl Slot {
    fn becomes(&mut self, deed: Deed) -> Told {
        (self.deed, self.draft) = (deed, None);
        Told::Nothing
    }

    fn step(&self) -> Step {
        let belief = match self.read {
            Some(Some((mark, _))) => Belief::Version(mark),
            Some(None) => Belief::Absent,
            None => self.given.unwrap_or(Belief::Any),
        };
        Step { id: self.id, belief, origin: Origin::Argument, deed: self.deed }
    }

    fn expect(&mut self, wanted: Belief) -> Result<(), Told> {
        if let Some(miss) = self.read.and_then(|read| self.miss(wanted, read)) {
            return Err(conflict(miss));
        }
        let given = self.given.unwrap_or(Belief::Any);
        self.given = Some(match (given, wanted) {
            (Belief::Any, said) | (said, Belief::Any) => said,
            (Belief::Present, said @ Belief::Version(_)) => said,
            (said @ Belief::Version(_), Belief::Present) => said,
            (one, other) if one == other => one,
            _ => return Err(duplicate(self.id)),
        });
        Ok(())
    }

    /// Why a belief does not fit what was read; that nothing was found does not tell whether it was deleted.
    fn miss(&self, belief: Belief, held: Option<Held>) -> Option<Miss> {
        let kind = match (belief, held) {
            (Belief::Any, _) | (Belief::Absent, None) | (Belief::Present, Some(_)) => return None,
            (Belief::Version(mark), Some((now, _))) if mark == now => return None,
            (Belief::Absent, Some(_)) => Kind::Exists,
            (_, Some(_)) => Kind::Stale,
            (_, None) => Kind::Missing,
        };
        Some(self.mismatch(belief, kind, held))
    }

    fn mismatch(&self, belief: Belief, kind: Kind, current: Option<Held>) -> Miss {
        let intent = match self.deed {
            Deed::Check => Intent::Check,
            Deed::Put(_) => Intent::Put,
            Deed::Delete => Intent::Delete,
        };
        let (id, found) = (IDS[self.id].to_owned(), current.map(|(mark, _)| mark));
        Miss { id, belief, origin: Origin::Argument, intent, kind, found, current }
    }
}

fn conflict(miss: Miss) -> Told {
    let advice = if miss.kind == Kind::Missing { Advice::Never } else { Advice::Refetch };
    Told::Answer(Answer::Conflict(vec![miss], advice))
}

fn duplicate(id: usize) -> Told {
    Told::Answer(Answer::Refused(Refused::Duplicate(IDS[id].to_owned())))
}

/// The answer where a conflict says nothing but that the resource is not there.
fn missing(told: Told) -> Told {
    let Told::Answer(Answer::Conflict(misses, _)) = told else { return told };
    Told::Missing { deleted: misses[0].kind == Kind::Deleted }
}
