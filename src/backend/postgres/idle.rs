//! [`Idle`], the write ids of commits that only checked.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::store::{Committed, WriteId};

/// How many are remembered.
const REMEMBERED: usize = 10_000;

/// How many entries they have together, of 32 bytes each.
const ENTRIES: usize = 100_000;

/// The write ids of commits that only checked, each with its answer.
///
/// They are plain reads and leave nothing in the engine. Whether one was applied makes no difference to anybody but who
/// sends it again, and that is this store.
#[derive(Default)]
pub(super) struct Idle(Mutex<Window>);

#[derive(Default)]
struct Window {
    known: HashMap<WriteId, Committed>,
    order: VecDeque<WriteId>,
    entries: usize,
}

impl Idle {
    pub(super) fn look(&self, write: Option<WriteId>) -> Option<Committed> {
        self.0.lock().known.get(&write?).cloned()
    }

    pub(super) fn remember(&self, write: Option<WriteId>, committed: &Committed) {
        let Some(write) = write else { return };
        let mut window = self.0.lock();
        window.entries += committed.receipts().len();
        match window.known.insert(write, committed.clone()) {
            Some(replaced) => window.entries -= replaced.receipts().len(),
            None => window.order.push_back(write),
        }
        while window.order.len() > REMEMBERED || window.entries > ENTRIES {
            let Some(gone) = window.order.pop_front().and_then(|oldest| window.known.remove(&oldest)) else {
                return;
            };
            window.entries -= gone.receipts().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Receipt;

    #[test]
    fn the_latest_are_remembered_and_no_more() {
        let idle = Idle::default();
        let nothing = Committed::from_iter([]);
        let write = |number: usize| Some(WriteId::from_bits(number as u128));

        (0..REMEMBERED + 5).for_each(|number| idle.remember(write(number), &nothing));

        assert_eq!(idle.look(write(4)), None);
        assert_eq!(idle.look(write(5)), Some(nothing));
        assert_eq!(idle.0.lock().known.len(), REMEMBERED);
        assert_eq!(idle.look(None), None);
    }

    #[test]
    fn large_commits_take_no_more_room_than_many_small_ones() {
        let idle = Idle::default();
        let large: Committed = (0..1_000).map(|_| Receipt { version: None, replaced: None }).collect();
        let write = |number| Some(WriteId::from_bits(number));

        for number in 0..150 {
            idle.remember(write(number), &large);
            idle.remember(write(number), &large);
        }

        assert_eq!((idle.look(write(49)), idle.look(write(50))), (None, Some(large)));
        let window = idle.0.lock();
        assert_eq!((window.known.len(), window.order.len(), window.entries), (100, 100, ENTRIES));
    }
}
