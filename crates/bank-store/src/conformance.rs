//! What every [`Store`] does, as tests that any backend can run.
//!
//! Call [`conformance_tests!`](crate::conformance_tests) with an async function that opens an empty
//! store, hands it to the case that it is given, and cleans up. The macro makes one `#[tokio::test]`
//! of each case, so the caller needs tokio with its macros and its multi-threaded runtime.
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//!
//! use bank_store::{MemoryStore, Store};
//!
//! async fn on_memory(case: impl AsyncFnOnce(Arc<dyn Store>)) {
//!     case(Arc::new(MemoryStore::new(Duration::from_mins(1)))).await;
//! }
//!
//! bank_store::conformance_tests!(on_memory);
//! ```
//!
//! The cases speak to the store through a [`Bank`], which sends again what a store could not say
//! the outcome of. So the same cases pass on a [`FaultyStore`] around any store.
//!
//! Beside the suite there are two trials by random work, for tests that choose their own length and
//! seed: [`differential::trial`] compares two stores, and [`faults::trial`] shows that nothing is
//! lost or done twice while a store fails.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "this is for tests, which fail by panicking"
)]

pub mod bank;
pub mod cases;
pub mod commands;
pub mod differential;
pub mod faults;
mod faulty_store;
mod random;
mod soundness;

pub use self::{
    bank::{Bank, Request, View},
    faulty_store::{FaultRates, FaultyStore},
    random::seed_from_environment,
};

#[cfg(doc)]
use crate::Store;

/// Makes a test of each case of the suite.
///
/// The argument is an async function that takes an `impl AsyncFnOnce(Arc<dyn Store>)` and calls it
/// with an empty store that keeps request records for a minute at least.
#[macro_export]
macro_rules! conformance_tests {
    ($on_empty_store:path) => {
        $crate::conformance_tests! { @each $on_empty_store;
            an_absent_account_has_nothing
            an_opened_account_reads_back_whole
            accounts_load_in_the_order_asked_for
            a_movement_changes_balance_and_history_together
            every_kind_of_entry_reads_back
            every_kind_of_interest_reads_back
            texts_read_back_exactly
            account_ids_are_told_apart
            currencies_read_back
            amounts_at_the_ends_of_64_bits_are_exact
            a_history_is_read_in_stretches
            a_history_is_read_in_pages
            a_history_is_a_chain
            time_never_runs_backwards
            times_at_the_ends_read_back
            a_random_history_is_sound

            accounts_are_listed_once_each
            accounts_are_listed_by_owner
            accounts_opened_meanwhile_do_not_disturb_a_listing

            an_empty_commit_does_nothing
            a_stale_decision_conflicts_and_leaves_no_trace
            a_stale_rejection_conflicts
            an_opening_that_came_second_conflicts
            a_decision_on_an_account_that_is_not_there_conflicts
            a_transfer_conflicts_whole
            proposals_of_one_commit_build_on_each_other
            an_account_is_opened_and_used_in_one_commit
            what_builds_on_a_conflict_conflicts
            a_conflict_taints_the_other_side_of_a_transfer
            a_version_that_matches_by_accident_conflicts
            a_state_that_matches_by_accident_conflicts
            a_conflict_leaves_the_rest_of_its_commit_alone
            what_builds_on_a_replay_conflicts
            a_large_commit_is_applied_whole
            a_commit_of_many_accounts_is_applied_whole

            a_chain_is_applied_whole
            a_chain_that_is_refused_leaves_the_record_of_one
            a_chain_conflicts_whole
            what_builds_on_a_chain_shares_its_fate
            what_follows_a_refused_chain_builds_on_what_was_before
            a_repeated_chain_is_replayed
            a_repeated_refused_chain_is_refused_by_its_record
            a_chain_of_known_and_new_requests_does_nothing
            a_chain_sent_again_answers_the_same

            a_commit_sent_again_answers_the_same
            a_commit_that_half_arrived_is_completed
            a_repeated_request_is_replayed
            a_repeated_transfer_and_opening_are_replayed
            a_repeated_request_is_found_before_versions_are_compared
            a_repeated_rejection_is_replayed
            every_rejection_is_replayed_as_it_was
            a_request_twice_in_one_commit_is_applied_once
            a_proposal_twice_in_one_commit_is_applied_once
            a_reused_request_id_is_told_apart
            request_ids_mean_nothing_to_others
            request_ids_of_every_character_are_told_apart
            an_unrecorded_rejection_leaves_no_record

            racing_commits_apply_once_for_each_version
            racing_openings_open_once
            racing_sends_of_one_request_apply_once
            readers_never_see_half_a_transfer
            readers_never_see_an_account_without_its_entries
            a_list_of_accounts_is_of_one_instant
            concurrent_transfers_keep_the_total

            records_of_requests_are_read_in_order_and_in_pages
            an_imported_bank_is_as_it_was
            a_history_is_imported_part_by_part
            a_bank_serves_nobody_while_it_is_imported
            a_bank_with_accounts_takes_no_import
            an_import_takes_the_place_of_one_that_was_broken_off
            an_abandoned_import_leaves_an_empty_bank
            a_record_of_an_entry_that_is_not_there_is_not_imported
            records_that_are_too_old_are_left_out_of_an_import

            the_store_is_healthy_and_says_what_it_is
        }
    };
    (@each $on_empty_store:path; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $on_empty_store(async |store| {
                    let bank = $crate::conformance::Bank::new(store);
                    $crate::conformance::cases::$case(bank.clone()).await;
                    bank.assert_sound().await;
                })
                .await;
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_macro_names_every_case() {
        let cases = [
            include_str!("conformance/cases/backups.rs"),
            include_str!("conformance/cases/chains.rs"),
            include_str!("conformance/cases/histories.rs"),
            include_str!("conformance/cases/commits.rs"),
            include_str!("conformance/cases/listings.rs"),
            include_str!("conformance/cases/races.rs"),
            include_str!("conformance/cases/readings.rs"),
            include_str!("conformance/cases/requests.rs"),
        ];
        let written: BTreeSet<_> = cases
            .iter()
            .flat_map(|file| file.lines())
            .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
            .collect();
        let named: BTreeSet<_> = include_str!("conformance.rs")
            .lines()
            .skip_while(|line| !line.contains("@each"))
            .skip(1)
            .take_while(|line| !line.contains('}'))
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(written, named);
    }
}
