//! What can go wrong in a store.

/// Why a store did not do what it was asked.
///
/// It answers two questions: may the same be tried again ([`StoreError::is_retryable`]), and may it
/// have been done all the same ([`StoreError::is_outcome_unknown`])?
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or cannot take writes now. Nothing was done.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store answers, but holds another bank, or keeps writes less firmly than it must. Nothing
    /// was done. The reason is fit for callers to read.
    #[error("the store is not fit for use: {0}")]
    Unfit(String),
    /// The connection was lost, or time ran out, before the answer came. It may have been done.
    #[error("the store did not answer: {0}")]
    OutcomeUnknown(String),
    /// What is stored is not what this bank writes. Nothing was done.
    #[error("the store holds what the bank did not write: {0}")]
    Corrupt(String),
    /// The store cannot be used as it is set up. Nothing was done.
    #[error("the store cannot be used: {0}")]
    Misconfigured(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Unfit(_) | Self::OutcomeUnknown(_) => true,
            Self::Corrupt(_) | Self::Misconfigured(_) => false,
        }
    }

    /// Whether the call may have taken effect.
    pub const fn is_outcome_unknown(&self) -> bool {
        match self {
            Self::OutcomeUnknown(_) => true,
            Self::Unavailable(_) | Self::Unfit(_) | Self::Corrupt(_) | Self::Misconfigured(_) => false,
        }
    }
}
