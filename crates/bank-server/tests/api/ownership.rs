//! Authorization: every method, called by callers who may, by callers without the scope, and by
//! callers who do not own the account.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, HashMap};

use bank_proto::v1::{self, operation::Kind, operation_result::Outcome};
use bank_server::auth::{
    Method, Scope,
    rules::{Accounts, OPEN_SERVICES},
};
use futures::stream;
use strum::VariantArray as _;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;

use crate::support::{
    Bank, Redis,
    api::{
        batch, checking, connect, deposit, failed, interest, of_stream, savings, status_of, transfer, usd,
        withdraw,
    },
    tokens::{ALL, CUSTOMER, Caller, Issuer},
};

/// Calls a method on an account, or on a transaction of it.
async fn call(
    caller: &mut Caller,
    method: Method,
    account_id: &str,
    transaction: &str,
) -> Result<(), Status> {
    let account_id = account_id.to_owned();
    match method {
        Method::CreateAccount => caller.create_account(savings(&account_id)).await.map(drop),
        Method::GetAccount => caller.get_account(v1::GetAccountRequest { account_id }).await.map(drop),
        Method::ListAccounts => caller.list_accounts(v1::ListAccountsRequest::default()).await.map(drop),
        Method::GetBalance => {
            caller.get_balance(v1::GetBalanceRequest { account_id, as_of: None }).await.map(drop)
        }
        Method::Deposit => caller.deposit(deposit(&account_id, 1)).await.map(drop),
        Method::Withdraw => caller.withdraw(withdraw(&account_id, 1)).await.map(drop),
        Method::Transfer => caller.transfer(transfer(&account_id, "everybody", 1)).await.map(drop),
        Method::CalculateInterest => caller.calculate_interest(interest(&account_id, "1")).await.map(drop),
        Method::ListTransactions => {
            let request = v1::ListTransactionsRequest { account_id, ..Default::default() };
            caller.list_transactions(request).await.map(drop)
        }
        Method::GetTransaction => {
            let transaction_id = format!("{account_id}/{transaction}");
            caller.get_transaction(v1::GetTransactionRequest { transaction_id }).await.map(drop)
        }
        Method::SetOverdraftLimit => {
            let request =
                v1::SetOverdraftLimitRequest { account_id, overdraft_limit: usd(7), ..Default::default() };
            caller.set_overdraft_limit(request).await.map(drop)
        }
        Method::FreezeAccount => {
            let request = v1::FreezeAccountRequest { account_id, ..Default::default() };
            caller.freeze_account(request).await.map(drop)
        }
        Method::UnfreezeAccount => {
            let request = v1::UnfreezeAccountRequest { account_id, ..Default::default() };
            caller.unfreeze_account(request).await.map(drop)
        }
        Method::CloseAccount => {
            let request = v1::CloseAccountRequest { account_id, ..Default::default() };
            caller.close_account(request).await.map(drop)
        }
        Method::GetServerInfo => caller.get_server_info(v1::GetServerInfoRequest {}).await.map(drop),
        Method::AuditAccounts => {
            let mut news = caller.audit_accounts(v1::AuditAccountsRequest { account_id }).await?.into_inner();
            while news.message().await?.is_some() {}
            Ok(())
        }
        Method::ExecuteBatch => {
            let batch = batch([Kind::Deposit(deposit(&account_id, 1))]);
            one_outcome(caller.execute_batch(batch).await?.into_inner().results)
        }
        Method::ExecuteStream => {
            let batch = of_stream(batch([Kind::Deposit(deposit(&account_id, 1))]));
            let mut replies = caller.execute_stream(stream::iter([batch])).await?.into_inner();
            one_outcome(replies.message().await?.unwrap().results)
        }
        Method::ExportBank => {
            let mut news = caller.export_bank(v1::ExportBankRequest {}).await?.into_inner();
            while news.message().await?.is_some() {}
            Ok(())
        }
        Method::ImportBank => {
            let file = futures::stream::iter([v1::ImportBankRequest { data: b"no file".to_vec() }]);
            let mut news = caller.import_bank(file).await?.into_inner();
            match news.message().await {
                // This error shows that the caller was authorized.
                Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
                other => other.map(|news| panic!("{news:?}")),
            }
        }
        Method::WatchTransactions => {
            let request = v1::WatchTransactionsRequest { account_id, ..Default::default() };
            caller.watch_transactions(request).await?.into_inner().message().await.map(drop)
        }
    }
}

