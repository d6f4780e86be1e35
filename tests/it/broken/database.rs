//! Negative controls of the laws of a database: a store below it that is broken in one way at a time, and laws that catch it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use ifmatch::conformance::databases::{self, DatabaseLaw};
use ifmatch::store::{
    Abilities, Action, Batch, Changes, Committed, Failure, Feed, Listed, Outcome, Page, Receipt, Resolution,
    Scan, WriteId,
};
use ifmatch::{Commit, Database, Entry, Error, Expected, Memory, Reply, Start, Store, Version, Versioned};

/// One way to break the store below a database.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Applies entry by entry.
    Splits,
    /// Takes one name for another that begins with it.
    FoldsNames,
    /// Leaves out what only is to be checked.
    DropsChecks,
    /// Leaves out the last of several entries.
    DropsLast,
    /// Loses every third batch of its feed.
    FeedForgets,
    /// Overwrites whatever is there.
    Overwrites,
    /// Leaves out what is put in one commit with a deletion.
    OnlyDeletes,
    /// Makes no value shorter than it was.
    NeverShrinks,
    /// Takes a value that an id had before for the write that had made it.
    Deduplicates,
    /// Takes back what was put beside a check, and says that it was put.
    TakesBack,
    /// Fails where a commit is in conflict, and says over which id.
    Quotes,
}

/// Each fault, and laws that must catch it. The others hold by what the database does itself.
const CAUGHT: [(Fault, &[&str]); 11] = [
    (
        Fault::Splits,
        &[
            "a_commit_over_collections_is_all_or_nothing",
            "transfers_between_collections_keep_the_sum",
            "a_predecessor_is_kept_with_its_change_or_not_at_all",
            "of_8_writers_each_predecessor_is_kept_once",
        ],
    ),
    (Fault::FoldsNames, &["collections_see_their_own_alone"]),
    (
        Fault::DropsChecks,
        &[
            "reads_in_other_collections_are_checked",
            "a_lease_keeps_everybody_else_out",
            "a_lost_lease_writes_nothing",
            "a_silent_holder_is_taken_over_and_a_live_one_is_not",
        ],
    ),
    (
        Fault::DropsLast,
        &[
            "what_rides_along_is_never_applied_alone",
            "a_refusal_of_one_part_writes_nothing",
            "a_predecessor_is_kept_with_its_change_or_not_at_all",
            "a_lease_keeps_everybody_else_out",
            "all_that_stands_in_the_way_is_told_at_once",
        ],
    ),
    (Fault::FeedForgets, &["a_feed_shows_its_own_collection"]),
    (
        Fault::Overwrites,
        &[
            "transactions_stand_in_line_with_other_writers",
            "a_step_hears_of_every_commit",
            "a_rule_holds_between_any_two_values",
            "of_8_writers_each_predecessor_is_kept_once",
        ],
    ),
    (Fault::OnlyDeletes, &["the_versions_of_a_deleted_resource_are_kept", "a_lost_lease_writes_nothing"]),
    (Fault::NeverShrinks, &["a_past_is_bounded_in_number_and_bytes"]),
    (
        Fault::Deduplicates,
        &[
            "a_restored_value_is_a_new_version",
            "a_silent_holder_is_taken_over_and_a_live_one_is_not",
            "of_many_who_wait_each_has_the_lease_alone",
        ],
    ),
    (Fault::TakesBack, &["of_many_who_wait_each_has_the_lease_alone"]),
    (Fault::Quotes, &["no_message_shows_an_inner_id"]),
];

/// Laws that no fault of a store breaks.
const NOT_OF_A_STORE: [&str; 1] = [
    // What it asks for is refused before anything is sent.
    "what_would_be_gone_around_is_refused",
];

#[cfg(feature = "merge")]
const CAUGHT_MERGING: [(Fault, &[&str]); 1] = [(
    Fault::Overwrites,
    &[
        "no_disjoint_edit_is_lost_by_a_merge",
        "an_overlap_is_told_and_writes_nothing",
        "a_merge_is_made_of_what_it_replaces",
    ],
)];
#[cfg(not(feature = "merge"))]
const CAUGHT_MERGING: [(Fault, &[&str]); 0] = [];

struct Broken {
    fault: Fault,
    memory: Memory<[u8]>,
    had: Mutex<Had>,
    steps: Mutex<u64>,
    stepped: Condvar,
}

