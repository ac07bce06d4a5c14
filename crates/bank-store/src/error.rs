//! Errors of a store.

/// Why a store failed.
///
/// [`StoreError::is_retryable`] says whether the same call may succeed later, [`StoreError::is_outcome_unknown`] whether
/// it may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or does not accept writes now. Nothing was done.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store answers, but holds another bank or does not have the required durability. Nothing was done. Callers
    /// may see the reason.
    #[error("the store is not fit for use: {0}")]
    Unfit(String),
    /// The connection was lost or the time ran out before the answer came. The call may have taken effect.
    #[error("the store did not answer: {0}")]
    OutcomeUnknown(String),
    /// The stored data is damaged. Nothing was done.
    #[error("the stored data is damaged: {0}")]
    Corrupt(String),
    /// The configuration of the store is wrong. Nothing was done.
    #[error("the store cannot be used: {0}")]
    Misconfigured(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unfit(_) | Self::OutcomeUnknown(_))
    }

    /// Whether the call may have taken effect.
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::OutcomeUnknown(_))
    }
}