/// The outcome of a batch of one operation, as its own call would have ended.
fn one_outcome(results: Vec<v1::OperationResult>) -> Result<(), Status> {
    match <[_; 1]>::try_from(results).unwrap().map(|result| result.outcome.unwrap()) {
        [Outcome::Error(error)] => Err(status_of(error)),
        [_] => Ok(()),
    }
}

/// All that a caller can see of an error, with the name of the account replaced.
fn seen(result: Result<(), Status>, account_id: &str) -> Vec<String> {
    let status = result.unwrap_err();
    let mut details = status.get_error_details();
    let info = details.error_info().unwrap().clone();
    // Its values have no order.
    let values: BTreeMap<_, _> = info.metadata.into_iter().collect();
    details.set_error_info(info.reason, info.domain, HashMap::new());
    let headers: Vec<_> = status.metadata().keys().collect();
    let length = status.details().len();
    [
        format!("{:?} {headers:?}", status.code()),
        status.message().to_owned(),
        format!("{length} {values:?} {details:?}"),
    ]
    .map(|text| text.replace(account_id, "*"))
    .to_vec()
}

/// A bank where Alice and Bob have accounts, and one account is open to everybody.
struct Town {
    issuer: Issuer,
    bank: Bank,
    alice: Caller,
    bob: Caller,
    admin: Caller,
}

impl Town {
    async fn new() -> Self {
        let issuer = Issuer::new();
        let bank = Bank::with_tokens(&issuer, &[]).await;
        Self::at(issuer, bank).await
    }

    async fn on_redis(redis: &Redis) -> Self {
        let issuer = Issuer::new();
        let bank = Bank::with_tokens_on(redis, &issuer, &[]).await;
        Self::at(issuer, bank).await
    }

    async fn at(issuer: Issuer, bank: Bank) -> Self {
        let mut alice = issuer.caller(&bank.endpoint(), "alice", CUSTOMER).await;
        let mut bob = issuer.caller(&bank.endpoint(), "bob", CUSTOMER).await;
        let mut admin = issuer.caller(&bank.endpoint(), "admin", ALL).await;
        for (caller, account_id) in [(&mut alice, "alice1"), (&mut bob, "bob-no1"), (&mut admin, "everybody")]
        {
            caller.create_account(savings(account_id)).await.unwrap();
        }
        alice.deposit(deposit("alice1", 100)).await.unwrap();
        bob.deposit(deposit("bob-no1", 100)).await.unwrap();
        Self { issuer, bank, alice, bob, admin }
    }

    async fn caller(&self, subject: &str, scope: &str) -> Caller {
        self.issuer.caller(&self.bank.endpoint(), subject, scope).await
    }

    /// Time and sequence of the entry that opened an account.
    async fn opening(&mut self, account_id: &str) -> String {
        let request = v1::ListTransactionsRequest {
            account_id: account_id.to_owned(),
            order: v1::ListOrder::OldestFirst.into(),
            page_size: 1,
            ..Default::default()
        };
        let mut entries = self.admin.list_transactions(request).await.unwrap().into_inner().entries;
        let id = entries.remove(0).transaction_id;
        id.split_once('/').unwrap().1.to_owned()
    }
}

