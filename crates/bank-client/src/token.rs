//! Access tokens.

use std::future::Future;

use futures::future::BoxFuture;

/// Why a [`TokenSource`] gave no token.
pub type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// Gives the bearer token of each call, so that tokens can be renewed while the client runs.
///
/// It is asked before every attempt, so it should answer from memory and fetch only when what it has
/// runs out. Any function that returns a future of a token is one:
///
/// ```
/// use bank_client::{BankClient, TokenError};
///
/// let builder = BankClient::builder("https://bank.example.com").token_source(|| async {
///     let token = std::fs::read_to_string("/run/secrets/bank-token")?;
///     Ok::<_, TokenError>(token.trim().to_owned())
/// });
/// ```
pub trait TokenSource: Send + Sync + 'static {
    /// The token to send with the next call, without `Bearer`.
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>>;
}

impl<F, T> TokenSource for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>> {
        Box::pin(self())
    }
}
