//! Parses the keys that verify tokens.
//!
//! The algorithm follows from the key and never from a token: otherwise a public key could be used as a shared secret.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio_rustls::rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use x509_cert::{
    der::{
        self, Decode as _, Reader as _, SliceReader,
        asn1::{ObjectIdentifier, UintRef},
    },
    spki::SubjectPublicKeyInfoRef,
};

use super::verified::VerifiedTokens;
use crate::files::Fingerprint;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// The accepted sizes of an RSA modulus: neither insecure nor slow.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 2048 / 8..=8192 / 8;

/// The shortest shared secret: as long as its hash.
/// <https://datatracker.ietf.org/doc/html/rfc7518#section-3.2>
const SECRET_BYTES_MIN: usize = 32;

/// The format of a source of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON Web Key Set of public keys, each with its id.
    Jwks,
    /// One public key in PEM form.
    Pem,
    /// One secret that the issuer of tokens has too.
    Secret,
}

/// Why contents have no usable keys. No message quotes them: they may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// Not a JSON Web Key Set.
    #[error("is not a JSON Web Key Set (line {line}, column {column})")]
    Jwks {
        /// The line of the error.
        line: usize,
        /// The column of the error.
        column: usize,
    },
    /// Two keys have the same id.
    #[error("has two keys with the id {id:?}")]
    DuplicateId {
        /// The id of both.
        id: String,
    },
    /// No key can be used. A server does not start then; a running one accepts no token any more.
    #[error("has no key that the bank can use: Ed25519, P-256, or RSA of 2048 to 8192 bits; {}", why(.0))]
    NoneUsable(Vec<String>),
    /// Not a public key in PEM form.
    #[error("holds no public key in PEM form (BEGIN PUBLIC KEY)")]
    Pem,
    /// The key has another algorithm or size.
    #[error("holds a key that the bank cannot use; it takes Ed25519, P-256, and RSA of 2048 to 8192 bits")]
    Unusable,
    /// The secret is too short.
    #[error("holds a secret of {length} bytes; it must have at least {SECRET_BYTES_MIN}")]
    ShortSecret {
        /// Its length in bytes.
        length: usize,
    },
}

/// A key and the only algorithm that it is used with.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) verifying: DecodingKey,
    /// The hash of the key, and of its id if it has one.
    pub(super) fingerprint: Fingerprint,
}

/// A set of keys, and the tokens that were verified with them: the cache does not outlive its keys.
pub(super) struct KeySet {
    keys: Keys,
    verified: Mutex<VerifiedTokens>,
}

/// Keys by id. A key without an id verifies all tokens, whatever id they name.
type Keys = BTreeMap<Option<String>, Key>;

impl KeySet {
    /// Parses keys. Also returns what is wrong with those that cannot be used.
    pub(super) fn parse(format: Format, contents: &[u8]) -> Result<(Self, Vec<String>), InvalidKeys> {
        let (keys, unusable) = match format {
            Format::Jwks => jwks(contents)?,
            Format::Pem => (Keys::from([(None, pem(contents)?)]), Vec::new()),
            Format::Secret => (Keys::from([(None, secret(contents)?)]), Vec::new()),
        };
        Ok((Self { keys, verified: Mutex::default() }, unusable))
    }

    /// The key that a token names.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        self.keys.get(&None).or_else(|| self.keys.get(&Some(id?.to_owned())))
    }

    /// Whether this key is in the set.
    pub(super) fn contains(&self, key: Fingerprint) -> bool {
        self.keys.values().any(|it| it.fingerprint == key)
    }

    /// Whether there is no key, so that no token is valid.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The tokens that were verified with them.
    pub(super) fn verified(&self) -> MutexGuard<'_, VerifiedTokens> {
        // Nothing panics while it holds them.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of the keys, for the log.
    pub(super) fn names(&self) -> String {
        let name = |(id, key): (&Option<String>, &Key)| match id {
            Some(id) => format!("{id} ({:?})", key.algorithm),
            None => format!("{:?}", key.algorithm),
        };
        self.keys.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

impl Key {
    fn new(algorithm: Algorithm, verifying: DecodingKey, parts: &[&[u8]]) -> Self {
        Self { algorithm, verifying, fingerprint: Fingerprint::of(parts.iter().copied()) }
    }
}

/// The used members of a JSON Web Key. <https://datatracker.ietf.org/doc/html/rfc7517#section-4>
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Only private keys have it.
    d: Option<serde::de::IgnoredAny>,
}