async fn somebody_elses_account_is_as_one_that_does_not_exist(mut town: Town) {
    let opening = town.opening("bob-no1").await;
    let mut snoop = town.caller("alice", CUSTOMER).await;
    let mut concealed = 0;
    for &method in Method::ALL {
        let of_bob = call(&mut snoop, method, "bob-no1", &opening).await;
        match method.rule().accounts {
            Accounts::Own | Accounts::OwnToAny | Accounts::Each => {
                let absent = call(&mut snoop, method, "nobody1", &opening).await;
                let (of_bob, absent) = (seen(of_bob, "bob-no1"), seen(absent, "nobody1"));
                // After the first reply of a stream, the status comes in trailers; that of an operation has none.
                let headers = match method {
                    Method::WatchTransactions | Method::ExecuteBatch | Method::ExecuteStream => "",
                    _ => r#"Ascii("content-type")"#,
                };
                assert_eq!(of_bob[0], format!("NotFound [{headers}]"), "{method:?}");
                assert_eq!(of_bob, absent, "{method:?}");
                concealed += 1;
            }
            Accounts::All => assert_eq!(of_bob.unwrap_err().code(), Code::PermissionDenied, "{method:?}"),
            Accounts::Opened => assert_eq!(of_bob.unwrap_err().code(), Code::AlreadyExists, "{method:?}"),
            Accounts::Listed | Accounts::Unnamed => of_bob.unwrap(),
        }
    }
    assert_eq!(concealed, 10);

    // Nor in any other way: not by a dry run, a past time, or a repeated request id.
    let past = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let future = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let mut both = Vec::new();
    for account_id in ["bob-no1", "nobody1"] {
        let id = account_id.to_owned();
        let check = v1::WithdrawRequest { validate_only: true, ..withdraw(account_id, 1) };
        let pay = v1::TransferRequest { validate_only: true, ..transfer(account_id, "alice1", 1) };
        let named = v1::DepositRequest { request_id: "r".to_owned(), ..deposit(account_id, 1) };
        let other = v1::DepositRequest { amount: usd(2), ..named.clone() };
        let too_much = withdraw(account_id, 1 << 53);
        let euros =
            v1::DepositRequest { amount: crate::support::api::money("EUR", 1), ..deposit(account_id, 1) };
        let at = |as_of| v1::GetBalanceRequest { account_id: id.clone(), as_of };
        let none =
            v1::ListTransactionsRequest { account_id: id.clone(), end_time: past, ..Default::default() };
        both.push([
            seen(snoop.withdraw(check).await.map(drop), account_id),
            seen(snoop.transfer(pay).await.map(drop), account_id),
            seen(snoop.deposit(named.clone()).await.map(drop), account_id),
            seen(snoop.deposit(named).await.map(drop), account_id),
            seen(snoop.deposit(other).await.map(drop), account_id),
            seen(snoop.withdraw(too_much).await.map(drop), account_id),
            seen(snoop.deposit(euros).await.map(drop), account_id),
            seen(snoop.get_balance(at(past)).await.map(drop), account_id),
            seen(snoop.get_balance(at(future)).await.map(drop), account_id),
            seen(snoop.list_transactions(none).await.map(drop), account_id),
        ]);
    }
    assert_eq!(both[0], both[1]);

    let request = v1::GetBalanceRequest { account_id: "bob-no1".to_owned(), as_of: None };
    assert_eq!(town.bob.get_balance(request).await.unwrap().into_inner().balance, usd(100));
    let history = v1::ListTransactionsRequest { account_id: "bob-no1".to_owned(), ..Default::default() };
    assert_eq!(town.bob.list_transactions(history).await.unwrap().into_inner().entries.len(), 2);
}

#[tokio::test]
async fn a_foreign_account_looks_nonexistent_in_memory() {
    somebody_elses_account_is_as_one_that_does_not_exist(Town::new().await).await;
}

#[tokio::test]
async fn a_foreign_account_looks_nonexistent_on_redis() {
    let redis = Redis::start().await;
    somebody_elses_account_is_as_one_that_does_not_exist(Town::on_redis(&redis).await).await;
}

#[tokio::test]
async fn every_method_needs_exactly_its_scope() {
    let mut town = Town::new().await;
    let opening = town.opening("bob-no1").await;
    for &method in Method::ALL {
        // An operation of a batch needs the scope of its own method: that of a deposit here.
        let own = method.rule().scope.is_some();
        let needed = method.rule().scope.unwrap_or(Scope::Write);
        for &scope in Scope::VARIANTS {
            let others: Vec<_> =
                Scope::VARIANTS.iter().filter(|other| **other != scope).map(Scope::to_string).collect();
            // Bob owns the account, so only the scope is missing.
            let mut caller = town.caller("bob", &others.join(" ")).await;
            let result = call(&mut caller, method, "bob-no1", &opening).await;
            if scope == needed {
                let error = failed(result);
                assert_eq!(
                    (error.code, &*error.reason),
                    (Code::PermissionDenied, "SCOPE_MISSING"),
                    "{method:?}"
                );
                assert_eq!(error.metadata["scope"], scope.to_string());
                let asked = if own { method } else { Method::Deposit };
                assert_eq!(error.message, format!("{} needs the scope {scope}", asked.name()));
            } else if let Err(status) = result {
                assert_ne!(status.code(), Code::PermissionDenied, "{method:?} without {scope}: {status:?}");
            }
        }
        let mut nobody = town.caller("bob", "").await;
        let status = call(&mut nobody, method, "bob-no1", &opening).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{method:?}");
    }
}

