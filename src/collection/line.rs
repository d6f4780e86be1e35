//! [`Line`], who waits for one hot id.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Instant;

use crate::store::{Versioned, WriteId};

/// How many may cut in before the one who waits first: some threads' worth of puts, and far from a stall.
pub(super) const MOST_OVERTAKE: u32 = 32;

/// Who waits for one hot id, and what the next one is to start from.
pub(super) struct Line<T: ?Sized> {
    /// The number of the ticket that has its turn.
    holder: Option<u64>,
    /// Who waits, by the number of the ticket. While nobody has a turn, it is the first one's to take.
    waiting: BTreeMap<u64, Option<Waker>>,
    drawn: u64,
    /// How many cut in before the one who waits first.
    overtaken: u32,
    /// When the turn last passed on.
    pub(super) moved: Instant,
    /// What the last one at the head knew, until the next takes it.
    pub(super) handed: Option<Versioned<T>>,
    /// The write id of that, where it is on its way to the store.
    pub(super) behind: Option<WriteId>,
    /// How many have passed their turn on and have no answer yet: the line stays for them.
    pub(super) on_their_way: usize,
    /// How often what was handed on turned out not to have been applied.
    pub(super) failures: u64,
}

impl<T: ?Sized> Line<T> {
    pub(super) fn opened(moved: Instant, handed: Option<Versioned<T>>) -> Self {
        Self {
            holder: None,
            waiting: BTreeMap::new(),
            drawn: 0,
            overtaken: 0,
            moved,
            handed,
            behind: None,
            on_their_way: 0,
            failures: 0,
        }
    }

    /// Whether nobody has a part in it any more.
    pub(super) fn is_over(&self) -> bool {
        self.holder.is_none() && self.waiting.is_empty() && self.on_their_way == 0
    }

    /// The number of one who joins at the end.
    pub(super) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.waiting.insert(self.drawn, None);
        self.drawn
    }

    /// The number of one who has the turn at once if nobody has it, and either nobody waits or the last one passed it on: then
    /// whoever waits first is woken and does not run yet. Else as [`draw`](Self::draw). Behind one who kept its turn to the
    /// end, as those do whom a rule refuses, it would be a longer turn that goes first.
    pub(super) fn cut_in(&mut self) -> u64 {
        let overtakes = !self.waiting.is_empty();
        if self.holder.is_some() || overtakes && (self.behind.is_none() || self.overtaken >= MOST_OVERTAKE) {
            return self.draw();
        }
        self.drawn += 1;
        self.overtaken += u32::from(overtakes);
        self.holder = Some(self.drawn);
        self.drawn
    }

    /// Whether it is this one's turn.
    pub(super) fn is_head(&self, number: u64) -> bool {
        match self.holder {
            Some(holder) => holder == number,
            None => self.is_first(number),
        }
    }

    fn is_first(&self, number: u64) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| *first == number)
    }

    /// The one at the head takes its turn. Its waker comes back, which it needs no more.
    pub(super) fn take_turn(&mut self, number: u64) -> Option<Waker> {
        let waker = self.remove(number);
        self.holder = Some(number);
        waker
    }

    /// Wakes this one when it is called; the waker that it had comes back.
    pub(super) fn wait(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        self.waiting.insert(number, Some(waker)).flatten()
    }

    /// Takes one out, with its turn if it has it. Its waker comes back.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waker> {
        self.holder.take_if(|holder| *holder == number);
        if self.is_first(number) {
            self.overtaken = 0;
        }
        self.waiting.remove(&number).flatten()
    }

    /// Who is to be woken now that nobody has a turn.
    pub(super) fn next(&mut self) -> Option<Waker> {
        self.waiting.first_entry()?.get_mut().take()
    }
}
