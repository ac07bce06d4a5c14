//! The gRPC API: turns messages into commands and outcomes into messages.
//!
//! `parse` is the only place that reads what callers send, and `status` the only one that makes
//! an error status. What lies between knows domain types only.

mod call;
mod page;
mod parse;
mod read;
mod render;
mod status;

use std::{sync::Arc, time::Duration};

use bank_domain::{Command, Currency};
use bank_proto::v1::{self, bank_service_server::BankService};
use bank_store::{Caller, Store};
use tonic::{Request, Response, Status};

pub(crate) use self::status::{Failure, refusal};
use self::{
    call::Call,
    parse::{Mutation, ParseWith},
};
use crate::ledger::{self, Executed, Ledger};

/// What the API adds to what callers leave out.
#[derive(Clone, Debug)]
pub struct ApiOptions {
    /// The currency of an account that is opened without one.
    pub default_currency: Currency,
    /// How long a call may take; a caller may ask for less, not for more.
    pub request_timeout: Duration,
}

/// The service `bank.v1.BankService`; cheap to clone.
#[derive(Clone)]
pub struct BankApi {
    ledger: Ledger,
    options: Arc<ApiOptions>,
}

impl BankApi {
    /// The API of a ledger.
    pub fn new(ledger: Ledger, options: ApiOptions) -> Self {
        Self { ledger, options: Arc::new(options) }
    }

    /// Carries out a call that changes something.
    async fn mutate<Message, Reply>(
        &self,
        method: &'static str,
        request: Request<Message>,
        render: fn(&Command, Executed) -> Reply,
    ) -> Result<Response<Reply>, Status>
    where
        Message: call::Names,
        Mutation: ParseWith<Message>,
    {
        let call = Call::begin(method, &request, self.options.request_timeout);
        let (caller, deadline) = (call.caller(), call.deadline());
        call.run(async {
            let caller = caller?;
            let Mutation { command, request_id, validate_only } =
                Mutation::parse_with(request.into_inner(), &self.options)?;
            tracing::debug!(target: "bank::call", ?command, validate_only, "parsed");
            let request = ledger::Request {
                caller: Caller::new(caller.subject().as_str()),
                command: command.clone(),
                request_id,
                deadline,
            };
            let executed = if validate_only {
                self.ledger.preview(request).await?
            } else {
                self.ledger.execute(request).await?
            };
            Ok(render(&command, executed))
        })
        .await
    }

    /// Carries out a call that only reads.
    async fn read<Message, Query, Reply, Answer>(
        &self,
        method: &'static str,
        request: Request<Message>,
        answer: impl FnOnce(Arc<dyn Store>, Query) -> Answer,
    ) -> Result<Response<Reply>, Status>
    where
        Message: call::Names,
        Query: ParseWith<Message>,
        Answer: Future<Output = Result<Reply, Failure>>,
    {
        let call = Call::begin(method, &request, self.options.request_timeout);
        let caller = call.caller();
        call.run(async {
            caller?;
            let query = Query::parse_with(request.into_inner(), &self.options)?;
            answer(Arc::clone(self.ledger.store()), query).await
        })
        .await
    }
}

#[tonic::async_trait]
impl BankService for BankApi {
    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        self.mutate("CreateAccount", request, render::create_account).await
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        self.read("GetAccount", request, read::account).await
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        self.read("ListAccounts", request, read::accounts).await
    }

    async fn get_balance(
        &self,
        request: Request<v1::GetBalanceRequest>,
    ) -> Result<Response<v1::GetBalanceResponse>, Status> {
        self.read("GetBalance", request, read::balance).await
    }

    async fn deposit(
        &self,
        request: Request<v1::DepositRequest>,
    ) -> Result<Response<v1::DepositResponse>, Status> {
        self.mutate("Deposit", request, render::deposit).await
    }

    async fn withdraw(
        &self,
        request: Request<v1::WithdrawRequest>,
    ) -> Result<Response<v1::WithdrawResponse>, Status> {
        self.mutate("Withdraw", request, render::withdraw).await
    }

    async fn transfer(
        &self,
        request: Request<v1::TransferRequest>,
    ) -> Result<Response<v1::TransferResponse>, Status> {
        self.mutate("Transfer", request, render::transfer).await
    }

    async fn calculate_interest(
        &self,
        request: Request<v1::CalculateInterestRequest>,
    ) -> Result<Response<v1::CalculateInterestResponse>, Status> {
        self.mutate("CalculateInterest", request, render::calculate_interest).await
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsResponse>, Status> {
        self.read("ListTransactions", request, read::history).await
    }

    async fn get_transaction(
        &self,
        request: Request<v1::GetTransactionRequest>,
    ) -> Result<Response<v1::GetTransactionResponse>, Status> {
        self.read("GetTransaction", request, read::transaction).await
    }

    async fn set_overdraft_limit(
        &self,
        request: Request<v1::SetOverdraftLimitRequest>,
    ) -> Result<Response<v1::SetOverdraftLimitResponse>, Status> {
        self.mutate("SetOverdraftLimit", request, render::set_overdraft_limit).await
    }

    async fn freeze_account(
        &self,
        request: Request<v1::FreezeAccountRequest>,
    ) -> Result<Response<v1::FreezeAccountResponse>, Status> {
        self.mutate("FreezeAccount", request, render::freeze_account).await
    }

    async fn unfreeze_account(
        &self,
        request: Request<v1::UnfreezeAccountRequest>,
    ) -> Result<Response<v1::UnfreezeAccountResponse>, Status> {
        self.mutate("UnfreezeAccount", request, render::unfreeze_account).await
    }

    async fn close_account(
        &self,
        request: Request<v1::CloseAccountRequest>,
    ) -> Result<Response<v1::CloseAccountResponse>, Status> {
        self.mutate("CloseAccount", request, render::close_account).await
    }
}