#[tokio::test]
async fn administrators_reach_every_account() {
    let mut town = Town::new().await;
    let opening = town.opening("bob-no1").await;
    let mut bob = town.caller("bob", CUSTOMER).await;
    bob.create_account(checking("bob-no2", 0)).await.unwrap();
    for &method in Method::ALL {
        let account_id = match method {
            Method::CreateAccount => "new",
            Method::SetOverdraftLimit => "bob-no2",
            Method::CloseAccount => "empty",
            _ => "bob-no1",
        };
        if method == Method::CloseAccount {
            bob.create_account(savings("empty")).await.unwrap();
        }
        call(&mut town.admin, method, account_id, &opening)
            .await
            .unwrap_or_else(|status| panic!("{method:?} {status:?}"));
    }
}

#[tokio::test]
async fn anybody_may_pay_into_an_account_and_learns_nothing_about_it() {
    let mut town = Town::new().await;
    let paid = town.alice.transfer(transfer("alice1", "bob-no1", 30)).await.unwrap().into_inner();
    assert_eq!((paid.account_id.as_str(), paid.balance), ("alice1", usd(70)));
    let entry = paid.entry.unwrap();
    assert_eq!((entry.account_id.as_str(), entry.balance_after), ("alice1", usd(70)));
    let transaction = || v1::GetTransactionRequest { transaction_id: entry.transaction_id.clone() };
    for (caller, sees) in [
        (&mut town.alice, vec![("alice1", usd(70))]),
        (&mut town.bob, vec![("bob-no1", usd(130))]),
        (&mut town.admin, vec![("alice1", usd(70)), ("bob-no1", usd(130))]),
    ] {
        let found = caller.get_transaction(transaction()).await.unwrap().into_inner().transaction.unwrap();
        let entries: Vec<_> = found
            .entries
            .iter()
            .map(|entry| (entry.account_id.as_str(), entry.balance_after.clone()))
            .collect();
        assert_eq!(entries, sees);
    }
    let mut carol = town.caller("carol", CUSTOMER).await;
    let error = failed(carol.get_transaction(transaction()).await);
    assert_eq!((error.code, &*error.reason), (Code::NotFound, "TRANSACTION_NOT_FOUND"));

    // Only by transfer, and only from an own account.
    let error = failed(town.alice.deposit(deposit("bob-no1", 1)).await);
    assert_eq!((error.code, &*error.reason), (Code::NotFound, "ACCOUNT_NOT_FOUND"));
    let error = failed(town.alice.transfer(transfer("bob-no1", "alice1", 1)).await);
    assert_eq!((error.code, &*error.metadata["account_id"]), (Code::NotFound, "bob-no1"));

    // A frozen account accepts money; a closed one looks nonexistent.
    town.bob.create_account(savings("bob-no2")).await.unwrap();
    let freeze = v1::FreezeAccountRequest { account_id: "bob-no1".to_owned(), ..Default::default() };
    town.admin.freeze_account(freeze).await.unwrap();
    town.alice.transfer(transfer("alice1", "bob-no1", 1)).await.unwrap();
    let close = v1::CloseAccountRequest { account_id: "bob-no2".to_owned(), ..Default::default() };
    town.admin.close_account(close).await.unwrap();
    let closed = seen(town.alice.transfer(transfer("alice1", "bob-no2", 1)).await.map(drop), "bob-no2");
    let absent = seen(town.alice.transfer(transfer("alice1", "nobody1", 1)).await.map(drop), "nobody1");
    assert_eq!(closed, absent);
    let error = failed(town.admin.transfer(transfer("alice1", "bob-no2", 1)).await);
    assert_eq!(error.reason, "ACCOUNT_CLOSED", "administrators learn it");
}

