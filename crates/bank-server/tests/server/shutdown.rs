//! SIGTERM under load: every acknowledged operation is stored after a restart.

use std::collections::HashSet;

use bank_proto::v1;
use tokio::{sync::watch, task::JoinSet};

use crate::support::{
    Bank, Redis,
    api::{assert_sound, connect, deposit, history, savings},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_acknowledged_writes_across_sigterm_and_restart() {
    let redis = Redis::start().await;
    let bank = Bank::on_redis(&redis).await;
    connect(&bank.endpoint()).await.create_account(savings("a")).await.unwrap();

    let mut tasks = JoinSet::new();
    let (all, mut counted) = watch::channel(0);
    for task in 0..32 {
        let (endpoint, all) = (bank.endpoint(), all.clone());
        tasks.spawn(async move {
            let mut client = connect(&endpoint).await;
            let mut acknowledged = Vec::new();
            for number in 0.. {
                let request_id = format!("{task}-{number}");
                let request = v1::DepositRequest { request_id: request_id.clone(), ..deposit("a", 1) };
                match client.deposit(request).await {
                    Ok(_) => {
                        acknowledged.push(request_id);
                        all.send_modify(|all| *all += 1);
                    }
                    Err(_) => break,
                }
            }
            acknowledged
        });
    }
    counted.wait_for(|acknowledged| *acknowledged > 200).await.unwrap();
    let exit = bank.terminate().await;
    assert!(exit.success(), "everything in flight was finished: {exit:?}");
    let acknowledged: Vec<String> = tasks.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > 200, "there was load: {}", acknowledged.len());

    let bank = Bank::on_redis(&redis).await;
    let entries = history(&mut connect(&bank.endpoint()).await, "a").await;
    assert_sound(&entries);
    let found: Vec<_> = entries.into_iter().skip(1).map(|entry| entry.request_id).collect();
    let distinct: HashSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len(), "nothing is there twice");
    for request_id in &acknowledged {
        assert!(distinct.contains(request_id), "{request_id} was acknowledged and is lost");
    }
}
