//! [`Law`], the one list of all laws, and what runs them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::conformance::race::race;
use crate::conformance::sample::Sample;
use crate::store::{Abilities, Store, block_on};

/// How long one law may take as a whole.
const BUDGET: Duration = Duration::from_secs(120);

/// One run of a law on a store.
pub type Trial<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One law of the suite: its name and the function behind it.
///
/// ```
/// use std::sync::Arc;
///
/// use ifmatch::Memory;
/// use ifmatch::conformance::laws;
///
/// let law = laws::<u64>().into_iter().find(|law| law.name() == "an_empty_commit_changes_nothing").unwrap();
/// law.check(Arc::new(Memory::<u64>::new()));
/// ```
pub struct Law<T: ?Sized + 'static> {
    name: &'static str,
    run: for<'a> fn(&'a Arc<dyn Store<T>>) -> Trial<'a>,
}

impl<T: Sample + ?Sized> Law<T> {
    /// The name of its function, and of its test.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the law on a thread of its own, and waits for it.
    ///
    /// # Panics
    ///
    /// Where the store breaks the law, or is stuck.
    pub fn check(&self, store: Arc<dyn Store<T>>) {
        let run = self.run;
        race(self.name, BUDGET, 1, move |_| block_on(run(&store)));
    }
}

impl<T: ?Sized> Clone for Law<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Law<T> {}

impl<T: ?Sized> fmt::Debug for Law<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Law({})", self.name)
    }
}

/// All laws, for those who run them by other means than [`conformance!`](crate::conformance!).
///
/// ```
/// assert!(ifmatch::conformance::laws::<u64>().len() >= 40);
/// ```
pub fn laws<T: Sample + ?Sized>() -> Vec<Law<T>> {
    crate::__laws!(@list @table)
}

/// Runs one law on a store. What [`conformance!`](crate::conformance!) expands to.
#[doc(hidden)]
pub fn check<T: Sample + ?Sized>(
    name: &'static str,
    store: impl Store<T>,
    run: for<'a> fn(&'a Arc<dyn Store<T>>) -> Trial<'a>,
) {
    Law { name, run }.check(Arc::new(store));
}

/// Holds a store to the abilities its author declares. What [`conformance!`](crate::conformance!) expands to.
#[doc(hidden)]
pub fn assert_abilities<T: Sample + ?Sized>(store: impl Store<T>, declared: Abilities) {
    let found = store.abilities();
    // A limit, not an ability: compared only where it is declared.
    let window = if declared.window == 0 { found.window } else { declared.window };
    // What only stores of this crate can say.
    let declared = Abilities { window, queues: found.queues, ..declared };
    assert_eq!(found, declared, "the store does not say the abilities its author declared");
}

/// Turns all laws into one `#[test]` each, in a module of the given name.
///
/// The expression gives the store for one test: a fresh one, or a clone of an `Arc` of a shared one. It is evaluated
/// once a test, in a module that sees everything the calling module does. With a third argument the suite also
/// holds the store to these [`Abilities`](crate::store::Abilities).
///
/// ```
/// use ifmatch::{Memory, Store};
///
/// ifmatch::conformance!(fresh_memory, Memory::<u64>::new());
///
/// fn declared() -> ifmatch::store::Abilities {
///     let mut abilities = ifmatch::store::Abilities::default();
///     abilities.watch = true;
///     abilities.tombstones = true;
///     abilities.detects_restore = true;
///     abilities
/// }
/// ifmatch::conformance!(memory_as_declared, Memory::<u64>::new(), declared());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($name:ident, $store:expr $(, $abilities:expr)? $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "a store named by its whole path needs none of them")]
            use super::*;

            $(
                #[test]
                fn says_the_abilities_its_author_declared() {
                    $crate::conformance::assert_abilities($store, $abilities);
                }
            )?

            $crate::__laws!(@list @tests ($store));
        }
    };
}

