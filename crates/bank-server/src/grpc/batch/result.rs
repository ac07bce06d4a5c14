//! What became of each operation of a batch, as its caller and the audit trail are told.

use std::{collections::BTreeMap, net::SocketAddr};

use bank_domain::{AccountId, Command, RequestId};
use bank_proto::v1::{self, operation_result::Outcome};
use tonic::Code;

use crate::{
    auth::{Extent, Identity, Method, ScopeMissing},
    grpc::{
        call::Deed,
        render,
        status::{Failure, operation_error},
    },
    ledger::{self, Executed},
    metrics::Metrics,
};

/// An operation that was asked for.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) command: Command,
    pub(super) request_id: Option<RequestId>,
    /// Why its caller may not.
    pub(super) denied: Option<ScopeMissing>,
}

/// The results of a batch so far.
pub(super) struct Results<'a> {
    caller: &'a Identity,
    peer: Option<SocketAddr>,
    receipts_only: bool,
    messages: Vec<v1::OperationResult>,
    codes: BTreeMap<i32, u64>,
    /// The error that was told last: where a store is away, all have the same.
    told: Option<(ledger::Error, v1::OperationError)>,
}

impl<'a> Results<'a> {
    pub(super) fn new(caller: &'a Identity, peer: Option<SocketAddr>, receipts_only: bool) -> Self {
        Self { caller, peer, receipts_only, messages: Vec::new(), codes: BTreeMap::new(), told: None }
    }

    /// Adds that of the next operation.
    pub(super) fn add(&mut self, asked: Asked, result: Result<Executed, Failure>) {
        let Asked { method, command, request_id, .. } = asked;
        let account_id = command.account_id().clone();
        let (extent, outcome) = match result {
            Ok(executed) => {
                let extent = executed.extent;
                (extent, self.done(method, &command, executed))
            }
            Err(failure) => (failure.extent(), Outcome::Error(self.error(failure))),
        };
        let code = match &outcome {
            Outcome::Error(error) => error.code,
            _ => 0,
        };
        *self.codes.entry(code).or_default() += 1;
        self.write_down(method, &account_id, request_id.as_ref(), Code::from(code), extent);
        self.messages.push(v1::OperationResult { outcome: Some(outcome) });
    }

    /// All of them.
    pub(super) fn finish(self, metrics: &Metrics) -> Vec<v1::OperationResult> {
        metrics.batch_ended(self.messages.len(), &self.codes);
        self.messages
    }

    fn done(&self, method: Method, command: &Command, executed: Executed) -> Outcome {
        if self.receipts_only {
            return Outcome::Receipt(render::receipt(&executed));
        }
        match method {
            Method::Deposit => Outcome::Deposit(Box::new(render::deposit(command, executed))),
            Method::Withdraw => Outcome::Withdraw(Box::new(render::withdraw(command, executed))),
            Method::Transfer => Outcome::Transfer(Box::new(render::transfer(command, executed))),
            Method::CalculateInterest => {
                Outcome::CalculateInterest(Box::new(render::calculate_interest(command, executed)))
            }
            Method::CreateAccount => {
                Outcome::CreateAccount(Box::new(render::create_account(command, executed)))
            }
            Method::SetOverdraftLimit => {
                Outcome::SetOverdraftLimit(Box::new(render::set_overdraft_limit(command, executed)))
            }
            Method::FreezeAccount => {
                Outcome::FreezeAccount(Box::new(render::freeze_account(command, executed)))
            }
            Method::UnfreezeAccount => {
                Outcome::UnfreezeAccount(Box::new(render::unfreeze_account(command, executed)))
            }
            Method::CloseAccount => Outcome::CloseAccount(Box::new(render::close_account(command, executed))),
            // No other method has operations.
            _ => Outcome::Receipt(render::receipt(&executed)),
        }
    }

    fn error(&mut self, failure: Failure) -> v1::OperationError {
        let Failure::Ledger(error) = failure else { return operation_error(failure) };
        if let Some((_, told)) = self.told.as_ref().filter(|(last, _)| *last == error) {
            return told.clone();
        }
        let told = operation_error(Failure::Ledger(error.clone()));
        self.told = Some((error, told.clone()));
        told
    }

    fn write_down(
        &self,
        method: Method,
        account_id: &AccountId,
        request_id: Option<&RequestId>,
        outcome: Code,
        extent: Extent,
    ) {
        let request_id = request_id.map_or("", RequestId::as_str);
        let (caller, peer, account) = (self.caller, self.peer, account_id.as_str());
        Deed { caller, peer, method, account, request_id, outcome, extent }.write_down();
    }
}
