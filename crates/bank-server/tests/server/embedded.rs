//! Real servers on the embedded store: killed, two on one file, and on files that are damaged or missing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use bank_proto::v1;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{
    Bank, Process,
    api::{Client, assert_sound, balance, connect, deposit, failed, history, savings},
};

const CLIENTS: usize = 8;
const KILLS: usize = 5;
const NOT_CLOSED: &str = "checking a file that was not closed in order";

/// A path for a file, in its own directory.
struct File(#[expect(dead_code, reason = "it is removed when this is dropped")] TempDir, PathBuf);

impl File {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bank.redb");
        Self(directory, path)
    }

    fn path(&self) -> &Path {
        &self.1
    }

    fn flag(&self) -> [&str; 2] {
        ["--data", self.1.to_str().unwrap()]
    }

    /// Checks the file: the exit code and the output.
    async fn check(&self) -> (i32, String) {
        ends(&[&self.flag()[..], &["--check-store"]].concat()).await
    }
}

/// Runs a server until it exits: the exit code and the output.
async fn ends(flags: &[&str]) -> (i32, String) {
    let process = Process::start(flags);
    let code = process.wait_exit().await.code().unwrap();
    (code, process.log() + &process.errors())
}

fn numbered(request_id: &str) -> v1::DepositRequest {
    v1::DepositRequest { request_id: request_id.to_owned(), ..deposit("a", 1) }
}

