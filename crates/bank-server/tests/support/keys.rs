//! Tokens that a test signs itself, and the key sets to verify them with.

use bank_store::clock::Timekeeper;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "bank";

/// A key that tokens are signed with.
pub struct Signer {
    id: String,
    key: Ed25519KeyPair,
}

impl Signer {
    pub fn new(id: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self { id: id.to_owned(), key: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }
    }

    /// A token with every scope, good for an hour.
    pub fn token(&self, subject: &str) -> String {
        self.token_until(subject, now() + 3600)
    }

    /// One that is good until then, in seconds since the Unix epoch.
    pub fn token_until(&self, subject: &str, expires_at: u64) -> String {
        let scope = "bank.read bank.write bank.admin";
        let claims =
            json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": expires_at, "scope": scope});
        let header = json!({"alg": "EdDSA", "kid": self.id});
        let message = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn jwk(&self) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(self.key.public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x})
    }
}

/// The flags of a server that takes tokens of [`ISSUER`] for [`AUDIENCE`].
pub fn flags() -> Vec<String> {
    let settings = [
        "store.kind=memory".to_owned(),
        "auth.mode=jwt".to_owned(),
        format!("auth.jwt.issuer={ISSUER}"),
        format!("auth.jwt.audience={AUDIENCE}"),
    ];
    settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
}

/// The key set of some signers.
pub fn jwks(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

pub fn now() -> u64 {
    Timekeeper::default().estimate_seconds()
}