fn jwks(contents: &[u8]) -> Result<(Keys, Vec<String>), InvalidKeys> {
    #[derive(Deserialize)]
    struct Jwks {
        keys: Vec<serde_json::Value>,
    }
    // serde would also read a struct from a list of its fields.
    if !contents.trim_ascii_start().starts_with(b"{") {
        return Err(InvalidKeys::Jwks { line: 1, column: 1 });
    }
    let jwks: Jwks = serde_json::from_slice(contents)
        .map_err(|error| InvalidKeys::Jwks { line: error.line(), column: error.column() })?;
    let (mut keys, mut unusable) = (Keys::new(), Vec::new());
    for (number, jwk) in (1..).zip(jwks.keys) {
        let id = jwk.get("kid").and_then(serde_json::Value::as_str).unwrap_or_default();
        let name = if id.is_empty() { format!("key {number}") } else { format!("key {id:?}") };
        let jwk = Some(jwk).filter(serde_json::Value::is_object).and_then(|jwk| Jwk::deserialize(jwk).ok());
        match jwk.ok_or("it is malformed").and_then(Jwk::into_key) {
            Ok((id, mut key)) => {
                key.fingerprint = key.fingerprint.named(&id);
                if keys.insert(Some(id.clone()), key).is_some() {
                    return Err(InvalidKeys::DuplicateId { id });
                }
            }
            Err(reason) => unusable.push(format!("{name}: {reason}")),
        }
    }
    Ok((keys, unusable))
}

impl Jwk {
    fn into_key(self) -> Result<(String, Key), &'static str> {
        if self.d.is_some() {
            return Err("it is a private key; the bank needs the public one only");
        }
        if self.used_for.as_deref().is_some_and(|used_for| used_for != "sig")
            || self.key_ops.as_ref().is_some_and(|uses| uses.iter().all(|one| one != "verify"))
        {
            return Err("it is not for signatures");
        }
        let id = self.kid.filter(|id| !id.is_empty()).ok_or("it has no id (kid), so no token can name it")?;
        let decoded = |part: Option<String>| {
            let part = part.ok_or("a part is missing")?;
            BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part is not in base64url form")
        };
        let (names, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => (["EdDSA", "Ed25519"], ed25519(&decoded(self.x)?)),
            ("EC", Some("P-256")) => {
                let (x, y) = (decoded(self.x)?, decoded(self.y)?);
                let point = [&[0x04], x.as_slice(), &y].concat();
                (["ES256"; 2], Some(&point).filter(|_| x.len() == y.len()).and_then(|point| p256(point)))
            }
            ("RSA", _) => (["RS256"; 2], rsa(&decoded(self.n)?, &decoded(self.e)?)),
            _ => return Err("the bank takes Ed25519, P-256 and RSA only"),
        };
        if self.alg.is_some_and(|alg| !names.contains(&alg.as_str())) {
            return Err("it is for another algorithm than EdDSA, ES256 or RS256");
        }
        Ok((id, key.ok_or("it is of a wrong size")?))
    }
}

fn pem(contents: &[u8]) -> Result<Key, InvalidKeys> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(contents).map_err(|_| InvalidKeys::Pem)?;
    let info = SubjectPublicKeyInfoRef::from_der(&der).map_err(|_| InvalidKeys::Pem)?;
    let bytes = info.subject_public_key.as_bytes().ok_or(InvalidKeys::Pem)?;
    let algorithm = info.algorithm;
    let curve =
        || algorithm.parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    let key = match algorithm.oid {
        ED25519 => ed25519(bytes),
        EC if curve() == Some(P256) => p256(bytes),
        RSA => rsa_components(bytes).ok().and_then(|(modulus, exponent)| rsa(modulus, exponent)),
        _ => None,
    };
    key.ok_or(InvalidKeys::Unusable)
}

/// The modulus and the exponent of an `RSAPublicKey`.
/// <https://datatracker.ietf.org/doc/html/rfc8017#appendix-A.1.1>
fn rsa_components(der: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(der)?;
    let components = reader.sequence(|reader| {
        Ok::<_, der::Error>((UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes()))
    })?;
    reader.finish()?;
    Ok(components)
}

fn secret(contents: &[u8]) -> Result<Key, InvalidKeys> {
    let secret = contents.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(InvalidKeys::ShortSecret { length: secret.len() });
    }
    Ok(Key::new(Algorithm::HS256, DecodingKey::from_secret(secret), &[secret]))
}

fn ed25519(bytes: &[u8]) -> Option<Key> {
    let is_key = bytes.len() == 32;
    is_key.then(|| Key::new(Algorithm::EdDSA, DecodingKey::from_ed_der(bytes), &[bytes]))
}

/// From an uncompressed point.
fn p256(bytes: &[u8]) -> Option<Key> {
    let is_point = bytes.len() == 65 && bytes.starts_with(&[0x04]);
    is_point.then(|| Key::new(Algorithm::ES256, DecodingKey::from_ec_der(bytes), &[bytes]))
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Key> {
    // ring accepts no leading zeros, which some issuers write.
    let [modulus, exponent] = [modulus, exponent].map(|number| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        &number[zeros..]
    });
    let usable = RSA_MODULUS_BYTES.contains(&modulus.len()) && !exponent.is_empty();
    let key = || DecodingKey::from_rsa_raw_components(modulus, exponent);
    usable.then(|| Key::new(Algorithm::RS256, key(), &[modulus, exponent]))
}

fn why(unusable: &[String]) -> String {
    if unusable.is_empty() { "it is empty".to_owned() } else { unusable.join("; ") }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeySet").field(&self.names()).finish()
    }
}

#[cfg(test)]
mod tests;
