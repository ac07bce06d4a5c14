//! Why a token is refused.

/// Why a token is refused. The messages are for the operator: callers get a reason without details.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// There is no token.
    #[error("no token")]
    Missing,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is too long.
    #[error("the token is too long")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The subject cannot own an account.
    #[error("the subject of the token cannot own an account")]
    UnfitSubject,
    /// The key is unknown, or the token names none.
    #[error("{}", .id.as_ref().map_or("the token names no key".to_owned(), |id| format!("there is no key with the id {id:?}")))]
    UnknownKey {
        /// The id of the key, shortened.
        id: Option<String>,
    },
    /// The key that verified the token is no longer accepted.
    #[error("the key that the token was verified with was withdrawn")]
    KeyWithdrawn,
    /// Anything else is wrong.
    #[error("{0}")]
    Invalid(&'static str),
    /// The keys have been unconfirmed for too long.
    #[error("the keys have not been confirmed for too long")]
    KeysUnavailable,
}
