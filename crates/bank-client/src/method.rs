//! The methods of the bank: their messages and replies.
//!
//! A method is its request message, under the name of the method.

use std::{fmt, future::Future, sync::Arc};

use bank_domain::RequestId;
use bank_proto::v1::{self, bank_service_client::BankServiceClient};
use tonic::{Request, Response, Status, transport::Channel};

pub use bank_proto::v1::{
    AuditAccountsRequest as AuditAccounts, CalculateInterestRequest as CalculateInterest,
    CloseAccountRequest as CloseAccount, CreateAccountRequest as CreateAccount, DepositRequest as Deposit,
    FreezeAccountRequest as FreezeAccount, GetAccountRequest as GetAccount, GetBalanceRequest as GetBalance,
    GetServerInfoRequest as GetServerInfo, GetTransactionRequest as GetTransaction,
    ListAccountsRequest as ListAccounts, ListTransactionsRequest as ListTransactions,
    SetOverdraftLimitRequest as SetOverdraftLimit, TransferRequest as Transfer,
    UnfreezeAccountRequest as UnfreezeAccount, WithdrawRequest as Withdraw,
};

use crate::{
    Error,
    model::{Account, Entry, Transaction},
    reply::{AccountReceipt, Balance, InterestReceipt, Page, Receipt},
    server_info::ServerInfo,
    wire::FromWire,
};

pub(crate) type Stub = BankServiceClient<Channel>;

/// A method with one reply. Other crates cannot implement it.
pub trait Method: Clone + Send + Sync + 'static {
    /// The reply of the bank.
    type Reply: FromWire<Self::Response> + Send + 'static;

    #[doc(hidden)]
    type Response: Send + 'static;

    /// The account that the call names first, if it names one.
    #[doc(hidden)]
    fn account(&self) -> Option<&str>;

    /// The request id, if the call changes something.
    #[doc(hidden)]
    fn changes_under(&self) -> Option<RequestId> {
        None
    }

    #[doc(hidden)]
    fn send(
        stub: Stub,
        request: Request<Self>,
    ) -> impl Future<Output = Result<Response<Self::Response>, Status>> + Send;
}

/// A method that changes something.
pub trait Mutation: Method {
    #[doc(hidden)]
    fn request_id_mut(&mut self) -> &mut String;

    #[doc(hidden)]
    fn validate_only_mut(&mut self) -> &mut bool;
}

/// A method whose entry has a description.
pub trait Described: Method {
    #[doc(hidden)]
    fn description_mut(&mut self) -> &mut String;
}

/// A method that replies with a list, page by page.
pub trait Paged: Method<Reply = Page<Self::Item>> {
    /// What is listed.
    type Item: Send + 'static;

    #[doc(hidden)]
    fn page_size_mut(&mut self) -> &mut i32;

    #[doc(hidden)]
    fn page_token_mut(&mut self) -> &mut String;
}

macro_rules! method {
    ($message:ident $(of $account:ident)? -> $response:ident as $reply:ty, $send:ident $(, $changes_under:item)?) => {
        impl Method for $message {
            type Reply = $reply;
            type Response = v1::$response;

            fn account(&self) -> Option<&str> {
                let account: Option<&str> = None;
                $(let account = account.or(Some(self.$account.as_str()));)?
                account
            }

            $($changes_under)?

            async fn send(mut stub: Stub, request: Request<Self>) -> Result<Response<Self::Response>, Status> {
                stub.$send(request).await
            }
        }
    };
}

macro_rules! queries {
    ($($message:ident $(of $account:ident)? -> $response:ident as $reply:ty, $send:ident;)+) => {
        $(method! { $message $(of $account)? -> $response as $reply, $send })+
    };
}

macro_rules! mutations {
    ($($message:ident -> $response:ident as $reply:ty, $send:ident;)+) => {$(
        method! {
            $message of account_id -> $response as $reply, $send,
            fn changes_under(&self) -> Option<RequestId> {
                if self.validate_only { None } else { self.request_id.parse().ok() }
            }
        }

        impl Mutation for $message {
            fn request_id_mut(&mut self) -> &mut String {
                &mut self.request_id
            }

            fn validate_only_mut(&mut self) -> &mut bool {
                &mut self.validate_only
            }
        }
    )+};
}

macro_rules! described {
    ($($message:ident),+ $(,)?) => {$(
        impl Described for $message {
            fn description_mut(&mut self) -> &mut String {
                &mut self.description
            }
        }
    )+};
}

macro_rules! paged {
    ($($message:ident of $item:ty),+ $(,)?) => {$(
        impl Paged for $message {
            type Item = $item;

            fn page_size_mut(&mut self) -> &mut i32 {
                &mut self.page_size
            }

            fn page_token_mut(&mut self) -> &mut String {
                &mut self.page_token
            }
        }
    )+};
}

mutations! {
    CreateAccount -> CreateAccountResponse as AccountReceipt, create_account;
    Deposit -> DepositResponse as Receipt, deposit;
    Withdraw -> WithdrawResponse as Receipt, withdraw;
    Transfer -> TransferResponse as Receipt, transfer;
    CalculateInterest -> CalculateInterestResponse as InterestReceipt,
        calculate_interest;
    SetOverdraftLimit -> SetOverdraftLimitResponse as Receipt,
        set_overdraft_limit;
    FreezeAccount -> FreezeAccountResponse as Receipt, freeze_account;
    UnfreezeAccount -> UnfreezeAccountResponse as Receipt, unfreeze_account;
    CloseAccount -> CloseAccountResponse as Receipt, close_account;
}

queries! {
    GetAccount of account_id -> GetAccountResponse as Account, get_account;
    ListAccounts -> ListAccountsResponse as Page<Account>, list_accounts;
    GetBalance of account_id -> GetBalanceResponse as Balance, get_balance;
    ListTransactions of account_id -> ListTransactionsResponse as Page<Entry>,
        list_transactions;
    GetTransaction -> GetTransactionResponse as Transaction, get_transaction;
    GetServerInfo -> GetServerInfoResponse as ServerInfo, get_server_info;
}

described! { Deposit, Withdraw, Transfer, CalculateInterest, FreezeAccount, UnfreezeAccount, CloseAccount }

paged! { ListAccounts of Account, ListTransactions of Entry }

/// A function that is called with the error that interrupted a watch.
pub(crate) type OnInterruption = Arc<dyn Fn(&Error) + Send + Sync>;

/// Streams entries as they are written: [`BankClient::watch`](crate::BankClient::watch).
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