/// Deposits until the server is killed: the acknowledged requests, and the one with an unknown outcome.
async fn deposit_until_killed(
    mut client: Client,
    name: String,
    all: watch::Sender<usize>,
) -> (Vec<String>, String) {
    let mut acknowledged = Vec::new();
    loop {
        let request_id = format!("{name}-{}", acknowledged.len());
        match client.deposit(numbered(&request_id)).await {
            Ok(_) => {
                acknowledged.push(request_id);
                all.send_modify(|all| *all += 1);
            }
            Err(_) => return (acknowledged, request_id),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_no_acknowledged_write_when_killed_under_load() {
    let file = File::new();
    let mut expected = 0;
    for kill in 0..=KILLS {
        let bank = Bank::on_file(file.path()).await;
        let mut client = connect(&bank.endpoint()).await;
        if kill == 0 {
            client.create_account(savings("a")).await.unwrap();
        } else {
            assert!(bank.log().contains(NOT_CLOSED), "it was killed");
        }
        assert_eq!(balance(&mut client, "a").await, expected);

        let mut clients = JoinSet::new();
        let (all, mut counted) = watch::channel(0);
        for number in 0..CLIENTS {
            let client = connect(&bank.endpoint()).await;
            clients.spawn(deposit_until_killed(client, format!("{kill}-{number}"), all.clone()));
        }
        counted.wait_for(|acknowledged| *acknowledged > 3 * CLIENTS).await.unwrap();
        bank.kill();
        let outcomes = clients.join_all().await;

        let bank = Bank::on_file(file.path()).await;
        let mut client = connect(&bank.endpoint()).await;
        let acknowledged: Vec<_> = outcomes.iter().flat_map(|(acknowledged, _)| acknowledged).collect();
        for request_id in &acknowledged {
            let again = client.deposit(numbered(request_id)).await.unwrap().into_inner();
            assert!(again.replayed, "{request_id} was acknowledged and is lost");
        }
        for (_, unknown) in &outcomes {
            client.deposit(numbered(unknown)).await.unwrap();
        }
        let entries = history(&mut client, "a").await;
        assert_sound(&entries);
        expected += i64::try_from(acknowledged.len() + outcomes.len()).unwrap();
        assert_eq!(i64::try_from(entries.len()), Ok(expected + 1), "each is there once");
        bank.kill();
    }
    let (code, said) = file.check().await;
    assert!(code == 0 && said.contains(&format!("1 accounts with {} entries", expected + 1)), "{said}");
}

#[tokio::test]
async fn opens_a_cleanly_closed_file_at_once() {
    let file = File::new();
    for balance_before in [0, 5] {
        let bank = Bank::on_file(file.path()).await;
        assert!(!bank.log().contains(NOT_CLOSED), "{}", bank.log());
        let mut client = connect(&bank.endpoint()).await;
        if balance_before == 0 {
            client.create_account(savings("a")).await.unwrap();
        }
        assert_eq!(balance(&mut client, "a").await, balance_before);
        client.deposit(deposit("a", 5)).await.unwrap();
        assert!(bank.terminate().await.success());
    }
}

#[tokio::test]
async fn a_second_server_cannot_open_the_file() {
    let file = File::new();
    let bank = Bank::on_file(file.path()).await;
    for flags in [&file.flag()[..], &[&file.flag()[..], &["--check-store"]].concat()] {
        let (code, said) = ends(flags).await;
        assert_eq!(code, 1);
        assert!(said.contains("bank.redb is open in another bank-server"), "{said}");
    }
    connect(&bank.endpoint()).await.create_account(savings("a")).await.unwrap();
    bank.kill();
    Bank::on_file(file.path()).await;
}

#[tokio::test]
async fn reports_a_damaged_or_foreign_file() {
    let file = File::new();
    let bank = Bank::on_file(file.path()).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    client.deposit(deposit("a", 5)).await.unwrap();
    assert!(bank.terminate().await.success());
    let sound = fs::read(file.path()).unwrap();
    let (code, said) = file.check().await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 accounts with 2 entries, and 2 records of requests"), "{said}");
    assert!(said.ends_with("everything is in order\n"), "{said}");

    // The pages, but not the header.
    let mut damaged = sound.clone();
    damaged[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(file.path(), &damaged).unwrap();
    let (code, said) = file.check().await;
    assert!(code == 1 && said.contains("damaged") && said.contains("backup"), "{code}: {said}");

    for (content, expected) in [(&damaged[..], "damaged"), (b"a letter", "is not a file of a bank")] {
        fs::write(file.path(), content).unwrap();
        let (code, said) = ends(&file.flag()).await;
        assert!(code == 1 && said.contains(expected), "{code}: {said}");
    }
    let (code, said) = ends(&["--data", "/sys/bank/bank.redb"]).await;
    assert!(code == 1 && said.contains("cannot be used") && said.contains("store.embedded.path"), "{said}");
    let (code, said) = ends(&["--store", "memory", "--check-store"]).await;
    assert!(code == 1 && said.contains("only the embedded store can be checked"), "{said}");

    fs::write(file.path(), &sound).unwrap();
    let bank = Bank::on_file(file.path()).await;
    assert_eq!(balance(&mut connect(&bank.endpoint()).await, "a").await, 5);
}

#[tokio::test]
async fn serves_again_by_itself_once_it_can_write() {
    let file = File::new();
    let bank = Bank::on_file_with(file.path(), &["--set", "health.poll_interval_ms=20"]).await;
    let mut client = connect(&bank.endpoint()).await;
    client.create_account(savings("a")).await.unwrap();
    let channel = Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let request = HealthCheckRequest { service: "bank.v1.BankService".to_owned() };
    let mut states = health.watch(request).await.unwrap().into_inner();
    let mut next = async || states.message().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);

    let aside = file.path().with_extension("aside");
    fs::rename(file.path(), &aside).unwrap();
    assert_eq!(next().await, ServingStatus::NotServing);
    let refused = failed(client.deposit(deposit("a", 5)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert_eq!(balance(&mut client, "a").await, 0);
    let line = bank.logged("the store is unavailable").await;
    assert!(line["reason"].as_str().unwrap().contains("put that one back"), "{line}");

    fs::rename(&aside, file.path()).unwrap();
    assert_eq!(next().await, ServingStatus::Serving);
    client.deposit(deposit("a", 5)).await.unwrap();
}
