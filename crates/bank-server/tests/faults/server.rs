//! Servers that are killed or frozen.

use crate::{
    assert_unharmed, bank_on, outage,
    support::{Bank, Redis},
    trial::{Trial, up_to_ms},
};

/// The longest outage, without the time that a server takes to start.
const GONE_MS_MAX: u64 = 300;
const CALM_MS_MAX: u64 = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_in_memory_without_faults() {
    let bank = Bank::memory().await;
    let trial = Trial::begin("nothing, in memory", &[&bank]).await;
    trial
        .run(async |random| {
            up_to_ms(random, CALM_MS_MAX).await;
            0
        })
        .await;
    assert_unharmed(&bank);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_by_two_servers_without_faults() {
    let redis = Redis::start_durable().await;
    let (one, other) = tokio::join!(bank_on(&redis), bank_on(&redis));
    let trial = Trial::begin("nothing, two servers on one Redis", &[&one, &other]).await;
    trial
        .run(async |random| {
            up_to_ms(random, CALM_MS_MAX).await;
            0
        })
        .await;
    for bank in [&one, &other] {
        assert_unharmed(bank);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_a_server_is_killed() {
    let redis = Redis::start_durable().await;
    let mut bank = bank_on(&redis).await;
    let trial = Trial::begin("kill -9 of a server", &[&bank]).await;
    trial
        .run(async |random| {
            bank.kill();
            assert_unharmed(&bank);
            up_to_ms(random, GONE_MS_MAX).await;
            bank.start_again().await;
            1
        })
        .await;
    assert_unharmed(&bank);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_conserved_when_one_of_two_servers_freezes() {
    let redis = Redis::start_durable().await;
    let (one, other) = tokio::join!(bank_on(&redis), bank_on(&redis));
    let trial = Trial::begin("SIGSTOP of one of two servers", &[&one, &other]).await;
    trial
        .run(async |random| {
            one.signal("STOP");
            outage(random).await;
            one.signal("CONT");
            1
        })
        .await;
    for bank in [&one, &other] {
        assert_unharmed(bank);
    }
}
