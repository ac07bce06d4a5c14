//! What request messages say about themselves.

use bank_domain::{Command, OpenAccount};
use bank_proto::v1;
use tonic::Streaming;

/// What the log, the audit trail and idempotency need of every request message.
#[expect(clippy::unnecessary_literal_bound, reason = "the messages return what they contain")]
pub(super) trait RequestFields {
    /// The account, or the transaction, that it names first; empty if it names none.
    fn account(&self) -> &str {
        ""
    }

    /// The idempotency key; empty if it has none.
    fn request_id(&self) -> &str {
        ""
    }

    /// Whether it asks for a dry run.
    fn validate_only(&self) -> bool {
        false
    }
}

macro_rules! commands {
    ($($message:ident)*) => {
        $(impl RequestFields for v1::$message {
            fn account(&self) -> &str {
                &self.account_id
            }

            fn request_id(&self) -> &str {
                &self.request_id
            }

            fn validate_only(&self) -> bool {
                self.validate_only
            }
        })*
    };
}

macro_rules! queries {
    ($($message:ident { $($account:ident)? })*) => {
        $(impl RequestFields for v1::$message {
            $(fn account(&self) -> &str {
                &self.$account
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
    fn account(&self) -> &str {
        (**self).account()
    }

    fn request_id(&self) -> &str {
        (**self).request_id()
    }

    fn validate_only(&self) -> bool {
        (**self).validate_only()
    }
}

/// The account that a command opens, if it opens one.
pub(super) fn opened_account(command: &Command) -> Option<&OpenAccount> {
    if let Command::OpenAccount(open) = command { Some(open) } else { None }
}
