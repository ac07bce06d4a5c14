//! What watches report while connections break and servers restart.

use std::{slice, time::Duration};

use bank_client::{BankClient, Route};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{task::JoinSet, time::sleep};

use super::{
    SOON, cents, client,
    follower::Follower,
    open,
    proxy::{Proxy, Towards},
};
use crate::support::{Bank, Redis};

const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];
const WRITERS: usize = 4;
const MOVEMENTS: usize = 60;
const ROUNDS: usize = 6;

fn random(test: &str) -> StdRng {
    let seed = std::env::var("BANK_TEST_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{test}: BANK_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Concurrent clients that move money among the accounts, each through one of the servers, and open
/// accounts of their own. The replies do not matter here, only what is stored in the end.
fn writers(banks: &[BankClient], random: &mut StdRng) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let bank = banks[number % banks.len()].clone();
        let mut random = StdRng::seed_from_u64(random.random());
        writers.spawn(async move {
            for movement in 0..MOVEMENTS {
                let from = random.random_range(0..ACCOUNTS.len());
                let to = (from + random.random_range(1..ACCOUNTS.len())) % ACCOUNTS.len();
                let amount = cents(random.random_range(1..100));
                let _ = match random.random_range(0..3) {
                    0 => bank.deposit(ACCOUNTS[from], amount).await,
                    1 => bank.withdraw(ACCOUNTS[from], amount).await,
                    _ => bank.transfer(Route { from: ACCOUNTS[from], to: ACCOUNTS[to] }, amount).await,
                };
                if movement % 20 == 10 {
                    open(&bank, &format!("new-{number}-{movement}")).await;
                }
                sleep(Duration::from_millis(random.random_range(0..30))).await;
            }
        });
    }
    writers
}

async fn opened(bank: &BankClient) {
    for account_id in ACCOUNTS {
        open(bank, account_id).await;
    }
}

/// All accounts, also those that the writers opened.
fn all_accounts() -> Vec<String> {
    let new = (0..WRITERS).flat_map(|number| [10, 30, 50].map(|movement| format!("new-{number}-{movement}")));
    ACCOUNTS.iter().map(ToString::to_string).chain(new).collect()
}

async fn reports_all(follower: &Follower, bank: &BankClient) {
    let accounts = all_accounts();
    follower.reports_all_of(bank, &accounts.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_over_breaking_connections_has_no_gap_and_no_repetition() {
    let mut random = random("connections");
    let bank = Bank::memory_with(&SOON).await;
    let proxy = Proxy::start(format!("127.0.0.1:{}", bank.port())).await;
    let direct = client(&bank.endpoint());
    opened(&direct).await;
    let through = client(&proxy.url().replace("redis:", "http:"));
    let all = Follower::of(through.watch_all().from_start());
    let one = Follower::of(through.watch("a").from_start());
    let mut writers = writers(slice::from_ref(&direct), &mut random);
    let mut fault = 0;
    while !writers.is_empty() {
        match fault % 4 {
            0 => proxy.reset(),
            1 => proxy.cut_after(Towards::Store, random.random_range(0..5_000)),
            2 => proxy.cut_after(Towards::Redis, random.random_range(0..500)),
            _ if proxy.has_cut() => proxy.stall(),
            _ => {
                proxy.hold();
                sleep(Duration::from_millis(random.random_range(0..200))).await;
                proxy.release();
            }
        }
        fault += 1;
        sleep(Duration::from_millis(random.random_range(0..200))).await;
        while writers.try_join_next().is_some() {}
    }
    reports_all(&all, &direct).await;
    one.reports_all_of(&direct, &["a"]).await;
    assert!(all.interruptions() > 2 && one.interruptions() > 2, "it was never broken off");
}

/// A watched server is killed again and again, while another one writes as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_over_killed_servers_has_no_gap_and_no_repetition() {
    let mut random = random("servers");
    let redis = Redis::start_durable().await;
    let (mut watched, other) = tokio::join!(Bank::on_redis_with(&redis, &SOON), Bank::on_redis(&redis));
    let banks = [client(&watched.endpoint()), client(&other.endpoint())];
    opened(&banks[1]).await;
    let all = Follower::of(banks[0].watch_all().from_start());
    let one = Follower::of(banks[0].watch("b").from_start());
    all.has_started().await;
    one.has_started().await;
    let mut writers = writers(&banks, &mut random);
    for round in 0..ROUNDS {
        sleep(Duration::from_millis(random.random_range(0..300))).await;
        if round % 2 == 0 {
            watched.kill();
        } else {
            assert!(watched.terminate().await.success());
        }
        sleep(Duration::from_millis(random.random_range(0..300))).await;
        watched.start_again().await;
    }
    while writers.join_next().await.is_some() {}
    reports_all(&all, &banks[1]).await;
    one.reports_all_of(&banks[1], &["b"]).await;
    assert!(all.interruptions() >= ROUNDS && one.interruptions() >= ROUNDS);
}

/// A server reports what another server has written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_what_another_server_on_the_same_redis_writes() {
    let redis = Redis::start().await;
    let (one, other) = tokio::join!(Bank::on_redis_with(&redis, &SOON), Bank::on_redis_with(&redis, &SOON));
    let (one, other) = (client(&one.endpoint()), client(&other.endpoint()));
    open(&one, "a").await;
    let followers = [&one, &other].map(|bank| Follower::of(bank.watch("a").from_start()));
    for _ in 0..10 {
        one.deposit("a", cents(1)).await.unwrap();
        other.deposit("a", cents(1)).await.unwrap();
    }
    for follower in followers {
        follower.reports_all_of(&one, &["a"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_of_the_embedded_store_resumes_after_restarts() {
    let mut random = random("file");
    let directory = tempfile::tempdir().unwrap();
    let mut server = Bank::on_file_with(&directory.path().join("bank.redb"), &SOON).await;
    let bank = client(&server.endpoint());
    opened(&bank).await;
    let all = Follower::of(bank.watch_all().from_start());
    all.has_started().await;
    let mut writers = writers(slice::from_ref(&bank), &mut random);
    for round in 0..ROUNDS {
        sleep(Duration::from_millis(random.random_range(0..300))).await;
        if round % 2 == 0 {
            server.kill();
        } else {
            assert!(server.terminate().await.success());
        }
        server.start_again().await;
    }
    while writers.join_next().await.is_some() {}
    reports_all(&all, &bank).await;
}

/// A resume token is valid in another process, and after a restart of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resume_token_continues_where_its_watch_ended() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Bank::on_file_with(&directory.path().join("bank.redb"), &SOON).await;
    let bank = client(&server.endpoint());
    opened(&bank).await;
    let mut token = Follower::of(bank.watch_all()).end().await;
    for round in 0..4 {
        open(&bank, &format!("new-{round}")).await;
        let before = bank.account("a").await.unwrap().version;
        for _ in 0..3 {
            bank.deposit("a", cents(1)).await.unwrap();
        }
        if round % 2 == 0 {
            assert!(server.terminate().await.success());
            server.start_again().await;
        }
        let follower = Follower::of(client(&server.endpoint()).watch_all().resume_token(token));
        follower.has_reported("a", before + 3).await;
        follower.has_reported(&format!("new-{round}"), 1).await;
        let sequences: Vec<_> = follower.entries("a").iter().map(|entry| entry.sequence).collect();
        assert_eq!(sequences, [before + 1, before + 2, before + 3]);
        for old in 0..round {
            assert!(follower.entries(&format!("new-{old}")).is_empty());
        }
        token = follower.end().await;
    }
}
