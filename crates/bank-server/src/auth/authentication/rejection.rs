//! Why a caller is not let in.

/// Why a caller is not let in. What it says of itself is for the operator: callers are told no more
/// than which of these it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// There is no token.
    #[error("no token")]
    Missing,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It is longer than tokens may be.
    #[error("the token is too long")]
    TooLong {
        /// How long one may be.
        bytes_max: usize,
    },
    /// Its subject cannot own an account.
    #[error("the subject of the token cannot own an account")]
    UnfitSubject,
    /// It names no key that is known, or none at all.
    #[error("{}", .id.as_ref().map_or("the token names no key".to_owned(), |id| format!("there is no key with the id {id:?}")))]
    UnknownKey {
        /// The beginning of what it names.
        id: Option<String>,
    },
    /// The key that it was verified with is no longer accepted.
    #[error("the key that the token was verified with was withdrawn")]
    KeyWithdrawn,
    /// Anything else that is wrong with it.
    #[error("{0}")]
    Invalid(&'static str),
    /// The keys that it would be verified with are too old to be relied on.
    #[error("the keys have not been confirmed for too long")]
    KeysUnavailable,
}
