//! One client of several servers.

use std::{collections::BTreeSet, process::Command, time::Duration};

use bank_client::{AccountType, BankClient, Builder, Currency, Error, Money, TryStreamExt as _};
use futures::future::try_join_all;
use tokio::time::sleep;

use crate::process::{Redis, Server};

const CENT: Money = Money { currency: Currency::USD, minor_units: 1 };
const ACCOUNTS: usize = 16;
const DEPOSITS: usize = 200;

async fn client<'a>(servers: impl IntoIterator<Item = &'a Server>) -> BankClient {
    let mut servers = servers.into_iter().map(Server::endpoint);
    let first = BankClient::builder(servers.next().unwrap());
    servers.fold(first, Builder::endpoint).connect().await.unwrap()
}

async fn accounts_of(server: &Server) -> BTreeSet<String> {
    let client = BankClient::connect(server.endpoint()).await.unwrap();
    client.accounts().stream().map_ok(|account| account.account_id.to_string()).try_collect().await.unwrap()
}

/// Each of these servers has a bank of its own, which shows where calls went.
#[tokio::test]
async fn all_calls_for_accounts_of_one_route_go_to_one_server_whoever_makes_them() {
    let servers = [Server::start(), Server::start(), Server::start()];
    let one = client(&servers).await;
    let other = client(servers.iter().rev()).await;
    for number in 0..30 {
        let checking = one.create_account(format!("c{number}:checking"), AccountType::Checking);
        checking.currency(Currency::USD).await.unwrap();
        let savings = other.create_account(format!("c{number}:savings"), AccountType::Savings);
        let results = other.batch().add(savings.currency(Currency::USD)).await.unwrap();
        results.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    }
    let mut total = 0;
    for server in &servers {
        let accounts = accounts_of(server).await;
        assert!(!accounts.is_empty(), "a server gets no calls");
        total += accounts.len();
        for account in &accounts {
            let customer = account.split(':').next().unwrap();
            for kind in ["checking", "savings"] {
                assert!(accounts.contains(&format!("{customer}:{kind}")), "{customer} is on two servers");
            }
        }
    }
    assert_eq!(total, 60);
}

#[tokio::test]
async fn calls_go_on_at_another_server_when_one_is_killed_and_each_takes_effect_once() {
    let redis = Redis::start();
    let (lost, kept) = (Server::on_redis(&redis), Server::on_redis(&redis));
    let client = client([&lost, &kept]).await;
    let deposits = (0..ACCOUNTS).map(|account| {
        let client = client.clone();
        async move {
            let id = format!("a{account}");
            client.create_account(&id, AccountType::Savings).currency(Currency::USD).await?;
            for _ in 0..DEPOSITS {
                client.deposit(&id, CENT).await?;
            }
            let account = client.account(&id).await?;
            Ok::<_, Error>((account.balance.minor_units, account.version))
        }
    });
    let kill = async {
        sleep(Duration::from_millis(300)).await;
        drop(lost);
    };
    let (results, ()) = tokio::join!(try_join_all(deposits), kill);
    let expected = i64::try_from(DEPOSITS).unwrap();
    for (balance, version) in results.unwrap() {
        assert_eq!((balance, version), (expected, DEPOSITS as u64 + 1));
    }
    client.health().await.unwrap();
}

#[tokio::test]
async fn the_tool_takes_several_servers_of_which_one_may_be_down() {
    let gone = Server::start();
    let gone_url = gone.endpoint();
    drop(gone);
    let server = Server::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bank"));
    command.args(["--server", &format!("{gone_url},{}", server.endpoint()), "info"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let error = BankClient::builder(&gone_url).endpoint("http://127.0.0.1:1").connect().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let error = BankClient::builder(&gone_url).endpoint(&gone_url).connect().await.unwrap_err();
    assert!(error.to_string().ends_with("is named twice"), "{error}");
}
