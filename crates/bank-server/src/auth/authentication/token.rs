//! Reads and verifies the token of a request.

use std::time::Duration;

use http::{HeaderMap, header::AUTHORIZATION};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;

use super::{TokenRejection, keys::KeySet, verified::Verified};
use crate::auth::{Identity, Scope, Scopes};

/// How much of a key id is logged.
const LOGGED_ID_LENGTH_MAX: usize = 64;

/// What a valid token contains.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) leeway_seconds: u64,
    pub(super) token_bytes_max: usize,
}

/// The claims that the bank uses. Other required ones are checked by `jsonwebtoken`.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    /// A string: `jsonwebtoken` by itself would also accept a list of issuers.
    #[serde(rename = "iss")]
    _iss: String,
    exp: serde_json::Number,
    scope: Option<List>,
    scp: Option<List>,
}

/// Scopes: a string with spaces between them (RFC 8693), or a list, as some issuers write it. An element of a list is
/// one scope: `["x bank.admin"]` does not grant `bank.admin`.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Text(String),
    Many(Vec<String>),
}

impl Rules {
    /// The only token of a request.
    pub(super) fn bearer<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, TokenRejection> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(TokenRejection::Missing)?;
        if values.next().is_some() {
            // A proxy may have checked the other one.
            return Err(TokenRejection::Invalid("more than one authorization header"));
        }
        let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' ')) else {
            return Err(TokenRejection::Invalid("the authorization header is not `Bearer` and a token"));
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(TokenRejection::Invalid("the authorization scheme is not Bearer"));
        }
        if token.len() > self.token_bytes_max {
            return Err(TokenRejection::TooLong { bytes_max: self.token_bytes_max });
        }
        Ok(token)
    }

    /// Verifies a token with the keys and the rules.
    pub(super) fn verify(&self, token: &str, keys: &KeySet) -> Result<Verified, TokenRejection> {
        let malformed = |_| TokenRejection::Invalid("not a signed token of a known algorithm");
        let header = decode_header(token).map_err(malformed)?;
        if header.crit.is_some() {
            // It lists extensions that must be understood, and the bank knows none.
            return Err(TokenRejection::Invalid("the token has the header crit"));
        }
        let key = keys.find(header.kid.as_deref()).ok_or_else(|| unknown_key(header.kid))?;
        let validation = self.validation(key.algorithm);
        let claims: Claims =
            decode(token, &key.verifying, &validation).map_err(|error| rejection(error.kind()))?.claims;
        let scopes = match claims.scope.or(claims.scp) {
            Some(List::Text(list)) => Scopes::parse(&list),
            Some(List::Many(names)) => names.iter().filter_map(|name| name.parse::<Scope>().ok()).collect(),
            None => Scopes::default(),
        };
        let identity = Identity::try_new(&claims.sub, scopes).map_err(|_| TokenRejection::UnfitSubject)?;
        let valid_until = whole_seconds(&claims.exp).saturating_add(self.leeway_seconds);
        Ok(Verified { identity, valid_until, key: key.fingerprint })
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_nbf = true;
        validation.leeway = self.leeway_seconds;
        validation
    }
}

fn unknown_key(id: Option<String>) -> TokenRejection {
    let id = id.map(|mut id| {
        id.truncate(id.floor_char_boundary(LOGGED_ID_LENGTH_MAX));
        id
    });
    TokenRejection::UnknownKey { id }
}

/// Whole seconds since the Unix epoch; 0 for a number that is not a time.
fn whole_seconds(time: &serde_json::Number) -> u64 {
    let since_epoch = time.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    since_epoch.unwrap_or_default().as_secs()
}

fn rejection(error: &ErrorKind) -> TokenRejection {
    TokenRejection::Invalid(match error {
        ErrorKind::ExpiredSignature => return TokenRejection::Expired,
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidSignature => "the signature is not that of the key",
        ErrorKind::InvalidAlgorithm => "the algorithm is not that of the key",
        ErrorKind::InvalidIssuer => "the token is from another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) | ErrorKind::Json(_) => {
            "one of the claims exp, iss, aud, sub, nbf, scope is missing or malformed"
        }
        _ => "the token is malformed",
    })
}
