//! Why a call fails.

use bank_domain::{AccountId, OpenAccount, Timestamp, TransactionId};
use bank_store::StoreError;
use http::{HeaderValue, Method};
use tonic::Status;
use tonic_types::FieldViolation;

use super::limit::{Limit, LimitKind};
use crate::{
    admission::{LimitReached, RateLimited},
    audit,
    auth::{Access, Extent, ScopeMissing, authentication::TokenRejection},
    backup, ledger, watch,
};

/// The field of a request that says where a watch continues.
pub(crate) const RESUME_TOKEN: &str = "resume_token";

/// Why a call fails.
pub(crate) enum Failure {
    /// The caller has no valid token.
    Unauthenticated(TokenRejection),
    /// A bug: the call got past authentication without an identity.
    Unidentified,
    /// Every violation of the documented form of the message.
    Invalid(Vec<FieldViolation>),
    ScopeMissing(ScopeMissing),
    /// The account does not exist, did not exist at the time, or is not visible to the caller.
    AccountNotFound {
        account_id: AccountId,
        as_of: Option<Timestamp>,
        extent: Extent,
    },
    /// The transaction does not exist, or is not visible to the caller.
    TransactionNotFound {
        transaction_id: TransactionId,
        extent: Extent,
    },
    LimitReached(Limit),
    /// A read took too long.
    DeadlineExceeded,
    /// The HTTP request is not a gRPC call that the server takes.
    NotAccepted(NotAccepted),
    /// The gRPC stack could not read a message of a stream; the limit is that on its size.
    Unreadable(Status, Limit),
    /// A file to import is not one that the bank has written.
    BackupDamaged {
        line: u64,
        problem: String,
    },
    /// Only a bank without accounts can be imported into.
    BankNotEmpty,
    WatchTooLarge {
        accounts_max: usize,
    },
    /// An entry that a watch has reported is no longer in the history.
    EntriesLost {
        account_id: AccountId,
        sequence: u64,
    },
    /// The caller has left, and does not receive this.
    CallerGone,
    /// The ledger did not carry it out; how far the command reached.
    Ledger(ledger::Error, Extent),
    /// A read of the store failed.
    Store(StoreError),
}

/// Why an HTTP request is refused before anything else of it is looked at.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// Not a POST.
    Method(Method),
    /// Not the content type of gRPC.
    ContentType(Option<HeaderValue>),
    HeadersTooLarge {
        bytes: usize,
        bytes_max: usize,
    },
    /// The messages have this encoding.
    Compressed(HeaderValue),
    /// A malformed `grpc-timeout`.
    Timeout(HeaderValue),
}

impl Failure {
    pub(crate) fn limit(kind: LimitKind, max: impl TryInto<u64>) -> Self {
        Self::LimitReached(Limit::new(kind, max))
    }

    /// Why a command of this caller failed. `opened` is the account that it would have opened.
    pub(crate) fn of_command(error: ledger::Error, access: &Access, opened: Option<&OpenAccount>) -> Self {
        let extent = match &error {
            ledger::Error::Rejected { owner, .. } => access.extent(opened, owner.as_ref()),
            _ => Extent::Unknown,
        };
        Self::Ledger(error, extent)
    }

    pub(crate) fn is_dry_run_too_large(&self) -> bool {
        matches!(self, Self::LimitReached(Limit { kind: LimitKind::CallerDryRuns | LimitKind::DryRuns, .. }))
    }

    /// How far the call reached.
    pub(crate) fn extent(&self) -> Extent {
        match self {
            Self::AccountNotFound { extent, .. }
            | Self::TransactionNotFound { extent, .. }
            | Self::Ledger(_, extent) => *extent,
            Self::Unauthenticated(_)
            | Self::Unidentified
            | Self::Invalid(_)
            | Self::ScopeMissing(_)
            | Self::LimitReached(_)
            | Self::DeadlineExceeded
            | Self::NotAccepted(_)
            | Self::Unreadable(..)
            | Self::BackupDamaged { .. }
            | Self::BankNotEmpty
            | Self::WatchTooLarge { .. }
            | Self::EntriesLost { .. }
            | Self::CallerGone
            | Self::Store(_) => Extent::Unknown,
        }
    }
}

impl From<ScopeMissing> for Failure {
    fn from(error: ScopeMissing) -> Self {
        Self::ScopeMissing(error)
    }
}

impl From<RateLimited> for Failure {
    fn from(RateLimited { calls_per_second_max, retry_after }: RateLimited) -> Self {
        let limit = Limit::new(LimitKind::CallerRate, calls_per_second_max.get());
        Self::LimitReached(limit.retry_after(retry_after))
    }
}

impl From<LimitReached> for Failure {
    fn from(LimitReached { resource, scope, max }: LimitReached) -> Self {
        Self::limit(LimitKind::of(resource, scope), max)
    }
}

impl From<ledger::Error> for Failure {
    fn from(error: ledger::Error) -> Self {
        Self::Ledger(error, Extent::Unknown)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<audit::Error> for Failure {
    fn from(error: audit::Error) -> Self {
        match error {
            audit::Error::AccountNotFound(account_id) => {
                Self::AccountNotFound { account_id, as_of: None, extent: Extent::Own }
            }
            audit::Error::Store(error) => Self::Store(error),
            audit::Error::CallerGone => Self::CallerGone,
        }
    }
}

impl From<backup::Error> for Failure {
    fn from(error: backup::Error) -> Self {
        match error {
            backup::Error::Damaged { line, problem } => Self::BackupDamaged { line, problem },
            backup::Error::NotEmpty => Self::BankNotEmpty,
            backup::Error::ClockOff(off) => Self::Ledger(off.into(), Extent::Unknown),
            backup::Error::Store(error) => Self::Store(error),
            backup::Error::CallerGone => Self::CallerGone,
        }
    }
}

impl From<watch::Error> for Failure {
    fn from(error: watch::Error) -> Self {
        match error {
            watch::Error::AccountNotFound(account_id) => {
                Self::AccountNotFound { account_id, as_of: None, extent: Extent::Own }
            }
            watch::Error::TooManyAccounts { accounts_max } => Self::WatchTooLarge { accounts_max },
            watch::Error::EntriesLost { account_id, sequence } => Self::EntriesLost { account_id, sequence },
            watch::Error::InvalidToken(error) => {
                Self::Invalid(vec![FieldViolation::new(RESUME_TOKEN, error.to_string())])
            }
            watch::Error::Store(error) => Self::Store(error),
        }
    }
}
