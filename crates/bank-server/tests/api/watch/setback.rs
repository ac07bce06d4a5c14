//! A store that has gone back to an earlier state.

use std::{path::Path, process::Command, time::Duration};

use bank_client::{Error, StreamExt as _};

use super::{ENTRY_LOST, SOON, cents, client, follower::Follower, open};
use crate::support::{Bank, Redis};

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[tokio::test]
async fn a_watch_ends_with_an_error_if_reported_entries_are_lost() {
    let mut redis = Redis::start_durable().await;
    let bank = Bank::on_redis_with(&redis, &SOON).await;
    let client = client(&bank.endpoint());
    for account_id in ["a", "b"] {
        open(&client, account_id).await;
        client.deposit(account_id, cents(1)).await.unwrap();
    }
    let unharmed = Follower::of(client.watch("b").from_start());
    unharmed.has_reported("b", 2).await;

    // Redis comes back without its last write.
    let (files, kept) = (redis.directory().join("appendonlydir"), redis.directory().join("kept"));
    redis.kill();
    copy(&files, &kept);
    redis.restart().await;
    let lost = client.deposit("a", cents(2)).timeout(Duration::from_secs(30)).await.unwrap().entry;
    let mut tokens = Vec::new();
    for call in [client.watch("a"), client.watch_all()] {
        let follower = Follower::of(call.from_start());
        follower.has_reported("a", lost.sequence).await;
        tokens.push(follower.end().await);
    }
    redis.kill();
    copy(&kept, &files);
    redis.restart().await;

    // Before and after another entry has its sequence.
    for round in 0..2 {
        for (call, token) in [client.watch("a"), client.watch_all()].into_iter().zip(&tokens) {
            let mut news = call.resume_token(token.clone()).stream();
            let error = loop {
                match news.next().await.unwrap() {
                    Ok(news) => assert!(news.entries.is_empty(), "{news:?}"),
                    Err(error) => break error,
                }
            };
            let Error::EntriesLost { account_id, sequence, .. } = &error else {
                panic!("{round}: {error:?}")
            };
            assert_eq!((account_id.as_str(), *sequence), ("a", lost.sequence), "{error}");
        }
        client.deposit("a", cents(3)).timeout(Duration::from_secs(30)).await.unwrap();
    }
    client.deposit("b", cents(4)).await.unwrap();
    unharmed.reports_all_of(&client, &["b"]).await;
    assert_eq!(bank.logged(ENTRY_LOST).await["level"], "WARN");
}