#[tokio::test]
async fn an_account_belongs_to_its_creator_unless_an_administrator_names_another() {
    let mut town = Town::new().await;
    let owned_by = |account_id: &str, owner: &str| v1::CreateAccountRequest {
        owner: owner.to_owned(),
        ..savings(account_id)
    };
    let created = town.alice.create_account(savings("a2")).await.unwrap().into_inner();
    assert_eq!(created.account.unwrap().owner, "alice");
    let created = town.alice.create_account(owned_by("a3", "alice")).await.unwrap().into_inner();
    assert_eq!(created.account.unwrap().owner, "alice");
    for request in [owned_by("a4", "bob"), checking("a4", 1)] {
        let error = failed(town.alice.create_account(request).await);
        assert_eq!((error.code, &*error.reason), (Code::PermissionDenied, "SCOPE_MISSING"), "{error:?}");
        assert_eq!(error.metadata["scope"], "bank.admin");
    }
    town.admin.create_account(owned_by("b3", "bob")).await.unwrap();
    town.bob.deposit(deposit("b3", 1)).await.unwrap();

    let list = |owner: &str| v1::ListAccountsRequest { owner: owner.to_owned(), ..Default::default() };
    let ids = |response: v1::ListAccountsResponse| {
        let mut ids: Vec<_> = response.accounts.into_iter().map(|account| account.account_id).collect();
        ids.sort();
        ids
    };
    for owner in ["", "alice"] {
        let listed = town.alice.list_accounts(list(owner)).await.unwrap().into_inner();
        assert_eq!(ids(listed), ["a2", "a3", "alice1"]);
    }
    let error = failed(town.alice.list_accounts(list("bob")).await);
    assert_eq!((error.code, &*error.metadata["scope"]), (Code::PermissionDenied, "bank.admin"));
    assert_eq!(ids(town.admin.list_accounts(list("bob")).await.unwrap().into_inner()), ["b3", "bob-no1"]);
    let all = town.admin.list_accounts(list("")).await.unwrap().into_inner();
    assert_eq!(ids(all), ["a2", "a3", "alice1", "b3", "bob-no1", "everybody"]);
    // Also page by page, and with a page token that was made for a caller who sees more.
    let page = |page_token| v1::ListAccountsRequest { page_size: 1, page_token, ..Default::default() };
    let first = town.admin.list_accounts(page(String::new())).await.unwrap().into_inner();
    let mut page_token = first.next_page_token;
    assert!(!page_token.is_empty());
    while !page_token.is_empty() {
        let found = town.alice.list_accounts(page(page_token)).await.unwrap().into_inner();
        assert!(found.accounts.iter().all(|account| account.owner == "alice"));
        page_token = found.next_page_token;
    }
}

#[tokio::test]
async fn a_request_id_is_only_valid_for_its_caller() {
    let mut town = Town::new().await;
    let pay =
        |minor_units| v1::DepositRequest { request_id: "r".to_owned(), ..deposit("bob-no1", minor_units) };
    let first = town.bob.deposit(pay(1)).await.unwrap().into_inner();
    // Neither the reply to another caller's request, nor a hint that there was one.
    let by_admin = town.admin.deposit(pay(1)).await.unwrap().into_inner();
    assert!(!by_admin.replayed);
    assert_ne!(by_admin.entry, first.entry);
    let error = failed(town.alice.deposit(pay(2)).await);
    assert_eq!(error.reason, "ACCOUNT_NOT_FOUND");
    assert_eq!(failed(town.admin.deposit(pay(2)).await).reason, "REQUEST_ID_REUSED");
    let again = town.bob.deposit(pay(1)).await.unwrap().into_inner();
    assert!(again.replayed);
    assert_eq!(again.entry, first.entry);
}

#[tokio::test]
async fn every_service_has_an_authorization_rule() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let channel = tonic::transport::Endpoint::from_shared(bank.endpoint()).unwrap().connect().await.unwrap();
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut replies = ServerReflectionClient::new(channel)
        .server_reflection_info(futures::stream::iter([list]))
        .await
        .unwrap()
        .into_inner();
    let reply = replies.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = reply.message_response else { panic!() };
    for service in listed.service {
        let known = OPEN_SERVICES.contains(&&*service.name) || service.name == "bank.v1.BankService";
        assert!(known, "{} is in no table of auth/rules.rs", service.name);
    }
    let mut nobody = connect(&bank.endpoint()).await;
    let status = nobody.get_account(v1::GetAccountRequest { account_id: "a".to_owned() }).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_caller_without_the_scope_learns_nothing_else() {
    let issuer = Issuer::new();
    let bank = Bank::with_tokens(&issuer, &[]).await;
    let mut nobody = issuer.caller(&bank.endpoint(), "nobody", "").await;
    // Only callers with the scope learn what is wrong with the message.
    let error = failed(nobody.deposit(v1::DepositRequest::default()).await);
    assert_eq!((error.code, &*error.reason), (Code::PermissionDenied, "SCOPE_MISSING"));
    assert!(error.details.bad_request().is_none());
}
