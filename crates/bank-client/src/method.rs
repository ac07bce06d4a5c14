//! The methods of the bank: which message each takes, which stub it goes through, what it answers.

use std::{fmt, future::Future};

use bank_domain::RequestId;
use bank_proto::v1::{self, bank_service_client::BankServiceClient};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    Account, AccountReceipt, Balance, Entry, InterestReceipt, Page, Receipt, ServerInfo, Transaction,
    watch::OnInterruption, wire::FromWire,
};

pub(crate) type Stub = BankServiceClient<Channel>;

/// A method of the bank. The types that implement it are in [`methods`](crate::methods).
pub trait Method: Wire {
    /// What the bank answers.
    type Reply: FromWire<Self::Response> + Send + 'static;
}

/// A method that changes something.
pub trait Mutation: Method + HasRequestId {}

/// A method whose entry carries a description.
pub trait Described: Method + HasDescription {}

/// A method that answers with a list, page by page.
pub trait Paged: Method<Reply = Page<Self::Item>> + HasPages {
    /// What is listed.
    type Item: Send + 'static;
}

/// How a method goes over the wire. Out of reach for other crates, which so cannot add methods.
pub trait Wire: Clone + Send + Sync + 'static {
    type Request: Clone + Send + Sync + 'static;
    type Response: Send + 'static;

    fn request(&self) -> &Self::Request;

    /// The request id, if the call changes something as it stands.
    fn undecided(&self) -> Option<RequestId>;

    fn send(
        stub: Stub,
        request: Request<Self::Request>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send;
}

pub trait HasRequestId {
    fn request_id_mut(&mut self) -> &mut String;
    fn validate_only_mut(&mut self) -> &mut bool;
}

pub trait HasDescription {
    fn description_mut(&mut self) -> &mut String;
}

pub trait HasPages {
    fn page_size_mut(&mut self) -> &mut i32;
    fn page_token_mut(&mut self) -> &mut String;
}

macro_rules! method {
    ($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident as $reply:ty,
     $stub:ident, $undecided:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub(crate) v1::$request);

        impl Wire for $name {
            type Request = v1::$request;
            type Response = v1::$response;

            fn request(&self) -> &v1::$request {
                &self.0
            }

            fn undecided(&self) -> Option<RequestId> {
                let undecided: fn(&v1::$request) -> Option<RequestId> = $undecided;
                undecided(&self.0)
            }

            async fn send(
                mut stub: Stub,
                request: Request<v1::$request>,
            ) -> Result<Response<v1::$response>, Status> {
                stub.$stub(request).await
            }
        }

        impl Method for $name {
            type Reply = $reply;
        }
    };
}

macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident as $reply:ty, $stub:ident;)+) => {
        $(method! { $(#[$doc])* $name($request) -> $response as $reply, $stub, |_| None })+
    };
}

macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $response:ident as $reply:ty, $stub:ident;)+) => {$(
        method! {
            $(#[$doc])* $name($request) -> $response as $reply, $stub,
            |request| if request.validate_only { None } else { request.request_id.parse().ok() }
        }

        impl HasRequestId for $name {
            fn request_id_mut(&mut self) -> &mut String {
                &mut self.0.request_id
            }

            fn validate_only_mut(&mut self) -> &mut bool {
                &mut self.0.validate_only
            }
        }

        impl Mutation for $name {}
    )+};
}

macro_rules! described {
    ($($name:ident),+ $(,)?) => {$(
        impl HasDescription for $name {
            fn description_mut(&mut self) -> &mut String {
                &mut self.0.description
            }
        }

        impl Described for $name {}
    )+};
}

macro_rules! paged {
    ($($name:ident of $item:ty),+ $(,)?) => {$(
        impl HasPages for $name {
            fn page_size_mut(&mut self) -> &mut i32 {
                &mut self.0.page_size
            }

            fn page_token_mut(&mut self) -> &mut String {
                &mut self.0.page_token
            }
        }

        impl Paged for $name {
            type Item = $item;
        }
    )+};
}

