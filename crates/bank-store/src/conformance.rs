//! The tests that every [`Store`] must pass.
//!
//! Call [`conformance_tests!`](crate::conformance_tests) with an async function that opens an empty store, passes it to the
//! given case, and cleans up. The macro makes a `#[tokio::test]` of each case and of each file of scripts, so the caller
//! needs tokio with its macros and the multi-threaded runtime.
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
//! A case takes an empty [`Bank`] and panics if the store violates the contract. Cases about single commits are scripts
//! (`script.rs`), the others are functions (`cases`). A [`Bank`] retries while the store fails, so the same cases pass on a
//! [`FaultyStore`] around any store.
//!
//! Two trials make random commits, for tests that choose their own length and seed: [`differential::trial`] compares two
//! stores, and [`faults::trial`] shows that nothing is lost or done twice while a store fails.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests fail by panicking")]

pub mod bank;
pub mod cases;
pub mod commands;
pub mod differential;
pub mod faults;
mod faulty_store;
mod prelude;
mod random;
mod script;
mod soundness;

pub use self::{
    bank::{Bank, View},
    commands::Request,
    faulty_store::FaultyStore,
    random::seed_from_environment,
    script::{run as run_script, scripts},
};

#[cfg(doc)]
use crate::Store;

/// Makes a test of each case.
///
/// The argument is an async function that takes an `impl AsyncFnOnce(Arc<dyn Store>)` and calls it with an empty store that
/// keeps request records for at least a minute.
#[macro_export]
macro_rules! conformance_tests {
    ($on_empty_store:path) => {
        $crate::conformance_tests! { @cases $on_empty_store;
            a_missing_account_has_nothing
            accounts_are_loaded_in_the_given_order
            every_kind_of_interest_is_read_back
            texts_are_read_back_exactly
            the_store_is_healthy_and_describes_itself

            entries_are_selected_by_time_and_position
            a_random_history_is_sound

            accounts_are_listed_once_each
            accounts_opened_meanwhile_do_not_disturb_a_listing

            a_large_commit_is_applied_completely
            a_commit_of_many_accounts_is_applied_completely

            request_ids_of_every_character_are_distinguished

            racing_commits_apply_once_for_each_version
            racing_openings_open_once
            racing_sends_of_one_request_apply_once
            readers_never_see_half_a_transfer
            readers_never_see_an_account_without_its_entries
            a_list_of_accounts_shows_one_instant

            request_records_are_read_in_order_and_in_pages
            an_imported_bank_equals_the_original
            a_history_is_imported_in_parts
            a_bank_is_unavailable_during_an_import
            a_bank_with_accounts_accepts_no_import
            an_import_replaces_an_interrupted_one
            an_abandoned_import_leaves_an_empty_bank
            a_record_of_a_missing_entry_is_not_imported
            expired_records_are_not_imported
        }
        $crate::conformance_tests! { @scripts $on_empty_store; chains commits movements readings requests }
    };
    (@cases $on_empty_store:path; $($case:ident)*) => {
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
    (@scripts $on_empty_store:path; $($file:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $file() {
                for script in $crate::conformance::scripts(stringify!($file)) {
                    $on_empty_store(async |store| {
                        let bank = $crate::conformance::Bank::new(store);
                        $crate::conformance::run_script(script, bank.clone()).await;
                        bank.assert_sound().await;
                    })
                    .await;
                }
            }
        )*
    };
}

#[cfg(test)]
mod tests;
