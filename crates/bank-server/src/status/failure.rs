//! Why a call fails.

use bank_domain::{AccountId, Timestamp, TransactionId};
use bank_store::StoreError;
use http::{HeaderValue, Method};
use tonic::Status;
use tonic_types::FieldViolation;

use super::limit::{Limit, LimitKind};
use crate::{
    admission::{LimitReached, RateLimited, Resource},
    audit,
    auth::{ScopeMissing, authentication::TokenRejection},
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
    },
    /// The transaction does not exist, or is not visible to the caller.
    TransactionNotFound {
        transaction_id: TransactionId,
    },
    LimitReached(Limit),
    /// A read took too long.
    DeadlineExceeded,
    /// The HTTP request is not a gRPC call that the server takes.
    NotAccepted(NotAccepted),
    /// The gRPC stack could not read a message of a stream; the limit is that on its size.
    Unreadable(Status, Limit),
    /// The caller has left, and does not receive this.
    CallerGone,
    /// The ledger did not carry it out.
    Ledger(ledger::Error),
    /// A read of the store failed.
    Store(StoreError),
    Audit(audit::Error),
    Backup(backup::Error),
    Watch(watch::Error),
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

    pub(crate) fn is_dry_run_too_large(&self) -> bool {
        let Self::LimitReached(limit) = self else { return false };
        matches!(limit.kind, LimitKind::Resource(Resource::DryRunBytes, _))
    }
}

macro_rules! from {
    ($($variant:ident($error:ty))*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    ScopeMissing(ScopeMissing)
    Ledger(ledger::Error)
    Store(StoreError)
    Audit(audit::Error)
    Backup(backup::Error)
    Watch(watch::Error)
}

impl From<RateLimited> for Failure {
    fn from(RateLimited { calls_per_second_max, retry_after }: RateLimited) -> Self {
        let limit = Limit::new(LimitKind::CallerRate, calls_per_second_max.get());
        Self::LimitReached(limit.retry_after(retry_after))
    }
}

impl From<LimitReached> for Failure {
    fn from(LimitReached { resource, scope, max }: LimitReached) -> Self {
        Self::limit(LimitKind::Resource(resource, scope), max)
    }
}
