//! What an attempt did that ended in an error.

use tonic::Code;

use super::Error;

/// What an attempt that ended in an error did, as far as the client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, and no repetition would: this is the outcome of the request.
    Rejected,
    /// Nothing.
    Nothing,
    /// Nothing or everything.
    Unknown,
}

impl Error {
    /// What the attempt that ended in this did.
    pub(crate) fn effect(&self) -> Effect {
        match self {
            Self::AccountNotFound { .. }
            | Self::AccountDidNotExist { .. }
            | Self::TransactionNotFound { .. }
            | Self::AccountAlreadyExists { .. }
            | Self::AccountClosed { .. }
            | Self::AccountFrozen { .. }
            | Self::AccountNotFrozen { .. }
            | Self::CurrencyMismatch { .. }
            | Self::OverdraftNotAllowed { .. }
            | Self::OverdraftInUse { .. }
            | Self::BalanceNotZero { .. }
            | Self::BalanceOutOfRange { .. }
            | Self::InsufficientFunds { .. }
            | Self::AccountAheadOfClock { .. }
            | Self::RequestIdReused { .. }
            | Self::RequestIdRepeated { .. }
            | Self::PartlyExecuted { .. }
            | Self::BackupDamaged { .. }
            | Self::BankNotEmpty { .. }
            | Self::InvalidArgument { .. }
            | Self::DryRunTooLarge { .. }
            | Self::WatchTooLarge { .. } => Effect::Rejected,
            // A request with another token may be small enough: this is not the outcome of the request.
            Self::BatchAborted { .. }
            | Self::RequestTooLarge { .. }
            | Self::Overloaded { .. }
            | Self::Unavailable { .. }
            | Self::Unauthenticated { .. }
            | Self::PermissionDenied { .. }
            | Self::EntriesLost { .. }
            | Self::Token(_)
            | Self::InvalidSetting { .. } => Effect::Nothing,
            Self::ConnectionLost { .. }
            | Self::OutcomeUnknown { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Internal { .. }
            | Self::StoreCorrupt { .. }
            | Self::InvalidReply { .. } => Effect::Unknown,
            Self::Other(status) => match status.code() {
                Code::FailedPrecondition
                | Code::NotFound
                | Code::AlreadyExists
                | Code::InvalidArgument
                | Code::OutOfRange => Effect::Rejected,
                Code::Unimplemented => Effect::Nothing,
                _ => Effect::Unknown,
            },
        }
    }
}
