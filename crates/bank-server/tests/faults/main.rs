//! Real servers under load while their environment fails: nothing acknowledged is lost, nothing is
//! applied twice, and service resumes by itself.
//!
//! Each test is some rounds of one fault, few unless `BANK_FAULT_ROUNDS` says how many. What the tellers
//! ask for, and how and when a fault comes, is a function of the seed that each test prints;
//! `BANK_TEST_SEED` runs it again, as far as a race can be run again.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and prints its figures"
)]

mod embedded;
#[path = "../../../bank-store/tests/redis/proxy.rs"]
mod proxy;
mod redis;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod trial;
#[path = "../workload/mod.rs"]
mod workload;

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};
use support::{Bank, Redis};
use tokio::time::sleep;

/// Servers detect faults sooner than by default, so that rounds are short. The limits are in the same
/// order as the defaults are.
const SOON: [&str; 7] = [
    "server.request_timeout_ms_max=2500",
    "ledger.outcome_timeout_ms=1000",
    "store.redis.command_timeout_ms=400",
    "store.redis.watchdog_interval_ms=200",
    "store.redis.reconnect_delay_ms_max=400",
    "store.redis.connect_timeout_ms=2000",
    "health.poll_timeout_ms=600",
];

/// Lets an outage last: half of them are over before a server stops to look for outcomes, and the others
/// are not.
async fn outage(random: &mut StdRng) {
    let milliseconds = if random.random() { 0..600 } else { 1_200..1_800 };
    sleep(Duration::from_millis(random.random_range(milliseconds))).await;
}

/// Flags, and those that make a server notice sooner.
fn flags<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    flags.iter().copied().chain(SOON.iter().flat_map(|setting| ["--set", setting])).collect()
}

async fn bank_on(redis: &Redis) -> Bank {
    Bank::on_redis_with(redis, &flags(&[])).await
}

/// Checks that the server has logged only errors that the fault explains.
fn assert_unharmed(bank: &Bank) {
    const EXPLAINED: [&str; 4] = [
        "the outcome of a request is not known",
        "the store is unavailable: not serving",
        "a write has failed; opening the file again",
        "the file cannot be opened again yet",
    ];
    let is_surprise = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap();
        line["level"] == "ERROR" && !EXPLAINED.contains(&message)
    };
    let surprises: Vec<_> = bank.lines().into_iter().filter(is_surprise).collect();
    assert!(surprises.is_empty(), "{surprises:#?}");
    assert_eq!(bank.errors(), "");
}
