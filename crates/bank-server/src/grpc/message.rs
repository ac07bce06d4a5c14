//! What request messages say about themselves.

use bank_domain::{Command, OpenAccount};
use bank_proto::v1;
use tonic::Streaming;

/// What the log, the audit trail and idempotency need of a request message.
#[derive(Clone, Copy, Default)]
pub(super) struct Fields<'a> {
    /// The account, or the transaction, that it names first; empty if it names none.
    pub(super) account: &'a str,
    /// The idempotency key; empty if it has none.
    pub(super) request_id: &'a str,
    /// Whether it asks for a dry run.
    pub(super) validate_only: bool,
}

pub(super) trait RequestFields {
    fn fields(&self) -> Fields<'_> {
        Fields::default()
    }
}

macro_rules! commands {
    ($($message:ident)*) => {
        $(impl RequestFields for v1::$message {
            fn fields(&self) -> Fields<'_> {
                let Self { account_id, request_id, validate_only, .. } = self;
                Fields { account: account_id, request_id, validate_only: *validate_only }
            }
        })*
    };
}

macro_rules! queries {
    ($($message:ident { $($account:ident)? })*) => {
        $(impl RequestFields for v1::$message {
            $(fn fields(&self) -> Fields<'_> {
                Fields { account: &self.$account, ..Fields::default() }
            })?
        })*
    };
}

commands! {
    CreateAccountRequest DepositRequest WithdrawRequest TransferRequest CalculateInterestRequest
    SetOverdraftLimitRequest FreezeAccountRequest UnfreezeAccountRequest CloseAccountRequest
}

queries! {
    GetAccountRequest { account_id }
    GetBalanceRequest { account_id }
    ListTransactionsRequest { account_id }
    GetTransactionRequest { transaction_id }
    AuditAccountsRequest { account_id }
    WatchTransactionsRequest { account_id }
    ListAccountsRequest {}
    GetServerInfoRequest {}
    ExecuteBatchRequest {}
    ExportBankRequest {}
}

impl<Message> RequestFields for Streaming<Message> {}

impl<Message: RequestFields> RequestFields for Box<Message> {
    fn fields(&self) -> Fields<'_> {
        (**self).fields()
    }
}

/// The account that a command opens, if it opens one.
pub(super) fn opened_account(command: &Command) -> Option<&OpenAccount> {
    if let Command::OpenAccount(open) = command { Some(open) } else { None }
}
