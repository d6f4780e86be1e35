//! [`Idle`], the write ids of commits that only checked.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::commit::Committed;
use crate::write_id::WriteId;

/// How many are remembered.
const REMEMBERED: usize = 10_000;

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
}

impl Idle {
    pub(super) fn look(&self, write: Option<WriteId>) -> Option<Committed> {
        self.0.lock().known.get(&write?).cloned()
    }

    pub(super) fn remember(&self, write: Option<WriteId>, committed: &Committed) {
        let Some(write) = write else { return };
        let mut window = self.0.lock();
        if window.known.insert(write, committed.clone()).is_none() {
            window.order.push_back(write);
        }
        if window.order.len() > REMEMBERED {
            let oldest = window.order.pop_front().expect("there are more than a few");
            window.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