/// What each id ever had, and under which version.
type Had = HashMap<(String, Arc<[u8]>), Version>;

impl Broken {
    fn new(fault: Fault) -> Self {
        let (had, steps, stepped) = Default::default();
        Self { fault, memory: Memory::new(), had, steps, stepped }
    }

    /// Commits after somebody else did since this was called, or after long enough to know that nobody will.
    ///
    /// A mere pause is not enough: on a busy machine the others may sleep through it.
    fn commit_late(&self, commit: Commit<'_, [u8]>) -> Result<Committed, Error> {
        let steps = self.steps.lock().unwrap();
        let before = *steps;
        let alone = |now: &mut u64| *now == before;
        let (mut steps, _) = self.stepped.wait_timeout_while(steps, Duration::from_millis(5), alone).unwrap();
        *steps += 1;
        self.stepped.notify_all();
        self.memory.commit(commit).wait()
    }

    fn id(&self, id: &str) -> String {
        match self.fault {
            Fault::FoldsNames => id.replacen("2/", "/", 1),
            _ => id.to_owned(),
        }
    }

    /// What stands there now, if it is longer than what is put.
    fn longer(&self, id: &str, put: Arc<[u8]>) -> Arc<[u8]> {
        let there = self.memory.get(id).wait().ok().flatten().map(|there| there.value);
        there.filter(|there| there.len() > put.len()).unwrap_or(put)
    }

    /// The answer to the write that made the value, where an entry puts one that its id had before.
    fn known(&self, entries: &[Entry<'_, [u8]>]) -> Option<Committed> {
        let had = self.had.lock().unwrap();
        let version = entries.iter().find_map(|entry| match &entry.action {
            Action::Put(value) => had.get(&(entry.id.to_owned(), Arc::clone(value))).copied(),
            Action::Check | Action::Delete => None,
        })?;
        Some(entries.iter().map(|_| Receipt { version: Some(version), replaced: None }).collect())
    }

    /// Commits, and then puts back what stood there before the first put.
    fn commit_and_take_back(&self, commit: Commit<'_, [u8]>) -> Result<Committed, Error> {
        let put = commit.entries().iter().find(|entry| puts(entry)).map(|entry| entry.id.to_owned());
        let Some(id) = put else { return self.memory.commit(commit).wait() };
        let before = self.memory.get(&id).wait()?;
        let committed = self.memory.commit(commit).wait()?;
        let back = match before {
            Some(before) => Entry::put(&id, Expected::Any, before.value),
            None => Entry::delete(&id, Expected::Any),
        };
        self.memory.commit(Commit::one(back)).wait()?;
        Ok(committed)
    }

    fn note(&self, entries: &[Entry<'_, [u8]>], committed: &Committed) {
        for (entry, receipt) in entries.iter().zip(committed.receipts()) {
            if let (Action::Put(value), Some(version)) = (&entry.action, receipt.version) {
                self.had.lock().unwrap().insert((entry.id.to_owned(), Arc::clone(value)), version);
            }
        }
    }
}

fn deletes(entry: &Entry<'_, [u8]>) -> bool {
    matches!(entry.action, Action::Delete)
}

fn checks(entry: &Entry<'_, [u8]>) -> bool {
    matches!(entry.action, Action::Check)
}

fn puts(entry: &Entry<'_, [u8]>) -> bool {
    matches!(entry.action, Action::Put(_))
}

impl Store<[u8]> for Broken {
    fn get<'a>(&'a self, id: &'a str) -> Reply<'a, Option<Versioned<[u8]>>> {
        Reply::begin(async move { self.memory.get(&self.id(id)).await })
    }

    fn commit<'a>(&'a self, commit: Commit<'a, [u8]>) -> Reply<'a, Committed> {
        let ids: Vec<String> = commit.entries().iter().map(|entry| self.id(entry.id)).collect();
        let all = commit.entries().len();
        let entries = commit.entries().iter().zip(&ids).map(|(entry, id)| {
            let mut entry = Entry { id, ..entry.clone() };
            match (self.fault, &entry.action) {
                (Fault::Overwrites, Action::Put(_) | Action::Delete) => {
                    entry.condition = Expected::Any.into();
                }
                (Fault::NeverShrinks, Action::Put(value)) => {
                    entry.action = Action::Put(self.longer(id, Arc::clone(value)));
                }
                _ => {}
            }
            entry
        });
        let nothing = Receipt { version: None, replaced: None };
        let answer = match self.fault {
            Fault::Splits => {
                let each = entries.map(|entry| Ok(self.commit_late(Commit::one(entry))?.receipts()[0]));
                each.collect::<Result<Committed, Error>>()
            }
            Fault::DropsChecks => {
                let kept = entries.filter(|entry| !checks(entry));
                let kept = self.memory.commit(kept.collect()).wait();
                kept.map(|kept| {
                    kept.receipts().iter().copied().chain([nothing].repeat(all)).take(all).collect()
                })
            }
            Fault::OnlyDeletes if commit.entries().iter().any(deletes) => {
                let kept = self.memory.commit(entries.filter(|entry| !puts(entry)).collect()).wait();
                kept.map(|kept| {
                    kept.receipts().iter().copied().chain([nothing].repeat(all)).take(all).collect()
                })
            }
            Fault::Deduplicates => {
                let entries: Vec<_> = entries.collect();
                match self.known(&entries) {
                    Some(known) => Ok(known),
                    None => {
                        let answer = self.memory.commit(entries.iter().cloned().collect()).wait();
                        answer.inspect(|committed| self.note(&entries, committed))
                    }
                }
            }
            Fault::DropsLast if all > 1 => {
                let kept = self.memory.commit(entries.take(all - 1).collect()).wait();
                kept.map(|kept| kept.receipts().iter().copied().chain([nothing]).collect())
            }
            Fault::TakesBack if commit.entries().iter().any(checks) => {
                self.commit_and_take_back(entries.collect())
            }
            Fault::Quotes => self.memory.commit(entries.collect()).wait().map_err(|error| match error {
                Error::Conflict(conflict) => {
                    Failure::new(Outcome::NotApplied, format!("`{}` is another", conflict.id())).into()
                }
                error => error,
            }),
            Fault::Overwrites => self.commit_late(entries.collect()),
            _ => self.memory.commit(entries.collect()).wait(),
        };
        Reply::ready(answer)
    }

    fn resolve<'a>(&'a self, write: WriteId) -> Reply<'a, Resolution> {
        self.memory.resolve(write)
    }

