//! The API as tests call it: the generated stub, short requests, and errors taken apart.

use std::collections::HashMap;

use bank_proto::v1::{self, bank_service_client::BankServiceClient, operation::Kind};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::{ErrorDetails, StatusExt as _};

pub type Client = BankServiceClient<Channel>;

/// A stub on a new connection.
pub async fn connect(endpoint: &str) -> Client {
    let channel = Endpoint::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap();
    BankServiceClient::new(channel)
}

pub fn usd(minor_units: i64) -> Option<v1::Money> {
    money("USD", minor_units)
}

pub fn money(currency_code: &str, minor_units: i64) -> Option<v1::Money> {
    Some(v1::Money { currency_code: currency_code.to_owned(), minor_units })
}

pub fn savings(account_id: &str) -> v1::CreateAccountRequest {
    v1::CreateAccountRequest {
        account_id: account_id.to_owned(),
        account_type: v1::AccountType::Savings.into(),
        ..Default::default()
    }
}

pub fn checking(account_id: &str, overdraft_limit: i64) -> v1::CreateAccountRequest {
    v1::CreateAccountRequest {
        account_type: v1::AccountType::Checking.into(),
        overdraft_limit: usd(overdraft_limit),
        ..savings(account_id)
    }
}

pub fn deposit(account_id: &str, minor_units: i64) -> v1::DepositRequest {
    v1::DepositRequest { account_id: account_id.to_owned(), amount: usd(minor_units), ..Default::default() }
}

pub fn withdraw(account_id: &str, minor_units: i64) -> v1::WithdrawRequest {
    v1::WithdrawRequest { account_id: account_id.to_owned(), amount: usd(minor_units), ..Default::default() }
}

pub fn transfer(from: &str, to: &str, minor_units: i64) -> v1::TransferRequest {
    v1::TransferRequest {
        account_id: from.to_owned(),
        destination_account_id: to.to_owned(),
        amount: usd(minor_units),
        ..Default::default()
    }
}

pub fn batch(operations: impl IntoIterator<Item = Kind>) -> v1::ExecuteBatchRequest {
    let operations = operations.into_iter().map(|kind| v1::Operation { kind: Some(kind) });
    v1::ExecuteBatchRequest { operations: operations.collect(), ..Default::default() }
}

/// The same as a message of a stream.
pub fn of_stream(batch: v1::ExecuteBatchRequest) -> v1::ExecuteStreamRequest {
    let v1::ExecuteBatchRequest { operations, atomic, receipts_only, validate_only } = batch;
    v1::ExecuteStreamRequest { operations, atomic, receipts_only, validate_only }
}

/// The error of an operation, as its own call would have ended with.
pub fn status_of(error: v1::OperationError) -> Status {
    let details = prost::Message::encode_to_vec(&error);
    Status::with_details(error.code.into(), error.message, details.into())
}

pub fn interest(account_id: &str, rate: &str) -> v1::CalculateInterestRequest {
    v1::CalculateInterestRequest {
        account_id: account_id.to_owned(),
        annual_interest_rate: rate.to_owned(),
        ..Default::default()
    }
}

/// The balance in minor units.
pub async fn balance(client: &mut Client, account_id: &str) -> i64 {
    let request = v1::GetBalanceRequest { account_id: account_id.to_owned(), as_of: None };
    client.get_balance(request).await.unwrap().into_inner().balance.unwrap().minor_units
}

/// The whole history, oldest first, page by page.
pub async fn history(client: &mut Client, account_id: &str) -> Vec<v1::Entry> {
    let mut entries = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListTransactionsRequest {
            account_id: account_id.to_owned(),
            order: v1::ListOrder::OldestFirst.into(),
            page_size: 1000,
            page_token,
            ..Default::default()
        };
        let page = client.list_transactions(request).await.unwrap().into_inner();
        entries.extend(page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return entries;
        }
    }
}

/// A history that is dense, whose balances add up, and whose time never runs backwards.
pub fn assert_sound(entries: &[v1::Entry]) {
    let mut balance = 0;
    let mut time = (i64::MIN, 0);
    for (number, entry) in (1..).zip(entries) {
        assert_eq!(entry.sequence, number, "{entry:?}");
        balance += entry.amount.as_ref().unwrap().minor_units;
        assert_eq!(entry.balance_after.as_ref().unwrap().minor_units, balance, "{entry:?}");
        let created = entry.create_time.unwrap();
        assert!((created.seconds, created.nanos) >= time, "{entry:?}");
        time = (created.seconds, created.nanos);
    }
}

/// An error, taken apart.
#[derive(Debug)]
pub struct Failed {
    pub code: Code,
    pub reason: String,
    pub message: String,
    pub metadata: HashMap<String, String>,
    pub details: ErrorDetails,
}

/// Whether a call has succeeded, for [`until`](super::until); if it failed, it was for this reason.
pub fn succeeded<T: std::fmt::Debug>(result: Result<T, Status>, reason: &str) -> bool {
    result.is_ok() || {
        assert_eq!(failed(result).reason, reason);
        false
    }
}

pub fn failed<T: std::fmt::Debug>(result: Result<T, Status>) -> Failed {
    let status = result.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("without ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "bank.v1");
    Failed {
        code: status.code(),
        reason: info.reason.clone(),
        message: status.message().to_owned(),
        metadata: info.metadata.clone(),
        details,
    }
}
