//! The gRPC API: turns messages into commands, and outcomes into messages.
//!
//! `parse` is the only place that reads messages, `render` writes them, and the module `status` makes error statuses.
//! What lies between knows domain types only.

mod api;
mod audit;
mod authenticate;
mod backup;
mod batch;
mod call;
mod enums;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod info;
mod message;
mod options;
mod page;
mod parse;
mod read;
mod render;
mod watch;

use bank_proto::v1::{self, bank_service_server::BankService};
use tonic::{Request, Response, Status, Streaming};

use self::call::Replies;
pub use self::{
    api::BankApi,
    options::{ApiOptions, BatchBounds, ServerFacts},
};
pub(crate) use self::{
    authenticate::authenticate,
    call::{EndsWhenDraining, PacedByReader, is_timeout},
};
use crate::auth::Method;

/// Implements the service: unary methods by the function of [`BankApi`] that handles them, and the rest as written.
macro_rules! bank_service {
    ($($method:ident: $name:ident($request:ident) -> $reply:ident = $handle:ident($with:path);)* @ $($rest:tt)*) => {
        #[tonic::async_trait]
        impl BankService for BankApi {
            $(async fn $method(
                &self,
                request: Request<v1::$request>,
            ) -> Result<Response<v1::$reply>, Status> {
                self.$handle(Method::$name, request, $with).await
            })*

            $($rest)*
        }
    };
}

bank_service! {
    create_account: CreateAccount(CreateAccountRequest) -> CreateAccountResponse = mutate(render::create_account);
    get_account: GetAccount(GetAccountRequest) -> GetAccountResponse = read(read::account);
    list_accounts: ListAccounts(ListAccountsRequest) -> ListAccountsResponse = read(read::accounts);
    get_balance: GetBalance(GetBalanceRequest) -> GetBalanceResponse = read(read::balance);
    deposit: Deposit(DepositRequest) -> DepositResponse = mutate(render::deposit);
    withdraw: Withdraw(WithdrawRequest) -> WithdrawResponse = mutate(render::withdraw);
    transfer: Transfer(TransferRequest) -> TransferResponse = mutate(render::transfer);
    calculate_interest: CalculateInterest(CalculateInterestRequest) -> CalculateInterestResponse
        = mutate(render::calculate_interest);
    list_transactions: ListTransactions(ListTransactionsRequest) -> ListTransactionsResponse = read(read::history);
    get_transaction: GetTransaction(GetTransactionRequest) -> GetTransactionResponse = read(read::transaction);
    set_overdraft_limit: SetOverdraftLimit(SetOverdraftLimitRequest) -> SetOverdraftLimitResponse
        = mutate(render::set_overdraft_limit);
    freeze_account: FreezeAccount(FreezeAccountRequest) -> FreezeAccountResponse = mutate(render::freeze_account);
    unfreeze_account: UnfreezeAccount(UnfreezeAccountRequest) -> UnfreezeAccountResponse
        = mutate(render::unfreeze_account);
    close_account: CloseAccount(CloseAccountRequest) -> CloseAccountResponse = mutate(render::close_account);

    get_server_info: GetServerInfo(GetServerInfoRequest) -> GetServerInfoResponse = read(info::server_info);

    @

    type AuditAccountsStream = Replies<v1::AuditAccountsResponse>;

    async fn audit_accounts(
        &self,
        request: Request<v1::AuditAccountsRequest>,
    ) -> Result<Response<Self::AuditAccountsStream>, Status> {
        Ok(self.stream(Method::AuditAccounts, request, audit::accounts))
    }

    async fn execute_batch(
        &self,
        request: Request<v1::ExecuteBatchRequest>,
    ) -> Result<Response<v1::ExecuteBatchResponse>, Status> {
        batch::one(self, request).await
    }

    type ExecuteStreamStream = Replies<v1::ExecuteStreamResponse>;

    async fn execute_stream(
        &self,
        request: Request<Streaming<v1::ExecuteStreamRequest>>,
    ) -> Result<Response<Self::ExecuteStreamStream>, Status> {
        Ok(batch::many(self, request))
    }

    type ExportBankStream = Replies<v1::ExportBankResponse>;

    async fn export_bank(
        &self,
        request: Request<v1::ExportBankRequest>,
    ) -> Result<Response<Self::ExportBankStream>, Status> {
        Ok(self.stream(Method::ExportBank, request, backup::export))
    }

    type ImportBankStream = Replies<v1::ImportBankResponse>;

    async fn import_bank(
        &self,
        request: Request<Streaming<v1::ImportBankRequest>>,
    ) -> Result<Response<Self::ImportBankStream>, Status> {
        Ok(self.stream(Method::ImportBank, request, backup::import))
    }

    type WatchTransactionsStream = Replies<v1::WatchTransactionsResponse>;

    async fn watch_transactions(
        &self,
        request: Request<v1::WatchTransactionsRequest>,
    ) -> Result<Response<Self::WatchTransactionsStream>, Status> {
        Ok(self.stream(Method::WatchTransactions, request, watch::transactions))
    }
}