/// The one list of laws, by file. A macro, since `#[test]` functions need names at compile time.
#[doc(hidden)]
#[macro_export]
macro_rules! __laws {
    (@list $($what:tt)+) => {
        $crate::__laws! {
            $($what)+
            cas:
                of_n_writers_exactly_one_wins
                of_n_creators_exactly_one_wins
                of_n_deleters_exactly_one_wins
                increments_are_all_counted
                a_writer_alone_is_never_refused
                a_loser_changes_nothing
                put_enforces_every_expectation
                delete_enforces_every_expectation
                check_enforces_every_expectation
                a_read_follows_its_acknowledgement
            ;
            commits:
                an_empty_commit_changes_nothing
                a_commit_is_all_or_nothing
                receipts_follow_the_order_of_entries
                all_writes_of_a_commit_share_one_version
                a_commit_is_never_seen_torn
                checks_of_absent_ids_stop_write_skew
                checks_of_versions_stop_write_skew
                transfers_keep_the_sum
                crossed_commits_do_not_deadlock
                a_repeated_id_is_refused
                a_commit_of_checks_changes_nothing
                a_delete_of_nothing_changes_nothing
                a_commit_is_as_large_as_declared
            ;
            conflicts:
                a_conflict_names_what_was_expected_and_found
                a_conflict_says_why
                deleted_and_missing_are_told_apart_as_declared
                a_conflict_keeps_the_origin
                a_conflict_carries_the_current_value
                a_conflicts_value_belongs_to_its_version
                a_conflict_was_true_during_the_call
                a_conflict_names_every_failing_id_in_order
                a_conflict_over_several_ids_is_of_one_instant
            ;
            feed:
                a_store_is_watched_as_declared
                every_change_is_reported_once
                changes_of_an_id_come_in_order
                a_commit_is_one_batch
                puts_and_deletions_are_told_apart
                the_feed_replays_no_values
                what_changes_nothing_is_not_reported
            ;
            limits:
                nasty_ids_are_kept_apart
                nasty_ids_are_listed_as_written
                ids_of_1_and_512_bytes_work
                an_impossible_id_cannot_be_created
                an_impossible_id_names_nothing
            ;
            scan:
                a_listing_is_in_byte_order
                a_prefix_selects_exactly_its_ids
                the_empty_prefix_selects_everything
                a_listing_begins_after_the_id_told
                pages_show_everything_once
                a_page_of_nothing_is_refused
                a_listing_shows_what_is_stored
                a_listing_of_ids_agrees_with_one_of_values
                pages_under_writers_show_each_lasting_id_once
            ;
            versions:
                versions_strictly_increase
                an_equal_value_is_a_new_version
                an_old_version_does_not_match_a_recreation
                an_old_version_does_not_match_a_value_put_back
                the_version_of_a_deletion_matches_nothing
                a_version_belongs_to_its_id
                racing_versions_are_distinct_and_the_greatest_stays
                reads_never_go_back
                a_receipt_tells_what_was_replaced
                receipts_link_into_one_chain
            ;
            watch:
                a_watch_from_now_reports_nothing_earlier
                a_watch_resumes_after_any_cursor
                a_watch_that_reconnects_misses_nothing
                a_cursor_then_a_listing_misses_nothing
                a_dropped_next_loses_nothing
                waiting_watchers_are_woken
                a_foreign_cursor_is_refused
                a_slow_watcher_misses_nothing_or_expires
            ;
            whole:
                a_waker_may_call_the_store
                a_panicking_waker_leaves_the_store_whole
                a_dropped_commit_leaves_old_or_new
                a_dropped_read_leaves_nothing_locked
                all_calls_at_once_return
                no_message_shows_a_value
                messages_escape_ids
                abilities_do_not_change
            ;
            writes:
                a_write_sent_again_is_answered_as_before
                a_write_sent_again_undoes_nothing
                a_write_sent_twice_at_once_is_applied_once
                a_write_over_several_ids_is_recognised
                two_write_ids_are_two_writes
                an_applied_write_resolves_to_its_receipts
                a_write_resolved_as_not_applied_is_closed
                a_conflicted_write_does_not_resolve_as_applied
                a_write_and_its_resolution_agree
                a_write_id_names_one_commit
                a_deletion_of_nothing_is_remembered
                checks_are_judged_whatever_their_write_id
                asking_after_write_ids_shuts_out_no_other
                a_write_id_from_ahead_is_not_ours
                beyond_the_window_nothing_is_applied_again
            ;
        }
    };
    (@table $($file:ident: $($law:ident)+;)+) => {
        vec![$($(
            Law { name: stringify!($law), run: |store| Box::pin($crate::conformance::$file::$law(store)) },
        )+)+]
    };
    (@tests ($store:expr) $($file:ident: $($law:ident)+;)+) => {
        $($(
            #[test]
            fn $law() {
                $crate::conformance::check(stringify!($law), $store, |store| {
                    ::std::boxed::Box::pin($crate::conformance::$file::$law(store))
                });
            }
        )+)+
    };
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_law_in_the_files_is_in_the_list() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance");
        let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = paths.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap());
        // Without spaces and line breaks, since a long signature is wrapped. A function that takes more than a store,
        // which no list can call, is not a law.
        let flatten = |file: String| file.split_whitespace().collect::<String>().replace(",)", ")");
        let flat: Vec<String> = files.map(flatten).collect();
        let signature = "<T:Sample+?Sized>(store:&Arc<dynStore<T>>){";
        let functions = flat.iter().flat_map(|file| file.split("pubasyncfn").skip(1));
        let names = functions.filter_map(|function| function.split_once(signature)).map(|(name, _)| name);
        let mut written: Vec<&str> = names.filter(|name| !name.contains('(')).collect();
        let mut listed: Vec<&str> = laws::<u64>().iter().map(Law::name).collect();

        written.sort_unstable();
        listed.sort_unstable();

        assert_eq!(listed, written);
    }
}
