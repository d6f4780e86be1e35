//! [`Fault`], one way to break a store, and the laws that must catch it.

/// One way to break a store. Each is a mistake that somebody has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// No mistake: what the others are measured against.
    None,
    /// Checks, lets go of the lock, then applies.
    LostUpdate,
    /// Refuses every tenth write although its expectation holds.
    FalseConflict,
    /// Applies a write and reports a conflict.
    LoserWrites,
    PutIgnoresPresent,
    DeleteIgnoresExpectation,
    CheckIgnoresExpectation,
    /// Only the first entry of a commit is checked.
    OnlyFirstIsChecked,
    /// A cache answers every fifth read with the state before.
    StaleRead,
    VersionsGoDown,
    EqualValueKeepsVersion,
    /// A counter an id, which starts again after a deletion.
    ReuseAfterDelete,
    /// The version is a digest of the value.
    VersionOfValue,
    /// Two commits in a row share a version.
    VersionTwice,
    /// A deletion's version matches the absence it left.
    DeletionMatches,
    /// A version matches wherever some id has it.
    AnyLiveVersionMatches,
    ReceiptForgetsReplaced,
    ReceiptsAreSorted,
    /// The counter goes on with each entry of a commit.
    VersionAnEntry,
    IntentLost,
    OriginLost,
    MissingAsDeleted,
    /// Declares tombstones and keeps none.
    TombstonesForgotten,
    ConflictWithoutValue,
    /// The current version beside the value before it.
    ConflictMixed,
    /// The state before, version and value.
    ConflictStale,
    /// The values of a conflict are read one by one after the check.
    ConflictTorn,
    FirstMismatchOnly,
    EmptyRefused,
    /// Applies the entries before the one that fails.
    PartialCommit,
    /// Applies entry by entry, each under its own lock.
    TornCommit,
    /// Locks the ids in the order of the commit.
    CrossedLocks,
    DuplicatesTaken,
    ChecksMakeVersions,
    DeleteOfNothingMakesVersion,
    LimitNotKept,
    /// Does not look at write ids.
    AppliedTwice,
    /// All write ids are one.
    WriteIdsCollide,
    /// Its own write, sent again, is a conflict.
    OwnWriteConflicts,
    ResolveForgets,
    ResolveDoesNotClose,
    ConflictedIsApplied,
    ListsBackwards,
    /// `_` in a prefix stands for any character.
    PrefixIsPattern,
    EmptyPrefixIsNothing,
    AfterIsInclusive,
    PagesEndEarly,
    PagesByOffset,
    EmptyPageTaken,
    /// The same of a listing without values only.
    EmptyPageOfIdsTaken,
    /// Never tells the values, asked for or not.
    ListsWithoutValues,
    /// A listing without values has what was deleted too.
    IdsOfDeletedListed,
    IdsWithOldVersions,
    /// A listing without values takes no notice of the limit.
    IdsInOnePage,
    ListsStaleValues,
    IdsFoldCase,
    ListsTrimmedIds,
    LongIdsCut,
    AnyIdTaken,
    WatchUndeclared,
    WatchGap,
    WatchDuplicate,
    WatchDisorder,
    WatchSplit,
    WatchDeletesAsPuts,
    WatchReplaysValues,
    WatchFromStart,
    WatchNoise,
    ResumeIsInclusive,
    ResumeFromNow,
    /// A watch begins at its first poll, not when its cursor was given.
    WatchBeginsLate,
    /// A batch that was meant for a dropped reply is gone.
    WatchLosesDropped,
    WatchDeaf,
    CursorsTaken,
    /// Old batches are forgotten without a word.
    WatchForgets,
    WakesUnderLock,
    CommitTornByDrop,
    DroppedReadLocks,
    LeaksValue,
    RawIds,
    AbilitiesChange,
    /// Any commit under a used write id is answered as the first.
    WriteIdsNameAny,
    /// What changed nothing is not remembered.
    IdleForgotten,
    /// Checks are remembered under their write ids.
    ChecksRemembered,
    /// An id that was asked for shuts out those that are older.
    AskingShutsOut,
    AheadTaken,
    /// What was forgotten is taken for new.
    ForgottenIsNew,
}