    fn scan<'a>(&'a self, scan: Scan<'a>) -> Reply<'a, Page<Listed<[u8]>>> {
        self.memory.scan(scan)
    }

    fn watch<'a>(&'a self, from: Start) -> Reply<'a, Changes<[u8]>> {
        let changes = self.memory.watch(from);
        let forgets = matches!(self.fault, Fault::FeedForgets);
        changes.map(move |changes| match forgets {
            true => Changes::new(changes.cursor().clone(), Forgetful { changes, batches: 0 }),
            false => changes,
        })
    }

    fn abilities(&self) -> Abilities {
        self.memory.abilities()
    }
}

struct Forgetful {
    changes: Changes<[u8]>,
    batches: usize,
}

impl Feed<[u8]> for Forgetful {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch<[u8]>, Error>> {
        loop {
            let batch = std::task::ready!(self.changes.poll_next(context))?;
            self.batches += 1;
            if !self.batches.is_multiple_of(3) {
                return Poll::Ready(Ok(batch));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.changes.is_idle()
    }
}

#[test]
fn each_fault_below_a_database_is_caught_by_its_laws() {
    super::silence();
    for (fault, names) in CAUGHT.into_iter().chain(CAUGHT_MERGING) {
        for name in names {
            let law = databases::laws().into_iter().find(|law| law.name() == *name).unwrap();
            let database = Database::new(Broken::new(fault));
            let quiet = thread::Builder::new().name(super::QUIET.to_owned());
            let run = quiet.spawn(move || law.check(database)).unwrap();
            assert!(run.join().is_err(), "{name} lets {fault:?} pass");
        }
    }
}

#[test]
fn each_law_of_databases_was_seen_to_fail() {
    let caught = CAUGHT.iter().chain(&CAUGHT_MERGING).flat_map(|(_, laws)| laws.iter().copied());
    let mut seen: BTreeSet<&str> = caught.collect();
    for law in NOT_OF_A_STORE {
        assert!(seen.insert(law), "{law} was seen to fail");
    }
    let all: BTreeSet<&str> = databases::laws().iter().map(DatabaseLaw::name).collect();

    assert_eq!(seen, all);
}
