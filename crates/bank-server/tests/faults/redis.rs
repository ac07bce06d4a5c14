//! A Redis that is killed or frozen, and a connection to it that breaks.

use std::time::Duration;

use rand::RngExt;
use tokio::time::sleep;

use crate::{
    assert_unharmed, bank_on, flags, outage,
    proxy::{Proxy, Towards},
    support::{Bank, Redis},
    trial::{Trial, up_to_ms},
};

/// Resets follow each other within this.
const RESET_PAUSE_MS_MAX: u64 = 100;
/// A connection is cut within so many bytes: one commit or a few.
const CUT_BYTES_MAX: usize = 4_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_redis_is_killed() {
    let mut redis = Redis::start_durable().await;
    let bank = bank_on(&redis).await;
    let trial = Trial::begin("kill -9 of Redis", &[&bank]).await;
    trial
        .run(async |random| {
            redis.kill();
            outage(random).await;
            redis.restart().await;
            1
        })
        .await;
    assert_unharmed(&bank);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_redis_freezes() {
    let redis = Redis::start_durable().await;
    let bank = bank_on(&redis).await;
    let trial = Trial::begin("SIGSTOP of Redis", &[&bank]).await;
    trial
        .run(async |random| {
            redis.freeze();
            outage(random).await;
            redis.thaw();
            1
        })
        .await;
    assert_unharmed(&bank);
}

/// A server, its Redis, and a proxy between them.
async fn apart() -> (Redis, Proxy, Bank) {
    let redis = Redis::start_durable().await;
    let proxy = Proxy::start(redis.address()).await;
    let bank = Bank::start(&flags(&["--redis-url", &proxy.url()])).await;
    (redis, proxy, bank)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_connections_are_reset() {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin("connection to Redis reset", &[&bank]).await;
    trial
        .run(async |random| {
            let resets = random.random_range(1..=3);
            for _ in 0..resets {
                proxy.reset();
                up_to_ms(random, RESET_PAUSE_MS_MAX).await;
            }
            resets
        })
        .await;
    assert_unharmed(&bank);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_connections_stall() {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin("connection to Redis stalled for good", &[&bank]).await;
    trial
        .run(async |_| {
            proxy.stall();
            1
        })
        .await;
    assert_unharmed(&bank);
}

/// Delayed bytes arrive after all, when the server may have given up waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_connections_deliver_late() {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin("connection to Redis stalled, then delivering", &[&bank]).await;
    trial
        .run(async |random| {
            proxy.hold();
            outage(random).await;
            proxy.release();
            1
        })
        .await;
    assert_unharmed(&bank);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_connections_are_cut_before_the_effect() {
    cut("connection to Redis cut after N bytes sent", Towards::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_connections_are_cut_after_the_effect() {
    cut("connection to Redis cut after N bytes received", Towards::Store).await;
}

async fn cut(fault: &'static str, towards: Towards) {
    let (_redis, proxy, bank) = apart().await;
    let trial = Trial::begin(fault, &[&bank]).await;
    trial
        .run(async |random| {
            let cuts = random.random_range(1..=4);
            for _ in 0..cuts {
                proxy.cut_after(towards, random.random_range(0..CUT_BYTES_MAX));
                while !proxy.has_cut() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            cuts
        })
        .await;
    assert_unharmed(&bank);
}
