//! Entry points for fuzzing: resume tokens of watches.

use bank_store::Secret;

use super::token::{self, Token};
pub use crate::notifier::Selection;

/// Reads a token as the server does, and writes it again.
///
/// # Errors
/// Why it is not a token of this watch.
pub fn resume_token(
    text: &str,
    bank_id: &str,
    secret: &Secret,
    selection: &Selection,
) -> Result<String, String> {
    let token = Token::parse(text).map_err(|error| error.to_string())?;
    let positions = token.positions(bank_id, secret, selection).map_err(|error| error.to_string())?;
    Ok(Token::encode(bank_id, secret, selection, &positions))
}

/// The token with these bytes as its positions, sealed by the bank.
pub fn sealed(positions: &[u8], bank_id: &str, secret: &Secret, selection: &Selection) -> String {
    token::sealed(bank_id, secret, selection, positions)
}
