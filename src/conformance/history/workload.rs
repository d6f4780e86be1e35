//! [`Workload`], random calls from real threads that meet on a few ids.

use std::sync::Arc;
use std::thread;

use crate::store::{Action, Commit, Entry, Expected, Resource, Scan, Store, Version, WriteId};

/// Random calls from real threads that meet on a few ids: reads, pages, commits over one to three ids that create,
/// replace, delete and check, commits sent again under their write id, and questions after them.
///
/// The choices come from the seed; how the threads meet does not.
///
/// ```
/// use ifmatch::Memory;
/// use ifmatch::conformance::history::{Numbering, Recorded, Workload};
///
/// let store = Recorded::new(Memory::<u64>::new());
/// Workload::new(7).run(&store, |number| number.into());
///
/// let checked = store.history(Numbering::StoreWide).check()?;
/// assert!(checked.operations > 1_000 && checked.conflicts > 0);
/// # Ok::<_, ifmatch::conformance::history::Violation>(())
/// ```
#[derive(Debug, Clone)]
pub struct Workload {
    /// What the choices are made from.
    pub seed: u64,
    /// How many threads call.
    pub threads: u64,
    /// How many calls each of them makes.
    pub calls: u64,
    /// The ids they meet on. They must be new to the store.
    pub ids: Vec<String>,
}

impl Workload {
    /// 4 threads that make 1,000 calls each on three ids.
    pub fn new(seed: u64) -> Self {
        let ids = ["a", "b", "c"].map(|id| format!("workload-{seed}-{id}"));
        Self { seed, threads: 4, calls: 1_000, ids: ids.into() }
    }

    /// Makes the calls. `value` turns a number that is used once into a value; errors are part of the game.
    pub fn run<T: Resource + ?Sized>(&self, store: &dyn Store<T>, value: impl Fn(u64) -> Arc<T> + Sync) {
        thread::scope(|scope| {
            for thread in 0..self.threads {
                let value = &value;
                scope.spawn(move || {
                    let dice = Dice(self.seed.wrapping_add(thread).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                    let known = vec![[None; 2]; self.ids.len()];
                    let mut caller =
                        Caller { workload: self, store, value, dice, known, last: None, puts: 0 };
                    (0..self.calls).for_each(|_| caller.call(thread));
                });
            }
        });
    }
}

/// One thread of a workload.
struct Caller<'w, T: ?Sized, V> {
    workload: &'w Workload,
    store: &'w dyn Store<T>,
    value: &'w V,
    dice: Dice,
    /// What the thread saw at each id, last and before that.
    known: Vec<[Option<Version>; 2]>,
    /// The last commit under a write id.
    last: Option<Commit<'w, T>>,
    puts: u64,
}

impl<'w, T: Resource + ?Sized, V: Fn(u64) -> Arc<T>> Caller<'w, T, V> {
    fn call(&mut self, thread: u64) {
        // Where there are more threads than cores, they would seldom meet by themselves.
        if self.dice.below(8) == 0 {
            thread::yield_now();
        }
        match self.dice.below(100) {
            0..40 => self.read(),
            40..42 => {
                let scan = Scan::new(&self.workload.ids[0], 10);
                let scan = if self.dice.below(2) == 0 { scan } else { scan.without_values() };
                let _ = self.store.scan(scan).wait();
            }
            42..45 => self.send_again(),
            45..47 => {
                if let Some(write) = self.last.as_ref().and_then(Commit::write) {
                    let _ = self.store.resolve(write).wait();
                }
            }
            47..84 => self.commit(thread, 1),
            _ => {
                let most = self.workload.ids.len().min(self.store.abilities().entries).min(3);
                let entries = 1 + self.dice.below(most as u64) as usize;
                self.commit(thread, entries);
            }
        }
    }

    fn read(&mut self) {
        let at = self.dice.below(self.workload.ids.len() as u64) as usize;
        if let Ok(found) = self.store.get(&self.workload.ids[at]).wait() {
            self.saw(at, found.map(|found| found.version));
        }
    }

    fn commit(&mut self, thread: u64, entries: usize) {
        let ids = &self.workload.ids;
        let first = self.dice.below(ids.len() as u64) as usize;
        let places: Vec<usize> = (0..entries).map(|next| (first + next) % ids.len()).collect();
        let only_checks = self.dice.below(5) == 0;
        let commit: Commit<'w, T> = places.iter().map(|at| self.entry(thread, *at, only_checks)).collect();
        let write = (self.dice.below(8) == 0).then(|| self.write_id()).flatten();
        let commit = match write {
            Some(write) => {
                let commit = commit.with_write(write);
                self.last = Some(commit.clone());
                commit
            }
            None => commit,
        };
        self.learn(&places, commit);
    }

    /// A write id, drawn at the newest version that this thread knows; none before it knows one, as that may lie outside of
    /// what the store remembers.
    fn write_id(&self) -> Option<WriteId> {
        let known = self.known.iter().flatten().flatten();
        known.copied().max_by_key(|version| version.to_bits()).map(|newest| WriteId::after(Some(newest)))
    }

    fn entry(&mut self, thread: u64, at: usize, only_check: bool) -> Entry<'w, T> {
        let id = &self.workload.ids[at];
        let [last, before] = self.known[at];
        let expected = match self.dice.below(20) {
            0..2 => Expected::Any,
            2..4 => Expected::Present,
            4 => before.map_or(Expected::Absent, Expected::Version),
            _ => last.map_or(Expected::Absent, Expected::Version),
        };
        match self.dice.below(10) {
            _ if only_check => Entry::check(id, expected),
            0 => Entry::check(id, expected),
            1..3 => Entry::delete(id, expected),
            _ => {
                self.puts += 1;
                Entry::put(id, expected, (self.value)(thread << 40 | self.puts))
            }
        }
    }

    /// Commits, and remembers what the answer shows of the ids at these places.
    fn learn(&mut self, places: &[usize], commit: Commit<'w, T>) {
        match self.store.commit(commit.clone()).wait() {
            Ok(committed) => {
                for ((at, entry), receipt) in places.iter().zip(commit.entries()).zip(committed.receipts()) {
                    let deleted = matches!(entry.action, Action::Delete);
                    self.saw(*at, receipt.version.filter(|_| !deleted));
                }
            }
            Err(error) => {
                for mismatch in error.conflict().into_iter().flat_map(|conflict| conflict.mismatches()) {
                    let at = places.iter().find(|at| self.workload.ids[**at] == mismatch.id());
                    if let Some(at) = at {
                        self.saw(*at, mismatch.current::<T>().map(|current| current.version));
                    }
                }
            }
        }
    }

    fn saw(&mut self, at: usize, version: Option<Version>) {
        if self.known[at][0] != version {
            self.known[at] = [version, self.known[at][0]];
        }
    }

    fn send_again(&mut self) {
        if let Some(commit) = self.last.clone() {
            let _ = self.store.commit(commit).wait();
        }
    }
}

/// Seeded choices: xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}
