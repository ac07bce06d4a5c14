//! A bank on a Redis Cluster.

use bank_client::{
    AccountType, AuditNews, BankClient, Currency, Error, Money, Rejection, Route, TryStreamExt as _,
};

use crate::support::{Bank, cluster::Cluster};

const DOLLAR: Money = Money { currency: Currency::USD, minor_units: 100 };
const CUSTOMERS: usize = 50;

#[tokio::test]
async fn accounts_are_spread_over_the_nodes_and_those_of_a_customer_change_together() {
    let cluster = Cluster::start().await;
    let bank = Bank::start(&cluster.flags().iter().map(String::as_str).collect::<Vec<_>>()).await;
    let client = BankClient::connect(bank.endpoint()).await.unwrap();

    // In one batch, over all lanes and nodes.
    let mut batch = client.batch();
    for customer in 0..CUSTOMERS {
        for kind in ["checking", "savings"] {
            let id = format!("c{customer}:{kind}");
            batch = batch
                .add(client.create_account(&id, AccountType::Checking).currency(Currency::USD).owner("o"));
            batch = batch.add(client.deposit(&id, DOLLAR));
        }
    }
    let results = batch.await.unwrap();
    results.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
    for node in cluster.nodes() {
        assert!(node.run(&["KEYS", "bank:*:account:*"]).lines().count() > 10, "a node has too few accounts");
    }

    let within = Route { from: "c1:checking", to: "c1:savings" };
    assert_eq!(client.transfer(within, DOLLAR).await.unwrap().balance.minor_units, 0);
    let atomic = client
        .batch()
        .atomic()
        .add(client.transfer(Route { from: "c1:savings", to: "c1:checking" }, DOLLAR))
        .add(client.deposit("c1:savings", DOLLAR));
    atomic.await.unwrap().into_iter().collect::<Result<Vec<_>, _>>().unwrap();

    let accounts: Vec<_> = client.accounts().owner("o").stream().try_collect().await.unwrap();
    assert_eq!(accounts.len(), 2 * CUSTOMERS);
    let total: i64 = accounts.iter().map(|account| account.balance.minor_units).sum();
    assert_eq!(total, 100 * (2 * i64::try_from(CUSTOMERS).unwrap() + 1));
    let news: Vec<_> = client.audit_accounts().stream().try_collect().await.unwrap();
    let Some(AuditNews::Summary(summary)) = news.last() else { panic!("{news:?}") };
    assert_eq!((summary.accounts_checked, summary.findings), (2 * CUSTOMERS as u64, 0));
}

#[tokio::test]
async fn what_would_change_accounts_of_several_partitions_is_rejected_and_changes_nothing() {
    let cluster = Cluster::start().await;
    let bank = Bank::start(&cluster.flags().iter().map(String::as_str).collect::<Vec<_>>()).await;
    let client = BankClient::connect(bank.endpoint()).await.unwrap();
    for id in ["alice", "bob"] {
        client.create_account(id, AccountType::Checking).currency(Currency::USD).await.unwrap();
        client.deposit(id, DOLLAR).await.unwrap();
    }
    let apart = |error: &Error| {
        let Error::AccountsNotTogether { account_id, other_account_id } = error else { panic!("{error:?}") };
        assert_eq!((account_id.as_str(), other_account_id.as_str()), ("alice", "bob"));
    };
    let transfer = || client.transfer(Route { from: "alice", to: "bob" }, DOLLAR);
    apart(&transfer().await.unwrap_err());
    apart(&transfer().validate_only().await.unwrap_err());

    let atomic = |batch: bank_client::Batch| {
        batch.atomic().add(client.deposit("alice", DOLLAR)).add(client.deposit("bob", DOLLAR))
    };
    for batch in [atomic(client.batch()), atomic(client.batch().validate_only())] {
        let results = batch.await.unwrap();
        assert!(matches!(results[0], Err(Error::BatchAborted { failed_operation: 1 })), "{results:?}");
        apart(results[1].as_ref().unwrap_err());
    }

    // The other operations of a batch are carried out.
    let batch = client
        .batch()
        .add(client.deposit("alice", DOLLAR))
        .add(transfer())
        .add(client.withdraw("bob", DOLLAR));
    let results = batch.await.unwrap();
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    apart(results[1].as_ref().unwrap_err());
    for (id, balance) in [("alice", 200), ("bob", 0)] {
        assert_eq!(client.balance(id).await.unwrap().balance.minor_units, balance);
    }
    let overdrawn = client.withdraw("bob", DOLLAR).await.unwrap_err();
    assert!(matches!(overdrawn, Error::Rejected { rejection: Rejection::InsufficientFunds { .. }, .. }));
}
