//! The permits of a call: one among the calls in flight, and one more for a batch or a stream of batches.

use std::sync::Arc;

use super::{
    callers::Allowance,
    limits::{LimitReached, Resource},
    permit::Permit,
};

const EXECUTE_BATCH: &str = "/bank.v1.BankService/ExecuteBatch";
const EXECUTE_STREAM: &str = "/bank.v1.BankService/ExecuteStream";

/// What a call holds besides a place among the calls in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    /// One operation.
    Single,
    /// One message with many operations.
    Batch,
    /// Many such messages, one after another.
    Stream,
}

impl CallKind {
    pub(crate) fn of_path(path: &str) -> Self {
        match path {
            EXECUTE_BATCH => Self::Batch,
            EXECUTE_STREAM => Self::Stream,
            _ => Self::Single,
        }
    }
}

/// The permits of a call, until its reply has been sent. They travel with the answer, and with the request if its work goes
/// on after the caller has left.
#[derive(Clone, Debug)]
pub(crate) struct CallPermits {
    _permits: Arc<(Permit, Option<Permit>)>,
    /// A caller with a call in flight is not forgotten.
    _caller: Allowance,
}

impl CallPermits {
    /// Admits a call if there is room for it.
    pub(crate) fn try_take(caller: &Allowance, kind: CallKind) -> Result<Self, LimitReached> {
        let call = caller.try_take(Resource::Calls, 1)?;
        let batch = match kind {
            CallKind::Single => None,
            CallKind::Batch => Some(caller.try_take(Resource::Batches, 1)?),
            CallKind::Stream => Some(caller.try_take(Resource::Streams, 1)?),
        };
        Ok(Self { _permits: Arc::new((call, batch)), _caller: caller.clone() })
    }
}

#[cfg(test)]
mod tests;
