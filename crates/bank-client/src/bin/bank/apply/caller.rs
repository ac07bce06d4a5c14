//! The caller that an access token stands for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    instruction::{hash, hex},
    journal::Caller,
};

const SCOPE_PREFIX: &str = "bank.";

/// Reads the subject and the scopes of a token, without verifying it: the bank does that. An unreadable token is a
/// caller of its own.
pub(super) fn caller(token: &str) -> Caller {
    claims(token).unwrap_or_else(|| Caller {
        subject: format!("token-{}", hex(&hash([token])[..8])),
        scopes: Vec::new(),
    })
}

fn claims(token: &str) -> Option<Caller> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let subject = claims["sub"].as_str()?.to_owned();
    let listed = ["scope", "scp"].into_iter().flat_map(|claim| match &claims[claim] {
        Value::String(list) => list.split(' ').map(ToOwned::to_owned).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        _ => Vec::new(),
    });
    let mut scopes: Vec<_> = listed.filter(|scope| scope.starts_with(SCOPE_PREFIX)).collect();
    scopes.sort_unstable();
    scopes.dedup();
    Some(Caller { subject, scopes })
}

#[cfg(test)]
mod tests;
