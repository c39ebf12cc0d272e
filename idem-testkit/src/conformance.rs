//! The definition of a correct store, as tests.

#![allow(clippy::missing_panics_doc, reason = "a check panics when the store is wrong")]

pub mod announcing;
pub mod claiming;
pub mod expiry;
pub mod fences;
mod harness;
pub mod holding;
pub mod identity;
pub mod leases;
pub mod ownership;
pub mod persistence;
pub mod races;
pub mod resolving;
pub mod responses;
mod subject;
pub mod versions;
pub mod waiting;

use std::time::Duration;

use tokio::{runtime::Builder, time::timeout};

pub use self::{harness::Harness, subject::Subject};

/// Runs one check on a runtime of its own. A check that hangs fails.
pub fn run<H, F>(harness: impl Future<Output = H>, check: impl FnOnce(Subject) -> F)
where
    H: Harness,
    F: Future<Output = ()>,
{
    const LIMIT: Duration = Duration::from_mins(5);
    // More threads than cores interleave more.
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let checked = async { check(Subject::open(harness.await).await).await };
    let in_time = runtime.expect("a runtime").block_on(async { timeout(LIMIT, checked).await });
    assert!(in_time.is_ok(), "the check has not ended after {LIMIT:?}");
}

/// Tests a store: expands to one `#[test]` for each thing that a store must get right.
///
/// The argument is an expression that gives a [`Harness`] over an **empty** set of records. It may
/// `.await`, and is evaluated anew for every test. See the [crate's example](crate).
///
/// The tests are named by what they promise. To test two stores in one file, put each call into a
/// module of its own.
#[macro_export]
macro_rules! conformance {
    ($harness:expr $(,)?) => {
        $crate::__conformance_tests! { $harness;
            claiming:
                an_absent_record_is_won
                a_running_record_is_in_flight
                a_completed_record_is_replayed
                a_failed_record_is_won_again
                another_request_is_a_mismatch_in_every_situation
                a_refused_claim_changes_nothing
                a_claim_sent_again_wins_again
                a_claim_that_comes_after_its_own_failure_does_not_win
                a_claim_that_is_won_says_what_it_follows
                every_verdict_tells_the_age_of_the_record
                an_age_starts_anew_with_the_record;
            leases:
                a_lapsed_lease_is_taken_over_and_not_before
                a_takeover_starts_a_lease_and_a_ttl_of_its_own
                only_the_same_request_takes_over
                an_abandoned_and_expired_claim_frees_its_key
                a_record_does_not_expire_under_its_lease
                a_renewal_extends_the_lease
                a_renewal_counts_from_now
                a_renewed_record_outlives_its_ttl
                a_renewal_keeps_a_longer_ttl
                a_lapsed_lease_can_be_renewed;
            ownership:
                a_taken_over_attempt_writes_nothing
                the_attempt_of_a_deleted_record_writes_nothing
                the_attempt_of_an_expired_record_writes_nothing
                the_attempt_of_a_released_record_writes_nothing
                a_released_record_has_never_been
                a_late_owner_may_end_its_record
                an_ending_may_be_written_again_by_its_attempt
                an_ended_record_is_immutable
                a_completed_response_is_never_overwritten;
            fences:
                a_fence_grows_over_takeovers
                a_fence_grows_over_deletions
                a_fence_grows_over_releases
                a_fence_grows_over_expiries
                a_fence_grows_over_sweeps
                a_fence_grows_over_servers;
            holding:
                a_lapsed_hold_mode_record_is_held
                a_takeover_in_hold_mode_is_held_when_it_lapses
                a_held_record_is_held
                held_records_never_expire
                the_late_owner_of_a_hold_mode_record_may_end_it
                an_ended_hold_mode_record_expires
                a_renewed_hold_mode_record_stays_in_hold_mode;
            resolving:
                held_records_are_listed_and_no_others
                a_listed_record_says_for_how_long_it_has_been_held
                arbitrary_ids_are_listed_as_they_were
                pages_list_each_held_record_once_and_the_oldest_claim_first
                an_unknown_version_is_neither_listed_nor_resolved
                a_record_resolved_as_completed_is_replayed
                a_record_resolved_as_failed_is_won_again
                a_resolved_record_expires
                only_held_records_are_resolved
                an_older_attempt_is_not_resolved
                the_late_owner_of_a_resolved_record_writes_nothing
                a_resolution_may_be_written_again
                a_resolution_is_never_overwritten
                one_of_many_resolutions_is_written
                a_late_owner_and_a_resolution_exclude_each_other
                a_dropped_resolution_can_be_sent_again;
            waiting:
                records_that_are_in_flight_are_told_from_all_others
                a_thousand_records_are_asked_for_at_once;
            expiry:
                a_completed_record_frees_its_key_after_its_ttl
                a_failed_record_frees_its_key_after_its_ttl
                expired_keys_need_no_sweep
                an_ending_brings_its_own_ttl
                only_the_verdict_that_it_is_completed_tells_when_a_record_expires
                the_longest_ttl_is_a_ttl
                a_sweep_deletes_only_what_has_expired
                a_sweep_deletes_up_to_its_limit
                a_late_answer_is_kept_for_its_whole_ttl;
            races:
                one_of_many_wins_a_new_key
                one_of_many_different_requests_wins_a_new_key
                one_of_many_takes_over_a_lapsed_lease
                one_of_many_retries_a_failed_record
                one_of_many_wins_an_expired_key
                all_of_many_replay_a_completed_record
                none_of_many_wins_a_held_record
                one_claim_sent_many_times_wins_once
                a_late_completion_and_a_takeover_exclude_each_other
                a_late_completion_and_a_sweep_exclude_each_other
                concurrent_sweeps_share_the_work
                sweeps_and_claims_do_not_disturb_each_other;
            responses:
                bodies_come_back_byte_for_byte
                headers_come_back_in_order_with_repeats
                every_status_comes_back;
            identity:
                arbitrary_ids_have_records_of_their_own
                neighbouring_ids_have_records_of_their_own
                another_scope_sees_nothing;
            versions:
                an_unknown_version_is_refused
                an_unknown_version_is_never_swept_nor_taken_over
                an_owner_does_not_write_an_unknown_version
                an_unknown_version_does_not_block_sweeps;
            persistence:
                records_survive_a_reconnect
                an_owner_ends_its_record_over_a_new_connection
                a_reader_sees_every_state
                a_dropped_operation_can_be_sent_again;
        }
    };
}

/// Tests a store that [announces endings](idem_core::Store::announcements): expands to one `#[test]`
/// for each thing that it must get right besides [`conformance!`]. The argument is the same, and
/// stores that its harness opens announce.
#[macro_export]
macro_rules! announcements {
    ($harness:expr $(,)?) => {
        $crate::__conformance_tests! { $harness;
            announcing:
                every_ending_is_announced_to_every_server
                nothing_but_endings_is_announced;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($harness:expr; $($topic:ident: $($check:ident)+;)+) => {$($(
        #[test]
        fn $check() {
            $crate::__private::run(async { $harness }, $crate::__private::$topic::$check);
        }
    )+)+};
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn every_check_is_part_of_the_suite() {
        let suite: Vec<_> = include_str!("conformance.rs").split_whitespace().collect();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
        for file in fs::read_dir(dir).unwrap() {
            let source = fs::read_to_string(file.unwrap().path()).unwrap();
            for line in source.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
                let check = line.split('(').next().unwrap();
                let listed = |it: &&str| it.trim_end_matches(';') == check;
                assert!(suite.iter().any(listed), "{check} is not in the list");
            }
        }
    }
}