mutations! {
    /// Opens an account: [`BankClient::create_account`](crate::BankClient::create_account).
    CreateAccount(CreateAccountRequest) -> CreateAccountResponse as AccountReceipt, create_account;
    /// Pays money in: [`BankClient::deposit`](crate::BankClient::deposit).
    Deposit(DepositRequest) -> DepositResponse as Receipt, deposit;
    /// Pays money out: [`BankClient::withdraw`](crate::BankClient::withdraw).
    Withdraw(WithdrawRequest) -> WithdrawResponse as Receipt, withdraw;
    /// Moves money between accounts: [`BankClient::transfer`](crate::BankClient::transfer).
    Transfer(TransferRequest) -> TransferResponse as Receipt, transfer;
    /// Books interest: [`BankClient::calculate_interest`](crate::BankClient::calculate_interest).
    CalculateInterest(CalculateInterestRequest) -> CalculateInterestResponse as InterestReceipt,
        calculate_interest;
    /// Sets an overdraft limit: [`BankClient::set_overdraft_limit`](crate::BankClient::set_overdraft_limit).
    SetOverdraftLimit(SetOverdraftLimitRequest) -> SetOverdraftLimitResponse as Receipt,
        set_overdraft_limit;
    /// Freezes an account: [`BankClient::freeze_account`](crate::BankClient::freeze_account).
    FreezeAccount(FreezeAccountRequest) -> FreezeAccountResponse as Receipt, freeze_account;
    /// Makes an account active again: [`BankClient::unfreeze_account`](crate::BankClient::unfreeze_account).
    UnfreezeAccount(UnfreezeAccountRequest) -> UnfreezeAccountResponse as Receipt, unfreeze_account;
    /// Closes an account: [`BankClient::close_account`](crate::BankClient::close_account).
    CloseAccount(CloseAccountRequest) -> CloseAccountResponse as Receipt, close_account;
}

queries! {
    /// Reads an account: [`BankClient::account`](crate::BankClient::account).
    GetAccount(GetAccountRequest) -> GetAccountResponse as Account, get_account;
    /// Lists accounts: [`BankClient::accounts`](crate::BankClient::accounts).
    ListAccounts(ListAccountsRequest) -> ListAccountsResponse as Page<Account>, list_accounts;
    /// Reads a balance: [`BankClient::balance`](crate::BankClient::balance).
    GetBalance(GetBalanceRequest) -> GetBalanceResponse as Balance, get_balance;
    /// Lists the entries of an account: [`BankClient::history`](crate::BankClient::history).
    ListTransactions(ListTransactionsRequest) -> ListTransactionsResponse as Page<Entry>,
        list_transactions;
    /// Reads a movement: [`BankClient::transaction`](crate::BankClient::transaction).
    GetTransaction(GetTransactionRequest) -> GetTransactionResponse as Transaction, get_transaction;
    /// Asks the server about itself: [`BankClient::server_info`](crate::BankClient::server_info).
    GetServerInfo(GetServerInfoRequest) -> GetServerInfoResponse as ServerInfo, get_server_info;
}

/// Checks all accounts, or one: [`BankClient::audit_accounts`](crate::BankClient::audit_accounts).
#[derive(Clone, Debug)]
pub struct AuditAccounts(pub(crate) v1::AuditAccountsRequest);

/// Tells of entries as they are written: [`BankClient::watch`](crate::BankClient::watch).
#[derive(Clone)]
pub struct WatchTransactions {
    pub(crate) request: v1::WatchTransactionsRequest,
    pub(crate) on_interruption: Option<OnInterruption>,
}

impl fmt::Debug for WatchTransactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WatchTransactions").field(&self.request).finish()
    }
}

described! { Deposit, Withdraw, Transfer, CalculateInterest, FreezeAccount, UnfreezeAccount, CloseAccount }

paged! { ListAccounts of Account, ListTransactions of Entry }
