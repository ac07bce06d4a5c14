//! Who the bank takes this process for, as far as its token tells.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    instruction::{hash, hex},
    journal::Caller,
};

/// What scopes of the bank begin with.
const SCOPE_PREFIX: &str = "bank.";

impl Caller {
    /// Reads the subject and the scopes of a token. It is not verified: the bank does that. One that cannot be read
    /// is a caller of its own.
    pub(super) fn of(token: &str) -> Self {
        Self::read(token).unwrap_or_else(|| Self {
            subject: format!("token-{}", hex(&hash([token])[..8])),
            scopes: Vec::new(),
        })
    }

    fn read(token: &str) -> Option<Self> {
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
        Some(Self { subject, scopes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(claims: &str) -> (String, Vec<String>) {
        let Caller { subject, scopes } = Caller::of(&format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims)));
        (subject, scopes)
    }

    #[test]
    fn a_renewed_token_is_the_same_caller() {
        let first = caller(r#"{"sub":"alice","scope":"bank.write openid bank.read","exp":1}"#);
        assert_eq!(first, ("alice".to_owned(), vec!["bank.read".to_owned(), "bank.write".to_owned()]));
        assert_eq!(caller(r#"{"sub":"alice","scp":["bank.read","bank.write"],"exp":2}"#), first);
        assert_ne!(caller(r#"{"sub":"alice","scope":"bank.read"}"#), first);
        assert_ne!(Caller::of("opaque"), Caller::of("other"));
    }
}