/// Each fault, and the laws that catch it in every run.
pub(super) const CAUGHT: &[(Fault, &[&str])] = &[
    (
        Fault::LostUpdate,
        &[
            "of_n_writers_exactly_one_wins",
            "of_n_creators_exactly_one_wins",
            "of_n_deleters_exactly_one_wins",
            "increments_are_all_counted",
            "transfers_keep_the_sum",
            "checks_of_absent_ids_stop_write_skew",
            "all_calls_at_once_return",
        ],
    ),
    (Fault::FalseConflict, &["a_writer_alone_is_never_refused"]),
    (Fault::LoserWrites, &["a_loser_changes_nothing"]),
    (Fault::PutIgnoresPresent, &["put_enforces_every_expectation"]),
    (
        Fault::DeleteIgnoresExpectation,
        &["delete_enforces_every_expectation", "of_n_deleters_exactly_one_wins"],
    ),
    (
        Fault::CheckIgnoresExpectation,
        &[
            "check_enforces_every_expectation",
            "checks_of_absent_ids_stop_write_skew",
            "checks_of_versions_stop_write_skew",
        ],
    ),
    (Fault::OnlyFirstIsChecked, &["put_enforces_every_expectation", "a_commit_is_all_or_nothing"]),
    (Fault::StaleRead, &["a_read_follows_its_acknowledgement", "reads_never_go_back"]),
    (Fault::VersionsGoDown, &["versions_strictly_increase"]),
    (Fault::EqualValueKeepsVersion, &["an_equal_value_is_a_new_version"]),
    (Fault::ReuseAfterDelete, &["an_old_version_does_not_match_a_recreation", "versions_strictly_increase"]),
    (Fault::VersionOfValue, &["an_old_version_does_not_match_a_value_put_back"]),
    (Fault::VersionTwice, &["racing_versions_are_distinct_and_the_greatest_stays"]),
    (Fault::DeletionMatches, &["the_version_of_a_deletion_matches_nothing"]),
    (Fault::AnyLiveVersionMatches, &["a_version_belongs_to_its_id"]),
    (Fault::ReceiptForgetsReplaced, &["a_receipt_tells_what_was_replaced", "receipts_link_into_one_chain"]),
    (Fault::ReceiptsAreSorted, &["receipts_follow_the_order_of_entries"]),
    (Fault::VersionAnEntry, &["all_writes_of_a_commit_share_one_version"]),
    (Fault::IntentLost, &["a_conflict_names_what_was_expected_and_found"]),
    (Fault::OriginLost, &["a_conflict_keeps_the_origin"]),
    (Fault::MissingAsDeleted, &["a_conflict_says_why"]),
    (Fault::TombstonesForgotten, &["deleted_and_missing_are_told_apart_as_declared"]),
    (Fault::ConflictWithoutValue, &["a_conflict_carries_the_current_value"]),
    (Fault::ConflictMixed, &["a_conflicts_value_belongs_to_its_version"]),
    (Fault::ConflictStale, &["a_conflict_was_true_during_the_call"]),
    (Fault::ConflictTorn, &["a_conflict_over_several_ids_is_of_one_instant"]),
    (Fault::FirstMismatchOnly, &["a_conflict_names_every_failing_id_in_order"]),
    (Fault::EmptyRefused, &["an_empty_commit_changes_nothing"]),
    (Fault::PartialCommit, &["a_commit_is_all_or_nothing"]),
    (Fault::TornCommit, &["a_commit_is_never_seen_torn"]),
    (Fault::CrossedLocks, &["crossed_commits_do_not_deadlock"]),
    (Fault::DuplicatesTaken, &["a_repeated_id_is_refused"]),
    (Fault::ChecksMakeVersions, &["a_commit_of_checks_changes_nothing"]),
    (Fault::DeleteOfNothingMakesVersion, &["a_delete_of_nothing_changes_nothing"]),
    (Fault::LimitNotKept, &["a_commit_is_as_large_as_declared"]),
    (
        Fault::AppliedTwice,
        &[
            "a_write_sent_again_is_answered_as_before",
            "a_write_sent_again_undoes_nothing",
            "a_write_sent_twice_at_once_is_applied_once",
        ],
    ),
    (Fault::WriteIdsNameAny, &["a_write_id_names_one_commit"]),
    (Fault::IdleForgotten, &["a_deletion_of_nothing_is_remembered"]),
    (Fault::ChecksRemembered, &["checks_are_judged_whatever_their_write_id"]),
    (Fault::AskingShutsOut, &["asking_after_write_ids_shuts_out_no_other"]),
    (Fault::AheadTaken, &["a_write_id_from_ahead_is_not_ours"]),
    (Fault::ForgottenIsNew, &["beyond_the_window_nothing_is_applied_again"]),
    (Fault::WriteIdsCollide, &["two_write_ids_are_two_writes"]),
    (
        Fault::OwnWriteConflicts,
        &["a_write_over_several_ids_is_recognised", "a_write_sent_again_is_answered_as_before"],
    ),
    (Fault::ResolveForgets, &["an_applied_write_resolves_to_its_receipts"]),
    (
        Fault::ResolveDoesNotClose,
        &["a_write_resolved_as_not_applied_is_closed", "a_write_and_its_resolution_agree"],
    ),
    (Fault::ConflictedIsApplied, &["a_conflicted_write_does_not_resolve_as_applied"]),
    (Fault::ListsBackwards, &["a_listing_is_in_byte_order"]),
    (Fault::PrefixIsPattern, &["a_prefix_selects_exactly_its_ids"]),
    (Fault::EmptyPrefixIsNothing, &["the_empty_prefix_selects_everything"]),
    (Fault::AfterIsInclusive, &["a_listing_begins_after_the_id_told"]),
    (Fault::PagesEndEarly, &["pages_show_everything_once"]),
    (Fault::PagesByOffset, &["pages_under_writers_show_each_lasting_id_once"]),
    (Fault::EmptyPageTaken, &["a_page_of_nothing_is_refused"]),
    (Fault::EmptyPageOfIdsTaken, &["a_page_of_nothing_is_refused"]),
    (Fault::ListsWithoutValues, &["a_listing_shows_what_is_stored", "a_loser_changes_nothing"]),
    (Fault::IdsOfDeletedListed, &["a_listing_of_ids_agrees_with_one_of_values"]),
    (Fault::IdsWithOldVersions, &["a_listing_of_ids_agrees_with_one_of_values"]),
    (Fault::IdsInOnePage, &["a_listing_of_ids_agrees_with_one_of_values"]),
    (Fault::ListsStaleValues, &["a_listing_shows_what_is_stored"]),
    (Fault::IdsFoldCase, &["nasty_ids_are_kept_apart"]),
    (Fault::ListsTrimmedIds, &["nasty_ids_are_listed_as_written"]),
    (Fault::LongIdsCut, &["ids_of_1_and_512_bytes_work", "an_impossible_id_names_nothing"]),
    (Fault::AnyIdTaken, &["an_impossible_id_cannot_be_created"]),
    (Fault::WatchUndeclared, &["a_store_is_watched_as_declared"]),
    (Fault::WatchGap, &["every_change_is_reported_once"]),
    (Fault::WatchDuplicate, &["every_change_is_reported_once"]),
    (Fault::WatchDisorder, &["changes_of_an_id_come_in_order"]),
    (Fault::WatchSplit, &["a_commit_is_one_batch"]),
    (Fault::WatchDeletesAsPuts, &["puts_and_deletions_are_told_apart"]),
    (Fault::WatchReplaysValues, &["the_feed_replays_no_values"]),
    (Fault::WatchFromStart, &["a_watch_from_now_reports_nothing_earlier"]),
    (Fault::WatchNoise, &["what_changes_nothing_is_not_reported"]),
    (Fault::ResumeIsInclusive, &["a_watch_resumes_after_any_cursor"]),
    (Fault::ResumeFromNow, &["a_watch_that_reconnects_misses_nothing"]),
    (Fault::WatchBeginsLate, &["a_cursor_then_a_listing_misses_nothing"]),
    (Fault::WatchLosesDropped, &["a_dropped_next_loses_nothing"]),
    (Fault::WatchDeaf, &["waiting_watchers_are_woken"]),
    (Fault::CursorsTaken, &["a_foreign_cursor_is_refused"]),
    (Fault::WatchForgets, &["a_slow_watcher_misses_nothing_or_expires"]),
    (Fault::WakesUnderLock, &["a_waker_may_call_the_store", "a_panicking_waker_leaves_the_store_whole"]),
    (Fault::CommitTornByDrop, &["a_dropped_commit_leaves_old_or_new"]),
    (Fault::DroppedReadLocks, &["a_dropped_read_leaves_nothing_locked"]),
    (Fault::LeaksValue, &["no_message_shows_a_value"]),
    (Fault::RawIds, &["messages_escape_ids"]),
    (Fault::AbilitiesChange, &["abilities_do_not_change"]),
];
