//! Real servers under load while what they stand on fails: nothing acknowledged is lost, nothing is
//! done twice, and service comes back by itself.
//!
//! Each test is some rounds of one fault, few unless `BANK_FAULT_ROUNDS` says how many. What the tellers
//! ask for, and when and how a fault comes, is a function of the seed that each test prints;
//! `BANK_TEST_SEED` runs it again, as far as a race can be run again.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and reports")]

#[path = "../../../bank-store/tests/redis/proxy.rs"]
mod proxy;
#[path = "../support/mod.rs"]
mod support;
mod trial;
#[path = "../workload/mod.rs"]
mod workload;

use std::time::Duration;

use proxy::{Proxy, Towards};
use rand::{RngExt, rngs::StdRng};
use support::{Bank, Redis};
use tokio::time::sleep;
use trial::Trial;

/// Servers notice sooner than unless told, so that rounds are short; all bounds are in the same order as
/// the defaults are.
const SOON: [&str; 14] = [
    "--set",
    "server.request_timeout_ms_max=3000",
    "--set",
    "ledger.outcome_timeout_ms=2000",
    "--set",
    "store.redis.command_timeout_ms=400",
    "--set",
    "store.redis.watchdog_interval_ms=200",
    "--set",
    "store.redis.reconnect_delay_ms_max=400",
    "--set",
    "store.redis.connect_timeout_ms=2000",
    "--set",
    "health.poll_timeout_ms=600",
];

async fn on(redis: &Redis) -> Bank {
    Bank::on_redis_with(redis, &SOON).await
}

/// Lets up to so many milliseconds go by.
async fn up_to_ms(random: &mut StdRng, most: u64) {
    sleep(Duration::from_millis(random.random_range(0..=most))).await;
}

/// Some of them shorter than a server waits for Redis, some longer than it looks for an outcome.
const OUTAGE_MS_MAX: u64 = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_at_all() {
    let redis = Redis::start_durable().await;
    let (one, two) = tokio::join!(on(&redis), on(&redis));
    let trial = Trial::begin("no fault, two servers on one Redis", &[&one, &two]).await;
    trial.run(async |random| up_to_ms(random, 500).await).await;
    let bank = Bank::start(&["--store", "memory"]).await;
    let trial = Trial::begin("no fault, in memory", &[&bank]).await;
    trial.run(async |random| up_to_ms(random, 500).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_killed() {
    let redis = Redis::start_durable().await;
    let mut bank = on(&redis).await;
    let trial = Trial::begin("kill -9 of a server", &[&bank]).await;
    trial
        .run(async |random| {
            bank.kill();
            up_to_ms(random, 300).await;
            bank.start_again().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed() {
    let mut redis = Redis::start_durable().await;
    let bank = on(&redis).await;
    let trial = Trial::begin("kill -9 of Redis", &[&bank]).await;
    trial
        .run(async |random| {
            redis.kill();
            up_to_ms(random, OUTAGE_MS_MAX).await;
            redis.restart().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_freezes() {
    let redis = Redis::start_durable().await;
    let bank = on(&redis).await;
    let trial = Trial::begin("SIGSTOP of Redis", &[&bank]).await;
    trial
        .run(async |random| {
            redis.freeze();
            up_to_ms(random, OUTAGE_MS_MAX).await;
            redis.thaw();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_servers_freezes() {
    let redis = Redis::start_durable().await;
    let (one, two) = tokio::join!(on(&redis), on(&redis));
    let trial = Trial::begin("SIGSTOP of one of two servers", &[&one, &two]).await;
    trial
        .run(async |random| {
            one.signal("STOP");
            up_to_ms(random, OUTAGE_MS_MAX).await;
            one.signal("CONT");
        })
        .await;
}

/// A server on a Redis, and what is between them.
async fn apart() -> (Redis, Proxy, Bank) {
    let redis = Redis::start_durable().await;
    let proxy = Proxy::start(redis.address()).await;
    let bank = Bank::start(&[&["--redis-url", &proxy.url()], &SOON[..]].concat()).await;
    (redis, proxy, bank)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_redis_is_reset() {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin("connection to Redis reset", &[&bank]).await;
    trial
        .run(async |random| {
            for _ in 0..random.random_range(1..=3) {
                proxy.reset();
                up_to_ms(random, 100).await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_redis_stalls() {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin("connection to Redis stalled for good", &[&bank]).await;
    trial.run(async |_| proxy.stall()).await;
}

/// What was sent before arrives when the server may have given it up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_redis_delivers_late() {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin("connection to Redis stalled, then delivering", &[&bank]).await;
    trial
        .run(async |random| {
            proxy.hold();
            up_to_ms(random, OUTAGE_MS_MAX).await;
            proxy.release();
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_redis_is_cut_before_the_effect() {
    cut("connection to Redis cut after N bytes sent", Towards::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_to_redis_is_cut_after_the_effect() {
    cut("connection to Redis cut after N bytes received", Towards::Store).await;
}

async fn cut(fault: &'static str, towards: Towards) {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin(fault, &[&bank]).await;
    trial
        .run(async |random| {
            for _ in 0..random.random_range(1..=4) {
                proxy.cut_after(towards, random.random_range(0..4_000));
                while !proxy.has_cut() {
                    sleep(Duration::from_millis(1)).await;
                }
                up_to_ms(random, 50).await;
            }
        })
        .await;
}
